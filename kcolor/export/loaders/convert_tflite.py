"""Convert a SavedModel with LiteRT's converter: SAVED_MODEL FOLDER SIGNATURE REPRESENTATIVE.npy PRECISIONS.

Writes FOLDER/PRECISION.tflite for each.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

# What the way from RGB to L and back is made of, and a U-Net is not. In 8 bits it would be no colour any more.
COLOUR = [
    *(
        "ADD",
        "CAST",
        "DIV",
        "EXP",
        "GATHER",
        "GREATER",
        "LESS",
        "LOG",
        "LOGICAL_AND",
        "MAXIMUM",
        "MINIMUM",
        "MUL",
        "PACK",
    ),
    *("RELU", "ROUND", "SELECT", "SELECT_V2", "STRIDED_SLICE", "SUB", "UNPACK"),
]

source, folder, signature, given, *precisions = sys.argv[1:]


def calibrate() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """What the converter measures ranges on."""
    for one in np.load(given, mmap_mode="r"):
        yield signature, {"l" if signature == "ab" else "rgb": one[np.newaxis]}


for precision in precisions:
    converter = tf.lite.TFLiteConverter.from_saved_model(source, signature_keys=[signature])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = calibrate
    if precision == "int8" and signature == "rgb":
        # The debugger is the converter's only public way to leave some operations in float32.
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=COLOUR)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=calibrate, debug_options=options
        )
        made = debugger.get_nondebug_quantized_model()
    else:
        made = converter.convert()
    Path(folder, f"{precision}.tflite").write_bytes(made)
