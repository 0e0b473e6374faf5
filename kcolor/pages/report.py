"""The page of one evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from kcolor.evaluation import Evaluation
from kcolor.figures import ANSWERS, FIGURES, OF_THE_PHOTOS, Columns, Figure, columns_of
from kcolor.pages import charts
from kcolor.pages.gallery import Shown, groups, ranked_by
from kcolor.pages.page import render
from kcolor.pages.values import by_picture, number, of_pictures, reason, scored, shown
from kcolor.regions import MAIN, Part, parts, worth_showing

# What of a picture's own figures is drawn, and what of a class's is in the table.
DISTRIBUTIONS = ("psnr", "ssim", "lpips", "delta_e_2000", "delta_e_2000_p95", "colourfulness_difference")
OF_CLASSES = ("psnr", "ssim", "lpips", "delta_e_2000", "colourfulness_ratio", "top_1")
# How many of the pictures that were left out are named.
NAMED = 20
# What the axis of a histogram is called, where that is not the figure's label.
AXES = {
    "lpips": "LPIPS of a picture",
    "delta_e_2000": "mean ΔE 2000 of a picture",
    "delta_e_2000_p95": "95th percentile of a picture's ΔE 2000",
    "colourfulness_difference": f"|colourfulness of prediction {charts.MINUS} of truth|",
}


def report_page(evaluation: Evaluation, gallery: Sequence[Shown]) -> str:
    """The page of one evaluation.

    Args:
        evaluation: What was measured.
        gallery: Pictures to show, chosen with `ranked_by` and `chosen`; none leaves the gallery out.

    Returns:
        HTML that can be encoded as UTF-8 whatever the names of the pictures are.
    """
    metrics = evaluation.metrics
    columns = {answer: columns_of(evaluation.rows, answer) for answer in ANSWERS}
    lines = _lines(evaluation, columns)
    ranking = ranked_by(evaluation.rows)
    return render(
        "report.html.j2",
        name=name_of(evaluation),
        evaluation=evaluation,
        metrics=metrics,
        answers=ANSWERS,
        lines=lines,
        counted={
            word: [line.figure.label for line in lines if line.word == word] for word in ("better", "worse", "same")
        },
        missing=[line.figure.label for line in lines if line.missing],
        ranking=ranking,
        panels=_panels(columns),
        tails=charts.TAILS,
        classes=_classes(evaluation, columns),
        regions=_regions(evaluation),
        boxes=metrics.get("instances"),
        gallery=groups(gallery, ranking),
        near_grey_shown=any(each.row["near_grey"] for each in gallery),
        left_out=metrics["pictures"]["left_out"][:NAMED],
    )


def name_of(evaluation: Evaluation) -> str:
    """What a model is called on its page: its run, with a checkpoint's name if it is one, or its file."""
    path = PurePath(evaluation.metrics["model"]["path"])
    name = path.stem if path.suffix in {".keras", ".tflite"} else path.name
    folder = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    if name == "generator" and folder.name:
        return folder.name
    if folder != path.parent or name.isdigit():
        return ", ".join(filter(None, (folder.name, name)))
    return name or str(path)


@dataclass(frozen=True)
class _Line:
    """A line of the table of figures: what each answer scored, or why and what is missing."""

    figure: Figure
    cells: Sequence[str] = ()
    word: str = ""
    missing: tuple[str, str] | None = None


def _lines(evaluation: Evaluation, columns: Mapping[str, Columns]) -> list[_Line]:
    missing = {entry["figure"]: reason(entry["why"]) for entry in evaluation.metrics["missing"]}
    lines = []
    for figure in (figure for key, figure in FIGURES.items() if key in evaluation.figures or key in missing):
        values = {answer: scored(evaluation, figure, answer, columns[answer]) for answer in ANSWERS}
        if figure.key in missing and np.isnan(list(values.values())).all():
            lines.append(_Line(figure, missing=missing[figure.key]))
            continue
        cells = [shown(figure, value) for value in values.values()]
        word = _against(figure, values["model"], values["grey"])
        lines.append(_Line(figure, cells[:1] if figure.key in OF_THE_PHOTOS else cells, word))
    return lines


def _against(figure: Figure, value: float, other: float) -> str:
    """Whether a value is better than another: "better", "worse", "same" as far as it is shown, or ""."""
    if not figure.better or np.isnan([value, other]).any():
        return ""
    if shown(figure, value) == shown(figure, other):
        return "same"
    badness = [{"higher": -each, "lower": each, "one": abs(each - 1)}[figure.better] for each in (value, other)]
    return "better" if badness[0] < badness[1] else "worse"


@dataclass(frozen=True)
class _Classes:
    """The table of classes.

    Args:
        figures: Each with its answers' names.
        lines: The class, its pictures, and for each figure the values and a word, better or worse.
    """

    figures: Sequence[tuple[Figure, Sequence[str]]]
    lines: Sequence[tuple[str, int, Sequence[tuple[Sequence[str], str]]]]


def _classes(evaluation: Evaluation, columns: Mapping[str, Columns]) -> _Classes | None:
    names = np.array([row["class"] or "" for row in evaluation.rows], object)
    if not any(names):
        return None
    members = {name: names == name for name in sorted(set(names), key=lambda name: (not name, name))}
    parts = {
        answer: [{key: column[group] for key, column in columns[answer].items()} for group in members.values()]
        for answer in ("model", "grey")
    }
    figures = []
    cells: dict[str, list[tuple[list[str], str]]] = {name: [] for name in members}
    for figure in (FIGURES[key] for key in OF_CLASSES if key in evaluation.figures):
        found = {answer: [of_pictures(figure, part) for part in parts[answer]] for answer in parts}
        # The all-grey answer has no colour, in any class.
        told = [
            answer
            for answer, values in found.items()
            if not np.isnan(values).all() and (figure.key, answer) != ("colourfulness_ratio", "grey")
        ]
        if not told:
            continue
        figures.append((figure, [ANSWERS[answer] for answer in told]))
        for place, line in enumerate(cells.values()):
            values = {answer: found[answer][place] for answer in told}
            word = _against(figure, values["model"], values["grey"]) if len(told) > 1 else ""
            line.append(([shown(figure, value) for value in values.values()], word))
    return _Classes(figures, [(name, int(members[name].sum()), line) for name, line in cells.items()])


@dataclass(frozen=True)
class _Regions:
    """The table of what is inside and outside of instance boxes.

    Args:
        figures: Its columns, each with its answers' names.
        lines: The region, and for each figure the values and a word, better or worse.
    """

    figures: Sequence[tuple[Figure, Sequence[str]]]
    lines: Sequence[tuple[Part, Sequence[tuple[Sequence[str], str]]]]


def _regions(evaluation: Evaluation) -> _Regions | None:
    found = {part.key: part for part in parts(evaluation.metrics)}
    chosen, _ = worth_showing(found)
    if not chosen:
        return None
    figures = []
    for figure in (FIGURES[key] for key in MAIN if key in found[chosen[0]].figures):
        # The all-grey answer has no colour, wherever it is.
        told = ["model"] if figure.key == "colourfulness_ratio" else ["model", "grey"]
        figures.append((figure, told))
    lines = []
    for part in map(found.__getitem__, chosen):
        cells = []
        for figure, told in figures:
            values = [number(part.figures[figure.key][answer]) for answer in told]
            word = _against(figure, *values) if len(told) > 1 else ""
            cells.append(([shown(figure, value) for value in values], word))
        lines.append((part, cells))
    return _Regions([(figure, [ANSWERS[answer] for answer in told]) for figure, told in figures], lines)


@dataclass(frozen=True)
class _Panel:
    """One histogram, and what is said of it.

    Args:
        figure: Which figure of the pictures.
        axis: What its axis is called.
        counted: The histogram.
        bars: Its drawing.
        medians: By answer that has one: its key, its name, the place of the median, the median.
        against: In how many pictures the model is better than all grey, and of how many; None where none has both.
        without: How many pictures have no such figure.
    """

    figure: Figure
    axis: str
    counted: charts.Histogram
    bars: charts.Bars
    medians: Sequence[tuple[str, str, float, str]]
    against: tuple[int, int] | None
    without: int


def _panels(columns: Mapping[str, Columns]) -> list[_Panel]:
    found = []
    for figure in (FIGURES[key] for key in DISTRIBUTIONS):
        model, grey = (by_picture(columns[answer], figure.key) for answer in ("model", "grey"))
        counted = charts.histogram(model, grey)
        if not counted or np.isnan(model).all():
            continue
        bars = charts.bars(counted)
        medians = []
        for answer, values in (("model", model), ("grey", grey)):
            if not np.isnan(values).all():
                median = float(np.nanmedian(values))
                medians.append((answer, ANSWERS[answer], bars.x(median), shown(figure, median)))
        wins = int(np.count_nonzero(model > grey if figure.better == "higher" else model < grey))
        both = int(np.count_nonzero(~np.isnan(model) & ~np.isnan(grey)))
        axis = AXES.get(figure.key) or ", ".join(filter(None, (f"{figure.label} of a picture", figure.unit)))
        without = int(np.count_nonzero(np.isnan(model)))
        found.append(_Panel(figure, axis, counted, bars, medians, (wins, both) if both else None, without))
    return found
