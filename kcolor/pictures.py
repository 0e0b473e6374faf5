"""Pictures for people to look at: grids of photographs, curves of losses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kcolor import files

GAP = 4


def grid(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Lay pictures of one size out in rows, on white.

    Args:
        rows: Equally long rows of (height, width, 3) uint8 pictures.
    """
    height, width, _ = rows[0][0].shape
    sheet = np.full((len(rows) * (height + GAP) + GAP, len(rows[0]) * (width + GAP) + GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = GAP + i * (height + GAP), GAP + j * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 8) -> np.ndarray:
    """Lay pictures of any sizes out in rows, each in the middle of a cell that the largest fits into, on white.

    Args:
        pictures: At least one, (height, width, 3) uint8.
        columns: The most in a row.

    Returns:
        (height, width, 3) uint8.
    """
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    cells = []
    for picture in pictures:
        cell = np.full((height, width, 3), 255, np.uint8)
        top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        cells.append(cell)
    # As many rows as columns, as far as they go.
    columns = min(columns, max(1, round(len(cells) ** 0.5)))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    return grid([cells[i : i + columns] for i in range(0, len(cells), columns)])


def enlarge(rgb: np.ndarray, side: int) -> np.ndarray:
    """Repeat the pixels of a (height, width, 3) picture as often as it fits into `side`, at least once."""
    times = max(1, side // max(rgb.shape[:2]))
    return rgb.repeat(times, axis=0).repeat(times, axis=1)


def save(path: Path, rgb: np.ndarray) -> None:
    """Write a (height, width, 3) uint8 picture in the format that the name says, whole or not at all."""
    with files.replacing(path) as temporary:
        Image.fromarray(rgb).save(temporary)


def curves(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Plot what a run's history says of each loss, training and validation, by epoch.

    Args:
        path: The picture to write.
        history: An entry an epoch, as in ``history.jsonl``.
    """
    import matplotlib.figure  # takes half a second, and is wanted once an epoch
    import matplotlib.ticker

    skipped = {"epoch", "step", "seconds", "photos_per_second"}
    keys = dict.fromkeys(key for entry in history for key in entry if key not in skipped)
    names = list(dict.fromkeys(key.removeprefix("val_") for key in keys if not key.startswith("val_grey_")))
    columns = 3
    count = -(-len(names) // columns)
    figure = matplotlib.figure.Figure(figsize=(4 * columns, 2.6 * count), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(count, columns, place + 1)
        # The last is what the all-grey answer scores.
        lines = [(name, "o-"), (f"val_{name}", "s--"), (f"val_grey_{name}", "k:")]
        for key, style in lines:
            points = [(entry["epoch"], entry[key]) for entry in history if entry.get(key) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), style, markersize=3, label=key)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
