import io
import json
import os
import pickle
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from command import Here, mistake
from google.protobuf import text_format
from made import colour
from PIL import Image
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kcolor import export, networks, signatures
from kcolor.errors import RunError
from kcolor.export import parity, saved_model, serving

SIZE = 64
CLASSES = ["forest", "sea", "street"]


@pytest.fixture(scope="module")
def generator() -> keras.Model:
    keras.utils.set_random_seed(1)
    return networks.unet_with_class_branch(len(CLASSES), SIZE, depth=4, width=4)


@pytest.fixture(scope="module")
def version(tmp_path_factory, generator) -> Path:
    path = tmp_path_factory.mktemp("exports") / "1"
    saved_model.write(generator, path, CLASSES, max_pixels=1_100_000)
    return path


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def recorded(version: Path) -> list[PredictionLog]:
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    return [PredictionLog.FromString(each.numpy()) for each in tf.data.TFRecordDataset(str(file))]


@pytest.fixture(scope="module")
def asked(tmp_path_factory, version):
    """Requests, and what a process with nothing but TensorFlow answers."""
    turned = Image.Exif()
    turned[0x0112] = 6
    photographs = [
        saved(colour(96).resize((90, 60)), "JPEG", exif=turned),
        saved(colour(96, 1).convert("L"), "PNG"),
        saved(colour(96, 2), "WEBP", lossless=True),
        saved(colour(96, 3), "BMP"),
    ]
    l = np.random.default_rng(0).uniform(-1, 1, (3, SIZE, SIZE, 1)).astype(np.float32)
    requests = {
        "serving_default": ("serving_default", {"image_bytes": photographs}),
        "jpeg": ("jpeg", {"image_bytes": photographs, "quality": [90, 50, 70, 30]}),
        "ab": ("ab", {"l": l}),
        "classify": ("classify", {"image_bytes": photographs}),
        "text": ("serving_default", {"image_bytes": [*photographs, b"text"]}),
        "cut short": ("jpeg", {"image_bytes": [photographs[0][:-200]], "quality": [90]}),
        "large": ("classify", {"image_bytes": [saved(Image.new("L", (2000, 1000)), "PNG")]}),
        "quality": ("jpeg", {"image_bytes": photographs, "quality": [90, 90, 90, 0]}),
    }
    for i, log in enumerate(recorded(version)):
        inputs = {name: tf.make_ndarray(value) for name, value in log.predict_log.request.inputs.items()}
        requests[f"warm-up {i}"] = (log.predict_log.request.model_spec.signature_name, inputs)
    folder = tmp_path_factory.mktemp("asked")
    (folder / "requests").write_bytes(pickle.dumps(list(requests.values())))
    command = [
        sys.executable,
        "-P",
        Path(__file__).parent / "session.py",
        version,
        folder / "requests",
        folder / "answers",
    ]
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    return requests, dict(zip(requests, pickle.loads((folder / "answers").read_bytes()), strict=True))


@pytest.mark.parametrize("name", ["serving_default", "jpeg"])
def test_a_server_gives_the_same_pictures(generator, asked, name):
    requests, answers = asked
    inputs = {key: tf.constant(value) for key, value in requests[name][1].items()}
    expected = signatures.of(generator)[name](**inputs)["colorized_bytes"].numpy()
    sizes = []
    for pair in zip(answers[name]["colorized_bytes"], expected, strict=True):
        made, wanted = (Image.open(io.BytesIO(data)) for data in pair)
        assert made.format == wanted.format
        assert np.abs(np.asarray(made).astype(int) - np.asarray(wanted)).max() <= 2
        sizes.append(made.size)
    assert sizes == [(60, 90), (96, 96), (96, 96), (96, 96)]


def test_a_server_gives_the_same_colours(generator, asked):
    requests, answers = asked
    np.testing.assert_allclose(answers["ab"]["ab"], generator(requests["ab"][1]["l"], training=False)["ab"], atol=1e-5)
    assert answers["ab"]["ab"].dtype == np.float32


def test_a_server_names_the_classes(asked):
    answer = asked[1]["classify"]
    assert answer["classes"].shape == answer["scores"].shape == (4, 3)
    assert {name.decode() for name in answer["classes"][0]} == set(CLASSES)
    np.testing.assert_allclose(answer["scores"].sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("text", "[image_bytes[4]: not a JPEG, PNG, WebP or BMP]"),
        ("cut short", "[image_bytes[0]: cannot be decoded: cut short or damaged]"),
        ("large", "[image_bytes[0]: 2000x1000 pixels are more than 1,100,000: make it smaller]"),
        ("quality", "[quality[3]: 0 is not in 1 to 100]"),
    ],
)
def test_a_server_says_which_one_it_refuses_and_why(asked, name, why):
    assert why in asked[1][name]


def test_every_signature_is_warmed_up_at_several_sizes(version, asked):
    answers = [answer for name, answer in asked[1].items() if name.startswith("warm-up")]
    assert all(isinstance(answer, dict) for answer in answers)
    logs = [log.predict_log.request for log in recorded(version)]
    counts = dict.fromkeys(("serving_default", "jpeg", "ab", "classify"), 0)
    for request in logs:
        counts[request.model_spec.signature_name] += 1
    assert min(counts.values()) >= 2
    sizes = {
        Image.open(io.BytesIO(data)).size
        for request in logs
        if request.model_spec.signature_name == "serving_default"
        for data in request.inputs["image_bytes"].string_val
    }
    assert len(sizes) >= 5
    assert sum(file.stat().st_size for file in (version / "assets.extra").iterdir()) < 2**20


def test_a_photograph_of_the_warm_up_is_never_too_large(generator):
    for max_pixels in (1, 5000):
        asked = saved_model.requests(signatures.of(generator, max_pixels=max_pixels), max_pixels)
        assert {name for name, _ in asked} == {"serving_default", "jpeg", "ab", "classify"}
        for name, inputs in asked:
            for data in inputs.get("image_bytes", tf.constant([], tf.string)).numpy():
                width, height = Image.open(io.BytesIO(data)).size
                assert width * height <= max_pixels, name


def refuse(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    with tf.control_dependencies([tf.debugging.Assert(tf.size(image_bytes) == 0, ["no answer"])]):
        return {"classes": tf.identity(image_bytes)}


def no_picture(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"colorized_bytes": tf.strings.substr(image_bytes, 0, 2)}


def refusal(path: Path) -> str:
    """What the proof of an export says of it, in this process."""
    loader = runpy.run_path(str(Path(export.__file__).parent / "loaders" / "saved_model.py"))
    try:
        with pytest.raises(SystemExit) as left:
            loader["check"](str(path), loader["load"](str(path)))
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    return str(left.value)


@pytest.fixture
def broken(tmp_path, generator):
    """A SavedModel with `ab`, which works, and another signature; and with what the warm-up asks of them."""

    def write(name: str, function, asked=("ab", None)) -> Path:
        path = tmp_path / "broken" / "1"
        served = signatures.of(generator)
        served = {"ab": served["ab"], name: tf.function(function, [tf.TensorSpec((None,), tf.string, "image_bytes")])}
        saved_model.write_functions(generator, path, served)
        inputs = {
            "ab": {"l": tf.zeros((1, SIZE, SIZE, 1))},
            name: {"image_bytes": tf.constant([saved(colour(8), "JPEG")])},
        }
        saved_model.write_warm_up(path, [(each or name, inputs[each or name]) for each in asked])
        return path

    return write


def test_a_signature_that_gives_no_answer_is_no_export(broken, generator):
    path, rgb = broken("classify", refuse), np.asarray(colour(SIZE))[np.newaxis]
    with pytest.raises(RunError, match=r"1: running it failed: classify: .*no answer"):
        parity.measure(saved_model.target(generator, path.parent), path, parity.truth(generator, rgb))


def test_a_picture_that_is_none_is_no_export(broken):
    assert refusal(broken("serving_default", no_picture)).startswith("serving_default: ")


def test_a_warm_up_that_leaves_out_a_signature_is_no_export(broken):
    said = refusal(broken("classify", refuse, asked=("ab",)))
    assert said == "the requests of the warm-up are of ['ab'], and the signatures are ['ab', 'classify']"


def test_a_warm_up_that_cannot_be_read_is_no_export(broken):
    path = broken("classify", refuse)
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes()[:-5])
    assert refusal(path).startswith("the requests of the warm-up: ")


def test_names_and_types_are_such_that_rest_and_grpc_just_work(version):
    found = tf.saved_model.load(str(version)).signatures
    for name, signature in found.items():
        inputs = signature.structured_input_signature[1]
        for key, spec in [*inputs.items(), *signature.structured_outputs.items()]:
            assert spec.shape.rank >= 1, (name, key)
            assert spec.shape[0] is None, (name, key)  # what is batched together goes along the first dimension
            assert spec.dtype in (tf.string, tf.float32, tf.int32), (name, key)
    # What ends in _bytes is base64 in REST, and other strings are text.
    assert set(found["serving_default"].structured_outputs) == {"colorized_bytes"}
    assert {key for key, spec in found["classify"].structured_outputs.items() if spec.dtype == tf.string} == {"classes"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "serving"
    serving.write(path, "street", size=SIZE, classes=3, max_pixels=1_100_000)
    return path


def test_the_configuration_is_what_the_server_reads(deployment):
    models = text_format.Parse((deployment / "models.config").read_text(), ModelServerConfig())
    (model,) = models.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("street", "/models/street", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1


def test_the_containers_find_what_is_there(deployment):
    services = yaml.safe_load((deployment / "compose.yaml").read_text())["services"]
    for service in services.values():
        name, _, tag = service["image"].partition(":")
        assert tag[0].isdigit(), f"{name} is not pinned"
        for volume in service["volumes"]:
            assert (deployment / volume.split(":")[0]).exists(), volume
    options = [each.partition("=")[2] for each in services["serving"]["command"] if "config" in each]
    assert all((deployment / Path(option).name).exists() for option in options)
    assert "ports" not in services["serving"]
    assert all(port.startswith("127.0.0.1:") for port in services["proxy"]["ports"])


def test_what_was_configured_by_hand_stays(deployment):
    (deployment / "models.config").write_text("mine")
    serving.write(deployment, "street", size=128, classes=0, max_pixels=1_100_000)
    assert (deployment / "models.config").read_text() == "mine"
    assert "(n, 128, 128, 1)" in (deployment / "README.md").read_text()
    assert "classify" not in (deployment / "README.md").read_text()


@pytest.fixture
def here(capsys, monkeypatch) -> Here:
    return Here(capsys, monkeypatch)


def test_a_version_is_there_whole_or_not_at_all_and_numbers_count_up(tmp_path, tiny_model, here):
    """Killed while it is being written; then written; then another one, beside it."""
    arguments = ["export", str(tiny_model), "--saved-model", "--name", "tiny"]
    model = tmp_path / "exports" / "tiny"
    command = [sys.executable, "-m", "kcolor", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(model.glob(".export-*/1/saved_model.pb")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (model / "1").exists()
    assert not (model / "manifest.json").exists()
    for version in ("1", "2"):
        here(*arguments, cwd=tmp_path)
        assert (model / version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    entries = json.loads((model / "manifest.json").read_text())["artifacts"]
    assert [entry["path"] for entry in entries] == ["1", "2"]
    assert entries[0]["parity"]["largest_ab"] < 0.0128
    assert (model / "serving" / "compose.yaml").is_file()


def test_a_name_that_no_server_could_use(tmp_path, tiny_model, here):
    _, error = here("export", tiny_model, "--saved-model", "--name", "my model", cwd=tmp_path, status=2)
    assert (
        mistake(error) == "kcolor: my model: no name for a model on a server: letters, digits, - . and _ only (--name)"
    )
    assert not (tmp_path / "exports").exists()
