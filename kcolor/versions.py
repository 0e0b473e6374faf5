"""The versions of a model, as TensorFlow Serving looks for them: folders named by a number, the highest the newest."""

from pathlib import Path


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
