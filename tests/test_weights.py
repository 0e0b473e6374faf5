import hashlib
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import pytest
from filelock import FileLock
from keras.src.applications import vgg16
from standins import keras_vgg16

from kcolor import weights
from kcolor.cli.weights import WEIGHTS
from kcolor.errors import DataError
from kcolor.weights import CATALOGUE, Weights

CONTENT = bytes(range(256)) * 4096 + b"the end"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


class Server(ThreadingHTTPServer):
    """Serves one file on the loopback, as well or as badly as a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.headers: dict[str, str] = {"ETag": '"first"'}
        self.ranges = True  # whether it knows of ranges
        self.cut: int | None = None  # bytes after which it hangs up
        self.stall: int | None = None  # bytes after which it says nothing more, until `released`
        self.status: int | None = None  # what it answers instead of the file
        self.length: int | None = None  # what it says the length is; -1: nothing
        self.content_range: str | None = None  # what it says instead of the range it sends
        self.released = threading.Event()
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, request, client_address) -> None:
        """A client that is killed is no error here."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(dict(self.headers))
        body, status, headers = server.content, server.status or 200, dict(server.headers)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if server.status is None and server.ranges and wanted and condition in (None, *server.headers.values()):
            start = int(wanted[1])
            if start >= len(body):
                status, body = 416, b""
                headers["Content-Range"] = f"bytes */{len(server.content)}"
            else:
                status, body = 206, body[start:]
                headers["Content-Range"] = f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            if server.content_range:
                headers["Content-Range"] = server.content_range
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if server.length != -1:
            self.send_header("Content-Length", str(len(body) if server.length is None else server.length))
        self.end_headers()
        self.wfile.write(body[: server.cut if server.stall is None else server.stall])
        if server.stall is not None:
            self.wfile.flush()
            server.released.wait(20)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def entry(server) -> Weights:
    return Weights("thing", "thing.bin", server.url, len(CONTENT), SHA256, "MIT", "a thing", "tests")


@pytest.fixture
def unhashed(entry) -> Weights:
    """As the Inception: with a size, without a published hash."""
    return replace(entry, sha256=None)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"thing.bin.lock"}


def cut_short(server, entry, folder, at=HALF) -> None:
    """Leave a download that broke off."""
    server.cut = at
    with pytest.raises(DataError, match="broke off"):
        weights.fetch(entry, folder)
    server.cut = None
    assert weights.status(entry, folder) == f"partly here: {at} bytes"


def touched(path: Path) -> None:
    """As if it had been written a second later."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))


def archive(path: Path, name="./classify_image_graph_def.pb") -> Path:
    with tarfile.open(path, "w:gz") as made:
        for member in ("./LICENSE", name, "./cropped_panda.jpg"):
            info = tarfile.TarInfo(member)
            info.size = 20_000
            made.addfile(info, io.BytesIO(hashlib.sha256(member.encode()).digest() * 625))
    return path


def safetensors(path: Path, name="features.0.weight") -> Path:
    header = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    return path


def without_classes(path: Path) -> Path:
    with h5py.File(keras_vgg16(path), "a") as file:
        del file["predictions"]
    return path


def test_the_catalogue():
    assert list(CATALOGUE) == WEIGHTS == ["inception", "vgg16", "vgg16-imagenet"]
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.url.startswith("http")
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.md5 is None or re.fullmatch("[0-9a-f]{32}", entry.md5)
        assert weights.path_of(entry) == weights.folder() / entry.file
        assert weights.status(entry) == "absent"
        assert weights.find(entry) is None


def test_the_classifier_is_the_one_that_keras_takes():
    entry = CATALOGUE["vgg16-imagenet"]
    assert entry.url == vgg16.WEIGHTS_PATH
    assert entry.md5 in inspect.getsource(vgg16.VGG16)


def test_where_the_files_are(cache):
    assert weights.folder() == cache / "kcolor" / "weights"


def test_it_starts_without_what_is_slow():
    code = "import sys, kcolor.weights; sys.exit(bool({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_is_fetched(server, entry, tmp_path):
    folder = tmp_path / "deep" / "weights"
    seen = []
    taken = weights.fetch(entry, folder, on_progress=lambda *progress: seen.append(progress))
    assert taken == (entry, folder / "thing.bin", None)
    assert taken.path.read_bytes() == CONTENT
    assert weights.status(entry, folder) == "here"
    assert weights.find(entry, folder) == taken.path
    assert names(folder) == {"thing.bin", "thing.bin.json"}
    done = [progress[0] for progress in seen]
    assert done == sorted(set(done))
    assert (done[0], done[-1]) == (0, len(CONTENT))
    assert len(done) > 2
    assert {progress[1] for progress in seen} == {len(CONTENT)}


def test_what_is_here_is_not_fetched_again(server, entry, tmp_path):
    weights.fetch(entry, tmp_path)
    before = weights.path_of(entry, tmp_path).stat()
    assert weights.fetch(entry, tmp_path) == (entry, tmp_path / "thing.bin", None)
    assert len(server.asked) == 1
    assert weights.path_of(entry, tmp_path).stat() == before


def test_another_address(server, entry, tmp_path):
    weights.fetch(replace(entry, url="http://nowhere.invalid/"), tmp_path, url=server.url)
    assert weights.find(entry, tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "/etc/hostname", "ftp://127.0.0.1/a", "example.com/a"])
def test_an_address_that_is_not_of_the_web(entry, tmp_path, url):
    with pytest.raises(DataError, match="not an address"):
        weights.fetch(entry, tmp_path / "none", url=url)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"first"'}, '"first"'),
        ({"Last-Modified": "Sat, 05 Dec 2015 00:00:00 GMT"}, "Sat, 05 Dec 2015 00:00:00 GMT"),
        ({"ETag": 'W/"weak"', "Last-Modified": "Sat, 05 Dec 2015 00:00:00 GMT"}, "Sat, 05 Dec 2015 00:00:00 GMT"),
        ({}, None),
    ],
)
def test_a_download_goes_on_where_it_broke_off(server, entry, tmp_path, headers, condition):
    server.headers = headers
    server.cut = HALF
    with pytest.raises(DataError) as broken:
        weights.fetch(entry, tmp_path)
    message = str(broken.value)
    assert message.startswith(f"thing: the download from {server.url} broke off")
    assert f"{HALF} of {len(CONTENT)} bytes are here: run it again" in message
    assert weights.status(entry, tmp_path) == f"partly here: {HALF} bytes"
    assert weights.find(entry, tmp_path) is None
    assert (tmp_path / "thing.bin.part").read_bytes() == CONTENT[:HALF]
    server.cut, seen = None, []
    weights.fetch(entry, tmp_path, on_progress=lambda *progress: seen.append(progress))
    assert (server.asked[1].get("Range"), server.asked[1].get("If-Range")) == (f"bytes={HALF}-", condition)
    assert (seen[0], seen[-1]) == ((HALF, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert weights.path_of(entry, tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == {"thing.bin", "thing.bin.json"}


def test_it_breaks_off_more_than_once(server, entry, tmp_path):
    for _ in range(3):
        server.cut = 200_000
        with pytest.raises(DataError, match="broke off"):
            weights.fetch(entry, tmp_path)
    server.cut = None
    weights.fetch(entry, tmp_path)
    assert [asked.get("Range") for asked in server.asked] == [
        None, "bytes=200000-", "bytes=400000-", "bytes=600000-",
    ]  # fmt: skip
    assert weights.find(entry, tmp_path)


def test_a_file_that_has_changed_since_is_fetched_from_its_start(server, entry, tmp_path):
    server.content = CONTENT[::-1]
    cut_short(server, entry, tmp_path)
    server.content, server.headers = CONTENT, {"ETag": '"second"'}
    weights.fetch(entry, tmp_path)
    assert server.asked[1]["If-Range"] == '"first"'
    assert weights.path_of(entry, tmp_path).read_bytes() == CONTENT


def test_a_server_that_knows_of_no_ranges(server, entry, tmp_path):
    server.ranges = False
    cut_short(server, entry, tmp_path)
    seen = []
    weights.fetch(entry, tmp_path, on_progress=lambda *progress: seen.append(progress[0]))
    assert server.asked[1]["Range"] == f"bytes={HALF}-"
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert weights.path_of(entry, tmp_path).read_bytes() == CONTENT


def test_without_a_hash_or_a_validator_nothing_is_joined(server, unhashed, tmp_path):
    server.headers = {}
    cut_short(server, unhashed, tmp_path)
    weights.fetch(unhashed, tmp_path)
    assert "Range" not in server.asked[1]
    assert weights.path_of(unhashed, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("content_range", ["bytes 0-9/10", "bytes 7-", "lines 1-2/3", f"bytes {HALF - 1}-{HALF}/*"])
def test_a_range_that_was_not_asked_for(server, entry, tmp_path, content_range):
    cut_short(server, entry, tmp_path)
    server.content_range = content_range
    weights.fetch(entry, tmp_path)
    assert weights.path_of(entry, tmp_path).read_bytes() == CONTENT


def test_what_is_more_than_there_is_starts_again(server, entry, tmp_path):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT + b"and more")
    weights.fetch(entry, tmp_path)
    assert [asked.get("Range") for asked in server.asked] == [f"bytes={len(CONTENT) + 8}-", None]
    assert weights.path_of(entry, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("size", "requests"), [(len(CONTENT), 0), (None, 1)])
def test_a_download_that_was_stopped_before_it_was_checked(server, entry, tmp_path, size, requests):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT)
    weights.fetch(replace(entry, bytes=size), tmp_path)
    assert len(server.asked) == requests
    assert weights.path_of(entry, tmp_path).read_bytes() == CONTENT


def test_a_process_that_was_killed_is_gone_on_from(server, entry, tmp_path):
    server.stall = HALF
    code = f"from pathlib import Path; from kcolor.weights import *; fetch({entry!r}, Path({str(tmp_path)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "thing.bin.part"
    try:
        limit = time.monotonic() + 20
        while not part.exists() or part.stat().st_size < HALF - 2 * weights.BLOCK:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        with pytest.raises(DataError, match="another process is fetching"):
            weights.fetch(entry, tmp_path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    server.stall = None
    kept = part.stat().st_size
    assert weights.status(entry, tmp_path) == f"partly here: {kept} bytes"
    weights.fetch(entry, tmp_path)
    assert server.asked[-1]["Range"] == f"bytes={kept}-"
    assert weights.path_of(entry, tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == {"thing.bin", "thing.bin.json"}


def test_a_server_that_falls_silent(server, entry, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "TIMEOUT", 0.2)
    server.stall = HALF
    with pytest.raises(DataError, match=r"broke off \(timed out\)"):
        weights.fetch(entry, tmp_path)
    assert (tmp_path / "thing.bin.part").read_bytes() == CONTENT[:HALF]


def test_a_byte_is_wrong(server, entry, tmp_path):
    server.content = CONTENT[:1000] + b"?" + CONTENT[1001:]
    with pytest.raises(DataError) as refused:
        weights.fetch(entry, tmp_path)
    assert SHA256 in str(refused.value)
    assert hashlib.sha256(server.content).hexdigest() in str(refused.value)
    assert names(tmp_path) == set()
    assert weights.status(entry, tmp_path) == "absent"


def test_halves_of_two_files_are_not_kept(server, entry, tmp_path):
    """A server that gives a changed file the old tag."""
    cut_short(server, entry, tmp_path)
    server.content = CONTENT[::-1]
    with pytest.raises(DataError, match=r"its sha256 is"):
        weights.fetch(entry, tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_length_that_is_too_great(server, entry, tmp_path, size):
    server.length = len(CONTENT) + 5
    entry = replace(entry, bytes=size)
    with pytest.raises(DataError, match=f"{len(CONTENT) + 5} bytes" if size else "broke off"):
        weights.fetch(entry, tmp_path)
    assert weights.find(entry, tmp_path) is None


def test_a_length_that_is_too_small(server, entry, tmp_path):
    server.length = 1000
    for size, why in ((len(CONTENT), "1000 bytes, while thing.bin has"), (None, "its sha256 is")):
        with pytest.raises(DataError, match=why):
            weights.fetch(replace(entry, bytes=size), tmp_path)
    assert names(tmp_path) == set()


def test_no_length_at_all(server, entry, unhashed, tmp_path):
    server.length, seen = -1, []
    weights.fetch(replace(entry, bytes=None), tmp_path / "a", on_progress=lambda *progress: seen.append(progress[1]))
    assert set(seen) == {None}
    assert weights.find(entry, tmp_path / "a")
    server.cut = HALF
    with pytest.raises(DataError, match=f"{HALF} of {len(CONTENT)} bytes are here"):
        weights.fetch(unhashed, tmp_path / "b")
    with pytest.raises(DataError, match=r"its sha256 is"):
        weights.fetch(replace(entry, bytes=None), tmp_path / "c")


@pytest.mark.parametrize(("status", "answer"), [(404, "404 Not Found"), (503, "503 Service Unavailable"), (204, "204")])
def test_a_server_that_has_something_else_to_say(server, entry, tmp_path, status, answer):
    server.status = status
    with pytest.raises(DataError, match=f"{server.url} answers {answer}.*weights add FILE"):
        weights.fetch(entry, tmp_path)
    assert names(tmp_path) == set()
    server.status = None
    cut_short(server, entry, tmp_path)
    server.status = status
    with pytest.raises(DataError, match=answer):
        weights.fetch(entry, tmp_path)
    assert weights.status(entry, tmp_path) == f"partly here: {HALF} bytes"


def test_nobody_is_there(server, entry, tmp_path):
    with Server() as other:
        url = other.url
    with pytest.raises(DataError, match=f"{url} cannot be reached: Connection refused.*weights add FILE"):
        weights.fetch(entry, tmp_path, url=url)
    for url in ("http://", "http://127.0.0.1:port/a", "http://127.0.0.1/a b"):
        with pytest.raises(DataError, match="cannot be reached") as refused:
            weights.fetch(entry, tmp_path, url=url)
        assert "\n" not in str(refused.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full(server, entry, tmp_path):
    (tmp_path / "thing.bin.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"thing.bin.part: cannot be written: No space left.*run it again"):
        weights.fetch(entry, tmp_path)
    assert weights.find(entry, tmp_path) is None


def test_where_nothing_can_be_written(server, entry, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: cannot be written"):
        weights.fetch(entry, tmp_path / "file")
    assert server.asked == []
    weights.path_of(entry, tmp_path).mkdir()
    with pytest.raises(DataError, match="cannot be written: Is a directory"):
        weights.fetch(entry, tmp_path)


def test_one_process_at_a_time(server, entry, tmp_path):
    with FileLock(tmp_path / "thing.bin.lock"):
        with pytest.raises(DataError, match="thing: another process is fetching"):
            weights.fetch(entry, tmp_path)
        with pytest.raises(DataError, match="thing: another process is fetching"):
            weights.add(Path(__file__), replace(entry, bytes=None), tmp_path)
    assert server.asked == []


def test_a_hash_that_is_known_nowhere_is_recorded(server, unhashed, tmp_path):
    taken = weights.fetch(unhashed, tmp_path)
    assert taken.note == f"no hash of thing.bin is published; {SHA256} of this first copy is recorded, " + (
        "to hold later ones to it"
    )
    assert json.loads((tmp_path / "thing.bin.json").read_text())["sha256"] == SHA256
    assert weights.fetch(unhashed, tmp_path).note is None
    # Later copies are held to it, even after the first is gone.
    taken.path.unlink()
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=f"was {SHA256}.*or remove {tmp_path / 'thing.bin.json'}"):
        weights.fetch(unhashed, tmp_path)
    assert names(tmp_path) == {"thing.bin.json"}
    server.content = CONTENT
    assert weights.fetch(unhashed, tmp_path).note is None
    # And so is one that lies there without having been asked for.
    taken.path.write_bytes(CONTENT[:-1] + b"?")
    assert weights.status(unhashed, tmp_path) == "damaged"
    # Who trusts the other one removes the record.
    (tmp_path / "thing.bin.json").unlink()
    assert weights.status(unhashed, tmp_path) == "here"


@pytest.mark.parametrize("kind", ["entry", "unhashed"])
def test_damage_after_the_fact_is_noticed_and_mended(server, tmp_path, kind, request):
    entry = request.getfixturevalue(kind)
    path = weights.fetch(entry, tmp_path).path
    damages = [lambda: path.write_bytes(CONTENT[:-1]), lambda: path.write_bytes(CONTENT[:-1] + b"?"), path.touch]
    for i, damage in enumerate(damages):
        damage()
        touched(path)
        whole = i == 2
        assert weights.status(entry, tmp_path) == ("here" if whole else "damaged")
        assert (weights.find(entry, tmp_path) is not None) == whole
        assert weights.fetch(entry, tmp_path).path.read_bytes() == CONTENT
        assert len(server.asked) == 2 + min(i, 1)
        assert weights.status(entry, tmp_path) == "here"


def test_a_file_is_hashed_once(server, entry, tmp_path, monkeypatch):
    path = weights.fetch(entry, tmp_path).path
    hashed = []
    hash_it = weights.sha256_of
    monkeypatch.setattr(weights, "sha256_of", lambda path: hashed.append(path) or hash_it(path))
    assert weights.status(entry, tmp_path) == "here"
    assert hashed == []
    touched(path)
    for _ in range(2):
        assert weights.status(entry, tmp_path) == "here"
    assert hashed == [path]
    # What is recorded is not believed where another hash is published.
    assert weights.status(replace(entry, sha256="0" * 64), tmp_path) == "damaged"


def test_a_file_put_there_by_hand_is_taken(entry, unhashed, tmp_path):
    for folder, weighed in ((tmp_path / "a", entry), (tmp_path / "b", unhashed)):
        folder.mkdir()
        weights.path_of(weighed, folder).write_bytes(CONTENT)
        assert weights.find(weighed, folder)
        assert json.loads((folder / "thing.bin.json").read_text())["sha256"] == SHA256


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"sha256": "a", "bytes": "many", "mtime_ns": 0}'])
def test_a_record_that_is_none(server, unhashed, tmp_path, content):
    weights.fetch(unhashed, tmp_path)
    record = tmp_path / "thing.bin.json"
    record.write_text(content)
    with pytest.raises(DataError, match=f"{record}: not a record of kcolor's; remove it"):
        weights.status(unhashed, tmp_path)


def test_a_file_is_added(entry, tmp_path):
    given = tmp_path / "downloads" / "some name"
    given.parent.mkdir()
    given.write_bytes(CONTENT)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "thing.bin.part").write_bytes(CONTENT[:10])
    taken = weights.add(given, entry, folder)
    assert taken == (entry, folder / "thing.bin", None)
    assert taken.path.read_bytes() == given.read_bytes() == CONTENT
    assert names(folder) == {"thing.bin", "thing.bin.json"}
    assert weights.status(entry, folder) == "here"
    # From where it is kept, too.
    assert weights.add(taken.path, entry, folder).path.read_bytes() == CONTENT


def test_a_file_that_is_wrong_is_not_added(entry, unhashed, tmp_path):
    folder = tmp_path / "weights"
    given = tmp_path / "a.bin"
    given.write_bytes(CONTENT)
    weights.add(given, unhashed, folder)
    for content, why in ((CONTENT[:-1], "bytes, while thing.bin has"), (CONTENT[:-1] + b"?", "its sha256 is")):
        given.write_bytes(content)
        for weighed in (entry, unhashed):
            with pytest.raises(DataError, match=f"{given}: .*{why}"):
                weights.add(given, weighed, folder)
        assert names(folder) == {"thing.bin", "thing.bin.json"}
        assert weights.path_of(entry, folder).read_bytes() == CONTENT
        assert given.read_bytes() == content


def test_a_file_that_cannot_be_read_or_copied(entry, tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        weights.add(tmp_path / "nothing", entry, tmp_path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        weights.add(tmp_path, None, tmp_path)
    given = tmp_path / "a"
    given.write_bytes(CONTENT)
    with pytest.raises(DataError, match="cannot be written"):
        weights.add(given, entry, given)


def test_what_a_file_is_shows_in_it(tmp_path, monkeypatch):
    tgz, tensors = archive(tmp_path / "a"), safetensors(tmp_path / "b")
    vgg16 = replace(CATALOGUE["vgg16"], sha256=weights.sha256_of(tensors))
    monkeypatch.setitem(CATALOGUE, "vgg16", vgg16)
    monkeypatch.setitem(CATALOGUE, "inception", replace(CATALOGUE["inception"], bytes=tgz.stat().st_size))
    taken = weights.add(tgz)
    assert (taken.weights.name, taken.path) == ("inception", weights.folder() / "inception-2015-12-05.tgz")
    assert "first copy" in taken.note
    taken = weights.add(tensors)
    assert (taken.weights.name, taken.note) == ("vgg16", None)
    layers = keras_vgg16(tmp_path / "c")
    md5 = hashlib.md5(layers.read_bytes()).hexdigest()
    monkeypatch.setitem(CATALOGUE, "vgg16-imagenet", replace(CATALOGUE["vgg16-imagenet"], md5=md5))
    taken = weights.add(layers)
    assert (taken.weights.name, taken.note) == ("vgg16-imagenet", None)
    assert all(weights.status(entry) == "here" for entry in CATALOGUE.values())


def test_the_wrong_file_is_refused_by_what_is_in_it(tmp_path):
    tgz, tensors = archive(tmp_path / "a.tgz"), safetensors(tmp_path / "b.safetensors")
    layers = keras_vgg16(tmp_path / "c.h5")
    others = [
        archive(tmp_path / "inception-2015-12-05.tgz", "model.ckpt"),
        safetensors(tmp_path / "vgg16.tv_in1k.safetensors", "conv1.weight"),
        without_classes(tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels.h5"),
        tmp_path / "page.html",
        tmp_path / "empty",
        tmp_path / "cut.tgz",
        tmp_path / "cut.safetensors",
        tmp_path / "cut.h5",
    ]
    whole = (tgz.read_bytes()[:-300], tensors.read_bytes()[:20], layers.read_bytes()[:-300])
    for path, content in zip(others[3:], (b"<html>" * 99, b"", *whole), strict=True):
        path.write_bytes(content)
    for path in others:
        with pytest.raises(DataError, match=f"{path}: none of the files that kcolor needs"):
            weights.add(path)
        for entry in CATALOGUE.values():
            with pytest.raises(DataError, match=f"{path}: not {entry.file}, which is an? "):
                weights.add(path, entry)
    # Of the right kind, and yet another one.
    with pytest.raises(DataError, match=r"a.tgz: \d+ bytes, while .* has 88931400"):
        weights.add(tgz)
    with pytest.raises(DataError, match=r"b.safetensors: not vgg16.* as published.*its sha256 is"):
        weights.add(tensors)
    with pytest.raises(DataError, match=r"c.h5: not vgg16_weights.* as published.*its MD5 is \w+, not 64373286"):
        weights.add(layers)
    assert not list(weights.folder().glob("*[sz5]"))


def test_a_page_in_place_of_the_file_is_not_recorded(server, entry, tmp_path):
    """As networks send that want a log-in first."""
    entry = replace(entry, file="thing.tgz", bytes=None, sha256=None)
    server.content = b"<html>log in</html>"
    with pytest.raises(DataError, match=f"{server.url}: not thing.tgz, which is a .tgz"):
        weights.fetch(entry, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"thing.tgz.lock"}
    server.content = archive(tmp_path / "whole").read_bytes()
    assert "first copy" in weights.fetch(entry, tmp_path).note


def test_a_file_with_an_md5_is_held_to_that_and_to_the_first_copy(server, entry, tmp_path):
    entry = replace(entry, sha256=None, md5=hashlib.md5(CONTENT).hexdigest())
    taken = weights.fetch(entry, tmp_path)
    assert taken.note is None
    assert json.loads((tmp_path / "thing.bin.json").read_text())["sha256"] == SHA256
    taken.path.write_bytes(CONTENT[:-1] + b"!")
    assert weights.status(entry, tmp_path) == "damaged"
    # One of that MD5 and another sha256 is as good as nothing that one can have here; the record stands for it.
    record = tmp_path / "thing.bin.json"
    record.write_text(record.read_text().replace(SHA256, "0" * 64))
    with pytest.raises(DataError, match=r"its sha256 is .* that of the first thing\.bin taken here was 000"):
        weights.fetch(entry, tmp_path)
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=r"not thing\.bin as published, or damaged: its MD5 is"):
        weights.fetch(entry, tmp_path / "other")
