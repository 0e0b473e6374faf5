"""Load a ``.tflite`` with LiteRT alone, whichever of its two kinds it is."""

import os
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter

WITHOUT = ("tensorflow", "keras")


def load(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the file, called, gives of a batch of one, by LiteRT on all cores."""
    interpreter = Interpreter(path, num_threads=os.cpu_count())
    (kind,) = interpreter.get_signature_list()
    run = interpreter.get_signature_runner(kind)
    (name,) = run.get_input_details()
    return lambda batch: run(**{name: batch})[kind]
