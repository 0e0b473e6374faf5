"""Which photographs are to be coloured, and into which files."""

from pathlib import Path

import pytest
from made import fill

from kcolor import jobs, photo
from kcolor.cli.colorize import FORMATS
from kcolor.errors import DataError, KcolorError


def test_gather_and_pair(folder):
    fill(folder, ["a.png", "deep/b.jpg", "deep/c.gif"])
    (folder / "notes.txt").touch()
    out = folder.parent / "out"
    found = jobs.gather([folder, folder / "a.png"], out)
    assert [place.as_posix() for _, place in found] == ["a.png", "deep/b.jpg", "deep/c.gif", "a.png"]
    assert [target for _, target in jobs.pair(found[:3], out)] == [
        out / "a.png",
        out / "deep/b.jpg",
        out / "deep/c.png",
    ]
    assert jobs.pair(found, out) == jobs.pair(found[:3], out)  # what is there twice is taken once
    with pytest.raises(DataError, match=r"b/a.png and .*/a.png would both become .*out/a.png"):
        jobs.pair([*found, (folder / "b/a.png", Path("a.png"))], out)
    with pytest.raises(DataError, match="written over"):
        jobs.pair(jobs.gather([folder / "a.png"], out), folder)
    with pytest.raises(DataError, match="no such file"):
        jobs.gather([folder / "nothing.png"], out)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no photographs"):
        jobs.gather([folder / "empty"], out)


def test_no_photo_is_written_over(folder):
    fill(folder, ["nest/x.png", "nest/nest/x.png"])
    with pytest.raises(DataError, match=r"nest/x.png: would be written over"):
        jobs.pair(jobs.gather([folder / "nest"], folder), folder)


def test_what_was_coloured_before_is_not_taken_again(folder):
    fill(folder, ["x.png", "out/x.png"])
    assert [place.name for _, place in jobs.gather([folder], folder / "out")] == ["x.png"]
    assert len(jobs.gather([folder], folder.parent)) == 2


def test_formats_that_cannot_be_written_become_png(folder):
    names = ["scan", "a.gif", "b.jp2", "c.heic", "d.AVIF"]
    pairs = jobs.pair([(folder / name, Path(name)) for name in names], folder / "out")
    assert [target.name for _, target in pairs] == ["scan.png", "a.png", "b.png", "c.heic", "d.AVIF"]


def test_the_run_s_held_out_photos(finished):
    held = jobs.held_out(finished.path, "test")
    assert held
    assert all(source.is_file() and str(source).endswith(place.as_posix()) for source, place in held)
    with pytest.raises(KcolorError):
        jobs.held_out(finished.path.parent, "test")


def test_patterns(folder):
    fill(folder, ["a.png", "deep/b.jpg", "deep/c.png"])
    (folder / "notes.txt").touch()
    # Their places are below the folder that the pattern begins with.
    assert jobs.gather([folder / "**/*"], None) == [
        (folder / name, Path(name)) for name in ("a.png", "deep/b.jpg", "deep/c.png")
    ]
    assert [place for _, place in jobs.gather([folder / "deep" / "*.jpg"], None)] == [Path("b.jpg")]
    # What lies in the output was made by an earlier run.
    found = jobs.gather([folder / "**/*"], folder / "deep")
    assert [place for _, place in found] == [Path("a.png")]
    # A file that is really called so comes first.
    fill(folder, ["[a].png"])
    assert [source.name for source, _ in jobs.gather([folder / "[a].png"], None)] == ["[a].png"]
    for pattern in ("*.tif", "*.txt"):
        with pytest.raises(DataError, match="no such file or folder"):
            jobs.gather([folder / pattern], None)


def test_a_format_for_all(folder):
    pairs = jobs.pair([(folder / name, Path(name)) for name in ("a.jpg", "b/c.gif", "d")], folder / "out", "WEBP")
    assert [job.target for job in pairs] == [folder / "out" / name for name in ("a.webp", "b/c.webp", "d.webp")]
    with pytest.raises(DataError, match="would both become"):
        jobs.pair([(folder / name, Path(name)) for name in ("a.jpg", "a.png")], folder / "out", "PNG")


def test_formats_have_suffixes_by_which_they_are_written():
    assert list(jobs.SUFFIX) == FORMATS
    assert set(jobs.SUFFIX.values()) <= photo.WRITTEN


def test_in_place(folder):
    fill(folder, ["a.png", "b.gif"])
    (folder / "link.png").symlink_to("a.png")
    # The photograph that a link leads to, once, and not the link.
    assert jobs.in_place([(folder / name, Path(name)) for name in ("a.png", "link.png")]) == [
        jobs.Job(folder / "a.png", folder / "a.png")
    ]
    with pytest.raises(DataError, match=r"b.gif: cannot be written in place"):
        jobs.in_place([(folder / "b.gif", Path("b.gif"))])


def test_links_that_lead_nowhere_are_photographs_that_fail(folder):
    (folder / "loop.png").symlink_to("loop.png")
    assert jobs.gather([folder / "loop.png"], None) == [(folder / "loop.png", Path("loop.png"))]
