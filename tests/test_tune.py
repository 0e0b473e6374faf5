"""Studies: begun, killed, shared, and what they say at the end."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from command import Here, mistake
from made import fill
from optuna.trial import TrialState, create_trial
from PIL import Image
from rich.console import Console

from kcolor import recipe
from kcolor.data import manifest
from kcolor.errors import KcolorError, RunError
from kcolor.run import Run
from kcolor.tune import attempt, report, space, study
from kcolor.tune.telling import Telling, outcome

# Not in the space: the worse of the two rates, which makes strong colours of everything.
NARROW = ["data.size=32", "network.depth=4", "network.width=4", "network.critic_width=4", "network.critic_strided=2"]
NARROW += ["train.batch_size=2", "train.steps_per_epoch=40", "train.epochs=2", "data.split=[0.6,0.2,0.2]"]
NARROW += ["optimizer.learning_rate=0.001", "optimizer.final_learning_rate=0.0", "data.min_size=32"]
RATES = """
objective = "delta_e_2000"
[space]
"optimizer.learning_rate" = [0.001, 0.3]
"""


def words(photos: Path, spaces: Path, *more) -> list[str]:
    settings = [word for change in NARROW for word in ("--set", change)]
    return ["tune", "gan", "--space", str(spaces), "--data", str(photos), *settings, *map(str, more)]


def begin(arguments: list[str], cwd: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "kcolor", *arguments]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(there, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200
    while not there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def done(tmp_path_factory, photos):
    """A study of two trials, killed in its first one, and ended by two processes at once; and what these said."""
    folder = tmp_path_factory.mktemp("study")
    spaces = folder / "rates.toml"
    spaces.write_text(RATES)
    arguments = words(photos, spaces, "--trials", 2)
    first = begin(arguments, folder)
    run = Run(folder / "studies" / "gan-rates" / "trials" / "0000")
    until(run.history.exists, first)
    first.kill()
    first.wait()
    both = [begin(arguments, folder) for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    return folder, arguments, said


def rows(path: Path) -> list[dict[str, str]]:
    with (path / report.TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_killed_study_goes_on_and_two_processes_share_it(done):
    folder, _, said = done
    path = folder / "studies" / "gan-rates"
    best, pruned = rows(path)
    # The recipe as it is comes first; the other's rate is a bad one, which its first epoch tells.
    assert [best["state"], best["optimizer.learning_rate"], best["epochs"]] == ["done", "0.001", "2"]
    assert [pruned["state"], pruned["optimizer.learning_rate"], pruned["epochs"]] == ["pruned", "0.3", "1"]
    # No epoch was trained twice, and no trial by both.
    log = (path / "trials" / "0000.log").read_text()
    assert [log.count("epoch 1/2"), log.count("epoch 2/2")] == [1, 1]
    assert (path / "trials" / "0001.log").read_text().count("epoch 1/2") == 1
    lines = [line for each in said for line in each.splitlines() if line.startswith("trial ")]
    assert sorted(line.split(":")[0] for line in lines) == ["trial 0 (1/2)", "trial 1 (2/2)"]
    assert "Traceback" not in "".join(said)


def test_a_trial_is_a_run_judged_on_the_validation_photos(done):
    folder, _, _ = done
    path = folder / "studies" / "gan-rates"
    run = Run(path / "trials" / "0000")
    assert run.generator.is_file()
    told = json.loads((run.path / "evaluations" / "tune" / "metrics.json").read_text())
    assert told["pictures"]["split"] == "val"
    assert folder / told["model"]["path"] == run.generator
    assert not Run(path / "trials" / "0001").generator.exists()
    scored = next(entry["model"] for entry in told["figures"] if entry["figure"] == "delta_e_2000")
    assert float(rows(path)[0]["delta_e_2000"]) == scored
    kept = optuna.load_study(study_name="gan-rates", storage=f"sqlite:///{path / 'study.db'}")
    assert kept.best_value == scored


def test_the_best_trial_is_a_recipe(done, photos):
    folder, _, _ = done
    path = folder / "studies" / "gan-rates" / report.BEST
    expected = recipe.load(recipe.find("gan"), [*NARROW, f"data.folder={json.dumps(str(photos))}"])
    assert recipe.load(path) == expected
    assert "trial 0" in recipe.headline(path)


def test_a_study_that_is_done_only_reports(done, capsys, monkeypatch):
    folder, arguments, _ = done
    path = folder / "studies" / "gan-rates"
    before = {file: file.stat().st_mtime_ns for file in (path / "trials").rglob("*") if file.suffix != ".lock"}
    (path / report.PAGE).unlink()
    said, _ = Here(capsys, monkeypatch)(*arguments, cwd=folder)
    assert f"recipe: {Path('studies', 'gan-rates', report.BEST)}" in said
    assert "pruned after epoch 1" in said
    page = (path / report.PAGE).read_text()
    assert page.count("data:image/png;base64,") == 2  # history and values; two trials tell nothing of importance
    assert 'data-trial="1"' in page
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_another_recipe_or_space_is_refused(done, capsys, monkeypatch, tmp_path):
    folder, arguments, _ = done
    here = Here(capsys, monkeypatch)
    _, told = here(*arguments, "--set", "seed=7", cwd=folder, status=2)
    assert "gan-rates: a study of another recipe: with seed = 0, not 7; go on with its own, or" in mistake(told)
    other = tmp_path / "rates.toml"
    other.write_text(RATES.replace("0.3", "0.4"))
    changed = [str(other) if word.endswith("rates.toml") else word for word in arguments]
    _, told = here(*changed, cwd=folder, status=2)
    assert "another space: optimizer.learning_rate has [0.001, 0.3], not [0.001, 0.4]" in mistake(told)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_trial_too_and_says_how_to_go_on(tmp_path, signum):
    opened(tmp_path, RATES, name="stopped")
    process = begin(words(tmp_path / "photos", tmp_path / "space.toml", "--trials", 2, "-o", "stopped"), tmp_path)
    until((tmp_path / "stopped" / "trials" / "0000.log").exists, process)
    process.send_signal(signum)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "stopped; go on with: kcolor tune gan --space" in said
    assert "Traceback" not in said
    kept = optuna.load_study(study_name="stopped", storage=f"sqlite:///{tmp_path / 'stopped' / 'study.db'}")
    assert [trial.state for trial in kept.trials] == [TrialState.RUNNING]  # to be taken up


# Without training.


def opened(folder: Path, text: str, *changes: str, name: str = "study", storage: str | None = None) -> study.Study:
    """A study of sixteen photos that are made for it."""
    photos = folder / "photos"
    if not photos.exists():
        fill(photos, [f"{scene}/{i}.png" for scene in ("forest", "sea") for i in range(8)])
    (folder / "space.toml").write_text(text)
    chosen = recipe.load(recipe.find("gan"), [*NARROW, f"data.folder={json.dumps(str(photos))}", *changes])

    def survey():
        survey_file = folder / "survey.jsonl"
        return manifest.prepare(photos, survey_file=survey_file, split=(0.6, 0.2, 0.2), min_size=32, workers=1)

    varied = space.load(folder / "space.toml", chosen)
    return study.open_(folder / name, chosen, varied, name="gan", storage=storage, survey=survey)


def quiet(objectives=("delta_e_2000",), trials: int = 1) -> Telling:
    return Telling(Console(quiet=True), objectives, trials)


def test_values_that_do_not_go_together_are_a_failed_trial(tmp_path, capsys, monkeypatch):
    text = 'objective = "psnr"\n[space]\n"network.depth" = [5, 6]\n"data.size" = [32, 64]'
    begun = opened(tmp_path, text)
    begun.record.enqueue_trial({"network.depth": 6, "data.size": 32})
    study.go_on(begun, 1, quiet())
    (trial,) = begun.trials()
    assert trial.state == TrialState.FAIL
    assert "data.size: 32 is no multiple of 64, as network.depth = 6 needs" in trial.user_attrs["reason"]
    assert report.write(begun) == []
    assert "no multiple of 64" in (begun.path / report.PAGE).read_text()
    arguments = words(tmp_path / "photos", tmp_path / "space.toml", "--trials", 1, "-o", begun.path)
    said, told = Here(capsys, monkeypatch)(*arguments, cwd=tmp_path, status=2)
    assert "failed: trial 0: data.size: 32 is no multiple of 64" in " ".join(said.split())
    assert "none of 1 trials could be measured" in mistake(told)


@pytest.mark.parametrize(
    ("space_of", "change", "told"),
    [
        ('"classification.target" = ["labels", "teacher"]', "classification.weight=0.1", "needs ImageNet's VGG-16"),
        ('"objective.weight" = [1.0, 2.0]', "classification.weight=0.1", "the photos have no classes"),
        ('"data.instances" = [0.0, 0.5]', "seed=0", "nobody has looked for instances in these photos"),
    ],
    ids=["weights", "classes", "instances"],
)
def test_what_trials_would_lack_is_said_before_there_is_a_study(tmp_path, cache, space_of, change, told):
    names = [f"{'' if 'no classes' in told else f'{i % 2}/'}{i}.png" for i in range(8)]
    fill(tmp_path / "photos", names)
    text = f'objective = "psnr"\n[space]\n{space_of}'
    with pytest.raises(KcolorError, match=told):
        opened(tmp_path, text, "data.size=64", change)
    assert not (tmp_path / "study").exists()


def test_a_directory_may_be_renamed(tmp_path):
    begun = opened(tmp_path, RATES, name="a {study}")
    trial, lock = study._claim(begun, 1)
    lock.release()
    begun.path.rename(tmp_path / "other")
    again, lock = study._claim(opened(tmp_path, RATES, name="other"), 1)
    lock.release()
    assert (again.number, again.params) == (trial.number, trial.params)


def test_trials_of_pictures_of_other_sizes_are_not_held_against_each_other(tmp_path):
    text = 'objective = "psnr"\n[space]\n"data.size" = [32, 64]'
    begun = opened(tmp_path, text)
    assert begun.pruner is None
    report.write(begun)
    assert "none: the networks' pictures differ" in (begun.path / report.PAGE).read_text().replace("&#39;", "'")
    assert opened(tmp_path, RATES, name="rates").pruner is not None


def test_a_process_that_is_killed_is_a_failed_trial_and_one_that_is_stopped_is_not(tmp_path):
    begun = opened(tmp_path, RATES)
    files = {"run": begun.run(0), "manifest": begun.manifest, "weights": tmp_path, "log": tmp_path / "log"}
    with attempt.started(begun.recipe, **files, name="gan") as going:
        going.process.kill()
        assert going.is_over(30)
        with pytest.raises(attempt.FailedError, match=r"ended by SIGKILL; out of memory\?"):
            going.check()
    with attempt.started(begun.recipe, **files, name="gan") as going:
        going.process.send_signal(signal.SIGTERM)
        assert going.is_over(30)
        with pytest.raises(Exception, match="was stopped; go on with the same command"):
            going.check()


def test_the_same_values_are_not_trained_twice(tmp_path):
    begun = opened(tmp_path, RATES)
    rate = {"optimizer.learning_rate": 0.001}
    begun.record.add_trial(
        create_trial(
            params=rate,
            distributions={key: optuna.distributions.CategoricalDistribution([0.001, 0.3]) for key in rate},
            value=9.5,
            user_attrs={"figures": {"delta_e_2000": 9.5}},
        )
    )
    study.go_on(begun, 2, quiet())
    report.write(begun)
    again, former = rows(begun.path)  # what waited, the recipe as it is, was there before
    assert [row["delta_e_2000"] for row in (again, former)] == ["9.5", "9.5"]
    assert [row["run"] for row in (again, former)] == [str(Path("trials", "0001"))] * 2
    assert not begun.run(0).path.exists()
    assert outcome(begun.trial(0), ["delta_e_2000"]) == "ΔE 2000 9.50, the same as trial 1"


def test_draws_are_a_function_of_seed_and_number(tmp_path):
    text = 'objective = "psnr"\n[space]\n"objective.weight" = { low = 0.01, high = 10, log = true }'
    drawn = []
    for name in ("one", "other"):
        begun = opened(tmp_path, text, name=name)
        for _ in range(3):
            trial, lock = study._claim(begun, 3)
            drawn.append(trial.params["objective.weight"])
            begun.record.tell(trial.number, 20.0)
            lock.release()
        assert study._claim(begun, 3) is None
    assert drawn[:3] == drawn[3:]
    assert drawn[0] == 1.0  # the recipe as it is
    assert len(set(drawn)) == 3
    assert all(0.01 <= value <= 10 for value in drawn)


def test_a_trial_is_had_by_one_and_taken_up_when_that_one_is_gone(tmp_path):
    begun = opened(tmp_path, RATES)
    trial, lock = study._claim(begun, 1)
    assert study._claim(begun, 1) is None
    assert study.running(begun) == [0]
    lock.release()
    again, lock = study._claim(begun, 1)
    assert (again.number, again.params) == (trial.number, trial.params)
    lock.release()
    trial.set_user_attr("place", "another machine's directory")
    assert study._claim(begun, 1) is None


def test_machines_with_a_disk_each_share_a_database(tmp_path):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    here, there = (opened(tmp_path, RATES, name=f"{each}/study", storage=storage) for each in ("here", "there"))
    first, lock = study._claim(here, 2)
    second, other_lock = study._claim(there, 2)
    assert [first.number, second.number] == [0, 1]
    assert study._claim(here, 2) is None
    lock.release()
    other_lock.release()
    # Both have died; each machine takes up what lies on its disk.
    again, lock = study._claim(there, 2)
    assert again.number == 1
    there.record.tell(1, 9.0)
    lock.release()
    assert study._claim(there, 2) is None
    assert study.running(there) == [0]
    assert not (tmp_path / "here" / "study" / "study.db").exists()


def test_kinds_decide_which_keys_are_drawn(tmp_path):
    text = 'objective = "psnr"\n[space]\n"objective.penalty" = { low = 1, high = 20 }\n'
    begun = opened(tmp_path, text + '"objective.kind" = ["cgan", "wgan-gp"]', "network.critic_batchnorm=false")
    own, lock = study._claim(begun, 9)
    lock.release()
    assert own.params == {"objective.kind": "cgan"}
    begun.record.tell(own.number, 20.0)
    begun.record.enqueue_trial({"objective.kind": "wgan-gp"})
    other, lock = study._claim(begun, 9)
    lock.release()
    assert 1 <= other.params["objective.penalty"] <= 20
    assert begun.recipe_of(begun.trials()[1]).objective.penalty == other.params["objective.penalty"]


def test_two_objectives_have_a_front(tmp_path):
    text = 'objective = ["delta_e_2000", "colourfulness_ratio"]\n[space]\n"objective.weight" = { low = 0.0, high = 10 }'
    begun = opened(tmp_path, text)
    scored = [(10.0, 0.5), (11.0, 0.9), (12.0, 0.8), (11.5, 1.02)] + [(13.0, 0.1 * i) for i in range(4)]
    for weight, (delta_e, ratio) in enumerate(scored):
        begun.record.add_trial(
            create_trial(
                params={"objective.weight": float(weight)},
                distributions={"objective.weight": optuna.distributions.FloatDistribution(0.0, 10.0)},
                values=[delta_e, abs(ratio - 1)],
                user_attrs={"figures": {"delta_e_2000": delta_e, "colourfulness_ratio": ratio}},
            )
        )
    recipes = report.write(begun)
    # Worked out by hand; the first trial of all waits, so these begin at 1.
    assert [path.name for path in recipes] == ["trial-0001.toml", "trial-0002.toml", "trial-0004.toml"]
    assert [recipe.load(path).objective.weight for path in recipes] == [0.0, 1.0, 3.0]
    assert "colourfulness, ratio 1.020" in recipes[-1].read_text()
    for name in ("history", "front", "importance", "slices"):
        with Image.open(begun.path / f"{name}.png") as picture:
            assert picture.width > 300
    page = (begun.path / report.PAGE).read_text()
    assert page.count("✓ front") == 3
    assert "none: there are two objectives" in page


def test_importance_tells_what_matters_from_what_does_not(tmp_path):
    text = 'objective = "psnr"\n[space]\n"objective.weight" = { low = 0.0, high = 10 }\n'
    begun = opened(tmp_path, text + '"reconstruction.weight" = { low = 0.0, high = 10.0 }')
    distribution = optuna.distributions.FloatDistribution(0.0, 10.0)
    for i in range(30):
        params = {"objective.weight": i / 3, "reconstruction.weight": (7 * i % 30) / 3}
        distributions = dict.fromkeys(params, distribution)
        begun.record.add_trial(create_trial(params=params, distributions=distributions, value=20.0 + i))
    shares = report.importance(begun.record, ["psnr"])["psnr"]
    assert shares["objective.weight"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_without_optuna_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    _, told = Here(capsys, monkeypatch)("tune", "gan", "--space", "space.toml", cwd=tmp_path, status=2)
    assert mistake(told) == "kcolor: tune: needs Optuna; pip install 'kcolor[tune]'"


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("study.db", "--storage study.db: not a database's URL"),
        ("mysql+pymysql://me:secret@nowhere/x", "--storage nowhere/x: its driver is not installed here"),
        ("sqlite:////no/such/folder/study.db", "the study cannot be read or written (unable to open database file)"),
    ],
)
def test_a_database_that_cannot_be_is_told_of_in_one_line(tmp_path, storage, told):
    with pytest.raises(RunError) as caught:
        opened(tmp_path, RATES, storage=storage)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "letters.txt").write_text("dear")
    with pytest.raises(RunError, match="there is something in it that is no study"):
        opened(tmp_path, RATES)
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["letters.txt"]
