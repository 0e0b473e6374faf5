"""The server: limits, time-outs, hang-ups, many at once, starting and stopping; over real sockets."""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import urllib3
from command import kcolor as command
from command import mistake
from serving import Gate, around, ask, b64, jpeg, png, pool, serving

import kcolor
from kcolor import signatures
from kcolor.colorizer import load_generator
from kcolor.errors import RunError
from kcolor.export import saved_model
from kcolor.photo import has_note
from kcolor.serve import model, protocol, server

PREDICT = "/v1/models/double:predict"


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def send(url: str, head: str, *parts: bytes) -> bytes:
    """What comes back for a request written by hand, until the server hangs up."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        for part in parts:
            connection.sendall(part)
        reply = b""
        while data := connection.recv(65536):
            reply += data
        return reply


def wait_until(condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def waiting(url: str) -> int:
    page = pool.request("GET", f"{url}/metrics").data.decode()
    return int(float(re.search(r"^kcolor_rows_waiting (\S+)$", page, re.MULTILINE)[1]))


def test_more_than_the_queue_holds_is_refused(gate):
    with around(gate) as url, ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask, url + PREDICT, {"instances": [1]})
        assert gate.entered.acquire(timeout=10)
        second = threads.submit(ask, url + PREDICT, {"instances": [2, 3, 4, 5]})
        wait_until(lambda: waiting(url) == 4)
        full = pool.request("POST", url + PREDICT, json={"instances": [6]})
        assert full.status == 429
        assert full.json() == {"error": "4 rows are waiting already; try again later"}
        assert full.headers["Retry-After"] == "1"
        status, said = ask(url + PREDICT, {"instances": [1] * 5})
        assert (status, said["error"]) == (400, "5 rows in one call, of which this server takes 4; send them apart")
        gate.open.set()
        assert first.result() == (200, {"predictions": [2.0]})
        assert second.result() == (200, {"predictions": [4.0, 6.0, 8.0, 10.0]})


def test_a_time_out_is_told_and_what_has_waited_too_long_is_not_computed(gate):
    with around(gate, timeout=0.3) as url:
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda i: ask(url + PREDICT, {"instances": [i]}), range(2)))
        assert [status for status, _ in answers] == [504, 504]
        assert "no answer within the time" in answers[0][1]["error"]
        gate.open.set()
        assert ask(url + PREDICT, {"instances": [9]})[0] == 200
        assert len(gate.given) == 2  # the first, which was begun, and the last


def test_what_a_client_who_hung_up_wanted_is_not_computed(gate):
    with around(gate) as url, ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask, url + PREDICT, {"instances": [1]})
        assert gate.entered.acquire(timeout=10)
        client = http.client.HTTPConnection(urlsplit(url).netloc)
        client.request("POST", PREDICT, json.dumps({"instances": [2, 3]}))
        wait_until(lambda: waiting(url) == 2)
        client.close()
        wait_until(lambda: 'code="499"' in pool.request("GET", f"{url}/metrics").data.decode())
        gate.open.set()
        assert first.result()[0] == 200
        assert ask(url + PREDICT, {"instances": [4]}) == (200, {"predictions": [8.0]})
        assert gate.given == [[1], [4]]


def test_bodies_that_are_too_large_are_refused_before_they_are_read(gate):
    with around(gate) as url:
        head = f"POST {PREDICT} HTTP/1.1\nHost: x\nConnection: close\n"
        reply = send(url, f"{head}Content-Length: 300000000\nExpect: 100-continue")
        assert reply.startswith(b"HTTP/1.1 413")
        assert b"larger than 10,000 bytes; send fewer or smaller pictures" in reply
        reply = send(url, f"{head}Transfer-Encoding: chunked", *[b"800\r\n" + b" " * 2048 + b"\r\n"] * 5)
        assert reply.startswith(b"HTTP/1.1 413")
        status, said = ask(url + PREDICT, method="POST", body=b"\0" * 20_000_000)
        assert status == 413
        assert "10,000" in said["error"]


def test_all_bodies_together_are_bounded(gate):
    gate.open.set()
    with around(gate) as url:
        address = urlsplit(url)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode()
        others = [socket.create_connection((address.hostname, address.port)) for _ in range(5)]
        for other in others:
            other.sendall(head + b" " * 9000)
        assert others[-1].recv(20).startswith(b"HTTP/1.1 429")
        for other in others:
            other.close()
        wait_until(lambda: ask(url + PREDICT, {"instances": [1] + [0] * 3})[0] == 200)


def test_a_body_that_does_not_come_is_not_waited_for(gate):
    with around(gate, timeout=0.2) as url:
        reply = send(url, f"POST {PREDICT} HTTP/1.1\nHost: x\nContent-Length: 100", b'{"instances":')
        assert reply.startswith(b"HTTP/1.1 408")
        assert b"the body took longer than 0.2 s" in reply
        assert gate.given == []


def test_a_head_that_does_not_end_is_not_waited_for(gate, monkeypatch):
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.2)
    with around(gate) as url:
        for begun in ("", "GET /healthz HTTP/1.1\nHost: "):
            address = urlsplit(url)
            with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
                connection.sendall(begun.encode())
                assert connection.recv(65536).startswith(b"HTTP/1.1 400")
        # A connection that is kept, and a request after the time that the first had.
        with urllib3.HTTPConnectionPool(urlsplit(url).netloc, maxsize=1) as one:
            for _ in range(2):
                assert one.request("GET", "/healthz").status == 200
                time.sleep(0.3)
            assert one.num_connections == 1


@pytest.mark.parametrize("head", ["GET /", "GET / HTTP/1.1\r\nHost: x\r\nCookie: ", "GET / HTTP/1.1\r\n"])
def test_a_head_that_is_too_large_is_refused(gate, head):
    with around(gate) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(head.encode())
            reply = b""
            try:
                for i in range(1000):
                    connection.sendall(f"x-{i}: y\r\n".encode() * 1000 if head.endswith("\n") else b"x" * 10_000)
                reply = connection.recv(65536)
            except ConnectionError:
                pass
            assert reply == b"" or reply.startswith(b"HTTP/1.1 400")
        assert pool.request("GET", f"{url}/healthz").status == 200


def await_health(connection: socket.socket) -> None:
    reply = b""
    while b'"status":"ok"' not in reply:
        reply += (data := connection.recv(65536))
        assert data


CHUNKED = "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("behind", [b"x: y\r\n" * 2000, b"z" * 10_000])
@pytest.mark.parametrize("line", ["GET /healthz HTTP/1.1", f"POST {PREDICT} HTTP/1.1"])
def test_what_is_behind_a_body_in_chunks_is_bounded(gate, line, behind):
    with around(gate) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(f"{line}\r\n{CHUNKED}1\r\n \r\n0\r\n".encode())
            if "healthz" in line:
                await_health(connection)
            connection.sendall(b"" if behind.startswith(b"x") else b"x: ")
            with pytest.raises(ConnectionError):
                for _ in range(5000):
                    connection.sendall(behind)
        assert gate.given == []


def test_what_an_answered_request_still_sends_has_to_end(gate, monkeypatch):
    monkeypatch.setattr(protocol, "_REST_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.3)
    with around(gate, timeout=1.0) as url:
        address = urlsplit(url)
        whole = "Host: x\r\n\r\n"
        begun = f"{CHUNKED}1\r\n \r\n", f"{CHUNKED}0\r\nx: ", "Host: x\r\nContent-Length: 9\r\n\r\n "
        for rest in (*begun, whole):
            with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\n" + rest.encode())
                await_health(connection)
                connection.sendall(b"\r\n" if rest == whole else b"y")  # so that it is not idle
                assert connection.recv(65536)[:12] in (b"", b"HTTP/1.1 400")
        # A body that the application waits for has the application's time.
        reply = send(url, f"POST {PREDICT} HTTP/1.1\nHost: x\nContent-Length: 100", b'{"instances":')
        assert reply.startswith(b"HTTP/1.1 408")


@pytest.fixture
def lost(monkeypatch):
    """Set when the server gives up a connection or sees it end."""
    connection_lost, lost = protocol.Protocol.connection_lost, threading.Event()

    def told(self, error):
        connection_lost(self, error)
        lost.set()

    monkeypatch.setattr(protocol.Protocol, "connection_lost", told)
    return lost


def ask_for_much(url: str) -> socket.socket:
    """A connection with an answer on its way that is larger than what the system holds of it."""
    address, body = urlsplit(url), b'{"instances": [1]}'
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.settimeout(30)
    connection.connect((address.hostname, address.port))
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def much(x) -> dict[str, np.ndarray]:
    return {"y": np.ones((len(x), 3_000_000), np.float32)}


def test_an_answer_that_nobody_reads_is_given_up(lost, monkeypatch):
    monkeypatch.setattr(protocol, "_WRITE_SECONDS", 0.2)
    with around(much) as url, ask_for_much(url):
        assert lost.wait(20)


def test_an_answer_that_is_read_slowly_is_not(lost, monkeypatch):
    monkeypatch.setattr(protocol, "_WRITE_SECONDS", 1.0)
    with around(much) as url, ask_for_much(url) as connection:
        reply = b""
        while data := connection.recv(65536):
            reply += data
            time.sleep(0.015)
        assert reply.endswith(b"]\n}") or reply.endswith(b"]}")
        assert reply.count(b"1.0") == 3_000_000


def test_the_end_of_an_answer_does_not_wait_for_its_beginning_to_be_acknowledged(gate, monkeypatch):
    made, seen = protocol.Protocol.connection_made, []

    def watched(self, transport):
        made(self, transport)
        option = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        seen.append(option)

    monkeypatch.setattr(protocol.Protocol, "connection_made", watched)
    with around(gate) as url:
        assert urllib3.request("GET", f"{url}/healthz").status == 200
    assert seen == [1]


def test_compressed_bodies_are_refused(gate):
    with around(gate) as url:
        status, said = ask(url + PREDICT, {"instances": [1]}, headers={"Content-Encoding": "gzip"})
        assert status == 415
        assert "without a Content-Encoding" in said["error"]


def test_each_gets_its_own_answer(served):
    """Many clients at once, each with photos of sizes and shades of its own; compared with the answer to it alone."""
    photos = [png(20 + i, i) for i in range(12)]
    url = f"{served.url}/v1/models/tiny:predict"

    def colour(i: int) -> str:
        status, said = ask(url, {"instances": [b64(photos[i % 12])]})
        assert status == 200
        return said["predictions"][0]["b64"]

    alone = [colour(i) for i in range(12)]
    assert len(set(alone)) == 12
    with ThreadPoolExecutor(24) as threads:
        together = list(threads.map(colour, range(120)))
    assert together == [alone[i % 12] for i in range(120)]
    rows = re.search(r"kcolor_batch_rows_sum (\S+)", pool.request("GET", f"{served.url}/metrics").data.decode())
    assert float(rows[1]) >= 132


def test_a_thousand_pictures_in_one_call_and_memory_comes_back(served):
    url = f"{served.url}/v1/models/tiny:predict"
    photos = [jpeg(16, i) for i in range(10)]
    status = Path(f"/proc/{served.process.pid}/status")

    def resident() -> float:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1]) / 1024

    ask(url, {"instances": [b64(photos[0])] * 100})
    before = resident()
    code, said = ask(url, {"instances": [b64(photo) for photo in photos] * 100})
    assert code == 200
    assert len(said["predictions"]) == 1000
    assert said["predictions"][0] == said["predictions"][990] != said["predictions"][1]
    assert ask(url, {"instances": ["x"] * 1001})[0] == 400
    assert ask(url, method="POST", body=b'{"instances": [' * 250_000)[0] == 400
    assert ask(url, method="POST", body=b"\0" * 300_000_000)[0] == 413
    wait_until(lambda: resident() < before + 40)


def test_the_page_and_what_stands_beside_it(served):
    said = pool.request("GET", f"{served.url}/config.json").json()
    assert has_note(said.pop("note").encode())
    assert said == {
        "kcolor": kcolor.__version__,
        "name": "tiny",
        "size": 64,
        "engine": "server",
        "predict": "v1/models/tiny:predict",
        "classes": ["forest", "sea", "street"],
    }
    page = pool.request("GET", served.url + "/")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert pool.request("GET", f"{served.url}/healthz").json() == {"status": "ok", "model": "tiny"}
    status, said = ask(f"{served.url}/nowhere", method="GET")
    assert (status, said["error"]) == (404, "nothing is at /nowhere; the API is at /v1/models/tiny")


def test_the_page_is_served_where_there_is_one(tmp_path, gate):
    (tmp_path / "index.html").write_text("<p>the page")
    (tmp_path / "page.js").write_text("1")
    with around(gate, web=tmp_path) as url:
        assert pool.request("GET", url + "/").data == b"<p>the page"
        headers = pool.request("GET", f"{url}/page.js").headers
        assert "javascript" in headers["Content-Type"]
        assert headers["Cache-Control"] == "no-cache"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert pool.request("GET", f"{url}/config.json").json()["name"] == "double"
        assert pool.request("GET", f"{url}/../serve/app.py").status == 404


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_model) -> Path:
    """A folder of versions of a SavedModel, 2 and 10, of which the second is that model."""
    generator = load_generator(tiny_model)
    folder = tmp_path_factory.mktemp("exports") / "saved"
    saved_model.write_functions(generator, folder / "10", signatures.of(generator, ["forest", "sea", "street"]))
    (folder / "2").mkdir()
    (folder / "2" / "saved_model.pb").write_bytes(b"of another time")
    return folder


def test_a_saved_model_answers_as_the_model_it_is_of(exported, served):
    saved, photo = model.load(exported), png(50)
    assert (saved.name, saved.version, saved.size) == ("saved", 10, 64)
    assert model.load(exported / "10").name == "saved"
    answer = ask(f"{served.url}/v1/models/tiny:predict", {"instances": [b64(photo)]})[1]["predictions"][0]
    made = saved.signature("")({"image_bytes": np.array([photo], object)})
    assert b64(made["colorized_bytes"][0]) == answer
    assert set(saved.signatures) == {"serving_default", "jpeg", "ab", "classify"}
    assert list(saved.signatures["jpeg"].inputs) == ["image_bytes", "quality"]
    assert set(saved.signatures["classify"].outputs) == {"classes", "scores"}


def test_sigterm_ends_it_once_what_was_accepted_is_answered(exported):
    with serving(exported, "--workers", 1, "--batch", 1) as server:
        url = f"{server.url}/v1/models/saved/versions/10:predict"
        # Too much to be done before the signal comes.
        document = {"instances": [b64(png(256))] * 4}
        with ThreadPoolExecutor(4) as threads:
            answers = [threads.submit(ask, url, document) for _ in range(4)]
            wait_until(lambda: waiting(server.url) >= 8)
            server.process.send_signal(signal.SIGTERM)
            assert [answer.result()[0] for answer in answers] == [200] * 4
        assert server.process.wait(20) == 0
        assert server.process.stderr.read() == ""
        with pytest.raises(OSError):
            socket.create_connection(urlsplit(server.url).netloc.split(":"))


def test_a_port_in_use_is_one_line(tiny_model, served):
    port = urlsplit(served.url).port
    done = subprocess.run(
        [sys.executable, "-m", "kcolor", "serve", tiny_model, "--port", str(port)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (f"kcolor: 127.0.0.1:{port}: Address already in use; choose another --port or --host\n")


def test_what_cannot_be_served(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"")
    with pytest.raises(RunError, match=r"a .tflite takes no photos; serve the run"):
        model.load(tmp_path / "model.tflite")
    with pytest.raises(RunError, match="no such run or model"):
        model.load(tmp_path / "none")
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(RunError, match="not a SavedModel of kcolor export"):
        model.load(tmp_path)
    with pytest.raises(RunError, match="keeps the limit of pixels"):
        model.load(tmp_path, max_pixels=5)


def test_a_site_has_the_browser_do_the_work_and_the_server_where_it_cannot(tmp_path, gate):
    (tmp_path / "index.html").write_text("<p>the page")
    told = {"name": "doubled", "size": 8, "engine": "browser", "model": "model.tflite", "version": "abc", "classes": []}
    (tmp_path / "config.json").write_text(json.dumps(told))
    with around(gate, web=tmp_path) as url:
        said = pool.request("GET", f"{url}/config.json").json()
    assert told.items() <= said.items()
    assert said["predict"] == "v1/models/double:predict"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "it has no config.json"),
        (b"size", "its config.json is no JSON"),
        (b"\xff", "its config.json is no JSON"),
        (b"[1]", "does not say what size"),
        (b"{}", "does not say what size"),
        (b'{"size": "64"}', "does not say what size"),
    ],
)
def test_a_site_is_looked_at_before_the_model(tmp_path, content, why):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with socket.socket() as unused, pytest.raises(RunError, match=f"not a site of kcolor export --web .*{why}"):
        server.serve(tmp_path / "none", unused, site=tmp_path)


def test_the_limit_of_pixels_may_be_less_than_the_network_s_square(tiny_model):
    small = model.load(tiny_model, max_pixels=100)
    model.warm(small)
    photos = small.signature("")({"image_bytes": np.array([png(10)], object)})
    assert photos["colorized_bytes"][0].startswith(b"\x89PNG")


def test_a_name_that_cannot_stand_in_an_address(tmp_path, tiny_model):
    for name in ("a/b", "a:b", "", "..", "a b"):
        with pytest.raises(RunError, match="no name for a model on a server"):
            model.load(tmp_path / "none", name=name)
    with pytest.raises(RunError, match=r"a:b: no name for a model on a server: .* \(--name\)"):
        model.load(Path(shutil.copy(tiny_model, tmp_path / "a:b.keras")))


def test_a_site_that_is_none_or_of_another_network(tmp_path, tiny_model):
    folder = tmp_path / "site"
    for content, why in (
        (None, "not a site of kcolor export --web"),
        ('{"size": 128}', "takes 128 pixels, and tiny 64"),
    ):
        if content:
            folder.mkdir()
            (folder / "config.json").write_text(content)
        _, error = command("serve", tiny_model, "--port", 0, "--site", folder, cwd=tmp_path, status=2)
        assert why in mistake(error)
