"""A trial's process, seen from the study's: started, followed by what it writes, and ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcolor.errors import KcolorError
from kcolor.recipe import Recipe
from kcolor.run import Run

PATIENCE = 120.0  # seconds, for a run to save itself


class FailedError(Exception):
    """A trial that came to nothing, and why, in one line."""


@dataclass(frozen=True)
class Attempt:
    """A trial's process.

    Args:
        run: What it trains.
        log: What it prints.
        process: It.
    """

    run: Run
    log: Path
    process: "subprocess.Popen[bytes]"

    def is_over(self, seconds: float) -> bool:
        """Whether it has ended, within so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def epochs(self) -> list[dict[str, Any]]:
        """The run's history so far."""
        with suppress(ValueError):  # on a disk where it can be seen half-written
            return self.run.read_history()
        return []

    def stop(self) -> None:
        """Have it save itself and end; it is killed if it takes too long over it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                self.process.kill()
        self.process.wait()

    def check(self) -> None:
        """What came of it, once it is over.

        Raises:
            FailedError: The trial cannot be measured.
            KcolorError: Something is wrong that would be wrong with every trial.
        """
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        status = self.process.returncode
        if said:
            told = json.loads(said)
            line = str(told["error"]).splitlines()[0]
            if told["everybodys"]:
                raise KcolorError(f"{line}; the study then goes on with the same command")
            raise FailedError(line)
        # What a run that was stopped exits with, once it has saved itself, and what one that had nothing to save does.
        if status in (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT):
            raise KcolorError(f"{self.run.path}: was stopped; go on with the same command")
        if status < 0:
            hint = "; out of memory?" if -status == signal.SIGKILL else ""
            raise FailedError(f"ended by {signal.Signals(-status).name}{hint}")
        if status:
            last = self.log.read_text("utf-8", "replace").strip().splitlines()[-1:] or [f"exit status {status}"]
            raise FailedError(f"{last[0]} (all of it: {self.log})")


@contextmanager
def started(chosen: Recipe, run: Run, manifest: Path, *, name: str, weights: Path, log: Path) -> Iterator[Attempt]:
    """Train a recipe, or go on with it, and judge it, in a process that does not outlive the block.

    Args:
        chosen: The recipe.
        run: Where to; if there is a run, it goes on.
        manifest: The photos.
        name: What the recipe is called.
        weights: The folder of the networks that the evaluation is to have.
        log: What the process prints is added to this file.
    """
    told = {
        "recipe": chosen.model_dump(mode="json"),
        "name": name,
        "manifest": str(manifest),
        "run": str(run.path),
        "weights": str(weights),
    }
    # Each process of a study is a machine by itself; and Ctrl-C is for the process that started this one.
    environment = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "kcolor.tune.trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env=environment,
            start_new_session=True,
        )
    attempt = Attempt(run, log, process)
    try:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already, and says why
            process.stdin.write(json.dumps(told).encode() + b"\n")
            process.stdin.flush()
        yield attempt
    finally:
        attempt.stop()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
