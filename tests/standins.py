"""Networks made up and laid out as the published ones that metrics and recipes need: small, or of random numbers."""

import hashlib
import io
import tarfile
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from kcolor import metrics, trunks, weights
from kcolor.weights import CATALOGUE, Weights

tf1 = tf.compat.v1
GENERATOR = np.random.default_rng(0)
MOMENTS = {name: GENERATOR.uniform(0.2, 1.0, 3).astype("float32") for name in ("mean", "variance", "beta", "gamma")}
KERNEL = GENERATOR.normal(size=(3, 2048)).astype("float32")
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
FILTERS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def stand_in(channels=2048, scaled=True) -> tf1.GraphDef:
    """A graph with the names, the ways in and out, and the age of the real one; in between it is small."""
    with tf.Graph().as_default() as graph:
        encoded = tf.constant(b"", name="DecodeJpeg/contents")
        picture = tf.cast(tf1.image.decode_jpeg(encoded, channels=3, name="DecodeJpeg"), tf.float32, name="Cast")
        x = tf1.expand_dims(picture, 0, name="ExpandDims")
        x = tf1.image.resize_bilinear(x, [299, 299], name="ResizeBilinear")
        x = tf.multiply(tf.subtract(x, 128.0, name="Sub"), 1.0 / 128.0, name="Mul")
        for name, values in MOMENTS.items():
            tf.constant(values, name=f"conv/{name}")
        x = tf.identity(x, name="conv/batchnorm")
        with tf.control_dependencies([tf1.check_numerics(x, "not finite", name="conv/check")]):
            x = tf.nn.relu(x, name="conv")
        x = x[:, 20::37, 20::37]
        x = tf.nn.relu(tf1.nn.conv2d(x, KERNEL[None, None, :, :channels], 1, "VALID"))
        x = tf1.nn.avg_pool(x, 8, 1, "VALID", name="pool_3")
        tf.reshape(x, [1, channels], name="pool_3/_reshape")
    graph_def = graph.as_graph_def(add_shapes=True)
    graph_def.versions.producer = 8
    nodes = {node.name: node for node in graph_def.node}
    # TensorFlow no longer makes this operation, only runs it in graphs of its time, as this now says to be.
    norm = nodes["conv/batchnorm"]
    norm.op = "BatchNormWithGlobalNormalization"
    norm.input.extend(f"conv/{name}" for name in MOMENTS)
    norm.attr["variance_epsilon"].f = 0.001
    norm.attr["scale_after_normalization"].b = scaled
    nodes["Mul"].attr["_class"].list.s.append(b"loc:@DecodeJpeg")
    return graph_def


def pack(path, content: bytes | None, member="./classify_image_graph_def.pb"):
    members = {"./LICENSE": b"Apache", "./cropped_panda.jpg": b"\xff\xd8"}
    if content is not None:
        members[member] = content
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def vgg16_tensors() -> dict[str, np.ndarray]:
    """VGG16 as torchvision lays it out, of random numbers; one of its tensors in half precision."""
    generator = np.random.default_rng(2)
    made = {"head.fc.weight": np.zeros((2, 2), "float32")}
    for i, before, count in zip(CONVOLUTIONS, (3, *FILTERS), FILTERS, strict=False):
        # As large as lets a picture come through all of them about as strong as it was.
        size = np.float32(2 * np.sqrt(6 / (9 * before)))
        made[f"features.{i}.weight"] = size * (generator.random((count, before, 3, 3), "float32") - np.float32(0.5))
        made[f"features.{i}.bias"] = np.float32(0.1) * generator.random(count, "float32")
    made["features.28.bias"] = made["features.28.bias"].astype("float16")
    return made


FEATURES = 8  # of the narrow Inception


def publish(folder: Path) -> Path:
    """Lay both networks into a folder, as `kcolor weights` keeps them; Inception narrow."""
    folder.mkdir(parents=True, exist_ok=True)
    pack(folder / CATALOGUE["inception"].file, stand_in(FEATURES).SerializeToString())
    save_file(vgg16_tensors(), folder / CATALOGUE["vgg16"].file)
    return folder


def narrow(patch: pytest.MonkeyPatch) -> None:
    """Measure FID by features of few numbers: with 2048 of them, each distance takes many seconds."""
    patch.setattr(trunks, "FEATURES", FEATURES)
    patch.setattr(metrics, "FrechetDistance", partial(metrics.FrechetDistance, FEATURES))


def keras_vgg16(path: Path, width: int = 2, seen: int = 32) -> Path:
    """Keras' file of a VGG-16 with ImageNet's 1000 classes, narrow, of random numbers, for pictures of `seen`."""
    draw = np.random.default_rng(5)
    channels = [width * count // 64 for count in FILTERS]
    shapes = {}
    names = [f"block{block}_conv{i + 1}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(count)]
    for name, before, count in zip(names, (3, *channels), channels, strict=False):
        shapes[name] = (3, 3, before, count)
    units = (8 * width * (seen // 32) ** 2, 32, 32, 1000)
    shapes |= dict(zip(("fc1", "fc2", "predictions"), pairwise(units), strict=True))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", *(name.encode() for name in shapes)]
        file.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for name, shape in shapes.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            # As large as lets a picture come through all of them about as strong as it was.
            spread = np.sqrt(2 / np.prod(shape[:-1]))
            group[f"{name}_W_1:0"] = draw.normal(0, spread, shape).astype("float32")
            group[f"{name}_b_1:0"] = draw.normal(0, 0.1, shape[-1]).astype("float32")
    return path


def classifier(width: int = 2, seen: int = 32) -> Weights:
    """Lay that file in its place; the catalogue's entry of it as it would be if the stand-in were what is published."""
    entry = CATALOGUE["vgg16-imagenet"]
    path = weights.path_of(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    keras_vgg16(path, width, seen)
    return replace(entry, md5=hashlib.md5(path.read_bytes()).hexdigest())
