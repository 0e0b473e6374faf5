import hashlib
import io
import json
import math
import random
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from kcolor import compare
from kcolor.compare import FEWEST, Difference
from kcolor.errors import RunError
from kcolor.evaluation import EVALUATION_VERSION, METRICS, PER_IMAGE, load
from kcolor.figures import FIGURES, columns_of
from kcolor.regions import pooled

PROTOCOL = {"name": "rgb", "version": 1, "stochastic": False}


def made(count=40, seed=0, model=1):
    """Rows of made-up pictures: those of one seed are the same pictures, those of one model the same answers."""
    pictures, answers = np.random.default_rng(seed), np.random.default_rng([seed, model])
    rows = []
    for i in range(count):
        hard, truth, pixels = pictures.uniform(0.5, 2), pictures.uniform(5, 60), int(pictures.integers(50, 500))
        own = answers.uniform(0.8, 1.2, 6)
        answer = {
            "squared_error": 0.005 * hard * own[0],
            "ssim": 1 - 0.05 * hard * own[1],
            "lpips": None if i % 7 == 3 else 0.2 * hard * own[2],
            "delta_e_2000": 8 * hard * own[3],
            "delta_e_2000_p95": 17 * hard * own[4],
            "colourfulness_prediction": 0.6 * truth * own[5],
            "top_1": None if i % 5 == 0 else bool(answers.random() < 0.6),
            "top_5": None if i % 5 == 0 else bool(answers.random() < 0.9),
        }
        rows.append(
            {
                "path": f"sea/{i:05}.jpg",
                "class": None if i % 5 == 0 else "sea",
                "sha256": f"{seed}{i:05}",
                "pixels": pixels,
                "near_grey": i % 3 == 0,
                "colourfulness_truth": truth,
                "model": answer,
                "grey": {"squared_error": 0.02 * hard},
            }
        )
    return rows


def changed(rows, **of):
    """The rows with other answers: each named number as a function of what it was."""
    return [{**row, "model": {**row["model"], **{k: f(row["model"][k]) for k, f in of.items()}}} for row in rows]


def figures_of(rows, **models):
    columns = columns_of(rows)
    models = {**{key: figure.of(columns) for key, figure in FIGURES.items() if figure.of}, **models}
    return [{"figure": key, "model": model, "grey": 12.125 if key == "psnr" else None} for key, model in models.items()]


def write(path, rows, *, pictures=None, figures=None, **changes):
    path.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    content = "".join(sorted(row["path"] + row["sha256"] for row in rows)).encode()
    metrics = {
        "kcolor_evaluation": EVALUATION_VERSION,
        "protocol": PROTOCOL,
        "model": {"path": f"models/{path.name}.keras", "kind": "keras", "sha256": path.name},
        "pictures": {
            "count": len(rows),
            "split": "test",
            "sha256": hashlib.sha256(content).hexdigest(),
            **(pictures or {}),
        },
        "figures": figures_of(rows) if figures is None else figures,
        "per_image_sha256": hashlib.sha256(lines).hexdigest(),
        **changes,
    }
    (path / PER_IMAGE).write_bytes(lines)
    (path / METRICS).write_text(json.dumps(metrics))
    return load(path)


@pytest.fixture
def pair(tmp_path):
    return [write(tmp_path / "a", made(model=1)), write(tmp_path / "b", made(model=2))]


def refusal(*evaluations):
    with pytest.raises(RunError) as caught:
        compare.compare(evaluations)
    message = str(caught.value)
    assert "\n" not in message
    assert all(str(evaluation.path) in message for evaluation in evaluations)
    return message


# What is read


def run_in(path, **evaluations):
    path.mkdir(parents=True)
    (path / "run.json").write_text("{}")
    for name, rows in evaluations.items():
        write(path / "evaluations" / name.replace("_", "-"), rows)
    return path


def test_folders_and_runs_are_gathered(tmp_path):
    run = run_in(tmp_path / "runs" / "wgan-1", test_rgb=made(3), val_rgb=made(4), test_rgb_stochastic=made(5))
    alone = write(tmp_path / "alone", made(6)).path

    def sizes(paths, **choice):
        found = compare.gather(paths, **{"split": "test", "protocol": "rgb", "stochastic": False, **choice})
        return [len(evaluation.rows) for evaluation in found]

    assert sizes([run, alone]) == [3, 6]
    assert sizes([alone, run], split="val") == [6, 4]
    assert sizes([run], stochastic=True) == [5]
    # The folder itself says what it is, whatever is chosen for runs.
    assert sizes([run / "evaluations" / "val-rgb"], split="train", protocol="paper") == [4]


def test_a_run_without_the_evaluation_is_told_the_command(tmp_path):
    run = run_in(tmp_path / "my runs" / "wgan-1", test_rgb=made(3))
    with pytest.raises(RunError) as caught:
        compare.gather([run], split="val", protocol="paper", stochastic=False)
    message = str(caught.value)
    assert message.startswith(f"{run}: ")
    command = message[message.index("kcolor evaluate") :]
    # As a shell reads it, blanks in the path and all.
    assert shlex.split(command) == ["kcolor", "evaluate", str(run), "--split", "val", "--protocol", "paper"]
    with pytest.raises(RunError, match=r"--split test --protocol rgb --stochastic$"):
        compare.gather([run], split="test", protocol="rgb", stochastic=True)


def test_what_is_neither_evaluation_nor_run(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"neither an evaluation .* nor a run directory"):
            compare.gather([path], split="test", protocol="rgb", stochastic=False)


def test_an_evaluation_named_twice_is_refused(tmp_path, monkeypatch):
    run = run_in(tmp_path / "wgan-1", test_rgb=made(3))
    folder = run / "evaluations" / "test-rgb"
    monkeypatch.chdir(tmp_path)
    for again in (run, folder, folder.parent / ".." / "evaluations" / "test-rgb", run.relative_to(tmp_path)):
        for paths in ([run, again], [again, run]):
            with pytest.raises(RunError, match="named twice"):
                compare.gather(paths, split="test", protocol="rgb", stochastic=False)


def test_a_broken_evaluation_is_not_passed_over(tmp_path):
    run = run_in(tmp_path / "wgan-1", test_rgb=made(3))
    (run / "evaluations" / "test-rgb" / METRICS).write_text("{")
    with pytest.raises(RunError, match="not an evaluation"):
        compare.gather([run], split="test", protocol="rgb", stochastic=False)


# What is refused


def test_fewer_than_two(pair):
    assert "only one evaluation" in refusal(pair[0])
    assert "at least two" in refusal()


@pytest.mark.parametrize(
    ("change", "name"),
    [({"name": "paper"}, "paper-1"), ({"version": 2}, "rgb-2"), ({"stochastic": True}, "rgb-1 stochastic")],
)
def test_another_protocol(tmp_path, pair, change, name):
    other = write(tmp_path / "c", made(), protocol={**PROTOCOL, **change})
    assert refusal(pair[0], other).endswith(f"other protocols, rgb-1 and {name}")
    # The one that differs is named, even if it is not the second.
    with pytest.raises(RunError, match=f"a and .*c cannot be compared: .*{name}"):
        compare.compare([*pair, other])


def test_another_split(tmp_path, pair):
    other = write(tmp_path / "c", made(40, seed=3), pictures={"split": "val"})
    message = refusal(pair[0], other)
    assert "other pictures: the test split and the val split" in message
    folder = write(tmp_path / "d", made(40, seed=3), pictures={"split": None})
    assert "the test split and no split" in refusal(pair[0], folder)


def test_another_count_and_pictures_only_in_one(tmp_path, pair):
    rows = made()
    fewer = write(tmp_path / "c", rows[:-2])
    message = refusal(pair[0], fewer)
    assert "40 and 38 of them" in message
    assert "2 only in the first (sea/00038.jpg, …)" in message
    assert "second" not in message
    assert "split" not in message
    assert "2 only in the second" in refusal(fewer, pair[0])
    moved = write(tmp_path / "d", [{**rows[0], "path": "sea/other.jpg"}, *rows[1:]])
    message = refusal(pair[0], moved)
    assert "of them" not in message  # as many on both sides
    assert "1 only in the first (sea/00000.jpg); 1 only in the second (sea/other.jpg)" in message


def test_other_content_under_the_same_paths(tmp_path, pair):
    rows = made()
    other = write(tmp_path / "c", [*rows[:3], {**rows[3], "sha256": "ff"}, *rows[4:]])
    assert refusal(pair[0], other).endswith("other pictures: 1 of the same path but other content (sea/00003.jpg)")
    # Whatever metrics.json says, the rows have to match.
    said = write(tmp_path / "d", other.rows, pictures={"sha256": pair[0].metrics["pictures"]["sha256"]})
    assert "1 of the same path but other content" in refusal(pair[0], said)


def test_other_pictures_by_the_hash_alone(tmp_path, pair):
    other = write(tmp_path / "c", made(), pictures={"sha256": "ff"})
    assert refusal(pair[0], other).endswith(f"other pictures: their {METRICS} say so")


# Inside and outside of boxes


def with_regions(rows, model, *, dogs=12, seed=0):
    """The rows with regions of made-up people in two of three photos, and of dogs in the first so many."""
    boxes, answers = np.random.default_rng([seed, 100]), np.random.default_rng([seed, 100, model])
    found = []
    for i, row in enumerate(rows):
        keys = [("outside", None)]
        keys += [("inside", None), ("inside", "person")] if i % 3 else []
        keys += [("inside", "dog")] if i < dogs else []
        regions = []
        for where, name in keys:
            error, truth = boxes.uniform(0.001, 0.01), boxes.uniform(5, 60)
            own = {
                "squared_error": error * answers.uniform(0.8, 1.2),
                "delta_e_2000": 900 * error * answers.uniform(0.8, 1.2),
                "colourfulness_prediction": truth * answers.uniform(0.4, 0.8),
            }
            regions.append(
                {
                    "region": where,
                    "class": name,
                    "instances": int(boxes.integers(1, 4)) if where == "inside" else 0,
                    "pixels": int(boxes.integers(10, 200)),
                    "colourfulness_truth": truth,
                    "model": own,
                    "grey": {"squared_error": 0.01, "delta_e_2000": 12.0, "colourfulness_prediction": 0.0},
                    "mean_ab": {"squared_error": 0.01, "delta_e_2000": 12.0, "colourfulness_prediction": 1.0},
                }
            )
        found.append({**row, "regions": regions})
    return found


def write_with(path, rows, boxes="b0"):
    return write(path, rows, instances={"detector": "made", "boxes_sha256": boxes}, regions=pooled(rows))


def within(rows, key):
    return [part for row in rows for part in row.get("regions", ()) if (part["region"], part["class"]) == key]


@pytest.fixture
def found_in(tmp_path):
    rows = [with_regions(made(30, model=model), model, dogs=FEWEST - 1) for model in (1, 2)]
    # Rows are matched by picture, whatever their order.
    return [write_with(tmp_path / "a", rows[0]), write_with(tmp_path / "b", rows[1][::-1])]


def test_regions_are_compared_as_pictures_are(found_in):
    compared = compare.compare(found_in, resamples=60, seed=5)
    assert compared.parts_missing == ""
    # As without: nothing of the whole pictures' differences is touched.
    plain = [replace(each, metrics={**each.metrics, "regions": [], "instances": {}}) for each in found_in]
    assert compare.compare(plain, resamples=60, seed=5).differences == compared.differences
    parts = {part.first.key: part for part in compared.parts}
    assert list(parts) == [("inside", None), ("outside", None), ("inside", "person"), ("inside", "dog")]
    keys = ["psnr", "delta_e_2000", "colourfulness_ratio", "colourfulness_difference", "colourfulness_prediction"]
    for key in [("inside", "person"), ("outside", None)]:
        assert parts[key].first.photos == len(within(found_in[0].rows, key))
        (differences,) = parts[key].differences
        assert set(differences) == set(keys)
        rows = [within(sorted(each.rows, key=lambda row: row["path"]), key) for each in found_in]
        for figure, difference in differences.items():
            one, two = (FIGURES[figure].of(columns_of(some)) for some in rows)
            assert difference.value == pytest.approx(two - one)
            expected = naive([replace(found_in[0], rows=some) for some in rows], figure, 60, 5)
            assert (difference.low, difference.high) == pytest.approx(expected, abs=1e-9)
            assert difference.low < difference.high


def test_few_photos_have_no_interval(found_in):
    compared = compare.compare(found_in, resamples=60)
    (dogs,) = [part for part in compared.parts if part.first.key == ("inside", "dog")]
    assert dogs.first.photos == FEWEST - 1
    for difference in dogs.differences[0].values():
        assert difference.value
        assert (difference.low, difference.high) == (None, None)


def test_regions_on_the_terminal(found_in):
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(compare.parts_table(compare.compare(found_in, resamples=60)))
    lines = console.export_text().splitlines()
    places = [lines.index(line) for line in lines if line.startswith(("inside", "outside"))]
    assert [lines[place].split("  ")[0] for place in places] == [
        "inside any box",
        "outside every box",
        "inside: person",
        "inside: dog",
    ]
    psnr = next(line for line in lines[places[2] :] if line.startswith("PSNR"))
    people = [columns_of(within(each.rows, ("inside", "person"))) for each in found_in]
    assert psnr.split()[2:4] == [FIGURES["psnr"].show(FIGURES["psnr"].of(columns)) for columns in people]
    assert "[" in lines[lines.index(psnr) + 1]
    assert not any("[" in line for line in lines[places[3] :])


def test_other_boxes_are_not_compared(tmp_path, found_in):
    rows = found_in[0].rows
    other = write_with(tmp_path / "c", rows, "b1")
    compared = compare.compare([found_in[0], other], resamples=20)
    assert compared.parts == []
    assert compare.parts_table(compared) is None
    assert "their boxes differ" in compared.parts_missing and "\n" not in compared.parts_missing
    assert compared.differences[0]["psnr"].value == 0.0
    # One of a time, or a manifest, without any.
    old = write(tmp_path / "d", made(30, model=3))
    compared = compare.compare([found_in[0], old], resamples=20)
    assert "no instances were looked for in the photos of d" in compared.parts_missing
    both = compare.compare([old, write(tmp_path / "e", made(30, model=4))], resamples=20)
    assert (both.parts, both.parts_missing, compare.parts_table(both)) == ([], "", None)


def test_photos_in_which_nothing_was_found_have_no_table(tmp_path):
    rows = [with_regions(made(12, model=model), model, dogs=0)[::3] for model in (1, 2)]
    both = [write_with(tmp_path / name, some) for name, some in zip("ab", rows, strict=True)]
    compared = compare.compare(both, resamples=20)
    assert [part.first.key for part in compared.parts] == [("outside", None)]
    assert compare.parts_table(compared) is None


# The differences


def naive(evaluations, key, resamples, seed):
    """The interval, by the definition: a loop over sets of pictures, and the figure of each."""
    first, other = (columns_of(evaluation.rows) for evaluation in evaluations)
    found = []
    for some in compare.counts(len(evaluations[0].rows), resamples, seed):
        for count in some:
            drawn = [i for i, times in enumerate(count) for _ in range(int(times))]
            one, two = ({name: column[drawn] for name, column in columns.items()} for columns in (first, other))
            found.append(FIGURES[key].of(two) - FIGURES[key].of(one))
    return np.percentile(found, [2.5, 97.5])


@pytest.mark.parametrize("count", [30, 31])
def test_intervals_are_those_of_the_naive_loop(tmp_path, monkeypatch, count):
    # Medians of even and odd numbers of pictures; equal answers among them; PSNRs without bound.
    first = changed(made(count, model=1), squared_error=lambda x: round(x, 3))
    other = changed(made(count, model=2), squared_error=lambda x: 0.0 if x < 0.003 else x)
    # The last of these sets are a smaller part than the ones before it.
    monkeypatch.setattr(compare, "_ENTRIES", 7 * count)
    both = [write(tmp_path / name, rows) for name, rows in (("a", first), ("b", other))]
    found = compare.compare(both, resamples=60, seed=5).differences[0]
    assert set(found) == set(FIGURES) - {"fid", "colourfulness_truth"}
    for key, difference in found.items():
        assert (difference.low, difference.high) == pytest.approx(naive(both, key, 60, 5), rel=0, abs=1e-9), key
        assert difference.low < difference.high


def test_the_figure_of_all_pictures_is_that_of_the_figures_module(pair, monkeypatch):
    # Each picture drawn once: what comes out has to be the difference of the figures themselves.
    monkeypatch.setattr(compare, "counts", lambda pictures, resamples, seed: iter([np.ones((1, pictures))]))
    for key, difference in compare.compare(pair).differences[0].items():
        one, two = (FIGURES[key].of(columns_of(evaluation.rows)) for evaluation in pair)
        assert difference.low == pytest.approx(two - one, abs=1e-12), key
        assert difference.high == difference.low


def test_a_figure_without_a_short_way_is_found_one_by_one(pair, monkeypatch):
    # A figure that is new in kcolor.figures has an interval without anything being changed here.
    worst = replace(FIGURES["ssim"], key="worst", of=lambda columns: float(columns["ssim"].min()))
    monkeypatch.setitem(FIGURES, "worst", worst)
    for evaluation in pair:
        evaluation.metrics["figures"].append({"figure": "worst", "model": 0.5, "grey": None})
    found = compare.compare(pair, resamples=40, seed=1).differences[0]["worst"]
    assert (found.low, found.high) == pytest.approx(naive(pair, "worst", 40, 1), abs=1e-12)


def test_counts_are_of_pictures_drawn_with_replacement(monkeypatch):
    monkeypatch.setattr(compare, "_ENTRIES", 1000)
    parts = list(compare.counts(50, 2010, 0))
    assert max(part.size for part in parts) == 1000  # so memory does not grow with the number of sets
    every = np.concatenate(parts)
    assert every.shape == (2010, 50)
    assert (every.sum(axis=1) == 50).all()
    assert every.mean(axis=0) == pytest.approx(np.ones(50), abs=0.1)
    assert every.var() == pytest.approx(1 - 1 / 50, abs=0.02)  # of a binomial with 50 draws of one in 50
    # How many are in memory at a time changes nothing of what is drawn.
    monkeypatch.undo()
    np.testing.assert_array_equal(np.concatenate(list(compare.counts(50, 2010, 0))), every)
    assert (np.concatenate(list(compare.counts(50, 2010, 1))) != every).any()


def test_the_value_is_that_of_metrics_json(tmp_path):
    rows = made(10)
    # Figures with more to them than the rows: the streamed ones are the evaluation's own word.
    one = write(tmp_path / "a", rows, figures=[{"figure": "psnr", "model": 20.0}, {"figure": "fid", "model": 50.0}])
    two = write(tmp_path / "b", rows, figures=[{"figure": "psnr", "model": 22.5}, {"figure": "fid", "model": 40.0}])
    found = compare.compare([one, two], resamples=10).differences[0]
    assert found["psnr"].value == 2.5
    assert found["fid"] == Difference(-10.0, None, None)


def test_only_what_both_have_is_compared(tmp_path):
    rows = made(10)
    one = write(tmp_path / "a", rows, figures=figures_of(rows, lpips=None, fid=50.0))
    two = write(tmp_path / "b", rows, figures=figures_of(rows)[:4])
    three = write(tmp_path / "c", rows, figures=figures_of(rows, fid=40.0, psnr=math.inf))
    found = compare.compare([one, two, three], resamples=10).differences
    assert list(found[0]) == ["psnr", "psnr_median", "psnr_median_near_grey", "ssim"]
    assert {"lpips", "colourfulness_truth", "psnr"}.isdisjoint(found[1])
    assert {"fid", "delta_e_2000"} <= set(found[1])
    nothing = write(tmp_path / "d", rows, figures=[])
    assert compare.compare([one, nothing]).differences == [{}]


def test_identical_models_do_not_differ_at_all(tmp_path):
    # To the last bit: a speck of rounding would be an interval without zero in it. So also beside a third model.
    one, two, third = (write(tmp_path / name, made(57, model=model)) for name, model in (("a", 1), ("b", 1), ("c", 2)))
    for evaluations, place in (([one, two], 0), ([one, third, two], 1), ([one, one], 0)):
        found = compare.compare(evaluations, resamples=300).differences[place]
        assert len(found) == 12
        assert set(found.values()) == {Difference(0.0, 0.0, 0.0)}
        assert not any(compare.verdict(FIGURES[key], difference) for key, difference in found.items())


def test_a_shifted_model(tmp_path):
    rows = made()
    # Half the squared error everywhere is 3.01 dB in each set; SSIM goes up by 0.01, or not at all, by turns.
    shifts = iter([0.01, 0.0] * 20)
    moved = changed(rows, squared_error=lambda x: x / 2, ssim=lambda x: x + next(shifts), delta_e_2000=lambda x: x + 1)
    one, two = write(tmp_path / "a", rows), write(tmp_path / "b", moved)
    found = compare.compare([one, two]).differences[0]
    for key in ("psnr", "psnr_median", "psnr_median_near_grey"):
        assert (found[key].low, found[key].high) == pytest.approx([10 * math.log10(2)] * 2)
    assert 0 < found["ssim"].low < found["ssim"].value < found["ssim"].high < 0.01
    assert found["ssim"].value == pytest.approx(0.005)
    assert found["delta_e_2000"].low == pytest.approx(1.0)
    assert found["lpips"] == Difference(0.0, 0.0, 0.0)
    verdicts = {key: compare.verdict(FIGURES[key], found[key]) for key in ("psnr", "ssim", "delta_e_2000", "lpips")}
    assert verdicts == {"psnr": "better", "ssim": "better", "delta_e_2000": "worse", "lpips": ""}
    # The other way about, it is the other way about.
    back = compare.compare([two, one]).differences[0]
    assert back["ssim"].low == pytest.approx(-found["ssim"].high)
    assert compare.verdict(FIGURES["psnr"], back["psnr"]) == "worse"
    assert compare.verdict(FIGURES["delta_e_2000"], back["delta_e_2000"]) == "better"


def test_the_interval_of_a_mean_is_the_normal_one(tmp_path):
    # A mean of 400 differences is nearly normal: mean ± 1.96 standard errors. The ends of 4000 resamples are known to
    # some 2 % of the interval's half width.
    one, two = (write(tmp_path / name, made(400, model=model)) for name, model in (("a", 1), ("b", 2)))
    found = compare.compare([one, two], resamples=4000).differences[0]["ssim"]
    first, other = (columns_of(evaluation.rows)["ssim"] for evaluation in (one, two))
    half = 1.959964 * (other - first).std() / 20
    assert found.low == pytest.approx(found.value - half, abs=0.08 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.08 * half)
    # And it is paired: pictures that are hard are hard for both, which drops out. Were the two models' pictures drawn
    # each for itself, it would be more than twice as wide.
    unpaired = 1.959964 * math.hypot(first.std(), other.std()) / 20
    assert found.high - found.low < unpaired


def test_the_interval_has_the_true_difference_in_it_as_often_as_it_says(tmp_path):
    # 120 evaluations of 60 pictures each out of one endless stream of them; the true difference of SSIM is zero, since
    # both models' answers are drawn alike. Of 120 intervals of 95 %, 107 to 119 have it, but for one time in a hundred.
    covered = 0
    for seed in range(120):
        both = [write(tmp_path / f"{seed}-{model}", made(60, seed, model), figures=[]) for model in (1, 2)]
        for evaluation in both:
            evaluation.metrics["figures"] = [{"figure": "ssim", "model": 0.9}]
        found = compare.compare(both, resamples=400, seed=seed).differences[0]["ssim"]
        covered += found.low <= 0 <= found.high
    assert 107 <= covered <= 119


def test_the_order_of_rows_does_not_matter(tmp_path, pair):
    shuffled = []
    for place, evaluation in enumerate(pair):
        rows = list(evaluation.rows)
        random.Random(place).shuffle(rows)
        assert rows != evaluation.rows
        shuffled.append(write(tmp_path / f"shuffled-{place}", rows, figures=evaluation.metrics["figures"]))
    straight = compare.compare(pair, resamples=100).differences
    assert compare.compare(shuffled, resamples=100).differences == straight
    assert compare.compare([pair[0], shuffled[1]], resamples=100).differences == straight


def test_the_seed_tells_the_resamples(pair):
    first = compare.compare(pair, resamples=100, seed=1)
    assert compare.compare(pair, resamples=100, seed=1) == first
    assert compare.compare(pair, resamples=100, seed=2).differences != first.differences
    assert first.resamples == 100
    # A third model does not change what is said of the second.
    assert compare.compare([*pair, pair[0]], resamples=100, seed=1).differences[0] == first.differences[0]


def test_too_few_pictures_for_an_interval(tmp_path):
    # Of one nearly grey picture a third of the sets have none, and the others have nothing but it: no interval.
    def lone(model):
        return [{**row, "near_grey": i == 0} for i, row in enumerate(made(30, model=model))]

    both = [write(tmp_path / str(model), lone(model)) for model in (1, 2)]
    found = compare.compare(both, resamples=100).differences[0]
    assert found["psnr_median_near_grey"].value != 0
    assert (found["psnr_median_near_grey"].low, found["psnr_median_near_grey"].high) == (None, None)
    assert found["psnr_median"].low is not None


def test_perfect_answers_have_no_interval_of_psnr(tmp_path):
    one = write(tmp_path / "a", made(12))
    perfect = changed(made(12), squared_error=lambda x: 0.0)
    two = write(tmp_path / "b", perfect, figures=figures_of(perfect, psnr=99.0, psnr_median=None))
    found = compare.compare([one, two], resamples=50).differences[0]
    assert (found["psnr"].low, found["psnr"].high) == (None, None)
    assert "psnr_median" not in found
    assert found["ssim"].low is not None


@pytest.mark.parametrize(
    ("key", "low", "high", "expected"),
    [
        ("psnr", 0.1, 0.2, "better"),
        ("psnr", -0.2, -0.1, "worse"),
        ("psnr", -0.1, 0.1, ""),
        ("psnr", 0.0, 0.1, ""),
        ("delta_e_2000", 0.1, 0.2, "worse"),
        ("delta_e_2000", -0.2, -0.1, "better"),
        ("delta_e_2000", -0.1, 0.0, ""),
        # From 0.5 to 0.7 is nearer to 1, from 1.1 to 1.3 is farther: the difference alone does not tell.
        ("colourfulness_ratio", 0.1, 0.3, ""),
        ("colourfulness_prediction", 0.1, 0.3, ""),
        ("fid", None, None, ""),
    ],
)
def test_verdicts(key, low, high, expected):
    assert compare.verdict(FIGURES[key], Difference(0.1, low, high)) == expected


# What they are called


def named(tmp_path, *models):
    """The names of evaluations: each a model's path, and before a ":" the folder, if it is one of a run."""
    found = []
    for i, model in enumerate(models):
        folder, _, path = model.rpartition(":")
        if folder:
            run = tmp_path / folder.split("/evaluations")[0]
            run.mkdir(parents=True, exist_ok=True)
            (run / "run.json").write_text("{}")
        found.append(write(tmp_path / (folder or f"evaluations/{i}"), made(5), figures=[], model={"path": path}))
    return list(compare.compare(found).names)


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (
            ["gan-1/evaluations/test-rgb:runs/gan-1/generator.keras", "wgan-2/evaluations/test-rgb:generator.keras"],
            ["gan-1", "wgan-2"],
        ),
        (
            ["new/gan-1/evaluations/x:generator.keras", "old/gan-1/evaluations/x:generator.keras", "b/gan-2.keras"],
            ["new/gan-1", "old/gan-1", "gan-2"],
        ),
        (
            ["a/runs/gan-1/evaluations/x:generator.keras", "b/runs/gan-1/evaluations/x:generator.keras"],
            ["a/runs/gan-1", "b/runs/gan-1"],
        ),
        # Two models of one run.
        (
            ["gan-1/evaluations/x:generator.keras", "gan-1/evaluations/best-x:gan-1/checkpoints/best.keras"],
            ["gan-1", "gan-1 best"],
        ),
        (["exports/wgan.tflite", "/abs/best.keras"], ["wgan", "best"]),
        (["a/best.keras", "b/best.keras", "b/last.keras"], ["a/best", "b/best", "last"]),
        (["best.keras", "/b/best.keras"], ["best", "b/best"]),
        # Every run's generator is called the same: the run's name says more. A folder of evaluations is no run.
        (["runs/gan-1/generator.keras", "generator.keras"], ["gan-1", "generator"]),
        # The same file under the same path is no clearer for its folders.
        (["a/best.keras", "a/best.keras", "a/best.keras"], ["best", "best (2)", "best (3)"]),
        (["gan-1/evaluations/x:generator.keras", "gan-1/evaluations/y:generator.keras"], ["gan-1", "gan-1 (2)"]),
        # What follows a folder's full stop is not the ending of a file; and a folder may be the one that one is in.
        (["exports/v1.2", "exports/v1.3", "."], ["v1.2", "v1.3", "2"]),
    ],
)
def test_names_are_short_and_distinct(tmp_path, models, names):
    assert named(tmp_path, *models) == names


# The table


def printed(comparison, width):
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(compare.table(comparison), crop=False)
    return console.export_text()


@pytest.fixture
def comparison(tmp_path):
    def of(name, rows, **figures):
        return write(tmp_path / name, rows, figures=figures_of(rows, **figures))

    rows = made(5)
    evaluations = [
        of("first", rows, psnr=20.125, fid=50.0, ssim=0.91234, colourfulness_ratio=0.5, lpips=None),
        of("[red]", rows, psnr=22.375, fid=40.0, ssim=0.90234, colourfulness_ratio=0.7, lpips=0.25),
        of("third", rows, psnr=20.125, fid=50.5, ssim=0.91234, colourfulness_ratio=0.5, lpips=None),
    ]
    differences = [
        {
            "psnr": Difference(2.25, 1.5, 3.0),
            "ssim": Difference(-0.01, -0.0123, -0.0077),
            "fid": Difference(-10.0, None, None),
            "colourfulness_ratio": Difference(0.2, 0.15, 0.25),
        },
        {"psnr": Difference(0.0, -0.3456, 0.3333), "ssim": Difference(-0.00001, -0.00002, 0.0)},
    ]
    return compare.Comparison(["first", "[red]", "third"], evaluations, differences, 1234)


def row_of(text, label):
    """The words of a row's two lines, but for its label."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{label}   "))
    return lines[at].removeprefix(label).split(), lines[at + 1].split()


def test_the_table_at_full_width(comparison):
    text = printed(comparison, 200)
    assert text.splitlines()[0].split() == ["figure", "first", "[red]", "third", "all", "grey"]  # a name is no markup
    nothing = FIGURES["psnr"].show(None)
    above, below = row_of(text, "PSNR (dB)")
    assert above == ["20.12", "22.38", "better", "20.12", "12.12"]
    assert below == ["+2.25", "[+1.50,", "+3.00]", "+0.00", "[-0.35,", "+0.33]"]
    above, below = row_of(text, "SSIM")
    assert above == ["0.9123", "0.9023", "worse", "0.9123", nothing]
    assert below[:3] == ["-0.0100", "[-0.0123,", "-0.0077]"]
    assert below[3:] == ["+0.0000", "[+0.0000,", "+0.0000]"]  # no minus on what is rounded to zero
    above, below = row_of(text, "FID")
    assert above == ["50.00", "40.00", "50.50", nothing]
    assert below == ["-10.00"]
    above, below = row_of(text, "colourfulness, ratio")
    assert above == ["0.500", "0.700", "0.500", nothing]  # nearer to 1, but that is not for the sign to say
    assert below == ["+0.200", "[+0.150,", "+0.250]"]
    assert row_of(text, "LPIPS")[0] == [nothing, "0.2500", nothing, nothing]
    caption = " ".join(text.split())
    assert "rgb-1, 5 pictures" in caption
    assert "from that of first" in caption
    assert "1234 resamples" in caption


def test_the_table_at_eighty_columns(comparison):
    assert max(map(len, printed(comparison, 80).splitlines())) <= 80
    # Lines may be broken, numbers may not, and nothing is left out: not even where there is no room for it.
    words = {word for word in printed(comparison, 200).split() if word.strip("─")}
    for width in (80, 40):
        assert words <= set(printed(comparison, width).split())


def test_the_table_of_a_comparison_from_files(pair):
    found = compare.compare(pair, resamples=50)
    assert len(found.differences[0]) == 12
    for width in (80, 200):
        text = printed(found, width)
        for key, difference in found.differences[0].items():
            digits = FIGURES[key].digits
            assert FIGURES[key].show(pair[1].figures[key]["model"]) in text
            assert (
                f"{difference.value:+z.{digits}f} [{difference.low:+z.{digits}f}, {difference.high:+z.{digits}f}]"
                in text
            )
        truth = FIGURES["colourfulness_truth"].show(pair[0].figures["colourfulness_truth"]["model"])
        assert row_of(text, "colourfulness of the truth")[0][:2] == [truth, truth]


def test_comparing_does_without_tensorflow():
    code = "import sys, kcolor.compare; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
