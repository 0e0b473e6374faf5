"""Evaluate: a model, the all-grey answer and the training photos' mean colour, judged on the same photos."""

import hashlib
import json
import math
import platform
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import platformdirs
import tensorflow as tf

from kcolor import __version__, card, color, files, pages, trunks, weights
from kcolor.colorizer import Colorizer, stochastic
from kcolor.data.manifest import Manifest, Photo
from kcolor.data.reading import Pictures, Read, check, read, told, trained_on
from kcolor.errors import DataError, RunError
from kcolor.evaluation import EVALUATION_VERSION, METRICS, PER_IMAGE, REPORT, Evaluation, protocol_name
from kcolor.figures import ANSWERS, FIGURES
from kcolor.join import join
from kcolor.judge import Judge
from kcolor.protocols import Protocol
from kcolor.regions import Region, boxes_sha256, pooled, regions_of
from kcolor.run import owner

# The mean colour of the training photos is that of so many of them, spread evenly, each at so many pixels a side.
MEAN_PHOTOS, MEAN_SIZE = 10_000, 64

Progress = Callable[[str, int, int], None]


def evaluate(
    colorizer: Colorizer,
    pictures: Pictures,
    protocol: Protocol,
    folder: Path,
    *,
    training_mode: bool = False,
    seed: int = 0,
    training_photos: Manifest | None = None,
    weights_folder: Path | None = None,
    on_progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Judge a model and write ``per_image.jsonl``, ``report.html`` and, when they are whole, ``metrics.json``.

    Args:
        colorizer: The model.
        pictures: The photos.
        protocol: How to measure.
        folder: Where to write; what an earlier evaluation wrote there is replaced.
        training_mode: Judge the networks with dropout and the statistics of the batch.
        seed: Of the dropout in training mode.
        training_photos: The manifest whose train split the mean colour is of; None: that of the pictures.
        weights_folder: Where the networks of LPIPS and FID are; None: `kcolor.weights.folder`.
        on_progress: Called with what is being done, and how many photos of how many are through.

    Raises:
        DataError: No photo can be used, or a file cannot be written.
        RunError: The model gives NaN, or has no training mode.
    """
    started = time.monotonic()
    judged = stochastic(colorizer, seed) if training_mode else colorizer
    photos, left_out, hashes = check(pictures, lambda done, total: on_progress("checking", done, total))
    networks, missing = _networks(weights_folder)
    cache = _Cache(hashes, protocol, networks)
    mean = _mean_ab(training_photos or pictures.manifest, on_progress)
    judge = Judge(
        protocol,
        {"grey": np.zeros(2), "mean_ab": mean.ab},
        classifies=bool(colorizer.classes),
        vgg16=networks.vgg16,
        inception=networks.inception,
        true_features=cache.load(),
    )
    rows: list[dict[str, Any]] = []
    on_progress("judging", 0, len(photos))
    usable = _usable(read(pictures.manifest.root, photos, protocol.size), left_out)
    with files.whole_text(folder / PER_IMAGE) as lines:
        for row in _judge(judge, judged, usable, hashes, protocol.batch_size, within=pictures.manifest.has_instances):
            lines.write(json.dumps(row) + "\n")
            rows.append(row)
            on_progress("judging", len(rows), len(photos))
        if not rows:
            raise DataError(f"{pictures.manifest.root}: none of the photos can be used ({told(left_out)})")
    cache.save(judge.true_features)

    figures = judge.result()
    described = {
        "name": protocol.name,
        "version": protocol.version,
        "stochastic": training_mode,
        "about": protocol.about,
    }
    content = {
        "kcolor_evaluation": EVALUATION_VERSION,
        "protocol": described,
        "model": {
            "path": str(colorizer.path),
            "kind": colorizer.kind,
            "sha256": colorizer.sha256,
            "input_size": colorizer.size,
        },
        "pictures": {
            "count": len(rows),
            "sha256": _hash_of(sorted((row["path"], row["sha256"]) for row in rows)),
            "split": pictures.split,
            "limit": pictures.limit,
            "folder": str(pictures.manifest.root),
            "manifest_sha256": pictures.manifest.sha256,
            "near_grey": sum(row["near_grey"] for row in rows),
            "left_out": left_out,
        },
        "baselines": {
            "grey": {"ab": [0.0, 0.0]},
            "mean_ab": {"ab": [float(v) for v in mean.ab * color.AB_SCALE], "photos": mean.photos, "of": mean.of},
        },
        "figures": [
            {
                "figure": key,
                "protocol": protocol_name(described),
                "pictures": len(rows),
                **{answer: _or_none(figures[key].get(answer)) for answer in ANSWERS},
            }
            for key in FIGURES
            if key in figures
        ],
        **_told_of_instances(pictures.manifest, photos, rows),
        "missing": missing + _why_no_accuracy(colorizer, figures),
        "warnings": judge.warnings + _warnings(colorizer, pictures, photos, left_out, training_mode=training_mode),
        "networks": networks.hashes,
        "seed": seed,
        "batch_size": protocol.batch_size,
        "seconds": round(time.monotonic() - started, 3),
        "versions": {
            "kcolor": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("tensorflow", "keras", "numpy")},
        },
        "per_image_sha256": files.digest(folder / PER_IMAGE),
    }
    done = Evaluation(folder, content, rows)
    files.write_text(folder / REPORT, pages.report_page(done, _gallery(judged, photos, done, protocol)))
    files.write_text(folder / METRICS, json.dumps(content, indent=2) + "\n")
    return done


def folder_for(colorizer: Colorizer, pictures: Pictures, protocol: Protocol, *, training_mode: bool) -> Path:
    """Where an evaluation is written when nobody says where: in the run, or in ``evaluations/<model>``."""
    run = owner(colorizer.path)
    parts = [pictures.split, protocol.name, *["stochastic"] * training_mode]
    if pictures.limit is not None:
        parts.append(f"limit-{pictures.limit}")
    if run is None:
        path = colorizer.path.resolve()
        return Path("evaluations") / f"{path.parent.name}-{path.stem}" / "-".join(parts)
    if Manifest.load(run.manifest).sha256 != pictures.manifest.sha256:
        parts = [pictures.manifest.root.name, *parts]
    if colorizer.path.resolve() != run.generator.resolve():
        parts = [colorizer.path.stem, *parts]
    return run.path / "evaluations" / "-".join(parts)


def _usable(found: Iterable[Read], left_out: list[dict[str, str]]) -> Iterator[tuple[Photo, np.ndarray]]:
    """The photos that could be read; the others are added to those left out."""
    for each in found:
        if each.rgb is None:
            left_out.append({"path": each.photo.path, "reason": each.fault})
        else:
            yield each.photo, each.rgb


def _judge(
    judge: Judge,
    colorizer: Colorizer,
    usable: Iterable[tuple[Photo, np.ndarray]],
    hashes: Mapping[str, str],
    batch_size: int,
    *,
    within: bool,
) -> Iterator[dict[str, Any]]:
    """A line of ``per_image.jsonl`` for each photo; with its regions, if what is within its boxes is asked for.

    Raises:
        RunError: The model gives NaN.
    """
    numbers = {name: number for number, name in enumerate(colorizer.classes)}
    for batch, rgb, outputs in _seen(colorizer, usable, batch_size):
        sound = np.isfinite(outputs["ab"]).all(axis=(1, 2, 3))
        if not sound.all():
            bad = batch[int(np.argmin(sound))][0].path
            raise RunError(f"{colorizer.path}: gives NaN for {bad}: a broken model; take another checkpoint of its run")
        labels = [numbers.get(photo.label, -1) for photo, _ in batch]
        regions = [_regions(photo, pixels) for photo, pixels in batch] if within else ()
        measured = judge.update(rgb, tf.constant(outputs["ab"]), outputs.get("logits"), labels, regions)
        for (photo, pixels), row in zip(batch, measured, strict=True):
            yield {
                "path": photo.path,
                "class": photo.label,
                "sha256": hashes[photo.path],
                "width": photo.width,
                "height": photo.height,
                "pixels": pixels.shape[0] * pixels.shape[1],
                **row,
            }


def _regions(photo: Photo, pixels: np.ndarray) -> list[Region]:
    return regions_of(photo.instances, (photo.width, photo.height), pixels.shape[:2])


def _told_of_instances(
    manifest: Manifest, photos: Sequence[Photo], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How instances were looked for, the hash of the boxes of the photos judged, and the figures of the regions."""
    if not manifest.has_instances:
        return {}
    judged = {row["path"] for row in rows}
    boxes = boxes_sha256({photo.path: photo.instances for photo in photos if photo.path in judged})
    return {"instances": {**manifest.rules["instances"], "boxes_sha256": boxes}, "regions": pooled(rows)}


def _seen(
    colorizer: Colorizer, usable: Iterable[tuple[Photo, np.ndarray]], batch_size: int
) -> Iterator[tuple[list[tuple[Photo, np.ndarray]], tf.Tensor, dict[str, np.ndarray]]]:
    """The photos in batches, their pixels as one tensor, and what the model says of them.

    In a thread, so that neither core waits: the model sees the next batch while the last one is measured.
    """
    photos = iter(usable)

    def see() -> Any:
        batch = list(islice(photos, batch_size))
        if not batch:
            return None
        rgb = tf.constant(np.stack([pixels for _, pixels in batch]))
        return batch, rgb, {name: value.numpy() for name, value in colorizer.predict(rgb).items()}

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(see)
        while seen := following.result():
            following = pool.submit(see)
            yield seen


class _MeanColour(NamedTuple):
    ab: np.ndarray
    photos: int
    of: str


def _mean_ab(manifest: Manifest, on_progress: Progress) -> _MeanColour:
    """The mean ab, scaled to [-1, 1], of a manifest's train split; zero if none of its photos can be read.

    Kept in the user's cache directory.
    """
    photos = manifest.split("train").spread(MEAN_PHOTOS)
    key = _hash_of([str(manifest.root), MEAN_SIZE, [(photo.path, photo.bytes) for photo in photos]])
    kept = platformdirs.user_cache_path("kcolor") / "mean-ab" / f"{key}.json"
    of = f"the train split of {manifest.root}"
    try:
        entry = json.loads(kept.read_text(encoding="utf-8"))
        return _MeanColour(np.array(entry["ab"]), int(entry["photos"]), of)
    except (OSError, ValueError, KeyError):
        pass
    total, count = np.zeros(2), 0
    mean_of_each = tf.function(lambda rgb: tf.reduce_mean(color.split(rgb)[1], axis=(0, 1)), autograph=False)
    for number, each in enumerate(read(manifest.root, photos, MEAN_SIZE), 1):
        if each.rgb is not None:
            total += mean_of_each(tf.constant(each.rgb)).numpy()
            count += 1
        on_progress("mean colour of the training photos", number, len(photos))
    ab = total / max(count, 1)
    if count:
        with suppress(OSError, DataError):  # it can be found again
            files.write_text(kept, json.dumps({"ab": ab.tolist(), "photos": count}))
    return _MeanColour(ab, count, of)


class _Networks(NamedTuple):
    vgg16: keras.Model | None
    inception: Callable[[tf.Tensor], tf.Tensor] | None
    hashes: dict[str, str]


def _networks(folder: Path | None) -> tuple[_Networks, list[dict[str, str]]]:
    """The networks of LPIPS and FID, as far as they are here, and what is missing without the others."""
    found: dict[str, Any] = {"vgg16": None, "inception": None}
    hashes, missing = {}, []
    for name, figure, load in (("vgg16", "lpips", trunks.vgg16), ("inception", "fid", trunks.inception)):
        entry = weights.CATALOGUE[name]
        path = weights.find(entry, folder or weights.folder())
        if path is None:
            missing.append({"figure": figure, "why": f"needs {entry.about}: kcolor weights fetch {name}"})
        else:
            found[name] = load(path)
            hashes[name] = files.digest(path)
    return _Networks(found["vgg16"], found["inception"], hashes), missing


class _Cache:
    """The moments of the true pictures' features, under the hash of pictures, protocol and network.

    LPIPS' features of a picture are 32 MB at 256x256, and so not worth keeping.
    """

    def __init__(self, hashes: Mapping[str, str], protocol: Protocol, networks: _Networks) -> None:
        key = _hash_of([sorted(hashes.items()), protocol.name, protocol.version, networks.hashes.get("inception")])
        self.path = platformdirs.user_cache_path("kcolor") / "features" / f"{key}.npz" if networks.inception else None

    def load(self) -> list[np.ndarray] | None:
        if self.path is None:
            return None
        try:
            with np.load(self.path) as kept:
                return [kept[f"arr_{i}"] for i in range(len(kept.files))]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # damaged
            with suppress(OSError):
                self.path.unlink()
            return None

    def save(self, values: list[np.ndarray] | None) -> None:
        if self.path is not None and values is not None and not self.path.exists():
            with suppress(OSError), files.replacing(self.path) as temporary:  # they can be found again
                np.savez(temporary, *values)


def _why_no_accuracy(colorizer: Colorizer, figures: Mapping[str, Any]) -> list[dict[str, str]]:
    generator = colorizer.generator
    if "top_1" in figures or (generator is not None and "logits" not in generator.output):
        return []
    if colorizer.classes:
        why = "no photo is of a class that the model knows"
    elif generator is not None and card.taught(colorizer.path):
        why = "the model's classes are those of its teacher, not of the photos"
    elif generator is not None:
        why = "the names of the model's classes are not known; evaluate the run it is from"
    else:
        why = "an export gives colours only; evaluate the run it is from"
    return [{"figure": name, "why": why} for name in ("top_1", "top_5")]


def _warnings(
    colorizer: Colorizer,
    pictures: Pictures,
    photos: Sequence[Photo],
    left_out: Sequence[Mapping[str, str]],
    *,
    training_mode: bool,
) -> list[str]:
    found = []
    if left_out:
        found.append(f"{len(left_out)} photos are left out ({told(left_out)})")
    run = owner(colorizer.path)
    if run and (seen := trained_on(Manifest.load(run.manifest), pictures.manifest.root, photos)):
        found.append(f"the model was trained on {seen:,} of these {len(photos):,} photos")
    if training_mode:
        found.append("in training mode a colouring depends on the batch it is in; those of the gallery are drawn anew")
    return found


def _gallery(colorizer: Colorizer, photos: Sequence[Photo], done: Evaluation, protocol: Protocol) -> list[pages.Shown]:
    """The best, the median and the worst pictures, as the protocol brings them to size, coloured once more."""
    # What was measured is shown; or, where that is no picture, what kcolor colorize makes of the photo.
    answer = protocol.answer if protocol.is_rgb else join
    figure = pages.ranked_by(done.rows)
    chosen = pages.chosen(done.rows, key=figure.key, better=figure.better)
    by_path = {photo.path: photo for photo in photos}
    root = Path(done.metrics["pictures"]["folder"])
    shown = []
    for (kind, row), each in zip(
        chosen, read(root, [by_path[row["path"]] for _, row in chosen], protocol.size), strict=True
    ):
        if each.rgb is not None:
            rgb = tf.constant(each.rgb)
            grey = answer(rgb, tf.zeros((1, 1, 2))).numpy()
            prediction = answer(rgb, colorizer.predict(rgb)["ab"]).numpy()
            shown.append(pages.Shown(kind, row, grey, prediction, each.rgb))
    return shown


def _or_none(value: float | None) -> float | None:
    """A number as JSON has it: NaN and infinity are null."""
    return None if value is None or not math.isfinite(value) else value


def _hash_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
