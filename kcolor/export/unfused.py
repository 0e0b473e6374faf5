"""LiteRT files that graphics processors can run: transposed convolutions without an activation of their own."""

import copy

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

# The last that LiteRT's GPU delegates know. In version 4 a transposed convolution has its activation in it.
_VERSION = 3
_TRANSPOSED = schema.BuiltinOperator.TRANSPOSE_CONV
_FUSED = schema.ActivationFunctionType.RELU


def unfused(content: bytes) -> bytes:
    """A ``.tflite`` that computes the same, with the ReLUs after transposed convolutions, not in them.

    LiteRT.js (2.5) otherwise leaves the whole network to the processor, since it cannot divide it between the two.

    Args:
        content: Of the file. An activation other than ReLU is left where it is.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    transposed = {i for i, code in enumerate(model.operatorCodes) if code.builtinCode == _TRANSPOSED}
    for graph in model.subgraphs:
        operators = []
        for operator in graph.operators:
            operators.append(operator)
            if operator.opcodeIndex in transposed and operator.builtinOptions.fusedActivationFunction == _FUSED:
                operators.append(_taken_out(model, graph, operator))
        graph.operators = operators
    left = [o for graph in model.subgraphs for o in graph.operators if o.opcodeIndex in transposed]
    if not any(operator.builtinOptions.fusedActivationFunction for operator in left):
        for i in transposed:
            model.operatorCodes[i].version = min(model.operatorCodes[i].version, _VERSION)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _taken_out(model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT) -> schema.OperatorT:
    """The activation of an operator, which no longer has one, as an operator of its own."""
    (made,) = operator.outputs
    between = copy.copy(graph.tensors[made])
    between.name += b"/linear"
    between.buffer = 0  # the empty one
    graph.tensors.append(between)
    operator.outputs = [len(graph.tensors) - 1]
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    relu = schema.OperatorT()
    relu.opcodeIndex = _relu(model)
    relu.inputs, relu.outputs = operator.outputs, [made]
    return relu


def _relu(model: schema.ModelT) -> int:
    """Where among the model's kinds of operators ReLU is, which is added if it is not there."""
    for i, code in enumerate(model.operatorCodes):
        if code.builtinCode == schema.BuiltinOperator.RELU:
            return i
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
