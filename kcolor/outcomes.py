"""What became of each photograph of a batch: a file of JSON lines, by which a batch that was stopped goes on."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kcolor import files
from kcolor.errors import DataError

NAME = "kcolor.jsonl"

COLOURED, SKIPPED, FAILED = "coloured", "skipped", "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one photograph.

    Args:
        source: The photograph.
        status: `COLOURED`, `SKIPPED` or `FAILED`.
        targets: The files that were written: one, or one for each variant.
        why: Why it was skipped, or what went wrong.
        notes: What else there is to know.
        stamp: Bytes and time of the source when it was read.
        chroma: Mean chroma of the colours, in CIE units, where it was coloured.
        seconds: From the beginning of its reading to the end of its writing.
    """

    source: Path
    status: str
    targets: tuple[Path, ...] = ()
    why: str = ""
    notes: tuple[str, ...] = ()
    stamp: tuple[int, int] | None = None
    chroma: float | None = None
    seconds: float | None = None


@dataclass
class Outcomes:
    """The file of outcomes of a folder; as a context, open to have lines added.

    Names that are no UTF-8 are kept as JSON escapes of what Python makes of them. A line that was cut off, by a kill or
    a full disk, is passed over. The last line on a photograph is the one that counts.

    Args:
        path: The file; it need not be there.
        settings: By what the colours are made: kept with each line, and compared.
    """

    path: Path
    settings: Mapping[str, Any]
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)
    _descriptor: int = -1

    def __enter__(self) -> Self:
        """Read what is there, and open it to be added to.

        Raises:
            DataError: It cannot be read or written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._known = _read(self.path)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            _lock(self._descriptor, self.path)
            if _is_cut_off(self.path):
                os.write(self._descriptor, b"\n")
        except OSError as error:
            raise DataError(f"{files.shown(self.path)}: cannot be written: {files.reason(error)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def add(self, outcome: Outcome) -> None:
        """Add a line; not on a photograph that is skipped because of an earlier one.

        Raises:
            DataError: It cannot be written.
        """
        if outcome.status == SKIPPED and _named(outcome.source) in self._known:
            return
        try:
            # In one write, so that a kill leaves a whole line or none, and two processes do not mix theirs.
            os.write(self._descriptor, (json.dumps(entry(outcome, self.settings)) + "\n").encode())
        except OSError as error:
            raise DataError(f"{files.shown(self.path)}: cannot be written: {files.reason(error)}") from error

    def done(self, source: Path, targets: tuple[Path, ...]) -> str:
        """Why a photograph needs nothing done: it is coloured, has not changed since, and the files are there.

        Returns:
            The reason; "" if there is something to do.
        """
        # A photograph that was coloured in place says so itself.
        if source in targets or not all(os.path.lexists(target) for target in targets):
            return ""
        made = [_named(target) for target in targets]
        return settled(self._known.get(_named(source)), made, stamp(source), dict(self.settings))


def entry(outcome: Outcome, settings: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome as it is written down."""
    return {
        **asdict(outcome),
        "source": _named(outcome.source),
        "targets": [_named(target) for target in outcome.targets],
        "settings": dict(settings),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def entries(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    """What was written down; a line that was cut off is passed over."""
    for line in lines:
        try:
            known = json.loads(line)
            if {"source", "status", "targets", "stamp", "settings"} <= known.keys():
                yield known
        except (ValueError, AttributeError):
            continue


def settled(known: Mapping[str, Any] | None, made: Sequence[Any], now: tuple[int, int] | None, settings: Any) -> str:
    """Why a photograph whose coloured files are there needs nothing done.

    Args:
        known: The last that was written down of it; None if nothing was.
        made: The names of its coloured files, as in `known`.
        now: The stamp of the photograph as it is.
        settings: By what it would be coloured, likewise.

    Returns:
        The reason; "" if there is something to do.
    """
    if known is not None and known["status"] == FAILED:
        return ""
    if known is None or known["status"] != COLOURED or known["targets"] != list(made):
        return "already there; --overwrite colours it anew"
    if known["stamp"] != list(now or ()):
        return ""
    if known["settings"] != settings:
        return "coloured before, with other settings; --overwrite colours it anew"
    return "coloured before"


def _lock(descriptor: int, path: Path) -> None:
    """Keep a second batch from the folder, until this process ends.

    Raises:
        DataError: There is one already.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise DataError(f"{files.shown(path.parent)}: another kcolor is at work in it; wait for it to end") from error
    except OSError:  # not every file system can
        return


def _named(path: Path) -> str:
    """The same from whatever folder kcolor is called."""
    return os.path.abspath(path)  # noqa: PTH100  # links are not followed


def stamp(source: Path) -> tuple[int, int] | None:
    """Bytes and time of change of a file; None if it cannot be looked at."""
    try:
        status = source.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The last line on each photograph."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        return {known["source"]: known for known in entries(file)}


def _is_cut_off(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
