"""Looking for people and objects in the photos of a manifest: once a photo and detector; what is kept are all answers.

Which of them are instances is decided by rules, so that these can be changed without looking again.
"""

import math
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kcolor import photo
from kcolor.data import gathered
from kcolor.data.gathered import Candidate
from kcolor.data.instances import Instance, Instances
from kcolor.data.manifest import Manifest
from kcolor.data.survey import orientation_of
from kcolor.detectors import Detection, Detector

VERSION = 1
FLOOR = 0.05  # answers of less are not kept
CHUNK = 4  # photos a task: looking takes longer than the survey

# How a picture is turned upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Seen(NamedTuple):
    """What was seen in a file.

    Attributes:
        path: As of `Candidate`.
        size: Likewise.
        mtime_ns: Likewise.
        detections: As `Detection`, in lists.
    """

    path: str
    size: int
    mtime_ns: int
    detections: list[Detection]


def find_instances(
    manifest: Manifest,
    detector: Detector,
    kept: Path,
    *,
    min_score: float = 0.5,
    min_size: int = 32,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Look for instances in the photos that a manifest keeps; those that were looked at before are not looked at again.

    Args:
        manifest: The photos.
        detector: What looks.
        kept: Where what it sees is kept: JSON lines, a line a photo, added to as the work goes on, so that it can be
            stopped at any time. A file for each folder and detector.
        min_score: The least score of an instance.
        min_size: The least shorter side of its box, in pixels.
        workers: Processes that look; all processors when None.
        on_progress: Called with the number of photos that are done and that of all.

    Returns:
        The manifest with the photos' instances, by score.

    Raises:
        DataError: What is kept cannot be read or written.
    """
    header = {"kcolor_detections": VERSION, "detector": detector.name, "sha256": detector.sha256}
    book = gathered.Book(kept, header, "detections", _seen)
    photos = manifest.photos
    places, wanted = [], []
    for place in np.flatnonzero(photos.kept).tolist():
        path = photos.paths[place]
        try:
            status = os.stat(manifest.root / path)  # noqa: PTH116
        except OSError:  # it has gone since, which training tells of
            continue
        places.append(place)
        wanted.append(Candidate(path, status.st_size, status.st_mtime_ns))

    def look(todo: Sequence[Candidate]) -> Generator[list[_Seen], None, None]:
        examine = partial(_look, manifest.root, detector)
        return gathered.in_processes(examine, manifest.root, todo, workers, chunk=CHUNK)

    found: list[tuple[Instance, ...]] = [()] * len(photos)
    for place, seen in zip(places, gathered.gather(book, wanted, look, on_progress=on_progress), strict=True):
        size = int(photos.width[place]), int(photos.height[place])
        found[place] = _instances(seen.detections, size, min_score, min_size)
    rules: dict[str, Any] = {
        "detector": detector.name,
        "sha256": detector.sha256,
        "min_score": min_score,
        "min_size": min_size,
    }
    with_them = replace(photos, instances=Instances.of(found))
    return Manifest(manifest.root, with_them, {**manifest.rules, "instances": rules})


def _seen(path: str, size: int, mtime_ns: int, detections: list[list[Any]]) -> _Seen:
    return _Seen(path, size, mtime_ns, [Detection(*each) for each in detections])


def _instances(
    detections: Sequence[Detection], size: tuple[int, int], min_score: float, min_size: int
) -> tuple[Instance, ...]:
    """Those that the rules keep, in pixels of the photo, the surest first."""
    width, height = size
    found = []
    for each in sorted(detections, key=lambda each: -each.score):
        # Every pixel that the box touches, as far as the photo goes.
        left, top = max(math.floor(each.left * width), 0), max(math.floor(each.top * height), 0)
        right, bottom = min(math.ceil(each.right * width), width), min(math.ceil(each.bottom * height), height)
        if each.score >= min_score and min(right - left, bottom - top) >= max(min_size, 1):
            found.append(Instance(each.name, each.score, left, top, right, bottom))
    return tuple(found)


def _look(root: Path, detector: Detector, some: Sequence[Candidate]) -> list[_Seen]:
    """What is seen in some of the photos, in this process."""
    return [_look_at(root, detector, candidate) for candidate in some]


def _look_at(root: Path, detector: Detector, candidate: Candidate) -> _Seen:
    try:
        rgb = upright(root / candidate.path, detector.side)
    except (OSError, MemoryError) as error:
        # As in the survey: what the system says is no fact about the photo, and it is asked again next time.
        own = isinstance(error, OSError) and error.errno is None
        return _Seen(candidate.path, candidate.size, candidate.mtime_ns if own else gathered.NEVER_REUSED, [])
    except Exception:  # a damaged picture can make Pillow raise almost anything, and training tells of it
        return _Seen(*candidate, [])
    detections = [_rounded(each) for each in detector.find(rgb) if each.score >= FLOOR]
    return _Seen(*candidate, detections)


def _rounded(detection: Detection) -> Detection:
    """To what a line has room for; a box is known to a pixel of 10,000."""
    name, score, *box = detection
    return Detection(name, round(score, 4), *(round(side, 5) for side in box))


def upright(path: Path, side: int) -> np.ndarray:
    """A photo as it is seen, (height, width, 3) uint8; a JPEG perhaps smaller, but with no side shorter than `side`.

    Raises:
        Exception: It cannot be read.
    """
    with warnings.catch_warnings(action="ignore"), Image.open(path, formats=photo.FORMATS) as image:
        image.draft("RGB", (side, side))
        turned = _UPRIGHT.get(orientation_of(image))
        rgb = image.convert("RGB")
    return np.asarray(rgb.transpose(turned) if turned is not None else rgb)
