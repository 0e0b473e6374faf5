"""The trained models that come with the package, by name."""

import difflib
from pathlib import Path

from kcolor.errors import RunError

FOLDER = Path(__file__).with_name("models")


def models() -> list[Path]:
    """Their files, by name."""
    return sorted(FOLDER.glob("*.keras"), key=lambda path: path.stem)


def find(path: Path) -> Path:
    """A run or a model that is there, or else the model of that bare name that comes with the package.

    Raises:
        RunError: There is neither; it names those that come with the package.
    """
    if path.exists():
        return path
    known = {model.stem: model for model in models()}
    if str(path) in known:
        return known[str(path)]
    choice = f"; give a run, a model's file, or the name of one that comes with kcolor: {', '.join(known)}"
    close = difflib.get_close_matches(str(path), known, n=1)
    nearest = f" (did you mean {close[0]}?)" if close else ""
    raise RunError(f"{path}: no such run or model{choice if known else ''}{nearest}")
