"""The parts of a photo inside and outside of the boxes of its instances, and what an evaluation says of them.

A region is measured as if it were a picture of its own: what a line of ``per_image.jsonl`` says of the picture, its
"regions" say of each part in the same words, and so the figures of `kcolor.figures` are those of regions, too.
"""

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

# Those that stand in tables, where there is little room.
MAIN = ("psnr", "delta_e_2000", "colourfulness_ratio")

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
        Those that have a pixel. Regions of the same pixels have the same mask.
    """
    if not instances:
        return [Region(OUTSIDE, 0, None)]
    counts: dict[str, int] = {}
    masks: dict[str, np.ndarray] = {}
    for each in instances:
        mask = masks.setdefault(each.name, np.zeros(shape, np.bool_))
        (top, bottom), (left, right) = (
            _stretched(each.top, each.bottom, size[1], shape[0]),
            _stretched(each.left, each.right, size[0], shape[1]),
        )
        mask[top:bottom, left:right] = True
        counts[each.name] = counts.get(each.name, 0) + 1
    inside = np.logical_or.reduce(list(masks.values())) if len(masks) > 1 else next(iter(masks.values()))
    found = [Region(INSIDE, len(instances), inside)]
    if not inside.all():
        found.append(Region(OUTSIDE, 0, ~inside))
    return [*found, *(Region(("inside", name), counts[name], mask) for name, mask in sorted(masks.items()))]


def parts_of(rows: Iterable[Mapping[str, Any]]) -> dict[Key, list[dict[str, Any]]]:
    """What lines of ``per_image.jsonl`` say of each region, one entry a photo that has it, in the lines' order.

    Returns:
        Inside of all boxes comes first, then outside, then the classes, those with the most instances first.
    """
    found: dict[Key, list[dict[str, Any]]] = {}
    for row in rows:
        for part in row.get("regions", ()):
            found.setdefault((part["region"], part["class"]), []).append(part)

    def place(key: Key) -> tuple[bool, bool, int, str]:
        return key != INSIDE, key != OUTSIDE, -count(found[key], "instances"), key[1] or ""

    return {key: found[key] for key in sorted(found, key=place)}


def count(parts: Iterable[Mapping[str, Any]], what: str) -> int:
    """How many "instances" or "pixels" the parts have together."""
    return sum(part[what] for part in parts)


def pooled(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The regions of a set of photos, as ``metrics.json`` has them.

    Args:
        rows: The lines of ``per_image.jsonl``.

    Returns:
        For each region of `parts_of` which it is, how many photos have it, its instances, its pixels, and its figures
        by answer; None for what is not a number.
    """
    found = []
    for (region, name), parts in parts_of(rows).items():
        columns = {answer: columns_of(parts, answer) for answer in ANSWERS}
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
                "photos": len(parts),
                "instances": count(parts, "instances"),
                "pixels": count(parts, "pixels"),
                "figures": figures,
            }
        )
    return found


def _stretched(low: int, high: int, before: int, after: int) -> tuple[int, int]:
    """The ends of a box along one side, of `before` pixels, where that side has `after`; at least a pixel apart."""
    low, high = np.clip([low, high], 0, before).tolist()
    first, last = ((2 * end * after + before) // (2 * before) for end in (low, high))  # halves are rounded up
    if first < last:
        return first, last
    middle = min((low + high) * after // (2 * before), after - 1)
    return middle, middle + 1
