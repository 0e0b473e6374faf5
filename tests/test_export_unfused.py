"""LiteRT files whose transposed convolutions have an activation in them, and after it was taken out."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

from kcolor.export.unfused import unfused


def converted(activation: str | None) -> bytes:
    draw = np.random.default_rng(0)
    kernel = tf.constant(draw.normal(size=(4, 4, 3, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3), tf.float32, name="x")])
    def twice(x):
        for side in (8, 16):
            x = tf.nn.conv2d_transpose(x, kernel, (1, side, side, 3), 2) + tf.constant([0.1, -0.2, 0.3])
            x = getattr(tf.nn, activation)(x) if activation else x
        return {"y": x}

    module = tf.Module()
    module.twice = twice
    return tf.lite.TFLiteConverter.from_concrete_functions([twice.get_concrete_function()], module).convert()


def made_of(content: bytes) -> tuple[list[str], list[int]]:
    """The operators that ReLU matters to, and the versions of transposed convolutions."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    names = [flatbuffer_utils.opcode_to_name(model, each.opcodeIndex) for each in model.subgraphs[0].operators]
    versions = [code.version for code in model.operatorCodes if code.builtinCode == 67]
    return [name for name in names if name in ("TRANSPOSE_CONV", "RELU", "RELU6")], versions


def answer(content: bytes) -> np.ndarray:
    run = Interpreter(model_content=content).get_signature_runner()
    x = np.random.default_rng(1).normal(size=(1, 4, 4, 3)).astype(np.float32)
    return run(x=x)["y"]


@pytest.mark.parametrize("activation", ["relu", "relu6", None])
def test_it_computes_the_same(activation):
    given = converted(activation)
    made = unfused(given)
    np.testing.assert_array_equal(answer(made), answer(given))
    operators, versions = made_of(made)
    if activation == "relu":
        assert made_of(given) == (["TRANSPOSE_CONV"] * 2, [4])
        assert (operators, versions) == (["TRANSPOSE_CONV", "RELU"] * 2, [3])
    else:
        assert (operators, versions) == made_of(given)
