"""The figures of an evaluation: against an independent implementation's numbers, and what has to be true of each."""

import json
import math
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from golden import parameter, photo_pair, uniform
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from kcolor import metrics
from kcolor.metrics.lpips import VGG16_BLOCKS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text())


@cache
def trunk() -> keras.Model:
    """VGG16 as the golden file describes it."""
    filters = [3, *(count for block in VGG16_BLOCKS for count in block)]
    return metrics.vgg16_trunk(
        [
            (
                1.6 * parameter(f"vgg16/{i}/kernel", (3, 3, *filters[i : i + 2])),
                parameter(f"vgg16/{i}/bias", (filters[i + 1],)),
            )
            for i in range(13)
        ]
    )


@keras.saving.register_keras_serializable("tests")
def features(pictures) -> tf.Tensor:
    """Twelve numbers of a picture, in place of a network's."""
    pictures = tf.convert_to_tensor(pictures)
    pictures = tf.cast(pictures, tf.float32) / (255.0 if pictures.dtype == tf.uint8 else 1.0)
    return tf.reshape(tf.image.resize(pictures, (2, 2)), [-1, 12])


METRICS = {
    "psnr": metrics.PSNR,
    "psnr_median": metrics.MedianPSNR,
    "ssim": metrics.SSIM,
    "ssim_cropped": lambda: metrics.SSIM(cropped=True, name="ssim_cropped"),
    "delta_e_2000": metrics.DeltaE,
    "colourfulness": metrics.Colourfulness,
    "lpips": lambda: metrics.LPIPS(trunk()),
    "frechet_distance": lambda: metrics.FrechetDistance(12, features),
}
each = pytest.mark.parametrize("name", METRICS)

# 5 of 32 x 32: an odd number, so that halves are not of one size.
TRUTH, PREDICTION = photo_pair(5, 32, 32)


def figures(metric: keras.metrics.Metric) -> dict[str, float]:
    """The results as numbers, by name."""
    result = metric.result()
    result = result if isinstance(result, dict) else {metric.name: result}
    assert all(value.dtype == tf.float32 and value.shape == () for value in result.values())
    return {key: float(value) for key, value in result.items()}


def figures_of(metric: keras.metrics.Metric, truth, prediction) -> dict[str, float]:
    metric.update_state(truth, prediction)
    return figures(metric)


def measured(name: str, truth=TRUTH, prediction=PREDICTION, **more) -> dict[str, float]:
    metric = METRICS[name]()
    metric.update_state(truth, prediction, **more)
    return figures(metric)


def about(expected: dict[str, float], rel: float = 2e-6) -> dict[str, float]:
    # Of pictures that are few for their dimensions the distance is a small difference of roots; it has its own tests.
    return pytest.approx(expected, rel=2e-5 if "frechet_distance" in expected else rel, abs=1e-6, nan_ok=True)


# --- the golden figures


def lab_stack(l: np.ndarray, ab: np.ndarray) -> np.ndarray:
    return np.concatenate([l / 100, np.where(ab > 0, ab / 127, ab / 128) * 0.5 + 0.5], axis=-1)


def test_golden_psnr():
    truth, prediction = photo_pair()
    rgb = GOLDEN["rgb"]
    assert figures_of(metrics.PSNR(), truth, prediction) == {"psnr": pytest.approx(rgb["psnr_dataset"], rel=1e-5)}
    np.testing.assert_allclose(metrics.psnr_of(truth, prediction), rgb["psnr_per_image"], rtol=1e-5)
    median = figures_of(metrics.MedianPSNR(), truth, prediction)
    assert median["psnr_median"] == pytest.approx(np.median(rgb["psnr_per_image"]), abs=0.005)


def test_golden_ssim():
    truth, prediction = photo_pair()
    rgb = GOLDEN["rgb"]
    assert figures_of(metrics.SSIM(), truth, prediction) == {"ssim": pytest.approx(rgb["ssim"], abs=1e-5)}
    np.testing.assert_allclose(metrics.ssim_of(truth, prediction), rgb["ssim_per_image"], atol=1e-5)


def test_golden_lab_stacked():
    truth, prediction = (rgb2lab(image) for image in photo_pair())
    l = truth[..., :1]
    stacks = lab_stack(l, truth[..., 1:]), lab_stack(l, prediction[..., 1:])
    stacked = GOLDEN["lab_stacked"]
    assert figures_of(metrics.PSNR(), *stacks) == {"psnr": pytest.approx(stacked["psnr_dataset"], rel=1e-5)}
    assert figures_of(metrics.SSIM(), *stacks) == {"ssim": pytest.approx(stacked["ssim"], abs=1e-5)}


def test_golden_lpips():
    truth, prediction = photo_pair()
    lpips = GOLDEN["lpips_vgg"]
    layers = metrics.lpips_layers_of(trunk(), truth, prediction)
    np.testing.assert_allclose(layers[0], lpips["per_layer_of_image_0"], rtol=1e-4)
    np.testing.assert_allclose(tf.reduce_sum(layers, axis=1), lpips["per_image"], rtol=1e-4)


def test_golden_delta_e():
    assert figures_of(metrics.DeltaE(), *photo_pair())["delta_e_2000"] == pytest.approx(
        GOLDEN["delta_e_2000_mean"], rel=1e-5
    )


def test_golden_colourfulness():
    for pictures, key in zip(photo_pair(), ("scene", "dull"), strict=True):
        np.testing.assert_allclose(metrics.colourfulness_of(pictures), GOLDEN["colourfulness"][key], rtol=1e-5)


def test_golden_frechet_distance():
    truth = uniform("features/real", (300, 64)) @ np.diag(1 + np.arange(64) / 32)
    prediction = 1.3 * uniform("features/fake", (260, 64)) + 0.1
    metric = metrics.FrechetDistance(64)
    for i in range(0, 300, 70):
        metric.update_truth(truth[i : i + 70])
        metric.update_prediction(prediction[i : i + 70])
    assert figures(metric) == {"frechet_distance": pytest.approx(GOLDEN["frechet_distance"]["value"], rel=1e-6)}
    assert metric.warning is None


# --- what has to be true of each


@each
def test_identical_pictures_are_perfect(name):
    perfect = {
        "psnr": {"psnr": math.inf},
        "psnr_median": {"psnr_median": math.inf, "psnr_median_near_grey": math.nan, "near_grey_pictures": 0},
        "ssim": {"ssim": 1},
        "ssim_cropped": {"ssim_cropped": 1},
        "delta_e_2000": {"delta_e_2000": 0, "delta_e_2000_p95": 0},
        "lpips": {"lpips": 0},
        "frechet_distance": {"frechet_distance": 0},
    }
    found = measured(name, TRUTH, TRUTH)
    if name == "colourfulness":
        assert (found["colourfulness_ratio"], found["colourfulness_difference"]) == (1, 0)
        assert found["colourfulness_prediction"] == found["colourfulness_truth"] > 10
    else:
        assert found == about(perfect[name])


@each
def test_symmetric_where_it_should_be(name):
    there, back = measured(name), measured(name, PREDICTION, TRUTH)
    if name == "colourfulness":
        assert there["colourfulness_difference"] == back["colourfulness_difference"] > 10
        assert there["colourfulness_ratio"] == pytest.approx(1 / back["colourfulness_ratio"])
        assert there["colourfulness_ratio"] < 0.8
        there, back = [there["colourfulness_truth"]], [back["colourfulness_prediction"]]
    elif name == "psnr_median":  # which of the two is grey is asked of the truth
        there, back = [there["psnr_median"]], [back["psnr_median"]]
        assert metrics.psnr_of(TRUTH, PREDICTION).numpy() == pytest.approx(metrics.psnr_of(PREDICTION, TRUTH).numpy())
    if isinstance(there, dict):
        assert there == about(back)
    else:
        assert there == back


@each
def test_batches_in_any_order_and_halves_are_the_whole(name):
    whole = measured(name)
    parts = [slice(0, 1), slice(1, 3), slice(3, 5)]
    for order in ([0, 1, 2], [2, 0, 1]):
        metric = METRICS[name]()
        for i in order:
            metric.update_state(TRUTH[parts[i]], PREDICTION[parts[i]])
        assert figures(metric) == about(whole)
    one, other = METRICS[name](), METRICS[name]()
    one.update_state(TRUTH[:2], PREDICTION[:2])
    other.update_state(TRUTH[2:], PREDICTION[2:])
    one.merge_state([other])
    assert figures(one) == about(whole)
    # Nothing has grown.
    assert [v.shape for v in one.variables] == [v.shape for v in METRICS[name]().variables]
    assert sum(math.prod(v.shape) for v in one.variables) < 25_000


@each
def test_bytes_and_floats_agree(name):
    for kind in (np.float32, np.float64):
        assert measured(name, (TRUTH / 255).astype(kind), PREDICTION) == about(measured(name))


@each
def test_weights_say_how_often_a_picture_counts(name):
    weight = np.array([1, 0, 2, 1, 0])
    often = [0, 2, 2, 3]
    spoilt = (PREDICTION / 255).astype(np.float32)
    spoilt[weight == 0] = np.nan
    assert measured(name, TRUTH, spoilt, sample_weight=weight) == about(measured(name, TRUTH[often], PREDICTION[often]))


# What features make of a NaN is their own affair.
@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"frechet_distance"}))
def test_nan_in_a_prediction_is_not_hidden(name):
    spoilt = (PREDICTION / 255).astype(np.float32)
    spoilt[0, 3, 3, 1] = np.nan
    found = measured(name, TRUTH, spoilt)
    found = {key: value for key, value in found.items() if not key.endswith(("_truth", "_near_grey", "_pictures"))}
    assert found == {key: pytest.approx(math.nan, nan_ok=True) for key in found}


@each
def test_before_the_first_picture_there_is_no_figure(name):
    metric = METRICS[name]()
    assert {key for key, value in figures(metric).items() if not math.isnan(value)} <= {"near_grey_pictures"}
    metric.update_state(TRUTH, PREDICTION)
    metric.reset_state()
    assert not any(np.any(v.numpy()) for v in metric.variables)


@each
@pytest.mark.parametrize("kind", ["black and white", "constant", "one", "noise"])
def test_extreme_pictures_have_finite_figures(name, kind):
    grey_truth = kind in {"black and white", "constant"}
    truth, prediction = {
        "black and white": (np.zeros((2, 32, 32, 3), np.uint8), np.full((2, 32, 32, 3), 255, np.uint8)),
        "constant": (np.full((2, 32, 32, 3), 128, np.uint8), np.full((2, 32, 32, 3), (255, 0, 0), np.uint8)),
        "one": (TRUTH[:1], PREDICTION[:1]),
        "noise": tuple((uniform(f"noise/{i}", (2, 32, 32, 3)) * 128 + 128).astype(np.uint8) for i in range(2)),
    }[kind]
    found = measured(name, truth, prediction)
    # A median of no pictures does not exist, and nothing is infinitely more colourful than grey.
    unknown = {"psnr_median" if grey_truth else "psnr_median_near_grey"}
    unknown |= {"colourfulness_ratio"} if kind == "constant" else set()
    assert {key for key, value in found.items() if not math.isfinite(value)} <= unknown
    if kind == "black and white":
        expected = {
            "psnr": 0,
            "psnr_median_near_grey": 0.005,
            "ssim": 1e-4 / 1.0001,
            "delta_e_2000": 100,
            "delta_e_2000_p95": 100,
            "colourfulness_difference": 0,
            "colourfulness_ratio": 1,
        }
        shared = expected.keys() & found.keys()
        assert {key: found[key] for key in shared} == pytest.approx({key: expected[key] for key in shared}, abs=1e-3)


@each
def test_in_a_graph_with_shapes_unknown(name):
    metric = METRICS[name]()
    pictures = tf.TensorSpec((None, None, None, 3), tf.uint8)
    update = tf.function(metric.update_state, input_signature=[pictures, pictures])
    update(TRUTH, PREDICTION)
    assert figures(metric) == about(measured(name))


def test_compiled_into_a_model():
    held = {name: make() for name, make in METRICS.items() if name != "lpips"}
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(3, 1, use_bias=False)])
    model.layers[0].set_weights([np.eye(3, dtype=np.float32)[None, None]])
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", metrics=list(held.values()))
    by_hand = {key: value for name in held for key, value in measured(name).items()}
    data = (PREDICTION / 255).astype(np.float32), TRUTH
    found = model.evaluate(*data, batch_size=2, verbose=0, return_dict=True)
    history = model.fit(*data, batch_size=2, epochs=2, validation_data=data, verbose=0).history
    for key, value in by_hand.items():
        for place in (found, {key: history[key][1]}, {key: history[f"val_{key}"][1]}):
            assert place[key] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), key


def test_what_training_watches_compiles_under_xla():
    for name in ("psnr", "delta_e_2000", "colourfulness"):
        metric = METRICS[name]()
        tf.function(metric.update_state, jit_compile=True)(TRUTH, PREDICTION)
        assert figures(metric) == about(measured(name), rel=1e-5)


@each
def test_from_its_config(name):
    metric = METRICS[name]()
    if name == "lpips":
        copy = metrics.LPIPS.from_config(metric.get_config() | {"trunk": trunk()})
    elif name == "frechet_distance":
        copy = metrics.FrechetDistance.from_config(metric.get_config() | {"features": features})
    else:
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()
    assert figures_of(copy, TRUTH[:1], PREDICTION[:1]) == about(measured(name, TRUTH[:1], PREDICTION[:1]))


def test_only_like_is_merged_with_like():
    with pytest.raises(ValueError, match="does not measure"):
        metrics.PSNR().merge_state([metrics.SSIM()])
    with pytest.raises(ValueError, match="does not measure"):
        metrics.SSIM().merge_state([metrics.SSIM(cropped=True)])
    metrics.SSIM().merge_state([metrics.SSIM(name="another")])


@pytest.mark.parametrize(
    ("truth", "prediction", "says"),
    [
        (TRUTH, PREDICTION[:, :16], "should be alike"),
        (TRUTH, PREDICTION[:1], "should be alike"),
        (TRUTH[..., :1], PREDICTION[..., :1], "height, width, 3"),
        (TRUTH[0], PREDICTION[0], "height, width, 3"),
        (TRUTH.astype(np.int32), PREDICTION, "not int32"),
    ],
)
@pytest.mark.parametrize("name", [name for name in METRICS if name != "frechet_distance"])
def test_what_are_not_two_batches_of_pictures_is_refused(name, truth, prediction, says):
    with pytest.raises(ValueError, match=says):
        measured(name, truth, prediction)


@each
def test_as_many_weights_as_pictures(name):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="one number a picture"):
        measured(name, sample_weight=np.ones(4))


# --- PSNR


def with_error(*levels: float) -> tuple[np.ndarray, np.ndarray]:
    """Orange pictures, and such as are wrong by so much in every value."""
    truth = np.full((len(levels), 8, 8, 3), (0.75, 0.5, 0.25), np.float32)
    return truth, truth + np.array(levels, np.float32)[:, None, None, None]


def test_pooled_psnr_is_of_the_mean_error_and_not_the_mean_psnr():
    truth, prediction = with_error(0.1, 0.001)
    np.testing.assert_allclose(metrics.psnr_of(truth, prediction), [20, 60], rtol=1e-5)
    pooled = -10 * math.log10((0.1**2 + 0.001**2) / 2)
    assert figures_of(metrics.PSNR(), truth, prediction)["psnr"] == pytest.approx(pooled, rel=1e-6)


def test_pictures_of_several_sizes_are_pooled_by_their_pixels():
    metric = metrics.PSNR()
    metric.update_state(*with_error(0.1))
    truth = np.zeros((1, 16, 8, 3), np.float32)
    metric.update_state(truth, truth + np.float32(0.01))
    assert figures(metric)["psnr"] == pytest.approx(-10 * math.log10((0.1**2 + 2 * 0.01**2) / 3), rel=1e-5)


def test_median_psnr_is_numpys():
    rng = np.random.default_rng(0)
    for n in (1, 2, 9, 30):
        pair = with_error(*rng.uniform(0.001, 0.3, n))
        exact = np.median(metrics.psnr_of(*pair))
        assert figures_of(metrics.MedianPSNR(), *pair)["psnr_median"] == pytest.approx(exact, abs=0.00501)


def test_median_of_perfect_and_of_all_but_perfect_pictures_is_infinite():
    assert figures_of(metrics.MedianPSNR(), *with_error(0, 0, 0.1))["psnr_median"] == math.inf
    assert figures_of(metrics.MedianPSNR(), *with_error(0, 0.1))["psnr_median"] == math.inf
    assert figures_of(metrics.MedianPSNR(), *with_error(0, 0.1, 0.1))["psnr_median"] == pytest.approx(20, abs=0.01)


def test_near_grey_pictures_are_counted_apart():
    truth, prediction = with_error(0.1, 0.1, 0.1, 0.001, 0.001)
    truth[3:], prediction[3:] = 0.5, 0.501
    found = figures_of(metrics.MedianPSNR(), truth, prediction)
    assert found == {
        "psnr_median": pytest.approx(20, abs=0.01),
        "psnr_median_near_grey": pytest.approx(60, abs=0.01),
        "near_grey_pictures": 2,
    }
    np.testing.assert_allclose(metrics.chroma_of(truth)[3:], 0, atol=0.01)
    lab = rgb2lab(truth[0])
    np.testing.assert_allclose(metrics.chroma_of(truth)[:3], np.hypot(lab[..., 1], lab[..., 2]).mean(), rtol=1e-4)
    told = metrics.MedianPSNR()
    told.update_state(truth, prediction, near_grey=[True, False, False, False, False])
    assert figures(told)["near_grey_pictures"] == 1
    assert figures_of(metrics.MedianPSNR(near_grey=100.0), truth, prediction)["near_grey_pictures"] == 5


# --- SSIM


def test_ssim_is_scikit_images_where_windows_are_whole():
    truth, prediction = photo_pair(2, 40, 33)
    for i in range(2):
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        expected = structural_similarity(truth[i], prediction[i], channel_axis=-1, **options)
        assert float(metrics.ssim_of(truth, prediction, cropped=True)[i]) == pytest.approx(expected, abs=1e-5)


def test_ssim_sees_the_border_unless_cropped():
    truth = np.full((1, 32, 32, 3), 200, np.uint8)
    framed = truth.copy()
    framed[:, 0], framed[:, :, 0] = 0, 0
    inner = [pair[:, 6:, 6:] for pair in (truth, framed)]
    assert float(metrics.ssim_of(*inner)[0]) == pytest.approx(1)
    assert metrics.ssim_of(truth, framed)[0] < metrics.ssim_of(truth, framed, cropped=True)[0] < 1


def test_ssim_of_less_than_a_window_is_refused():
    assert metrics.ssim_of(TRUTH[:, :11, :11], PREDICTION[:, :11, :11], cropped=True).shape == (5,)
    with pytest.raises(ValueError, match="10 x 32 is smaller than the window of 11 x 11"):
        metrics.ssim_of(TRUTH[:, :10], PREDICTION[:, :10])


# --- Delta E

# Sharma, Wu and Dalal 2005, table 1.
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def test_delta_e_of_the_published_pairs():
    table = np.array([line.split() for line in SHARMA.strip().splitlines()], float)
    assert len(table) == 34
    one, other, expected = table[:, :3], table[:, 3:6], table[:, 6]
    np.testing.assert_allclose(metrics.delta_e_2000(one, other), expected, atol=1e-4)
    np.testing.assert_allclose(metrics.delta_e_2000(other, one), expected, atol=1e-4)


def test_delta_e_is_scikit_images():
    rng = np.random.default_rng(0)
    one = rng.uniform([0, -110, -110], [100, 110, 110], (50_000, 3))
    for other in (one + rng.normal(0, 3, one.shape), rng.permutation(one), one * [1, 0, 0]):
        np.testing.assert_allclose(metrics.delta_e_2000(one, other), deltaE_ciede2000(one, other), atol=1e-3)


def test_delta_e_is_finite_everywhere():
    # As far out as float32 goes without help, and opposite, equal and missing hues.
    steps = np.array([-1e4, -128, -1e-6, 0, 1e-30, 1, 128, 1e4])
    colours = np.stack(np.meshgrid([-1e3, 0, 50, 100, 1e3], steps, steps), axis=-1).reshape(-1, 3)
    difference = metrics.delta_e_2000(colours[:, None], colours[None]).numpy()
    assert np.isfinite(difference).all()
    assert (difference >= 0).all()
    assert (np.diag(difference) == 0).all()


@pytest.mark.parametrize("side", [1, 2, 3, 5, 11, 20])
def test_percentile_is_numpys(side):
    truth, prediction = (pictures[:, :side, :side] for pictures in (TRUTH, PREDICTION))
    difference = deltaE_ciede2000(rgb2lab(truth), rgb2lab(prediction)).reshape(5, -1)
    mean, percentile = metrics.delta_e_of(truth, prediction)
    np.testing.assert_allclose(mean, difference.mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(percentile, np.percentile(difference, 95, axis=1), atol=1e-3)


# --- colourfulness


def test_colourfulness_by_hand():
    # Red and its opposite by turns: the opponents are signed, so both their means cancel, and the spread is theirs.
    pictures = np.zeros((1, 2, 2, 3), np.uint8)
    pictures[:, 0], pictures[:, 1] = (200, 100, 150), (100, 200, 150)
    assert float(metrics.colourfulness_of(pictures)[0]) == pytest.approx(100, rel=1e-5)
    # One colour: no spread, and 0.3 of the means' length. R - G = 90, (R + G) / 2 - B = 120.
    plain = np.full((1, 2, 2, 3), (210, 120, 45), np.uint8)
    assert float(metrics.colourfulness_of(plain)[0]) == pytest.approx(0.3 * 150, rel=1e-5)


def test_colourfulness_over_the_set_and_picture_by_picture():
    grey, plain = np.full((1, 2, 2, 3), 90, np.uint8), np.full((1, 2, 2, 3), (210, 120, 45), np.uint8)
    # Too much in one makes up for too little in the other: only the second convention sees it.
    found = figures_of(metrics.Colourfulness(), np.concatenate([grey, plain]), np.concatenate([plain, grey]))
    expected = {"truth": 22.5, "prediction": 22.5, "ratio": 1, "difference": 45}
    assert found == pytest.approx({f"colourfulness_{key}": value for key, value in expected.items()}, rel=1e-5)
    assert figures_of(metrics.Colourfulness(), grey, plain)["colourfulness_ratio"] == math.inf
    assert figures_of(metrics.Colourfulness(), plain, grey)["colourfulness_ratio"] == 0


# --- LPIPS


def test_heads_are_the_authors_and_come_with_their_licence():
    heads = metrics.lpips_heads()
    assert [head.shape for head in heads] == [(64,), (128,), (256,), (512,), (512,)]
    assert all((head >= 0).all() for head in heads)
    licence = Path(metrics.__file__).with_name("LPIPS_LICENSE").read_text()
    assert "Copyright (c) 2018, Richard Zhang, Phillip Isola, Alexei A. Efros, Eli Shechtman, Oliver Wang" in licence


def test_trunk_has_the_weights_it_is_given_and_no_others():
    shapes = [tuple(variable.shape) for variable in trunk().variables]
    parameters = [(np.zeros(kernel), np.zeros(bias)) for kernel, bias in zip(shapes[::2], shapes[1::2], strict=True)]
    assert trunk().trainable_variables == []
    np.testing.assert_allclose(trunk().variables[0], 1.6 * parameter("vgg16/0/kernel", (3, 3, 3, 64)), rtol=1e-6)
    with pytest.raises(ValueError, match="13 convolutions, not 12"):
        metrics.vgg16_trunk(parameters[:12])
    parameters[4] = parameters[3]
    with pytest.raises(ValueError, match=r"convolution 4 .* \(3, 3, 128, 256\) .* not \(3, 3, 128, 128\)"):
        metrics.vgg16_trunk(parameters)


def test_lpips_of_too_small_pictures_is_refused():
    assert metrics.lpips_of(trunk(), TRUTH[:1, :16, :16], PREDICTION[:1, :16, :16]).shape == (1,)
    with pytest.raises(ValueError, match="15 x 32 is too small"):
        metrics.lpips_of(trunk(), TRUTH[:, :15], PREDICTION[:, :15])


# --- the Fréchet distance


def test_frechet_distance_is_that_of_the_root_of_the_product():
    truth, prediction = uniform("a/1", (90, 8)) * np.arange(1, 9), uniform("a/2", (50, 8)) @ uniform("a/3", (8, 8))
    metric = metrics.FrechetDistance(8)
    metric.update_truth(truth)
    metric.update_prediction(prediction)
    c1, c2 = np.cov(truth, rowvar=False), np.cov(prediction, rowvar=False)
    expected = ((truth.mean(0) - prediction.mean(0)) ** 2).sum()
    expected += np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    assert figures(metric)["frechet_distance"] == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_known_normal_distributions():
    one, other = np.diag([1.0, 4.0, 0.0]), np.diag([9.0, 1.0, 0.0])
    # (1 - 3)^2 + (2 - 1)^2 + 0, and the means' 3^2 + 4^2.
    distance = metrics.frechet_distance(np.zeros(3), one, np.array([0.0, 3.0, 4.0]), other)
    assert float(distance) == pytest.approx(30, rel=1e-12)


def test_frechet_distance_of_fewer_samples_than_dimensions_comes_with_a_warning():
    few = uniform("few/1", (10, 40))
    metric = metrics.FrechetDistance(40)
    metric.update_state(few, few)
    # Three quarters of the eigenvalues are zero but for rounding; the traces are about 13.
    assert figures(metric)["frechet_distance"] == pytest.approx(0, abs=1e-5)
    assert metric.warning is not None
    assert metric.warning.startswith("10 samples do not determine a covariance in 40 dimensions")
    metric.update_state(few[:1] + 1.0, few[::-1][:1])
    assert math.isfinite(figures(metric)["frechet_distance"])
    metric.update_truth(uniform("few/2", (100, 40)))
    assert metric.warning is not None
    metric.update_prediction(uniform("few/3", (100, 40)))
    assert metric.warning is None


def test_frechet_distance_does_not_suffer_from_far_means():
    one, other = uniform("far/1", (500, 16)), 1.5 * uniform("far/2", (500, 16))
    near, far = metrics.FrechetDistance(16), metrics.FrechetDistance(16)
    near.update_state(one, other)
    far.update_state(one + 1000.0, other + 1000.0)
    assert figures(far) == {"frechet_distance": pytest.approx(figures(near)["frechet_distance"], rel=1e-6)}


def test_features_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"features are \(batch, 2048\), not \(3, 64\)"):
        metrics.FrechetDistance().update_truth(np.zeros((3, 64)))
