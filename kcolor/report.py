"""The pages of an evaluation: one HTML file each, which needs nothing beside it.

What is drawn and said is worked out here; how it looks is in ``templates/``. Everything that is not ours is escaped,
and the pages' own policy forbids a browser to load or run anything.
"""

import base64
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Literal

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from kcolor.compare import Comparison, Difference, verdict
from kcolor.evaluation import Evaluation, protocol_name
from kcolor.figures import ANSWERS, FIGURES, Figure, columns_of

Kind = Literal["best", "median", "worst"]

# Pictures in a page are no larger than this, and those up to TINY keep every pixel.
LARGEST = 320
TINY = 64
# What of a picture's own figures is drawn, and what of a class's is in the table.
DISTRIBUTIONS = ("psnr", "ssim", "lpips", "delta_e_2000", "delta_e_2000_p95", "colourfulness_difference")
OF_CLASSES = ("psnr", "ssim", "lpips", "delta_e_2000", "colourfulness_ratio", "top_1")
# How many of the pictures that were left out are named.
NAMED = 20
# The ends of a histogram, in percent of all values.
TAILS = (0.5, 99.5)

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


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
    row: dict[str, Any]
    grey: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray


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


def ranked_by(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure that the gallery's pictures are ranked by: ΔE 2000, or PSNR where that was not measured."""
    told = any(not np.isnan(value_of(row, "model", "delta_e_2000")) for row in rows)
    return FIGURES["delta_e_2000" if told else "psnr"]


def chosen(
    rows: Sequence[dict[str, Any]], *, key: str, better: str, each: int = 4
) -> list[tuple[Kind, dict[str, Any]]]:
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
    sign = {"higher": -1.0, "lower": 1.0}[better]
    told = [row for row in rows if not np.isnan(value_of(row, "model", key))]
    pool = [row for row in told if not row.get("near_grey")]
    others = [row for row in told if row.get("near_grey")]
    others.sort(key=lambda row: (-(row.get("colourfulness_truth") or 0.0), row["path"]))
    pool += others[: max(0, 3 * each - len(pool))]
    pool.sort(key=lambda row: (sign * value_of(row, "model", key), row["path"]))

    third, rest = divmod(len(pool), 3)
    best, middle, worst = (min(each, third + more) for more in (rest > 0, 0, rest > 1))
    start = best + (len(pool) - best - middle - worst) // 2
    return [
        *(("best", row) for row in pool[:best]),
        *(("median", row) for row in pool[start : start + middle]),
        *(("worst", row) for row in pool[len(pool) - worst :][::-1]),
    ]


def value_of(row: Mapping[str, Any], answer: str, key: str) -> float:
    """A figure of one picture; NaN where it has none, infinite where PSNR is of no error at all.

    Args:
        row: A line of ``per_image.jsonl``.
        answer: Whose: a key of `ANSWERS`.
        key: The name of the figure there, or "colourfulness_difference".
    """
    told = row.get(answer) or {}
    if key == "colourfulness_difference":
        prediction, truth = told.get("colourfulness_prediction"), row.get("colourfulness_truth")
        return float("nan") if prediction is None or truth is None else abs(prediction - truth)
    if told.get(key) is None:
        return float("inf" if key == "psnr" and told.get("squared_error") == 0 else "nan")
    return float(told[key])


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


def name_of(evaluation: Evaluation) -> str:
    """What a model is called on pages: its run, with a checkpoint's name if it is one, or its file."""
    path = PurePath(evaluation.metrics["model"]["path"])
    name = path.stem if path.suffix in {".keras", ".tflite"} else path.name
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    if name == "generator" and folder.name:
        return folder.name
    if folder != path.parent or name == "saved_model":
        return ", ".join(filter(None, (folder.name, name)))
    return name or str(path)


def report_page(evaluation: Evaluation, gallery: Sequence[Shown]) -> str:
    """The page of one evaluation.

    Args:
        evaluation: What was measured.
        gallery: Pictures to show, chosen with `ranked_by` and `chosen`; none leaves the gallery out.

    Returns:
        HTML that can be encoded as UTF-8 whatever the names of the pictures are.
    """
    metrics, rows = evaluation.metrics, evaluation.rows
    answers = [key for key in ANSWERS if any(key in entry for entry in metrics["figures"])]
    lines = _figure_lines(evaluation, answers)
    ranking = ranked_by(rows)
    return _render(
        "report.html.j2",
        name=name_of(evaluation),
        evaluation=evaluation,
        metrics=metrics,
        answers={key: ANSWERS[key] for key in answers},
        lines=lines,
        counted={
            word: [line.figure.label for line in lines if line.word == word] for word in ("better", "worse", "same")
        },
        missing=[line.figure.label for line in lines if line.missing],
        ranking=ranking,
        panels=_panels(rows),
        tails=TAILS,
        classes=_classes(evaluation),
        gallery=_gallery(gallery, ranking),
        near_grey_shown=any(shown.row.get("near_grey") for shown in gallery),
        left_out=metrics["pictures"]["left_out"][:NAMED],
        networks=_networks(metrics.get("networks") or {}),
    )


def comparison_page(comparison: Comparison) -> str:
    """The page of several evaluations side by side.

    Args:
        comparison: Of at least one evaluation.

    Returns:
        HTML that can be encoded as UTF-8.
    """
    first = comparison.evaluations[0]
    lines = _comparison_lines(comparison)
    return _render(
        "comparison.html.j2",
        name=" and ".join(filter(None, (", ".join(comparison.names[:-1]), comparison.names[-1]))),
        comparison=comparison,
        first=first,
        metrics=first.metrics,
        lines=lines,
        counted=[
            {
                word: [
                    line.figure.label
                    for line in lines
                    if line.figure.better in {"higher", "lower"} and line.others[place].word in words
                ]
                for word, words in (("better", ["better"]), ("worse", ["worse"]), ("undecided", ["undecided", "same"]))
            }
            for place in range(len(comparison.differences))
        ],
        whole=_without_interval(lines, by_picture=False),
        few=_without_interval(lines, by_picture=True),
        forests=_forests(comparison, lines),
        protocols=[protocol_name(evaluation.metrics["protocol"]) for evaluation in comparison.evaluations],
        notes=_notes(comparison),
        warned=any(evaluation.metrics.get("warnings") for evaluation in comparison.evaluations),
    )


# The tables.


@dataclass(frozen=True)
class _Line:
    """A line of the table of figures."""

    figure: Figure
    cells: Sequence[str]
    word: str = ""
    missing: tuple[str, str] | None = None


def _known(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """The figures that are measured or missing, in the order of `FIGURES`, then those without a place there."""
    keys = dict.fromkeys(
        entry["figure"]
        for evaluation in evaluations
        for entry in [*evaluation.metrics["figures"], *evaluation.metrics.get("missing", [])]
    )
    ours = [figure for key, figure in FIGURES.items() if key in keys]
    return ours + [Figure(key, key, "", "", 4, None) for key in keys if key not in FIGURES]


def _scored(evaluation: Evaluation, figure: Figure, answer: str, columns: Mapping[str, np.ndarray]) -> float:
    """What an answer scored; where the file has nothing, infinity if that is what the pictures say."""
    value = evaluation.figures.get(figure.key, {}).get(answer)
    if value is None:
        return float("inf") if np.isinf(_of(figure, columns)) else float("nan")
    return float(value)


def _of(figure: Figure, columns: Mapping[str, np.ndarray]) -> float:
    try:
        return figure.of(columns) if figure.of else float("nan")
    except KeyError:  # the protocol does not measure it
        return float("nan")


def _against(figure: Figure, value: float, other: float) -> str:
    """Whether a value is better than another: "better", "worse", "same" as far as it is shown, or ""."""
    if not figure.better or np.isnan(value) or np.isnan(other):
        return ""
    if _show(figure, value) == _show(figure, other):
        return "same"
    return "better" if _badness(figure, value) < _badness(figure, other) else "worse"


def _badness(figure: Figure, value: float) -> float:
    return {"higher": -value, "lower": value, "one": abs(value - 1)}[figure.better]


def _show(figure: Figure, value: float) -> str:
    if np.isnan(value):
        return DASH
    return "∞" if value == np.inf else figure.show(value)


def _why(why: str) -> tuple[str, str]:
    """A reason, and the command that mends it if it ends in one."""
    reason, _, command = why.rpartition(": ")
    return (reason, command) if command.startswith("kcolor ") else (why, "")


def _figure_lines(evaluation: Evaluation, answers: Sequence[str]) -> list[_Line]:
    missing = {entry["figure"]: _why(entry["why"]) for entry in evaluation.metrics.get("missing", [])}
    columns = {answer: columns_of(evaluation.rows, answer) for answer in answers}
    lines = []
    for figure in _known([evaluation]):
        values = {answer: _scored(evaluation, figure, answer, columns[answer]) for answer in answers}
        if figure.key in missing and np.isnan(list(values.values())).all():
            lines.append(_Line(figure, [], missing=missing[figure.key]))
            continue
        cells = [_show(figure, value) for value in values.values()]
        if figure.key == "colourfulness_truth":
            cells = cells[:1]
        nothing = float("nan")
        word = _against(figure, values.get("model", nothing), values.get("grey", nothing))
        lines.append(_Line(figure, cells, word))
    return lines


@dataclass(frozen=True)
class _Classes:
    """The table of classes.

    Args:
        figures: Each with its answers' names.
        lines: The class, its pictures, and for each figure the values and a word, better or worse.
    """

    figures: Sequence[tuple[Figure, Sequence[str]]]
    lines: Sequence[tuple[str, int, Sequence[tuple[Sequence[str], str]]]]


def _classes(evaluation: Evaluation) -> _Classes | None:
    names = np.array([row.get("class") or "" for row in evaluation.rows], object)
    if not any(names):
        return None
    groups = {name: names == name for name in [*sorted(set(names) - {""}), *([""] if "" in set(names) else [])]}
    whole = {answer: columns_of(evaluation.rows, answer) for answer in ("model", "grey")}
    parts = {
        answer: [{key: column[group] for key, column in columns.items()} for group in groups.values()]
        for answer, columns in whole.items()
    }
    figures, values = [], []
    for figure in (FIGURES[key] for key in OF_CLASSES if key in evaluation.figures):
        found = {answer: [_of(figure, columns) for columns in parts[answer]] for answer in parts}
        told = [answer for answer in found if not np.isnan(found[answer]).all()]
        # The all-grey answer has no colour, in any class.
        told = [answer for answer in told if (figure.key, answer) != ("colourfulness_ratio", "grey")]
        if told:
            figures.append((figure, told))
            values.append(found)
    lines = []
    for place, (name, group) in enumerate(groups.items()):
        cells = []
        for (figure, told), found in zip(figures, values, strict=True):
            shown = [_show(figure, found[answer][place]) for answer in told]
            against = _against(figure, found["model"][place], found["grey"][place]) if len(told) > 1 else ""
            cells.append((shown, against))
        lines.append((name, int(group.sum()), cells))
    return _Classes([(figure, [ANSWERS[answer] for answer in told]) for figure, told in figures], lines)


def _networks(networks: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """What is known of the networks that figures are measured with: of each, names and values."""
    return [(name, list(told.items()) if isinstance(told, dict) else [("", told)]) for name, told in networks.items()]


@dataclass(frozen=True)
class _Other:
    """How an evaluation differs from the first."""

    value: str
    text: str = ""
    interval: str = ""
    word: str = ""
    difference: Difference | None = None


@dataclass(frozen=True)
class _ComparisonLine:
    """A line of the table of a comparison."""

    figure: Figure
    grey: str
    first: str
    others: Sequence[_Other]


def _comparison_lines(comparison: Comparison) -> list[_ComparisonLine]:
    first, columns = comparison.evaluations[0], [columns_of(e.rows) for e in comparison.evaluations]
    grey = columns_of(first.rows, "grey")
    lines = []
    for figure in _known(comparison.evaluations):
        if not any(figure.key in evaluation.figures for evaluation in comparison.evaluations):
            continue
        values = [
            _scored(evaluation, figure, "model", table)
            for evaluation, table in zip(comparison.evaluations, columns, strict=True)
        ]
        others = [
            _other(figure, value, difference.get(figure.key))
            for value, difference in zip(values[1:], comparison.differences, strict=True)
        ]
        if figure.key == "colourfulness_truth":
            others = []
        shown = _show(figure, _scored(first, figure, "grey", grey))
        lines.append(_ComparisonLine(figure, shown, _show(figure, values[0]), others))
    return lines


def _other(figure: Figure, value: float, difference: Difference | None) -> _Other:
    shown = _show(figure, value)
    if difference is None or np.isnan(difference.value):
        return _Other(shown)
    low, high = difference.low, difference.high
    if low is None or high is None or np.isnan(low) or np.isnan(high):
        return _Other(shown, _signed(difference.value, figure.digits), difference=difference)
    digits = figure.digits
    if 0 < high - low < 1:  # so that the two ends can be told apart
        digits = int(np.clip(np.ceil(-np.log10(high - low)) + 1, digits, digits + 3))
    if low <= 0 <= high:
        word = "same" if low == high else "undecided"
    else:
        word = verdict(figure, difference) or ("higher" if low > 0 else "lower")
    interval = f"{_signed(low, digits)} to {_signed(high, digits)}"
    return _Other(shown, _signed(difference.value, digits), interval, word, difference)


def _without_interval(lines: Sequence[_ComparisonLine], *, by_picture: bool) -> list[str]:
    """The figures with a difference but no interval: those that single pictures tell, or those that they do not."""
    return [
        line.figure.label
        for line in lines
        if (line.figure.of is not None) == by_picture and any(o.text and not o.interval for o in line.others)
    ]


def _signed(value: float, digits: int) -> str:
    text = "∞" if np.isinf(value) else f"{abs(value):.{digits}f}"
    if text.strip("0.") == "":
        return text
    return ("+" if value > 0 else MINUS) + text


def _notes(comparison: Comparison) -> list[tuple[str, tuple[str, str]]]:
    """What was warned of or not measured: whose evaluation it is, the text, and the command that mends it."""
    whose: dict[tuple[str, str], list[str]] = {}
    for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True):
        for warning in evaluation.metrics.get("warnings", []):
            whose.setdefault((warning, ""), []).append(name)
        for entry in evaluation.metrics.get("missing", []):
            reason, command = _why(entry["why"])
            whose.setdefault((f"{_label(entry['figure'])} was not measured: {reason}", command), []).append(name)
    return [
        ("all" if len(names) == len(comparison.names) > 1 else ", ".join(names), note) for note, names in whose.items()
    ]


def _label(key: str) -> str:
    return FIGURES[key].label if key in FIGURES else key


# The drawings. Lengths are in units of the drawing, which is about a CSS pixel wide each.

WIDTH = 360.0


@dataclass(frozen=True)
class _Scale:
    """From values to places along a line."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """Round values within, at most about `count`, with their texts."""
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
class _Panel:
    """One histogram, ready to be drawn."""

    figure: Figure
    axis: str
    height: float
    left: float
    right: float
    top: float
    base: float
    model: str
    grey: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    bins: Sequence[tuple[float, float, str]]
    medians: Sequence[tuple[str, str, float, str]]
    against: tuple[int, int] | None
    beyond: tuple[int, int]
    without: int


AXES = {
    "lpips": "LPIPS of a picture",
    "delta_e_2000": "mean ΔE 2000 of a picture",
    "delta_e_2000_p95": "95th percentile of a picture's ΔE 2000",
    "colourfulness_difference": f"|colourfulness of prediction {MINUS} of truth|",
}


def _panels(rows: Sequence[Mapping[str, Any]]) -> list[_Panel]:
    found = []
    for figure in (FIGURES[key] for key in DISTRIBUTIONS):
        model, grey = (np.array([value_of(row, answer, figure.key) for row in rows]) for answer in ("model", "grey"))
        if not np.isnan(model).all() and (counted := histogram(model, grey)):
            found.append(_panel(figure, model, grey, counted))
    return found


def _panel(figure: Figure, model: np.ndarray, grey: np.ndarray, counted: Histogram) -> _Panel:
    height, left, right, top, base = 214.0, 36.0, WIDTH - 8, 24.0, 172.0
    x = _Scale(counted.edges[0], counted.edges[-1], left, right)
    most = max(1, counted.model.max(), counted.grey.max())
    y = _Scale(0, most * 1.04, base, top)
    whole = [(place, text) for place, text in y.ticks(4) if "." not in text]
    places = [x(edge) for edge in counted.edges]
    digits = _digits(counted.edges[1] - counted.edges[0])
    bins = [
        (
            places[i],
            round(places[i + 1] - places[i], 2),
            f"{counted.edges[i]:.{digits}f} to {counted.edges[i + 1]:.{digits}f} {figure.unit}".strip()
            + f": model {counted.model[i]}, all grey {counted.grey[i]}",
        )
        for i in range(len(counted.model))
    ]
    both = ~np.isnan(model) & ~np.isnan(grey)
    medians = []
    for key, values in (("model", model), ("grey", grey)):
        if not np.isnan(values).all():
            median = float(np.median(values[~np.isnan(values)]))
            medians.append((key, ANSWERS[key], x(median), _show(figure, median)))
    wins = model[both] > grey[both] if figure.better == "higher" else model[both] < grey[both]
    unit = f", {figure.unit}" if figure.unit else ""
    return _Panel(
        figure,
        AXES.get(figure.key, f"{figure.label} of a picture{unit}"),
        height,
        left,
        right,
        top,
        base,
        _steps(places, [y(count) for count in counted.model], base),
        _steps(places, [y(count) for count in counted.grey], base) if not np.isnan(grey).all() else "",
        x.ticks(6),
        whole,
        bins,
        medians,
        (int(wins.sum()), int(both.sum())) if both.any() else None,
        counted.beyond,
        int(np.isnan(model).sum()),
    )


def _steps(places: Sequence[float], heights: Sequence[float], base: float) -> str:
    """The path around the bars of a histogram."""
    path = [f"M{places[0]:g} {base:g}"]
    for place, height in zip(places[1:], heights, strict=True):
        path += [f"V{height:g}", f"H{place:g}"]
    return "".join([*path, f"V{base:g}"])


@dataclass(frozen=True)
class _Forest:
    """The differences of one figure, ready to be drawn."""

    figure: Figure
    height: float
    base: float
    zero: float
    ticks: Sequence[tuple[float, str]]
    lines: Sequence[tuple[float, str, str, float, float, float, _Other]]
    left: float = 10.0
    right: float = WIDTH - 10


def _forests(comparison: Comparison, lines: Sequence[_ComparisonLine]) -> list[_Forest]:
    found = []
    for line in lines:
        told = [
            (name, other, other.difference)
            for name, other in zip(comparison.names[1:], line.others, strict=bool(line.others))
            if other.interval and other.difference
        ]
        ends = [float(end or 0) for _, _, d in told for end in (d.low, d.high, d.value)]
        if not any(ends) or not np.isfinite(ends).all():
            continue
        low, high = min(0.0, *ends), max(0.0, *ends)
        margin = 0.08 * (high - low)
        scale = _Scale(low - margin, high + margin, 10.0, WIDTH - 10)
        drawn = []
        for place, (name, other, difference) in enumerate(told):
            short = name if len(name) <= 22 else f"{name[:21]}…"
            low, high = difference.low or 0.0, difference.high or 0.0
            drawn.append((34.0 + 40 * place, name, short, scale(low), scale(high), scale(difference.value), other))
        base = 12.0 + 40 * len(told)
        found.append(_Forest(line.figure, base + 42, base, scale(0), scale.ticks(5), drawn))
    return found


# The pictures.


@dataclass(frozen=True)
class _Triplet:
    """A picture of the gallery, ready to be shown."""

    row: Mapping[str, Any]
    images: Sequence[tuple[str, str, int, int, bool]]
    figures: Sequence[tuple[Figure, str, str]]


def _gallery(gallery: Sequence[Shown], ranking: Figure) -> list[tuple[str, str, str, list[_Triplet]]]:
    """By group that is not empty: its kind, the ends of its ranking, its pictures."""
    groups = []
    for kind in ("best", "median", "worst"):
        shown = [each for each in gallery if each.kind == kind]
        values = [value_of(each.row, "model", ranking.key) for each in shown]
        if shown:
            low, high = _show(ranking, min(values)), _show(ranking, max(values))
            groups.append((kind, low, high, [_triplet(each) for each in shown]))
    return groups


def _triplet(shown: Shown) -> _Triplet:
    figures = []
    for figure in (FIGURES["delta_e_2000"], FIGURES["psnr"]):
        model, grey = (_show(figure, value_of(shown.row, answer, figure.key)) for answer in ("model", "grey"))
        if not np.isnan(value_of(shown.row, "model", figure.key)):
            figures.append((figure, model, "" if grey == DASH else grey))
    named = {"grey": shown.grey, "prediction": shown.prediction, "truth": shown.truth}
    return _Triplet(shown.row, [(name, *_data_uri(rgb)) for name, rgb in named.items()], figures)


def _data_uri(rgb: np.ndarray) -> tuple[str, int, int, bool]:
    """A (h, w, 3) uint8 picture as a data: URI, with its width and height there, and whether it is tiny."""
    picture = Image.fromarray(rgb)
    tiny = max(picture.size) <= TINY
    if not tiny:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if tiny:
        picture.save(file, "PNG", optimize=True)
    else:
        picture.save(file, "JPEG", quality=88, subsampling=0, optimize=True)
    kind = "png" if tiny else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}", *picture.size, tiny


# The templates.


def _render(template: str, **content: Any) -> str:
    page = _environment().get_template(template).render(**content)
    return re.sub(r"\n\s*\n+", "\n", page) + "\n"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["share"] = lambda part, whole: f"{100 * part / whole:.0f}\u00a0%"
    environment.filters["duration"] = _duration
    environment.tests["hash"] = lambda text: re.fullmatch("[0-9a-f]{32,}", str(text)) is not None
    return environment


def _readable(value: Any) -> Any:
    """Text that can be seen and encoded: bytes that are not UTF-8, control and direction signs become escapes."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(map(_readable_sign, value)) if not value.isascii() or not value.isprintable() else value


def _readable_sign(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file name, as Python keeps it
        return f"\\x{ord(sign) - 0xDC00:02x}"
    hidden = unicodedata.category(sign) in ("Cc", "Cs", "Cf", "Cn", "Zl", "Zp") and sign not in "\u200c\u200d"
    return sign.encode("unicode_escape", "backslashreplace").decode("ascii") if hidden else sign


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
