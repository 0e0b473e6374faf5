"""The terms of the objectives: pure functions of tensors, each a float32 scalar, unweighted.

Weights, and which network a term trains, are the business of `kcolor.gan`.
"""

from collections.abc import Callable

import tensorflow as tf


def cgan_critic(real: tf.Tensor, fake: tf.Tensor, real_target: float = 0.9) -> tf.Tensor:
    """The discriminator's loss of a conditional GAN, with one-sided label smoothing.

    Mean of the binary cross-entropies of real patches against `real_target` and of fake patches against 0.
    The halved sum is that of pix2pix (Isola et al., CVPR 2017, section 3.3); smoothing the real side only is
    Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, section 3.4.

    Args:
        real: Logits of the patches of true pictures, any shape.
        fake: Logits of the patches of generated pictures, any shape.
        real_target: What a real patch is told to be; 1 is no smoothing.
    """
    return 0.5 * (_cross_entropy(real, real_target) + _cross_entropy(fake, 0.0))


def cgan_generator(fake: tf.Tensor) -> tf.Tensor:
    """The generator's non-saturating loss: cross-entropy of fake patches against 1, never smoothed.

    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 3.

    Args:
        fake: Logits of the patches of generated pictures, any shape.
    """
    return _cross_entropy(fake, 1.0)


def wasserstein_critic(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """The critic's Wasserstein loss, E[critic(fake)] - E[critic(real)].

    Arjovsky et al., "Wasserstein GAN", ICML 2017, equation 2, negated to be minimized.

    Args:
        real: Scores of the patches of true pictures, any shape.
        fake: Scores of the patches of generated pictures, any shape.
    """
    return _mean(fake) - _mean(real)


def wasserstein_generator(fake: tf.Tensor) -> tf.Tensor:
    """The generator's Wasserstein loss, -E[critic(fake)].

    Args:
        fake: Scores of the patches of generated pictures, any shape.
    """
    return -_mean(fake)


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor], real: tf.Tensor, fake: tf.Tensor, mixing: tf.Tensor
) -> tf.Tensor:
    """How far the critic's slope between real and fake pictures is from 1.

    E[(||grad_x critic(x)||_2 - 1)^2] at x = mixing * real + (1 - mixing) * fake: Gulrajani et al.,
    "Improved Training of Wasserstein GANs", NeurIPS 2017, equation 3. The norm is over all values of one
    picture; the scores of its patches are summed.

    Args:
        critic: Maps pictures shaped like `real` to patch scores (batch, ...), each picture by itself.
        real: True pictures, (batch, height, width, channels).
        fake: Generated pictures of the same shape.
        mixing: The weight of the real picture, (batch, 1, 1, 1) in 0..1.
    """
    between = mixing * real + (1.0 - mixing) * fake
    with tf.GradientTape() as tape:
        tape.watch(between)
        scores = critic(between)
    slope = tf.cast(tape.gradient(scores, between), tf.float32)
    square = tf.reduce_sum(tf.square(slope), axis=[1, 2, 3])
    # The root has no derivative at zero, where a critic that is constant would stand.
    norm = tf.sqrt(tf.maximum(square, 1e-24))
    return tf.reduce_mean(tf.square(norm - 1.0))


def l1(truth: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """Mean absolute error over all values, of tensors of one shape."""
    return tf.reduce_mean(tf.abs(tf.cast(prediction, tf.float32) - truth))


def l2(truth: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """Mean squared error over all values, of tensors of one shape."""
    return tf.reduce_mean(tf.square(tf.cast(prediction, tf.float32) - truth))


def classification(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of class logits.

    Args:
        labels: Class numbers, (batch,), integer.
        logits: (batch, classes), before the softmax.
    """
    logits = tf.cast(logits, tf.float32)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def kl_divergence(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean KL divergence of the distribution that class logits mean from a target: KL(target || softmax(logits)).

    sum p (log p - log q), natural logarithms; the class term of ChromaGAN (Vitoria et al., WACV 2020).

    Args:
        target: Probabilities, (batch, classes); each row adds up to 1. Nothing is led back to it.
        logits: (batch, classes), before the softmax.
    """
    target = tf.stop_gradient(tf.cast(target, tf.float32))
    own = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    return tf.reduce_mean(tf.reduce_sum(tf.math.xlogy(target, target) - target * own, axis=-1))


def _cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    logits = tf.cast(logits, tf.float32)
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.fill(tf.shape(logits), target), logits=logits)
    )


def _mean(scores: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(scores, tf.float32))
