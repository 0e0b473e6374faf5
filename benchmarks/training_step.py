"""Pictures a second of each paper recipe's training step: python benchmarks/training_step.py [STEPS].

Made-up pictures already in memory, at the recipe's own size and batch, after the first steps; a step is one batch.
"""

import sys
import time

import numpy as np
import tensorflow as tf

from kcolor import build, recipe

RECIPES = ("gan", "gan-class", "wgan", "wgan-clip")
PRECISIONS = ("float32", "mixed_bfloat16")
CLASSES = 205


def main(rounds: int) -> None:
    random = np.random.default_rng(0)
    rates = {}
    for name in RECIPES:
        for precision in PRECISIONS:
            chosen = recipe.load(recipe.find(name), [f"train.precision={precision}"])
            model = build.color_gan(chosen, CLASSES, steps=1000)
            shape = (chosen.train.batch_size, chosen.data.size, chosen.data.size, 3)
            data = (tf.constant(random.integers(0, 256, shape, np.uint8)), tf.zeros(shape[0], tf.int32))
            # As many batches as make one generator step: with five critic steps to one, they cost differently.
            turn = chosen.objective.critic_steps
            step = tf.function(model.train_step)
            for _ in range(turn):
                step(data)
            seconds = []
            for _ in range(rounds):
                started = time.perf_counter()
                for _ in range(turn):
                    step(data)
                seconds.append((time.perf_counter() - started) / turn)
            rates[name, precision] = shape[0] / np.median(seconds)
            first = rates[name, "float32"]
            print(
                f"{name:10} {precision:15} {rates[name, precision]:6.2f} pictures a second"
                f"  {rates[name, precision] / first:5.2f} x float32",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
