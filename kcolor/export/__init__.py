"""Export a trained generator: any format, one way to prove it, one manifest for all."""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kcolor import __version__, files
from kcolor.errors import RunError
from kcolor.export import parity
from kcolor.export.artifact import Artifact, Target
from kcolor.export.photographs import Photographs

# What is slower than its float32 reference by more than this is not so by chance.
SLOWER = 1.1

_MADE_WITH = ("tensorflow", "keras", "ai-edge-litert")


def export(
    generator: keras.Model,
    folder: Path,
    targets: Sequence[Target],
    photographs: Photographs,
    *,
    source: str,
    on_done: Callable[[Artifact], None] = lambda artifact: None,
) -> Path:
    """Write a generator in several formats, run each in a fresh process, and compare it with Keras.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        folder: Where to.
        targets: What to make, as from the `targets` of this package's formats.
        photographs: What artifacts and Keras are compared on.
        source: What the generator is, for the manifest.
        on_done: Called with each artifact that is in its place. One that is slower than its float32 reference
            (`is_slow`) is a defect, but not of its colours, and is written.

    Returns:
        The manifest, ``folder/manifest.json``. It keeps what it knew of other artifacts of the same weights, and of
        versioned ones of any, unless they have been changed since; the others are removed.

    Raises:
        RunError: An artifact differs from Keras by more than its limit, and so is not written, while the others are; or
            one cannot be converted or loaded, and all is as it was; or one cannot be put in its place, and the manifest
            tells of those that are.
        DataError: The photographs cannot be read.
    """
    for target in targets:
        if target.versioned and (folder / target.path).exists():
            raise RunError(f"{folder / target.path}: is there already, and a version is never overwritten")
    manifest = folder / "manifest.json"
    sha256 = hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in generator.weights)).hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as making:
            made = _make_all(targets, Path(making), photographs, {"weights_sha256": sha256, "source": source})
            faults = [fault for artifact in made.values() if (fault := _fault(artifact))]
            good = {target: artifact for target, artifact in made.items() if not _fault(artifact)}
            if good:
                _place_all(good, Path(making), manifest)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {files.reason(error)}") from error
    except tf.errors.OpError as error:
        raise RunError(f"{folder}: cannot be written: {error.message.splitlines()[0]}") from error
    for artifact in good.values():
        on_done(artifact)
    if faults:
        raise RunError("; ".join(faults))
    return manifest


def is_slow(artifact: Artifact) -> bool:
    """Whether an artifact is slower than its float32 reference, by more than chance."""
    return artifact.parity.latency_ratio > SLOWER


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


def _make_all(
    targets: Sequence[Target], making: Path, photographs: Photographs, of: Mapping[str, str]
) -> dict[Target, Artifact]:
    """Write each target into a folder, and compare it with Keras; `of` says which weights they are of."""
    truths: dict[int, parity.Truth] = {}
    made = {}
    for target in targets:
        if target.size not in truths:
            truths[target.size] = parity.truth(target.generator, photographs.to_compare(target.size))
        for wanted in (target.reference, target):
            if wanted and not (making / wanted.path).exists():
                (making / wanted.path).parent.mkdir(parents=True, exist_ok=True)
                wanted.write(making / wanted.path)
        path = making / target.path
        reference = making / target.reference.path if target.reference else None
        made[target] = Artifact(
            path=target.path,
            format=target.format,
            precision=target.precision,
            kind=target.kind,
            size=target.size,
            bytes=_size(path),
            sha256=files.digest(path),
            photographs=photographs.origin,
            parity=parity.measure(target, path, truths[target.size], reference),
            limits=dict(target.limits),
            made_with={"kcolor": __version__, "python": platform.python_version()}
            | {name: version(name) for name in _MADE_WITH},
            metadata=str(Path(target.path).with_suffix(".json")) if target.describe else "",
            versioned=target.versioned,
            **of,
        )
    return made


def _fault(artifact: Artifact) -> str:
    for field, limit in artifact.limits.items():
        value = getattr(artifact.parity, field)
        if not value < limit:
            told = {"delta_e": "a mean Delta E of", "largest_ab": "an ab of", "mean_ab": "a mean ab of"}[field]
            mend = "; other photographs (--data) may calibrate it better, --max-delta-e lets it pass"
            return (
                f"{artifact.path}: differs from Keras by {told} {value:.2g}, not by less than {limit:g}; not written"
                f"{mend if artifact.precision in ('dynamic', 'int8') else ''}"
            )
    return ""


def _place_all(made: Mapping[Target, Artifact], making: Path, manifest: Path) -> None:
    """Put each artifact in its place, and then remove the former ones that are of other weights.

    The manifest is written after each, so that it tells of what is there, whenever that ends.
    """
    entries = _former(manifest)
    for target, artifact in made.items():
        _put(target, artifact, making, manifest.parent)
        entries.pop(artifact.path, None)
        entries[artifact.path] = asdict(artifact)
        _write(manifest, entries)
    new = {artifact.weights_sha256 for artifact in made.values()}
    old = [entry for entry in entries.values() if not (entry.get("versioned") or entry.get("weights_sha256") in new)]
    for entry in old:
        del entries[entry["path"]]
        _remove(manifest.parent, entry)
        _write(manifest, entries)


def _put(target: Target, artifact: Artifact, making: Path, folder: Path) -> None:
    # The artifact comes last: it needs no more than a rename, and what can fail has been done by then.
    if target.settle:
        target.settle(folder)
    if target.describe:
        files.write_text(folder / artifact.metadata, json.dumps(target.describe(artifact), indent=2) + "\n")
    path = folder / artifact.path
    files.sync(making / artifact.path)
    if target.versioned:
        path.parent.mkdir(parents=True, exist_ok=True)
        (making / artifact.path).rename(path)
    else:
        with files.replacing(path) as temporary:
            (making / artifact.path).rename(temporary)


def _remove(folder: Path, entry: Mapping[str, Any]) -> None:
    path = folder / entry["path"]
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if entry.get("metadata"):
        (folder / entry["metadata"]).unlink(missing_ok=True)


def _former(manifest: Path) -> dict[str, dict[str, Any]]:
    """What a manifest tells of, by path, as far as it is still there and as told.

    Whatever a manifest says, none of it is outside its folder.
    """
    try:
        told = list(json.loads(manifest.read_text(encoding="utf-8"))["artifacts"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    entries = {
        entry["path"]: entry
        for entry in told
        if isinstance(entry, dict) and _is_name(entry.get("path")) and _is_name(entry.get("metadata") or "none")
    }
    paths = {name: manifest.parent / name for name in entries}
    return {
        name: entry
        for name, entry in entries.items()
        if paths[name].exists() and files.digest(paths[name]) == entry.get("sha256")
    }


def _is_name(path: object) -> bool:
    """Whether it names what lies in the folder itself."""
    return isinstance(path, str) and path == Path(path).name and path not in ("", "..")


def _write(manifest: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    files.write_text(manifest, json.dumps({"artifacts": list(entries.values())}, indent=2) + "\n")


def _size(path: Path) -> int:
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())
