"""Colour conversion against scikit-image, which computes in float64."""

import numpy as np
import pytest
import skimage.color
import tensorflow as tf

from kcolor import color

LEVELS = np.append(np.arange(0, 256, 4), 255)
GRID = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij"), -1).reshape(-1, 3).astype(np.uint8)
GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
RANDOM = np.random.default_rng(0).integers(0, 256, (50_000, 3), np.uint8)
COLOURS = np.concatenate([GRID, GREYS, RANDOM])
# Inside the gamut, clear of the kinks of both curves: where derivatives are compared.
SMOOTH = np.array([[0.5, 0.5, 0.5], [0.9, 0.2, 0.3], [0.2, 0.7, 0.4], [0.3, 0.3, 0.9], [0.02, 0.02, 0.02]])


def slopes(function, x):
    """(points, outputs, inputs): the derivatives that a tape gives."""
    x = tf.constant(x, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        outputs = tf.unstack(function(x), axis=-1)
    return np.stack([tape.gradient(output, x).numpy() for output in outputs], axis=1)


def numerical_slopes(rgb, step=1e-6):
    """The same for scikit-image's rgb2lab, by central differences."""
    return np.stack(
        [
            (skimage.color.rgb2lab(rgb + step * axis) - skimage.color.rgb2lab(rgb - step * axis)) / (2 * step)
            for axis in np.eye(3)
        ],
        axis=-1,
    )


def test_lab_is_that_of_scikit_image():
    np.testing.assert_allclose(color.rgb_to_lab(COLOURS), skimage.color.rgb2lab(COLOURS), rtol=0, atol=1e-3)


def test_lab_of_known_colours():
    # Published values for sRGB red, green and blue under D65.
    corners = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    lab = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(color.rgb_to_lab(corners), lab, rtol=0, atol=0.02)


def test_greys_have_no_colour():
    lab = color.rgb_to_lab(GREYS).numpy()
    assert np.abs(lab[:, 1:]).max() < 5e-3  # the published matrix itself leaves 2.5e-3 of b
    assert (np.diff(lab[:, 0]) > 0).all()


def test_rgb_comes_back_before_rounding():
    back = color.lab_to_rgb(color.rgb_to_lab(COLOURS)).numpy()
    assert np.abs(back * 255 - COLOURS).max() < 0.05  # of a level; 0.5 would be seen


def test_merge_undoes_split_exactly():
    np.testing.assert_array_equal(color.merge(*color.split(COLOURS)), COLOURS)


def test_16_bits_come_back_nearly_exactly():
    deep = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), np.uint16)
    back = color.merge(*color.split(deep), tf.uint16)
    assert back.dtype == tf.uint16
    assert np.abs(back.numpy().astype(int) - deep).max() <= 8  # float32, steep near black
    np.testing.assert_allclose(color.rgb_to_lab(deep), skimage.color.rgb2lab(deep / 65535), atol=2e-3)
    np.testing.assert_allclose(color.lightness(deep), color.split(deep)[0], atol=1e-5)
    np.testing.assert_array_equal(color.merge(*color.split(deep)), np.round(deep / 257))


def test_rgb_of_lab_is_that_of_scikit_image():
    lab = skimage.color.rgb2lab(COLOURS[::7])
    np.testing.assert_allclose(color.lab_to_rgb(lab), skimage.color.lab2rgb(lab), rtol=0, atol=1e-4)


def test_scaled_values_span_but_never_leave_one():
    lightness, ab = color.split(COLOURS)
    assert float(tf.reduce_min(lightness)) == pytest.approx(-1, abs=1e-6)
    assert float(tf.reduce_max(lightness)) == pytest.approx(1, abs=1e-6)
    assert float(tf.reduce_min(lightness)) >= -1
    assert float(tf.reduce_max(lightness)) <= 1
    assert float(tf.reduce_max(tf.abs(ab))) == pytest.approx(107.86 / 128, abs=1e-3)  # of pure blue


def test_scaling_by_hand():
    lightness, ab = color.split(np.array([[255, 0, 0]], np.uint8))
    np.testing.assert_allclose(lightness, [[53.24 / 50 - 1]], atol=1e-3)
    np.testing.assert_allclose(ab, [[80.09 / 128, 67.20 / 128]], atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_agree_with_bytes(dtype):
    some = COLOURS[::11]
    np.testing.assert_allclose(color.rgb_to_lab(some.astype(dtype) / 255), color.rgb_to_lab(some), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(3,), (8, 3), (2, 2, 2, 3), (1, 2, 1, 4, 3)])
def test_any_batch_shape(shape):
    rgb = COLOURS[1000 : 1000 + int(np.prod(shape)) // 3].reshape(shape)
    lightness, ab = color.split(rgb)
    assert (lightness.shape, ab.shape) == ((*shape[:-1], 1), (*shape[:-1], 2))
    np.testing.assert_array_equal(color.merge(lightness, ab), rgb)


def test_gradients_are_finite_everywhere():
    # Past the gamut on every side, and at the kinks of the curves.
    steps = np.array([-1, -0.1, 0, 0.04045, 0.5, 1, 2])
    rgb = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    lab = np.stack(np.meshgrid([-50, 0, 8, 50, 100, 150], [-200, 0, 200], [-200, 0, 200]), -1).reshape(-1, 3)
    for function, points in ((color.rgb_to_lab, rgb), (color.lab_to_rgb, lab)):
        assert np.isfinite(function(points)).all()
        assert np.isfinite(slopes(function, points)).all()


def test_gradient_is_that_of_scikit_image_by_differences():
    expected = numerical_slopes(SMOOTH)
    np.testing.assert_allclose(slopes(color.rgb_to_lab, SMOOTH), expected, rtol=1e-3, atol=0.05)
    lab = skimage.color.rgb2lab(SMOOTH)
    # The derivative of the inverse is the inverse of the derivative.
    np.testing.assert_allclose(slopes(color.lab_to_rgb, lab), np.linalg.inv(expected), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_graph_and_xla_give_the_eager_numbers(jit):
    some = COLOURS[::5]
    forth = tf.function(color.rgb_to_lab, jit_compile=jit)
    back = tf.function(color.lab_to_rgb, jit_compile=jit)
    lab = color.rgb_to_lab(some)
    np.testing.assert_allclose(forth(some), lab, rtol=0, atol=5e-4)
    np.testing.assert_allclose(back(lab), color.lab_to_rgb(lab), rtol=0, atol=1e-5)
    merged = tf.function(lambda rgb: color.merge(*color.split(rgb)), jit_compile=jit)(some)
    np.testing.assert_array_equal(merged, some)


def test_bfloat16_is_computed_in_float32():
    lightness, ab = (tf.cast(part, tf.bfloat16) for part in color.split(COLOURS[::50]))
    merged = color.merge(lightness, ab)
    assert merged.dtype == tf.uint8
    np.testing.assert_array_equal(merged, color.merge(tf.cast(lightness, tf.float32), tf.cast(ab, tf.float32)))
    rgb = color.lab_to_rgb(tf.constant([[50.0, 20.0, -30.0]], tf.bfloat16))  # all three exact in bfloat16
    assert rgb.dtype == tf.float32
    np.testing.assert_allclose(rgb, skimage.color.lab2rgb([[50.0, 20.0, -30.0]]), rtol=0, atol=1e-5)


def test_merge_clips_what_is_out_of_gamut():
    lightness = tf.constant([[1.0], [-1.0], [3.0], [-2.0], [0.0]])
    ab = tf.constant([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    merged = color.merge(lightness, ab).numpy()
    np.testing.assert_array_equal(merged[:4], [[255] * 3, [0] * 3, [255] * 3, [0] * 3])
    # L 50, a 128: more red and less green than there is.
    expected = np.round(skimage.color.lab2rgb([[50.0, 128.0, 0.0]]) * 255)
    np.testing.assert_array_equal(merged[4:], expected)
    assert (merged[4, 0], merged[4, 1]) == (255, 0)


def scaled(lab):
    return tf.constant(lab[:, :1] / color.L_SCALE - 1, tf.float32), tf.constant(lab[:, 1:] / color.AB_SCALE, tf.float32)


def in_gamut(lab):
    """By scikit-image's own conversion: what is rounded to levels that exist."""
    # scikit-image clips in lab2rgb, but not before.
    linear = skimage.color.lab2xyz(lab) @ skimage.color.colorconv.rgb_from_xyz.T
    gamma = np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return gamma, ((gamma > -0.6 / 255) & (gamma < 1 + 0.6 / 255)).all(-1)


@pytest.fixture(scope="module")
def wild():
    """Lab of any kind, half of it far out of gamut; and what fit_gamut makes of it."""
    random = np.random.default_rng(3)
    lab = np.concatenate(
        [
            random.uniform([0, -128, -128], [100, 128, 128], (20_000, 3)),
            random.uniform([0, -40, -40], [100, 40, 40], (20_000, 3)),
        ]
    )
    l, ab = scaled(lab)
    return lab, color.fit_gamut(l, ab).numpy() * color.AB_SCALE


def test_the_gamut_is_reached_by_chroma_alone(wild):
    lab, ab = wild
    _, was_inside = in_gamut(lab)
    fitted = np.column_stack([lab[:, 0], ab])
    _, is_inside = in_gamut(fitted)
    assert 0.2 < was_inside.mean() < 0.5
    assert is_inside.all()
    # What is inside stays exactly as it is; the rest loses chroma and keeps its hue.
    clearly = (in_gamut(lab)[0] > 0).all(-1) & (in_gamut(lab)[0] < 1).all(-1)
    np.testing.assert_array_equal(ab[clearly], (lab[clearly, 1:] / color.AB_SCALE).astype(np.float32) * color.AB_SCALE)
    part = np.hypot(*ab.T) / np.hypot(*lab[:, 1:].T)
    assert (part[~was_inside] < 1).all()
    assert np.abs(lab[:, 1] * ab[:, 1] - lab[:, 2] * ab[:, 0]).max() < 0.01
    assert (lab[:, 1:] * ab >= 0).all()
    # No more is lost than must be: a little more chroma would be half a level too much.
    more = in_gamut(np.column_stack([lab[:, 0], lab[:, 1:] * (part + 2.0**-14)[:, None]]))[0][~was_inside]
    assert np.maximum(-more, more - 1).max(-1).min() > -0.001 / 255


def test_lightness_is_kept_where_the_gamut_ends(wild):
    lab, ab = wild
    l, fitted = scaled(np.column_stack([lab[:, 0], ab]))
    kept = skimage.color.rgb2lab(color.merge(l, fitted).numpy())[:, 0]
    assert np.abs(kept - lab[:, 0]).max() < 0.5
    # Which clipping channel by channel does not do.
    clipped = skimage.color.rgb2lab(color.merge(*scaled(lab)).numpy())[:, 0]
    assert np.percentile(np.abs(clipped - lab[:, 0]), 75) > 3


def test_turned_grey_again_it_is_the_same_grey(wild):
    lab, ab = wild
    l, fitted = scaled(np.column_stack([lab[:, 0], ab]))
    coloured = color.merge(l, fitted)
    greys = [color.merge(x, tf.zeros_like(fitted)).numpy().astype(int) for x in (l, color.lightness(coloured))]
    assert np.abs(greys[0] - greys[1]).max() <= 1


def test_every_colour_that_exists_is_in_the_gamut():
    l, ab = color.split(COLOURS)
    np.testing.assert_array_equal(color.fit_gamut(l, ab), ab)
    np.testing.assert_array_equal(color.fit_gamut(l, ab, dense=True), ab)


def test_lightness_that_does_not_exist_is_grey():
    l = tf.constant([[-3.0], [-1.0], [1.0], [4.0]])
    fitted = color.fit_gamut(l, tf.fill((4, 2), 0.5))
    assert float(tf.reduce_max(tf.abs(fitted))) < 2e-3
    # Within a level: the darkest colour that is not black is as dark as black, to rounding.
    np.testing.assert_allclose(color.merge(l, fitted), [[0] * 3, [0] * 3, [255] * 3, [255] * 3], atol=1)


@pytest.mark.parametrize("shape", [(2,), (8, 2), (0, 5, 2), (2, 3, 4, 2)])
@pytest.mark.parametrize("dense", [False, True])
def test_fitting_takes_any_shape_in_any_mode(shape, dense):
    random = np.random.default_rng(0)
    l, ab = random.uniform(-1, 1, (*shape[:-1], 1)), random.uniform(-1, 1, shape)
    fitted = color.fit_gamut(l, ab, dense=dense)
    assert (fitted.shape, fitted.dtype) == (shape, tf.float32)
    graph = tf.function(lambda l, ab: color.fit_gamut(l, ab, dense=dense), jit_compile=dense)(l, ab)
    np.testing.assert_allclose(graph, color.fit_gamut(l, ab), rtol=0, atol=1e-4)
