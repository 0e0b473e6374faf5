"""HTTP as uvicorn reads and writes it, with an end to what a connection may send beside bodies, and to waiting."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# As nginx has them by default, or nearly.
_LARGEST_HEAD = 64 << 10
_HEAD_SECONDS = 20.0
_REST_SECONDS = 60.0
_WRITE_SECONDS = 60.0


class Protocol(HttpToolsProtocol):
    """A connection that is closed if a request does not come to an end, or its answer is not read.

    uvicorn limits neither; its parser keeps what it has of a header until that is whole, and all headers, of which a
    body in chunks can have more behind it. How long and how large a body may be is the application's business until it
    has answered; what then still comes has `_REST_SECONDS` to end.
    """

    _fields = 0  # bytes since the last of a body: of a head, of a chunk's head, or of what is behind the last chunk
    _in_body = False
    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        # asyncio does so only for sockets that were made with TCP's number, which `socket.create_server` leaves out.
        # The second of two writes would wait 40 ms for the first to be acknowledged.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # That nothing is held for ever, however little: `pause_writing` is called for all that the system leaves.
        transport.set_write_buffer_limits(0)
        self._wait(_HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """End waiting."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is of no body."""
        if self._reading is None:  # between two requests, where line ends begin none
            self._wait(_HEAD_SECONDS)
        self._fields += len(data)
        super().data_received(data)
        if self._fields > _LARGEST_HEAD:
            self._give_up()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._fields = 0
        if self._reading is None:
            self._wait(_HEAD_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._fields, self._in_body = 0, True
        self._wait(_REST_SECONDS)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A part of its body begins, or, after the last, the fields behind it."""
        self._fields = 0

    def on_body(self, body: bytes) -> None:
        """Of its body."""
        self._fields = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It has ended."""
        self._fields, self._in_body = 0, False
        self._stop_waiting()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not take all at once."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has taken all."""
        self._stop_watching()
        super().resume_writing()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._reading = self.loop.call_later(seconds, self._waited, seconds)

    def _waited(self, seconds: float) -> None:
        if self.cycle and not self.cycle.response_complete:
            self._wait(seconds)  # the application has a time-out of its own
        else:
            self._give_up()

    def _stop_waiting(self) -> None:
        if self._reading:
            self._reading.cancel()
            self._reading = None

    def _give_up(self) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self._in_body and self.cycle.response_started:
            self.transport.close()
        else:
            self.send_400_response("The head of the request, or what is behind its body, is too large or does not end.")

    def _watch(self, unread: int) -> None:
        self._stop_watching()
        self._writing = self.loop.call_later(_WRITE_SECONDS, self._watched, unread)

    def _watched(self, unread: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < unread:
            self._watch(left)
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._writing:
            self._writing.cancel()
            self._writing = None
