"""The proxy that an export brings, as nginx runs it, before a server of the model."""

import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
import urllib3
from serving import b64, free_port, jpeg

from kcolor.client import Client, ServerError
from kcolor.export import serving

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(not NGINX and not os.environ.get("CI"), reason="needs nginx (nginx-light)")

http = urllib3.PoolManager(retries=False)
ALICE = urllib3.make_headers(basic_auth="alice:open sesame")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, served):
    """Addresses of REST and gRPC."""
    folder = tmp_path_factory.mktemp("proxy")
    serving.write(folder, "tiny", size=64, classes=3, max_pixels=10_000)
    made = subprocess.run(
        ["openssl", "passwd", "-apr1", "-salt", "kcolor00", "open sesame"], capture_output=True, text=True, check=True
    )
    (folder / "users").write_text(f"alice:{made.stdout}")
    rest, grpc = free_port(), free_port()
    # Where the containers would have names, mounts and a user of their own.
    there = {
        "http://serving:8501": served.url,
        "grpc://serving:8500": f"grpc://{served.grpc}",
        "listen 8501": f"listen 127.0.0.1:{rest}",
        "listen 8500": f"listen 127.0.0.1:{grpc}",
        "/run/secrets/users": str(folder / "users"),
        "/tmp/nginx.pid": str(folder / "nginx.pid"),
        "/dev/stdout": str(folder / "access.log"),
        "/dev/stderr": str(folder / "error.log"),
    }
    text = (folder / "proxy.conf").read_text()
    for old, new in there.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "here.conf").write_text("daemon off;\n" + ("user root;\n" if os.geteuid() == 0 else "") + text)
    command = [NGINX, "-p", folder, "-e", folder / "error.log", "-c", folder / "here.conf"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(100):
                assert process.poll() is None, process.stderr.read()
                if (folder / "nginx.pid").exists():
                    break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{rest}", f"127.0.0.1:{grpc}"
        finally:
            process.terminate()


def ask(url: str, method: str = "GET", **options) -> tuple[int, dict]:
    reply = http.request(method, url, **options)
    return reply.status, json.loads(reply.data)


def test_who_has_no_password_is_told_so(proxy):
    reply = http.request("GET", f"{proxy[0]}/v1/models/tiny")
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Basic")
    assert json.loads(reply.data) == {"error": "a user name and a password are needed"}
    wrong = urllib3.make_headers(basic_auth="alice:open barley")
    assert ask(f"{proxy[0]}/v1/models/tiny", headers=wrong)[0] == 401


def test_who_has_one_is_answered(proxy):
    status, told = ask(f"{proxy[0]}/v1/models/tiny", headers=ALICE)
    assert (status, told["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    assert ask(f"{proxy[0]}/v1/models/tiny/versions/1/metadata", headers=ALICE)[0] == 200
    body = {"instances": [b64(jpeg()), b64(jpeg(seed=1))]}
    status, told = ask(f"{proxy[0]}/v1/models/tiny:predict", "POST", json=body, headers=ALICE)
    assert (status, len(told["predictions"])) == (200, 2)


def test_the_client_goes_through_it_both_ways(proxy):
    rest, grpc = proxy
    rgb = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    by_rest = Client(f"{rest}/v1/models/tiny".replace("://", "://alice:open%20sesame@"))(rgb)
    by_grpc = Client(f"grpc://alice:open%20sesame@{grpc}/tiny")(rgb)
    np.testing.assert_array_equal(by_rest, by_grpc)
    with pytest.raises(ServerError, match="wants a user and a password"):
        Client(f"grpc://{grpc}/tiny")(rgb)


@pytest.mark.parametrize("path", ["/metrics", "/v1/models/other", "/v1/models/tiny:regress", "/", "/v1/models/tinyx"])
def test_there_are_no_other_doors(proxy, path):
    status, told = ask(f"{proxy[0]}{path}", headers=ALICE)
    assert (status, told) == (404, {"error": "nothing here; ask /v1/models/tiny"})


def test_what_is_too_large_is_refused_before_it_is_sent(proxy):
    headers = {**ALICE, "Content-Length": str(45 << 20)}
    status, told = ask(f"{proxy[0]}/v1/models/tiny:predict", "POST", body=iter([b"{"]), headers=headers)
    assert status == 413
    assert "44 MiB" in told["error"]


def test_health_is_asked_without_a_password(proxy):
    assert ask(f"{proxy[0]}/healthz")[0] == 200


def test_a_refusal_of_the_model_goes_through(proxy):
    body = {"instances": [b64(b"text")]}
    status, told = ask(f"{proxy[0]}/v1/models/tiny:predict", "POST", json=body, headers=ALICE)
    assert status == 400
    assert "image_bytes[0]: not a JPEG, PNG, WebP or BMP" in told["error"]
