"""Colour photographs with a trained generator, at their own size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from kcolor import files, photo, upsample
from kcolor.colorizer import Colorizer
from kcolor.errors import DataError
from kcolor.join import join
from kcolor.manifest import Manifest
from kcolor.run import Run, owner
from kcolor.survey import candidates
from kcolor.upsample import Upsampler


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
                raise DataError(f"{files.shown(source)}: no photographs in this folder")
            found += [(source / place, place) for place in places]
        elif source.exists():
            found.append((source, Path(source.name)))
        else:
            raise DataError(f"{files.shown(source)}: no such file")
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
            both = f"{files.shown(source)} and {files.shown(owners[target])}"
            raise DataError(f"{both} would both become {files.shown(target)}; colour them apart (-o)")
        if target.resolve() in originals:
            raise DataError(f"{files.shown(target)}: would be written over; name another directory with -o")
        owners[target] = source
    return [(source, target) for target, source in owners.items()]


def colorize_files(
    colorizer: Colorizer,
    pairs: Sequence[tuple[Path, Path]],
    *,
    side_by_side: bool = False,
    max_pixels: int = photo.MAX_PIXELS,
    upsampler: Upsampler = upsample.guided,
) -> Iterator[Outcome]:
    """Colour photographs one after the other; one that fails does not stop the rest.

    Each keeps its own lightness, in 16 bits where it has them, and what its file says; a note in XMP says where the
    colours are from.

    Args:
        colorizer: A trained generator.
        pairs: Each photograph, and the file to write.
        side_by_side: Write the grey picture and the coloured one next to each other.
        upsampler: How the colours are enlarged.
        max_pixels: The most pixels that a photograph may have.

    Yields:
        What became of each.
    """
    note = photo.Note(_name_of(colorizer), colorizer.sha256)
    for source, target in pairs:
        try:
            photograph = photo.read(source, max_pixels=max_pixels)
            rgb = tf.constant(photograph.rgb)
            ab = colorizer.predict(tf.constant(photograph.rgb8))["ab"]
            coloured = photograph.with_rgb(join(rgb, ab, upsampler).numpy())
            if side_by_side:
                grey = photograph.with_rgb(join(rgb, tf.zeros((1, 1, 2))).numpy())
                coloured = grey.beside(coloured)
            photo.write(target, coloured, note=note)
        except DataError as error:
            yield Outcome(source, None, str(error))
        except (MemoryError, tf.errors.ResourceExhaustedError):
            yield Outcome(source, None, f"{files.shown(source)}: too large for this machine's memory; make it smaller")
        else:
            yield Outcome(source, target)


def _name_of(colorizer: Colorizer) -> str:
    """A model by its run and its place in it, or by its own name: nothing of where they lie."""
    path = colorizer.path.resolve()
    run = owner(path)
    return path.relative_to(run.path.parent).as_posix() if run else path.name
