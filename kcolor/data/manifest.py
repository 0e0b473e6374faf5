"""A folder of photos -> a manifest: which are used, their class and split, and why the others are not.

The manifest is the survey of the folder (`kcolor.data.survey`) seen through rules: size, classes, split, seed. It is
fast and deterministic, so that rules can be changed without decoding again.
"""

import csv
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from kcolor import files
from kcolor.data import rowfile
from kcolor.data.rows import CHUNK, SPLITS, Photo, Rows, Texts, numbered, split_numbers
from kcolor.data.survey import Facts, survey
from kcolor.errors import DataError

__all__ = ["SPLITS", "Manifest", "Photo", "assign_splits", "check_splits", "prepare", "split_sizes"]

MANIFEST_VERSION = 2
WITH_INSTANCES = 3  # the version of those in which instances were looked for; the others stay what they were
LOOKED_BY = frozenset({"detector", "sha256", "min_score", "min_size"})  # what is said of how they were looked for
MANIFEST_MARK = "# kcolor manifest "


@dataclass(frozen=True)
class Manifest:
    """Every candidate of a folder, kept and out, and the rules that decided.

    Attributes:
        root: The folder that the photos' paths start from, absolute.
        photos: Sorted by path. Any sequence of `Photo` is put into columns (`kcolor.data.rows`).
        rules: seed, split, min_size, drop_toned, include and labels, as `prepare` was given them; where instances were
            looked for, also "instances": the detector's name and "sha256", and by which min_score and min_size.
    """

    root: Path
    photos: Rows
    rules: dict[str, Any]
    # The file that says just this, and its stamp; not an argument, since `dataclasses.replace` says something else.
    _read_from: tuple[Path, object] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "photos", Rows.of(self.photos))

    @cached_property
    def classes(self) -> list[str]:
        """Sorted names of the kept photos' classes; empty when photos have no class."""
        used = np.unique(self.photos.label[self.photos.kept])
        return sorted({self.photos.labels[number] for number in used.tolist()} - {""})

    @property
    def has_instances(self) -> bool:
        """Whether instances were looked for, whatever was found."""
        return "instances" in self.rules

    @cached_property
    def sha256(self) -> str:
        """Digest, in hexadecimal, of what training sees of the kept photos: the same wherever the folder lies."""
        digest = hashlib.sha256()
        kept = self.photos[self.photos.kept]
        # A row as json.dumps writes [path, label, split, orientation]. All but the path is one of a few texts.
        key = (kept.label.astype(np.int64) * len(SPLITS) + kept.split) * 9 + kept.orientation
        rest = {}
        for number in np.flatnonzero(np.bincount(key)).tolist():
            label, split = divmod(number // 9, len(SPLITS))
            row = [kept.labels[label], SPLITS[split], number % 9]
            rest[number] = b", " + json.dumps(row).encode("ascii")[1:] + b"\n"
        for first in range(0, len(kept), CHUNK):
            some = slice(first, first + CHUNK)
            rows = [b""] * (2 * len(key[some]))
            rows[::2] = [b"[" + path for path in kept.paths[some].as_json()]
            rows[1::2] = [rest[number] for number in key[some].tolist()]
            for number in np.flatnonzero(kept.instances[some].counts).tolist():
                found = [[i.name, i.left, i.top, i.right, i.bottom] for i in kept.instances[some][number]]
                rows[2 * number + 1] += json.dumps(found).encode("ascii") + b"\n"
            digest.update(b"".join(rows))
        return digest.hexdigest()

    def split(self, name: str) -> Rows:
        """Photos of one split, sorted by path.

        Args:
            name: "train", "val" or "test".

        Raises:
            ValueError: There is no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}: it is one of {', '.join(SPLITS)}")
        return self.photos.of_split(name)

    def counts(self) -> dict[str, int]:
        """Photos in each split and photos out for each reason that occurs.

        "toned" is always there: how many photos that nothing else speaks against are toned, whether kept or out.
        """
        photos = self.photos
        counts = {name: int(np.count_nonzero(photos.split == number)) for number, name in enumerate(SPLITS)}
        counts.update(_reasons(photos))
        against = [reason not in ("", "toned") for reason in photos.reasons]
        counts["toned"] = int(np.count_nonzero(photos.toned & ~np.array(against, np.bool_)[photos.reason]))
        return counts

    def save(self, path: Path) -> None:
        """Writes the manifest as CSV under a first line of JSON.

        Args:
            path: The file to write; a file already there is replaced.

        Raises:
            DataError: The file cannot be written.
        """
        if self._read_from and self._read_from[1] == _stamp(self._read_from[0]):
            files.copy(self._read_from[0], path)  # millions of rows are copied in a tenth of the time
            return
        version = WITH_INSTANCES if self.has_instances else MANIFEST_VERSION
        header = {"version": version, "root": str(self.root), **self.rules}
        with files.whole_text(path) as file:
            file.write(MANIFEST_MARK + json.dumps(header) + "\n")
            rowfile.write(file, self.photos, instances=self.has_instances)

    @classmethod
    def load(cls, path: Path, root: Path | None = None) -> "Manifest":
        """Reads what `save` wrote.

        Args:
            path: A manifest.
            root: Where the photos lie now, if they have moved since.

        Raises:
            DataError: It cannot be read, is not a manifest, is of another version or has a broken row.
        """
        stamp = _stamp(path)
        try:
            with path.open("rb") as file:
                header = _read_header(file, path)
                photos = rowfile.read(file, instances="instances" in header)
        except ValueError as error:
            line, why = error.args
            # Two lines stand above the first row.
            raise DataError(f"{path}, line {line + 2}: not a manifest's row ({why})") from error
        except OSError as error:
            raise DataError(f"cannot read the manifest {path}: {error.strerror}") from error
        stored_root = Path(header.pop("root"))
        del header["version"]
        found = cls(root=stored_root if root is None else root, photos=photos, rules=header)
        if found.root == stored_root:
            object.__setattr__(found, "_read_from", (path, stamp))
        return found


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
    label, labels_used = numbered(classes)
    reason, reasons_used = numbered(reasons)
    photos = Rows(
        paths=Texts.of(facts.path for facts in surveyed),
        label=label,
        width=np.array([facts.width for facts in surveyed], np.int32),
        height=np.array([facts.height for facts in surveyed], np.int32),
        orientation=np.array([facts.orientation for facts in surveyed], np.uint8),
        bytes=np.array([facts.size for facts in surveyed], np.int64),
        split=split_numbers(splits),
        reason=reason,
        toned=np.array([facts.toned for facts in surveyed], np.bool_),
        labels=labels_used,
        reasons=reasons_used,
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


def _reasons(photos: Rows) -> dict[str, int]:
    """Photos out for each reason that occurs."""
    counts = np.bincount(photos.reason, minlength=len(photos.reasons)).tolist()
    return {reason: count for reason, count in zip(photos.reasons, counts, strict=True) if reason and count}


# --- the manifest's file ---------------------------------------------------------------------------------------------


def _stamp(path: Path) -> object:
    """What changes as a file changes; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    line, columns = (file.readline().decode("utf-8", "surrogateescape") for _ in range(2))
    try:
        header = json.loads(line.removeprefix(MANIFEST_MARK))
        sound = line.startswith(MANIFEST_MARK) and isinstance(header, dict) and "version" in header
    except ValueError:
        sound = False
    if not sound:
        raise DataError(f"{path} is not a kcolor manifest: write one with `kcolor prepare`")
    if header["version"] != (WITH_INSTANCES if "instances" in header else MANIFEST_VERSION):
        raise DataError(
            f"{path} is a manifest of version {header['version']}, this program reads versions {MANIFEST_VERSION} and "
            f"{WITH_INSTANCES}: write it anew with `kcolor prepare`"
        )
    rules = header.get("instances", dict.fromkeys(LOOKED_BY))
    if not isinstance(rules, dict) or not rules.keys() >= LOOKED_BY:
        raise DataError(
            f"{path}, line 1: instances without {', '.join(sorted(LOOKED_BY))}: write it anew with `kcolor prepare`"
        )
    expected = ",".join(rowfile.WITH_INSTANCES if "instances" in header else rowfile.COLUMNS)
    if "root" not in header or columns.rstrip("\r\n") != expected:
        raise DataError(f"{path}, line 2: expected the columns {expected}")
    return header


def check_splits(manifest: Manifest) -> None:
    """Make sure that there is something to train on and something to validate with.

    Raises:
        DataError: There is not.
    """
    counts = manifest.counts()
    for split in ("train", "val"):
        if not counts[split]:
            raise DataError(
                f"{manifest.root}: too few photos, none falls to the {split} split; add some, or change the shares: "
                "--set data.split=[0.6,0.2,0.2]"
            )
