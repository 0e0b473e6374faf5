import base64
import io
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kcolor import report
from kcolor.compare import Comparison, Difference
from kcolor.evaluation import Evaluation
from kcolor.figures import ANSWERS, FIGURES, columns_of
from kcolor.report import DASH, MINUS, Shown, chosen, comparison_page, histogram, report_page

OUTPUT = Path(__file__).parent / "output"
VOID = {"meta", "img", "br", "link", "input", "hr"}
AWKWARD = '<b>Söder & "Co"</b>\'s/caf\udce9\u202egpj.jpg'
SHOWN_AWKWARD = '<b>Söder & "Co"</b>\'s/caf\\xe9\\u202egpj.jpg'
ABOUT = "256x256; the prediction joined with the true L, and measured in RGB"


class Element:
    def __init__(self, tag: str, attributes: dict[str, str]):
        self.tag, self.attributes, self.children = tag, attributes, []

    def all(self, tag: str = "", **attributes: str) -> "list[Element]":
        found = []
        for child in self.children:
            if isinstance(child, Element):
                wanted = {key.strip("_").replace("_", "-"): value for key, value in attributes.items()}
                if tag in ("", child.tag) and wanted.items() <= child.attributes.items():
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> "Element":
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)


class Page(HTMLParser):
    """A tree; anything that is not nested well is an error."""

    def __init__(self, html: str):
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.declared = False
        self.feed(html)
        self.close()
        assert self.open == [self.root], f"never closed: {[element.tag for element in self.open[1:]]}"

    def handle_decl(self, declaration):
        self.declared = declaration == "doctype html"

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"{tag} has an attribute twice: {attributes}"
        element = Element(tag, {key: value or "" for key, value in attributes})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parsed(html: str) -> Element:
    """The page, after everything that holds for each: well nested, alone, readable without eyes, of no bad bytes."""
    html.encode("utf-8")
    page = Page(html)
    root = page.root
    assert page.declared
    assert root.one("html").attributes["lang"] == "en"
    for element in root.all():
        assert element.tag not in {"script", "link", "iframe", "object", "base"}
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "srcset", "data", "action", "xlink:href"}:
                assert value.startswith(("data:image/", "#"))
            assert "url(" not in value
    style = root.one("style").text
    assert "@import" not in style and "url(" not in style and "http" not in style
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(set(ids)) == len(ids)
    for element in root.all():
        assert set(element.attributes.get("aria-labelledby", "").split()) <= set(ids)
        assert element.attributes.get("href", "#")[1:] in ["", *ids]
    assert all(image.attributes["alt"].strip() for image in root.all("img"))
    assert all(table.all("caption") and table.all("th", scope="col") for table in root.all("table"))
    levels = [int(element.tag[1]) for element in root.all() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    return root


def line(number: int, *, near_grey=False, paper=False, label="", seed=0) -> dict:
    random = np.random.default_rng([seed, number])
    row = {
        "path": f"{label or 'photos'}/{number:03}.jpg",
        "class": label,
        "sha256": f"{number:064x}",
        "width": 300,
        "height": 200,
        "pixels": 65536,
        "near_grey": near_grey,
    }
    if not paper:
        row["colourfulness_truth"] = 5.0 if near_grey else float(random.uniform(15, 60))
    for answer, worse in (("model", 1.0), ("grey", 1.3), ("mean_ab", 1.2)):
        error = float(random.uniform(0.001, 0.02)) * worse
        row[answer] = {"squared_error": error, "psnr": -10 * np.log10(error), "ssim": 1 - 3 * error}
        if not paper:
            row[answer] |= {
                "delta_e_2000": 600 * error,
                "delta_e_2000_p95": 1500 * error,
                "colourfulness_prediction": {"model": 0.6, "grey": 0.0, "mean_ab": 0.3}[answer]
                * row["colourfulness_truth"],
            }
    return row


def evaluation(rows: list[dict], **changes) -> Evaluation:
    """An evaluation with figures that are those of its rows."""
    columns = {answer: columns_of(rows, answer) for answer in ANSWERS}
    figures = []
    for key, figure in FIGURES.items():
        entry = {"figure": key, "protocol": "rgb-1", "pictures": len(rows)}
        for answer in ANSWERS:
            try:
                value = figure.of(columns[answer]) if figure.of else np.nan
            except KeyError:
                continue
            entry[answer] = float(value) if np.isfinite(value) else None
        if set(entry) & set(ANSWERS) and figure.of:
            figures.append(entry)
    metrics = {
        "kcolor_evaluation": 1,
        "protocol": {"name": "rgb", "version": 1, "stochastic": False, "about": ABOUT},
        "model": {"path": "runs/narrow/generator.keras", "kind": "keras", "sha256": "c0ffee" * 10, "input_size": 128},
        "pictures": {
            "count": len(rows),
            "sha256": "ab" * 32,
            "split": "test",
            "limit": None,
            "folder": "/photos",
            "manifest_sha256": "cd" * 32,
            "near_grey": sum(row["near_grey"] for row in rows),
            "left_out": [],
        },
        "baselines": {
            "grey": {"ab": [0.0, 0.0]},
            "mean_ab": {"ab": [1.3, 4.9], "photos": 6308, "of": "the train split of /photos"},
        },
        "figures": figures,
        "missing": [],
        "warnings": [],
        "networks": {},
        "seed": 0,
        "batch_size": 8,
        "seconds": 80.2,
        "versions": {"kcolor": "0.1.0", "python": "3.11.7", "tensorflow": "2.21.0"},
        "per_image_sha256": "ef" * 32,
    }
    return Evaluation(Path("somewhere"), metrics | changes, rows)


def plain(colour: tuple[int, int, int], height=200, width=300) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def shown(rows: list[dict], **size) -> list[Shown]:
    ranking = report.ranked_by(rows)
    return [
        Shown(kind, row, plain((90, 90, 90), **size), plain((200, 30, 60), **size), plain((20, 150, 90), **size))
        for kind, row in chosen(rows, key=ranking.key, better=ranking.better)
    ]


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [line(i, near_grey=i % 9 == 0, label=("sea", "forest", "Äcker")[i % 3]) for i in range(60)]


def counted(panel: Element) -> tuple[int, int]:
    """The pictures in the bins of a histogram, of the model and of all grey, as the page tells them."""
    found = [re.search(r": model (\d+), all grey (\d+)$", each.text) for each in panel.all("rect")]
    return sum(int(each[1]) for each in found), sum(int(each[2]) for each in found)


# The page of an evaluation.


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
    number = DASH if model is None or np.isnan(model) else figure.show(model)
    assert cells == [f"{number}{word}", figure.show(grey), DASH]


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
        ("exports/narrow/saved_model", "narrow, saved_model"),
        ("old.keras", "old"),
        ("generator.keras", "generator"),
    ],
)
def test_a_model_is_called_by_its_run(path, name):
    made = evaluation([line(1)])
    made.metrics["model"]["path"] = path
    assert report.name_of(made) == name


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


# Histograms.


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


def test_the_ends_of_a_histogram_are_round_and_hold_the_tails():
    values = np.concatenate([np.random.default_rng(0).normal(23, 2, 2000), [-100.0, 1e6, np.inf]])
    made = histogram(values, values[:-3] - 1)
    assert made.model.sum() == 2003 and made.grey.sum() == 2000
    step = np.diff(made.edges)
    np.testing.assert_allclose(step, step[0])
    assert step[0] in (0.5, 1.0)
    assert 14 < made.edges[0] < 18 and 27 < made.edges[-1] < 31
    assert made.beyond[0] == np.count_nonzero((values < made.edges[0]) | (values > made.edges[-1])) > 2


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-9, 4e5])
def test_one_value_is_a_histogram(value):
    made = histogram(np.array([value, value]), np.array([value]))
    assert made.model.sum() == 2 and made.grey.sum() == 1
    assert made.edges[0] < value < made.edges[-1]
    assert made.beyond == (0, 0)


def test_no_value_is_no_histogram():
    assert histogram(np.array([np.nan]), np.array([])) is None
    assert histogram(np.array([np.inf]), np.array([np.nan])) is None


def test_both_answers_have_the_same_bins():
    made = histogram(np.array([1.0, 2.0]), np.array([9.0, 10.0]))
    assert made.edges[0] <= 1.0 and made.edges[-1] >= 10.0 and made.beyond == (0, 0)
    assert len(made.model) == len(made.grey) == len(made.edges) - 1


# The gallery.


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


# The page of a comparison.


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


def test_two_evaluations_without_any_difference(rows):
    made = [evaluation(rows, protocol=evaluation(rows).metrics["protocol"] | {"stochastic": True}) for _ in range(2)]
    page = parsed(comparison_page(Comparison(["one", "other"], made, [{}], 100)))
    assert page.one("h1").text == "one and other"
    assert not page.all(id="differences")


def test_a_figure_that_only_one_evaluation_has(rows):
    first, second = evaluation(rows), evaluation(rows)
    second.metrics["figures"].append({"figure": "lpips", "model": 0.2, "grey": 0.3, "mean_ab": 0.3})
    page = parsed(comparison_page(Comparison(["one", "other"], [first, second], [{}], 100)))
    assert [each.text for each in page.one("tr", data_figure="lpips").all("td")] == [DASH, DASH, "0.2000"]


# In a browser.


def photographed(html: str, name: str, height: int, folder: Path, *flags: str, width=1200) -> np.ndarray:
    """The page as a browser shows it, (height, width, 3); kept in the tests' output."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        if "CI" in os.environ:
            pytest.fail("no browser to look at the pages with")
        pytest.skip("no browser to look at the pages with")
    OUTPUT.mkdir(exist_ok=True)
    page, picture = folder / "page.html", OUTPUT / name
    page.write_text(html, encoding="utf-8")
    picture.unlink(missing_ok=True)
    command = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command += " --disable-component-update --disable-sync --hide-scrollbars"
    places = [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", f"--screenshot={picture}"]
    subprocess.run(
        [browser, *command.split(), *flags, *places, page.as_uri()], check=True, timeout=60, capture_output=True
    )
    with Image.open(picture) as taken:
        return np.asarray(taken.convert("RGB"))


def share_of(pixels: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(pixels.astype(int) - colour).max(axis=-1) <= 6).mean())


def test_a_report_in_a_browser(rows, tmp_path):
    html = report_page(evaluation(rows), shown(rows))
    pixels = photographed(html, "report.png", 5200, tmp_path, "--blink-settings=preferredColorScheme=1")
    assert pixels.shape[1] == 1200
    assert 0.5 < share_of(pixels, (252, 252, 251)) < 0.95  # paper, and something on it
    for colour in ((90, 90, 90), (200, 30, 60), (20, 150, 90)):  # twelve pictures of about 170 x 113 pixels
        assert 0.02 < share_of(pixels, colour) < 0.08
    assert share_of(pixels, (157, 186, 214)) > 0.004  # the bars of the histograms


def test_a_comparison_in_a_browser(comparison, tmp_path):
    html = comparison_page(comparison)
    pixels = photographed(html, "comparison.png", 2600, tmp_path, "--blink-settings=preferredColorScheme=1")
    assert pixels.shape[1] == 1200
    assert 0.7 < share_of(pixels, (252, 252, 251)) < 0.99
    for colour in ((28, 107, 60), (160, 44, 28)):  # better and worse
        assert share_of(pixels, colour) > 1e-5


def test_pages_are_made_without_tensorflow():
    code = "import sys, kcolor.report; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
