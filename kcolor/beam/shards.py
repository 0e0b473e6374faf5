"""JSON lines that many machines write at once: each file whole, written as the work goes on.

What Beam writes appears when the whole pipeline has ended, and not at all if it does not. By these files a pipeline
that was killed goes on.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import apache_beam

from kcolor import files
from kcolor.beam import storage

# A file is written after so many lines, or so many seconds.
_LINES, _SECONDS = 1000, 30.0


class Kept(apache_beam.DoFn):
    """Writes down each element, a line, and passes it on.

    A bundle that Beam runs again is written again.

    Args:
        folder: Where to.
        prefix: What the names of the files begin with.
        seconds: After which what there is becomes a file.
    """

    def __init__(self, folder: str, prefix: str, seconds: float = _SECONDS) -> None:
        self._folder, self._prefix, self._seconds = folder, prefix, seconds
        self._lines: list[str] = []
        self._since = 0.0

    def process(self, element: str) -> Iterator[str]:
        """Write it down with those before it."""
        if not self._lines:
            self._since = time.monotonic()
        self._lines.append(f"{element}\n")
        if len(self._lines) >= _LINES or time.monotonic() - self._since > self._seconds:
            self._write()
        yield element

    def finish_bundle(self) -> None:
        """Write down the rest."""
        if self._lines:
            self._write()

    def _write(self) -> None:
        write(storage.join(self._folder, f"{self._prefix}{uuid.uuid4().hex}.jsonl"), "".join(self._lines))
        self._lines = []


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
