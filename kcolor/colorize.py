"""Colour photographs with a trained generator, at their own size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import tensorflow as tf

from kcolor import color, files, image, photo, upsample
from kcolor.colorizer import Colorizer
from kcolor.errors import DataError
from kcolor.manifest import Manifest
from kcolor.run import Run, owner
from kcolor.survey import candidates
from kcolor.upsample import Upsampler

# Pixels that are computed at once: memory does not grow with the photograph, and one shape is compiled for all of them.
_STRIP = 2**18


def colorize(colorizer: Colorizer, rgb: tf.Tensor, upsampler: Upsampler = upsample.guided) -> tf.Tensor:
    """Colour photographs of one size: their own L, with the colours that the generator sees in them when small.

    Args:
        colorizer: A trained generator.
        rgb: (..., height, width, 3) uint8, one photograph or several; their colours, if any, are not looked at.
        upsampler: How the colours are enlarged.

    Returns:
        (..., height, width, 3) uint8.
    """
    rgb = tf.convert_to_tensor(rgb)
    return join(rgb, predict(colorizer, rgb)["ab"], upsampler)


def predict(colorizer: Colorizer, rgb: tf.Tensor) -> dict[str, tf.Tensor]:
    """What the generator says of photographs, which it sees shrunk to its own size.

    Args:
        colorizer: A trained generator.
        rgb: (..., height, width, 3) uint8, one photograph or several.

    Returns:
        "ab" (..., size, size, 2), scaled to [-1, 1], and, where it classifies, "logits" (..., classes).
    """
    l = color.lightness(image.fit_square(rgb, colorizer.size))
    if l.shape.rank == 4:
        return colorizer(l)
    return {name: value[0] for name, value in colorizer(l[tf.newaxis]).items()}


def join(rgb: tf.Tensor, ab: tf.Tensor, upsampler: Upsampler = upsample.guided) -> tf.Tensor:
    """Enlarge ab to a photograph's size and join it with the photograph's own L.

    Where sRGB does not have the colour, it loses chroma, not lightness (`kcolor.color.fit_gamut`). Works strip by strip:
    beside the photograph and the result it takes a few hundred megabytes, whatever their size.

    Args:
        rgb: (..., height, width, 3) uint8 or uint16, one photograph or several.
        ab: (..., size, size, 2), scaled to [-1, 1]; the size is known.
        upsampler: How ab is enlarged.

    Returns:
        (..., height, width, 3) of the photograph's type.
    """
    rgb, ab = tf.convert_to_tensor(rgb), tf.cast(ab, tf.float32)
    if rgb.shape.rank == 3:
        return _join_one(rgb, ab, upsampler)
    photos, colours = (tf.reshape(x, tf.concat([[-1], tf.shape(x)[-3:]], axis=0)) for x in (rgb, ab))
    made = tf.map_fn(
        lambda pair: _join_one(*pair, upsampler),
        (photos, tf.ensure_shape(colours, (None, *ab.shape[-3:]))),
        fn_output_signature=tf.TensorSpec(rgb.shape[-3:], tf.uint8),
        parallel_iterations=1,
    )
    return tf.reshape(made, tf.shape(rgb))


def _join_one(rgb: tf.Tensor, ab: tf.Tensor, upsampler: Upsampler) -> tf.Tensor:
    height, width = tf.unstack(tf.shape(rgb)[:2])
    plan = upsampler.plan(ab, color.lightness(image.fit_square(rgb, ab.shape[0])), height, width)
    most = tf.clip_by_value(_STRIP // width, 1, height)
    # A graph that is exported goes to where XLA may not be, and a small photograph is done before it has compiled.
    is_compiled = tf.executing_eagerly() and int(most) < int(height)
    finish = partial(_in_one_shape, upsampler) if is_compiled else partial(_finished, upsampler)

    def strip(first: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        count = tf.minimum(most, height - first)
        enlarged = upsample.rows(plan, first, count, height, width)
        return first + count, made.write(first // most, finish(rgb[first : first + count], *enlarged, plan.origin))

    strips = tf.TensorArray(tf.uint8, 0, dynamic_size=True, infer_shape=False, element_shape=(None, *rgb.shape[1:]))
    _, strips = tf.while_loop(lambda first, _: first < height, strip, (0, strips), parallel_iterations=1)
    return tf.ensure_shape(strips.concat(), rgb.shape)


def _finished(
    upsampler: Upsampler, rgb: tf.Tensor, cubic: tf.Tensor, linear: tf.Tensor, origin: tf.Tensor, *, dense: bool = False
) -> tf.Tensor:
    """uint8 pixels of the photograph's own and of the enlarged plan's, (..., channels) each."""
    l = color.lightness(rgb)
    return color.merge(l, color.fit_gamut(l, upsampler.finish(cubic, linear, l) + origin, dense=dense))


def _in_one_shape(upsampler: Upsampler, rgb: tf.Tensor, *rest: tf.Tensor) -> tf.Tensor:
    """`_finished`, compiled by XLA, in an eighth of the time; for each shape anew, so all strips are given the same."""
    *enlarged, origin = rest
    count = int(tf.size(rgb)) // 3
    filling = [[0, -count % _STRIP], [0, 0]]
    padded = [tf.pad(tf.reshape(x, (count, x.shape[-1])), filling) for x in (rgb, *enlarged)]
    return tf.reshape(_compiled(upsampler)(*padded, origin)[:count], rgb.shape)


@cache
def _compiled(upsampler: Upsampler) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(partial(_finished, upsampler, dense=True), jit_compile=True, autograph=False)


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
            ab = predict(colorizer, tf.constant(photograph.rgb8))["ab"]
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
