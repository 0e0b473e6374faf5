"""How long the full-size generators take as LiteRT files, beside the TensorFlow graph.

    python benchmarks/litert.py [gan|gan-class …] [--photos N] [--kinds ab,rgb]

Recipes at their own size, 205 classes, weights as they are drawn: what an answer takes does not depend on them. Every
artifact is made as `kcolor export` makes it and runs in a process of its own, in turns with its reference: the float32
file with the TensorFlow graph (two runtimes in one process), the other precisions with the float32 file. The shortest of
several answers, on all cores. int8 is calibrated on --photos of scikit-image's photographs: its ranges do not matter here.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CLASSES = 205
ROUNDS = 15


def in_turns(graph: Path, files: list[Path], given: Path) -> list[float]:
    """Milliseconds of the SavedModel's signature ab and of each file, the shortest of `ROUNDS` each."""
    code = f"""
import json, os, runpy, sys, time
import numpy as np
graph, given, *files = sys.argv[1:]
from pathlib import Path
loaders = Path({str(loaders())!r})
batch = np.load(given)
runs = [runpy.run_path(str(loaders / "saved_model.py"))["load"](graph)] if graph != "-" else []
runs += [runpy.run_path(str(loaders / "tflite.py"))["load"](file) for file in files]
took = [[] for _ in runs]
for number in range({ROUNDS} + 2):
    for run, each in zip(runs, took):
        started = time.perf_counter()
        run(batch)
        each.append(time.perf_counter() - started)
print(json.dumps([1e3 * min(each[2:]) for each in took]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(graph), str(given), *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def loaders() -> Path:
    from kcolor import export

    return Path(export.__file__).parent / "loaders"


def measure(name: str, photos: int, kinds: list[str]) -> None:
    import keras
    import numpy as np

    from kcolor import build, recipe
    from kcolor.export import photographs, saved_model, tflite

    photographs.REPRESENTATIVE = photos
    keras.utils.set_random_seed(0)
    generator = build.generator(recipe.load(recipe.find(name)), CLASSES)
    size = generator.input_shape[1]
    with tempfile.TemporaryDirectory() as work:
        graph = Path(work, "saved_model")
        saved_model.export(generator, graph)
        random = np.random.default_rng(0)
        given = {"ab": random.uniform(-1, 1, (1, size, size, 1)).astype(np.float32)}
        given["rgb"] = random.integers(0, 256, (1, size, size, 3), np.uint8)
        wanted = tflite.targets(
            generator, name, photographs=photographs.find(Path("none")), precisions=tflite.PRECISIONS
        )
        for kind in kinds:
            made = []
            for target in wanted:
                if target.kind == kind:
                    made.append(Path(work, target.path))
                    target.write(made[-1])
            np.save(Path(work, "given.npy"), given[kind])
            # The graph has no signature from RGB to RGB of its own size.
            took = in_turns(graph if kind == "ab" else Path("-"), made, Path(work, "given.npy"))
            if kind == "ab":
                print(f"{name:10} {kind:4} TensorFlow graph {took[0]:7.1f} ms", flush=True)
            first = took[-len(made)]
            for path, milliseconds in zip(made, took[-len(made) :], strict=True):
                precision = path.name.removeprefix(f"{name}.").split(".")[0]
                beside = f"  {milliseconds / took[0]:5.2f} x the graph" if kind == "ab" else ""
                print(
                    f"{name:10} {kind:4} {precision:16} {milliseconds:7.1f} ms  {milliseconds / first:5.2f} x float32"
                    f"{beside}  {path.stat().st_size / 1e6:6.1f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["gan", "gan-class"])
    parser.add_argument("--photos", type=int, default=5)
    parser.add_argument("--kinds", default="ab,rgb")
    options = parser.parse_args()
    for recipe_name in options.recipes:
        measure(recipe_name, options.photos, options.kinds.split(","))
