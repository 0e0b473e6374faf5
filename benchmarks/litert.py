"""How long the full-size generators take as LiteRT files, beside the TensorFlow graph.

    python benchmarks/litert.py [gan|gan-class …] [--kinds ab,rgb]

Recipes at their own size, 205 classes, weights as they are drawn: what an answer takes does not depend on them. Files
are made as `kcolor export` makes them. The graph and the files run in processes of their own, in turns, each the
shortest of several answers; in one process two runtimes would disturb each other. Milliseconds are of the clock, on all
cores, and of the processor, which is what to go by on a machine that does other work as well. int8 is calibrated
on few photographs, since its ranges do not matter here.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CLASSES, TURNS = 205, 3

RUN = """
import json, runpy, sys, time
import numpy as np
loader, artifact, given = sys.argv[1:]
run, batch = runpy.run_path(loader)["load"](artifact), np.load(given)
run(batch), run(batch)
took = []
for _ in range(8):
    started = time.perf_counter(), time.process_time()
    run(batch)
    took.append((time.perf_counter() - started[0], time.process_time() - started[1]))
print(json.dumps([1e3 * min(each) for each in zip(*took)]))
"""


def in_turns(artifacts: dict[str, Path], given: Path) -> dict[str, list[float]]:
    """Milliseconds of the clock and of the processor that an answer takes at the least, by name."""
    from kcolor import export

    loaders = Path(export.__file__).parent / "loaders"
    took: dict[str, list[list[float]]] = {name: [] for name in artifacts}
    for _ in range(TURNS):
        for name, path in artifacts.items():
            loader = loaders / ("tflite.py" if path.suffix == ".tflite" else "saved_model.py")
            command = [sys.executable, "-P", "-c", RUN, str(loader), str(path), str(given)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            took[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {name: [min(each) for each in zip(*turns, strict=True)] for name, turns in took.items()}


def measure(name: str, kinds: list[str]) -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    from kcolor import build, recipe
    from kcolor.export import photographs, saved_model, tflite

    photographs.REPRESENTATIVE = 5
    keras.utils.set_random_seed(0)
    generator = build.generator(recipe.load(recipe.find(name)), CLASSES)
    size, random, real = generator.input_shape[1], np.random.default_rng(0), photographs.find(Path("none"))
    with tempfile.TemporaryDirectory() as work:
        given, graph = Path(work, "given.npy"), Path(work, "graph")
        ab = tf.function(
            lambda l: {"ab": generator(l, training=False)["ab"]},
            [tf.TensorSpec((None, size, size, 1), tf.float32, name="l")],
        )
        saved_model.write_functions(generator, graph, {"ab": ab})
        for kind in kinds:
            artifacts = {"TensorFlow": graph} if kind == "ab" else {}
            for target in tflite.targets(generator, name, photographs=real, precisions=tflite.PRECISIONS):
                if target.kind == kind:
                    target.write(Path(work, target.path))
                    artifacts[target.precision] = Path(work, target.path)
            l = random.uniform(-1, 1, (1, size, size, 1)).astype(np.float32)
            np.save(given, l if kind == "ab" else random.integers(0, 256, (1, size, size, 3), np.uint8))
            took = in_turns(artifacts, given)
            for each, (clock, processor) in took.items():
                ratios = [processor / took[other][1] for other in ("float32", "TensorFlow") if other in took]
                beside = " ".join(f"{ratio:10.2f}" for ratio in ratios)
                print(f"{name:10} {kind:4} {each:11} {clock:7.1f} ms {processor:7.1f} ms  {beside}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["gan", "gan-class"])
    parser.add_argument("--kinds", default="ab,rgb")
    options = parser.parse_args()
    print("recipe     kind             by the clock, processor;  as ratios of that to float32, to TensorFlow")
    for recipe_name in options.recipes:
        measure(recipe_name, options.kinds.split(","))
