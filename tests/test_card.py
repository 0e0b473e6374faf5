"""What a model's file says of itself."""

import hashlib
import json
import zipfile

import keras
import numpy as np
import pytest

from kcolor import __version__, card, export, files, recipe
from kcolor.colorizer import Colorizer, load_generator
from kcolor.export import half as half_export
from kcolor.export import photographs


@pytest.fixture(scope="module")
def half(finished, tmp_path_factory):
    """The finished run's generator in half precision, with its card."""
    folder = tmp_path_factory.mktemp("exports") / "tiny"
    about = card.of(finished.generator)
    generator = load_generator(finished.path)
    target = half_export.target(generator, "tiny", about)
    export.export(generator, folder, [target], photographs.find(finished.path), source="a test")
    return folder / "tiny.keras"


def test_the_card_of_a_run(finished, half):
    about = card.read(half)
    assert about.classes == ("forest", "sea")
    assert about.kcolor == __version__
    assert about.recipe_name == "wgan"
    assert about.source_sha256 == hashlib.sha256(finished.generator.read_bytes()).hexdigest()
    with zipfile.ZipFile(half) as archive:
        assert about.weights_sha256 == hashlib.sha256(archive.read("model.weights.h5")).hexdigest()
        assert "keras_version" in json.loads(archive.read("metadata.json"))


def test_the_recipe_in_a_card_is_that_of_the_run_without_its_places(finished, half, tmp_path):
    written = tmp_path / "recipe.toml"
    written.write_text(card.read(half).recipe)
    assert recipe.load(written) == recipe.load(finished.recipe)
    text = finished.recipe.read_text()
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(finished.info.read_text())
    (run / "recipe.toml").write_text(
        text.replace('folder = ""', 'folder = "/home/me/photos"').replace('labels = ""', 'labels = "/home/me/a.csv"')
    )
    (run / "generator.keras").write_bytes(finished.generator.read_bytes())
    assert "/home/me" in (run / "recipe.toml").read_text()
    assert card.of(run / "generator.keras").recipe == card.read(half).recipe


def test_classes_travel_with_the_file(half, finished):
    assert Colorizer.load(half).classes == Colorizer.load(finished.path).classes == ("forest", "sea")
    assert Colorizer.load(half).sha256 == files.digest(half)


def test_what_is_made_of_a_half_keeps_its_card(half):
    assert card.of(half) == card.read(half)


def test_a_model_without_card_or_run(finished, tmp_path):
    bare = tmp_path / "bare.keras"
    bare.write_bytes(finished.generator.read_bytes())
    assert card.read(bare) is None
    assert card.of(bare).classes == ()
    assert card.of(bare).recipe == ""
    assert Colorizer.load(bare).classes == ()


def test_a_card_changes_nothing_else(finished, tmp_path):
    bare = tmp_path / "bare.keras"
    bare.write_bytes(finished.generator.read_bytes())
    about = card.Card(("a", "b"), "gan", "seed = 1\n", "00")
    card.attach(bare, about)
    card.attach(bare, card.read(bare))
    found = card.read(bare)
    assert (found.classes, found.recipe_name, found.recipe, found.source_sha256) == (
        ("a", "b"),
        "gan",
        "seed = 1\n",
        "00",
    )
    with zipfile.ZipFile(bare) as ours, zipfile.ZipFile(finished.generator) as theirs:
        assert ours.namelist() == theirs.namelist()
        for name in ("config.json", "model.weights.h5"):
            assert ours.read(name) == theirs.read(name)
    models = [keras.models.load_model(path, compile=False) for path in (bare, finished.generator)]
    for mine, yours in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("metadata", ["{}", '{"kcolor": 3}', '{"kcolor": {"classes": 3}}', "[]", "{", "\xff"])
def test_cards_that_are_something_else(metadata, tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
        archive.writestr("metadata.json", metadata.encode("latin-1"))
    assert card.read(tmp_path / "odd.keras") is None


def test_a_card_of_a_later_version_is_read(half, tmp_path):
    path = tmp_path / "later.keras"
    about = card.read(half)
    with zipfile.ZipFile(half) as old, zipfile.ZipFile(path, "w") as new:
        metadata = json.loads(old.read("metadata.json"))
        metadata["kcolor"]["mood"] = "bright"
        new.writestr("metadata.json", json.dumps(metadata))
    assert card.read(path) == about


def test_a_card_of_an_earlier_version_is_read(half, tmp_path):
    path = tmp_path / "earlier.keras"
    about = card.read(half)
    assert about.scenes == {}
    with zipfile.ZipFile(half) as old, zipfile.ZipFile(path, "w") as new:
        metadata = json.loads(old.read("metadata.json"))
        del metadata["kcolor"]["scenes"]
        new.writestr("metadata.json", json.dumps(metadata))
    assert card.read(path) == about


def test_a_card_with_scenes(finished, tmp_path):
    file = tmp_path / "model.keras"
    file.write_bytes(finished.generator.read_bytes())
    about = card.Card(("forest", "sea"), "gan", "", "00", scenes={"forest": [0.1, -2.5], "sea": [3.0, 0.0]})
    card.attach(file, about)
    assert card.read(file).scenes == about.scenes
    keras.models.load_model(file, compile=False)


def test_what_is_no_file(tmp_path):
    (tmp_path / "text.keras").write_text("nothing")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "text.keras"):
        assert card.read(path) is None
