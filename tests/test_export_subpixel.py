"""Transposed convolutions as ordinary ones."""

import keras
import numpy as np
import pytest

from kcolor import networks
from kcolor.export import subpixel


@pytest.mark.parametrize(
    "make",
    [lambda: networks.unet(32, width=3, depth=5), lambda: networks.unet_with_class_branch(3, 64, width=3, depth=4)],
    ids=["unet", "class_branch"],
)
def test_it_gives_the_same(make):
    """Down to a bottleneck of one pixel, with statistics and biases that are not those of the start."""
    generator, draw = make(), np.random.default_rng(0)
    for variable in generator.weights:
        if "seed" not in variable.path:
            variable.assign(variable + 0.02 * np.abs(draw.normal(size=variable.shape)))
    made = subpixel.without_transposed(generator)
    assert not any(isinstance(layer, keras.layers.Conv2DTranspose) for layer in made.layers)
    assert not any(layer.name.startswith("decoder") and "norm" in layer.name for layer in made.layers)
    l = draw.uniform(-1, 1, (2, *generator.input_shape[1:])).astype(np.float32)
    expected = generator(l, training=False)
    for name, value in made(l, training=False).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4)
    assert np.std(expected["ab"]) > 0.01


def test_of_other_convolutions_it_says_so():
    l = keras.Input((8, 8, 1))
    other = keras.Model(l, {"ab": keras.layers.Conv2DTranspose(2, 3, 2, "same", name="output_conv")(l)})
    with pytest.raises(ValueError, match="output_conv: not a 4x4 convolution of stride 2"):
        subpixel.without_transposed(other)
