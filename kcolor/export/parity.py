"""Whether an exported artifact gives the colours of the Keras model it was made from, and how quickly."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kcolor import color
from kcolor.errors import RunError
from kcolor.export.artifact import Parity, Target
from kcolor.metrics.delta_e import delta_e_of

_LOADERS = Path(__file__).parent / "loaders"


@dataclass(frozen=True, eq=False)
class Truth:
    """What Keras makes of real photographs.

    Args:
        rgb: (n, size, size, 3) uint8.
        ab: (n, size, size, 2) float32, scaled to [-1, 1].
    """

    rgb: np.ndarray
    ab: np.ndarray


def truth(generator: keras.Model, rgb: np.ndarray) -> Truth:
    """Show Keras photographs.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        rgb: (n, size, size, 3) uint8, of the generator's size.
    """
    l = color.lightness(rgb)
    # One by one, so that memory is that of one.
    return Truth(rgb, np.concatenate([generator(one[tf.newaxis], training=False)["ab"].numpy() for one in l]))


def measure(target: Target, artifact: Path, expected: Truth, reference: Path | None = None) -> Parity:
    """Run an artifact in a fresh process that has no kcolor, compare its answers with Keras', and time it.

    Args:
        target: What the artifact is meant to be.
        artifact: The file or folder.
        expected: What Keras makes of photographs.
        reference: The artifact whose latency is taken in turns with its own.

    Raises:
        RunError: The artifact cannot be loaded and run.
    """
    l = color.lightness(expected.rgb)
    given = l.numpy() if target.kind == "ab" else expected.rgb
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("given.npy", "made.npy", "times.json")]
        np.save(files[0], given)
        artifacts = [artifact, reference] if reference else [artifact]
        run_script(
            _LOADERS / "measure.py", _LOADERS / target.loader, *files, *artifacts, what=f"{artifact}: running it"
        )
        made, times = np.load(files[1]), json.loads(files[2].read_text())
    wanted = color.merge(l, color.fit_gamut(l, expected.ab))
    if target.kind == "ab":
        difference = np.abs(made - expected.ab) * color.AB_SCALE
        made = color.merge(l, color.fit_gamut(l, tf.constant(made)))
    else:
        difference = np.abs(color.rgb_to_lab(made)[..., 1:] - color.rgb_to_lab(wanted)[..., 1:])
    latencies = times["latencies"]
    return Parity(
        photographs=len(given),
        largest_ab=float(difference.max()),
        mean_ab=float(difference.mean()),
        delta_e=float(np.mean(delta_e_of(wanted, made)[0])),
        first_request_ms=1e3 * times["first_request"],
        latency_ms=1e3 * latencies[0],
        latency_ratio=latencies[0] / latencies[-1],
        reference=target.reference.path if target.reference else "",
    )


def run_script(script: Path, *arguments: Path | str, what: str) -> None:
    """Run a script in a fresh interpreter, which does not look for modules beside it.

    Raises:
        RunError: It failed; `what` and its last line say why.
    """
    command = [sys.executable, "-P", str(script), *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RunError(f"{what} failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
