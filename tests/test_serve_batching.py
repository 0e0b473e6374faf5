"""Requests put together: what goes through at once, what is refused, and what is not computed at all."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from serving import Gate

from kcolor.serve.batching import Batcher
from kcolor.serve.model import Signature
from kcolor.serve.refusal import RefusedError

X = {"x": tf.TensorSpec((None,), tf.float32, "x")}


def x(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values, np.float32)}


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def batcher(gate):
    made = Batcher(workers=1, max_batch=4, max_queue=8)
    yield made
    gate.open.set()
    made.close()


@pytest.fixture
def double(gate):
    return Signature("double", gate, X, {})


@pytest.fixture
def busy(batcher, double, gate):
    """The one thread computes something, and whatever is asked for now waits."""
    answer = batcher.submit(double, x(100), timeout=30)
    assert gate.entered.acquire(timeout=10)
    return answer


def test_an_answer(batcher, double, gate):
    gate.open.set()
    assert batcher.submit(double, x(1, 2), timeout=30).result(10)["y"].tolist() == [2, 4]


def test_what_waits_goes_through_together(batcher, double, gate, busy):
    answers = [batcher.submit(double, x(*values), timeout=30) for values in ([1], [2, 3], [4], [5])]
    gate.open.set()
    assert [answer.result(10)["y"].tolist() for answer in answers] == [[2], [4, 6], [8], [10]]
    assert gate.given == [[100], [1, 2, 3, 4], [5]]
    assert busy.result()["y"].tolist() == [200]


def test_a_large_request_takes_turns(batcher, double, gate, busy):
    large = batcher.submit(double, x(*range(6)), timeout=30)
    small = batcher.submit(double, x(7), timeout=30)
    gate.open.set()
    assert large.result(10)["y"].tolist() == [0, 2, 4, 6, 8, 10]
    assert small.result(10)["y"].tolist() == [14]
    assert gate.given == [[100], [0, 1, 2, 3], [7, 4, 5]]


def test_several_workers_put_a_request_together_in_order():
    def slow_first(x):
        time.sleep(0.2 if float(x[0]) == 0 else 0)
        return {"y": 2 * np.asarray(x)}

    batcher = Batcher(workers=3, max_batch=2, max_queue=20)
    answer = batcher.submit(Signature("slow", slow_first, X, {}), x(*range(9)), timeout=30)
    assert answer.result(10)["y"].tolist() == [2 * i for i in range(9)]
    batcher.close()


def test_large_files_go_alone(batcher, double, gate, busy):
    given = []

    def lengths(files):
        given.append([len(file) for file in files.numpy()])
        return {"n": np.array(given[-1])}

    signature = Signature("lengths", lengths, {"files": tf.TensorSpec((None,), tf.string, "files")}, {})
    sizes = [10, 2_000_000, 1_500_000, 10, 20]
    files = np.array([b" " * size for size in sizes], object)
    answer = batcher.submit(signature, {"files": files}, timeout=30)
    gate.open.set()
    assert answer.result(10)["n"].tolist() == sizes
    assert given == [[10, 2_000_000], [1_500_000], [10, 20]]


def test_it_is_idle_when_nothing_is_computed_either(batcher, double, gate, busy):
    abandoned = batcher.submit(double, x(1), timeout=30)
    abandoned.cancel()
    assert batcher.waiting == 0
    assert not batcher.idle
    gate.open.set()
    busy.result(10)
    until = time.monotonic() + 10
    while not batcher.idle:
        assert time.monotonic() < until


def test_no_rows(batcher, double, gate):
    gate.open.set()
    assert batcher.submit(double, x(), timeout=30).result(10)["y"].shape == (0,)


def test_what_differs_does_not_go_together(batcher, gate, busy, double):
    specs = X | {"factor": tf.TensorSpec((), tf.float32, "factor")}
    given = []

    def scale(x, factor):
        given.append(([float(each) for each in x], float(factor)))
        return {"y": x * factor}

    times = Signature("times", scale, specs, {})
    factors = (2, 3, 2)
    answers = [
        batcher.submit(times, x(i) | {"factor": np.float32(factor)}, timeout=30) for i, factor in enumerate(factors)
    ]
    other = batcher.submit(double, x(9), timeout=30)
    gate.open.set()
    assert [answer.result(10)["y"].tolist() for answer in answers] == [[0], [3], [4]]
    assert other.result(10)["y"].tolist() == [18]
    assert given == [([0, 2], 2), ([1], 3)]


def test_the_queue_is_bounded(batcher, double, busy):
    batcher.submit(double, x(*range(7)), timeout=30)
    with pytest.raises(RefusedError, match="7 rows are waiting already; try again later") as caught:
        batcher.submit(double, x(1, 2), timeout=30)
    assert caught.value.status == 429
    batcher.submit(double, x(1), timeout=30)
    assert batcher.waiting == 8
    with pytest.raises(RefusedError, match="9 rows in one call, of which this server takes 8") as caught:
        batcher.submit(double, x(*range(9)), timeout=30)
    assert caught.value.status == 400


def test_the_bytes_that_wait_are_bounded(double, gate):
    files = Signature("files", lambda files: {"n": files}, {"files": tf.TensorSpec((None,), tf.string, "files")}, {})

    def of(*sizes: int) -> dict[str, np.ndarray]:
        return {"files": np.array([b" " * size for size in sizes], object)}

    batcher = Batcher(workers=1, max_batch=4, max_queue=1000, max_bytes=1000)
    batcher.submit(double, x(100), timeout=30)
    assert gate.entered.acquire(timeout=10)
    first = batcher.submit(files, of(2000), timeout=30)  # alone, whatever its size
    with pytest.raises(RefusedError, match="bytes are waiting already; try again later") as caught:
        batcher.submit(double, x(1), timeout=30)
    assert (caught.value.status, caught.value.code) == (429, "RESOURCE_EXHAUSTED")
    first.cancel()
    waiting = [batcher.submit(files, of(400, 100), timeout=30), batcher.submit(double, x(*range(50)), timeout=30)]
    with pytest.raises(RefusedError, match="bytes are waiting already"):
        batcher.submit(double, x(*range(80)), timeout=30)
    waiting.append(batcher.submit(double, x(1), timeout=30))
    gate.open.set()
    for answer in waiting:
        answer.result(10)
    assert batcher.submit(files, of(900), timeout=30).result(10)["n"].tolist() == [b" " * 900]
    batcher.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_computes_nothing(double, gate):
    gate.open.set()
    batcher = Batcher(workers=1, max_batch=4, max_queue=8, on_batch=lambda rows: 1 / 0)
    batcher.submit(double, x(1), timeout=30)
    batcher.close()
    assert not batcher.alive
    assert batcher.idle


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "the input x is missing"),
        ({"x": np.zeros(1)}, "x is float64, but double takes float32"),
        (x(1) | {"y": np.zeros(1)}, "double has no input y; it has x"),
        ({"x": np.zeros((1, 1), np.float32)}, r"x has the shape \[1, 1\], but double takes \[-1\]"),
        ({"x": np.float32(1)}, r"x has the shape \[\], but double takes \[-1\]"),
    ],
)
def test_what_is_not_the_signature_s(batcher, double, tensors, words):
    with pytest.raises(RefusedError, match=words) as caught:
        batcher.submit(double, tensors, timeout=30)
    assert caught.value.status == 400


def test_what_was_cancelled_or_is_late_is_not_computed(batcher, double, gate, busy):
    cancelled = batcher.submit(double, x(1), timeout=30)
    late = batcher.submit(double, x(2), timeout=0)
    wanted = batcher.submit(double, x(3), timeout=30)
    assert cancelled.cancel()
    time.sleep(0.001)
    assert batcher.submit(double, x(4), timeout=30).cancel()
    gate.open.set()
    assert wanted.result(10)["y"].tolist() == [6]
    with pytest.raises(RefusedError) as caught:
        late.result(10)
    assert caught.value.status == 504
    assert gate.given == [[100], [3]]


def test_a_bad_request_fails_alone_and_is_told_its_own_places(batcher, gate, busy):
    def refuse(x):
        values = [float(value) for value in x]
        if -1 in values:
            raise tf.errors.InvalidArgumentError(None, None, f"assertion failed: [x[{values.index(-1)}]: is negative]")
        return {"y": x}

    signature = Signature("refuse", refuse, X, {})
    good, bad, large = (
        batcher.submit(signature, x(*values), timeout=30) for values in ([1], [2, -1], [1, 2, 3, 4, -1])
    )
    gate.open.set()
    assert good.result(10)["y"].tolist() == [1]
    for answer, message in ((bad, "x[1]: is negative"), (large, "x[4]: is negative")):
        with pytest.raises(RefusedError) as caught:
            answer.result(10)
        assert (caught.value.message, caught.value.code) == (message, "INVALID_ARGUMENT")


def test_a_bug_is_told_as_one_and_the_next_is_computed(batcher, double, gate, caplog):
    gate.open.set()
    broken = batcher.submit(Signature("broken", lambda x: 1 / 0, X, {}), x(1), timeout=30)
    with pytest.raises(RefusedError, match="the model failed") as caught:
        broken.result(10)
    assert caught.value.status == 500
    assert "ZeroDivisionError" in caplog.text
    assert batcher.submit(double, x(1), timeout=30).result(10)["y"].tolist() == [2]
    assert batcher.alive


def test_closing_computes_what_was_accepted(double, gate):
    batcher = Batcher(workers=1, max_batch=1, max_queue=8)
    answers = [batcher.submit(double, x(i), timeout=30) for i in range(4)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    assert gate.entered.acquire(timeout=10)
    while closing.is_alive():
        try:
            batcher.submit(double, x(9), timeout=30).cancel()
        except RefusedError as refused:
            assert refused.status == 503
            break
    gate.open.set()
    closing.join(10)
    assert [answer.result(0)["y"].tolist() for answer in answers] == [[0], [2], [4], [6]]
    assert not batcher.alive
