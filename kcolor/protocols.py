"""Protocols: what is done to a photo and to a model's answer before anything is measured.

Figures of two protocols are not comparable, so each has a name and a version, which stand beside every figure. A new
protocol is a new entry of `PROTOCOLS`; one that is changed gets a new version.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from kcolor import color
from kcolor.join import join


@dataclass(frozen=True)
class Protocol:
    """One way to measure.

    Args:
        name: As given on the command line.
        version: Counted up with each change that changes a figure.
        about: What is measured, in a sentence.
        size: Side of the squares that photos are brought to first; None: each photo's own size.
        truth: What is measured of a photo (batch, height, width, 3) uint8: three channels, uint8 or floating in 0..1.
        answer: The same of the photo and an ab (batch, any, any, 2), scaled to [-1, 1]. Both are compiled by XLA where
            there is a `size`.
        is_rgb: Whether the three channels are RGB; colours are measured only of those.
        cropped_ssim: See `kcolor.metrics.SSIM`.
    """

    name: str
    version: int
    about: str
    size: int | None
    truth: Callable[[tf.Tensor], tf.Tensor]
    answer: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    is_rgb: bool = True
    cropped_ssim: bool = False

    @property
    def batch_size(self) -> int:
        """Photos that are judged at once; in training mode it enters the figures."""
        return 8 if self.size else 1


def _stacked(l: tf.Tensor, ab: tf.Tensor) -> tf.Tensor:
    """L/100 and ab as the report's code scales them, in 0..1; `l` and `ab` scaled to [-1, 1], of one size."""
    ab = color.AB_SCALE * ab
    return tf.concat([(l + 1.0) / 2.0, (ab / tf.where(ab > 0.0, 127.0, 128.0) + 1.0) / 2.0], axis=-1)


def _stacked_truth(rgb: tf.Tensor) -> tf.Tensor:
    return _stacked(*color.split(rgb))


def _stacked_answer(rgb: tf.Tensor, ab: tf.Tensor) -> tf.Tensor:
    return _stacked(color.lightness(rgb), tf.image.resize(ab, tf.shape(rgb)[-3:-1]))


def _bilinear_and_clipped(rgb: tf.Tensor, ab: tf.Tensor) -> tf.Tensor:
    """Bilinear enlargement, and channels clipped one by one: what `rgb` is defined by, whatever colorize does."""
    return color.merge(color.lightness(rgb), tf.image.resize(ab, tf.shape(rgb)[-3:-1]))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "rgb",
            1,
            "256x256; the prediction joined with the true L, converted to sRGB, clipped, rounded to 8 bits, "
            "and measured in RGB",
            size=256,
            truth=tf.identity,
            answer=_bilinear_and_clipped,
        ),
        Protocol(
            "native",
            2,
            "each photo at its own size, coloured as kcolor colorize does it, and measured in RGB of 8 bits",
            size=None,
            truth=tf.identity,
            answer=join,
        ),
        # Saccaro's report computes its table so. SSIM is that of torchmetrics as it was when the report was written.
        Protocol(
            "paper",
            1,
            "as the 2023 report computed its table: 256x256; L, a and b scaled to 0..1 and measured as if they "
            "were RGB, the true L in both pictures",
            size=256,
            truth=_stacked_truth,
            answer=_stacked_answer,
            is_rgb=False,
            cropped_ssim=True,
        ),
    )
}
