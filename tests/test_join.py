"""A photograph's own L and small colours."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from made import colour
from skimage.color import rgb2lab

from kcolor import color
from kcolor.cli import common
from kcolor.colorizer import Colorizer
from kcolor.join import join
from kcolor.protocols import PROTOCOLS
from kcolor.upsample import UPSAMPLERS


@pytest.fixture(scope="module")
def colorizer(finished):
    return Colorizer.load(finished.path)


def test_the_photo_s_own_lightness_is_kept_at_its_own_size(colorizer):
    rgb = np.asarray(colour(300))[:, :201]
    coloured = colorizer(rgb)
    assert coloured.shape == rgb.shape
    assert coloured.dtype == np.uint8
    # In gamut or not, to rounding.
    assert np.abs(rgb2lab(coloured)[..., 0] - rgb2lab(rgb)[..., 0]).max() < 0.5


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_turned_grey_again_it_is_the_grey_photo(name):
    """Whatever the colours: these are far beyond the gamut in places."""
    rgb = np.asarray(colour(200, 5))
    ab = np.random.default_rng(0).uniform(-0.9, 0.9, (16, 16, 2)).astype(np.float32)
    coloured = join(rgb, ab, UPSAMPLERS[name])
    before, after = (join(x, tf.zeros((1, 1, 2))).numpy().astype(int) for x in (rgb, coloured))
    assert np.abs(before - after).max() <= 1
    assert np.ptp(coloured.numpy(), axis=2).max() > 100


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize(("height", "width"), [(301, 203), (2, 9000), (700, 5)])
def test_strips_are_parts_of_the_whole(monkeypatch, name, height, width):
    """Also where a single row is more than a strip."""
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    ab = random.uniform(-0.6, 0.6, (32, 32, 2)).astype(np.float32)
    whole = join(rgb, ab, UPSAMPLERS[name]).numpy().astype(int)
    monkeypatch.setattr(sys.modules["kcolor.join"], "_STRIP", 2**12)
    strips = join(rgb, ab, UPSAMPLERS[name])
    assert strips.shape == rgb.shape
    assert np.abs(strips.numpy() - whole).max() <= 1
    assert (strips.numpy() == whole).mean() > 0.999


def test_several_photographs_in_a_graph_of_unknown_sizes(monkeypatch):
    monkeypatch.setattr(sys.modules["kcolor.join"], "_STRIP", 2**12)
    graph = tf.function(join, [tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((None, 8, 8, 2))])
    one = tf.function(join, [tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((8, 8, 2))])
    random = np.random.default_rng(0)
    for shape in ((2, 70, 90, 3), (1, 1, 1, 3), (3, 5, 3000, 3), (0, 4, 4, 3)):
        rgb = random.integers(0, 256, shape, np.uint8)
        ab = random.uniform(-0.6, 0.6, (shape[0], 8, 8, 2)).astype(np.float32)
        made = graph(rgb, ab).numpy().astype(int)
        assert made.shape == shape
        for photo_alone, colours, result in zip(rgb, ab, made, strict=True):
            assert np.abs(join(photo_alone, colours).numpy() - result).max() <= 1
            assert np.abs(one(photo_alone, colours).numpy() - result).max() <= 1
        if shape[0]:
            assert np.abs(join(rgb, ab).numpy() - made).max() <= 1


def test_protocols_answer_as_they_are_defined():
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (2, 50, 60, 3), np.uint8)
    ab = random.uniform(-0.9, 0.9, (2, 16, 16, 2)).astype(np.float32)
    bilinear = color.merge(color.lightness(rgb), tf.image.resize(ab, (50, 60)))
    np.testing.assert_array_equal(PROTOCOLS["rgb"].answer(rgb, ab), bilinear)
    np.testing.assert_array_equal(PROTOCOLS["native"].answer(rgb, ab), join(rgb, ab))
    assert (PROTOCOLS["rgb"].version, PROTOCOLS["native"].version) == (1, 2)
    assert list(PROTOCOLS) == common.PROTOCOLS


def test_colours_that_are_there_are_not_looked_at(colorizer):
    rgb = np.asarray(colour(64))
    grey = join(tf.constant(rgb), tf.zeros((1, 1, 2))).numpy()
    assert np.ptp(grey, axis=2).max() <= 1
    one, other = (colorizer(picture).astype(int) for picture in (rgb, grey))
    assert np.abs(one - other).max() <= 3  # grey is rounded to 8 bits


def test_colours_are_enlarged_over_the_whole_photo():
    """A generator that says: red on the left, blue on the right."""
    ab = np.zeros((8, 8, 2), np.float32)
    ab[:, :4, 0], ab[:, 4:, 1] = 0.5, -0.5
    coloured = join(np.full((100, 200, 3), 128, np.uint8), ab).numpy().astype(int)
    assert (coloured[:, :80, 0] > coloured[:, :80, 1] + 50).all()
    assert (coloured[:, 120:, 2] > coloured[:, 120:, 1] + 50).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (63, 65)])
def test_any_size(colorizer, height, width):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    assert colorizer(rgb).shape == (height, width, 3)
