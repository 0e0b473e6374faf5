"""A server for people and programs: the page, and TensorFlow Serving's API, around one model."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from kcolor.errors import RunError
from kcolor.serve import app, model
from kcolor.serve.batching import Batcher
from kcolor.serve.bodies import Bodies
from kcolor.serve.meters import Meters

__all__ = ["serve"]


def serve(
    path: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    name: str | None = None,
    max_body: int = 32 << 20,
    max_pixels: int | None = None,
    queue: int = 128,
    batch: int = 8,
    timeout: float = 60.0,
    on_ready: Callable[[str, model.Model], None] = lambda url, served: None,
) -> None:
    """Serve a model until SIGTERM or SIGINT; what has been accepted by then is answered.

    Args:
        path: As for `kcolor.serve.model.load`.
        host: The address to listen at.
        port: Likewise; 0 for any that is free.
        name: Of the model, in the API's addresses.
        max_body: Bytes of a request; all that are read at once may be four times as large.
        max_pixels: Of a photo.
        queue: Pictures that may wait for their turn.
        batch: Pictures that are computed at once.
        timeout: Seconds that a request may take.
        on_ready: Called with the address when requests are answered.

    Raises:
        RunError: The model cannot be loaded, or the address cannot be had.
    """
    listening = _listen(host, port)  # before the model, which takes longer, is loaded
    with listening:
        served = model.load(path, name=name, max_pixels=max_pixels)
        model.warm(served)
        meters = Meters()
        batcher = Batcher(max_batch=batch, max_queue=queue, on_batch=meters.batch)
        serving = app.Serving(served, batcher, meters, Bodies(max_body, 4 * max_body), timeout)
        config = uvicorn.Config(
            app.create(serving),
            # h11 hangs up on who still sends when it is refused, and the refusal is lost.
            http="httptools",
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=int(timeout) + 5,
        )
        # uvicorn raises a signal again once it has ended; a server that was told to stop and did has not failed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
        on_ready(url, served)
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise RunError(f"{host}:{port}: {error.strerror or error}; choose another --port or --host") from error
