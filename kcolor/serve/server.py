"""The verb: one model behind the doors, until it is told to stop."""

import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import uvicorn

from kcolor.serve import app, memory, model, rpc
from kcolor.serve.batching import Batcher
from kcolor.serve.bodies import Bodies
from kcolor.serve.meters import Meters
from kcolor.serve.protocol import Protocol


def serve(
    path: Path,
    listening: socket.socket,
    *,
    name: str | None = None,
    max_body: int = 32 << 20,
    max_pixels: int | None = None,
    queue: int = 128,
    batch: int = 8,
    workers: int = 2,
    timeout: float = 60.0,
    grpc: tuple[str, int] | None = None,
    site: Path | None = None,
    on_ready: Callable[[model.Model], None] = lambda served: None,
) -> None:
    """Serve a model until SIGTERM or SIGINT; what has been accepted by then is answered.

    Args:
        path: As for `kcolor.serve.model.load`.
        listening: As from `kcolor.serve.listening.listen`; closed in the end.
        name: Of the model, in the API's addresses.
        max_body: Bytes of a request; all that are read at once may be four times as large, and all that wait.
        max_pixels: Of a photo.
        queue: Pictures that may wait for their turn.
        batch: Pictures that a worker computes at once.
        workers: Threads that compute.
        timeout: Seconds that a request may take.
        grpc: Host and port for gRPC, where it is wanted.
        site: What kcolor export --web wrote: visitors' browsers run its network, the server where they cannot.
        on_ready: Called when requests are answered.

    Raises:
        RunError: The model cannot be loaded, gRPC's address cannot be had, or the site is none, or not the model's.
    """
    if site:  # before all that takes longer
        app.site_config(site)
    with listening, ExitStack() as doors:
        served = model.load(path, name=name, max_pixels=max_pixels)
        model.warm(served)
        memory.settle()
        meters = Meters()
        held = 4 * max_body
        batcher = Batcher(workers=workers, max_batch=batch, max_queue=queue, max_bytes=held, on_batch=meters.batch)
        doors.callback(batcher.close)
        serving = app.Serving(served, batcher, meters, Bodies(max_body, held), timeout)
        if grpc:
            doors.enter_context(rpc.listening(serving, *grpc))
        config = uvicorn.Config(
            app.create(serving, web=site or app.WEB),
            http=Protocol,
            loop="asyncio",
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=int(timeout) + 5,
        )
        server = uvicorn.Server(config)

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn has handlers of its own, but raises the signal again once it has ended; who was told to stop, and
        # did, has not failed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        on_ready(served)
        server.run(sockets=[listening])
