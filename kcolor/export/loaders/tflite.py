"""Run a ``.tflite`` with LiteRT alone: FILE.tflite L.npy AB.npy."""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

path, given, made = sys.argv[1:]
run = Interpreter(path).get_signature_runner("serving_default")
np.save(made, run(l=np.load(given))["ab"])
if "kcolor" in sys.modules or "tensorflow" in sys.modules:
    sys.exit("the export needs more than LiteRT")
