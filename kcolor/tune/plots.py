"""The pictures of a study, by matplotlib, in the manner of a run's curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from kcolor import files
from kcolor.tune import objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (4.6, 3.2)  # inches, of a panel
_COLUMNS = 3  # at most


def history(path: Path, trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> None:
    """Plot what each trial scored, in order, and the best so far; below, which trials were pruned.

    Args:
        path: The picture to write.
        trials: All that there are.
        objectives: What the study is after.
    """
    import matplotlib.ticker

    figure = _figure(len(objectives))
    for place, key in enumerate(objectives):
        axes = _panel(figure, len(objectives), place)
        done = [(trial.number, trial.values[place]) for trial in trials if trial.state == TrialState.COMPLETE]
        if done:
            numbers, values = zip(*done, strict=True)
            best = (np.minimum if objective.direction(key) == "minimize" else np.maximum).accumulate(values)
            axes.plot(numbers, values, "o", markersize=4, label="trial")
            axes.step(numbers, best, "-", where="post", linewidth=1, label="best so far")
        # What validation said of them is of the network's own size, and no figure of the evaluation.
        pruned = [trial.number for trial in trials if trial.state == TrialState.PRUNED]
        if pruned:
            edge = axes.get_xaxis_transform()
            axes.plot(pruned, [0.02] * len(pruned), "x", color="grey", markersize=4, label="pruned", transform=edge)
        _name(axes, "trial", objective.label(key))
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        if axes.has_data():
            axes.legend(fontsize=8)
    _save(figure, path)


def importance(path: Path, found: Mapping[str, Mapping[str, float]]) -> None:
    """Plot how much each key matters.

    Args:
        path: The picture to write.
        found: By objective and key, shares that add up to 1.
    """
    figure = _figure(len(found))
    for place, (objective_key, shares) in enumerate(found.items()):
        axes = _panel(figure, len(found), place)
        ordered = sorted(shares.items(), key=lambda share: share[1])
        axes.barh([key for key, _ in ordered], [share for _, share in ordered], height=0.6)
        axes.set_xlim(0, 1)
        axes.tick_params(labelsize=8)
        _name(axes, "share of the importance", "", title=objective.label(objective_key))
    _save(figure, path)


def front(path: Path, trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], objectives: Sequence[str]) -> None:
    """Plot two objectives against each other, with the front of those trials of which none is better in both.

    Args:
        path: The picture to write.
        trials: Those that were measured.
        best: Those on the front, by the first objective.
        objectives: Two.
    """
    figure = _figure(1)
    axes = _panel(figure, 1, 0)
    axes.plot(*zip(*(trial.values for trial in trials), strict=True), "o", color="grey", markersize=4, label="trial")
    axes.plot(*zip(*(trial.values for trial in best), strict=True), "s--", markersize=5, linewidth=1, label="front")
    for trial in trials:
        axes.annotate(str(trial.number), trial.values, fontsize=7, xytext=(4, 3), textcoords="offset points")
    _name(axes, objective.label(objectives[0]), objective.label(objectives[1]))
    axes.legend(fontsize=8)
    _save(figure, path)


def slices(path: Path, trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> None:
    """Plot each objective against each key that varies.

    Args:
        path: The picture to write.
        trials: Those that were measured.
        objectives: What the study is after.
    """
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    rows = -(-len(keys) // _COLUMNS)
    columns = -(-len(keys) // rows)
    figure = _figure(columns, rows * len(objectives))
    for number, objective_key in enumerate(objectives):
        for place, key in enumerate(keys):
            axes = figure.add_subplot(rows * len(objectives), columns, number * rows * columns + place + 1)
            with_key = [trial for trial in trials if key in trial.params]
            distribution: Any = with_key[0].distributions[key]
            choices = getattr(distribution, "choices", None)
            x = [choices.index(trial.params[key]) if choices else trial.params[key] for trial in with_key]
            axes.plot(x, [trial.values[number] for trial in with_key], "o", markersize=4)
            if choices:
                axes.set_xticks(range(len(choices)), [str(choice) for choice in choices])
                axes.set_xlim(-0.5, len(choices) - 0.5)
            elif distribution.log:
                axes.set_xscale("log")
            _name(axes, key, objective.label(objective_key))
    _save(figure, path)


def _figure(columns: int, rows: int = 1) -> "Figure":
    import matplotlib.figure  # takes half a second

    return matplotlib.figure.Figure(figsize=(_SIZE[0] * columns, _SIZE[1] * rows), layout="constrained")


def _panel(figure: "Figure", count: int, place: int) -> "Axes":
    return figure.add_subplot(1, count, place + 1)


def _name(axes: "Axes", x: str, y: str, title: str = "") -> None:
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    if title:
        axes.set_title(title, fontsize=10)
    axes.tick_params(which="both", labelsize=8)
    axes.grid(alpha=0.3)


def _save(figure: "Figure", path: Path) -> None:
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
