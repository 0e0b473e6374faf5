"""Colour photographs with a trained generator, at their own size."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kcolor import color, image, photo
from kcolor.errors import DataError, RunError
from kcolor.manifest import Manifest
from kcolor.run import Run
from kcolor.survey import candidates


def load_generator(path: Path) -> keras.Model:
    """The generator of a run directory that has finished, or of a ``.keras`` file.

    Raises:
        RunError: There is none, or the file is no such model.
    """
    file = Run(path).generator if path.is_dir() else path
    if path.is_dir() and not file.exists():
        if Run(path).info.exists():
            raise RunError(f"{path}: not finished; kcolor fit --resume -o {path}, or use {path}/checkpoints/best.keras")
        raise RunError(f"{path}: not a run directory")
    if not file.exists():
        raise RunError(f"{file}: no such run or model")
    try:
        generator = keras.models.load_model(file, compile=False)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(f"{file}: not a whole .keras model; give a run directory, or its generator.keras") from error
    outputs = generator.output if isinstance(generator.output, dict) else {}
    if "ab" not in outputs:
        raise RunError(f"{file}: not a colorizer (it has no output ab)")
    return generator


def colorize(generator: keras.Model, rgb: np.ndarray) -> np.ndarray:
    """Colour one photograph: its own L, with the colours that the generator sees in it when small.

    Args:
        generator: As from `load_generator`.
        rgb: (height, width, 3) uint8; its colours, if it has any, are not looked at.

    Returns:
        (height, width, 3) uint8.
    """
    return join(tf.constant(rgb), predict(generator, tf.constant(rgb))).numpy()


def predict(generator: keras.Model, rgb: tf.Tensor) -> tf.Tensor:
    """What the generator says of a photograph shrunk to its own size.

    Args:
        generator: From L (1, size, size, 1).
        rgb: (height, width, 3) uint8.

    Returns:
        ab (size, size, 2), scaled to [-1, 1].
    """
    l, _ = color.split(image.fit_square(rgb, generator.input_shape[1]))
    return generator(l[tf.newaxis], training=False)["ab"][0]


def join(rgb: tf.Tensor, ab: tf.Tensor) -> tf.Tensor:
    """Enlarge ab to a photograph's size and join it with the photograph's own L.

    Args:
        rgb: (height, width, 3) uint8.
        ab: (size, size, 2), scaled to [-1, 1].

    Returns:
        (height, width, 3) uint8.
    """
    l, _ = color.split(rgb)
    return color.merge(l, tf.image.resize(ab, tf.shape(rgb)[:2]))


@dataclass(frozen=True)
class Outcome:
    """What became of one photograph.

    Args:
        source: The photograph.
        target: The coloured one, if all went well.
        error: What went wrong, if anything.
    """

    source: Path
    target: Path | None
    error: str | None = None


def held_out(path: Path, split: str) -> list[tuple[Path, Path]]:
    """The photographs of a run's own split, each with its place below the root of the run's photos.

    Args:
        path: A run directory.
        split: "train", "val" or "test".

    Raises:
        DataError: It has no manifest, or no photograph in this split.
    """
    manifest = Manifest.load(Run(path).manifest)
    rows = manifest.split(split)
    if not rows:
        raise DataError(f"{path}: no photo in the {split} split")
    return [(manifest.root / row.path, Path(row.path)) for row in rows]


def gather(sources: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Photographs, folders taken whole, each with its place below the folder it was found in.

    Args:
        sources: Files and folders.
        output: A folder inside one of them, what was coloured before, is not taken.

    Raises:
        DataError: One does not exist, or a folder has no photographs.
    """
    found: list[tuple[Path, Path]] = []
    for source in sources:
        if source.is_dir():
            places = sorted(Path(candidate.path) for candidate in candidates(source))
            root, made = source.resolve(), output.resolve()
            if made != root and made.is_relative_to(root):
                places = [place for place in places if not (root / place).is_relative_to(made)]
            if not places:
                raise DataError(f"{source}: no photographs in this folder")
            found += [(source / place, place) for place in places]
        elif source.exists():
            found.append((source, Path(source.name)))
        else:
            raise DataError(f"{source}: no such file")
    return found


def targets(photographs: Sequence[tuple[Path, Path]], folder: Path) -> list[tuple[Path, Path]]:
    """Pair each photograph with the file to write: of its own format where that can be written, else a PNG.

    Args:
        photographs: As from `gather` or `held_out`.
        folder: Where to write.

    Raises:
        DataError: Two would get one name, or a photograph would be written over.
    """
    originals = {source.resolve() for source, _ in photographs}
    owners: dict[Path, Path] = {}
    for source, place in photographs:
        target = folder / (place if place.suffix.lower() in photo.WRITTEN else place.with_suffix(".png"))
        if target in owners:
            raise DataError(f"{source} and {owners[target]} would both become {target}; colour them apart (-o)")
        if target.resolve() in originals:
            raise DataError(f"{target}: would be written over; name another directory with -o")
        owners[target] = source
    return [(source, target) for target, source in owners.items()]


def colorize_files(
    generator: keras.Model, pairs: Sequence[tuple[Path, Path]], *, side_by_side: bool = False
) -> Iterator[Outcome]:
    """Colour photographs one after the other; one that fails does not stop the rest.

    Args:
        generator: As from `load_generator`.
        pairs: Each photograph, and the file to write.
        side_by_side: Write the grey picture and the coloured one next to each other.

    Yields:
        What became of each.
    """
    for source, target in pairs:
        try:
            rgb = photo.read(source)
            coloured = colorize(generator, rgb)
            if side_by_side:
                grey = join(tf.constant(rgb), tf.zeros((1, 1, 2))).numpy()
                coloured = np.concatenate([grey, coloured], axis=1)
            photo.write(target, coloured)
        except DataError as error:
            yield Outcome(source, None, str(error))
        except (MemoryError, tf.errors.ResourceExhaustedError):
            yield Outcome(source, None, f"{source}: too large for this machine's memory")
        else:
            yield Outcome(source, target)
