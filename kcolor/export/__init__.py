"""Export a trained generator: one file a format, one manifest for all."""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kcolor import __version__, card, files
from kcolor.errors import RunError
from kcolor.export import half, parity, saved_model, tflite


@dataclass(frozen=True)
class Artifact:
    """One exported file or folder.

    Args:
        path: Relative to the manifest.
        format: "saved_model", or "tflite" or "keras" with its precision.
        bytes: Its size.
        sha256: Of the file; of a folder, the hash of its files' names and hashes.
        largest_difference: From the Keras model, in ab scaled to [-1, 1], measured in a fresh process.
        limit: What the difference must stay under.
    """

    path: str
    format: str
    bytes: int
    sha256: str
    largest_difference: float
    limit: float


def _saved_model(generator: keras.Model, path: Path) -> float:
    saved_model.write(generator, path)
    return parity.difference(generator, path, "saved_model.py")


FORMATS: dict[str, tuple[str, float, Callable[[keras.Model, Path], float]]] = {
    "saved_model": ("saved_model", 1e-4, _saved_model),
    "tflite float32": ("{name}.float32.tflite", 1e-4, tflite.export_float32),
    "tflite float16": ("{name}.float16.tflite", 1e-2, tflite.export_float16),
    "keras float16": ("{name}.keras", 1e-2, half.export),
}


def export(
    generator: keras.Model,
    folder: Path,
    formats: Sequence[str],
    *,
    source: str,
    about: card.Card | None = None,
    on_done: Callable[[Artifact], None] = lambda artifact: None,
) -> Path:
    """Write a generator in several formats, load each in a fresh process, and compare it with Keras.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        folder: Where to; its name is the artifacts' name.
        formats: Keys of `FORMATS`.
        source: What the generator is, for the manifest.
        about: What is known of it, for the ``.keras`` file to carry.
        on_done: Called with each artifact.

    Returns:
        The manifest, ``folder/manifest.json``; it keeps what it knew of artifacts of the same weights.

    Raises:
        RunError: An artifact differs from Keras by more than its limit, or cannot be written, converted or loaded; what
            was there before is as it was.
    """
    digest = hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in generator.weights)).hexdigest()
    manifest = folder / "manifest.json"
    former = _read(manifest)
    kept = {entry["format"]: entry for entry in former.get("artifacts", [])}
    stale = [] if former.get("weights_sha256") == digest else list(kept.values())
    if stale:
        kept = {}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as making:
            made = []
            for name in formats:
                pattern, limit, write = FORMATS[name]
                path = Path(making, pattern.format(name=folder.name))
                difference = write(generator, path)
                if not difference < limit:
                    raise RunError(
                        f"{path.name}: differs from Keras by {difference:.2g}, more than {limit:g}; not written"
                    )
                if about and path.suffix == ".keras":
                    card.attach(path, about)
                made.append(Artifact(path.name, name, _size(path), files.digest(path), difference, limit))
            # All is well: now each takes its place.
            for entry in stale:
                _remove(folder / entry["path"])
            for artifact in made:
                with files.replacing(folder / artifact.path) as temporary:
                    Path(making, artifact.path).rename(temporary)
                on_done(artifact)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from error
    except tf.errors.OpError as error:
        raise RunError(f"{folder}: cannot be written: {error.message.splitlines()[0]}") from error
    content = {
        "source": source,
        "weights_sha256": digest,
        "input_size": generator.input_shape[1],
        "kcolor": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("tensorflow", "keras", "ai-edge-litert")},
        "artifacts": list((kept | {artifact.format: asdict(artifact) for artifact in made}).values()),
    }
    files.write_text(manifest, json.dumps(content, indent=2) + "\n")
    return manifest


def default_name(path: Path) -> str:
    """What an export of a run directory or a ``.keras`` file is called: by the run, wherever that shows."""
    path = path.resolve()
    if path.is_dir():
        return path.name
    if path.name == "generator.keras":
        return path.parent.name
    if path.parent.name == "checkpoints":
        return f"{path.parents[1].name}-{path.stem}"
    return path.stem


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read(manifest: Path) -> dict[str, Any]:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _size(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())
