"""python -m benchmarks: measure, keep what was found, and write docs/performance.md from it."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import harness, page

# Where make test leaves it.
JUNIT = harness.ROOT / ".pytest_cache" / "junit.xml"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure; write benchmarks/results/NAME.json, and docs/performance.md from all of them.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(harness.available())}; none: all")
    parser.add_argument("--data", type=Path, metavar="DIR", help="photographs in a folder a class; else made up")
    parser.add_argument("--recipes", type=lambda words: words.split(","), metavar="NAME,…", help="these alone")
    parser.add_argument("--rounds", type=int, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="only show that it runs: into out/quick, or --out")
    parser.add_argument("--full", action="store_true", help="equal_losses with the networks at full size")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout, for training_step")
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="a Python that has PyTorch, for pytorch")
    parser.add_argument(
        "--junit",
        type=Path,
        metavar="FILE",
        default=JUNIT if JUNIT.exists() else None,
        help="pytest --junitxml=FILE, for slowest_tests; else that of make test, if it has been run",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the JSON there, and leave the page alone")
    parser.add_argument("--page", action="store_true", help="only write docs/performance.md anew")
    given = parser.parse_args()
    options = dict(vars(given))
    names, out, only_page = options.pop("names"), options.pop("out"), options.pop("page")
    if options["quick"]:
        out = out or harness.ROOT / "out" / "quick"
    if unknown := set(names) - set(harness.available()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(harness.available())}")
    if not names and not only_page:
        names = [name for name in harness.available() if name not in harness.NEEDS or options[harness.NEEDS[name]]]
    for name in names:
        if (needed := harness.NEEDS.get(name)) and not options[needed]:
            parser.error(f"{name} needs --{needed}")
    command = " ".join(["python -m benchmarks", *given.names, *_told(options)])
    # What ends this process ends the one that measures, and with it its workers.
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))
    failed = []
    for name in names:
        started = time.perf_counter()
        print(f"{name} …", flush=True)
        try:
            harness.run(name, options, command, out or harness.RESULTS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    if not out:
        page.write()
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _told(options: dict[str, Any]) -> Iterator[str]:
    """The options as they were typed, but for where something is: that is this machine's alone."""
    for name, value in options.items():
        if value is not None and value is not False:
            shown = {"torch": "PYTHON", "junit": "FILE"}.get(name, "DIR") if isinstance(value, Path) else value
            shown = ",".join(value) if isinstance(value, list) else shown
            yield f"--{name}" if value is True else f"--{name} {shown}"


if __name__ == "__main__":
    main()
