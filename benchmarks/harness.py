"""Runs benchmarks, each in a process of its own, and keeps what they find.

A benchmark is a module of this package with a function `measure`, which gives plain figures with their units in their
names. It is told those of the options that are among its arguments:

    data      a folder of photographs; None: it makes some up
    quick     as little as shows that it runs
    full      as much as the final figures want
    recipes   names of those recipes that are to be measured
    rounds    how often each thing is measured
    beside    another checkout of kcolor, to compare with
    torch     a Python that has PyTorch
    junit     the report of the tests
"""

import datetime
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import machine
from kcolor import __version__
from kcolor.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

# In the order of docs/performance.md.
BENCHMARKS = (
    "training_step",
    "pytorch",
    "equal_losses",
    "lab",
    "pipeline",
    "manifest",
    "waiting",
    "workers",
    "inference",
    "colorize",
    "starting",
    "slowest_tests",
)

# Those that need something of which `make bench` does not know whether it is there.
NEEDS = {"pytorch": "torch", "slowest_tests": "junit"}

LONGEST = 1800


def available() -> list[str]:
    """The benchmarks that are here."""
    return [name for name in BENCHMARKS if (Path(__file__).parent / f"{name}.py").exists()]


def run(name: str, options: Mapping[str, Any], command: str, results: Path = RESULTS) -> dict[str, Any]:
    """Run a benchmark in a process of its own and write RESULTS/NAME.json.

    Args:
        name: The benchmark.
        options: As above; those that are None or False are left out.
        command: What was typed.
        results: Where the file goes.

    Returns:
        What the file holds.

    Raises:
        subprocess.CalledProcessError, subprocess.TimeoutExpired: It failed, or took too long.
    """
    told = {key: value for key, value in options.items() if value is not None and value is not False}
    load, started = machine.load(), time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        answer = Path(work, "figures.json")
        subprocess.run(
            [sys.executable, "-m", "benchmarks.harness", name, str(answer), json.dumps(told, default=str)],
            check=True,
            timeout=LONGEST,
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        figures = json.loads(answer.read_text())
    result = {
        "benchmark": name,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kcolor": __version__,
        "machine": machine.describe(),
        "load_before": load,
        "took_s": round(time.perf_counter() - started, 1),
        "quick": bool(options.get("quick")),
        "figures": figures,
    }
    write_text(results / f"{name}.json", json.dumps(rounded(result), indent=1, ensure_ascii=False) + "\n")
    return result


def measure(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a benchmark, in this process."""
    function = importlib.import_module(f"benchmarks.{name}").measure
    paths = {key: Path(options[key]) for key in ("data", "beside", "torch", "junit") if key in options}
    wanted = inspect.signature(function).parameters
    return function(**{key: value for key, value in {**options, **paths}.items() if key in wanted})


def rounded(value: Any) -> Any:
    """Figures to four digits: more are noise, and would change in each file at each run."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    benchmark, file, given = sys.argv[1:]
    Path(file).write_text(json.dumps(measure(benchmark, json.loads(given))))
