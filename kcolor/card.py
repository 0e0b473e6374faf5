"""What is known of a trained model beside its network: the card that its file carries, or the run that it is in."""

import hashlib
import json
import tomllib
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from kcolor import __version__, files, recipe
from kcolor.data.manifest import Manifest
from kcolor.errors import DataError
from kcolor.run import owner

# Keras' own members of a ``.keras`` file. It writes the first and does not read it; a member of one's own, which would
# be plainer, makes it unpack the whole file to the disk.
_METADATA, _WEIGHTS = "metadata.json", "model.weights.h5"


@dataclass(frozen=True)
class Card:
    """What a model says of itself.

    Args:
        classes: Names of its classes, in the order of the logits; empty where it has none, or they are not known.
        recipe_name: What the recipe of its run was called; "" where it is not known.
        recipe: That recipe, as TOML, without the places where its photos were; "" where it is not known.
        source_sha256: Of the file that it was made from.
        kcolor: The version that made it.
        weights_sha256: Of the member ``model.weights.h5`` of the file that carries the card.
        scenes: What its class branch gives on average for each class, by name; empty where that is not known. See
            `kcolor.scenes`.
    """

    classes: tuple[str, ...]
    recipe_name: str
    recipe: str
    source_sha256: str
    kcolor: str = __version__
    weights_sha256: str = ""
    scenes: dict[str, list[float]] = field(default_factory=dict)


def read(file: Path) -> Card | None:
    """The card that a ``.keras`` file carries, if it does."""
    try:
        with zipfile.ZipFile(file) as archive:
            content = json.loads(archive.read(_METADATA))["kcolor"]
        content = {"scenes": {}, **content}  # cards did not always tell them
        known = {each.name: content[each.name] for each in fields(Card)}
        return Card(**{**known, "classes": tuple(known["classes"]), "scenes": dict(known["scenes"])})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, zlib.error, zipfile.BadZipFile):
        return None


def of(file: Path) -> Card:
    """What is known of a model: by its file, or else by the run that it lies in.

    Raises:
        KcolorError: The run's recipe cannot be read.
    """
    carried = read(file)
    if carried:
        return carried
    run = owner(file)
    if run is None:
        return Card((), "", "", files.digest(file))
    own = recipe.load(run.recipe)
    anywhere = own.model_copy(update={"data": own.data.model_copy(update={"folder": "", "labels": ""})})
    return Card(classes(file), run.read_info()["recipe"], anywhere.dump(), files.digest(file))


def classes(file: Path) -> tuple[str, ...]:
    """The names of a model's classes, in the order of the logits; none where they are not known, as a teacher's."""
    carried, run = read(file), owner(file)
    if carried:
        return carried.classes
    if taught(file):
        return ()
    try:
        return tuple(Manifest.load(run.manifest).classes) if run else ()
    except DataError:
        return ()


def taught(file: Path) -> bool:
    """Whether a model's classes are those of a teacher, and not those of the photos that it was trained on."""
    carried, run = read(file), owner(file)
    try:
        text = carried.recipe if carried else run.recipe.read_text(encoding="utf-8") if run else ""
        return bool(tomllib.loads(text)["classification"]["target"] == "teacher")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def attach(file: Path, card: Card) -> None:
    """Put a card into a ``.keras`` file, in place of one that it may carry; Keras reads it as before."""
    with files.replacing(file) as temporary, zipfile.ZipFile(file) as old, zipfile.ZipFile(temporary, "w") as new:
        weights = hashlib.sha256(old.read(_WEIGHTS)).hexdigest()
        metadata = {**json.loads(old.read(_METADATA)), "kcolor": asdict(replace(card, weights_sha256=weights))}
        for name in old.namelist():
            if name == _METADATA:  # the averages of many scenes are long
                new.writestr(name, json.dumps(metadata), zipfile.ZIP_DEFLATED)
            else:
                new.writestr(name, old.read(name))
