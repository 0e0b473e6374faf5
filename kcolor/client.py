"""A colorizer that is on a server: TensorFlow Serving's, or `kcolor serve`, by REST or by gRPC.

    colour = Client("http://127.0.0.1:8501/v1/models/small")
    kcolor.photo.write("coloured.jpg", colour("grandmother.jpg"))

A photograph does not travel: what the network sees of it does, some kilobytes, and the colours come back. They are
enlarged here, and joined with the photograph's own lightness, so that nothing of it is lost.
"""

import base64
import gc
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import numpy as np
import orjson
import tensorflow as tf
import urllib3

from kcolor.colorizer import Colorizer, Outputs
from kcolor.errors import KcolorError

# Of a request that did not come through, or that the server had no room for; each wait is twice the one before.
_TRIES, _FIRST_WAIT, _LONGEST_WAIT = 5, 0.5, 20.0
# Too many requests; a gateway or a server that is not there at the moment. Nothing else becomes better by waiting.
_PASSING = (429, 502, 503)
_LARGEST_MESSAGE = 2**28
_REST = re.compile(r"(/.*)?/v1/models/(?P<name>[^/:]+)(/(versions|labels)/[^/:]+)?/?")
_GRPC = re.compile(r"/(?P<name>[^/:]+)(/versions/(?P<version>\d+))?/?")
_LIKE = "http://HOST:8501/v1/models/NAME or grpc://HOST:8500/NAME"


class ServerError(KcolorError):
    """A server that cannot be reached, or that refuses; the message is its own where it gave one."""


class _Transport(Protocol):
    name: str

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]: ...

    def describe(self) -> tuple[str, dict[str, dict[str, tuple[int, ...]]]]:
        """The version, and the shape of each input of each signature, -1 where any will do."""

    def pin(self, version: str) -> None:
        """Ask that version from now on, and not one that takes its place meanwhile."""


class Client:
    """A model on a server.

    Args:
        url: ``http://HOST:8501/v1/models/NAME``, with ``/versions/N`` or ``/labels/L`` behind it if it is to be that
            one, or ``grpc://HOST:8500/NAME``; https and grpcs where TLS is spoken. USER:PASSWORD@ before the host is
            sent as basic authentication.
        timeout: Seconds that a server may be silent (REST), or that an answer may take with all attempts (gRPC).

    Raises:
        ValueError: It is no such address.
    """

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        transports: dict[str, Callable[[SplitResult, str, float], _Transport]] = {
            "http": _Rest,
            "https": _Rest,
            "grpc": _Grpc,
            "grpcs": _Grpc,
        }
        self.url = re.sub(r"//.*@", "//", url)  # whatever is in a password
        if parts.scheme not in transports or not parts.hostname:
            raise ValueError(f"{self.url}: no address of a model; one is like {_LIKE}")
        self._transport = transports[parts.scheme](parts, self.url, timeout)
        self._colorizer: Colorizer | None = None
        self.version = ""

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Ask one of the model's signatures (`kcolor.signatures`).

        Args:
            signature: Its name.
            inputs: Arrays, or lists of bytes, by their names.

        Returns:
            Arrays by their names; strings are of bytes.

        Raises:
            ServerError: It cannot be reached, or refuses.
        """
        return self._transport.call(signature, inputs)

    def colorizer(self) -> Colorizer:
        """The model as any other: what `Colorizer` does, this one does.

        Raises:
            ServerError: It cannot be reached, or is no colorizer.
        """
        if self._colorizer is None:
            self.version, signatures = self._transport.describe()
            shape = signatures.get("ab", {}).get("l", ())
            if len(shape) != 4 or shape[1] != shape[2] or shape[1] < 1 or shape[3] != 1:
                raise ServerError(f"{self.url}: not a colorizer of kcolor (no signature ab from squares of L)")

            self._transport.pin(self.version)

            def outputs(l: tf.Tensor) -> Outputs:
                ab = self.predict("ab", {"l": np.asarray(l)}).get("ab")
                if ab is None or ab.shape != (*l.shape[:3], 2):
                    raise ServerError(f"{self.url}: gives no colours of the size that it was asked for")
                return {"ab": tf.constant(ab, tf.float32)}

            self._colorizer = Colorizer(Path(self._transport.name), "server", shape[1], "", outputs)
        return self._colorizer

    def __call__(self, photos: Any, **look: Any) -> Any:
        """As `Colorizer.__call__`."""
        return self.colorizer()(photos, **look)


@dataclass
class _Rest:
    """REST of TensorFlow Serving, in columns.

    Args:
        parts: The address.
        shown: The address without a password.
        timeout: Seconds that the server may be silent.
    """

    parts: SplitResult
    shown: str
    timeout: float

    def __post_init__(self) -> None:
        self.name = _named(_REST, self.parts, self.shown)["name"]
        self._base = self.parts._replace(
            netloc=self.parts.netloc.rpartition("@")[2], path=self.parts.path.rstrip("/"), query="", fragment=""
        ).geturl()
        user = _credentials(self.parts)
        self._headers = {"Authorization": user} if user else {}
        self._output: dict[str, str] = {}
        retries = urllib3.Retry(
            total=_TRIES - 1,
            connect=3,
            read=1,  # a slow server is not helped by more work
            status_forcelist=_PASSING,
            allowed_methods=None,  # to ask twice changes nothing
            backoff_factor=_FIRST_WAIT,
            backoff_max=_LONGEST_WAIT,
            backoff_jitter=_FIRST_WAIT,
            raise_on_status=False,
        )
        timeout = urllib3.Timeout(connect=min(self.timeout, 10.0), read=self.timeout)
        self._pool = urllib3.PoolManager(retries=retries, timeout=timeout, headers=self._headers, maxsize=8)

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        columns = {name: _to_json(value) for name, value in inputs.items()}
        answer = self._ask("POST", ":predict", {"signature_name": signature, "inputs": columns})
        made = answer.get("outputs")
        try:
            if not isinstance(made, dict):  # a single output goes without its name
                made = {self._only_output(signature): made}
            return {name: _from_json(value) for name, value in made.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"{self.shown}: its answer is not TensorFlow Serving's") from error

    def describe(self) -> tuple[str, dict[str, dict[str, tuple[int, ...]]]]:
        answer = self._metadata()
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            shapes = {
                signature: {
                    name: tuple(int(dim["size"]) for dim in spec["tensor_shape"].get("dim", []))
                    for name, spec in told["inputs"].items()
                }
                for signature, told in signatures.items()
            }
            return str(answer["model_spec"]["version"]), shapes
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"{self.shown}: its metadata is not TensorFlow Serving's") from error

    def pin(self, version: str) -> None:
        if not re.search(r"/(versions|labels)/[^/]+$", self._base):
            self._base += f"/versions/{version}"

    def _only_output(self, signature: str) -> str:
        if signature not in self._output:
            told = self._metadata()["metadata"]["signature_def"]["signature_def"][signature]
            (self._output[signature],) = told["outputs"]
        return self._output[signature]

    def _metadata(self) -> dict[str, Any]:
        return self._ask("GET", "/metadata")

    def _ask(self, method: str, door: str, content: Any = None) -> dict[str, Any]:
        # The numbers of a float32 in as few digits as say which they are; a third of the time, and half the length.
        body = None if content is None else orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        try:
            answer = self._pool.request(
                method, self._base + door, body=body, headers={**self._headers, "Content-Type": "application/json"}
            )
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(f"{self.shown}: {_reason(error, self.timeout)}") from error
        try:
            with _no_collecting():
                # TensorFlow Serving writes NaN as Python does, and not as JSON.
                told = json.loads(answer.data) if b"NaN" in answer.data else orjson.loads(answer.data)
        except ValueError:
            told = None
        if answer.status != 200:
            said = told.get("error") if isinstance(told, dict) else None
            raise ServerError(f"{self.shown}: {_of_status(answer.status, said)}")
        if not isinstance(told, dict):
            raise ServerError(f"{self.shown}: its answer is not JSON: not a model of TensorFlow Serving")
        return told


@dataclass
class _Grpc:
    """gRPC of TensorFlow Serving; arguments as those of `_Rest`."""

    parts: SplitResult
    shown: str
    timeout: float

    def __post_init__(self) -> None:
        import grpc
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        named = _named(_GRPC, self.parts, self.shown)
        self.name, self._version = named["name"], named["version"]
        again = {
            "maxAttempts": _TRIES,
            "initialBackoff": f"{_FIRST_WAIT}s",
            "maxBackoff": f"{_LONGEST_WAIT}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
        }
        options = [
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.enable_retries", 1),
            ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": again}]})),
        ]
        host = f"[{self.parts.hostname}]" if ":" in str(self.parts.hostname) else self.parts.hostname
        address = f"{host}:{self.parts.port or 8500}"
        secure = self.parts.scheme == "grpcs"
        self._channel = (
            grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
            if secure
            else grpc.insecure_channel(address, options)
        )
        self._stub = PredictionServiceStub(self._channel)
        user = _credentials(self.parts)
        self._told = [("authorization", user)] if user else []

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        from tensorflow_serving.apis.predict_pb2 import PredictRequest

        request = PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = self._ask(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    def describe(self) -> tuple[str, dict[str, dict[str, tuple[int, ...]]]]:
        from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap

        request = GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request.model_spec)
        answer = self._ask(self._stub.GetModelMetadata, request)
        signatures = SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        shapes = {
            signature: {name: tuple(dim.size for dim in spec.tensor_shape.dim) for name, spec in told.inputs.items()}
            for signature, told in signatures.signature_def.items()
        }
        return str(answer.model_spec.version.value), shapes

    def pin(self, version: str) -> None:
        self._version = version

    def _name(self, spec: Any) -> None:
        spec.name = self.name
        if self._version:
            spec.version.value = int(self._version)

    def _ask(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self.timeout, metadata=self._told)
        except grpc.RpcError as error:
            said = error.details() or error.code().name
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                said = _of_status(401, None)
            elif error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                said = f"no answer within {self.timeout:g} s"
            elif error.code() == grpc.StatusCode.UNAVAILABLE:
                said = f"cannot be reached: {said}; is it started, and is the port that of gRPC?"
            raise ServerError(f"{self.shown}: {' '.join(said.split())}") from error


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Without looks for garbage among TensorFlow's objects at each thousand new lists, which take ten times as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _named(pattern: re.Pattern[str], parts: SplitResult, shown: str) -> dict[str, str]:
    """What the path of an address names.

    Raises:
        ValueError: No model.
    """
    found = pattern.fullmatch(parts.path)
    if not found:
        raise ValueError(f"{shown}: does not name a model; an address is like {_LIKE}")
    return {key: unquote(value) for key, value in found.groupdict("").items()}


def _credentials(parts: SplitResult) -> str | None:
    """Of basic authentication (RFC 7617), in UTF-8, as a file of passwords has them."""
    if parts.username is None:
        return None
    told = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(told.encode()).decode()


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != object:
        return np.ascontiguousarray(value)
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return [_to_json(each) for each in value] if isinstance(value, list | tuple | np.ndarray) else value


def _from_json(value: Any) -> np.ndarray:
    def decoded(each: Any) -> Any:
        if isinstance(each, dict):
            return base64.b64decode(each["b64"])
        if isinstance(each, list):
            return [decoded(one) for one in each]
        return each.encode() if isinstance(each, str) else each

    first = value
    while isinstance(first, list) and first:
        first = first[0]
    # Numbers, of which there are many, are not looked at one by one.
    return np.array(decoded(value), object) if isinstance(first, dict | str) else np.array(value, np.float32)


def _reason(error: Exception, timeout: float) -> str:
    """Why a server could not be reached, in a line."""
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason:
        error = error.reason
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "there is no such host; look at the address"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "cannot be reached; is the server started, and is the port right?"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"does not speak TLS, or not with a certificate that is known here: {error}"
    return f"the connection failed: {type(error).__name__}"


def _of_status(status: int, said: str | None) -> str:
    if status == 401:
        return "wants a user and a password: USER:PASSWORD@ before the host"
    if status in _PASSING:
        return f"has no room, or is not there at the moment (status {status}{': ' + said if said else ''}); try later"
    return " ".join(said.split()) if said else f"answers with status {status}: not a model of TensorFlow Serving"
