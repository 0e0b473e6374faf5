"""The client against real servers: REST and gRPC of kcolor serve, and of TensorFlow Serving where one is named."""

import base64
import io
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from command import Here, mistake
from made import colour
from PIL import Image
from serving import free_port, jpeg, serving, tiny

from kcolor import Colorizer, photo
from kcolor.client import Client, ServerError
from kcolor.errors import RunError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture(scope="module")
def server(model):
    with serving(model, "--grpc-port", free_port(), "--max-body", 4) as started:
        yield started


@pytest.fixture(scope="module", params=["rest", "grpc"])
def url(request, server):
    return f"{server.url}/v1/models/tiny" if request.param == "rest" else f"grpc://{server.grpc}/tiny"


def test_photographs_come_back_as_if_they_had_been_coloured_here(url, model):
    photographs = [np.asarray(colour(96, seed).resize((130 - 30 * seed, 90))) for seed in range(3)]
    photographs.append((np.random.default_rng(0).integers(0, 65536, (50, 40, 3))).astype(np.uint16))
    for made, expected in zip(Client(url)(photographs), Colorizer.load(model)(photographs), strict=True):
        assert made.dtype == expected.dtype
        np.testing.assert_array_equal(made, expected)


def test_what_a_file_has_is_kept(url, tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "grandmother", 6
    colour(96).resize((300, 200)).save(tmp_path / "a.jpg", exif=exif)
    photo.write(tmp_path / "b.jpg", Client(url)(tmp_path / "a.jpg", saturation=1.5))
    with Image.open(tmp_path / "b.jpg") as made:
        assert made.size == (200, 300)
        assert made.getexif()[0x010E] == "grandmother"


def test_every_signature(url):
    client = Client(url)
    files = [jpeg(64), jpeg(80, seed=1)]
    (first, second) = client.predict("serving_default", {"image_bytes": files})["colorized_bytes"]
    assert (Image.open(io.BytesIO(first)).size, Image.open(io.BytesIO(second)).size) == ((64, 64), (80, 80))
    quality = np.array([90, 20], np.int32)
    made = client.predict("jpeg", {"image_bytes": files, "quality": quality})["colorized_bytes"]
    assert [Image.open(io.BytesIO(each)).format for each in made] == ["JPEG", "JPEG"]
    answer = client.predict("classify", {"image_bytes": files})
    assert {name.decode() for name in answer["classes"][0]} == {"forest", "sea", "street"}
    np.testing.assert_allclose(answer["scores"].sum(axis=1), 1.0, atol=1e-5)


def test_a_long_photograph_travels_small(url):
    """Of 12 megapixels, by a server that takes 4 MB a request."""
    rgb = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3)).astype(np.uint8)
    assert Client(url)(rgb).shape == rgb.shape


@pytest.mark.parametrize(
    ("signature", "inputs", "why"),
    [
        ("serving_default", {"image_bytes": [jpeg(), b"text"]}, r"image_bytes\[1\]: not a JPEG, PNG, WebP or BMP"),
        ("serving_default", {"image_bytes": [b""]}, r"image_bytes\[0\]: no image: it is empty"),
        ("serving_default", {"photo": [jpeg()]}, "image_bytes"),
        ("ab", {"l": np.zeros((1, 32, 32, 1), np.float32)}, "32"),
        ("abc", {"l": np.zeros((1, 64, 64, 1), np.float32)}, "abc"),
    ],
)
def test_what_the_server_says_is_passed_on_in_one_line(url, signature, inputs, why):
    with pytest.raises(ServerError, match=why) as refused:
        Client(url).predict(signature, inputs)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(url)


@pytest.mark.parametrize("version", ["7", "1"])
def test_versions(url, version):
    client = Client(f"{url}/versions/{version}")
    if version == "1":
        assert client.colorizer().size == 64
        assert client.version == "1"
    else:
        with pytest.raises(ServerError, match="Servable not found"):
            client.colorizer()


@pytest.mark.parametrize(
    "address",
    ["small", "ftp://a/v1/models/small", "http://a:8501", "http://a/v1/models/", "http://a/v1/models/a/b", "grpc://a"],
)
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match="is like http://HOST:8501/v1/models/NAME or grpc://HOST:8500/NAME"):
        Client(address)


@pytest.mark.parametrize("kind", ["http://127.0.0.1:{}/v1/models/tiny", "grpc://127.0.0.1:{}/tiny"])
def test_no_server_there(kind, monkeypatch):
    monkeypatch.setattr("kcolor.client._FIRST_WAIT", 0.01)
    with pytest.raises(ServerError, match=r"cannot be reached.*is the"):
        Client(kind.format(free_port())).colorizer()


@pytest.mark.parametrize("kind", ["http://127.0.0.1:{}/v1/models/tiny", "grpc://127.0.0.1:{}/tiny"])
def test_a_server_that_does_not_answer(kind, monkeypatch):
    monkeypatch.setattr("kcolor.client._FIRST_WAIT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServerError, match=r"no answer within 0\.3 s"):
        Client(kind.format(silent.getsockname()[1]), timeout=0.3).colorizer()


class Scripted:
    """A server that answers what it is told to, one answer a request, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        answers, self.asked = list(answers), []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # and POST
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                status, body = answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


METADATA = b"""{"model_spec": {"name": "x", "version": "3"}, "metadata": {"signature_def": {"signature_def": {"ab":
{"inputs": {"l": {"tensor_shape": {"dim": [{"size": "-1"}, {"size": "64"}, {"size": "64"}, {"size": "1"}]}}}}}}}}"""


@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_passes_is_tried_again(status, monkeypatch):
    monkeypatch.setattr("kcolor.client._FIRST_WAIT", 0.01)
    with Scripted((status, b"{}"), (status, b""), (200, METADATA)) as server:
        assert Client(f"http://{server.host}/v1/models/x").colorizer().size == 64
        assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 504])
def test_what_does_not_pass_is_not(status, monkeypatch):
    with Scripted((status, b'{"error": "it is so"}')) as server:
        with pytest.raises(ServerError, match="wants a user" if status == 401 else "it is so"):
            Client(f"http://{server.host}/v1/models/x").colorizer()
        assert len(server.asked) == 1


def test_a_server_that_stays_full(monkeypatch):
    monkeypatch.setattr("kcolor.client._FIRST_WAIT", 0.01)
    with Scripted(*[(429, b'{"error": "rows are waiting"}')] * 5) as server:
        with pytest.raises(ServerError, match=r"no room.*rows are waiting.*try later"):
            Client(f"http://{server.host}/v1/models/x").colorizer()
        assert len(server.asked) == 5


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"a": 1}', METADATA.replace(b'"ab"', b'"other"')])
def test_another_kind_of_server(body):
    with Scripted((200, body)) as server, pytest.raises(ServerError, match=r"not"):
        Client(f"http://{server.host}/v1/models/x").colorizer()


@pytest.mark.parametrize(("written", "password"), [("p%40ss", "p@ss"), ("p%E2%82%ACss", "p€ss"), ("päss", "päss")])
def test_user_and_password_are_sent_and_not_shown(written, password):
    with Scripted((200, METADATA), (404, b"")) as server:
        client = Client(f"http://alice:{written}@{server.host}/v1/models/x")
        assert client.colorizer().size == 64
        sent = server.asked[0][1]["authorization"].removeprefix("Basic ")
        assert base64.b64decode(sent).decode() == f"alice:{password}"
        with pytest.raises(ServerError) as refused:
            client.predict("ab", {})
    for shown in (client.url, str(refused.value)):
        assert "ss@" not in shown
        assert "alice" not in shown


@pytest.mark.parametrize(
    "address", ["htp://alice:secret@a/v1/models/x", "grpc://alice:se/cret@a/x", "http://a:se#cret@a/x"]
)
def test_a_password_in_a_wrong_address_is_not_shown(address):
    with pytest.raises(ValueError, match="is like http") as refused:
        Client(address)
    assert "cret" not in str(refused.value)


def test_the_version_that_was_found_is_asked_from_then_on():
    answer = b'{"error": "no such version"}'
    with Scripted((200, METADATA), (404, answer)) as server:
        colorizer = Client(f"http://{server.host}/v1/models/x").colorizer()
        with pytest.raises(ServerError, match="no such version"):
            colorizer.outputs(np.zeros((1, 64, 64, 1), np.float32))
        assert [path for path, _ in server.asked] == ["/v1/models/x/metadata", "/v1/models/x/versions/3:predict"]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"outputs": {"other": [1.0]}}',
        b'{"outputs": {"ab": [[1.0], 2.0]}}',
        b'{"outputs": {"ab": [{"x": 1}]}}',
        b'{"outputs": {"ab": [[[[0.0, 0.0]]]]}}',
        b'{"predictions": [1]}',
        b'{"outputs": 3}',
    ],
)
def test_colours_that_are_none(answer):
    with Scripted((200, METADATA), (200, answer), (200, METADATA)) as server:
        colorizer = Client(f"http://{server.host}/v1/models/x").colorizer()
        with pytest.raises(ServerError, match=r"gives no colours|answer is not"):
            colorizer.outputs(np.zeros((1, 64, 64, 1), np.float32))


def test_a_broken_model_is_called_one():
    colours = json.dumps({"outputs": {"ab": np.full((1, 64, 64, 2), np.nan).tolist()}}).encode()
    with Scripted((200, METADATA), (200, colours)) as server, pytest.raises(RunError, match="gives NaN"):
        Client(f"http://{server.host}/v1/models/x")(np.zeros((70, 70, 3), np.uint8))


def test_a_signature_is_looked_up_once(server):
    client = Client(f"{server.url}/v1/models/tiny")
    asked = []
    call = client._transport._ask
    client._transport._ask = lambda method, *rest: asked.append(method) or call(method, *rest)
    for _ in range(3):
        client.predict("ab", {"l": np.zeros((1, 64, 64, 1), np.float32)})
    assert asked.count("POST") == 3
    assert asked.count("GET") == 1


def test_grpc_by_ipv6(monkeypatch):
    monkeypatch.setattr("kcolor.client._FIRST_WAIT", 0.01)
    with pytest.raises(ServerError, match="cannot be reached") as refused:
        Client(f"grpc://[::1]:{free_port()}/x").colorizer()
    assert "Misformatted" not in str(refused.value)


@pytest.fixture
def here(capsys, monkeypatch) -> Here:
    return Here(capsys, monkeypatch)


def test_colorize_by_a_server(url, model, tmp_path, here):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(10):
        colour(70, seed).convert("L").save(folder / f"{seed}.png")
    here("colorize", folder, "--server", url, "-o", "there", cwd=tmp_path)
    here("colorize", folder, "--model", model, "-o", "here", cwd=tmp_path)
    for seed in range(10):
        there, own = (np.asarray(Image.open(tmp_path / place / f"{seed}.png")) for place in ("there", "here"))
        np.testing.assert_array_equal(there, own)
        assert np.ptp(there, axis=-1).max() > 0
    _, told = here("colorize", folder, "--server", url, "-o", "there", cwd=tmp_path)
    assert "10 skipped" in told


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ["--server", "nowhere"],
            "--server nowhere: no address of a model; one is like http://HOST:8501/v1/models/NAME",
        ),
        (["--server", "http://127.0.0.1:1/v1/models/x"], "cannot be reached; is the server started"),
        (["--server", "http://a/v1/models/x", "--model", "small"], "--server: the model is its own"),
    ],
)
def test_colorize_says_what_is_wrong_with_a_server(options, why, tmp_path, here, monkeypatch):
    monkeypatch.setattr("kcolor.client._FIRST_WAIT", 0.01)
    colour(70).save(tmp_path / "a.png")
    _, error = here("colorize", "a.png", *options, "-o", "out", cwd=tmp_path, status=2)
    assert why in mistake(error)
    assert not (tmp_path / "out").exists()
