import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from made import colour, fill
from PIL import Image
from skimage.color import rgb2lab

from kcolor import colorize, files, photo
from kcolor.colorizer import Colorizer, load_generator
from kcolor.errors import DataError, KcolorError, RunError
from kcolor.upsample import UPSAMPLERS


@pytest.fixture(scope="module")
def colorizer(finished):
    return Colorizer.load(finished.path)


def test_gather_and_targets(folder):
    fill(folder, ["a.png", "deep/b.jpg", "deep/c.gif"])
    (folder / "notes.txt").touch()
    out = folder.parent / "out"
    found = colorize.gather([folder, folder / "a.png"], out)
    assert [place.as_posix() for _, place in found] == ["a.png", "deep/b.jpg", "deep/c.gif", "a.png"]
    assert [target for _, target in colorize.targets(found[:3], out)] == [
        out / "a.png",
        out / "deep/b.jpg",
        out / "deep/c.png",
    ]
    with pytest.raises(DataError, match="would both become"):
        colorize.targets(found, out)
    with pytest.raises(DataError, match="written over"):
        colorize.targets(colorize.gather([folder / "a.png"], out), folder)
    with pytest.raises(DataError, match="no such file"):
        colorize.gather([folder / "nothing.png"], out)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no photographs"):
        colorize.gather([folder / "empty"], out)


def test_no_photo_is_written_over(folder):
    fill(folder, ["nest/x.png", "nest/nest/x.png"])
    with pytest.raises(DataError, match=r"nest/x.png: would be written over"):
        colorize.targets(colorize.gather([folder / "nest"], folder), folder)


def test_what_was_coloured_before_is_not_taken_again(folder):
    fill(folder, ["x.png", "out/x.png"])
    assert [place.name for _, place in colorize.gather([folder], folder / "out")] == ["x.png"]
    assert len(colorize.gather([folder], folder.parent)) == 2


def test_formats_that_cannot_be_written_become_png(folder):
    names = ["scan", "a.gif", "b.jp2", "c.heic", "d.AVIF"]
    pairs = colorize.targets([(folder / name, Path(name)) for name in names], folder / "out")
    assert [target.name for _, target in pairs] == ["scan.png", "a.png", "b.png", "c.heic", "d.AVIF"]


def test_one_broken_photo_does_not_stop_the_rest(colorizer, folder):
    fill(folder, ["a.png", "c.png"])
    (folder / "b.png").write_bytes(b"broken")
    out = folder.parent / "out"
    pairs = colorize.targets(colorize.gather([folder], out), out)
    outcomes = list(colorize.colorize_files(colorizer, pairs))
    assert [outcome.target for outcome in outcomes] == [out / "a.png", None, out / "c.png"]
    assert "b.png: not a photograph" in str(outcomes[1].error)
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]


def test_side_by_side(colorizer, folder):
    fill(folder, ["a.png"])
    pairs = [(folder / "a.png", folder.parent / "out.png")]
    list(colorize.colorize_files(colorizer, pairs, side_by_side=True))
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
    pairs = [(folder / f"a{suffix}", out)]
    assert [o.error for o in colorize.colorize_files(colorizer, pairs, side_by_side=side_by_side)] == [None]
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
    list(colorize.colorize_files(colorizer, [(folder / "a.png", out)]))
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
    (outcome,) = colorize.colorize_files(colorizer, [(folder / "a.png", out)], max_pixels=64 * 64 - 1)
    assert "a.png: too large: 64x64 is 4,096 pixels, and no more than 4,095 are read" in str(outcome.error)
    assert not out.exists()


def test_how_colours_are_enlarged_is_chosen(colorizer, folder):
    colour(150, 4).save(folder / "a.png")
    made = {}
    for name, upsampler in UPSAMPLERS.items():
        target = folder.parent / f"{name}.png"
        list(colorize.colorize_files(colorizer, [(folder / "a.png", target)], upsampler=upsampler))
        made[name] = photo.read(target).rgb
        np.testing.assert_array_equal(made[name], colorizer(folder / "a.png", upsample=name).rgb)
    assert (made["guided"] != made["bilinear"]).any()


def test_the_run_s_held_out_photos(finished):
    held = colorize.held_out(finished.path, "test")
    assert held
    assert all(source.is_file() and str(source).endswith(place.as_posix()) for source, place in held)
    with pytest.raises(KcolorError):
        colorize.held_out(finished.path.parent, "test")


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
