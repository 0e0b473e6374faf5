"""Instances of photos: looked for once, kept, and decided on by rules."""

import json
from pathlib import Path

import detecting
import numpy as np
import pytest
from made import colour, make
from PIL import Image

from kcolor import detectors
from kcolor.data import finding
from kcolor.data.finding import find_instances
from kcolor.data.instances import Instance
from kcolor.data.manifest import Manifest
from kcolor.detectors import Detector
from kcolor.pages import instances_page


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Detector:
    """It finds bright squares of an 8x8 grid (`detecting.ssd`): ``light``, or ``red``."""
    path = detecting.ssd(tmp_path_factory.mktemp("detectors") / "squares.tflite")
    path.with_suffix(".txt").write_text("light\nred\n")
    return detectors.load(str(path))


def lit(path: Path, *squares: tuple[int, int], seed: int = 0, side: int = 128, **options) -> None:
    """A dim photo in colour with bright squares."""
    dim = np.asarray(colour(side, seed)) // 4
    lights = np.asarray(Image.fromarray(detecting.squares(*squares)).resize((side, side), Image.Resampling.NEAREST))
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.maximum(dim, lights)).save(path, **options)


def found_in(manifest: Manifest, detector: Detector, **options) -> dict[str, tuple[Instance, ...]]:
    kept = manifest.root.parent / "kept.jsonl"
    found = find_instances(manifest, detector, kept, **{"workers": 1, "min_size": 1, **options})
    return {photo.path: photo.instances for photo in found.photos}


def boxes(instances: tuple[Instance, ...]) -> set[tuple[int, ...]]:
    return {(each.left, each.top, each.right, each.bottom) for each in instances}


@pytest.fixture
def lights(folder) -> Manifest:
    lit(folder / "one.png", (1, 6))
    lit(folder / "two.png", (0, 0), (7, 3), seed=1)
    lit(folder / "none.png", seed=2)
    colour(128).convert("L").save(folder / "grey.png")
    return make(folder)


def test_boxes_are_in_pixels_of_the_photo(lights, detector):
    found = found_in(lights, detector)
    assert {path: boxes(each) for path, each in found.items()} == {
        "one.png": {(96, 16, 112, 32)},
        "two.png": {(0, 0, 16, 16), (48, 112, 64, 128)},
        "none.png": set(),
        "grey.png": set(),  # out, and so not looked at
    }
    assert {each.name for one in found.values() for each in one} == {"light"}
    assert found["one.png"][0].score == pytest.approx(0.95, abs=0.02)  # made smaller, and so a little softer


@pytest.mark.parametrize("orientation", [3, 6])
def test_boxes_are_of_the_upright_photo(folder, detector, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lit(folder / "a.jpg", (1, 6), exif=exif, quality=95)
    # As the file has it at (96, 16); upside down, or a quarter turn clockwise.
    expected = {3: (16, 96, 32, 112), 6: (96, 96, 112, 112)}
    assert boxes(found_in(make(folder), detector)["a.jpg"]) == {expected[orientation]}


def test_the_rules_are_applied_to_what_is_kept(lights, detector):
    found_in(lights, detector)
    kept = lights.root.parent / "kept.jsonl"
    before = kept.stat().st_mtime_ns
    low = found_in(lights, detector, min_score=0.1)
    assert len(low["none.png"]) > 0
    assert [each.score for each in low["none.png"]] == sorted((each.score for each in low["none.png"]), reverse=True)
    assert found_in(lights, detector, min_size=17)["one.png"] == ()
    assert len(found_in(lights, detector, min_size=16)["one.png"]) == 1
    assert kept.stat().st_mtime_ns == before
    header, *lines = kept.read_text().splitlines()
    assert json.loads(header) == {"kcolor_detections": 1, "detector": "squares.tflite", "sha256": detector.sha256}
    assert len(lines) == 3


def test_only_what_is_new_is_looked_at(lights, detector, monkeypatch):
    looked = []
    find = Detector.find
    monkeypatch.setattr(Detector, "find", lambda self, rgb: looked.append(rgb.shape) or find(self, rgb))
    first = found_in(lights, detector)
    assert len(looked) == 3
    assert found_in(lights, detector) == first
    assert len(looked) == 3
    lit(lights.root / "none.png", (4, 4), side=192, seed=2)
    lit(lights.root / "more.png", (5, 5), seed=3)
    again = found_in(make(lights.root), detector)
    assert looked[3:] == [(128, 128, 3), (192, 192, 3)]
    assert boxes(again["none.png"]) == {(96, 96, 120, 120)}
    assert again["two.png"] == first["two.png"]


def test_what_was_interrupted_goes_on(folder, detector, monkeypatch):
    for number in range(6):
        lit(folder / f"{number}.png", (number, number), seed=number)
    monkeypatch.setattr(finding, "CHUNK", 2)
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    manifest = make(folder)
    with pytest.raises(KeyboardInterrupt):
        found_in(manifest, detector, on_progress=stop)
    assert seen == [(0, 6), (2, 6), (4, 6)]
    seen.clear()
    found = found_in(manifest, detector, on_progress=lambda *at: seen.append(at))
    assert seen == [(4, 6), (6, 6)]
    assert [boxes(found[f"{i}.png"]) for i in range(6)] == [
        {(16 * i, 16 * i, 16 * i + 16, 16 * i + 16)} for i in range(6)
    ]


def test_in_several_processes(folder, detector):
    for number in range(70):
        lit(folder / f"{number:02}.png", (number % 8, number // 9), seed=number, side=64)
    manifest = make(folder)
    two = found_in(manifest, detector, workers=2)
    (folder.parent / "kept.jsonl").unlink()
    assert found_in(manifest, detector) == two
    assert all(boxes(two[f"{i:02}.png"]) == {(i // 9 * 8, i % 8 * 8, i // 9 * 8 + 8, i % 8 * 8 + 8)} for i in range(70))


def test_photos_that_have_gone_or_broken_have_none(lights, detector):
    (lights.root / "one.png").unlink()
    (lights.root / "two.png").write_bytes(b"broken")
    assert set(found_in(lights, detector).values()) == {()}


def test_the_manifest_says_by_what(lights, detector):
    found = find_instances(lights, detector, lights.root.parent / "kept.jsonl", min_score=0.4, min_size=9, workers=1)
    rules = {"detector": "squares.tflite", "sha256": detector.sha256, "min_score": 0.4, "min_size": 9}
    assert found.rules == {**lights.rules, "instances": rules}
    assert found.sha256 != lights.sha256
    assert not lights.has_instances
    # None of so high a score is not the same as not looked for.
    none = find_instances(lights, detector, lights.root.parent / "kept.jsonl", min_size=1000, workers=1)
    assert none.has_instances
    assert none.sha256 == lights.sha256


# --- the page ---


def test_the_page_shows_what_was_found(folder, detector):
    lit(folder / "<b>.png", (1, 6), seed=1)
    lit(folder / "red.png", (1, 6), (3, 3))
    Image.fromarray(np.maximum(detecting.squares((2, 2), colour=(255, 0, 0), scale=2), 9)).save(folder / "dot.png")
    lit(folder / "none.png", seed=2)
    found = find_instances(make(folder), detector, folder.parent / "kept.jsonl", min_size=1, workers=1)
    page = instances_page(found)
    assert "4 instances on 3 of 4 photos" in page
    assert page.count("<h2>light</h2>") == page.count("<h2>red</h2>") == 1
    assert "&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    # Four close ones, three photos with instances, one without.
    assert page.count("<img ") == 8
    assert page == instances_page(found)
    (folder / "red.png").unlink()  # and so shown no more
    assert instances_page(found).count("<img ") == 5


def test_the_page_of_nothing(lights, detector):
    none = find_instances(lights, detector, lights.root.parent / "kept.jsonl", min_size=1000, workers=1)
    page = instances_page(none)
    assert "0 instances on 0 of 3 photos" in page
    assert page.count("<img ") == 3
