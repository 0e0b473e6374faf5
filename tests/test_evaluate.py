"""Whole evaluations: what they write, whether it is true, and what becomes of photos and models that are not sound."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
import standins
import tensorflow as tf
from made import colour, fill, make, misty
from PIL import Image
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from kcolor import weights
from kcolor.colorizer import Colorizer, of, stochastic
from kcolor.data.instances import Instance
from kcolor.data.manifest import Manifest, Photo
from kcolor.data.reading import Pictures
from kcolor.errors import DataError, KcolorError, RunError
from kcolor.evaluate import evaluate, folder_for
from kcolor.evaluation import METRICS, PER_IMAGE, REPORT, Evaluation, load
from kcolor.figures import ANSWERS, FIGURES, columns_of
from kcolor.join import join
from kcolor.protocols import PROTOCOLS, Protocol
from kcolor.regions import boxes_sha256
from kcolor.weights import CATALOGUE

FILES = [METRICS, PER_IMAGE, REPORT]

# Without colours, and so the soonest done: what is not about figures is seen as well by it.
QUICK = Protocol("quick", 3, "in RGB, but without colours", size=None, truth=tf.identity, answer=join, is_rgb=False)

PLAIN = ["psnr", "psnr_median", "psnr_median_near_grey", "ssim"]
COLOURS = ["delta_e_2000", "delta_e_2000_p95"]
COLOURS += [f"colourfulness_{of}" for of in ("prediction", "truth", "ratio", "difference")]
CLASSES = ["top_1", "top_5"]


@dataclass(frozen=True)
class Done:
    """An evaluation, and what it was of."""

    evaluation: Evaluation
    pictures: Pictures
    protocol: Protocol

    @property
    def metrics(self):
        return self.evaluation.metrics


@pytest.fixture(scope="module")
def model(finished) -> Colorizer:
    return Colorizer.load(finished.path)


@pytest.fixture(scope="module")
def own(finished) -> Manifest:
    """The photos of the run."""
    return Manifest.load(finished.manifest)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Manifest:
    """Photos of several sizes and kinds, some of them nearly grey, of a class that the run does not know, too."""
    folder = tmp_path_factory.mktemp("mixed") / "photos"
    sizes = {"forest/a.png": (64, 64), "forest/b.bmp": (96, 70), "sea/a.png": (80, 120), "desert/a.png": (64, 65)}
    for seed, (name, size) in enumerate(sizes.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        colour(96, 20 + seed).resize(size).save(folder / name)
    for width, name in ((72, "sea/grey.png"), (96, "desert/grey.png")):
        misty().resize((width, 96)).save(folder / name)
    return make(folder, split=(0.0, 0.0, 1.0), survey_file=folder.parent / "survey.jsonl")


@pytest.fixture(scope="module")
def several(tmp_path_factory, finished, model, own, mixed) -> dict[str, Done]:
    """The same model under each protocol."""
    folder = tmp_path_factory.mktemp("evaluations")
    done = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for name, pictures in (
            ("rgb", Pictures(own, "all", 11)),
            ("native", Pictures(mixed, "test")),
            ("paper", Pictures(own, "test")),
        ):
            protocol = PROTOCOLS[name]
            evaluation = evaluate(model, pictures, protocol, folder / name, training_photos=own)
            done[name] = Done(evaluation, pictures, protocol)
    return done


@pytest.fixture(params=["rgb", "native", "paper"])
def done(request, several) -> Done:
    return several[request.param]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def whole_folder(path: Path) -> dict[str, bytes]:
    """All that lies in it, hidden files too."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def mean_of(path: Path) -> np.ndarray:
    """Of a photo's a and b, in CIE units."""
    return rgb2lab(np.asarray(Image.open(path)))[..., 1:].mean(axis=(0, 1))


# --- what is written


def test_the_files(done):
    folder = done.evaluation.path
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    found = load(folder)
    assert found.metrics == done.metrics
    assert found.rows == done.evaluation.rows
    # JSON as anyone reads it, without NaN.
    json.loads((folder / METRICS).read_text(), parse_constant=pytest.fail)
    for line in (folder / PER_IMAGE).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert sha256(folder / PER_IMAGE) == done.metrics["per_image_sha256"]
    page = (folder / REPORT).read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "tiny" in page
    assert done.evaluation.protocol in page


def test_what_was_judged(done, finished):
    metrics = done.metrics
    assert metrics["protocol"] == {
        "name": done.protocol.name,
        "version": done.protocol.version,
        "stochastic": False,
        "about": done.protocol.about,
    }
    assert metrics["model"] == {
        "path": str(finished.generator),
        "kind": "keras",
        "sha256": sha256(finished.generator),
        "input_size": 64,
    }
    pictures = metrics["pictures"]
    assert pictures["count"] == len(done.evaluation.rows) == len(done.pictures.photos())
    assert (pictures["split"], pictures["limit"]) == (done.pictures.split, done.pictures.limit)
    assert pictures["folder"] == str(done.pictures.manifest.root)
    assert pictures["left_out"] == []
    assert pictures["near_grey"] == (2 if done.protocol.name == "native" else 0)
    assert metrics["seconds"] > 0
    assert metrics["versions"]["tensorflow"] == tf.__version__


def test_every_figure_has_its_protocol_and_the_three_answers(several):
    for name, expected in (
        ("rgb", PLAIN + COLOURS + CLASSES),
        ("native", PLAIN + COLOURS + CLASSES),
        ("paper", PLAIN + CLASSES),
    ):
        figures = several[name].metrics["figures"]
        assert [entry["figure"] for entry in figures] == expected
        for entry in figures:
            assert entry["protocol"] == f"{name}-{PROTOCOLS[name].version}"
            assert entry["pictures"] == several[name].metrics["pictures"]["count"]
            assert entry.keys() == {"figure", "protocol", "pictures", *ANSWERS}
            told = {answer for answer in ANSWERS if entry[answer] is not None}
            if entry["figure"] in CLASSES:
                assert told == {"model"}
            elif entry["figure"] == "psnr_median_near_grey" and name != "native":
                assert told == set()  # there is no such photo
            else:
                assert told == set(ANSWERS)
        assert [(entry["figure"], entry["why"].rpartition(": ")[2]) for entry in several[name].metrics["missing"]] == [
            ("lpips", "kcolor weights fetch vgg16"),
            ("fid", "kcolor weights fetch inception"),
        ]


def test_figures_can_be_found_again_from_single_pictures(done):
    checked = 0
    for answer in ANSWERS:
        columns = columns_of(done.evaluation.rows, answer)
        for entry in done.metrics["figures"]:
            of_rows = FIGURES[entry["figure"]].of
            if of_rows is None or entry[answer] is None:
                continue
            # A median comes from a histogram of hundredths.
            tolerance = {"abs": 0.0101} if "median" in entry["figure"] else {"rel": 1e-3}
            assert entry[answer] == pytest.approx(of_rows(columns), **tolerance), (entry["figure"], answer)
            checked += 1
    assert checked >= 3 * 3 + 2


def test_each_line_is_of_its_photo(done):
    photos = {photo.path: photo for photo in done.pictures.photos()}
    assert [row["path"] for row in done.evaluation.rows] == list(photos)
    root = done.pictures.manifest.root
    for row in done.evaluation.rows:
        photo = photos[row["path"]]
        assert row["class"] == photo.label == row["path"].split("/")[0]
        assert row["sha256"] == sha256(root / row["path"])
        with Image.open(root / row["path"]) as opened:
            assert (row["width"], row["height"]) == opened.size
            pixels = opened.width * opened.height
        assert row["pixels"] == (pixels if done.protocol.size is None else 256 * 256)
        assert set(ANSWERS) <= row.keys()


# --- whether it is true


@pytest.mark.parametrize("answer", ["grey", "mean_ab"])
def test_constant_answers_against_scikit_image(several, answer):
    """Of photos as they are; the constant comes from the file."""
    done = several["native"]
    ab = done.metrics["baselines"][answer]["ab"]
    values = []
    for row in done.evaluation.rows:
        truth = np.asarray(Image.open(done.pictures.manifest.root / row["path"]).convert("RGB"))
        lab = rgb2lab(truth)
        made = np.round(255 * lab2rgb(np.concatenate([lab[..., :1], np.broadcast_to(ab, (*lab.shape[:2], 2))], -1)))
        error = ((made - truth) ** 2).mean() / 255**2
        difference = deltaE_ciede2000(lab, rgb2lab(made / 255))
        assert row[answer]["squared_error"] == pytest.approx(error, rel=0.01)
        values.append((error, truth.shape[0] * truth.shape[1], difference, row["near_grey"]))
        assert row["near_grey"] == (np.linalg.norm(lab[..., 1:], axis=-1).mean() < 5)
    errors, pixels = (np.array([value[i] for value in values]) for i in (0, 1))
    grey = np.array([value[3] for value in values])
    figures = {key: entry[answer] for key, entry in done.evaluation.figures.items()}
    assert figures["psnr"] == pytest.approx(-10 * np.log10(np.average(errors, weights=pixels)), abs=0.02)
    assert figures["psnr_median"] == pytest.approx(np.median(-10 * np.log10(errors[~grey])), abs=0.03)
    assert figures["psnr_median_near_grey"] == pytest.approx(np.median(-10 * np.log10(errors[grey])), abs=0.1)
    everywhere = np.concatenate([value[2].ravel() for value in values])
    assert figures["delta_e_2000"] == pytest.approx(everywhere.mean(), abs=0.05)
    extreme = np.mean([np.percentile(value[2], 95) for value in values])
    assert figures["delta_e_2000_p95"] == pytest.approx(extreme, abs=0.2)


def test_the_mean_colour_is_that_of_the_training_photos(several, own):
    of_each = [mean_of(own.root / photo.path) for photo in own.split("train")]
    assert len(of_each) == 10
    for done in several.values():
        told = done.metrics["baselines"]["mean_ab"]
        np.testing.assert_allclose(told["ab"], np.mean(of_each, axis=0), atol=0.05)
        assert told["photos"] == 10
        assert told["of"] == f"the train split of {own.root}"
    assert np.abs(np.mean(of_each, axis=0)).max() > 1  # it is not grey


def test_the_model_is_asked_about_the_photo_s_lightness(several, finished):
    """Its colours and classes, by Keras from scikit-image's lightness: the photos are of the model's own size."""
    done = several["rgb"]
    keras_model = keras.models.load_model(finished.generator, compile=False)
    root, classes = done.pictures.manifest.root, ["forest", "sea"]
    for row in done.evaluation.rows:
        lab = rgb2lab(np.asarray(Image.open(root / row["path"])))
        outputs = keras_model(tf.constant(lab[None, ..., :1] / 50 - 1, tf.float32), training=False)
        assert row["model"]["top_1"] == (int(np.argmax(outputs["logits"])) == classes.index(row["class"]))
        assert row["model"]["top_5"] is True  # of two
    mean = np.mean([row["model"]["top_1"] for row in done.evaluation.rows])
    assert done.evaluation.figures["top_1"]["model"] == pytest.approx(mean)


def test_photos_of_unknown_classes_are_not_asked_for_theirs(several):
    done = several["native"]
    for row in done.evaluation.rows:
        assert ("top_1" in row["model"]) == (row["class"] in ("forest", "sea"))
    told = [row["model"]["top_1"] for row in done.evaluation.rows if "top_1" in row["model"]]
    assert len(told) == 4
    assert done.evaluation.figures["top_1"]["model"] == pytest.approx(np.mean(told))


def test_what_was_trained_on_is_said(several):
    pictures = several["rgb"].pictures
    trained = sum(photo.split == "train" for photo in pictures.photos())
    assert 0 < trained < 11
    assert several["rgb"].metrics["warnings"] == [f"the model was trained on {trained} of these 11 photos"]
    assert several["native"].metrics["warnings"] == []
    assert several["paper"].metrics["warnings"] == []


# --- inside and outside of boxes


FOUND = {
    "0.bmp": (Instance("person", 1.0, 0, 8, 24, 40), Instance("dog", 0.5, 16, 0, 64, 33)),
    "1.bmp": (Instance("person", 1.0, 0, 0, 64, 64),),
    "4.bmp": (Instance("person", 1.0, 60, 60, 64, 64), Instance("person", 1.0, 1, 1, 3, 3)),
}


def with_instances(manifest: Manifest) -> Manifest:
    photos = [replace(photo, instances=FOUND.get(photo.path, ())) for photo in manifest.photos]
    rules = {"detector": "by hand", "sha256": "00", "min_score": 0.0, "min_size": 0}
    return replace(manifest, photos=photos, rules={**manifest.rules, "instances": rules})


def in_boxes(photo: Photo) -> dict[tuple[str, str | None], np.ndarray]:
    """The pixels of each region, by hand, of 64 x 64."""
    boxes = {("inside", each.name): np.zeros((64, 64), bool) for each in photo.instances}
    for each in photo.instances:
        boxes["inside", each.name][each.top : each.bottom, each.left : each.right] = True
    inside = np.any([*boxes.values(), np.zeros((64, 64), bool)], axis=0)
    found = {("inside", None): inside, ("outside", None): ~inside, **boxes}
    return {key: mask for key, mask in found.items() if mask.any()}


def test_figures_inside_and_outside_of_boxes(model, basis, squares, tmp_path):
    manifest = with_instances(squares)
    manifest.save(tmp_path / "manifest.csv")
    done = judged(model, Manifest.load(tmp_path / "manifest.csv"), tmp_path / "e")
    assert load(tmp_path / "e").metrics == done.metrics
    json.loads((tmp_path / "e" / METRICS).read_text(), parse_constant=pytest.fail)
    told = {(each["region"], each["class"]): each for each in done.metrics["regions"]}
    assert list(told) == [("inside", None), ("outside", None), ("inside", "person"), ("inside", "dog")]
    assert [each["instances"] for each in told.values()] == [5, 0, 4, 1]
    errors: dict[tuple, list[np.ndarray]] = {key: [] for key in told}
    for photo in manifest.photos:
        rgb = np.asarray(Image.open(squares.root / photo.path))
        error = ((np.round(255 * lab2rgb(rgb2lab(rgb) * [1, 0, 0])) - rgb) / 255) ** 2
        for key, mask in in_boxes(photo).items():
            errors[key].append(error[mask])
    for key, some in errors.items():
        assert (told[key]["photos"], told[key]["pixels"]) == (len(some), sum(map(len, some)))
        (psnr,) = told[key]["figures"]  # the only one without colours
        assert psnr["figure"] == "psnr"
        assert psnr["grey"] == pytest.approx(-10 * np.log10(np.concatenate(some).mean()), abs=0.02)
    # Inside and outside are all there is; and of the whole photos the same is said as ever.
    assert told["inside", None]["pixels"] + told["outside", None]["pixels"] == 6 * 64 * 64
    assert done.metrics["figures"] == basis.metrics["figures"]
    assert [row | {"regions": 0} for row in done.rows] == [row | {"regions": 0} for row in basis.rows]
    assert not {"regions", "instances"} & basis.metrics.keys()
    boxes = boxes_sha256({photo.path: photo.instances for photo in manifest.photos})
    assert done.metrics["instances"] == {**manifest.rules["instances"], "boxes_sha256": boxes}


# --- which pictures


def fill_squares(folder: Path) -> Manifest:
    """Six photos of 64 pixels, all for testing, each of as many bytes as the next."""
    folder.mkdir(exist_ok=True)
    for seed in range(6):
        colour(64, 40 + seed).save(folder / f"{seed}.bmp")
    return make(folder, split=(0.0, 0.0, 1.0))


@pytest.fixture
def squares(folder) -> Manifest:
    return fill_squares(folder)


@pytest.fixture(scope="module")
def basis(tmp_path_factory, model) -> Evaluation:
    """The evaluation of photos like those."""
    folder = tmp_path_factory.mktemp("basis")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return judged(model, fill_squares(folder / "photos"), folder / "e")


def judged(model, manifest, folder, protocol=QUICK, **more) -> Evaluation:
    return evaluate(model, Pictures(manifest, more.pop("split", "test")), protocol, folder, **more)


def test_the_hash_of_pictures_is_that_of_their_contents(model, basis, squares, tmp_path):
    first = basis.metrics["pictures"]
    assert len(first["sha256"]) == 64
    backwards = replace(squares, photos=squares.photos[::-1])
    other = judged(model, backwards, tmp_path / "a")
    assert other.metrics["pictures"]["sha256"] == first["sha256"]
    assert [row["path"] for row in other.rows] == [f"{i}.bmp" for i in range(6)][::-1]
    assert other.figures["psnr"]["model"] == pytest.approx(basis.figures["psnr"]["model"])
    # One pixel of one of them.
    path = squares.root / "3.bmp"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = judged(model, squares, tmp_path / "b")
    assert changed.metrics["pictures"]["sha256"] != first["sha256"]
    assert changed.metrics["pictures"]["manifest_sha256"] == first["manifest_sha256"]
    assert changed.rows[3]["sha256"] == sha256(path)


def test_photos_that_are_not_as_they_were_are_named_and_the_rest_is_measured(model, basis, squares, tmp_path):
    root = squares.root
    (root / "0.bmp").write_bytes(bytes((root / "0.bmp").stat().st_size))
    (root / "2.bmp").unlink()
    with (root / "5.bmp").open("ab") as file:
        file.write(b"\0")
    seen = []
    found = judged(model, squares, tmp_path / "e", on_progress=lambda *progress: seen.append(progress))
    assert [row["path"] for row in found.rows] == ["1.bmp", "3.bmp", "4.bmp"]
    pictures = found.metrics["pictures"]
    assert pictures["count"] == 3
    assert pictures["left_out"] == [
        {"path": "2.bmp", "reason": "cannot be read: No such file or directory"},
        {"path": "5.bmp", "reason": "changed since the manifest was written"},
        {"path": "0.bmp", "reason": "not a photograph that can be read"},
    ]
    (warning,) = found.metrics["warnings"]
    assert warning.startswith("3 photos are left out (2.bmp: cannot be read: No such file or directory; 5.bmp: changed")
    assert all(entry["pictures"] == 3 for entry in found.metrics["figures"])
    # What is said of them is what is said when all are there.
    for row, expected in zip(found.rows, (basis.rows[i] for i in (1, 3, 4)), strict=True):
        assert row["sha256"] == expected["sha256"]
        assert row["model"] == pytest.approx(expected["model"], rel=1e-4)
    errors = columns_of(found.rows)["squared_error"]
    assert found.figures["psnr"]["model"] == pytest.approx(-10 * np.log10(errors.mean()), abs=1e-3)
    assert pictures["sha256"] != basis.metrics["pictures"]["sha256"]
    # Every photo is looked at, and those that are left judged.
    assert [progress for progress in seen if progress[0] == "checking"] == [("checking", i, 6) for i in range(1, 7)]
    assert [progress[1] for progress in seen if progress[0] == "judging" and progress[1]] == [1, 2, 3]


def test_no_photo_that_can_be_used(model, squares, tmp_path):
    for path in squares.root.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DataError, match="none of the photos can be used") as refused:
        judged(model, squares, tmp_path / "e")
    assert "0.bmp: not a photograph that can be read; 1.bmp" in str(refused.value)
    assert "and 3 more" in str(refused.value)
    assert "\n" not in str(refused.value)
    shutil.rmtree(squares.root)
    with pytest.raises(DataError, match=r"none of the photos can be used \(0.bmp: cannot be read: No such file"):
        judged(model, squares, tmp_path / "e")
    with pytest.raises(DataError, match=r"no photo in the val split \(0 train, 0 val, 6 test\)"):
        judged(model, squares, tmp_path / "e", split="val")
    assert whole_folder(tmp_path).keys() <= {"survey.jsonl"}


def test_a_photo_that_is_too_small_for_a_window(model, folder, tmp_path):
    """Of its own size: SSIM has windows of 11 x 11."""
    colour(96, 1).resize((10, 40)).save(folder / "a.png")
    fill(folder, ["b.png"])
    manifest = make(folder, split=(0.0, 0.0, 1.0), min_size=1)
    found = judged(model, manifest, tmp_path / "e")
    assert [row["path"] for row in found.rows] == ["b.png"]
    assert [entry["path"] for entry in found.metrics["pictures"]["left_out"]] == ["a.png"]


# --- the mean colour


def test_the_mean_colour_is_found_once_for_the_same_photos(model, folder, tmp_path, cache):
    names = [f"{i}.png" for i in range(4)]
    fill(folder, names)
    before = judged(model, make(folder, split=(0.5, 0.0, 0.5)), tmp_path / "a").metrics["baselines"]["mean_ab"]
    (kept,) = (cache / "kcolor" / "mean-ab").iterdir()
    content = json.loads(kept.read_text())
    np.testing.assert_allclose(np.array(content["ab"]) * 128, before["ab"], atol=1e-5)
    # What is kept is believed.
    kept.write_text(json.dumps({**content, "ab": [0.25, -0.5]}))
    again = judged(model, make(folder, split=(0.5, 0.0, 0.5)), tmp_path / "b")
    assert again.metrics["baselines"]["mean_ab"]["ab"] == [32, -64]
    assert again.figures["psnr"]["mean_ab"] < again.figures["psnr"]["grey"]
    # But not of photos that took the place of those that were there, under the same names.
    for seed, name in enumerate(names):
        red, green, blue = colour(64, 60 + seed).split()
        Image.merge("RGB", (red, green.point(lambda v: v // 3), blue.point(lambda v: v // 2))).save(folder / name)
    manifest = make(folder, split=(0.5, 0.0, 0.5))
    after = judged(model, manifest, tmp_path / "c").metrics["baselines"]["mean_ab"]
    expected = np.mean([mean_of(folder / photo.path) for photo in manifest.split("train")], axis=0)
    assert np.abs(np.array(before["ab"]) - expected).max() > 5
    np.testing.assert_allclose(after["ab"], expected, atol=0.05)


def test_without_training_photos_the_mean_is_grey(basis):
    told = basis.metrics["baselines"]["mean_ab"]
    assert told == {"ab": [0.0, 0.0], "photos": 0, "of": f"the train split of {basis.metrics['pictures']['folder']}"}
    for entry in basis.metrics["figures"]:
        assert entry["mean_ab"] == entry["grey"]


# --- models that are not sound


def test_a_model_of_nan_writes_nothing(finished, basis, squares, tmp_path):
    spoilt = keras.models.load_model(finished.generator, compile=False)
    kernel = spoilt.get_layer("decoder_1_conv").kernel
    value = kernel.numpy()
    value[0, 0, 0, 0] = np.nan
    kernel.assign(value)
    spoilt.save(tmp_path / "spoilt.keras")
    broken = Colorizer.load(tmp_path / "spoilt.keras")
    with pytest.raises(RunError, match=r"gives NaN for 0\.bmp: a broken model") as refused:
        judged(broken, squares, tmp_path / "none")
    assert str(refused.value).startswith(f"{tmp_path / 'spoilt.keras'}: ")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "none").exists() or whole_folder(tmp_path / "none") == {}
    # What was there before stays.
    shutil.copytree(basis.path, tmp_path / "e")
    before = whole_folder(tmp_path / "e")
    with pytest.raises(RunError):
        judged(broken, squares, tmp_path / "e")
    assert whole_folder(tmp_path / "e") == before


def test_the_photo_that_a_model_breaks_at_is_named(squares, tmp_path):
    """A model that has no colour for white."""
    Image.new("RGB", (64, 64), "white").save(squares.root / "4.bmp")
    l = keras.Input((64, 64, 1))
    below = 0.999 - l
    for colour_of in (keras.ops.sqrt(below), 1.0 / keras.ops.maximum(below, 0.0)):  # NaN, and infinity
        generator = keras.Model(l, {"ab": keras.layers.Concatenate()([colour_of, colour_of])})
        with pytest.raises(RunError, match=r"here.keras: gives NaN for 4\.bmp"):
            judged(of(generator, Path("here.keras")), squares, tmp_path / "e", PROTOCOLS["paper"])


def test_a_model_whose_class_branch_is_nan(finished, own, tmp_path):
    """Its colours are sound. Whatever is said of its classes, all files say the same."""
    spoilt = keras.models.load_model(finished.generator, compile=False)
    layer = spoilt.get_layer("classifier_2")
    layer.bias.assign(np.full(2, np.nan, np.float32))
    broken = replace(of(spoilt), classes=("forest", "sea"))
    try:
        found = judged(broken, own, tmp_path / "e")
    except RunError as error:
        assert "NaN" in str(error)
        return
    figures, columns = found.figures, columns_of(found.rows)
    for name in CLASSES:
        of_rows = FIGURES[name].of
        assert of_rows is not None
        assert figures[name]["model"] == pytest.approx(of_rows(columns))


# --- killed


KILLED = """
import os, sys, threading, time
from pathlib import Path
import tensorflow as tf
from kcolor.join import join
from kcolor.colorizer import Colorizer
from kcolor.evaluate import evaluate
from kcolor.data.manifest import Manifest
from kcolor.protocols import Protocol
from kcolor.data.reading import Pictures
run, *folders = map(Path, sys.argv[1:])
model, pictures = Colorizer.load(run), Pictures(Manifest.load(run / "manifest.csv"), "all")
protocol = Protocol("quick", 3, "", size=None, truth=tf.identity, answer=join, is_rgb=False)

def tell(what, done, total):
    if what == "judging" and done == 3:
        os.write(1, b"judging\\n")
        time.sleep(600)

for folder in folders:
    threading.Thread(target=evaluate, args=(model, pictures, protocol, folder), kwargs={"on_progress": tell}).start()
time.sleep(600)
"""


def test_killed_in_the_middle(finished, basis, tmp_path):
    """Two evaluations at once: one in a new folder, one where another one was."""
    new, old = tmp_path / "new", tmp_path / "old"
    shutil.copytree(basis.path, old)
    command = [sys.executable, "-c", KILLED, str(finished.path), str(new), str(old)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            said = [process.stdout.readline() for _ in range(2)]
        finally:
            process.kill()
    assert said == ["judging\n"] * 2
    assert process.returncode == -signal.SIGKILL
    assert not (new / METRICS).exists()
    assert not (new / PER_IMAGE).exists()
    with pytest.raises(RunError, match="not an evaluation"):
        load(new)
    kept = load(old)
    assert kept.metrics == basis.metrics
    assert kept.rows == basis.rows


def test_stopped_between_its_files(finished, basis, squares, tmp_path, monkeypatch):
    """The lines are new, the figures old: refused, in words."""
    folder = tmp_path / "e"
    shutil.copytree(basis.path, folder)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("kcolor.pages.report_page", stop)
    with pytest.raises(KeyboardInterrupt):
        judged(stochastic(Colorizer.load(finished.path), 1), squares, folder)
    with pytest.raises(RunError, match="evaluate again"):
        load(folder)


# --- with the networks of LPIPS and FID


@pytest.fixture
def networks(published, monkeypatch) -> Path:
    """A folder where stand-ins pass for the published ones."""
    standins.narrow(monkeypatch)
    inception, vgg16 = (published / CATALOGUE[name].file for name in ("inception", "vgg16"))
    monkeypatch.setitem(CATALOGUE, "inception", replace(CATALOGUE["inception"], bytes=inception.stat().st_size))
    monkeypatch.setitem(CATALOGUE, "vgg16", replace(CATALOGUE["vgg16"], sha256=sha256(vgg16)))
    return published


def test_lpips_and_fid(model, squares, networks, tmp_path):
    found = judged(model, replace(squares, photos=squares.photos[:3]), tmp_path / "a", weights_folder=networks)
    assert [entry["figure"] for entry in found.metrics["figures"]] == [*PLAIN, "lpips", "fid"]
    for key in ("lpips", "fid"):
        values = [found.figures[key][answer] for answer in ANSWERS]
        assert min(values) > 0
        assert values[0] != values[1] == values[2]  # there is no photo to train on, so the mean is grey
    lpips = columns_of(found.rows)["lpips"]
    assert found.figures["lpips"]["model"] == pytest.approx(lpips.mean(), rel=1e-5)
    assert found.metrics["networks"] == {
        name: sha256(networks / CATALOGUE[name].file) for name in ("inception", "vgg16")
    }
    assert {entry["figure"] for entry in found.metrics["missing"]} == {"top_1", "top_5"}
    (warning,) = found.metrics["warnings"]
    assert warning.startswith("FID: 3 samples do not determine a covariance in 8 dimensions")


@pytest.fixture
def with_inception(networks, tmp_path) -> Path:
    """A folder with that one alone, which is quicker."""
    path = tmp_path / "weights" / CATALOGUE["inception"].file
    path.parent.mkdir()
    shutil.copy(networks / path.name, path)
    return path.parent


def test_features_of_the_photos_are_kept(model, squares, with_inception, tmp_path, cache):
    first = judged(model, squares, tmp_path / "a", weights_folder=with_inception)
    (kept,) = (cache / "kcolor" / "features").iterdir()
    whole = kept.read_bytes()
    # What is kept is what is used: with all features larger by 1, each of eight adds about 1 to the distance.
    with np.load(kept) as arrays:
        count, total, square, *others = (arrays[name] for name in arrays.files)
    assert (count, total.shape, square.shape) == (6, (8,), (8, 8))
    square = square + total[:, None] + total[None, :] + count
    np.savez(kept, count, total + count, square, *others)
    altered = judged(model, squares, tmp_path / "b", weights_folder=with_inception)
    assert altered.figures["fid"]["model"] == pytest.approx(first.figures["fid"]["model"] + 8, abs=1.5)
    assert altered.figures["psnr"] == first.figures["psnr"]
    # What is damaged is found again.
    kept.write_bytes(whole[: len(whole) // 2])
    again = judged(model, squares, tmp_path / "c", weights_folder=with_inception)
    assert again.metrics["figures"] == first.metrics["figures"]
    assert again.metrics["warnings"] == first.metrics["warnings"]


def test_features_that_cannot_be_kept(model, squares, with_inception, tmp_path, cache):
    """They are of use another time only: what has been measured is not thrown away for them."""
    (cache / "kcolor").mkdir(exist_ok=True)
    (cache / "kcolor" / "features").write_text("in the way")
    found = judged(model, squares, tmp_path / "a", weights_folder=with_inception)
    assert found.figures["fid"]["model"] > 0
    assert "lpips" not in found.figures  # whose network is not in this folder
    assert list(found.metrics["networks"]) == ["inception"]
    assert load(tmp_path / "a").rows


def test_a_network_that_is_missing_or_damaged_is_not_used(model, squares, with_inception, tmp_path):
    path = with_inception / CATALOGUE["inception"].file
    assert weights.find(CATALOGUE["inception"], with_inception) == path  # and its hash is known from now on
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # two writes within a tick of the clock have one time
    found = judged(model, squares, tmp_path / "a", weights_folder=with_inception)
    assert not {"fid", "lpips"} & found.figures.keys()
    assert found.metrics["networks"] == {}
    told = {entry["figure"]: entry["why"] for entry in found.metrics["missing"]}
    for figure, name in (("lpips", "vgg16"), ("fid", "inception")):
        assert told[figure] == f"needs {CATALOGUE[name].about}: kcolor weights fetch {name}"


# --- other models and modes


def test_exports_score_what_keras_scores(basis, squares, exported, tmp_path):
    figures = {}
    for name in ("1", "tiny.float32.tflite"):
        found = judged(Colorizer.load(exported / name), squares, tmp_path / name)
        figures[name] = found.figures
        assert found.metrics["model"]["path"] == str(exported / name)
        assert found.metrics["model"]["kind"] == ("tflite" if name.endswith(".tflite") else "saved_model")
        told = {entry["figure"]: entry["why"] for entry in found.metrics["missing"]}
        # A .tflite has its scene classifier with it, and squares are of no scene.
        why = "no photo is of a class that the model knows"
        if name == "1":
            why = "an export gives colours only; evaluate the run it is from"
        assert told["top_1"] == told["top_5"] == why
    for found in figures.values():
        for key, tolerance in (("psnr", 1e-2), ("psnr_median", 0.02), ("ssim", 1e-3)):
            assert found[key]["model"] == pytest.approx(basis.figures[key]["model"], abs=tolerance)
            assert found[key]["grey"] == pytest.approx(basis.figures[key]["grey"])


def test_a_model_whose_classes_nobody_knows(finished, basis, own, tmp_path):
    alone = Path(shutil.copy(finished.generator, tmp_path / "alone.keras"))
    found = judged(Colorizer.load(alone), own, tmp_path / "a")
    assert not {"top_1", "top_5"} & found.figures.keys()
    told = {entry["figure"]: entry["why"] for entry in found.metrics["missing"]}
    assert told["top_1"] == "the names of the model's classes are not known; evaluate the run it is from"
    told = {entry["figure"]: entry["why"] for entry in basis.metrics["missing"]}
    assert told["top_5"] == "no photo is of a class that the model knows"


def test_training_mode(finished, basis, squares, tmp_path):
    noisy = []
    for name in ("a", "b"):
        model = Colorizer.load(finished.path)
        noisy.append(judged(model, squares, tmp_path / name, training_mode=True, seed=3))
    assert noisy[0].metrics["figures"] == noisy[1].metrics["figures"]
    assert noisy[0].rows == noisy[1].rows
    assert noisy[0].metrics["seed"] == 3
    assert noisy[0].protocol == "quick-3 stochastic"
    assert {entry["protocol"] for entry in noisy[0].metrics["figures"]} == {"quick-3 stochastic"}
    assert noisy[0].metrics["protocol"]["stochastic"] is True
    assert any("in training mode a colouring depends on the batch" in told for told in noisy[0].metrics["warnings"])
    assert noisy[0].figures["psnr"]["model"] != pytest.approx(basis.figures["psnr"]["model"], abs=1e-3)
    assert noisy[0].figures["psnr"]["grey"] == pytest.approx(basis.figures["psnr"]["grey"])


def test_exports_are_refused_in_training_mode_before_anything_is_done(exported, squares, tmp_path):
    shutil.rmtree(squares.root)
    with pytest.raises(RunError, match="an export has no training mode"):
        judged(Colorizer.load(exported / "tiny.float32.tflite"), squares, tmp_path / "a", training_mode=True)
    assert not (tmp_path / "a").exists()


def test_a_protocol_of_one_s_own(model, squares, tmp_path):
    """A few lines: how far the red alone is off, at a size of one's own."""

    def red(rgb: tf.Tensor) -> tf.Tensor:
        return tf.repeat(rgb[..., :1], 3, axis=-1)

    def answer(rgb: tf.Tensor, ab: tf.Tensor) -> tf.Tensor:
        return red(PROTOCOLS["rgb"].answer(rgb, ab))

    mine = Protocol("red", 7, "red alone", 16, truth=red, answer=answer, is_rgb=False)
    found = judged(model, squares, tmp_path / "a", mine)
    assert found.protocol == "red-7"
    assert {row["pixels"] for row in found.rows} == {256}
    errors = []
    for row in found.rows:
        small = tf.image.resize(np.asarray(Image.open(squares.root / row["path"])), (16, 16), antialias=True)
        truth = np.round(small.numpy()).astype(np.uint8)
        lab = rgb2lab(truth)
        grey = np.round(255 * lab2rgb(np.concatenate([lab[..., :1], 0 * lab[..., 1:]], -1)))
        errors.append(((grey - truth)[..., 0] ** 2).mean() / 255**2)
        assert row["grey"]["squared_error"] == pytest.approx(errors[-1], rel=0.01)
    assert found.figures["psnr"]["grey"] == pytest.approx(-10 * np.log10(np.mean(errors)), abs=0.02)


def test_nothing_can_be_written(model, squares, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KcolorError, match=r"file.*cannot be written") as refused:
        judged(model, squares, tmp_path / "file")
    assert "\n" not in str(refused.value)


# --- where it is written


def test_where_evaluations_are_written(finished, own, squares, exported, tmp_path):
    model = Colorizer.load(finished.path)
    rgb = PROTOCOLS["rgb"]

    def place(colorizer, manifest, split="test", limit=None, *, training_mode=False) -> Path:
        return folder_for(colorizer, Pictures(manifest, split, limit), rgb, training_mode=training_mode)

    inside = finished.path / "evaluations"
    assert place(model, own) == inside / "test-rgb"
    assert place(model, own, "val", training_mode=True) == inside / "val-rgb-stochastic"
    assert place(model, own, "all", 20) == inside / "all-rgb-limit-20"
    # Of other photos, or of another model of the run, it does not take the place of its own.
    assert place(model, squares) == inside / "photos-test-rgb"
    assert place(Colorizer.load(finished.best), own) == inside / "best-test-rgb"
    # Outside of a run.
    alone = Path(shutil.copy(finished.generator, tmp_path / "alone.keras"))
    for other in (alone, exported / "tiny.float32.tflite"):
        first, name, last = place(Colorizer.load(other), squares).parts
        assert (first, last) == ("evaluations", "test-rgb")
        assert name.endswith(other.stem)
    # Each of these has its own.
    splits, limits = ("test", "all"), (None, 2, 3)
    places = [place(model, of, split, limit) for of in (own, squares) for split in splits for limit in limits]
    assert len(set(places)) == len(places)


def test_two_exports_have_two_places(exported, squares, tmp_path):
    shutil.copytree(exported / "1", tmp_path / "other" / "1")
    one, other = (
        folder_for(Colorizer.load(path / "1"), Pictures(squares), PROTOCOLS["rgb"], training_mode=False)
        for path in (exported, tmp_path / "other")
    )
    assert one != other
