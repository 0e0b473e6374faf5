"""A static site that colours photographs in its visitors' browsers: the page, a network, and what runs it.

The page is `kcolor/web`; what it needs to know of the network is ``config.json`` beside it, which docs/deploy-web.md
describes. LiteRT.js, which runs the network, is no part of the repository: ``make web`` puts it into
``kcolor/web/runtime``.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kcolor import __version__, files
from kcolor.errors import RunError
from kcolor.export import parity, tflite
from kcolor.export.unfused import unfused
from kcolor.photo.xmp import Note, with_note

PAGE = Path(__file__).parents[1] / "web"
RUNTIME = PAGE / "runtime"
CONFIG, MANIFEST, MODEL = "config.json", "manifest.json", "model.tflite"

_PRECISION, _LIMIT = "float16", 1e-2


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


def export(generator: keras.Model, folder: Path, *, name: str, classes: Sequence[str] = (), licence: str = "") -> Path:
    """Write a site with a generator, compared with Keras like any other export.

    Args:
        generator: As from `kcolor.colorizer.load_generator`.
        folder: Where to; see `check`. What was there of a former site is replaced, all at once.
        name: Of the model, for visitors.
        classes: Names of its classes, in the order of the logits.
        licence: Of the weights; "" where it is not known.

    Returns:
        The manifest, ``folder/manifest.json``.

    Raises:
        RunError: As by `check`; or the network in the site differs from Keras, or it cannot be written.
    """
    check(folder)
    with tempfile.TemporaryDirectory() as making:
        model = Path(making, MODEL)
        tflite.export_float16(generator, model)
        model.write_bytes(unfused(model.read_bytes()))
        difference = parity.difference(generator, model, "tflite.py")
        if not difference < _LIMIT:
            raise RunError(f"{folder}: differs from Keras by {difference:.2g}, more than {_LIMIT:g}; not written")
        digest = files.digest(model)
        config = {
            "name": name,
            "size": generator.input_shape[1],
            "classes": list(classes),
            "engine": "browser",
            "model": MODEL,
            "kcolor": __version__,
            # What `kcolor colorize` writes into photographs, so that these, too, tell that their colours are made.
            "note": with_note(b"", Note(name, digest)).decode(),
        }
        about = {
            **{key: config[key] for key in ("name", "size", "classes", "kcolor")},
            "licence": licence,
            "model": {
                "path": MODEL,
                "precision": _PRECISION,
                "bytes": model.stat().st_size,
                "sha256": digest,
                "largest_difference": difference,
            },
            "runtime": (RUNTIME / "VERSION").read_text(encoding="utf-8").strip(),
        }
        try:
            with files.replacing(folder.resolve()) as site:
                _assemble(site, model, config, about)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {files.reason(error)}") from error
    return folder / MANIFEST


def _assemble(site: Path, model: Path, config: dict[str, Any], about: dict[str, Any]) -> None:
    shutil.copytree(PAGE, site, ignore=shutil.ignore_patterns(".*"))
    shutil.copyfile(model, site / MODEL)
    inside = sorted(path for path in site.rglob("*") if path.is_file())
    hashes = {path.relative_to(site).as_posix(): files.digest(path) for path in inside}
    # Visitors' browsers keep what is of one version; all that makes the page another one makes it another version.
    version = hashlib.sha256(json.dumps([hashes, config]).encode()).hexdigest()[:16]
    (site / CONFIG).write_text(_json({**config, "version": version}), encoding="utf-8")
    (site / MANIFEST).write_text(_json({**about, "version": version, "files": hashes}), encoding="utf-8")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _read(manifest: Path) -> dict[str, Any]:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
