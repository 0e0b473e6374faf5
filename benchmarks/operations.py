"""The floating-point operations of products, counted in a traced graph; and how many a second the machine does.

A multiplication and an addition are two. What stands in the zeros around a picture is counted as if it were computed,
as is usual. Sums, activations, normalization and the optimizers' arithmetic are not counted: memory bounds them.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf


def count(function: Callable[..., Any], *arguments: Any) -> int:
    """The operations of a call, by the static shapes of the graph that TensorFlow traces of it."""
    graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    return sum(_of(op) for op in _operations(graph))


def _operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """What is run: the gradient of a convolution is traced for its kernel and its input, though one may be unwanted."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen = set(waiting)
    while waiting:
        op = waiting.pop()
        before = {tensor.op for tensor in op.inputs} | set(op.control_inputs)
        waiting += before - seen
        seen |= before
        yield op
        names = [value.func.name for value in op.node_def.attr.values() if value.HasField("func")]
        inside = [list(_operations(graph._functions[name].graph)) for name in names]
        if op.type in {"If", "StatelessIf"}:  # of two branches one is run: the longer one counts
            inside = [max(inside, key=lambda ops: sum(map(_of, ops)))]
        for operations in inside:
            yield from operations


def _of(op: tf.Operation) -> int:
    match op.type:
        case "Conv2D" | "_FusedConv2D":
            kernel, outside = op.inputs[1].shape, op.outputs[0].shape
        case "Conv2DBackpropInput":
            kernel, outside = op.inputs[1].shape, op.inputs[2].shape
        case "Conv2DBackpropFilter":
            kernel, outside = _told(op.inputs[1]), op.inputs[2].shape
        case "MatMul":
            left, right = op.inputs[0].shape.as_list(), op.inputs[1].shape.as_list()
            inner = left[0] if op.get_attr("transpose_a") else left[1]
            return 2 * math.prod(left) * math.prod(right) // inner
        case "BatchMatMul" | "BatchMatMulV2":
            left = op.inputs[0].shape.as_list()
            inner = left[-2] if op.get_attr("adj_x") else left[-1]
            return 2 * op.outputs[0].shape.num_elements() * inner
        case _:
            return 0
    # Each value outside a kernel meets all of the kernel of its channel, whichever of the three is computed.
    return 2 * math.prod(outside.as_list()) * math.prod(kernel.as_list()[:3])


def _told(shape: tf.Tensor) -> tf.TensorShape:
    """What a tensor that is a shape says, be it a constant or asked of another tensor."""
    if shape.op.type in {"Shape", "ShapeN"}:
        return shape.op.inputs[shape.value_index].shape
    return tf.TensorShape(tf.get_static_value(shape))


def unet(size: int, widths: list[int], batch: int) -> int:
    """The operations of a U-Net's pass as `kcolor.networks.unet` makes it, by formula: to compare `count` with."""
    total, channels, side = 0, 1, size
    for width in widths:
        side //= 2
        total += side * side * 16 * channels * width
        channels = width
    for skip in reversed(widths[:-1]):
        total += side * side * 16 * channels * skip
        side, channels = 2 * side, 2 * skip
    return 2 * batch * (total + side * side * 16 * channels * 2)


def product_rate(dtype: str, side: int = 2048, rounds: int = 8) -> float:
    """Operations a second of the product of two large square matrices, on all cores; the best of several."""
    left, right = (tf.cast(tf.random.normal((side, side)), dtype) for _ in range(2))
    multiply = tf.function(tf.matmul, autograph=False)
    multiply(left, right)
    least = math.inf
    for _ in range(rounds):
        started = time.perf_counter()
        multiply(left, right)
        # On a GPU it is computed while this goes on.
        tf.test.experimental.sync_devices()
        least = min(least, time.perf_counter() - started)
    return 2 * side**3 / least
