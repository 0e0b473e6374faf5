"""What training together costs: one worker on one core, and two workers on a core each, on the loopback network.

Both train the same recipe with the same global batch; two workers could at best be twice as fast.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import photographs, turns

EPOCHS = 3  # of which the first has the building of the graphs in it


def measure(*, data: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Pictures a second of one worker and of two, and what two give of twice the one.

    Args:
        data: A folder of photographs; None: some are made up.
        quick: With a narrow network.
    """
    steps = 2 if quick else 4
    changes = ["train.batch_size=8", f"train.steps_per_epoch={steps}", f"train.epochs={EPOCHS}"]
    changes += ["train.validation_photos=2", "train.checkpoint_minutes=1000"]
    changes += ["network.width=8", "network.max_width=64"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = data or photographs.fill(work / "photos", 60)
        rates = {count: _rate(work, photos, changes, count) for count in (1, 2)}
    return {
        "recipe": "gan",
        "changes": changes,
        "pictures_a_second": {"one worker, one core": rates[1], "two workers, a core each": rates[2]},
        "of_twice_one": rates[2] / (2 * rates[1]),
    }


def _rate(work: Path, photos: Path, changes: list[str], count: int) -> float:
    """Pictures a second of the best epoch but the first."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        where = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    run, cores = work / f"workers-{count}", sorted(os.sched_getaffinity(0))
    words = [sys.executable, "-m", "kcolor", "fit", "gan", "--data", str(photos), "-o", str(run)]
    words += [word for change in changes for word in ("--set", change)]
    processes = []
    for index in range(count):
        told = json.dumps({"cluster": {"worker": where}, "task": {"type": "worker", "index": index}})
        process = subprocess.Popen(
            ["taskset", "-c", str(cores[index]), *words],
            env={**os.environ, "TF_CONFIG": told, "XDG_CACHE_HOME": str(work / f"cache-{index}")},
            cwd=turns.ROOT,
            stdout=subprocess.DEVNULL,
        )
        processes.append(process)
    for process in processes:
        if process.wait():
            raise RuntimeError(f"a worker ended with status {process.returncode}")
    epochs = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return max(epoch["photos_per_second"] for epoch in epochs[1:])
