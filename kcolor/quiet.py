"""TensorFlow and LiteRT, without what they say while they start."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_import() -> Iterator[None]:
    """Keep off the terminal what TensorFlow prints while it loads and looks for GPUs, whatever the log level."""
    if "tensorflow" in sys.modules:
        yield
        return
    with silenced():
        import tensorflow

        tensorflow.config.list_physical_devices()
        yield


@contextmanager
def silenced() -> Iterator[None]:
    """Keep off the terminal what libraries write to standard error by themselves, past Python."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
