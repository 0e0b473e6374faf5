"""What a study found: a table, plots, a page, and the best recipe, ready to be trained."""

import base64
import csv
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from kcolor import __version__, files
from kcolor.figures import FIGURES, Figure
from kcolor.pages.page import render
from kcolor.tune import objective, plots
from kcolor.tune.study import Study
from kcolor.tune.telling import best_trials, outcome, sense, shown

TABLE, PAGE, BEST, FRONT = "trials.csv", "report.html", "best.toml", "front"

# With fewer, what is said of the importance of keys is chance.
ENOUGH = 8

_STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


def write(study: Study) -> list[Path]:
    """Write all there is to say of a study so far; what a former report wrote is replaced.

    Returns:
        The recipes: the best one, or those of the front by the first objective; none if no trial was measured.
    """
    trials, best = study.trials(), best_trials(study.record)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    _table(study.path / TABLE, study, trials)
    recipes = _recipes(study, best)
    plots.history(study.path / "history.png", trials, study.space.objectives)
    pictures = {"history": study.path / "history.png"}
    for name, wanted in (("importance", len(done) >= ENOUGH), ("front", len(study.space.objectives) > 1)):
        picture = study.path / f"{name}.png"
        if not wanted or not done:
            picture.unlink(missing_ok=True)
            continue
        if name == "importance":
            plots.importance(picture, importance(study.record, study.space.objectives))
        else:
            plots.front(picture, done, best, study.space.objectives)
        pictures[name] = picture
    if done:
        pictures["slices"] = study.path / "slices.png"
        plots.slices(pictures["slices"], done, study.space.objectives)
    files.write_text(study.path / PAGE, _page(study, trials, best, pictures))
    return recipes


def ranked(study: Study) -> list[FrozenTrial]:
    """All trials: the best or the front, the others by the first objective, then those that were not measured."""
    best = [trial.number for trial in best_trials(study.record)]
    sign = 1.0 if objective.direction(study.space.objectives[0]) == "minimize" else -1.0

    def place(trial: FrozenTrial) -> tuple[bool, bool, float, int]:
        done = trial.state == TrialState.COMPLETE
        return not done, trial.number not in best, sign * trial.values[0] if done else 0.0, trial.number

    return sorted(study.trials(), key=place)


def importance(record: optuna.Study, objectives: Sequence[str]) -> dict[str, dict[str, float]]:
    """How much each key matters for being among the best trials, by PED-ANOVA (Watanabe et al., IJCAI 2023).

    Args:
        record: Of at least two trials that were measured.
        objectives: What it is after.

    Returns:
        By objective and key, shares that add up to 1.
    """
    done = record.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    # The best tenth, as in the paper, or as many as it takes to see how they are spread: five.
    best = min(0.5, max(0.1, 5 / len(done)))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
    found = {}
    for place, key in enumerate(objectives):
        sign = 1.0 if objective.direction(key) == "minimize" else -1.0

        def score(trial: FrozenTrial, place: int = place, sign: float = sign) -> float:
            return sign * trial.values[place]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the lower is the better
            found[key] = optuna.importance.get_param_importances(record, evaluator=evaluator, target=score)
    return found


def _table(path: Path, study: Study, trials: Sequence[FrozenTrial]) -> None:
    """A line a trial: what it is, what came of it, every figure of its evaluation, and its values."""
    keys = [axis.key for axis in study.space.axes]
    measured = [key for key in FIGURES if any(key in trial.user_attrs.get("figures", {}) for trial in trials)]
    with files.whole_text(path) as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "epochs", "seconds", *keys, *measured, "reason", "run"])
        for trial in trials:
            values, figures = study.space.values(trial.params), trial.user_attrs.get("figures", {})
            epochs = trial.last_step if trial.last_step is not None else ""
            seconds = trial.user_attrs.get("seconds", "")
            run = study.run(trial.user_attrs.get("as", trial.number)).path.relative_to(study.path)
            writer.writerow(
                [
                    *(trial.number, _STATES[trial.state.name], epochs, seconds),
                    *(values.get(key, "") for key in keys),
                    *(figures.get(key, "") for key in measured),
                    *(trial.user_attrs.get("reason", ""), run),
                ]
            )


def _recipes(study: Study, best: Sequence[FrozenTrial]) -> list[Path]:
    """The best trials as recipes: ``best.toml``, or of two objectives one in ``front/`` for each."""
    if len(study.space.objectives) == 1:
        paths = [study.path / BEST for _ in best]
    else:
        paths = [study.path / FRONT / f"trial-{trial.number:04d}.toml" for trial in best]
        for former in (study.path / FRONT).glob("trial-*.toml"):
            if former not in paths:
                former.unlink(missing_ok=True)
    for path, trial in zip(paths, best, strict=True):
        files.write_text(path, _header(study, trial, path) + study.recipe_of(trial).dump())
    return paths


def _header(study: Study, trial: FrozenTrial, path: Path) -> str:
    """Where a recipe is from, and what it scored; a recipe is a claim."""
    values = ", ".join(f"{key} = {shown(value)}" for key, value in study.space.values(trial.params).items())
    done = sum(each.state == TrialState.COMPLETE for each in study.trials())
    figures = trial.user_attrs["figures"]
    told = ", ".join(f"{FIGURES[key].label} {FIGURES[key].show(value)}" for key, value in figures.items())
    lines = [
        f"{study.name}, with the values of trial {trial.number} of a study: {values}",
        "",
        f"  kcolor fit {path.name}",
        "",
        f"Found by kcolor tune {__version__}, by {' and '.join(FIGURES[key].label for key in study.space.objectives)}, "
        f"of {done} trials that were measured.",
        f"Scored, on the validation photographs, by which it was also chosen: {told}",
    ]
    # A name may have line ends in it.
    return "".join(f"# {' '.join(line.splitlines())}".rstrip() + "\n" for line in lines) + "\n"


@dataclass(frozen=True)
class _Line:
    """A trial in the page's table."""

    number: int
    state: str
    told: str
    figures: Sequence[str]
    values: Sequence[str]
    is_best: bool
    is_own: bool


def _page(study: Study, trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], pictures: dict[str, Path]) -> str:
    objectives = study.space.objectives
    keys = [axis.key for axis in study.space.axes]
    others = [key for key in ("delta_e_2000", "colourfulness_ratio", "psnr", "ssim") if key not in objectives]
    columns: list[Figure] = [FIGURES[key] for key in (*objectives, *others)]
    numbers = {trial.number for trial in best}
    lines = [
        _Line(
            trial.number,
            _STATES[trial.state.name],
            outcome(trial, objectives),
            [figure.show(trial.user_attrs.get("figures", {}).get(figure.key)) for figure in columns],
            [shown(study.space.values(trial.params).get(key, "")) for key in keys],
            trial.number in numbers,
            bool(trial.user_attrs.get("own")),
        )
        for trial in ranked(study)
    ]
    return render(
        "study.html.j2",
        metrics={"versions": {"kcolor": __version__}},
        name=study.name,
        study=study.path.absolute().name,
        objectives=[(FIGURES[key], objective.label(key), sense(key)) for key in objectives],
        columns=columns,
        keys=keys,
        lines=lines,
        counts={state: sum(line.state == state for line in lines) for state in _STATES.values()},
        pictures={name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()},
        pruned=study.pruner is not None,
        enough=ENOUGH,
        minutes=math.ceil(sum(trial.user_attrs.get("seconds", 0) for trial in trials) / 60),
        space=study.space.told()["space"],
        seed=study.recipe.seed,
    )
