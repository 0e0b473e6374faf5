"""Names and versions of models, as TensorFlow Serving takes them: folders named by a number, the highest the newest."""

import re
from pathlib import Path

from kcolor.errors import RunError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(name: str) -> None:
    """Whether a model can be called so.

    Raises:
        RunError: The name is none that can be written into addresses and configurations.
    """
    if not _NAME.fullmatch(name):
        raise RunError(f"{name}: no name for a model on a server: letters, digits, - . and _ only (--name)")


def of(folder: Path) -> dict[int, Path]:
    """The SavedModels of a model's folder, by version."""
    found = folder.glob("*/saved_model.pb")
    return {int(file.parent.name): file.parent for file in found if _is_number(file.parent.name)}


def newest(folder: Path) -> Path | None:
    """The SavedModel of the highest version."""
    versions = of(folder)
    return versions[max(versions)] if versions else None


def following(folder: Path) -> int:
    """The number of the version that is to be made; one that a folder has, whatever is in it, is not given again."""
    taken = [int(path.name) for path in folder.iterdir() if _is_number(path.name)] if folder.is_dir() else []
    return max(taken, default=0) + 1


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()
