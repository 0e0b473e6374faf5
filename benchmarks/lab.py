"""Conversion between sRGB and CIE Lab: TensorFlow's operations (kcolor.color) over scikit-image's, on the same batch.

scikit-image, which computes in float64 on one core when it is given bytes, is the yardstick: a ratio of 10 is ten times
as fast. It is given float32, too, where it computes in that.
"""

import time
from collections.abc import Callable
from typing import Any

from benchmarks import turns


def measure(*, rounds: int = 10, quick: bool = False) -> dict[str, Any]:
    """Seconds of a batch of 8 pictures of 256x256, each way, in turns."""
    import numpy as np
    import tensorflow as tf
    from skimage.color import lab2rgb, rgb2lab

    from kcolor import color

    rounds = 2 if quick else rounds
    rgb = np.random.default_rng(0).integers(0, 256, (8, 256, 256, 3), np.uint8)
    given, floats = tf.constant(rgb), (rgb / 255).astype(np.float32)
    lab = rgb2lab(rgb)
    given_lab, lab32 = tf.constant(lab, tf.float32), lab.astype(np.float32)
    to_lab = tf.function(color.rgb_to_lab, autograph=False)
    to_rgb = tf.function(color.lab_to_rgb, autograph=False)
    ways: dict[str, dict[str, Callable[[], Any]]] = {
        "rgb_to_lab": {
            "tensorflow": lambda: to_lab(given),
            "scikit_image_float64": lambda: rgb2lab(rgb),
            "scikit_image_float32": lambda: rgb2lab(floats),
        },
        "lab_to_rgb": {
            "tensorflow": lambda: to_rgb(given_lab),
            "scikit_image_float64": lambda: lab2rgb(lab),
            "scikit_image_float32": lambda: lab2rgb(lab32),
        },
    }
    figures: dict[str, Any] = {"pictures": len(rgb), "size": rgb.shape[1]}
    for direction, functions in ways.items():
        times: dict[str, list[float]] = {name: [] for name in functions}
        for function in functions.values():
            function()
        for _ in range(rounds):
            for name, function in functions.items():
                started = time.perf_counter()
                function()
                tf.test.experimental.sync_devices()
                times[name].append(time.perf_counter() - started)
        entry: dict[str, Any] = {name: turns.summary(each) for name, each in times.items()}
        ours = entry["tensorflow"]["median_s"]
        for other in ("float64", "float32"):
            entry[f"times_as_fast_as_{other}"] = entry[f"scikit_image_{other}"]["median_s"] / ours
        figures[direction] = entry
    figures["largest_difference_lab"] = float(np.abs(to_lab(given).numpy() - lab).max())
    return figures
