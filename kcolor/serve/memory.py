"""Memory that stays, and memory that is no longer used."""

import ctypes
import gc


def settle() -> None:
    """Say that what there is now stays: it is not searched for garbage any more.

    TensorFlow's and Keras' objects are some million, and Python would look through them at each thousand new lists,
    such as JSON's: reading numbers took ten times as long.
    """
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Return to the system what the C library keeps for later; where it is not glibc, nothing."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
