"""`kcolor colorize --runner`, on Beam's in-process runner; in an environment with ``kcolor[beam]``: make test-beam."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import Here, mistake
from made import colour, fill, make
from PIL import Image

beam = pytest.importorskip("apache_beam")

from apache_beam.io.filesystem import BeamIOError, FileMetadata  # noqa: E402
from apache_beam.io.localfilesystem import LocalFileSystem  # noqa: E402

from kcolor import colorize as plainly  # noqa: E402
from kcolor import photo  # noqa: E402
from kcolor.beam.colorize import Model, Sources, colorize  # noqa: E402
from kcolor.beam.running import Running  # noqa: E402
from kcolor.colorize import Settings  # noqa: E402

HERE = Running("direct")
TWO = Running("direct", ("direct_num_workers=2",))
HEARING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from kcolor.cli import main
main()
"""


@pytest.fixture
def here(capsys, monkeypatch) -> Here:
    return Here(capsys, monkeypatch)


def run(model, photos, out, where=HERE, *, told=None, listed=None, root="", variants=None, **options):
    named = () if listed else tuple(map(str, photos if isinstance(photos, list) else [photos]))
    sources = Sources(named, listed and str(listed), str(root))
    of = Model(str(model), variants=variants)
    return colorize(sources, str(out), of, Settings(), told or {"model": "x"}, where=where, **options)


def content(folder: Path) -> dict[str, bytes]:
    """The photographs in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".jsonl"
    }


def lines(out: Path, prefix: str) -> list[dict]:
    return [
        json.loads(line)
        for path in (out / "kcolor-record").glob(f"{prefix}*.jsonl")
        for line in path.read_text().splitlines()
    ]


# --- as without Beam


def test_two_processes_do_what_one_does(here, tiny_model, folder):
    """More than a batch for each; variants, since of these each photograph goes through the network by itself."""
    fill(folder, [f"{'ab'[i % 2]}/{i:03}.{('jpg', 'png', 'webp')[i % 3]}" for i in range(140)])
    Image.fromarray(np.full((30, 40), 300, np.uint16)).save(folder / "deep.png")
    (folder / "bad.jpg").write_bytes(b"broken")
    there, out = folder.parent / "there", folder.parent / "out"
    tally = run(tiny_model, folder, out, TWO, variants=1, threads=1)
    assert tally.counts == {"coloured": 141, "skipped": 0, "failed": 1}
    assert tally.models == 2
    assert [name for name, _ in tally.failed] == [str(folder / "bad.jpg")]
    (letter,) = lines(out, "failed")
    assert letter["source"] == str(folder / "bad.jpg")
    assert letter["why"].startswith(f"{folder / 'bad.jpg'}: not a photograph")
    here("colorize", folder, "-o", there, "--model", tiny_model, "--variants", 1, cwd=folder.parent, status=2)
    assert content(out) == content(there)
    assert sorted(each["source"] for each in lines(out, "outcomes")) == sorted(
        json.loads(line)["source"] for line in (there / "kcolor.jsonl").read_text().splitlines()
    )


def test_the_command_says_what_it_says_without(here, tiny_model, folder, monkeypatch):
    """Each photograph a group of its own, so that neighbours make no difference to rounding."""
    monkeypatch.setattr(plainly, "PIXELS", 1)
    fill(folder, [f"{i}.jpg" for i in range(5)])
    (folder / "bad.jpg").write_bytes(b"broken")
    command = ["colorize", folder, "--model", tiny_model, "--saturation", "1.2"]
    _, plain = here(*command, "-o", folder.parent / "plain", cwd=folder.parent, status=2)
    _, told = here(*command, "-o", "out", "--runner", "direct", cwd=folder.parent, status=2)
    assert content(folder.parent / "out") == content(folder.parent / "plain")
    summary, failed = told.splitlines()[-2:]
    assert summary == plain.splitlines()[-2] == "5 coloured, 1 failed"
    assert failed.startswith(plain.splitlines()[-1])
    pattern = failed.rpartition("see ")[2]
    assert [json.loads(path.read_text())["source"] for path in Path("/").glob(pattern.lstrip("/"))] == [
        str(folder / "bad.jpg")
    ]
    (folder / "bad.jpg").unlink()
    _, told = here(*command, "-o", "out", "--runner", "direct", cwd=folder.parent)
    assert told.splitlines()[-1] == "5 skipped (5 coloured before)"
    # Either goes on where the other was.
    _, told = here(*command, "-o", "plain", "--runner", "direct", cwd=folder.parent)
    assert told.splitlines()[-1] == "5 skipped (5 coloured before)"


def test_what_is_done_is_not_done_again(tiny_model, folder):
    fill(folder, [f"{i}.png" for i in range(6)])
    out = folder.parent / "out"
    assert run(tiny_model, folder, out).counts["coloured"] == 6
    before = {path: path.stat().st_ino for path in out.glob("*.png")}
    tally = run(tiny_model, folder, out)
    assert (tally.counts["skipped"], tally.reasons) == (6, {"coloured before": 6})
    assert len(lines(out, "outcomes")) == 6
    colour(64, 9).save(folder / "2.png")
    os.utime(folder / "2.png", ns=(0, 1))
    (out / "4.png").unlink()
    assert run(tiny_model, folder, out).counts == {"coloured": 2, "skipped": 4, "failed": 0}
    same = [path.name for path, inode in before.items() if path.stat().st_ino == inode]
    assert sorted(same) == ["0.png", "1.png", "3.png", "5.png"]
    tally = run(tiny_model, folder, out, told={"model": "y"})
    assert tally.reasons == {"coloured before, with other settings; --overwrite colours it anew": 6}
    assert run(tiny_model, folder, out, overwrite=True).counts["coloured"] == 6
    (folder / "6.png").write_bytes(b"")
    shutil.copy(out / "0.png", out / "6.png")  # of which nothing is known
    assert run(tiny_model, folder, out).reasons["already there; --overwrite colours it anew"] == 1


def test_stopped_twice_and_run_again(tiny_model, folder):
    fill(folder, [f"{i:03}.png" for i in range(250)])
    out = folder.parent / "out"
    command = [sys.executable, "-c", HEARING, "colorize", folder, "-o", out, "--model", tiny_model]
    command += ["--runner", "direct", "--runner-option"]
    made: dict[Path, int] = {}
    for stop, workers in ((signal.SIGKILL, 2), (signal.SIGTERM, 1)):
        order = [*command, f"direct_num_workers={workers}"]
        process = subprocess.Popen(order, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        deadline = time.monotonic() + 100
        while len(list(out.glob("*.png"))) < len(made) + 20:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(stop)
        _, told = process.communicate(timeout=60)  # which its workers keep open, too
        before, made = made, {path: path.stat().st_ino for path in out.glob("*.png")}
        assert before.items() <= made.items()  # nothing was done twice
        assert len(before) + 20 <= len(made) < 250
        if stop == signal.SIGTERM:
            assert process.returncode == 130
            assert "kcolor: stopped; run it again to go on" in told
            assert "Traceback" not in told
            assert not [path for path in out.iterdir() if path.name.startswith(".")]
    tally = run(tiny_model, folder, out)
    assert tally.counts == {"coloured": 250 - len(made), "skipped": len(made), "failed": 0}
    for path in out.glob("*.png"):
        photo.read(path)
    assert made.items() <= {path: path.stat().st_ino for path in out.glob("*.png")}.items()


# --- which photographs


def test_files_folders_patterns(tiny_model, folder):
    fill(folder, ["a.png", "deep/er/b.jpg", "deep/c.gif", "deep/er/d.png"])
    out = folder / "out"
    run(tiny_model, [folder / "deep/**/*.jpg", folder / "a.png"], out)
    assert sorted(content(out)) == ["a.png", "er/b.jpg"]
    assert run(tiny_model, folder, out).counts["coloured"] == 3  # and not what lies in the output
    assert run(tiny_model, [folder / "deep", folder / "deep/er"], folder / "two").counts["coloured"] == 5
    assert sorted(content(folder / "two")) == ["b.jpg", "c.png", "d.png", "er/b.jpg", "er/d.png"]
    assert sorted(content(out)) == ["a.png", "deep/c.png", "deep/er/b.jpg", "deep/er/d.png", "er/b.jpg"]


def test_one_name_for_two_and_none_written_over(tiny_model, folder):
    fill(folder, ["a.png", "a.gif", "b.png", "link/c.png"])
    (folder / "d.png").symlink_to("b.png")
    out = folder.parent / "out"
    tally = run(tiny_model, [folder, folder / "b.png"], out)
    assert tally.counts == {"coloured": 3, "skipped": 0, "failed": 2}
    why = dict(tally.failed)[str(folder / "a.png")]
    assert why.endswith(f"would both become {out / 'a.png'}; colour them apart (-o)")
    before = content(folder)
    assert run(tiny_model, folder, folder).counts == {"coloured": 0, "skipped": 0, "failed": 4}
    assert content(folder) == before


def test_a_list_and_a_manifest(tiny_model, folder, tmp_path):
    fill(folder, ["a.png", "deep/b.jpg"])
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes((folder / "a.png").read_bytes())
    names = [b"a.png", b"", bytes(folder / "deep/b.jpg"), b"caf\xe9.png", b"nothing.png"]
    (tmp_path / "list.txt").write_bytes(b"\r\n".join(names))
    tally = run(tiny_model, None, tmp_path / "out", listed=tmp_path / "list.txt", root=folder)
    assert tally.counts == {"coloured": 3, "skipped": 0, "failed": 1}
    assert sorted(content(tmp_path / "out")) == ["a.png", "caf\udce9.png", "deep/b.jpg"]
    assert run(tiny_model, None, tmp_path / "out", listed=tmp_path / "list.txt", root=folder).counts["skipped"] == 3
    tally = run(tiny_model, None, tmp_path / "x", listed=tmp_path / "list.txt", root=folder / "other")
    assert "does not lie below" in " ".join(why for _, why in tally.failed)
    (folder / "deep/list.txt").write_text("../a.png\n../deep/b.jpg\n")
    tally = run(tiny_model, None, tmp_path / "y/z", listed=folder / "deep/list.txt", root=folder / "deep")
    assert (tally.counts["failed"], sorted(content(tmp_path / "y"))) == (1, ["z/b.jpg"])
    colour(30).save(folder / "small.png")  # no use for training, but to be coloured
    (folder / os.fsdecode(b"caf\xe9.png")).unlink()
    make(folder, min_size=64).save(tmp_path / "manifest.csv")
    assert run(tiny_model, None, tmp_path / "all", listed=tmp_path / "manifest.csv").counts["coloured"] == 3
    assert sorted(content(tmp_path / "all")) == ["a.png", "deep/b.jpg", "small.png"]


def test_no_photographs(here, tiny_model, folder):
    (folder / "empty").mkdir()
    tally = run(tiny_model, folder / "empty", folder.parent / "out")
    assert tally.failed == [(str(folder / "empty"), f"{folder / 'empty'}: no photographs here; name another")]
    for name in ("nothing.png", "nothing/*.png"):
        _, told = here("colorize", name, "--model", tiny_model, "--runner", "direct", cwd=folder, status=2)
        assert mistake(told) == f"kcolor: {folder / name}: no such file or folder; look at the name"


# --- elsewhere


class Far(LocalFileSystem):
    """A file system of its own names, which lies in a folder here, and has folders only as parts of names."""

    root = Path()

    @classmethod
    def scheme(cls):
        return "far"

    @classmethod
    def _here(cls, name: str) -> str:
        return str(cls.root / name.removeprefix("far://"))

    def has_dirs(self):
        return False

    def join(self, base, *paths):
        return "/".join([base.rstrip("/"), *paths])

    def _list(self, prefix):
        for path in sorted(self.root.rglob("*")):
            name = f"far://{path.relative_to(self.root)}"
            if path.is_file() and name.startswith(prefix):
                yield FileMetadata(name, path.stat().st_size, path.stat().st_mtime)

    def _path_open(self, path, mode, *options, **more):
        return super()._path_open(self._here(path), mode, *options, **more)

    def create(self, path, *options, **more):
        Path(self._here(path)).parent.mkdir(parents=True, exist_ok=True)
        return self._path_open(path, "wb", *options, **more)

    def rename(self, sources, targets):
        for source, target in zip(sources, targets, strict=True):
            Path(self._here(source)).rename(self._here(target))

    def exists(self, path):
        return Path(self._here(path)).exists()

    def metadata(self, path):
        if not self.exists(path):
            raise BeamIOError(f"no {path}")
        status = Path(self._here(path)).stat()
        return FileMetadata(path, status.st_size, status.st_mtime)


def test_photographs_and_model_that_lie_elsewhere(here, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(plainly, "PIXELS", 1)
    monkeypatch.setattr(Far, "root", tmp_path / "far")
    photos = fill(tmp_path / "far" / "bucket" / "photos", ["a.png", "deep/b.jpg", "deep/c [x].webp"])
    (photos / "bad.jpg").write_bytes(b"broken")
    (photos / "notes.txt").touch()
    shutil.copy(tiny_model, tmp_path / "far" / "tiny.keras")
    command = ["colorize", "far://bucket/photos", "-o", "far://bucket/out", "--model", "far://tiny.keras"]
    _, told = here(*command, "--runner", "direct", cwd=tmp_path, status=2)
    assert "kcolor: far://bucket/photos/bad.jpg: not a photograph" in told
    assert "3 coloured, 1 failed" in told
    assert str(tmp_path / "far") not in told
    here("colorize", photos, "-o", tmp_path / "near", "--model", tiny_model, cwd=tmp_path, status=2)
    assert content(tmp_path / "far" / "bucket" / "out") == content(tmp_path / "near")
    made = {each["source"]: each["targets"] for each in lines(tmp_path / "far" / "bucket" / "out", "outcomes")}
    assert made["far://bucket/photos/deep/b.jpg"] == ["far://bucket/out/deep/b.jpg"]
    _, told = here(*command, "--runner", "direct", cwd=tmp_path, status=2)
    assert "3 skipped, 1 failed (3 coloured before)" in told
    command[1:4] = ["far://bucket/photos/**.jpg", "-o", tmp_path / "mixed"]
    _, told = here(*command, "--runner", "direct", "--variants", 2, cwd=tmp_path, status=2)
    assert sorted(content(tmp_path / "mixed")) == ["deep/b.1.jpg", "deep/b.2.jpg"]


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a.png", "--runner", "direct", "--in-place"], "--runner: goes with none of"),
        (["-", "--runner", "direct"], "--runner: goes with none of"),
        (["--runner", "direct"], "name photos or folders"),
        (["gs://bucket/a.png"], "files that lie elsewhere are reached by --runner alone"),
        (["a.png", "--runner-option", "direct_num_workers=2"], "go with --runner"),
        (["a.png", "--runner", "direct", "--runner-option", "direct_workers=2"], "did you mean direct_num_workers?"),
        (["a.png", "--runner", "nothing"], "--runner nothing: "),
        (["nowhere://a.png", "--runner", "direct"], "nowhere://a.png: Unable to get filesystem"),
        (["a.png", "--runner", "direct", "--model", "smal"], "did you mean small?"),
        (["a.png", "--runner", "direct", "--scene", "sae"], "did you mean sea?"),
    ],
)
def test_mistakes(here, tiny_model, folder, arguments, line):
    fill(folder, ["a.png"])
    model = [] if "--model" in arguments else ["--model", tiny_model]
    _, told = here("colorize", *arguments, *model, cwd=folder, status=2)
    assert line in mistake(told)
    assert not (folder / "out").exists()


def test_a_mistake_that_a_worker_meets_with(tiny_model, folder):
    from kcolor.errors import KcolorError

    fill(folder, ["a.png"])
    (folder.parent / "out" / "kcolor-record").mkdir(parents=True)
    (folder.parent / "broken.keras").write_bytes(b"")
    with pytest.raises(KcolorError, match=r"^[^\n]*broken.keras: not a whole .keras model[^\n]*$"):
        run(folder.parent / "broken.keras", folder, folder.parent / "out", TWO)
