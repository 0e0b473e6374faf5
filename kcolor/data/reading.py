"""The photos that a model is judged on: which they are, whether they are still as the manifest says, and their pixels.

Training stops at a photo that cannot be read; here it is named, and the rest is measured.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kcolor import files, image, photo
from kcolor.data.manifest import Manifest
from kcolor.data.rows import SPLITS, Photo, Rows
from kcolor.errors import DataError

SMALLEST = 16  # pixels a side: SSIM and LPIPS need as much
AHEAD = 16  # photos of one size that are read before they are wanted

_CHANGED = "changed since the manifest was written"


@dataclass(frozen=True)
class Pictures:
    """The photos to judge on.

    Args:
        manifest: Where they are from.
        split: "train", "val", "test", or "all" of them.
        limit: At most so many, spread evenly; None: all.
    """

    manifest: Manifest
    split: str = "test"
    limit: int | None = None

    def photos(self) -> Rows:
        """Those that are meant.

        Raises:
            DataError: There are none.
        """
        rows = self.manifest.photos
        found = rows[rows.kept] if self.split == "all" else self.manifest.split(self.split)
        if not found:
            counts = ", ".join(f"{self.manifest.counts()[name]} {name}" for name in SPLITS)
            raise DataError(
                f"{self.manifest.root}: no photo in the {self.split} split ({counts}); name another --split"
            )
        if self.limit is None or self.limit >= len(found):
            return found
        return found.spread(self.limit)


class Read(NamedTuple):
    """A photo, read.

    Attributes:
        photo: Its row in the manifest.
        rgb: (height, width, 3) uint8, upright; None if it cannot be used.
        fault: Why not.
    """

    photo: Photo
    rgb: np.ndarray | None
    fault: str


def check(
    pictures: Pictures, on_progress: Callable[[int, int], None]
) -> tuple[list[Photo], list[dict[str, str]], dict[str, str]]:
    """Look at each file.

    Args:
        pictures: The photos that are meant.
        on_progress: Called with how many of how many have been looked at.

    Returns:
        The photos that are as the manifest says; "path" and "reason" of those that are not; the SHA-256 of the former's
        files by path.

    Raises:
        DataError: None is as the manifest says.
    """
    root, wanted = pictures.manifest.root, pictures.photos()

    def look(found: Photo) -> tuple[str, str]:
        path = root / found.path
        try:
            return ("", _CHANGED) if path.stat().st_size != found.bytes else (files.digest(path), "")
        except OSError as error:
            return "", f"cannot be read: {error.strerror}"

    kept, left_out, hashes = [], [], {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (found, (sha256, fault)) in enumerate(zip(wanted, pool.map(look, wanted), strict=True), 1):
            if fault:
                left_out.append({"path": found.path, "reason": fault})
            else:
                kept.append(found)
                hashes[found.path] = sha256
            on_progress(number, len(wanted))
    if not kept:
        raise DataError(f"{root}: none of the photos can be used ({told(left_out)})")
    return kept, left_out, hashes


def trained_on(manifest: Manifest, root: Path, photos: Sequence[Photo]) -> int:
    """How many of some photos a manifest has in its train split: the same files, whatever else is said of them.

    Args:
        manifest: Of a run.
        root: Where the photos' paths start from, absolute.
        photos: As another manifest may have them: of another split, with instances, or of a folder above or below.
    """
    judged = {os.path.join(root, each.path) for each in photos}  # noqa: PTH118 - many times as fast
    trained = manifest.split("train").paths.below(os.path.join(manifest.root, ""))  # noqa: PTH118 - ends with a separator
    return sum(path in judged for path in trained)


def read(root: Path, photos: Sequence[Photo], size: int | None) -> Iterator[Read]:
    """Read photos ahead, in threads.

    Args:
        root: The manifest's root.
        photos: Which.
        size: Side of the squares they are brought to; None: each keeps its own size.

    Yields:
        Each, in order.
    """

    def one(wanted: Photo) -> Read:
        try:
            rgb = photo.read(root / wanted.path).rgb8
        except DataError as error:
            # What went wrong, without what can be done about it: it is one of many in a list.
            return Read(wanted, None, str(error).removeprefix(f"{files.shown(root / wanted.path)}: ").split("; ")[0])
        except MemoryError:
            return Read(wanted, None, "too large for this machine's memory")
        if rgb.shape[:2] != (wanted.height, wanted.width):
            return Read(wanted, None, _CHANGED)
        if not size and min(rgb.shape[:2]) < SMALLEST:
            return Read(wanted, None, f"smaller than the {SMALLEST} pixels a side that can be measured")
        return Read(wanted, image.fit_square(tf.constant(rgb), size).numpy() if size else rgb, "")

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Read]] = deque()
        try:
            for wanted in photos:
                ahead.append(pool.submit(one, wanted))
                if len(ahead) > (AHEAD if size else workers):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # whoever stops early does not wait for what is no longer wanted
            for future in ahead:
                future.cancel()


def told(left_out: Sequence[Mapping[str, str]]) -> str:
    """Photos that are left out, the first three by name."""
    shown = "; ".join(f"{entry['path']}: {entry['reason']}" for entry in left_out[:3])
    return shown + (f"; and {len(left_out) - 3} more" if len(left_out) > 3 else "")
