"""TensorFlow Serving itself, where there is one: named, installed, or to be had by Docker."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
import yaml
from command import kcolor
from serving import free_port


@contextmanager
def model_server(folder: Path, name: str, model: Path) -> Iterator[str]:
    """The address of a model on a server of its own, or of the one that ``KCOLOR_SERVING_URL`` names.

    Args:
        folder: Where `kcolor export --saved-model` is to write its version.
        name: Of the model.
        model: What is exported.
    """
    if given := os.environ.get("KCOLOR_SERVING_URL"):
        yield given.rstrip("/")
        return
    binary = shutil.which("tensorflow_model_server")
    if not binary and not _docker():
        pytest.skip("no TensorFlow Serving: neither KCOLOR_SERVING_URL, nor tensorflow_model_server, nor Docker")
    kcolor("export", model, "--saved-model", "-o", folder.parent, "--name", name, cwd=folder.parent)
    port = free_port()
    if binary:
        options = [f"--rest_api_port={port}", f"--model_name={name}", f"--model_base_path={folder}", "--port=0"]
        command = [binary, *options]
    else:
        image = yaml.safe_load((folder / "serving" / "compose.yaml").read_text())["services"]["serving"]["image"]
        where = ["-p", f"127.0.0.1:{port}:8501", "-v", f"{folder}:/models/{name}:ro", "-e", f"MODEL_NAME={name}"]
        command = ["docker", "run", "--rm", *where, image]
    url = f"http://127.0.0.1:{port}/v1/models/{name}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(url, process)
            yield url
        finally:
            process.terminate()


def _docker() -> bool:
    docker = shutil.which("docker")
    return bool(docker) and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def _wait(url: str, process: subprocess.Popen) -> None:
    http = urllib3.PoolManager(retries=False)
    for _ in range(600):  # the image may have to be fetched
        assert process.poll() is None, process.stderr.read()[-2000:]
        try:
            if "AVAILABLE" in http.request("GET", url).data.decode():
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(f"{url} did not become available")
