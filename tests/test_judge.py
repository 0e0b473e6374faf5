"""The judge: what it says of single pictures and of all of them, against numpy, scipy and scikit-image."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.linalg
import standins
import tensorflow as tf
from golden import photo_pair, uniform
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from kcolor import metrics, trunks
from kcolor.data.instances import Instance
from kcolor.judge import Judge
from kcolor.protocols import PROTOCOLS, Protocol
from kcolor.regions import regions_of

COUNT = 11  # so that the second batch of eight is not full
ANSWERS = ("model", "grey", "mean_ab")
WARM = np.array([0.05, 0.12])  # the constant answer beside grey
BASELINES = {"grey": np.zeros(2), "mean_ab": WARM}

ONE_BY_ONE = [[i] for i in range(COUNT)]

# In batches; compiles in a fraction of the time that colours take.
PLAIN = Protocol(
    "plain", 1, "in RGB, without colours", size=32, truth=tf.identity, answer=PROTOCOLS["rgb"].answer, is_rgb=False
)
# And not even compiled: for what has nothing to do with batches.
SINGLY = replace(PLAIN, size=None)

# Of 32 x 32: two classes that overlap, at the edges; the whole picture; nothing; a single pixel.
PERSON, OTHER = Instance("person", 1.0, 0, 0, 12, 20), Instance("person", 1.0, 20, 25, 32, 32)
DOG, ALL = Instance("dog", 1.0, 8, 10, 25, 30), Instance("dog", 1.0, 0, 0, 32, 32)
FOUND = [[PERSON, OTHER, DOG], [ALL], [], [Instance("person", 1.0, 31, 0, 32, 1)], *[[]] * (COUNT - 4)]
REGIONS = [regions_of(found, (32, 32), (32, 32)) for found in FOUND]

OF_ALL = {"psnr", "psnr_median", "psnr_median_near_grey", "ssim"}
OF_COLOURS = {
    "delta_e_2000",
    "delta_e_2000_p95",
    *(f"colourfulness_{of}" for of in ["prediction", "truth", "ratio", "difference"]),
}


class Seen(NamedTuple):
    """What a judge has said."""

    figures: dict[str, dict[str, float]]
    rows: list[dict[str, Any]]
    warnings: list[str]
    true_features: list[np.ndarray] | None


def photos(count: int = COUNT, height: int = 32, width: int = 32) -> np.ndarray:
    """Every third of them is nearly grey."""
    scene, _ = photo_pair(count, height, width)
    grey = scene.mean(axis=-1, keepdims=True)
    muted = np.round(0.96 * grey + 0.04 * scene).astype(np.uint8)
    return np.where((np.arange(count) % 3 == 1)[:, None, None, None], muted, scene)


TRUTH = photos()
NEAR_GREY = np.array([np.linalg.norm(rgb2lab(rgb)[..., 1:], axis=-1).mean() < 5 for rgb in TRUTH])
TRUE_AB = (rgb2lab(TRUTH)[..., 1:] / 128).astype(np.float32)
# What the model says: the half of the truth, and something of its own.
AB = (0.5 * TRUE_AB + 0.05 * uniform("judge/ab", (COUNT, 32, 32, 2))).astype(np.float32)
CLASSES = 7
LOGITS = uniform("judge/logits", (COUNT, CLASSES)).astype(np.float32)
LABELS = [0, 3, -1, 6, 2, 2, 5, -1, 1, 4, -1]


def coloured(ab: np.ndarray, rgb: np.ndarray = TRUTH) -> np.ndarray:
    """Photos with those colours, by scikit-image."""
    lab = rgb2lab(rgb)
    return np.round(255 * lab2rgb(np.concatenate([lab[..., :1], np.broadcast_to(128 * ab, (*lab.shape[:-1], 2))], -1)))


PREDICTIONS = {"model": coloured(AB), "grey": coloured(np.zeros(2)), "mean_ab": coloured(WARM)}


def judged(
    protocol: Protocol,
    batches: Sequence[Sequence[int]] = (range(8), range(8, COUNT)),
    *,
    labels: Sequence[int] | None = None,
    ab: np.ndarray = AB,
    regions: bool = False,
    **networks,
) -> Seen:
    """Judge some of the photos in these batches."""
    judge = Judge(protocol, BASELINES, classifies=labels is not None, **networks)
    rows = []
    for batch in map(list, batches):
        known = (LOGITS[batch], [labels[i] for i in batch]) if labels is not None else ()
        within = [REGIONS[i] for i in batch] if regions else ()
        rows += judge.update(tf.constant(TRUTH[batch]), tf.constant(ab[batch]), *known, regions=within)
    return Seen(judge.result(), rows, judge.warnings, judge.true_features)


@pytest.fixture(scope="module")
def vgg16(published):
    return trunks.vgg16(published / "vgg16.tv_in1k.safetensors")


@pytest.fixture(scope="module")
def inception(published):
    with pytest.MonkeyPatch.context() as patch:
        standins.narrow(patch)
        return trunks.inception(published / "inception-2015-12-05.tgz")


@pytest.fixture(scope="module")
def colours() -> Seen:
    """With colours, classes and regions."""
    return judged(PROTOCOLS["native"], ONE_BY_ONE, labels=LABELS, regions=True)


@pytest.fixture(scope="module")
def plain(vgg16, inception) -> Seen:
    """In batches, the last of them not full, with the networks of LPIPS and FID."""
    with pytest.MonkeyPatch.context() as patch:
        standins.narrow(patch)
        return judged(PLAIN, vgg16=vgg16, inception=inception)


@pytest.fixture(scope="module")
def paper() -> Seen:
    return judged(replace(PROTOCOLS["paper"], size=None), ONE_BY_ONE)


def column(rows, name: str, answer: str | None = None) -> np.ndarray:
    return np.array([(row[answer] if answer else row)[name] for row in rows], float)


# --- single pictures


def test_the_photos_are_some_of_both_kinds():
    assert NEAR_GREY.tolist() == [i % 3 == 1 for i in range(COUNT)]


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_said_of_single_pictures(colours, answer):
    assert len(colours.rows) == COUNT
    prediction, lab = PREDICTIONS[answer], rgb2lab(TRUTH)
    error = ((prediction - TRUTH.astype(float)) ** 2).mean(axis=(1, 2, 3)) / 255**2
    np.testing.assert_allclose(column(colours.rows, "squared_error", answer), error, rtol=5e-3)
    np.testing.assert_allclose(column(colours.rows, "psnr", answer), -10 * np.log10(error), atol=0.02)
    difference = deltaE_ciede2000(lab, rgb2lab(prediction / 255)).reshape(COUNT, -1)
    np.testing.assert_allclose(column(colours.rows, "delta_e_2000", answer), difference.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(
        column(colours.rows, "delta_e_2000_p95", answer), np.percentile(difference, 95, axis=1), atol=0.15
    )
    for name, of, pictures in (
        ("colourfulness_prediction", answer, prediction),
        ("colourfulness_truth", None, TRUTH.astype(float)),
    ):
        red, green, blue = np.moveaxis(pictures, -1, 0)
        opponent = np.stack([red - green, (red + green) / 2 - blue])
        expected = np.linalg.norm(opponent.std(axis=(2, 3)), axis=0) + 0.3 * np.linalg.norm(
            opponent.mean(axis=(2, 3)), axis=0
        )
        np.testing.assert_allclose(column(colours.rows, name, of), expected, atol=0.1)
    np.testing.assert_allclose(
        column(colours.rows, "ssim", answer), metrics.ssim_of(TRUTH, prediction.astype(np.uint8)), atol=2e-3
    )


def test_near_grey_is_asked_of_the_photo_under_any_protocol(colours, plain, paper):
    for seen in (colours, plain, paper):
        assert [row["near_grey"] for row in seen.rows] == NEAR_GREY.tolist()


def test_what_is_not_a_number_is_none():
    """Of an answer that is right to the last bit."""
    seen = judged(SINGLY, ONE_BY_ONE[:3], ab=TRUE_AB)
    assert [row["model"]["squared_error"] for row in seen.rows] == [0.0] * 3
    assert [row["model"]["psnr"] for row in seen.rows] == [None] * 3
    assert seen.figures["psnr"]["model"] == np.inf
    assert seen.figures["ssim"]["model"] == pytest.approx(1)
    assert np.isfinite(seen.figures["psnr"]["grey"])


# --- inside and outside of boxes


def test_what_is_said_of_regions(colours):
    keys = [[(part["region"], part["class"]) for part in row["regions"]] for row in colours.rows[:4]]
    both, dog, person = [("inside", None), ("outside", None)], ("inside", "dog"), ("inside", "person")
    assert keys == [[*both, dog, person], [both[0], dog], [both[1]], [*both, person]]
    for i in (0, 3):
        lab = rgb2lab(TRUTH[i])
        for part, region in zip(colours.rows[i]["regions"], REGIONS[i], strict=True):
            mask = region.mask
            assert (part["pixels"], part["instances"]) == (mask.sum(), region.instances)
            assert part["colourfulness_truth"] == pytest.approx(colourful(TRUTH[i][mask]), abs=0.1)
            for answer in ANSWERS:
                made, said = PREDICTIONS[answer][i], part[answer]
                error = ((made - TRUTH[i].astype(float)) ** 2)[mask].mean() / 255**2
                assert said["squared_error"] == pytest.approx(error, rel=5e-3, abs=1e-6)
                difference = deltaE_ciede2000(lab, rgb2lab(made / 255))[mask]
                assert said["delta_e_2000"] == pytest.approx(difference.mean(), abs=0.05)
                assert said["delta_e_2000_p95"] == pytest.approx(np.percentile(difference, 95), abs=0.2)
                assert said["colourfulness_prediction"] == pytest.approx(colourful(made[mask]), abs=0.2)


def colourful(pixels: np.ndarray) -> float:
    """Hasler and Süsstrunk, of pixels (n, 3)."""
    red, green, blue = pixels.astype(float).T
    opponent = np.stack([red - green, (red + green) / 2 - blue])
    return np.linalg.norm(opponent.std(axis=1)) + 0.3 * np.linalg.norm(opponent.mean(axis=1))


def test_a_region_of_the_whole_picture_is_the_picture(colours):
    for row in colours.rows[1:3]:
        for part in row["regions"]:
            assert part["pixels"] == 32 * 32
            assert part["colourfulness_truth"] == pytest.approx(row["colourfulness_truth"], rel=1e-5)
            for answer in ANSWERS:
                assert part[answer].keys() == row[answer].keys() - {"psnr", "ssim", "top_1", "top_5"}
                assert part[answer] == pytest.approx({key: row[answer][key] for key in part[answer]}, rel=1e-4)


def test_regions_in_batches_and_without_colours(plain):
    """Each photo of a batch has its own; what is said of the whole photos stays what it was."""
    seen = judged(PLAIN, regions=True)
    for i in (0, 1, 3):
        for part, region in zip(seen.rows[i]["regions"], REGIONS[i], strict=True):
            error = ((PREDICTIONS["model"][i] - TRUTH[i].astype(float)) ** 2)[region.mask].mean() / 255**2
            assert part["model"] == {"squared_error": pytest.approx(error, rel=5e-3, abs=1e-6)}
            assert "colourfulness_truth" not in part
    for row, without in zip(seen.rows, plain.rows, strict=True):
        assert "regions" not in without
        assert row["grey"].items() <= without["grey"].items()
    assert seen.rows[10]["regions"][0]["model"] == {"squared_error": plain.rows[10]["model"]["squared_error"]}
    assert {key: seen.figures[key] for key in OF_ALL} == {key: plain.figures[key] for key in OF_ALL}


# --- all pictures


@pytest.mark.parametrize("answer", ANSWERS)
def test_figures_are_those_of_the_single_pictures(colours, plain, answer):
    """Sums and medians of the rows: the pictures that fill up the last batch do not count."""
    for seen in (colours, plain):
        rows, figures = seen.rows, {key: found[answer] for key, found in seen.figures.items() if answer in found}
        error, psnr = column(rows, "squared_error", answer), column(rows, "psnr", answer)
        assert figures["psnr"] == pytest.approx(-10 * np.log10(error.mean()), abs=1e-4)
        # Pooling is not taking means: the two differ here.
        assert figures["psnr"] != pytest.approx(psnr.mean(), abs=0.1)
        # A median comes from a histogram of hundredths.
        assert figures["psnr_median"] == pytest.approx(np.median(psnr[~NEAR_GREY]), abs=0.0051)
        assert figures["psnr_median_near_grey"] == pytest.approx(np.median(psnr[NEAR_GREY]), abs=0.0051)
        assert figures["near_grey_pictures"] == NEAR_GREY.sum()
        assert figures["ssim"] == pytest.approx(column(rows, "ssim", answer).mean(), rel=1e-5)
    assert figures["lpips"] == pytest.approx(column(plain.rows, "lpips", answer).mean(), rel=1e-5)


@pytest.mark.parametrize("answer", ANSWERS)
def test_figures_of_colours_are_those_of_the_single_pictures(colours, answer):
    rows = colours.rows
    prediction, truth = column(rows, "colourfulness_prediction", answer), column(rows, "colourfulness_truth")
    expected = {
        "delta_e_2000": column(rows, "delta_e_2000", answer).mean(),
        "delta_e_2000_p95": column(rows, "delta_e_2000_p95", answer).mean(),
        "colourfulness_prediction": prediction.mean(),
        "colourfulness_truth": truth.mean(),
        "colourfulness_ratio": prediction.sum() / truth.sum(),
        "colourfulness_difference": np.abs(prediction - truth).mean(),
    }
    assert {key: colours.figures[key][answer] for key in expected} == pytest.approx(expected, rel=1e-5)


def test_the_answers_are_told_apart(colours, plain):
    for seen, keys in ((colours, ("psnr", "ssim", "delta_e_2000")), (plain, ("psnr", "lpips", "fid"))):
        for key in keys:
            assert len({round(seen.figures[key][answer], 5) for answer in ANSWERS}) == 3
    assert colours.figures["delta_e_2000"]["model"] < colours.figures["delta_e_2000"]["grey"]
    assert colours.figures["colourfulness_prediction"]["grey"] < 1


def test_the_order_and_size_of_batches_do_not_matter(plain):
    places = [0, 1, 4, 9, COUNT]
    order = [10, 3, 7, 0, 9, 1, 5, 2, 8, 6, 4]
    batches = [order[start:stop] for start, stop in pairwise(places)]
    seen = judged(PLAIN, batches, labels=LABELS)
    for key in OF_ALL:
        assert seen.figures[key] == pytest.approx(plain.figures[key], rel=1e-6)
    for i, row in zip(order, seen.rows, strict=True):
        for answer in ANSWERS:
            numbers = {name: row[answer][name] for name in ("squared_error", "psnr", "ssim")}
            assert numbers == pytest.approx({name: plain.rows[i][answer][name] for name in numbers}, rel=1e-5)
    # Nor does it for classes.
    known = [i for i in order if LABELS[i] >= 0]
    assert seen.figures["top_1"] == {"model": pytest.approx((ranks(known) < 1).mean())}


def test_a_photo_alone(plain):
    seen = judged(SINGLY, [[2]], labels=[-1] * COUNT)
    (row,) = seen.rows
    assert row["model"] == pytest.approx({name: plain.rows[2]["model"][name] for name in row["model"]}, rel=1e-3)
    assert seen.figures["psnr"]["model"] == pytest.approx(row["model"]["psnr"], abs=1e-4)
    assert seen.figures["ssim"]["model"] == pytest.approx(row["model"]["ssim"], abs=1e-5)
    # Without a nearly grey one there is no median of them, and no accuracy where no class is known.
    assert np.isnan(seen.figures["psnr_median_near_grey"]["model"])
    assert seen.figures["psnr_median"]["model"] == pytest.approx(row["model"]["psnr"], abs=0.0051)
    assert not {"top_1", "top_5"} & seen.figures.keys()


def test_before_the_first_photo():
    figures = Judge(PLAIN, BASELINES, classifies=True).result()
    assert "top_1" not in figures
    assert all(np.isnan(figures["psnr"][answer]) for answer in ANSWERS)


def test_photos_of_their_own_sizes_count_by_their_pixels():
    judge = Judge(SINGLY, BASELINES)
    rows, pixels = [], []
    for i, (height, width) in enumerate([(16, 20), (48, 64), (11, 96), (96, 11)]):
        rgb = photos(4, height, width)[i : i + 1]
        ab = np.broadcast_to(AB[i, 5, 5], (1, 1, 1, 2))
        rows += judge.update(tf.constant(rgb), tf.constant(ab))
        pixels.append(height * width)
        expected = ((coloured(ab, rgb) - rgb) ** 2).mean() / 255**2
        assert rows[-1]["model"]["squared_error"] == pytest.approx(expected, rel=0.01)
    figures = judge.result()
    for answer in ANSWERS:
        error = column(rows, "squared_error", answer)
        pooled = -10 * np.log10(np.average(error, weights=pixels))
        assert figures["psnr"][answer] == pytest.approx(pooled, abs=1e-4)
        assert pooled != pytest.approx(-10 * np.log10(error.mean()), abs=0.1)
        # Of each picture, whatever its size.
        assert figures["ssim"][answer] == pytest.approx(column(rows, "ssim", answer).mean(), rel=1e-5)


# --- which figures there are


def test_which_figures_each_protocol_has(colours, plain, paper):
    assert colours.figures.keys() == OF_ALL | OF_COLOURS | {"near_grey_pictures", "top_1", "top_5"}
    assert plain.figures.keys() == OF_ALL | {"near_grey_pictures", "lpips", "fid"}
    assert paper.figures.keys() == OF_ALL | {"near_grey_pictures"}
    for seen in (colours, plain, paper):
        for key, found in seen.figures.items():
            assert found.keys() == ({"model"} if key.startswith("top_") else set(ANSWERS))
    assert set(colours.rows[0]) == {"near_grey", "colourfulness_truth", "regions", *ANSWERS}
    assert set(colours.rows[0]["grey"]) == {
        "squared_error", "psnr", "ssim", "delta_e_2000", "delta_e_2000_p95", "colourfulness_prediction",
    }  # fmt: skip
    assert set(plain.rows[0]) == {"near_grey", *ANSWERS}
    assert set(plain.rows[0]["model"]) == {"squared_error", "psnr", "ssim", "lpips"}


def test_the_report_s_stacks_are_measured_without_their_edges(paper):
    protocol = PROTOCOLS["paper"]
    truth, made = protocol.truth(tf.constant(TRUTH)), protocol.answer(tf.constant(TRUTH), tf.constant(AB))
    cropped, with_edges = (metrics.ssim_of(truth, made, cropped=cropped).numpy().mean() for cropped in (True, False))
    assert paper.figures["ssim"]["model"] == pytest.approx(cropped, abs=5e-6)
    assert abs(cropped - with_edges) > 5e-5
    error = ((truth - made).numpy() ** 2).mean()
    assert paper.figures["psnr"]["model"] == pytest.approx(-10 * np.log10(error), abs=1e-3)


# --- classes


def ranks(known: Sequence[int]) -> np.ndarray:
    """At which place each photo's class is named, from 0."""
    return np.array([np.argsort(-LOGITS[i]).tolist().index(LABELS[i]) for i in known])


def test_accuracy_is_of_the_photos_whose_class_is_known(colours):
    known = [i for i, label in enumerate(LABELS) if label >= 0]
    found = ranks(known)
    for k in (1, 5):
        assert colours.figures[f"top_{k}"] == {"model": pytest.approx((found < k).mean())}
        assert [colours.rows[i]["model"][f"top_{k}"] for i in known] == (found < k).tolist()
    assert 0 < (found < 1).mean() < (found < 5).mean() < 1  # so that these say something
    for i in set(range(COUNT)) - set(known):
        assert not {"top_1", "top_5"} & colours.rows[i]["model"].keys()


def test_logits_that_are_no_numbers_name_no_class():
    judge = Judge(SINGLY, BASELINES, classifies=True)
    broken, partly = np.full((1, CLASSES), np.nan), LOGITS[1:2].copy()
    partly[0, LOGITS[1].argmin()] = np.inf
    rows = []
    for i, logits in enumerate((broken, partly, LOGITS[2:3])):
        label = [int(LOGITS[i].argmax())]
        rows += judge.update(tf.constant(TRUTH[i : i + 1]), tf.constant(AB[i : i + 1]), np.float32(logits), label)
    assert [row["model"]["top_1"] for row in rows] == [False, False, True]
    assert judge.result()["top_1"] == {"model": pytest.approx(1 / 3)}


# --- with the networks of LPIPS and FID


@pytest.mark.parametrize("answer", ANSWERS)
def test_lpips_is_that_of_the_trunk(plain, vgg16, answer):
    expected = metrics.lpips_of(vgg16, TRUTH, PREDICTIONS[answer].astype(np.uint8))
    np.testing.assert_allclose(column(plain.rows, "lpips", answer), expected, rtol=0.02, atol=1e-4)
    assert max(expected) > 0.001


@pytest.mark.parametrize("answer", ANSWERS)
def test_fid_is_that_of_the_features(plain, inception, answer):
    """By scipy, of all photos at once."""
    true, made = (
        inception(pictures.astype(np.uint8)).numpy().astype(float) for pictures in (TRUTH, PREDICTIONS[answer])
    )
    one, other = np.cov(true, rowvar=False), np.cov(made, rowvar=False)
    # The trace of a root is the sum of the roots of the eigenvalues.
    root = np.sqrt(np.maximum(scipy.linalg.eigvals(one @ other).real, 0)).sum()
    expected = ((true.mean(axis=0) - made.mean(axis=0)) ** 2).sum() + np.trace(one + other) - 2 * root
    assert plain.figures["fid"][answer] == pytest.approx(expected, rel=0.01)
    assert plain.figures["fid"][answer] > 0.001
    assert plain.warnings == []  # of 11 photos and 8 dimensions


@pytest.fixture
def narrowed(monkeypatch) -> None:
    standins.narrow(monkeypatch)


@pytest.mark.usefixtures("narrowed")
def test_who_answers_the_truth_has_no_distance(inception):
    seen = judged(SINGLY, ONE_BY_ONE, ab=TRUE_AB, inception=inception)
    assert seen.figures["fid"]["model"] < 1e-4 * seen.figures["fid"]["grey"]


class Counted:
    """Features, and what they were asked of."""

    def __init__(self, features) -> None:
        self.features, self.asked = features, []

    def __call__(self, pictures):
        self.asked.append(np.asarray(pictures))
        return self.features(pictures)

    def of_the_truth(self) -> int:
        """How often they were asked of photos themselves."""
        return sum(np.array_equal(asked[0], photo) for asked in self.asked for photo in TRUTH)


@pytest.mark.usefixtures("narrowed")
def test_what_is_known_of_the_truth_is_not_asked_again(inception):
    first, second = Counted(inception), Counted(inception)
    seen = judged(SINGLY, ONE_BY_ONE, inception=first)
    assert (len(first.asked), first.of_the_truth()) == (4 * COUNT, COUNT)  # of the truth and three answers
    kept = seen.true_features
    again = judged(SINGLY, ONE_BY_ONE, inception=second, true_features=[value.copy() for value in kept])
    assert (len(second.asked), second.of_the_truth()) == (3 * COUNT, 0)
    assert again.figures["fid"] == seen.figures["fid"]
    assert again.warnings == seen.warnings
    for one, other in zip(again.true_features, kept, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("narrowed")
def test_few_photos_give_a_warning(inception):
    seen = judged(SINGLY, ONE_BY_ONE[:8], inception=inception)
    (warning,) = seen.warnings
    assert warning.startswith("FID: 8 samples do not determine a covariance in 8 dimensions")
    assert "not to be compared" in warning


def test_features_are_as_long_as_those_of_the_inception():
    assert metrics.FrechetDistance().dimensions == trunks.FEATURES == 2048


def test_without_the_networks_nothing_is_kept(colours):
    assert colours.true_features is None
    assert colours.warnings == []
