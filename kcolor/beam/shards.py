"""JSON lines that many machines write at once, each to files of its own, as the work goes on.

What Beam writes appears when the whole pipeline has ended, and not at all if it does not. By these files a pipeline
that was killed goes on.
"""

import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import apache_beam

from kcolor import files
from kcolor.beam import storage
from kcolor.errors import DataError

# Where nothing can be added to a file, one is written after so many lines, or so many seconds.
_LINES, _SECONDS = 1000, 60.0


class Kept(apache_beam.DoFn):
    """Writes down each element, a line, and passes it on; a bundle that Beam runs again is written again.

    On a disk lines are added one by one, so that a kill leaves a whole line or none. Elsewhere a file is written whole.

    Args:
        folder: Where to.
        prefix: What the names of the files begin with.
    """

    def __init__(self, folder: str, prefix: str) -> None:
        self._folder, self._prefix = folder, prefix
        self._descriptor: int | None = None
        self._waiting: list[str] = []
        self._since = 0.0

    def process(self, element: str) -> Iterator[str]:
        """Write it down.

        Raises:
            DataError: It cannot be written.
        """
        if not storage.is_remote(self._folder):
            self._add(f"{element}\n")
        else:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(f"{element}\n")
            if len(self._waiting) >= _LINES or time.monotonic() - self._since > _SECONDS:
                self._write()
        yield element

    def finish_bundle(self) -> None:
        """Write down what is not yet."""
        if self._waiting:
            self._write()

    def teardown(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _add(self, line: str) -> None:
        name = self._name()
        try:
            if self._descriptor is None:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.write(self._descriptor, line.encode())
        except OSError as error:
            raise DataError(f"{files.shown(name)}: cannot be written: {files.reason(error)}") from error

    def _write(self) -> None:
        write(self._name(), "".join(self._waiting))
        self._waiting = []

    def _name(self) -> str:
        return storage.join(self._folder, f"{self._prefix}{uuid.uuid4().hex}.jsonl")


def dead_letter(source: str, why: str) -> str:
    """A line on a photograph that failed."""
    return json.dumps({"source": source, "why": why})


def write(name: str, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        DataError: It cannot be written.
    """
    if not storage.is_remote(name):
        files.write_text(Path(name), text)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines")
        files.write_text(path, text)
        storage.put(path, name)
