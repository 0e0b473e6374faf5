"""What the class branch gives for each class on average: measured, kept, carried."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.color
from made import fill, make
from PIL import Image

from kcolor import card, networks, scenes
from kcolor.colorizer import Colorizer, load_generator, of, with_scene
from kcolor.data.manifest import Manifest
from kcolor.errors import RunError


def by_hand(generator: keras.Model, paths: list[Path]) -> np.ndarray:
    """The mean over photos of the network's size, each read by Pillow and turned to Lab by scikit-image."""
    encoder = keras.Model(generator.input, generator.get_layer("fusion_1_relu").output)
    l = [skimage.color.rgb2lab(np.asarray(Image.open(path)))[..., :1] / 50 - 1 for path in paths]
    return np.mean([encoder(one[np.newaxis].astype(np.float32), training=False).numpy()[0] for one in l], axis=0)


def train_paths(manifest: Manifest, label: str) -> list[Path]:
    return [manifest.root / photo.path for photo in manifest.split("train") if photo.label == label]


@pytest.fixture
def counted(monkeypatch) -> list[Path]:
    """The roots of the photos that have been measured."""
    calls, measure = [], scenes.measure

    def counting(generator, manifest, **options):
        calls.append(manifest.root)
        return measure(generator, manifest, **options)

    monkeypatch.setattr(scenes, "measure", counting)
    return calls


# --- measured


def test_averages_are_those_by_hand(decided):
    generator, manifest = keras.models.load_model(decided.generator, compile=False), Manifest.load(decided.manifest)
    expected = {label: by_hand(generator, train_paths(manifest, label)) for label in ("forest", "sea")}
    assert len(train_paths(manifest, "sea")) in (4, 5)  # neither all photos nor one
    assert np.abs(expected["forest"] - expected["sea"]).max() > 0.01
    told = []
    measured = scenes.measure(generator, manifest, on_progress=lambda *numbers: told.append(numbers))
    assert list(measured) == ["forest", "sea"]
    assert told[-1][0] == told[-1][1] == len(manifest.split("train"))
    for label, mean in expected.items():
        assert measured[label].dtype == np.float32
        np.testing.assert_allclose(measured[label], mean, atol=2e-4)


def test_a_stated_number_of_each_class_evenly_spread(decided, folder):
    generator = load_generator(decided.path)
    names = [f"{label}/{i}.png" for label, count in (("forest", 7), ("sea", 2)) for i in range(count)]
    found = make(fill(folder, names), split=(1.0, 0.0, 0.0))
    measured = scenes.measure(generator, found, per_class=3)
    chosen = {"forest": [f"forest/{i}.png" for i in (0, 2, 4)], "sea": ["sea/0.png", "sea/1.png"]}
    for label, paths in chosen.items():
        np.testing.assert_allclose(
            measured[label], by_hand(load_generator(decided.path), [folder / path for path in paths]), atol=2e-4
        )


def test_a_photo_that_cannot_be_read_is_passed_over(decided, folder):
    names = [f"{label}/{i}.png" for label in ("forest", "sea") for i in range(2)]
    found = make(fill(folder, names), split=(1.0, 0.0, 0.0))
    (folder / "forest/0.png").unlink()
    measured = scenes.measure(load_generator(decided.path), found)
    np.testing.assert_allclose(
        measured["forest"], by_hand(load_generator(decided.path), [folder / "forest/1.png"]), atol=2e-4
    )
    (folder / "forest/1.png").unlink()
    with pytest.raises(RunError, match=r"no photo of the class forest .*forest/0.png.*forest/1.png") as refused:
        scenes.measure(load_generator(decided.path), found)
    assert "\n" not in str(refused.value)
    assert "sea" not in str(refused.value)


def test_a_class_without_training_photos_has_no_average(decided):
    manifest = Manifest.load(decided.manifest)
    rows = tuple(replace(p, split="val") if p.label == "sea" and p.split else p for p in manifest.photos)
    Manifest(manifest.root, rows, manifest.rules).save(decided.manifest)
    colorizer = Colorizer.load(decided.path)
    assert colorizer.classes == ("forest", "sea")
    assert list(scenes.of(colorizer)) == ["forest"]
    with pytest.raises(RunError, match=r"knows no scene sea; it knows forest$"):
        with_scene(colorizer, "sea")
    none = tuple(replace(p, split="val") if p.split else p for p in manifest.photos)
    with pytest.raises(RunError, match="no photo of a class"):
        scenes.measure(colorizer.generator, Manifest(manifest.root, none, manifest.rules))


def test_a_broken_model(decided):
    generator = load_generator(decided.path)
    bias = generator.get_layer("fusion_1").bias
    bias.assign(np.nan * bias)
    with pytest.raises(RunError, match="NaN"):
        scenes.measure(generator, Manifest.load(decided.manifest))


def test_without_a_class_branch_there_is_nothing_to_measure(decided):
    plain = networks.unet(64, width=4, depth=4)
    assert not networks.has_class_branch(plain)
    with pytest.raises(ValueError, match="class branch"):
        scenes.measure(plain, Manifest.load(decided.manifest))


# --- kept


def test_a_run_keeps_what_was_measured(decided, counted):
    colorizer = Colorizer.load(decided.path)
    told = []
    with_scene(colorizer, "sea", on_progress=lambda *numbers: told.append(numbers))
    assert told[-1][0] == told[-1][1] > 0
    first = scenes.of(colorizer)
    assert counted == [Manifest.load(decided.manifest).root]
    measured = scenes.measure(colorizer.generator, Manifest.load(decided.manifest))
    for name, mean in first.items():
        np.testing.assert_allclose(mean, measured[name], rtol=6e-4)
    counted.clear()
    again = scenes.of(Colorizer.load(decided.generator))
    assert counted == []
    assert again.keys() == first.keys() == {"forest", "sea"}
    for name, mean in again.items():
        np.testing.assert_array_equal(mean, first[name])
    assert [path.name for path in decided.path.iterdir() if path.name.startswith(".")] == []


def test_a_changed_generator_is_measured_again(decided, counted):
    first = scenes.of(Colorizer.load(decided.path))
    generator = load_generator(decided.path)
    bias = generator.get_layer("fusion_1").bias
    bias.assign(bias + 1.0)
    generator.save(decided.generator)
    changed = scenes.of(Colorizer.load(decided.path))
    assert len(counted) == 2
    assert np.abs(changed["sea"] - first["sea"]).max() > 0.1
    scenes.of(Colorizer.load(decided.path))
    assert len(counted) == 2


def test_each_generator_of_a_run_has_its_own(decided, counted):
    decided.checkpoints.mkdir()
    generator = load_generator(decided.path)
    bias = generator.get_layer("fusion_1").bias
    bias.assign(bias + 1.0)
    generator.save(decided.best)
    last, best = Colorizer.load(decided.path), Colorizer.load(decided.best)
    for _ in range(2):
        assert np.abs(scenes.of(last)["sea"] - scenes.of(best)["sea"]).max() > 0.1
        assert len(counted) == 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"generator.keras": 3}', "SHORT", "NAN"])
def test_what_was_kept_and_is_damaged(decided, counted, content):
    colorizer = Colorizer.load(decided.path)
    values = {"SHORT": [1.0] * 31, "NAN": [float("nan")] * 32}.get(content)
    entry = {"generator.keras": {"sha256": colorizer.sha256, "scenes": {"forest": values, "sea": values}}}
    (decided.path / "scenes.json").write_text(json.dumps(entry) if values else content)
    found = scenes.of(colorizer)
    assert len(counted) == 1
    assert {name: mean.shape for name, mean in found.items()} == {"forest": (32,), "sea": (32,)}
    assert len(json.loads((decided.path / "scenes.json").read_text())["generator.keras"]["scenes"]) == 2


def test_a_run_whose_photos_are_gone(decided):
    manifest = Manifest.load(decided.manifest)
    Manifest(decided.path / "moved", manifest.photos, manifest.rules).save(decided.manifest)
    colorizer = Colorizer.load(decided.path)
    with pytest.raises(RunError) as refused:
        scenes.of(colorizer)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{decided.generator}: ")
    assert f"{decided.path / 'moved'}: no photo of the class forest can be read" in message
    assert not (decided.path / "scenes.json").exists()
    decided.manifest.unlink()
    with pytest.raises(RunError, match="cannot read the manifest"):
        scenes.of(colorizer)


def test_a_run_whose_manifest_is_another(decided, folder):
    make(fill(folder, [f"{i}/{j}.png" for i in range(3) for j in range(2)]), split=(1.0, 0.0, 0.0)).save(
        decided.manifest
    )
    with pytest.raises(RunError, match="3 classes, not as many as the model"):
        scenes.of(Colorizer.load(decided.path))


def test_a_generator_that_is_at_hand_is_not_taken_for_the_file(decided):
    scenes.of(Colorizer.load(decided.path))
    with pytest.raises(RunError, match="not known"):
        scenes.of(of(load_generator(decided.path), decided.generator))


# --- carried


def test_the_card_carries_them(decided, tmp_path, counted):
    generator = load_generator(decided.path)
    about = scenes.card_of(decided.generator, generator, on_missing=pytest.fail)
    assert replace(about, scenes={}) == card.of(decided.generator)
    kept = scenes.of(Colorizer.load(decided.path))
    assert len(counted) == 1
    shipped = tmp_path / "shipped.keras"
    shutil.copy(decided.generator, shipped)
    card.attach(shipped, about)
    shutil.rmtree(decided.path)
    carried = scenes.of(Colorizer.load(shipped))
    assert carried.keys() == kept.keys() == {"forest", "sea"}
    for name, mean in carried.items():
        np.testing.assert_array_equal(mean, kept[name])
    # What is made of it carries them on.
    again = scenes.card_of(shipped, load_generator(shipped), on_missing=pytest.fail)
    assert again == card.read(shipped)
    l = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 1)).astype(np.float32)
    ab = [with_scene(Colorizer.load(shipped), name).outputs(l)["ab"].numpy() for name in ("forest", "sea")]
    assert np.abs(ab[0] - ab[1]).max() > 0.001


def test_a_card_that_has_to_do_without(decided, tmp_path):
    alone = tmp_path / "alone.keras"
    shutil.copy(decided.generator, alone)
    told = []
    about = scenes.card_of(alone, load_generator(alone), on_missing=told.append)
    assert about == card.of(alone)
    assert about.scenes == {}
    assert len(told) == 1
    assert "not known" in told[0]
    networks.unet(64, width=4, depth=4).save(tmp_path / "plain.keras")
    plain = load_generator(tmp_path / "plain.keras")
    assert scenes.card_of(tmp_path / "plain.keras", plain, on_missing=pytest.fail).scenes == {}


def test_a_card_of_another_width_is_none(decided, tmp_path):
    alone = tmp_path / "alone.keras"
    shutil.copy(decided.generator, alone)
    card.attach(alone, card.Card(("forest", "sea"), "", "", "00", scenes={"forest": [1.0] * 31}))
    with pytest.raises(RunError, match="not known"):
        scenes.of(Colorizer.load(alone))


def test_numbers_are_kept_short():
    """Of the bundled size, 205 classes of 512 numbers, they are a hundredth of the file."""
    vector = np.random.default_rng(0).normal(0, 3, 512).astype(np.float32)
    lists = scenes._to_lists({str(i): vector for i in range(205)})
    assert len(json.dumps(lists)) < 1_000_000
    np.testing.assert_allclose(lists["0"], vector, rtol=6e-4)
    back = scenes._from_lists(lists, 512)
    assert scenes._to_lists(back) == lists
