"""Two machines that train together: two processes that talk to each other over the network."""

import re
import signal
import subprocess
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from workers import PATIENCE, ended, started

from kcolor import checkpoint, fit, recipe
from kcolor.data import manifest
from kcolor.run import Run

# A class branch, the penalty, batch normalization, dropout, old prints, five critic steps to one of the generator.
CHANGES = ["data.size=64", "network.depth=4", "network.width=4", "network.critic_width=4", "network.critic_strided=2"]
CHANGES += ["train.batch_size=4", "train.steps_per_epoch=12", "train.epochs=2", "train.checkpoint_minutes=0"]
CHANGES += ["data.split=[0.6,0.2,0.2]", "data.tone=0.2", "data.grain=3.0"]
# The gradient of the critic's last bias is nothing but rounding, of which Adam would make whole steps.
CHANGES += ["optimizer.epsilon=1e-3"]


def words(photos: Path, run: Path, *more) -> list:
    return ["fit", "wgan", "--data", photos, "-o", run, *(w for change in CHANGES for w in ("--set", change)), *more]


def wait_for(step: int, run: Path, processes: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(kept.step >= step for kept in checkpoint.find(Run(run).checkpoints)):
        assert [process.poll() for process in processes] == [None, None]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def only_line(said: str) -> str:
    (line,) = said.splitlines()
    return line


@pytest.mark.timeout(4 * PATIENCE)
def test_workers_stopped_and_killed_learn_what_one_process_does(photos, tmp_path):
    """Asked to stop, and gone on with; one of them killed, and gone on with: nothing is lost, or learnt from twice."""
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    # Each has a run directory of its own, as on machines that share no disk.
    own = [shared, tmp_path / "of-the-other"]
    with started([words(photos, path) for path in own], tmp_path) as processes:
        wait_for(1, shared, processes)
        processes[1].send_signal(signal.SIGTERM)  # that one alone
        statuses, _, said = ended(processes)
    assert statuses == [143, 143], said
    steps = {re.search(r"stopped at step (\d+)", each)[1] for each in said}
    assert len(steps) == 1
    assert "worker 0 saves the run" in said[1]  # and not: it is saved where there is nothing
    assert checkpoint.last_whole(Run(shared).checkpoints).step == int(steps.pop())

    with started([words(photos, path, "--resume") for path in own], tmp_path) as processes:
        wait_for(14, shared, processes)
        processes[1].kill()
        statuses, _, said = ended(processes)
    assert statuses == [75, -signal.SIGKILL], said
    assert "another worker has stopped" in only_line(said[0])
    assert not Run(shared).generator.exists()

    # The other is told the recipe, too.
    resumed = [words(photos, shared, "--resume"), ["fit", "--resume", "-o", own[1], "--data", photos]]
    with started(resumed, tmp_path) as processes:
        statuses, _, said = ended(processes)
    assert statuses == [0, 0], said
    assert not own[1].exists()
    found = manifest.prepare(photos, survey_file=tmp_path / "s.jsonl", split=(0.6, 0.2, 0.2), workers=1)
    fit.fit(recipe.load(recipe.find("wgan"), CHANGES), found, whole, name="wgan")
    assert_alike(Run(whole), Run(shared))


def assert_alike(one: Run, other: Run) -> None:
    """To rounding: every epoch's losses and figures, and the weights at the end."""
    left, right = one.read_history(), other.read_history()
    assert [(entry["epoch"], entry["step"]) for entry in right] == [(1, 12), (2, 24)]
    for mine, yours in zip(left, right, strict=True):
        assert mine.keys() == yours.keys()
        for name in mine.keys() - {"seconds", "photos_per_second"}:
            assert yours[name] == pytest.approx(mine[name], rel=2e-4, abs=2e-5), name
    networks = [keras.models.load_model(run.generator, compile=False) for run in (one, other)]
    for mine, yours in zip(networks[0].weights, networks[1].weights, strict=True):
        np.testing.assert_allclose(yours.numpy(), mine.numpy(), atol=2e-5)


def test_a_mistake_that_the_chief_sees_is_told_to_the_other(photos, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").touch()
    with started([words(photos, tmp_path / "run")] * 2, tmp_path) as processes:
        statuses, _, said = ended(processes)
    assert statuses == [2, 2], said
    assert "run: there is something in it" in only_line(said[0])
    assert only_line(said[1]) == only_line(said[0]).replace("kcolor: ", "kcolor: worker 0: ")


def test_one_that_starts_from_a_model_alone(photos, finished, tmp_path):
    usual = words(photos, tmp_path / "run")
    with started([[*usual, "--from", finished.path], usual], tmp_path) as processes:
        statuses, _, said = ended(processes)
    assert statuses == [2, 2], said
    assert "is not to start from a model (--from), and worker 0 is" in only_line(said[0])
    assert only_line(said[1]) == only_line(said[0])


def test_a_model_that_the_chief_cannot_start_from(photos, finished, tmp_path):
    """It sees that when they have met; the other says in one line that it is alone."""
    other = [*words(photos, tmp_path / "run"), "--from", finished.path, "--set", "network.width=8"]
    with started([other, other], tmp_path) as processes:
        statuses, _, said = ended(processes)
    assert statuses == [2, 75], said
    assert "of another network than the recipe's" in only_line(said[0])
    assert "another worker has stopped" in only_line(said[1])


def test_a_worker_that_has_no_photos_of_the_run(photos, finished, tmp_path):
    """It knows that when it is told the run; nobody waits for it."""
    (tmp_path / "empty").mkdir()
    resumed = ["fit", "--resume", "-o", finished.path]
    with started([resumed, [*resumed, "--data", tmp_path / "empty"]], tmp_path) as processes:
        statuses, _, said = ended(processes)
    assert statuses == [2, 2], said
    assert "cannot go on: " in only_line(said[0])
    assert "empty: does not hold this run's photos" in only_line(said[1])


def test_a_worker_that_means_something_else(photos, tmp_path):
    """Both say so in the same line, and nothing has been written."""
    other = words(photos, tmp_path / "run", "--set", "optimizer.beta1=0.7")
    with started([words(photos, tmp_path / "run"), other], tmp_path) as processes:
        statuses, _, said = ended(processes)
    assert statuses == [2, 2], said
    first, second = map(only_line, said)
    assert first == second
    assert "worker 1 (127.0.0.1:" in first
    assert "was given another recipe than worker 0 (optimizer.beta1 = 0.7, not 0.5)" in first
    assert list((tmp_path / "run").iterdir()) == []
