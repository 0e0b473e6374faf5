"""How much of a training step's time goes to waiting for data, with the stream as fit has it.

Two ways: the time for which a step cannot begin because its batch is not there, which is measured around the iterator;
and how much longer a step takes than with a batch in memory, in turns, which also has in it what decoding takes of the
cores that the step computes on.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import photographs, turns
from benchmarks.training_step import PRECISIONS


def measure(*, data: Path | None = None, recipe: str = "gan", rounds: int = 8, quick: bool = False) -> dict[str, Any]:
    """By precision: seconds of a step, and the share of them that is waiting."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = data or photographs.fill(work / "photos", 400)
        changes = ["network.width=8", "network.critic_width=8"] if quick else []
        found = {each: _one(recipe, [*changes, f"train.precision={each}"], photos, work, rounds) for each in PRECISIONS}
    return {"recipe": recipe, "precisions": found}


def _one(recipe_name: str, changes: list[str], folder: Path, work: Path, rounds: int) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from kcolor import build, recipe
    from kcolor.data import dataset, manifest

    chosen = recipe.load(recipe.find(recipe_name), changes)
    found = manifest.prepare(folder, survey_file=work / "survey.jsonl", workers=2)
    photos = build.photos(found, "train")
    stream = iter(
        dataset.training_stream(
            photos, size=chosen.data.size, batch_size=chosen.train.batch_size, seed=0, flip=chosen.data.flip
        )
    )
    model = build.color_gan(chosen, max(2, len(found.classes)), 1000)
    step = tf.function(model.train_step, autograph=False)
    kept = next(stream)
    for _ in range(2):
        step(kept)
    waits, streamed, remembered = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        batch = next(stream)
        waits.append(time.perf_counter() - started)
        step(batch)
        tf.test.experimental.sync_devices()
        streamed.append(time.perf_counter() - started)
        # The stream fills up what it holds ready; this is not to be charged to the batch in memory.
        time.sleep(0.5)
        started = time.perf_counter()
        step(kept)
        tf.test.experimental.sync_devices()
        remembered.append(time.perf_counter() - started)
    keras.backend.clear_session()
    told = {"streamed": turns.summary(streamed), "in_memory": turns.summary(remembered)}
    return {
        **told,
        "waiting_share": sum(waits) / sum(streamed),
        "longer_than_in_memory": told["streamed"]["median_s"] / told["in_memory"]["median_s"] - 1.0,
    }
