"""Run and time an artifact where there is no kcolor: LOADER GIVEN.npy MADE.npy TIMES.json ARTIFACT [REFERENCE].

LOADER is a script with ``load``, from a path to a function of a batch of one, and ``WITHOUT``, the modules that the
artifact must do without; and it may have ``check``, which ends the process where something else is wrong with it.
Latencies are the shortest of several answers; those of the artifact and of the
reference are taken in turns, so that both meet the same disturbances.
"""

import json
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

FEWEST, ENOUGH, SECONDS = 5, 20, 6.0

loader, given, made, times, *artifacts = sys.argv[1:]
loaded = runpy.run_path(loader)
batch = np.load(given)


def seconds(run: Callable[[np.ndarray], np.ndarray]) -> float:
    """What one answer takes."""
    started = time.perf_counter()
    run(batch[:1])
    return time.perf_counter() - started


started = time.perf_counter()
runs = [loaded["load"](artifacts[0])]
runs[0](batch[:1])
first = time.perf_counter() - started
np.save(made, np.concatenate([runs[0](one[np.newaxis]) for one in batch]))

runs += [loaded["load"](artifact) for artifact in artifacts[1:]]
for run in runs:
    seconds(run)
rounds: list[list[float]] = []
started = time.perf_counter()
while len(rounds) < FEWEST or time.perf_counter() - started < SECONDS:
    rounds.append([seconds(run) for run in runs])
    shortest = np.min(rounds, axis=0)
    # What looks slower may have been disturbed, and is given more rounds to show that it is not.
    if len(rounds) >= (ENOUGH if shortest[0] <= shortest[-1] else 4 * ENOUGH):
        break

if "check" in loaded:
    loaded["check"](artifacts[0], runs[0])
Path(times).write_text(json.dumps({"first_request": first, "latencies": shortest.tolist()}))
if found := sorted({"kcolor", *loaded["WITHOUT"]} & sys.modules.keys()):
    sys.exit(f"the export needs {', '.join(found)}")
