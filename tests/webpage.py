"""Evaluations that are made up, and pages as their readers and browsers take them."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kcolor.evaluation import Evaluation
from kcolor.figures import ANSWERS, FIGURES, columns_of
from kcolor.pages import Shown, chosen, ranked_by
from kcolor.regions import INSIDE, OUTSIDE, pooled

OUTPUT = Path(__file__).parent / "output"
VOID = {"meta", "img", "br", "link", "input", "hr"}
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


def within_boxes(rows: list[dict], *, zebras=3) -> Evaluation:
    """The same in which people were found in every second picture, and zebras in the first ones."""
    rows = [dict(row) for row in rows]
    for place, row in enumerate(rows):
        keys = [(*INSIDE, 2), (*OUTSIDE, 0)] if place % 2 else [(*OUTSIDE, 0)]
        keys += [("inside", "person", 2)] if place % 2 else []
        keys += [("inside", "<zebra>", 1)] if place < zebras else []
        alike = {key: value for key, value in row.items() if key in ("colourfulness_truth", *ANSWERS)}
        row["regions"] = [
            alike | {"region": where, "class": name, "instances": boxes, "pixels": 1000 + place}
            for where, name, boxes in keys
        ]
    return evaluation(rows, instances={"detector": "faces", "boxes_sha256": "00"}, regions=pooled(rows))


def plain(colour: tuple[int, int, int], height=200, width=300) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def labelled() -> list[dict]:
    return [line(i, near_grey=i % 9 == 0, label=("sea", "forest", "Äcker")[i % 3]) for i in range(60)]


def shown(rows: list[dict], **size) -> list[Shown]:
    ranking = ranked_by(rows)
    return [
        Shown(kind, row, plain((90, 90, 90), **size), plain((200, 30, 60), **size), plain((20, 150, 90), **size))
        for kind, row in chosen(rows, key=ranking.key, better=ranking.better)
    ]


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
