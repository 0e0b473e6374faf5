"""Shards: photos at training size, many to a file, and the index that says what is in them.

A folder of shards has ``shards.json``, which is written last; the manifest that the photos are of, ``manifest.csv``;
and TFRecord files of one split each. It may be anywhere that `tf.io.gfile` reads and writes, such as
``gs://bucket/places``; TensorFlow is needed for such a place only.
"""

import hashlib
import json
import shlex
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kcolor.data.manifest import Manifest
from kcolor.errors import DataError

INDEX = "shards.json"
MANIFEST = "manifest.csv"
SUFFIX = ".tfrecord"
VERSION = 1

# What training reads. The test split is judged by the photos themselves.
Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")

_LOOKS = 32  # at a time: at an object store each takes its time


class Shard(BaseModel):
    """One file of records."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    photos: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str


class Index(BaseModel):
    """What a folder of shards says of itself.

    Attributes:
        plan: What the shards were made of and how, as a hash: the same photos, seed and options give the same.
        manifest_sha256: Of the photos.
        seed: Of the order in which the photos were written.
        size: Side of the squares.
        crop: Whether the squares are the photos' centres, or all of them, stretched.
        format: How the squares are encoded.
        quality: Of JPEG; 0 where nothing is lost.
        classes: Names, in the order of the labels' numbers.
        splits: The files of each, in order.
        left_out: "path", "reason" and "shard" of the photos that could not be read any more, and would be there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int = Field(alias="kcolor_shards")
    plan: str
    manifest_sha256: str
    seed: int
    size: int = Field(ge=1)
    crop: bool
    format: Literal["jpeg", "png"]
    quality: int = Field(ge=0, le=100)
    classes: list[str]
    splits: dict[Split, list[Shard]]
    left_out: list[dict[str, str]]

    def dump(self) -> str:
        """As it is written."""
        return json.dumps(self.model_dump(by_alias=True), indent=1) + "\n"

    @property
    def sha256(self) -> str:
        """Of the index, and so of every byte of the shards."""
        return hashlib.sha256(self.dump().encode()).hexdigest()

    def photos(self, split: Split) -> int:
        """How many photos of a split are in the shards."""
        return sum(shard.photos for shard in self.splits.get(split, []))


def is_url(folder: str | Path) -> bool:
    """Whether a folder is not one of this machine's, but such as ``gs://bucket/folder``."""
    return "://" in str(folder)


def inside(folder: str, name: str) -> str:
    """The path of a file in a folder of shards."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder, name))


def are_in(folder: str | Path) -> bool:
    """Whether a folder is one of shards, whole or not."""
    if is_url(folder):
        return True
    path = Path(folder)
    return (path / INDEX).exists() or (path.is_dir() and any(entry.suffix == SUFFIX for entry in path.iterdir()))


def load(folder: str | Path) -> Index:
    """The index of a folder of shards.

    Raises:
        DataError: It is not there, is broken, or is of another version.
    """
    path = inside(str(folder), INDEX)
    try:
        text = read(path).decode("utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: there is no {INDEX}: the writing of these shards did not come to its end; "
            "run the same kcolor prepare --shards again, and it goes on from there"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        content = json.loads(text)
        version = content["kcolor_shards"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no index of shards; {mending(folder)}") from error
    if version != VERSION:
        raise DataError(f"{path}: shards of version {version}, this program reads version {VERSION}; {mending(folder)}")
    try:
        return Index.model_validate(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DataError(f"{path}: {where}: {error.errors()[0]['msg']}; {mending(folder)}") from error


def manifest_of(folder: str | Path) -> Manifest:
    """The manifest of the photos that shards were made of.

    Raises:
        DataError: There are no whole shards, or their manifest is another one.
    """
    index = load(folder)
    path = inside(str(folder), MANIFEST)
    with _local(path) as file:
        found = Manifest.load(file)
    if found.sha256 != index.manifest_sha256:
        raise DataError(
            f"{path}: is not the manifest that the shards beside it were made of; put that back, or write the shards "
            "anew with kcolor prepare --shards"
        )
    return found


def check(folder: str | Path, index: Index) -> None:
    """Make sure, by a look at their sizes, that all shards are there and whole.

    Raises:
        DataError: They are not.
    """
    shards = [shard for split in index.splits.values() for shard in split]
    with ThreadPoolExecutor(_LOOKS if is_url(folder) else 1) as pool:
        sizes = pool.map(lambda shard: size_of(inside(str(folder), shard.name)), shards)
        for shard, size in zip(shards, _told(folder, sizes), strict=True):
            if size != shard.bytes:
                path = inside(str(folder), shard.name)
                what = "is missing" if size is None else f"has {size:,} bytes in place of {shard.bytes:,}"
                raise DataError(f"{path}: {what}; {mending(folder, index)}")


def _told(folder: str | Path, sizes: Iterator[int | None]) -> Iterator[int | None]:
    try:
        yield from sizes
    except OSError as error:
        raise DataError(f"{folder}: cannot be looked at ({error.strerror})") from error


def mending(folder: str | Path, index: Index | None = None) -> str:
    """What to do about shards that are damaged: the same command again writes anew what is not whole."""
    if index is None:
        return "write them anew, to another folder: kcolor prepare FOLDER --shards DIR"
    options = f"--size {index.size} " + (f"--quality {index.quality}" if index.quality else "--lossless")
    options += " --set data.crop=true" if index.crop else ""
    photos = "FOLDER" if is_url(folder) else shlex.quote(str(Path(folder, MANIFEST)))
    return f"have it written anew: kcolor prepare {photos} --shards {shlex.quote(str(folder))} {options}"


# --- files here and elsewhere ---------------------------------------------------------------------------------------


def read(path: str) -> bytes:
    """A file's bytes.

    Raises:
        OSError: It cannot be read.
    """
    if not is_url(path):
        return Path(path).read_bytes()
    import tensorflow as tf

    with _as_os_errors(path), tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def size_of(path: str) -> int | None:
    """A file's size; None where there is no file."""
    if not is_url(path):
        return Path(path).stat().st_size if Path(path).is_file() else None
    import tensorflow as tf

    try:
        with _as_os_errors(path):
            return tf.io.gfile.stat(path).length
    except FileNotFoundError:
        return None


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(2, "No such file", path) from error
    except tf.errors.OpError as error:
        raise OSError(5, error.message.splitlines()[0], path) from error


@contextmanager
def _local(path: str) -> Iterator[Path]:
    """A file, or a copy of it on this machine."""
    if not is_url(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, MANIFEST)
        try:
            copy.write_bytes(read(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        yield copy
