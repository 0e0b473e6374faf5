"""A server of the tests' own: as a process, as a person starts it, or in this one, around any function."""

import base64
import io
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import urllib3
from made import colour


def jpeg(side: int = 64, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    colour(side, seed).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def png(side: int = 64, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    colour(side, seed).save(stream, "PNG")
    return stream.getvalue()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def tiny(path: Path, classes: tuple[str, ...] = ("forest", "sea", "street")) -> Path:
    """A ``.keras`` file of a narrow generator of 64 pixels with a class branch, and its card."""
    import keras

    from kcolor import card, networks

    keras.utils.set_random_seed(5)
    networks.unet_with_class_branch(len(classes), 64, depth=4, width=4).save(path)
    card.attach(path, card.Card(classes, "", "", ""))
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@dataclass(frozen=True)
class Server:
    """A process of kcolor serve.

    Args:
        url: Without a slash at its end.
        grpc: Host and port of gRPC; "" where it is not answered.
        process: To be killed and waited for.
    """

    url: str
    grpc: str
    process: subprocess.Popen


@contextmanager
def serving(model: Path, *options: str | int) -> Iterator[Server]:
    command = [sys.executable, "-m", "kcolor", "serve", str(model), "--port", "0", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        found = re.search(r"ready at (http://\S+:\d+)/ .*?(?:gRPC: (\S+))?\)", line)
        try:
            assert found, (line, process.stderr.read() if process.poll() is not None else "")
            yield Server(found[1], found[2] or "", process)
        finally:
            process.kill()


@contextmanager
def around(call: Callable, **options) -> Iterator[str]:
    """A server in this process, of a model whose one signature maps ``x`` (n,) float32 to ``y``; its address."""
    import tensorflow as tf

    from kcolor.serve.model import Model, Signature

    signature = Signature("serving_default", call, {"x": tf.TensorSpec((None,), tf.float32, "x")}, {})
    with within(Model("double", 1, 8, (), {"serving_default": signature}), **options) as url:
        yield url


@contextmanager
def within(model, **options) -> Iterator[str]:
    """A server in this process, of a model; its address."""
    import uvicorn

    from kcolor.serve import app
    from kcolor.serve.batching import Batcher
    from kcolor.serve.bodies import Bodies
    from kcolor.serve.meters import Meters
    from kcolor.serve.protocol import Protocol

    limits = {"workers": 1, "max_batch": 8, "max_queue": 4, "body": 10_000, "timeout": 30.0, "web": app.WEB} | options
    batcher = Batcher(**{key: limits[key] for key in ("workers", "max_batch", "max_queue")})
    bodies = Bodies(limits["body"], 4 * limits["body"])
    made = app.create(app.Serving(model, batcher, Meters(), bodies, limits["timeout"]), web=limits["web"])
    server = uvicorn.Server(uvicorn.Config(made, http=Protocol, loop="asyncio", ws="none", log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            batcher.close()


class Gate:
    """A function that doubles, and waits to be let through; what it was given is kept."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Semaphore(0), threading.Event()
        self.given: list[list[float]] = []

    def __call__(self, x) -> dict[str, np.ndarray]:
        self.given.append([float(value) for value in x])
        self.entered.release()
        assert self.open.wait(30)
        return {"y": 2 * np.asarray(x)}


pool = urllib3.PoolManager(maxsize=32, retries=False)


def ask(url: str, document: object = None, *, method: str = "POST", **options) -> tuple[int, dict]:
    """A status and a JSON body."""
    options |= {} if document is None else {"json": document}
    reply = pool.request(method, url, **options)
    return reply.status, reply.json() if reply.data else {}
