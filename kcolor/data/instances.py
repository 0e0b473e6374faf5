"""Instances: the people and objects that a detector found in photos, each with its box; in columns, as photos are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from typing import Any, overload

import numpy as np

# Of a box's sides, added at each of them, where training is shown an instance: detectors' boxes are tight, and what is
# around a thing tells what it is.
MARGIN = 0.15


@dataclass(frozen=True, slots=True)
class Instance:
    """One person or object in a photo.

    Attributes:
        name: Of its class, such as ``face``.
        score: How sure the detector was, 0 to 1.
        left: Pixels of the upright photo, from its left edge.
        top: Pixels, from its upper edge.
        right: Pixels; the first column that is no longer inside.
        bottom: Pixels; the first row that is no longer inside.
    """

    name: str
    score: float
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, eq=False)
class Instances(Sequence[tuple[Instance, ...]]):
    """The instances of each photo, in columns; otherwise a sequence of tuples of `Instance` like any other.

    Those of photo *i* are at the places ``starts[i]`` to ``starts[i] + counts[i]`` of what follows.

    Attributes:
        starts: (n,) int64.
        counts: (n,) int32, how many a photo has.
        boxes: (m, 4) int32: left, top, right, bottom.
        scores: (m,) float64.
        classes: (m,) int32, places in `names`.
        names: The classes' names, in any order; they may have some that are not used.
    """

    starts: np.ndarray
    counts: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, photos: Sequence[Sequence[Instance]]) -> "Instances":
        """Those of photo after photo, put into columns."""
        counts = np.fromiter(map(len, photos), np.int32, len(photos))
        found = [instance for each in photos for instance in each]
        names = sorted({instance.name for instance in found})
        number = {name: place for place, name in enumerate(names)}
        boxes = [(each.left, each.top, each.right, each.bottom) for each in found]
        return cls(
            starts=np.cumsum(counts, dtype=np.int64) - counts,
            counts=counts,
            boxes=np.array(boxes, np.int32).reshape(-1, 4),
            scores=np.array([each.score for each in found], np.float64),
            classes=np.array([number[each.name] for each in found], np.int32),
            names=tuple(names),
        )

    @classmethod
    def none(cls, photos: int) -> "Instances":
        """Of so many photos, of which none has any."""
        counts = np.zeros(photos, np.int32)
        nothing = np.zeros(0, np.int32)
        return cls(np.zeros(photos, np.int64), counts, np.zeros((0, 4), np.int32), np.zeros(0), nothing, ())

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> tuple[Instance, ...]: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> "Instances": ...
    def __getitem__(self, index: Any) -> "tuple[Instance, ...] | Instances":
        if isinstance(index, slice | np.ndarray):
            return replace(self, starts=self.starts[index], counts=self.counts[index])
        start = int(self.starts[index])
        places = slice(start, start + int(self.counts[index]))
        return tuple(starmap(Instance, self._columns(places)))

    def __iter__(self) -> Iterator[tuple[Instance, ...]]:
        for number, count in enumerate(self.counts.tolist()):
            yield self[number] if count else ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return NotImplemented if not isinstance(other, Sequence) else False
        return all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def tally(self) -> dict[str, tuple[int, int]]:
        """By class that occurs, the most frequent first: how many instances, and on how many photos."""
        photo, places = self.places()
        found = {}
        for number in np.unique(self.classes[places]).tolist():
            own = photo[self.classes[places] == number]
            found[self.names[number]] = len(own), len(np.unique(own))
        return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every instance of these photos, in order: the photo's number and the place in the columns; (k,) each."""
        photo = np.repeat(np.arange(len(self)), self.counts)
        first = np.cumsum(self.counts, dtype=np.int64) - self.counts
        return photo, self.starts[photo] + np.arange(len(photo)) - first[photo]

    def packed(self) -> "Instances":
        """The same, without what is of no photo here."""
        _, places = self.places()
        return replace(
            self,
            starts=np.cumsum(self.counts, dtype=np.int64) - self.counts,
            boxes=self.boxes[places],
            scores=self.scores[places],
            classes=self.classes[places],
        )

    def widened(self, width: np.ndarray, height: np.ndarray) -> "Instances":
        """The same, packed, with `MARGIN` around each box, as far as the photo goes.

        Args:
            width: (n,) of the photos, pixels.
            height: (n,) likewise.
        """
        photo, _ = self.places()
        packed = self.packed()
        boxes = packed.boxes.astype(np.int64)
        sides = boxes[:, 2:] - boxes[:, :2]
        more = np.rint(MARGIN * sides).astype(np.int64)
        ends = np.stack([width[photo], height[photo]], axis=1).astype(np.int64)
        wide = [np.maximum(boxes[:, :2] - more, 0), np.minimum(boxes[:, 2:] + more, ends)]
        return replace(packed, boxes=np.concatenate(wide, axis=1).astype(np.int32))

    def _columns(self, places: slice) -> Iterator[tuple[Any, ...]]:
        names = [self.names[number] for number in self.classes[places].tolist()]
        boxes, scores = self.boxes[places].tolist(), self.scores[places].tolist()
        for name, score, box in zip(names, scores, boxes, strict=True):
            yield name, score, *box
