"""A model as it is served: its signatures, by name, each with what it takes and gives."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from kcolor import bundled, export, files, signatures, versions
from kcolor.colorizer import Colorizer
from kcolor.errors import RunError
from kcolor.serve.refusal import HTTP_STATUS, RefusedError, invalid

Tensors = dict[str, np.ndarray]

METHOD = "tensorflow/serving/predict"

# A message about one of several pictures, as kcolor.signatures words it.
_NUMBERED = re.compile(r"(\w+)\[(\d+)\]: ")


@dataclass(frozen=True, eq=False)
class Signature:
    """A function that is served.

    Args:
        name: In the model.
        call: Takes the tensors by keyword and gives a dictionary of tensors.
        inputs: What it takes. Inputs whose first dimension is open are rows of a batch: requests can be put one behind
            the other. The others, such as a quality, are the whole batch's.
        outputs: What it gives.
    """

    name: str
    call: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]

    @property
    def batched(self) -> list[str]:
        """The inputs that are rows of a batch."""
        return [name for name, spec in self.inputs.items() if spec.shape.rank and spec.shape[0] is None]

    def rows(self, tensors: Tensors) -> int:
        """How many rows a request has; 1 where the signature knows no batch.

        Raises:
            RefusedError: The tensors are not those of the signature, or not of one number of rows.
        """
        for name, spec in self.inputs.items():
            if name not in tensors:
                raise invalid(f"{self.name}: the input {name} is missing")
            tensor = tensors[name]
            if tf.as_dtype(tensor.dtype) != spec.dtype:
                raise invalid(f"{name} is {tf.as_dtype(tensor.dtype).name}, but {self.name} takes {spec.dtype.name}")
            if not spec.shape.is_compatible_with(tensor.shape):
                asked, given = ([-1 if n is None else n for n in shape] for shape in (spec.shape, tensor.shape))
                scalar = " (a scalar: give it in 'inputs', not in 'instances')" if not asked and len(given) == 1 else ""
                raise invalid(f"{name} has the shape {given}, but {self.name} takes {asked}{scalar}")
        if unknown := tensors.keys() - self.inputs.keys():
            raise invalid(f"{self.name} has no input {', '.join(sorted(unknown))}; it has {', '.join(self.inputs)}")
        counts = {name: len(tensors[name]) for name in self.batched}
        if len(set(counts.values())) > 1:
            raise invalid(f"inputs of different numbers of rows: {counts}")
        return next(iter(counts.values()), 1)

    def __call__(self, tensors: Tensors) -> Tensors:
        """Run it.

        Raises:
            RefusedError: TensorFlow refuses what it is given, or cannot do it.
        """
        given = {name: tf.constant(tensors[name], self.inputs[name].dtype) for name in self.inputs}
        try:
            return {name: np.asarray(value) for name, value in self.call(**given).items()}
        except tf.errors.OpError as error:
            raise _refusal(error) from error

    def definition(self) -> meta_graph_pb2.SignatureDef:
        """As a SavedModel has it."""

        def infos(specs: dict[str, tf.TensorSpec], names: Callable[[int, str], str]) -> dict[str, Any]:
            return {
                key: meta_graph_pb2.TensorInfo(
                    name=names(i, key), dtype=spec.dtype.as_datatype_enum, tensor_shape=spec.shape.as_proto()
                )
                for i, (key, spec) in enumerate(sorted(specs.items()))
            }

        return meta_graph_pb2.SignatureDef(
            inputs=infos(self.inputs, lambda i, key: f"{self.name}_{key}:0"),
            outputs=infos(self.outputs, lambda i, key: f"StatefulPartitionedCall:{i}"),
            method_name=METHOD,
        )


@dataclass(frozen=True, eq=False)
class Model:
    """What is served.

    Args:
        name: In the API's addresses.
        version: There is one.
        size: Side of the squares that the network sees.
        classes: Names of its classes, where it has some and they are known.
        signatures: By name.
        sha256: Of its file or folder; "" where it has none.
    """

    name: str
    version: int
    size: int
    classes: tuple[str, ...]
    signatures: dict[str, Signature]
    sha256: str = ""

    def check(self, name: str, version: int | None = None, label: str | None = None) -> None:
        """Whether this is the model that a request means.

        Raises:
            RefusedError: It is not.
        """
        here = f" (here is {self.name}, version {self.version})"
        if name != self.name or version not in (None, self.version):
            meant = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RefusedError("NOT_FOUND", f"Servable not found for request: {meant}{here}")
        if label is not None:
            raise invalid(f"Unrecognized servable version label: {label}{here}")

    def signature(self, name: str) -> Signature:
        """The signature of that name; of none, ``serving_default``.

        Raises:
            RefusedError: There is none.
        """
        found = self.signatures.get(name or "serving_default")
        if found is None:
            known = ", ".join(sorted(self.signatures))
            raise invalid(f'Serving signature name: "{name}" not found in signature def (there are {known})')
        return found


def load(path: Path, *, name: str | None = None, max_pixels: int | None = None) -> Model:
    """Load a model to be served.

    Args:
        path: A run that has finished, a ``.keras`` file, the bare name of a model that comes with kcolor, a SavedModel
            of kcolor export, or a folder of such by version, of which the newest is taken.
        name: In the API's addresses; default what the model is called.
        max_pixels: Of a photo; larger ones are refused before they are decoded. A SavedModel has its own limit.

    Raises:
        RunError: There is none, it cannot be served, or its name cannot stand in an address.
    """
    if name is not None:
        versions.check_name(name)
    path = bundled.find(path)
    if path.suffix == ".tflite":
        raise RunError(
            f"{path}: a .tflite takes no photos; serve the run, the .keras file or the SavedModel of the same model"
        )
    path = versions.newest(path) or path
    if (path / "saved_model.pb").is_file():
        if max_pixels is not None:
            raise RunError(f"{path}: a SavedModel keeps the limit of pixels that it was exported with")
        return _saved_model(path, name)
    if name is None:
        versions.check_name(name := export.default_name(path))
    colorizer = Colorizer.load(path)
    given = {} if max_pixels is None else {"max_pixels": max_pixels}
    functions = signatures.of(colorizer.generator, colorizer.classes, **given)
    own = {
        key: Signature(
            key,
            function,
            {spec.name: spec for spec in function.input_signature},
            _specs(function.get_concrete_function().structured_outputs),
        )
        for key, function in functions.items()
    }
    return Model(name, 1, colorizer.size, colorizer.classes, own, colorizer.sha256)


def warm(model: Model) -> None:
    """Run each signature once, so that the first request does not wait for what TensorFlow does only then."""
    png = tf.io.encode_png(tf.zeros((1, 1, 3), tf.uint8)).numpy()  # which no limit of pixels refuses

    def once(signature: Signature) -> None:
        tensors = {}
        for name, spec in signature.inputs.items():
            shape = [side or 1 for side in spec.shape]
            tensors[name] = np.full(shape, png, object) if spec.dtype == tf.string else np.ones(shape, spec.dtype.name)
        signature(tensors)

    with ThreadPoolExecutor() as threads:  # TensorFlow prepares a graph on one core
        list(threads.map(once, model.signatures.values()))


def renumbered(error: RefusedError, start: int) -> RefusedError:
    """A message about the picture ``[i]`` of a part, as one about the whole, whose part begins at `start`."""
    found = _NUMBERED.match(error.message)
    if not found:
        return error
    name, number = found.groups()
    return RefusedError(error.code, f"{name}[{int(number) + start}]: {error.message[found.end() :]}", error.status)


def _saved_model(path: Path, name: str | None) -> Model:
    path = path.resolve()
    version = next((number for number, folder in versions.of(path.parent).items() if folder == path), None)
    if name is None:
        versions.check_name(name := path.name if version is None else path.parent.name)
    try:
        loaded = tf.saved_model.load(str(path))
        own = {}
        for key, function in loaded.signatures.items():
            given = {spec.name: spec for _, spec in sorted(function.structured_input_signature[1].items())}
            own[key] = Signature(key, function, given, _specs(function.structured_outputs))
        size = int(own["ab"].inputs["l"].shape[1])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise RunError(f"{path}: not a SavedModel of kcolor export (no readable signature ab)") from error
    # A signature holds its graph, but what it was loaded with holds the variables.
    for signature in own.values():
        signature.call.loaded = loaded  # type: ignore[attr-defined]
    return Model(name, version or 1, size, (), own, files.digest(path))


def _specs(outputs: dict[str, Any]) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec(value.shape, value.dtype, name) for name, value in outputs.items()}


def _refusal(error: tf.errors.OpError) -> RefusedError:
    code = next((name for name in HTTP_STATUS if getattr(tf.errors, name, None) == error.error_code), "UNKNOWN")
    return RefusedError(code, signatures.refusal(error))
