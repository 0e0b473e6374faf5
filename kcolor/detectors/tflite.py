"""Detectors in ``.tflite`` files with the outputs of TFLite's detection models: SSD, EfficientDet-Lite and their kin.

Such a file takes one picture and gives boxes (1, N, 4) as top, left, bottom, right from 0 to 1, classes (1, N), scores
(1, N) and a count (1,). In which order, and by which names, hangs on who converted it, so each is told by what it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from kcolor.detectors import metadata
from kcolor.detectors.detection import Detection
from kcolor.errors import DataError
from kcolor.quiet import silenced

IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every such file
POSTPROCESS = b"TFLite_Detection_PostProcess"
INPUTS = (np.uint8, np.int8, np.float32)

# How floats are made of 0 to 255 where the file does not say: (value - mean) / deviation, to -1 to 1.
MEAN = DEVIATION = 127.5


@dataclass(frozen=True)
class Model:
    """A detector's file, as it was found.

    Attributes:
        path: The file.
        size: Height and width of the pictures it takes.
        dtype: Of the pictures.
        mean: What is taken from the values 0 to 255 of a float picture, a number a channel or one for all.
        deviation: What they are divided by then.
        outputs: Places of boxes, classes, scores and count among the outputs.
        labels: Names of classes by their numbers.
    """

    path: Path
    size: tuple[int, int]
    dtype: type
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    outputs: tuple[int, int, int, int]
    labels: tuple[tuple[int, str], ...]


def load(path: Path, labels: Path | None = None) -> Model:
    """Look at a detector's file.

    Args:
        path: The file.
        labels: A text file of the classes' names, one a line. None: the list that the file has in it, or that stands
            beside it as ``.txt``; of classes that have no name there, the number.

    Raises:
        DataError: It is no such file, no detector, or the list cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the detector cannot be read: {error.strerror}") from error
    if content[4:8] != IDENTIFIER:
        raise DataError(f"{path}: not a .tflite file; give one of a detector, or faces")
    try:
        interpreter = _interpreter(path)
        about = interpreter.get_input_details()
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{path}: LiteRT cannot load it: {str(error).splitlines()[0]}") from error
    shape = [tuple(map(int, each.get("shape_signature", each["shape"]))) for each in about]
    if len(about) != 1 or len(shape[0]) != 4 or shape[0][3] != 3 or about[0]["dtype"] not in INPUTS:
        raise DataError(
            f"{path}: no detector: it takes {_told(about)}; expected a picture, such as uint8 (1,320,320,3)"
        )
    if shape[0][0] != 1 or min(shape[0]) < 1:
        raise DataError(
            f"{path}: takes pictures of any size ({','.join(map(str, shape[0]))}); convert the detector with a fixed "
            "one, such as (1,320,320,3)"
        )
    mean, deviation = metadata.normalization(content) or ((MEAN,), (DEVIATION,))
    model = schema.Model.GetRootAs(content, 0)
    return Model(
        path=path,
        size=(shape[0][1], shape[0][2]),
        dtype=about[0]["dtype"],
        mean=mean,
        deviation=deviation,
        outputs=_outputs(path, interpreter, model),
        labels=tuple(sorted(metadata.labels(path, labels).items())),
    )


def find(model: Model, rgb: np.ndarray) -> list[Detection]:
    """What the detector sees in a picture.

    Args:
        model: The detector.
        rgb: (height, width, 3) uint8; it is stretched to the size that the detector takes, as TFLite's own library
            does.
    """
    boxes, classes, scores, count = _run(model)(_input(model, rgb))
    labels = dict(model.labels)
    rows = np.concatenate([boxes.reshape(-1, 4), classes.reshape(-1, 1), scores.reshape(-1, 1)], axis=1)
    rows = rows[: max(round(float(np.nan_to_num(count.reshape(-1)[0]))), 0)]
    found = []
    for top, left, bottom, right, number, score in rows[np.isfinite(rows).all(axis=1)].tolist():
        name = labels.get(round(number), f"class {round(number)}")
        found.append(Detection(name, min(max(score, 0.0), 1.0), left, top, right, bottom))
    return found


def _input(model: Model, rgb: np.ndarray) -> np.ndarray:
    height, width = model.size
    picture = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))[np.newaxis]
    if model.dtype == np.uint8:
        return picture
    if model.dtype == np.int8:
        return (picture.astype(np.int16) - 128).astype(np.int8)
    return (picture - np.array(model.mean, np.float32)) / np.array(model.deviation, np.float32)


@cache
def _run(model: Model) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A function from a picture to boxes, classes, scores and count."""
    interpreter = _interpreter(model.path)
    (given,), made = interpreter.get_input_details(), interpreter.get_output_details()

    def run(picture: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(given["index"], picture)
        interpreter.invoke()
        return [interpreter.get_tensor(made[place]["index"]) for place in model.outputs]

    return run


def _interpreter(path: Path) -> Interpreter:
    with silenced():
        # One thread, as there is a process a processor.
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


def _tried(path: Path, interpreter: Interpreter) -> list[np.ndarray]:
    """What the file gives of a picture of noise.

    Raises:
        DataError: It cannot be run.
    """
    (given,) = interpreter.get_input_details()
    noise = np.random.default_rng(0).integers(0, 256, given["shape"])
    values = noise / 127.5 - 1 if given["dtype"] == np.float32 else noise - 128 * (given["dtype"] == np.int8)
    interpreter.set_tensor(given["index"], values.astype(given["dtype"]))
    try:
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{path}: LiteRT cannot run it: {str(error).splitlines()[0]}") from error
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def _outputs(path: Path, interpreter: Interpreter, model: Any) -> tuple[int, int, int, int]:
    """The places of boxes, classes, scores and count among the outputs.

    Raises:
        DataError: They are not there, or cannot be told apart.
    """
    values, made = _tried(path, interpreter), interpreter.get_output_details()
    boxes = [place for place, value in enumerate(values) if value.ndim == 3 and value.shape[::2] == (1, 4)]
    rows = [place for place, value in enumerate(values) if boxes and value.shape == values[boxes[0]].shape[:2]]
    counts = [place for place, value in enumerate(values) if value.size == 1 and place not in rows]
    if len(values) != 4 or (len(boxes), len(rows), len(counts)) != (1, 2, 1):
        raise DataError(
            f"{path}: no detector: gives {_told(made, values)}; expected boxes (1,N,4), classes (1,N), scores (1,N) "
            "and a count (1), as TFLite's detection models give"
        )
    order = _order_of_operation(model)
    if {made[place]["index"] for place in rows} <= set(order[1:3]):
        rows.sort(key=lambda place: order.index(made[place]["index"]))
        return boxes[0], rows[0], rows[1], counts[0]
    # Classes are whole numbers and scores are not; either may be all zeros where nothing is found.
    whole = [np.array_equal(values[place], np.round(values[place])) for place in rows]
    likely = [bool(np.all((values[place] >= 0) & (values[place] <= 1))) for place in rows]
    fits = [whole[0] and likely[1], whole[1] and likely[0]]
    if fits[0] == fits[1]:
        raise DataError(
            f"{path}: which of its outputs are classes and which are scores cannot be told; convert it with TFLite's "
            "own TFLite_Detection_PostProcess"
        )
    return boxes[0], rows[fits[1]], rows[fits[0]], counts[0]


def _order_of_operation(model: Any) -> list[int]:
    """The tensors that TFLite's own operation gives, if the file has it: boxes, classes, scores and count."""
    graph = model.Subgraphs(0)
    operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
    for operator in operators:
        if model.OperatorCodes(operator.OpcodeIndex()).CustomCode() == POSTPROCESS:
            return operator.OutputsAsNumpy().tolist()
    return []


def _told(tensors: list[dict[str, Any]], values: list[np.ndarray] | None = None) -> str:
    shapes = [value.shape for value in values] if values else [each["shape"] for each in tensors]
    return ", ".join(
        f"{np.dtype(each['dtype']).name} ({','.join(str(side) for side in shape)})"
        for each, shape in zip(tensors, shapes, strict=True)
    )
