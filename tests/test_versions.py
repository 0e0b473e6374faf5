from pathlib import Path

import pytest

from kcolor import versions


def made(folder: Path, *names: str, empty: tuple[str, ...] = ()) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "saved_model.pb").touch()
    for name in empty:
        (folder / name).mkdir(parents=True)
    return folder


def test_ten_is_newer_than_nine(tmp_path):
    folder = made(tmp_path, "9", "10", "2", "serving", ".export-x", "٣")
    assert sorted(versions.of(folder)) == [2, 9, 10]
    assert versions.newest(folder) == folder / "10"
    assert versions.following(folder) == 11


@pytest.mark.parametrize("there", [False, True])
def test_the_first_one(tmp_path, there):
    folder = tmp_path / "model"
    if there:
        folder.mkdir()
    assert versions.newest(folder) is None
    assert versions.following(folder) == 1


def test_a_number_is_not_given_again(tmp_path):
    folder = made(tmp_path, "1", empty=("2",))
    assert versions.newest(folder) == folder / "1"
    assert versions.following(folder) == 3
