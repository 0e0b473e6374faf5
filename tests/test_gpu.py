"""Training on a GPU, where there is one."""

import numpy as np
import pytest
import tensorflow as tf

from kcolor import build, color, recipe
from kcolor.team import Team

GPUS = tf.config.list_physical_devices("GPU")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPUS, reason="no GPU here")]

NARROW = ["data.size=64", "network.depth=4", "network.width=8", "network.critic_width=8", "network.critic_strided=2"]
RGB = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)


def test_lab_is_computed_on_it():
    for part in color.split(tf.constant(RGB)):
        assert part.device.endswith("GPU:0")


def test_lab_on_it_is_not_in_tf32():
    l, ab = color.split(tf.constant(RGB))
    with tf.device("/cpu:0"):
        expected_l, expected_ab = color.split(tf.constant(RGB))
    np.testing.assert_allclose(l * color.L_SCALE, expected_l * color.L_SCALE, atol=1e-3)
    np.testing.assert_allclose(ab * color.AB_SCALE, expected_ab * color.AB_SCALE, atol=1e-3)


def test_the_run_says_what_it_is_computed_on():
    assert len(Team().devices()) == 1
    assert "CPU" not in Team().devices()[0]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["gan", "gan-class", "wgan", "wgan-clip"])
def test_every_recipe_trains_under_xla(name, precision):
    chosen = recipe.load(recipe.find(name), [*NARROW, f"train.precision={precision}", "objective.critic_steps=1"])
    model = build.color_gan(chosen, classes=3, steps=5)
    before = [variable.numpy() for variable in model.trainable_variables]
    step = tf.function(model.train_step, jit_compile=True)
    for _ in range(5):
        terms = step((tf.constant(RGB), tf.constant([0, 1, 2, 0])))
    assert np.isfinite([float(value) for value in terms.values()]).all()
    moved = [not np.array_equal(old, new) for old, new in zip(before, model.trainable_variables, strict=True)]
    assert np.mean(moved) > 0.9
    assert all("GPU" in variable.value.device for variable in model.trainable_variables)
