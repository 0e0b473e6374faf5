"""The page of several evaluations side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcolor.compare import FEWEST, ComparedPart, Comparison, Difference, verdict
from kcolor.figures import FIGURES, OF_THE_PHOTOS, Figure, columns_of
from kcolor.pages import charts
from kcolor.pages.page import render
from kcolor.pages.values import number, reason, scored, shown
from kcolor.regions import OF_REGIONS, Part, worth_showing


def comparison_page(comparison: Comparison) -> str:
    """The page of several evaluations side by side.

    Args:
        comparison: Of at least one evaluation.

    Returns:
        HTML that can be encoded as UTF-8.
    """
    first = comparison.evaluations[0]
    lines = _lines(comparison)
    without = [line.figure for line in lines if any(other.text and not other.interval for other in line.others)]
    return render(
        "comparison.html.j2",
        name=" and ".join(filter(None, (", ".join(comparison.names[:-1]), comparison.names[-1]))),
        comparison=comparison,
        first=first,
        metrics=first.metrics,
        lines=lines,
        counted=[_counted(lines, place) for place in range(len(comparison.differences))],
        whole=[figure.label for figure in without if not figure.of],
        few=[figure.label for figure in without if figure.of],
        panels=_panels(comparison, lines),
        regions=_regions(comparison),
        fewest=FEWEST,
        notes=_notes(comparison),
        warned=any(evaluation.metrics["warnings"] for evaluation in comparison.evaluations),
    )


@dataclass(frozen=True)
class _Other:
    """An evaluation's value of a figure and, if that can be told, how it differs from the first one's."""

    value: str
    text: str = ""
    interval: str = ""
    word: str = ""
    drawn: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class _Line:
    """A line of the table; without others, the value is the same for all."""

    figure: Figure
    grey: str
    first: str
    others: Sequence[_Other]


def _lines(comparison: Comparison) -> list[_Line]:
    evaluations = comparison.evaluations
    columns = [columns_of(evaluation.rows) for evaluation in evaluations]
    grey = columns_of(evaluations[0].rows, "grey")
    lines = []
    for key, figure in FIGURES.items():
        if not any(key in evaluation.figures for evaluation in evaluations):
            continue
        first, *others = (scored(each, figure, "model", of) for each, of in zip(evaluations, columns, strict=True))
        told = [
            _other(figure, value, differences.get(key))
            for value, differences in zip(others, comparison.differences, strict=True)
        ]
        all_grey = scored(evaluations[0], figure, "grey", grey)
        lines.append(_Line(figure, shown(figure, all_grey), shown(figure, first), [] if key in OF_THE_PHOTOS else told))
    return lines


def _regions(comparison: Comparison) -> list[tuple[Part, list[_Line]]]:
    """The regions inside and outside of instance boxes, and the table's lines of each."""
    found = {part.first.key: part for part in comparison.parts}
    chosen, _ = worth_showing(found)
    return [(found[key].first, _lines_of(found[key])) for key in chosen]


def _lines_of(part: ComparedPart) -> list[_Line]:
    lines = []
    for key in (key for key in OF_REGIONS if key not in OF_THE_PHOTOS and key in part.first.figures):
        figure = FIGURES[key]
        first, *others = (number(each.figures[key]["model"]) for each in part.each)
        told = [
            _other(figure, value, differences.get(key))
            for value, differences in zip(others, part.differences, strict=True)
        ]
        lines.append(_Line(figure, shown(figure, number(part.first.figures[key]["grey"])), shown(figure, first), told))
    return lines


def _other(figure: Figure, value: float, difference: Difference | None) -> _Other:
    if difference is None:
        return _Other(shown(figure, value))
    low, high = difference.low, difference.high
    if low is None or high is None:
        return _Other(shown(figure, value), _signed(difference.value, figure.digits))
    digits = figure.digits
    if 0 < high - low < 1:  # so that the two ends can be told apart
        digits = int(np.clip(np.ceil(-np.log10(high - low)) + 1, digits, digits + 3))
    sign = "higher" if low > 0 else "lower" if high < 0 else "undecided" if low < high else "same"
    word = verdict(figure, difference) or sign
    interval = f"{_signed(low, digits)} to {_signed(high, digits)}"
    drawn = low, high, difference.value
    return _Other(shown(figure, value), _signed(difference.value, digits), interval, word, drawn)


def _signed(value: float, digits: int) -> str:
    """A difference; what is rounded to zero has no sign."""
    return f"{value:{'+' if round(value, digits) else 'z'}.{digits}f}".replace("-", charts.MINUS)


def _counted(lines: Sequence[_Line], place: int) -> dict[str, list[str]]:
    """The figures in which one of the others is better than the first, worse, or not told apart from it."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
    for line in lines:
        if line.figure.better in {"higher", "lower"} and line.others[place].word:
            word = line.others[place].word
            found["undecided" if word == "same" else word].append(line.figure.label)
    return found


@dataclass(frozen=True)
class _Panel:
    """The differences of one figure: the drawing and, for each line of it, whose it is and what is said of it."""

    figure: Figure
    plot: charts.Forest
    told: Sequence[tuple[str, _Other]]


def _panels(comparison: Comparison, lines: Sequence[_Line]) -> list[_Panel]:
    found = []
    for line in lines:
        told = [
            (name, other)
            for name, other in zip(comparison.names[1:], line.others, strict=bool(line.others))
            if other.drawn
        ]
        plot = charts.forest([other.drawn for _, other in told if other.drawn])
        if plot:
            found.append(_Panel(line.figure, plot, told))
    return found


def _notes(comparison: Comparison) -> list[tuple[str, tuple[str, str]]]:
    """What was warned of or not measured: whose evaluation it is, the text, and the command that mends it."""
    whose: dict[tuple[str, str], list[str]] = {}
    for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True):
        for warning in evaluation.metrics["warnings"]:
            whose.setdefault((warning, ""), []).append(name)
        for entry in evaluation.metrics["missing"]:
            key, (why, command) = entry["figure"], reason(entry["why"])
            label = FIGURES[key].label if key in FIGURES else key
            whose.setdefault((f"{label} was not measured: {why}", command), []).append(name)
    if comparison.parts_missing:
        whose[(comparison.parts_missing, "")] = list(comparison.names)
    return [
        ("all" if len(names) == len(comparison.names) > 1 else ", ".join(names), note) for note, names in whose.items()
    ]
