"""The house rules of docs/design.md that a machine can hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kcolor"

# Each module reads only from modules of the lines before its own.
ORDER = [
    ["errors"],
    ["cluster", "files", "quiet", "replicas"],
    ["photo.exif", "photo.formats", "photo.icc", "photo.sixteen", "photo.xmp"],
    ["photo.photograph", "photo.tiff"],
    ["photo.decoding"],
    ["photo.encoding"],
    [
        "bundled",
        "color",
        "figures",
        "header",
        "image",
        "optimizers",
        "photo",
        "pictures",
        "recipe",
        "run",
        "team",
        "training",
        "upsample",
        "versions",
        "weights",
    ],
    ["detectors.detection", "detectors.metadata"],
    ["detectors.faces", "detectors.tflite"],
    ["detectors"],
    ["data"],
    ["data.gathered", "data.instances", "data.records"],
    ["data.rows", "data.survey"],
    ["data.rowfile"],
    ["data.dataset", "data.manifest"],
    ["data.finding", "data.reading", "data.shards"],
    ["data.prepare", "data.sharding"],
    ["evaluation", "given", "join", "losses", "networks", "regions"],
    ["chromagan", "signatures"],
    ["metrics.base"],
    ["metrics.colourfulness", "metrics.delta_e", "metrics.fid", "metrics.lpips", "metrics.psnr", "metrics.ssim"],
    ["metrics"],
    ["card", "compare", "gan", "trunks"],
    ["scenes"],
    ["pages.charts", "pages.page", "pages.values"],
    ["pages.gallery"],
    ["pages.comparison", "pages.instances", "pages.report"],
    ["pages"],
    ["checkpoint", "colorizer", "jobs", "loop", "outcomes"],
    ["callbacks", "build"],
    ["client", "colorize", "fit", "protocols"],
    ["beam"],
    ["beam.ending", "beam.running", "beam.storage"],
    ["beam.worker"],
    ["beam.shards"],
    ["beam.find", "beam.survey"],
    ["beam.colorize"],
    ["judge"],
    ["evaluate"],
    ["tune"],
    ["tune.objective"],
    ["tune.attempt", "tune.plots", "tune.space", "tune.trial"],
    ["tune.telling"],
    ["tune.study"],
    ["tune.report"],
    ["export.artifact", "export.photographs", "export.subpixel"],
    ["export.parity", "export.serving"],
    ["export.half", "export.saved_model"],
    ["export.tflite"],
    ["export"],
    ["export.web"],
    ["serve"],
    ["serve.listening", "serve.memory", "serve.meters", "serve.protocol", "serve.refusal"],
    ["serve.model"],
    ["serve.batching", "serve.bodies", "serve.rest"],
    ["serve.app"],
    ["serve.rpc"],
    ["serve.server"],
    ["cli.common", "cli.progress", "cli.recipes", "cli.runner"],
    ["cli.archive"],
    [
        "cli.colorize",
        "cli.compare",
        "cli.evaluate",
        "cli.export",
        "cli.fit",
        "cli.prepare",
        "cli.serve",
        "cli.tune",
        "cli.weights",
    ],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
MODULES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "loaders" and path != PACKAGE / "__init__.py"
]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The modules of kcolor that a file imports, anywhere in it, but not for its types alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Import) and any(a.name.startswith("kcolor.") for a in node.names)), path
        assert not (isinstance(node, ast.ImportFrom) and node.level), path
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kcolor":
            inside = node.module.removeprefix("kcolor").removeprefix(".")
            names = [f"{inside}.{alias.name}".strip(".") for alias in node.names]
            found |= {name if name in RANK else inside for name in names}
    return found - {""}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path):
    name = name_of(path)
    assert name in RANK, f"{name} has no place in the order"
    assert [other for other in imported(path) if RANK[other] >= RANK[name]] == []


def test_only_build_knows_recipe_and_objects():
    both = [name_of(path) for path in MODULES if {"recipe"} <= imported(path) and {"networks", "gan"} & imported(path)]
    assert set(both) <= {"build", "fit"}
    assert "networks" not in imported(PACKAGE / "fit.py")


@pytest.mark.parametrize(
    "name",
    [
        "bundled",
        "card",
        "cli",
        "compare",
        "data.finding",
        "data.manifest",
        "pages",
        "photo",
        "recipe",
        "regions",
        "run",
        "serve.listening",
        "tune.report",
        "weights",
    ],
)
def test_what_is_to_start_quickly_does_without_tensorflow(name):
    code = f"import sys, kcolor.{name}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
