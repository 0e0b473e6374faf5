"""Requests to one signature, put together: what is asked for at the same time goes through the network at once."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import numpy as np

from kcolor.serve.model import Signature, Tensors, renumbered
from kcolor.serve.refusal import RefusedError, invalid

_log = logging.getLogger(__name__)

# Of strings, after which a batch takes no more: about what three photographs of a million pixels have as JPEG. What
# large ones cost does not get less by going together, and one that is no longer wanted should hold up no others.
_BATCH_BYTES = 1 << 20


@dataclass(eq=False)
class _Request:
    signature: Signature
    tensors: Tensors
    rows: int
    sizes: list[int]  # bytes of each row's strings
    kind: Hashable  # requests of one kind can be put together
    deadline: float
    held: int  # bytes of all tensors, until the last row is taken
    answer: "Future[Tensors]" = field(default_factory=Future)
    taken: int = 0  # rows that have been, or are, computed
    computed: int = 0
    parts: dict[int, Tensors] = field(default_factory=dict)  # by their first row

    def end(self, result: Tensors | Exception) -> None:
        try:
            if isinstance(result, Exception):
                self.answer.set_exception(result)
            else:
                self.answer.set_result(result)
        except InvalidStateError:  # nobody waits for it any more
            pass


@dataclass(eq=False)
class _Part:
    """Some consecutive rows of a request."""

    request: _Request
    start: int
    stop: int

    def tensors(self) -> Tensors:
        request = self.request
        batched = request.signature.batched
        return {
            name: tensor[self.start : self.stop] if name in batched else tensor
            for name, tensor in request.tensors.items()
        }


class Batcher:
    """Threads that compute what others ask for, with a bounded queue before them.

    While batches are computed, requests gather; all that are of one signature go through it together, up to `max_batch`
    rows or `_BATCH_BYTES` of files. None is made to wait for others to come. A request of more takes turns with the
    others. What nobody waits for any more, because it was cancelled or its time is up, is not computed. If a batch
    fails, its requests are run apart, so that a request fails only by what is in it.

    Args:
        workers: Threads. TensorFlow uses all cores for the network, but one for a picture's decoding and encoding.
        max_batch: Rows that a thread computes at once.
        max_queue: Rows that may wait.
        max_bytes: Of the requests that wait; one that is larger waits alone.
        on_batch: Told of the rows of each batch, from the thread.
    """

    def __init__(
        self,
        *,
        workers: int,
        max_batch: int,
        max_queue: int,
        max_bytes: int = 128 << 20,
        on_batch: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._max_batch, self._max_queue, self._max_bytes = max_batch, max_queue, max_bytes
        self._on_batch = on_batch
        self._queue: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._computing = 0
        self._threads = [threading.Thread(target=self._work, name=f"batches-{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are computed."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is computed, wanted or not."""
        with self._changed:
            return not self._computing and not self._waiting()

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        with self._changed:
            return self._waiting()

    def submit(self, signature: Signature, tensors: Tensors, *, timeout: float) -> "Future[Tensors]":
        """Ask for an answer.

        Args:
            signature: What to run.
            tensors: What it takes.
            timeout: Seconds after which it is no longer wanted.

        Returns:
            Becomes the tensors that the signature gives, or a `RefusedError`. Cancelled, it is not computed.

        Raises:
            RefusedError: The tensors are not the signature's, or the queue has no room for them.
        """
        rows = signature.rows(tensors)
        if rows > self._max_queue:
            raise invalid(f"{rows:,} rows in one call, of which this server takes {self._max_queue:,}; send them apart")
        sizes, kind = _sizes(signature, tensors, rows), _kind(signature, tensors)
        held = sum(sizes) + sum(tensor.nbytes for tensor in tensors.values())
        request = _Request(signature, tensors, rows, sizes, kind, time.monotonic() + timeout, held)
        with self._changed:
            if self._closing:
                raise RefusedError("UNAVAILABLE", "the server is stopping")
            self._forget()
            if self._waiting() + rows > self._max_queue:
                raise RefusedError(
                    "RESOURCE_EXHAUSTED", f"{self._waiting():,} rows are waiting already; try again later"
                )
            others = sum(request.held for request in self._queue)
            if others and others + held > self._max_bytes:
                raise RefusedError("RESOURCE_EXHAUSTED", f"{others:,} bytes are waiting already; try again later")
            self._queue.append(request)
            self._changed.notify()
        return request.answer

    def close(self) -> None:
        """Compute what has been accepted, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _waiting(self) -> int:
        return sum(request.rows - request.taken for request in self._queue if not request.answer.done())

    def _forget(self) -> None:
        """Take out of the queue what has failed, was cancelled, or has come too late."""
        now = time.monotonic()
        for request in self._queue:
            if request.deadline < now:
                request.end(RefusedError("DEADLINE_EXCEEDED", "waited too long for its turn; try again later"))
        self._queue = deque(request for request in self._queue if not request.answer.done())

    def _work(self) -> None:
        while parts := self._take():
            try:
                self._on_batch(sum(part.stop - part.start for part in parts))
                self._compute(parts)
            finally:
                with self._changed:
                    self._computing -= 1

    def _take(self) -> list[_Part]:
        """The next batch; empty when there will be none."""
        with self._changed:
            self._forget()
            while not self._queue:
                if self._closing:
                    return []
                self._changed.wait()
                self._forget()
            self._computing += 1
            parts = self._gathered()
            if self._queue:
                self._changed.notify()
            return parts

    def _gathered(self) -> list[_Part]:
        """What of the queue goes together with its first request."""
        kind, room, size = self._queue[0].kind, self._max_batch, 0
        parts: list[_Part] = []
        left, unfinished = deque[_Request](), []
        for request in self._queue:
            if request.kind != kind or (parts and (room == 0 or size >= _BATCH_BYTES)):
                left.append(request)
                continue
            start = request.taken
            while request.taken < request.rows and room and size < _BATCH_BYTES:
                size += request.sizes[request.taken]
                room -= 1
                request.taken += 1
            parts.append(_Part(request, start, request.taken))
            if request.taken < request.rows:
                unfinished.append(request)
        self._queue = left
        self._queue.extend(unfinished)  # behind the others
        return parts

    def _compute(self, parts: list[_Part]) -> None:
        signature = parts[0].request.signature
        given = [part.tensors() for part in parts]
        try:
            merged = given[0]
            if len(parts) > 1:
                together = {name: np.concatenate([each[name] for each in given]) for name in signature.batched}
                merged = given[0] | together
            made = signature(merged)
        except Exception as error:
            if len(parts) > 1:
                for part in parts:
                    if not part.request.answer.done():
                        self._compute([part])
                return
            if not isinstance(error, RefusedError):
                _log.exception("%s failed", signature.name)
                error = RefusedError("INTERNAL", "the model failed; the server's log says how")
            parts[0].request.end(renumbered(error, parts[0].start))
            return
        total = sum(part.stop - part.start for part in parts)
        first = 0
        for part in parts:
            last = first + part.stop - part.start
            self._give(part, {name: v[first:last] if v.ndim and len(v) == total else v for name, v in made.items()})
            first = last

    def _give(self, part: _Part, made: Tensors) -> None:
        request = part.request
        with self._changed:
            request.parts[part.start] = made
            request.computed += part.stop - part.start
            if request.computed < request.rows:
                return
        request.end(_joined([request.parts[start] for start in sorted(request.parts)]))


def _joined(parts: list[Tensors]) -> Tensors:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _sizes(signature: Signature, tensors: Tensors, rows: int) -> list[int]:
    """Bytes of each row's strings."""
    sizes = [0] * rows
    for tensor in (tensors[name] for name in signature.batched):
        if tensor.dtype == object:
            sizes = [size + sum(map(len, np.ravel(row))) for size, row in zip(sizes, tensor, strict=True)]
    return sizes


def _kind(signature: Signature, tensors: Tensors) -> Hashable:
    batched = signature.batched
    if not batched:
        return object()  # of none but itself
    return (
        signature.name,
        tuple((name, tensors[name].shape[1:]) for name in batched),
        tuple((name, tensors[name].tobytes()) for name in sorted(signature.inputs) if name not in batched),
    )
