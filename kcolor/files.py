"""Writing that leaves the old file or the new one, never half of one."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kcolor.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the path that is yielded; it takes the place of `path` when the block ends well.

    The target may be a file or a folder. The temporary name lies beside it and keeps its suffix. If the block raises,
    `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:100]}."))
    try:
        temporary = folder / path.name
        yield temporary
        if not path.is_dir():
            temporary.replace(path)
            return
        # A folder is not replaced in one move; killed between the two, neither is there under its name.
        former = path.rename(folder / "former")
        try:
            temporary.rename(path)
        except OSError:
            former.rename(path)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """A text file to write to, which takes the place of `path` when the block ends well and it is on the disk.

    Any file name can be written to it, even one that is not UTF-8.

    Raises:
        DataError: It cannot be written; `path` is as it was.
    """
    try:
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; mend that, and run it again") from error


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; of a folder, that of the hashes and names of the files in it."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{digest(file)}  {file.relative_to(path).as_posix()}\n" for file in inside)
    return hashlib.sha256(lines.encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        DataError: It cannot be written; `path` is as it was.
    """
    with whole_text(path) as file:
        file.write(text)
