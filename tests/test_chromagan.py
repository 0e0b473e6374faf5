"""ChromaGAN's generator: its size, what VGG-16 sees in it, and what is done with it as with the other networks."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kcolor import chromagan, networks


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def tiny(**arguments):
    return chromagan.chromagan(**{"classes": 5, "size": 32, "width": 4, **arguments})


def convolution(side, before, count):
    return side * side * before * count + count


def dense(before, count):
    return before * count + count


def test_full_size_by_hand():
    """Every layer of the paper's figure, added up."""
    vgg = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    vgg += [(256, 512), (512, 512), (512, 512)]
    norm = 2  # scale and offset, each of as many numbers as there are channels
    parameters = {
        "block": sum(convolution(3, *each) for each in vgg),
        "global": 4 * (convolution(3, 512, 512) + norm * 512),
        "middle": convolution(3, 512, 512) + norm * 512 + convolution(3, 512, 256) + norm * 256,
        "fusion": dense(7 * 7 * 512, 1024) + dense(1024, 512) + dense(512, 256),
        "classifier": dense(7 * 7 * 512, 4096) + dense(4096, 4096) + dense(4096, 1000),
        "decoder": convolution(1, 512, 256)
        + convolution(3, 256, 128)
        + convolution(3, 128, 64)
        + convolution(3, 64, 64)
        + convolution(3, 64, 32),
        "output": convolution(3, 32, 2),
    }
    model = chromagan.chromagan()
    found = dict.fromkeys(parameters, 0)
    for variable in model.trainable_variables:
        part = next(name for name in parameters if variable.path.startswith(name))
        found[part] += math.prod(variable.shape)
    assert found == parameters
    assert sum(parameters.values()) == 171_166_090

    def shape(name):
        return tuple(model.get_layer(name).output.shape[1:])

    assert shape("block4_conv3") == (28, 28, 512)
    assert [shape(f"global_{i}_norm") for i in range(4)] == [(14, 14, 512)] * 2 + [(7, 7, 512)] * 2
    assert [shape(f"middle_{i}_norm") for i in range(2)] == [(28, 28, 512), (28, 28, 256)]
    assert shape("fusion_reshape") == (28, 28, 256)
    assert shape("decoder_1_up") == (56, 56, 128)
    assert shape("decoder_3_up") == (112, 112, 64)
    assert (shape("output_conv"), shape("ab"), shape("logits")) == ((112, 112, 2), (224, 224, 2), (1000,))


def test_vgg_sees_grey_pictures_as_keras_own_does():
    """Its layers' names, its order and what goes in: L from 0 to 255 as a grey picture is, prepared as Keras says."""
    theirs = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    l = keras.Input((32, 32, 1))
    ours = keras.Model(l, chromagan.vgg16_features(l, blocks=4))
    names = [layer.name for layer in ours.layers if layer.weights]
    assert names == [f"block{block}_conv{i + 1}" for block, count in enumerate((2, 2, 3, 3), 1) for i in range(count)]
    for name in names:
        ours.get_layer(name).set_weights(theirs.get_layer(name).get_weights())
    given = noise(2, 32, 32, 1)
    grey = np.repeat(127.5 * (given + 1), 3, axis=-1)
    expected = keras.Model(theirs.input, theirs.get_layer("block4_conv3").output)(
        keras.applications.vgg16.preprocess_input(grey)
    )
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(ours(given), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_what_it_gives(dtype):
    outputs = tiny(dtype=dtype, size=64)(noise(2, 64, 64, 1))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {"ab": (2, 64, 64, 2), "logits": (2, 5)}
    assert all(value.dtype == "float32" for value in outputs.values())
    ab = np.asarray(outputs["ab"])
    assert 0 < np.abs(ab).max() <= 1
    # Enlarged behind tanh, by nearest neighbours.
    np.testing.assert_array_equal(ab, np.repeat(np.repeat(ab[:, ::2, ::2], 2, axis=1), 2, axis=2))


def test_everything_in_it_can_learn():
    model = tiny(size=64)
    assert [layer.name for layer in model.layers if not layer.trainable] == []
    with tf.GradientTape() as tape:
        outputs = model(noise(2, 64, 64, 1), training=True)
        loss = tf.reduce_mean(outputs["ab"] ** 2) + tf.reduce_mean(outputs["logits"] ** 2)
    assert all(np.abs(slope).max() > 0 for slope in tape.gradient(loss, model.trainable_variables))


def test_without_classes_it_has_no_head():
    model = tiny(classes=0)
    assert set(model.output) == {"ab"}
    assert not [layer.name for layer in model.layers if "classifier" in layer.name]
    assert networks.layout(model).classes == 0
    assert not networks.has_class_branch(model)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"size": 48}, "size 48 is not a multiple of 32"),
        ({"size": 0}, "size 0 is not"),
        ({"classes": 1}, "at least 2 classes, not 1"),
    ],
)
def test_refused_arguments(arguments, told):
    with pytest.raises(ValueError, match=told):
        tiny(**arguments)


def test_its_layout():
    assert networks.layout(tiny()) == networks.Layout("chromagan", 32, (4,), 5)
    assert networks.layout(networks.unet(32, width=4, depth=3)).kind == "unet"


def test_what_the_whole_picture_shows_can_be_overruled():
    model, l = tiny(), noise(2, 32, 32, 1)
    assert networks.has_class_branch(model)
    scene = networks.scene_encoder(model)(l).numpy()
    assert scene.shape == (2, 16)
    outputs = model(l)
    for i in range(2):
        made = networks.with_scene(model, scene[i])(l)
        np.testing.assert_allclose(made["ab"][i], outputs["ab"][i], atol=1e-6)
        assert np.abs(made["ab"][1 - i] - outputs["ab"][1 - i]).max() > 1e-5
        np.testing.assert_array_equal(made["logits"], outputs["logits"])


def test_for_pictures_of_another_size():
    model = tiny()
    l = tf.image.resize(noise(2, 8, 8, 1), (72, 72), "bicubic")
    larger = networks.resized(model, 72)
    made = larger(l)
    assert made["ab"].shape == (2, 72, 72, 2)
    seen = tf.image.resize(l, (32, 32), antialias=True)
    np.testing.assert_allclose(made["logits"], model(seen)["logits"], atol=1e-5)
    assert {id(v) for v in larger.weights} == {id(v) for v in model.weights}
    with pytest.raises(ValueError, match="size 36 is not a multiple of 8"):
        networks.resized(model, 36)


def test_a_saved_one_is_the_same(tmp_path):
    model, l = tiny(), noise(1, 32, 32, 1)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    for name, value in model(l).items():
        np.testing.assert_array_equal(again(l)[name], value)
