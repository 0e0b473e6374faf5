"""A photograph in memory: its pixels, and what else its file said."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from kcolor.photo.exif import clean

_EIGHT_BITS = np.round(np.arange(65536) / 257.0).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph, upright and in sRGB, whatever its file's orientation and profile were.

    Args:
        rgb: (height, width, 3) uint8, or uint16 where the file has 16 bits a channel; grey is three equal channels.
        alpha: (height, width) of the same type, 0 where nothing is to be seen; None if the file has none.
        format: Pillow's name of the file's format: "JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF" or "HEIF".
        exif: EXIF as a TIFF structure, that is without the "Exif" that JPEG puts before it; empty if there is none. Its
            orientation, colour space and size are those of `rgb`, and it has no thumbnail.
        xmp: XMP packet, UTF-8; empty if there is none.
        iptc: IPTC-IIM records, as captions of press archives are kept in JPEG and TIFF; empty if there are none.
        texts: Texts by keyword, of PNG; the comment of a JPEG or GIF as "Comment".
        dpi: Pixels per inch, across and down; None if the file does not say.
        lossless: Whether it is a WebP without loss.
        mtime_ns: When the file was last changed, in nanoseconds since 1970; None if there was no file.

    Raises:
        ValueError: The arrays have other shapes or types, or are empty.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    lossless: bool = False
    mtime_ns: int | None = None

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"rgb is {self.rgb.dtype} {self.rgb.shape}, not (height, width, 3) uint8 or uint16")
        if not self.rgb.size:
            raise ValueError(f"rgb is {self.rgb.shape}: not a single pixel")
        if self.alpha is not None and (self.alpha.shape != self.rgb.shape[:2] or self.alpha.dtype != self.rgb.dtype):
            raise ValueError(f"alpha is {self.alpha.dtype} {self.alpha.shape}, not as rgb is")

    @property
    def rgb8(self) -> np.ndarray:
        """(height, width, 3) uint8: what the networks are shown; 16 bits are rounded."""
        return eight_bits(self.rgb)

    def with_rgb(self, rgb: np.ndarray) -> "Photograph":
        """The same photograph with other pixels of the same size, of 8 or 16 bits; alpha follows their type."""
        alpha = self.alpha
        if alpha is not None and alpha.dtype != rgb.dtype:
            alpha = eight_bits(alpha) if rgb.dtype == np.uint8 else alpha.astype(np.uint16) * np.uint16(257)
        return replace(self, rgb=rgb, alpha=alpha)

    def beside(self, other: "Photograph") -> "Photograph":
        """Two of one size and type next to each other; the second says what the file says.

        Args:
            other: What comes on the right.
        """
        rgb = np.concatenate([self.rgb, other.rgb], axis=1)
        alpha = None
        if self.alpha is not None and other.alpha is not None:
            alpha = np.concatenate([self.alpha, other.alpha], axis=1)
        return replace(other, rgb=rgb, alpha=alpha, exif=clean(other.exif, rgb.shape[1], rgb.shape[0]))


def eight_bits(values: np.ndarray) -> np.ndarray:
    """uint8 of uint8 or uint16 values of any shape, rounded."""
    return values if values.dtype == np.uint8 else _EIGHT_BITS[values]
