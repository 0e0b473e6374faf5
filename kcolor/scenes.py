"""What the class branch of a generator gives for each class, on average over the training set.

A generator is told by it which scene a photo is of, whatever it sees there itself (`kcolor.colorizer.with_scene`). The
averages are in the card that a ``.keras`` file carries; those of a run's generators are measured when they are first
asked for, and kept in the run directory.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kcolor import card, color, files, networks
from kcolor.data.manifest import Manifest, Photo
from kcolor.data.reading import Read, read, told
from kcolor.errors import DataError, KcolorError, RunError
from kcolor.run import owner

if TYPE_CHECKING:
    from kcolor.colorizer import Colorizer

# Photos of each class that are averaged: what is left of chance is a seventh of what photos of a class differ by.
PER_CLASS = 50

BATCH = 16

# Decimal digits of the numbers that are kept. More would tell of chance alone.
DIGITS = 4

_NAME = "scenes.json"

Progress = Callable[[int, int], None]


def of(colorizer: "Colorizer", *, on_progress: Progress = lambda done, total: None) -> dict[str, np.ndarray]:
    """The averages of a colorizer's classes.

    They are those of its file's card. Where that tells none, and the file is in a run directory, they are those of the
    run's ``scenes.json``, as long as the file is the one they were measured of; else they are measured, and kept there.

    Args:
        colorizer: A Keras model that was loaded from a file.
        on_progress: Called, while they are measured, with how many photos of how many have been read.

    Returns:
        What `kcolor.networks.scene_encoder` gives, a row of it, float32, by the name of the class. A class without a
        photo in the train split has none.

    Raises:
        RunError: It was exported, or has no class branch, or a teacher's classes; or they are not known, and the photos
            of its run cannot be read to find them.
    """
    if colorizer.generator is None:
        raise RunError(f"{colorizer.path}: an export takes no scene; give the run, or its generator.keras")
    return _known(colorizer.generator, colorizer.path, colorizer.sha256, on_progress)


def card_of(
    file: Path,
    generator: keras.Model,
    *,
    on_missing: Callable[[str], None] = lambda why: None,
    on_progress: Progress = lambda done, total: None,
) -> card.Card:
    """The card of a model's file as from `kcolor.card.of`, with the averages of its classes.

    Args:
        file: A ``.keras`` file.
        generator: What was loaded from it.
        on_missing: Called with a line that says why the card does without them, where they cannot be found. A generator
            without a class branch, or whose classes are a teacher's, misses nothing.
        on_progress: As in `of`.

    Raises:
        KcolorError: The run's recipe cannot be read.
    """
    about = card.of(file)
    if not networks.has_class_branch(generator) or card.taught(file):
        return about
    try:
        averages = _known(generator, file, files.digest(file), on_progress)
    except RunError as error:
        on_missing(str(error))
        return about
    return replace(about, scenes=_to_lists(averages))


def measure(
    generator: keras.Model,
    manifest: Manifest,
    *,
    per_class: int = PER_CLASS,
    on_progress: Progress = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Average what a class branch gives over the photos of each class, in inference mode.

    Args:
        generator: With a class branch; see `kcolor.networks.has_class_branch`.
        manifest: The photos; those of its train split are read, and are seen as in use: whole, brought to a square.
        per_class: At most so many photos of a class, spread evenly over it. One that cannot be read is passed over.
        on_progress: Called with how many photos of how many have been read.

    Returns:
        The means, a row each, float32, by the name of the class, of the classes that have photos in the train split.

    Raises:
        RunError: There are none, or not one photo of a class can be read, or the generator gives NaN.
        ValueError: The generator has no class branch.
    """
    chosen = _spread(manifest, per_class)
    if not chosen:
        raise RunError(
            f"{manifest.root}: no photo of a class in the train split; take a model that was trained with classes"
        )
    size = generator.input_shape[1]
    encoder = networks.scene_encoder(generator)
    encode = tf.function(
        lambda rgb: encoder(color.lightness(rgb), training=False),
        input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8)],
        autograph=False,
    )
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(encoder.output.shape[-1]))
    counts = dict.fromkeys((photo.label for photo in chosen), 0)
    faults: dict[str, list[dict[str, str]]] = defaultdict(list)
    done = 0
    for batch in _batches(read(manifest.root, chosen, size)):
        usable = [(each.photo.label, each.rgb) for each in batch if each.rgb is not None]
        for each in batch:
            if each.rgb is None:
                faults[each.photo.label].append({"path": each.photo.path, "reason": each.fault})
        if usable:
            given = encode(tf.constant(np.stack([rgb for _, rgb in usable]))).numpy()
            for (label, _), vector in zip(usable, given, strict=True):
                sums[label] += vector
                counts[label] += 1
        done += len(batch)
        on_progress(done, len(chosen))
    for label, count in counts.items():
        if not count:
            why = f"no photo of the class {files.shown(label)} can be read any more ({told(faults[label])})"
            raise RunError(f"{manifest.root}: {why}; put them back there")
    averages = {label: (sums[label] / count).astype(np.float32) for label, count in sorted(counts.items())}
    if not all(np.isfinite(vector).all() for vector in averages.values()):
        raise RunError("its class branch gives NaN: a broken model; take another checkpoint of its run")
    return averages


def _known(generator: keras.Model, file: Path, sha256: str, on_progress: Progress) -> dict[str, np.ndarray]:
    if not networks.has_class_branch(generator):
        raise RunError(f"{file}: has no class branch, and so no scenes; take a model that was trained with classes")
    if card.taught(file):
        raise RunError(f"{file}: its classes are its teacher's, not its photos', and so it has no scenes by name")
    width = networks.scene_encoder(generator).output.shape[-1]
    carried = card.read(file)
    if carried and (averages := _from_lists(carried.scenes, width)):
        return averages
    run = owner(file) if sha256 else None  # a generator that is at hand need not be what is in the file
    if run is None:
        raise RunError(f"{file}: what its scenes are on average is not known; give the run that it is from")
    kept, name = run.path / _NAME, file.resolve().relative_to(run.path).as_posix()
    entries = _read(kept)
    entry = entries.get(name)
    if (
        isinstance(entry, dict)
        and entry.get("sha256") == sha256
        and (averages := _from_lists(entry.get("scenes"), width))
    ):
        return averages
    try:
        manifest = Manifest.load(run.manifest)
        if len(manifest.classes) != generator.output["logits"].shape[-1]:
            raise RunError(f"{run.manifest}: has {len(manifest.classes)} classes, not as many as the model")
        measured = _to_lists(measure(generator, manifest, on_progress=on_progress))
    except KcolorError as error:
        raise RunError(
            f"{file}: what its scenes are on average is not known, and cannot be measured: {error}"
        ) from error
    with suppress(DataError):  # of a run that cannot be written to, it is measured anew
        files.write_text(kept, json.dumps({**entries, name: {"sha256": sha256, "scenes": measured}}) + "\n")
    return _from_lists(measured, width)


def _spread(manifest: Manifest, per_class: int) -> list[Photo]:
    """At most so many photos of each class of the train split, spread evenly over it."""
    rows = manifest.split("train")
    numbers, first = np.unique(rows.label, return_index=True)
    chosen: list[Photo] = []
    for number in numbers[np.argsort(first)].tolist():
        if rows.labels[number]:
            chosen += rows[rows.label == number].spread(per_class)
    return chosen


def _batches(found: Iterator[Read]) -> Iterator[list[Read]]:
    while batch := list(islice(found, BATCH)):
        yield batch


def _to_lists(averages: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """As they are kept; the same numbers again, if they have been."""
    return {name: [float(f"{value:.{DIGITS}g}") for value in vector] for name, vector in averages.items()}


def _from_lists(content: Any, width: int) -> dict[str, np.ndarray]:
    """What `_to_lists` made; nothing if it is something else."""
    try:
        averages = {str(name): np.asarray(vector, np.float32) for name, vector in content.items()}
    except (AttributeError, TypeError, ValueError):
        return {}
    sound = all(vector.shape == (width,) and np.isfinite(vector).all() for vector in averages.values())
    return averages if sound else {}


def _read(kept: Path) -> dict[str, Any]:
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
