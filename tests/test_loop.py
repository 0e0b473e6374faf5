"""The loop on two devices of one machine: what it learns, step by step, is what it learns on one."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kcolor import build, loop, recipe
from kcolor.team import Team

# What gan has, gan-class has; chromagan has a teacher.
RECIPES = ["gan-class", "wgan", "chromagan"]

pytestmark = pytest.mark.timeout(600)  # six trainings in one fixture


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


def test_compiled_by_xla_it_trains_and_judges_as_keras_does(monkeypatch):
    """As on a GPU; the last batch of validation is smaller."""
    size, random = 16, np.random.default_rng(0)
    rgb, labels = random.integers(0, 256, (7, size, size, 3), np.uint8), np.zeros(7, np.int32)
    changes = [f"data.size={size}", "network.depth=2", "network.width=4", "network.critic_width=4"]
    chosen = recipe.load(recipe.find("gan"), [*changes, "network.critic_strided=1"])
    model = build.color_gan(chosen, classes=0, steps=2)
    photos = tf.data.Dataset.from_tensor_slices((rgb, labels))
    told = []
    # By hand: once any run of this process was deterministic, Keras would not.
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "jit_compile", True)
        loop.train(
            model,
            Team(),
            training=lambda replica, replicas: photos.repeat().batch(4),
            validation=lambda replica, replicas: photos.batch(4),
            epochs=1,
            steps_per_epoch=2,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append(logs))],
            stop=loop.Stop(),
        )
    assert model.step == 2
    expected = model.evaluate(photos.batch(4), verbose=0, return_dict=True)
    judged = {name.removeprefix("val_"): value for name, value in told[0].items() if name.startswith("val_")}
    assert judged == {name: pytest.approx(value, rel=1e-3) for name, value in expected.items()}
