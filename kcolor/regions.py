"""The parts of a photo inside and outside of the boxes of its instances, and what an evaluation says of them.

A region is measured as if it were a picture of its own: what a line of ``per_image.jsonl`` says of the picture, its
"regions" say of each part in the same words, and so the figures of `kcolor.figures` are those of regions, too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcolor.data.instances import Instance
from kcolor.figures import ANSWERS, FIGURES, columns_of

# The figures of a region. SSIM and LPIPS are of windows that reach beyond a box, FID is of whole pictures, and no class
# is named for a part.
OF_REGIONS = (
    "psnr",
    "delta_e_2000",
    "delta_e_2000_p95",
    "colourfulness_prediction",
    "colourfulness_truth",
    "colourfulness_ratio",
    "colourfulness_difference",
)

# Those that stand in tables where there is little room, and of how many classes.
MAIN = ("psnr", "delta_e_2000", "colourfulness_ratio")
MOST = 8

Key = tuple[str, str | None]  # "inside" or "outside", and the class of the boxes; None: of any class
INSIDE: Key = ("inside", None)
OUTSIDE: Key = ("outside", None)


@dataclass(frozen=True)
class Region:
    """A part of a photo.

    Args:
        key: Which.
        instances: How many boxes it is made of.
        mask: (height, width) bool, its pixels; None: the whole picture.
    """

    key: Key
    instances: int
    mask: np.ndarray | None


def regions_of(instances: Sequence[Instance], size: tuple[int, int], shape: tuple[int, int]) -> list[Region]:
    """The regions of a photo: inside of all boxes, outside of them, and inside of those of each class.

    Boxes are stretched as the picture is, and their edges rounded to whole pixels; one that is less than a pixel is the
    pixel it lies in. Where boxes overlap, a pixel counts once in a region, and in the region of each class.

    Args:
        instances: What was found; none: the whole picture is outside.
        size: Width and height of the photo that the boxes are of.
        shape: Height and width of the picture that is measured.

    Returns:
        Those that have a pixel.
    """
    if not instances:
        return [Region(OUTSIDE, 0, None)]
    counts: dict[str, int] = {}
    masks: dict[str, np.ndarray] = {}
    for each in instances:
        rows = _stretched(each.top, each.bottom, size[1], shape[0])
        columns = _stretched(each.left, each.right, size[0], shape[1])
        masks.setdefault(each.name, np.zeros(shape, np.bool_))[rows, columns] = True
        counts[each.name] = counts.get(each.name, 0) + 1
    inside = np.logical_or.reduce(list(masks.values()))
    found = [Region(INSIDE, len(instances), inside)]
    if not inside.all():
        found.append(Region(OUTSIDE, 0, ~inside))
    return [*found, *(Region(("inside", name), counts[name], mask) for name, mask in sorted(masks.items()))]


def boxes_sha256(instances: Mapping[str, Sequence[Instance]]) -> str:
    """A digest, in hexadecimal, of the boxes of photos by their paths: who has the same has the same regions.

    Neither the order of the boxes enters it nor their scores.
    """
    boxes = {
        path: sorted([each.name, each.left, each.top, each.right, each.bottom] for each in some)
        for path, some in instances.items()
    }
    return hashlib.sha256(json.dumps(boxes, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """What an evaluation says of a region.

    Args:
        key: Which.
        photos: How many photos have it.
        instances: Of how many boxes it is made.
        share: Of all pixels that were measured.
        figures: By key, what each answer scored.
    """

    key: Key
    photos: int
    instances: int
    share: float
    figures: Mapping[str, Mapping[str, float | None]]

    @property
    def label(self) -> str:
        """What it is called on pages."""
        return label(self.key)

    @property
    def about(self) -> str:
        """Of what it is made, in a few words."""
        boxes = f"{self.instances:,} box{'' if self.instances == 1 else 'es'} in " if self.instances else ""
        photos = f"{self.photos:,} photo{'' if self.photos == 1 else 's'}"
        return f"{boxes}{photos}, {100 * self.share:.3g} % of the pixels"


def label(key: Key) -> str:
    """What a region is called on pages."""
    where, name = key
    return f"{where}: {name}" if name is not None else {INSIDE: "inside any box", OUTSIDE: "outside every box"}[key]


def parts(metrics: Mapping[str, Any]) -> list[Part]:
    """What ``metrics.json`` says of regions, in its order; nothing where no instances were looked for."""
    entries = {(each["region"], each["class"]): each for each in metrics.get("regions", ())}
    pixels = sum(each["pixels"] for key, each in entries.items() if key in (INSIDE, OUTSIDE))
    return [
        Part(
            key,
            each["photos"],
            each["instances"],
            each["pixels"] / pixels,
            {entry["figure"]: entry for entry in each["figures"]},
        )
        for key, each in entries.items()
    ]


def worth_showing(keys: Iterable[Key], most: int | None = None) -> tuple[list[Key], int]:
    """The regions that tell people something, and how many classes are left out for want of room.

    Where there is but one class, the inside of its boxes is that of all; where nothing was found, the outside is all.

    Args:
        keys: All regions, the most frequent classes first.
        most: So many classes at most; None: all of them.
    """
    keys = list(keys)
    classes = [key for key in keys if key[1] is not None]
    if not classes:
        return [], 0
    both = [key for key in keys if key == OUTSIDE or (key == INSIDE and len(classes) > 1)]
    shown = classes[:most]
    return both + shown, len(classes) - len(shown)


def by_region(rows: Iterable[Mapping[str, Any]]) -> dict[Key, list[dict[str, Any]]]:
    """What lines of ``per_image.jsonl`` say of each region, one entry a photo that has it, in the lines' order.

    Returns:
        Inside of all boxes comes first, then outside, then the classes, those with the most instances first.
    """
    found: dict[Key, list[dict[str, Any]]] = {}
    for row in rows:
        for part in row.get("regions", ()):
            found.setdefault((part["region"], part["class"]), []).append(part)

    def place(key: Key) -> tuple[bool, bool, int, str]:
        return key != INSIDE, key != OUTSIDE, -_total(found[key], "instances"), key[1] or ""

    return {key: found[key] for key in sorted(found, key=place)}


def pooled(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The regions of a set of photos, as ``metrics.json`` has them.

    Args:
        rows: The lines of ``per_image.jsonl``.

    Returns:
        For each region of `by_region` which it is, how many photos have it, its instances, its pixels, and its figures
        by answer; None for what is not a number.
    """
    found = []
    for (region, name), some in by_region(rows).items():
        columns = {answer: columns_of(some, answer) for answer in ANSWERS}
        figures = []
        for key in OF_REGIONS:
            of = FIGURES[key].of
            assert of is not None
            try:
                values = {answer: float(of(columns[answer])) for answer in ANSWERS}
            except KeyError:  # the protocol does not measure it
                continue
            told = {answer: value if np.isfinite(value) else None for answer, value in values.items()}
            figures.append({"figure": key, **told})
        found.append(
            {
                "region": region,
                "class": name,
                "photos": len(some),
                "instances": _total(some, "instances"),
                "pixels": _total(some, "pixels"),
                "figures": figures,
            }
        )
    return found


def _total(some: Iterable[Mapping[str, Any]], what: str) -> int:
    return sum(each[what] for each in some)


def _stretched(low: int, high: int, before: int, after: int) -> slice:
    """The pixels of a box along one side, of `before` pixels, where that side has `after`; at least one."""
    low, high = np.clip([low, high], 0, before).tolist()
    first, last = ((2 * end * after + before) // (2 * before) for end in (low, high))  # halves are rounded up
    if first < last:
        return slice(first, last)
    middle = min((low + high) * after // (2 * before), after - 1)
    return slice(middle, middle + 1)
