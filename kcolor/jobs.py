"""Which photographs are to be coloured, and into which files."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kcolor import files, photo
from kcolor.data.manifest import Manifest
from kcolor.data.survey import candidates
from kcolor.errors import DataError
from kcolor.run import Run

# The suffix of each format that can be written.
SUFFIX = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "HEIF": ".heic",
    "BMP": ".bmp",
}


class Job(NamedTuple):
    """A photograph, and the file that its coloured one goes to."""

    source: Path
    target: Path


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


def gather(sources: Sequence[Path], output: Path | None) -> list[tuple[Path, Path]]:
    """Photographs, each with its place below the folder it was found in.

    Args:
        sources: Files, folders, which are taken whole, and patterns such as ``album/**/*.jpg``, whose photographs have
            their places below ``album``.
        output: A folder inside one of them, what was coloured before, is not taken. None: there is none.

    Raises:
        DataError: One does not exist, or a folder has no photographs.
    """
    found: list[tuple[Path, Path]] = []
    for source in sources:
        if inside := sorted(find(source, output)):
            found += inside
        elif source.is_dir():
            raise DataError(f"{files.shown(source)}: no photographs in this folder; name another")
        else:
            raise DataError(f"{files.shown(source)}: no such file or folder; look at the name")
    return found


def find(source: Path, output: Path | None) -> Iterator[tuple[Path, Path]]:
    """As `gather`, of one source: one after the other, in no order, and none where there are none."""
    if source.is_dir():
        made = _below(output, source)
        for candidate in candidates(source):
            place = Path(candidate.path)
            if not made or not place.is_relative_to(made):
                yield source / place, place
    elif source.exists() or source.is_symlink():
        yield source, Path(source.name)
    elif glob.has_magic(str(source)):
        root = _fixed(source)
        made = _below(output, root)
        for name in glob.iglob(str(source), recursive=True):  # noqa: PTH207
            place = Path(name).relative_to(root)
            if place.suffix.lower() in photo.SUFFIXES and not (made and place.is_relative_to(made)):
                yield Path(name), place


def _below(output: Path | None, root: Path) -> Path | None:
    """Where in a folder the output lies, if it does: what is there was made, and is not to be coloured."""
    if output is None:
        return None
    made, top = output.resolve(), root.resolve()
    return made.relative_to(top) if made != top and made.is_relative_to(top) else None


def pair(photographs: Sequence[tuple[Path, Path]], folder: Path, format: str | None = None) -> list[Job]:
    """Pair each photograph with the file to write.

    Args:
        photographs: As from `gather` or `held_out`; what is there twice is taken once.
        folder: Where to write.
        format: A key of `SUFFIX`; None: the photograph's own, by its name, or PNG where that cannot be written.

    Raises:
        DataError: Two would get one name, or a photograph would be written over.
    """
    originals = {_real(source) for source, _ in photographs}
    owners: dict[Path, Path] = {}
    for source, place in photographs:
        target = folder / named(place, format)
        if target in owners:
            if _real(owners[target]) == _real(source):
                continue
            raise DataError(of_one_name(source, owners[target], target))
        if _real(target) in originals:
            raise DataError(over_an_original(target))
        owners[target] = source
    return [Job(source, target) for target, source in owners.items()]


def named(place: Path, format: str | None = None) -> Path:
    """What a coloured photograph is called: as the photograph, but for a suffix that says its format.

    Args:
        place: The photograph's own name, or its path below a folder.
        format: As for `pair`.
    """
    if format:
        return place.with_suffix(SUFFIX[format])
    return place if place.suffix.lower() in photo.WRITTEN else place.with_suffix(".png")


def of_one_name(one: str | Path, other: str | Path, target: str | Path) -> str:
    """What is said of two photographs that would become one file."""
    both = f"{files.shown(one)} and {files.shown(other)}"
    return f"{both} would both become {files.shown(target)}; colour them apart (-o)"


def over_an_original(target: str | Path) -> str:
    """What is said of a photograph that another would be written over."""
    return f"{files.shown(target)}: would be written over; name another folder with -o, or say --in-place"


def in_place(photographs: Sequence[tuple[Path, Path]]) -> list[Job]:
    """Pair each photograph with itself.

    Raises:
        DataError: One is of a format that cannot be written.
    """
    for source, _ in photographs:
        if source.suffix.lower() not in photo.WRITTEN:
            raise DataError(f"{files.shown(source)}: cannot be written in place, in its own format; colour it with -o")
    return [Job(source, source) for source in dict.fromkeys(_real(source) for source, _ in photographs)]


def check_apart(path: Path, work: Sequence[Job]) -> None:
    """Make sure that a file which is to be written is none of a batch's.

    Raises:
        DataError: It is a photograph, or what one becomes.
    """
    if _real(path) in {_real(each) for job in work for each in job}:
        raise DataError(f"{files.shown(path)}: is one of the photographs; choose another name")


def _fixed(pattern: Path) -> Path:
    """The folder that a pattern begins with."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _real(path: Path) -> Path:
    """Where links lead, as far as they do; `Path.resolve` is stopped by a link to itself."""
    return Path(os.path.realpath(path))
