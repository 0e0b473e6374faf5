"""The command line as a person uses it to judge models: evaluate, compare, weights."""

import re
import shutil
import threading
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import numpy as np
import pytest
import standins
import tensorflow as tf
from command import Here, kcolor, mistake
from made import fill

from kcolor.colorizer import Colorizer
from kcolor.data.instances import Instance
from kcolor.data.manifest import SPLITS, Manifest
from kcolor.data.reading import Pictures
from kcolor.evaluate import evaluate
from kcolor.evaluation import load
from kcolor.figures import NOTHING
from kcolor.join import join
from kcolor.protocols import PROTOCOLS, Protocol
from kcolor.run import Run
from kcolor.weights import CATALOGUE

QUICK = Protocol("quick", 1, "in RGB, but without colours", size=None, truth=tf.identity, answer=join, is_rgb=False)


@pytest.fixture
def here(capsys, monkeypatch) -> Here:
    return Here(capsys, monkeypatch)


@dataclass(frozen=True)
class Work:
    """A directory with two runs that have been evaluated, and a model that is part of none."""

    path: Path
    runs: tuple[Run, Run]
    alone: Path
    spoilt: Path


@pytest.fixture(scope="module")
def work(tmp_path_factory, finished) -> Work:
    folder = tmp_path_factory.mktemp("evaluating")
    for name in ("tiny", "other"):
        shutil.copytree(finished.path, folder / "runs" / name)
    tiny, other = (Run(folder / "runs" / name) for name in ("tiny", "other"))
    generator = keras.models.load_model(other.generator, compile=False)
    bias = generator.get_layer("output_conv").bias
    for place, value in ((folder / "spoilt.keras", np.nan), (other.generator, 0.2)):
        bias.assign([value, 0.0])
        generator.save(place)
    alone = Path(shutil.copy(finished.generator, folder / "alone.keras"))
    Path(tiny.generator).touch()  # so that it is the newest
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for run in (tiny, other):
            model, manifest = Colorizer.load(run.path), boxed(Manifest.load(run.manifest))
            # At the photos' own size, which is sooner done.
            paper = replace(PROTOCOLS["paper"], size=None)
            evaluate(model, Pictures(manifest), paper, run.path / "evaluations" / "test-paper")
            if run is tiny:
                for split in ("val", "test"):
                    evaluate(model, Pictures(manifest, split), QUICK, folder / f"quick-{split}")
    return Work(folder, (tiny, other), alone, folder / "spoilt.keras")


def boxed(manifest: Manifest) -> Manifest:
    """The photos with people in two of three of each split, and a dog in one of three."""
    boxes = (Instance("person", 1.0, 0, 0, 32, 32), Instance("[b]dog", 1.0, 16, 16, 64, 40))
    photos = [
        replace(photo, instances=boxes[: (place + 1) % 3])
        for split in SPLITS
        for place, photo in enumerate(manifest.split(split))
    ]
    rules = {**manifest.rules, "instances": {"detector": "faces", "sha256": "0", "min_score": 0.0, "min_size": 0}}
    return replace(manifest, photos=sorted(photos, key=lambda photo: photo.path), rules=rules)


def cells(said: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell, without the arrows that say which way is better."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    return {row[0].rstrip(" ↑↓→1") if row[0] else "": row[1:] for row in rows}


# --- evaluate


def test_evaluate_the_newest_run(work):
    said, told = kcolor("evaluate", "--protocol", "paper", "--limit", "2", cwd=work.path)
    assert told.splitlines() == ["model: runs/tiny"]  # and nothing of what TensorFlow has to say
    folder = work.path / "runs/tiny/evaluations/test-paper-limit-2"
    figures, page = (re.fullmatch(r"(?:figures|page): (.*)", line)[1] for line in said.splitlines()[-2:])
    assert (work.path / figures, work.path / page) == (folder / "metrics.json", folder / "report.html")
    assert "protocol paper-1, 2 photos (0 nearly grey)" in said
    found = load(folder)
    assert found.metrics["pictures"]["limit"] == len(found.rows) == 2
    assert (folder / "report.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    header = next(line for line in said.splitlines() if "all grey" in line)
    assert header.index("model") < header.index("all grey") < header.index("mean ab")
    shown = cells(said)
    for label, key, digits in (("PSNR", "psnr", 2), ("PSNR, median", "psnr_median", 2), ("SSIM", "ssim", 4)):
        expected = [f"{found.figures[key][answer]:.{digits}f}" for answer in ("model", "grey", "mean_ab")]
        assert shown[label][:3] == expected
    assert shown["top-1 accuracy"][1:3] == [NOTHING] * 2
    # What is missing is there, too, with the way to get it.
    for label, name in (("LPIPS", "vgg16"), ("FID", "inception")):
        assert shown[label][:3] == [NOTHING] * 3
        assert f"kcolor weights fetch {name}" in re.sub(r"[│\s]+", " ", said)


def test_what_evaluate_does_when_nothing_is_said(here, tmp_path):
    said, _ = here("evaluate", "--help", cwd=tmp_path)
    assert re.search(r"--protocol.*\[rgb\|native\|paper\].*default: rgb", said, re.DOTALL)
    assert re.search(r"--split.*\[train\|val\|test\|all\].*default: test", said, re.DOTALL)


def test_evaluate_in_training_mode_with_a_photo_that_is_gone(here, work, photos, tmp_path):
    run = Run(Path(shutil.copytree(work.runs[0].path, tmp_path / "runs" / "tiny")))
    moved = Path(shutil.copytree(photos, tmp_path / "photos"))
    manifest = Manifest.load(run.manifest, root=moved)
    manifest.save(run.manifest)
    (moved / manifest.split("test")[1].path).unlink()
    said, told = here("evaluate", run.path, "--protocol", "paper", "--stochastic", "--seed", "7", cwd=tmp_path)
    found = load(run.path / "evaluations" / "test-paper-stochastic")
    assert len(found.rows) == 2
    assert found.metrics["seed"] == 7
    assert "protocol paper-1 stochastic, 2 photos" in said
    notes = [line for line in told.splitlines() if line.startswith("note: ")]
    assert any(manifest.split("test")[1].path in note and "No such file" in note for note in notes)
    assert any("training mode" in note for note in notes)


@pytest.fixture
def mistakes(work, finished, exported, tmp_path) -> Path:
    """A directory with all that a person may name by mistake."""
    fill(tmp_path / "photos", ["a.png", "b.png"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.csv").write_text("path,class\n")
    shutil.copy(work.alone, tmp_path / "alone.keras")
    shutil.copy(work.spoilt, tmp_path / "spoilt.keras")
    shutil.copy(exported / "tiny.float32.tflite", tmp_path / "tiny.tflite")
    (tmp_path / "cut.tflite").write_bytes((tmp_path / "tiny.tflite").read_bytes()[:1000])
    (tmp_path / "file").touch()
    for name in ("spoilt", "moved"):
        (tmp_path / name).mkdir()
        for file in (finished.info, finished.generator, finished.manifest):
            shutil.copy(file, tmp_path / name)
    (tmp_path / "spoilt" / "manifest.csv").write_bytes(b"\xff\xfe")
    manifest = Manifest.load(finished.manifest, root=tmp_path / "gone")
    manifest.save(tmp_path / "moved" / "manifest.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere", "nowhere: no such run or model"),
        ("", "runs: no finished run here; train one"),
        ("photos", "photos: not a run directory"),
        ("cut.tflite --data photos", "cut.tflite: not a .tflite of kcolor export"),
        ("alone.keras", "alone.keras is not part of a run; name photos with --data"),
        ("alone.keras --data nowhere", "nowhere is not a folder"),
        ("alone.keras --data empty", "no pictures in"),
        ("alone.keras --data photos --split val", "no photo in the val split (2 train, 0 val, 0 test); name another"),
        ("alone.keras --data broken.csv", "broken.csv is not a kcolor manifest"),
        ("alone.keras --data photos --split train -o file", "file/per_image.jsonl: cannot be written"),
        ("spoilt.keras --data photos --split train", "gives NaN for a.png: a broken model"),
        ("spoilt", "spoilt/manifest.csv"),
        ("moved", "none of the photos can be used"),
        ("tiny.tflite --data photos --split all --stochastic", "an export has no training mode"),
        ("alone.keras --data photos --split all --stochastic --seed 99999999999999999999", "--seed"),
        ("moved --split everything", "'everything' is not one of 'train', 'val', 'test', 'all'"),
        ("moved --protocol lab", "'lab' is not one of 'rgb', 'native', 'paper'"),
        ("moved --limit 0", "0 is not in the range x>=1"),
        ("moved spoilt", "unexpected extra argument (spoilt)"),
    ],
)
def test_mistakes_of_evaluate(here, mistakes, words, said):
    before = sorted(path.relative_to(mistakes).as_posix() for path in mistakes.rglob("*") if path.is_file())
    _, told = here("evaluate", *words.split(), cwd=mistakes, status=2)
    assert said in mistake(told)
    after = sorted(path.relative_to(mistakes).as_posix() for path in mistakes.rglob("*") if path.is_file())
    assert after == before


def test_evaluate_inside_and_outside_of_boxes(here, work, tmp_path):
    boxed(Manifest.load(work.runs[0].manifest)).save(tmp_path / "found.csv")
    words = ["--data", "found.csv", "--protocol", "native", "-o", "judged"]
    said, _ = here("evaluate", work.alone, *words, cwd=tmp_path)
    assert "inside and outside of instance boxes: model (all grey, mean ab)" in said
    shown, found = cells(said), load(tmp_path / "judged").metrics["regions"]
    labels = ("inside any box", "outside every box", "inside: person", "inside: [b]dog")
    for region, label in zip(found, labels, strict=True):
        told = {entry["figure"]: entry for entry in region["figures"]}
        for cell, key, digits in zip(
            shown[label][1:], ("psnr", "delta_e_2000", "colourfulness_ratio"), (2, 2, 3), strict=True
        ):
            model, grey, mean = (f"{told[key][answer]:.{digits}f}" for answer in ("model", "grey", "mean_ab"))
            assert cell == f"{model} ({grey}, {mean})"
        boxes = f"{region['instances']} box{'es' * (region['instances'] > 1)} in " if region["instances"] else ""
        assert shown[label][0].startswith(f"{boxes}{region['photos']} photo")
    page = (tmp_path / "judged" / "report.html").read_text(encoding="utf-8")
    assert "inside: person" in page
    assert "detector faces" in page


# --- compare

INTERVAL = re.compile(r"([+-]\d+\.\d+) \[([+-]\d+\.\d+), ([+-]\d+\.\d+)\]")


def test_compare_two_runs(work, tmp_path):
    runs = [run.path for run in work.runs]
    options = ["--protocol", "paper", "--resamples", "300"]
    said, told = kcolor("compare", *runs, *options, cwd=tmp_path)
    assert told == ""
    assert said.splitlines()[-1] == "page: compare.html"
    assert "paper-1, 3 pictures" in said
    assert "300 resamples" in said
    header = next(line for line in said.splitlines() if line.startswith("figure"))
    assert header.index("tiny") < header.index("other") < header.index("all grey")
    lines = said.splitlines()
    for label, key, digits in (("PSNR (dB)", "psnr", 2), ("SSIM", "ssim", 4)):
        first, second = (load(run / "evaluations" / "test-paper").figures[key]["model"] for run in runs)
        number = next(i for i, line in enumerate(lines) if line.startswith(f"{label} "))
        assert f"{first:.{digits}f}" in lines[number]
        assert f"{second:.{digits}f}" in lines[number]
        difference, low, high = map(float, INTERVAL.search(lines[number + 1]).groups())
        assert difference == pytest.approx(second - first, abs=0.6 * 10**-digits)
        assert low <= difference <= high
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "tiny" in page
    assert "other" in page


def test_compare_inside_and_outside_of_boxes(here, work, tmp_path):
    folders = [shutil.copytree(run.path / "evaluations" / "test-paper", tmp_path / run.path.name) for run in work.runs]
    said, told = here("compare", *folders, "--resamples", "100", cwd=tmp_path)
    assert told == ""
    first, second = (load(folder).metrics["regions"] for folder in folders)
    lines = said.splitlines()
    for place, start in enumerate(("inside any box", "outside every box", "inside: ", "inside: ")):
        heading = next(i for i, line in enumerate(lines) if line.startswith(start + (first[place]["class"] or "")))
        psnr = next(i for i in range(heading, len(lines)) if lines[i].startswith("PSNR"))
        values = [regions[place]["figures"][0]["model"] for regions in (first, second)]
        assert lines[psnr].split()[2:4] == [f"{value:.2f}" for value in values]
        assert float(lines[psnr + 1].split()[0]) == pytest.approx(values[1] - values[0], abs=0.006)
    assert "inside: person" in (tmp_path / "compare.html").read_text(encoding="utf-8")
    # Other boxes: a line of why, and the rest.
    metrics = folders[1] / "metrics.json"
    metrics.write_text(metrics.read_text().replace(load(folders[1]).metrics["instances"]["boxes_sha256"], "00"))
    said, told = here("compare", *folders, "--resamples", "100", cwd=tmp_path)
    assert mistake(told).endswith("their boxes differ; evaluate with one manifest")
    assert "inside" not in said
    assert "PSNR (dB)" in said


def test_compare_folders_and_write_elsewhere(here, work, tmp_path):
    folders = [run.path / "evaluations" / "test-paper" for run in work.runs]
    said, _ = here("compare", *folders, "--resamples", "100", "-o", tmp_path / "deep" / "page.html", cwd=tmp_path)
    assert f"page: {tmp_path / 'deep' / 'page.html'}" in said
    assert (tmp_path / "deep" / "page.html").stat().st_size > 1000
    assert not (tmp_path / "compare.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "name two evaluations or more"),
        ("runs/tiny", "name two evaluations or more"),
        ("runs/tiny runs/nowhere --protocol paper", "runs/nowhere: neither an evaluation (no metrics.json) nor a run"),
        (
            "runs/tiny runs/other",
            "runs/tiny: not evaluated so yet; run: kcolor evaluate runs/tiny --split test --protocol rgb",
        ),
        (
            "runs/other runs/tiny --split val --protocol native --stochastic",
            "run: kcolor evaluate runs/other --split val --protocol native --stochastic",
        ),
        ("runs/tiny runs/tiny --protocol paper", "runs/tiny: its evaluation is named twice"),
        ("runs/tiny quick-test --protocol paper", "cannot be compared: other protocols, paper-1 and quick-1"),
        ("quick-test quick-val", "other pictures: the test split and the val split; 3 only in the first"),
        ("runs/tiny runs/other --protocol paper --resamples 99", "99 is not in the range x>=100"),
        ("runs/tiny runs/other --protocol lab", "'lab' is not one of"),
        ("runs/tiny runs/other --protocol paper -o alone.keras/page.html", "alone.keras/page.html: cannot be written"),
    ],
)
def test_mistakes_of_compare(here, work, words, said):
    _, told = here("compare", *words.split(), cwd=work.path, status=2)
    assert said in mistake(told)
    assert not (work.path / "compare.html").exists()


def test_compare_an_evaluation_that_is_damaged(here, work, tmp_path):
    folders = [shutil.copytree(run.path / "evaluations" / "test-paper", tmp_path / run.path.name) for run in work.runs]
    with (tmp_path / "other" / "per_image.jsonl").open("a") as file:
        file.write("{}\n")
    _, told = here("compare", *folders, cwd=tmp_path, status=2)
    assert "evaluate again" in mistake(told)


# --- weights


def test_weights_are_listed(cache, tmp_path):
    said, told = kcolor("weights", cwd=tmp_path)
    assert told == ""
    parts = [part.splitlines() for part in re.split(r"\n(?=\S)", said.strip())]
    assert [part[0] for part in parts] == ["inception: absent", "vgg16: absent", "vgg16-imagenet: absent"]
    inception, vgg16, imagenet = ({line.split()[0]: line.split(None, 1)[1] for line in part[1:]} for part in parts)
    assert (inception["for"], vgg16["for"]) == ("FID", "LPIPS")
    assert "chromagan" in imagenet["for"]
    assert inception["from"] == "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
    assert vgg16["from"] == "https://huggingface.co/timm/vgg16.tv_in1k/resolve/main/model.safetensors"
    assert (inception["licence"], vgg16["licence"]) == ("Apache-2.0", "BSD-3-Clause")
    assert inception["sha256"].startswith("none published")
    assert vgg16["sha256"] == "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8"
    assert inception["place"] == str(cache / "kcolor" / "weights" / "inception-2015-12-05.tgz")
    assert vgg16["place"] == str(cache / "kcolor" / "weights" / "vgg16.tv_in1k.safetensors")
    assert not (cache / "kcolor").exists()
    # A download that broke off, and a file that is not the one.
    (cache / "kcolor" / "weights").mkdir(parents=True)
    Path(f"{inception['place']}.part").write_bytes(bytes(1234))
    Path(vgg16["place"]).write_bytes(b"something else")
    said, _ = kcolor("weights", cwd=tmp_path)
    assert "inception: partly here: 1234 bytes" in said.splitlines()
    assert "vgg16: damaged" in said.splitlines()


@pytest.fixture
def server(monkeypatch):
    """Serves one page on the loopback, whatever it is asked for; its address, and what it has been asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "19")
            self.end_headers()
            self.wfile.write(b"<html>log in</html>")

        def log_message(self, *_) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=partial(serving.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}", asked
        serving.shutdown()
        thread.join()


def test_weights_fetch_of_a_wrong_file(here, server, cache, tmp_path):
    url, asked = server
    for command, name, why in (
        (kcolor, "inception", "19 bytes, while inception-2015-12-05.tgz has 88931400"),
        (here, "vgg16", "its sha256 is"),
    ):
        said, told = command("weights", "fetch", name, "--url", f"{url}/weights/{name}", cwd=tmp_path, status=2)
        assert said == ""
        assert asked.pop() == f"/weights/{name}"
        message = mistake(told)
        assert f"{url}/weights/{name}: " in message
        assert why in message
        assert not [path for path in (cache / "kcolor" / "weights").iterdir() if path.suffix != ".lock"]
        assert f"{name}: absent" in here("weights", cwd=tmp_path)[0].splitlines()
    assert asked == []
    assert list(tmp_path.iterdir()) == []


def test_mistakes_of_weights(here, server, published, cache, tmp_path):
    url, asked = server
    photo = fill(tmp_path, ["photo.png"]) / "photo.png"
    for words, why in (
        (["fetch", "--url", url], "--url is where one file is: name it"),
        (["fetch", "inception", "vgg16", "--url", url], "--url is where one file is: name it"),
        (["fetch", "resnet"], "'resnet' is not one of 'inception', 'vgg16'"),
        (["fetch", "vgg16", "--url", "vgg16.safetensors"], "vgg16.safetensors: not an address to fetch from"),
        (["fetch", "vgg16", "--url", "http://127.0.0.1:1/"], "http://127.0.0.1:1/ cannot be reached"),
        (["add"], "Missing argument 'FILE'"),
        (["add", "nothing"], "nothing: cannot be read: No such file"),
        (["add", tmp_path], f"{tmp_path}: cannot be read: Is a directory"),
        (["add", photo], f"{photo}: none of the files that kcolor needs"),
        # Made up like the real ones, and yet not they.
        (["add", published / "inception-2015-12-05.tgz"], "bytes, while inception-2015-12-05.tgz has 88931400"),
        (["add", published / "vgg16.tv_in1k.safetensors"], "not vgg16.tv_in1k.safetensors as published, or damaged"),
        (["remove"], "No such command 'remove'"),
    ):
        _, told = here("weights", *words, cwd=tmp_path, status=2)
        assert why in mistake(told)
    assert asked == []
    folder = cache / "kcolor" / "weights"
    assert not [path for path in folder.glob("*") if path.suffix != ".lock"]
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.fixture
def archive(published, monkeypatch) -> Path:
    """The stand-in of Inception, which is taken for the published one."""
    standins.narrow(monkeypatch)
    path = published / "inception-2015-12-05.tgz"
    monkeypatch.setitem(CATALOGUE, "inception", replace(CATALOGUE["inception"], bytes=path.stat().st_size))
    return path


def test_weights_are_added_and_a_model_alone_is_judged_with_them(here, work, archive, cache, tmp_path):
    """From a file that was fetched elsewhere to the figure in the table, on a folder of photos."""
    folder = fill(tmp_path / "photos", [f"{scene}/{i}.png" for scene in ("forest", "sea") for i in range(4)])
    said, told = here("weights", "add", archive, cwd=tmp_path)
    place = cache / "kcolor" / "weights" / archive.name
    assert said == f"inception: {place}\n"
    assert place.read_bytes() == archive.read_bytes()
    assert told.startswith("note: no hash of inception-2015-12-05.tgz is published; ")
    assert "inception: here" in here("weights", cwd=tmp_path)[0].splitlines()
    options = ["--data", folder, "--split", "train", "--protocol", "paper", "--limit", "3", "-o", tmp_path / "judged"]
    said, told = here("evaluate", work.alone, *options, cwd=tmp_path)
    assert told.startswith(f"model: {work.alone}\n")
    assert f"figures: {tmp_path / 'judged' / 'metrics.json'}" in said.splitlines()
    found = load(tmp_path / "judged")
    assert found.protocol == "paper-1"
    assert found.metrics["model"]["path"] == str(work.alone)
    assert found.metrics["pictures"]["folder"] == str(folder)
    assert (found.metrics["pictures"]["split"], len(found.rows)) == ("train", 3)
    # The mean colour is that of these photos, as no others are known.
    assert found.metrics["baselines"]["mean_ab"]["of"] == f"the train split of {folder}"
    assert "ΔE" not in said
    assert not (tmp_path / "evaluations").exists()
    assert {path.name for path in folder.iterdir()} == {"forest", "sea"}
    shown = [f"{found.figures['fid'][answer]:.2f}" for answer in ("model", "grey", "mean_ab")]
    assert cells(said)["FID"][:3] == shown
    assert "note: FID: 3 samples do not determine a covariance" in told
    assert list(found.metrics["networks"]) == ["inception"]
