import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kcolor import manifest
from kcolor.errors import DataError
from kcolor.manifest import SPLITS, Manifest, Photo, assign_splits, judge_colour, prepare, survey

SEPIA = (1.07, 0.87, 0.68)


def shapes(side: int = 96, seed: int = 0) -> np.ndarray:
    """Lightness of a made-up photo: soft shapes, (side, side), 20..235."""
    coarse = np.random.default_rng(seed).uniform(20, 235, (6, 6)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.float64)


def colour(side: int = 96, seed: int = 0) -> Image.Image:
    return rgb(*(shapes(side, 3 * seed + channel) for channel in range(3)))


def rgb(*channels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8))


def noisy_grey(side: int, sigma: float) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, sigma, (3, side, side))
    return rgb(*(shapes(side) + noise))


def sepia(side: int = 200) -> Image.Image:
    noise = np.random.default_rng(2).normal(0, 2, (3, side, side))
    return rgb(*(0.9 * factor * shapes(side) + each for factor, each in zip(SEPIA, noise, strict=True)))


def misty() -> Image.Image:
    """Nearly grey, and yet of two hues that lightness does not explain: warm on the left, cold on the right."""
    lightness = 150 + 0.2 * (shapes() - 128)
    tint = np.linspace(6, -6, 96)[None, :]
    return rgb(lightness + tint, lightness, lightness - tint)


def fill(folder: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        colour(64, seed).save(folder / name)
    return folder


def make(folder: Path, **options) -> Manifest:
    options.setdefault("survey_file", folder.parent / "survey.jsonl")
    options.setdefault("workers", 1)
    return prepare(folder, **options)


def reasons(found: Manifest) -> dict[str, str]:
    return {photo.path: photo.reason for photo in found.photos}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    return path


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files that a survey decodes in this process."""
    names: list[str] = []
    examine = manifest._examine

    def counting(folder, candidate):
        names.append(candidate.path)
        return examine(folder, candidate)

    monkeypatch.setattr(manifest, "_examine", counting)
    return names


# --- what is wrong with a file ---


def test_each_kind_of_file(folder):
    photo = colour()
    photo.save(folder / "good.jpg")
    photo.save(folder / "UPPER.JPG")
    photo.save(folder / "good.bmp")
    photo.save(folder / "good.webp")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.quantize(64).save(folder / "palette.png")
    photo.quantize(64).save(folder / "two.gif", save_all=True, append_images=[colour(seed=1).quantize(64)])
    photo.save(folder / "two.webp", save_all=True, append_images=[colour(seed=1)])
    photo.save(folder / "phone.jpg", "MPO", save_all=True, append_images=[colour(seed=1)])
    photo.convert("RGBA").save(folder / "alpha.png")
    photo.save(folder / "scan.tif")
    photo.save(folder / "tiff_inside.jpg", "TIFF")
    photo.save(folder / "png_inside.jpg", "PNG")
    photo.convert("L").save(folder / "one.jpg")
    photo.convert("1").save(folder / "bits.png")
    photo.convert("LA").save(folder / "la.png")
    photo.convert("L").convert("RGB").save(folder / "three.png")
    photo.convert("L").convert("P").save(folder / "grey_palette.png")
    Image.fromarray((shapes() * 256).astype(np.uint16)).save(folder / "deep.png")
    noisy_grey(96, 3).save(folder / "noise.jpg", quality=95)
    colour(63).save(folder / "small.png")
    colour(64).save(folder / "just.png")
    whole = (folder / "good.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "cut_end.jpg").write_bytes(whole[:-20])
    (folder / "cut.png").write_bytes((folder / "alpha.png").read_bytes()[:-200])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a picture")
    (folder / "notes.txt").write_text("not a candidate")
    (folder / ".hidden.jpg").write_bytes(whole)
    fill(folder / ".cache", ["a.jpg"])

    assert reasons(make(folder)) == {
        **dict.fromkeys(["good.jpg", "UPPER.JPG", "good.bmp", "good.webp", "cmyk.jpg", "palette.png"], ""),
        **dict.fromkeys(["two.gif", "phone.jpg", "alpha.png", "png_inside.jpg", "just.png"], ""),
        **dict.fromkeys(["scan.tif", "tiff_inside.jpg", "two.webp"], "format"),
        **dict.fromkeys(["one.jpg", "bits.png", "la.png", "three.png", "grey_palette.png"], "grey"),
        **dict.fromkeys(["deep.png", "noise.jpg"], "grey"),
        **dict.fromkeys(["cut.jpg", "cut_end.jpg", "cut.png", "empty.jpg", "text.jpg"], "unreadable"),
        "small.png": "small",
    }


def test_truncation_shows_in_large_photos_too(folder):
    colour(1200).save(folder / "good.jpg")
    whole = (folder / "good.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[:-30])
    found = make(folder)
    assert reasons(found) == {"good.jpg": "", "cut.jpg": "unreadable"}
    assert (found.photos[1].width, found.photos[1].height) == (1200, 1200)


@pytest.mark.parametrize("bound", [5_000, 8_000])  # twice the bound is an error of Pillow, once is a warning
def test_too_large(folder, monkeypatch, bound):
    fill(folder, ["ok.png"])
    colour(101).save(folder / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
    assert reasons(make(folder)) == {"bomb.png": "too large", "ok.png": ""}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_asked_again(folder):
    fill(folder, ["a.png", "b.png"])
    (folder / "a.png").chmod(0)
    assert reasons(make(folder)) == {"a.png": "unreadable", "b.png": ""}
    (folder / "a.png").chmod(0o644)
    assert reasons(make(folder)) == {"a.png": "", "b.png": ""}


def test_a_failure_of_the_system_is_not_remembered(folder, monkeypatch):
    fill(folder, ["a.png", "b.png"])
    really_open = Image.open

    def refusing(path, **options):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied")
        return really_open(path, **options)

    monkeypatch.setattr(Image, "open", refusing)
    assert reasons(make(folder)) == {"a.png": "unreadable", "b.png": ""}
    monkeypatch.undo()
    assert reasons(make(folder)) == {"a.png": "", "b.png": ""}


@pytest.mark.parametrize("sigma", [2, 3])
@pytest.mark.parametrize("quality", [75, 85, 95])
def test_chroma_noise_is_grey(tmp_path, sigma, quality):
    noisy_grey(150, sigma).save(tmp_path / "a.jpg", quality=quality)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "RGB"
        assert judge_colour(image) == (True, False)


def test_low_chroma_colour_is_neither_grey_nor_toned(tmp_path):
    misty().save(tmp_path / "a.jpg", quality=90)
    with Image.open(tmp_path / "a.jpg") as image:
        assert np.ptp(np.asarray(image).astype(int), axis=-1).max() < 20
        assert judge_colour(image) == (False, False)


@pytest.mark.parametrize("quality", [75, 95])
def test_sepia_is_toned(tmp_path, quality):
    sepia().save(tmp_path / "a.jpg", quality=quality)
    with Image.open(tmp_path / "a.jpg") as image:
        assert judge_colour(image) == (False, True)
    assert judge_colour(colour()) == (False, False)


def test_toned_is_kept_unless_dropped(folder):
    sepia().save(folder / "old.jpg")
    colour().save(folder / "new.jpg")
    kept = make(folder, drop_toned=False)
    assert reasons(kept) == {"new.jpg": "", "old.jpg": ""}
    assert [photo.path for photo in kept.photos if photo.toned] == ["old.jpg"]
    dropped = make(folder, drop_toned=True)
    assert reasons(dropped) == {"new.jpg": "", "old.jpg": "toned"}
    assert kept.counts()["toned"] == dropped.counts()["toned"] == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_width_and_height(folder, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    colour(160).crop((0, 0, 160, 80)).save(folder / "a.jpg", exif=exif)
    photo = make(folder).photos[0]
    assert photo.orientation == orientation
    assert (photo.width, photo.height) == ((80, 160) if orientation >= 5 else (160, 80))


def test_senseless_orientation_is_1(folder):
    exif = Image.Exif()
    exif[0x0112] = 99
    colour().save(folder / "a.jpg", exif=exif)
    colour().save(folder / "b.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert [photo.orientation for photo in make(folder).photos] == [1, 1]


# --- which files ---


def test_include(folder):
    fill(folder, ["a.jpg", "b/c.jpg", "b/d.png", "e.png"])
    assert list(reasons(make(folder, include=["*.png"]))) == ["b/d.png", "e.png"]
    assert list(reasons(make(folder, include=["b/*", "a.jpg"]))) == ["a.jpg", "b/c.jpg", "b/d.png"]
    with pytest.raises(DataError, match=r"no pictures in .* match \*\.gif"):
        make(folder, include=["*.gif"])


def test_links_that_loop(folder):
    fill(folder, ["b/c/1.png"])
    (folder / "b/c/up").symlink_to(folder)
    (folder / "a").symlink_to(folder / "b/c")
    (folder / "broken.jpg").symlink_to(folder / "nowhere")
    elsewhere = fill(folder.parent / "elsewhere", ["2.png"])
    (folder / "linked").symlink_to(elsewhere)
    assert list(reasons(make(folder))) == ["b/c/1.png", "linked/2.png"]


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        make(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="not a folder"):
        make(tmp_path / "file")
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="no pictures in"):
        make(tmp_path / "photos")
    colour().convert("L").save(tmp_path / "photos/a.png")
    colour(32).save(tmp_path / "photos/b.png")
    with pytest.raises(DataError, match="1 grey, 1 small"):
        make(tmp_path / "photos")


def test_the_folder_is_left_alone(folder):
    fill(folder, ["a.jpg", "b/c.png"])

    def state():
        return {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}

    before = state()
    make(folder).save(folder.parent / "manifest.csv")
    assert state() == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["manifest.csv", "photos", "survey.jsonl"]


# --- classes ---


def test_classes_are_folders(folder):
    fill(folder, ["b/bazaar/indoor/1.png", "b/bazaar/indoor/2.png", "b/bazaar/outdoor/1.png", "sea/1.png", "1.png"])
    found = make(folder)
    assert found.classes == ["b/bazaar/indoor", "b/bazaar/outdoor", "sea"]
    assert {photo.path: photo.label for photo in found.photos}["b/bazaar/indoor/2.png"] == "b/bazaar/indoor"
    assert reasons(found)["1.png"] == "no class"
    assert found.counts()["no class"] == 1


def test_a_class_of_which_nothing_is_kept_is_none(folder):
    fill(folder, ["a/1.png", "b/1.png"])
    (folder / "c").mkdir()
    colour(10).save(folder / "c/1.png")
    assert make(folder).classes == ["a", "b"]


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["only/1.png", "only/2.png"], ["only/1.png", "2.png"]])
def test_fewer_than_two_classes_are_none(folder, names):
    found = make(fill(folder, names))
    assert found.classes == []
    assert [photo.label for photo in found.photos] == ["", ""]
    assert set(reasons(found).values()) == {""}


def test_labels(folder, tmp_path):
    fill(folder, ["x/1.png", "x/2.png", "3.png", "4.png"])
    colour(10).save(folder / "5.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("\ufefffile_name,note,class\nx/1.png,,dog\n./x/2.png,,cat\n3.png,,dog\nnot_there.png,,cow\n")
    found = make(folder, labels=labels)
    assert found.classes == ["cat", "dog"]
    assert {photo.path: photo.label for photo in found.photos if photo.split} == {
        "x/1.png": "dog",
        "x/2.png": "cat",
        "3.png": "dog",
    }
    assert reasons(found)["4.png"] == "no label"
    assert reasons(found)["5.png"] == "small"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'file_name'"),
        ("name,class\n1.png,dog\n", "no column 'file_name'"),
        ("file_name,label\n1.png,dog\n", "no column 'class'"),
        ("file_name,class\n1.png,dog\n\n./1.png,cat\n", "line 4: '1.png' is there twice"),
        ("file_name,class\n1.png\n", "line 2: too few columns"),
        ("file_name,class\nother/1.png,dog\n", "none of the names"),
    ],
)
def test_labels_that_cannot_be_used(folder, tmp_path, text, message):
    fill(folder, ["1.png"])
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    with pytest.raises(DataError, match=message):
        make(folder, labels=labels)


def test_labels_that_are_missing(folder, tmp_path):
    with pytest.raises(DataError, match="cannot read the labels"):
        make(fill(folder, ["1.png"]), labels=tmp_path / "missing.csv")


# --- splits ---


def rows(count: int, classes: int) -> list[tuple[str, str]]:
    """(class, path); the classes are of very different sizes."""
    label = np.minimum(np.random.default_rng(3).exponential(classes / 3, count).astype(int), classes - 1)
    label[:classes] = np.arange(classes)
    return [(f"c{number:03d}", f"c{number:03d}/{i}.jpg") for i, number in enumerate(label)]


def test_split_of_places205():
    photos = rows(237_974, 205)
    fractions = (0.85, 0.05, 0.10)
    start = time.perf_counter()
    splits = assign_splits(photos, fractions, seed=0)
    assert time.perf_counter() - start < 5
    assert Counter(splits) == {"train": 202_278, "val": 11_899, "test": 23_797}
    in_class = Counter(label for label, _ in photos)
    assert len(in_class) == 205
    got = Counter((label, name) for (label, _), name in zip(photos, splits, strict=True))
    for label, size in in_class.items():
        for name, fraction in zip(SPLITS, fractions, strict=True):
            assert abs(got[label, name] - size * fraction) < 2


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [
        (5, (0.6, 0.2, 0.2), [3, 1, 1]),
        (3, (1 / 3, 1 / 3, 1 / 3), [1, 1, 1]),
        (10, (0.7, 0.2, 0.1), [7, 2, 1]),
        (100, (0.29, 0.57, 0.14), [29, 57, 14]),
        (7, (1.0, 0.0, 0.0), [7, 0, 0]),
        (1, (0.85, 0.05, 0.10), [1, 0, 0]),
        (0, (0.85, 0.05, 0.10), [0, 0, 0]),
    ],
)
def test_split_sizes_are_exact(count, fractions, sizes):
    got = Counter(assign_splits([("", f"{i}.jpg") for i in range(count)], fractions, seed=4))
    assert [got[name] for name in SPLITS] == sizes


def test_split_is_of_the_names_and_the_seed_alone():
    photos = rows(500, 4)
    split_of = dict(zip(photos, assign_splits(photos, (0.5, 0.3, 0.2), seed=7), strict=True))
    backwards = dict(zip(photos[::-1], assign_splits(photos[::-1], (0.5, 0.3, 0.2), seed=7), strict=True))
    assert backwards == split_of
    other = dict(zip(photos, assign_splits(photos, (0.5, 0.3, 0.2), seed=8), strict=True))
    assert other != split_of
    assert Counter(other.values()) == Counter(split_of.values())


@pytest.mark.parametrize("split", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.9, 0.1), (float("nan"), 0.5, 0.5)])
def test_fractions_that_cannot_be_used(folder, split):
    with pytest.raises(DataError, match="three fractions"):
        make(fill(folder, ["1.png"]), split=split)


def test_manifest_splits_only_what_is_kept(folder):
    fill(folder, [f"{i}.png" for i in range(5)])
    colour(10).save(folder / "small.png")
    found = make(folder, split=(0.6, 0.2, 0.2))
    assert found.counts() == {"train": 3, "val": 1, "test": 1, "small": 1, "toned": 0}
    assert sum(len(found.split(name)) for name in SPLITS) == 5
    with pytest.raises(ValueError, match="no split"):
        found.split("validation")


# --- the survey is continued ---


def test_unchanged_files_are_not_decoded_again(folder, decoded):
    fill(folder, ["a.png", "b.png", "c.png"])
    first = make(folder)
    assert decoded == ["a.png", "b.png", "c.png"]
    survey_file = folder.parent / "survey.jsonl"
    before = survey_file.stat().st_mtime_ns
    assert make(folder, seed=0) == first
    assert decoded == ["a.png", "b.png", "c.png"]
    assert survey_file.stat().st_mtime_ns == before


def test_changed_new_and_removed_files(folder, decoded):
    fill(folder, ["a.png", "b.png", "c.png"])
    make(folder)
    decoded.clear()
    colour(80).save(folder / "b.png")
    (folder / "c.png").unlink()
    colour(64).save(folder / "d.png")
    found = make(folder)
    assert decoded == ["b.png", "d.png"]
    assert {photo.path: photo.width for photo in found.photos} == {"a.png": 64, "b.png": 80, "d.png": 64}
    lines = (folder.parent / "survey.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in lines[1:]] == ["a.png", "b.png", "d.png"]


def test_include_does_not_forget_the_others(folder, decoded):
    fill(folder, ["a.png", "b.png", "c.jpg"])
    make(folder)
    decoded.clear()
    colour(80).save(folder / "a.png")
    make(folder, include=["a.*"])
    make(folder)
    assert decoded == ["a.png"]


@pytest.mark.parametrize("keep", [-1, -2, -30])
def test_cut_off_last_line(folder, decoded, keep):
    fill(folder, ["a.png", "b.png", "c.png"])
    first = make(folder)
    decoded.clear()
    survey_file = folder.parent / "survey.jsonl"
    survey_file.write_bytes(survey_file.read_bytes()[:keep])
    assert make(folder) == first
    assert decoded in ([], ["c.png"])
    decoded.clear()
    assert make(folder) == first
    assert decoded == []
    assert len(survey_file.read_text().splitlines()) == 4


@pytest.mark.parametrize("start", ["", '{"kcolor_survey": 0}\n["a.png", 1, 2]\n', '{"kcolor_survey":'])
def test_survey_of_another_version_is_started_anew(folder, decoded, start):
    fill(folder, ["a.png"])
    survey_file = folder.parent / "survey.jsonl"
    survey_file.write_text(start)
    make(folder)
    assert decoded == ["a.png"]
    assert survey_file.read_text().splitlines()[0] == '{"kcolor_survey": 1}'


def test_a_file_that_is_no_survey_is_not_overwritten(folder):
    fill(folder, ["a.png"])
    survey_file = folder.parent / "diary.txt"
    survey_file.write_text("Dear diary\n")
    with pytest.raises(DataError, match="not a survey"):
        make(folder, survey_file=survey_file)
    assert survey_file.read_text() == "Dear diary\n"


def test_interrupted_survey_goes_on(folder, decoded, monkeypatch):
    monkeypatch.setattr(manifest, "CHUNK", 2)
    fill(folder, [f"{i}.png" for i in range(6)])

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(folder, on_progress=stop)
    assert len(decoded) == 4
    make(folder)
    assert decoded == [f"{i}.png" for i in range(6)]


KILLED = """
import os, signal, sys
from pathlib import Path
from kcolor.manifest import survey

def kill_at_40(done, total):
    assert "tensorflow" not in sys.modules
    if done >= 40:
        print(os.getpid(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    survey(Path(sys.argv[1]), Path(sys.argv[2]), workers=2, on_progress=kill_at_40)
"""


def test_killed_survey_goes_on_with_two_processes(folder, tmp_path, decoded):
    names = [f"{'ab'[i % 2]}/{i:03d}.png" for i in range(100)]
    fill(folder, names)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    survey_file = tmp_path / "survey.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(Path(manifest.__file__).parents[1])}
    # Its pipe closes only when its last process has ended: nothing must stay behind.
    killed = subprocess.run(
        [sys.executable, str(script), str(folder), str(survey_file)],
        env=environment,
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    surveyed = {json.loads(line)[0] for line in survey_file.read_text().splitlines()[1:]}
    assert 40 <= len(surveyed) < 100
    progress: list[tuple[int, int]] = []
    two = make(folder, workers=2, survey_file=tmp_path / "two.jsonl", on_progress=lambda *at: progress.append(at))
    assert decoded == []  # all in other processes
    assert progress[0] == (0, 100)
    assert progress[-1] == (100, 100)
    continued = make(folder, workers=1, survey_file=survey_file)
    assert set(decoded) == set(names) - surveyed
    assert continued == two
    assert continued.sha256 == two.sha256


def test_few_files_are_surveyed_in_process(folder, decoded, tmp_path):
    fill(folder, ["a.png"])
    survey(folder, tmp_path / "survey.jsonl", workers=8)
    assert decoded == ["a.png"]


# --- the manifest's file ---


def test_round_trip_with_odd_names(folder, tmp_path):
    odd = ['say "hi", you.png', "two\nlines.png", "return\r.png", "ümläut ☂.png", os.fsdecode(b"latin\xe9.png")]
    fill(folder, [f"{label}/{name}" for label in ("a,b", os.fsdecode(b"caf\xe9")) for name in odd])
    colour(10).save(folder / "a,b/small.png")
    found = make(folder, seed=5, split=(0.5, 0.25, 0.25), include=["*"])
    path = tmp_path / "new" / "manifest.csv"
    found.save(path)
    loaded = Manifest.load(path)
    assert loaded == found
    assert loaded.sha256 == found.sha256
    assert loaded.classes == ["a,b", os.fsdecode(b"caf\xe9")]
    assert all((loaded.root / photo.path).is_file() for photo in loaded.photos)
    assert path.read_bytes().startswith(b'# kcolor manifest {"version": 1, ')
    assert path.read_bytes().splitlines()[1] == b"path,class,width,height,orientation,split,reason,toned"
    assert [entry.name for entry in path.parent.iterdir()] == ["manifest.csv"]


def test_root_moves_and_the_digest_stays(folder, tmp_path):
    fill(folder, ["a.png", "b.png"])
    found = make(folder)
    found.save(tmp_path / "manifest.csv")
    moved = Manifest.load(tmp_path / "manifest.csv", root=tmp_path / "moved")
    assert moved.root == tmp_path / "moved"
    assert moved.sha256 == found.sha256


def test_digest_is_of_what_training_sees():
    def digest(**changes):
        fields = {"path": "a", "label": "", "width": 9, "height": 9, "orientation": 1, "split": "train", "reason": ""}
        out = Photo("z", "", 1, 1, 1, "", changes.pop("why", "grey"), False)
        return Manifest(Path("/"), (Photo(**{**fields, "toned": False, **changes}), out), {}).sha256

    assert digest() == digest(width=8) == digest(toned=True) == digest(why="small")
    others = {digest(path="b"), digest(label="c"), digest(orientation=3), digest(split="val")}
    assert len(others | {digest()}) == 5


GOOD_ROW = '"a.png","",64,64,1,"train","",0'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("# kcolor manifest", "# something else"), "is not a kcolor manifest"),
        (('"version": 1', '"version": 2'), "of version 2"),
        (("path,class", "path,label"), "line 2: expected the columns"),
        ((GOOD_ROW, GOOD_ROW[:-2]), "line 3: .*7 columns"),
        ((GOOD_ROW, GOOD_ROW.replace("64", "wide", 1)), "line 3: .*wide"),
        ((GOOD_ROW, GOOD_ROW.replace("train", "trian")), "line 3: .*trian"),
        ((GOOD_ROW, GOOD_ROW.replace("train", "")), "line 3: "),
        ((GOOD_ROW, GOOD_ROW.replace(",1,", ",9,")), "line 3: .*orientation 9"),
    ],
)
def test_manifests_that_cannot_be_used(folder, tmp_path, change, message):
    path = tmp_path / "manifest.csv"
    make(fill(folder, ["a.png"])).save(path)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(DataError, match=message) as caught:
        Manifest.load(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_manifest(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        Manifest.load(tmp_path / "missing.csv")
    colour().save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="not a kcolor manifest"):
        Manifest.load(tmp_path / "a.jpg")


def test_a_failed_save_leaves_the_old_manifest(folder, tmp_path, monkeypatch):
    found = make(fill(folder, ["a.png"]))
    path = tmp_path / "manifest.csv"
    found.save(path)
    before = path.read_bytes()

    def full(photo):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "_to_row", full)
    with pytest.raises(DataError, match="No space left"):
        found.save(path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["manifest.csv", "photos", "survey.jsonl"]
