"""The rows of a manifest's file: CSV, in which every text is quoted, to and from columns.

Millions of rows are read in the time that Python's own reader of CSV takes for a few hundred thousand: what has no
quotes or line ends inside its texts, which is nearly every file, is taken apart by NumPy.

Where instances were looked for there is one column more, also a text: ``left top right bottom score name; ...``.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from typing import Any, BinaryIO, TextIO

import numpy as np

from kcolor.data.instances import Instance, Instances
from kcolor.data.rows import CHUNK, SPLITS, Rows, Texts

COLUMNS = ["path", "class", "width", "height", "orientation", "bytes", "split", "reason", "toned"]
WITH_INSTANCES = [*COLUMNS, "instances"]

_BLOCK = 2**24  # bytes taken apart at a time


def write(file: TextIO, rows: Rows, *, instances: bool = False) -> None:
    """Write the line of the columns' names, and all rows; with their instances or without."""
    file.write(",".join(WITH_INSTANCES if instances else COLUMNS) + "\n")
    # What csv.writer with QUOTE_NONNUMERIC writes, in a third of the time. Every text is quoted: a file name may hold
    # line ends, and not every Python quotes a lone "\r" by itself.
    quoted = {text: _quoted(text) for text in (*rows.labels, *rows.reasons, *SPLITS, "")}
    for chunk in rows.chunks():
        file.write(
            "".join(
                [
                    f"{_quoted(path)},{quoted[label]},{width},{height},{orientation},{size},{quoted[split]},{quoted[reason]},{toned:d}"
                    f"{',' + _quoted(_told(found)) if instances else ''}\n"
                    for path, label, width, height, orientation, size, split, reason, toned, found in zip(
                        *chunk, strict=True
                    )
                ]
            )
        )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _told(found: Sequence[Instance]) -> str:
    return "; ".join(f"{i.left} {i.top} {i.right} {i.bottom} {i.score!r} {i.name}" for i in found)


def _instances(text: str, width: int, height: int) -> tuple[Instance, ...]:
    """What `_told` told.

    Raises:
        ValueError: It is something else, or a box is not inside a photo of this size.
    """
    if not text:
        return ()
    found = []
    for each in text.split("; "):
        parts = each.split(" ", 5)
        if len(parts) < 6:
            raise ValueError(f"instance {each!r}")
        left, top, right, bottom = map(int, parts[:4])
        if not (0 <= left < right <= width and 0 <= top < bottom <= height and 0 <= float(parts[4]) <= 1):
            raise ValueError(f"instance {each!r} of a photo of {width} x {height} pixels")
        found.append(Instance(parts[5], float(parts[4]), left, top, right, bottom))
    return tuple(found)


def read(file: BinaryIO, *, instances: bool = False) -> Rows:
    """The rows that follow, with instances or without.

    Raises:
        ValueError: A row is broken; its arguments are the number of its last line, from 1 for the first row, and why.
    """
    start = file.tell()
    table = _Table()
    for block in _blocks(file):
        if not _take_apart(block, table, instances):
            file.seek(start)
            table = _Table()
            _read_slowly(file, table, instances)
            break
    return table.rows()


class _Numbers(dict[bytes, int]):
    """Numbers texts as they are first met."""

    def __missing__(self, text: bytes) -> int:
        self[text] = len(self)
        return self[text]

    def of(self, texts: Sequence[bytes]) -> np.ndarray:
        return np.fromiter(map(self.__getitem__, texts), np.int32, len(texts))

    def names(self) -> tuple[str, ...]:
        return tuple(text.decode("utf-8", "surrogateescape") for text in self)


class _Table:
    """Columns that are added to."""

    def __init__(self) -> None:
        self._labels, self._reasons = _Numbers(), _Numbers()
        self._paths: list[Texts] = []
        self._columns: list[list[np.ndarray]] = []
        self._instances: list[tuple[Instance, ...]] = []

    def add(
        self,
        texts: Sequence[Sequence[bytes]],
        numbers: Sequence[np.ndarray],
        instances: Sequence[tuple[Instance, ...]] = (),
    ) -> None:
        """Add rows: their paths, labels, splits, reasons; width, height, orientation, bytes, toned; instances."""
        paths, labels, splits, reasons = texts
        self._instances += instances
        split = np.fromiter(map(_SPLIT_NUMBERS.__getitem__, splits), np.int8, len(splits))
        self._paths.append(Texts.of_bytes(paths))
        self._columns.append([self._labels.of(labels), split, self._reasons.of(reasons), *numbers])

    def rows(self) -> Rows:
        if not self._columns:
            return Rows.of([])
        columns = [np.concatenate(column) for column in zip(*self._columns, strict=True)]
        label, split, reason, width, height, orientation, size, toned = columns
        return Rows(
            paths=Texts.joined(self._paths),
            label=label,
            width=width.astype(np.int32),
            height=height.astype(np.int32),
            orientation=orientation.astype(np.uint8),
            bytes=size.astype(np.int64),
            split=split,
            reason=reason,
            toned=toned.astype(np.bool_),
            labels=self._labels.names(),
            reasons=self._reasons.names(),
            instances=Instances.of(self._instances),
        )


_SPLIT_NUMBERS = {b"": -1, **{name.encode(): number for number, name in enumerate(SPLITS)}}


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """All bytes, cut at ends of lines."""
    rest = b""
    while more := file.read(_BLOCK):
        whole, end, rest = (rest + more).rpartition(b"\n")
        if end:
            yield whole + end
    if rest:
        yield rest


def _take_apart(block: bytes, table: _Table, instances: bool) -> bool:
    """Add the rows of whole lines; False where they are not all sound and as `write` writes texts of no odd letters."""
    buffer = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(buffer == ord('"'))
    in_row = 10 if instances else 8
    if len(quotes) % in_row:
        return False
    q = quotes.reshape(-1, in_row).T
    toned_ends = q[7] + 3  # "",0 and the end of the line, or the comma before the instances
    ends = q[9] + 1 if instances else toned_ends
    if not len(ends) or ends[-1] != len(buffer) - 1 or np.any(q[0] != np.concatenate([[0], ends[:-1] + 1])):
        return False
    commas = np.flatnonzero(buffer == ord(","))
    # Between the class and the split: ",256,256,1,15000,"
    first = np.searchsorted(commas, q[3])
    if first[-1] + 4 >= len(commas):
        return False
    between = [commas[first + i] for i in range(5)]
    joints = [(q[1] + 2, q[2]), (q[3] + 1, between[0]), (between[4] + 1, q[4]), (q[5] + 2, q[6])]
    marks = [(q[1] + 1, ","), (q[5] + 1, ","), (q[7] + 1, ","), (ends, "\n")]
    if instances:
        joints.append((toned_ends + 1, q[8]))
        marks.append((toned_ends, ","))
    if any(np.any(a != b) for a, b in joints) or any(np.any(buffer[at] != ord(mark)) for at, mark in marks):
        return False
    numbers = [_integers(buffer, a + 1, b) for a, b in pairwise(between)]
    numbers.append(_integers(buffer, q[7] + 2, toned_ends))
    texts = [
        [block[a:b] for a, b in zip((q[i] + 1).tolist(), q[i + 1].tolist(), strict=True)] for i in range(0, in_row, 2)
    ]
    width, height, orientation, _, toned = numbers
    limits = [(each, 0, 2**63 - 1) for each in numbers]
    limits += [(width, 0, 2**31 - 1), (height, 0, 2**31 - 1), (orientation, 1, 8), (toned, 0, 1)]
    no_split, no_reason = q[5] - q[4] == 1, q[7] - q[6] == 1
    sound = not any(np.any((each < least) | (each > most)) for each, least, most in limits)
    told = [text.decode("utf-8", "surrogateescape") for text in texts.pop()] if instances else []
    if sound and set(texts[2]) <= set(_SPLIT_NUMBERS) and np.all(no_split != no_reason):
        with suppress(ValueError):
            found = [_instances(*each) for each in zip(told, width.tolist(), height.tolist(), strict=False)]
            table.add(texts, numbers, found)
            return True
    return False


def _integers(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Decimal numbers that stand between these places; -1 for what is none, or is too long."""
    lengths = ends - starts
    if lengths.max() > 18:
        return np.full(len(starts), -1)
    value, sound = np.zeros(len(starts), np.int64), lengths > 0
    for place in range(int(lengths.max())):
        digit = buffer[np.maximum(ends - 1 - place, starts)].astype(np.int64) - ord("0")
        there = lengths > place
        sound &= ~there | ((digit >= 0) & (digit <= 9))
        value += np.where(there, digit, 0) * 10**place
    return np.where(sound, value, -1)


def _read_slowly(file: BinaryIO, table: _Table, instances: bool) -> None:
    """Add the rows of any CSV.

    Raises:
        ValueError, csv.Error: As `read`.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(text)
    try:
        while rows := [_checked(row, instances) for row in islice(reader, CHUNK)]:
            columns = list(zip(*rows, strict=True))
            texts = [[each.encode("utf-8", "surrogateescape") for each in columns[i]] for i in (0, 1, 6, 7)]
            table.add(texts, [np.array(columns[i], np.int64) for i in (2, 3, 4, 5, 8)], columns[9])
    except (ValueError, csv.Error) as error:
        raise ValueError(reader.line_num, str(error)) from error
    finally:
        text.detach()


def _checked(row: Sequence[str], instances: bool) -> tuple[Any, ...]:
    columns = WITH_INSTANCES if instances else COLUMNS
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} columns instead of {len(columns)}")
    name, label, width, height, orientation, size, split, reason, toned = row[: len(COLUMNS)]
    if split not in (*SPLITS, "") or bool(split) == bool(reason):
        raise ValueError(f"split {split!r} with the reason {reason!r}")
    if not 1 <= int(orientation) <= 8:
        raise ValueError(f"orientation {orientation}")
    if not all(0 <= int(side) < 2**31 for side in (width, height)):
        raise ValueError(f"{width} x {height} pixels")
    if not 0 <= int(size) < 2**63:
        raise ValueError(f"{size} bytes")
    if int(toned) not in (0, 1):
        raise ValueError(f"toned {toned}")
    found = _instances(row[-1], int(width), int(height)) if instances else ()
    return name, label, int(width), int(height), int(orientation), int(size), split, reason, bool(int(toned)), found
