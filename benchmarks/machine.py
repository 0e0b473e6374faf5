"""What the figures are of: the machine, and the versions."""

import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

# What makes products of matrices quicker.
_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd")


def describe(packages: Iterable[str] = ("tensorflow", "keras", "numpy", "pillow", "scikit-image")) -> dict[str, Any]:
    """The machine and the versions of Python and of packages."""
    info = _read("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", info)
    numbers = [re.search(rf"^{key}\s*: (\d+)$", info, re.MULTILINE) for key in ("cpu family", "model", "stepping")]
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", info, re.MULTILINE)
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "family_model_stepping": [int(number[1]) for number in numbers if number],
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "instructions": [name for name in _SETS if flags and name in flags[1].split()],
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def load() -> float:
    """How many processes have wanted to run in the last minute."""
    return round(os.getloadavg()[0], 2)


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""
