"""What a photograph of 12 megapixels costs in an archive: `kcolor colorize`, and the same on Beam's in-process runner.

    python benchmarks/archive.py FOLDER --photos 24        # in an environment with kcolor[beam]

The photographs are made up, by enlarging those of FOLDER to 4000x3000. Each way is run once with two photographs, one
for each process, and once with all; the difference, divided by the photographs between, is what one costs.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

SIZE = (4000, 3000)
WAYS = {
    "plain": [],
    "--runner direct": ["--runner", "direct"],
    "1 process": ["--runner", "direct", "--runner-option", "direct_running_mode=multi_processing"],
    "2 processes": ["--runner", "direct", "--runner-option", "direct_num_workers=2"],
}


def made(source: Path, folder: Path, count: int) -> Path:
    folder.mkdir()
    given = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for i in range(count):
        with Image.open(given[i % len(given)]) as picture:
            large = picture.convert("L").resize(SIZE, Image.Resampling.BICUBIC)
        large.save(folder / f"{i:04}.jpg", quality=92)
    return folder


def cost(folder: Path, model: str, options: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and of processors."""
    with tempfile.TemporaryDirectory() as out:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [sys.executable, "-m", "kcolor", "colorize", str(folder), "-o", out, "--model", model, *options]
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.monotonic() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--model", default="small")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        two, all_of_them = made(given.folder, Path(work, "two"), 2), made(given.folder, Path(work, "all"), given.photos)
        print("| way | two: clock, processor | a photograph: clock, processor | photos a second |")
        print("|---|---|---|---|")
        for name in given.ways:
            options = WAYS[name]
            start, whole = cost(two, given.model, options), cost(all_of_them, given.model, options)
            clock, processor = ((b - a) / (given.photos - 2) for a, b in zip(start, whole, strict=True))
            print(
                f"| {name} | {start[0]:.1f} s, {start[1]:.1f} s | {clock:.2f} s, {processor:.2f} s | {1 / clock:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
