"""What every detector gives."""

from typing import NamedTuple


class Detection(NamedTuple):
    """A person or an object that a detector sees in a picture.

    Attributes:
        name: Of its class.
        score: How sure the detector is, 0 to 1.
        left: Share of the picture's width.
        top: Share of the picture's height.
        right: Share of the width.
        bottom: Share of the height.
    """

    name: str
    score: float
    left: float
    top: float
    right: float
    bottom: float
