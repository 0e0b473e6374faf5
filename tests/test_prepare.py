from pathlib import Path

import pytest
import skimage
from made import fill

from kcolor.data import prepare
from kcolor.errors import DataError
from kcolor.recipe import Data


def test_a_folder_inside_a_package():
    assert prepare.locate("package:skimage/data") == Path(skimage.__file__).parent / "data"
    with pytest.raises(DataError, match="no Python package nosuchthing"):
        prepare.locate("package:nosuchthing/data")
    with pytest.raises(DataError, match=r"no Python package nosuch\.thing"):
        prepare.locate("package:nosuch.thing/data")
    assert prepare.locate("~nosuchuser/data").name == "data"


def test_the_survey_is_kept_in_the_cache(folder, cache):
    fill(folder, ["a.png", "b.png"])
    before = sorted(path.name for path in folder.iterdir())
    prepare.prepare(Data(folder=str(folder)), seed=0)
    assert len(list(cache.rglob("photos-*.jsonl"))) == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_folders_of_one_name_have_their_own_surveys(tmp_path):
    one, other = tmp_path / "one" / "photos", tmp_path / "other" / "photos"
    assert prepare.survey_file(one) != prepare.survey_file(other)
    assert prepare.survey_file(one) == prepare.survey_file(one / ".." / "photos")


def test_a_manifest_is_taken_as_it_is(folder, tmp_path):
    fill(folder, [f"{i}.png" for i in range(20)])
    made = prepare.prepare(Data(folder=str(folder)), seed=5)
    made.save(tmp_path / "manifest.csv")
    taken = prepare.prepare(Data(folder=str(tmp_path / "manifest.csv")), seed=0)
    assert taken.sha256 == made.sha256
    assert prepare.prepare(Data(folder=str(folder)), seed=0).sha256 != made.sha256


def test_the_rules_are_the_recipe_s(folder):
    fill(folder, ["a.png", "b.png", "c.jpg"])
    data = Data(folder=str(folder), include=["*.png"], min_size=65)
    with pytest.raises(DataError, match="2 small"):
        prepare.prepare(data, seed=0)


def test_no_photos_named():
    with pytest.raises(DataError, match="add --data DIR"):
        prepare.prepare(Data(), seed=0)
