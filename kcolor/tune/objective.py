"""What a study is after: one figure of the evaluation, or two at once."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kcolor import weights
from kcolor.errors import RecipeError
from kcolor.figures import FIGURES
from kcolor.recipe import Recipe

Direction = Literal["minimize", "maximize"]

# Those that can be told to be good or bad.
ALLOWED = [key for key, figure in FIGURES.items() if figure.better]

# What validation tells after each epoch, and what is looked at for all other objectives: unlike the reconstruction
# error it means the same whatever the losses are.
VALIDATED = ("psnr", "delta_e_2000", "colourfulness_ratio")
OTHERWISE = "delta_e_2000"

_NETWORK_OF = {"lpips": "vgg16", "fid": "inception"}


def direction(key: str) -> Direction:
    """Which way a figure is better, of what `score` makes of it."""
    return "maximize" if FIGURES[key].better == "higher" else "minimize"


def score(key: str, value: float) -> float:
    """A figure as it is compared: itself, or its distance from 1 where that is what counts."""
    return abs(value - 1.0) if FIGURES[key].better == "one" else value


def label(key: str) -> str:
    """What is told of a score: ``ΔE 2000``, ``|colourfulness, ratio - 1|``."""
    figure = FIGURES[key]
    name = f"{figure.label}, {figure.unit}" if figure.unit else figure.label
    return f"|{name} \N{MINUS SIGN} 1|" if figure.better == "one" else name


def by_epoch(key: str, entry: Mapping[str, Any]) -> float | None:
    """What an epoch's validation says of an objective, with the objective's own sign; None if it says nothing.

    Args:
        key: The objective.
        entry: A line of a run's history.
    """
    seen = validated(key)
    value = entry.get(f"val_{seen}")
    if value is None:
        return None
    return score(seen, value) if direction(seen) == direction(key) else -score(seen, value)


def validated(key: str) -> str:
    """The validation figure that stands for an objective while a trial is trained."""
    return key if key in VALIDATED else OTHERWISE


def check(objectives: Sequence[str], chosen: Recipe, keys: Sequence[str], where: str) -> None:
    """Make sure that what a study is after can be measured.

    Args:
        objectives: Keys of `ALLOWED`.
        chosen: The recipe.
        keys: Of the recipe, that trials change.
        where: What a mistake is said to be in.

    Raises:
        RecipeError: It cannot.
    """
    for key in objectives:
        if key in _NETWORK_OF:
            network = weights.CATALOGUE[_NETWORK_OF[key]]
            if weights.find(network, weights.folder()) is None:
                raise RecipeError(
                    f"{where}: objective {key} needs {network.about}: kcolor weights fetch {_NETWORK_OF[key]}"
                )
        if key.startswith("top_") and not chosen.classification.weight and "classification.weight" not in keys:
            raise RecipeError(f"{where}: objective {key} needs a class branch; --set classification.weight=0.003")
        taught = chosen.classification.target == "teacher" and "classification.target" not in keys
        if key.startswith("top_") and taught:
            raise RecipeError(
                f"{where}: objective {key} is of the photos' own classes, which a teacher's are not; "
                "--set classification.target=labels"
            )
