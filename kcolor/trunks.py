"""The published networks of `kcolor.weights`, from their files into TensorFlow."""

import math
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from keras import layers
from safetensors import SafetensorError, safe_open

from kcolor import networks
from kcolor.chromagan import vgg16_features
from kcolor.errors import DataError
from kcolor.metrics import vgg16_trunk
from kcolor.metrics.lpips import VGG16_BLOCKS
from kcolor.weights import INCEPTION_MEMBER

FEATURES = 2048

# Those that the teacher tells apart.
IMAGENET_CLASSES = 1000

_DENSE = ("fc1", "fc2", "predictions")

# Names in the graph: pictures (batch, height, width, 3) in 0..255, and the mean of the last features over the picture.
_PICTURES = "ExpandDims"
_POOL = "pool_3"
# Bytes of a constant that is left in the graph: those that say a shape or an axis have to be.
_SMALL = 1024
# TensorFlow runs it in a session with a graph as old as this one, and nowhere else.
_OLD_NORM = "BatchNormWithGlobalNormalization"

# Where torchvision's VGG16 has its convolutions, between the rectifications and poolings.
_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_FLOATING = ("F16", "F32", "F64")


def inception(path: Path) -> Callable[[Any], tf.Tensor]:
    """Load the Inception whose features are those of the FID.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, as TensorFlow published it
    in December 2015. Heusel et al., NeurIPS 2017, use this file and this way in and out: pictures of any size, which
    the graph itself resizes to 299 x 299, to the features after the last pooling.

    Args:
        path: The archive ``inception-2015-12-05.tgz``, which is read where it lies.

    Returns:
        A function from RGB pictures (batch, height, width, 3), uint8 in 0..255 or floating in 0..1, to features
        (batch, 2048) float32, in a graph as well as eagerly. Floating pictures are not rounded to whole steps of 255.
        It raises a ValueError for anything else.

    Raises:
        DataError: It cannot be read, or has another network in it.
    """
    graph_def = _graph_def(path)
    try:
        needed, parameters = _needed(graph_def)

        def imported(pictures: tf.Tensor) -> list[tf.Tensor]:
            given = {f"{name}:0": tf.identity(value) for name, value in parameters.items()}
            return tf.graph_util.import_graph_def(
                needed, input_map=given | {f"{_PICTURES}:0": pictures}, return_elements=[f"{_POOL}:0"], name=""
            )

        network = tf.compat.v1.wrap_function(imported, [tf.TensorSpec([None, None, None, 3], tf.float32)])
    except (KeyError, ValueError, TypeError, tf.errors.OpError) as error:
        raise _not_inception(path, " ".join(str(error.args[0] if error.args else error).split())) from error
    shape = network.structured_outputs[0].shape
    if shape.rank != 4 or shape.as_list()[1:] != [1, 1, FEATURES]:
        raise _not_inception(path, f"{_POOL} is {shape}, not (None, 1, 1, {FEATURES})")

    def features(pictures: Any) -> tf.Tensor:
        (pooled,) = network(_of_255(pictures))
        return tf.squeeze(pooled, axis=[1, 2])

    return features


def vgg16(path: Path) -> keras.Model:
    """Load the trunk of LPIPS: the convolutions of torchvision's VGG16.

    Args:
        path: A safetensors file with ``features.<i>.weight`` (out, in, 3, 3) and ``features.<i>.bias`` (out,), under
            the numbers that torchvision gives them. Other tensors in it are not read.

    Returns:
        What `kcolor.metrics.vgg16_trunk` gives.

    Raises:
        DataError: It cannot be read, is cut off, or a tensor is missing or of another shape or type.
    """
    filters = [count for block in VGG16_BLOCKS for count in block]
    parameters = []
    try:
        with safe_open(path, framework="np") as tensors:
            names = set(tensors.keys())

            def read(name: str, shape: tuple[int, ...]) -> np.ndarray:
                if name not in names:
                    raise _not_vgg16(path, f"there is no {name} in it")
                tensor = tensors.get_slice(name)
                if tuple(tensor.get_shape()) != shape:
                    raise _not_vgg16(path, f"{name} is {tuple(tensor.get_shape())}, not {shape}")
                if tensor.get_dtype() not in _FLOATING:
                    raise _not_vgg16(path, f"{name} is {tensor.get_dtype()}, not one of {', '.join(_FLOATING)}")
                return tensors.get_tensor(name).astype(np.float32)

            for i, before, count in zip(_CONVOLUTIONS, [3, *filters], filters, strict=False):
                kernel = read(f"features.{i}.weight", (count, before, 3, 3))
                bias = read(f"features.{i}.bias", (count,))
                # torch has (out, in, height, width), TensorFlow (height, width, in, out).
                parameters.append((kernel.transpose(2, 3, 1, 0), bias))
    except (OSError, SafetensorError) as error:
        raise _not_vgg16(path, " ".join(str(error).split())) from error
    return vgg16_trunk(parameters)


def vgg16_layers(path: Path, names: Iterable[str] | None = None) -> dict[str, list[np.ndarray]]:
    """The weights of VGG-16 (Simonyan and Zisserman, ICLR 2015), trained on ImageNet, as keras.applications has them.

    Args:
        path: The file ``vgg16_weights_tf_dim_ordering_tf_kernels.h5``.
        names: Of the layers that are wanted; None: all. A name that it does not have is passed over.

    Returns:
        Kernel and bias, float32, by the name of the layer: (3, 3, in, out) of convolutions, (in, out) of dense layers,
        and (out,).

    Raises:
        DataError: It cannot be read, is cut off, or is laid out otherwise.
    """
    wanted = None if names is None else set(names)
    made = {}
    try:
        with h5py.File(path) as file:
            for name, group in file.items():
                told = group.attrs.get("weight_names", ())
                if len(told) and (wanted is None or name in wanted):
                    keys = [key.decode() if isinstance(key, bytes) else str(key) for key in told]
                    made[name] = [np.asarray(group[key], np.float32) for key in keys]
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise _not_keras_vgg16(path, " ".join(str(error).split())) from error
    return made


def vgg16_teacher(path: Path, size: int, dtype: str = "float32") -> Callable[[Any], tf.Tensor]:
    """What ImageNet's VGG-16 sees in grey pictures, which it is shown at the size it was trained at.

    Args:
        path: As in `vgg16_layers`.
        size: Height and width of the pictures.
        dtype: Keras dtype policy; the answer is float32 under any.

    Returns:
        A function from L (batch, size, size, 1), scaled to [-1, 1], to the probabilities (batch, 1000) of ImageNet's
        classes, in a graph as well as eagerly. Its weights are not trained.

    Raises:
        DataError: As in `vgg16_layers`; or the layers do not fit together, or are of another number of classes.
    """
    weights = vgg16_layers(path)
    missing = [name for name in ("block1_conv1", "block5_conv3", *_DENSE) if len(weights.get(name, [])) != 2]
    if missing:
        raise _not_keras_vgg16(path, f"there is no kernel and bias of {missing[0]} in it")
    # All sizes follow from the file, which tests can so have in small.
    width, units = weights["block1_conv1"][1].size, {name: weights[name][1].size for name in _DENSE}
    seen = 32 * math.isqrt(weights["fc1"][0].shape[0] // (8 * width))
    if units["predictions"] != IMAGENET_CLASSES or not seen:
        raise _not_keras_vgg16(path, f"it tells {units['predictions']} classes apart, not {IMAGENET_CLASSES}")
    l = keras.Input((size, size, 1), name="l")
    x = vgg16_features(l if size == seen else networks.resample(l, seen), width, blocks=5, dtype=dtype)
    x = layers.MaxPooling2D(dtype=dtype, name="block5_pool")(x)
    x = layers.Flatten(dtype=dtype, name="flatten")(x)
    for name in _DENSE:
        activation = None if name == "predictions" else "relu"
        x = layers.Dense(units[name], activation, kernel_initializer="zeros", dtype=dtype, name=name)(x)
    network = keras.Model(l, layers.Softmax(dtype="float32", name="probabilities")(x), name="teacher")
    network.trainable = False
    give_weights(network, weights, path)
    # A function: a model would be kept, counted and saved with the GAN that is given it.
    return lambda l: network(l, training=False)


def give_weights(network: keras.Model, weights: dict[str, list[np.ndarray]], path: Path) -> None:
    """Give the layers of a network the weights of VGG-16 that go by their names.

    Args:
        network: With layers named as in keras.applications.
        weights: As from `vgg16_layers`.
        path: Where they are from.

    Raises:
        DataError: A layer's weights are of another shape.
    """
    for layer in network.layers:
        if layer.name in weights:
            try:
                layer.set_weights(weights[layer.name])
            except ValueError as error:
                shapes = [list(array.shape) for array in weights[layer.name]]
                raise _not_keras_vgg16(path, f"{layer.name} has weights of {shapes}") from error


def _graph_def(path: Path) -> tf.compat.v1.GraphDef:
    try:
        with tarfile.open(path, "r:gz") as archive:
            # The first one that fits: going on to the end would unpack all the rest.
            member = next((member for member in archive if Path(member.name).name == INCEPTION_MEMBER), None)
            file = archive.extractfile(member) if member else None
            if file is None:
                raise _not_inception(path, f"there is no {INCEPTION_MEMBER} in it")
            return tf.compat.v1.GraphDef.FromString(file.read())
    except (OSError, EOFError, tarfile.TarError, zlib.error, DecodeError) as error:
        raise _not_inception(path, " ".join(str(error).split()) or type(error).__name__) from error


def _needed(graph_def: tf.compat.v1.GraphDef) -> tuple[tf.compat.v1.GraphDef, dict[str, tf.Tensor]]:
    """The part of a graph between the pictures and the pooling, made fit for batches of any size.

    Returns:
        The part without its parameters, and these by name. As constants of the graph they would cost many seconds and
        gigabytes, since graphs are copied and their constants folded.

    Raises:
        KeyError: A node is missing.
    """
    nodes = {node.name: node for node in graph_def.node}
    for name in (_PICTURES, _POOL):
        if name not in nodes:
            raise KeyError(f"there is no {name} in its graph")
    reached: set[str] = set()
    waiting = [_POOL]
    while waiting:
        name = waiting.pop()
        if name in reached or name == _PICTURES:
            continue
        if name not in nodes:
            raise KeyError(f"{name} is missing in its graph")
        reached.add(name)
        waiting += [source.removeprefix("^").split(":")[0] for source in nodes[name].input]
    part, parameters = tf.compat.v1.GraphDef(library=graph_def.library), {}
    # A function is run as a graph of today's version, whatever this one says.
    part.versions.producer = tf.version.GRAPH_DEF_VERSION
    for node in graph_def.node:
        if node.name not in reached:
            continue
        if node.op == "Const" and node.attr["value"].tensor.ByteSize() > _SMALL:
            parameters[node.name] = tf.constant(tf.make_ndarray(node.attr["value"].tensor))
        else:
            copy = part.node.add()
            copy.CopyFrom(node)
            # The shapes recorded there are those of a single picture.
            copy.attr.pop("_output_shapes", None)
            # Which nodes are to be on one device: some of them may not be needed.
            copy.attr.pop("_class", None)
            if node.op == _OLD_NORM:
                _renew(copy, part)
    return part, parameters


def _renew(norm: Any, part: tf.compat.v1.GraphDef) -> None:
    """Say the same by an operation that TensorFlow still has, ``(x - mean) / sqrt(variance + epsilon) * gamma + beta``.

    Args:
        norm: The node of the old operation, which is changed.
        part: The graph it is in, which gets a gamma of ones for one that does without.
    """
    x, mean, variance, beta, gamma, *control = norm.input
    kind, epsilon = norm.attr["T"].type, norm.attr["variance_epsilon"].f
    if not norm.attr["scale_after_normalization"].b:
        gamma = f"{norm.name}/ones_for_gamma"
        ones = part.node.add(name=gamma, op="OnesLike", input=[variance])
        ones.attr["T"].type = kind
    norm.op = "FusedBatchNormV3"
    norm.attr.clear()
    norm.attr["T"].type = norm.attr["U"].type = kind
    norm.attr["epsilon"].f = epsilon
    norm.attr["is_training"].b = False
    del norm.input[:]
    norm.input.extend([x, gamma, beta, mean, variance, *control])


def _of_255(pictures: Any) -> tf.Tensor:
    pictures = tf.convert_to_tensor(pictures)
    if not pictures.shape.is_compatible_with([None, None, None, 3]):
        raise ValueError(f"pictures are (batch, height, width, 3), not {pictures.shape}")
    if pictures.dtype == tf.uint8:
        return tf.cast(pictures, tf.float32)
    if not pictures.dtype.is_floating:
        raise ValueError(f"pictures are uint8 in 0..255 or floating in 0..1, not {pictures.dtype.name}")
    return 255.0 * tf.cast(pictures, tf.float32)


def _not_inception(path: Path, why: str) -> DataError:
    return DataError(f"{path}: not the Inception of the FID, or damaged: {why}; take the file as it was published")


def _not_vgg16(path: Path, why: str) -> DataError:
    return DataError(f"{path}: not torchvision's VGG16, or damaged: {why}; take the file as it was published")


def _not_keras_vgg16(path: Path, why: str) -> DataError:
    return DataError(f"{path}: not Keras' VGG-16, or damaged: {why}; take the file as it was published")
