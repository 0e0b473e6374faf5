import errno
import os

import pytest

from kcolor import files
from kcolor.errors import DataError


def test_the_new_file_takes_the_old_one_s_place(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    files.write_text(target, "one")
    files.write_text(target, "two")
    assert target.read_text() == "two"
    assert os.listdir(target.parent) == ["a.txt"]  # noqa: PTH208


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    files.write_text(target, "one")
    with pytest.raises(ZeroDivisionError), files.replacing(target) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert target.read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_folders_are_replaced_too(tmp_path):
    target = tmp_path / "model"
    for content in ("one", "two"):
        with files.replacing(target) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_be_replaced_is_put_back(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "mine").touch()
    with pytest.raises(FileNotFoundError), files.replacing(target):
        pass  # nothing was written
    assert [path.name for path in target.iterdir()] == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_any_file_name_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    files.write_text(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xe9.jpg"


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "a\nb\udcff").touch()
    with pytest.raises(DataError, match=r"a\\nb\\udcff/a.txt: cannot be written: .*a file where a folder is meant"):
        files.write_text(tmp_path / "a\nb\udcff" / "a.txt", "text")


def test_names_are_told_in_one_line():
    assert files.shown("rue de l'été 世界.jpg") == "rue de l'été 世界.jpg"
    odd = os.fsdecode(b"a\nb\x1b[31m\xff\xe2\x80\xa8.jpg")
    assert files.shown(odd) == "a\\nb\\x1b[31m\\udcff\\u2028.jpg"
    assert files.shown(odd).encode("utf-8")


def test_reasons_say_what_to_do():
    assert files.reason(OSError(errno.ENOSPC, "No space left on device")) == (
        "No space left on device; make room, and run it again"
    )
    assert files.reason(ValueError("embedded\nnull byte")) == "embedded null byte; mend that, and run it again"


@pytest.mark.parametrize("name", ["a" * 255, "世" * 85, "😀" * 63], ids=["latin", "chinese", "emoji"])
def test_names_of_full_length_can_be_written(tmp_path, name):
    files.write_text(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208
