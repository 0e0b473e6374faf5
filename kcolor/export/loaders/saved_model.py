"""Run the ``ab`` signature of a SavedModel with TensorFlow alone: SAVED_MODEL L.npy AB.npy."""

import sys

import numpy as np
import tensorflow as tf

path, given, made = sys.argv[1:]
model = tf.saved_model.load(path)
np.save(made, model.signatures["ab"](l=tf.constant(np.load(given)))["ab"].numpy())
if "kcolor" in sys.modules:
    sys.exit("the export needs kcolor")
