"""The command line, called as a person calls it."""

import subprocess
import sys
from pathlib import Path

import pytest


def kcolor(*arguments, cwd: Path, status: int = 0) -> tuple[str, str]:
    """Run it in a process of its own; what it says on standard output and on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "kcolor", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def mistake(error: str) -> str:
    """The one line of a refusal, without how the command is used."""
    told = [line for line in error.splitlines() if line.strip() and not line.startswith(("Usage:", "Try ", "model: "))]
    assert len(told) == 1, error
    return told[0]


class Here:
    """The same in this process, where TensorFlow has been loaded already: most of what a command costs is that."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments, cwd: Path, status: int = 0) -> tuple[str, str]:
        """As `kcolor`."""
        from kcolor import cli

        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["kcolor", *map(str, arguments)])
            with pytest.raises(SystemExit) as left:
                cli.main()
        said, told = self._capsys.readouterr()
        assert (left.value.code or 0) == status, (said, told)
        return said, told
