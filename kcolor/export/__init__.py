"""Export a trained generator: one file a format, one manifest for all."""

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from kcolor import __version__, files
from kcolor.errors import RunError
from kcolor.export import saved_model, tflite


@dataclass(frozen=True)
class Artifact:
    """One exported file or folder.

    Args:
        path: Relative to the manifest.
        format: "saved_model", or "tflite" with its precision.
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


FORMATS: dict[str, tuple[str, float, Callable[[keras.Model, Path], float]]] = {
    "saved_model": ("saved_model", 1e-4, saved_model.export),
    "tflite float32": ("{name}.float32.tflite", 1e-4, tflite.export_float32),
    "tflite float16": ("{name}.float16.tflite", 1e-2, tflite.export_float16),
}


def export(
    generator: keras.Model,
    folder: Path,
    formats: Sequence[str],
    *,
    source: str,
    on_done: Callable[[Artifact], None] = lambda artifact: None,
) -> Path:
    """Write a generator in several formats, load each in a fresh process, and compare it with Keras.

    Args:
        generator: As from `kcolor.colorize.load_generator`.
        folder: Where to; its name is the artifacts' name.
        formats: Keys of `FORMATS`.
        source: What the generator is, for the manifest.
        on_done: Called with each artifact.

    Returns:
        The manifest, ``folder/manifest.json``; it keeps what it knew of formats that were not exported now.

    Raises:
        RunError: An artifact differs from Keras by more than its limit, or cannot be written, converted or loaded; what
            was there before is as it was.
    """
    manifest = folder / "manifest.json"
    known = _read(manifest)
    digest = hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in generator.weights)).hexdigest()
    if known.get("weights_sha256") != digest:
        known = {}
    artifacts = {entry["format"]: entry for entry in known.get("artifacts", [])}
    try:
        for name in formats:
            pattern, limit, write = FORMATS[name]
            path = folder / pattern.format(name=folder.name)
            with files.replacing(path) as temporary:
                difference = write(generator, temporary)
                if not difference < limit:
                    raise RunError(f"{path}: differs from Keras by {difference:.2g}, more than {limit:g}; not written")
            artifact = Artifact(path.name, name, *_size_and_hash(path), difference, limit)
            artifacts[name] = asdict(artifact)
            on_done(artifact)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from error
    content = {
        "source": source,
        "weights_sha256": digest,
        "input_size": generator.input_shape[1],
        "kcolor": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("tensorflow", "keras", "ai-edge-litert")},
        "artifacts": list(artifacts.values()),
    }
    files.write_text(manifest, json.dumps(content, indent=2) + "\n")
    return manifest


def _read(manifest: Path) -> dict[str, Any]:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _size_and_hash(path: Path) -> tuple[int, str]:
    if path.is_file():
        return path.stat().st_size, _hash(path)
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{_hash(file)}  {file.relative_to(path).as_posix()}\n" for file in inside)
    return sum(file.stat().st_size for file in inside), hashlib.sha256(lines.encode()).hexdigest()


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
