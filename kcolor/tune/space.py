"""What a study varies: a TOML file of ranges and choices for keys of a recipe, checked before anything is trained."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from kcolor import recipe
from kcolor.errors import RecipeError
from kcolor.recipe import Recipe
from kcolor.tune import objective

_KEYS = ("objective", "space")
_RANGE = ("low", "high", "step", "log")

# All trials are of the same photos, in the same splits, and judged on the same of them.
_OF_THE_PHOTOS = ("data.folder", "data.include", "data.labels", "data.min_size", "data.drop_toned", "data.split")
_OF_THE_JUDGED = "train.validation_photos"


@dataclass(frozen=True)
class Range:
    """A key that takes numbers between two ends, both of them allowed.

    Args:
        key: Of the recipe, dotted.
        low, high: The ends; integers for a key that is one.
        step: Between two values; None: any value, or, of integers, any integer.
        log: Whether values are drawn by their logarithm.
    """

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False

    def samples(self) -> list[Any]:
        """Values by which the range is checked: its ends, and the second whole number, as ends are often multiples."""
        if isinstance(self.low, int) and isinstance(self.high, int) and not self.log:
            return sorted({self.low, self.low + int(self.step or 1), self.high})
        return [self.low, self.high]

    def draw(self, trial: optuna.Trial) -> None:
        """Have the sampler choose a value."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            trial.suggest_int(self.key, self.low, self.high, step=int(self.step or 1), log=self.log)
        else:
            trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def value(self, drawn: Any) -> Any:
        """The recipe's value, of what the sampler chose."""
        return drawn

    def drawn(self, value: Any) -> Any:
        """What the sampler would have chosen for a recipe's value; None if it cannot be."""
        if not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / self.step if self.step else 0.0
        return value if math.isclose(steps, round(steps), abs_tol=1e-9) else None

    def told(self) -> dict[str, Any]:
        """As the file says it."""
        step = {"step": self.step} if self.step else {}
        return {"low": self.low, "high": self.high, **step, **({"log": True} if self.log else {})}


@dataclass(frozen=True)
class Choice:
    """A key that takes one of some values.

    Args:
        key: Of the recipe, dotted.
        values: At least two.
    """

    key: str
    values: Sequence[Any]

    def samples(self) -> list[Any]:
        """Values by which the choice is checked: all of them."""
        return list(self.values)

    def draw(self, trial: optuna.Trial) -> None:
        """Have the sampler choose a value."""
        trial.suggest_categorical(self.key, [_token(value) for value in self.values])

    def value(self, drawn: Any) -> Any:
        """The recipe's value, of what the sampler chose."""
        return next(value for value in self.values if _token(value) == drawn)

    def drawn(self, value: Any) -> Any:
        """What the sampler would have chosen for a recipe's value; None if it cannot be."""
        return next((_token(own) for own in self.values if own == value), None)

    def told(self) -> list[Any]:
        """As the file says it."""
        return list(self.values)


@dataclass(frozen=True)
class Space:
    """A study's file.

    Args:
        objectives: One or two keys of `kcolor.figures.FIGURES`.
        axes: What varies, kinds first: they decide which other keys there are.
    """

    objectives: Sequence[str]
    axes: Sequence[Range | Choice]

    def draw(self, trial: optuna.Trial, chosen: Recipe) -> None:
        """Have the sampler choose a value for each key that the recipe has with the kinds that were chosen."""
        kinds: dict[str, Any] = {}
        for axis in self.axes:
            if not recipe.has(chosen, axis.key, kinds):
                continue
            axis.draw(trial)
            if axis.key.removesuffix(".kind") in recipe.KINDS:
                kinds[axis.key] = trial.params[axis.key]

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe's values by key, of what the sampler chose."""
        return {axis.key: axis.value(drawn[axis.key]) for axis in self.axes if axis.key in drawn}

    def own(self, chosen: Recipe) -> dict[str, Any] | None:
        """What the sampler would have chosen for a recipe as it is; None if the space does not hold it."""
        tree = chosen.model_dump(mode="json")
        found = {axis.key: axis.drawn(_at(tree, axis.key)) for axis in self.axes if recipe.has(chosen, axis.key, {})}
        return None if None in found.values() else found

    def told(self) -> dict[str, Any]:
        """The space as plain values, by which two are compared."""
        return {"objective": list(self.objectives), "space": {axis.key: axis.told() for axis in self.axes}}


def load(path: Path, chosen: Recipe) -> Space:
    """Read a space and hold it against the recipe: each end of a range and each choice is tried in it.

    A value that the recipe allows only beside another value of the space is let through; a trial may then be one that
    cannot be.

    Args:
        path: A TOML file: ``objective``, a figure or two, and ``[space]``, by key of the recipe a list of choices or a
            table of ``low``, ``high`` and perhaps ``step`` or ``log``.
        chosen: The recipe.

    Raises:
        RecipeError: The file cannot be read, or something in it is not allowed; one line.
    """
    tree = recipe.tables(path)
    for key in tree:
        if key not in _KEYS:
            raise RecipeError(
                f"{path}: {key}: no such key; allowed here: {', '.join(_KEYS)}{recipe.nearest(key, _KEYS)}"
            )
    if not isinstance(tree.get("space"), dict) or not tree["space"]:
        raise RecipeError(f'{path}: names nothing to vary; under [space] write such as "objective.weight" = [0.1, 1.0]')
    objectives = _objectives(tree.get("objective"), path)
    axes = [_axis(key, said, chosen, path) for key, said in _entries(tree["space"], "", path)]
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise RecipeError(f"{path}: {key}: is there twice")
    axes.sort(key=lambda axis: not axis.key.endswith(".kind"))
    for axis in axes:
        others = [other for other in axes if other is not axis]
        for value in axis.samples():
            _try(axis.key, value, others, chosen, path)
    objective.check(objectives, chosen, keys, str(path))
    return Space(objectives, axes)


def _objectives(said: Any, path: Path) -> list[str]:
    told = [said] if isinstance(said, str) else said
    allowed = ", ".join(objective.ALLOWED)
    if not isinstance(told, list) or len(told) not in (1, 2) or not all(isinstance(key, str) for key in told):
        raise RecipeError(f"{path}: objective: name one figure of the evaluation, or a list of two: {allowed}")
    for key in told:
        if key not in objective.ALLOWED:
            near = recipe.nearest(key, objective.ALLOWED)
            raise RecipeError(f"{path}: objective: {json.dumps(key)} is none of {allowed}{near}")
    if len(set(told)) < len(told):
        raise RecipeError(f"{path}: objective: {told[0]} twice; name another second one, or one alone")
    return told


def _entries(table: Mapping[str, Any], prefix: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Keys of the recipe and what is said of each, whether tables are nested or their names are dotted."""
    for name, said in table.items():
        key = f"{prefix}{name}"
        if isinstance(said, dict) and not set(said) & set(_RANGE):
            if not said:
                raise RecipeError(f"{path}: {key}: is empty; give choices as a list, or low and high")
            yield from _entries(said, f"{key}.", path)
        else:
            yield key, said


def _axis(key: str, said: Any, chosen: Recipe, path: Path) -> Range | Choice:
    if key in (*_OF_THE_PHOTOS, _OF_THE_JUDGED):
        raise RecipeError(f"{path}: {key}: says which photos there are, and all trials are of the same; use --set")
    tree: Any = chosen.model_dump(mode="json")
    *tables, _ = key.split(".")
    for depth, name in enumerate(tables):
        tree = tree.get(name, {})
        if not isinstance(tree, dict):
            raise RecipeError(f"{path}: {key}: {'.'.join(tables[: depth + 1])} is a key, not a table")
    if isinstance(said, list):
        return _choice(key, said, path)
    if isinstance(said, dict):
        return _range(key, said, path)
    raise RecipeError(
        f"{path}: {key}: give choices as a list, [1, 2], or a range, {{ low = 1, high = 2 }}, "
        f"not {json.dumps(said, default=str)}; for one value there is --set"
    )


def _choice(key: str, values: list[Any], path: Path) -> Choice:
    tokens = [json.dumps(value, default=str) for value in values]
    for token in tokens:
        if tokens.count(token) > 1:
            raise RecipeError(f"{path}: {key}: {token} is there twice")
    if len(values) < 2:
        raise RecipeError(f"{path}: {key}: a choice is of two or more; for one value there is --set")
    return Choice(key, tuple(values))


def _range(key: str, said: dict[str, Any], path: Path) -> Range:
    where = f"{path}: {key}"
    for name in said:
        if name not in _RANGE:
            raise RecipeError(f"{where}: {name}: no such key; allowed here: {', '.join(_RANGE)}")
    for name in ("low", "high"):
        if name not in said:
            raise RecipeError(f"{where}: has no {name}; a range is {{ low = 1, high = 2 }}")
    for name in ("low", "high", "step"):
        value = said.get(name, 1)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise RecipeError(f"{where}: {name}: must be a number, not {json.dumps(value, default=str)}")
    if not isinstance(said.get("log", False), bool):
        raise RecipeError(f"{where}: log: must be true or false, not {json.dumps(said['log'], default=str)}")
    numbers = [said["low"], said["high"], said.get("step")]
    if not recipe.is_whole(key) or not all(isinstance(number, int) for number in numbers if number is not None):
        numbers = [None if number is None else float(number) for number in numbers]
    low, high, step = numbers
    found = Range(key, low, high, step, said.get("log", False))
    _check_range(found, where)
    return found


def _check_range(found: Range, where: str) -> None:
    low, high, step = found.low, found.high, found.step
    if low >= high:
        raise RecipeError(f"{where}: an empty range: low = {low} is not below high = {high}")
    if found.log and low <= 0:
        raise RecipeError(f"{where}: a range by logarithm has to begin above 0, not at {low}")
    if found.log and step is not None:
        raise RecipeError(f"{where}: log and step do not go together; leave one out")
    if step is not None:
        steps = (high - low) / step if step > 0 else 0.5
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise RecipeError(f"{where}: steps of {step} do not lead from {low} to {high}")


def _try(key: str, value: Any, others: Sequence[Range | Choice], chosen: Recipe, path: Path) -> None:
    """Put a value into the recipe; up to two other values of the space may be needed for it to be one.

    Raises:
        RecipeError: It is not allowed, whatever the others are.
    """
    try:
        recipe.changed(chosen, {key: value}, str(path))
    except RecipeError as error:
        choices = [[(other.key, sample) for sample in other.samples()] for other in others]
        for count in (1, 2):
            for axes in itertools.combinations(choices, count):
                for beside in itertools.product(*axes):
                    if _is_recipe(chosen, {key: value, **dict(beside)}):
                        return
        told = str(error).splitlines()[0].removeprefix(f"{path}: ")
        about = f"{key}.".startswith(f"{told.partition(': ')[0]}.")  # the key, or a table around it
        what = "" if about else f"{key} = {json.dumps(value, default=str)}: "
        raise RecipeError(f"{path}: {what}{told}") from error


def _is_recipe(chosen: Recipe, values: Mapping[str, Any]) -> bool:
    try:
        recipe.changed(chosen, values, "")
    except RecipeError:
        return False
    return True


def _token(value: Any) -> Any:
    """A value as Optuna keeps choices: what is no scalar is text."""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


def _at(tree: Mapping[str, Any], key: str) -> Any:
    value: Any = tree
    for name in key.split("."):
        value = value[name]
    return value
