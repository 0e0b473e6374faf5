"""Which photographs, and into which files: what `kcolor.jobs` says, of millions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import apache_beam
from apache_beam.pvalue import TaggedOutput

from kcolor import files, jobs
from kcolor.beam import storage
from kcolor.beam.running import count
from kcolor.beam.shards import dead_letter
from kcolor.beam.storage import Name
from kcolor.data.manifest import MANIFEST_MARK, Manifest
from kcolor.errors import DataError
from kcolor.outcomes import FAILED


@dataclass(frozen=True)
class Sources:
    """Which photographs.

    Args:
        named: Files, folders, and patterns; absolute.
        listed: A manifest, or a file with a name a line; None: there is none.
        root: What the names of a list are relative to; absolute.
    """

    named: tuple[str, ...]
    listed: str | None = None
    root: str = ""


class Find(apache_beam.PTransform):
    """From sources to (photograph, coloured file) as bytes; and what is refused.

    Args:
        sources: Which photographs.
        output: The folder that they are coloured into.
        format: A key of `kcolor.jobs.SUFFIX`; None: the photograph's own.
    """

    def __init__(self, sources: Sources, output: str, format: str | None) -> None:
        super().__init__()
        self._sources, self._output, self._format = sources, output, format

    def expand(self, pipeline: apache_beam.Pipeline) -> Any:
        """``apart``: what is to be coloured; ``refused``: dead letters."""
        given = [("named", storage.packed(name)) for name in self._sources.named]
        given += [("listed", storage.packed(self._sources.listed))] if self._sources.listed else []
        found = (
            pipeline
            | "sources" >> apache_beam.Create(given)
            | "spread" >> apache_beam.Reshuffle()
            | "find"
            >> apache_beam.ParDo(_Find(self._sources.root, self._output, self._format)).with_outputs(
                "refused", main="found"
            )
        )
        apart = (
            found.found
            | "by file" >> apache_beam.GroupByKey()
            | "apart" >> apache_beam.ParDo(_Apart()).with_outputs("refused", main="apart")
        )
        refused = (found.refused, apart.refused) | "all refused" >> apache_beam.Flatten()
        return {"apart": apart.apart, "refused": refused}


class _Find(apache_beam.DoFn):
    """From a source to each file that is given or would be written, with (photograph, coloured file) of the latter."""

    def __init__(self, root: str, output: str, format: str | None) -> None:
        self._root, self._output, self._format = root, output, format

    def process(self, element: tuple[str, Name]) -> Iterator[Any]:
        kind, source = element[0], storage.unpacked(element[1])
        try:
            none = True
            for name, place in self._listed(source) if kind == "listed" else storage.find(source, self._output):
                none = False
                if not place:
                    below = f"does not lie below {files.shown(self._root)}; say --root"
                    yield _refused(name, f"{files.shown(name)}: {below}")
                    continue
                target = storage.join(self._output, jobs.named(Path(place), self._format))
                yield storage.packed(storage.real(name)), None
                yield storage.packed(storage.real(target)), (storage.packed(name), storage.packed(target))
            if none:
                yield _refused(source, f"{files.shown(source)}: no photographs here; name another")
        except DataError as error:
            yield _refused(source, str(error))

    def _listed(self, source: str) -> Iterator[tuple[str, str]]:
        """The photographs of a manifest, those that are out of training too, or of a list; no place: not below."""
        names = storage.lines(source)
        first = next(names, b"")
        if first.startswith(MANIFEST_MARK.encode()):
            with storage.near(source) as path:
                manifest = Manifest.load(path)
            yield from ((str(manifest.root / row.path), row.path) for row in manifest.photos)
            return
        root = self._root.rstrip("/") + "/"
        for name in map(storage.unpacked, chain([first], names)):
            if name.strip():
                # Absolute, as ".." could lead out of the root, and so out of the output.
                whole = storage.absolute(name if storage.is_remote(name) else storage.join(self._root, name))
                yield whole, whole.removeprefix(root) if whole.startswith(root) else ""


class _Apart(apache_beam.DoFn):
    """From a file and all that would become it to one photograph, if it is one, and none is written over."""

    def process(self, element: tuple[Name, Iterable[tuple[Name, Name] | None]]) -> Iterator[Any]:
        _, givens = element
        pairs = set(givens)
        one_each = {storage.real(storage.unpacked(pair[0])): pair for pair in sorted(filter(None, pairs), reverse=True)}
        photographs = sorted(one_each.values())
        names = [storage.unpacked(source) for source, _ in photographs]
        for place, (source, target) in enumerate(photographs):
            if None in pairs:
                yield _refused(names[place], jobs.over_an_original(storage.unpacked(target)))
            elif len(photographs) > 1:
                yield _refused(names[place], jobs.of_one_name(names[place], names[place - 1], storage.unpacked(target)))
            else:
                yield source, target


def _refused(source: str, why: str) -> TaggedOutput:
    count(FAILED)
    return TaggedOutput("refused", dead_letter(source, why))
