"""ChromaGAN from its recipe to what becomes of its run, and the teacher; its published weights have a stand-in."""

import dataclasses
import re

import numpy as np
import pytest
from command import Here, mistake
from made import fill
from standins import classifier

from kcolor import build, card, checkpoint, colorizer, fit, recipe, scenes, trunks, weights
from kcolor.colorizer import Colorizer, with_scene
from kcolor.data import manifest
from kcolor.errors import RecipeError, RunError
from kcolor.run import Run

TINY = ["data.size=32", "network.width=4", "network.critic_width=4", "network.critic_strided=2"]
TINY += ["network.backbone_weights=none", "train.batch_size=2", "train.steps_per_epoch=2", "train.epochs=1"]
LABELS = "classification.target=labels"


def tiny(*changes: str) -> recipe.Recipe:
    return recipe.load(recipe.find("chromagan"), [*TINY, *changes])


def surveyed(photos):
    return manifest.prepare(photos, survey_file=photos.parent / "survey.jsonl", split=(0.6, 0.2, 0.2), workers=1)


@pytest.fixture
def teacher(monkeypatch, cache):
    """ImageNet's VGG-16 is here, narrow."""
    monkeypatch.setitem(weights.CATALOGUE, "vgg16-imagenet", classifier())


@pytest.fixture(scope="module")
def taught(tmp_path_factory, photos) -> Run:
    """A finished run with a teacher, on photos that have classes of their own."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setitem(weights.CATALOGUE, "vgg16-imagenet", classifier())
        return fit.fit(tiny(), surveyed(photos), folder / "taught", name="chromagan")


@pytest.fixture
def here(capsys, monkeypatch):
    return Here(capsys, monkeypatch)


def test_a_run_with_a_teacher_goes_on(taught, teacher):
    """Without the teacher in its checkpoints, which has nothing to learn."""
    before = taught.read_history()
    assert {"classification", "val_classification", "val_accuracy"} <= before[0].keys()
    run = fit.resume(tiny("train.epochs=2"), taught.path)
    history = run.read_history()
    assert history[0] == before[0]
    assert (history[1]["step"], len(history)) == (4, 2)
    assert all(np.isfinite(value) for value in history[1].values())
    names = [variable.path for variable in checkpoint.variables(build.color_gan(tiny(), 2, 4))]
    assert not [name for name in names if "fc1" in name or "predictions" in name or "block5" in name]


def test_a_teachers_classes_are_not_taken_for_the_photos(taught, tmp_path):
    """Though these have some, and nobody knows the others by name."""
    loaded = Colorizer.load(taught.path)
    assert loaded.generator.output["logits"].shape[-1] == 1000
    assert loaded.classes == ()
    missing = []
    about = scenes.card_of(taught.generator, loaded.generator, on_missing=missing.append)
    assert (about.classes, about.scenes, missing) == ((), {}, [])
    copy = tmp_path / "a.keras"
    copy.write_bytes(taught.generator.read_bytes())
    assert not card.taught(copy)  # nobody knows
    card.attach(copy, about)
    assert card.taught(copy)
    assert not card.classes(copy)
    with pytest.raises(RunError, match="its classes are its teacher's, not its photos'"):
        with_scene(loaded, "sea")


def test_it_is_exported_as_any_other(taught, here, tmp_path):
    formats = ["--saved-model", "--tflite", "--precision", "float32"]
    said, _ = here("export", taught.path, *formats, "-o", "out", cwd=tmp_path)
    differences = [float(number) for number in re.findall(r"Delta E from Keras ([\d.e-]+),", said)]
    assert len(differences) == 3  # photo to photo, too
    assert max(differences) < 0.01
    assert (tmp_path / "out" / "taught" / "1" / "saved_model.pb").is_file()
    lite = Colorizer.load(tmp_path / "out" / "taught" / "taught.float32.tflite")
    l = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 1)).astype(np.float32)
    for name, value in Colorizer.load(taught.path).outputs(l).items():
        np.testing.assert_allclose(lite.outputs(l)[name], value, atol=1e-4)
    assert lite.classes == ()


def test_a_network_of_the_report_learns_from_the_teacher_too(teacher, tmp_path):
    """Of photos without classes, in half precision."""
    photos = fill(tmp_path / "photos", [f"{i}.png" for i in range(16)])
    changes = ["data.size=64", "network.depth=4", "network.width=4", "network.critic_width=4", "train.batch_size=2"]
    changes += ["train.steps_per_epoch=2", "train.epochs=1", "classification.target=teacher"]
    changes += ["train.precision=mixed_bfloat16"]
    run = fit.fit(recipe.load(recipe.find("gan-class"), changes), surveyed(photos), tmp_path / "run")
    assert 0 < run.read_history()[-1]["classification"] < 50


def test_another_begins_with_its_weights():
    made = colorizer.of(build.generator(tiny(LABELS), 2))
    origin = dataclasses.replace(made, classes=("forest", "sea"))
    build.check_origin(tiny(LABELS), origin, origin.classes)
    generator = build.generator(tiny(LABELS), 2)
    assert build.start_from(generator, origin, origin.classes) is True
    for ours, theirs in zip(generator.weights, origin.generator.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # A teacher's classes are others.
    build.check_origin(tiny(), origin, ())
    assert build.start_from(build.generator(tiny(), 0), origin, ()) is False
    kind = r"it has network.kind = chromagan, not unet; to start from it: --set network.kind=chromagan"
    with pytest.raises(RecipeError, match=kind):
        build.check_origin(recipe.load(recipe.find("gan")), origin, origin.classes)
    with pytest.raises(RecipeError, match=r"it has network.width = 4, not 8; to start from it: --set network.width=4$"):
        build.check_origin(tiny("network.width=8"), origin, ())


def test_it_begins_with_imagenets_weights(monkeypatch, cache):
    monkeypatch.setitem(weights.CATALOGUE, "vgg16-imagenet", classifier(width=64))
    chosen = recipe.load(recipe.find("chromagan"), ["data.size=32", LABELS])
    generator = build.generator(chosen, 2)
    assert build.pretrain(generator, chosen)
    file = weights.find(weights.CATALOGUE["vgg16-imagenet"])
    for name, arrays in trunks.vgg16_layers(file, ["block1_conv1", "block4_conv3"]).items():
        for ours, theirs in zip(generator.get_layer(name).get_weights(), arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not build.pretrain(generator, tiny(LABELS))


@pytest.mark.parametrize(
    ("changes", "key", "ways"),
    [
        ([], "network.backbone_weights", ["network.backbone_weights=none", LABELS]),
        ([LABELS], "network.backbone_weights", ["network.backbone_weights=none"]),
        (["network.backbone_weights=none"], "classification.target", [LABELS]),
    ],
    ids=["both", "backbone", "teacher"],
)
def test_without_the_weights_it_says_so_and_how_to_do_without(here, tmp_path, changes, key, ways):
    photos = fill(tmp_path / "photos", ["sea/1.png"])
    words = [word for change in changes for word in ("--set", change)]
    _, error = here("fit", "chromagan", "--data", photos, *words, cwd=tmp_path, status=2)
    way_out = " ".join(f"--set {way}" for way in ways)
    assert mistake(error) == (
        f"kcolor: {key}: needs ImageNet's VGG-16, which is not here: kcolor weights fetch vgg16-imagenet; "
        f"or do without: {way_out}"
    )
    assert not (tmp_path / "runs").exists()
    assert build.imagenet(recipe.load(recipe.find("chromagan"), [*changes, *ways])) is None


def test_going_on_needs_the_teacher_and_not_what_was_begun_with():
    chosen = recipe.load(recipe.find("chromagan"))
    with pytest.raises(RecipeError, match=r"^classification.target: needs"):
        build.imagenet(chosen, begins=False)
    assert build.imagenet(recipe.load(recipe.find("chromagan"), [LABELS]), begins=False) is None
