"""What is found out of each file of a folder, once: in parallel, and kept.

It is kept in a file of JSON lines that is added to as the work goes on, so that it can be stopped at any time, and does
over only what is new or changed.
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TextIO, TypeVar

from kcolor import files
from kcolor.errors import DataError

CHUNK = 16  # files a task: few, so that progress is smooth and Ctrl-C waits for little
PARALLEL_FROM = 64  # files: below, starting worker processes takes longer than the work
CHUNKS_IN_FLIGHT = 3  # for each worker, so that none waits and little is left to finish after Ctrl-C
NEVER_REUSED = -1  # as a modification time: matches no file


class Candidate(NamedTuple):
    """A file to look at: relative path, bytes, and when it was last changed."""

    path: str
    size: int
    mtime_ns: int


# What is found out of a file: a tuple that begins with its `Candidate`.
Entry = TypeVar("Entry", bound=tuple)


@dataclass(frozen=True)
class Book(Generic[Entry]):
    """A file of JSON lines, a line an entry, under a first line that says what they are.

    Args:
        path: The file.
        header: The first line; where there is another one of the same kind, the file is begun anew.
        kind: What it is called; also the first of the header's keys, as ``kcolor_<kind>``.
        entry: Makes an entry of what stands in a line.
    """

    path: Path
    header: Mapping[str, Any]
    kind: str
    entry: Callable[..., Entry]


def gather(
    book: Book[Entry],
    wanted: Sequence[Candidate],
    examine: Callable[[Sequence[Candidate]], Generator[list[Entry], None, None]],
    *,
    present: Container[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """An entry of each file; only those that are new or changed since they were last looked at are examined.

    Args:
        book: Where entries are kept.
        wanted: The files.
        examine: Entries of files, so many at a time, in any order.
        present: Paths whose entries stay, also if they are not wanted this time; None: all.
        on_progress: Called with the number of files that are done and that of all.

    Returns:
        The entries, in the order of `wanted`.

    Raises:
        DataError: The file is something else, or cannot be read or written.
    """
    known, lines = _read(book)
    todo = [candidate for candidate in wanted if not _is_current(known.get(candidate.path), candidate)]
    done = len(wanted) - len(todo)
    report = on_progress or (lambda done, total: None)
    report(done, len(wanted))
    if todo:
        with _appended(book, anew=lines == 0) as file, closing(examine(todo)) as chunks:
            for chunk in chunks:
                file.writelines(json.dumps(entry) + "\n" for entry in chunk)
                file.flush()
                known.update((entry[0], entry) for entry in chunk)
                lines += len(chunk)
                done += len(chunk)
                report(done, len(wanted))
    current = [entry for path, entry in known.items() if present is None or path in present]
    if len(current) != lines:
        _write(book, current)
    return [known[candidate.path] for candidate in wanted]


def _is_current(entry: tuple | None, candidate: Candidate) -> bool:
    return entry is not None and entry[:3] == candidate


def _read(book: Book[Entry]) -> tuple[dict[str, Entry], int]:
    """Entries by path, and the number of lines they came from: 0 where there are none under this header.

    A line that is cut off or damaged is passed over, and its file examined again.
    """
    known: dict[str, Entry] = {}
    lines = 0
    try:
        with book.path.open(encoding="ascii", errors="replace") as file:
            header = file.readline()
            if header != json.dumps(book.header) + "\n":
                if header and not header.startswith(f'{{"kcolor_{book.kind}":'):
                    raise DataError(
                        f"{files.shown(book.path)} is not a {book.kind}: give another name, so that it is not "
                        "overwritten"
                    )
                return {}, 0
            for line in file:
                lines += 1
                try:
                    entry = book.entry(*json.loads(line))
                except (ValueError, TypeError):
                    continue
                known[entry[0]] = entry
    except FileNotFoundError:
        return {}, 0
    except OSError as error:
        raise DataError(f"cannot read the {book.kind} {files.shown(book.path)}: {error.strerror}") from error
    return known, lines


@contextmanager
def _appended(book: Book[Entry], *, anew: bool) -> Iterator[TextIO]:
    """The file, open for adding lines to it, whatever its last line was when the work was stopped before."""
    path = book.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if anew:
            path.write_text(json.dumps(book.header) + "\n", encoding="ascii")
        elif not _ends_its_line(path):
            with path.open("a", encoding="ascii") as file:
                file.write("\n")
        with path.open("a", encoding="ascii") as file:
            yield file
    except OSError as error:
        raise DataError(
            f"cannot write the {book.kind} {files.shown(path)}: {error.strerror}; mend that, and it goes on there"
        ) from error


def _ends_its_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _write(book: Book[Entry], entries: Iterable[Entry]) -> None:
    with files.whole_text(book.path) as file:
        file.write(json.dumps(book.header) + "\n")
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def in_processes(
    examine: Callable[[Sequence[Candidate]], list[Entry]],
    folder: Path,
    todo: Sequence[Candidate],
    workers: int | None,
    *,
    chunk: int = CHUNK,
) -> Generator[list[Entry], None, None]:
    """Entries of all files, a chunk at a time, in no particular order; of few of them in this process.

    Args:
        examine: Makes the entries of some files; it goes to other processes, so a function of a module or a
            `functools.partial` of one.
        folder: What is told of where that fails.
        todo: The files.
        workers: Processes; all processors when None.
        chunk: Files a task.

    Raises:
        DataError: A process was ended from outside.
    """
    workers = workers or os.cpu_count() or 1
    chunks = (todo[start : start + chunk] for start in range(0, len(todo), chunk))
    if workers == 1 or len(todo) < PARALLEL_FROM:
        for some in chunks:
            yield examine(some)
        return
    # Spawned, not forked: the caller may have started TensorFlow, whose threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    running: set[Future[list[Entry]]] = set()
    try:
        while True:
            room = CHUNKS_IN_FLIGHT * workers - len(running)
            running |= {pool.submit(examine, some) for some in islice(chunks, room)}
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"a process that read photos in {files.shown(folder)} was ended, perhaps for lack of memory: "
            "run it again with fewer workers, and it goes on from here"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of a terminal: the parent alone answers it, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
