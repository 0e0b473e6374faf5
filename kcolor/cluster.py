"""The machines that train together: who they are, and that all of them mean the same.

TensorFlow's ``TF_CONFIG`` names them. Before TensorFlow connects them they meet on the same addresses: every worker
says what it was asked to do, worker 0 compares that with its own, and tells all whether it goes on, and from where. So
what a person can get wrong is said by all of them in the same line, and none waits for ever.
"""

import errno
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from kcolor.errors import ClusterError, KcolorError

_LENGTH = struct.Struct(">Q")
_MOST = 2**32  # bytes in one message; a manifest of millions of photos is some hundred megabytes
_HELLO = "kcolor fit"

# What is not a worker's word is not waited for: a port scanner, or a browser.
_PATIENCE = 30.0

# How long the chief goes on telling what is wrong to those who come later, in seconds.
_GRACE = 10.0


@dataclass(frozen=True)
class Task:
    """One of several workers.

    Args:
        addresses: Where each of them listens, "host:port"; the first is the chief.
        index: Which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def chief(self) -> bool:
        """Whether it is the one that writes."""
        return self.index == 0

    def named(self, index: int) -> str:
        """How messages call a worker."""
        return f"worker {index} ({self.addresses[index]})"


def read(config: str | None) -> Task | None:
    """What ``TF_CONFIG`` says; None where there is none, or where it names one worker only.

    Raises:
        ClusterError: It is malformed, or this process has no place in it.
    """
    if not config:
        return None
    example = (
        'such as {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
    )
    try:
        told = json.loads(config)
    except ValueError as error:
        raise ClusterError(f"TF_CONFIG: not JSON ({error}); write it {example}") from error
    try:
        jobs = {str(job): [str(address) for address in addresses] for job, addresses in told["cluster"].items()}
        kind, index = str(told["task"]["type"]), int(told["task"]["index"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClusterError(f"TF_CONFIG: no cluster and task in it ({error}); write it {example}") from error
    others = set(jobs) - {"chief", "worker"}
    if others or len(jobs.get("chief", [])) > 1:
        raise ClusterError(f"TF_CONFIG: kcolor trains with workers alone, without {', '.join(others) or 'two chiefs'}")
    if not 0 <= index < len(jobs.get(kind, [])):
        known = ", ".join(f"{job} {number}" for job, each in jobs.items() for number in range(len(each)))
        raise ClusterError(f"TF_CONFIG: the cluster has no {kind} {index}; it has {known}")
    addresses = (*jobs.get("chief", []), *jobs.get("worker", []))
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ClusterError(f"TF_CONFIG: {address}: not an address; write host:port")
    if len(set(addresses)) < len(addresses):
        raise ClusterError("TF_CONFIG: two workers have the same address")
    if len(addresses) == 1:
        return None
    return Task(addresses, index + (len(jobs.get("chief", [])) if kind == "worker" else 0))


def meet(
    task: Task,
    says: Mapping[str, Any],
    tells: Mapping[str, Any],
    *,
    differs: Callable[[Mapping[str, Any]], str | None],
    wait: float,
    takes: Callable[[Mapping[str, Any]], Any] = lambda told: told,
) -> Any:
    """Wait for all workers, and let the chief compare what they were asked to do.

    Args:
        task: Which of them this is.
        says: What this one was asked to do, for the chief to compare.
        tells: What the chief has to tell all others; of the others it is not looked at.
        differs: From what another worker says to what is wrong with it, in words; asked of the chief alone.
        wait: Seconds.
        takes: What another worker makes of what it is told. A `KcolorError` of it is told to the chief: nobody goes on
            to where TensorFlow waits for all of them, and would for an hour.

    Returns:
        What the chief tells; in another worker, what `takes` made of it.

    Raises:
        ClusterError: A worker did not come, has gone, cannot take what it was told, or means something else, of which
            all are told; or a port is in use.
    """
    with ExitStack() as stack:
        server = stack.enter_context(_listening(task))
        if task.chief:
            others, wrong = _receive_all(task, server, stack, differs, wait)
            if not wrong:
                wrong = _tell(task, others, tells, wait)
            _answer(others, {"refused": wrong} if wrong else {"go": True})
            if wrong:
                raise ClusterError(wrong)
            return tells
        return _report(task, says, takes, wait)


@contextmanager
def refusing(task: Task | None) -> Iterator[None]:
    """If the chief makes a mistake before it meets the others, tell those who wait for it."""
    try:
        yield
    except KcolorError as error:
        if task and task.chief and not isinstance(error, ClusterError):
            # Where TensorFlow has the port by now, they have met.
            with suppress(ClusterError), ExitStack() as stack:
                server = stack.enter_context(_listening(task))
                told = f"worker 0: {error}"
                others, _ = _receive_all(task, server, stack, lambda says: told, _GRACE)
                _answer(others, {"refused": told})
        raise


def _listening(task: Task) -> socket.socket:
    """This worker's port, which TensorFlow is to have afterwards."""
    host, _, digits = task.addresses[task.index].rpartition(":")
    port, family = int(digits), socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=len(task.addresses) + 16)
    except OSError as error:
        why = "in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise ClusterError(
            f"{task.named(task.index)}: port {port} of this machine is {why}; "
            "end what uses it, or name another in the TF_CONFIG of all workers"
        ) from error


def _receive_all(
    task: Task,
    server: socket.socket,
    stack: ExitStack,
    differs: Callable[[Mapping[str, Any]], str | None],
    wait: float,
) -> tuple[dict[int, socket.socket], str | None]:
    """The connections of the others, and what is wrong, if anything."""
    deadline = time.monotonic() + wait
    others: dict[int, socket.socket] = {}
    wrong = None
    while len(others) < len(task.addresses) - 1:
        left = deadline - time.monotonic()
        if left <= 0:
            missing = min(set(range(1, len(task.addresses))) - set(others))
            return others, wrong or _absent(task, missing, wait)
        try:
            server.settimeout(left)
            connection = stack.enter_context(server.accept()[0])
            connection.settimeout(_PATIENCE)
            hello = _receive(connection)
        except (OSError, ValueError):
            continue
        if not isinstance(hello, dict) or hello.get("hello") != _HELLO:
            continue
        index = int(hello["worker"])
        others[index] = connection
        if hello["addresses"] != list(task.addresses):
            problem: str | None = "has another TF_CONFIG than worker 0; give all the same cluster"
        else:
            problem = differs(hello["says"])
        if problem and not wrong:
            wrong = f"worker {index} {problem}" if index >= len(task.addresses) else f"{task.named(index)} {problem}"
            deadline = min(deadline, time.monotonic() + _GRACE)
    return others, wrong


def _tell(task: Task, others: Mapping[int, socket.socket], tells: Mapping[str, Any], wait: float) -> str | None:
    """Tell all others, who say whether they can take it; what is wrong, if anything."""
    for connection in others.values():
        with suppress(OSError):  # it has gone, as is seen below
            connection.settimeout(wait)  # of which the whole message is part: a manifest may be long
            _send(connection, {"told": tells})
    wrong = None
    for index, connection in others.items():
        try:
            problem = _receive(connection)["wrong"]
        except (OSError, ValueError, KeyError, TypeError):
            problem = "came and has gone again; start the same command on all of them"
        if problem and not wrong:
            wrong = f"{task.named(index)} {problem}"
    return wrong


def _answer(others: Mapping[int, socket.socket], answer: Mapping[str, Any]) -> None:
    for connection in others.values():
        with suppress(OSError):  # it has gone, which will be noticed soon enough
            _send(connection, answer)


def _report(task: Task, says: Mapping[str, Any], takes: Callable[[Mapping[str, Any]], Any], wait: float) -> Any:
    deadline = time.monotonic() + wait
    host, _, port = task.addresses[0].rpartition(":")
    hello = {"hello": _HELLO, "worker": task.index, "addresses": task.addresses, "says": says}
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=min(left, 5.0)) as connection:
                # The chief waits for the others, and may have begun to do so later than this one.
                connection.settimeout(left + wait)
                _send(connection, hello)
                answer = _receive(connection)
                if "told" in answer:
                    try:
                        taken, own = takes(answer["told"]), None
                    except KcolorError as error:
                        taken, own = None, error
                    _send(connection, {"wrong": f"cannot go on: {own}" if own else None})
                    if own:
                        raise own
                    answer = _receive(connection)
        except (OSError, ValueError):
            time.sleep(0.2)  # it is not there yet, or was started again
            continue
        if "refused" in answer:
            raise ClusterError(answer["refused"])
        return taken
    raise ClusterError(_absent(task, 0, wait))


def _absent(task: Task, index: int, wait: float) -> str:
    return (
        f"{task.named(index)} did not come within {wait / 60:.3g} minutes; start the same command there, look at the "
        "addresses in TF_CONFIG, or give it longer (--wait MINUTES)"
    )


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    body = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(body)) + body)


def _receive(connection: socket.socket) -> Any:
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _MOST:
        raise ValueError("not a message of a worker")
    return json.loads(_exactly(connection, length))


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 2**20))
        if not part:
            raise ConnectionError("closed in the middle of a message")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
