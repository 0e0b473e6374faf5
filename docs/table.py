"""Print evaluations as a Markdown table, a column an evaluation.

    python docs/table.py EVALUATION …

Each cell is the model's figure with those of the all-grey answer and of the mean colour in brackets.
"""

import sys
from pathlib import Path

from kcolor import evaluation
from kcolor.figures import ANSWERS, FIGURES


def main(paths: list[str]) -> None:
    """Print the table of these evaluation folders."""
    loaded = [evaluation.load(Path(path)) for path in paths]
    print("|", " | ".join(["", *(each.protocol for each in loaded)]), "|")
    print("|---" * (len(loaded) + 1), end="|\n")
    for key, figure in FIGURES.items():
        if not any(key in each.figures for each in loaded):
            continue
        cells = []
        for each in loaded:
            model, *others = (figure.show(each.figures.get(key, {}).get(answer)) for answer in ANSWERS)
            told = [other for other in others if other != figure.show(None)]
            cells.append(f"**{model}** ({', '.join(told)})" if told else model)
        print("|", " | ".join([" ".join(filter(None, [figure.label, figure.unit])), *cells]), "|")


if __name__ == "__main__":
    main(sys.argv[1:])
