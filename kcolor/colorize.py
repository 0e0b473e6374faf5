"""Colour many photographs: reading, the network, and joining and writing go on at the same time.

A batch can be stopped at any time and run again. One photograph that fails does not stop the rest, and none is given
back grey without a word.
"""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from kcolor import color, files, photo
from kcolor.colorizer import BATCH, Colorizer
from kcolor.data.survey import has_colour
from kcolor.errors import DataError, RunError
from kcolor.jobs import Job
from kcolor.join import join
from kcolor.outcomes import COLOURED, FAILED, SKIPPED, Outcome, Outcomes, stamp
from kcolor.photo import Photograph
from kcolor.run import owner
from kcolor.upsample import UPSAMPLERS

# Photographs are read, seen by the network and written in groups of at most so many pixels, or of one that has more.
# Three groups are in memory: one that is read, one that is seen, and one that is written.
PIXELS = 2**24
# In CIE units of mean chroma: a grey picture has 0, and what people call a pale one about 5.
COLOURLESS = 2.0
THUMBNAIL = 256
# Photographs that are skipped are told of in groups, too.
_TOLD_AT_ONCE = 64
_NAN = "the network gives NaN for it: a broken model, or one that does not suit it; take another"


@dataclass(frozen=True)
class Settings:
    """How photographs are coloured.

    Args:
        upsample: A key of `kcolor.upsample.UPSAMPLERS`.
        saturation: What chroma is multiplied by.
        side_by_side: Write the grey picture and the coloured one next to each other.
        only_grey: Leave photographs alone that have colours.
        format: A key of `kcolor.jobs.SUFFIX`; None: what the target's name says.
        quality: 1 to 100, where the format loses some; None: `kcolor.photo.QUALITY`.
        max_pixels: Larger photographs are refused.
    """

    upsample: str = "guided"
    saturation: float = 1.0
    side_by_side: bool = False
    only_grey: bool = False
    format: str | None = None
    quality: int | None = None
    max_pixels: int = photo.MAX_PIXELS


@dataclass(frozen=True)
class _Loaded:
    job: Job
    photograph: Photograph
    notes: tuple[str, ...]
    stamp: tuple[int, int] | None
    started: float


_Finished = tuple[Outcome, np.ndarray | None]
_Group = list[Outcome | Future[_Loaded | Outcome]]


def colorize_files(
    colorizers: Sequence[Colorizer],
    jobs: Iterable[Job],
    settings: Settings,
    *,
    outcomes: Outcomes | None = None,
    overwrite: bool = False,
    on_picture: Callable[[np.ndarray], None] | None = None,
) -> Generator[Outcome]:
    """Colour photographs, and write each whole or not at all.

    Each keeps its own lightness, in 16 bits where it has them, and what its file says; a note in XMP says where the
    colours are from.

    Args:
        colorizers: One, or one for each variant; of one model.
        jobs: Each photograph, and the file to write; of several variants the first is called ``name.1.jpg``.
        settings: How.
        outcomes: What became of photographs before: those that are done are skipped, and each outcome is added.
        overwrite: Colour those that are done anew.
        on_picture: Called with each coloured picture, (height, width, 3) uint8, at most `THUMBNAIL` pixels a side.

    Yields:
        What became of each, in order.

    Raises:
        DataError: An outcome cannot be written down.
    """
    note = photo.Note(_name_of(colorizers[0]), colorizers[0].sha256)
    done = outcomes.done if outcomes and not overwrite else lambda source, made: ""

    def groups() -> Iterator[_Group]:
        group: _Group = []
        reading = pixels = 0
        for job in jobs:
            made = targets(job, len(colorizers))
            if why := done(job.source, made):
                group.append(Outcome(job.source, SKIPPED, made, why))
            else:
                more = _pixels(job.source)
                if reading and pixels + more > PIXELS:
                    yield group
                    group, reading, pixels = [], 0, 0
                group.append(pool.submit(_load, job, settings, anew=overwrite))
                reading, pixels = reading + 1, pixels + more
            if reading == BATCH or len(group) == _TOLD_AT_ONCE:
                yield group
                group, reading, pixels = [], 0, 0
        yield group

    def see(group: _Group) -> list[Outcome | Future[_Finished]]:
        loaded = [each.result() if isinstance(each, Future) else each for each in group]
        seen = iter(_colours(colorizers, [each for each in loaded if isinstance(each, _Loaded)]))
        return [
            pool.submit(_finish, each, next(seen), settings, note, small=on_picture is not None)
            if isinstance(each, _Loaded)
            else each
            for each in loaded
        ]

    def told(group: list[Outcome | Future[_Finished]]) -> Iterator[Outcome]:
        while group:
            each = group[0].result() if isinstance(group[0], Future) else group[0]
            group.pop(0)
            outcome, small = each if isinstance(each, tuple) else (each, None)
            if outcomes:
                outcomes.add(outcome)
            if on_picture and small is not None:
                on_picture(small)
            yield outcome

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        written: list[Outcome | Future[_Finished]] = []
        writing: list[Outcome | Future[_Finished]] = []
        try:
            for group in _one_ahead(groups()):
                written, writing = writing, see(group)
                yield from told(written)
            yield from told(writing)
        except BaseException:
            # Who stops in the middle waits for what is being written, and that is not forgotten.
            pool.shutdown(cancel_futures=True)
            if outcomes:
                for each in [*written, *writing]:
                    if isinstance(each, Future) and not each.cancelled() and not each.exception():
                        outcomes.add(each.result()[0])
            raise


def colorize_content(colorizer: Colorizer, data: bytes, name: str, settings: Settings) -> tuple[bytes, tuple[str, ...]]:
    """Colour a file's content, as `colorize_files` does it.

    Args:
        colorizer: A trained generator.
        data: The content.
        name: What it is called in messages.
        settings: How; `only_grey` gives the content back as it is.

    Returns:
        The coloured file's content, in the format of the settings or its own, and what there is to know of it.

    Raises:
        DataError: It cannot be read or written.
        RunError: The model gives NaN.
    """
    photograph = photo.decode(data, name, max_pixels=settings.max_pixels)
    notes = _notes(photograph)
    if settings.only_grey and has_colour(photograph):
        return data, ("has colours already: left as it is",)
    (ab,) = colorizer.predict_many([photograph.rgb8])
    if not np.isfinite(ab).all():
        raise RunError(f"{name}: {_NAN}")
    chroma = _chroma([ab], settings)
    note = photo.Note(_name_of(colorizer), colorizer.sha256)
    made = photo.encode(_coloured(photograph, ab, settings), settings.format, settings.quality, note, name=name)
    return made, notes + _pale(chroma)


def targets(job: Job, variants: int) -> tuple[Path, ...]:
    """The files that are written for a photograph: its target, or ``name.1.jpg`` and so on where there are variants."""
    if variants == 1:
        return (job.target,)
    return tuple(job.target.with_name(f"{job.target.stem}.{k}{job.target.suffix}") for k in range(1, variants + 1))


def _one_ahead(groups: Iterator[_Group]) -> Iterator[_Group]:
    """Each group, when the reading of the next one has begun."""
    following = next(groups, None)
    while following is not None:
        current, following = following, next(groups, None)
        yield current


def _pixels(source: Path) -> int:
    try:
        width, height = photo.size(source)
    except DataError:  # it will be told when it is read
        return 0
    return width * height


def _load(job: Job, settings: Settings, *, anew: bool) -> _Loaded | Outcome:
    started, before = time.monotonic(), stamp(job.source)
    try:
        photograph = photo.read(job.source, max_pixels=settings.max_pixels)
    except DataError as error:
        return Outcome(job.source, FAILED, why=str(error), stamp=before)
    except MemoryError:
        return Outcome(job.source, FAILED, why=_too_large(job.source), stamp=before)
    if settings.only_grey and has_colour(photograph):
        return Outcome(job.source, SKIPPED, why="has colours already", stamp=before)
    if job.source == job.target and not anew and photo.is_coloured_by_kcolor(photograph):
        return Outcome(job.source, SKIPPED, why="coloured by kcolor before; --overwrite does it anew", stamp=before)
    return _Loaded(job, photograph, _notes(photograph), before, started)


def _notes(photograph: Photograph) -> tuple[str, ...]:
    if photo.is_coloured_by_kcolor(photograph):
        return ("was coloured by kcolor before: only its lightness is used",)
    return ("has colours already: only its lightness is used",) if has_colour(photograph) else ()


def _colours(colorizers: Sequence[Colorizer], group: Sequence[_Loaded]) -> Iterator[list[np.ndarray]]:
    """The ab (size, size, 2) of each photograph by each colorizer; none of a group that memory does not suffice for."""
    if not group:
        return iter(())
    photographs = [each.photograph.rgb8 for each in group]
    try:
        by_colorizer = [colorizer.predict_many(photographs) for colorizer in colorizers]
    except (MemoryError, tf.errors.ResourceExhaustedError):
        return iter([[] for _ in group])
    return iter([list(each) for each in zip(*by_colorizer, strict=True)])


def _finish(
    loaded: _Loaded, colours: Sequence[np.ndarray], settings: Settings, note: photo.Note, *, small: bool
) -> _Finished:
    """Join a photograph with its colours, and write it."""
    source, made = loaded.job.source, targets(loaded.job, len(colours) or 1)

    def outcome(status: str, **more: Any) -> Outcome:
        seconds = round(time.monotonic() - loaded.started, 3)
        known = Outcome(source, status, notes=loaded.notes, stamp=loaded.stamp, seconds=seconds)
        return replace(known, **more)

    if not colours:
        return outcome(FAILED, why=_too_large(source)), None
    if not np.isfinite(colours).all():
        return outcome(FAILED, why=f"{files.shown(source)}: {_NAN}"), None
    chroma = _chroma(colours, settings)
    try:
        for ab, target in zip(colours, made, strict=True):
            coloured = _coloured(loaded.photograph, ab, settings)
            photo.write(target, coloured, format=settings.format, quality=settings.quality, note=note)
    except DataError as error:
        return outcome(FAILED, why=str(error)), None
    except (MemoryError, tf.errors.ResourceExhaustedError):
        return outcome(FAILED, why=_too_large(source)), None
    notes = loaded.notes + _lost(loaded.photograph, made[0], settings) + _pale(chroma)
    thumbnail = _small(coloured.rgb8) if small else None
    return outcome(COLOURED, targets=made, notes=notes, chroma=round(chroma, 2)), thumbnail


def _coloured(photograph: Photograph, ab: np.ndarray, settings: Settings) -> Photograph:
    rgb = tf.constant(photograph.rgb)
    ab = tf.constant(settings.saturation * ab, tf.float32)
    coloured = photograph.with_rgb(join(rgb, ab, UPSAMPLERS[settings.upsample]).numpy())
    if settings.side_by_side:
        grey = photograph.with_rgb(join(rgb, tf.zeros((1, 1, 2))).numpy())
        return grey.beside(coloured)
    return coloured


def _chroma(colours: Sequence[np.ndarray], settings: Settings) -> float:
    """Mean chroma in CIE units."""
    return settings.saturation * color.AB_SCALE * float(np.mean(np.hypot(*np.moveaxis(np.asarray(colours), -1, 0))))


def _pale(chroma: float) -> tuple[str, ...]:
    return (f"nearly colourless: a mean chroma of {chroma:.1f}",) if chroma < COLOURLESS else ()


def _lost(photograph: Photograph, target: Path, settings: Settings) -> tuple[str, ...]:
    """What the format has no place for."""
    kind = settings.format or photo.FORMAT_OF.get(target.suffix.lower(), photograph.format)
    lost = []
    if (
        photograph.alpha is not None
        and kind in ("JPEG", "BMP")
        and photograph.alpha.min() < np.iinfo(photograph.alpha.dtype).max
    ):
        lost.append(f"{kind} has no transparency: on white")
    if photograph.rgb.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        lost.append(f"{kind} has 8 bits: 16 were rounded")
    return tuple(lost)


def _too_large(source: Path) -> str:
    return f"{files.shown(source)}: too large for this machine's memory; make it smaller"


def _small(rgb: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(rgb)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(picture)


def _name_of(colorizer: Colorizer) -> str:
    """A model by its run and its place in it, or by its own name: nothing of where they lie."""
    path = colorizer.path.resolve()
    run = owner(path)
    return path.relative_to(run.path.parent).as_posix() if run else path.name
