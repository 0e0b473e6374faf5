"""One trial, in a process of its own: ``python -m kcolor.tune.trial``, told what to do on standard input.

What it allocates goes with it, TensorFlow's switches are its own, and a crash is the end of one trial.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from kcolor.errors import DataError, KcolorError
from kcolor.evaluation import METRICS
from kcolor.quiet import quiet_import
from kcolor.recipe import Recipe
from kcolor.run import Run

# Where in the run the study's figures lie, apart from what `kcolor evaluate` writes.
EVALUATION = Path("evaluations", "tune")


def main() -> None:
    """Train or go on, judge on the validation photos, and say on standard output what came between, if anything did.

    The first line of standard input is JSON: "recipe", "name", "manifest", "run" and "weights", the folder of the
    evaluation's networks. The rest of it never comes: it ends when the process that started this one does.
    """
    said = os.dup(1)
    os.dup2(2, 1)  # whatever else prints is for the log
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with quiet_import():
        from kcolor.callbacks import Stopped
    try:
        train_and_judge(told)
    except Stopped as stopped:
        sys.exit(128 + stopped.signum)
    except KcolorError as error:
        # What is wrong with photos or disk is wrong for all trials.
        everybodys = isinstance(error, DataError) or isinstance(error.__cause__, OSError)
        os.write(said, json.dumps({"error": str(error), "everybodys": everybodys}).encode())
        sys.exit(error.status)


def train_and_judge(told: dict[str, Any]) -> None:
    """Do what has not been done yet.

    Args:
        told: See `main`.

    Raises:
        KcolorError: As `kcolor.fit.fit` and `kcolor.evaluate.evaluate`.
        callbacks.Stopped: SIGTERM came while it was trained; everything is saved.
    """
    from rich.console import Console

    from kcolor import evaluate, fit
    from kcolor.colorizer import Colorizer
    from kcolor.data.manifest import Manifest
    from kcolor.data.reading import Pictures
    from kcolor.protocols import PROTOCOLS

    chosen = Recipe.model_validate(told["recipe"])
    run, manifest = Run(Path(told["run"])), Manifest.load(Path(told["manifest"]))
    console = Console(file=sys.stderr, width=160)
    if run.info.is_file():
        fit.resume(chosen, run.path, console=console)
    else:
        fit.fit(chosen, manifest, run.path, name=told["name"], console=console)
    folder = run.path / EVALUATION
    if (folder / METRICS).is_file():
        return
    evaluate.evaluate(
        Colorizer.load(run.generator),
        Pictures(manifest, "val", chosen.train.validation_photos or None),
        PROTOCOLS["rgb"],
        folder,
        training_photos=manifest,
        weights_folder=Path(told["weights"]),
    )


def _end_with_parent() -> None:
    """Ends this process when the one that started it is killed: in training, it saves itself first."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
