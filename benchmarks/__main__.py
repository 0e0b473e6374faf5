"""python -m benchmarks: measure, keep what was found, and write docs/performance.md from it."""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import harness, page


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure; write benchmarks/results/NAME.json, and docs/performance.md from all of them.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(harness.available())}; none: all")
    parser.add_argument("--data", type=Path, metavar="DIR", help="photographs in a folder a class; else made up")
    parser.add_argument("--rounds", type=int, help="how often each thing is measured")
    parser.add_argument("--quick", action="store_true", help="only show that it runs; nothing is kept without --out")
    parser.add_argument("--full", action="store_true", help="equal_losses with the networks at full size")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout, for training_step")
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="a Python that has PyTorch, for pytorch")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="pytest --junitxml=FILE, for slowest_tests")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the JSON there, and leave the page alone")
    parser.add_argument("--page", action="store_true", help="only write docs/performance.md anew")
    options = vars(parser.parse_args())
    names, out, only_page = options.pop("names"), options.pop("out"), options.pop("page")
    if unknown := set(names) - set(harness.available()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(harness.available())}")
    if not names and not only_page:
        names = [name for name in harness.available() if name not in harness.NEEDS or options[harness.NEEDS[name]]]
    for name in names:
        needed = harness.NEEDS.get(name)
        if needed and not options[needed]:
            parser.error(f"{name} needs --{needed}")
    # Where something is on this machine is nobody else's business.
    shown = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    command = ["python", "-m", "benchmarks", *map(shlex.quote, shown)]
    failed = []
    for name in names:
        started = time.perf_counter()
        print(f"{name} …", flush=True)
        try:
            if options["quick"] and not out:
                harness.run(name, options, command, Path(page.ROOT, "out", "quick"))
            else:
                harness.run(name, options, command, out or harness.RESULTS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    if not out and not options["quick"]:
        page.write()
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
