"""Colour profiles: what a photograph's numbers mean, against profiles whose every number is known."""

import io
import struct

import numpy as np
import profiles
import pytest
from made import colour
from PIL import Image, ImageCms
from skimage.color import lab2rgb

from kcolor import photo
from kcolor.photo import Photograph, icc

RED, GREEN, BLUE = profiles.SRGB_PRIMARIES
SRGB_CURVE = profiles.parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
RGB = np.asarray(colour(64))
DEEP = np.random.default_rng(3).integers(0, 65536, (64, 48, 3), np.uint16)


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    made = io.BytesIO()
    picture.save(made, kind, **options)
    return made.getvalue()


def read(values: np.ndarray, profile: bytes, kind: str = "PNG") -> Photograph:
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    if values.dtype == np.uint8:
        return photo.decode(saved(Image.fromarray(values), kind, icc_profile=profile, **options), "a")
    written = Photograph(values if values.ndim == 3 else np.repeat(values[..., None], 3, 2), format="PNG")
    data = photo.encode(written)
    own = data.index(b"iCCP") - 4
    size = 12 + int.from_bytes(data[own : own + 4])
    import zlib

    content = b"a\0\0" + zlib.compress(profile)
    chunk = struct.pack(">L", len(content)) + b"iCCP" + content + struct.pack(">L", zlib.crc32(b"iCCP" + content))
    return photo.decode(data[:own] + chunk + data[own + size :], "a")


def encoded(linear: np.ndarray) -> np.ndarray:
    """sRGB of linear light, by the book."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def decoded(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_swapped_primaries(kind):
    """A profile that says that red is green: what was red has to come out green."""
    profile = profiles.matrix((GREEN, RED, BLUE), SRGB_CURVE)
    found = read(RGB, profile, kind).rgb.astype(int)
    error = np.abs(found - RGB[..., [1, 0, 2]])
    assert error.max() <= 2 if kind in ("PNG", "TIFF", "WEBP") else error.mean() < 3


def test_swapped_primaries_in_16_bits():
    found = read(DEEP, profiles.matrix((GREEN, RED, BLUE), SRGB_CURVE)).rgb
    assert found.dtype == np.uint16
    # The matrices have 16 bits behind the point, which where a channel is dark the curve makes more of.
    bright = DEEP.min(axis=-1) > 20000
    assert np.abs(found.astype(int) - DEEP[..., [1, 0, 2]])[bright].max() <= 20
    assert len(np.unique(found[..., 0] & 255)) > 200


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_adobe_rgb(dtype):
    """By the definition of Adobe RGB (1998), under D50."""
    values = RGB if dtype == np.uint8 else DEEP
    largest = np.iinfo(dtype).max
    profile = profiles.matrix(profiles.ADOBE_PRIMARIES, profiles.gamma(563 / 256))
    xyz = (values / largest) ** (563 / 256) @ np.array(profiles.ADOBE_PRIMARIES)
    linear = xyz @ np.linalg.inv(np.array(profiles.SRGB_PRIMARIES))
    truth = encoded(linear) * largest
    found = read(values, profile).rgb
    assert found.dtype == dtype
    inside = (linear > 0.05).all(-1) & (linear < 1).all(-1)
    assert inside.mean() > 0.2
    assert np.abs(found - truth)[inside].max() <= (1.5 if dtype == np.uint8 else 30)
    assert np.abs(found.astype(int) - values).max() > 0.05 * largest  # or the profile had not been looked at


@pytest.mark.parametrize(
    "curve",
    [
        profiles.gamma(1.75),
        profiles.table(np.linspace(0, 1, 1024) ** 1.75),
        profiles.parametric(0, 1.75),
        profiles.parametric(1, 1.75, 1, 0),
        profiles.parametric(2, 1.75, 1, 0, 0),
        profiles.parametric(3, 1.75, 1, 0, 1, 0),
        profiles.parametric(4, 1.75, 1, 0, 1, 0, 0, 0),
    ],
    ids=["gamma", "table", *map(str, range(5))],
)
def test_grey_with_every_kind_of_curve(curve):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    truth = encoded((ramp / 65535) ** 1.75) * 65535
    data = saved(Image.fromarray(ramp), "TIFF", icc_profile=profiles.grey(curve))
    found = photo.decode(data, "a").rgb
    assert (found == found[..., :1]).all()
    assert np.abs(found[..., 0] - truth)[ramp > 1000].max() <= 8  # tables have 16 bits
    small = np.arange(256, dtype=np.uint8).reshape(16, 16)
    eight = photo.decode(saved(Image.fromarray(small), "PNG", icc_profile=profiles.grey(curve)), "a").rgb
    assert np.abs(eight[..., 0] - encoded((small / 255) ** 1.75) * 255).max() <= 2


def test_curves_against_little_cms():
    """Of each kind with numbers that matter, and black that is not 0, on 8 bits, where Little CMS can be asked."""
    for curve in (
        profiles.parametric(1, 2.0, 1.1, -0.1),
        profiles.parametric(1, 2.0, 0.9, 0.1),
        profiles.parametric(2, 2.0, 0.85, 0.05, 0.1),
        profiles.parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
        profiles.parametric(4, 2.2, 0.9, 0.05, 0.3, 0.2, 0.03, 0.01),
        profiles.table([0, 0.1, 0.5, 0.6, 1]),
        b"curv" + bytes(8),
    ):
        profile = profiles.matrix(profiles.ADOBE_PRIMARIES, curve)
        eight = np.asarray(icc.to_srgb(Image.fromarray(RGB), profile))
        deep = icc.to_srgb16(RGB.astype(np.uint16) * 257, profile)
        inside = (deep.min(axis=-1) > 12000) & (deep.max(axis=-1) < 65535)
        assert inside.mean() > 0.2
        assert np.abs(deep / 257 - eight)[inside].max() < 3.5


def test_grey_with_the_profile_of_colour():
    grey = np.asarray(colour(64).convert("L"))
    profile = profiles.matrix(profiles.SRGB_PRIMARIES, profiles.gamma(1.8))
    truth = encoded((grey / 255) ** 1.8) * 255
    found = read(grey, profile).rgb
    assert np.abs(found - truth[..., None]).max() <= 1.5


def test_cmyk_by_its_profile_and_without_one():
    """A press on which cyan ink is red."""
    lab = np.full((2, 2, 2, 2, 3), (95.0, 0.0, 0.0))
    lab[1, 0, 0, 0] = 53, 80, 67
    lab[0, 1, 0, 0] = 60, -50, 40
    lab[..., 1, :] = 5, 0, 0
    profile = profiles.by_table(b"CMYK", lab)
    for inks in ((255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 0)):
        paper = Image.new("CMYK", (16, 16), inks)
        truth = np.clip(lab2rgb(lab[tuple(ink // 255 for ink in inks)]), 0, 1) * 255
        for kind in ("JPEG", "TIFF"):
            found = photo.decode(saved(paper, kind, icc_profile=profile), "a").rgb
            assert np.abs(found - truth).max() < 20, (inks, kind)  # and black is brought to black
            plain = photo.decode(saved(paper, kind), "a").rgb
            assert np.abs(plain - [255 - ink for ink in inks[:3]]).max() <= 2


def test_a_profile_of_tables_leaves_8_bits():
    lab = np.random.default_rng(0).uniform((10, -30, -30), (90, 30, 30), (2, 2, 2, 3))
    profile = profiles.by_table(b"RGB", lab)
    deep = read(DEEP, profile)
    assert deep.rgb.dtype == np.uint8
    truth = np.asarray(icc.to_srgb(Image.fromarray(np.round(DEEP / 257).astype(np.uint8)), profile))
    np.testing.assert_array_equal(deep.rgb, truth)


def test_lab_tiff():
    lab = np.stack([np.full((8, 8), 153), np.full((8, 8), 40), np.full((8, 8), 226)], -1).astype(np.uint8)
    picture = Image.frombytes("LAB", (8, 8), lab.tobytes())
    found = photo.decode(saved(picture, "TIFF"), "a").rgb
    assert np.abs(found - lab2rgb([153 / 2.55, 40, -30]) * 255).max() < 6  # of D65


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_srgb_by_any_name_changes_nothing(dtype):
    values = RGB if dtype == np.uint8 else DEEP
    for profile in (icc.srgb(), profiles.matrix(profiles.SRGB_PRIMARIES, SRGB_CURVE)):
        np.testing.assert_array_equal(read(values, profile).rgb, values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_profiles_that_are_broken_or_of_something_else_are_ignored(dtype):
    values = RGB if dtype == np.uint8 else DEEP
    whole = profiles.matrix(profiles.ADOBE_PRIMARIES)
    grey = profiles.grey(profiles.gamma(1.8))
    cmyk = profiles.by_table(b"CMYK", np.zeros((2, 2, 2, 2, 3)))
    for profile in (b"no profile", whole[:200], whole[:-700], bytes(len(whole)), grey, cmyk):
        np.testing.assert_array_equal(read(values, profile).rgb, values)


def test_damaged_profiles_never_stop_a_photo():
    chance = np.random.default_rng(0)
    for whole in (profiles.matrix(profiles.ADOBE_PRIMARIES), profiles.grey(profiles.table(np.linspace(0, 1, 64)))):
        for _ in range(150):
            data = bytearray(whole)
            for place in chance.integers(0, len(data), 4):
                data[place] = chance.integers(256)
            values = DEEP[:4, :4] if b"RGB " in whole[:20] else DEEP[:4, :4, :1]
            found = icc.to_srgb16(values, bytes(data))
            assert found is None or found.shape == (4, 4, 3)
            assert icc.to_srgb(Image.fromarray(RGB[:4, :4]), bytes(data)).mode == "RGB"


def test_transparency_is_no_colour():
    rgba = np.dstack([RGB, RGB[..., 0]])
    found = photo.decode(
        saved(Image.fromarray(rgba), "PNG", icc_profile=profiles.matrix((GREEN, RED, BLUE), SRGB_CURVE)), "a"
    )
    np.testing.assert_array_equal(found.alpha, RGB[..., 0])
    assert np.abs(found.rgb.astype(int) - RGB[..., [1, 0, 2]]).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_what_is_written_says_that_it_is_srgb(kind):
    photograph = read(RGB, profiles.matrix(profiles.ADOBE_PRIMARIES, profiles.gamma(563 / 256)))
    with Image.open(io.BytesIO(photo.encode(photograph, kind))) as opened:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
    assert "sRGB" in profile.profile.profile_description
    # Not converted once more when it is read again.
    again = photo.decode(photo.encode(photograph, "PNG"), "a")
    np.testing.assert_array_equal(again.rgb, photograph.rgb)


def test_curves_are_srgb_s_own():
    values = np.linspace(0, 1, 4001)
    assert np.abs(decoded(encoded(values)) - values).max() < 1e-6
    assert np.abs(icc._encoded(values) / 65535 - encoded(values)).max() < 1e-5
