"""The pictures of a folder examined by a pipeline, for `kcolor.data.survey.survey`, which keeps what is found."""

import json
import tempfile
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import apache_beam
from apache_beam.options.pipeline_options import GoogleCloudOptions

from kcolor.beam import shards, storage
from kcolor.beam.running import Running
from kcolor.data import survey
from kcolor.data.survey import Candidate, Examiner, Facts
from kcolor.errors import RunError


def examiner(where: Running, folder: str | None = None) -> Examiner:
    """Who examines pictures on a runner, whose machines all see the pictures under their names here.

    Args:
        where: The runner.
        folder: That all machines can write to, for what is found on the way; None: one of this machine's own, or
            Beam's option ``temp_location``.

    Raises:
        RunError: The runner is on other machines, and there is no such folder.
    """
    place = folder or where.pipeline_options().view_as(GoogleCloudOptions).temp_location
    if not place and not where.is_direct:
        raise RunError(
            f"--runner {where.name}: say where all its machines can write: --runner-option temp_location=FOLDER"
        )

    def examine(photos: Path, todo: Sequence[Candidate]) -> Generator[list[Facts], None, None]:
        with ExitStack() as stack:
            shared = storage.absolute(place) if place else stack.enter_context(tempfile.TemporaryDirectory())
            run = uuid.uuid4().hex
            given = storage.join(shared, f"todo-{run}.jsonl")
            shards.write(given, "".join(json.dumps(candidate) + "\n" for candidate in todo))

            def build(pipeline: apache_beam.Pipeline) -> None:
                _ = (
                    pipeline
                    | "candidates" >> apache_beam.Create([given])
                    | "read" >> apache_beam.FlatMap(storage.lines)
                    | "spread" >> apache_beam.Reshuffle()
                    | "chunks" >> apache_beam.BatchElements(survey.CHUNK, survey.CHUNK)
                    | "examine" >> apache_beam.ParDo(_Examine(photos))
                    | "found" >> apache_beam.ParDo(shards.Kept(shared, f"facts-{run}-"))
                )

            try:
                where.run(build)
            finally:
                # Also of a pipeline that ended early.
                found = storage.inside(shared, f"facts-{run}-*.jsonl")
                for name in found:
                    yield [Facts(*json.loads(line)) for line in storage.lines(name)]
                storage.remove([given, *found])

    return examine


class _Examine(apache_beam.DoFn):
    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def process(self, chunk: Sequence[bytes]) -> Iterator[str]:
        candidates = [Candidate(*json.loads(line)) for line in chunk]
        yield from (json.dumps(facts) for facts in survey.examine(Path(self._folder), candidates))
