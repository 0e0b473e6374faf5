"""`kcolor colorize` as a person uses it."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import Here, kcolor, mistake
from made import colour, fill
from PIL import Image

from kcolor import photo
from kcolor.outcomes import Outcomes


@pytest.fixture
def here(capsys, monkeypatch) -> Here:
    return Here(capsys, monkeypatch)


@pytest.fixture
def work(finished) -> Path:
    """The directory with the run ``runs/tiny``."""
    return finished.path.parents[1]


# What is started in the background of a script is deaf to Ctrl-C, and so are the tests if they are.
HEARING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from kcolor.cli import main
main()
"""


def started(*arguments, cwd: Path, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", HEARING, "colorize", *map(str, arguments)], cwd=cwd, **options)


# --- in and out


def test_standard_input_and_output(work, folder):
    fill(folder, ["a.jpg"])
    command = [sys.executable, "-m", "kcolor", "colorize", "-"]
    with (folder / "a.jpg").open("rb") as given, (folder / "made.png").open("wb") as made:
        done = subprocess.run(
            [*command, "--format", "png"], stdin=given, stdout=made, stderr=subprocess.PIPE, check=True, cwd=work
        )
    with Image.open(folder / "made.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 64))
    assert done.stderr.decode() == "standard input: has colours already: only its lightness is used\n"
    done = subprocess.run(command, input=b"broken", capture_output=True, check=False, cwd=work)
    assert (done.returncode, done.stdout) == (2, b"")
    assert mistake(done.stderr.decode()).startswith("kcolor: standard input: not a photograph")


def test_a_picture_is_not_written_to_a_terminal(work):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "kcolor", "colorize", "-"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
        cwd=work,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert "send it to a file" in mistake(done.stderr.decode())


def test_folders_patterns_and_formats(here, work, folder):
    fill(folder, ["a.png", "deep/er/b.jpg", "deep/c.gif"])
    out = folder.parent / "out"
    said, told = here("colorize", folder, "-o", out, "--format", "webp", "--quality", "60", cwd=work)
    assert said.split() == [str(out / name) for name in ("a.webp", "deep/c.webp", "deep/er/b.webp")]
    assert "3 coloured" in told.splitlines()[-1]
    for name in said.split():
        with Image.open(name) as picture:
            assert picture.format == "WEBP"
    said, _ = here("colorize", folder / "**/*.jpg", "-o", folder.parent / "other", cwd=work)
    assert said.split() == [str(folder.parent / "other" / "deep/er/b.jpg")]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-", "a.jpg"], "-: standard input is one photo"),
        (["-", "-o", "out"], "-: standard input is one photo"),
        (["a.jpg", "--in-place", "-o", "out"], "--in-place: goes with none of"),
        (["a.jpg", "--in-place", "--variants", "2"], "--in-place: goes with none of"),
        (["a.jpg", "--seed", "2"], "--seed: only --variants are drawn by chance"),
        (["a.jpg", "--quality", "0"], "'--quality': 0 is not in the range"),
        (["a.jpg", "--format", "gif"], "'gif' is not one of"),
        (["a.jpg", "--saturation", "-1"], "-1.0 is not in the range"),
        (["a.jpg", "--saturation", "nan"], "--saturation: nan is no number to multiply with"),
        (["a.jpg", "--grid", "sheet.txt"], "--grid sheet.txt: name a .jpg, .png or .webp"),
        (["nothing/*.jpg"], "nothing/*.jpg: no such file or folder; look at the name"),
    ],
)
def test_mistakes(here, work, arguments, line):
    _, told = here("colorize", *arguments, cwd=work, status=2)
    assert line in mistake(told)


# --- a batch


def test_run_again(here, work, folder):
    fill(folder, ["a.png", "b.png"])
    (folder / "c.png").write_bytes(b"broken")
    out = folder.parent / "out"
    said, told = here("colorize", folder, "-o", out, cwd=work, status=2)
    assert [Path(name).name for name in said.split()] == ["a.png", "b.png"]
    assert "kcolor: 1 of 3 photos could not be coloured: " + str(folder / "c.png") in told
    (out / "a.png").unlink()
    colour(64).save(folder / "c.png")
    said, told = here("colorize", folder, "-o", out, cwd=work)
    assert [Path(name).name for name in said.split()] == ["a.png", "c.png"]
    assert told.splitlines()[-1] == "2 coloured, 1 skipped (1 coloured before)"
    said, told = here("colorize", folder, "-o", out, "--overwrite", cwd=work)
    assert told.splitlines()[-1] == "3 coloured"
    statuses = [json.loads(line)["status"] for line in (out / "kcolor.jsonl").read_text().splitlines()]
    assert statuses == ["coloured", "coloured", "failed", "coloured", "coloured", "coloured", "coloured", "coloured"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_in_the_middle_and_run_again(work, folder, stop):
    fill(folder, [f"{i:03}.png" for i in range(300)])
    out = folder.parent / "out"
    process = started(folder, "-o", out, cwd=work, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 100
    while len(list(out.glob("*.png"))) < 20:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(stop)
    _, told = process.communicate(timeout=60)
    made = sorted(out.glob("*.png"))
    assert 20 <= len(made) < 300
    if stop != signal.SIGKILL:
        assert process.returncode == 130
        assert "kcolor: stopped; " in told
        assert "run it again to go on" in told
        assert "Traceback" not in told
    for path in made:  # whole, all of them
        photo.read(path)
    before = {path: path.stat().st_ino for path in made}
    _, told = kcolor("colorize", folder, "-o", out, cwd=work)
    assert len(list(out.glob("*.png"))) == 300
    assert {path: path.stat().st_ino for path in made} == before
    assert f"{300 - len(made)} coloured, {len(made)} skipped" in told
    if stop != signal.SIGKILL:
        assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_in_place(here, work, folder):
    fill(folder, ["a.png", "deep/b.png"])
    before = photo.read(folder / "a.png").rgb
    said, _ = here("colorize", folder, "--in-place", cwd=work)
    assert said.split() == [str(folder / "a.png"), str(folder / "deep/b.png")]
    assert (photo.read(folder / "a.png").rgb != before).any()
    assert len((folder / "kcolor.jsonl").read_text().splitlines()) == 2
    _, told = here("colorize", folder, "--in-place", cwd=work)
    assert "2 skipped (2 coloured by kcolor before" in told
    _, told = here("colorize", folder, "-o", folder, cwd=work, status=2)
    assert "would be written over; name another folder with -o, or say --in-place" in mistake(told)


def test_variants(here, work, folder):
    fill(folder, ["a.png"])
    made = {}
    for seed, out in ((0, "one"), (0, "two"), (1, "other")):
        said, _ = here("colorize", folder, "-o", folder.parent / out, "--variants", 3, "--seed", seed, cwd=work)
        assert [Path(name).name for name in said.split()] == ["a.1.png", "a.2.png", "a.3.png"]
        made[out] = [photo.read(Path(name)).rgb for name in said.split()]
    np.testing.assert_array_equal(made["one"], made["two"])
    assert all((one != other).any() for one, other in zip(made["one"], made["other"], strict=True))
    assert (made["one"][0] != made["one"][1]).any()


def test_a_scene_that_overrules_the_network(here, work, folder):
    fill(folder, ["a.png"])
    made = {}
    for scene in ("forest", "sea"):
        here("colorize", folder, "-o", folder.parent / scene, "--scene", scene, cwd=work)
        made[scene] = photo.read(folder.parent / scene / "a.png").rgb
    assert (made["forest"] != made["sea"]).any()
    _, told = here("colorize", folder, "-o", folder.parent / "x", "--scene", "sae", cwd=work, status=2)
    assert "did you mean sea" in mistake(told)
    assert not (folder.parent / "x").exists()


def test_a_contact_sheet(here, work, folder):
    fill(folder, [f"{i}.png" for i in range(5)])
    sheet = folder.parent / "sheet.png"
    _, told = here("colorize", folder, "-o", folder.parent / "out", "--grid", sheet, cwd=work)
    assert f"contact sheet: {sheet}" in told
    with Image.open(sheet) as picture:
        assert picture.size == (2 * 68 + 4, 3 * 68 + 4)


# --- what is in the way


def test_a_contact_sheet_is_no_photograph(here, work, folder):
    fill(folder, ["a.png"])
    before = (folder / "a.png").read_bytes()
    for sheet in (folder / "a.png", folder.parent / "out" / "a.png"):
        _, told = here("colorize", folder, "-o", folder.parent / "out", "--grid", sheet, cwd=work, status=2)
        assert f"{sheet}: is one of the photographs; choose another name" in mistake(told)
    assert (folder / "a.png").read_bytes() == before
    assert not (folder.parent / "out").exists()


def test_standard_output_that_is_full(work, folder):
    fill(folder, ["a.jpg"])
    with (folder / "a.jpg").open("rb") as given, Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "kcolor", "colorize", "-"]
        done = subprocess.run(
            command, stdin=given, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=work
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "kcolor: standard output: cannot be written: No space left on device"
    )
    assert "Traceback" not in done.stderr


def test_two_batches_in_one_folder(here, work, folder):
    fill(folder, ["a.png"])
    with Outcomes(folder.parent / "out" / "kcolor.jsonl", {}):
        _, told = here("colorize", folder, "-o", folder.parent / "out", cwd=work, status=2)
    assert mistake(told).endswith("out: another kcolor is at work in it; wait for it to end")


def test_what_a_format_has_no_place_for_is_told(here, work, folder):
    clear = np.dstack([np.asarray(colour(64)), np.arange(64, dtype=np.uint8)[None].repeat(64, 0)])
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(np.full((8, 8), 300, np.uint16)).save(folder / "deep.png")
    _, told = here("colorize", folder, "-o", folder.parent / "out", "--format", "jpeg", cwd=work)
    assert f"{folder / 'clear.png'}: JPEG has no transparency: on white" in told
    assert f"{folder / 'deep.png'}: JPEG has 8 bits: 16 were rounded" in told
    _, told = here("colorize", folder, "-o", folder.parent / "same", cwd=work)
    assert "JPEG" not in told


def test_a_place_that_cannot_be_written(here, work, folder):
    fill(folder, ["a.png"])
    (folder.parent / "out").touch()
    _, told = here("colorize", folder, "-o", folder.parent / "out", cwd=work, status=2)
    assert "out/kcolor.jsonl: cannot be written: " in told


def test_pictures_that_are_none(here, work, folder):
    """Each a line, nothing written for it, and the others coloured."""
    fill(folder, ["good.png"])
    (folder / "empty.jpg").touch()
    whole = (fill(folder, ["whole.jpg"]) / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("not a picture")
    Image.new("1", (40_000, 40_000)).save(folder / "huge.png")
    (folder / "loop.png").symlink_to("loop.png")
    Image.new("L", (1, 1), 90).save(folder / "tiny.png")
    Image.new("L", (1, 30_000), 90).save(folder / "long.png")
    out = folder.parent / "out"
    said, told = here("colorize", folder, folder / "loop.png", "-o", out, cwd=work, status=2)
    assert sorted(Path(name).name for name in said.split()) == ["good.png", "long.png", "tiny.png"]
    for name in ("empty.jpg", "cut.jpg", "text.png", "huge.png", "loop.png"):
        lines = [line for line in told.splitlines() if line.startswith(f"kcolor: {folder / name}: ")]
        assert len(lines) == 1, (name, told)
    assert "40000x40000 is 1,600,000,000 pixels" in told
    assert sorted(path.name for path in out.iterdir()) == ["good.png", "kcolor.jsonl", "long.png", "tiny.png"]


@pytest.mark.parametrize("command", ["colorize", "prepare"])
def test_a_runner_without_beam(here, work, folder, command, monkeypatch):
    fill(folder, ["a.png"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _, told = here(command, folder, "--runner", "direct", cwd=work, status=2)
    assert mistake(told) == "kcolor: --runner: needs Apache Beam; pip install 'kcolor[beam]'"
