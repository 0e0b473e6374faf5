"""The address that a server listens at."""

import os
import socket

from kcolor.errors import RunError


def listen(host: str, port: int) -> socket.socket:
    """Take an address; who connects waits until the server is there.

    Args:
        host: A name or an address of this machine.
        port: 0 for any that is free.

    Raises:
        RunError: It cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        said = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise RunError(f"{host}:{port}: {said}; choose another --port or --host") from error


def url(host: str, listening: socket.socket) -> str:
    """The address of HTTP at a socket."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
