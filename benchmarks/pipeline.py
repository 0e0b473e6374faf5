"""What the data pipeline does in a second: python benchmarks/pipeline.py [--data DIR] [--cores N].

Decoding, resizing and batching alone, from files and from shards, over decoding alone; and how much of a training step
is waiting for data. Without a folder the photographs are made up, of 150 pixels a side.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE, BATCH = 256, 16
WARM_UP = 4  # batches
RECIPE = "wgan"


def made_up(folder: Path, count: int = 400, side: int = 150) -> Path:
    """Photographs of soft shapes and some noise, which cost what real ones of their size cost."""
    draw = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (6, 6, 3), np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(coarse, np.float64) + draw.normal(0, 6, (side, side, 3))
        path = folder / f"class{number % 4}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def measure(data: Path | None = None, *, seconds: float = 5.0, steps: int = 3) -> dict[str, Any]:
    """Measure it.

    Args:
        data: A folder of photographs; None: some are made up.
        seconds: For each way of reading.
        steps: Training steps; 0: none, on which a CPU spends a minute.
    """
    import tensorflow as tf

    from kcolor import build, recipe
    from kcolor.data import dataset, manifest, sharding

    cores = len(os.sched_getaffinity(0))

    def rate(batches: tf.data.Dataset, batch: int = BATCH) -> dict[str, float]:
        iterator = iter(batches)
        for _ in range(WARM_UP):
            next(iterator)
        count, started, worked = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - started < seconds:
            next(iterator)
            count += batch
        elapsed, worked = time.perf_counter() - started, time.process_time() - worked
        return {
            "pictures_a_second": round(count / elapsed, 1),
            "pictures_a_second_of_one_core": round(count / worked, 1),
        }

    with tempfile.TemporaryDirectory() as here:
        folder = data or made_up(Path(here, "photos"))
        found = manifest.prepare(folder, survey_file=Path(here, "survey.jsonl"))
        files = build.photos(found, "train")
        paths = tf.constant(list(files.paths))

        def decode(number: tf.Tensor) -> tf.Tensor:
            rgb = tf.io.decode_jpeg(tf.io.read_file(paths[number % len(files)]), channels=3)
            return rgb[0, 0, 0]  # pictures of different sizes make no batch

        numbers = tf.data.Dataset.range(np.iinfo(np.int64).max)
        bare = numbers.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(2)
        measured = {"decode_jpeg_alone": rate(bare)}
        streams: dict[str, Callable[[], Any]] = {"folder": lambda: files}
        for name, quality in (("jpeg_shards", 95), ("png_shards", 0)):
            place = Path(here, name)
            index = sharding.write(found, str(place), size=SIZE, quality=quality)
            chosen = recipe.default([f"data.folder={json.dumps(str(place))}"])
            streams[name] = lambda chosen=chosen: build.source(chosen, found)("train")
            photos, size = (
                sum(getattr(s, what) for each in index.splits.values() for s in each) for what in ("photos", "bytes")
            )
            measured[name] = {"bytes_a_picture": round(size / photos)}
        for name, source in streams.items():
            figures = rate(dataset.training_stream(source(), size=SIZE, batch_size=BATCH, seed=0))
            share = figures["pictures_a_second"] / measured["decode_jpeg_alone"]["pictures_a_second"]
            measured[name] = {**measured.get(name, {}), **figures, "of_decode_jpeg_alone": round(share, 3)}
        if steps:
            measured["training"] = _waiting(files, len(found.classes), steps)
    return {"cores": cores, "size": SIZE, "batch": BATCH, "photos": len(files), **measured}


def _waiting(files: Any, classes: int, steps: int) -> dict[str, Any]:
    """The share of training steps that is waiting for the next batch."""
    import tensorflow as tf

    from kcolor import build, recipe
    from kcolor.data import dataset

    chosen = recipe.load(recipe.find(RECIPE), ["classification.weight=0"] if classes < 2 else [])
    model = build.color_gan(chosen, classes, steps=1000)
    step = tf.function(model.train_step, autograph=False)
    stream = dataset.training_stream(files, size=chosen.data.size, batch_size=chosen.train.batch_size, seed=0)
    iterator = iter(stream)
    turn = chosen.objective.critic_steps
    for _ in range(turn):
        step(next(iterator))
    waited, started = 0.0, time.perf_counter()
    for _ in range(steps * turn):
        before = time.perf_counter()
        batch = next(iterator)
        waited += time.perf_counter() - before
        # Read, so that a step on an accelerator has ended before the next batch is asked for.
        float(tf.reduce_sum(next(iter(step(batch).values()))))
    elapsed = time.perf_counter() - started
    return {
        "recipe": RECIPE,
        "device": "gpu" if tf.config.list_physical_devices("GPU") else "cpu",
        "seconds_a_step": round(elapsed / (steps * turn), 4),
        "share_of_waiting_for_data": round(waited / elapsed, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cores", type=int, help="as many of this machine's; default all")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=3)
    given = parser.parse_args()
    if given.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
    print(json.dumps(measure(given.data, seconds=given.seconds, steps=given.steps), indent=1))


if __name__ == "__main__":
    main()
