import base64
import io

import numpy as np
import pytest
from PIL import Image
from webpage import Element, evaluation, labelled, line, parsed, shown

from kcolor.pages import Shown, chosen, report_page


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return labelled()


def ranks(found: list[tuple[str, dict]]) -> dict[str, list[float]]:
    values = {"best": [], "median": [], "worst": []}
    for kind, row in found:
        values[kind].append(row["model"]["psnr"])
    return values


def ranked(*values: float | None, near_grey=()) -> list[dict]:
    return [
        {"path": f"{i:03}", "near_grey": i in near_grey, "colourfulness_truth": 5.0 + i, "model": {"psnr": value}}
        for i, value in enumerate(values)
    ]


def test_best_middle_and_worst():
    some = ranked(*np.random.default_rng(0).permutation(101).tolist())
    found = ranks(chosen(some, key="psnr", better="higher"))
    assert found == {"best": [100, 99, 98, 97], "median": [52, 51, 50, 49], "worst": [0, 1, 2, 3]}
    found = ranks(chosen(some, key="psnr", better="lower", each=1))
    assert found == {"best": [0], "median": [50], "worst": [100]}


@pytest.mark.parametrize("count", range(16))
def test_no_picture_stands_twice(count):
    found = chosen(ranked(*range(count)), key="psnr", better="higher")
    assert len({row["path"] for _, row in found}) == len(found) == min(count, 12)
    groups = ranks(found)
    sizes = [len(group) for group in groups.values()]
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= 4
    flat = [*groups["best"], *groups["median"], *groups["worst"][::-1]]
    assert flat == sorted(flat, reverse=True)


def test_equals_are_in_the_order_of_their_paths():
    some = ranked(*[7.0] * 30)
    found = chosen(some[::-1], key="psnr", better="lower")
    assert found == chosen(some, key="psnr", better="lower")
    assert [row["path"] for kind, row in found if kind == "best"] == ["000", "001", "002", "003"]


def test_nearly_grey_pictures_are_passed_over():
    some = ranked(*range(40), near_grey=range(20))
    assert not any(row["near_grey"] for _, row in chosen(some, key="psnr", better="lower"))


def test_nearly_grey_pictures_fill_up_and_the_page_says_so():
    some = [line(i, near_grey=i >= 10) | {"colourfulness_truth": float(i)} for i in range(40)]
    found = chosen(some, key="delta_e_2000", better="lower")
    assert {row["path"] for _, row in found if row["near_grey"]} == {"photos/039.jpg", "photos/038.jpg"}
    assert len(found) == 12
    page = parsed(report_page(evaluation(some), shown(some)))
    assert "because there are too few others" in page.text
    assert sum("nearly grey" in each.text for each in page.all("figure", class_="triplet")) == 2


def test_pictures_without_the_figure_are_passed_over_and_infinite_ones_are_not():
    some = ranked(20.0, None, float("nan"), 30.0, None)
    some[4]["model"]["squared_error"] = 0.0
    found = chosen(some, key="psnr", better="higher")
    assert [(kind, row["path"]) for kind, row in found] == [("best", "004"), ("median", "003"), ("worst", "000")]
    assert chosen(ranked(None), key="psnr", better="higher") == []


def decoded(image: Element) -> Image.Image:
    head, _, data = image.attributes["src"].partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_are_small_and_of_their_colours(rows):
    page = parsed(report_page(evaluation(rows), shown(rows, height=900, width=600)))
    images = page.all("img")
    assert len(images) == 36
    for image, colour in zip(images[:3], [(90, 90, 90), (200, 30, 60), (20, 150, 90)], strict=True):
        with decoded(image) as picture:
            assert picture.format == "JPEG" and picture.size == (213, 320)
            assert (image.attributes["width"], image.attributes["height"]) == ("213", "320")
            assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - colour).max() <= 4


def test_tiny_pictures_keep_every_pixel(rows):
    noise = np.random.default_rng(0).integers(0, 256, (3, 17, 5, 3), np.uint8)
    page = parsed(report_page(evaluation(rows), [Shown("worst", rows[0], *noise)]))
    for image, pixels in zip(page.all("img"), noise, strict=True):
        with decoded(image) as picture:
            np.testing.assert_array_equal(np.asarray(picture), pixels)
