import io
import random
import re
from pathlib import Path

import numpy as np
import pytest

from kcolor.data import rowfile
from kcolor.data.instances import Instance, Instances
from kcolor.data.manifest import Manifest
from kcolor.data.rows import Photo, Rows
from kcolor.errors import DataError

FACE = Instance("face", 1.0, 3, 4, 40, 60)
TRAFFIC_LIGHT = Instance("traffic light", 0.1234, 0, 0, 100, 80)
OF = [(FACE,), (), (TRAFFIC_LIGHT, FACE), (), (FACE, FACE, FACE)]
RULES = {"instances": {"detector": "faces", "sha256": "0", "min_score": 0.5, "min_size": 16}}


def photos(instances=OF) -> list[Photo]:
    return [
        Photo(f"{number}.jpg", "", 100, 80, 1, 5, "train", "", False, found) for number, found in enumerate(instances)
    ]


def test_columns_are_a_sequence():
    columns = Instances.of(OF)
    assert list(columns) == OF
    assert columns == OF
    assert list(columns[1:4]) == OF[1:4]
    assert list(columns[::-1]) == OF[::-1]
    assert list(columns[np.array([4, 0, 0])]) == [OF[4], OF[0], OF[0]]
    assert list(columns[columns.counts == 0]) == [(), ()]
    assert columns[-1] == OF[-1]
    assert columns != OF[:-1]
    assert columns.tally() == {"face": (5, 3), "traffic light": (1, 1)}
    assert columns[2:3].tally() == {"face": (1, 1), "traffic light": (1, 1)}
    assert list(Instances.none(3)) == [(), (), ()]
    packed = columns[np.array([4, 2])].packed()
    assert list(packed) == [OF[4], OF[2]]
    assert packed.boxes.shape == (5, 4)


def test_photos_carry_them():
    rows = Rows.of(photos())
    assert rows == photos()
    assert [photo.instances for photo in rows[2:]] == OF[2:]
    assert rows.spread(2)[1].instances == OF[2]
    assert rows[4].instances == OF[4]


@pytest.mark.parametrize("odd", [False, True])
def test_they_are_written_and_read(odd, monkeypatch):
    """By NumPy, or by csv where a name is odd."""
    if not odd:
        monkeypatch.setattr(rowfile, "_read_slowly", None)
    draw = random.Random(1)
    names = ["face", "traffic light", "class 3"] + ['"quoted", 图'] * odd
    given = [
        tuple(Instance(draw.choice(names), draw.randrange(10_001) / 1e4, 0, 1, 2, 3) for _ in range(draw.randrange(4)))
        for _ in range(300)
    ]
    file = io.StringIO(newline="")
    monkeypatch.setattr(rowfile, "_BLOCK", 997)
    rowfile.write(file, Rows.of(photos(given)), instances=True)
    encoded = io.BytesIO(file.getvalue().encode())
    assert encoded.readline() == b"path,class,width,height,orientation,bytes,split,reason,toned,instances\n"
    assert list(rowfile.read(encoded, instances=True)) == photos(given)


def test_manifests_with_them(tmp_path):
    path, given = tmp_path / "manifest.csv", Manifest(Path("/"), photos(), RULES)
    given.save(path)
    header, _, first, second, *_ = path.read_text().splitlines()
    assert '"version": 3' in header
    assert first == '"0.jpg","",100,80,1,5,"train","",0,"3 4 40 60 1.0 face"'
    assert second == '"1.jpg","",100,80,1,5,"train","",0,""'
    found = Manifest.load(path)
    assert found == given
    assert found.has_instances
    assert found.sha256 == given.sha256
    moved = Manifest.load(path, root=tmp_path)  # as a run's that goes on elsewhere, and is written again
    moved.save(tmp_path / "moved.csv")
    assert Manifest.load(tmp_path / "moved.csv") == moved
    assert moved.sha256 == given.sha256
    for broken in ('{"detector": "faces"}', "null", "[]"):
        other = re.sub(r'"instances": {[^}]*}', f'"instances": {broken}', path.read_text(), count=1)
        (tmp_path / "other.csv").write_text(other)
        with pytest.raises(DataError, match="line 1: instances without detector, min_score, min_size, sha256"):
            Manifest.load(tmp_path / "other.csv")
    path.write_text(path.read_text().replace("3 4 40 60", "3 4 40 90"))
    with pytest.raises(DataError, match=r"line 3: .*90 1.0 face' of a photo of 100 x 80 pixels"):
        Manifest.load(path)


def test_the_digest_is_of_their_boxes_and_names(tmp_path):
    def digest(instances):
        return Manifest(Path("/"), photos([instances]), RULES).sha256

    moved, renamed = Instance("face", 1.0, 3, 4, 40, 61), Instance("nose", 1.0, 3, 4, 40, 60)
    assert len({digest(found) for found in [(), (FACE,), (FACE, FACE), (moved,), (renamed,)]}) == 5
    # Of photos without any it is what it ever was: looked for or not.
    assert digest(()) == Manifest(Path("/"), photos([()]), {}).sha256
    assert digest((FACE,)) == digest((Instance("face", 0.5, 3, 4, 40, 60),))


def test_files_without_them_stay_what_they_were(tmp_path):
    Manifest(Path("/"), photos([()]), {}).save(tmp_path / "manifest.csv")
    assert (tmp_path / "manifest.csv").read_bytes() == (
        b'# kcolor manifest {"version": 2, "root": "/"}\npath,class,width,height,orientation,bytes,split,reason,toned\n'
        b'"0.jpg","",100,80,1,5,"train","",0\n'
    )
    assert not Manifest.load(tmp_path / "manifest.csv").has_instances
