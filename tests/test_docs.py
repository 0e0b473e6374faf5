"""What the README tells people to type."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from made import colour

from kcolor import recipe
from kcolor.cli import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(
    {
        line.partition("#")[0].strip()
        for path in (
            ROOT / "README.md",
            ROOT / "docs" / "colorize.md",
            ROOT / "docs" / "deploy.md",
            ROOT / "docs" / "deploy-serve.md",
            ROOT / "docs" / "deploy-web.md",
            ROOT / "docs" / "evaluation.md",
            ROOT / "docs" / "paper.md",
            ROOT / "docs" / "scale.md",
            ROOT / "docs" / "training.md",
            ROOT / "docs" / "tuning.md",
            ROOT / "docs" / "models" / "small.md",
            ROOT / "exports" / "README.md",
            *(ROOT / "recipes").glob("*.toml"),
        )
        for line in re.findall(r"^(?:    |#   )(kcolor .*)$", path.read_text().replace("\\\n", ""), re.MULTILINE)
    }
)


def test_there_are_commands():
    assert len(COMMANDS) >= 12


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line):
    _, verb, *words = shlex.split(re.sub(r"\(or: .*\)", "", line))
    context = click.Context(cli)
    command = cli.get_command(context, verb)
    assert command is not None
    with command.make_context(verb, words, parent=context):
        pass


def test_recipes_that_are_named_exist():
    named = set(re.findall(r"recipes/([\w-]+\.toml)", README))
    assert named
    assert named <= {path.name for path in (ROOT / "recipes").glob("*.toml")}


def test_links_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_table_of_recipes_has_their_values():
    table = README[README.index("| `gan` |") :].partition("\n\n")[0]
    rows = [
        [cell.strip(" `") for cell in line.split(" | ")] for line in table.strip("|").replace("|\n|", "\n").splitlines()
    ]
    assert sorted(row[0] for row in rows) == sorted(path.stem for path in recipe.bundled())
    rate = ""
    for name, objective, reconstruction, classification, optimizer in rows:
        made = recipe.load(recipe.find(name))
        rate = rate if optimizer == "the same" else optimizer
        told = re.match(r"([\d.]+) x ", objective)
        assert (name, float(told[1]) if told else 1.0) == (name, made.objective.weight)
        assert reconstruction == f"{made.reconstruction.weight:g} x {made.reconstruction.kind.upper()}"
        told = re.match(r"([\d.]+) x ", classification)
        assert (name, float(told[1]) if told else 0.0) == (name, made.classification.weight)
        told = re.fullmatch(r"(Adam|RMSprop) (\S+)(?:, by cosine to (\S+))?", rate)
        values = [told[1].lower(), float(told[2]), float(told[3] or 0)]
        assert [made.optimizer.kind, made.optimizer.learning_rate, made.optimizer.final_learning_rate] == values


def test_the_library_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    # The same networks, on fewer and smaller pictures.
    small = example.replace("128", "64").replace("depth=7", "depth=6").replace("16", "2")
    done = subprocess.run([sys.executable, "-c", small], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_tenth_of_places205(tmp_path):
    for scene, count in (("a/abbey", 30), ("b/bazaar/indoor", 20), ("b/bazaar/outdoor", 9)):
        (tmp_path / "images256" / scene).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "images256" / scene / f"gsun_{i}.jpg").write_bytes(b"")
    (script,) = re.findall(r"<<'PY'\n(.*?)\n    PY", README, re.DOTALL)
    script = "\n".join(line.removeprefix("    ") for line in script.splitlines())
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    links = sorted(path for path in (tmp_path / "images256-tenth").rglob("*.jpg"))
    assert [path.parent.relative_to(tmp_path / "images256-tenth").as_posix() for path in links] == [
        *["a/abbey"] * 3,
        *["b/bazaar/indoor"] * 2,
    ]
    assert all(path.is_file() for path in links)


def test_the_examples_of_deploying_run(served, exported, tmp_path):
    client, litert = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)
    client = re.sub(r'"http://\S+"', repr(f"{served.url}/v1/models/tiny"), client)
    litert = litert.replace("exports/small/small", str(exported / "tiny")).replace("128", "64")
    colour(90).save(tmp_path / "scan.tif")
    colour(90).save(tmp_path / "photo.jpg")
    for example, made in ((client, "coloured.tif"), (litert, "small.png")):
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / made).is_file()
