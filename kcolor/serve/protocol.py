"""HTTP as uvicorn reads it, with an end to how long and how large the head of a request may be."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# As nginx has them by default, or nearly.
_LARGEST_HEAD = 64 << 10
_HEAD_SECONDS = 20.0


class Protocol(HttpToolsProtocol):
    """A connection that is closed if the line and the headers of its request do not come to an end.

    uvicorn limits neither, and its parser keeps what it has of a header until that is whole. What happens to bodies is
    the application's business.
    """

    _head = 0  # bytes; -1 while a body is being read
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        # asyncio does so only for sockets that were made with TCP's number, which `socket.create_server` leaves out.
        # The second of two writes would wait 40 ms for the first to be acknowledged.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """End waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is of no request yet."""
        if self._head >= 0:
            self._head += len(data)
        super().data_received(data)
        if self._head > _LARGEST_HEAD:
            self._give_up()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        if self._waiting is None:
            self._waiting = self.loop.call_later(_HEAD_SECONDS, self._give_up)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._head = -1
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It has ended."""
        self._head = 0
        super().on_message_complete()

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.send_400_response("The head of the request is too large, or does not end.")
