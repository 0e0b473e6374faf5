"""kcolor colorize from end to end: a photograph of 1 to 100 megapixels, a process each; time, memory, and their growth.

JPEG in and JPEG out, with the model that comes with the package. The floor is decoding the file and encoding it again
with Pillow, in a process of its own; what kcolor takes beyond that and its own start is the colouring.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import photographs, turns

MEGAPIXELS = (1.0, 12.0, 24.0, 100.0)

_PILLOW = """
import sys
from PIL import Image
Image.MAX_IMAGE_PIXELS = None
Image.open(sys.argv[1]).convert("RGB").save(sys.argv[2], quality=92, subsampling=0)
"""


def measure(*, rounds: int = 2, quick: bool = False) -> dict[str, Any]:
    """By megapixels: seconds and the most memory of kcolor and of Pillow; then the growth from each to the next."""
    sizes = MEGAPIXELS[:1] if quick else MEGAPIXELS
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in sizes:
            photo, made = Path(folder, "photo.jpg"), Path(folder, "made.jpg")
            width, height = photographs.large(photo, megapixels)
            commands = {
                "pillow": [sys.executable, "-c", _PILLOW, str(photo), str(made)],
                "kcolor": [
                    *(sys.executable, "-m", "kcolor", "colorize", str(photo)),
                    *("-o", str(Path(folder, "out")), "--model", "small", "--overwrite"),
                ],
            }
            times: dict[str, list[float]] = {name: [] for name in commands}
            memory = dict.fromkeys(commands, 0.0)
            for _ in range(rounds):
                for name, command in commands.items():
                    seconds, mebibytes = _run(command)
                    times[name].append(seconds)
                    memory[name] = max(memory[name], mebibytes)
            entry = {name: {**turns.summary(times[name]), "peak_memory_mib": memory[name]} for name in commands}
            entry["time_over_pillow"] = entry["kcolor"]["median_s"] / entry["pillow"]["median_s"]
            figures[f"{megapixels:g}"] = {"width": width, "height": height, **entry}
    for before, after in itertools.pairwise(sizes):
        left, right = figures[f"{before:g}"]["kcolor"], figures[f"{after:g}"]["kcolor"]
        figures[f"{after:g}"]["growth"] = {
            "seconds_a_megapixel": (right["median_s"] - left["median_s"]) / (after - before),
            "mib_a_megapixel": (right["peak_memory_mib"] - left["peak_memory_mib"]) / (after - before),
        }
    return {"model": "small", "megapixels": figures}


def _run(command: list[str]) -> tuple[float, float]:
    """Seconds and mebibytes of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=turns.ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024
