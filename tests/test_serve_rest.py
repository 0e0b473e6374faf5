"""TensorFlow Serving's JSON, both ways; the expected documents are written by hand from its documentation."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kcolor.serve import rest
from kcolor.serve.model import Model, Signature
from kcolor.serve.refusal import RefusedError

IMAGE = {"image_bytes": tf.TensorSpec((None,), tf.string, "image_bytes")}
TWO = IMAGE | {"quality": tf.TensorSpec((None,), tf.int32, "quality")}
L = {"l": tf.TensorSpec((None, 2, 2, 1), tf.float32, "l")}
MODEL = Model(
    "m", 3, 2, (), {n: Signature(n, dict, i, {}) for n, i in (("serving_default", IMAGE), ("jpeg", TWO), ("ab", L))}
)


def read(document) -> rest.Call:
    return rest.read(document.encode() if isinstance(document, str) else json.dumps(document).encode(), MODEL)


def refusal(document) -> str:
    with pytest.raises(RefusedError) as caught:
        read(document)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("document", "by_row"),
    [
        ({"instances": [{"b64": "AAE="}, {"b64": "/w=="}]}, True),
        ({"instances": [{"image_bytes": {"b64": "AAE="}}, {"image_bytes": {"b64": "/w=="}}]}, True),
        ({"inputs": [{"b64": "AAE="}, {"b64": "/w=="}]}, False),
        ({"inputs": {"image_bytes": [{"b64": "AAE="}, {"b64": "/w=="}]}}, False),
        ({"inputs": [{"b64": "AAE"}, {"b64": " /w\n=="}], "signature_name": ""}, False),
        ({"inputs": [{"b64": "AAE="}, {"b64": "/w=="}], "signature_name": "serving_default", "other": 1}, False),
    ],
)
def test_bytes(document, by_row):
    call = read(document)
    assert call.signature.name == "serving_default"
    assert call.by_row == by_row
    assert call.tensors["image_bytes"].tolist() == [b"\x00\x01", b"\xff"]


def test_text_is_its_utf_8():
    assert read({"instances": ["é"]}).tensors["image_bytes"].tolist() == ["é".encode()]


def test_several_inputs():
    rows = read({"signature_name": "jpeg", "instances": [{"image_bytes": "a", "quality": i} for i in (1, 2)]})
    columns = read({"signature_name": "jpeg", "inputs": {"image_bytes": ["a", "a"], "quality": [1, 2]}})
    for call in (rows, columns):
        assert call.tensors["quality"].dtype == np.int32
        assert call.tensors["quality"].tolist() == [1, 2]
        assert call.tensors["image_bytes"].tolist() == [b"a", b"a"]


def test_numbers():
    call = read('{"signature_name": "ab", "instances": [[[[0], [0.5]], [[NaN], [-Infinity]]]]}')
    np.testing.assert_array_equal(call.tensors["l"], np.array([[[[0], [0.5]], [[np.nan], [-np.inf]]]], np.float32))
    assert call.tensors["l"].dtype == np.float32
    assert read('{"signature_name": "ab", "inputs": []}').tensors["l"].shape == (0,)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("instances = [1, 2]", "JSON Parse error: Invalid value"),
        ("[" * 5000, "JSON Parse error"),
        ("NaN" + "[" * 100_000, "JSON Parse error"),
        ([1], "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": ["a"], "instances": ["a"]}, "only one of 'inputs' or 'instances'"),
        ({"instances": "a"}, "to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"signature_name": 100}, "'signature_name' key must be a string value."),
        ({"signature_name": "x", "instances": ["a"]}, 'Serving signature name: "x" not found in signature def'),
        ({"instances": [1]}, "element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 1 Type: Number"),
        ({"instances": ["a", None]}, "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: null"),
        ({"instances": [{"b64": "?"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "AAAAA"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": 1}]}, "does not have named input: b64"),
        ({"instances": [{"image": "a"}]}, "does not have named input: image (the inputs are image_bytes)"),
        ({"instances": [{}]}, "must only have keys: image_bytes"),
        ({"instances": ["a", {"image_bytes": "a"}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"image_bytes": "a"}, "a"]}, "Expecting object but got list at item 1"),
        ({"inputs": {"image": ["a"]}}, "Missing named input: image_bytes in 'inputs' object."),
        ({"signature_name": "jpeg", "instances": ["a"]}, "instances is a plain list"),
        ({"signature_name": "jpeg", "inputs": ["a"]}, "inputs is a plain value/list"),
        ({"signature_name": "jpeg", "inputs": {"image_bytes": ["a"], "quality": [2**31]}}, "expected type: int"),
        ({"signature_name": "jpeg", "inputs": {"image_bytes": ["a"], "quality": [1.5]}}, "expected type: int"),
        ({"signature_name": "jpeg", "inputs": {"image_bytes": ["a"], "quality": [True]}}, "Type: True"),
        ({"signature_name": "ab", "instances": [[["a"]]]}, "not of expected type: float"),
        ({"signature_name": "ab", "instances": [[1, [2]]]}, "Encountered list at unexpected level"),
        ({"signature_name": "ab", "instances": [[[1], 2]]}, "found at incorrect level"),
        ({"signature_name": "ab", "instances": [[[1], [1, 2]]]}, "Encountered list at unexpected size: 2"),
        ({"signature_name": "ab", "instances": [[1], [1, 2]]}, "element: 1 of 'instances' list."),
        ({"signature_name": "ab", "instances": [1e39]}, "to float without loss of precision"),
        ({"signature_name": "ab", "instances": [-(2**24)]}, "to float without loss of precision"),
        ({"signature_name": "ab", "inputs": [[0]] * 100_001}, "shape [100001, 1] expected [-1, 2, 2, 1]"),
        ({"signature_name": "ab", "inputs": json.loads("[" * 40 + "]" * 40)}, "Encountered list at unexpected level"),
    ],
)
def test_refusals(document, words):
    assert words in refusal(document)


def test_refusals_are_short():
    long = "é" * 10_000
    for document in ([[long]], {"instances": [[long], long]}, {"instances": [{long: long}]}, {"signature_name": long}):
        assert len(refusal(document)) <= 300


def test_replies_by_row_and_by_column():
    one = {"colorized_bytes": np.array([b"\x00\x01", b"\xff"], object)}
    assert json.loads(rest.reply(one, by_row=True)) == {"predictions": [{"b64": "AAE="}, {"b64": "/w=="}]}
    assert json.loads(rest.reply(one, by_row=False)) == {"outputs": [{"b64": "AAE="}, {"b64": "/w=="}]}
    two = {"classes": np.array([[b"sea", b"\xc3\xa9"]], object), "scores": np.array([[0.2, 1]], np.float32)}
    row, column = ({"classes": ["sea", "é"], "scores": [0.2, 1.0]}, {"classes": [["sea", "é"]], "scores": [[0.2, 1.0]]})
    assert json.loads(rest.reply(two, by_row=True)) == {"predictions": [row]}
    assert json.loads(rest.reply(two, by_row=False)) == {"outputs": column}


def test_numbers_are_written_as_the_float32_they_are():
    y = {"y": np.array([0.1, 3.0, 1e-7], np.float32)}
    assert rest.reply(y, by_row=True) == b'{"predictions":[0.1,3.0,1e-7]}'
    y = {"y": np.array([[0.1, np.nan], [np.inf, -np.inf]], np.float32)}
    assert rest.reply(y, by_row=True).replace(b" ", b"") == b'{"predictions":[[0.1,NaN],[Infinity,-Infinity]]}'
    assert rest.reply({"y": np.array(np.nan, np.float32)}, by_row=False) == b'{"outputs":NaN}'


def test_outputs_of_different_rows_are_not_given_by_row():
    outputs = {"a": np.zeros(2), "b": np.zeros(3)}
    with pytest.raises(RefusedError, match="not of one number of rows"):
        rest.reply(outputs, by_row=True)
    with pytest.raises(RefusedError, match="not of one number of rows"):
        rest.reply({"a": np.float32(1)}, by_row=True)
    assert json.loads(rest.reply(outputs, by_row=False)) == {"outputs": {"a": [0, 0], "b": [0, 0, 0]}}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/models/m:predict", ("m", None, None, "predict")),
        ("POST", "/v1/models/m/versions/3:predict", ("m", 3, None, "predict")),
        ("POST", "/V1/Models/m/labels/stable:CLASSIFY", ("m", None, "stable", "classify")),
        ("GET", "/v1/models/m", ("m", None, None, "status")),
        ("GET", "/v1/models/m/versions/3/metadata", ("m", 3, None, "metadata")),
        ("GET", f"/v1/models/m/versions/{'0' * 5000}3/metadata", ("m", 3, None, "metadata")),
        ("GET", "/v1/models/m/versions/00", ("m", 0, None, "status")),
        ("GET", "/v1/models/m/labels/x/metadata", ("m", None, "x", "metadata")),
    ],
)
def test_addresses(method, path, expected):
    asked = rest.address(method, path)
    assert (asked.name, asked.version, asked.label, asked.verb) == expected


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [  # TensorFlow Serving's own list (http_rest_api_handler_test.cc, UnsupportedApiCalls)
        ("GET", "/v1/foo", "Malformed request: GET /v1/foo"),
        ("POST", "/v1/foo", "Malformed request"),
        ("GET", "/v1/models", "Missing model name"),
        ("GET", "/v1/models/debug/model_name", "Malformed request"),
        ("POST", "/v1/models", "Malformed request"),
        ("GET", "/v1/models/foo:predict", "Malformed request"),
        ("POST", "/v1/models/foo/version/50:regress", "Malformed request"),
        ("POST", "/v1/models/foo/versions/HELLO:regress", "Malformed request"),
        ("POST", f"/v1/models/foo/versions/{2**64 - 1}:regress", "Failed to convert version"),
        ("POST", f"/v1/models/foo/versions/{'9' * 5000}:regress", "Failed to convert version"),
        ("POST", f"/v1/models/foo/versions/{'0' * 25}{2**63}:regress", "Failed to convert version"),
        ("POST", "/v1/models/foo/metadata", "Malformed request"),
        ("POST", "/v1/models/foo/versions/50/labels/some_label:regress", "Malformed request"),
        ("PUT", "/v1/models/foo:predict", "Malformed request"),
    ],
)
def test_what_is_no_address(method, path, words):
    with pytest.raises(RefusedError, match=words) as caught:
        rest.address(method, path)
    assert caught.value.status == 400
