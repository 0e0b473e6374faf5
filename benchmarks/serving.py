"""How many requests kcolor serve answers, and how soon, beside what the model does by itself; and whether all is right.

    python benchmarks/serving.py [MODEL] [--side 256] [--seconds 10] [--clients 1 8 64] [--signature jpeg] [-- OPTION …]

A server is started on loopback, with the OPTIONs after --, and asked by so many clients at once, each of which sends
its next photo when the last has come back. Beside that, in a process of its own and without a server: the signature
called with a photo at a time, and by as many threads and with as many photos at once as the server does by default.

Every answer is held against the bare model's own for that photo, pixel by pixel, once the clock has stopped. A request
without an answer, an answer to another's photo, and any status but 200 are counted, and end in exit status 1.

The clients share the machine's cores with the server, and their JSON and base64 are in the figures.
"""

import argparse
import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import urllib3

PHOTOS = 32
WORKERS, BATCH = 2, 8  # as kcolor serve's defaults
# Of 256: rounding differs from one size of a batch to another, and JPEG makes more of it than PNG does.
CLOSE = {"serving_default": 2, "jpeg": 12}


def photos(side: int) -> list[bytes]:
    """JPEG files that differ in all that they show: windows of a photograph, turned and mirrored."""
    import skimage.data
    from PIL import Image

    whole = Image.fromarray(skimage.data.stereo_motorcycle()[0]).convert("L").convert("RGB")
    made = []
    for i in range(PHOTOS):
        edge = 300 + 5 * (i % 8)
        left, top = (whole.width - edge) * (i % 8) // 8, (whole.height - edge) * (i // 8) // 4
        window = whole.crop((left, top, left + edge, top + edge)).resize((side, side)).rotate(90 * (i % 4))
        stream = io.BytesIO()
        window.save(stream, "JPEG", quality=90)
        made.append(stream.getvalue())
    return made


def bare(model_path: str, signature_name: str, files: list[bytes], seconds: float, folder: Path) -> None:
    """Print the model's own rates, and leave its answers in a folder."""
    from kcolor.serve import model

    loaded = model.load(Path(model_path))
    signature = loaded.signatures[signature_name]

    def call(chosen: list[bytes]) -> list[bytes]:
        tensors = {"image_bytes": np.array(chosen, object)}
        if "quality" in signature.inputs:
            tensors["quality"] = np.full(len(chosen), 90, np.int32)
        return list(signature(tensors)["colorized_bytes"])

    for i, file in enumerate(files):
        (folder / f"{i}").write_bytes(call([file])[0])
    call(files[:BATCH])
    for threads, batch in ((1, 1), (WORKERS, BATCH)):
        counts = [0] * threads
        until = time.perf_counter() + seconds

        def work(place: int, batch: int = batch, counts: list[int] = counts, until: float = until) -> None:
            while time.perf_counter() < until:
                call([files[(counts[place] + i) % PHOTOS] for i in range(batch)])
                counts[place] += batch

        began = time.perf_counter()
        workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(f"bare {threads} {batch} {sum(counts) / (time.perf_counter() - began):.2f}", flush=True)


class Clients:
    """So many clients, each asking again when it has been answered."""

    def __init__(self, url: str, bodies: list[bytes], count: int) -> None:
        self.url, self.bodies, self.count = url, bodies, count
        self.pool = urllib3.PoolManager(maxsize=count, retries=False)
        self.seconds: list[float] = []
        self.statuses: Counter[object] = Counter()
        self.answers: Counter[tuple[int, str]] = Counter()
        self.content: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def ask(self, i: int) -> None:
        began = time.perf_counter()
        try:
            reply = self.pool.request("POST", self.url, body=self.bodies[i], timeout=120)
            status, data = reply.status, reply.data
        except urllib3.exceptions.HTTPError as error:
            status, data = type(error).__name__, b""
        took = time.perf_counter() - began
        key = hashlib.sha256(data).hexdigest()
        with self.lock:
            self.seconds.append(took)
            self.statuses[status] += 1
            self.answers[i, key] += 1
            self.content.setdefault(key, data)

    def run(self, seconds: float) -> float:
        """Requests a second."""
        until = time.perf_counter() + seconds

        def work(client: int) -> None:
            turn = client
            while time.perf_counter() < until:
                self.ask(turn % PHOTOS)
                turn += self.count + 1

        threads = [threading.Thread(target=work, args=(client,)) for client in range(self.count)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(self.seconds) / (time.perf_counter() - began)

    def wrong(self, expected: list[np.ndarray], close: int) -> int:
        """How many answers are not those to their own requests."""
        return sum(n for (i, key), n in self.answers.items() if not _is(self.content[key], expected[i], close))


def _pixels(data: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def _is(reply: bytes, expected: np.ndarray, close: int) -> bool:
    try:
        made = _pixels(base64.b64decode(json.loads(reply)["predictions"][0]["b64"]))
    except (ValueError, KeyError, OSError):
        return False
    return made.shape == expected.shape and int(np.abs(made - expected).max()) <= close


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="small")
    parser.add_argument("--side", type=int, default=256, help="of the photos, in pixels")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--signature", choices=list(CLOSE), default="serving_default")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    argv = sys.argv[1:]
    cut = argv.index("--") if "--" in argv else len(argv)
    chosen, options = parser.parse_args(argv[:cut]), argv[cut + 1 :]
    files = photos(chosen.side)
    if chosen.bare:
        bare(chosen.model, chosen.signature, files, chosen.seconds, chosen.bare)
        return

    with tempfile.TemporaryDirectory() as folder:
        alone = subprocess.run(
            [sys.executable, __file__, *argv[:cut], "--bare", folder], stdout=subprocess.PIPE, text=True, check=True
        )
        expected = [_pixels(Path(folder, str(i)).read_bytes()) for i in range(PHOTOS)]
    print(f"{chosen.model}, {chosen.signature}, photos of {chosen.side}x{chosen.side}")
    print(f"{'':28}{'photos/s':>9}{'p50 ms':>8}{'p95':>8}{'p99':>8}{'sent':>7}{'lost':>6}{'wrong':>7}")
    for threads, batch, rate in re.findall(r"^bare (\d+) (\d+) (\S+)$", alone.stdout, re.MULTILINE):
        said = f"bare, {threads} thread{'s' * (threads != '1')}, {batch} at once"
        print(f"{said:28}{float(rate):9.1f}")
    bodies = []
    for file in files:
        row = {"image_bytes": {"b64": base64.b64encode(file).decode()}}
        row |= {"quality": 90} if chosen.signature == "jpeg" else {}
        bodies.append(json.dumps({"signature_name": chosen.signature, "instances": [row]}).encode())

    command = [sys.executable, "-m", "kcolor", "serve", chosen.model, "--port", "0", *options]
    bad = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            url = re.search(r"API: (\S+?)[,)]", line)[1] + ":predict"
            Clients(url, bodies, 8).run(1)  # so that the first is not charged with what happens once
            for count in chosen.clients:
                clients = Clients(url, bodies, count)
                rate = clients.run(chosen.seconds)
                p50, p95, p99 = 1000 * np.percentile(clients.seconds, [50, 95, 99])
                sent = len(clients.seconds)
                lost = sent - clients.statuses[200]
                wrong = clients.wrong(expected, CLOSE[chosen.signature]) - lost
                bad += lost + wrong
                said = f"served, {count} client{'s' * (count > 1)}"
                print(f"{said:28}{rate:9.1f}{p50:8.0f}{p95:8.0f}{p99:8.0f}{sent:7}{lost:6}{wrong:7}", flush=True)
                if lost:
                    print(f"    {dict(clients.statuses)}")
        finally:
            server.terminate()
        status = server.wait(120)
    sys.exit(bad > 0 or status != 0)


if __name__ == "__main__":
    main()
