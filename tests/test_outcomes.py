"""The file of outcomes, by which a batch goes on."""

import errno
import json
import os
from pathlib import Path

import pytest

from kcolor import outcomes
from kcolor.errors import DataError
from kcolor.outcomes import COLOURED, FAILED, Outcome, Outcomes, stamp


@pytest.fixture
def record(tmp_path):
    return tmp_path / "out" / "kcolor.jsonl"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"a photograph")
    return path


def coloured(source: Path, target: Path) -> Outcome:
    target.touch()
    return Outcome(source, COLOURED, (target,), stamp=stamp(source), notes=("nearly colourless",), chroma=1.5)


def test_a_line_tells_all(record, source):
    with Outcomes(record, {"model": "abc"}) as file:
        file.add(coloured(source, record.parent / "a.png"))
    line = json.loads(record.read_text())
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "source": str(source),
        "status": "coloured",
        "targets": [str(record.parent / "a.png")],
        "why": "",
        "notes": ["nearly colourless"],
        "stamp": [12, source.stat().st_mtime_ns],
        "chroma": 1.5,
        "seconds": None,
        "settings": {"model": "abc"},
    }


def test_names_of_any_bytes(record, tmp_path):
    source = tmp_path / os.fsdecode(b"caf\xe9\n\xf0\x9f\x98\x80.png")
    source.touch()
    target = record.parent / source.name
    with Outcomes(record, {}) as file:
        file.add(coloured(source, target))
    assert len(record.read_bytes().splitlines()) == 1
    with Outcomes(record, {}) as file:
        assert file.done(source, (target,)) == "coloured before"


@pytest.mark.parametrize("cut", range(2, 200, 13))
def test_a_line_that_was_cut_off(record, source, cut):
    target = record.parent / "a.png"
    with Outcomes(record, {}) as file:
        file.add(coloured(source, target))
        file.add(Outcome(source, FAILED, why="x" * 200))
    record.write_bytes(record.read_bytes()[:-cut])
    with Outcomes(record, {}) as file:
        assert file.done(source, (target,)) == "coloured before"
        file.add(Outcome(source, FAILED, why="again"))
    with Outcomes(record, {}) as file:  # the new line has not been joined to the half one
        assert file.done(source, (target,)) == ""  # what failed is tried again


@pytest.mark.parametrize("line", ["[]", "3", "null", '{"source": "a"}', "\x00", '"text"'])
def test_lines_that_say_nothing(record, source, line):
    record.parent.mkdir()
    record.write_text(line + "\n")
    with Outcomes(record, {}) as file:
        assert file.done(source, (record.parent / "a.png",)) == ""


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match=r"out/kcolor.jsonl: cannot be written: (Not a directory|File exists)"):
        Outcomes(tmp_path / "out" / "kcolor.jsonl", {}).__enter__()


def test_a_full_disk(record, source, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Outcomes(record, {}) as file:
        monkeypatch.setattr(outcomes.os, "write", full)
        with pytest.raises(DataError, match="No space left on device; make room, and run it again"):
            file.add(Outcome(source, FAILED))
