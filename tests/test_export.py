"""What is exported, loaded and run by processes that have no kcolor."""

import hashlib
import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from made import colour
from PIL import Image

from kcolor import build, export, recipe
from kcolor.colorizer import load_generator, of
from kcolor.errors import RunError
from kcolor.export import parity

ALL = list(export.FORMATS)
KERAS_HALF = "keras float16"


@pytest.fixture(scope="module")
def generator(finished):
    return load_generator(finished.path)


def in_a_fresh_process(code: str, *arguments) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", code, *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_the_manifest_tells_of_each_artifact(exported, generator):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["input_size"] == 64
    assert [entry["format"] for entry in manifest["artifacts"]] == ALL
    for entry in manifest["artifacts"]:
        path = exported / entry["path"]
        assert 0 <= entry["largest_difference"] < entry["limit"]
        if path.is_file():
            assert entry["bytes"] == path.stat().st_size
            assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    by_format = {entry["format"]: entry for entry in manifest["artifacts"]}
    assert by_format["tflite float16"]["bytes"] < 0.6 * by_format["tflite float32"]["bytes"]
    assert by_format["tflite float16"]["largest_difference"] > by_format["tflite float32"]["largest_difference"]


def test_serving_default_takes_photos_and_gives_photos(exported, generator, tmp_path):
    """By tensor names in a session, as TensorFlow Serving does it."""
    photos = {"a.png": colour(50), "b.jpg": colour(120, 1), "c.webp": colour(33, 2).resize((40, 20))}
    for name, picture in photos.items():
        picture.save(tmp_path / name)
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes())
    code = """
import sys, numpy as np, tensorflow as tf
from pathlib import Path
model, folder = sys.argv[1:]
names = ["a.png", "b.jpg", "c.webp"]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], model)
    signature = meta.signature_def["serving_default"]
    (given,), (made,) = signature.inputs.values(), signature.outputs.values()
    assert list(signature.inputs) == ["image_bytes"] and list(signature.outputs) == ["colorized_bytes"]
    run = lambda batch: session.run(made.name, {given.name: batch})
    for name, data in zip(names, run([Path(folder, name).read_bytes() for name in names])):
        Path(folder, name + ".made").write_bytes(data)
    assert len(run([])) == 0
    try:
        run([b"not a picture"])
    except tf.errors.InvalidArgumentError:
        pass
    else:
        sys.exit("took what is no picture")
sys.exit("kcolor" in sys.modules)
"""
    in_a_fresh_process(code, exported / "saved_model", tmp_path)
    for name in photos:
        made = Image.open(io.BytesIO((tmp_path / f"{name}.made").read_bytes()))
        assert made.format == "PNG"
        with Image.open(tmp_path / name) as picture:
            expected = of(generator)(picture.convert("RGB"))
        assert np.abs(np.asarray(made).astype(int) - np.asarray(expected).astype(int)).max() <= 1, name


def test_weights_are_stored_once(exported, generator):
    (data,) = (exported / "saved_model" / "variables").glob("variables.data-*")
    assert data.stat().st_size == pytest.approx(4 * generator.count_params(), rel=0.1)


def test_ab_takes_any_batch(exported, tmp_path):
    code = """
import sys, tensorflow as tf
ab = tf.saved_model.load(sys.argv[1]).signatures["ab"]
for n in (1, 3):
    out = ab(l=tf.zeros((n, 64, 64, 1)))["ab"]
    assert out.shape == (n, 64, 64, 2) and out.dtype == tf.float32, out
"""
    in_a_fresh_process(code, exported / "saved_model")


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_tflite_is_static_and_of_builtin_operations(exported, precision):
    code = """
import sys, numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1])
assert list(interpreter.get_signature_list()) == ["serving_default"]
(given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
assert list(given["shape_signature"]) == [1, 64, 64, 1] and given["dtype"] == np.float32, given
assert list(made["shape_signature"]) == [1, 64, 64, 2] and made["dtype"] == np.float32, made
names = {operation["op_name"] for operation in interpreter._get_ops_details()}
assert not any(name.startswith("Flex") or name == "CUSTOM" for name in names), names
assert "tensorflow" not in sys.modules
"""
    in_a_fresh_process(code, exported / f"tiny.{precision}.tflite")


def test_half_precision_is_a_keras_file(exported, generator):
    """Plain Keras reads it, as a float32 model whose kernels are rounded to float16 and whose vectors are not."""
    path = exported / "tiny.keras"
    made = keras.models.load_model(path, compile=False)
    for ours, theirs in zip(made.weights, generator.weights, strict=True):
        assert ours.dtype == theirs.dtype
        mine, yours = ours.numpy(), theirs.numpy()
        np.testing.assert_array_equal(mine, yours.astype(np.float16) if mine.ndim > 1 else yours)
    l = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
    difference = np.abs(made(l)["ab"].numpy() - generator(l)["ab"].numpy()).max()
    assert 0 < difference <= 1e-2
    entry = next(e for e in json.loads((exported / "manifest.json").read_text())["artifacts"] if e["path"] == path.name)
    assert 0 < entry["largest_difference"] <= entry["limit"] == 1e-2


def test_the_small_recipe_s_generator_in_half_precision_is_under_15_mb(tmp_path, monkeypatch):
    monkeypatch.setattr(export.half.parity, "difference", lambda *arguments: 0.0)  # that is for the others
    small = build.generator(recipe.load(recipe.find("small")), 6)
    path = tmp_path / "small.keras"
    export.half.export(small, path)
    assert path.stat().st_size < min(15e6, 2.02 * small.count_params())


def test_weights_beyond_half_precision_are_refused(generator, tmp_path):
    kernel = generator.get_layer("output_conv").kernel
    kept = kernel.numpy()
    kernel.assign(np.full(kernel.shape, 7e4, np.float32))
    try:
        with pytest.raises(RunError, match=r"tiny.keras: a weight is beyond what 16 bits can hold \(70000\)"):
            export.export(generator, tmp_path / "tiny", [KERAS_HALF], source="a test")
    finally:
        kernel.assign(kept)
    assert list((tmp_path / "tiny").iterdir()) == []


def test_an_artifact_that_differs_is_refused(generator, tmp_path, monkeypatch):
    name, _, write = export.FORMATS["tflite float16"]
    monkeypatch.setitem(export.FORMATS, "tflite float16", (name, 1e-9, write))
    export.export(generator, tmp_path / "tiny", ["tflite float32"], source="a test")
    before = {path: path.read_bytes() for path in (tmp_path / "tiny").iterdir()}
    with pytest.raises(RunError, match="differs from Keras"):
        export.export(generator, tmp_path / "tiny", ["tflite float32", "tflite float16"], source="another")
    assert {path: path.read_bytes() for path in (tmp_path / "tiny").iterdir()} == before


def test_parity_sees_a_difference(exported, generator):
    """Of another model's artifact: the comparison can fail."""
    output = generator.get_layer("output_conv")
    kept = output.bias.numpy()
    output.bias.assign(kept + 0.01)
    try:
        different = parity.difference(generator, exported / "tiny.float32.tflite", "tflite.py")
    finally:
        output.bias.assign(kept)
    assert different == pytest.approx(0.01, rel=0.05)


def test_what_is_no_artifact(generator, tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"a.tflite: tflite failed"):
        parity.difference(generator, tmp_path / "a.tflite", "tflite.py")


def test_other_weights_replace_all(generator, tmp_path):
    folder = tmp_path / "tiny"
    export.export(generator, folder, ["tflite float32", "tflite float16"], source="a test")
    output = generator.get_layer("output_conv")
    kept = output.bias.numpy()
    output.bias.assign(kept + 0.01)
    try:
        export.export(generator, folder, ["tflite float16"], source="another")
    finally:
        output.bias.assign(kept)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "tiny.float16.tflite"]
    assert json.loads((folder / "manifest.json").read_text())["source"] == "another"


def test_names(finished, tmp_path):
    assert export.default_name(finished.path) == "tiny"
    assert export.default_name(finished.generator) == "tiny"
    assert export.default_name(finished.best) == "tiny-best"
    (tmp_path / "v1.0").mkdir()
    assert export.default_name(tmp_path / "v1.0") == "v1.0"
    assert export.default_name(tmp_path / "model.keras") == "model"


def test_exporting_again_keeps_the_others(exported, generator):
    before = json.loads((exported / "manifest.json").read_text())
    export.export(generator, exported, ["tflite float32"], source="a test")
    after = json.loads((exported / "manifest.json").read_text())
    assert [entry["path"] for entry in after["artifacts"]] == [entry["path"] for entry in before["artifacts"]]
    assert sorted(path.name for path in exported.iterdir()) == sorted(
        ["manifest.json", *(entry["path"] for entry in after["artifacts"])]
    )
