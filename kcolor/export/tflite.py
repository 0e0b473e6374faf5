"""LiteRT files: of built-in operations only, of fully static shapes, and with a JSON beside each that tells of it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kcolor import __version__, card, color, networks
from kcolor.errors import RunError
from kcolor.export import parity, saved_model, subpixel
from kcolor.export.artifact import Artifact, Target
from kcolor.export.photographs import Photographs

PRECISIONS = ("float32", "float16", "dynamic", "int8")

# Above this mean Delta E from Keras, quantization is seen.
MAX_DELTA_E = 1.5

_CONVERTER = Path(__file__).parent / "loaders" / "convert_tflite.py"
_KINDS = ("ab", "rgb")
# By precision and kind; where eight bits are rounded, the smallest difference there is may be a level.
_LIMITS = {
    ("float32", "ab"): {"largest_ab": 1e-4 * color.AB_SCALE},
    ("float16", "ab"): {"largest_ab": 1e-2 * color.AB_SCALE},
    ("float32", "rgb"): {"delta_e": 0.02},
    ("float16", "rgb"): {"delta_e": 0.5},
}


def targets(
    generator: keras.Model,
    name: str,
    *,
    photographs: Photographs,
    precisions: Sequence[str] = ("float32", "float16"),
    sizes: Sequence[int] = (),
    about: card.Card | None = None,
    licence: str = "",
    max_delta_e: float = MAX_DELTA_E,
) -> list[Target]:
    """The ``.tflite`` files of a generator: of each size and precision, one of each kind.

    Each has one signature, which is called by its kind:

    - ``ab``: ``l`` (1, size, size, 1) float32 to ``ab`` (1, size, size, 2) float32, both scaled to [-1, 1], and, where
      the generator classifies, ``logits`` (1, classes) float32;
    - ``rgb``: ``rgb`` (1, size, size, 3) uint8 to ``rgb`` of the same shape and type, with the lightness it had.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        name: What the files are called: ``NAME.PRECISION.tflite``; with the size before the precision where that is not
            the generator's own, and ``rgb`` behind it for that kind.
        photographs: What int8 is calibrated on.
        precisions: Of `PRECISIONS`. float16 stores weights in 16 bits; dynamic in 8, and computes in 8 by the ranges
            that each picture has; int8 by ranges that are measured beforehand.
        sizes: Height and width of what goes in; none: the generator's own.
        about: What is known of the generator, for the JSON.
        licence: Of the weights, for the JSON.
        max_delta_e: What dynamic and int8 may differ from Keras by.

    Raises:
        RunError: A size or a precision is not possible.
    """
    if unknown := sorted(set(precisions) - set(PRECISIONS)):
        raise RunError(f"no precision {', '.join(unknown)}; there are {', '.join(PRECISIONS)}")
    made = []
    for size in sizes or (generator.input_shape[1],):
        resized = _resized(generator, size)
        stem = name if resized is generator else f"{name}.{size}"
        for kind in _KINDS:
            graph = _Graph(resized, stem, kind, precisions, photographs, about, licence, max_delta_e)
            reference = graph.target("float32", None)
            made += [reference if each == "float32" else graph.target(each, reference) for each in precisions]
    return made


@dataclass(frozen=True, eq=False)
class _Graph:
    """A graph that there are files of in several precisions; the arguments are those of `targets`."""

    generator: keras.Model
    stem: str
    kind: str
    precisions: Sequence[str]
    photographs: Photographs
    about: card.Card | None
    licence: str
    max_delta_e: float

    def target(self, precision: str, reference: Target | None) -> Target:
        return Target(
            f"{self.stem}.{precision}{'.rgb' if self.kind == 'rgb' else ''}.tflite",
            "tflite",
            precision,
            self.kind,
            self.generator,
            "tflite.py",
            _LIMITS.get((precision, self.kind), {"delta_e": self.max_delta_e}),
            partial(self.write, precision),
            reference,
            self.describe,
        )

    def write(self, precision: str, path: Path) -> None:
        """Write one of the files; the first that is wanted has all of them converted."""
        size = self.generator.input_shape[1]
        folder = path.parent / f".{size}.{self.kind}"
        if not folder.exists():
            folder.mkdir()
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                source, given = Path(temporary, "saved_model"), Path(temporary, "given.npy")
                quick = subpixel.without_transposed(self.generator)
                saved_model.write_functions(quick, source, {self.kind: _SIGNATURES[self.kind](quick)})
                if "int8" in self.precisions:
                    rgb = _typical(quick, self.photographs.to_calibrate(size))
                    np.save(given, color.lightness(rgb).numpy() if self.kind == "ab" else rgb)
                wanted = dict.fromkeys(("float32", *self.precisions))
                # Apart, since each conversion keeps some memory.
                parity.run_script(_CONVERTER, source, folder, self.kind, given, *wanted, what=f"{path}: converting it")
        Path(folder, f"{precision}.tflite").rename(path)

    def describe(self, artifact: Artifact) -> dict[str, Any]:
        """The JSON beside a file: all that who loads it must know, and where it is from."""
        size, about = artifact.size, self.about
        tensors = {
            "l": {"shape": [1, size, size, 1], "dtype": "float32", "is": "L / l_scale - 1, in [-1, 1]"},
            "ab": {"shape": [1, size, size, 2], "dtype": "float32", "is": "(a, b) / ab_scale, in [-1, 1]"},
            "rgb": {"shape": [1, size, size, 3], "dtype": "uint8", "is": "sRGB, 0 to 255"},
        }
        given = "l" if self.kind == "ab" else "rgb"
        outputs = {self.kind: tensors[self.kind]}
        if self.kind == "ab" and "logits" in self.generator.output:
            shape = [1, self.generator.output["logits"].shape[-1]]
            outputs["logits"] = {"shape": shape, "dtype": "float32", "is": "of the labels, before softmax"}
        return {
            "kcolor": __version__,
            "file": artifact.path,
            "bytes": artifact.bytes,
            "sha256": artifact.sha256,
            "precision": artifact.precision,
            "signature": self.kind,
            "inputs": {given: tensors[given]},
            "outputs": outputs,
            "size": size,
            "scaling": {"space": "CIE Lab, D65, 2 degrees", "l_scale": color.L_SCALE, "ab_scale": color.AB_SCALE},
            "labels": list(about.classes) if about else [],
            "licence": self.licence or None,
            "recipe": {"name": about.recipe_name, "toml": about.recipe} if about else None,
            "weights_sha256": artifact.weights_sha256,
        }


def _typical(generator: keras.Model, rgb: np.ndarray) -> np.ndarray:
    """The half of photographs in which no layer's values are much larger than in the median photograph.

    The converter takes the least and the largest value that a layer ever has for its range. A few photographs would so
    leave all others a handful of the 256 steps; without them it is those few that are clipped. For the model small, the
    mean Delta E from Keras on photographs that it was not calibrated on is 0.8 with half of them, and 8 with all.
    """
    made: list[keras.KerasTensor] = []  # a layer that is called twice has two

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        made.append(layer(*args, **kwargs))
        return made[-1]

    watched = keras.models.clone_model(generator, clone_function=lambda layer: layer, call_function=call)
    largest = [keras.ops.max(keras.ops.abs(values), axis=range(1, len(values.shape))) for values in made]
    watch = keras.Model(watched.input, largest)
    l = color.lightness(rgb)
    found = np.stack([np.ravel(watch(one[tf.newaxis], training=False)) for one in l])  # (photographs, layers)
    worst = (found / np.maximum(np.median(found, axis=0), 1e-6)).max(axis=1)
    return rgb[np.sort(np.argsort(worst, kind="stable")[: -(-len(rgb) // 2)])]


def _resized(generator: keras.Model, size: int) -> keras.Model:
    own = generator.input_shape[1]
    if size == own:
        return generator
    try:
        return networks.resized(generator, size)
    except ValueError as error:
        raise RunError(f"--size {size}: not possible: {error}") from error


def _ab(generator: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    # With a batch of any size LiteRT.js would refuse it, and quantized convolutions would be slow.
    shape = (1, *generator.input_shape[1:])
    return tf.function(lambda l: dict(generator(l, training=False)), [tf.TensorSpec(shape, tf.float32, name="l")])


def _rgb(generator: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    def coloured(rgb: tf.Tensor) -> dict[str, tf.Tensor]:
        l = color.lightness(rgb)
        ab = generator(l, training=False)["ab"]
        return {"rgb": color.merge(l, color.fit_gamut(l, ab, dense=True))}

    size = generator.input_shape[1]
    return tf.function(coloured, [tf.TensorSpec((1, size, size, 3), tf.uint8, name="rgb")])


_SIGNATURES = {"ab": _ab, "rgb": _rgb}
