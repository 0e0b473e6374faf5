"""A folder of photos -> a manifest: which photos are used, of which class, in which split, and why the others are not.

It happens in two stages. The *survey* decodes every picture once and notes what is true of the file alone: slow,
parallel, kept in a file of its own and continued where it stopped. The *manifest* is the survey seen through rules
(smallest size, classes, split, seed): fast and deterministic, so that rules can be changed without decoding again.
"""

import csv
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TextIO

import numpy as np
from PIL import Image

from kcolor.errors import DataError

SPLITS = ("train", "val", "test")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})

MANIFEST_VERSION = 1
MANIFEST_MARK = "# kcolor manifest "
COLUMNS = ["path", "class", "width", "height", "orientation", "split", "reason", "toned"]

SURVEY_VERSION = 1
SURVEY_HEADER = {"kcolor_survey": SURVEY_VERSION}
SURVEY_MARK = '{"kcolor_survey":'

# The formats that training reads.
TRAINING_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
# Nothing else is tried: some of Pillow's other readers start outside programs.
KNOWN_FORMATS = (*TRAINING_FORMATS, "TIFF", "JPEG2000")
# What Pillow calls a JPEG with further pictures behind it, as phones write them; its JPEG reader opens it.
JPEG_OF_PHONES = "MPO"
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
EXIF_ORIENTATION = 0x0112

# Colour is judged on a thumbnail of at most this many pixels a side, where the chroma noise of JPEG averages out.
THUMBNAIL_SIDE = 32
# JPEG is decoded at a reduced scale that stays above this, so that averaging is still left to the thumbnail.
DRAFT_SIDE = 8 * THUMBNAIL_SIDE
# Grey: 99 % of the thumbnail is nearer than this to neutral, in CIE Lab. Set on 8,800 web photos of scenes and of
# objects and on made-up noise: grey photos with RGB noise of sigma 3, in 4:2:0 JPEG of quality 75 to 95, are below
# 2.3 from 64 pixels up; every photo below 2.5 looked black and white; the least colourful misty landscape had 3.4.
GREY_CHROMA = 2.5
# Toned: what a smooth function of lightness leaves unexplained of the colour, root mean square, in CIE Lab. Set on the
# same photos: below it lie toned prints, but also scenes of a single hue (mist, snow at dusk, open sea), and the
# two cannot be told apart by colour alone, which is why toned photos are kept unless asked otherwise. A strong tone
# in a small and heavily compressed JPEG can lie above it.
TONED_RESIDUAL = 1.2
TONED_DEGREE = 5

# sRGB to CIE XYZ, each row divided by the white point D65.
RGB_TO_XYZ = np.array(
    [
        [0.4124564 / 0.9504700, 0.3575761 / 0.9504700, 0.1804375 / 0.9504700],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.0888300, 0.1191920 / 1.0888300, 0.9503041 / 1.0888300],
    ]
)

CHUNK = 16  # files a task: small, so that progress is smooth and Ctrl-C waits for little
PARALLEL_FROM = 64  # files: below, starting worker processes takes longer than the work
CHUNKS_IN_FLIGHT = 3  # for each worker, so that none waits and little is left to finish after Ctrl-C
NEVER_REUSED = -1  # as a modification time: matches no file


@dataclass(frozen=True, slots=True)
class Photo:
    """One candidate.

    Attributes:
        path: Relative to the root, with ``/``.
        label: Name of its class, "" when there is none.
        width: Pixels, as seen after the EXIF orientation is applied; 0 where the file could not be read.
        height: Pixels, likewise.
        orientation: EXIF orientation, 1 to 8.
        split: "train", "val" or "test"; "" when the photo is out.
        reason: Why it is out; "" when it is kept.
        toned: Whether it is a toned monochrome, such as a sepia print.
    """

    path: str
    label: str
    width: int
    height: int
    orientation: int
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
        with _written_whole(path) as file:
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
        Photo(f.path, classes[i], f.width, f.height, f.orientation, splits[i], reasons[i], f.toned)
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


# --- the survey ------------------------------------------------------------------------------------------------------


class Facts(NamedTuple):
    """What is true of one file, whatever the rules.

    Attributes:
        path: Relative to the surveyed folder, with ``/``.
        size: Bytes.
        mtime_ns: When the file was last changed.
        width: Pixels, after the EXIF orientation is applied; 0 where unknown.
        height: Pixels, likewise.
        orientation: EXIF orientation, 1 to 8.
        fault: "", "unreadable", "too large", "format" or "grey".
        toned: Whether it is a toned monochrome.
    """

    path: str
    size: int
    mtime_ns: int
    width: int
    height: int
    orientation: int
    fault: str
    toned: bool


class Candidate(NamedTuple):
    """A file to survey: relative path, bytes, and when it was last changed."""

    path: str
    size: int
    mtime_ns: int


def survey(
    folder: Path,
    survey_file: Path,
    *,
    include: Sequence[str] = (),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Facts]:
    """Facts on every picture in a folder; only files that are new or changed since the last survey are decoded.

    Args:
        folder: Where the photos lie.
        survey_file: JSON lines, a line a file, added to as the survey goes on, so that it can be stopped at any time.
        include: Patterns for relative paths; all pictures when empty.
        workers: Processes that decode; all processors when None.
        on_progress: Called with the number of files surveyed and the number of all.

    Returns:
        The facts, sorted by path.

    Raises:
        DataError: The folder is missing or the survey file cannot be written.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give the folder that holds the photos")
    everything = sorted(_candidates(folder))
    wanted = [c for c in everything if not include or any(fnmatchcase(c.path, pattern) for pattern in include)]
    known, lines = _read_survey(survey_file)
    todo = [c for c in wanted if not _is_current(known.get(c.path), c)]
    done = len(wanted) - len(todo)
    report = on_progress or (lambda done, total: None)
    report(done, len(wanted))
    if todo:
        with _appended(survey_file, anew=lines == 0) as file, closing(_examine_all(folder, todo, workers)) as chunks:
            for chunk in chunks:
                file.writelines(json.dumps(facts) + "\n" for facts in chunk)
                file.flush()
                known.update((facts.path, facts) for facts in chunk)
                lines += len(chunk)
                done += len(chunk)
                report(done, len(wanted))
    # Files that `include` leaves out this time stay known.
    present = {c.path for c in everything}
    current = [facts for path, facts in known.items() if path in present]
    if len(current) != lines:
        _write_survey(survey_file, current)
    return [known[c.path] for c in wanted]


def _candidates(folder: Path) -> Iterator[Candidate]:
    """Picture files at any depth, by their suffix. Each real folder is entered once, so links that loop do no harm."""
    seen = set()
    folders: list[str] = [""]
    links: list[str] = []
    while folders or links:
        # Links last: a folder that is both here and linked to keeps its own name.
        inside = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(folder / inside)  # noqa: PTH116
            entries = sorted(os.scandir(folder / inside), key=lambda entry: entry.name)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            path = f"{inside}/{entry.name}" if inside else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():  # noqa: PTH122
                status = entry.stat()
                yield Candidate(path, status.st_size, status.st_mtime_ns)


def _is_current(facts: Facts | None, candidate: Candidate) -> bool:
    return facts is not None and facts[:3] == candidate


def _read_survey(path: Path) -> tuple[dict[str, Facts], int]:
    """Facts by path, and the number of lines they came from: 0 where there is no survey of this version.

    A line that is cut off or damaged is passed over, and its file surveyed again.
    """
    known: dict[str, Facts] = {}
    lines = 0
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            header = file.readline()
            if header != json.dumps(SURVEY_HEADER) + "\n":
                if header and not header.startswith(SURVEY_MARK):
                    raise DataError(f"{path} is not a survey: give another name, so that it is not overwritten")
                return {}, 0
            for line in file:
                lines += 1
                try:
                    facts = Facts(*json.loads(line))
                except (ValueError, TypeError):
                    continue
                known[facts.path] = facts
    except FileNotFoundError:
        return {}, 0
    except OSError as error:
        raise DataError(f"cannot read the survey {path}: {error.strerror}") from error
    return known, lines


@contextmanager
def _appended(path: Path, *, anew: bool) -> Iterator[TextIO]:
    """The survey file, open for adding lines to it, whatever its last line was when an earlier survey was stopped."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if anew:
            path.write_text(json.dumps(SURVEY_HEADER) + "\n", encoding="ascii")
        elif not _ends_its_line(path):
            with path.open("a", encoding="ascii") as file:
                file.write("\n")
        file = path.open("a", encoding="ascii")
    except OSError as error:
        raise DataError(f"cannot write the survey {path}: {error.strerror}") from error
    with file:
        yield file


def _ends_its_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _write_survey(path: Path, facts: Iterable[Facts]) -> None:
    with _written_whole(path) as file:
        file.write(json.dumps(SURVEY_HEADER) + "\n")
        file.writelines(json.dumps(each) + "\n" for each in facts)


def _examine_all(folder: Path, todo: Sequence[Candidate], workers: int | None) -> Generator[list[Facts], None, None]:
    """Facts on all files, a chunk at a time, in no particular order."""
    workers = workers or os.cpu_count() or 1
    chunks = (todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK))
    if workers == 1 or len(todo) < PARALLEL_FROM:
        for chunk in chunks:
            yield _examine_chunk(folder, chunk)
        return
    # Spawned, not forked: the caller may have started TensorFlow, whose threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    running: set[Future[list[Facts]]] = set()
    try:
        while True:
            room = CHUNKS_IN_FLIGHT * workers - len(running)
            running |= {pool.submit(_examine_chunk, folder, chunk) for chunk in islice(chunks, room)}
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"a process that read photos in {folder} was ended, perhaps for lack of memory: "
            "run it again with fewer workers, and it goes on from here"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of a terminal: the parent alone answers it, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _examine_chunk(folder: Path, chunk: Sequence[Candidate]) -> list[Facts]:
    return [_examine(folder, candidate) for candidate in chunk]


def _examine(folder: Path, candidate: Candidate) -> Facts:
    """Decodes one picture."""
    nothing = Facts(*candidate, width=0, height=0, orientation=1, fault="unreadable", toned=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(folder / candidate.path, formats=KNOWN_FORMATS) as image:
                width, height, orientation, fault, toned = _examine_image(image)
                return Facts(*candidate, width, height, orientation, fault, toned)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return nothing._replace(fault="too large")
    except OSError as error:
        # Pillow's complaints have no number. What the system says, such as a permission denied, is no fact about the
        # picture and may pass without the file changing, so it is asked again next time.
        return nothing if error.errno is None else nothing._replace(mtime_ns=NEVER_REUSED)
    except Exception:  # a damaged picture can make Pillow raise almost anything
        return nothing


def _examine_image(image: Image.Image) -> tuple[int, int, int, str, bool]:
    """Width, height, orientation, fault and toned of an opened picture.

    Raises:
        Exception: The picture cannot be decoded to its end.
    """
    width, height = image.size
    image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    image.load()
    orientation = _orientation(image)
    if orientation >= 5:
        width, height = height, width
    moving = image.format == "WEBP" and getattr(image, "n_frames", 1) > 1
    if moving or image.format not in (*TRAINING_FORMATS, JPEG_OF_PHONES):
        return width, height, orientation, "format", False
    if image.mode in GREY_MODES:
        return width, height, orientation, "grey", False
    grey, toned = judge_colour(image)
    return width, height, orientation, "grey" if grey else "", toned


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or where it makes no sense."""
    try:
        value = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # broken EXIF in a sound picture can make Pillow raise almost anything
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def judge_colour(image: Image.Image) -> tuple[bool, bool]:
    """Whether a picture is grey, and whether it is a toned monochrome (sepia, selenium, cyanotype).

    Args:
        image: Any size and mode.
    """
    thumbnail = image.convert("RGB")
    thumbnail.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    lab = _rgb_to_lab(np.asarray(thumbnail, np.float64).reshape(-1, 3) / 255.0)
    if np.percentile(np.hypot(lab[:, 1], lab[:, 2]), 99) < GREY_CHROMA:
        return True, False
    powers = np.vander(lab[:, 0] / 50.0 - 1.0, TONED_DEGREE + 1)
    residual = lab[:, 1:] - powers @ np.linalg.lstsq(powers, lab[:, 1:])[0]
    return False, bool(np.sqrt(np.mean(np.sum(residual**2, axis=1))) < TONED_RESIDUAL)


def _rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) of sRGB colours in 0..1, both of shape (n, 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ RGB_TO_XYZ.T
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0).T
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=1)


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


@contextmanager
def _written_whole(path: Path) -> Iterator[TextIO]:
    """A text file under a temporary name beside `path`, which takes its place once it is whole.

    Raises:
        DataError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _to_row(photo: Photo) -> list[str | int]:
    size = [photo.width, photo.height, photo.orientation]
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
    name, label, width, height, orientation, split, reason, toned = row
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
        split=sys.intern(split),
        reason=sys.intern(reason),
        toned=bool(int(toned)),
    )
