"""Measures a model's answers and constant ones to the same photos under one protocol."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kcolor import metrics
from kcolor.color import rgb_to_lab
from kcolor.metrics.base import pair
from kcolor.metrics.delta_e import PERCENTILE
from kcolor.metrics.psnr import NEAR_GREY_CHROMA
from kcolor.protocols import Protocol
from kcolor.regions import Region

MODEL = "model"
TOP = (1, 5)

# What rows say of regions, by the names that it has of pictures.
_WITHIN = (
    "squared_error",
    "delta_e_2000",
    f"delta_e_2000_p{PERCENTILE}",
    "colourfulness_truth",
    "colourfulness_prediction",
)


class Judge:
    """The figures of each answer, streaming: memory does not grow with the number of photos.

    Args:
        protocol: How to measure.
        baselines: By name, answers that are the same for every photo: ab, two numbers scaled to [-1, 1].
        classifies: Whether logits and labels will be given.
        vgg16: The trunk of LPIPS (`kcolor.trunks.vgg16`); None: no LPIPS.
        inception: The features of FID (`kcolor.trunks.inception`); None: no FID.
        true_features: Of the same photos under the same protocol, if they have been seen before: what
            `true_features` was then.
    """

    def __init__(
        self,
        protocol: Protocol,
        baselines: Mapping[str, np.ndarray],
        *,
        classifies: bool = False,
        vgg16: keras.Model | None = None,
        inception: Callable[[tf.Tensor], tf.Tensor] | None = None,
        true_features: Sequence[np.ndarray] | None = None,
    ) -> None:
        self._protocol = protocol
        self._baselines = {
            name: tf.tile(tf.reshape(tf.cast(ab, tf.float32), (1, 1, 1, 2)), (protocol.batch_size, 1, 1, 1))
            for name, ab in baselines.items()
        }
        answers = [MODEL, *baselines]
        self._pixelwise = {name: _pixelwise_metrics(protocol) for name in answers}
        self._windowed = {
            name: [metrics.SSIM(protocol.cropped_ssim), *([metrics.LPIPS(vgg16)] if vgg16 else [])] for name in answers
        }
        self._accuracy = {
            f"top_{k}": keras.metrics.SparseTopKCategoricalAccuracy(k, name=f"top_{k}") for k in TOP if classifies
        }
        self._vgg16 = vgg16
        self._inception = inception
        self._frechet = {name: metrics.FrechetDistance(name="fid") for name in answers} if inception else {}
        self._truth = metrics.FrechetDistance(name="fid") if inception else None
        self._knows_truth = true_features is not None
        if self._truth and true_features is not None:
            for variable, value in zip(self._truth.variables, true_features, strict=True):
                variable.assign(value)
        # XLA halves the time of what is done pixel by pixel, and multiplies that of SSIM's convolutions on a CPU. It
        # compiles for each shape anew, so only where there is but one.
        # There is nothing for AutoGraph to convert, and looking for it takes seconds.
        graph = partial(tf.function, autograph=False, reduce_retracing=True)
        # Apart, since XLA would make a picture anew for each figure of it.
        self._make = graph(self._pictures, jit_compile=protocol.size is not None)
        self._measure_pixels = graph(self._pixels, jit_compile=protocol.size is not None)
        self._measure_windows = graph(self._windows)
        # Traced when the first region is asked for, and for nothing else.
        self._measure_pixel_by_pixel = graph(self._pixel_by_pixel, jit_compile=protocol.size is not None)
        self._colourfulness = graph(metrics.colourfulness_of)

    def update(
        self,
        rgb: tf.Tensor,
        ab: tf.Tensor,
        logits: np.ndarray | None = None,
        labels: Sequence[int] = (),
        regions: Sequence[Sequence[Region]] = (),
    ) -> list[dict[str, Any]]:
        """Measure a batch.

        Args:
            rgb: The photos, (batch, height, width, 3) uint8; at most the protocol's batch size.
            ab: What the model says of them, (batch, any, any, 2), scaled to [-1, 1].
            logits: Its logits (batch, classes).
            labels: Each photo's class; -1 where the model has no such class.
            regions: Each photo's regions (`kcolor.regions.regions_of`); none: they are not asked for.

        Returns:
            For each photo its own figures by name and, under each answer's name, those of the answer; None for what is
            not a number. Where regions are asked for, "regions" has the same of each.
        """
        count = rgb.shape[0]
        # A graph is compiled for one shape, so the last batch is filled up with a photo that does not count.
        fill = [0] * (self._protocol.batch_size - count)
        if fill:
            rgb, ab = (tf.concat([given, tf.gather(given, fill)], axis=0) for given in (rgb, ab))
        weight = tf.constant([1.0] * count + [0.0] * len(fill))
        truth, made = self._make(rgb, {MODEL: ab, **self._baselines})
        values = self._measure_pixels(rgb, truth, made, weight)
        for name, more in self._measure_windows(truth, made, weight).items():
            values[name] |= more
        if self._inception and self._truth:
            if not self._knows_truth:
                self._truth.update_truth(self._inception(truth), weight)
            for name, pictures in made.items():
                self._frechet[name].update_prediction(self._inception(pictures), weight)
        values = _as_numpy(values)
        rows = [tf.nest.map_structure(lambda value, i=i: _number(value[i]), values) for i in range(count)]
        if self._accuracy and logits is not None:
            self._classify(rows, logits, np.asarray(labels))
        if regions:
            self._add_regions(rows, regions, truth, made)
        return rows

    def result(self) -> dict[str, dict[str, float]]:
        """Figures by key and, under each, by answer; NaN or infinite where there is nothing to measure."""
        figures: dict[str, dict[str, float]] = {}
        for name in self._pixelwise:
            for metric in [*self._pixelwise[name], *self._windowed[name], *self._distance(name)]:
                result = metric.result()
                for key, value in (result if isinstance(result, dict) else {metric.name: result}).items():
                    figures.setdefault(key, {})[name] = float(value)
        for name, metric in self._accuracy.items():
            if metric.count > 0:
                figures[name] = {MODEL: float(metric.result())}
        return figures

    @property
    def true_features(self) -> list[np.ndarray] | None:
        """What is known of the true pictures' features, to be kept for another time; None without FID."""
        return [variable.numpy() for variable in self._truth.variables] if self._truth else None

    @property
    def warnings(self) -> list[str]:
        """Why a figure is not to be trusted; empty where all are."""
        return [f"FID: {metric.warning}" for metric in self._distance(MODEL) if metric.warning]

    def _distance(self, name: str) -> list[metrics.FrechetDistance]:
        """The distance of an answer from the truth, whose features all answers share; none without the network."""
        if self._truth is None:
            return []
        whole = metrics.FrechetDistance(name="fid")
        whole.merge_state([self._frechet[name], self._truth])
        return [whole]

    def _pictures(self, rgb: tf.Tensor, answers: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return self._protocol.truth(rgb), {name: self._protocol.answer(rgb, ab) for name, ab in answers.items()}

    def _pixels(
        self, rgb: tf.Tensor, truth: tf.Tensor, made: dict[str, tf.Tensor], weight: tf.Tensor
    ) -> dict[str, Any]:
        near_grey = metrics.chroma_of(rgb) < NEAR_GREY_CHROMA
        values: dict[str, Any] = {"near_grey": near_grey}
        if self._protocol.is_rgb:
            values["colourfulness_truth"] = metrics.colourfulness_of(truth)
        for name, pictures in made.items():
            values[name] = _of_each(self._protocol, truth, pictures)
            for metric in self._pixelwise[name]:
                known: dict[str, Any] = {}
                if isinstance(metric, metrics.MedianPSNR):
                    known["near_grey"] = near_grey
                elif isinstance(metric, metrics.DeltaE):
                    known["of_each"] = (values[name]["delta_e_2000"], values[name]["delta_e_2000_p95"])
                metric.update_state(truth, pictures, weight, **known)
        return values

    def _windows(self, truth: tf.Tensor, made: dict[str, tf.Tensor], weight: tf.Tensor) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, pictures in made.items():
            for metric in self._windowed[name]:
                metric.update_state(truth, pictures, weight)
            values[name] = {"ssim": metrics.ssim_of(truth, pictures, self._protocol.cropped_ssim)}
            if self._vgg16:
                values[name]["lpips"] = metrics.lpips_of(self._vgg16, truth, pictures)
        return values

    def _pixel_by_pixel(self, truth: tf.Tensor, made: dict[str, tf.Tensor]) -> dict[str, dict[str, tf.Tensor]]:
        """What regions are summed up from, (batch, height, width) each, by answer."""
        maps: dict[str, dict[str, tf.Tensor]] = {}
        for name, pictures in made.items():
            true, prediction = pair(truth, pictures)
            maps[name] = {"squared_error": tf.reduce_mean(tf.math.squared_difference(true, prediction), axis=-1)}
            if self._protocol.is_rgb:
                maps[name]["delta_e_2000"] = metrics.delta_e_2000(rgb_to_lab(true), rgb_to_lab(prediction))
        return maps

    def _add_regions(
        self,
        rows: Sequence[dict[str, Any]],
        regions: Sequence[Sequence[Region]],
        truth: tf.Tensor,
        made: dict[str, tf.Tensor],
    ) -> None:
        """Add what is true of its regions to each row; where no photo of the batch has boxes, that costs nothing."""
        batch: Any = None
        for i, (row, some) in enumerate(zip(rows, regions, strict=True)):
            parts = []
            for region in some:
                if region.mask is None:
                    values = _whole(row, truth.shape[1] * truth.shape[2])
                else:
                    batch = batch or _as_numpy((truth, made, self._measure_pixel_by_pixel(truth, made)))
                    values = self._within(region.mask, *tf.nest.map_structure(lambda value, i=i: value[i], batch))
                within, name = region.key
                parts.append({"region": within, "class": name, "instances": region.instances, **values})
            row["regions"] = parts

    def _within(
        self,
        mask: np.ndarray,
        truth: np.ndarray,
        made: Mapping[str, np.ndarray],
        maps: Mapping[str, Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """What is true of the pixels of one picture under the mask, in the words of a row."""
        places = np.flatnonzero(mask)  # taking pixels at these takes a tenth of the time that a mask does
        inside = {name: {key: value.take(places) for key, value in of_each.items()} for name, of_each in maps.items()}
        values: dict[str, Any] = {"pixels": len(places)}
        for name, of_each in inside.items():
            values[name] = {key: float(value.mean(dtype=np.float64)) for key, value in of_each.items()}
        if self._protocol.is_rgb:
            # Where a pixel lies does not matter to it, so those of a region are a picture of one row; of all answers at
            # once, since most of what it takes is the call.
            pictures = (truth, *made.values())
            rows = np.stack([picture.reshape(-1, 3).take(places, axis=0) for picture in pictures])[:, np.newaxis]
            true, *predicted = self._colourfulness(tf.constant(rows)).numpy().tolist()
            values["colourfulness_truth"] = true
            for name, colourful in zip(made, predicted, strict=True):
                percentile = np.percentile(inside[name]["delta_e_2000"], PERCENTILE)
                values[name][f"delta_e_2000_p{PERCENTILE}"] = float(percentile)
                values[name]["colourfulness_prediction"] = colourful
        return values

    def _classify(self, rows: Sequence[dict[str, Any]], logits: np.ndarray, labels: np.ndarray) -> None:
        known = [i for i, label in enumerate(labels) if label >= 0]
        for k, metric in zip(TOP, self._accuracy.values(), strict=True):
            if known:
                metric.update_state(labels[known], logits[known])
            for i in known:
                # As TensorFlow counts it: who says anything that is not a number names nothing.
                sound = np.isfinite(logits[i]).all()
                rows[i][MODEL][metric.name] = bool(sound and (logits[i] > logits[i][labels[i]]).sum() < k)


def _pixelwise_metrics(protocol: Protocol) -> list[keras.metrics.Metric]:
    found: list[keras.metrics.Metric] = [metrics.PSNR(), metrics.MedianPSNR()]
    return [*found, metrics.DeltaE(), metrics.Colourfulness()] if protocol.is_rgb else found


def _of_each(protocol: Protocol, truth: tf.Tensor, made: tf.Tensor) -> dict[str, tf.Tensor]:
    """The figures of single pictures; in a graph, a sum they share with the streaming ones is computed once."""
    values = {"squared_error": metrics.squared_error_of(truth, made), "psnr": metrics.psnr_of(truth, made)}
    if protocol.is_rgb:
        mean, percentile = metrics.delta_e_of(truth, made)
        values |= {"delta_e_2000": mean, "delta_e_2000_p95": percentile}
        values["colourfulness_prediction"] = metrics.colourfulness_of(made)
    return values


def _whole(row: Mapping[str, Any], pixels: int) -> dict[str, Any]:
    """What a row says of its picture, as it is said of a region that is all of it."""

    def alike(of: Mapping[str, Any]) -> dict[str, Any]:
        return {key: of[key] for key in _WITHIN if key in of}

    answers = {name: alike(value) for name, value in row.items() if isinstance(value, dict)}
    return {"pixels": pixels, **answers, **alike(row)}


def _as_numpy(values: Any) -> Any:
    return tf.nest.map_structure(lambda value: value.numpy(), values)


def _number(value: Any) -> float | bool | None:
    if isinstance(value, np.bool_):
        return bool(value)
    return float(value) if math.isfinite(value) else None
