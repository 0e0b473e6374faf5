"""The figures of an evaluation, in TensorFlow: each a `keras.metrics.Metric`, and a plain function of single pictures.

All take the truth first and then the prediction, (batch, height, width, 3), uint8 in 0..255 or floating in 0..1, work
in `compile` and `fit` and by hand, and keep sums only. For classes Keras has its own: `SparseTopKCategoricalAccuracy`.
"""

from kcolor.metrics.colourfulness import Colourfulness, colourfulness_of
from kcolor.metrics.delta_e import DeltaE, delta_e_2000, delta_e_of
from kcolor.metrics.fid import FrechetDistance, frechet_distance
from kcolor.metrics.lpips import LPIPS, lpips_heads, lpips_layers_of, lpips_of, vgg16_trunk
from kcolor.metrics.psnr import PSNR, MedianPSNR, chroma_of, psnr_of, squared_error_of
from kcolor.metrics.ssim import SSIM, ssim_of

__all__ = [
    "LPIPS",
    "PSNR",
    "SSIM",
    "Colourfulness",
    "DeltaE",
    "FrechetDistance",
    "MedianPSNR",
    "chroma_of",
    "colourfulness_of",
    "delta_e_2000",
    "delta_e_of",
    "frechet_distance",
    "lpips_heads",
    "lpips_layers_of",
    "lpips_of",
    "psnr_of",
    "squared_error_of",
    "ssim_of",
    "vgg16_trunk",
]
