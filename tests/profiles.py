"""Colour profiles made by hand, by ICC.1:2001-04 (version 2.4): what is in them is known to the last number."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
# Primaries under D50, as columns of the matrix from RGB to XYZ: those of sRGB and of Adobe RGB (1998), by the Bradford
# transform (brucelindbloom.com). His D50 is another by 4 in 10,000, and white has to be the profile's.
_SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
_ADOBE = np.array(
    [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]]
)
SRGB_PRIMARIES, ADOBE_PRIMARIES = ((m * (D50 / m.sum(1))[:, None]).T for m in (_SRGB, _ADOBE))


def xyz(values) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3l", *(round(v * 65536) for v in values))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">LH", 1, round(value * 256))


def table(values) -> bytes:
    values = np.round(np.asarray(values) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">L", len(values)) + values.tobytes()


def parametric(kind: int, *values: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(struct.pack(">l", round(v * 65536)) for v in values)


def profile(
    space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ ", version=0x02400000
) -> bytes:
    description = b"desc\0\0\0\0" + struct.pack(">L", 5) + b"made\0" + bytes(4 + 4 + 2 + 1 + 67)
    tags = {b"desc": description, b"wtpt": xyz(D50), b"cprt": b"text\0\0\0\0none\0", **tags}
    offset = 128 + 4 + 12 * len(tags)
    listed, data = struct.pack(">L", len(tags)), b""
    for name, content in tags.items():
        listed += name + struct.pack(">LL", offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    body = listed + data
    head = struct.pack(">L4sL4s4s4s", 128 + len(body), b"\0\0\0\0", version, kind, space.ljust(4), pcs)
    head += bytes(12) + b"acsp" + bytes(4 + 4 + 4 + 4 + 8 + 4) + xyz(D50)[8:]
    return head.ljust(128, b"\0") + body


def matrix(primaries, curve: bytes = b"") -> bytes:
    curve = curve or gamma(2.2)
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=True))
    return profile(b"RGB", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey(curve: bytes) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve})


def by_table(space: bytes, lab_of: np.ndarray) -> bytes:
    """A profile of a table with two points a channel, an lut8Type to Lab.

    Args:
        space: b"CMYK" or b"RGB".
        lab_of: (2, ..., 2, 3) Lab in CIE units, the first channel first.
    """
    channels = lab_of.ndim - 1
    encoded = np.round(lab_of * [2.55, 1, 1] + [0, 128, 128]).clip(0, 255).astype(np.uint8)
    ramp = bytes(range(256))
    identity = struct.pack(">9l", *(65536 * (i % 4 == 0) for i in range(9)))
    content = b"mft1\0\0\0\0" + bytes([channels, 3, 2, 0]) + identity + ramp * channels + encoded.tobytes() + ramp * 3
    return profile(space, {b"A2B0": content}, kind=b"prtr", pcs=b"Lab ")
