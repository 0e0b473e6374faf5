"""What the figures of an evaluation are called, which way is better, and how each is told from single pictures.

An evaluation's own figures come from `kcolor.metrics`, as it goes. These functions find the same figures from the lines
of ``per_image.jsonl``: of a class, or of the resampled sets of a bootstrap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Columns = Mapping[str, np.ndarray]

NOTHING = "\N{EN DASH}"  # stands where there is no value

# Who gives an answer, in the order in which they are shown.
ANSWERS = {"model": "model", "grey": "all grey", "mean_ab": "mean ab"}

# What is true of the photographs themselves, and so the same whatever the answer.
OF_THE_PHOTOS = {"colourfulness_truth"}


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        key: Its name in files.
        label: Its name on pages.
        about: What it is, in a sentence for people.
        better: "higher", "lower", "one" (the nearer to 1), or "" where neither is.
        digits: Decimals shown.
        of: The figure of a set of pictures, from their columns; None if single pictures do not tell it.
        unit: Its unit, if it has one.
    """

    key: str
    label: str
    about: str
    better: Literal["higher", "lower", "one", ""]
    digits: int
    of: Callable[[Columns], float] | None
    unit: str = ""

    def show(self, value: float | None) -> str:
        """The value as people read it; a dash where there is none."""
        return NOTHING if value is None or np.isnan(value) else f"{value:.{self.digits}f}"


def _mean(name: str) -> Callable[[Columns], float]:
    return lambda columns: _ratio(np.nansum(columns[name]), int(np.count_nonzero(~np.isnan(columns[name]))))


def _per_pixel(name: str) -> Callable[[Columns], float]:
    return lambda columns: _ratio((columns[name] * columns["pixels"]).sum(), columns["pixels"].sum())


def _psnr(columns: Columns) -> float:
    with np.errstate(divide="ignore"):
        return float(-10.0 * np.log10(_per_pixel("squared_error")(columns)))


def _median_psnr(near_grey: bool) -> Callable[[Columns], float]:
    def median(columns: Columns) -> float:
        chosen = columns["squared_error"][columns["near_grey"].astype(bool) == near_grey]
        with np.errstate(divide="ignore"):
            return float(np.median(-10.0 * np.log10(chosen))) if chosen.size else float("nan")

    return median


def _colour_ratio(columns: Columns) -> float:
    return _ratio(columns["colourfulness_prediction"].sum(), columns["colourfulness_truth"].sum())


def _colour_difference(columns: Columns) -> float:
    return float(np.abs(columns["colourfulness_prediction"] - columns["colourfulness_truth"]).mean())


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")


FIGURES = {
    figure.key: figure
    for figure in (
        Figure("psnr", "PSNR", "of the squared error pooled over all pictures", "higher", 2, _psnr, "dB"),
        Figure(
            "psnr_median",
            "PSNR, median",
            "of the pictures that are not nearly grey",
            "higher",
            2,
            _median_psnr(False),
            "dB",
        ),
        Figure(
            "psnr_median_near_grey",
            "PSNR, median of near-grey",
            "of the nearly grey pictures, where it says little",
            "higher",
            2,
            _median_psnr(True),
            "dB",
        ),
        Figure("ssim", "SSIM", "structural similarity, mean over the pictures", "higher", 4, _mean("ssim")),
        Figure(
            "lpips", "LPIPS", "perceptual distance (VGG16, v0.1), mean over the pictures", "lower", 4, _mean("lpips")
        ),
        Figure("fid", "FID", "Fréchet distance of the features of Inception 2015-12-05", "lower", 2, None),
        Figure(
            "delta_e_2000", "ΔE 2000", "colour difference, mean over all pixels", "lower", 2, _per_pixel("delta_e_2000")
        ),
        Figure(
            "delta_e_2000_p95",
            "ΔE 2000, 95th percentile",
            "of each picture's pixels, mean over the pictures",
            "lower",
            2,
            _mean("delta_e_2000_p95"),
        ),
        Figure(
            "colourfulness_prediction",
            "colourfulness",
            "of the predictions (Hasler and Süsstrunk), mean over the pictures",
            "",
            2,
            _mean("colourfulness_prediction"),
        ),
        Figure(
            "colourfulness_truth",
            "colourfulness of the truth",
            "of the photographs themselves, mean over the pictures",
            "",
            2,
            _mean("colourfulness_truth"),
        ),
        Figure(
            "colourfulness_ratio",
            "colourfulness, ratio",
            "of the two means: 1 is as colourful as the truth",
            "one",
            3,
            _colour_ratio,
        ),
        Figure(
            "colourfulness_difference",
            "colourfulness, difference",
            "absolute, picture by picture, mean over the pictures",
            "lower",
            2,
            _colour_difference,
        ),
        Figure("top_1", "top-1 accuracy", "share of pictures whose class is named first", "higher", 4, _mean("top_1")),
        Figure(
            "top_5",
            "top-5 accuracy",
            "share of pictures whose class is in the first five",
            "higher",
            4,
            _mean("top_5"),
        ),
    )
}


def columns_of(rows: Sequence[Mapping[str, Any]], answer: str = "model") -> dict[str, np.ndarray]:
    """The numbers of ``per_image.jsonl`` as arrays, one entry a picture.

    Args:
        rows: Its lines.
        answer: Whose: a key of `ANSWERS`.

    Returns:
        What is true of the picture and what of the answer, by name, float64; NaN where a picture has none.
    """
    flat = [
        {**{k: v for k, v in row.items() if not isinstance(v, str | dict | list)}, **row.get(answer, {})}
        for row in rows
    ]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return {
        name: np.array([np.nan if row.get(name) is None else row[name] for row in flat], np.float64) for name in names
    }
