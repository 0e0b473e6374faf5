"""Writing that leaves the old file or the new one, never half of one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the path that is yielded; it takes the place of `path` when the block ends well.

    The target may be a file or a folder. The temporary name lies beside it and keeps its suffix. If the block raises, `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:100]}."))
    try:
        temporary = folder / path.name
        yield temporary
        if path.is_dir():  # a folder is not replaced in one move
            path.rename(folder / "former")
        temporary.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, and make sure that it is on the disk."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
