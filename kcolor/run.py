"""The run directory: where everything of a run lies, and what it says of itself."""

import importlib.metadata
import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kcolor import __version__, files
from kcolor.errors import RunError

RUNS = Path("runs")


@dataclass(frozen=True)
class Run:
    """The paths of one run.

    Args:
        path: The run directory.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    @property
    def info(self) -> Path:
        """Name, versions, seed and the manifest's hash, as JSON."""
        return self.path / "run.json"

    @property
    def manifest(self) -> Path:
        """The run's own copy of the manifest."""
        return self.path / "manifest.csv"

    @property
    def history(self) -> Path:
        """A JSON line an epoch."""
        return self.path / "history.jsonl"

    @property
    def curves(self) -> Path:
        """The history as a picture."""
        return self.path / "curves.png"

    @property
    def lock(self) -> Path:
        """Held by the process that trains the run."""
        return self.path / "lock"

    @property
    def samples(self) -> Path:
        """Folder of sample grids."""
        return self.path / "samples"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The generator of the epoch that was best by the validation figure that the recipe names."""
        return self.path / "checkpoints" / "best.keras"

    @property
    def generator(self) -> Path:
        """The generator at the end of the run; its presence says that the run is finished."""
        return self.path / "generator.keras"

    def read_info(self) -> dict[str, Any]:
        """What the run says of itself.

        Raises:
            RunError: It is not a run directory.
        """
        try:
            info = json.loads(self.info.read_text(encoding="utf-8"))
            return {**info, "recipe": info["recipe"], "manifest_sha256": info["manifest_sha256"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.path}: not a run directory (no readable {self.info.name})") from error

    def read_history(self) -> list[dict[str, Any]]:
        """The epochs so far, in order."""
        if not self.history.exists():
            return []
        return [json.loads(line) for line in self.history.read_text(encoding="utf-8").splitlines()]

    def write_history(self, epochs: list[dict[str, Any]]) -> None:
        """Replace the history."""
        files.write_text(self.history, "".join(json.dumps(epoch) + "\n" for epoch in epochs))


def claim(path: Path) -> Run:
    """Make a run directory, or take over one that was left before it told what it is.

    Raises:
        RunError: The directory has something else in it, or cannot be made.
    """
    run = Run(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in path.iterdir() if entry not in (run.lock, run.recipe, run.manifest)]
    except OSError as error:
        raise RunError(f"{path}: cannot be made ({error.strerror}); name another directory with -o") from error
    if others:
        raise RunError(f"{path}: there is something in it; go on with --resume, or name another directory with -o")
    return run


def describe(
    run: Run,
    *,
    recipe_name: str,
    recipe_toml: str,
    seed: int,
    manifest_sha256: str,
    shards_sha256: str | None = None,
    devices: Sequence[str] = (),
    origin: Mapping[str, str] | None = None,
) -> None:
    """Write a run's recipe, and then its word on versions, seed and data, by which it is a run.

    Args:
        run: Whose.
        recipe_name: What its recipe is called.
        recipe_toml: The recipe.
        seed: Its seed.
        manifest_sha256: Of the manifest's rows.
        shards_sha256: Of the shards that the photos are read from, if they are.
        devices: What it is computed on.
        origin: "path" and "sha256" of the model that its generator starts from, if it does.

    Raises:
        DataError: It cannot be written.
    """
    files.write_text(run.recipe, recipe_toml)
    info = {
        "recipe": recipe_name,
        "seed": seed,
        "manifest_sha256": manifest_sha256,
        **({"shards_sha256": shards_sha256} if shards_sha256 else {}),
        **({"from": origin} if origin else {}),
        "kcolor": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
        **({"devices": list(devices)} if devices else {}),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    files.write_text(run.info, json.dumps(info, indent=2) + "\n")


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Keep other processes from training the same run; the lock goes with the process, however it ends.

    Raises:
        RunError: Another process trains it.
    """
    try:
        with FileLock(run.lock, timeout=0):
            yield
    except Timeout as error:
        raise RunError(f"{run.path}: another process is training this run; wait for it, or stop it") from error
    except PermissionError as error:
        raise RunError(f"{run.path}: cannot be written ({error.strerror}); name another directory with -o") from error


def owner(path: Path) -> Run | None:
    """The run that a model's file lies in, if it lies in one."""
    for folder in path.resolve().parents[:2]:
        if Run(folder).info.is_file():
            return Run(folder)
    return None


def next_path(recipe_name: str, root: Path = RUNS) -> Path:
    """The first of ``runs/<recipe>-1``, ``-2``, … after all that are there."""
    return root / f"{recipe_name}-{max((number for number, _ in _numbered(recipe_name, root)), default=0) + 1}"


def last_path(recipe_name: str, root: Path = RUNS) -> Path:
    """The run of this recipe with the highest number.

    Raises:
        RunError: There is none.
    """
    numbered = _numbered(recipe_name, root)
    if not numbered:
        raise RunError(f"{root}: no run of {recipe_name} to resume; name one with -o")
    return max(numbered)[1]


def newest_finished(root: Path = RUNS) -> Run:
    """The run that finished last.

    Raises:
        RunError: None has finished.
    """
    finished = sorted(root.glob("*/generator.keras"), key=lambda path: path.stat().st_mtime_ns)
    if not finished:
        raise RunError(f"{root}: no finished run here; train one (kcolor fit quickstart), or name one")
    return Run(finished[-1].parent)


def _numbered(recipe_name: str, root: Path) -> list[tuple[int, Path]]:
    pattern = re.compile(re.escape(recipe_name) + r"-(\d+)")
    matches = ((pattern.fullmatch(path.name), path) for path in root.glob(f"{recipe_name}-*"))
    return [(int(match[1]), path) for match, path in matches if match]
