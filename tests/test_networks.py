"""The networks: their size, what each output sees, and what they refuse."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kcolor import networks

SMALL = {"width": 4, "depth": 3, "max_width": 16}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def small_class_unet(**arguments):
    return networks.unet_with_class_branch(**{"classes": 5, "size": 64, "width": 4, "depth": 4, **arguments})


def extent(seen):
    """Height and width of the rectangle that the nonzero values of (height, width) fill, without gaps."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert (rows.size, columns.size) == (height, width)  # no gaps
    return int(height), int(width)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (networks.unet, 54_410_882),
        (lambda: networks.unet_with_class_branch(205), 97_096_015),
        (networks.patchgan, 2_765_569),
        (lambda: networks.patchgan(normalize=False), 2_763_777),
    ],
    ids=["unet", "unet_with_class_branch", "patchgan", "patchgan_without_normalization"],
)
def test_parameter_counts(make, parameters):
    assert sum(math.prod(variable.shape) for variable in make().trainable_variables) == parameters


def test_full_size_shapes():
    assert networks.patchgan(width=1).output.shape == (None, 30, 30, 1)
    outputs = networks.unet_with_class_branch(205, width=1).output
    assert (outputs["ab"].shape, outputs["logits"].shape) == ((None, 256, 256, 2), (None, 205))


@pytest.mark.parametrize(("strided", "field"), [(1, 16), (2, 34), (3, 70)])
def test_each_patch_sees_its_square_and_nothing_else(strided, field):
    critic = networks.patchgan(128, width=2, strided=strided, normalize=False)
    inputs = [tf.constant(noise(1, 128, 128, 1)), tf.constant(noise(1, 128, 128, 2))]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        scores = critic(inputs)
        middle = scores.shape[1] // 2
        one = scores[0, middle, middle, 0]
    for slope in tape.gradient(one, inputs):
        assert extent(slope.numpy()[0].any(axis=-1)) == (field, field)


@pytest.mark.parametrize(("size", "strided", "patches"), [(32, 1, 14), (32, 2, 6), (64, 3, 6), (256, 4, 14)])
def test_critic_patches(size, strided, patches):
    critic = networks.patchgan(size, width=2, strided=strided)
    assert critic.output.shape == (None, patches, patches, 1)


@pytest.mark.parametrize(("size", "depth"), [(4, 2), (16, 2), (16, 4), (48, 4), (96, 5)])
def test_unet_gives_pictures_of_its_own_size(size, depth):
    outputs = networks.unet(size, width=2, depth=depth)(noise(1, size, size, 1))
    assert set(outputs) == {"ab"}
    assert outputs["ab"].shape == (1, size, size, 2)


@pytest.mark.parametrize(("size", "depth"), [(64, 4), (96, 5)])
def test_class_branch_gives_logits_beside(size, depth):
    outputs = small_class_unet(size=size, depth=depth)(noise(2, size, size, 1))
    assert (outputs["ab"].shape, outputs["logits"].shape) == ((2, size, size, 2), (2, 5))


def test_class_branch_reaches_the_colours():
    model = small_class_unet()
    before = model(noise(1, 64, 64, 1))
    model.get_layer("fusion_1").bias.assign(noise(32))
    after = model(noise(1, 64, 64, 1))
    assert np.abs(after["ab"] - before["ab"]).max() > 1e-9
    np.testing.assert_array_equal(after["logits"], before["logits"])


def test_every_skip_connection_carries():
    model = networks.unet(64, width=8, depth=4)
    picture = tf.constant(noise(1, 64, 64, 1))
    seen = []
    for block in (2, 1, 0):
        # Nothing comes up through this block, so that the picture is seen through the skips from it on only.
        kernel = model.get_layer(f"decoder_{block}_conv").kernel
        value = kernel.numpy()
        kernel.assign(np.zeros_like(value))
        with tf.GradientTape() as tape:
            tape.watch(picture)
            one = model(picture)["ab"][0, 32, 32, 0]
        kernel.assign(value)
        seen.append(extent(tape.gradient(one, picture).numpy()[0, :, :, 0] != 0))
    # Two neighbours in block k of the encoder, which see 3 2^(k+1) - 2 each, 2^(k+1) apart.
    assert seen == [(4 + 2,) * 2, (10 + 4,) * 2, (22 + 8,) * 2]


@pytest.mark.parametrize("make", [lambda **a: networks.unet(64, width=4, depth=4, **a), small_class_unet])
def test_mixed_precision_computes_in_bfloat16_and_answers_in_float32(make):
    model = make(dtype="mixed_bfloat16")
    for variable in model.get_layer("output_conv").trainable_variables:
        variable.assign(1e3 * tf.ones_like(variable))  # saturates tanh
    outputs = model(noise(2, 64, 64, 1))
    assert {output.dtype for output in outputs.values()} == {tf.float32}
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model.get_layer("encoder_1_conv").compute_dtype == "bfloat16"
    assert np.abs(outputs["ab"]).max() == 1


def test_mixed_precision_critic_scores_in_float32():
    critic = networks.patchgan(32, width=2, strided=2, dtype="mixed_bfloat16")
    assert critic([noise(1, 32, 32, 1), noise(1, 32, 32, 2)]).dtype == tf.float32
    assert critic.get_layer("critic_1_conv").compute_dtype == "bfloat16"


def test_dropout_in_training_only():
    model, picture = small_class_unet(), noise(2, 64, 64, 1)
    for output in ("ab", "logits"):
        once, again = (model(picture, training=False)[output] for _ in range(2))
        np.testing.assert_array_equal(once, again)
        once, again = (model(picture, training=True)[output].numpy() for _ in range(2))
        assert (once != again).any()


def test_no_dropout_on_request():
    model, picture = small_class_unet(dropout=0.0), noise(2, 64, 64, 1)
    once, again = (model(picture, training=True) for _ in range(2))
    np.testing.assert_array_equal(once["ab"], again["ab"])
    np.testing.assert_array_equal(once["logits"], again["logits"])


def test_kernels_start_glorot_uniform():
    for model in (networks.unet(16, width=64, depth=2), networks.patchgan(32, width=32)):
        kernels = [v for v in model.trainable_variables if v.path.endswith("kernel") and math.prod(v.shape) > 10_000]
        assert kernels
        for kernel in kernels:
            limit = math.sqrt(6 / (16 * (kernel.shape[2] + kernel.shape[3])))  # of 4x4 kernels
            assert 0.99 * limit < float(tf.reduce_max(tf.abs(kernel))) <= limit
            assert float(tf.math.reduce_std(kernel)) == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_normalization_goes_where_it_is_asked_for():
    def norms(model):
        return [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]

    assert norms(networks.patchgan(32, width=2)) == ["critic_1_norm", "critic_2_norm", "critic_3_norm"]
    assert norms(networks.patchgan(32, width=2, normalize=False)) == []
    expected = ["encoder_1_norm", "encoder_2_norm", "decoder_0_norm", "decoder_1_norm"]
    assert norms(networks.unet(32, **SMALL)) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: networks.unet(100), "size 100 is not a multiple of 2\\*\\*depth = 256"),
        (lambda: networks.unet(0, depth=2), "size 0"),
        (lambda: networks.unet(-4, depth=2), "size -4"),
        (lambda: networks.unet(64, depth=1), "depth >= 2, not 1"),
        (lambda: networks.unet_with_class_branch(5, 64, depth=3), "depth >= 4 and size >= 64, not 3 and 64"),
        (lambda: networks.unet_with_class_branch(5, 32, depth=4), "depth >= 4 and size >= 64, not 4 and 32"),
        (lambda: networks.unet_with_class_branch(5, 72, depth=4), "size 72"),
        (lambda: networks.unet_with_class_branch(1, 64, depth=4), "at least 2 classes, not 1"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda: networks.unet(32, **SMALL), [(2, 32, 32, 1)]),
        (small_class_unet, [(2, 64, 64, 1)]),
        (lambda: networks.patchgan(32, width=2, strided=2), [(2, 32, 32, 1), (2, 32, 32, 2)]),
    ],
    ids=["unet", "class_branch", "critic"],
)
def test_saved_network_answers_alike(make, shapes, tmp_path):
    model = make()
    inputs = [noise(*shape) for shape in shapes]
    inputs = inputs if len(inputs) > 1 else inputs[0]
    model(inputs, training=True)  # moves the statistics off their start
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    expected, outputs = tf.nest.flatten(model(inputs)), tf.nest.flatten(loaded(inputs))
    assert len(expected) == len(outputs)
    for ours, theirs in zip(expected, outputs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_generator_for_pictures_of_another_size():
    """It is convolutional: where the pictures are larger, what it says of a place depends on what is around it."""
    generator = networks.unet(16, width=4, depth=2)
    larger = networks.resized(generator, 48)
    assert larger.output["ab"].shape == (None, 48, 48, 2)
    assert {id(v) for v in larger.weights} == {id(v) for v in generator.weights}
    l = noise(1, 48, 48, 1)
    made = larger(l, training=False)["ab"]
    # What is far from every edge is as in the middle of any other picture that is the same there.
    np.testing.assert_allclose(
        networks.resized(generator, 32)(l[:, 8:40, 8:40], training=False)["ab"][:, 12:20, 12:20],
        made[:, 20:28, 20:28],
        atol=1e-6,
    )


def test_the_class_branch_goes_on_seeing_the_whole_picture_at_its_own_size():
    generator = small_class_unet()
    size = generator.input_shape[1]
    l = tf.image.resize(noise(2, 8, 8, 1), (2 * size, 2 * size), "bicubic")
    larger = networks.resized(generator, 2 * size)
    made = larger(l, training=False)
    assert made["ab"].shape == (2, 2 * size, 2 * size, 2)
    seen = tf.image.resize(l, (size, size), antialias=True)
    np.testing.assert_allclose(made["logits"], generator(seen, training=False)["logits"], atol=1e-5)
    assert {id(v) for v in larger.weights} == {id(v) for v in generator.weights}
    with pytest.raises(ValueError, match="is not a multiple"):
        networks.resized(generator, size + 8)
