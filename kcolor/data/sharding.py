"""Writing shards: the photos of a manifest, once, as training will see them.

One process with TensorFlow's threads on all processors, so that the pictures are those of `kcolor.image` and no
other. Each file is written under a hidden name, hashed as it was stored, and renamed; what it holds is noted beside it.
So what was interrupted goes on with the next file, and what has been damaged is written again.
"""

import hashlib
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from filelock import FileLock, Timeout

from kcolor import files, image
from kcolor.data import dataset, records, shards
from kcolor.data.manifest import Manifest
from kcolor.data.rows import SPLITS, Rows
from kcolor.data.shards import Index, Shard, Split
from kcolor.errors import DataError

# Bytes of a pixel, about, and of a shard: large enough to be read in one go from far away, small enough that several
# fit into memory to be shuffled among each other.
_PIXEL = {"jpeg": 0.6, "png": 1.8}
_SHARD = 2**25

# More photos than this that cannot be read, and it is not the photos: perhaps a disk has gone.
_LEFT_OUT = 10
_LEFT_OUT_SHARE = 0.01

_BLOCK = 2**22  # bytes that are hashed at a time
_UNFINISHED = ".unfinished"
_LOCK = ".lock"


@dataclass(frozen=True)
class _Planned:
    """A shard to be.

    Args:
        name: Of its file.
        split: Whose photos.
        places: Of its photos in the manifest, in the order in which they are written.
    """

    name: str
    split: Split
    places: np.ndarray


class _Noted(Shard):
    """What is noted beside a shard until the index is written."""

    plan: str
    left_out: list[dict[str, str]]


def write(
    manifest: Manifest,
    folder: str,
    *,
    size: int,
    crop: bool = False,
    quality: int = 95,
    photos_per_shard: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Write the photos of the train and val splits, in an order drawn from the manifest's seed.

    What is there already, of the same photos and options, stays if it is whole. A photo that cannot be read any more is
    left out, and told of in the index.

    Args:
        manifest: The photos.
        folder: Where the shards are to be: a folder, or a place that `tf.io.gfile` writes to.
        size: Side of the squares.
        crop: As `kcolor.image.fit_square`.
        quality: Of JPEG without subsampling of the colours, 1 to 100; 0: PNG, by which nothing is lost.
        photos_per_shard: Photos a file; 0: as many as make about 32 MB.
        on_progress: Called with the number of photos that are done and that of all.

    Returns:
        The index, as it was written.

    Raises:
        DataError: The folder holds something else, or shards of other photos or options; another process writes there,
            it cannot be written, or too many photos cannot be read.
    """
    kind = "jpeg" if quality else "png"
    per_shard = photos_per_shard or max(1, round(_SHARD / (_PIXEL[kind] * size**2)))
    seed = int(manifest.rules.get("seed", 0))
    made = {
        "kcolor_shards": shards.VERSION,
        "manifest_sha256": manifest.sha256,
        "seed": seed,
        "size": size,
        "crop": crop,
        "format": kind,
        "quality": quality,
    }
    plan = hashlib.sha256(json.dumps([made, per_shard]).encode()).hexdigest()
    planned = _planned(manifest.photos, seed, per_shard)
    total = sum(len(each.places) for each in planned)
    report = on_progress or (lambda done, total: None)
    try:
        with _alone(folder):
            noted = _whole(folder, plan, planned)
            left = [each for each in planned if each.name not in noted]
            done = total - sum(len(each.places) for each in left)
            report(done, total)
            places = np.concatenate([np.zeros(0, np.int64), *(each.places for each in left)])
            pictures = _counted(_encoded(manifest, places, made), lambda number: report(done + number, total))
            for each in left:
                out = sum(len(note.left_out) for note in noted.values())
                some = _bearable(islice(pictures, len(each.places)), manifest.root, out, total)
                noted[each.name] = _write_shard(folder, each, plan, manifest, some)
            index = _index(made, plan, manifest.classes, [(each.split, noted[each.name]) for each in planned])
            with tempfile.TemporaryDirectory() as here:
                manifest.save(Path(here, shards.MANIFEST))
                _put(folder, shards.MANIFEST, Path(here, shards.MANIFEST).read_bytes())
            _put(folder, shards.INDEX, index.dump().encode())
            for each in planned:
                with suppress(tf.errors.NotFoundError):
                    tf.io.gfile.remove(shards.inside(folder, _note(each.name)))
    except (OSError, tf.errors.OpError) as error:
        told = error.message.splitlines()[0] if isinstance(error, tf.errors.OpError) else files.reason(error)
        raise DataError(
            f"{folder}: shards cannot be written: {told}; what is whole stays, and is not done again"
        ) from error
    return index


def _planned(photos: Rows, seed: int, per_shard: int) -> list[_Planned]:
    """The shards, of as many photos each as asked, but for the last of a split."""
    planned = []
    for split in shards.SPLITS:
        # RandomState gives the same order with every version of NumPy, which its newer generators do not promise.
        places = np.flatnonzero(photos.split == SPLITS.index(split))
        places = places[np.random.RandomState(seed % 2**32).permutation(len(places))]
        count = -(-len(places) // per_shard)
        planned += [
            _Planned(
                f"{split}-{number:05}-of-{count:05}{shards.SUFFIX}",
                split,
                places[number * per_shard : (number + 1) * per_shard],
            )
            for number in range(count)
        ]
    return planned


def _whole(folder: str, plan: str, planned: Sequence[_Planned]) -> dict[str, _Noted]:
    """The shards that are there and whole: by their hash where there is an index, by their size while there is none.

    Raises:
        DataError: There are others than are planned.
    """
    if tf.io.gfile.exists(shards.inside(folder, shards.INDEX)):
        index = shards.load(folder)
        notes = [
            _Noted(
                **shard.model_dump(),
                plan=index.plan,
                left_out=[entry for entry in index.left_out if entry.get("shard") == shard.name],
            )
            for split in index.splits.values()
            for shard in split
        ]
        hashed = True
    else:
        notes, hashed = [], False
        for each in planned:
            with suppress(FileNotFoundError, ValueError):
                notes.append(_Noted.model_validate_json(shards.read(shards.inside(folder, _note(each.name)))))
    if any(note.plan != plan for note in notes):
        raise DataError(
            f"{folder}: holds shards of other photos, or made with other options; name another folder, or remove it"
        )
    found = {}
    for note in notes:
        path = shards.inside(folder, note.name)
        if shards.size_of(path) == note.bytes and not (hashed and _hash(path) != note.sha256):
            found[note.name] = note
    return found


def _encoded(manifest: Manifest, places: np.ndarray, made: Mapping[str, Any]) -> Iterator[bytes | str]:
    """The photos at these places as they are kept in shards; why not, where one cannot be read.

    Raises:
        DataError: The photos' folder has gone.
    """
    load = dataset.loader(
        dataset.photos_of(manifest.photos, manifest.root, manifest.classes), made["size"], made["crop"]
    )

    def encode(place: tf.Tensor) -> tf.Tensor:
        rgb, _ = load(place)
        return image.encode(rgb, made["quality"])

    encoded = tf.data.Dataset.from_tensor_slices(places).map(
        encode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    iterator = iter(encoded)
    while True:
        try:
            yield next(iterator).numpy()
        except StopIteration:
            return
        except tf.errors.ResourceExhaustedError:
            raise
        # Of a name that is no UTF-8 TensorFlow cannot say what is wrong. The dataset goes on with the next one.
        except (tf.errors.OpError, UnicodeDecodeError) as error:
            if not manifest.root.is_dir():
                raise DataError(
                    f"{manifest.root}: the photos' folder is not there any more; bring it back, and run this again"
                ) from error
            gone = isinstance(error, tf.errors.NotFoundError)
            yield "is not there any more" if gone else "cannot be read any more"


def _counted(pictures: Iterator[bytes | str], on_each: Callable[[int], None]) -> Iterator[bytes | str]:
    for number, picture in enumerate(pictures, 1):
        on_each(number)
        yield picture


def _write_shard(
    folder: str, shard: _Planned, plan: str, manifest: Manifest, pictures: Iterator[bytes | str]
) -> _Noted:
    """Write one file, and its note beside it."""
    left_out = []
    rows = manifest.photos[shard.places]
    numbers = {name: number for number, name in enumerate(manifest.classes)}
    with _replacing(folder, shard.name) as path:
        with tf.io.TFRecordWriter(path) as writer:
            for row, picture in zip(rows, pictures, strict=True):
                if isinstance(picture, str):
                    left_out.append({"path": files.shown(row.path), "reason": picture, "shard": shard.name})
                else:
                    writer.write(records.example(picture, numbers.get(row.label, 0), row.path))
        size, sha256 = tf.io.gfile.stat(path).length, _hash(path)
    note = _Noted(
        name=shard.name,
        photos=len(rows) - len(left_out),
        bytes=size,
        sha256=sha256,
        plan=plan,
        left_out=left_out,
    )
    _put(folder, _note(shard.name), note.model_dump_json().encode())
    return note


def _bearable(pictures: Iterator[bytes | str], root: Path, out: int, total: int) -> Iterator[bytes | str]:
    """The same, as long as it is only a few that cannot be read, with so many before.

    Raises:
        DataError: It is many.
    """
    for picture in pictures:
        out += isinstance(picture, str)
        if out > max(_LEFT_OUT, _LEFT_OUT_SHARE * total):
            raise DataError(
                f"{root}: {out} of {total} photos cannot be read any more, so it is not for single photos; look at the "
                f"disk, or at the photos anew: kcolor prepare {root}"
            )
        yield picture


def _index(made: Mapping[str, Any], plan: str, classes: Sequence[str], noted: Sequence[tuple[Split, _Noted]]) -> Index:
    splits: dict[Split, list[Shard]] = {"train": [], "val": []}
    for split, note in noted:
        splits[split].append(Shard(**note.model_dump(include=set(Shard.model_fields))))
    left_out = [entry for _, note in noted for entry in note.left_out]
    return Index(**made, plan=plan, classes=[files.shown(name) for name in classes], splits=splits, left_out=left_out)


# --- files ----------------------------------------------------------------------------------------------------------


def _note(name: str) -> str:
    """The name of what is noted beside a shard."""
    return f".{name}.json"


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep other processes of this machine from writing the same shards; what a killed one left behind is removed.

    Raises:
        DataError: Another process writes there, or it is a folder of something else, such as the photos.
    """
    lock = Path(folder, _LOCK)
    ours = shards.is_url(folder) or lock.exists() or Path(folder, shards.INDEX).exists()
    if not ours and Path(folder).is_dir() and any(path.name[0] != "." for path in Path(folder).iterdir()):
        raise DataError(f"{folder}: holds other files; name an empty folder for the shards, or a new one")
    tf.io.gfile.makedirs(folder)
    if shards.is_url(folder):  # where two writers write the same, and nothing is there before it is whole
        yield
        return
    try:
        with FileLock(lock, timeout=0):
            for leftover in Path(folder).glob(f".*{_UNFINISHED}"):
                leftover.unlink()
            yield
    except Timeout as error:
        raise DataError(f"{folder}: another process is writing these shards; wait for it, or stop it") from error


@contextmanager
def _replacing(folder: str, name: str) -> Iterator[str]:
    """Write to the path that is yielded; it becomes the file of that name when the block ends well."""
    path = shards.inside(folder, f".{name}.{uuid.uuid4().hex}{_UNFINISHED}")
    try:
        yield path
        if not shards.is_url(folder):
            files.sync(Path(path))
        tf.io.gfile.rename(path, shards.inside(folder, name), overwrite=True)
    except BaseException:
        with suppress(tf.errors.OpError):
            tf.io.gfile.remove(path)
        raise


def _put(folder: str, name: str, content: bytes) -> None:
    """Write a small file."""
    with _replacing(folder, name) as path, tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


def _hash(path: str) -> str:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
