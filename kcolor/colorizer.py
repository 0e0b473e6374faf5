"""A trained generator, whatever it is stored in: photographs in, coloured photographs out."""

import difflib
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kcolor import bundled, card, color, files, image, networks, scenes, versions
from kcolor.errors import RunError
from kcolor.given import take
from kcolor.join import join
from kcolor.run import Run
from kcolor.upsample import UPSAMPLERS

Outputs = dict[str, tf.Tensor]

# Photographs that go through the network at once.
BATCH = 8


@dataclass(frozen=True, eq=False)
class Colorizer:
    """A generator that has been loaded, and the one way through which photographs are coloured with it.

        colorizer = Colorizer.load("runs/wgan-1")
        coloured = colorizer("grandmother.jpg")

    Args:
        path: Where it was loaded from.
        kind: "keras", "saved_model" or "tflite".
        size: Side of the squares it takes.
        sha256: Of the file; of a folder, see `kcolor.files.digest`.
        outputs: What the network says of L (batch, size, size, 1), scaled to [-1, 1], in inference mode: "ab" (batch,
            size, size, 2), scaled to [-1, 1], and, where it classifies, "logits" (batch, classes).
        classes: Names of its classes, in the order of the logits; empty where it has none, or they are unknown.
        generator: The Keras model, where it is one.
    """

    path: Path
    kind: str
    size: int
    sha256: str
    outputs: Callable[[tf.Tensor], Outputs]
    classes: tuple[str, ...] = ()
    generator: keras.Model | None = None

    def __call__(self, photos: Any, *, upsample: str = "guided", saturation: float = 1.0) -> Any:
        """Colour a photograph, or a list of them, at their own size.

        Each keeps its own lightness, in 16 bits where it has them; its colours, if any, are not looked at.

        Args:
            photos: A path, a file's content, a Pillow image, an array or tensor (`kcolor.given.take` says of what
                shapes), or a list or tuple of such, of any sizes.
            upsample: How the colours are enlarged: "guided" by the photograph's own edges, or "bilinear".
            saturation: What the colours' chroma is multiplied by; 0 is grey.

        Returns:
            An array for an array, a Pillow image for one, and else a `kcolor.photo.Photograph`, which
            `kcolor.photo.write` writes; a list for a list.

        Raises:
            DataError: A file cannot be read.
            RunError: The model gives NaN.
            TypeError, ValueError: It is no photograph, or an option has no such value.
        """
        if not isinstance(photos, list | tuple):
            return self([photos], upsample=upsample, saturation=saturation)[0]
        if upsample not in UPSAMPLERS:
            raise ValueError(f"upsample is {upsample!r}, not one of {', '.join(UPSAMPLERS)}")
        if not 0.0 <= saturation < math.inf:
            raise ValueError(f"saturation is {saturation}, not a number from 0 on")
        made = []
        for first in range(0, len(photos), BATCH):
            taken = [take(given) for given in photos[first : first + BATCH]]
            ab = saturation * self.predict_many([photograph.rgb8 for photograph, _ in taken])
            if not np.isfinite(ab).all():
                raise RunError(f"{self.path}: gives NaN: a broken model; take another checkpoint of its run")
            for (photograph, give_back), colours in zip(taken, ab, strict=True):
                rgb = join(tf.constant(photograph.rgb), tf.constant(colours), UPSAMPLERS[upsample]).numpy()
                made.append(give_back(photograph.with_rgb(rgb)))
        return made

    def predict(self, rgb: tf.Tensor) -> Outputs:
        """What the network says of photographs of one size, which it sees shrunk to its own.

        Args:
            rgb: (..., height, width, 3) uint8, one photograph or several.

        Returns:
            "ab" (..., size, size, 2), scaled to [-1, 1], and, where it classifies, "logits" (..., classes).
        """
        l = color.lightness(image.fit_square(rgb, self.size))
        if l.shape.rank == 4:
            return self.outputs(l)
        return {name: value[0] for name, value in self.outputs(l[tf.newaxis]).items()}

    def predict_many(self, photographs: Sequence[np.ndarray]) -> np.ndarray:
        """The colours that the network sees in photographs of any sizes, (photographs, size, size, 2), in one go.

        Args:
            photographs: At least one, (height, width, 3) uint8.
        """
        small = [image.fit_square(tf.constant(rgb), self.size) for rgb in photographs]
        return np.asarray(self.outputs(color.lightness(tf.stack(small)))["ab"])

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Colorizer":
        """Load a run directory that has finished, a ``.keras`` file, or an exported SavedModel or ``.tflite``.

        Of a folder with versions of a SavedModel, the newest is taken.

        Where nothing of that path is there, it may be the bare name of a model that comes with the package.

        Raises:
            RunError: There is none, or the file is no such model, or one of another input.
        """
        path = bundled.find(Path(path))
        path = versions.newest(path) or path
        if (path / "saved_model.pb").is_file():
            return _saved_model(path)
        if path.suffix == ".tflite" and path.is_file():
            return _tflite(path)
        generator = load_generator(path)
        file = Run(path).generator if path.is_dir() else path
        return replace(of(generator, file), sha256=files.digest(file), classes=_classes(file, generator))


def of(generator: keras.Model, path: Path = Path()) -> Colorizer:
    """A generator that is at hand, as from `kcolor.networks`.

    Args:
        generator: From L (batch, size, size, 1).
        path: Where it is from.
    """
    size = generator.input_shape[1]
    outputs = tf.function(
        lambda l: generator(l, training=False),
        input_signature=[tf.TensorSpec((None, size, size, 1), tf.float32)],
        autograph=False,
    )
    return Colorizer(path, "keras", size, "", outputs, generator=generator)


def stochastic(colorizer: Colorizer, seed: int) -> Colorizer:
    """The same generator in training mode: with dropout and the statistics of the batch; no moving statistic moves.

    Args:
        colorizer: A Keras model.
        seed: Of the dropout.

    Raises:
        RunError: It was exported, and exports have no training mode.
    """
    generator = colorizer.generator
    if generator is None:
        raise RunError(f"{colorizer.path}: an export has no training mode; give the run, or its generator.keras")
    fixed = generator.non_trainable_variables
    noise = {i for i, variable in enumerate(fixed) if "seed" in variable.path}
    for i in noise:
        fixed[i].assign(tf.constant([seed, i], fixed[i].dtype))

    def outputs(l: tf.Tensor) -> Outputs:
        # A stateless call returns the statistics it would have moved, and moves none; only the noise goes on.
        made, after = generator.stateless_call(generator.trainable_variables, fixed, l, training=True)
        for i in noise:
            fixed[i].assign(after[i])
        return made

    return replace(colorizer, outputs=tf.function(outputs, reduce_retracing=True, autograph=False))


def variant(colorizer: Colorizer, seed: int, number: int) -> Colorizer:
    """The same generator with its dropout active: one of the many colourings that it has for a photo.

    Dropout is the noise of pix2pix's generator, in use as in training (Isola et al., CVPR 2017, section 3.2). Unlike
    there, and unlike in `stochastic`, normalization keeps to its moving statistics, of which none moves. The noise is
    the same for each photo, and photos go through the network one by one, so that their colours depend on nothing else
    than the photo, `seed` and `number`.

    Args:
        colorizer: A Keras model; to overrule the scene as well, what `with_scene` gives.
        seed: Another seed, other variants.
        number: Which of the seed's variants.

    Raises:
        RunError: It was exported, or its generator has no dropout, or none of a rate above 0.
    """
    generator = colorizer.generator
    if generator is None:
        raise RunError(f"{colorizer.path}: an export has no variants; give the run, or its generator.keras")
    names = [layer.name for layer in networks.dropouts(generator)]
    if not names:
        raise RunError(f"{colorizer.path}: has no variants: its generator has no dropout; take one trained with it")
    hashes = [hashlib.sha256(f"{seed}:{number}:{name}".encode()).digest() for name in names]
    noise = tf.constant([[int.from_bytes(part) for part in (each[:4], each[4:8])] for each in hashes], tf.int64)
    noisy = _noisy(generator)
    return replace(colorizer, outputs=lambda l: noisy(l, noise))


@lru_cache(maxsize=1)  # variants are wanted several at a time, and need be traced once
def _noisy(generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Outputs]:
    """What a generator with dropout says of L and of noise (dropouts, 2) int64, picture by picture."""
    model = networks.with_dropout(generator)
    states = [layer.seed_generator.state for layer in networks.dropouts(generator)]
    places = {id(state): place for place, state in enumerate(states)}

    def outputs(l: tf.Tensor, noise: tf.Tensor) -> Outputs:
        fixed = [
            tf.cast(noise[places[id(variable)]], variable.dtype) if id(variable) in places else variable
            for variable in model.non_trainable_variables
        ]

        def one(picture: tf.Tensor) -> Outputs:
            # Stateless, so that neither the noise nor anything else goes on from picture to picture.
            made, _ = model.stateless_call(model.trainable_variables, fixed, picture[tf.newaxis])
            return {name: value[0] for name, value in made.items()}

        kinds = {name: tf.TensorSpec(value.shape[1:], value.dtype) for name, value in model.output.items()}
        return tf.map_fn(one, l, fn_output_signature=kinds)

    signature = [tf.TensorSpec(generator.input_shape, tf.float32), tf.TensorSpec((len(states), 2), tf.int64)]
    return tf.function(outputs, input_signature=signature, autograph=False)


def with_scene(
    colorizer: Colorizer, name: str, *, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Colorizer:
    """The same generator, told which scene it sees.

    Whatever the photo, the bottleneck is given what the class branch gives for that scene on average over the training
    set. The logits stay what the network saw. Variants of it are made of what this gives, and not the other way round.

    Args:
        colorizer: A Keras model with a class branch; see `kcolor.scenes.of` for where the averages are from.
        name: One of its classes.
        on_progress: Called with how many photos of how many have been read, where the averages are measured first.

    Raises:
        RunError: It was exported, has no class branch, or knows no such class; or the averages are not known, and the
            photos of its run cannot be read to find them.
    """
    if colorizer.classes:
        _check_scene(colorizer, name, colorizer.classes)  # before all photos are read
    averages = scenes.of(colorizer, on_progress=on_progress)
    _check_scene(colorizer, name, averages)
    generator = networks.with_scene(colorizer.generator, averages[name])
    return replace(of(generator, colorizer.path), sha256=colorizer.sha256, classes=colorizer.classes)


def _check_scene(colorizer: Colorizer, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        nearest = f" (did you mean {close[0]}?)" if close else ""
        raise RunError(f"{colorizer.path}: knows no scene {files.shown(name)}{nearest}; it knows {', '.join(known)}")


def load_generator(path: Path) -> keras.Model:
    """The Keras generator of a run directory that has finished, of a ``.keras`` file, or of a model of the package.

    Raises:
        RunError: There is none, or the file is no such model, or one of another input.
    """
    path = bundled.find(path)
    file = Run(path).generator if path.is_dir() else path
    if path.is_dir() and not file.exists():
        if Run(path).info.exists():
            raise RunError(f"{path}: not finished; kcolor fit --resume -o {path}, or use {path}/checkpoints/best.keras")
        if inside := versions.newest(path):
            raise RunError(f"{path}: not a run directory; the export in it is {inside}")
        raise RunError(f"{path}: not a run directory")
    try:
        generator = keras.models.load_model(file, compile=False)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(f"{file}: not a whole .keras model; give a run directory, or its generator.keras") from error
    outputs = getattr(generator, "output", None)  # a model that was never built has none
    if not isinstance(outputs, dict) or "ab" not in outputs:
        raise RunError(f"{file}: not a colorizer (it has no output ab)")
    _check_input(file, generator.input_shape)
    return generator


def _check_input(path: Path, shape: Any) -> int:
    """The side of the squares that a model takes.

    Raises:
        RunError: It takes something else.
    """
    with suppress(TypeError, ValueError):  # of several inputs, or of no known rank
        shape = tuple(None if side is None else int(side) for side in shape)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[1] is None or shape[1] != shape[2] or shape[3] != 1:
        raise RunError(
            f"{path}: its input is {shape}, not squares of L (batch, size, size, 1): not a colorizer of kcolor"
        )
    return int(shape[1])


def _classes(file: Path, generator: keras.Model) -> tuple[str, ...]:
    """The names of a generator's classes, if it classifies and its file or the run it is from tells them."""
    if "logits" not in generator.output:
        return ()
    classes = card.classes(file)
    return classes if len(classes) == generator.output["logits"].shape[-1] else ()


def _saved_model(path: Path) -> Colorizer:
    try:
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures["ab"]
        (spec,) = signature.structured_input_signature[1].values()
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise RunError(f"{path}: not a SavedModel of kcolor export (no readable signature ab)") from error
    size = _check_input(path, spec.shape)

    def outputs(l: tf.Tensor) -> Outputs:
        return {"ab": signature(**{spec.name: l})["ab"]}

    outputs.loaded = loaded  # type: ignore[attr-defined]  # what is not held on to is unloaded
    return Colorizer(path, "saved_model", size, files.digest(path), outputs)


def _tflite(path: Path) -> Colorizer:
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(path), num_threads=os.cpu_count())
        if "rgb" in (signatures := interpreter.get_signature_list()) and "ab" not in signatures:
            raise RunError(f"{path}: gives photographs of its own size only; take the file beside it without .rgb")
        run = interpreter.get_signature_runner("ab")
        ((name, details),) = run.get_input_details().items()
        made = {output: about["shape"] for output, about in run.get_output_details().items()}
        if "ab" not in made:
            raise KeyError("ab")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(f"{path}: not a .tflite of kcolor export (no readable signature ab, from l to ab)") from error
    size = _check_input(path, details["shape"])

    def outputs(l: tf.Tensor) -> Outputs:
        # Of one picture each, as the file's shapes are fixed.
        each = [run(**{name: one[np.newaxis]}) for one in np.asarray(l)]
        return {output: tf.concat([one[output] for one in each], axis=0) for output in made}

    sha256 = files.digest(path)
    labels = _labels(path.with_suffix(".json"), sha256)
    classes = labels if "logits" in made and len(labels) == made["logits"][-1] else ()
    return Colorizer(path, "tflite", size, sha256, outputs, classes)


def _labels(metadata: Path, sha256: str) -> tuple[str, ...]:
    """The names of the classes that the JSON beside an export tells, if it is of that very file."""
    try:
        content = json.loads(metadata.read_text(encoding="utf-8"))
        return tuple(map(str, content["labels"])) if content["sha256"] == sha256 else ()
    except (OSError, ValueError, KeyError, TypeError):
        return ()
