"""Whether an exported artifact gives the colours of the Keras model it was made from."""

import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from kcolor.errors import RunError

_LOADERS = Path(__file__).parent / "loaders"


def difference(generator: keras.Model, artifact: Path, loader: str) -> float:
    """Run an artifact in a fresh process that has no kcolor, and compare its ab with Keras'.

    Args:
        generator: The model that was exported.
        artifact: What it was exported to.
        loader: A script of ``loaders/``: takes the artifact, a ``.npy`` of L and the name of a ``.npy`` of ab.

    Returns:
        The largest difference, in ab scaled to [-1, 1].

    Raises:
        RunError: The artifact cannot be loaded and run.
    """
    size = generator.input_shape[1]
    # Smooth shades with grain, from the darkest to the lightest: what an L looks like.
    y, x = np.mgrid[0:size, 0:size] / size
    shades = 0.8 * np.sin(2 * np.pi * (2 * x + 3 * y * y)) + 0.2 * np.random.default_rng(0).uniform(-1, 1, (size, size))
    l = shades[np.newaxis, :, :, np.newaxis].astype(np.float32)
    expected = generator(l, training=False)["ab"].numpy()
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "l.npy"), Path(folder, "ab.npy")
        np.save(given, l)
        run_script(_LOADERS / loader, artifact, given, made)
        return float(np.abs(np.load(made) - expected).max())


def run_script(script: Path, *arguments: Path | str) -> None:
    """Run a script in a fresh interpreter, which does not look for modules beside it.

    Raises:
        RunError: It failed; its last line says why.
    """
    command = [sys.executable, "-P", str(script), *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RunError(
            f"{arguments[0]}: {script.stem} failed: {lines[-1] if lines else f'exit status {done.returncode}'}"
        )
