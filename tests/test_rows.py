import csv
import io
import json
import os
import random

import numpy as np
import pytest

from kcolor.data import rowfile
from kcolor.data.rows import Photo, Rows, Texts

ODD = [
    'quote".png',
    "comma,.png",
    "line\nbreak.png",
    "return\r.png",
    "Größe 图.png",
    "back\\slash.png",
    "",
    os.fsdecode(b"\xe9"),
]


def photos(count: int, odd: bool = False) -> list[Photo]:
    draw = random.Random(4)
    names = [f"{draw.choice(ODD) if odd else ''}{number:04}.jpg" for number in range(count)]
    return [
        Photo(
            name,
            draw.choice(["", "sea", "b/bazaar", "a, b"]),
            draw.randrange(3000),
            draw.randrange(3000),
            draw.randint(1, 8),
            draw.randrange(10**12),
            split,
            "" if split else draw.choice(["small", "grey", "too large"]),
            draw.random() < 0.5,
        )
        for name, split in ((name, draw.choice(["train", "val", "test", ""])) for name in names)
    ]


def by_python(rows: list[Photo]) -> str:
    """As csv.writer writes them."""
    file = io.StringIO(newline="")
    file.write(",".join(rowfile.COLUMNS) + "\n")
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    for p in rows:
        writer.writerow([p.path, p.label, p.width, p.height, p.orientation, p.bytes, p.split, p.reason, int(p.toned)])
    return file.getvalue()


def read(text: str) -> Rows:
    file = io.BytesIO(text.encode("utf-8", "surrogateescape"))
    file.readline()
    return rowfile.read(file)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_rows_are_what_they_were_and_are_written_as_csv(count, odd, monkeypatch):
    monkeypatch.setattr(rowfile, "_BLOCK", 997)  # so that rows lie across blocks
    given = photos(count, odd)
    file = io.StringIO(newline="")
    rowfile.write(file, Rows.of(given))
    assert file.getvalue() == by_python(given)
    assert list(read(file.getvalue())) == given


def test_plain_rows_are_not_read_by_pythons_reader(monkeypatch):
    monkeypatch.setattr(rowfile, "_read_slowly", None)
    given = photos(300)
    assert list(read(by_python(given))) == given


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('"a","",1,1,1,1,"train",""', "8 columns"),
        ('"a","",1,1,1,1,"","",0', "split '' with the reason ''"),
        ('"a","",1,1,1,1,"train","small",0', "split 'train' with the reason"),
        ('"a","",1,1,1,1,"dev","",0', "split 'dev'"),
        ('"a","",1,1,9,1,"val","",0', "orientation 9"),
        ('"a","",1,x,1,1,"val","",0', "invalid literal"),
        ('"a","",,1,1,1,"val","",0', "invalid literal"),
        ('"a","",1,99999999999,1,1,"val","",0', "pixels"),
        ('"a","",-1,1,1,1,"val","",0', "-1 x 1 pixels"),
        ('"a","",1,1,1,1,"val","",7', "toned 7"),
        ('"a","",1,1,1,99999999999999999999,"val","",0', "bytes"),
        ('"a","",1,1,1,1,"val","",', "invalid literal"),
    ],
)
def test_broken_rows_are_told_by_their_line(row, why):
    lines = by_python(photos(40)).splitlines()
    with pytest.raises(ValueError, match=why) as caught:
        read("\n".join([*lines[:31], row, *lines[31:]]) + "\n")
    assert caught.value.args[0] == 31


def test_other_sound_csv_is_read_too():
    """As a spreadsheet would write it: nothing quoted that need not be."""
    header = ",".join(rowfile.COLUMNS)
    assert list(read(f"{header}\r\na.jpg,,4,5,1,6,,grey,1\r\n")) == [Photo("a.jpg", "", 4, 5, 1, 6, "", "grey", True)]
    assert list(read(f'{header}\n"a.jpg","",4,5,1,6,"","grey",1')) == [Photo("a.jpg", "", 4, 5, 1, 6, "", "grey", True)]


def test_rows_are_a_sequence_of_photos():
    given = photos(20, odd=True)
    rows = Rows.of(given)
    assert rows == given
    assert rows[::-1] == given[::-1]
    assert rows[3:7] == given[3:7]
    assert [rows[i] for i in (0, 5, -1)] == [given[i] for i in (0, 5, -1)]
    assert rows != given[:-1]
    with pytest.raises(IndexError):
        rows[20]
    assert list(rows.of_split("val")) == [photo for photo in given if photo.split == "val"]
    assert list(rows.spread(3)) == [given[0], given[6], given[13]]
    assert list(rows.spread(100)) == given


def test_names_of_any_bytes():
    names = Texts.of(ODD)
    assert list(names) == ODD
    assert [names[i] for i in range(len(ODD))] == ODD
    assert list(names.below("/root/")[2:4]) == ["/root/line\nbreak.png", "/root/return\r.png"]
    assert list(names[np.array([4, 0])]) == [ODD[4], ODD[0]]
    assert names.as_json() == [json.dumps(name).encode() for name in ODD]
    assert Texts.of(["plain", "b"]).as_json() == [b'"plain"', b'"b"']
