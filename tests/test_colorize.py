import contextlib
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import colour, fill
from PIL import Image
from skimage.color import rgb2lab

from kcolor import colorize, files, jobs, photo
from kcolor.colorize import Settings
from kcolor.colorizer import Colorizer, load_generator
from kcolor.errors import RunError
from kcolor.jobs import Job
from kcolor.outcomes import COLOURED, FAILED, SKIPPED, Outcomes
from kcolor.upsample import UPSAMPLERS


@pytest.fixture(scope="module")
def colorizer(finished):
    return Colorizer.load(finished.path)


def run(colorizer, work, outcomes=None, *, overwrite=False, on_picture=None, **settings):
    """All outcomes."""
    made = colorize.colorize_files(
        [colorizer], work, Settings(**settings), outcomes=outcomes, overwrite=overwrite, on_picture=on_picture
    )
    return list(made)


def work_of(folder, out):
    return jobs.pair(jobs.gather([folder], out), out)


def test_one_broken_photo_does_not_stop_the_rest(colorizer, folder):
    fill(folder, ["a.png", "c.png"])
    (folder / "b.png").write_bytes(b"broken")
    out = folder.parent / "out"
    outcomes = run(colorizer, work_of(folder, out))
    assert [outcome.status for outcome in outcomes] == [COLOURED, FAILED, COLOURED]
    assert [outcome.targets for outcome in outcomes] == [(out / "a.png",), (), (out / "c.png",)]
    assert "b.png: not a photograph" in outcomes[1].why
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]


def test_many_sizes_in_order_and_each_as_it_is_alone(colorizer, folder, monkeypatch):
    """More than a group, one of which has more pixels than a group is to have."""
    monkeypatch.setattr(colorize, "PIXELS", 30_000)
    sizes = [(20, 30), (64, 64), (300, 200), (1, 1), (1, 200), (100, 3), *[(40 + i, 50) for i in range(14)]]
    random = np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{i:02}.png")
    out = folder.parent / "out"
    work = work_of(folder, out)
    assert [outcome.targets[0].name for outcome in run(colorizer, work)] == [f"{i:02}.png" for i in range(len(sizes))]
    for job, (height, width) in zip(work, sizes, strict=True):
        made = photo.read(job.target).rgb
        assert made.shape == (height, width, 3)
        # One photograph of a batch is what it is by itself, to rounding.
        assert np.abs(made.astype(int) - colorizer(job.source).rgb).max() <= 1


def test_what_is_done_is_not_done_again(colorizer, folder):
    fill(folder, ["a.png", "b.png", "c.png"])
    (folder / "d.png").write_bytes(b"broken")
    out = folder.parent / "out"
    work = work_of(folder, out)

    def again(**options) -> str:
        with Outcomes(out / "kcolor.jsonl", {"saturation": 1.0}) as outcomes:
            return "".join(outcome.status[0] for outcome in run(colorizer, work, outcomes, **options))

    assert again() == "cccf"
    before = (out / "a.png").stat()
    assert again() == "sssf"
    assert (out / "a.png").stat().st_ino == before.st_ino
    (out / "b.png").unlink()
    colour(64, 9).save(folder / "c.png")
    os.utime(folder / "c.png", ns=(0, 1))
    colour(64, 8).save(folder / "d.png")
    assert again() == "sccc"
    np.testing.assert_array_equal(photo.read(out / "c.png").rgb, colorizer(folder / "c.png").rgb)
    assert again(overwrite=True) == "cccc"
    with Outcomes(out / "kcolor.jsonl", {"saturation": 2.0}) as outcomes:
        assert {outcome.why for outcome in run(colorizer, work, outcomes)} == {
            "coloured before, with other settings; --overwrite colours it anew"
        }


def test_a_file_that_somebody_else_has_put_there_is_left(colorizer, folder):
    fill(folder, ["a.png"])
    out = folder.parent / "out"
    fill(out, ["a.png"])
    before = (out / "a.png").read_bytes()
    with Outcomes(out / "kcolor.jsonl", {}) as outcomes:
        (outcome,) = run(colorizer, work_of(folder, out), outcomes)
    assert (outcome.status, outcome.why) == (SKIPPED, "already there; --overwrite colours it anew")
    assert (out / "a.png").read_bytes() == before


def test_only_grey_photographs(colorizer, folder):
    fill(folder, ["colour.png"])
    colour(64).convert("L").save(folder / "grey.png")
    out = folder.parent / "out"
    coloured, grey = run(colorizer, work_of(folder, out))
    assert coloured.notes == ("has colours already: only its lightness is used",)
    assert not any("has colours" in note for note in grey.notes)
    coloured, grey = run(colorizer, work_of(folder, folder.parent / "out2"), only_grey=True)
    assert (coloured.status, coloured.why) == (SKIPPED, "has colours already")
    assert grey.status == COLOURED
    assert [path.name for path in (folder.parent / "out2").iterdir()] == ["grey.png"]


def test_never_silently_grey(colorizer, folder):
    fill(folder, ["a.png"])
    out = folder.parent / "out"
    (outcome,) = run(colorizer, work_of(folder, out), saturation=0.0)
    assert "nearly colourless: a mean chroma of 0.0" in outcome.notes
    assert outcome.chroma == 0
    (outcome,) = run(colorizer, work_of(folder, out), saturation=3.0)
    assert not any("colourless" in note for note in outcome.notes)
    assert outcome.chroma > colorize.COLOURLESS


def test_a_network_that_gives_nan(colorizer, folder):
    fill(folder, ["a.png", "b.png"])

    def broken(l):
        ab = colorizer.outputs(l)["ab"].numpy()
        ab[0, 3, 3, 1] = np.nan
        return {"ab": ab}

    out = folder.parent / "out"
    first, second = run(replace(colorizer, outputs=broken), work_of(folder, out))
    assert first.status == FAILED
    assert "a.png: the network gives NaN" in first.why
    assert second.status == COLOURED
    assert [path.name for path in out.iterdir()] == ["b.png"]


def test_saturation(colorizer, folder):
    fill(folder, ["a.png"])
    out = folder.parent / "out"
    made = []
    for saturation in (0.5, 1.0):
        run(colorizer, work_of(folder, out), saturation=saturation)
        made.append(rgb2lab(photo.read(out / "a.png").rgb))
        np.testing.assert_array_equal(
            photo.read(out / "a.png").rgb, colorizer(folder / "a.png", saturation=saturation).rgb
        )
    chroma = [np.hypot(lab[..., 1], lab[..., 2]).mean() for lab in made]
    assert chroma[0] == pytest.approx(chroma[1] / 2, rel=0.1)
    assert np.abs(made[0][..., 0] - made[1][..., 0]).max() < 0.6


def test_in_place(colorizer, folder):
    fill(folder, ["a.png"])
    (folder / "a.png").chmod(0o640)
    grey = photo.read(folder / "a.png").rgb
    expected = colorizer(folder / "a.png").rgb
    work = jobs.in_place(jobs.gather([folder], None))
    with Outcomes(folder / "kcolor.jsonl", {}) as outcomes:
        assert [outcome.status for outcome in run(colorizer, work, outcomes)] == [COLOURED]
    np.testing.assert_array_equal(photo.read(folder / "a.png").rgb, expected)
    assert (expected != grey).any()
    assert (folder / "a.png").stat().st_mode & 0o777 == 0o640
    with Outcomes(folder / "kcolor.jsonl", {}) as outcomes:
        (outcome,) = run(colorizer, work, outcomes)
    assert (outcome.status, outcome.why) == (SKIPPED, "coloured by kcolor before; --overwrite does it anew")


def test_an_original_is_as_it_was_when_it_cannot_be_written_over(colorizer, folder, monkeypatch):
    fill(folder, ["a.png"])
    before = (folder / "a.png").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    (outcome,) = run(colorizer, jobs.in_place(jobs.gather([folder], None)))
    assert "a.png: cannot be written: No space left on device; make room, and run it again" in outcome.why
    assert (folder / "a.png").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["a.png"]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_stopped_in_the_middle_it_waits_for_what_is_being_written(colorizer, folder):
    fill(folder, [f"{i:02}.png" for i in range(40)])
    out = folder.parent / "out"
    work = work_of(folder, out)
    with Outcomes(out / "kcolor.jsonl", {}) as outcomes:
        made = colorize.colorize_files([colorizer], work, Settings(), outcomes=outcomes)
        for _ in range(10):
            next(made)
        made.close()
    written = {path.name for path in out.glob("*.png")}
    known = {Path(json.loads(line)["source"]).name for line in (out / "kcolor.jsonl").read_text().splitlines()}
    assert 10 <= len(written) < 40
    assert known == written
    with Outcomes(out / "kcolor.jsonl", {}) as outcomes:
        again = run(colorizer, work, outcomes)
    assert sum(outcome.status == SKIPPED for outcome in again) == len(written)
    assert len(list(out.glob("*.png"))) == 40


def test_small_pictures_for_a_contact_sheet(colorizer, folder):
    colour(600).resize((600, 300)).save(folder / "a.png")
    fill(folder, ["b.png"])
    seen = []
    run(colorizer, work_of(folder, folder.parent / "out"), on_picture=seen.append)
    assert [picture.shape for picture in seen] == [(128, 256, 3), (64, 64, 3)]


def test_a_file_s_content(colorizer, folder):
    fill(folder, ["a.png"])
    made, notes = colorize.colorize_content(colorizer, (folder / "a.png").read_bytes(), "standard input", Settings())
    assert notes[0] == "has colours already: only its lightness is used"
    np.testing.assert_array_equal(photo.decode(made, "made").rgb, colorizer(folder / "a.png").rgb)
    made, _ = colorize.colorize_content(
        colorizer, (folder / "a.png").read_bytes(), "standard input", Settings(format="WEBP", quality=50)
    )
    assert photo.sniff(made) == "WEBP"


def test_side_by_side(colorizer, folder):
    fill(folder, ["a.png"])
    run(colorizer, [Job(folder / "a.png", folder.parent / "out.png")], side_by_side=True)
    both = photo.read(folder.parent / "out.png").rgb
    assert both.shape == (64, 128, 3)
    assert np.ptp(both[:, :64].astype(int), axis=2).max() <= 1
    np.testing.assert_array_equal(both[:, 64:], colorizer(folder / "a.png").rgb)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_16_bits_of_lightness_are_kept(colorizer, folder, suffix, side_by_side):
    """A scan of which 8 bits would leave a few steps, far from black and white."""
    grey = np.linspace(30000, 32000, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(grey).save(folder / f"a{suffix}")
    out = folder.parent / f"out{suffix}"
    (outcome,) = run(colorizer, [Job(folder / f"a{suffix}", out)], side_by_side=side_by_side)
    assert outcome.status == COLOURED
    made = photo.read(out).rgb
    assert made.dtype == np.uint16
    assert made.shape == (64, 128 if side_by_side else 64, 3)
    coloured = made[:, -64:]
    assert np.abs(rgb2lab(coloured / 65535)[..., 0] - rgb2lab(np.dstack([grey] * 3) / 65535)[..., 0]).max() < 0.01
    assert len(np.unique(coloured[..., 0])) > 1000


def test_what_the_file_says_is_kept_and_the_colours_are_owned_up_to(colorizer, folder, finished):
    rgba = np.dstack([np.asarray(colour(64)), np.arange(64, dtype=np.uint8)[None].repeat(64, 0)])
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a caption", 6
    Image.fromarray(rgba).save(folder / "a.png", exif=exif)
    os.utime(folder / "a.png", (0, 1000))
    out = folder.parent / "out.png"
    run(colorizer, [Job(folder / "a.png", out)])
    read = photo.read(out)
    np.testing.assert_array_equal(read.alpha, np.rot90(rgba[..., 3], -1))
    assert read.mtime_ns == 1000 * 10**9
    with Image.open(out) as opened:
        assert opened.getexif()[0x010E] == "a caption"
    assert b'kcolor:Model="tiny/generator.keras"' in read.xmp
    assert files.digest(finished.generator).encode() in read.xmp
    assert str(finished.path.parent).encode() not in out.read_bytes()


def test_the_limit_of_pixels(colorizer, folder):
    fill(folder, ["a.png"])
    out = folder.parent / "out.png"
    (outcome,) = run(colorizer, [Job(folder / "a.png", out)], max_pixels=64 * 64 - 1)
    assert "a.png: too large: 64x64 is 4,096 pixels, and no more than 4,095 are read" in outcome.why
    assert not out.exists()


def test_how_colours_are_enlarged_is_chosen(colorizer, folder):
    colour(150, 4).save(folder / "a.png")
    made = {}
    for name in UPSAMPLERS:
        target = folder.parent / f"{name}.png"
        run(colorizer, [Job(folder / "a.png", target)], upsample=name)
        made[name] = photo.read(target).rgb
        np.testing.assert_array_equal(made[name], colorizer(folder / "a.png", upsample=name).rgb)
    assert (made["guided"] != made["bilinear"]).any()


def test_models_that_cannot_be_used(finished, tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        Colorizer.load(tmp_path)
    with pytest.raises(RunError, match="no such run or model"):
        Colorizer.load(tmp_path / "nothing")
    whole = finished.generator.read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="not a whole"):
        Colorizer.load(tmp_path / "cut.keras")
    for place in range(0, len(whole), len(whole) // 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "damaged.keras").write_bytes(damaged)
        with contextlib.suppress(RunError):  # or the byte was one that does not matter
            Colorizer.load(tmp_path / "damaged.keras")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="not finished"):
        Colorizer.load(tmp_path)


def test_the_best_generator_can_be_used(finished):
    assert load_generator(finished.best).input_shape == (None, 64, 64, 1)
    assert Image.open(max(finished.samples.iterdir())).size[0] == 3 * 196 + 4
    assert Path(finished.generator).stat().st_size > 0
