from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file
from standins import CONVOLUTIONS, KERNEL, MOMENTS, keras_vgg16, pack, stand_in, vgg16_tensors

from kcolor import trunks
from kcolor.chromagan import chromagan
from kcolor.errors import DataError

tf1 = tf.compat.v1


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("inception") / "inception.tgz", stand_in().SerializeToString())


@pytest.fixture(scope="module")
def features(archive):
    return trunks.inception(archive)


def pictures(count, height=40, width=64) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), np.uint8)


def by_hand(picture: np.ndarray) -> np.ndarray:
    """The features of a picture (height, width, 3) in 0..255, in NumPy and float64."""
    x = picture.astype("float64")
    for axis in (0, 1):
        # The corner of a pixel is kept where it is, and not its centre.
        place = np.arange(299) * (picture.shape[axis] / 299)
        low = place.astype(int)
        high = np.minimum(low + 1, picture.shape[axis] - 1)
        share = np.expand_dims(place - low, tuple(i for i in range(3) if i != axis))
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    x = (x - 128) / 128
    x = (x - MOMENTS["mean"]) / np.sqrt(MOMENTS["variance"] + 0.001) * MOMENTS["gamma"] + MOMENTS["beta"]
    x = np.maximum(x, 0)[20::37, 20::37]
    assert x.shape == (8, 8, 3)
    return np.maximum(x @ KERNEL, 0).mean(axis=(0, 1))


def test_the_stand_in_is_of_one_picture_as_the_real_graph_is():
    shapes = {node.name: node.attr["_output_shapes"].list.shape[0] for node in stand_in().node}
    assert [dim.size for dim in shapes["pool_3"].dim] == [1, 1, 1, 2048]
    assert "BatchNormWithGlobalNormalization" in {node.op for node in stand_in().node}


@pytest.mark.parametrize("scaled", [True, False])
def test_features_are_those_of_a_session_of_old(tmp_path, scaled):
    graph_def = stand_in(scaled=scaled)
    given = pictures(1)
    with tf.Graph().as_default() as graph, tf1.Session(graph=graph) as session:
        fed = tf1.placeholder(tf.float32, [1, None, None, 3])
        (pool,) = tf1.import_graph_def(graph_def, {"ExpandDims:0": fed}, ["pool_3:0"])
        expected = session.run(pool, {fed: given})
    found = trunks.inception(pack(tmp_path / "a.tgz", graph_def.SerializeToString()))(given)
    np.testing.assert_allclose(found, expected.reshape(1, 2048), rtol=1e-4, atol=1e-4)


def test_features_are_those_of_the_graph(features):
    given = pictures(2)
    found = features(given)
    assert (found.shape, found.dtype) == ((2, 2048), tf.float32)
    expected = np.stack([by_hand(picture) for picture in given])
    assert np.ptp(expected) > 1.0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_picture_has_the_same_features_in_a_batch_of_any_size(features):
    given = pictures(5)
    together = features(given)
    assert together.shape == (5, 2048)
    alone = tf.concat([features(given[i : i + 1]) for i in range(5)], axis=0)
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_floating_pictures_are_in_0_to_1(features):
    given = pictures(2, 299, 299)
    for dtype in ("float32", "float64"):
        np.testing.assert_allclose(features((given / 255.0).astype(dtype)), features(given), rtol=1e-4, atol=1e-4)


def test_features_in_a_graph(features):
    compiled = tf.function(features, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    for count, height, width in ((1, 40, 64), (3, 64, 40)):
        given = pictures(count, height, width)
        np.testing.assert_allclose(compiled(given), features(given), rtol=1e-5, atol=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices(pictures(2)).batch(2).map(features)
    np.testing.assert_allclose(next(iter(dataset)), features(pictures(2)), rtol=1e-5, atol=1e-5)


def test_what_is_no_picture_is_refused(features):
    with pytest.raises(ValueError, match="int32"):
        features(pictures(1).astype("int32"))
    with pytest.raises(ValueError, match="batch, height, width, 3"):
        features(pictures(1)[..., :1])


@pytest.mark.parametrize("member", ["classify_image_graph_def.pb", "inception/classify_image_graph_def.pb"])
def test_where_the_network_lies_in_the_archive(tmp_path, member):
    path = pack(tmp_path / "a.tgz", stand_in().SerializeToString(), member)
    assert trunks.inception(path)(pictures(1)).shape == (1, 2048)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tgz"]


def changed(name, /, **attributes) -> bytes:
    graph_def = stand_in()
    (node,) = (node for node in graph_def.node if node.name == name)
    for attribute, value in attributes.items():
        setattr(node, attribute, value)
    return graph_def.SerializeToString()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: None, "no classify_image_graph_def.pb"),
        (lambda: b"no graph", "Error parsing"),
        (lambda: changed("pool_3", name="other"), "no pool_3"),
        (lambda: changed("ExpandDims", name="other"), "no ExpandDims"),
        (lambda: changed("conv/mean", name="other"), "conv/mean is missing"),
        (lambda: stand_in(channels=1000).SerializeToString(), r"\(None, 1, 1, 1000\)"),
        (lambda: changed("Mul", op="NoSuchThing"), "NoSuchThing"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path, content, why):
    path = pack(tmp_path / "a.tgz", content())
    with pytest.raises(DataError, match=why) as refused:
        trunks.inception(path)
    assert str(refused.value).startswith(f"{path}: not the Inception")
    assert "\n" not in str(refused.value)


def test_an_archive_that_is_damaged_is_refused(tmp_path, archive):
    path = tmp_path / "a.tgz"
    for content in (archive.read_bytes()[:20_000], b"<html>", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not the Inception"):
            trunks.inception(path)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        trunks.inception(path)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return vgg16_tensors()


@pytest.fixture(scope="module")
def trunk(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("vgg16") / "vgg16.safetensors"
    save_file(tensors, path)
    made = trunks.vgg16(path)
    path.unlink()
    return made


def test_every_convolution_of_vgg16_is_read(trunk, tensors):
    kernels, biases = trunk.weights[::2], trunk.weights[1::2]
    assert len(kernels) == len(biases) == 13
    for i, kernel, bias in zip(CONVOLUTIONS, kernels, biases, strict=True):
        torch = tensors[f"features.{i}.weight"]
        for y, x in ((0, 0), (0, 2), (2, 0), (1, 2)):
            np.testing.assert_array_equal(kernel[y, x], torch[:, :, y, x].T)
        np.testing.assert_array_equal(bias, tensors[f"features.{i}.bias"].astype("float32"))
    assert not trunk.trainable


def test_a_pixel_after_the_first_convolution(trunk, tensors):
    picture = np.random.default_rng(3).random((16, 16, 3), "float32")
    weight, bias = tensors["features.0.weight"], tensors["features.0.bias"]
    around = picture[3:6, 6:9].transpose(2, 0, 1)  # of (4, 7), channels first
    expected = [max(0.0, float((weight[o] * around).sum() + bias[o])) for o in range(64)]
    found = trunk.get_layer("conv1_1")(picture[None])[0, 4, 7]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert [tuple(block.shape) for block in trunk(picture[None])] == [
        (1, 16, 16, 64), (1, 8, 8, 128), (1, 4, 4, 256), (1, 2, 2, 512), (1, 1, 1, 512),
    ]  # fmt: skip


FIRST = {"features.0.weight": np.zeros((64, 3, 3, 3), "float32"), "features.0.bias": np.zeros(64, "float32")}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "no features.2.weight"),
        ({"features.0.bias": np.zeros(3, "float32")}, r"features.0.bias is \(3,\), not \(64,\)"),
        ({"features.0.weight": np.zeros((3, 3, 3, 64), "float32")}, r"\(3, 3, 3, 64\), not \(64, 3, 3, 3\)"),
        ({"features.0.weight": np.zeros((64, 3, 3, 3), "int32")}, "features.0.weight is I32"),
    ],
)
def test_other_tensors_are_refused(tmp_path, changes, why):
    path = tmp_path / "a.safetensors"
    save_file(FIRST | changes, path)
    with pytest.raises(DataError, match=why) as refused:
        trunks.vgg16(path)
    assert str(refused.value).startswith(f"{path}: not torchvision's VGG16")
    assert "\n" not in str(refused.value)


def test_safetensors_that_are_damaged_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(FIRST, path)
    whole = path.read_bytes()
    for content in (whole[:-100], whole[:50], b"<html>", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not torchvision's VGG16") as refused:
            trunks.vgg16(path)
        assert "\n" not in str(refused.value)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        trunks.vgg16(path)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    return keras_vgg16(tmp_path_factory.mktemp("keras") / "vgg16.h5", seen=64)


def test_the_teacher_is_vgg16_by_hand(classifier):
    """With nothing of the layers that it is made of; its picture is prepared as Keras says."""
    l = np.random.default_rng(4).uniform(-1, 1, (2, 64, 64, 1)).astype("float32")
    x = keras.applications.vgg16.preprocess_input(np.repeat(127.5 * (l + 1), 3, axis=-1))
    with h5py.File(classifier) as file:

        def weights(name):
            return file[name][f"{name}_W_1:0"][()], file[name][f"{name}_b_1:0"][()]

        for block, count in enumerate((2, 2, 3, 3, 3), 1):
            for i in range(count):
                kernel, bias = weights(f"block{block}_conv{i + 1}")
                x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = tf.reshape(x, (2, -1))
        for name in ("fc1", "fc2", "predictions"):
            kernel, bias = weights(name)
            x = x @ kernel + bias
            x = x if name == "predictions" else tf.nn.relu(x)
    expected = tf.nn.softmax(x)
    found = trunks.vgg16_teacher(classifier, 64)(l)
    assert found.shape == (2, 1000)
    assert found.numpy().std() > 1e-4  # and not the same of all classes
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)


def test_the_teacher_is_shown_pictures_at_its_own_size(classifier):
    l = tf.image.resize(np.random.default_rng(4).uniform(-1, 1, (2, 9, 9, 1)), (96, 96), "bicubic")
    expected = trunks.vgg16_teacher(classifier, 64)(tf.image.resize(l, (64, 64), antialias=True))
    np.testing.assert_allclose(trunks.vgg16_teacher(classifier, 96)(l), expected, rtol=1e-3, atol=1e-7)
    half = trunks.vgg16_teacher(classifier, 96, "mixed_bfloat16")(l)
    assert half.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(half, axis=-1), 1.0, rtol=1e-4)


def test_weights_go_to_the_layers_of_their_names(tmp_path):
    path = keras_vgg16(tmp_path / "a.h5", width=4)
    network = chromagan(3, 32, width=4)
    before = network.get_layer("global_0_conv").get_weights()
    trunks.give_weights(network, trunks.vgg16_layers(path), path)
    with h5py.File(path) as file:
        for name in ("block1_conv1", "block4_conv3"):
            np.testing.assert_array_equal(network.get_layer(name).kernel, file[name][f"{name}_W_1:0"])
            np.testing.assert_array_equal(network.get_layer(name).bias, file[name][f"{name}_b_1:0"])
    np.testing.assert_array_equal(network.get_layer("global_0_conv").get_weights()[0], before[0])
    with pytest.raises(DataError, match=r"a\.h5: not Keras' VGG-16, or damaged: block1_conv1 has weights of"):
        trunks.give_weights(chromagan(3, 32, width=8), trunks.vgg16_layers(path), path)


def test_files_of_another_classifier_are_refused(tmp_path):
    path = keras_vgg16(tmp_path / "a.h5")
    whole = path.read_bytes()

    def refusal() -> str:
        with pytest.raises(DataError, match="not Keras' VGG-16, or damaged: ") as refused:
            trunks.vgg16_teacher(path, 32)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    for content in (whole[:-5000], b"<html>", b""):
        path.write_bytes(content)
        refusal()
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file["fc2"]
    assert "no kernel and bias of fc2" in refusal()
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        for name in ("predictions_W_1:0", "predictions_b_1:0"):
            values = file["predictions"][name][..., :10]
            del file["predictions"][name]
            file["predictions"][name] = values
    assert "10 classes apart, not 1000" in refusal()
    path.unlink()
    assert "No such file" in refusal()
