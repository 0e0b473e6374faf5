"""The files of an evaluation: what they are called, and how they are read back."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kcolor.errors import RunError

EVALUATION_VERSION = 1
METRICS = "metrics.json"
PER_IMAGE = "per_image.jsonl"
REPORT = "report.html"


@dataclass(frozen=True)
class Evaluation:
    """One model, judged under one protocol on one set of pictures.

    Args:
        path: The folder it lies in.
        metrics: The content of ``metrics.json``.
        rows: The lines of ``per_image.jsonl``.
    """

    path: Path
    metrics: dict[str, Any]
    rows: Sequence[dict[str, Any]]

    @cached_property
    def figures(self) -> dict[str, dict[str, float | None]]:
        """By key, what each answer scored."""
        return {entry["figure"]: entry for entry in self.metrics["figures"]}

    @property
    def protocol(self) -> str:
        """Its protocol, as it is named on pages: ``rgb-1``, ``paper-1 stochastic``."""
        return protocol_name(self.metrics["protocol"])


def protocol_name(protocol: dict[str, Any]) -> str:
    """A protocol's name and version, and whether the networks were in training mode."""
    return f"{protocol['name']}-{protocol['version']}{' stochastic' if protocol['stochastic'] else ''}"


def load(path: Path) -> Evaluation:
    """Read an evaluation.

    Raises:
        RunError: There is none, it is of another version, or its files do not belong together.
    """
    try:
        metrics = json.loads((path / METRICS).read_text(encoding="utf-8"))
        lines = (path / PER_IMAGE).read_bytes()
        version, expected = metrics["kcolor_evaluation"], metrics["per_image_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not an evaluation (no readable {METRICS} and {PER_IMAGE})") from error
    if version != EVALUATION_VERSION:
        raise RunError(f"{path}: an evaluation of version {version}, not {EVALUATION_VERSION}; evaluate again")
    if hashlib.sha256(lines).hexdigest() != expected:
        raise RunError(f"{path}: {PER_IMAGE} is not the one that {METRICS} was written with; evaluate again")
    return Evaluation(path, metrics, [json.loads(line) for line in lines.splitlines()])
