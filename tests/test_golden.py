"""The networks and every loss term against an independent implementation's numbers.

1e-4 relative for outputs and losses and 1e-3 for gradient norms: float32 here, float64 there.
"""

import json
import math
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from golden import batch, parameter

from kcolor import gan, losses, networks

REFERENCE = json.loads((Path(__file__).parent / "golden" / "reference.json").read_text())
POINTS = [(0, 0, 0), (0, 128, 64), (1, 17, 200), (2, 255, 255), (3, 100, 31)]
MIXING = tf.reshape(tf.constant([0.25, 0.75, 0.5, 0.1]), (4, 1, 1, 1))


def fill(model: keras.Model, names: str) -> keras.Model:
    """Set every weight by the reference's name for it; all its names must be met."""
    shapes = dict(REFERENCE["parameter_shapes"][names])
    for variable in model.variables:
        if "seed" in variable.path:
            continue
        layer, kind = variable.path.split("/")
        name = re.sub(r"_(?=\d|conv|norm|output)|(?<=\d)_", "/", layer) + "/" + kind
        assert tuple(shapes.pop(name)) == tuple(variable.shape), name
        variable.assign(parameter(name, tuple(variable.shape)))
    assert not shapes
    return model


@pytest.fixture(scope="module")
def data():
    l, ab, labels = batch()
    return tf.constant(l, tf.float32), tf.constant(ab, tf.float32), tf.constant(labels, tf.int32)


@pytest.fixture(scope="module", params=["generator", "generator_class"])
def generator(request):
    made = (
        networks.unet(dropout=0.0)
        if request.param == "generator"
        else networks.unet_with_class_branch(205, dropout=0.0)
    )
    return request.param, fill(made, request.param)


def critic(names: str) -> keras.Model:
    return fill(networks.patchgan(normalize=names == "critic"), names)


def summary(values: tf.Tensor) -> dict[str, float]:
    values = values.numpy().astype(np.float64)
    return {"mean": values.mean(), "std": values.std(), "l2": math.sqrt((values**2).sum())}


def norm(gradients: list[tf.Tensor]) -> float:
    return float(tf.linalg.global_norm(gradients))


def close(value, expected, tolerance=1e-4):
    assert float(value) == pytest.approx(expected, rel=tolerance)


def trainable(model: keras.Model) -> int:
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_generator_outputs(generator, data, training):
    names, model = generator
    expected = REFERENCE[names]["training" if training else "inference"]
    moving = {v.path: v.numpy() for v in model.non_trainable_variables}
    outputs = model(data[0], training=training)
    for variable in model.non_trainable_variables:
        variable.assign(moving[variable.path])  # the next test is to find them as they were
    assert summary(outputs["ab"]) == pytest.approx(expected["ab"], rel=1e-4)
    points = [outputs["ab"][point].numpy() for point in POINTS]
    np.testing.assert_allclose(points, expected["ab_points"], rtol=1e-4, atol=1e-6)
    assert trainable(model) == REFERENCE[names]["trainable_parameters"]
    if "logits" in outputs:
        assert summary(outputs["logits"]) == pytest.approx(expected["logits"], rel=1e-4)
        first = outputs["logits"][0, :8].numpy()
        # The logits spread over 0.67; one that happens to lie near 0 is no more exact than the others.
        np.testing.assert_allclose(first, expected["logits_first8_of_sample0"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", ["critic", "critic_nonorm"])
def test_critic_outputs(data, names):
    model = critic(names)
    l, ab, _ = data
    scores = model([l, ab], training=True)
    expected = REFERENCE[names]
    assert trainable(model) == expected["trainable_parameters"]
    assert list(scores.shape) == expected["output_shape_nhwc"]
    assert summary(scores) == pytest.approx(expected["training"]["real"], rel=1e-4)
    close(scores[0, 0, 0, 0], expected["training"]["real_at_0_0_0"])
    close(scores[3, 29, 12, 0], expected["training"]["real_at_3_29_12"])


@pytest.mark.parametrize("objective", ["cgan", "wgan_gp"])
def test_losses_and_gradients(generator, data, objective):
    names, network = generator
    l, ab, labels = data
    expected = REFERENCE[f"{names}+{objective}"]
    if objective == "cgan":
        model = gan.ConditionalGAN(network, critic("critic"), classification_weight=0.003)
    else:
        model = gan.WassersteinGANGP(
            network,
            critic("critic_nonorm"),
            adversarial_weight=0.1,
            reconstruction="l2",
            reconstruction_weight=1.0,
            classification_weight=0.003,
        )
    moving = [variable.numpy() for variable in network.non_trainable_variables]
    with tf.GradientTape() as tape:
        outputs = network(l, training=True)
        terms = model.generator_terms(l, ab, labels, outputs)
    gradients = tape.gradient(terms["generator"], network.trainable_variables)
    for variable, value in zip(network.non_trainable_variables, moving, strict=True):
        variable.assign(value)

    fake = tf.stop_gradient(outputs["ab"])
    with tf.GradientTape() as tape:
        extra = {"mixing": MIXING} if objective == "wgan_gp" else {}
        critic_terms = model.critic_terms(l, ab, fake, **extra)
    critic_gradients = tape.gradient(critic_terms["critic"], model.critic.trainable_variables)

    close(terms["generator"], expected["generator_total"])
    close(terms["adversarial"], expected["generator_adversarial"])
    close(losses.l1(ab, outputs["ab"]), expected["l1"])
    close(losses.l2(ab, outputs["ab"]), expected["l2"])
    close(critic_terms["critic"], expected["critic_total"])
    if objective == "cgan":
        close(critic_terms["critic"], expected["critic_bce_smoothed_0.9"])
    else:
        close(critic_terms["wasserstein"], expected["critic_wasserstein"])
        close(critic_terms["penalty"], expected["gradient_penalty_unweighted"])
        for i, slope in enumerate(expected["gradient_norms"]):
            one = slice(i, i + 1)
            single = losses.gradient_penalty(
                lambda x, one=one: model.critic([l[one], x], training=True), ab[one], fake[one], MIXING[one]
            )
            close(math.sqrt(single) + 1, slope)
    if "logits" in outputs:
        close(terms["classification"], expected["cross_entropy"])

    close(norm(gradients), expected["generator_gradient_l2"], 1e-3)
    close(norm(critic_gradients), expected["critic_gradient_l2"], 1e-3)
    by_path = {v.path: g for v, g in zip(network.trainable_variables, gradients, strict=True)}
    by_path |= {v.path: g for v, g in zip(model.critic.trainable_variables, critic_gradients, strict=True)}
    named = {
        "critic_first_kernel": "critic_0_conv/kernel",
        "generator_encoder0_kernel": "encoder_0_conv/kernel",
        "generator_output_kernel": "output_conv/kernel",
        "generator_fusion0_kernel": "fusion_0/kernel",
        "generator_classifier0_kernel": "classifier_0/kernel",
    }
    for name, path in named.items():
        if f"{name}_gradient_l2" in expected:
            close(norm([by_path[path]]), expected[f"{name}_gradient_l2"], 1e-3)
