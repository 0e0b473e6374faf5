"""A folder of photos -> a manifest: which are used, their class and split, and why the others are not.

The manifest is the survey of the folder (`kcolor.survey`) seen through rules: size, classes, split, seed. It is fast
and deterministic, so that rules can be changed without decoding again.
"""

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from kcolor import files
from kcolor.errors import DataError
from kcolor.survey import Facts, survey

SPLITS = ("train", "val", "test")

MANIFEST_VERSION = 2
MANIFEST_MARK = "# kcolor manifest "
COLUMNS = ["path", "class", "width", "height", "orientation", "bytes", "split", "reason", "toned"]


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


@dataclass(frozen=True)
class Manifest:
    """Every candidate of a folder, kept and out, and the rules that decided.

    Attributes:
        root: The folder that the photos' paths start from, absolute.
        photos: Sorted by path.
        rules: seed, split, min_size, drop_toned, include and labels, as `prepare` was given them.
    """

    root: Path
    photos: tuple[Photo, ...]
    rules: dict[str, Any]

    @cached_property
    def classes(self) -> list[str]:
        """Sorted names of the kept photos' classes; empty when photos have no class."""
        return sorted({photo.label for photo in self.photos if photo.split and photo.label})

    @cached_property
    def sha256(self) -> str:
        """Digest, in hexadecimal, of what training sees of the kept photos: the same wherever the folder lies."""
        digest = hashlib.sha256()
        for photo in self.photos:
            if photo.split:
                row = [photo.path, photo.label, photo.split, photo.orientation]
                digest.update(json.dumps(row).encode("ascii") + b"\n")
        return digest.hexdigest()

    def split(self, name: str) -> list[Photo]:
        """Photos of one split, sorted by path.

        Args:
            name: "train", "val" or "test".

        Raises:
            ValueError: There is no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}: it is one of {', '.join(SPLITS)}")
        return [photo for photo in self.photos if photo.split == name]

    def counts(self) -> dict[str, int]:
        """Photos in each split and photos out for each reason that occurs.

        "toned" is always there: how many photos that nothing else speaks against are toned, whether kept or out.
        """
        counts = dict.fromkeys(SPLITS, 0)
        counts.update(Counter(photo.split or photo.reason for photo in self.photos))
        counts["toned"] = sum(photo.toned and photo.reason in ("", "toned") for photo in self.photos)
        return counts

    def save(self, path: Path) -> None:
        """Writes the manifest as CSV under a first line of JSON.

        Args:
            path: The file to write; a file already there is replaced.

        Raises:
            DataError: The file cannot be written.
        """
        header = {"version": MANIFEST_VERSION, "root": str(self.root), **self.rules}
        with files.whole_text(path) as file:
            file.write(MANIFEST_MARK + json.dumps(header) + "\n")
            # Every text is quoted: a file name may hold line ends, and not every Python quotes a lone "\r" by itself.
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
            file.write(",".join(COLUMNS) + "\n")
            writer.writerows(_to_row(photo) for photo in self.photos)

    @classmethod
    def load(cls, path: Path, root: Path | None = None) -> "Manifest":
        """Reads what `save` wrote.

        Args:
            path: A manifest.
            root: Where the photos lie now, if they have moved since.

        Raises:
            DataError: It cannot be read, is not a manifest, is of another version or has a broken row.
        """
        try:
            with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                header = _read_header(file, path)
                photos = tuple(_read_rows(file, path))
        except OSError as error:
            raise DataError(f"cannot read the manifest {path}: {error.strerror}") from error
        stored_root = Path(header.pop("root"))
        del header["version"]
        return cls(root=stored_root if root is None else root, photos=photos, rules=header)


def prepare(
    folder: Path,
    *,
    survey_file: Path,
    include: Sequence[str] = (),
    labels: Path | None = None,
    min_size: int = 64,
    split: tuple[float, float, float] = (0.85, 0.05, 0.10),
    seed: int = 0,
    drop_toned: bool = False,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Surveys a folder and decides what each photo is used for. Nothing is written inside the folder.

    A photo's class is the folder it lies in, relative to the root, or what `labels` says. A single class tells
    nothing: then photos have none.

    Args:
        folder: Where the photos lie, at any depth. Hidden files and folders are skipped.
        survey_file: Where the survey is kept. It is continued if it is there.
        include: Patterns such as ``*.png`` or ``b/*``; a photo is a candidate if one matches its relative path.
        labels: CSV file with the columns ``file_name`` (relative path) and ``class``.
        min_size: Smallest shorter side, in pixels.
        split: Fractions for train, val and test.
        seed: Another seed, another split.
        drop_toned: Whether toned photos are out.
        workers: Processes that decode; all processors when None.
        on_progress: Called with the number of files surveyed and the number of all.

    Raises:
        DataError: The folder or the labels cannot be used, the fractions do not sum to 1, or no photo is kept.
    """
    _check_fractions(split)
    class_of = None if labels is None else _read_labels(labels)
    surveyed = survey(folder, survey_file, include=include, workers=workers, on_progress=on_progress)
    if not surveyed:
        matching = f" that match {', '.join(include)}" if include else ""
        raise DataError(f"no pictures in {folder}{matching}: expected files such as .jpg or .png in it or below")
    if class_of is None:
        classes = [_folder_class(facts.path) for facts in surveyed]
    else:
        classes = [class_of.get(facts.path, "") for facts in surveyed]
        if not any(facts.path in class_of for facts in surveyed):
            raise DataError(
                f"none of the names in {labels} is a picture in {folder}: names are relative to that folder"
            )
    reasons = [_reason(facts, min_size, drop_toned) for facts in surveyed]
    if class_of is not None:
        reasons = [reason or ("" if label else "no label") for label, reason in zip(classes, reasons, strict=True)]
    classes, reasons = _settle_classes(classes, reasons)
    kept = [i for i, reason in enumerate(reasons) if not reason]
    splits = [""] * len(surveyed)
    for i, name in zip(kept, assign_splits([(classes[i], surveyed[i].path) for i in kept], split, seed), strict=True):
        splits[i] = name
    photos = tuple(
        Photo(f.path, classes[i], f.width, f.height, f.orientation, f.size, splits[i], reasons[i], f.toned)
        for i, f in enumerate(surveyed)
    )
    if not kept:
        out = ", ".join(f"{count} {reason}" for reason, count in sorted(_reasons(photos).items()))
        raise DataError(f"no photo in {folder} can be used: all {len(photos)} are out ({out})")
    rules = {
        "seed": seed,
        "split": list(split),
        "min_size": min_size,
        "drop_toned": drop_toned,
        "include": list(include),
        "labels": None if labels is None else str(labels),
    }
    return Manifest(root=folder.resolve(), photos=photos, rules=rules)


# --- the rules -------------------------------------------------------------------------------------------------------


def split_sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers that sum to `count`, by largest remainder.

    Args:
        count: How many photos there are.
        fractions: At least 0 each, with the sum 1.
    """
    # Exact decimals: 0.29 of 100 is 29, not 28.999...
    parts = [Fraction(str(fraction)) for fraction in fractions]
    shares = [count * part / sum(parts) for part in parts]
    sizes = [int(share) for share in shares]
    by_remainder = sorted(range(len(sizes)), key=lambda s: sizes[s] - shares[s])
    for s in by_remainder[: count - sum(sizes)]:
        sizes[s] += 1
    return sizes


def assign_splits(photos: Sequence[tuple[str, str]], fractions: Sequence[float], seed: int) -> list[str]:
    """Split of each photo: stratified by class, whatever the order of the photos.

    The sizes of the splits are exact, and each class's share of each split is less than 2 photos off its proportion.

    Args:
        photos: (class, path) of each.
        fractions: For train, val and test.
        seed: Another seed, another split.

    Raises:
        DataError: The fractions are negative or do not sum to 1.
    """
    _check_fractions(fractions)
    count = len(photos)
    sizes = split_sizes(count, fractions)
    given = [0] * len(sizes)
    splits = [""] * count
    keys = [(label, hashlib.sha256(_to_bytes(f"{seed}:{path}")).digest()) for label, path in photos]
    for place, i in enumerate(sorted(range(count), key=keys.__getitem__), start=1):
        behind = [size * place - count * had for size, had in zip(sizes, given, strict=True)]
        most = behind.index(max(behind))
        given[most] += 1
        splits[i] = SPLITS[most]
    return splits


def _to_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _check_fractions(fractions: Sequence[float]) -> None:
    sound = len(fractions) == len(SPLITS) and all(fraction >= 0 for fraction in fractions)
    if not sound or abs(sum(fractions) - 1) > 1e-9:
        raise DataError(
            f"split {tuple(fractions)}: give three fractions (train, val, test), none negative, that sum to 1"
        )


def _reason(facts: Facts, min_size: int, drop_toned: bool) -> str:
    if facts.fault:
        return facts.fault
    if min(facts.width, facts.height) < min_size:
        return "small"
    return "toned" if drop_toned and facts.toned else ""


def _folder_class(path: str) -> str:
    return path.rpartition("/")[0]


def _settle_classes(classes: Sequence[str], reasons: Sequence[str]) -> tuple[list[str], list[str]]:
    """Puts photos without a class out where others have one, and drops a single class, which tells nothing.

    Args:
        classes: Class of each photo, "" for none.
        reasons: Why each is out, "" when it is kept.

    Returns:
        The classes and the reasons, settled.
    """
    used = {label for label, reason in zip(classes, reasons, strict=True) if label and not reason}
    if len(used) < 2:
        return [""] * len(classes), list(reasons)
    settled = [reason or ("" if label else "no class") for label, reason in zip(classes, reasons, strict=True)]
    return [sys.intern(label) for label in classes], settled


def _read_labels(path: Path) -> dict[str, str]:
    """Class by relative path, from a CSV file with the columns ``file_name`` and ``class``.

    Raises:
        DataError: The file cannot be read, a column is missing, a row is too short or a name is there twice.
    """
    class_of: dict[str, str] = {}
    try:
        # utf-8-sig: spreadsheets put a mark in front of the first column's name.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            for column in ("file_name", "class"):
                if column not in header:
                    raise DataError(f"{path} has no column {column!r}: its first line should be file_name,class")
            name_at, class_at = header.index("file_name"), header.index("class")
            for row in reader:
                if not row:
                    continue
                if len(row) <= max(name_at, class_at):
                    raise DataError(
                        f"{path}, line {reader.line_num}: too few columns, expected a file name and a class"
                    )
                name = PurePosixPath(row[name_at]).as_posix()
                if name in class_of:
                    raise DataError(f"{path}, line {reader.line_num}: {name!r} is there twice, keep one of them")
                class_of[name] = row[class_at]
    except OSError as error:
        raise DataError(f"cannot read the labels {path}: {error.strerror}") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV ({error})") from error
    return class_of


def _reasons(photos: Iterable[Photo]) -> Mapping[str, int]:
    return Counter(photo.reason for photo in photos if photo.reason)


# --- the manifest's file ---------------------------------------------------------------------------------------------


def _to_row(photo: Photo) -> list[str | int]:
    size = [photo.width, photo.height, photo.orientation, photo.bytes]
    return [photo.path, photo.label, *size, photo.split, photo.reason, int(photo.toned)]


def _read_header(file: TextIO, path: Path) -> dict[str, Any]:
    line = file.readline()
    columns = file.readline()
    try:
        header = json.loads(line.removeprefix(MANIFEST_MARK))
        sound = line.startswith(MANIFEST_MARK) and isinstance(header, dict) and "version" in header
    except ValueError:
        sound = False
    if not sound:
        raise DataError(f"{path} is not a kcolor manifest: write one with `kcolor prepare`")
    if header["version"] != MANIFEST_VERSION:
        raise DataError(
            f"{path} is a manifest of version {header['version']}, this program reads version {MANIFEST_VERSION}: "
            "write it anew with `kcolor prepare`"
        )
    if "root" not in header or columns.rstrip("\r\n") != ",".join(COLUMNS):
        raise DataError(f"{path}, line 2: expected the columns {','.join(COLUMNS)}")
    return header


def _read_rows(file: TextIO, path: Path) -> Iterator[Photo]:
    reader = csv.reader(file)
    try:
        for row in reader:
            yield _from_row(row)
    except (ValueError, csv.Error) as error:
        # Two lines stand above the first row.
        raise DataError(f"{path}, line {reader.line_num + 2}: not a manifest's row ({error})") from error


def _from_row(row: Sequence[str]) -> Photo:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} columns instead of {len(COLUMNS)}")
    name, label, width, height, orientation, size, split, reason, toned = row
    if split not in (*SPLITS, "") or bool(split) == bool(reason):
        raise ValueError(f"split {split!r} with the reason {reason!r}")
    if not 1 <= int(orientation) <= 8:
        raise ValueError(f"orientation {orientation}")
    return Photo(
        path=name,
        label=sys.intern(label),
        width=int(width),
        height=int(height),
        orientation=int(orientation),
        bytes=int(size),
        split=sys.intern(split),
        reason=sys.intern(reason),
        toned=bool(int(toned)),
    )
