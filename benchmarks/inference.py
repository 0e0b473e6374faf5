"""What an answer of the paper's generator takes: by Keras, from a SavedModel and by LiteRT, one picture and eight.

Weights are as they are drawn; what an answer takes does not depend on them. Each way runs in a process of its own, and
they take turns. A LiteRT file is for one picture, so eight of them are eight calls. The floor is the products in a
pass over the machine's rate of such products in float32. benchmarks/litert.py has more kinds of files.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import turns

BATCHES = (1, 8)


def measure(*, recipe: str = "gan", rounds: int = 5, quick: bool = False) -> dict[str, Any]:
    """By batch and way: seconds, over the floor, and beside Keras in a graph."""
    with tempfile.TemporaryDirectory() as folder:
        with turns.Worker("benchmarks.inference", "make", recipe, folder, "8" if quick else "64") as maker:
            operations = maker.about["operations"]
        work = Path(folder)
        ways = {
            "Keras, called": ("keras", work / "model.keras"),
            "Keras in a graph": ("graph", work / "model.keras"),
            "SavedModel": ("saved_model", work / "saved_model"),
            "LiteRT float32": ("tflite", work / "float32.tflite"),
            "LiteRT dynamic": ("tflite", work / "dynamic.tflite"),
        }
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(turns.Worker("benchmarks.inference", "run", kind, str(path)))
                for name, (kind, path) in ways.items()
            }
            times: dict[Any, list[float]] = {(name, batch): [] for name in ways for batch in BATCHES}
            rate = 0.0
            for _ in range(1 if quick else rounds):
                for (name, batch), each in times.items():
                    each.append(workers[name].ask(batch=batch)["seconds"])
                rate = max(rate, workers["Keras in a graph"].ask(batch=0)["operations_a_second"])
    figures: dict[str, Any] = {}
    for batch in BATCHES:
        floor = batch * operations / rate
        summaries = {name: turns.summary(times[name, batch]) for name in ways}
        graph = summaries["Keras in a graph"]["median_s"]
        figures[str(batch)] = {
            "floor_s": floor,
            "ways": {
                name: {
                    **each,
                    "time_over_floor": each["median_s"] / floor,
                    "time_over_keras_in_a_graph": each["median_s"] / graph,
                    "pictures_a_second": batch / each["median_s"],
                }
                for name, each in summaries.items()
            },
        }
    return {"recipe": recipe, "operations_a_picture": operations, "product_gflops": rate / 1e9, "batches": figures}


def work(what: str, *arguments: str) -> None:
    """In a worker: make the files, or answer from one of them."""
    (_make if what == "make" else _run)(*arguments)


def _make(recipe_name: str, folder: str, width: str) -> None:
    import keras
    import tensorflow as tf

    from benchmarks import operations
    from kcolor import build, recipe
    from kcolor.export import photographs, saved_model, tflite

    keras.utils.set_random_seed(0)
    chosen = recipe.load(recipe.find(recipe_name), [f"network.width={width}"])
    generator = build.generator(chosen, 205)
    size = generator.input_shape[1]
    generator.save(Path(folder, "model.keras"))
    signature = [tf.TensorSpec((None, size, size, 1), tf.float32, name="l")]
    ab = tf.function(lambda l: {"ab": generator(l, training=False)["ab"]}, signature)
    saved_model.write_functions(generator, Path(folder, "saved_model"), {"ab": ab})
    real = photographs.find(Path("none"))
    for target in tflite.targets(generator, recipe_name, photographs=real, precisions=("float32", "dynamic")):
        if target.kind == "ab":
            target.write(Path(folder, f"{target.precision}.tflite"))
    one = tf.zeros((1, size, size, 1))
    counted = operations.count(lambda l: generator(l, training=False)["ab"], one)
    turns.serve({"operations": counted}, dict)


def _run(kind: str, path: str) -> None:
    import runpy

    import numpy as np

    from kcolor import export

    loaders = Path(export.__file__).parent / "loaders"
    if kind == "keras":
        import keras

        model = keras.models.load_model(path, compile=False)

        def run(batch: Any) -> Any:
            return model(batch, training=False)["ab"].numpy()
    else:
        loader = loaders / {"graph": "keras_file.py"}.get(kind, f"{kind}.py")
        run = runpy.run_path(str(loader))["load"](path)

    def answer(batch: int) -> dict[str, float]:
        if not batch:
            from benchmarks import operations

            return {"operations_a_second": operations.product_rate("float32")}
        size = 256
        l = np.random.default_rng(0).uniform(-1, 1, (batch, size, size, 1)).astype(np.float32)
        started = time.perf_counter()
        if kind == "tflite":
            for one in l:
                run(one[None])
        else:
            run(l)
        return {"seconds": time.perf_counter() - started}

    for batch in BATCHES:  # what happens once is in no figure
        answer(batch)
    turns.serve({}, answer)
