"""kcolor's training steps beside the same steps written in PyTorch (pytorch_step.py), in turns on the same cores.

PyTorch runs eagerly, in two ways: plain, as such code is mostly written; and tuned, with channels last and Adam in one
operation. Each way takes turns with both precisions of kcolor. The critic and the generator learn from each batch.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import training_step, turns

RECIPES = {"gan": [], "gan-class": [], "wgan": ["objective.critic_steps=1"]}
WAYS = (("float32", "plain"), ("float32", "tuned"), ("mixed_bfloat16", "tuned"))
BATCH = 8


def measure(
    *, torch: Path, rounds: int = 3, quick: bool = False, recipes: Sequence[str] = tuple(RECIPES)
) -> dict[str, Any]:
    """By recipe and way of PyTorch: seconds of both, and how many times as fast kcolor is.

    Args:
        torch: A Python that has PyTorch.
        rounds: Steps that each is measured for.
        quick: One recipe, one step.
        recipes: Those of `RECIPES` to measure.
    """
    figures: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for recipe in list(recipes)[: 1 if quick else None]:
        with ExitStack() as stack:
            ours = {
                precision: stack.enter_context(training_step.worker(recipe, precision, RECIPES[recipe]))
                for precision in training_step.PRECISIONS
            }
            entry: dict[str, Any] = {}
            for precision, way in WAYS[: 1 if quick else None]:
                arguments = (recipe, precision, way, str(training_step.CLASSES), str(BATCH))
                with turns.Worker("benchmarks.pytorch_step", *arguments, python=torch, checkout=None) as theirs:
                    about = theirs.about
                    times: dict[str, list[float]] = {"pytorch": [], **{name: [] for name in ours}}
                    for _ in range(1 if quick else rounds):
                        times["pytorch"].append(theirs.ask()["seconds"])
                        for name, worker in ours.items():
                            times[name].append(worker.ask(what="turn")["seconds"])
                summaries = {name: turns.summary(each) for name, each in times.items()}
                medians = {name: each["median_s"] for name, each in summaries.items()}
                entry[f"{precision}, {way}"] = {
                    "seconds": summaries,
                    "pytorch_pictures_a_second": BATCH / medians["pytorch"],
                    "pictures_a_second": {name: BATCH / medians[name] for name in ours},
                    "times_as_fast": {name: medians["pytorch"] / medians[name] for name in ours},
                    "parameters": about["parameters"],
                }
            figures[recipe] = entry
    return {"recipes": figures, "torch": about["torch"], "threads": about["threads"]}
