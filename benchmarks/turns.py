"""Processes that take turns, so that what else the machine does falls on all of them alike."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[1]

# kcolor is imported before this checkout's own can be found, so that a worker can measure another one's.
_START = """
import sys
root, here, module, *sys.argv[1:] = sys.argv[1:]
if root:
    sys.path.insert(0, root)
    import kcolor
sys.path.insert(0, here)
import importlib
importlib.import_module(module).work(*sys.argv[1:])
"""


class Worker:
    """A process that makes something ready, and measures it each time that it is asked.

    Args:
        module: Whose function `work` it runs; see `serve`.
        arguments: Of that function.
        python: The interpreter.
        checkout: Where its kcolor is; None: it needs none.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        python: str | Path = sys.executable,
        checkout: Path | None = ROOT,
    ) -> None:
        root = "" if checkout is None else str(checkout.resolve())
        # Threads of OpenMP that spin while they wait would take the other workers' time.
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [str(python), "-P", "-c", _START, root, str(ROOT), module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = self._answer()

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer to a question."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with status {self.process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def serve(about: Mapping[str, Any], answer: Callable[..., Mapping[str, Any]]) -> None:
    """In a worker: say that it is ready, and answer each question by what `answer` gives of it.

    Args:
        about: What is said at once.
        answer: From a question's keys to the answer's.
    """
    # What libraries print is not to be taken for an answer.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        print(json.dumps(about), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(**json.loads(line))), file=out, flush=True)


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """What is told of the times of one thing: the median, the least, and how far they lie apart as a share of it."""
    median = statistics.median(seconds)
    return {
        "median_s": median,
        "least_s": min(seconds),
        "range_over_median": (max(seconds) - min(seconds)) / median,
        "rounds": len(seconds),
    }
