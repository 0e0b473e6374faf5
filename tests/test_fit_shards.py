"""Training from shards: as from a folder, killed and resumed, and what is said when they are not what they were."""

import shutil
from pathlib import Path

import pytest
from test_fit import NARROW, assert_same_run, kcolor, kill_at, narrow, settings, surveyed

from kcolor import fit, recipe
from kcolor.data import sharding, shards
from kcolor.errors import DataError, RunError
from kcolor.run import Run


@pytest.fixture(scope="module")
def packed(photos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    sharding.write(surveyed(photos), str(folder), size=32, quality=0, photos_per_shard=3)
    return folder


def from_shards(packed: Path, *changes: str) -> recipe.Recipe:
    return narrow("gan", f'data.folder="{packed}"', *changes)


def test_a_run_from_shards_that_is_killed_ends_as_if_it_had_not_been(packed, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    often = "train.checkpoint_minutes=0"
    fit.fit(from_shards(packed, often), shards.manifest_of(packed), whole, name="gan")
    assert Run(whole).read_info()["shards_sha256"] == shards.load(packed).sha256
    kill_at(5, killed, "fit", "gan", "--data", packed, *settings(often), "-o", killed)
    moved = shutil.copytree(packed, tmp_path / "moved")
    kcolor("fit", "--resume", "-o", killed, "--data", moved)
    assert_same_run(whole, killed)


def test_a_run_goes_on_only_from_what_it_began_with(packed, photos, tmp_path):
    path = tmp_path / "run"
    fit.fit(from_shards(packed), shards.manifest_of(packed), path)
    longer = "train.epochs=3"
    with pytest.raises(RunError, match=r"the run is from shards, and .* is something else"):
        fit.resume(narrow("gan", f'data.folder="{photos}"', longer), path)
    again = tmp_path / "again"
    sharding.write(surveyed(photos), str(again), size=32, quality=90)
    with pytest.raises(RunError, match="the run is from shards"):
        fit.resume(from_shards(again, longer), path)
    assert kcolor("evaluate", path, "--limit", "2").count("PSNR")  # by the photos themselves


def test_a_shard_that_breaks(photos, tmp_path):
    folder = tmp_path / "shards"
    found = surveyed(photos)
    sharding.write(found, str(folder), size=32, quality=0, photos_per_shard=100)
    [shard] = shards.load(folder).splits["train"]
    content = bytearray((folder / shard.name).read_bytes())
    content[-2] ^= 1
    (folder / shard.name).write_bytes(content)
    with pytest.raises(DataError, match="a shard is damaged or has gone") as caught:
        fit.fit(from_shards(folder), found, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert f"have it written anew: kcolor prepare {folder}/manifest.csv --shards {folder} --size 32" in str(
        caught.value
    )
    assert "--resume" in str(caught.value)


def test_prepare_and_fit_on_the_command_line(photos, tmp_path):
    folder = tmp_path / "shards"
    split = ["--set", "data.split=[0.6,0.2,0.2]"]
    said = kcolor("prepare", photos, "--shards", folder, "--size", "32", "--lossless", *split)
    assert f"shards: 13 photos in 2 files of {folder}" in said
    assert (shards.load(folder).format, shards.load(folder).size) == ("png", 32)
    assert "steps: 2 epochs" in kcolor("fit", "gan", "--data", folder, *settings(), "--dry-run")
    told = kcolor("fit", "gan", "--data", folder, *settings("data.size=64"), "-o", tmp_path / "run", status=2)
    assert "squares of 32 pixels, of whole photos (data.crop=false); the recipe needs 64 or more" in told
    assert not (tmp_path / "run").exists()
    assert NARROW
