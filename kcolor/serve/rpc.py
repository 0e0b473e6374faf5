"""The server's door for gRPC: TensorFlow Serving's PredictionService and ModelService, on the same batches as REST."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kcolor.errors import RunError
from kcolor.serve.app import Serving
from kcolor.serve.model import Model, Tensors
from kcolor.serve.refusal import RefusedError, invalid

# Calls that are answered at once. One that waits for its turn holds a thread, but no more than that.
_THREADS = 64


@contextmanager
def listening(serving: Serving, host: str, port: int) -> Iterator[int]:
    """Answer calls inside the block; those that have been accepted when it ends are still answered.

    Args:
        serving: What it leads to.
        host: The address to listen at.
        port: Likewise; 0 for any that is free.

    Yields:
        The port.

    Raises:
        RunError: The address cannot be had.
    """
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, "grpc"),
        maximum_concurrent_rpcs=_THREADS,
        options=[
            ("grpc.max_receive_message_length", serving.bodies.largest),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(serving), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Status(serving), server)
    try:
        bound = server.add_insecure_port(f"{f'[{host}]' if ':' in host else host}:{port}")
    except RuntimeError as error:
        raise RunError(f"{host}:{port}: cannot be had for gRPC; choose another --grpc-port or --host") from error
    server.start()
    try:
        yield bound
    finally:
        server.stop(serving.timeout + 5).wait()


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """PredictionService of tensorflow_serving/apis/prediction_service.proto, as far as it is of signatures."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """A signature's answer to tensors."""
        return _answered(self._serving, "predict", context, lambda: self._predict(request, context))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The signatures."""
        return _answered(self._serving, "metadata", context, lambda: self._metadata(request))

    def _predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        model, batcher = self._serving.model, self._serving.batcher
        _check(model, request.model_spec)
        signature = model.signature(request.model_spec.signature_name)
        if unknown := set(request.output_filter) - signature.outputs.keys():
            known = ", ".join(signature.outputs)
            raise invalid(f"output tensor alias not found in signature: {sorted(unknown)[0]} (there are {known})")
        most = self._serving.bodies.largest
        tensors = {name: _array(name, proto, most) for name, proto in request.inputs.items()}
        remaining = context.time_remaining()
        seconds = min(self._serving.timeout, self._serving.timeout if remaining is None else remaining)
        answer = batcher.submit(signature, tensors, timeout=seconds)
        context.add_callback(answer.cancel)  # when the client has gone, or its time is up
        try:
            made: Tensors = answer.result(seconds)
        except TimeoutError:
            raise RefusedError("DEADLINE_EXCEEDED", "no answer within the time that a request has") from None
        except CancelledError:
            raise RefusedError("CANCELLED", "the client has gone") from None
        finally:
            answer.cancel()
        reply = predict_pb2.PredictResponse()
        _describe(model, reply.model_spec, signature.name)
        for name in request.output_filter or made:
            reply.outputs[name].CopyFrom(tf.make_tensor_proto(made[name]))
        return reply

    def _metadata(self, request: Any) -> Any:
        model = self._serving.model
        _check(model, request.model_spec)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        if wrong := [field for field in request.metadata_field if field != "signature_def"]:
            raise invalid(f"Metadata field {wrong[0]} is not supported")
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        _describe(model, reply.model_spec)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in model.signatures.items():
            definitions.signature_def[name].CopyFrom(signature.definition())
        reply.metadata["signature_def"].Pack(definitions)
        return reply


class _Status(model_service_pb2_grpc.ModelServiceServicer):
    """ModelService of tensorflow_serving/apis/model_service.proto; there is nothing to be reloaded."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The one version there is."""
        return _answered(self._serving, "status", context, lambda: self._status(request))

    def _status(self, request: Any) -> Any:
        model = self._serving.model
        _check(model, request.model_spec)
        reply = get_model_status_pb2.GetModelStatusResponse()
        version = reply.model_version_status.add(
            version=model.version, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE
        )
        version.status.SetInParent()
        return reply


def _answered(serving: Serving, method: str, context: grpc.ServicerContext, answer: Callable[[], Any]) -> Any:
    refused = None
    with serving.meters.request("grpc", method) as outcome:
        try:
            return answer()
        except RefusedError as error:
            refused, outcome.code = error, error.code
    # By an exception of grpc's own, which is no failure to be counted.
    return context.abort(grpc.StatusCode[refused.code], refused.message)


def _check(model: Model, spec: Any) -> None:
    version = spec.version.value if spec.HasField("version") else None
    model.check(spec.name, version, spec.version_label or None)


def _describe(model: Model, spec: Any, signature: str = "") -> None:
    spec.name = model.name
    spec.version.value = model.version
    spec.signature_name = signature


def _array(name: str, proto: Any, most: int) -> Any:
    sides = [dim.size for dim in proto.tensor_shape.dim]
    # One value can stand for as many as the shape says: a few bytes for any amount of memory.
    try:
        each = np.dtype(tf.as_dtype(proto.dtype).as_numpy_dtype).itemsize
        if min(sides, default=0) < 0 or math.prod(sides) * each > most:
            raise invalid(f"{name} says that its shape is {sides}, which is more than {most:,} bytes can hold")
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, KeyError) as error:
        raise invalid(f"tensor parsing error: {name}") from error
