"""Histograms and forest plots, from arrays to the numbers and paths that the templates draw.

Lengths are in units of the drawing, which is about a CSS pixel wide each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MINUS = "\N{MINUS SIGN}"
WIDTH = 360.0

# The ends of a histogram, in percent of all values.
TAILS = (0.5, 99.5)


@dataclass(frozen=True)
class Scale:
    """From values to places along a line; what lies beyond its ends is at them."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """The places of round values, at most about `count`, with their texts."""
        step = _round_step(self.high - self.low, count)
        inside = np.arange(np.ceil(self.low / step - 1e-6), np.floor(self.high / step + 1e-6) + 1) * step
        return [(self(value), f"{value:.{_digits(step)}f}".replace("-", MINUS)) for value in inside + 0.0]


def _round_step(span: float, count: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 ... that goes into `span` no more than `count` times."""
    size = 10.0 ** np.floor(np.log10(span / count))
    return next(float(each * size) for each in (1, 2, 2.5, 5, 10) if each * size * count >= span * (1 - 1e-9))


def _digits(step: float) -> int:
    """The decimals that a round step needs."""
    return next((digits for digits in range(12) if abs(round(step, digits) - step) < 1e-6 * step), 12)


@dataclass(frozen=True)
class Histogram:
    """How the values of the pictures are spread, of two answers over the same bins.

    Args:
        edges: Of the bins, one more than there are bins.
        model: Pictures in each bin; the first and the last also hold what lies beyond them.
        grey: The same of the all-grey answer.
        beyond: How many of the model's values and of all grey's lie beyond the ends.
    """

    edges: np.ndarray
    model: np.ndarray
    grey: np.ndarray
    beyond: tuple[int, int]


def histogram(model: np.ndarray, grey: np.ndarray) -> Histogram | None:
    """Count the values of the pictures in bins with round edges, which span all but the extreme tails of both.

    Args:
        model: A value a picture, (pictures,); NaN where one has none.
        grey: The same of the all-grey answer.

    Returns:
        None if there is no finite value at all.
    """
    model, grey = model[~np.isnan(model)], grey[~np.isnan(grey)]
    finite = np.concatenate([model, grey])
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return None
    low = float(np.percentile(finite, TAILS[0], method="lower"))
    high = float(np.percentile(finite, TAILS[1], method="higher"))
    if high - low < 1e-9 * max(1.0, abs(high)):  # one value
        low, high = low - 0.05 * max(abs(low), 1.0), high + 0.05 * max(abs(high), 1.0)
    step = _round_step(high - low, float(np.clip(2.5 * np.cbrt(model.size), 8, 36)))
    edges = np.arange(np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9) + 1) * step
    ends = edges[0], edges[-1]
    counts = [np.histogram(np.clip(values, *ends), edges)[0] for values in (model, grey)]
    beyond = [int(np.count_nonzero((values < ends[0]) | (values > ends[1]))) for values in (model, grey)]
    return Histogram(edges, counts[0], counts[1], (beyond[0], beyond[1]))


@dataclass(frozen=True)
class Bars:
    """A histogram, ready to be drawn.

    Args:
        x: From values to places.
        model: The path around the model's bars.
        grey: The path around those of all grey, or "" if it has none.
        x_ticks: Places and their texts.
        y_ticks: The same of the numbers of pictures.
        bins: Of each bin the place, the width, what it reaches from and to, and how many of the model's and of all
            grey's values are in it.
    """

    x: Scale
    model: str
    grey: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    bins: Sequence[tuple[float, float, str, int, int]]
    height: float = 214.0
    left: float = 36.0
    right: float = WIDTH - 8
    top: float = 24.0
    base: float = 172.0


def bars(counted: Histogram) -> Bars:
    """The drawing of a histogram."""
    edges = counted.edges
    x = Scale(edges[0], edges[-1], Bars.left, Bars.right)
    y = Scale(0, 1.04 * max(1, counted.model.max(), counted.grey.max()), Bars.base, Bars.top)
    places = [x(edge) for edge in edges]
    digits = _digits(edges[1] - edges[0])
    bins = [
        (
            places[i],
            round(places[i + 1] - places[i], 2),
            f"{edges[i]:.{digits}f} to {edges[i + 1]:.{digits}f}",
            int(counted.model[i]),
            int(counted.grey[i]),
        )
        for i in range(len(counted.model))
    ]
    model, grey = (_steps(places, [y(count) for count in counts]) for counts in (counted.model, counted.grey))
    whole = [(place, text) for place, text in y.ticks(4) if "." not in text]
    return Bars(x, model, grey if counted.grey.any() else "", x.ticks(6), whole, bins)


def _steps(places: Sequence[float], heights: Sequence[float]) -> str:
    path = [f"M{places[0]:g} {Bars.base:g}"]
    for place, height in zip(places[1:], heights, strict=True):
        path += [f"V{height:g}", f"H{place:g}"]
    return "".join([*path, f"V{Bars.base:g}"])


@dataclass(frozen=True)
class Forest:
    """Intervals below each other, ready to be drawn.

    Args:
        height: Of the drawing.
        base: Where the axis is.
        zero: Where 0 is on it.
        ticks: Places on it and their texts.
        lines: Of each interval its own height, and the places of its ends and its value.
    """

    height: float
    base: float
    zero: float
    ticks: Sequence[tuple[float, str]]
    lines: Sequence[tuple[float, float, float, float]]
    left: float = 10.0
    right: float = WIDTH - 10


def forest(intervals: Sequence[tuple[float, float, float]]) -> Forest | None:
    """The drawing of some intervals.

    Args:
        intervals: The ends of each, and the value in it; all of them finite.

    Returns:
        None if all there is is zero.
    """
    ends = [end for interval in intervals for end in interval]
    if not any(ends):
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = 0.08 * (high - low)
    x = Scale(low - margin, high + margin, Forest.left, Forest.right)
    base = 12.0 + 40 * len(intervals)
    lines = [(34.0 + 40 * place, x(low), x(high), x(value)) for place, (low, high, value) in enumerate(intervals)]
    return Forest(base + 42, base, x(0), x.ticks(5), lines)
