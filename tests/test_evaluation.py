import hashlib
import json

import pytest

from kcolor.errors import RunError
from kcolor.evaluation import EVALUATION_VERSION, METRICS, PER_IMAGE, load, protocol_name

ROWS = [
    # A line separator of Unicode in a file's name is not the end of a line of JSON.
    {"path": "sea/café\u2028.jpg", "sha256": "00", "pixels": 4, "model": {"ssim": 0.5, "lpips": None}},
    {"path": "sea/1.jpg", "sha256": "11", "pixels": 4, "model": {"ssim": float("nan")}},
]
METRICS_WRITTEN = {
    "kcolor_evaluation": EVALUATION_VERSION,
    "protocol": {"name": "rgb", "version": 1, "stochastic": False},
    "figures": [{"figure": "ssim", "model": 0.5, "grey": None}, {"figure": "fid", "model": 12.5, "grey": 40.0}],
}


def write(path, rows=ROWS, **changes):
    path.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (path / PER_IMAGE).write_bytes(lines)
    metrics = {**METRICS_WRITTEN, "per_image_sha256": hashlib.sha256(lines).hexdigest(), **changes}
    (path / METRICS).write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    return path


def refusal(path):
    with pytest.raises(RunError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_what_is_written_is_read(tmp_path):
    found = load(write(tmp_path))
    assert found.path == tmp_path
    assert found.metrics["protocol"]["name"] == "rgb"
    assert [row["path"] for row in found.rows] == ["sea/café\u2028.jpg", "sea/1.jpg"]
    assert found.rows[0] == ROWS[0]
    assert found.figures["fid"] == {"figure": "fid", "model": 12.5, "grey": 40.0}
    assert list(found.figures) == ["ssim", "fid"]


def test_the_protocols_name(tmp_path):
    assert load(write(tmp_path)).protocol == "rgb-1"
    assert protocol_name({"name": "paper", "version": 2, "stochastic": True}) == "paper-2 stochastic"


def test_what_is_missing(tmp_path):
    assert "not an evaluation" in refusal(tmp_path / "nowhere")
    assert "not an evaluation" in refusal(tmp_path)
    for name in (METRICS, PER_IMAGE):
        folder = write(tmp_path / name)
        (folder / name).unlink()
        assert METRICS in refusal(folder)
        assert PER_IMAGE in refusal(folder)
    (tmp_path / "file").write_text("{}")
    assert "not an evaluation" in refusal(tmp_path / "file")


def test_metrics_that_are_cut_off(tmp_path):
    whole = (write(tmp_path) / METRICS).read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        (tmp_path / METRICS).write_bytes(whole[:length])
        assert "not an evaluation" in refusal(tmp_path)
    (tmp_path / METRICS).write_bytes(whole)
    load(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "3", "{}", '{"kcolor_evaluation": 1}', "\xff"])
def test_metrics_that_are_something_else(tmp_path, content):
    write(tmp_path)
    (tmp_path / METRICS).write_bytes(content.encode("latin-1"))
    assert "not an evaluation" in refusal(tmp_path)


@pytest.mark.parametrize("version", [0, EVALUATION_VERSION + 1, "one"])
def test_another_version(tmp_path, version):
    message = refusal(write(tmp_path, kcolor_evaluation=version))
    assert f"version {version}, not {EVALUATION_VERSION}" in message
    assert "evaluate again" in message


def test_lines_that_are_not_those_of_the_metrics(tmp_path):
    lines = (write(tmp_path) / PER_IMAGE).read_bytes()
    # One digit; one byte fewer, or more, at the end; the same lines in another order.
    first, second = lines.splitlines(keepends=True)
    for changed in (lines.replace(b"0.5", b"0.6"), lines[:-1], lines + b"\n", second + first, first, b""):
        assert changed != lines
        (tmp_path / PER_IMAGE).write_bytes(changed)
        message = refusal(tmp_path)
        assert PER_IMAGE in message
        assert "evaluate again" in message
    (tmp_path / PER_IMAGE).write_bytes(lines)
    load(tmp_path)
