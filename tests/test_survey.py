import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made import colour, fill, make, misty, noisy_grey, reasons, sepia, shapes
from PIL import Image

from kcolor.data import manifest, survey
from kcolor.data.survey import has_colour, judge_colour
from kcolor.errors import DataError
from kcolor.photo import Photograph


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files that a survey decodes in this process."""
    names: list[str] = []
    examine = survey._examine

    def counting(folder, candidate):
        names.append(candidate.path)
        return examine(folder, candidate)

    monkeypatch.setattr(survey, "_examine", counting)
    return names


# --- what is wrong with a file ---


def test_each_kind_of_file(folder):
    photo = colour()
    photo.save(folder / "good.jpg")
    photo.save(folder / "UPPER.JPG")
    photo.save(folder / "good.bmp")
    photo.convert("P").save(folder / "palette.bmp")
    photo.save(folder / "good.webp")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.quantize(64).save(folder / "palette.png")
    photo.quantize(64).save(folder / "two.gif", save_all=True, append_images=[colour(seed=1).quantize(64)])
    photo.save(folder / "two.webp", save_all=True, append_images=[colour(seed=1)])
    photo.save(folder / "phone.jpg", "MPO", save_all=True, append_images=[colour(seed=1)])
    photo.convert("RGBA").save(folder / "alpha.png")
    photo.save(folder / "scan.tif")
    photo.save(folder / "phone.avif")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
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
        **dict.fromkeys(
            ["scan.tif", "phone.avif", "phone.heic", "tiff_inside.jpg", "two.webp", "palette.bmp"], "format"
        ),
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
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "one").symlink_to("other")
    (folder / "other").symlink_to("one")
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
    monkeypatch.setattr(survey, "CHUNK", 2)
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
from kcolor.data.manifest import survey

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
    survey.survey(folder, tmp_path / "survey.jsonl", workers=8)
    assert decoded == ["a.png"]


def test_photographs_that_have_colour():
    for picture, truth in [
        (colour(), True),
        (colour(seed=3), True),
        (misty(), True),
        (sepia(), False),
        (noisy_grey(96, 3), False),
        (colour().convert("L").convert("RGB"), False),
    ]:
        rgb = np.asarray(picture)
        assert has_colour(Photograph(rgb)) == truth
        assert has_colour(Photograph(rgb.astype(np.uint16) * 257)) == truth
