"""How soon training begins with millions of photos, and in what memory: python benchmarks/manifest.py [ENTRIES].

The manifest is made up: its names are millions, and all lead to a few files. The shards are made up, too: their files
are links to one. The network is not built; all else is as `kcolor fit` does it, in a process of its own. Processor
seconds tell what the seconds would be on a machine with nothing else to do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PLACES205 = 2_448_873 + 20_500 + 41_000
SIZE, BATCH = 64, 64
FILES = 16
BATCHES, TURNS = 500, 3  # after so many batches memory is looked at, so many times


def measure(entries: int = PLACES205) -> dict[str, Any]:
    """Measure it, from files and from shards."""
    with tempfile.TemporaryDirectory() as here:
        path = _make_up(Path(here), entries)
        found = {"entries": entries, "manifest_megabytes": round(path.stat().st_size / 1e6, 1)}
        for name, place in (("files", path), ("shards", _shards(Path(here), path))):
            words = [sys.executable, __file__, "--inside", str(place)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


def _name(number: int) -> str:
    """A name of its own for one of a few files: /./ and /// lead nowhere."""
    return "a" + "".join("/." if number >> bit & 1 else "//" for bit in range(22)) + f"/{number % FILES}.jpg"


def _make_up(folder: Path, entries: int) -> Path:
    import numpy as np
    from PIL import Image

    from kcolor.data.manifest import SPLITS, Manifest
    from kcolor.data.rows import Rows, Texts

    (folder / "a").mkdir()
    draw = np.random.default_rng(0)
    for number in range(FILES):
        Image.fromarray(draw.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(folder / "a" / f"{number}.jpg")
    ones, shares = np.ones(entries, np.int32), np.cumsum([0.85, 0.05, 0.08])
    split = np.digitize(draw.random(entries), shares).astype(np.int8)
    split[split == len(SPLITS)] = -1
    rows = Rows(
        paths=Texts.of(_name(number) for number in range(entries)),
        label=np.sort(draw.integers(0, 205, entries)).astype(np.int32),
        width=SIZE * ones,
        height=SIZE * ones,
        orientation=ones.astype(np.uint8),
        bytes=draw.integers(10_000, 20_000, entries),
        split=split,
        reason=(split < 0).astype(np.int32),
        toned=draw.random(entries) < 0.01,
        labels=tuple(f"{chr(97 + number % 26)}/scene_{number:03}/outdoor" for number in range(205)),
        reasons=("", "grey"),
    )
    Manifest(folder, rows, {"seed": 0}).save(folder / "places.csv")
    return folder / "places.csv"


def _shards(here: Path, path: Path) -> Path:
    """A folder of shards of that manifest whose files are links to one."""
    from kcolor.data import sharding, shards
    from kcolor.data.manifest import Manifest

    whole = Manifest.load(path)
    per_shard = 850
    some = Manifest(whole.root, whole.photos[whole.photos.split >= 0][:per_shard], whole.rules)
    index = sharding.write(some, str(here / "one"), size=SIZE, photos_per_shard=per_shard)
    folder = here / "shards"
    folder.mkdir()
    splits: dict[str, list[shards.Shard]] = {}
    for split, [one] in index.splits.items():
        splits[split] = []
        for number in range(-(-whole.counts()[split] // one.photos)):
            copy = one.model_copy(update={"name": f"{split}-{number:05}{shards.SUFFIX}"})
            os.link(here / "one" / one.name, folder / copy.name)
            splits[split].append(copy)
    changed = {"manifest_sha256": whole.sha256, "classes": whole.classes, "splits": splits}
    (folder / shards.INDEX).write_text(index.model_copy(update=changed).dump())
    whole.save(folder / shards.MANIFEST)
    return folder


def _inside(place: str) -> dict[str, Any]:
    """What `kcolor fit` does before its first step, but for the network."""
    started = last = time.perf_counter(), time.process_time()
    spent: dict[str, dict[str, float]] = {}

    def so_far(what: str) -> None:
        nonlocal last
        now = time.perf_counter(), time.process_time()
        spent[what] = {
            "seconds": round(now[0] - last[0], 2),
            "processor_seconds": round(now[1] - last[1], 2),
            "megabytes_at_most_so_far": _peak(),
        }
        last = now

    from kcolor import recipe
    from kcolor.data import prepare

    chosen = recipe.default([f"data.folder={json.dumps(place)}", f"data.size={SIZE}", "network.depth=4"])
    found = prepare.prepare(chosen.data, chosen.seed)
    so_far("load_the_manifest")
    _ = found.counts(), found.classes, found.sha256
    so_far("classes_counts_and_hash")
    with tempfile.TemporaryDirectory() as run:
        found.save(Path(run, "manifest.csv"))
    so_far("the_run_s_copy")
    from kcolor import build, fit
    from kcolor.data import dataset

    so_far("load_tensorflow")
    fit.check_splits(found)
    stream = dataset.training_stream(build.source(chosen, found)("train"), size=SIZE, batch_size=BATCH, seed=0)
    iterator = iter(stream)
    next(iterator)
    so_far("first_batch")
    resident = {}
    for turn in range(1, TURNS + 1):
        for _ in range(BATCHES):
            next(iterator)
        resident[f"megabytes_after_{turn * BATCHES}_batches"] = _resident()
    return {
        "seconds_to_the_first_batch": round(last[0] - started[0], 2),
        "processor_seconds_to_the_first_batch": round(last[1] - started[1], 2),
        "of_which": spent,
        **resident,
    }


def _peak() -> int:
    # Not getrusage, which also counts the process that started this one.
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return round(int(line.split()[1]) / 1024)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entries", nargs="?", type=int, default=PLACES205)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    print(
        json.dumps(
            _inside(given.inside) if given.inside else measure(given.entries), indent=None if given.inside else 1
        )
    )


if __name__ == "__main__":
    main()
