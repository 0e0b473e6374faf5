"""How long one waits for the first of anything: help, a coloured photograph, a training step; each a new process.

Floors: for help, Python that does nothing; for the rest, Python that imports TensorFlow and Keras. A first step is from
the command, with its photographs surveyed before, to the end of that step.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import photographs, turns

# The command line as it is, but for its end after the first step.
_UNTIL_THE_FIRST_STEP = """
import os, sys
from kcolor import callbacks, cli
callbacks.ProgressBar.on_train_batch_end = lambda *given, **named: os._exit(0)
sys.argv = ["kcolor", *sys.argv[1:]]
cli.main()
"""


def measure(*, data: Path | None = None, rounds: int = 5, quick: bool = False) -> dict[str, Any]:
    """By what is waited for: seconds, and over the floor."""
    python, kcolor = [sys.executable], [sys.executable, "-m", "kcolor"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = data or photographs.fill(work / "photos", 60)
        one = next(photographs.fill(work / "one", 1).rglob("*.jpg"))

        def fit(*words: str) -> list[str]:
            new = str(work / f"run-{time.monotonic_ns()}")
            return [*python, "-c", _UNTIL_THE_FIRST_STEP, "fit", *words, "-o", new]

        colorize = [*kcolor, "colorize", str(one), "-o", str(work / "out"), "--overwrite", "--model", "small"]
        waits = {
            "nothing": lambda: [*python, "-c", "pass"],
            "tensorflow": lambda: [*python, "-c", "import tensorflow, keras"],
            "kcolor --help": lambda: [*kcolor, "--help"],
            "kcolor colorize --help": lambda: [*kcolor, "colorize", "--help"],
            "kcolor fit --help": lambda: [*kcolor, "fit", "--help"],
            "first photo": lambda: colorize,
            "first step, quickstart": lambda: fit("quickstart"),
            "first step, gan": lambda: fit("gan", "--data", str(photos)),
        }
        environment = {**os.environ, "XDG_CACHE_HOME": str(work / "cache"), "KERAS_BACKEND": "tensorflow"}
        times: dict[str, list[float]] = {name: [] for name in waits}
        for turn in range(2 if quick else rounds + 1):
            for name, command in waits.items():
                started = time.perf_counter()
                subprocess.run(command(), check=True, capture_output=True, cwd=turns.ROOT, env=environment)
                if turn:  # the first one of each reads its files from the disk, and surveys the photographs
                    times[name].append(time.perf_counter() - started)
    figures: dict[str, Any] = {name: turns.summary(each) for name, each in times.items()}
    for name, entry in figures.items():
        floor = "nothing" if "--help" in name else "tensorflow"
        if name not in {"nothing", "tensorflow"}:
            entry["floor"] = floor
            entry["time_over_floor"] = entry["median_s"] / figures[floor]["median_s"]
    return {"waits": figures}
