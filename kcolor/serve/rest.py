"""TensorFlow Serving's REST API: its addresses, and its JSON to tensors and back.

The shapes, the rules and the words of errors are those of tensorflow_serving/util/json_tensor.cc and
tensorflow_serving/model_servers/http_rest_api_handler.cc (TensorFlow Serving 2.x), where messages are cut short and say
more of what there is.
"""

import binascii
import json
import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
import tensorflow as tf
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from kcolor.serve.model import Model, Signature, Tensors
from kcolor.serve.refusal import RefusedError, invalid

_PREFIX = r"(?i)/v1/models"
_NAMED = r"(?P<name>[^/:]+)"
_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_ADDRESSES = {
    "POST": re.compile(f"{_PREFIX}/{_NAMED}{_VERSION}:(?P<verb>classify|regress|predict)"),
    "GET": re.compile(f"{_PREFIX}(?:/{_NAMED})?{_VERSION}(?:/(?P<verb>metadata))?"),
}

_MOST_DIMENSIONS = 16
# Numbers that are looked at one by one only if their shape is right.
_MANY = 100_000


@dataclass(frozen=True)
class Address:
    """What a request is about.

    Args:
        name: Of the model.
        version: Of the model, where the address says which.
        label: Of a version, likewise.
        verb: "predict", "classify", "regress", "metadata" or "status".
    """

    name: str
    version: int | None
    label: str | None
    verb: str


@dataclass(frozen=True)
class Call:
    """A request to run a signature.

    Args:
        signature: Which.
        tensors: What it is given.
        by_row: Whether it came, and is to be answered, row by row and not tensor by tensor.
    """

    signature: Signature
    tensors: Tensors
    by_row: bool


def address(method: str, path: str) -> Address:
    """What an HTTP method and a path ask for.

    Raises:
        RefusedError: Nothing that there is.
    """
    pattern = _ADDRESSES.get(method)
    found = pattern.fullmatch(path) if pattern else None
    if not found:
        raise invalid(f"Malformed request: {method} {_cut(path)}")
    if not found["name"]:
        raise invalid("Missing model name in request.")
    version = None if found["version"] is None else _number(found["version"])
    if version and version >= 2**63:
        raise invalid(f"Failed to convert version: {_cut(found['version'])} to numeric.")
    return Address(found["name"], version, found["label"], (found["verb"] or "status").lower())


def _number(digits: str) -> int:
    return int(digits.lstrip("0")[:20] or "0")  # of int64, 19 digits are the most; Python refuses thousands


def status(model: Model, asked: Address) -> bytes:
    """The reply to a question for a model's status.

    Raises:
        RefusedError: There is no such model or version.
    """
    here = f"; here is {model.name}, version {model.version}"
    if asked.name != model.name:
        raise RefusedError("NOT_FOUND", f"Could not find any versions of model {asked.name}{here}")
    if asked.version not in (None, model.version):
        raise RefusedError("NOT_FOUND", f"Could not find version {asked.version} of model {asked.name}{here}")
    model.check(asked.name, asked.version, asked.label)
    said = {
        "version": str(model.version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    return orjson.dumps({"model_version_status": [said]}, option=orjson.OPT_INDENT_2)


def metadata(model: Model) -> bytes:
    """The reply to a question for a model's signatures."""
    definitions = {
        name: MessageToDict(
            signature.definition(), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, signature in model.signatures.items()
    }
    said = {
        "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2)


def read(body: bytes | bytearray, model: Model) -> Call:
    """The body of a request to predict.

    Args:
        body: JSON, by row ("instances") or by column ("inputs").
        model: Whose signatures it is to name.

    Raises:
        RefusedError: It is no JSON, names no signature of the model, or is not what that takes.
    """
    document = parse(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("JSON Value: not formatted correctly. 'signature_name' key must be a string value.")
    signature = model.signature(name)
    if "instances" in document and "inputs" in document:
        raise invalid("JSON Value: Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in document:
        return Call(signature, _rows(document["instances"], signature.inputs), True)
    if "inputs" in document:
        return Call(signature, _columns(document["inputs"], signature.inputs), False)
    raise invalid("Missing 'inputs' or 'instances' key")


def parse(body: bytes | bytearray) -> dict[str, Any]:
    """A JSON object; NaN and Infinity are numbers, as in TensorFlow Serving.

    Raises:
        RefusedError: It is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise invalid(f"JSON Parse error: Invalid value. {error}") from None
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise invalid(f"JSON Parse error: Invalid value. {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} Is not object")
    return document


def reply(outputs: Tensors, *, by_row: bool) -> bytes:
    """The body of the answer to a request to predict.

    Args:
        outputs: What the signature gave.
        by_row: As the request came.

    Raises:
        RefusedError: By row, of outputs of different numbers of rows.
    """
    values = {name: _values(name, tensor) for name, tensor in outputs.items()}
    content: Any
    if not by_row:
        content = {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    else:
        counts = {name: len(tensor) if tensor.ndim else None for name, tensor in outputs.items()}
        if len(set(counts.values())) > 1 or None in counts.values():
            raise invalid(f"outputs are not of one number of rows, ask for them by 'inputs': {counts}")
        if len(values) > 1:
            (rows,) = set(counts.values())
            content = {"predictions": [{name: each[i] for name, each in values.items()} for i in range(rows or 0)]}
        else:
            content = {"predictions": next(iter(values.values()))}
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def error(message: str) -> bytes:
    """The body of a refusal."""
    return orjson.dumps({"error": message})


def _rows(instances: Any, inputs: dict[str, tf.TensorSpec]) -> Tensors:
    if not isinstance(instances, list):
        raise invalid("JSON Value: Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid("JSON Value: No values in 'instances' array")
    named = _is_object(instances[0])
    if not named and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            f"tensorinfo_map: {', '.join(inputs)}"
        )
    rows: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for i, element in enumerate(instances):
        if _is_object(element) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {got} at item {i} of input list")
        members = element if named else {next(iter(inputs)): element}
        for name, value in members.items():
            where = f"Failed to process element: {i}{f' key: {name}' if named else ''} of 'instances' list. Error: "
            try:
                if name not in inputs:
                    known = ", ".join(inputs)
                    raise invalid(f"JSON object: does not have named input: {_cut(name)} (the inputs are {known})")
                tensor = _tensor(value, inputs[name].dtype, inputs[name].shape[1:])
                first = rows[name][0] if rows[name] else tensor
                if tensor.shape != first.shape:
                    raise invalid(f"Expecting shape {list(first.shape)} but got: {list(tensor.shape)}")
            except RefusedError as refusal:
                raise RefusedError(refusal.code, f"{where}{refusal.code}: {refusal.message}") from None
            rows[name].append(tensor)
        if members.keys() != inputs.keys():
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: must only have keys: "
                f"{','.join(sorted(inputs))}"
            )
    return {name: np.stack(tensors) for name, tensors in rows.items()}


def _columns(given: Any, inputs: dict[str, tf.TensorSpec]) -> Tensors:
    if not _is_object(given):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                f"tensorinfo_map: {', '.join(inputs)}"
            )
        given = {next(iter(inputs)): given}
    for name in inputs:
        if name not in given:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(given[name], spec.dtype, spec.shape) for name, spec in inputs.items()}


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _tensor(value: Any, dtype: tf.DType, expected: tf.TensorShape) -> np.ndarray:
    """Lists in lists, all of one depth and length, or a single value."""
    shape: list[int] = []
    probe = value
    while isinstance(probe, list):
        shape.append(len(probe))
        if len(shape) > _MOST_DIMENSIONS:
            raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {_MOST_DIMENSIONS}")
        if not probe:
            break
        probe = probe[0]
    if math.prod(shape) > _MANY and not expected.is_compatible_with(shape):  # else the signature tells of it
        raise invalid(f"Encountered list of the shape {shape} expected {[-1 if n is None else n for n in expected]}")
    leaves = [value]
    for level, size in enumerate(shape):
        if set(map(type, leaves)) != {list}:
            other = next(each for each in leaves if not isinstance(each, list))
            raise invalid(
                f"JSON Value: {_shown(other)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        if unlike := set(map(len, leaves)) - {size}:
            raise invalid(f"Encountered list at unexpected size: {min(unlike)} at level: {level} expected size: {size}")
        leaves = list(chain.from_iterable(leaves))
    if list in set(map(type, leaves)):
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    flat = np.empty(len(leaves), dtype.as_numpy_dtype)
    flat[:] = _checked(leaves, dtype)
    return flat.reshape(shape)


def _checked(leaves: list[Any], dtype: tf.DType) -> Any:
    """JSON values as what can be assigned to an array of a type."""
    if dtype == tf.string:
        return [_bytes(value) for value in leaves]
    kinds: dict[str, set[type]] = {"i": {int}, "u": {int}, "f": {int, float}, "b": {bool}}
    allowed = kinds.get(np.dtype(dtype.as_numpy_dtype).kind)
    if allowed is None or dtype == tf.half:
        raise RefusedError("UNIMPLEMENTED", f"Conversion of JSON Value to type: {dtype.name}")
    if not set(map(type, leaves)) <= allowed:
        raise _wrong_type(next(value for value in leaves if type(value) not in allowed), dtype)
    if dtype.is_integer:
        if leaves and not dtype.min <= min(leaves) <= max(leaves) <= dtype.max:
            raise _wrong_type(next(value for value in leaves if not dtype.min <= value <= dtype.max), dtype)
    elif dtype.is_floating:
        # Whole numbers as far as the type tells each from the next; others as far as it reaches, and infinity.
        last, most = (2**24 - 1, float(dtype.max)) if dtype == tf.float32 else (2**53 - 1, math.inf)
        for value in leaves:
            if last < abs(value) < math.inf and (type(value) is int or abs(value) > most):
                raise invalid(
                    f"Cannot convert JSON value: {_cut(str(value))} to {dtype.name.rstrip('3264')} "
                    "without loss of precision."
                )
    return leaves


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, dict):
        raise _wrong_type(value, tf.string)
    if not _is_base64(value):
        raise invalid('JSON Value: Object not formatted correctly for base64 data: {"b64": "…"}')
    text = value["b64"]
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass
    try:  # what TensorFlow Serving allows as well: white space, and no padding
        text = "".join(text.split()).rstrip("=")
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError as why:
        raise invalid(f"Unable to base64 decode: {why}") from None


def _wrong_type(value: Any, dtype: tf.DType) -> RefusedError:
    kinds = {type(None): "Null", bool: str(value), dict: "Object", list: "Array", str: "String"}
    kind = kinds.get(type(value), "Number")
    return invalid(f"JSON Value: {_shown(value)} Type: {kind} is not of expected type: {dtype.name.removesuffix('32')}")


def _values(name: str, tensor: np.ndarray) -> Any:
    """What orjson makes TensorFlow Serving's JSON of."""
    if tensor.dtype == object:
        of_bytes = name.endswith("_bytes")

        def text(value: bytes) -> Any:
            if of_bytes:
                return {"b64": orjson.Fragment(b'"' + binascii.b2a_base64(value, newline=False) + b'"')}
            return value.decode("utf-8", "replace")

        def nested(value: Any) -> Any:
            return [nested(each) for each in value] if isinstance(value, list) else text(value)

        return nested(tensor.tolist())
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        # orjson knows only null. By way of text, so that float32 is not written as the double it is not.
        exact = np.array([float(str(value)) for value in tensor.ravel()], object).reshape(tensor.shape)
        return (
            [orjson.Fragment(json.dumps(each)) for each in exact.tolist()]
            if tensor.ndim
            else orjson.Fragment(json.dumps(float(tensor)))
        )
    return np.ascontiguousarray(tensor) if tensor.ndim else tensor.item()


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return _cut(json.dumps(value[:60] if isinstance(value, str) else value))


def _cut(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:60]}…"
