"""The page of what a detector found in the photos of a manifest: some of it, to be judged by a person."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from kcolor import __version__
from kcolor.data.finding import upright
from kcolor.data.instances import Instance
from kcolor.data.manifest import Manifest
from kcolor.data.rows import Photo, Rows
from kcolor.pages.page import data_uri, render

CLASSES = 12  # the most frequent ones are shown
EACH = 12  # of the surest, and of the least sure, of a class
WHOLE = 8  # photos with instances, and without
AROUND = 0.5  # of a box's sides, shown at each of them

_READ = 960  # pixels that a side has, at least, of what pictures are cut from
_SMALL, _LARGE = 200, 320  # pixels of the longer side of a picture in the page


@dataclass(frozen=True)
class _Picture:
    image: tuple[str, int, int, bool]
    path: str
    told: str


@dataclass(frozen=True)
class _Class:
    name: str
    count: int
    photos: int
    scores: tuple[float, float, float]
    share: float
    surest: Sequence[_Picture]
    least: Sequence[_Picture]


def instances_page(manifest: Manifest) -> str:
    """The page of a manifest's instances: by class the surest and the least sure; photos with instances and without.

    Args:
        manifest: In which instances were looked for; its photos are read.

    Returns:
        HTML that can be encoded as UTF-8 whatever the names of the photos are.
    """
    photos = manifest.photos[manifest.photos.kept]
    tally = photos.instances.tally()
    draw = random.Random(int(manifest.rules.get("seed", 0)))
    found, none = np.flatnonzero(photos.instances.counts), np.flatnonzero(photos.instances.counts == 0)
    return render(
        "instances.html.j2",
        metrics={"versions": {"kcolor": __version__}},
        root=str(manifest.root),
        rules=manifest.rules["instances"],
        photos=len(photos),
        without=len(none),
        instances=sum(count for count, _ in tally.values()),
        classes=[_of_class(manifest, photos, name, *tally[name]) for name in list(tally)[:CLASSES]],
        others={name: tally[name] for name in list(tally)[CLASSES:]},
        found=_whole(manifest, photos, _some(draw, found)),
        empty=_whole(manifest, photos, _some(draw, none)),
    )


def _some(draw: random.Random, places: np.ndarray) -> list[int]:
    return sorted(draw.sample(places.tolist(), min(WHOLE, len(places))))


def _of_class(manifest: Manifest, photos: Rows, name: str, count: int, on: int) -> _Class:
    instances = photos.instances
    photo, places = instances.places()
    own = instances.classes[places] == instances.names.index(name)
    photo, places = photo[own], places[own]
    order = np.argsort(-instances.scores[places], kind="stable")
    photo, places = photo[order], places[order]
    boxes, scores = instances.boxes[places].astype(np.int64), instances.scores[places]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    sizes = np.maximum(photos.width[photo].astype(np.int64) * photos.height[photo], 1)

    def pictures(some: slice) -> list[_Picture]:
        shown = []
        for number, box, score in zip(photo[some].tolist(), boxes[some].tolist(), scores[some].tolist(), strict=True):
            shown += _picture(manifest, photos[number], [Instance(name, score, *box)], close=True)
        return shown

    first = min(EACH, -(-count // 2))
    return _Class(
        name=name,
        count=count,
        photos=on,
        scores=(float(scores[0]), float(np.median(scores)), float(scores[-1])),
        share=float(np.median(np.sqrt(areas / sizes))),
        surest=pictures(slice(0, first)),
        least=pictures(slice(max(first, count - EACH), count)),
    )


def _whole(manifest: Manifest, photos: Rows, places: Sequence[int]) -> list[_Picture]:
    return [
        picture
        for place in places
        for picture in _picture(manifest, photos[place], photos[place].instances, close=False)
    ]


def _picture(manifest: Manifest, photo: Photo, found: Sequence[Instance], *, close: bool) -> list[_Picture]:
    """A photo, or what is around the first instance, with boxes drawn into it; none if it cannot be read any more."""
    try:
        picture = Image.fromarray(upright(manifest.root / photo.path, _READ))
    except Exception:  # a damaged picture can make Pillow raise almost anything, and training tells of it
        return []
    left, top, right, bottom = 0.0, 0.0, float(photo.width), float(photo.height)
    if close:
        one = found[0]
        across, down = AROUND * (one.right - one.left), AROUND * (one.bottom - one.top)
        left, top = max(one.left - across, left), max(one.top - down, top)
        right, bottom = min(one.right + across, right), min(one.bottom + down, bottom)
    scale = picture.width / photo.width, picture.height / photo.height
    # Rounding could take an edge just past the last pixel.
    ends = min(right * scale[0], picture.width), min(bottom * scale[1], picture.height)
    region = left * scale[0], top * scale[1], *ends
    fit = (_SMALL if close else _LARGE) / max(region[2] - region[0], region[3] - region[1])
    size = max(1, round((region[2] - region[0]) * fit)), max(1, round((region[3] - region[1]) * fit))
    picture = picture.resize(size, Image.Resampling.LANCZOS, box=region)
    pen = ImageDraw.Draw(picture)
    factor = size[0] / (right - left), size[1] / (bottom - top)
    for each in found:
        corners = [(each.left - left) * factor[0], (each.top - top) * factor[1]]
        corners += [(each.right - left) * factor[0] - 1, (each.bottom - top) * factor[1] - 1]
        # Seen on light and on dark.
        pen.rectangle(corners, outline=(0, 0, 0), width=3)
        pen.rectangle([corners[0] + 1, corners[1] + 1, corners[2] - 1, corners[3] - 1], outline=(255, 255, 255))
    return [_Picture(data_uri(np.asarray(picture)), photo.path, _told(found))]


def _told(found: Sequence[Instance]) -> str:
    return ", ".join(f"{each.name} {each.score:.2f}" for each in found)
