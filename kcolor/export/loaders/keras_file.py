"""Run a ``.keras`` file with Keras alone: FILE.keras L.npy AB.npy."""

import os
import sys

import numpy as np

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras

path, given, made = sys.argv[1:]
model = keras.models.load_model(path, compile=False)
np.save(made, keras.ops.convert_to_numpy(model(np.load(given), training=False)["ab"]))
if any(variable.dtype != "float32" for variable in model.weights):
    sys.exit("not a float32 model")
if "kcolor" in sys.modules:
    sys.exit("the export needs kcolor")
