"""What puts a SavedModel behind TensorFlow Serving: configuration, containers, a README for a stranger."""

from pathlib import Path

import jinja2

from kcolor import files
from kcolor.errors import RunError
from kcolor.signatures import LIKELIEST

_TEMPLATES = Path(__file__).parent / "deployment"


def write(folder: Path, name: str, *, size: int, classes: int, max_pixels: int) -> None:
    """Write the files of ``deployment/`` for a model; a configuration that is there stays: it may have been changed.

    Args:
        folder: Where to; its parent has the versions of the model.
        name: Of the model.
        size: Side of the squares that it takes.
        classes: How many it tells apart; 0 where it does not.
        max_pixels: It refuses a photograph of more.

    Raises:
        RunError: The folder cannot be made.
        DataError: A file cannot be written.
    """
    values = {"name": name, "size": size, "classes": classes, "likeliest": min(LIKELIEST, classes)}
    values["max_pixels"] = f"{max_pixels:,}"
    # What is left open by mistake is an error, not an empty place in somebody's configuration.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {files.reason(error)}") from error
    for template in sorted(_TEMPLATES.iterdir()):
        target = folder / template.name
        if not target.exists() or target.name == "README.md":
            files.write_text(target, environment.from_string(template.read_text(encoding="utf-8")).render(values))
