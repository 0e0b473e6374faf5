import pytest
from webpage import evaluation, labelled, parsed, photographed, share_of, within_boxes

from kcolor.compare import ComparedPart, Comparison, Difference
from kcolor.figures import FIGURES, NOTHING
from kcolor.pages import comparison_page
from kcolor.pages.charts import MINUS
from kcolor.regions import parts


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return labelled()


@pytest.fixture(scope="module")
def comparison(rows) -> Comparison:
    made = [evaluation(rows) for _ in range(3)]
    for number, each in enumerate(made):
        fid = {"figure": "fid", "model": 20.0 + number, "grey": 40.0, "mean_ab": 39.0}
        each.metrics["figures"].append(fid)
        each.metrics["missing"] = [{"figure": "lpips", "why": "needs VGG16: kcolor weights fetch vgg16"}]
    made[1].metrics["warnings"] = ["other versions"]
    wide = {
        "psnr": Difference(0.57, 0.48, 0.66),
        "psnr_median_near_grey": Difference(0.3, None, None),
        "ssim": Difference(-0.001, -0.002, 0.0),
        "delta_e_2000": Difference(0.21, 0.15, 0.28),
        "fid": Difference(-1.0, None, None),
        "colourfulness_prediction": Difference(-2.0, -3.0, -1.0),
        "colourfulness_ratio": Difference(0.0, 0.0, 0.0),
    }
    other = {"psnr": Difference(-0.0004, -0.0007, -0.0001), "delta_e_2000": Difference(-0.5, -0.9, -0.1)}
    return Comparison(["narrow", "wide & <deep>", "a-name-that-is-too-long-for-a-drawing"], made, [wide, other], 2000)


def test_differences_and_what_they_say(comparison):
    page = parsed(comparison_page(comparison))
    cells = {
        each.attributes["data-figure"]: [cell.text for cell in each.all("td")]
        for each in page.all("tr")
        if "data-figure" in each.attributes
    }
    figures = comparison.evaluations[0].figures
    psnr, ssim, delta_e = (FIGURES[key].show(figures[key]["model"]) for key in ("psnr", "ssim", "delta_e_2000"))
    assert cells["psnr"] == [
        FIGURES["psnr"].show(figures["psnr"]["grey"]),
        psnr,
        f"{psnr}+0.57 (+0.48 to +0.66) ✓ better",
        f"{psnr}{MINUS}0.00040 ({MINUS}0.00070 to {MINUS}0.00010) ✗ worse",
    ]
    assert cells["ssim"][2] == f"{ssim}{MINUS}0.0010 ({MINUS}0.0020 to 0.0000) ≈ not told apart"
    assert cells["ssim"][3] == ssim
    assert cells["delta_e_2000"][2:] == [
        f"{delta_e}+0.21 (+0.15 to +0.28) ✗ worse",
        f"{delta_e}{MINUS}0.50 ({MINUS}0.90 to {MINUS}0.10) ✓ better",
    ]
    assert cells["fid"] == ["40.00", "20.00", f"21.00{MINUS}1.00 (no interval)", "22.00"]
    assert cells["colourfulness_prediction"][2].endswith(f"{MINUS} lower")
    assert cells["colourfulness_ratio"][2].endswith("= same")
    assert len(cells["colourfulness_truth"]) == 1
    assert "better in 1 of 3 figures, worse in 1 (ΔE 2000)" in page.all("p", class_="lede")[0].text


def test_how_the_intervals_were_made_is_said(comparison):
    text = parsed(comparison_page(comparison)).text
    assert "2,000 times, 60 pictures were drawn" in text
    assert "FID has no interval" in text
    assert "PSNR, median of near-grey has no interval: so few pictures" in text


def test_what_is_missing_is_said_once_for_all(comparison):
    notes = parsed(comparison_page(comparison)).one("aside")
    assert [each.text for each in notes.all("li")] == [
        "all: LPIPS was not measured: needs VGG16: kcolor weights fetch vgg16",
        "wide & <deep>: other versions",
    ]
    assert notes.one("code").text == "kcolor weights fetch vgg16"


def test_differences_with_an_interval_are_drawn_in_place(comparison):
    page = parsed(comparison_page(comparison))
    panels = {each.attributes["data-figure"]: each for each in page.all("figure", class_="panel")}
    assert list(panels) == ["psnr", "ssim", "delta_e_2000", "colourfulness_prediction"]
    zero = float(panels["psnr"].one("line", class_="zero").attributes["x1"])
    dots = [float(each.attributes["cx"]) for each in panels["psnr"].all("circle")]
    assert dots[0] > zero and 0 < zero - dots[1] < 1
    assert "wide & <deep>" in panels["psnr"].text
    assert "better →" in panels["psnr"].text and "← better" in panels["delta_e_2000"].text


def test_inside_and_outside_of_boxes(rows):
    made = [within_boxes(rows), within_boxes(rows)]
    differences = [Difference(0.57, 0.48, 0.66)] * 3 + [Difference(0.1, None, None)]
    regions = zip(*(parts(each.metrics) for each in made), differences, strict=True)
    found = [ComparedPart(each, [{"psnr": difference}]) for *each, difference in regions]
    page = parsed(comparison_page(Comparison(["one", "other"], made, [{}], 100, found)))
    table = page.one("section", aria_labelledby="regions").one("table")
    headings = [each.text for each in table.all("th", scope="rowgroup")]
    assert [heading.split(" box")[0] for heading in headings[:2]] == ["inside any", "outside every"]
    assert headings[3].startswith("inside: <zebra> 3 boxes in 3 photos, ")
    keys = ["psnr", "delta_e_2000", "delta_e_2000_p95", "colourfulness_prediction"]
    keys += ["colourfulness_ratio", "colourfulness_difference"]
    lines = table.all("tr", data_region="inside: <zebra>")
    assert [line.attributes["data-figure"] for line in lines] == keys
    shown = FIGURES["psnr"].show(parts(made[0].metrics)[3].figures["psnr"]["model"])
    assert [cell.text for cell in lines[0].all("td")][1:] == [shown, f"{shown}+0.10 (no interval)"]
    (psnr, *_) = table.all("tr", data_region="inside any box")
    assert psnr.all("td")[2].text.endswith("+0.57 (+0.48 to +0.66) ✓ better")
    # Of other boxes, only why.
    page = parsed(comparison_page(Comparison(["one", "other"], made, [{}], 100, [], "their boxes differ")))
    assert not page.all(id="regions")
    assert [each.text for each in page.one("aside").all("li")] == ["all: their boxes differ"]


def test_two_evaluations_without_any_difference(rows):
    made = [evaluation(rows, protocol=evaluation(rows).metrics["protocol"] | {"stochastic": True}) for _ in range(2)]
    page = parsed(comparison_page(Comparison(["one", "other"], made, [{}], 100)))
    assert page.one("h1").text == "one and other"
    assert not page.all(id="differences")


def test_a_figure_that_only_one_evaluation_has(rows):
    first, second = evaluation(rows), evaluation(rows)
    second.metrics["figures"].append({"figure": "lpips", "model": 0.2, "grey": 0.3, "mean_ab": 0.3})
    page = parsed(comparison_page(Comparison(["one", "other"], [first, second], [{}], 100)))
    assert [each.text for each in page.one("tr", data_figure="lpips").all("td")] == [NOTHING, NOTHING, "0.2000"]


def test_a_comparison_in_a_browser(comparison, tmp_path):
    html = comparison_page(comparison)
    pixels = photographed(html, "comparison.png", 2600, tmp_path, "--blink-settings=preferredColorScheme=1")
    assert pixels.shape[1] == 1200
    assert 0.7 < share_of(pixels, (252, 252, 251)) < 0.99
    for colour in ((28, 107, 60), (160, 44, 28)):  # better and worse
        assert share_of(pixels, colour) > 1e-5
