"""`kcolor prepare --instances`, and training on what it found, as a person does it."""

from pathlib import Path

import detecting
import numpy as np
import pytest
from command import Here, kcolor, mistake
from made import colour, fill
from PIL import Image
from skimage import data

from kcolor.data.manifest import Manifest

NARROW = ["data.size=32", "network.depth=4", "network.width=4", "network.critic_width=4", "network.critic_strided=2"]
NARROW += ["train.batch_size=2", "train.steps_per_epoch=2", "train.epochs=1", "data.include=[]"]


@pytest.fixture
def here(capsys, monkeypatch) -> Here:
    return Here(capsys, monkeypatch)


@pytest.fixture
def people(folder) -> Path:
    fill(folder, [f"{number}.png" for number in range(8)])
    for number in range(6):
        # Each a little different, so that no two are one photo.
        Image.fromarray(data.astronaut()[20:180, 140 - number : 300 - number]).save(folder / f"person-{number}.png")
    return folder


def test_from_the_folder_to_what_is_trained(people, tmp_path, here):
    split = ["--set", "data.split=[0.6,0.2,0.2]"]
    said, told = kcolor("prepare", people, "--instances", *split, cwd=tmp_path)
    assert told == ""
    assert "instances, by faces: 6 face on 6 photos; 8 photos without" in said
    assert f"what was found: {Path('manifests', 'photos-instances.html')}" in said
    assert "6 instances on 6 of 14 photos" in (tmp_path / "manifests" / "photos-instances.html").read_text()
    path = tmp_path / "manifests" / "photos.csv"
    faces = [photo.instances for photo in Manifest.load(path).photos if photo.instances]
    assert [len(each) for each in faces] == [1] * 6
    # In the crop that person-0 is, her face is at about this place.
    np.testing.assert_allclose([(e.left, e.top, e.right, e.bottom) for e in faces[0]], [[35, 50, 132, 150]], atol=12)
    settings = [word for change in (*NARROW, "data.instances=0.5") for word in ("--set", change)]
    # All that goes before training; tests/test_fit.py trains with them.
    said, _ = here("fit", "gan", "--data", path, *settings, "--dry-run", cwd=tmp_path)
    assert "instances, by faces: 6 face on 6 photos; 8 photos without" in said
    assert "instances = 0.5" in said
    assert "2 steps: 1 epochs of 2 batches" in said
    # The same of the manifest, without looking again.
    said, _ = here("prepare", path, "--instances", "--min-score", 0.05, cwd=tmp_path)
    assert f"manifest: {Path('manifests', 'photos.csv')}" in said
    assert "looking" not in said
    assert Manifest.load(path).rules["instances"]["min_score"] == 0.05


def test_with_a_detector_of_one_s_own(folder, tmp_path, here):
    for number in range(4):
        lights = np.asarray(Image.fromarray(detecting.squares((number, 2))).resize((128, 128)))
        Image.fromarray(np.maximum(np.asarray(colour(128, number)) // 4, lights)).save(folder / f"{number}.png")
    detecting.ssd(tmp_path / "squares.tflite")
    (tmp_path / "names.txt").write_text("light\nred\n")
    words = ["prepare", folder, "--instances", "--detector", "squares.tflite", "--labels-file", "names.txt"]
    said, _ = here(*words, "--min-size", 12, cwd=tmp_path)
    assert "instances, by squares.tflite: 4 light on 4 photos; 0 photos without" in said
    said, _ = here(*words, "-o", "none.csv", cwd=tmp_path)
    assert "instances, by squares.tflite: 4 photos without" in said
    assert (tmp_path / "none-instances.html").exists()


def test_mistakes_are_told_in_a_line(people, tmp_path, here):
    def refused(*words):
        return mistake(here("prepare", people, *words, cwd=tmp_path, status=2)[1])

    assert "add --instances" in refused("--detector", "a.tflite")
    assert "add --instances" in refused("--min-score", 0.1)
    assert "0.01 is not in the range" in refused("--instances", "--min-score", 0.01)  # what is less is not kept
    assert "does not go with --shards" in refused("--instances", "--shards", "there")
    assert "does not go with --runner" in refused("--instances", "--runner", "direct")
    (tmp_path / "a.tflite").write_text("no model")
    assert "a.tflite: not a .tflite file" in refused("--instances", "--detector", "a.tflite")
    assert "nobody: no such detector" in refused("--instances", "--detector", "nobody")
    assert not (tmp_path / "manifests").exists()


def test_training_without_instances_is_refused(people, tmp_path, here):
    settings = [word for change in (*NARROW, "data.instances=0.5") for word in ("--set", change)]

    def refused(where):
        return mistake(here("fit", "gan", "--data", where, *settings, "-o", "run", cwd=tmp_path, status=2)[1])

    here("prepare", people, "-o", "never.csv", cwd=tmp_path)
    assert f"kcolor prepare {people} --instances" in refused("never.csv")
    here("prepare", people, "--instances", "--min-size", 4096, "-o", "none.csv", cwd=tmp_path)
    assert "data.instances: faces found none of score 0.5 and 4096 pixels" in refused("none.csv")
    here("prepare", people, "--shards", "shards", "--size", 32, cwd=tmp_path)
    assert "which the shards in" in refused("shards")
    assert not (tmp_path / "run").exists()
