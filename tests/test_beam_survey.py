"""`kcolor prepare --runner`; see test_beam_colorize.py."""

import pytest
from command import Here, mistake
from made import colour, fill, make, noisy_grey

pytest.importorskip("apache_beam")

from kcolor.beam.running import Running
from kcolor.beam.survey import examiner
from kcolor.data import survey
from kcolor.errors import DataError, RunError


@pytest.fixture
def here(capsys, monkeypatch) -> Here:
    return Here(capsys, monkeypatch)


@pytest.fixture
def photos(folder):
    """Of several kinds, and more than a chunk for each of two processes."""
    fill(folder, [f"{'ab'[i % 2]}/{i:02}.png" for i in range(70)])
    (folder / "bad.jpg").write_bytes(b"broken")
    noisy_grey(96, 3).save(folder / "grey.jpg")
    colour(20).save(folder / "small.png")
    return folder


def test_the_survey_is_the_one_without(photos, tmp_path):
    plain = survey.survey(photos, tmp_path / "plain.jsonl", workers=1)
    two = Running("direct", ("direct_num_workers=2",))
    assert survey.survey(photos, tmp_path / "beam.jsonl", examiner=examiner(two)) == plain
    kept = [(tmp_path / name).read_text().splitlines() for name in ("plain.jsonl", "beam.jsonl")]
    assert sorted(kept[0]) == sorted(kept[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beam.jsonl", "photos", "plain.jsonl"]


def test_only_what_is_new_is_examined(photos, tmp_path, monkeypatch):
    seen: list[str] = []
    examine = survey.examine

    def telling(folder, chunk):
        seen.extend(candidate.path for candidate in chunk)
        return examine(folder, chunk)

    monkeypatch.setattr(survey, "examine", telling)
    for expected in (73, 73):
        survey.survey(photos, tmp_path / "survey.jsonl", examiner=examiner(Running("direct")))
        assert len(seen) == expected
    colour(64, 99).save(photos / "new.png")
    survey.survey(photos, tmp_path / "survey.jsonl", examiner=examiner(Running("direct")))
    assert seen[73:] == ["new.png"]


def test_what_was_found_before_an_end_is_kept(photos, tmp_path, monkeypatch):
    examine, calls = survey.examine, []

    def failing(folder, chunk):
        calls.append(len(chunk))
        if len(calls) == 3:
            raise DataError("enough")
        return examine(folder, chunk)

    monkeypatch.setattr(survey, "examine", failing)
    with pytest.raises(RunError, match=r"^enough$"):
        survey.survey(photos, tmp_path / "survey.jsonl", examiner=examiner(Running("direct")))
    found = survey.survey(photos, tmp_path / "survey.jsonl", examiner=examiner(Running("direct")))
    assert sum(calls[3:]) == 73 - 2 * survey.CHUNK
    monkeypatch.undo()
    assert found == survey.survey(photos, tmp_path / "plain.jsonl", workers=1)


def test_the_command(here, photos, tmp_path):
    said, _ = here("prepare", photos, "-o", tmp_path / "beam.csv", "--runner", "direct", cwd=tmp_path)
    assert "70 photos, 2 classes" in said
    make(photos).save(tmp_path / "plain.csv")
    rows = [(tmp_path / name).read_text().splitlines()[1:] for name in ("beam.csv", "plain.csv")]
    assert rows[0] == rows[1]
    _, told = here("prepare", photos, "--runner", "flink", cwd=tmp_path, status=2)
    assert mistake(told).endswith("say where all its machines can write: --runner-option temp_location=FOLDER")
    _, told = here("prepare", photos, "--runner-option", "streaming", cwd=tmp_path, status=2)
    assert "--runner-option: of no --runner" in mistake(told)
