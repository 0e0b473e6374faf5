"""Memory that is no longer used, given back to the system."""

import ctypes
import gc


def give_back() -> None:
    """Return to the system what the C library keeps for later; where it is not glibc, nothing."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
