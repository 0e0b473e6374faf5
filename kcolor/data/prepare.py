"""From what a recipe says of its data to the manifest of the photos."""

import hashlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from kcolor.data import finding, manifest, shards
from kcolor.detectors import Detector
from kcolor.errors import DataError
from kcolor.recipe import Data

PACKAGE = "package:"


def prepare(data: Data, seed: int, on_progress: Callable[[int, int], None] | None = None) -> manifest.Manifest:
    """The manifest of the photos of a recipe, surveying them as far as that has not been done.

    What is found out of each file is kept in the user's cache directory; nothing is written to the photos' folder.

    Args:
        data: Where the photos are, and by which rules they are chosen. ``data.folder`` may also be a manifest, or a
            folder of shards, whose manifest is then taken as it is.
        seed: Of the split.
        on_progress: Called with the number of files surveyed so far and that of all.

    Raises:
        DataError: No photos are named, there are none, or none is fit for training; shards are not whole.
    """
    if not data.folder:
        raise DataError("no photos named; add --data DIR (or data.folder to the recipe)")
    if shards.are_in(place(data.folder)):
        return shards.manifest_of(place(data.folder))
    folder = locate(data.folder)
    if folder.is_file():
        return manifest.Manifest.load(folder)
    return manifest.prepare(
        folder,
        survey_file=survey_file(folder),
        include=data.include,
        labels=locate(data.labels) if data.labels else None,
        min_size=data.min_size,
        split=data.split,
        seed=seed,
        drop_toned=data.drop_toned,
        on_progress=on_progress,
    )


def find_instances(
    found: manifest.Manifest,
    detector: Detector,
    *,
    min_score: float,
    min_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> manifest.Manifest:
    """As `kcolor.data.finding.find_instances`; what the detector sees is kept in the user's cache directory."""
    kept = _cached("detections", found.root, f"-{detector.sha256[:16]}")
    return finding.find_instances(
        found, detector, kept, min_score=min_score, min_size=min_size, on_progress=on_progress
    )


def locate(folder: str) -> Path:
    """The absolute path of a folder or file, or of ``package:NAME/DIR`` inside an installed Python package.

    Raises:
        DataError: There is no such package.
    """
    if not folder.startswith(PACKAGE):
        return Path(os.path.expanduser(folder)).absolute()  # noqa: PTH111 - of an unknown user it is the name itself
    name, _, inside = folder.removeprefix(PACKAGE).partition("/")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"data.folder: no Python package {name} here; install it, or name another folder with --data")
    return Path(spec.submodule_search_locations[0], inside)


def place(folder: str) -> str:
    """As `locate`, but also of a place such as ``gs://bucket/shards``, which stays what it is."""
    return folder if shards.is_url(folder) else str(locate(folder))


def survey_file(folder: Path) -> Path:
    """Where the survey of a folder is kept."""
    return _cached("surveys", folder)


def _cached(kind: str, folder: Path, more: str = "") -> Path:
    digest = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:16]
    return platformdirs.user_cache_path("kcolor") / kind / f"{folder.name}-{digest}{more}.jsonl"
