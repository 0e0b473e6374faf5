"""The pass of training is the stored network in training, computed otherwise."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kcolor import networks
from kcolor.training import training_pass

SIZE = 64


def generator(**arguments):
    # A class branch and the bottleneck's single position: there is every layer there can be.
    return networks.unet_with_class_branch(3, SIZE, width=4, depth=4, dropout=0.0, **arguments)


def critic(**arguments):
    return networks.patchgan(SIZE, width=4, strided=2, **arguments)


def given(network, batch=4):
    random = np.random.default_rng(0)
    shapes = [tuple(x.shape[1:]) for x in network.inputs]
    made = [tf.constant(random.uniform(-1, 1, (batch, *shape)), tf.float32) for shape in shapes]
    return made if len(made) > 1 else made[0]


def learnt(network, run):
    """What a pass gives, its gradients, and the statistics that it leaves."""

    @tf.function
    def learn(x):
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(run(x))
            loss = tf.add_n([tf.reduce_mean(tf.square(y - 0.5)) for y in outputs])
        return outputs, tape.gradient(loss, network.trainable_variables)

    outputs, gradients = learn(given(network))
    return outputs, gradients, [variable.numpy() for variable in network.non_trainable_variables]


@pytest.mark.parametrize("make", [generator, critic])
def test_outputs_gradients_and_statistics_are_those_of_the_network(make):
    keras.utils.set_random_seed(0)
    one = make()
    other = keras.models.clone_model(one)
    other.set_weights(one.get_weights())
    theirs = learnt(one, lambda x: one(x, training=True))
    ours = learnt(other, training_pass(other))
    for name, mine, expected in zip(("outputs", "gradients", "statistics"), ours, theirs, strict=True):
        assert len(mine) == len(expected) > 0, name
        for a, b in zip(mine, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=name)


def test_statistics_of_a_batch_are_not_those_of_a_sample():
    """Two values of one channel, so that a division by n - 1 in place of n would be twice as much."""
    x = keras.Input((1, 1, 1))
    network = keras.Model(x, keras.layers.BatchNormalization(momentum=0.5, epsilon=1e-5, name="norm")(x))
    training_pass(network)(tf.constant([3.0, 5.0], shape=(2, 1, 1, 1)))
    norm = network.get_layer("norm")
    assert norm.moving_mean.numpy() == pytest.approx(0.5 * 0.0 + 0.5 * 4.0)
    assert norm.moving_variance.numpy() == pytest.approx(0.5 * 1.0 + 0.5 * 1.0)


def test_it_drops_as_training_does():
    network = networks.unet(16, width=4, depth=2, dropout=0.5)
    run, x = training_pass(network), given(network)
    assert not np.array_equal(run(x)["ab"], run(x)["ab"])


def test_bfloat16_keeps_statistics_and_outputs_in_float32():
    network = generator(dtype="mixed_bfloat16")
    outputs = training_pass(network)(given(network))
    assert {y.dtype for y in tf.nest.flatten(outputs)} == {tf.float32}
    assert {variable.dtype for variable in network.variables if "norm" in variable.path} == {"float32"}


def test_nothing_of_it_is_kept_by_its_owner():
    """Its owner saves and counts each variable once."""
    network = critic()
    owner = keras.layers.Layer()
    owner.network, owner.run = network, training_pass(network)
    assert [v.path for v in owner.variables] == [v.path for v in network.variables]
