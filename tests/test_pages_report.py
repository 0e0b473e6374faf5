import re

import numpy as np
import pytest
from webpage import ABOUT, Element, evaluation, labelled, line, parsed, photographed, share_of, shown, within_boxes

from kcolor.figures import ANSWERS, FIGURES, NOTHING, columns_of
from kcolor.pages import report_page
from kcolor.pages.report import name_of

AWKWARD = '<b>Söder & "Co"</b>\'s/caf\udce9\u202egpj.jpg'
SHOWN_AWKWARD = '<b>Söder & "Co"</b>\'s/caf\\xe9\\u202egpj.jpg'


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return labelled()


def counted(panel: Element) -> tuple[int, int]:
    """The pictures in the bins of a histogram, of the model and of all grey, as the page tells them."""
    found = [re.search(r": model (\d+), all grey (\d+)$", each.text) for each in panel.all("rect")]
    return sum(int(each[1]) for each in found), sum(int(each[2]) for each in found)


def test_figures_are_those_of_the_file(rows):
    made = evaluation(rows)
    page = parsed(report_page(made, shown(rows)))
    assert len(made.metrics["figures"]) == 10
    for entry in made.metrics["figures"]:
        figure = FIGURES[entry["figure"]]
        table_row = page.one("tr", data_figure=figure.key)
        numbers = [each.text for each in table_row.all("span") if "number" in each.attributes.get("class", "").split()]
        expected = [figure.show(entry[answer]) for answer in ANSWERS]
        assert numbers == (expected[:1] if figure.key == "colourfulness_truth" else expected)
        assert table_row.one("th", scope="row").text.startswith(figure.label)
    assert page.one("h1").text == "narrow"
    assert ABOUT in page.text and "60, 7 of them nearly grey" in page.text


@pytest.mark.parametrize(
    ("key", "model", "grey", "word"),
    [
        ("psnr", 20.0, 19.0, "✓ better"),
        ("psnr", 19.0, 20.0, "✗ worse"),
        ("psnr", 20.001, 20.002, "= same"),
        ("delta_e_2000", 19.0, 20.0, "✓ better"),
        ("delta_e_2000", 20.0, 19.0, "✗ worse"),
        ("colourfulness_ratio", 1.2, 0.9, "✗ worse"),
        ("colourfulness_ratio", 1.05, 0.9, "✓ better"),
        ("colourfulness_prediction", 20.0, 0.0, ""),
        ("psnr", None, 20.0, ""),
        ("psnr", float("nan"), 20.0, ""),
    ],
)
def test_a_word_says_whether_the_model_is_better(key, model, grey, word):
    made = evaluation([line(1)], figures=[{"figure": key, "model": model, "grey": grey, "mean_ab": None}])
    page = parsed(report_page(made, []))
    cells = [each.text for each in page.one("tr", data_figure=key).all("td")]
    figure = FIGURES[key]
    number = NOTHING if model is None or np.isnan(model) else figure.show(model)
    assert cells == [f"{number}{word}", figure.show(grey), NOTHING]


def test_what_is_missing_stands_in_its_row_with_the_command(rows):
    missing = [
        {"figure": "fid", "why": "needs Inception, <89 MB>: kcolor weights fetch inception"},
        {"figure": "top_1", "why": "no photo is of a class that the model knows"},
    ]
    made = evaluation(rows, missing=missing, warnings=["the FID of 60 pictures is <far> too large"])
    page = parsed(report_page(made, []))
    row = page.one("tr", data_figure="fid")
    assert row.one("td").text == "not measured: needs Inception, <89 MB>: kcolor weights fetch inception"
    assert row.one("code").text == "kcolor weights fetch inception"
    assert page.one("tr", data_figure="top_1").one("td").text == f"not measured: {missing[1]['why']}"
    notes = page.one("aside").text
    assert "the FID of 60 pictures is <far> too large" in notes
    assert "FID; top-1 accuracy" in notes


def test_a_figure_that_is_null_and_missing_says_why():
    made = evaluation([line(1)], missing=[{"figure": "top_1", "why": "unknown classes"}])
    made.metrics["figures"].append({"figure": "top_1", "model": None, "grey": None, "mean_ab": None})
    page = parsed(report_page(made, []))
    assert page.one("tr", data_figure="top_1").one("td").text == "not measured: unknown classes"


def test_nothing_is_missing_and_nothing_warned_of(rows):
    assert not parsed(report_page(evaluation(rows), [])).all("aside")


def test_names_are_shown_as_they_are_and_do_no_harm(rows):
    row = line(999) | {"path": AWKWARD, "class": "<i>&amp;</i>"}
    row["model"]["delta_e_2000"] = 0.0
    made = evaluation([*rows, row])
    made.metrics["model"]["path"] = "/runs/a <script>alert(1)</script> \udcff/generator.keras"
    made.metrics["pictures"]["folder"] = AWKWARD
    made.metrics["pictures"]["left_out"] = [{"path": AWKWARD, "reason": "cannot be read: <nul\x00>"}]
    page = parsed(report_page(made, shown(made.rows)))
    assert page.text.count(SHOWN_AWKWARD) == 3  # the gallery, the folder, those left out
    assert page.all("img")[0].attributes["alt"].startswith(SHOWN_AWKWARD)
    assert "<i>&amp;</i>" in [each.text for each in page.all("th", scope="row")]
    assert "cannot be read: <nul\\x00>" in page.text
    assert "script>" in page.one("h1").text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/narrow/generator.keras", "narrow"),
        ("runs/narrow/checkpoints/best.keras", "narrow, best"),
        ("exports/narrow/narrow.float16.tflite", "narrow.float16"),
        ("exports/narrow/1", "narrow, 1"),
        ("old.keras", "old"),
        ("generator.keras", "generator"),
    ],
)
def test_a_model_is_called_by_its_run(path, name):
    made = evaluation([line(1)])
    made.metrics["model"]["path"] = path
    assert name_of(made) == name


@pytest.mark.parametrize("count", [1, 2])
def test_few_pictures_have_a_page(count):
    few = [line(i, label="sea") for i in range(count)]
    page = parsed(report_page(evaluation(few), shown(few)))
    assert len(page.all("figure", class_="triplet")) == count
    assert {counted(panel) for panel in page.all("figure", class_="panel")} == {(count, count)}


def test_paper_protocol_has_neither_delta_e_nor_colourfulness():
    few = [line(i, paper=True, label="sea") for i in range(20)]
    described = {"name": "paper", "version": 1, "stochastic": True, "about": "as the 2023 report"}
    page = parsed(report_page(evaluation(few, protocol=described), shown(few)))
    assert [each.attributes["data-figure"] for each in page.all("figure", class_="panel")] == ["psnr", "ssim"]
    assert "paper-1 stochastic" in page.text and "training mode" in page.text
    assert "ranked by the model\u2019s PSNR" in page.text
    assert "ΔE" not in page.text and "colourfulness" not in page.text
    figcaption = page.all("figure", class_="triplet")[0].one("figcaption").text
    best = max(few, key=lambda row: row["model"]["psnr"])
    assert figcaption.startswith(best["path"]) and f"PSNR {best['model']['psnr']:.2f} dB" in figcaption


def test_a_picture_without_a_figure_and_one_without_an_error():
    some = [line(i) for i in range(5)]
    some[0]["model"] |= {"psnr": None, "squared_error": 0.0, "delta_e_2000": 0.0}
    some[1]["model"] |= {"ssim": None}
    page = parsed(report_page(evaluation(some), shown(some)))
    panel = page.one("figure", data_figure="ssim")
    assert counted(panel) == (4, 5)
    assert "1 picture has no such figure" in panel.text
    panel = page.one("figure", data_figure="psnr")
    assert counted(panel) == (5, 5)
    assert "Beyond the ends: 1 of the model\u2019s" in panel.text
    assert "PSNR ∞ dB" in page.all("figure", class_="triplet")[0].text


def test_a_perfect_model_is_infinite_where_the_file_says_nothing():
    some = [line(i) for i in range(3)]
    for row in some:
        row["model"] |= {"psnr": None, "squared_error": 0.0}
    page = parsed(report_page(evaluation(some), []))
    cells = page.one("tr", data_figure="psnr").all("td")
    assert cells[0].text == "∞✓ better"


def test_classes_are_sorted_and_their_figures_are_of_their_pictures(rows):
    some = [*rows, line(100), line(101, label="a&b")]
    page = parsed(report_page(evaluation(some), []))
    (table,) = [each for each in page.all("table") if "classes" in each.attributes.get("class", "")]
    head = [each.text for each in table.all("th", scope="row")]
    assert head == ["a&b", "forest", "sea", "Äcker", "without a class"]
    of_sea = [row for row in some if row["class"] == "sea"]
    (sea,) = [each for each in table.all("tr") if each.all("th", scope="row") and "sea" in each.text]
    numbers = [each.text for each in sea.all("span", class_="number")]
    columns = [columns_of(of_sea, answer) for answer in ("model", "grey")]
    for key in ("psnr", "ssim", "delta_e_2000"):
        model, grey = (FIGURES[key].show(FIGURES[key].of(table)) for table in columns)
        assert numbers[:2] == [f"{model}✓ better", grey]
        del numbers[:2]
    assert numbers == [FIGURES["colourfulness_ratio"].show(0.6)]
    assert sea.all("td")[0].text == "20"


def test_inside_and_outside_of_boxes(rows):
    made = within_boxes(rows)
    page = parsed(report_page(made, []))
    table = page.one("section", aria_labelledby="regions").one("table")
    assert "detector faces" in table.one("caption").text
    lines = {each.one("th").text: each for each in table.one("tbody").all("tr")}
    assert list(lines) == ["inside any box", "outside every box", "inside: person", "inside: <zebra>"]
    assert [cell.text for cell in lines["inside: <zebra>"].all("td")][:2] == ["3", "3"]
    assert [cell.text for cell in lines["outside every box"].all("td")][:2] == ["", "60"]
    told = {(each["region"], each["class"]): each for each in made.metrics["regions"]}
    figures = {entry["figure"]: entry for entry in told["inside", "person"]["figures"]}
    numbers = [each.text for each in lines["inside: person"].all("span", class_="number")]
    for key in ("psnr", "delta_e_2000"):
        model, grey = (FIGURES[key].show(figures[key][answer]) for answer in ("model", "grey"))
        assert numbers[:2] == [f"{model}✓ better", grey]
        del numbers[:2]
    assert numbers == ["0.600"]
    # Nothing was found: no table.
    made.metrics["regions"] = [each for each in made.metrics["regions"] if each["region"] == "outside"]
    assert not parsed(report_page(made, [])).all(id="regions")
    assert not parsed(report_page(evaluation(rows), [])).all(id="regions")


def test_without_classes_there_is_no_table_of_them():
    some = [line(i) | {"class": None} for i in range(4)]
    page = parsed(report_page(evaluation(some), shown(some)))
    assert not page.all(id="classes")
    assert page.all(id="gallery")


def test_those_left_out_are_named_up_to_twenty(rows):
    made = evaluation(rows)
    made.metrics["pictures"]["left_out"] = [{"path": f"{i}.jpg", "reason": "broken"} for i in range(1234)]
    page = parsed(report_page(made, []))
    assert page.text.count("broken") == 20
    assert "1,234 pictures were to be measured" in page.text
    assert "Every picture" in parsed(report_page(evaluation(rows), [])).text


def test_how_it_was_measured_can_be_checked(rows):
    made = evaluation(rows, networks={"vgg16": "12" * 32})
    text = parsed(report_page(made, [])).one("dl", class_="details")
    hashes = {each.attributes["title"]: each.text for each in text.all("code")}
    for full in ("c0ffee" * 10, "ab" * 32, "cd" * 32, "ef" * 32, "12" * 32):
        assert hashes[full] == full[:12]
    for told in ("a* 1.30, b* 4.90", "6,308 photographs of the train split of /photos", "batches of 8", "1 min 20 s"):
        assert told in text.text
    assert "tensorflow 2.21.0" in text.text


def test_histograms_of_a_page_count_every_picture(rows):
    page = parsed(report_page(evaluation(rows), []))
    panels = page.all("figure", class_="panel")
    names = [panel.attributes["data-figure"] for panel in panels]
    assert names == ["psnr", "ssim", "delta_e_2000", "delta_e_2000_p95", "colourfulness_difference"]
    for panel in panels:
        assert counted(panel) == (60, 60)
    wins = sum(row["model"]["delta_e_2000"] < row["grey"]["delta_e_2000"] for row in rows)
    assert f"Better than all grey in {wins} of 60 pictures" in panels[2].text
    median = np.median([row["model"]["psnr"] for row in rows])
    assert f"Median: model {median:.2f}" in panels[0].text


def test_lpips_is_drawn_where_it_was_measured(rows):
    some = [row | {"model": row["model"] | {"lpips": 0.2}} for row in rows]
    page = parsed(report_page(evaluation(some), []))
    assert counted(page.one("figure", data_figure="lpips")) == (60, 0)


def test_a_report_in_a_browser(rows, tmp_path):
    html = report_page(evaluation(rows), shown(rows))
    pixels = photographed(html, "report.png", 5200, tmp_path, "--blink-settings=preferredColorScheme=1")
    assert pixels.shape[1] == 1200
    assert 0.5 < share_of(pixels, (252, 252, 251)) < 0.95  # paper, and something on it
    for colour in ((90, 90, 90), (200, 30, 60), (20, 150, 90)):  # twelve pictures of about 170 x 113 pixels
        assert 0.02 < share_of(pixels, colour) < 0.08
    assert share_of(pixels, (157, 186, 214)) > 0.004  # the bars of the histograms
