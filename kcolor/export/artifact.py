"""What is to be exported, what has been, and how near it is to Keras: the same for every format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras


@dataclass(frozen=True)
class Parity:
    """An artifact beside the Keras model that it was made from, in a process without kcolor.

    Args:
        photographs: How many real photographs both were shown.
        largest_ab: The largest difference of an a or b, in CIE units.
        mean_ab: The mean difference of an a or b, in CIE units.
        delta_e: Mean Delta E 2000 of the coloured photographs, in 8 bits and at the network's size.
        first_request_ms: From a file that is not open to the first answer, the imports of its runtime not counted.
        latency_ms: The shortest of its answers to one photograph, on all cores.
        latency_ratio: That to the `reference`'s, taken in turns in one process; 1 where there is none.
        reference: The float32 artifact of the same kind and size, by its name; "" where this is it.
    """

    photographs: int
    largest_ab: float
    mean_ab: float
    delta_e: float
    first_request_ms: float
    latency_ms: float
    latency_ratio: float
    reference: str


@dataclass(frozen=True)
class Artifact:
    """One exported file or folder: an entry of the manifest.

    Args:
        path: Relative to the manifest.
        format: "saved_model", "tflite" or "keras".
        precision: "float32", "float16", "dynamic" or "int8".
        kind: "ab", from ``l`` to ``ab``, or "rgb", from a photograph to a photograph.
        size: Height and width of what goes in.
        bytes: Its size on the disk.
        sha256: Of the file; of a folder, see `kcolor.files.digest`.
        weights_sha256: Of the generator's weights, in the order that Keras lists them.
        source: The model that it was made from.
        photographs: Where those are from that it was compared on.
        parity: What the comparison found.
        limits: By field of `parity`, what it had to stay under.
        made_with: Versions of what made it, by name.
        metadata: The JSON that says what goes in and out, relative to the manifest; "" where the format says it itself.
        versioned: Whether it stays when others of other weights are made; nothing ever overwrites it.
    """

    path: str
    format: str
    precision: str
    kind: str
    size: int
    bytes: int
    sha256: str
    weights_sha256: str
    source: str
    photographs: str
    parity: Parity
    limits: Mapping[str, float]
    made_with: Mapping[str, str]
    metadata: str = ""
    versioned: bool = False


@dataclass(frozen=True, eq=False)
class Target:
    """An artifact that is to be made.

    Args:
        path: As in `Artifact`.
        format: As in `Artifact`.
        precision: As in `Artifact`.
        kind: As in `Artifact`.
        generator: The Keras model, from L of the artifact's size, that it is to be equal to.
        loader: The script of ``loaders/`` that runs it.
        limits: As in `Artifact`.
        write: Makes it at a path. Whatever it writes beside that, under a name that begins with a dot, goes away.
        reference: Whose latency its own is compared with; made for that if it is not wanted itself.
        describe: What the JSON beside it says, once the artifact is known; None: there is none.
        versioned: As in `Artifact`.
        settle: Called with the folder before the artifact takes its place in it.
    """

    path: str
    format: str
    precision: str
    kind: str
    generator: keras.Model
    loader: str
    limits: Mapping[str, float]
    write: Callable[[Path], None]
    reference: "Target | None" = None
    describe: Callable[[Artifact], dict[str, Any]] | None = None
    versioned: bool = False
    settle: Callable[[Path], None] | None = None

    @property
    def size(self) -> int:
        """Height and width of what goes in."""
        return self.generator.input_shape[1]
