"""The command line as a person uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import kcolor
from made import fill
from PIL import Image

from kcolor import __version__
from kcolor.data.manifest import Manifest


@pytest.fixture
def work(finished) -> Path:
    """A directory with one finished run in ``runs/``."""
    return finished.path.parents[1]


def test_version_and_help(tmp_path):
    assert kcolor("--version", cwd=tmp_path)[0].strip().endswith(__version__)
    said, _ = kcolor("-h", cwd=tmp_path)
    for verb in ("recipes", "prepare", "fit", "colorize", "export"):
        assert verb in said


def test_recipes(tmp_path):
    said, _ = kcolor("recipes", cwd=tmp_path)
    names = [line.split()[0] for line in said.splitlines()]
    assert names == ["chromagan", "gan", "gan-class", "quickstart", "small", "wgan", "wgan-clip"]
    assert all(len(line.split()) > 5 for line in said.splitlines())


def test_prepare(folder, tmp_path):
    fill(folder, [f"{scene}/{i}.png" for scene in ("forest", "sea") for i in range(10)])
    (folder / "sea" / "broken.jpg").write_bytes(b"broken")
    said, _ = kcolor("prepare", folder, cwd=tmp_path)
    assert "20 photos, 2 classes (17 train, 1 val, 2 test)" in said
    assert "out: 1 unreadable" in said
    assert Manifest.load(tmp_path / "manifests" / "photos.csv").counts()["train"] == 17
    said, _ = kcolor("prepare", folder, "-o", "mine.csv", "--set", "data.split=[0.5,0.25,0.25]", cwd=tmp_path)
    assert Manifest.load(tmp_path / "mine.csv").counts()["train"] == 10


def test_dry_run_counts_and_trains_nothing(photos, tmp_path):
    said, _ = kcolor("fit", "gan", "--data", photos, "--dry-run", "--set", "data.min_size=32", cwd=tmp_path)
    assert "generator: 54,410,882 trainable parameters" in said
    assert "critic: 2,765,569 trainable parameters" in said
    assert "30 steps: 30 epochs of 1 batches of 8 photos" in said
    assert 'kind = "cgan"' in said
    assert list(tmp_path.iterdir()) == []


def test_dry_run_without_photos(tmp_path):
    said, _ = kcolor("fit", "wgan", "--dry-run", cwd=tmp_path)
    assert "generator: 97,096,015 trainable parameters" in said
    assert "critic: 2,763,777 trainable parameters" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "wgam"], "wgam: no such recipe; give a .toml file or one of chromagan, gan, gan-class"),
        (["fit", "gan", "--set", "train.epoch=5"], "train.epoch: no such key"),
        (["fit", "gan"], "no photos named; add --data DIR"),
        (["fit", "gan", "--data", "nowhere"], "nowhere is not a folder"),
        (["fit"], "name a recipe"),
        (["fit", "gan", "--resume"], "no run of gan to resume"),
        (["fit", "--resume", "-o", "nowhere"], "nowhere: not a run directory"),
        (["colorize", "a.jpg"], "a.jpg: no such file"),
        (["colorize"], "name photos or folders"),
        (["export"], "say what to export"),
        (["export", "--tflite"], "no finished run"),
        (["export", "nowhere", "--tflite"], "nowhere: no such run or model"),
        (["prepare", "nowhere"], "nowhere is not a folder"),
        (["fitt"], "No such command"),
        (["fit", "gan", "--resume", "--dry-run"], "does not go with --resume"),
        (["fit", "gan", "--resume", "--from", "a"], "--from is where a new run starts"),
        (["fit", "gan", "--data", ".", "--from", "nowhere"], "nowhere: no such run or model"),
        (["prepare", ".", "--set", "seed=7"], "only keys of the [data] table matter here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_status_2(tmp_path, words, said):
    (tmp_path / "b.jpg").touch()
    _, error = kcolor(*words, cwd=tmp_path, status=2)
    assert said in error
    told = [line for line in error.splitlines() if not line.startswith(("Usage:", "Try "))]
    assert len([line for line in told if line.strip()]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["b.jpg"]


def test_dry_run_says_whether_a_model_fits(work, photos, tmp_path):
    words = ["fit", "wgan", "--data", photos, "--from", "runs/tiny", "--dry-run"]
    _, error = kcolor(*words, cwd=work, status=2)
    assert "to start from it: --set data.size=64 --set network.width=4 --set network.depth=4" in error
    said, _ = kcolor(*words, *error.split("to start from it: ")[1].split(), cwd=work)
    assert "trainable parameters" in said


def test_colorize_with_the_newest_run(work, folder):
    fill(folder, ["a.png", "deep/b.jpg"])
    said, told = kcolor("colorize", folder, "-o", folder.parent / "out", cwd=work)
    assert said.splitlines() == [str(folder.parent / "out/a.png"), str(folder.parent / "out/deep/b.jpg")]
    assert "model: runs/tiny" in told
    with Image.open(folder.parent / "out" / "deep" / "b.jpg") as made:
        assert (made.size, made.format) == ((64, 64), "JPEG")


def test_colorize_says_which_photo_failed(work, folder):
    fill(folder, ["a.png", "c.png"])
    (folder / "b.png").write_bytes(b"broken")
    out = folder.parent / "out"
    said, told = kcolor("colorize", folder, "-o", out, cwd=work, status=2)
    assert len(said.splitlines()) == 2
    assert "b.png: not a photograph" in told
    assert "1 of 3 photos could not be coloured" in told


def test_colorize_takes_any_name_and_names_what_is_too_large(work, folder):
    names = [b"line\nbreak.png", b"caf\xe9.png", b"-o.png"]
    fill(folder, ["a.png"])
    for name in names:
        (folder / os.fsdecode(name)).write_bytes((folder / "a.png").read_bytes())
    (folder / "a.png").unlink()
    (folder / os.fsdecode(b"broken\n\xff.png")).write_bytes(b"broken")
    Image.new("RGB", (65, 64)).save(folder / "large.png")
    out = folder.parent / "out"
    words = ["colorize", folder, "-o", out, "--max-pixels", "4096"]
    done = subprocess.run([sys.executable, "-m", "kcolor", *words], capture_output=True, check=False, cwd=work)
    assert done.returncode == 2, done.stderr
    assert out.exists(), done.stderr.decode()
    assert sorted(os.fsencode(path.name) for path in out.glob("*.png")) == sorted(names)
    assert sorted(done.stdout.splitlines()) == sorted(
        line for name in names for line in (os.fsencode(out) + b"/" + name).splitlines()
    )
    failed = [line for line in done.stderr.decode().splitlines() if line.startswith(f"kcolor: {folder}")]
    assert len(failed) == 2
    assert failed[0].startswith(f"kcolor: {folder}/broken\\n\\udcff.png: not a photograph that can be read")
    assert failed[1].startswith(f"kcolor: {folder}/large.png: too large: 65x64 is 4,160 pixels")


def test_export(work, tmp_path):
    said, _ = kcolor("export", "--saved-model", "-o", tmp_path / "exports", cwd=work)
    assert "Delta E from Keras" in said
    assert (tmp_path / "exports" / "tiny" / "manifest.json").is_file()
    assert (tmp_path / "exports" / "tiny" / "1" / "saved_model.pb").is_file()


def test_output_that_nobody_reads_to_its_end(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "kcolor", "recipes"], stdout=writer, stderr=subprocess.PIPE, check=False, cwd=tmp_path
    )
    os.close(writer)
    assert b"Traceback" not in done.stderr
