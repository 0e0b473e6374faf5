"""What is counted while the server runs, and told at ``/metrics`` as Prometheus reads it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS = (1, 2, 4, 8, 16, 32, 64)


class Outcome:
    """How a request has ended, to be set by who answers it."""

    code = "OK"


class Meters:
    """The counts of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        of, registry = ("door", "method"), self._registry
        self._requests = Counter("kcolor_requests", "Requests that were answered", (*of, "code"), registry=registry)
        self._seconds = Histogram(
            "kcolor_request_seconds", "From request to answer", of, "", buckets=_SECONDS, registry=registry
        )
        self._in_flight = Gauge("kcolor_requests_in_flight", "Requests that are being answered", registry=registry)
        self._batches = Histogram("kcolor_batch_rows", "Rows computed at once", buckets=_ROWS, registry=registry)
        self._waiting = Gauge("kcolor_rows_waiting", "Rows in the queue", registry=registry)
        self._lock = threading.Lock()
        self._begun = self._ended = 0

    @contextmanager
    def request(self, door: str, method: str) -> Iterator[Outcome]:
        """Count a request, and time it.

        Args:
            door: "rest" or "grpc".
            method: What is asked for.
        """
        outcome, began = Outcome(), time.perf_counter()
        with self._lock:
            self._begun += 1
        self._in_flight.inc()
        try:
            yield outcome
        except BaseException:
            outcome.code = "INTERNAL"
            raise
        finally:
            with self._lock:
                self._ended += 1
            self._in_flight.dec()
            self._requests.labels(door, method, outcome.code).inc()
            self._seconds.labels(door, method).observe(time.perf_counter() - began)

    def served(self) -> int | None:
        """Requests that have been answered; None while others are being answered."""
        with self._lock:
            return self._ended if self._ended == self._begun else None

    def batch(self, rows: int) -> None:
        """Count a batch."""
        self._batches.observe(rows)

    def page(self, waiting: int) -> bytes:
        """All of it, in Prometheus' text format.

        Args:
            waiting: Rows in the queue.
        """
        self._waiting.set(waiting)
        return generate_latest(self._registry)
