"""A static site that colours photographs in its visitors' browsers: the page, a network, and what runs it.

The page is `kcolor/web`; what it needs to know of the network is ``config.json`` beside it, which docs/deploy-web.md
describes. LiteRT.js, which runs the network, is no part of the repository: ``make web`` puts it into
``kcolor/web/runtime``.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from kcolor import __version__, files
from kcolor.card import Card
from kcolor.errors import RunError
from kcolor.export import export as export_all
from kcolor.export import tflite
from kcolor.export.photographs import Photographs
from kcolor.photo.xmp import Note, with_note

PAGE = Path(__file__).parents[1] / "web"
RUNTIME = PAGE / "runtime"
CONFIG, MANIFEST, MODEL = "config.json", "manifest.json", "model.tflite"

# Of what its export's manifest says of the network, what that of the site says.
_TOLD = ("precision", "bytes", "sha256", "weights_sha256")
_PARITY = ("photographs", "delta_e", "mean_ab", "largest_ab")


def check(folder: Path) -> None:
    """Find out, before anything is computed, whether a site can be written.

    Raises:
        RunError: LiteRT.js is not there, or the folder has files in it that are not of a site of kcolor.
    """
    if not (RUNTIME / "VERSION").is_file():
        raise RunError(f"{RUNTIME}: LiteRT.js, which runs networks in browsers, is not there; run make web")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"{folder}: is there, and is no folder; choose another place")
    ours = {CONFIG, MANIFEST, *_read(folder / MANIFEST).get("files", {})}
    there = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    if other := next((path for path in there if path not in ours), None):
        raise RunError(f"{folder}: has {files.shown(other)}, which is not of a site of kcolor; choose another place")


def export(
    generator: keras.Model,
    folder: Path,
    photographs: Photographs,
    *,
    name: str,
    about: Card,
    licence: str = "",
) -> Path:
    """Write a site with a generator, compared with Keras like any other export.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        folder: Where to; see `check`. What was there of a former site is replaced, all at once.
        photographs: What it is compared on.
        name: Of the model, for visitors.
        about: What is known of the generator.
        licence: Of the weights; "" where it is not known.

    Returns:
        The manifest, ``folder/manifest.json``.

    Raises:
        RunError: As by `check`; or the network in the site differs from Keras, or it cannot be written.
        DataError: The photographs cannot be read.
    """
    check(folder)
    with tempfile.TemporaryDirectory() as making:
        made = _network(generator, Path(making), photographs)
        config = {
            "name": name,
            "size": made["size"],
            "classes": list(about.classes),
            "engine": "browser",
            "model": MODEL,
            "kcolor": __version__,
            # What `kcolor colorize` writes into photographs, so that these, too, tell that their colours are made.
            "note": with_note(b"", Note(name, made["sha256"])).decode(),
        }
        told = {
            **{key: config[key] for key in ("name", "size", "classes", "kcolor")},
            "licence": licence or None,
            "model": {
                "path": MODEL,
                **{key: made[key] for key in _TOLD},
                "parity": {key: made["parity"][key] for key in _PARITY},
            },
            "runtime": (RUNTIME / "VERSION").read_text(encoding="utf-8").strip(),
        }
        try:
            with files.replacing(folder.resolve()) as site:
                _assemble(site, Path(making, made["path"]), config, told)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {files.reason(error)}") from error
    return folder / MANIFEST


def _network(generator: keras.Model, folder: Path, photographs: Photographs) -> dict[str, Any]:
    """Export the network alone into a folder: what the manifest says of it."""
    targets = tflite.targets(generator, "model", photographs=photographs, precisions=["float16"])
    # How much quicker than float32 it is does not matter here.
    (target,) = [replace(target, reference=None) for target in targets if target.kind == "ab"]
    manifest = export_all(generator, folder, [target], photographs, source="")
    (made,) = _read(manifest)["artifacts"]
    return made


def _assemble(site: Path, model: Path, config: dict[str, Any], told: dict[str, Any]) -> None:
    shutil.copytree(PAGE, site, ignore=shutil.ignore_patterns(".*"))
    shutil.copyfile(model, site / MODEL)
    inside = sorted(path for path in site.rglob("*") if path.is_file())
    hashes = {path.relative_to(site).as_posix(): files.digest(path) for path in inside}
    # Visitors' browsers keep what is of one version; all that makes the page another one makes it another version.
    version = hashlib.sha256(json.dumps([hashes, config]).encode()).hexdigest()[:16]
    (site / CONFIG).write_text(_json({**config, "version": version}), encoding="utf-8")
    (site / MANIFEST).write_text(_json({**told, "version": version, "files": hashes}), encoding="utf-8")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _read(manifest: Path) -> dict[str, Any]:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
