import os
import stat

import numpy as np
import pytest
from made import colour
from PIL import Image

from kcolor import photo
from kcolor.errors import DataError


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_turns_photos_upright(folder, orientation):
    upright = np.asarray(colour(40))[:, :24]
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(turned).save(folder / "a.png", exif=exif)
    np.testing.assert_array_equal(photo.read(folder / "a.png"), upright)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "LA"])
def test_read_gives_rgb_of_every_mode(folder, mode):
    picture = colour().convert(mode)
    name = "a.jpg" if mode == "CMYK" else "a.png"
    picture.save(folder / name)
    read = photo.read(folder / name)
    assert read.shape == (96, 96, 3)
    assert read.dtype == np.uint8


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bits_of_grey_become_8(folder, name):
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(grey).save(folder / name)
    read = photo.read(folder / name)
    assert np.abs(read.astype(float) - grey[..., None] / 257).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_unknown_range_are_refused(folder, dtype):
    Image.fromarray(np.ones((8, 8), dtype)).save(folder / "a.tif")
    with pytest.raises(DataError, match=r"a.tif: cannot be read: 32 bits a pixel"):
        photo.read(folder / "a.tif")


def test_formats_that_start_other_programs_are_not_tried(folder):
    (folder / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(DataError, match="not a photograph"):
        photo.read(folder / "a.jpg")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text.jpg", b"not a picture", "not a photograph"),
        ("empty.png", b"", "not a photograph"),
    ],
)
def test_read_says_what_is_wrong(folder, name, content, said):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {said}"):
        photo.read(folder / name)


def test_read_refuses_photos_cut_short(folder):
    colour(300).save(folder / "a.jpg")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a.jpg: cannot be read: .*truncated"):
        photo.read(folder / "a.jpg")


def test_read_refuses_bombs(folder, monkeypatch):
    colour(64).save(folder / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    with pytest.raises(DataError, match=r"a.png: too large"):
        photo.read(folder / "a.png")


def test_read_of_no_file(folder):
    with pytest.raises(DataError, match="No such file"):
        photo.read(folder / "a.png")
    with pytest.raises(DataError, match="Is a directory"):
        photo.read(folder)


def test_png_is_written_as_it_is(folder):
    rgb = np.asarray(colour())
    photo.write(folder / "deep" / "a.png", rgb)
    np.testing.assert_array_equal(photo.read(folder / "deep" / "a.png"), rgb)


def test_jpeg_is_written_well(folder):
    rgb = np.asarray(colour())
    photo.write(folder / "a.JPG", rgb)
    assert np.abs(photo.read(folder / "a.JPG").astype(int) - rgb).mean() < 1.5


def test_a_failed_write_leaves_what_was_there(folder):
    (folder / "a.xyz").write_text("mine")
    with pytest.raises(DataError, match=r"a.xyz: cannot be written"):
        photo.write(folder / "a.xyz", np.asarray(colour()))
    assert (folder / "a.xyz").read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == ["a.xyz"]


def test_written_files_have_the_usual_permissions(folder):
    photo.write(folder / "a.png", np.asarray(colour()))
    (folder / "b").touch()
    assert stat.S_IMODE(os.stat(folder / "a.png").st_mode) == stat.S_IMODE(os.stat(folder / "b").st_mode)  # noqa: PTH116
