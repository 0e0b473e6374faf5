"""The bodies of requests, read within the limits of one and of all together."""

import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from kcolor.serve.refusal import RefusedError


class Bodies:
    """What is in hand of requests' bodies.

    Args:
        largest: Bytes of one.
        together: Bytes of all that are in hand at once, from when they are read until they have been understood.
    """

    def __init__(self, largest: int, together: int) -> None:
        self.largest, self._together = largest, together
        self._held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """The body of a request, which counts as held inside the block.

        What is declared too large is refused before it is read, and what is not declared as soon as it is too large.

        Raises:
            RefusedError: It is too large, or there is too much of all of them.
        """
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RefusedError("INVALID_ARGUMENT", "send the body as it is, without a Content-Encoding", 415)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.largest:
            raise self._too_large()
        body, held = bytearray(), 0
        try:
            async for chunk in request.stream():
                held += len(chunk)
                self._held += len(chunk)
                if held > self.largest:
                    raise self._too_large()
                if self._held > self._together:
                    raise RefusedError("RESOURCE_EXHAUSTED", "too many large requests at once; try again later")
                body += chunk
            yield body
        finally:
            self._held -= held

    def _too_large(self) -> RefusedError:
        message = f"the body is larger than {self.largest:,} bytes; send fewer or smaller pictures"
        return RefusedError("RESOURCE_EXHAUSTED", message, 413)
