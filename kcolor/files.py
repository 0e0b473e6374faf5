"""Writing that leaves the old file or the new one, never half of one."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from kcolor.errors import DataError

_WHAT_TO_DO = {
    errno.ENOENT: "look at the name",
    errno.EACCES: "change its permissions, or ask who may",
    errno.EPERM: "change its permissions, or ask who may",
    errno.EROFS: "choose another place",
    errno.ENOSPC: "make room, and run it again",
    errno.EDQUOT: "make room, and run it again",
    errno.EFBIG: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "look at where the link leads",
    errno.EEXIST: "there is a file where a folder is meant; choose another place",
    errno.ENOTDIR: "there is a file where a folder is meant; look at the name",
}


def shown(name: str | Path) -> str:
    """A file's name as messages tell it: in one line, whatever is in it.

    Line breaks, other control characters and bytes that are no UTF-8 are told by their number.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))


def reason(error: Exception) -> str:
    """What the system says went wrong, and what can be done about it."""
    said = getattr(error, "strerror", None) or " ".join(str(error).split())
    return f"{said}; {_WHAT_TO_DO.get(getattr(error, 'errno', None) or 0, 'mend that, and run it again')}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the path that is yielded; it takes the place of `path` when the block ends well.

    The target may be a file or a folder. The temporary name lies beside it and keeps its suffix. If the block raises,
    `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Cut, since a name has room for 255 bytes, and a letter may take four.
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}."))
    try:
        temporary = folder / path.name
        yield temporary
        if not path.is_dir():
            with suppress(OSError):  # there is none yet
                shutil.copymode(path, temporary)
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
        raise DataError(f"{shown(path)}: cannot be written: {reason(error)}") from error


def copy(source: Path, path: Path) -> None:
    """Copy a file, whole or not at all.

    Raises:
        DataError: It cannot be written; `path` is as it was.
    """
    try:
        with replacing(path) as temporary:
            shutil.copyfile(source, temporary)
            sync(temporary)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be written: {reason(error)}") from error


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; of a folder, that of the hashes and names of the files in it."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{digest(file)}  {file.relative_to(path).as_posix()}\n" for file in inside)
    return hashlib.sha256(lines.encode()).hexdigest()


def sync(path: Path) -> None:
    """Have a file, or a folder with all that is in it, on the disk: what is renamed then is whole after a power cut."""
    if sys.platform == "win32":  # where only what is open for writing can be
        return
    for each in [*path.rglob("*"), path]:
        opened = os.open(each, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        DataError: It cannot be written; `path` is as it was.
    """
    with whole_text(path) as file:
        file.write(text)
