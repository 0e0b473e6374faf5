"""The model that comes with the package."""

import hashlib
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from command import Here
from made import fill
from PIL import Image
from skimage.color import rgb2lab

import kcolor
from kcolor import bundled, card, recipe
from kcolor.colorizer import variant, with_scene

SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")


@pytest.fixture(scope="module")
def small():
    return kcolor.Colorizer.load("small")


def test_it_is_small_and_says_what_it_is(small):
    assert small.path == bundled.FOLDER / "small.keras"
    assert small.path.stat().st_size < 15e6
    assert (small.size, small.classes) == (128, SCENES)
    about = card.read(small.path)
    own = recipe.load(recipe.find("small"))
    carried = recipe.Recipe.model_validate(tomllib.loads(about.recipe))
    assert carried.data == own.data.model_copy(update={"folder": "", "labels": ""})
    for table in ("network", "objective", "reconstruction", "classification"):
        assert getattr(carried, table) == getattr(own, table)
    assert set(about.scenes) == set(SCENES)
    with zipfile.ZipFile(small.path) as archive:
        assert hashlib.sha256(archive.read("model.weights.h5")).hexdigest() == about.weights_sha256


def test_it_colours(small):
    """A lawn under a sky: neither is grey, and the sky is bluer than the lawn."""
    grey = skimage.data.camera()
    lab = rgb2lab(small(grey))
    sky, lawn = lab[20:120, 350:], lab[400:, 420:]
    assert np.hypot(sky[..., 1], sky[..., 2]).mean() > 4
    assert sky[..., 2].mean() < lawn[..., 2].mean() - 4
    assert np.abs(lab[..., 0] - rgb2lab(np.dstack([grey] * 3))[..., 0]).max() < 0.6


def test_it_has_variants_and_scenes(small):
    grey = np.asarray(Image.fromarray(skimage.data.camera()).resize((128, 128)))
    made = [variant(small, 0, number)(grey) for number in (1, 2)]
    assert (made[0] != made[1]).any()
    assert (with_scene(small, "forest")(grey) != with_scene(small, "sea")(grey)).any()


def test_out_of_the_box_and_as_a_start(tmp_path, capsys, monkeypatch):
    here = Here(capsys, monkeypatch)
    photos = fill(tmp_path / "photos", [f"{scene}/{i}.png" for scene in ("forest", "sea") for i in range(6)])
    said, told = here("colorize", photos / "sea" / "0.png", cwd=tmp_path)
    assert said == "out/0.png\n"
    assert f"model: {bundled.FOLDER / 'small.keras'}" in told
    changes = ["train.epochs=1", "train.steps_per_epoch=1", "train.batch_size=2", "data.split=[0.5,0.25,0.25]"]
    words = [word for change in changes for word in ("--set", change)]
    _, told = here("fit", "small", "--data", photos, "--from", "small", "-o", "tuned", *words, cwd=tmp_path)
    assert Path(tmp_path, "tuned", "generator.keras").is_file()
