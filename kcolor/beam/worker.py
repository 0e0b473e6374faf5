"""A process that works for the runner here: ``python -m kcolor.beam.worker LIFELINE``, as Beam's own, but quiet.

It ends with the process that started it, and when the file of that name is gone, whatever it is at. Ctrl-C, which
reaches every process of a terminal, is left to the one that started it.
"""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from kcolor.beam import ending

# Seconds: how often it looks, and how long photographs that are being written may take.
_EVERY, _GRACE = 0.5, 30.0


def _end_with(lifeline: Path, parent: int) -> None:
    while lifeline.exists() and os.getppid() == parent:
        time.sleep(_EVERY)
    ending.end(_GRACE)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(Path(sys.argv[1]), os.getppid()), daemon=True).start()
    # What goes wrong is told to the runner, and by it.
    logging.getLogger().addHandler(logging.NullHandler())
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv[:1])
