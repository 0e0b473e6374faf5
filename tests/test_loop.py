"""The loop on two devices of one machine: what it learns, step by step, is what it learns on one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# What gan has, gan-class has.
RECIPES = ["gan-class", "wgan"]

pytestmark = pytest.mark.timeout(600)  # four trainings in one fixture


@pytest.fixture(scope="module")
def told():
    script = Path(__file__).parent / "two_devices.py"
    done = subprocess.run(
        [sys.executable, str(script), *RECIPES], capture_output=True, text=True, check=False, timeout=580
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", RECIPES)
def test_two_devices_learn_what_one_does(told, name):
    """With batch normalization, dropout, the penalty's points and the wear of old prints, all drawn for the batch."""
    one, two = told[name]
    for mine, yours in zip(one["steps"] + one["epochs"], two["steps"] + two["epochs"], strict=True):
        assert yours == {key: pytest.approx(value, rel=1e-4, abs=1e-5) for key, value in mine.items()}
    for mine, yours in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(yours, mine, atol=1e-5, rtol=1e-4)
    assert one["steps"][0] != one["steps"][-1]


def test_the_last_photos_of_validation_are_fewer_than_a_batch(told):
    assert told["validated"] % 4 in (1, 3)  # one device of two has more of them


def test_losses_are_left_on_the_device(told):
    """Numbers would be waited for at each step."""
    assert not any(trained["waited"] for name in RECIPES for trained in told[name])


@pytest.mark.parametrize("name", RECIPES)
def test_each_graph_is_traced_once(told, name):
    for trained in told[name]:
        turns = {"True": 1, "False": 1 if name == "wgan" else 0}
        assert trained["traces"] == {"judge": 1, "verdict": 1, **turns}
