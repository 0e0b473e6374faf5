"""Loss terms on inputs small enough to do the sum by hand."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from kcolor import losses


def value(loss):
    assert loss.dtype == tf.float32
    assert loss.shape == ()
    return pytest.approx(float(loss), rel=1e-5, abs=1e-6)


def one_picture(*values):
    return tf.constant(values, shape=(1, 1, 1, len(values)), dtype=tf.float32)


def sigmoid_logit(probability):
    return math.log(probability / (1 - probability))


def test_cgan_critic_that_knows_nothing():
    # Cross-entropy of probability 1/2 against any target is ln 2.
    zeros = tf.zeros((2, 3, 3, 1))
    for target in (1.0, 0.9, 0.5):
        assert value(losses.cgan_critic(zeros, zeros, target)) == math.log(2)


def test_cgan_critic_by_hand():
    real = tf.constant([sigmoid_logit(0.8)])
    fake = tf.constant([sigmoid_logit(0.25)])
    # (-(0.9 ln 0.8 + 0.1 ln 0.2) - ln(1 - 0.25)) / 2
    by_hand = (-(0.9 * math.log(0.8) + 0.1 * math.log(0.2)) - math.log(0.75)) / 2
    assert value(losses.cgan_critic(real, fake)) == by_hand


def test_label_smoothing_is_one_sided():
    fake = tf.constant([0.3, -2.0])
    for real_target in (1.0, 0.9, 0.6):
        with tf.GradientTape() as tape:
            tape.watch(fake)
            loss = losses.cgan_critic(tf.constant([1.0, 1.0]), fake, real_target)
        # Target 0 for both: half of sigmoid(x) / 2, whatever the real side is told.
        expected = 0.25 / (1 + np.exp([-0.3, 2.0]))
        np.testing.assert_allclose(tape.gradient(loss, fake), expected, rtol=1e-5)


def test_smoothed_real_side_is_best_at_the_target():
    real = tf.constant([sigmoid_logit(0.9)])
    with tf.GradientTape() as tape:
        tape.watch(real)
        loss = losses.cgan_critic(real, tf.zeros(1), 0.9)
    np.testing.assert_allclose(tape.gradient(loss, real), [0.0], atol=1e-6)


def test_cgan_generator_wants_fakes_taken_for_real_unsmoothed():
    # -ln 0.25
    assert value(losses.cgan_generator(tf.constant([sigmoid_logit(0.25)]))) == math.log(4)
    # Sure of itself: -ln sigmoid(30) is 0, which a smoothed target of 0.9 would put at 3.
    assert value(losses.cgan_generator(tf.constant([30.0]))) == 0


def test_cgan_losses_survive_huge_logits():
    huge = tf.constant([1e4, -1e4])
    # Of the two cross-entropies one is 0 and the other 1e4, on either side.
    assert value(losses.cgan_critic(huge, huge, 1.0)) == 5e3
    assert value(losses.cgan_generator(huge)) == 5e3


def test_wasserstein_by_hand():
    real, fake = tf.constant([1.0, 3.0]), tf.constant([4.0, -2.0, 7.0])
    assert value(losses.wasserstein_critic(real, fake)) == 1  # (4 - 2 + 7) / 3 - (1 + 3) / 2
    assert value(losses.wasserstein_generator(fake)) == -3


def test_penalty_of_a_linear_critic():
    # The slope of 3 x + 4 y is (3, 4) everywhere, of length 5: (5 - 1)^2.
    weights = one_picture(3.0, 4.0)
    real, fake = one_picture(0.7, -0.2), one_picture(-0.1, 0.4)
    penalty = losses.gradient_penalty(lambda x: tf.reduce_sum(x * weights, [1, 2, 3]), real, fake, one_picture(0.3))
    assert value(penalty) == 16


def test_penalty_sums_the_patches_of_a_picture():
    # Two patches of slopes (3, 0) and (0, 4) are one critic of slope (3, 4).
    weights = one_picture(3.0, 4.0)
    penalty = losses.gradient_penalty(
        lambda x: x * weights, one_picture(0.0, 0.0), one_picture(1.0, 1.0), one_picture(1.0)
    )
    assert value(penalty) == 16


def test_penalty_norm_is_over_all_of_a_picture_and_mean_over_the_batch():
    # Slope of |x|^2 / 2 is x. Picture of four 1s: norm 2, so 1; picture of four 2s: norm 4, so 9; mean 5.
    real = tf.reshape(tf.constant([1.0] * 4 + [2.0] * 4), (2, 2, 1, 2))
    penalty = losses.gradient_penalty(
        lambda x: 0.5 * tf.reduce_sum(x**2, [1, 2, 3]), real, tf.zeros_like(real), tf.ones((2, 1, 1, 1))
    )
    assert value(penalty) == 5


@pytest.mark.parametrize(("mixing", "expected"), [(1.0, 16.0), (0.0, 1.0), (0.5, 2.25), (0.2, 0.0)])
def test_penalty_is_taken_where_mixing_says(mixing, expected):
    # Slope of |x|^2 / 2 is x = mixing (3, 4) + (1 - mixing) (0, 0), of length 5 mixing.
    penalty = losses.gradient_penalty(
        lambda x: 0.5 * tf.reduce_sum(x**2, [1, 2, 3]),
        one_picture(3.0, 4.0),
        one_picture(0.0, 0.0),
        one_picture(mixing),
    )
    assert value(penalty) == expected


def test_penalty_teaches_the_critic():
    weights = tf.Variable(one_picture(3.0, 4.0))
    with tf.GradientTape() as tape:
        loss = losses.gradient_penalty(
            lambda x: tf.reduce_sum(x * weights, [1, 2, 3]),
            one_picture(1.0, 1.0),
            one_picture(0.0, 0.0),
            one_picture(0.5),
        )
    # 2 (5 - 1) (3, 4) / 5
    np.testing.assert_allclose(tf.squeeze(tape.gradient(loss, weights)), [4.8, 6.4], rtol=1e-5)


def test_penalty_of_a_constant_critic_is_one_with_a_finite_gradient():
    weights = tf.Variable(one_picture(0.0, 0.0))
    with tf.GradientTape() as tape:
        loss = losses.gradient_penalty(
            lambda x: tf.reduce_sum(x * weights, [1, 2, 3]),
            one_picture(1.0, 1.0),
            one_picture(0.0, 0.0),
            one_picture(0.5),
        )
    assert value(loss) == 1
    assert np.isfinite(tape.gradient(loss, weights)).all()


def test_distances_by_hand():
    truth, prediction = tf.constant([[0.0, 1.0], [-1.0, 0.5]]), tf.constant([[0.5, 1.0], [1.0, 0.0]])
    assert value(losses.l1(truth, prediction)) == 0.75  # (0.5 + 0 + 2 + 0.5) / 4
    assert value(losses.l2(truth, prediction)) == 1.125  # (0.25 + 0 + 4 + 0.25) / 4


def test_classification_by_hand():
    assert value(losses.classification(tf.constant([0, 4]), tf.zeros((2, 205)))) == math.log(205)
    # Probabilities 1/4 and 3/4, right at each once: -(ln 0.25 + ln 0.75) / 2
    logits = tf.constant([[0.0, math.log(3)], [0.0, math.log(3)]])
    by_hand = -(math.log(0.25) + math.log(0.75)) / 2
    assert value(losses.classification(tf.constant([0, 1]), logits)) == by_hand


def test_kl_divergence_as_scipy_has_it():
    draw = np.random.default_rng(0)
    target = draw.dirichlet(np.full(7, 0.3), 4).astype("float32")
    target[0] = np.eye(7)[2]  # 0 log 0 is 0
    logits = draw.normal(0, 3, (4, 7)).astype("float32")
    expected = scipy.stats.entropy(target, scipy.special.softmax(logits, axis=-1), axis=-1).mean()
    assert value(losses.kl_divergence(tf.constant(target), tf.constant(logits))) == pytest.approx(expected, rel=1e-5)
    own = tf.nn.softmax(tf.constant(logits))
    assert value(losses.kl_divergence(own, tf.constant(logits))) == pytest.approx(0, abs=1e-6)
    # Of a sure teacher it is the cross-entropy.
    assert value(losses.kl_divergence(tf.one_hot([3], 7), tf.zeros((1, 7)))) == math.log(7)


def test_kl_divergence_teaches_the_student_alone():
    target, logits = tf.Variable([[0.25, 0.75]]), tf.Variable([[0.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = losses.kl_divergence(target, logits)
    slopes = tape.gradient(loss, [target, logits])
    assert slopes[0] is None
    np.testing.assert_allclose(slopes[1], [[0.25, -0.25]], atol=1e-6)  # softmax - target


def test_bfloat16_scores_give_float32_losses():
    # 1/256 is exact in bfloat16; a mean of 1000 such values summed in bfloat16 is not.
    scores = tf.fill((1000,), tf.constant(1 / 256, tf.bfloat16))
    assert value(losses.wasserstein_generator(scores)) == -1 / 256
    assert value(losses.wasserstein_critic(scores, 0 * scores)) == -1 / 256
    assert value(losses.cgan_generator(0 * scores)) == math.log(2)
    assert value(losses.cgan_critic(0 * scores, 0 * scores)) == math.log(2)
    assert value(losses.l1(tf.zeros(1000), scores)) == 1 / 256
    assert value(losses.l2(tf.zeros(1000), scores)) == 1 / 65536
    assert value(losses.classification(tf.constant([1]), tf.zeros((1, 8), tf.bfloat16))) == math.log(8)
    x = tf.cast(one_picture(3.0, 4.0), tf.bfloat16)
    penalty = losses.gradient_penalty(
        lambda y: tf.reduce_sum(x * y, [1, 2, 3]), x, x, tf.ones((1, 1, 1, 1), tf.bfloat16)
    )
    assert value(penalty) == 16
