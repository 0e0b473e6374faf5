"""The optimizer of one operation is Keras' own, to rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kcolor.optimizers import Adam


@pytest.mark.parametrize("rate", [1e-2, keras.optimizers.schedules.CosineDecay(1e-2, 5)], ids=["constant", "falling"])
def test_steps_are_those_of_keras(rate):
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 4)).astype("float32")
    ours, theirs = keras.Variable(start), keras.Variable(start)
    arguments = {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-6}
    mine, stock = Adam(rate, **arguments), keras.optimizers.Adam(rate, **arguments)
    for _ in range(5):
        gradient = tf.constant(random.normal(size=(3, 4)), tf.float32)
        mine.apply([gradient], [ours])
        stock.apply([gradient], [theirs])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
    for a, b in zip(mine.variables, stock.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7, err_msg=a.path)


def test_its_configuration_makes_another():
    made = keras.optimizers.deserialize(keras.optimizers.serialize(Adam(3e-4, beta_1=0.5)))
    assert type(made) is Adam
    assert made.beta_1 == 0.5


def test_amsgrad_is_refused():
    with pytest.raises(TypeError, match="amsgrad"):
        Adam(amsgrad=True)
