"""Models that come with the package: here in a folder that stands for the package's."""

import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from made import fill

from kcolor import bundled
from kcolor.cli import cli
from kcolor.colorizer import Colorizer, load_generator
from kcolor.errors import KcolorError, RunError


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    path = tmp_path / "package" / "kcolor" / "models"
    path.mkdir(parents=True)
    monkeypatch.setattr(bundled, "FOLDER", path)
    return path


@pytest.fixture
def small(shelf, finished):
    shutil.copy(finished.generator, shelf / "small.keras")
    return shelf / "small.keras"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory to work in."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def run(*words):
    """In this process, where the folder is another; what was said, or the error."""
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if done.exception and not isinstance(done.exception, KcolorError | click.UsageError):
        raise done.exception
    return done.exception or done.output


def test_what_comes_with_the_package_is_small_enough():
    for path in bundled.models():
        assert path.stat().st_size <= 15e6


def test_by_name_and_by_path(small, here):
    assert bundled.models() == [small]
    assert bundled.find(small) == small
    assert bundled.find(Path("small")) == small
    (here / "small").mkdir()  # what is there comes first
    assert bundled.find(Path("small")) == Path("small")


def test_names_are_told(small, shelf, here):
    shutil.copy(small, shelf / "large.keras")
    with pytest.raises(RunError) as told:
        bundled.find(Path("smal"))
    assert str(told.value) == (
        "smal: no such run or model; give a run, a model's file, or the name of one that comes with kcolor: "
        "large, small (did you mean small?)"
    )


def test_without_any(shelf, here):
    shelf.rmdir()
    assert bundled.models() == []
    with pytest.raises(RunError, match=r"^small: no such run or model$"):
        bundled.find(Path("small"))


def test_loaded_by_name(small, here):
    assert Colorizer.load(Path("small")).path == small
    assert load_generator(Path("small")).input_shape == (None, 64, 64, 1)


def test_the_newest_run_comes_before_the_package_s_model(small, here, finished, folder):
    fill(folder, ["a.png"])
    assert f"model: {small}" in run("colorize", folder, "-o", here / "out")
    assert (here / "out" / "a.png").is_file()
    (here / "runs").mkdir()
    (here / "runs" / "mine").symlink_to(finished.path)
    assert "model: runs/mine" in run("colorize", folder, "-o", here / "out")
    assert f"model: {small}" in run("colorize", folder, "-o", here / "out", "--model", "small")


def test_without_run_or_model(shelf, here, folder):
    fill(folder, ["a.png"])
    assert "no finished run here" in str(run("colorize", folder))


def test_the_split_is_of_a_run(small, here):
    assert "no finished run here" in str(run("colorize", "--split", "test"))


def test_evaluated_and_exported_by_name(small, here):
    assert f"{small} is not part of a run; name photos with --data" in str(run("evaluate", "small"))
    assert "exports/small/small.keras" in run("export", "small", "--half")
    assert "no such run or model" in str(run("evaluate", "smal"))
