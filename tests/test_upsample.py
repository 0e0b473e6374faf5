"""Colours enlarged along a photograph's own edges."""

import numpy as np
import pytest
import skimage.data
import tensorflow as tf

from kcolor import color, image, upsample
from kcolor.cli.colorize import UPSAMPLERS as ON_OFFER
from kcolor.metrics.delta_e import delta_e_2000
from kcolor.upsample import UPSAMPLERS, bilinear, guided

PHOTOS = {
    **{name: getattr(skimage.data, name) for name in ("astronaut", "chelsea", "coffee", "rocket")},
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
}
SIZES = [(1, 1), (1, 500), (700, 1), (3, 2), (63, 65), (64, 64), (17, 2900), (1500, 40), (40, 41), (128, 63)]


def random_picture(height, width, size=64, seed=0):
    """Unrelated ab and l."""
    random = np.random.default_rng(seed)
    ab = random.uniform(-1, 1, (size, size, 2)).astype(np.float32)
    return ab, random.uniform(-1, 1, (height, width, 1)).astype(np.float32)


def two_tones(large=640, small=64, contrast=0.4, grain=0.0):
    """Two colours that meet inside a small pixel, as lightness does: ab, l, the small ab, the column of the edge."""
    edge = large * 11 // 20 + large // small // 3
    ab, l = np.zeros((large, large, 2), np.float32), np.zeros((large, large, 1), np.float32)
    ab[:, edge:], l[:, edge:] = (0.4, -0.2), contrast
    l += np.random.default_rng(0).normal(0, grain, l.shape) if grain else 0
    return ab, l, upsample.shrunk(ab, small, small).numpy(), edge


def error(made, ab):
    return float(np.sqrt(np.mean((np.asarray(made) - ab) ** 2)))


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size_within_the_colours_that_were_given(name, height, width):
    ab, l = random_picture(height, width)
    made = UPSAMPLERS[name](ab, l).numpy()
    assert made.shape == (height, width, 2)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert made.min() >= ab.min() - 1e-6
    assert made.max() <= ab.max() + 1e-6


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize("size", [1, 2, 3, 64])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 301), (64, 64)])
def test_one_colour_stays_exactly_that(name, size, height, width):
    _, l = random_picture(height, width)
    for colour in ((0.0, 0.0), (0.1, -0.7), (-1.0, 1 / 3)):
        ab = np.broadcast_to(np.float32(colour), (size, size, 2))
        made = UPSAMPLERS[name](ab, l).numpy()
        np.testing.assert_array_equal(made, np.broadcast_to(np.float32(colour), (height, width, 2)))


@pytest.mark.parametrize("height,width", [(64, 64), (200, 333), (65, 1000)])
def test_bilinear_is_that_of_tensorflow(height, width):
    ab, l = random_picture(height, width)
    np.testing.assert_allclose(bilinear(ab, l), tf.image.resize(ab, (height, width)), rtol=0, atol=2e-5)


def test_at_the_network_s_own_size_nothing_changes():
    ab, l = random_picture(64, 64)
    for upsampler in UPSAMPLERS.values():
        np.testing.assert_allclose(upsampler(ab, l), ab, rtol=0, atol=1e-6)


def test_colour_does_not_bleed_over_an_edge():
    ab, l, small, edge = two_tones()
    blurred, sharp = bilinear(small, l).numpy(), guided(small, l).numpy()
    wrong = [np.abs(made - ab)[:, edge - 10 : edge + 10].mean() for made in (blurred, sharp)]
    assert wrong[0] > 0.03  # of 0.3: bilinear bleeds
    assert wrong[1] < 0.2 * wrong[0]
    assert error(sharp, ab) < 0.3 * error(blurred, ab)
    # The same where the edge is not along the pixels, and colour is lighter on the other side.
    turned = lambda x: np.swapaxes(x, 0, 1)  # noqa: E731
    np.testing.assert_allclose(guided(turned(small), turned(l)), turned(sharp), rtol=0, atol=1e-5)
    dark = guided(small, -l).numpy()
    assert error(dark, ab) < 0.3 * error(blurred, ab)


def test_without_an_edge_of_lightness_it_is_no_worse_than_bilinear():
    ab, l, small, _ = two_tones(contrast=0.0)
    assert error(guided(small, l), ab) < 0.9 * error(bilinear(small, l), ab)


@pytest.mark.parametrize("contrast", [0.0, 0.1, 0.4])
def test_no_halos_and_no_grain_in_the_colours(contrast):
    ab, l, small, edge = two_tones(contrast=contrast, grain=0.05)
    made = guided(small, l).numpy()
    # Three small pixels from the edge each side has its one colour, however grainy it is; nearer, nothing in excess.
    np.testing.assert_allclose(made[:, : edge - 35], ab[:, : edge - 35], rtol=0, atol=1e-6)
    np.testing.assert_allclose(made[:, edge + 35 :], ab[:, edge + 35 :], rtol=0, atol=1e-6)
    assert made[..., 0].min() >= -1e-6
    assert made[..., 0].max() <= 0.4 + 1e-6
    assert error(made, ab) < error(bilinear(small, l), ab)


def test_lightness_that_says_nothing_of_colour_is_not_followed():
    """Of soft colours and an unrelated, detailed lightness, as of a network that blurs."""
    random = np.random.default_rng(1)
    soft = tf.image.resize(random.uniform(-0.5, 0.5, (6, 6, 2)), (64, 64), "bicubic").numpy()
    l = tf.image.resize(random.uniform(-1, 1, (100, 100, 1)), (400, 400), "bicubic").numpy()
    plain = guided(soft, np.zeros_like(l)).numpy()
    assert np.abs(guided(soft, l).numpy() - plain).mean() < 2e-3
    # And where colour is lightness, it is followed.
    small = upsample.shrunk(l, 64, 64).numpy() * np.float32([0.3, -0.4])
    truth = l * np.float32([0.3, -0.4])
    assert error(guided(small, l), truth) < 0.65 * error(bilinear(small, l), truth)


def test_made_small_again_it_is_what_was_given():
    l, ab = color.split(skimage.data.coffee())
    small = upsample.shrunk(ab, 128, 128)
    lost = [error(upsample.shrunk(way(small, l), 128, 128), small) for way in (bilinear, guided)]
    assert lost[1] < 0.5 * lost[0]


@pytest.mark.parametrize("size", [128, 256])
def test_real_photographs_lose_clearly_less(size):
    """Of ab that was shrunk with the photo, as the network's is: Delta E from the photo, in ratio to bilinear's."""
    table = []
    for photo in PHOTOS.values():
        rgb = tf.constant(photo())
        l, ab = color.lightness(rgb), color.split(image.fit_square(rgb, size))[1]
        made = [color.merge(l, color.fit_gamut(l, way(ab, l))) for way in (bilinear, guided)]
        each = [delta_e_2000(color.rgb_to_lab(rgb), color.rgb_to_lab(one)).numpy() for one in made]
        table.append([(one.mean(), np.percentile(one, 95)) for one in each])
    table = np.array(table)
    assert (table[:, 1] < table[:, 0]).all()  # of each photo, mean and 95th percentile
    ratio = table[:, 1].mean(0) / table[:, 0].mean(0)
    assert (ratio < 0.87).all(), ratio


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_rows_are_those_of_the_whole(name):
    ab, l = random_picture(301, 203, size=32)
    plan = UPSAMPLERS[name].plan(ab, upsample.shrunk(l, 32, 32), 301, 203)
    whole = upsample.rows(plan, 0, 301, 301, 203)
    for first, count in ((0, 1), (0, 57), (57, 200), (299, 2), (300, 1)):
        for part, all_of_it in zip(upsample.rows(plan, first, count, 301, 203), whole, strict=True):
            np.testing.assert_allclose(part, all_of_it[first : first + count], rtol=0, atol=2e-6)


def test_a_graph_of_unknown_sizes_gives_the_same():
    graph = tf.function(
        guided,
        input_signature=[tf.TensorSpec((None, None, 2)), tf.TensorSpec((None, None, 1))],
    )
    for height, width in ((1, 1), (90, 300), (20, 500)):
        ab, l = random_picture(height, width)
        np.testing.assert_allclose(graph(ab, l), guided(ab, l), rtol=0, atol=1e-5)


def test_the_command_line_knows_them():
    assert list(UPSAMPLERS) == ON_OFFER
