"""A SavedModel with the signatures of `kcolor.signatures`, warm when TensorFlow Serving says that it is ready."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import skimage
import tensorflow as tf
from PIL import Image

from kcolor import color, signatures, versions
from kcolor.export import serving
from kcolor.export.artifact import Target
from kcolor.image import fit_square
from kcolor.signatures import Signatures

# Of the photographs of the warm-up: a thumbnail, one for a page, one larger than most networks.
_WARM_UP_SIDES = (128, 512, 1024)


def target(
    generator: keras.Model, folder: Path, classes: Sequence[str] = (), *, max_pixels: int = signatures.MAX_PIXELS
) -> Target:
    """The next version of a model for TensorFlow Serving, and what it needs beside it in ``serving/``; see `write`.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        folder: The model's, whose name is the model's name.
        classes: Names of its classes, in the order of its logits.
        max_pixels: A photograph of more is refused.

    Raises:
        RunError: The folder's name is none that can be written into addresses and configurations.
    """
    versions.check_name(folder.name)
    size, count = generator.input_shape[1], generator.output["logits"].shape[-1] if "logits" in generator.output else 0
    return Target(
        str(versions.following(folder)),
        "saved_model",
        "float32",
        "ab",
        generator,
        "saved_model.py",
        {"largest_ab": 1e-4 * color.AB_SCALE},
        lambda path: write(generator, path, classes, max_pixels=max_pixels),
        versioned=True,
        settle=lambda placed: serving.write(
            placed / "serving", folder.name, size=size, classes=count, max_pixels=max_pixels
        ),
    )


def write(
    generator: keras.Model, path: Path, classes: Sequence[str] = (), *, max_pixels: int = signatures.MAX_PIXELS
) -> None:
    """Write a generator as a SavedModel for TensorFlow Serving.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        path: The folder to make.
        classes: Names of its classes, in the order of its logits.
        max_pixels: A photograph of more is refused.
    """
    served = signatures.of(generator, classes, max_pixels=max_pixels)
    write_functions(generator, path, served)
    write_warm_up(path, requests(served, max_pixels))


def write_functions(generator: keras.Model, path: Path, served: Signatures) -> None:
    """Write a SavedModel of functions that call a generator.

    Args:
        generator: Whose variables the functions use.
        path: The folder to make.
        served: The functions, by the names of their signatures.
    """
    # Keras' own ExportArchive (3.15) stores each variable twice.
    module = tf.Module()
    module.variables_of_the_generator = [variable.value for variable in generator.variables]
    tf.saved_model.save(module, str(path), signatures=served)


def requests(served: Signatures, max_pixels: int) -> list[tuple[str, dict[str, tf.Tensor]]]:
    """Real requests of several sizes for each signature: what a server is to have seen before its first visitor.

    The photographs are scikit-image's own. None has more than `max_pixels`: a server that is refused does not start.
    """
    limit = math.isqrt(max_pixels)
    portrait, cat = skimage.data.astronaut(), skimage.data.chelsea()
    batches = [[(portrait, side)] for side in _WARM_UP_SIDES] + [[(cat, side) for side in (96, 200, 300, 451)]]
    small = [[_jpeg(picture, min(side, limit)) for picture, side in batch] for batch in batches]
    made: list[tuple[str, dict[str, tf.Tensor]]] = []
    for name, function in served.items():
        if name == "ab":
            size = function.input_signature[0].shape[1]
            l = color.lightness(fit_square(tf.stack([tf.constant(portrait)] * 8), size))
            made += [(name, {"l": l[:count]}) for count in (1, 8)]
            continue
        for batch in small:
            inputs = {"image_bytes": tf.constant(batch)}
            if name == "jpeg":
                inputs["quality"] = tf.fill((len(batch),), 90)
            made.append((name, inputs))
    return made


def _jpeg(rgb: np.ndarray, side: int) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(rgb).convert("L")
    picture.resize((side, max(1, side * picture.height // picture.width))).save(file, "JPEG", quality=85)
    return file.getvalue()


def write_warm_up(path: Path, asked: Sequence[tuple[str, Mapping[str, tf.Tensor]]]) -> None:
    """Write requests to where TensorFlow Serving looks for those that it sends itself before a version is available.

    Args:
        path: The SavedModel.
        asked: Signatures and their inputs.
    """
    from tensorflow_serving.apis.model_pb2 import ModelSpec
    from tensorflow_serving.apis.predict_pb2 import PredictRequest
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

    extra = path / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as records:
        for name, inputs in asked:
            # The model goes by whatever name it is served under, which the server fills in.
            request = PredictRequest(model_spec=ModelSpec(signature_name=name))
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            records.write(PredictionLog(predict_log=PredictLog(request=request)).SerializeToString())
