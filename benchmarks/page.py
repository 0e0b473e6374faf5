"""docs/performance.md, made of benchmarks/results/*.json: the words are the template's, each figure is a file's."""

import json
from pathlib import Path
from typing import Any

import jinja2

from kcolor.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "performance.md"


def load(folder: Path = RESULTS) -> dict[str, Any]:
    """What has been measured, by the benchmark's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def render(results: dict[str, Any]) -> str:
    """The page; a benchmark that has no results has no section."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - it is Markdown
    )
    environment.filters |= {"figure": figure, "share": share, "flat": flat}
    machines: list[dict[str, Any]] = []
    for result in results.values():
        machines += [result["machine"]] if result["machine"] not in machines else []
    return environment.get_template("performance.md.j2").render(results=results, machines=machines, **results)


def figure(value: float, digits: int = 3) -> str:
    """A number to so many digits, without an exponent."""
    told = float(f"{value:.{digits}g}")
    return f"{told:,.0f}" if abs(told) >= 10 ** (digits - 1) else f"{told:g}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{figure(100 * value, 2)} %"


def flat(figures: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Nested figures as rows of a name and a value, for a benchmark without a table of its own."""
    rows: list[tuple[str, Any]] = []
    for key, value in figures.items():
        name = f"{above}{key}".replace("_", " ")
        rows += flat(value, f"{name}, ") if isinstance(value, dict) else [(name, value)]
    return rows


def write(page: Path = PAGE) -> None:
    """Write the page of the results that are there."""
    write_text(page, render(load()))
