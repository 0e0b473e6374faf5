"""The pictures that a page shows: which ones, and what is said of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kcolor.figures import FIGURES, NOTHING, Figure, columns_of
from kcolor.pages.page import data_uri
from kcolor.pages.values import by_picture, shown

Kind = Literal["best", "median", "worst"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """A picture of the gallery.

    Args:
        kind: The group it stands in.
        row: Its line of ``per_image.jsonl``.
        grey: (h, w, 3) uint8, what the model saw.
        prediction: (h, w, 3) uint8.
        truth: (h, w, 3) uint8.
    """

    kind: Kind
    row: Row
    grey: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Triplet:
    """A picture of the gallery, ready to be shown.

    Args:
        row: Its line of ``per_image.jsonl``.
        images: By role, as `data_uri` has them.
        figures: With the model's value, and that of all grey or "".
    """

    row: Row
    images: Mapping[str, tuple[str, int, int, bool]]
    figures: Sequence[tuple[Figure, str, str]]


def ranked_by(rows: Sequence[Row]) -> Figure:
    """The figure that the gallery's pictures are ranked by: ΔE 2000, or PSNR where that was not measured."""
    none = np.isnan(by_picture(columns_of(rows), "delta_e_2000")).all()
    return FIGURES["psnr" if none else "delta_e_2000"]


def chosen(rows: Sequence[Row], *, key: str, better: str, each: int = 4) -> list[tuple[Kind, Row]]:
    """Which pictures the gallery shows: the best, those in the middle, and the worst.

    Nearly grey pictures, on which any answer is right, only fill up what the others leave empty, the most colourful of
    them first. No picture stands in two groups: with few of them, the groups are smaller. The path decides between
    equals.

    Args:
        rows: Lines of ``per_image.jsonl``; those in which the model has no `key` are passed over.
        key: The figure of the model that ranks them.
        better: "higher" or "lower".
        each: The most pictures of a group.

    Returns:
        Best first, then the middle ones in order, then the worst first.
    """
    badness = {"higher": -1.0, "lower": 1.0}[better] * by_picture(columns_of(rows), key)
    told = [(bad, row) for bad, row in zip(badness, rows, strict=True) if not np.isnan(bad)]
    pool = [(bad, row) for bad, row in told if not row["near_grey"]]
    others = [(bad, row) for bad, row in told if row["near_grey"]]
    others.sort(key=lambda pair: (-(pair[1].get("colourfulness_truth") or 0.0), pair[1]["path"]))
    pool += others[: max(0, 3 * each - len(pool))]
    pool.sort(key=lambda pair: (pair[0], pair[1]["path"]))
    ranked = [row for _, row in pool]

    third, rest = divmod(len(ranked), 3)
    best, middle, worst = (min(each, third + more) for more in (rest > 0, 0, rest > 1))
    start = best + (len(ranked) - best - middle - worst) // 2
    return [
        *(("best", row) for row in ranked[:best]),
        *(("median", row) for row in ranked[start : start + middle]),
        *(("worst", row) for row in ranked[len(ranked) - worst :][::-1]),
    ]


def groups(gallery: Sequence[Shown], ranking: Figure) -> list[tuple[Kind, str, str, list[Triplet]]]:
    """By group that is not empty: its kind, the ends of its ranking, its pictures."""
    found: list[tuple[Kind, str, str, list[Triplet]]] = []
    for kind in ("best", "median", "worst"):
        group = [each for each in gallery if each.kind == kind]
        if group:
            values = by_picture(columns_of([each.row for each in group]), ranking.key)
            ends = shown(ranking, values.min()), shown(ranking, values.max())
            found.append((kind, *ends, [_triplet(each) for each in group]))
    return found


def _triplet(each: Shown) -> Triplet:
    columns = [columns_of([each.row], answer) for answer in ("model", "grey")]
    figures = []
    for figure in (FIGURES["delta_e_2000"], FIGURES["psnr"]):
        model, grey = (shown(figure, by_picture(of, figure.key)[0]) for of in columns)
        if model != NOTHING:
            figures.append((figure, model, "" if grey == NOTHING else grey))
    pictures = {"grey": each.grey, "prediction": each.prediction, "truth": each.truth}
    return Triplet(each.row, {role: data_uri(rgb) for role, rgb in pictures.items()}, figures)
