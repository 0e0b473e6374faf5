"""What is true of each picture file in a folder: size, orientation, whether it can be read, whether it is grey.

Every picture is decoded once, in parallel. What was found out is kept in a file that is added to as the survey goes on,
so that it can be stopped at any time, and does over only what is new or changed.
"""

import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from kcolor import files, photo
from kcolor.data import gathered
from kcolor.data.gathered import NEVER_REUSED, Candidate
from kcolor.errors import DataError
from kcolor.photo import Photograph

SURVEY_VERSION = 1
SURVEY_HEADER = {"kcolor_survey": SURVEY_VERSION}

# The formats that training reads.
TRAINING_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
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

# Not kcolor.color, which is TensorFlow: its start would cost each worker more than its share of the photos.
# sRGB to CIE XYZ, each row divided by the white point D65.
RGB_TO_XYZ = np.array(
    [
        [0.4124564 / 0.9504700, 0.3575761 / 0.9504700, 0.1804375 / 0.9504700],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.0888300, 0.1191920 / 1.0888300, 0.9503041 / 1.0888300],
    ]
)

CHUNK = gathered.CHUNK  # files a task


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


# Facts on all of the candidates in a folder, so many at a time, in any order.
Examiner = Callable[[Path, Sequence[Candidate]], Generator[list[Facts], None, None]]


def survey(
    folder: Path,
    survey_file: Path,
    *,
    include: Sequence[str] = (),
    workers: int | None = None,
    examiner: Examiner | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Facts]:
    """Facts on every picture in a folder; only files that are new or changed since the last survey are decoded.

    Args:
        folder: Where the photos lie.
        survey_file: JSON lines, a line a file, added to as the survey goes on, so that it can be stopped at any time.
        include: Patterns for relative paths; all pictures when empty.
        workers: Processes that decode; all processors when None.
        examiner: Who decodes, in place of these processes.
        on_progress: Called with the number of files surveyed and the number of all.

    Returns:
        The facts, sorted by path.

    Raises:
        DataError: The folder is missing or the survey file cannot be written.
    """
    if not folder.is_dir():
        raise DataError(f"{files.shown(folder)} is not a folder: give the folder that holds the photos")
    everything = sorted(candidates(folder))
    wanted = [c for c in everything if not include or any(fnmatchcase(c.path, pattern) for pattern in include)]
    book = gathered.Book(survey_file, SURVEY_HEADER, "survey", Facts)

    def examined(todo: Sequence[Candidate]) -> Generator[list[Facts], None, None]:
        if examiner:
            return examiner(folder, todo)
        return gathered.in_processes(partial(examine, folder), folder, todo, workers, chunk=CHUNK)

    # Files that `include` leaves out this time stay known.
    present = {candidate.path for candidate in everything}
    return gathered.gather(book, wanted, examined, present=present, on_progress=on_progress)


def candidates(folder: Path) -> Iterator[Candidate]:
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
            try:
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(path)
                elif os.path.splitext(entry.name)[1].lower() in photo.SUFFIXES and entry.is_file():  # noqa: PTH122
                    status = entry.stat()
                    yield Candidate(path, status.st_size, status.st_mtime_ns)
            except OSError:  # a link to itself or to where nobody may look, or a file that has just gone
                continue


def examine(folder: Path, chunk: Sequence[Candidate]) -> list[Facts]:
    """Facts on some of the pictures in a folder, in this process."""
    return [_examine(folder, candidate) for candidate in chunk]


def _examine(folder: Path, candidate: Candidate) -> Facts:
    """Decodes one picture."""
    nothing = Facts(*candidate, width=0, height=0, orientation=1, fault="unreadable", toned=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(folder / candidate.path, formats=photo.FORMATS) as image:
                width, height, orientation, fault, toned = _examine_image(image)
                return Facts(*candidate, width, height, orientation, fault, toned)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return nothing._replace(fault="too large")
    except UnidentifiedImageError:
        return nothing._replace(fault="format") if _is_heic(folder / candidate.path) else nothing
    except OSError as error:
        # Pillow's complaints have no number. What the system says, such as a permission denied, is no fact about the
        # picture and may pass without the file changing, so it is asked again next time.
        return nothing if error.errno is None else nothing._replace(mtime_ns=NEVER_REUSED)
    except Exception:  # a damaged picture can make Pillow raise almost anything
        return nothing


def _is_heic(path: Path) -> bool:
    with path.open("rb") as file:
        return photo.sniff(file.read(photo.HEAD)) == "HEIF"


def _examine_image(image: Image.Image) -> tuple[int, int, int, str, bool]:
    """Width, height, orientation, fault and toned of an opened picture.

    Raises:
        Exception: The picture cannot be decoded to its end.
    """
    width, height = image.size
    image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    image.load()
    orientation = orientation_of(image)
    if orientation >= 5:
        width, height = height, width
    moving = image.format == "WEBP" and getattr(image, "n_frames", 1) > 1
    # TensorFlow takes a BMP's palette for shades of grey.
    indexed = image.format == "BMP" and image.mode == "P"
    if moving or indexed or image.format not in (*TRAINING_FORMATS, JPEG_OF_PHONES):
        return width, height, orientation, "format", False
    if image.mode in GREY_MODES:
        return width, height, orientation, "grey", False
    grey, toned = judge_colour(image)
    return width, height, orientation, "grey" if grey else "", toned


def orientation_of(image: Image.Image) -> int:
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


def has_colour(photograph: Photograph) -> bool:
    """Whether a photograph has colours already, by the rules of the survey: neither grey nor a toned monochrome.

    A photograph in colour that is of a single hue, such as of mist, is taken for a toned one: see `TONED_RESIDUAL`.
    """
    grey, toned = judge_colour(Image.fromarray(photograph.rgb8))
    return not (grey or toned)
