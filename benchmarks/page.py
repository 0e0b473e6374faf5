"""docs/performance.md, made of benchmarks/results/*.json: the words are the template's, each figure is a file's."""

import json
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.harness import BENCHMARKS, RESULTS, ROOT
from kcolor.files import write_text

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
        autoescape=False,
    )
    environment.filters |= {"figure": figure, "share": share, "flat": flat, "furthest": furthest}
    machines: list[dict[str, Any]] = []
    for result in results.values():
        machines += [result["machine"]] if result["machine"] not in machines else []
    return environment.get_template("performance.md.j2").render(
        {**dict.fromkeys(BENCHMARKS), **results, "results": results, "machines": machines}
    )


def figure(value: float, digits: int = 3) -> str:
    """A number to so many digits, without an exponent."""
    told = float(f"{value:.{digits}g}")
    return f"{told:,.0f}" if abs(told) >= 10 ** (digits - 1) else f"{told:g}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{figure(100 * value, 2)} %"


def furthest(step: dict[str, Any]) -> tuple[str, float]:
    """The part of a training step that takes the most seconds beyond those of its products, and how many."""
    operations, rate = step["operations"], 1e9 * step["product_gflops"]
    beyond = {name: seconds - operations.get(name, 0) / rate for name, seconds in step["parts_s"].items()}
    name = max(beyond, key=beyond.__getitem__)
    return name, beyond[name]


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
