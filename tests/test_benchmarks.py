"""What can be tested of the benchmarks without a clock."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks import harness, operations, page, training_step, turns
from kcolor import networks

ROOT = Path(__file__).parents[1]
OPTIONS = {"data", "quick", "full", "recipes", "rounds", "beside", "torch", "junit"}


def test_the_page_is_what_the_results_give():
    assert page.PAGE.read_text() == page.render(page.load()), "python -m benchmarks --page"


def test_results_tell_where_they_are_from_and_nothing_of_this_machines_folders():
    for name, result in page.load().items():
        assert name == result["benchmark"]
        assert {"command", "date", "machine", "kcolor", "figures", "load_before"} <= result.keys()
        assert not re.search(r'"[^"]*(?<![\w/])/(home|root|tmp|usr|var)/', json.dumps(result)), name


@pytest.mark.parametrize("name", harness.available())
def test_benchmarks_ask_for_options_that_there_are(name):
    measure = importlib.import_module(f"benchmarks.{name}").measure
    needed = {key for key, each in inspect.signature(measure).parameters.items() if each.default is each.empty}
    assert needed <= {harness.NEEDS.get(name)} | OPTIONS - {"torch", "junit"}


def test_the_operations_of_a_pass_are_those_of_the_formula():
    generator = networks.unet(64, depth=5, width=8, max_width=32)
    l = tf.zeros((3, 64, 64, 1))
    expected = operations.unet(64, [8, 16, 32, 32, 32], 3)
    # The first convolution by hand: 32x32 positions, 4x4x1 values each, 8 channels, a product and a sum, 3 pictures.
    assert operations.unet(64, [8], 3) - 2 * 3 * 32 * 32 * 16 * 8 * 2 == 3 * 32 * 32 * 16 * 8 * 2
    assert operations.count(lambda l: generator(l, training=True), l) == expected

    def backward(l):
        with tf.GradientTape() as tape:
            ab = generator(l, training=True)["ab"]
        return tape.gradient(ab, generator.trainable_variables)

    # As many again for the kernels' slopes, and for the inputs' but the first.
    first = 3 * 32 * 32 * 16 * 8 * 2
    assert operations.count(backward, l) == 3 * expected - first


def test_operations_that_no_result_needs_are_not_counted_and_of_two_branches_the_longer_is():
    def function(left, right):
        tf.matmul(left, left)
        return tf.cond(tf.reduce_sum(left) > 0, lambda: left @ right, lambda: left @ left @ left @ right)

    left, right = tf.zeros((5, 5)), tf.zeros((5, 7))
    assert operations.count(function, left, right) == 2 * 2 * 5**3 + 2 * 5 * 5 * 7


def test_parts_that_hold_others():
    parts = {
        "lab": 1.0,
        "generator forward": 2.0,
        "generator forward and backward": 7.0,
        "critic": 10.0,
        "penalty": 4.0,
    }
    assert training_step.separated(parts) == {
        "lab": 1.0,
        "generator forward": 2.0,
        "generator backward": 5.0,
        "critic": 6.0,
        "penalty": 4.0,
    }


def test_a_benchmark_runs_in_a_process_of_its_own(tmp_path):
    cases = "".join(f'<testcase classname="tests.test_x" name="test_{i}" time="{i}.5"/>' for i in range(12))
    report = tmp_path / "report.xml"
    report.write_text(f'<testsuites><testsuite time="90.0">{cases}</testsuite></testsuites>')
    options = ["slowest_tests", "--junit", str(report), "--out", str(tmp_path / "results")]
    subprocess.run([sys.executable, "-m", "benchmarks", *options], check=True, cwd=ROOT)
    result = json.loads((tmp_path / "results" / "slowest_tests.json").read_text())
    assert result["figures"]["tests"] == 12
    assert result["figures"]["suite_s"] == 90.0
    assert result["figures"]["slowest"][0] == {"test": "tests.test_x::test_11", "seconds": 11.5}
    assert len(result["figures"]["slowest"]) == 10
    assert str(tmp_path) not in json.dumps(result)
    assert "test_11" in page.render({"slowest_tests": result})


def test_a_step_is_measured_through_the_gan_and_its_parts_are_all_of_it():
    with training_step.worker("quickstart", "float32", ["network.depth=3"]) as worker:
        counted, seconds = worker.ask(what="operations"), worker.ask(what="parts", rounds=1)
    assert counted.pop("turn") == sum(counted.values())
    assert counted.keys() < seconds.keys()
    assert seconds.keys() - counted.keys() == {"lab", "generator's optimizer", "critic's optimizer"}


def test_a_worker_that_ends_is_told_of():
    with pytest.raises(RuntimeError, match="status 1"):
        turns.Worker("benchmarks.no_such_module")
