"""What TensorFlow Serving's REST API promises, of kcolor serve; and of TensorFlow Serving itself where it is at hand.

It is where tensorflow_model_server is installed, or Docker runs. Or

    KCOLOR_SERVING_URL=http://host:8501/v1/models/NAME python -m pytest tests/test_serving_contract.py

asks one that serves what kcolor export --saved-model wrote (of a model with a class branch), as version 1 of the model
NAME.
"""

import base64
import io
import json

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from PIL import Image
from serving import ask, b64, jpeg, png, pool
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving_itself import model_server

PHOTO = png(40)


@pytest.fixture(scope="module", params=["kcolor", "tensorflow"])
def url(request, tmp_path_factory):
    """The model's address on each server."""
    if request.param == "kcolor":
        yield request.getfixturevalue("served").url + "/v1/models/tiny"
        return
    exports = tmp_path_factory.mktemp("exports") / "tiny"
    with model_server(exports, "tiny", request.getfixturevalue("tiny_model")) as found:
        yield found


@pytest.fixture(scope="module")
def signatures(url):
    return ask(f"{url}/metadata", method="GET")[1]["metadata"]["signature_def"]["signature_def"]


def picture(value: dict) -> Image.Image:
    assert list(value) == ["b64"]
    return Image.open(io.BytesIO(base64.b64decode(value["b64"], validate=True)))


def test_status(url):
    for address in (url, f"{url}/versions/1"):
        status, said = ask(address, method="GET")
        assert status == 200
        (version,) = ParseDict(said, GetModelStatusResponse()).model_version_status
        assert version.version == 1
        assert version.state == ModelVersionStatus.AVAILABLE
        assert said["model_version_status"][0]["status"] == {"error_code": "OK", "error_message": ""}
        assert said["model_version_status"][0]["version"] == "1"


def test_metadata(url):
    status, said = ask(f"{url}/metadata", method="GET")
    assert status == 200
    assert set(said) == {"model_spec", "metadata"}
    spec = ParseDict(said["model_spec"], ModelSpec())
    assert url.endswith(f"/{spec.name}")
    assert spec.version.value == 1
    map_ = {key: value for key, value in said["metadata"]["signature_def"].items() if key != "@type"}
    signatures = ParseDict(map_, SignatureDefMap()).signature_def
    given = signatures["serving_default"].inputs["image_bytes"]
    made = signatures["serving_default"].outputs["colorized_bytes"]
    for info in (given, made):
        assert info.dtype == 7  # DT_STRING
        assert [dim.size for dim in info.tensor_shape.dim] == [-1]
    assert signatures["serving_default"].method_name == "tensorflow/serving/predict"
    l, ab = signatures["ab"].inputs["l"], signatures["ab"].outputs["ab"]
    assert l.dtype == ab.dtype == 1  # DT_FLOAT
    assert [dim.size for dim in l.tensor_shape.dim][::3] == [-1, 1]
    assert [dim.size for dim in ab.tensor_shape.dim][::3] == [-1, 2]
    assert ask(f"{url}/versions/1/metadata", method="GET") == (200, said)


@pytest.mark.parametrize(
    ("key", "answer", "given"),
    [
        ("instances", "predictions", [b64(PHOTO), b64(jpeg(30))]),
        ("instances", "predictions", [{"image_bytes": b64(PHOTO)}, {"image_bytes": b64(jpeg(30))}]),
        ("inputs", "outputs", [b64(PHOTO), b64(jpeg(30))]),
        ("inputs", "outputs", {"image_bytes": [b64(PHOTO), b64(jpeg(30))]}),
    ],
)
def test_photos_by_row_and_by_column(url, key, answer, given):
    for address in (f"{url}:predict", f"{url}/versions/1:predict"):
        reply = pool.request("POST", address, json={key: given})
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/json"
        said = reply.json()
        assert list(said) == [answer]
        assert [(each.format, each.size) for each in map(picture, said[answer])] == [
            ("PNG", (40, 40)),
            ("PNG", (30, 30)),
        ]


def test_several_inputs_and_outputs(url, signatures):
    rows = [{"image_bytes": b64(PHOTO), "quality": quality} for quality in (20, 95)]
    status, said = ask(f"{url}:predict", {"signature_name": "jpeg", "instances": rows})
    assert status == 200
    small, large = map(picture, said["predictions"])
    assert small.format == large.format == "JPEG"
    assert len(said["predictions"][0]["b64"]) < len(said["predictions"][1]["b64"])
    columns = {"image_bytes": [b64(PHOTO)] * 2, "quality": [20, 95]}
    assert ask(f"{url}:predict", {"signature_name": "jpeg", "inputs": columns}) == (
        200,
        {"outputs": said["predictions"]},
    )
    if "classify" not in signatures:
        pytest.skip("the model has no class branch")
    status, said = ask(f"{url}:predict", {"signature_name": "classify", "instances": [b64(PHOTO)] * 2})
    assert status == 200
    for row in said["predictions"]:
        assert set(row) == {"classes", "scores"}
        assert len(row["classes"]) == len(row["scores"])
        assert sum(row["scores"]) == pytest.approx(1, abs=1e-5) or len(row["scores"]) == 5
    status, said = ask(f"{url}:predict", {"signature_name": "classify", "inputs": [b64(PHOTO)]})
    assert set(said["outputs"]) == {"classes", "scores"}
    assert np.shape(said["outputs"]["scores"])[0] == 1


def test_tensors_of_numbers(url, signatures):
    size = int(signatures["ab"]["inputs"]["l"]["tensor_shape"]["dim"][1]["size"])
    l = np.linspace(-1, 1, size * size).reshape(1, size, size, 1)
    status, said = ask(f"{url}:predict", {"signature_name": "ab", "instances": l.tolist()})
    assert status == 200
    ab = np.array(said["predictions"])
    assert ab.shape == (1, size, size, 2)
    assert np.abs(ab).max() <= 1
    # float32 is written as itself, with no digits of a double's behind it
    assert all(float(str(np.float32(value))) == value for value in ab.ravel()[:100])
    status, said = ask(f"{url}:predict", {"signature_name": "ab", "inputs": {"l": l.tolist()}})
    np.testing.assert_allclose(said["outputs"], ab, atol=1e-5)


@pytest.mark.parametrize("photo", [b"", b"not a picture", PHOTO[: len(PHOTO) // 2]], ids=["none", "text", "cut"])
def test_a_picture_that_is_none_is_named(url, photo):
    status, said = ask(f"{url}:predict", {"instances": [b64(PHOTO), b64(photo)]})
    assert status == 400
    assert list(said) == ["error"]
    assert "image_bytes[1]: " in said["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("instances = [1, 2]", "JSON Parse error: Invalid value"),
        ("[1]", "Is not object"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"inputs": ["a"], "instances": ["a"]}', "only one of 'inputs' or 'instances' keys to exist"),
        ('{"instances": []}', "No values in 'instances' array"),
        ('{"signature_name": 100}', "'signature_name' key must be a string value."),
        ('{"signature_name": "x", "instances": ["a"]}', 'Serving signature name: "x" not found in signature def'),
        ('{"instances": [{"b64": "?"}]}', "Unable to base64 decode"),
        ('{"instances": [1]}', "is not of expected type: string"),
        ('{"instances": [{"image": "a"}]}', "JSON object: does not have named input: image"),
        ('{"instances": [{}]}', "must only have keys: image_bytes"),
        ('{"inputs": {"image": ["a"]}}', "Missing named input: image_bytes in 'inputs' object."),
        ('{"signature_name": "jpeg", "instances": ["a"]}', "instances is a plain list, but expecting list of objects"),
        ('{"signature_name": "ab", "instances": [["x"]]}', "is not of expected type: float"),
    ],
)
def test_bad_requests(url, body, words):
    reply = pool.request("POST", f"{url}:predict", body=body)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/json"
    assert list(reply.json()) == ["error"]
    assert words in reply.json()["error"]


@pytest.mark.parametrize(
    ("method", "suffix", "status", "words"),
    [
        ("POST", "-other:predict", 404, "Servable not found for request: Latest("),
        ("POST", "/versions/99:predict", 404, "Servable not found for request: Specific("),
        ("POST", "/labels/other:predict", 400, "Unrecognized servable version label: other"),
        ("GET", "-other", 404, "Could not find any versions of model"),
        ("GET", "/versions/99", 404, "Could not find version 99 of model"),
        ("GET", "-other/metadata", 404, "Servable not found for request: Latest("),
        ("GET", ":predict", 400, "Malformed request: GET /v1/models/"),
        ("POST", "", 400, "Malformed request: POST /v1/models/"),
        ("POST", "/version/1:predict", 400, "Malformed request"),
        ("POST", "/versions/one:predict", 400, "Malformed request"),
        ("POST", f"/versions/{2**64 - 1}:predict", 400, "Failed to convert version"),
    ],
)
def test_what_is_not_there(url, method, suffix, status, words):
    body = json.dumps({"instances": [b64(PHOTO)]}) if method == "POST" else None
    reply = pool.request(method, url + suffix, body=body)
    assert reply.status == status
    assert words in reply.json()["error"]


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_classify_and_regress_are_not_for_signatures_of_predict(url, verb):
    status, said = ask(f"{url}:{verb}", {"examples": [{"image_bytes": b64(PHOTO)}]})
    assert status == 400
    assert f"tensorflow/serving/{verb}" in said["error"]
