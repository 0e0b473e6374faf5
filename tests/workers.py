"""Several processes of kcolor that train together on this machine, as several machines do."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PATIENCE = 150  # seconds


def addresses(count: int) -> list[str]:
    """As many ports of this machine that nobody uses."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def config(where: list[str], index: int) -> str:
    return json.dumps({"cluster": {"worker": where}, "task": {"type": "worker", "index": index}})


@contextmanager
def started(words: list[list], folder: Path) -> Iterator[list[subprocess.Popen]]:
    """A process of kcolor for each list of words; none is left behind."""
    where = addresses(len(words))
    processes = []
    try:
        for index, each in enumerate(words):
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "kcolor", *map(str, each)],
                    cwd=folder,
                    env={**os.environ, "TF_CONFIG": config(where, index)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def ended(processes: list[subprocess.Popen]) -> tuple[list[int], list[str], list[str]]:
    """When all have ended: their statuses, and what each said on standard output and on standard error."""
    deadline = time.monotonic() + PATIENCE
    told = [process.communicate(timeout=max(deadline - time.monotonic(), 1)) for process in processes]
    return [process.returncode for process in processes], [out for out, _ in told], [err for _, err in told]
