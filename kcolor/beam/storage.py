"""Files by name, on a disk or on whatever Beam has a file system for (``gs://``, ``s3://``, ``hdfs://`` and so on).

What lies on a disk is a path and is left to the rest of kcolor; this is for what must serve both. Names are texts, as
Beam has them.
"""

import mimetypes
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from kcolor import files, jobs, outcomes, photo
from kcolor.errors import DataError

# Where a file appears when it is whole. Elsewhere it is written under another name first.
_WHOLE_AT_ONCE = frozenset({"gs", "s3", "azfs"})


# A name as Beam compares and carries it, since not every one is UTF-8.
Name = bytes


def packed(name: str) -> Name:
    """A name as it travels."""
    return name.encode(errors="surrogateescape")


def unpacked(name: Name) -> str:
    """A name as it is used."""
    return name.decode(errors="surrogateescape")


def is_remote(name: str) -> bool:
    """Whether it is for one of Beam's file systems, and not a path here."""
    return "://" in name


def absolute(name: str) -> str:
    """The same from whatever folder it is asked for; links are not followed."""
    return name if is_remote(name) else os.path.abspath(name)  # noqa: PTH100


def real(name: str) -> str:
    """Where links lead."""
    return name if is_remote(name) else os.path.realpath(name)


def join(folder: str, place: str | Path) -> str:
    """A name below a folder."""
    return f"{folder.rstrip('/')}/{place}" if is_remote(folder) else str(Path(folder, place))


def check(name: str) -> None:
    """Make sure that there is a file system for it.

    Raises:
        DataError: There is none, or what Beam needs for it is not installed.
    """
    if is_remote(name):
        try:
            FileSystems.get_filesystem(name)
        except (ValueError, OSError, ImportError) as error:
            raise DataError(f"{files.shown(name)}: {' '.join(str(error).split())}") from error


def stamp(name: str) -> tuple[int, int] | None:
    """Bytes and time of change, in nanoseconds; None if it cannot be looked at."""
    if not is_remote(name):
        return outcomes.stamp(Path(name))
    try:
        known = FileSystems.get_filesystem(name).metadata(name)
    except Exception:  # what cannot be looked at is told when it is to be read
        return None
    return known.size_in_bytes, round(1e9 * known.last_updated_in_seconds)


def exists(name: str) -> bool:
    """Whether something of this name is there."""
    return FileSystems.exists(name) if is_remote(name) else os.path.lexists(name)


def fetch(name: str, path: Path) -> None:
    """Copy a remote file to the disk.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with FileSystems.open(name, compression_type=CompressionTypes.UNCOMPRESSED) as far, path.open("wb") as near:
            shutil.copyfileobj(far, near, 1 << 20)
    except Exception as error:  # each file system has its own
        raise DataError(f"{files.shown(name)}: cannot be read: {files.reason(error)}") from error


@contextmanager
def near(name: str) -> Iterator[Path]:
    """A file on the disk, under its own name: it may be there already.

    Raises:
        DataError: It cannot be read.
    """
    if not is_remote(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="kcolor-") as folder:
        path = Path(folder, PurePosixPath(name).name)
        fetch(name, path)
        yield path


def put(path: Path, name: str) -> None:
    """Copy a file from the disk to a remote name, where it appears when it is whole.

    Raises:
        DataError: It cannot be written.
    """
    at_once = FileSystems.get_scheme(name) in _WHOLE_AT_ONCE
    first = name if at_once else join(name.rpartition("/")[0], f".{uuid.uuid4().hex}.part")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    try:
        with (
            path.open("rb") as near,
            FileSystems.create(first, kind, compression_type=CompressionTypes.UNCOMPRESSED) as far,
        ):
            shutil.copyfileobj(near, far, 1 << 20)
        if not at_once:
            FileSystems.rename([first], [name])
    except Exception as error:
        raise DataError(f"{files.shown(name)}: cannot be written: {files.reason(error)}") from error


def lines(name: str) -> Iterator[bytes]:
    """The lines of a text file, without their ends.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with FileSystems.open(name, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            for line in file:
                yield line.rstrip(b"\r\n")
    except Exception as error:
        raise DataError(f"{files.shown(name)}: cannot be read: {files.reason(error)}") from error


def find(source: str, output: str) -> Iterator[tuple[str, str]]:
    """Photographs, each with its place below the folder it was found in: see `kcolor.jobs.find`.

    Args:
        source: A file, a folder, or a pattern; of a remote one ``*`` and ``**`` are understood.
        output: What lies in it is not taken, unless it is the source itself.

    Raises:
        DataError: A remote one cannot be listed.
    """
    if not is_remote(source):
        folder = None if is_remote(output) else Path(output)
        yield from ((str(path), str(place)) for path, place in jobs.find(Path(source), folder))
        return
    fixed = source[: min((source.index(sign) for sign in "*?[" if sign in source), default=len(source))]
    # Folders are parts of names: one is there if something is in it.
    within = _matching(join(source, "**")) if fixed == source else []
    root = join(source if within else fixed.rpartition("/")[0], "")
    made = join(output, "")
    for known in within or _matching(source):
        if made != root and known.path.startswith(made):
            continue
        if fixed == known.path or PurePosixPath(known.path).suffix.lower() in photo.SUFFIXES:
            yield known.path, known.path.removeprefix(root)


def inside(folder: str, pattern: str) -> list[str]:
    """The names that match a pattern in a folder; none where there is no such folder.

    Raises:
        DataError: It cannot be listed.
    """
    if not is_remote(folder):
        return sorted(str(path) for path in Path(folder).glob(pattern))
    return sorted(known.path for known in _matching(join(folder, pattern)))


def _matching(pattern: str) -> list[Any]:
    try:
        return list(FileSystems.match([pattern])[0].metadata_list)
    except Exception as error:
        raise DataError(f"{files.shown(pattern)}: cannot be listed: {files.reason(error)}") from error


def remove(names: Sequence[str]) -> None:
    """Delete files that are no longer of use, as far as they can be."""
    with suppress(Exception):
        FileSystems.delete(list(names))
