"""Faces, by the cascade that scikit-image comes with: frontal ones, in grey or in colour alike.

The cascade is Viola and Jones's ("Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR 2001) on
multi-block local binary patterns (Zhang et al., "Face Detection Based on Multi-Block LBP Representation", ICB 2007). It
answers of a window yes or no; how many windows of about one place it takes, in the picture and in its mirror image
together, is what tells a face from a chance, and is made the score.
"""

from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from scipy.sparse import csr_array, vstack
from scipy.sparse.csgraph import connected_components

from kcolor.detectors.detection import Detection

NAME = "face"

SIDE = 512  # the longer side of what is looked at; larger pictures are made smaller
SCALE = 1.2  # from one size of windows to the next
OVERLAP = 0.4  # intersection over union from which two windows are of one place
AT_A_TIME = 128  # windows that are compared with all

# So many windows score one half: n / (n + WINDOWS). Set, as is CONTRAST, by eye on what was found in 976 photographs of
# 200 kinds of object: of the 55 places of this score or more 50 are faces, of the next 39 (0.41 or more) 20.
WINDOWS = 13
FEWEST = 3  # windows; less is not kept at all

# Local binary patterns do not see how strong an edge is, so that blurred and empty places pass. A face's own standard
# deviation is more than this share of its mean, also where skin or light are dark.
CONTRAST = 0.2


def find(rgb: np.ndarray) -> list[Detection]:
    """The faces in a picture, the surest first.

    Args:
        rgb: (height, width, 3) uint8.
    """
    picture = Image.fromarray(rgb).convert("L")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(picture)
    height, width = grey.shape
    windows = _windows(grey)
    if max(map(len, _groups(windows)), default=0) < FEWEST:  # no face, and as long as that again is saved
        return []
    mirrored = _windows(np.ascontiguousarray(grey[:, ::-1]))
    mirrored[:, [0, 2]] = width - mirrored[:, [2, 0]]
    found = []
    for own in _groups(np.concatenate([windows, mirrored])):
        left, top, right, bottom = own.mean(axis=0).tolist()
        inside = grey[round(top) : round(bottom), round(left) : round(right)]
        if len(own) >= FEWEST and inside.std() > CONTRAST * inside.mean():
            score = round(len(own) / (len(own) + WINDOWS), 4)
            found.append(Detection(NAME, score, left / width, top / height, right / width, bottom / height))
    return sorted(found, key=lambda each: -each.score)


def _windows(grey: np.ndarray) -> np.ndarray:
    """Every window that the cascade takes: (n, 4), left, top, right, bottom."""
    cascade = _cascade()
    side = min(grey.shape)
    if side < cascade.window_width:
        return np.zeros((0, 4))
    found = cascade.detect_multi_scale(
        img=grey,
        scale_factor=SCALE,
        step_ratio=1.0,
        min_size=(cascade.window_width, cascade.window_height),
        max_size=(side, side),
        min_neighbor_number=1,
        intersection_score_threshold=2.0,  # never reached, so that scikit-image puts none together
    )
    boxes = [(each["c"], each["r"], each["c"] + each["width"], each["r"] + each["height"]) for each in found]
    return np.array(boxes, np.float64).reshape(-1, 4)


@cache
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


def _groups(windows: np.ndarray) -> list[np.ndarray]:
    """Windows of one place, together."""
    if not len(windows):
        return []
    # Some at a time: of a crowd there are thousands, and each with each is gigabytes.
    alike = [
        csr_array(_overlap(windows[i : i + AT_A_TIME], windows) > OVERLAP) for i in range(0, len(windows), AT_A_TIME)
    ]
    count, place = connected_components(vstack(alike), directed=False)
    return [windows[place == number] for number in range(count)]


def _overlap(some: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of each of some boxes, (m, 4), with each of others, (n, 4): (m, n)."""
    one, other = some[:, np.newaxis], boxes[np.newaxis]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    both = np.prod(np.maximum(sides, 0), axis=-1)
    areas, of_others = (np.prod(each[..., 2:] - each[..., :2], axis=-1) for each in (one, other))
    return both / (areas + of_others - both)
