"""Photos of a manifest in columns: millions of them in some tens of bytes each, a `Photo` made when it is asked for."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, overload

import numpy as np

from kcolor.data.instances import Instance, Instances

SPLITS = ("train", "val", "test")

# Rows made into objects at a time where all are gone through.
CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Photo:
    """One candidate.

    Attributes:
        path: Relative to the root, with ``/``.
        label: Name of its class, "" when there is none.
        width: Pixels, as seen after the EXIF orientation is applied; 0 where the file could not be read.
        height: Pixels, likewise.
        orientation: EXIF orientation, 1 to 8.
        bytes: Of the file: a photo whose file has another size by now is another photo.
        split: "train", "val" or "test"; "" when the photo is out.
        reason: Why it is out; "" when it is kept.
        toned: Whether it is a toned monochrome, such as a sepia print.
        instances: The people and objects found in it, if they were looked for.
    """

    path: str
    label: str
    width: int
    height: int
    orientation: int
    bytes: int
    split: str
    reason: str
    toned: bool
    instances: tuple[Instance, ...] = ()


class Texts(Sequence[str]):
    """File names, one after another in a single run of bytes; each with the same beginning, which is kept once.

    Args:
        blob: The bytes of all.
        starts: (n,) where each begins in it.
        lengths: (n,) bytes of each.
        prefix: What each begins with, beside that.
    """

    def __init__(self, blob: bytes, starts: np.ndarray, lengths: np.ndarray, prefix: str = "") -> None:
        self.blob, self.starts, self.lengths, self.prefix = blob, starts, lengths, prefix

    @classmethod
    def of(cls, names: Iterable[str | os.PathLike[str]]) -> "Texts":
        """Put names, of any bytes, into one run."""
        return cls.of_bytes([os.fsencode(name) for name in names])

    @classmethod
    def of_bytes(cls, pieces: Sequence[bytes]) -> "Texts":
        """Put encoded names into one run."""
        lengths = np.fromiter(map(len, pieces), np.int32, len(pieces))
        return cls(b"".join(pieces), _starts(lengths), lengths)

    @classmethod
    def joined(cls, parts: Sequence["Texts"]) -> "Texts":
        """Put runs, as from `of_bytes`, into one."""
        lengths = np.concatenate([np.zeros(0, np.int32), *(part.lengths for part in parts)])
        return cls(b"".join(part.blob for part in parts), _starts(lengths), lengths)

    def below(self, prefix: str) -> "Texts":
        """The same names with something before each."""
        return Texts(self.blob, self.starts, self.lengths, prefix + self.prefix)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> "Texts": ...
    def __getitem__(self, index: Any) -> "str | Texts":
        if isinstance(index, slice | np.ndarray):
            return Texts(self.blob, self.starts[index], self.lengths[index], self.prefix)
        start = self.starts[index]
        return self.prefix + os.fsdecode(self.blob[start : start + self.lengths[index]])

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), CHUNK):
            yield from [self.prefix + os.fsdecode(piece) for piece in self[first : first + CHUNK].pieces()]

    def pieces(self) -> list[bytes]:
        """The names, encoded, without their prefix."""
        ends = (self.starts + self.lengths).tolist()
        return [self.blob[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)]

    def as_json(self) -> list[bytes]:
        """The names without their prefix, each as `json.dumps` writes it."""
        pieces = self.pieces()
        together = b"".join(pieces)
        if together.isascii() and together.decode().isprintable() and b'"' not in together and b"\\" not in together:
            return [b'"' + piece + b'"' for piece in pieces]
        return [json.dumps(os.fsdecode(piece)).encode("ascii") for piece in pieces]


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.cumsum(lengths, dtype=np.int64) - lengths


@dataclass(frozen=True, eq=False)
class Rows(Sequence[Photo]):
    """Photos, in columns; otherwise a sequence of `Photo` like any other.

    Attributes:
        paths: As `Photo.path`.
        label: (n,) int32, places in `labels`.
        width: (n,) int32.
        height: (n,) int32.
        orientation: (n,) uint8.
        bytes: (n,) int64.
        split: (n,) int8, places in `SPLITS`; -1 when the photo is out.
        reason: (n,) int32, places in `reasons`.
        toned: (n,) bool.
        labels: The classes' names, in any order; they may have some that are not used.
        reasons: The reasons' names, likewise.
        instances: As `Photo.instances`; none where it is left out.
    """

    paths: Texts
    label: np.ndarray
    width: np.ndarray
    height: np.ndarray
    orientation: np.ndarray
    bytes: np.ndarray
    split: np.ndarray
    reason: np.ndarray
    toned: np.ndarray
    labels: tuple[str, ...]
    reasons: tuple[str, ...]
    instances: Instances = field(default_factory=lambda: Instances.none(0))

    def __post_init__(self) -> None:
        if len(self.instances) != len(self) and not len(self.instances):
            object.__setattr__(self, "instances", Instances.none(len(self)))

    @classmethod
    def of(cls, photos: Iterable[Photo]) -> "Rows":
        """Photos, put into columns."""
        if isinstance(photos, Rows):
            return photos
        photos = list(photos)
        label, labels = numbered([photo.label for photo in photos])
        reason, reasons = numbered([photo.reason for photo in photos])
        return cls(
            paths=Texts.of(photo.path for photo in photos),
            label=label,
            width=np.array([photo.width for photo in photos], np.int32),
            height=np.array([photo.height for photo in photos], np.int32),
            orientation=np.array([photo.orientation for photo in photos], np.uint8),
            bytes=np.array([photo.bytes for photo in photos], np.int64),
            split=split_numbers([photo.split for photo in photos]),
            reason=reason,
            toned=np.array([photo.toned for photo in photos], np.bool_),
            labels=labels,
            reasons=reasons,
            instances=Instances.of([photo.instances for photo in photos]),
        )

    def __len__(self) -> int:
        return len(self.split)

    @overload
    def __getitem__(self, index: int) -> Photo: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> "Rows": ...
    def __getitem__(self, index: Any) -> "Photo | Rows":
        if isinstance(index, slice | np.ndarray):
            return replace(self, **{name: getattr(self, name)[index] for name in _COLUMNS})
        return Photo(*(column[0] for column in self.lists(slice(index, index + 1 or None))))

    def __iter__(self) -> Iterator[Photo]:
        for chunk in self.chunks():
            yield from map(Photo, *chunk)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return NotImplemented if not isinstance(other, Sequence) else False
        return all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def chunks(self) -> Iterator[list[list[Any]]]:
        """All rows, some thousands at a time, as `lists` gives them."""
        for first in range(0, len(self), CHUNK):
            yield self.lists(slice(first, first + CHUNK))

    def lists(self, some: slice) -> list[list[Any]]:
        """Some rows, as one list for each attribute of `Photo`, in its order."""
        splits = ("", *SPLITS)
        return [
            list(self.paths[some]),
            [self.labels[number] for number in self.label[some].tolist()],
            *(getattr(self, name)[some].tolist() for name in ("width", "height", "orientation", "bytes")),
            [splits[number + 1] for number in self.split[some].tolist()],
            [self.reasons[number] for number in self.reason[some].tolist()],
            self.toned[some].tolist(),
            list(self.instances[some]),
        ]

    @property
    def kept(self) -> np.ndarray:
        """(n,) bool, which are in a split."""
        return self.split >= 0

    def spread(self, at_most: int) -> "Rows":
        """So many, spread evenly; all where there are no more."""
        count = len(self)
        return self if at_most >= count else self[np.arange(at_most) * count // at_most]

    def of_split(self, name: str) -> "Rows":
        """Those of one of `SPLITS`."""
        return self[self.split == SPLITS.index(name)]


_COLUMNS = tuple(column.name for column in fields(Rows) if column.name not in ("labels", "reasons"))


def numbered(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Names as places, int32, in the sorted names that there are."""
    table = sorted(set(names))
    number = {name: place for place, name in enumerate(table)}
    return np.fromiter(map(number.__getitem__, names), np.int32, len(names)), tuple(table)


def split_numbers(names: Sequence[str]) -> np.ndarray:
    """Splits as places in `SPLITS`, int8; "" as -1."""
    number = {"": -1, **{name: place for place, name in enumerate(SPLITS)}}
    return np.fromiter(map(number.__getitem__, names), np.int8, len(names))
