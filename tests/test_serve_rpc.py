"""gRPC, by TensorFlow Serving's own stubs."""

import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from serving import Gate, ask, b64, png
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from kcolor.serve import rpc
from kcolor.serve.app import Serving
from kcolor.serve.batching import Batcher
from kcolor.serve.bodies import Bodies
from kcolor.serve.meters import Meters
from kcolor.serve.model import Model, Signature

PHOTO = png(40)


def request(model: str = "tiny", signature: str = "", version: int | None = None, **tensors) -> PredictRequest:
    made = PredictRequest()
    made.model_spec.name = model
    made.model_spec.signature_name = signature
    if version is not None:
        made.model_spec.version.value = version
    for name, value in tensors.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return made


@pytest.fixture(scope="module")
def channel(served):
    with grpc.insecure_channel(
        served.grpc, [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    ) as channel:
        yield channel


@pytest.fixture(scope="module")
def predict(channel):
    return PredictionServiceStub(channel).Predict


def test_photos(served, predict):
    reply = predict(request(image_bytes=[PHOTO, PHOTO]), timeout=30)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("tiny", 1)
    assert reply.model_spec.signature_name == "serving_default"
    made = tf.make_ndarray(reply.outputs["colorized_bytes"])
    by_rest = ask(f"{served.url}/v1/models/tiny:predict", {"instances": [b64(PHOTO)]})[1]["predictions"][0]
    assert [b64(each) for each in made] == [by_rest, by_rest]


def test_other_signatures(predict):
    reply = predict(request(signature="jpeg", image_bytes=[PHOTO], quality=[50]), timeout=30)
    assert tf.make_ndarray(reply.outputs["colorized_bytes"])[0].startswith(b"\xff\xd8")
    asked = request(signature="classify", image_bytes=[PHOTO])
    asked.output_filter.append("scores")
    reply = predict(asked, timeout=30)
    assert list(reply.outputs) == ["scores"]
    l = np.zeros((2, 64, 64, 1), np.float32)
    ab = tf.make_ndarray(predict(request(signature="ab", version=1, l=l), timeout=30).outputs["ab"])
    assert ab.shape == (2, 64, 64, 2)
    assert ab.dtype == np.float32


def test_numbers_are_as_large_as_their_type(predict):
    """Of float32, as many as the body's limit in bytes has room for: 2.3 of 4 MiB."""
    l = np.zeros((140, 64, 64, 1), np.float32)
    ab = tf.make_ndarray(predict(request(signature="ab", l=l), timeout=60).outputs["ab"])
    assert ab.shape == (140, 64, 64, 2)


def test_status_and_metadata(channel):
    asked = GetModelStatusRequest()
    asked.model_spec.name = "tiny"
    (version,) = ModelServiceStub(channel).GetModelStatus(asked, timeout=30).model_version_status
    assert (version.version, version.state) == (1, ModelVersionStatus.AVAILABLE)
    assert version.status.error_code == 0
    asked = GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "tiny"
    reply = PredictionServiceStub(channel).GetModelMetadata(asked, timeout=30)
    assert reply.model_spec.version.value == 1
    found = SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) == {"serving_default", "jpeg", "ab", "classify"}
    assert found.signature_def["serving_default"].inputs["image_bytes"].dtype == tf.string.as_datatype_enum
    with pytest.raises(grpc.RpcError) as caught:
        PredictionServiceStub(channel).GetModelMetadata(GetModelMetadataRequest(model_spec=asked.model_spec))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def numbers_bomb() -> PredictRequest:
    asked = request(signature="ab", l=np.zeros((1, 1, 1, 1), np.float32))
    asked.inputs["l"].tensor_shape.dim[0].size = 2**20 + 1
    return asked


def untyped() -> PredictRequest:
    asked = request(image_bytes=["a"])
    asked.inputs["image_bytes"].dtype = 99
    return asked


def bomb() -> PredictRequest:
    asked = request(image_bytes=["a"])
    asked.inputs["image_bytes"].tensor_shape.dim[0].size = 10**10
    return asked


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (request("other", image_bytes=[PHOTO]), "NOT_FOUND", "Servable not found for request: Latest(other)"),
        (request(version=9, image_bytes=[PHOTO]), "NOT_FOUND", "Specific(tiny, 9)"),
        (request(signature="x", image_bytes=[PHOTO]), "INVALID_ARGUMENT", '"x" not found in signature def'),
        (request(), "INVALID_ARGUMENT", "the input image_bytes is missing"),
        (request(image=[PHOTO], image_bytes=[PHOTO]), "INVALID_ARGUMENT", "serving_default has no input image"),
        (request(image_bytes=[1.0]), "INVALID_ARGUMENT", "image_bytes is float32, but serving_default takes string"),
        (request(image_bytes=PHOTO), "INVALID_ARGUMENT", "image_bytes has the shape []"),
        (request(image_bytes=[PHOTO, b""]), "INVALID_ARGUMENT", "image_bytes[1]: no image: it is empty"),
        (request(image_bytes=[b"text"]), "INVALID_ARGUMENT", "image_bytes[0]: not a JPEG, PNG, WebP or BMP"),
        (request(image_bytes=[PHOTO, PHOTO[:900]]), "INVALID_ARGUMENT", "image_bytes[1]: cannot be decoded"),
        (request(image_bytes=[png(101)]), "INVALID_ARGUMENT", "image_bytes[0]: 101x101 pixels are more than 10,000"),
        (request(image_bytes=[b"x"] * 1001), "INVALID_ARGUMENT", "1,001 rows in one call"),
        (request(image_bytes=[b"x" * 5_000_000]), "RESOURCE_EXHAUSTED", "larger than max"),
        (numbers_bomb(), "INVALID_ARGUMENT", "says that its shape is [1048577, 1, 1, 1]"),
        (untyped(), "INVALID_ARGUMENT", "tensor parsing error: image_bytes"),
        (bomb(), "INVALID_ARGUMENT", "says that its shape is [10000000000]"),
    ],
)
def test_refusals(predict, asked, code, words):
    with pytest.raises(grpc.RpcError) as caught:
        predict(asked, timeout=30)
    assert caught.value.code().name == code
    assert words in caught.value.details()


def test_a_client_who_gave_up_is_not_computed_for_and_what_was_accepted_is_answered():
    gate = Gate()
    double = Signature("serving_default", gate, {"x": tf.TensorSpec((None,), tf.float32, "x")}, {})
    batcher = Batcher(workers=1, max_batch=8, max_queue=2)
    model = Model("double", 1, 8, (), {"serving_default": double})
    serving = Serving(model, batcher, Meters(), Bodies(1000, 4000), 30.0)

    def of(*values: float) -> PredictRequest:
        return request("double", x=np.array(values, np.float32))

    def waits(rows: int) -> None:
        until = time.monotonic() + 20
        while batcher.waiting != rows:
            assert time.monotonic() < until
            time.sleep(0.005)

    with rpc.listening(serving, "127.0.0.1", 0) as port:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        predict = PredictionServiceStub(channel).Predict
        first = predict.future(of(1), timeout=30)
        assert gate.entered.acquire(timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            predict(of(2, 3), timeout=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        waits(0)
        hasty = predict.future(of(4, 5), timeout=30)
        waits(2)
        with pytest.raises(grpc.RpcError) as caught:
            predict(of(6), timeout=30)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        hasty.cancel()
        waits(0)
        last = predict.future(of(7), timeout=30)
        waits(1)
        threading.Timer(0.3, gate.open.set).start()
    # The server has stopped, and yet both were answered.
    assert tf.make_ndarray(first.result().outputs["y"]).tolist() == [2]
    assert tf.make_ndarray(last.result().outputs["y"]).tolist() == [14]
    assert gate.given == [[1], [7]]
    channel.close()
    batcher.close()
