"""kcolor: automatic colorization of black-and-white photographs, in Keras 3 on TensorFlow."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Colorizer", "__version__"]


def __getattr__(name: str) -> Any:
    # Only when it is wanted: TensorFlow takes seconds.
    if name == "Colorizer":
        from kcolor.colorizer import Colorizer

        return Colorizer
    raise AttributeError(f"module 'kcolor' has no attribute {name!r}")
