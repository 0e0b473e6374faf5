"""What is measured under each protocol, against scikit-image and plain numpy."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from golden import photo_pair, uniform
from skimage.color import lab2rgb, rgb2lab
from skimage.transform import resize

from kcolor import metrics
from kcolor.cli import common
from kcolor.protocols import PROTOCOLS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text())
TRUTH, DULL = photo_pair()
RGB = pytest.mark.parametrize("name", ["rgb", "native"])
ALL = pytest.mark.parametrize("name", ["rgb", "native", "paper"])


def ab_of(rgb: np.ndarray) -> tf.Tensor:
    """Its colours, scaled to [-1, 1]."""
    return tf.constant(rgb2lab(rgb)[..., 1:] / 128, tf.float32)


def some_ab(height: int, width: int, strength: float = 0.25) -> np.ndarray:
    return (strength * uniform("protocols/ab", (len(TRUTH), height, width, 2))).astype(np.float32)


def enlarged(ab: np.ndarray, height: int, width: int) -> np.ndarray:
    """By scikit-image: linear between the middles of the pixels, the outermost ones continued."""
    return np.stack(
        [resize(one, (height, width), order=1, mode="edge", anti_aliasing=False, preserve_range=True) for one in ab]
    )


def answer(name: str, rgb: np.ndarray, ab) -> np.ndarray:
    return PROTOCOLS[name].answer(tf.constant(rgb), tf.constant(ab, tf.float32)).numpy()


def stacked(l: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """L, a and b in CIE units as the report's code has them."""
    return np.concatenate([l / 100, np.where(ab > 0, ab / 127, ab / 128) * 0.5 + 0.5], axis=-1)


# --- in RGB


@RGB
def test_the_truth_is_the_photo(name):
    np.testing.assert_array_equal(PROTOCOLS[name].truth(tf.constant(TRUTH)), TRUTH)


def test_an_answer_is_joined_with_the_true_lightness():
    height, width = TRUTH.shape[1:3]
    ab = some_ab(24, 20)
    lab = np.concatenate([rgb2lab(TRUTH)[..., :1], 128 * enlarged(ab, height, width)], axis=-1)
    # scikit-image turns what is blacker than black into something else; of that there is nothing here.
    assert ((lab[..., 0] + 16) / 116 > lab[..., 2] / 200).all()
    expected = np.round(255 * lab2rgb(lab))
    made = answer("rgb", TRUTH, ab)
    assert made.shape == TRUTH.shape
    assert made.dtype == np.uint8
    assert np.abs(made - expected).max() <= 1
    assert (made == expected).mean() > 0.99
    # Colours beyond the gamut are among them, and clipped.
    assert (expected == 255).any()


@RGB
def test_the_true_colours_give_the_photo_back(name):
    assert np.abs(answer(name, TRUTH, ab_of(TRUTH)).astype(int) - TRUTH).max() <= (name == "native")
    assert np.abs(answer(name, TRUTH, ab_of(DULL)).astype(int) - TRUTH).max() > 20


# --- as in the report


def test_the_report_measures_l_a_and_b():
    for rgb in (TRUTH, DULL):
        lab = rgb2lab(rgb)
        made = PROTOCOLS["paper"].truth(tf.constant(rgb)).numpy()
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, stacked(lab[..., :1], lab[..., 1:]), atol=2e-5)
        assert 0 <= made.min() < made.max() <= 1


def test_the_report_has_the_true_lightness_in_both():
    made = answer("paper", TRUTH, ab_of(DULL))
    np.testing.assert_allclose(made, stacked(rgb2lab(TRUTH)[..., :1], rgb2lab(DULL)[..., 1:]), atol=2e-5)
    np.testing.assert_allclose(made[..., 0], PROTOCOLS["paper"].truth(tf.constant(TRUTH))[..., 0], atol=1e-6)
    # Which is not that of the duller picture.
    assert np.abs(made[..., 0] - rgb2lab(DULL)[..., 0] / 100).max() > 0.01


def test_the_report_divides_by_127_above_zero_and_by_128_below():
    ab = np.array([0, 1, -1, 63.5, -64, 127, -128, 100, -100, 0.5], np.float32)
    made = answer("paper", TRUTH[[0] * 10], np.broadcast_to(ab[:, None, None, None] / 128, (10, *TRUTH.shape[1:3], 2)))
    expected = [0.5, 64 / 127, 127 / 256, 0.75, 0.25, 1, 0, 227 / 254, 28 / 256, 127.5 / 254]
    for channel in (1, 2):
        np.testing.assert_allclose(made[:, 5, 7, channel], expected, atol=1e-6)


def test_the_report_s_figures():
    """The golden ones are of whole windows of SSIM and beyond; the protocol's own leaves out those at the edges."""
    truth = PROTOCOLS["paper"].truth(tf.constant(TRUTH))
    made = answer("paper", TRUTH, ab_of(DULL))
    found = {}
    for metric in (metrics.PSNR(), metrics.SSIM(), metrics.SSIM(cropped=True, name="cropped")):
        metric.update_state(truth, made)
        found[metric.name] = float(metric.result())
    golden = GOLDEN["lab_stacked"]
    assert found["psnr"] == pytest.approx(golden["psnr_dataset"], abs=1e-3)
    assert found["ssim"] == pytest.approx(golden["ssim"], abs=1e-3)
    assert found["cropped"] != pytest.approx(golden["ssim"], abs=1e-4)
    assert {name: protocol.cropped_ssim for name, protocol in PROTOCOLS.items()} == {
        "rgb": False,
        "native": False,
        "paper": True,
    }


# --- all of them


@pytest.mark.parametrize("name", ["rgb", "paper"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (95, 79)], ids=str)
def test_a_smaller_answer_is_enlarged(name, size):
    height, width = TRUTH.shape[1:3]
    ab = some_ab(*size)
    made = answer(name, TRUTH, ab)
    whole = answer(name, TRUTH, enlarged(ab, height, width))
    assert made.shape == TRUTH.shape
    np.testing.assert_allclose(made.astype(float), whole, atol=1e-5 if name == "paper" else 1)


@ALL
def test_an_answer_that_is_larger_than_the_photo(name):
    constant = np.broadcast_to(np.float32([0.1, -0.2]), (len(TRUTH), 128, 160, 2))
    np.testing.assert_array_equal(answer(name, TRUTH, constant), answer(name, TRUTH, constant[:, :1, :1]))


@ALL
def test_a_single_grey_is_grey_everywhere(name):
    grey, zeros = (answer(name, TRUTH, np.zeros((len(TRUTH), *size, 2))) for size in ((1, 1), TRUTH.shape[1:3]))
    np.testing.assert_array_equal(grey, zeros)
    if name == "paper":
        np.testing.assert_allclose(grey[..., 1:], 0.5, atol=1e-6)
    else:
        assert np.ptp(grey.astype(int), axis=-1).max() <= 1
        lightness = rgb2lab(TRUTH)[..., 0]
        assert np.abs(rgb2lab(grey)[..., 0] - lightness).max() < 0.5


@ALL
def test_batches_of_any_size(name):
    ab = some_ab(8, 8)
    together = answer(name, TRUTH, ab)
    for i in range(len(TRUTH)):
        alone = answer(name, TRUTH[i : i + 1], ab[i : i + 1])
        np.testing.assert_allclose(alone[0].astype(float), together[i], atol=1e-5 if name == "paper" else 1)


@ALL
def test_in_a_graph_of_unknown_sizes(name):
    protocol = PROTOCOLS[name]
    specs = [tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((None, None, None, 2), tf.float32)]
    graph = tf.function(lambda rgb, ab: (protocol.truth(rgb), protocol.answer(rgb, ab)), specs)
    truth, made = (pictures.numpy().astype(float) for pictures in graph(TRUTH, some_ab(9, 9)))
    nearly = 1e-5 if name == "paper" else 1  # a half may be rounded up here and down there
    np.testing.assert_allclose(truth, protocol.truth(tf.constant(TRUTH)), atol=1e-5)
    np.testing.assert_allclose(made, answer(name, TRUTH, some_ab(9, 9)), atol=nearly)


def test_names_and_versions():
    assert list(PROTOCOLS) == common.PROTOCOLS  # those that the command line offers
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert isinstance(protocol.version, int)
        assert protocol.version >= 1
        assert len(protocol.about.split()) > 5
    assert {name: protocol.size for name, protocol in PROTOCOLS.items()} == {"rgb": 256, "native": None, "paper": 256}
    # Photos of their own sizes make no batch.
    assert PROTOCOLS["native"].batch_size == 1
    assert PROTOCOLS["rgb"].batch_size > 1
