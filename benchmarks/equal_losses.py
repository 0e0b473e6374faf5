"""Whether a recipe learns the same in bfloat16 as in float32: its losses over fifty steps, beside those of other seeds.

The same seed and the same batches in both precisions; then other seeds of the weights and of what a step draws, with
the same batches still, in float32. What two precisions differ by is told as a share of what two seeds differ by: below
1, the precision cannot be told from another seed.
"""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import photographs

RECIPES = ("gan", "gan-class", "wgan")
STEPS = 50
# Narrow networks on small pictures, unless the full ones are asked for.
NARROW = ("data.size=64", "network.depth=6", "network.width=16", "network.max_width=128", "network.critic_width=16")
RUNS = ((1, "float32"), (1, "mixed_bfloat16"), (2, "float32"), (3, "float32"))


def measure(
    *, data: Path | None = None, quick: bool = False, full: bool = False, recipes: Sequence[str] = RECIPES
) -> dict[str, Any]:
    """By recipe and loss: how far the curves lie apart, and where they end."""
    with tempfile.TemporaryDirectory() as work:
        folder = data or photographs.fill(Path(work, "photos"), 120)
        steps = 5 if quick else STEPS
        changes = () if full else NARROW
        found = {
            name: _recipe(name, folder, Path(work), changes, steps) for name in list(recipes)[: 1 if quick else None]
        }
    return {"steps": steps, "full_size": full, "changes": list(changes), "recipes": found}


def _recipe(name: str, folder: Path, work: Path, changes: tuple[str, ...], steps: int) -> dict[str, Any]:
    import keras
    import numpy as np

    from kcolor import build, recipe
    from kcolor.data import dataset, manifest

    found = manifest.prepare(folder, survey_file=work / "survey.jsonl", workers=1)
    curves: list[dict[str, Any]] = []
    batches: list[Any] = []
    for seed, precision in RUNS:
        chosen = recipe.load(recipe.find(name), [*changes, f"seed={seed}", f"train.precision={precision}"])
        if not batches:
            photos, size, batch = build.photos(found, "train"), chosen.data.size, chosen.train.batch_size
            stream = dataset.training_stream(photos, size=size, batch_size=batch, seed=0)
            batches = list(stream.take(steps))
        model = build.color_gan(chosen, len(found.classes), steps)
        curves.append(_train(model, batches))
        keras.backend.clear_session()

    def apart(left: int, right: int, term: str) -> float:
        return float(np.sqrt(np.mean(np.square(curves[left][term] - curves[right][term]))))

    figures = {}
    for term in curves[0]:
        seeds = float(np.mean([apart(i, j, term) for i, j in itertools.combinations((0, 2, 3), 2)]))
        ends = [float(curve[term][-10:].mean()) for curve in curves]
        figures[term] = {
            "between_precisions": apart(0, 1, term),
            "between_seeds": seeds,
            "precisions_over_seeds": apart(0, 1, term) / seeds,
            "begins_at": float(curves[0][term][:3].mean()),
            "ends_at_float32": ends[0],
            "ends_at_bfloat16": ends[1],
            "ends_at_other_seeds": ends[2:],
        }
    return figures


def _train(model: Any, batches: list[Any]) -> dict[str, Any]:
    """The losses of each step; the generator's where it was its turn."""
    import numpy as np
    import tensorflow as tf

    step = tf.function(model.train_step, autograph=False)
    every = model.critic_steps
    curves: dict[str, list[float]] = {}
    for number, batch in enumerate(batches):
        for tracker in model.metrics:
            tracker.reset_state()
        for term, value in step(batch).items():
            if term in model._critic_names or number % every == every - 1:
                curves.setdefault(term, []).append(float(value))
    return {term: np.array(values) for term, values in curves.items()}
