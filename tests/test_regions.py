"""Inside and outside of boxes: which pixels those are, and what is said of them all together."""

import json
from dataclasses import replace

import numpy as np
import pytest

from kcolor.data.instances import Instance
from kcolor.regions import INSIDE, OUTSIDE, Part, boxes_sha256, by_region, parts, pooled, regions_of, worth_showing


def found(name, left, top, right, bottom):
    return Instance(name, 1.0, left, top, right, bottom)


def masks(instances, size, shape):
    return {region.key: region.mask for region in regions_of(instances, size, shape)}


def test_boxes_at_their_own_size_are_the_pixels_they_name():
    cat, dog, edge = found("cat", 2, 1, 6, 4), found("dog", 5, 3, 9, 7), found("cat", 8, 6, 10, 8)
    regions = regions_of([cat, dog, edge], (10, 8), (8, 10))
    assert [(region.key, region.instances) for region in regions] == [
        (INSIDE, 3),
        (OUTSIDE, 0),
        (("inside", "cat"), 2),
        (("inside", "dog"), 1),
    ]
    expected = {"cat": np.zeros((8, 10), bool), "dog": np.zeros((8, 10), bool)}
    for y in range(8):
        for x in range(10):
            for box in (cat, dog, edge):
                expected[box.name][y, x] |= box.left <= x < box.right and box.top <= y < box.bottom
    inside, outside, cats, dogs = (region.mask for region in regions)
    np.testing.assert_array_equal(cats, expected["cat"])
    np.testing.assert_array_equal(dogs, expected["dog"])
    assert (cats & dogs).sum() == 2  # where they overlap, a pixel is of both, and counts once inside
    np.testing.assert_array_equal(inside, cats | dogs)
    np.testing.assert_array_equal(outside, ~inside)
    assert cats[7, 9]  # the last pixel of the photo


@pytest.mark.parametrize(
    ("box", "size", "shape", "columns", "rows"),
    [
        ((0, 0, 400, 300), (400, 300), (256, 256), (0, 256), (0, 256)),
        # Stretched as the picture is: by 256/400 and 256/300.
        ((100, 75, 200, 150), (400, 300), (256, 256), (64, 128), (64, 128)),
        # 10.24 and 20.48; 30.72 and 40.96, to the nearest edge.
        ((16, 36, 32, 48), (400, 300), (256, 256), (10, 20), (31, 41)),
        # Halves are rounded up: 2.5 and 3.5.
        ((5, 7, 20, 20), (20, 20), (10, 10), (3, 10), (4, 10)),
        # Less than a pixel is the one that its middle lies in, also at the far edge.
        ((400, 0, 404, 1), (4000, 4000), (256, 256), (25, 26), (0, 1)),
        ((3999, 3999, 4000, 4000), (4000, 4000), (256, 256), (255, 256), (255, 256)),
        # Enlarged, and what reaches beyond the photo is cut off.
        ((-3, 1, 2, 9), (4, 4), (8, 8), (0, 4), (2, 8)),
    ],
)
def test_boxes_are_stretched_with_the_picture(box, size, shape, columns, rows):
    mask = masks([found("face", *box)], size, shape)["inside", "face"]
    expected = np.zeros(shape, bool)
    expected[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(mask, expected)


def test_nothing_found_is_all_outside_and_a_box_of_everything_leaves_no_outside():
    (only,) = regions_of([], (10, 8), (8, 10))
    assert (only.key, only.instances, only.mask) == (OUTSIDE, 0, None)
    assert list(masks([found("face", 0, 0, 10, 8)], (10, 8), (8, 10))) == [INSIDE, ("inside", "face")]


def part(key, instances, pixels, error, *, grey, colour=10.0):
    return {
        "region": key[0],
        "class": key[1],
        "instances": instances,
        "pixels": pixels,
        "colourfulness_truth": 20.0,
        "model": {"squared_error": error, "delta_e_2000": 100 * error, "colourfulness_prediction": colour},
        "grey": {"squared_error": grey, "delta_e_2000": 100 * grey, "colourfulness_prediction": 0.0},
        "mean_ab": {"squared_error": grey, "delta_e_2000": 100 * grey, "colourfulness_prediction": 0.0},
    }


FACE, ZEBRA = ("inside", "face"), ("inside", "zebra")
ROWS = [
    {"regions": [part(INSIDE, 1, 10, 0.1, grey=0.2), part(ZEBRA, 1, 10, 0.1, grey=0.2)]},
    {"regions": [part(OUTSIDE, 0, 60, 0.05, grey=0.0)]},
    {
        "regions": [
            part(INSIDE, 3, 30, 0.02, grey=0.04, colour=14.0),
            part(OUTSIDE, 0, 100, 0.01, grey=0.0),
            part(FACE, 2, 15, 0.02, grey=0.04),
            part(ZEBRA, 1, 20, 0.02, grey=0.04),
        ]
    },
    {},  # of another time, when nothing was looked for
]


def test_figures_are_pooled_by_the_pixels_of_the_photos_that_have_the_region():
    entries = pooled(ROWS)
    assert [(each["region"], each["class"], each["photos"], each["instances"], each["pixels"]) for each in entries] == [
        ("inside", None, 2, 4, 40),
        ("outside", None, 2, 0, 160),
        ("inside", "face", 1, 2, 15),  # as many as of zebras, so by name
        ("inside", "zebra", 2, 2, 30),
    ]
    figures = {entry["figure"]: entry for entry in entries[0]["figures"]}
    # (0.1 * 10 + 0.02 * 30) / 40 = 0.04
    assert figures["psnr"]["model"] == pytest.approx(-10 * np.log10(0.04))
    assert figures["delta_e_2000"]["model"] == pytest.approx(4.0)
    assert figures["delta_e_2000"]["grey"] == pytest.approx(8.0)
    assert figures["colourfulness_ratio"]["model"] == pytest.approx(24 / 40)
    assert figures["colourfulness_difference"]["model"] == pytest.approx((10 + 6) / 2)
    assert "delta_e_2000_p95" not in figures  # which these rows do not have
    # Grey is right everywhere outside: infinite, which JSON has no word for.
    (psnr,) = [entry for entry in entries[1]["figures"] if entry["figure"] == "psnr"]
    assert psnr["grey"] is None
    assert psnr["model"] == pytest.approx(-10 * np.log10((0.05 * 60 + 0.01 * 100) / 160))
    json.dumps(entries, allow_nan=False)


def test_what_is_told_of_a_region():
    told = {each.key: each for each in parts({"regions": pooled(ROWS)})}
    assert told[INSIDE].label == "inside any box"
    assert told[INSIDE].about == "4 boxes in 2 photos, 20 % of the pixels"
    assert told[OUTSIDE].label == "outside every box"
    assert told[OUTSIDE].about == "2 photos, 80 % of the pixels"
    assert told["inside", "face"].label == "inside: face"
    assert Part(("inside", "x"), 1, 1, 0.00123, {}).about == "1 box in 1 photo, 0.123 % of the pixels"
    assert Part(OUTSIDE, 9, 0, 0.9978, {}).about == "9 photos, 99.8 % of the pixels"
    assert parts({}) == []
    assert list(by_region(ROWS)) == list(told)


def test_the_same_boxes_have_the_same_hash():
    one, other = found("face", 0, 0, 4, 4), found("dog", 1, 0, 4, 4)
    first = boxes_sha256({"a.jpg": (one, other), "b.jpg": ()})
    assert boxes_sha256({"b.jpg": (), "a.jpg": (replace(other, score=0.5), one)}) == first
    for changed in (
        {"a.jpg": (one, other)},
        {"a.jpg": (one,), "b.jpg": (other,)},
        {"a.jpg": (one, replace(other, right=5)), "b.jpg": ()},
        {"a.jpg": (one, replace(other, name="face")), "b.jpg": ()},
    ):
        assert boxes_sha256(changed) != first


def test_what_is_worth_showing():
    one, many = ("inside", "face"), [("inside", str(number)) for number in range(5)]
    assert worth_showing([OUTSIDE]) == ([], 0)
    assert worth_showing([INSIDE, OUTSIDE, one]) == ([OUTSIDE, one], 0)
    assert worth_showing([INSIDE, OUTSIDE, *many]) == ([INSIDE, OUTSIDE, *many], 0)
    assert worth_showing([INSIDE, *many], 3) == ([INSIDE, *many[:3]], 2)
