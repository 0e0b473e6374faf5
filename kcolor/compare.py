"""Several evaluations side by side, with the paired bootstrap interval of each difference."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from kcolor.errors import RunError
from kcolor.evaluation import METRICS, Evaluation, load
from kcolor.figures import ANSWERS, FIGURES, OF_THE_PHOTOS, Columns, Figure, columns_of
from kcolor.regions import MAIN, MOST, Part, by_region, parts, worth_showing
from kcolor.run import Run

# Entries of the matrix of counts that is in memory at a time: 16 MB, however many resampled sets there are.
_ENTRIES = 1 << 21

# Of fewer photos that have a region, resampled sets say little, and too much of it: there is no interval.
FEWEST = 10

# By key, what each answer scored.
_Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """How much an evaluation's figure is above that of the first one.

    Args:
        value: The difference.
        low: The lower end of its 95 % interval; None where single pictures do not tell the figure.
        high: The upper end.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ComparedPart:
    """A region of the pictures (`kcolor.regions`), the same in all evaluations.

    Args:
        each: What each evaluation says of it.
        differences: As those of a `Comparison`; without interval where fewer than `FEWEST` photos have the region.
    """

    each: Sequence[Part]
    differences: Sequence[dict[str, Difference]]

    @property
    def first(self) -> Part:
        """What the first evaluation says of it; which photos and boxes it is of, all of them say."""
        return self.each[0]


@dataclass(frozen=True)
class Comparison:
    """Several evaluations of the same pictures under the same protocol.

    Args:
        names: What each is called.
        evaluations: In the same order.
        differences: For each evaluation after the first, by figure, the difference from the first.
        resamples: How many resampled sets the intervals come from.
        parts: The same of the regions inside and outside of instance boxes, if all evaluations have the same boxes.
        parts_missing: Why there are none although some evaluation has boxes, in a line; otherwise "".
    """

    names: Sequence[str]
    evaluations: Sequence[Evaluation]
    differences: Sequence[dict[str, Difference]]
    resamples: int
    parts: Sequence[ComparedPart] = ()
    parts_missing: str = ""


def gather(paths: Sequence[Path], *, split: str, protocol: str, stochastic: bool) -> list[Evaluation]:
    """Read the evaluations that are to be compared.

    Args:
        paths: Evaluation folders, and run directories, of which ``evaluations/<split>-<protocol>`` is read.
        split: The split, where a run directory is named.
        protocol: The protocol's name, where a run directory is named.
        stochastic: Whether a run's evaluation with the networks in training mode is meant.

    Returns:
        In the order of the paths.

    Raises:
        RunError: A path is neither, or a run without that evaluation, or there twice, or cannot be read.
    """
    found: dict[Path, Evaluation] = {}
    for path in paths:
        folder = path
        if not (path / METRICS).is_file():
            folder = path / "evaluations" / f"{split}-{protocol}{'-stochastic' if stochastic else ''}"
            if not (folder / METRICS).is_file():
                raise RunError(_nothing_to_read(path, split, protocol, stochastic))
        if folder.resolve() in found:
            raise RunError(f"{path}: its evaluation is named twice; name each once")
        found[folder.resolve()] = load(folder)
    return list(found.values())


def compare(evaluations: Sequence[Evaluation], *, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare evaluations with the first of them.

    The intervals are percentile intervals of the paired bootstrap (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13): pictures are drawn with replacement, the same for both models, and the middle 95 % of
    the differences so found is the interval. It tells how far other pictures of the same kind would have changed the
    difference, and nothing of how far another training would have.

    Args:
        evaluations: Two or more, of the same pictures under the same protocol, their rows in any order.
        resamples: How many resampled sets, at least 1.
        seed: Of the resampling.

    Returns:
        The differences of all figures that both have and that can differ. An interval's ends are None if single
        pictures do not tell the figure, or too few do, so that some resampled set has none. Those of a region come from
        drawing among the photos that have it.

    Raises:
        RunError: They cannot be compared.
    """
    _refuse(evaluations)
    in_order = [sorted(evaluation.rows, key=_picture) for evaluation in evaluations]
    figures = [evaluation.figures for evaluation in evaluations]
    differences = _differences(figures, [columns_of(rows) for rows in in_order], resamples, seed)
    names = _names(evaluations)
    missing = _boxes_unlike(names, evaluations)
    parts = [] if missing else _parts_compared(evaluations, in_order, resamples, seed)
    return Comparison(names, list(evaluations), differences, resamples, parts, missing)


def verdict(figure: Figure, difference: Difference) -> Literal["better", "worse", ""]:
    """Whether a difference is for the better: nothing is said if its interval has zero in it.

    Nor of a figure of which neither direction is better, or the nearer to 1: its sign does not tell.
    """
    if difference.low is None or difference.high is None or figure.better not in {"higher", "lower"}:
        return ""
    if difference.low <= 0 <= difference.high:
        return ""
    return "better" if (difference.low > 0) == (figure.better == "higher") else "worse"


def table(comparison: Comparison) -> Table:
    """A comparison for the terminal: a figure a row.

    Under each model's figure is its difference from the first model's, with the interval; beside it, if the interval
    does not have zero in it, whether that is for the better. The last column is what an all grey answer scores.

    Lines are broken between words only, so many models do not fit into a narrow terminal: print it with ``crop=False``.
    """
    rows = _rows([evaluation.figures for evaluation in comparison.evaluations], comparison.differences, tuple(FIGURES))
    return _drawn(comparison, "figure", [rows], _caption(comparison))


def parts_table(comparison: Comparison) -> Table | None:
    """The same of the regions inside and outside of instance boxes, the most frequent classes; None without any."""
    found = {part.first.key: part for part in comparison.parts}
    shown, more = worth_showing(found, MOST)
    if not shown:
        return None
    groups = []
    for part in map(found.__getitem__, shown):
        heading = Text(part.first.label, style="bold").append(f"\n{part.first.about}", style="not bold dim")
        blank = [Text()] * (len(comparison.names) + 1)
        groups.append([[heading, *blank], *_rows([each.figures for each in part.each], part.differences, MAIN)])
    fewest = f"no interval where fewer than {FEWEST} photos have such a box"
    caption = f"Inside and outside of instance boxes; {fewest}{f'; {more} more classes on the page' if more else ''}."
    return _drawn(comparison, "where", groups, Text(caption))


def counts(pictures: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture is in each resampled set.

    Args:
        pictures: How many there are, and how many are drawn for a set.
        resamples: How many sets.
        seed: The same seed gives the same sets.

    Yields:
        Some sets at a time, (sets, pictures), float64.
    """
    random = np.random.default_rng(seed)
    at_a_time = max(1, _ENTRIES // pictures)
    for start in range(0, resamples, at_a_time):
        some = np.empty((min(at_a_time, resamples - start), pictures))
        for row in some:
            row[:] = np.bincount(random.integers(pictures, size=pictures), minlength=pictures)
        yield some


# Figures of many resampled sets at once. Most are functions of sums over the pictures, and all sums of all sets are one
# product of matrices; a figure is here its terms, an array (pictures,) each, and what it is of their sums.


@dataclass(frozen=True)
class _OfSums:
    terms: Callable[[Columns], Sequence[np.ndarray]]
    of: Callable[..., np.ndarray] = np.divide


def _mean(name: str) -> _OfSums:
    return _OfSums(lambda columns: (np.nan_to_num(columns[name]), ~np.isnan(columns[name])))


def _per_pixel(name: str) -> Callable[[Columns], Sequence[np.ndarray]]:
    return lambda columns: (columns[name] * columns["pixels"], columns["pixels"])


def _colour_difference(columns: Columns) -> Sequence[np.ndarray]:
    apart = np.abs(columns["colourfulness_prediction"] - columns["colourfulness_truth"])
    return apart, np.ones_like(apart)


_OF_SUMS = {
    "psnr": _OfSums(_per_pixel("squared_error"), lambda error, pixels: -10.0 * np.log10(error / pixels)),
    "delta_e_2000": _OfSums(_per_pixel("delta_e_2000")),
    "colourfulness_ratio": _OfSums(lambda c: (c["colourfulness_prediction"], c["colourfulness_truth"])),
    "colourfulness_difference": _OfSums(_colour_difference),
    **{key: _mean(key) for key in ("ssim", "lpips", "delta_e_2000_p95", "colourfulness_prediction", "top_1", "top_5")},
}

# Medians of PSNR, by whether they are of the nearly grey pictures.
_MEDIANS = {"psnr_median": False, "psnr_median_near_grey": True}


def _differences(
    figures: Sequence[_Figures], columns: Sequence[Columns], resamples: int, seed: int
) -> list[dict[str, Difference]]:
    """By how much the figures of each model but the first are above the first one's."""
    first, *others = figures
    shared = [[key for key in FIGURES if key not in OF_THE_PHOTOS and _both(first, other, key)] for other in others]
    told = [[key for key in keys if FIGURES[key].of] for keys in shared]
    union = [key for key in FIGURES if any(key in keys for keys in told)]
    draws: list[dict[str, np.ndarray]] = [{} for _ in figures]
    if resamples:
        draws = _resampled(columns, [union, *told], resamples, seed)
    base, *drawn = draws
    differences = []
    for other, keys, theirs in zip(others, shared, drawn, strict=True):
        found = {}
        for key in keys:
            value = _value(other, key) - _value(first, key)
            low, high = _interval(theirs[key] - base[key]) if key in theirs else (None, None)
            found[key] = Difference(value, low, high)
        differences.append(found)
    return differences


def _parts_compared(
    evaluations: Sequence[Evaluation], rows: Sequence[Sequence[dict[str, Any]]], resamples: int, seed: int
) -> list[ComparedPart]:
    measured = [by_region(some) for some in rows]
    found = []
    for each in zip(*(parts(evaluation.metrics) for evaluation in evaluations), strict=True):
        columns = [columns_of(some[each[0].key]) for some in measured]
        sets = resamples if each[0].photos >= FEWEST else 0
        found.append(ComparedPart(each, _differences([part.figures for part in each], columns, sets, seed)))
    return found


def _boxes_unlike(names: Sequence[str], evaluations: Sequence[Evaluation]) -> str:
    """Why the regions of evaluations cannot be compared; nothing if they can, or if there are none."""
    boxes = [evaluation.metrics.get("instances", {}).get("boxes_sha256") for evaluation in evaluations]
    if len(set(boxes)) == 1:
        return ""
    without = [name for name, each in zip(names, boxes, strict=True) if each is None]
    why = f"no instances were looked for in the photos of {', '.join(without)}" if without else "their boxes differ"
    return f"inside and outside of instance boxes not compared: {why}; evaluate with one manifest"


def _resampled(
    columns: Sequence[Columns], keys: Sequence[Sequence[str]], resamples: int, seed: int
) -> list[dict[str, np.ndarray]]:
    """For each model the figures asked for, by key, (resamples,)."""
    if not any(keys):
        return [{} for _ in columns]
    pictures = len(columns[0]["pixels"])
    # Equal terms are one column of the matrix, so that equal models have equal sums to the last bit.
    places: dict[bytes, int] = {}
    models = [
        {key: _figure(key, theirs, lambda term: places.setdefault(term.tobytes(), len(places))) for key in wanted}
        for theirs, wanted in zip(columns, keys, strict=True)
    ]
    terms = np.array([np.frombuffer(term) for term in places]).reshape(len(places), pictures).T
    found: list[dict[str, list[np.ndarray]]] = [{key: [] for key in model} for model in models]
    with np.errstate(all="ignore"):  # a set may lack what a figure is of: NaN, of which _interval takes note
        for some in counts(pictures, resamples, seed):
            sums = some @ terms
            for model, draws in zip(models, found, strict=True):
                for key, figure in model.items():
                    draws[key].append(figure(some, sums))
    return [{key: np.concatenate(some) for key, some in draws.items()} for draws in found]


def _figure(
    key: str, columns: Columns, place: Callable[[np.ndarray], int]
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A model's figure as a function of counts, (sets, pictures), and of the sums of all terms, (sets, terms)."""
    if key in _OF_SUMS:
        at = [place(np.asarray(term, np.float64)) for term in _OF_SUMS[key].terms(columns)]
        return lambda counts, sums: _OF_SUMS[key].of(*sums.T[at])
    if key in _MEDIANS:
        return _median_psnr(columns, _MEDIANS[key])
    return lambda counts, sums: np.array([_one_by_one(key, columns, row) for row in counts])


def _median_psnr(columns: Columns, near_grey: bool) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    chosen = np.flatnonzero(columns["near_grey"].astype(bool) == near_grey)
    with np.errstate(divide="ignore"):
        psnr = -10.0 * np.log10(columns["squared_error"][chosen])
    order = np.argsort(psnr)
    chosen, psnr = chosen[order], psnr[order]

    def median(counts: np.ndarray, _: np.ndarray) -> np.ndarray:
        found = np.full(len(counts), np.nan)
        if np.isnan(psnr).any():
            return found
        # With the pictures in order, the middle ones of a set are where its counts have added up to half of it.
        for place, added in enumerate(counts[:, chosen].cumsum(axis=1)):
            if added.size and added[-1]:
                middle = np.array([(added[-1] - 1) // 2, added[-1] // 2])
                found[place] = psnr[np.searchsorted(added, middle, side="right")].mean()
        return found

    return median


def _one_by_one(key: str, columns: Columns, row: np.ndarray) -> float:
    of = FIGURES[key].of
    assert of is not None
    drawn = np.repeat(np.arange(row.size), row.astype(int))
    return of({name: column[drawn] for name, column in columns.items()})


def _interval(differences: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    if not np.isfinite(differences).all():
        return None, None
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)


def _value(figures: _Figures, key: str) -> float:
    value = figures.get(key, {}).get("model")
    return np.nan if value is None else float(value)


def _both(first: _Figures, other: _Figures, key: str) -> bool:
    # Not of two that are infinite, as the PSNR of a perfect answer is.
    return bool(np.isfinite(_value(other, key) - _value(first, key)))


def _picture(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["path"], row["sha256"]


def _nothing_to_read(path: Path, split: str, protocol: str, stochastic: bool) -> str:
    info = Run(path).info
    if not info.is_file():
        return f"{path}: neither an evaluation (no {METRICS}) nor a run directory (no {info.name})"
    command = ["kcolor", "evaluate", str(path), "--split", split, "--protocol", protocol]
    return f"{path}: not evaluated so yet; run: {shlex.join(command + ['--stochastic'] * stochastic)}"


def _refuse(evaluations: Sequence[Evaluation]) -> None:
    if len(evaluations) < 2:
        only = f"only one evaluation ({evaluations[0].path})" if evaluations else "no evaluation"
        raise RunError(f"{only}; to compare, name at least two")
    first, *others = evaluations
    for other in others:
        reason = _unlike(first, other)
        if reason:
            raise RunError(f"{first.path} and {other.path} cannot be compared: {reason}")


def _unlike(first: Evaluation, other: Evaluation) -> str:
    """Why two evaluations cannot be compared; nothing if they can."""
    if first.protocol != other.protocol:
        return f"other protocols, {first.protocol} and {other.protocol}"
    one, two = (evaluation.metrics["pictures"] for evaluation in (first, other))
    if one["sha256"] == two["sha256"] and sorted(map(_picture, first.rows)) == sorted(map(_picture, other.rows)):
        return ""
    reasons = []
    if one["split"] != two["split"]:
        splits = (f"the {split} split" if split else "no split" for split in (one["split"], two["split"]))
        reasons.append(" and ".join(splits))
    if len(first.rows) != len(other.rows):
        reasons.append(f"{len(first.rows)} and {len(other.rows)} of them")
    ours, theirs = (dict(map(_picture, evaluation.rows)) for evaluation in (first, other))
    for here, there, where in ((ours, theirs, "first"), (theirs, ours, "second")):
        alone = sorted(here.keys() - there.keys())
        if alone:
            reasons.append(f"{len(alone)} only in the {where} ({_such_as(alone)})")
    changed = sorted(path for path in ours.keys() & theirs.keys() if ours[path] != theirs[path])
    if changed:
        reasons.append(f"{len(changed)} of the same path but other content ({_such_as(changed)})")
    return f"other pictures: {'; '.join(reasons or [f'their {METRICS} say so'])}"


def _such_as(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]}, …"


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    """The shortest names that tell them apart: a run's or a model's, with as many folders as it takes."""
    models = [_model(evaluation) for evaluation in evaluations]
    length = dict.fromkeys(models, 1)
    while True:
        names = {model: "/".join(model[-length[model] :]) for model in length}
        times = Counter(names.values())
        unclear = [model for model in length if times[names[model]] > 1 and length[model] < len(model)]
        if not unclear:
            break
        for model in unclear:
            length[model] += 1
    before: Counter[str] = Counter()
    found = []
    for model in models:
        before[names[model]] += 1
        found.append(names[model] + (f" ({before[names[model]]})" if before[names[model]] > 1 else ""))
    return found


def _model(evaluation: Evaluation) -> tuple[str, ...]:
    """The parts of the path by which a model is known: that of its run, or else its own.

    A model of a run that is not what the run ended with has its own name behind the run's: ``wgan-1 best``.
    """
    run = evaluation.path.resolve().parent.parent
    file = Path(evaluation.metrics["model"]["path"])
    stem = (file.stem if file.suffix in {".keras", ".tflite"} else file.name) or evaluation.path.name
    ended = Run(file.parent).generator == file
    if not Run(run).info.is_file():
        run = file.parent
        if not (ended and run.name):
            return _parts(run / stem)
    return _parts(run if ended else run.with_name(f"{run.name} {stem}"))


def _parts(path: Path) -> tuple[str, ...]:
    return path.parts[path.is_absolute() :]


def _drawn(comparison: Comparison, corner: str, groups: Sequence[Sequence[Sequence[Text]]], caption: Text) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, caption=caption, caption_justify="left")
    headers = [corner, *comparison.names, ANSWERS["grey"]]
    for place, header in enumerate(headers):
        # Part of a number would be another number.
        words = [word for rows in groups for row in rows for word in row[place].plain.split()]
        drawn.add_column(
            Text(header),
            justify="right" if place in {1, len(headers) - 1} else "left",
            min_width=max((len(word) for word in words), default=None),
            overflow="fold",
        )
    for rows in groups:
        for row in rows:
            drawn.add_row(*row)
    return drawn


def _rows(
    figures: Sequence[_Figures], differences: Sequence[Mapping[str, Difference]], keys: Sequence[str]
) -> list[list[Text]]:
    """A line for each figure that some model has."""
    first, *others = figures
    rows = []
    for key in keys:
        figure = FIGURES[key]
        if all(each.get(key, {}).get("model") is None for each in figures):
            continue
        cells = [Text(f"{figure.label} ({figure.unit})" if figure.unit else figure.label), _shown(first, key, "model")]
        for other, theirs in zip(others, differences, strict=True):
            cells.append(_cell(figure, _shown(other, key, "model"), theirs.get(key)))
        rows.append([*cells, _shown(first, key, "grey")])
    return rows


def _shown(figures: _Figures, key: str, answer: str) -> Text:
    return Text(FIGURES[key].show(figures.get(key, {}).get(answer)))


def _cell(figure: Figure, value: Text, difference: Difference | None) -> Text:
    if difference is None:
        return value
    word = verdict(figure, difference)
    if word:
        value.append(f" {word}", style="green" if word == "better" else "red")
    ends = [end for end in (difference.low, difference.high) if end is not None]
    interval = f" [{', '.join(_signed(figure, end) for end in ends)}]" if ends else ""
    return value.append(f"\n{_signed(figure, difference.value)}{interval}", style="dim")


def _signed(figure: Figure, value: float) -> str:
    return f"{value:+z.{figure.digits}f}"  # z: what is rounded to zero has no minus


def _caption(comparison: Comparison) -> Text:
    first = comparison.evaluations[0]
    return Text(
        f"{first.protocol}, {len(first.rows)} pictures. Below each figure: its difference from that of "
        f"{comparison.names[0]}, and the 95 % interval by {comparison.resamples} resamples of the pictures."
    )
