"""What a ``.tflite`` file says of itself in TFLite's metadata: how pictures become floats, and names of classes.

The metadata is a FlatBuffer inside of the file, by metadata_schema.fbs (version 1.1) of TFLite Support; files that it
speaks of, such as lists of labels, are a ZIP archive behind it.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

from kcolor.errors import DataError

# A table's field number n is found by 4 + 2n.
_SUBGRAPHS = 10  # of ModelMetadata
_INPUTS = 8  # of SubGraphMetadata
_UNITS = 12  # of TensorMetadata
_KIND, _OPTIONS = 4, 6  # of ProcessUnit
_MEAN, _STD = 4, 6  # of NormalizationOptions
_NORMALIZATION = 1  # the kind

_BACKGROUND = "???"  # heads lists that count it, where the file's numbers do not


def normalization(content: bytes) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation by which values 0 to 255 become those of the first input, one a channel or one for all.

    Args:
        content: Of the file.

    Returns:
        None where the file does not say.
    """
    try:
        for unit in _units(content):
            kind, options = unit.Offset(_KIND), unit.Offset(_OPTIONS)
            if kind and options and unit.Get(number_types.Uint8Flags, unit.Pos + kind) == _NORMALIZATION:
                table = Table(unit.Bytes, unit.Indirect(unit.Pos + options))
                mean, deviation = _floats(table, _MEAN), _floats(table, _STD)
                if {len(mean), len(deviation)} <= {1, 3} and min(deviation) > 0:
                    return mean, deviation
    except (struct.error, AttributeError, IndexError, TypeError, ValueError):  # what is broken says nothing
        pass
    return None


def _units(content: bytes) -> Iterator[Any]:
    model = schema.Model.GetRootAs(content, 0)
    for number in range(model.MetadataLength()):
        if model.Metadata(number).Name() == b"TFLITE_METADATA":
            inside = model.Buffers(model.Metadata(number).Buffer()).DataAsNumpy().tobytes()
            root = Table(inside, encode.Get(packer.uoffset, inside, 0))
            for graph in _tables(root, _SUBGRAPHS)[:1]:
                for given in _tables(graph, _INPUTS)[:1]:
                    yield from _tables(given, _UNITS)


def _tables(table: Any, field: int) -> list[Any]:
    """The tables of a field that is a list of them."""
    offset = table.Offset(field)
    if not offset:
        return []
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * number)) for number in range(table.VectorLen(offset))]


def _floats(table: Any, field: int) -> tuple[float, ...]:
    offset = table.Offset(field)
    if not offset:
        return ()
    values = np.frombuffer(table.Bytes, "<f4", table.VectorLen(offset), table.Vector(offset))
    return tuple(values.tolist())


def labels(path: Path, given: Path | None = None) -> dict[int, str]:
    """Names of classes by their numbers: from a list that is given, or is in the file, or beside it as ``.txt``.

    A list has a name a line. Where each line begins with a number, as in Coral's lists, the name is that number's.
    Where the first is ``???`` for the background, which the numbers do not count, the names after it begin at 0.

    Raises:
        DataError: The list cannot be read, or one that is given is empty.
    """
    beside = path.with_suffix(".txt")
    text = "" if given else _inside(path)
    if given or (not text and beside.is_file()):
        text = _read(given or beside)
    if given and not text.strip():
        raise DataError(f"{given}: no labels in it; write one a line")
    lines = [" ".join(line.split()).replace(";", ",") for line in text.splitlines()]
    numbered = [re.fullmatch(r"(\d{1,6})[:,]? (.+)", line) for line in lines if line]
    if numbered and all(numbered):
        return {int(match[1]): match[2] for match in numbered if match}
    while lines and not lines[-1]:
        lines.pop()
    return {number: line for number, line in enumerate(lines[lines[:1] == [_BACKGROUND] :]) if line}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: the labels cannot be read: {said}") from error


def _inside(path: Path) -> str:
    """The list of labels that the file carries; "" where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.lower().endswith(".txt"))
            names.sort(key=lambda name: "label" not in name.lower())
            return archive.read(names[0]).decode("utf-8-sig") if names else ""
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, ValueError):  # none, damaged, or with a password
        return ""
