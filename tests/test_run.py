import os
import subprocess
import sys

import pytest

from kcolor import run
from kcolor.errors import RunError


def make(path, finished_at=None):
    made = run.claim(path)
    run.describe(made, recipe_name="gan", recipe_toml="seed = 0\n", seed=0, manifest_sha256="0")
    if finished_at is not None:
        made.generator.touch()
        os.utime(made.generator, (finished_at, finished_at))
    return made


def test_runs_are_numbered(tmp_path):
    assert run.next_path("gan", tmp_path) == tmp_path / "gan-1"
    for name in ("gan-1", "gan-9", "gan-10", "gan-class-12", "gan-old"):
        (tmp_path / name).mkdir()
    assert run.next_path("gan", tmp_path) == tmp_path / "gan-11"
    assert run.last_path("gan", tmp_path) == tmp_path / "gan-10"
    assert run.last_path("gan-class", tmp_path) == tmp_path / "gan-class-12"
    with pytest.raises(RunError, match="no run of wgan"):
        run.last_path("wgan", tmp_path)


def test_the_newest_finished_run(tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        run.newest_finished(tmp_path)
    make(tmp_path / "b", finished_at=200)
    make(tmp_path / "a", finished_at=100)
    make(tmp_path / "c")
    assert run.newest_finished(tmp_path).path == tmp_path / "b"


def test_a_directory_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="there is something in it"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_no_run(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        run.Run(tmp_path).read_info()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="not a run directory"):
        run.Run(tmp_path).read_info()
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(RunError, match="not a run directory"):
        run.Run(tmp_path).read_info()
    with pytest.raises(RunError, match="cannot be made"):
        make(tmp_path / "run.json" / "deeper")


def test_a_directory_left_before_it_was_a_run_is_taken_over(tmp_path):
    left = run.claim(tmp_path)
    left.recipe.touch()
    left.manifest.touch()
    assert make(tmp_path).read_info()["recipe"] == "gan"
    with pytest.raises(RunError, match="there is something in it"):
        run.claim(tmp_path)


def test_one_process_at_a_time(tmp_path):
    made = make(tmp_path)
    code = f"""
from pathlib import Path
from kcolor import errors, run
try:
    with run.locked(run.Run(Path({str(tmp_path)!r}))):
        print("taken")
except errors.RunError as error:
    print(error)
"""
    with run.locked(made):
        held = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "another process is training this run" in held.stdout
    free = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert free.stdout == "taken\n"
