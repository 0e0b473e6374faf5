"""Convert a SavedModel with LiteRT's converter: SAVED_MODEL FILE.tflite float32|float16."""

import sys
from pathlib import Path

import tensorflow as tf

source, target, precision = sys.argv[1:]
converter = tf.lite.TFLiteConverter.from_saved_model(source, signature_keys=["serving_default"])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
if precision == "float16":
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
Path(target).write_bytes(converter.convert())
