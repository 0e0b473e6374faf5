"""What an evaluation costs beside the generator's own forward passes, and how much memory it takes.

    python benchmarks/evaluation.py [PHOTOS …]

Made-up photos of 256x256, the generator of the paper's recipes with weights as they are drawn, protocol rgb, no LPIPS
and no FID. Each number of photos is measured in a process of its own. On a machine that does other work as well, the
ratio of processor times is the one to go by.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def make(folder: Path, count: int) -> None:
    """Smooth colours with grain, as JPEG; one more in fifty to train on."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC), np.float32)
        grainy = smooth + random.normal(0, 6, (256, 256, 1))
        Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=92)


def measure(count: int) -> None:
    import keras
    import tensorflow as tf

    from kcolor import colorizer, evaluate, networks
    from kcolor.data import manifest
    from kcolor.data.reading import Pictures
    from kcolor.protocols import PROTOCOLS

    with tempfile.TemporaryDirectory() as work:
        photos = Path(work, "photos")
        photos.mkdir()
        make(photos, count)
        found = manifest.prepare(photos, survey_file=Path(work, "survey.jsonl"), split=(0.0, 0.0, 1.0))
        keras.utils.set_random_seed(0)
        model = colorizer.of(networks.unet(256))
        l = tf.zeros((8, 256, 256, 1))
        model(l)
        started, busy = time.perf_counter(), time.process_time()
        for _ in range(-(-count // 8)):
            model(l)["ab"].numpy()
        forward, forward_busy = time.perf_counter() - started, time.process_time() - busy
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, busy = time.perf_counter(), time.process_time()
        evaluate.evaluate(model, Pictures(found), PROTOCOLS["rgb"], Path(work, "out"), weights_folder=Path(work))
        whole, whole_busy = time.perf_counter() - started, time.process_time() - busy
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{count} photos: forward passes {forward:.1f} s, evaluation {whole:.1f} s, ratio {whole / forward:.2f}; "
        f"of processor time {forward_busy:.1f} s and {whole_busy:.1f} s, ratio {whole_busy / forward_busy:.2f}; "
        f"peak memory {before / 1024:.0f} MiB before, {after / 1024:.0f} MiB with the evaluation",
        flush=True,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(int(sys.argv[2]))
    else:
        for number in sys.argv[1:] or ["100", "1000"]:
            subprocess.run([sys.executable, __file__, "--one", number], check=True)
