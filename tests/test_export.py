"""What is exported, loaded and run by processes that have no kcolor."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from command import Here, mistake
from made import colour, fill

from kcolor import build, color, export, files, networks, recipe
from kcolor.colorizer import load_generator
from kcolor.errors import RunError
from kcolor.export import half, parity, photographs, serving, tflite
from kcolor.export.artifact import Target

TFLITE = [f"tiny.{precision}{kind}.tflite" for kind in ("", ".rgb") for precision in tflite.PRECISIONS]


@pytest.fixture(scope="module")
def real(finished):
    return photographs.find(finished.path)


@pytest.fixture(scope="module")
def generator(finished):
    return load_generator(finished.path)


def in_a_fresh_process(code: str, *arguments) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", code, *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def entries(folder) -> dict[str, dict]:
    return {entry["path"]: entry for entry in json.loads((folder / "manifest.json").read_text())["artifacts"]}


def test_the_manifest_tells_of_each_artifact(exported, finished):
    found = entries(exported)
    assert list(found) == ["1", "tiny.keras", *TFLITE]
    assert len({entry["weights_sha256"] for entry in found.values()}) == 1
    for name, entry in found.items():
        path, measured = exported / name, entry["parity"]
        assert entry["photographs"].startswith(f"the run's own, of {finished.manifest}; ")
        assert entry["source"] == "a test"
        assert entry["size"] == 64
        assert measured.keys() == found["1"]["parity"].keys()
        assert measured["photographs"] == 16
        for field, limit in entry["limits"].items():
            assert 0 <= measured[field] < limit
        assert 0 <= measured["mean_ab"] <= measured["largest_ab"]
        assert measured["latency_ms"] > 0 and measured["first_request_ms"] > 0
        precise = name.replace(entry["precision"], "float32")
        expected = precise if entry["format"] == "tflite" and entry["precision"] != "float32" else ""
        assert measured["reference"] == expected
        assert (measured["latency_ratio"] == 1.0) or expected
        if path.is_file():
            assert entry["bytes"] == path.stat().st_size
            assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    largest = [found[name]["parity"]["largest_ab"] for name in TFLITE[:3]]
    assert largest == sorted(largest)
    assert found[TFLITE[1]]["bytes"] < 0.7 * found[TFLITE[0]]["bytes"]
    assert {path.name for path in exported.iterdir()} == {
        *found,
        *("manifest.json", "serving"),
        *(name.replace(".tflite", ".json") for name in TFLITE),
    }


def test_weights_are_stored_once(exported, generator):
    (data,) = (exported / "1" / "variables").glob("variables.data-*")
    assert data.stat().st_size == pytest.approx(4 * generator.count_params(), rel=0.1)


def test_tflite_is_static_of_builtin_operations_and_described(exported):
    """What runs is what the JSON beside it says."""
    code = """
import json, sys
from pathlib import Path
import numpy as np
from ai_edge_litert.interpreter import Interpreter
for name in sys.argv[2:]:
    path = Path(sys.argv[1], name)
    about = json.loads(path.with_suffix(".json").read_text())
    interpreter = Interpreter(str(path))
    assert list(interpreter.get_signature_list()) == [about["signature"]], name
    run = interpreter.get_signature_runner(about["signature"])
    for told, details in ((about["inputs"], run.get_input_details()), (about["outputs"], run.get_output_details())):
        assert told.keys() == details.keys(), (name, told, details)
        for tensor, said in told.items():
            assert said["shape"] == details[tensor]["shape_signature"].tolist(), (name, tensor)
            assert np.dtype(said["dtype"]) == details[tensor]["dtype"], (name, tensor)
    operations = {operation["op_name"] for operation in interpreter._get_ops_details()}
    assert not any(each.startswith("Flex") or each in ("CUSTOM", "TRANSPOSE_CONV") for each in operations), operations
assert "tensorflow" not in sys.modules
"""
    in_a_fresh_process(code, exported, *TFLITE)
    about = json.loads((exported / "tiny.int8.json").read_text())
    assert about["outputs"].keys() == {"ab", "logits"}
    assert about["sha256"] == hashlib.sha256((exported / "tiny.int8.tflite").read_bytes()).hexdigest()
    assert about["weights_sha256"] == entries(exported)["tiny.int8.tflite"]["weights_sha256"]
    assert (about["scaling"]["l_scale"], about["scaling"]["ab_scale"]) == (50, 128)
    assert (about["labels"], about["licence"], about["recipe"]["name"]) == (["forest", "sea"], "MIT", "wgan")


@pytest.mark.parametrize("precision", tflite.PRECISIONS)
def test_a_photo_comes_back_with_its_own_lightness(exported, precision):
    """Lab is computed in float32 in each of them, also where the network is not."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(exported / f"tiny.{precision}.rgb.tflite")).get_signature_runner("rgb")
    photo = np.asarray(colour(64, 5))
    made = run(rgb=photo[np.newaxis])["rgb"][0]
    assert made.dtype == np.uint8
    assert np.abs(color.rgb_to_lab(made)[..., 0] - color.rgb_to_lab(photo)[..., 0]).max() < 0.6


def test_eight_bits_are_per_channel(exported):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exported / "tiny.int8.tflite"), experimental_preserve_all_tensors=True)
    scales = [len(tensor["quantization_parameters"]["scales"]) for tensor in interpreter.get_tensor_details()]
    assert max(scales) > 8


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
    entry = entries(exported)[path.name]
    assert 0 < entry["parity"]["largest_ab"] <= entry["limits"]["largest_ab"] == 1.28


def test_the_small_recipe_s_generator_in_half_precision_is_under_15_mb(tmp_path):
    small = build.generator(recipe.load(recipe.find("small")), 6)
    path = tmp_path / "small.keras"
    half.write(small, path)
    assert path.stat().st_size < min(15e6, 2.02 * small.count_params())


def test_weights_beyond_half_precision_are_refused(generator, real, tmp_path):
    kernel = generator.get_layer("output_conv").kernel
    kept = kernel.numpy()
    kernel.assign(np.full(kernel.shape, 7e4, np.float32))
    try:
        with pytest.raises(RunError, match=r"tiny.keras: a weight is beyond what 16 bits can hold \(70000\)"):
            export.export(generator, tmp_path / "tiny", [half.target(generator, "tiny")], real, source="a test")
    finally:
        kernel.assign(kept)
    assert list((tmp_path / "tiny").iterdir()) == []


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of all exports."""
    return shutil.copytree(exported, tmp_path / "tiny")


@pytest.fixture
def again(generator, real, exported) -> Target:
    """A file that is as it was: what is converted, and takes its time, has been."""
    (target, *_) = tflite.targets(generator, "tiny", photographs=real, precisions=["float32"])
    return replace(target, write=lambda path: shutil.copy(exported / target.path, path))


def test_what_differs_is_refused_and_the_rest_is_written(generator, real, folder, again):
    """Neither silently, nor half; what was there under its name stays."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    bad = replace(again, path="other.tflite", limits={"mean_ab": 1e-12})
    with pytest.raises(RunError, match=r"other.tflite: differs from Keras by .*, not by less than 1e-12; not") as told:
        export.export(generator, folder, [bad, again], real, source="another")
    assert "\n" not in str(told.value)
    assert "other.tflite" not in entries(folder)
    assert entries(folder)[again.path]["source"] == "another"
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after.keys() == before.keys()
    # Without what is known of it: the targets here were given no card.
    assert {name for name in after if after[name] != before[name]} == {"tiny.float32.json", "manifest.json"}


def test_parity_sees_a_difference(exported, generator, real):
    """Of another model's artifact: the comparison can fail, and by as much as the model is another."""
    (target, *_) = tflite.targets(generator, "tiny", photographs=real, precisions=["float32"])
    output = generator.get_layer("output_conv")
    kept = output.bias.numpy()
    rgb = real.to_compare(64)
    right = parity.truth(generator, rgb)
    output.bias.assign(kept + 0.01)
    try:
        wrong = parity.truth(generator, rgb)
    finally:
        output.bias.assign(kept)
    found = parity.measure(target, exported / target.path, wrong)
    assert found.largest_ab == pytest.approx(1.28, rel=0.05)
    assert found.mean_ab == pytest.approx(128 * np.abs(wrong.ab - right.ab).mean(), rel=1e-3)
    assert found.delta_e > 0.1
    assert parity.measure(target, exported / target.path, right).largest_ab < 0.0128


def test_what_is_no_artifact(generator, real, tmp_path):
    (target, *_) = tflite.targets(generator, "tiny", photographs=real, precisions=["float32"])
    (tmp_path / "a.tflite").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"a.tflite: running it failed: ") as told:
        parity.measure(target, tmp_path / "a.tflite", parity.truth(generator, real.to_compare(64)))
    assert "\n" not in str(told.value)


def test_other_weights_replace_all_but_versions(generator, real, folder, again):
    version = replace(again, path="7.tflite", describe=None, versioned=True)
    export.export(generator, folder, [version], real, source="a test")
    assert len(entries(folder)) == 11
    output = generator.get_layer("output_conv")
    kept = output.bias.numpy()
    output.bias.assign(kept + 0.01)
    try:
        others = replace(again, limits={})
        export.export(generator, folder, [others], real, source="another")
        with pytest.raises(RunError, match=r"7.tflite: is there already, and a version is never overwritten"):
            export.export(generator, folder, [version], real, source="another")
    finally:
        output.bias.assign(kept)
    names = ["1", "7.tflite", "manifest.json", "serving", "tiny.float32.json", "tiny.float32.tflite"]
    assert sorted(path.name for path in folder.iterdir()) == names
    found = entries(folder)
    assert {path: entry["source"] for path, entry in found.items()} == {
        "1": "a test",
        "7.tflite": "a test",
        "tiny.float32.tflite": "another",
    }
    assert found["7.tflite"]["weights_sha256"] != found["tiny.float32.tflite"]["weights_sha256"]


def test_exporting_again_keeps_the_others(folder, generator, real, again):
    before = entries(folder)
    # What has been removed or changed by hand is no artifact any more.
    (folder / "tiny.int8.tflite").unlink()
    (folder / "tiny.dynamic.tflite").write_bytes(b"mine")
    (folder / "1" / "mine").touch()
    export.export(generator, folder, [again], real, source="another")
    assert entries(folder).keys() == before.keys() - {"1", "tiny.int8.tflite", "tiny.dynamic.tflite"}
    assert (folder / "tiny.dynamic.tflite").read_bytes() == b"mine"
    assert (folder / "1").is_dir()


# --- where things go: with an artifact that takes no time to make, and none to compare


@pytest.fixture
def quick(generator, monkeypatch):
    """Targets by name, each a file with its name in it."""
    monkeypatch.setattr(parity, "truth", lambda *_: None)
    monkeypatch.setattr(parity, "measure", lambda *_: parity.Parity(1, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, ""))

    def target(path: str, **options) -> Target:
        return Target(path, "keras", "float32", "ab", generator, "", {}, lambda at: at.write_text(path), **options)

    return target


def test_a_manifest_removes_nothing_outside_its_folder(generator, real, tmp_path, quick):
    folder, precious = tmp_path / "tiny", tmp_path / "precious"
    (folder / "within").mkdir(parents=True)
    precious.write_text("mine")
    (folder / "within" / "deep").write_text("mine")
    (folder / "old").write_text("an old one")
    told = {"sha256": files.digest(precious), "weights_sha256": "of others"}
    old = told | {"sha256": files.digest(folder / "old")}
    damaged = [
        *({**told, "path": path} for path in ("../precious", str(precious), "within/deep", "..", ".", "", 7)),
        {**old, "path": "old", "metadata": "../precious"},
        *(told, "text", None),
    ]
    (folder / "manifest.json").write_text(json.dumps({"artifacts": damaged}))
    export.export(generator, folder, [quick("new")], real, source="a test")
    assert precious.read_text() == (folder / "within" / "deep").read_text() == "mine"
    assert (folder / "old").exists()
    assert list(entries(folder)) == ["new"]
    (folder / "manifest.json").write_text(json.dumps({"artifacts": [{**old, "path": "old"}]}))
    export.export(generator, folder, [quick("new")], real, source="a test")
    assert not (folder / "old").exists()


def test_a_version_that_cannot_be_deployed_is_not_there(generator, real, tmp_path, quick):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "serving").touch()
    deploy = partial(serving.write, name="tiny", size=64, classes=0, max_pixels=100)
    version = quick("1", versioned=True, settle=lambda placed: deploy(placed / "serving"))
    with pytest.raises(RunError, match=r"tiny/serving: cannot be written: File exists; "):
        export.export(generator, folder, [version], real, source="a test")
    assert [path.name for path in folder.iterdir()] == ["serving"]


def test_a_version_is_on_the_disk_before_it_has_its_name(generator, real, tmp_path, quick, monkeypatch):
    synced, fsync = set(), os.fsync

    def note(descriptor):
        if not (tmp_path / "1").exists():
            synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def write(path):
        (path / "variables").mkdir(parents=True)
        (path / "variables" / "data").write_text("numbers")

    monkeypatch.setattr(os, "fsync", note)
    export.export(generator, tmp_path, [replace(quick("1", versioned=True), write=write)], real, source="a test")
    version = tmp_path / "1"
    assert synced == {path.stat().st_ino for path in (version, version / "variables", version / "variables" / "data")}


def test_the_manifest_tells_of_what_is_in_its_place(generator, real, tmp_path, quick):
    """When the second of two cannot be put there; former ones are then still to be had."""
    folder = tmp_path / "tiny"
    export.export(generator, folder, [quick("former")], real, source="a test")
    told = json.loads((folder / "manifest.json").read_text())
    told["artifacts"][0]["weights_sha256"] = "of others"
    (folder / "manifest.json").write_text(json.dumps(told))

    def stop(placed):
        raise PermissionError(errno.EACCES, "Permission denied")

    first, second = quick("first", describe=lambda artifact: {}), quick("second")
    with pytest.raises(RunError, match=r"tiny: cannot be written: Permission denied; change its permissions"):
        export.export(generator, folder, [first, replace(second, settle=stop)], real, source="a test")
    assert list(entries(folder)) == ["former", "first"]
    assert {path.name for path in folder.iterdir()} == {"former", "manifest.json", "first", "first.json"}
    export.export(generator, folder, [first, second], real, source="a test")
    assert list(entries(folder)) == ["first", "second"]
    assert not (folder / "former").exists()


def test_what_is_told_to_nobody_is_written_all_the_same(generator, real, tmp_path, quick):
    def tell(artifact):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        export.export(generator, tmp_path, [quick("a"), quick("b")], real, source="a test", on_done=tell)
    assert list(entries(tmp_path)) == ["a", "b"]


def test_names(finished, tmp_path):
    assert export.default_name(finished.path) == "tiny"
    assert export.default_name(finished.generator) == "tiny"
    assert export.default_name(finished.best) == "tiny-best"
    (tmp_path / "v1.0").mkdir()
    assert export.default_name(tmp_path / "v1.0") == "v1.0"
    assert export.default_name(tmp_path / "model.keras") == "model"


# --- photographs


def test_photographs_are_the_run_s_own_or_named_or_scikit_image_s(finished, photos, tmp_path):
    told = []
    own = photographs.find(finished.generator, on_fallback=told.append)
    assert "the run's own" in own.origin
    assert own.root == photos
    ours = photographs.find(tmp_path / "alone.keras", on_fallback=told.append)
    assert "scikit-image" in ours.origin
    assert {photo.path for photo in ours.compared} >= {"astronaut.png", "coffee.png"}
    assert told == []
    fill(tmp_path / "mine", ["a.png", "b.png"])
    mine = photographs.find(finished.path, tmp_path / "mine")
    assert [photo.path for photo in mine.compared] == ["a.png", "b.png"]
    assert str(tmp_path / "mine") in mine.origin


def test_photographs_of_a_run_that_have_gone(finished, tmp_path):
    """Told in a line, and others serve."""
    from kcolor.data.manifest import Manifest

    (tmp_path / "run").mkdir()
    for file in (finished.info, finished.generator):
        shutil.copy(file, tmp_path / "run")
    Manifest.load(finished.manifest, root=tmp_path / "gone").save(tmp_path / "run" / "manifest.csv")
    told = []
    assert "scikit-image" in photographs.find(tmp_path / "run", on_fallback=told.append).origin
    (line,) = told
    assert "none of the photos can be used" in line
    assert "\n" not in line


def test_few_photographs_calibrate_by_windows(real):
    compared, representative = real.to_compare(32), real.to_calibrate(32)
    assert compared.shape == (16, 32, 32, 3)
    assert representative.shape == (112, 32, 32, 3)  # sixteen photographs, and six windows of each
    assert len(np.unique(representative.reshape(112, -1), axis=0)) == 112
    np.testing.assert_array_equal(representative, real.to_calibrate(32))


# --- other sizes


def test_other_sizes_are_files_of_their_own(generator, real, tmp_path):
    wanted = tflite.targets(generator, "tiny", photographs=real, precisions=["dynamic"], sizes=[64, 96])
    assert [target.path for target in wanted] == [
        *("tiny.dynamic.tflite", "tiny.dynamic.rgb.tflite"),
        *("tiny.96.dynamic.tflite", "tiny.96.dynamic.rgb.tflite"),
    ]
    export.export(generator, tmp_path / "tiny", wanted[2:3], real, source="a test")
    (entry,) = entries(tmp_path / "tiny").values()
    assert entry["size"] == 96
    about = json.loads((tmp_path / "tiny" / entry["metadata"]).read_text())
    assert about["inputs"]["l"]["shape"] == [1, 96, 96, 1]
    assert about["outputs"]["ab"]["shape"] == [1, 96, 96, 2]


def test_sizes_that_are_not_possible(generator, real):
    with pytest.raises(RunError, match=r"--size 100: not possible: size 100 is not a multiple of 2\*\*depth = 16"):
        tflite.targets(generator, "tiny", photographs=real, sizes=[64, 100])


def test_the_command_tells_what_is_refused(finished, tmp_path, here):
    words = ("--tflite", "--precision", "dynamic", "--max-delta-e", "1e-6", "-o", "made")
    _, error = here("export", finished.path, *words, cwd=tmp_path, status=2)
    assert "tiny.dynamic.tflite: differs from Keras by a mean Delta E" in mistake(error)
    assert "--max-delta-e lets it pass" in error
    assert list((tmp_path / "made" / "tiny").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tflite", "--precision", "int4"), "'int4' is not one of"),
        (("--tflite", "--size", "big"), "'big' is not a valid integer"),
        (("--tflite", "--size", "100"), "--size 100: not possible: size 100 is not a multiple of 2**depth = 16"),
        (("--tflite", "--data", "nowhere"), "nowhere is not a folder"),
        (("--half", "--precision", "int8"), "--precision: only with --tflite"),
        (("--half", "--licence", "MIT"), "--licence: only with --tflite or --web"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes(finished, tmp_path, here, words, said):
    _, error = here("export", finished.path, *words, cwd=tmp_path, status=2)
    assert said in mistake(error)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def here(capsys, monkeypatch):
    return Here(capsys, monkeypatch)


def test_int8_of_another_size_is_calibrated_on_typical_photographs_too():
    """Of a class branch, whose first layers are called twice then: at the network's size and at the photograph's."""
    generator = networks.resized(networks.unet_with_class_branch(3, 64, depth=4, width=4), 96)
    rgb = np.full((6, 96, 96, 3), 128, np.uint8)
    rgb += np.random.default_rng(0).integers(0, 20, rgb.shape, np.uint8)
    rgb[[1, 4]] = np.random.default_rng(1).choice([0, 255], (2, 96, 96, 3))
    typical = tflite._typical(generator, rgb)
    assert len(typical) == 3
    assert all(any(np.array_equal(one, rgb[i]) for i in (0, 2, 3, 5)) for one in typical)
