import math

import numpy as np
import pytest

from kcolor.figures import ANSWERS, FIGURES, columns_of


def picture(pixels, near_grey, truth, model, **others):
    return {
        "path": "a.jpg",
        "class": "sea",
        "sha256": "0",
        "pixels": pixels,
        "near_grey": near_grey,
        "colourfulness_truth": truth,
        "model": model,
        **others,
    }


def answer(squared_error, ssim, delta_e, p95, colourfulness, **others):
    return {
        "squared_error": squared_error,
        "ssim": ssim,
        "delta_e_2000": delta_e,
        "delta_e_2000_p95": p95,
        "colourfulness_prediction": colourfulness,
        **others,
    }


# PSNRs of 20, 40 and 30 dB, and of 10 and 50 dB for the nearly grey ones. Sizes differ, so that what is pooled by pixel
# cannot be taken for a mean over the pictures.
ROWS = [
    picture(100, False, 10.0, answer(1e-2, 0.9, 4.0, 10.0, 4.0, lpips=0.1, top_1=True, top_5=True)),
    picture(300, False, 30.0, answer(1e-4, 0.8, 1.0, 20.0, 33.0, lpips=None, top_1=False, top_5=True)),
    picture(100, False, 20.0, answer(1e-3, 0.7, 2.0, 30.0, 20.0, lpips=0.4, top_1=None, top_5=None)),
    picture(100, True, 1.0, answer(1e-1, 0.6, 3.0, 40.0, 2.0, lpips=0.4, top_1=False, top_5=False)),
    picture(200, True, 4.0, answer(1e-5, 0.5, 6.0, 50.0, 0.0, lpips=0.7, top_1=False, top_5=True)),
]

# By hand, from the lines above.
EXPECTED = {
    # (1e-2*100 + 1e-4*300 + 1e-3*100 + 1e-1*100 + 1e-5*200) / 800 = 11.132 / 800 = 0.013915
    "psnr": 18.565167,
    "psnr_median": 30.0,
    "psnr_median_near_grey": 30.0,  # of two: half-way between 10 and 50
    "ssim": 0.7,
    "lpips": 0.4,  # of the four that have it: 1.6 / 4
    "delta_e_2000": 3.0,  # (400 + 300 + 200 + 300 + 1200) / 800; the mean over the pictures is 3.2
    "delta_e_2000_p95": 30.0,
    "colourfulness_prediction": 11.8,  # 59 / 5
    "colourfulness_truth": 13.0,  # 65 / 5
    "colourfulness_ratio": 59 / 65,  # and not the mean of 0.4, 1.1, 1, 2 and 0, which is 0.9
    "colourfulness_difference": 2.8,  # (6 + 3 + 0 + 1 + 4) / 5
    "top_1": 0.25,  # of the four that have a class
    "top_5": 0.75,
}


def of(key, rows=ROWS, name="model"):
    return FIGURES[key].of(columns_of(rows, name))


def without(name):
    return [{**row, "model": {**row["model"], name: None}} for row in ROWS[:1]] + ROWS[1:]


@pytest.mark.parametrize("key", EXPECTED)
def test_each_figure_by_hand(key):
    assert of(key) == pytest.approx(EXPECTED[key], abs=1e-6)
    assert of(key, ROWS[::-1]) == pytest.approx(EXPECTED[key], abs=1e-6)


def test_every_figure_but_fid_is_told_by_single_pictures():
    assert {key for key, figure in FIGURES.items() if figure.of} == set(EXPECTED)
    assert set(FIGURES) - set(EXPECTED) == {"fid"}
    assert all(key == figure.key for key, figure in FIGURES.items())


def test_better_is_the_right_way():
    # The answer that is the truth itself is better in every figure that has a better at all.
    perfect = answer(0.0, 1.0, 0.0, 0.0, None, lpips=0.0, top_1=True, top_5=True)
    truth = [
        {**row, "model": {**perfect, "colourfulness_prediction": row["colourfulness_truth"]}, "mean_ab": row["model"]}
        for row in ROWS
    ]
    for key in EXPECTED:
        best, mine = of(key, truth), of(key, truth, "mean_ab")
        match FIGURES[key].better:
            case "higher":
                assert best > mine, key
            case "lower":
                assert best < mine, key
            case "one":
                assert best == 1.0, key
            case neither:
                assert (neither, key.split("_")[0]) == ("", "colourfulness")


def test_pooled_psnr_is_not_the_mean_of_psnrs():
    squared_error, pixels = (columns_of(ROWS)[name] for name in ("squared_error", "pixels"))
    psnr = -10 * np.log10(squared_error)
    assert psnr.mean() == pytest.approx(30.0)
    # By Jensen's inequality it is below it, by much where one picture is far off.
    assert of("psnr") < np.average(psnr, weights=pixels) - 10
    # Of pictures of one size and error it is that of each; of pictures twice as many, the same.
    assert of("psnr", ROWS[:1]) == pytest.approx(20.0)
    assert of("psnr", ROWS * 2) == pytest.approx(of("psnr"))


def test_a_perfect_answer_has_infinite_psnr():
    rows = [{**row, "model": {**row["model"], "squared_error": 0.0}} for row in ROWS]
    with np.errstate(all="raise"):  # no warning reaches a person for it
        assert [of(key, rows) for key in ("psnr", "psnr_median", "psnr_median_near_grey")] == [math.inf] * 3


def test_medians_part_the_nearly_grey_from_the_rest():
    coloured, grey = ROWS[:3], ROWS[3:]
    assert of("psnr_median", coloured) == of("psnr_median") == pytest.approx(30.0)
    assert of("psnr_median", [*coloured, coloured[1]]) == pytest.approx(35.0)
    assert of("psnr_median_near_grey", grey[:1]) == pytest.approx(10.0)
    assert math.isnan(of("psnr_median_near_grey", coloured))
    assert math.isnan(of("psnr_median", grey))


def test_a_mean_is_of_the_pictures_that_have_it():
    assert of("lpips", without("lpips")) == pytest.approx(0.5)  # (0.4 + 0.4 + 0.7) / 3
    nobody = [{**row, "model": {**row["model"], "lpips": None, "top_1": None}} for row in ROWS]
    assert math.isnan(of("lpips", nobody))
    assert math.isnan(of("top_1", nobody))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("squared_error", "psnr"),
        ("squared_error", "psnr_median"),
        ("delta_e_2000", "delta_e_2000"),
        ("colourfulness_prediction", "colourfulness_ratio"),
        ("colourfulness_prediction", "colourfulness_difference"),
    ],
)
def test_what_every_picture_has_is_not_passed_over(name, key):
    # These figures need all pictures: one without must not look like a figure of the whole set.
    assert math.isnan(of(key, without(name)))


def test_no_colour_at_all_has_no_ratio():
    rows = [{**row, "colourfulness_truth": 0.0} for row in ROWS]
    assert math.isnan(of("colourfulness_ratio", rows))
    assert of("colourfulness_difference", rows) == pytest.approx(11.8)


def test_columns_are_numbers_of_one_answer():
    rows = [{**row, "grey": answer(0.5, 0.1, 9.0, 9.0, 0.0)} for row in ROWS]
    model, grey = columns_of(rows), columns_of(rows, "grey")
    assert {"path", "class", "sha256", "grey", "model"}.isdisjoint(model)
    assert all(column.dtype == np.float64 and column.shape == (5,) for column in model.values())
    assert model["near_grey"].tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(model["top_1"], [1, 0, np.nan, 0, 0])
    assert grey["squared_error"].tolist() == [0.5] * 5
    assert grey["pixels"].tolist() == model["pixels"].tolist()
    assert "top_1" not in grey  # an all grey answer names no class
    assert list(ANSWERS) == ["model", "grey", "mean_ab"]


def test_an_answer_that_some_pictures_lack():
    rows = [ROWS[0], {**ROWS[1], "mean_ab": answer(0.5, 0.1, 9.0, 9.0, 0.0)}]
    columns = columns_of(rows, "mean_ab")
    np.testing.assert_array_equal(columns["ssim"], [np.nan, 0.1])
    np.testing.assert_array_equal(columns["pixels"], [100, 300])
    assert FIGURES["ssim"].of(columns) == pytest.approx(0.1)
    assert math.isnan(FIGURES["psnr"].of(columns))


def test_how_a_value_is_shown():
    assert FIGURES["psnr"].show(23.456) == "23.46"
    assert FIGURES["ssim"].show(0.95) == "0.9500"
    assert FIGURES["colourfulness_ratio"].show(0) == "0.000"
    assert FIGURES["psnr"].show(None) == FIGURES["psnr"].show(math.nan) == "\N{EN DASH}"
    assert FIGURES["psnr"].show(math.inf) == "inf"
