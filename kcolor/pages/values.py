"""What an evaluation says of a figure: of all pictures, of some, of each; and how that, or the want of it, is told."""

import numpy as np

from kcolor.evaluation import Evaluation
from kcolor.figures import Columns, Figure


def scored(evaluation: Evaluation, figure: Figure, answer: str, columns: Columns) -> float:
    """What an answer scored; where the file has nothing, infinity if that is what the pictures say, or else NaN.

    Args:
        evaluation: Whose file it is.
        figure: Which figure.
        answer: Whose: a key of `ANSWERS`.
        columns: Of that answer.
    """
    value = evaluation.figures.get(figure.key, {}).get(answer)
    if value is not None:
        return float(value)
    return float("inf" if np.isinf(of_pictures(figure, columns)) else "nan")


def of_pictures(figure: Figure, columns: Columns) -> float:
    """The figure of a set of pictures; NaN if they do not tell it, or were not measured so."""
    try:
        return figure.of(columns) if figure.of else float("nan")
    except KeyError:  # the protocol does not measure it
        return float("nan")


def by_picture(columns: Columns, key: str) -> np.ndarray:
    """A figure of each picture, (pictures,); NaN where one has none, infinite where PSNR is of no error at all.

    Args:
        columns: Of one answer.
        key: The name of the figure there, or "colourfulness_difference".
    """
    none = np.full_like(next(iter(columns.values()), np.empty(0)), np.nan)
    if key == "colourfulness_difference":
        return np.abs(columns.get("colourfulness_prediction", none) - columns.get("colourfulness_truth", none))
    values = columns.get(key, none)
    if key == "psnr":
        return np.where(np.isnan(values) & (columns.get("squared_error", none) == 0), np.inf, values)
    return values


def shown(figure: Figure, value: float) -> str:
    """The value as pages show it; a dash where there is none."""
    return figure.show(value).replace("inf", "∞")


def number(value: float | None) -> float:
    """What a file says, NaN where that is nothing."""
    return float("nan") if value is None else value


def reason(why: str) -> tuple[str, str]:
    """Why a figure is missing, and the command that mends it if that is what it ends in."""
    told, _, command = why.rpartition(": ")
    return (told, command) if command.startswith("kcolor ") else (why, "")
