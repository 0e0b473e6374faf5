"""How a study is told of while it goes on: a line a trial, and on a terminal a bar with the best so far."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from kcolor.figures import FIGURES
from kcolor.tune import objective


class Telling:
    """Lines, and on a terminal a bar.

    Args:
        console: Where to.
        objectives: What the study is after.
        trials: How many trials there are to be.
    """

    def __init__(self, console: Console, objectives: Sequence[str], trials: int) -> None:
        self.console = console
        self.objectives = objectives
        self.trials = trials
        self.best = ""
        self.values: Mapping[str, Any] = {}
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("epochs", table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TextColumn("{task.fields[best]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("", total=None, best="")

    @contextmanager
    def shown(self) -> Iterator["Telling"]:
        """While the block lasts."""
        with self.progress:
            yield self

    def begin(self, number: int, values: Mapping[str, Any]) -> None:
        """A trial begins, or is taken up."""
        self.values = values
        self.progress.reset(self.task, total=None, description=f"trial {number + 1}/{self.trials}", best=self.best)

    def epoch(self, done: int, epochs: int) -> None:
        """So many epochs of a trial are done."""
        self.progress.update(self.task, completed=done, total=epochs)

    def end(self, record: optuna.Study, number: int) -> None:
        """A trial is over."""
        trials = {trial.number: trial for trial in record.get_trials(deepcopy=False)}
        self.best = best_so_far(record, self.objectives)
        values = ", ".join(f"{key} = {shown(value)}" for key, value in self.values.items())
        told = outcome(trials[number], self.objectives)
        best = f"; {self.best}" if self.best else ""
        line = f"trial {number} ({number + 1}/{self.trials}): {told}  [{values}]{best}"
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)


def outcome(trial: FrozenTrial, objectives: Sequence[str]) -> str:
    """What came of a trial: its figures, or why it has none."""
    if trial.state == TrialState.COMPLETE:
        figures = trial.user_attrs["figures"]
        told = ", ".join(f"{FIGURES[key].label} {FIGURES[key].show(figures[key])}" for key in objectives)
        return f"{told}, the same as trial {trial.user_attrs['as']}" if "as" in trial.user_attrs else told
    if trial.state == TrialState.PRUNED:
        return f"pruned after epoch {trial.last_step}"
    if trial.state == TrialState.FAIL:
        return f"failed: {trial.user_attrs.get('reason', 'for no known reason')}"
    return "running"


def best_so_far(record: optuna.Study, objectives: Sequence[str]) -> str:
    """The best trial, or how many are on the front."""
    best = best_trials(record)
    if not best:
        return ""
    if len(objectives) > 1:
        return f"{len(best)} on the front"
    return f"best: {outcome(best[0], objectives)}, trial {best[0].number}"


def best_trials(record: optuna.Study) -> list[FrozenTrial]:
    """The best trial; of two objectives, those of which none is better in both, by the first; none if none is done."""
    done = record.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return []
    if len(record.directions) == 1:
        return [record.best_trial]
    return sorted(record.best_trials, key=lambda trial: (trial.values, trial.number))


def shown(value: Any) -> str:
    """A value of a recipe as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def sense(key: str) -> str:
    """Which way is better, as tables and plots say it."""
    return {"minimize": "lower is better", "maximize": "higher is better"}[objective.direction(key)]
