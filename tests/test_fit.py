"""Training as a person does it, killed and resumed."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from made import colour, fill
from PIL import Image

from kcolor import build, callbacks, checkpoint, files, fit, loop, recipe
from kcolor.colorizer import Colorizer
from kcolor.data import dataset, manifest
from kcolor.data.instances import Instance
from kcolor.errors import DataError, RecipeError, RunError
from kcolor.protocols import PROTOCOLS
from kcolor.run import Run

NARROW = ["data.size=32", "network.depth=4", "network.width=4", "network.critic_width=4", "network.critic_strided=2"]
NARROW += ["train.batch_size=2", "train.steps_per_epoch=4", "train.epochs=2"]
NARROW += ["data.split=[0.6,0.2,0.2]"]
SIXTY_FOUR = ["data.size=64"]  # as the class branch needs


def narrow(name: str = "gan", *changes: str) -> recipe.Recipe:
    return recipe.load(recipe.find(name), [*NARROW, *changes])


def surveyed(photos: Path) -> manifest.Manifest:
    survey_file = photos.parent / "survey.jsonl"
    return manifest.prepare(photos, survey_file=survey_file, split=(0.6, 0.2, 0.2), workers=1)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "kcolor", *(str(argument) for argument in arguments)]


def kcolor(*arguments: str | Path, status: int = 0) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def settings(*changes: str) -> list[str]:
    return [word for change in (*NARROW, *changes) for word in ("--set", change)]


def everything(run: Path) -> dict[str, np.ndarray]:
    """All that the last checkpoint holds."""
    reader = tf.train.load_checkpoint(str(checkpoint.find(Run(run).checkpoints)[0].path / "state"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name}


def assert_same_run(left: Path, right: Path) -> None:
    """Bit for bit: weights, optimizers, random states, and what the history says of the losses."""
    one, other = everything(left), everything(right)
    assert one.keys() == other.keys()
    assert [name for name in one if not np.array_equal(one[name], other[name])] == []
    timings = {"seconds", "photos_per_second"}
    histories = [
        [{key: value for key, value in entry.items() if key not in timings} for entry in Run(run).read_history()]
        for run in (left, right)
    ]
    assert histories[0] == histories[1]
    models = [keras.models.load_model(Run(run).generator, compile=False) for run in (left, right)]
    for mine, yours in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("gan", []), ("wgan", SIXTY_FOUR)],
    ids=["gan", "wgan with penalty, classes and 5 critic steps"],
)
def test_killed_runs_end_as_if_they_had_not_been(photos, tmp_path, name, changes):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["fit", name, "--data", photos, *settings(*changes, "train.checkpoint_minutes=0")]
    fit.fit(narrow(name, *changes, "train.checkpoint_minutes=0"), surveyed(photos), whole, name=name)
    # Killed twice, at whatever step it is: once within the first epoch, once within the second.
    for step in (2, 6):
        resume = ["--resume"] if killed.exists() else []
        kill_at(step, killed, *words, "-o", killed, *resume)
    assert not Run(killed).generator.exists()
    (killed / ".generator.keras.abcdefgh").mkdir()  # as it would be left by a third
    kcolor(*words, "-o", killed, "--resume")
    assert_same_run(whole, killed)
    assert list(killed.rglob(".*")) == []


def kill_at(step: int, path: Path, *words) -> None:
    """Call kcolor, and kill it when the run there has a checkpoint of this step or a later one."""
    process = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(c.step >= step for c in checkpoint.find(Run(path).checkpoints)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()


def with_instances(found: manifest.Manifest) -> manifest.Manifest:
    """The same, with boxes in two of three photos."""
    some = [(), (Instance("face", 1.0, 3, 5, 40, 44),), (Instance("face", 1.0, 0, 0, 20, 20),) * 2]
    photos = [dataclasses.replace(photo, instances=some[i % 3]) for i, photo in enumerate(found.photos)]
    rules = {"detector": "faces", "sha256": "0", "min_score": 0.5, "min_size": 16}
    return manifest.Manifest(found.root, photos, {**found.rules, "instances": rules})


def test_a_killed_run_with_augmentation_ends_as_if_it_had_not_been(photos, tmp_path, monkeypatch):
    whole, killed, seen = tmp_path / "whole", tmp_path / "killed", []

    def spy(*arguments, method=fit.dataset.training_stream, **options):
        seen.append((options["random_crop"], options["instances"]))
        return method(*arguments, **options)

    monkeypatch.setattr(fit.dataset, "training_stream", spy)
    changes = ["data.random_crop=0.2", "data.tone=0.2", "data.grain=3.0", "data.instances=0.5"]
    found = tmp_path / "found.csv"
    with_instances(surveyed(photos)).save(found)
    model = build.color_gan(narrow("gan", *changes), 0, 8)
    assert (model.tone, model.grain, model.seed) == (0.2, 3.0, 0)
    fit.fit(narrow("gan", *changes), manifest.Manifest.load(found), whole, name="gan")
    assert seen == [(0.2, 0.5)]
    words = ["fit", "gan", "--data", found, *settings(*changes, "train.checkpoint_minutes=0"), "-o", killed]
    kill_at(2, killed, *words)
    assert not Run(killed).generator.exists()
    fit.resume(None, killed)
    assert_same_run(whole, killed)
    with pytest.raises(RunError, match=r"with data.grain = 3.0, not 4.0"):
        fit.resume(narrow("gan", *changes, "data.grain=4.0"), killed)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(photos, tmp_path, signum):
    run = tmp_path / "run"
    words = ["fit", "gan", "--data", photos, *settings("train.steps_per_epoch=100000")]
    process = subprocess.Popen(command(*words, "-o", run), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not Run(run).tensorboard.exists():  # training has begun
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signum)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signum
    (kept,) = checkpoint.find(Run(run).checkpoints)
    assert f"stopped at step {kept.step}, saved in {run}; go on with: kcolor fit --resume -o {run}" in said
    assert "Traceback" not in said


def test_a_run_directory_tells_all(photos, tmp_path):
    run = fit.fit(narrow(), surveyed(photos), tmp_path / "run", name="gan")
    assert recipe.load(run.recipe) == narrow()
    info = run.read_info()
    assert info["recipe"] == "gan"
    assert info["seed"] == 0
    assert info["tensorflow"] == tf.__version__
    assert info["manifest_sha256"] == manifest.Manifest.load(run.manifest).sha256
    history = run.read_history()
    assert [(entry["epoch"], entry["step"]) for entry in history] == [(1, 4), (2, 8)]
    assert {"generator", "critic", "adversarial", "reconstruction"} <= history[0].keys()
    assert {"val_reconstruction", "val_grey_reconstruction"} <= history[0].keys()
    assert history[0]["learning_rate"] > history[1]["learning_rate"]  # falls by cosine
    assert [c.step for c in checkpoint.find(run.checkpoints)] == [8, 4]
    assert run.best.is_file()
    with Image.open(run.curves) as curves:
        assert curves.format == "PNG"
    # grey | prediction | truth, a row a photo
    assert [path.name for path in sorted(run.samples.iterdir())] == ["epoch-0001.png", "epoch-0002.png"]
    photos_shown = min(fit.SAMPLES, len(surveyed(photos).split("val")))
    with Image.open(run.samples / "epoch-0002.png") as sheet:
        assert sheet.size == (3 * 196 + 4, photos_shown * 196 + 4)  # small pictures are shown enlarged
        grey = np.asarray(sheet)[4:196, 4:196].astype(int)
    assert np.abs(grey[..., 0] - grey[..., 2]).max() <= 1
    assert list(run.tensorboard.rglob("events.out.tfevents.*"))
    generator = keras.models.load_model(run.generator)
    assert generator.count_params() > 0
    leftovers = [path for path in run.path.rglob(".*") if path != run.path]
    assert leftovers == []


def test_the_best_generator_is_that_of_the_figure_that_the_recipe_names(photos, tmp_path):
    changes = ["train.best_by=psnr", "train.epochs=4", "train.steps_per_epoch=2", "optimizer.learning_rate=0.01"]
    run = fit.fit(narrow("gan", *changes), surveyed(photos), tmp_path / "run")
    history = [entry["val_psnr"] for entry in run.read_history()]
    validation = build.photos(surveyed(photos), "val")
    (rgb, _), *more = dataset.evaluation_batches(validation, size=32, batch_size=100).as_numpy_iterator()
    assert not more
    prediction = PROTOCOLS["rgb"].answer(rgb, Colorizer.load(run.best).predict(rgb)["ab"])
    error = np.mean((prediction.numpy() / 255 - rgb / 255) ** 2)
    assert -10 * np.log10(error) == pytest.approx(max(history), abs=1e-3)
    assert max(history) > min(history) + 0.01


@pytest.mark.parametrize(
    ("best_by", "better", "worse"),
    [("psnr", 20.0, 19.0), ("delta_e_2000", 9.0, 10.0), ("colourfulness_ratio", 1.1, 0.8), ("reconstruction", 1, 2)],
)
def test_which_epoch_is_better(best_by, better, worse, tmp_path):
    keeper = callbacks.Checkpoints(Run(tmp_path), minutes=1, steps_per_epoch=1, best_by=best_by, stop=loop.Stop())
    lost = keeper.shortfall({f"val_{best_by}": None})
    assert keeper.shortfall({f"val_{best_by}": better}) < keeper.shortfall({f"val_{best_by}": worse}) < lost


def test_a_finished_run_goes_on_to_more_epochs(photos, tmp_path):
    fit.fit(narrow(), surveyed(photos), tmp_path / "run")
    run = fit.resume(narrow("gan", "train.epochs=3"), tmp_path / "run")
    assert [entry["epoch"] for entry in run.read_history()] == [1, 2, 3]
    assert recipe.load(run.recipe).train.epochs == 3
    assert checkpoint.find(run.checkpoints)[0].step == 12


def test_training_learns_its_photos(photos, tmp_path):
    changes = ["train.steps_per_epoch=60", "train.epochs=2", "optimizer.learning_rate=0.01", "network.dropout=0"]
    run = fit.fit(narrow("gan", *changes), surveyed(photos), tmp_path / "run")
    first, last = run.read_history()
    assert last["reconstruction"] < 0.7 * first["val_grey_reconstruction"]


# From another model's weights.

CLASSIFYING = narrow("gan-class", *SIXTY_FOUR)


@pytest.fixture(scope="module")
def begun(photos, tmp_path_factory):
    """A finished run with a class branch for two classes."""
    return fit.fit(CLASSIFYING, surveyed(photos), tmp_path_factory.mktemp("begun") / "run", name="gan-class")


def test_a_run_starts_from_another_s_weights(begun, photos, tmp_path, capsys, monkeypatch):
    """Its generator, before any step, validates as that of the other did after its last one."""
    validated, ours = [], surveyed(photos)

    def train(chosen, found, going, model, together, *, console):
        data = dataset.evaluation_batches(build.photos(found, "val"), size=64, batch_size=2)
        validated.append(model.evaluate(data, verbose=0, return_dict=True))
        assert [int(model.optimizer.iterations), int(model.critic_optimizer.iterations)] == [0, 0]

    monkeypatch.setattr(fit, "_train", train)
    run = fit.fit(CLASSIFYING.model_copy(update={"seed": 5}), ours, tmp_path / "run", origin=begun.path)
    last = begun.read_history()[-1]
    assert validated[0] == {name: pytest.approx(last[f"val_{name}"], rel=1e-5) for name in validated[0]}
    assert "val_reconstruction" in last
    source = {"path": str(begun.generator), "sha256": files.digest(begun.generator)}
    assert run.read_info()["from"] == source
    assert f"starts from {begun.generator}\n" in capsys.readouterr().out
    fit.fit(CLASSIFYING.model_copy(update={"seed": 5}), ours, tmp_path / "without")
    assert validated[1] != validated[0]
    assert "from" not in Run(tmp_path / "without").read_info()


def test_a_run_that_started_from_another_resumes_without_it(begun, photos, tmp_path):
    """Killed before its first checkpoint it looks the other up again; after it, it needs it no more."""
    source = tmp_path / "source.keras"
    shutil.copy(begun.generator, source)
    whole = fit.fit(CLASSIFYING, surveyed(photos), tmp_path / "whole", origin=source)
    early = Run(tmp_path / "early")
    early.path.mkdir()
    for path in (whole.recipe, whole.info, whole.manifest):
        shutil.copy(path, early.path)
    fit.resume(None, early.path)
    assert_same_run(whole.path, early.path)

    source.write_bytes(source.read_bytes() + b"more")
    shutil.rmtree(early.checkpoints)
    for path in (early.history, early.generator):
        path.unlink()
    with pytest.raises(RunError, match=r"source.keras, which it starts from, is another model by now"):
        fit.resume(None, early.path)
    source.unlink()
    with pytest.raises(RunError, match=r"source.keras, which it starts from, cannot be read"):
        fit.resume(None, early.path)
    fit.resume(CLASSIFYING.model_copy(update={"train": CLASSIFYING.train.model_copy(update={"epochs": 3})}), whole.path)
    assert len(whole.read_history()) == 3


def test_other_classes_get_a_new_head_and_the_rest_is_taken(begun, tmp_path):
    folder = fill(tmp_path / "photos", [f"{scene}/{i}.png" for scene in ("forest", "meadow", "sea") for i in range(8)])
    origin = Colorizer.load(begun.path)
    model = build.color_gan(CLASSIFYING, 3, 8)
    fresh = model.generator.get_layer("classifier_2").get_weights()
    assert build.start_from(model.generator, origin, ("forest", "meadow", "sea")) is False
    for layer in model.generator.layers:
        expected = fresh if layer.name == "classifier_2" else origin.generator.get_layer(layer.name).get_weights()
        for ours, theirs in zip(layer.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    # As many, but others; the same; and as many whose names nobody knows.
    model = build.color_gan(CLASSIFYING, 2, 8)
    assert build.start_from(model.generator, origin, ("forest", "street")) is False
    assert build.start_from(model.generator, origin, ("forest", "sea")) is True
    assert build.start_from(model.generator, dataclasses.replace(origin, classes=()), ("forest", "street")) is True
    run = fit.fit(CLASSIFYING, surveyed(folder), tmp_path / "run", origin=begun.path)
    assert Colorizer.load(run.path).classes == ("forest", "meadow", "sea")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["data.size=128"], ["data.size = 64, not 128", "--set data.size=64"]),
        (["network.width=8"], ["network.width = 4, not 8", "--set network.width=4"]),
        (["network.depth=5"], ["network.depth = 4, not 5", "--set network.depth=4"]),
        (["network.max_width=16"], ["network.max_width = 32, not 16", "--set network.max_width=32"]),
        (["classification.weight=0"], ["a class branch", "--set classification.weight=0.1"]),
        (
            ["network.width=8", "network.max_width=8", "network.depth=6"],
            ["--set network.width=4 --set network.depth=4 --set network.max_width=32"],
        ),
    ],
    ids=["size", "width", "depth", "max_width", "class branch", "several"],
)
def test_a_model_of_another_network_is_refused(begun, photos, tmp_path, changes, told):
    """In one line, and what it says makes it fit."""
    chosen = narrow("gan-class", *SIXTY_FOUR, *changes)
    with pytest.raises(RecipeError) as refused:
        fit.fit(chosen, surveyed(photos), tmp_path / "run", origin=begun.path)
    message = str(refused.value)
    assert message.startswith(f"{begun.generator}: of another network than the recipe's: it has ")
    assert "\n" not in message
    for part in told:
        assert part in message
    assert not (tmp_path / "run").exists()
    mended = re.findall(r"--set (\S+)", message)
    build.check_origin(narrow("gan-class", *SIXTY_FOUR, *changes, *mended), Colorizer.load(begun.path), ["a", "b"])


def test_models_that_cannot_be_started_from(begun, photos, tmp_path):
    plain = fit.fit(narrow("gan", *SIXTY_FOUR, "train.epochs=1"), surveyed(photos), tmp_path / "plain")
    with pytest.raises(RecipeError, match=r"it has no class branch; to start from it: --set classification.weight=0$"):
        fit.fit(CLASSIFYING, surveyed(photos), tmp_path / "run", origin=plain.path)
    bare = fill(tmp_path / "bare", [f"{i}.png" for i in range(16)])
    with pytest.raises(
        RecipeError, match=r"the photos have no classes, and .* has a class branch that goes on learning"
    ):
        fit.fit(CLASSIFYING, surveyed(bare), tmp_path / "run", origin=begun.path)
    origin = Colorizer.load(begun.path)
    with pytest.raises(RunError, match="an export cannot be trained on"):
        build.check_origin(CLASSIFYING, dataclasses.replace(origin, generator=None), None)
    other = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Conv2D(2, 3)])
    other = keras.Model(other.inputs, {"ab": other.outputs[0]})
    with pytest.raises(RunError, match="not a generator of kcolor"):
        build.check_origin(CLASSIFYING, dataclasses.replace(origin, generator=other), None)
    with pytest.raises(RunError, match="no such run or model"):
        fit.fit(CLASSIFYING, surveyed(photos), tmp_path / "run", origin=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_run_of_another_recipe(photos, tmp_path):
    fit.fit(narrow(), surveyed(photos), tmp_path / "run", name="gan")
    with pytest.raises(RunError, match=r"made from gan, with reconstruction.weight = 100.0, not 1.0; to go"):
        fit.resume(narrow("gan", "reconstruction.weight=1.0"), tmp_path / "run")
    with pytest.raises(RunError, match="there is something in it"):
        fit.fit(narrow(), surveyed(photos), tmp_path / "run")
    with pytest.raises(RunError, match="not a run directory"):
        fit.resume(narrow(), tmp_path)


def test_a_checkpoint_cut_short(photos, tmp_path, capsys):
    """The one before is taken; and when that is cut short too, nothing is trained and nothing overwritten."""
    whole = fit.fit(narrow(), surveyed(photos), tmp_path / "whole")
    cut = tmp_path / "cut"
    fit.fit(narrow("gan", "train.epochs=1", "train.checkpoint_minutes=0"), surveyed(photos), cut)
    newest, before = checkpoint.find(Run(cut).checkpoints)
    data = newest.path / "state.data-00000-of-00001"
    os.truncate(data, data.stat().st_size // 2)
    # Step 3, in the middle of the first epoch: it is finished, told of again, and the second follows.
    fit.resume(narrow("gan"), cut)
    said = capsys.readouterr().out
    assert f"{newest.path}: the checkpoint cannot be used: state.data-00000-of-00001 has" in said
    assert "trying the one before" in said
    assert len(Run(cut).read_history()) == 2
    assert everything(cut).keys() == everything(whole.path).keys()

    for kept in checkpoint.find(Run(cut).checkpoints):
        (kept.path / "sizes.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in cut.rglob("*")}
    with pytest.raises(RunError, match="no whole checkpoint to go on from"):
        fit.resume(narrow("gan", "train.epochs=3"), cut)
    assert {path: path.stat().st_mtime_ns for path in cut.rglob("*")} == before


def test_a_damaged_checkpoint_of_the_right_size(photos, tmp_path, capsys):
    run = fit.fit(narrow("gan", "train.epochs=1", "train.checkpoint_minutes=0"), surveyed(photos), tmp_path / "run")
    newest, before = checkpoint.find(run.checkpoints)
    assert (newest.step, before.step) == (4, 3)
    data = newest.path / "state.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0xFF
    data.write_bytes(content)
    fit.resume(narrow("gan"), run.path)
    assert f"{newest.path}: the checkpoint cannot be used" in capsys.readouterr().out
    assert checkpoint.find(run.checkpoints)[0].step == 8
    assert len(run.read_history()) == 2


def test_runs_without_their_checkpoints_are_not_begun_anew(photos, tmp_path):
    run = fit.fit(narrow("gan", "train.epochs=1"), surveyed(photos), tmp_path / "run")
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError, match="no whole checkpoint"):
        fit.resume(narrow(), run.path)


def test_a_run_that_is_finished_or_has_other_things_in_it(photos, tmp_path):
    run = fit.fit(narrow(), surveyed(photos), tmp_path / "run")
    before = run.generator.stat().st_mtime_ns
    fit.resume(None, run.path)
    assert run.generator.stat().st_mtime_ns == before
    with pytest.raises(RunError, match=r"to have 2 epochs, not 1; go on with --set train.epochs=2 or more"):
        fit.resume(narrow("gan", "train.epochs=1"), run.path)
    aside = run.checkpoints / "step-00000008.bak"
    shutil.copytree(run.checkpoints / "step-00000008", aside)
    fit.resume(narrow("gan", "train.epochs=3"), run.path)
    assert aside.is_dir()


def test_a_photo_that_vanishes(photos, tmp_path):
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    found = surveyed(mine)
    gone = mine / found.split("train")[0].path
    gone.rename(tmp_path / "aside.png")
    with pytest.raises(DataError) as told:
        fit.fit(narrow(), found, tmp_path / "run")
    message = str(told.value)
    assert str(gone) in message
    assert "\n" not in message
    assert "Graph execution" not in message
    (tmp_path / "aside.png").rename(gone)
    resumed = fit.resume(narrow(), tmp_path / "run")
    whole = fit.fit(narrow(), found, tmp_path / "whole")
    assert_same_run(whole.path, resumed.path)


def test_a_photo_that_breaks(photos, tmp_path):
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    found = surveyed(mine)
    (mine / found.split("train")[0].path).write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a photo of this run is broken \(Unknown image.*--resume$"):
        fit.fit(narrow(), found, tmp_path / "run")


def test_a_photo_that_vanishes_while_validating(photos, tmp_path):
    """Nothing is saved between an epoch's last step and its validation, so the epoch is told of after the resume."""
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    found = surveyed(mine)
    run = fit.fit(narrow("gan", "train.epochs=1"), found, tmp_path / "run")
    gone = mine / found.split("val")[-1].path
    # The samples are read when training begins, and the validation photos after it: gone in between.
    samples = fit.SAMPLES
    fit.SAMPLES = 1
    try:
        gone.rename(tmp_path / "aside.png")
        with pytest.raises(DataError, match=r"the run is saved in .*step-00000004; put the photo back"):
            fit.resume(narrow(), run.path)
    finally:
        fit.SAMPLES = samples
    (tmp_path / "aside.png").rename(gone)
    assert [entry["epoch"] for entry in fit.resume(narrow(), run.path).read_history()] == [1, 2]


def test_photos_that_moved(photos, tmp_path):
    fit.fit(narrow("gan", "train.epochs=1"), surveyed(photos), tmp_path / "run")
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    with pytest.raises(DataError, match="typo is not a folder"):
        fit.resume(narrow("gan", "data.folder=/typo"), tmp_path / "run")
    with pytest.raises(DataError, match="does not hold this run's photos"):
        fit.resume(narrow("gan", f"data.folder={tmp_path}"), tmp_path / "run")
    assert recipe.load(Run(tmp_path / "run").recipe).data.folder == ""
    run = fit.resume(narrow("gan", f"data.folder={moved}"), tmp_path / "run")
    assert len(run.read_history()) == 2
    assert manifest.Manifest.load(run.manifest).root == moved
    assert recipe.load(run.recipe).data.folder == str(moved)
    fit.resume(narrow(), run.path)  # which names no folder
    assert recipe.load(run.recipe).data.folder == str(moved)


def test_a_changed_manifest(photos, tmp_path):
    run = fit.fit(narrow("gan", "train.epochs=1"), surveyed(photos), tmp_path / "run")
    text = run.manifest.read_text()
    run.manifest.write_text(text.replace('"train"', '"test"', 1))
    with pytest.raises(RunError, match="changed since the run began"):
        fit.resume(narrow(), run.path)


def test_a_loss_that_is_not_finite(photos, tmp_path):
    wild = Run(tmp_path / "wild")
    changes = ["optimizer.learning_rate=1e8", "optimizer.final_learning_rate=0.0", "train.checkpoint_minutes=0"]
    with pytest.raises(RunError) as told:
        fit.fit(narrow("gan", *changes), surveyed(photos), wild.path)
    assert "not finite" in str(told.value)
    # The first step leaves weights that are absurd, but finite still.
    assert [kept.step for kept in checkpoint.find(wild.checkpoints)] == [1]
    assert f"the last good checkpoint is {checkpoint.find(wild.checkpoints)[0].path}" in str(told.value)
    assert all(np.isfinite(value).all() for value in everything(wild.path).values() if value.dtype.kind == "f")


@pytest.mark.parametrize(
    ("kilobytes", "what"), [(1, "cannot write the survey"), (260, "step-00000004: cannot be written")]
)
def test_a_full_disk(photos, tmp_path, kilobytes, what):
    """As good as one: the process may write no larger file, so the survey fails, or the first checkpoint does."""
    run = tmp_path / "run"
    words = command("fit", "gan", "--data", photos, "-o", run, *settings())
    limited = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *words]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("kcolor:")]
    assert what in line
    assert checkpoint.find(Run(run).checkpoints) == []
    assert list(run.rglob(".*")) == []


def test_too_few_photos_to_validate(tmp_path):
    folder = fill(tmp_path / "photos", ["a.png", "b.png"])
    found = manifest.prepare(folder, survey_file=tmp_path / "survey.jsonl", split=(0.85, 0.05, 0.1), workers=1)
    with pytest.raises(DataError, match="none falls to the val split"):
        fit.fit(narrow(), found, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_plan(photos):
    found = surveyed(photos)
    assert len(found.split("train")) == 10
    whole = fit.plan(narrow("gan", "train.steps_per_epoch=0", "train.batch_size=4"), found)
    assert (whole.steps_per_epoch, whole.steps) == (2, 4)
    short = fit.plan(narrow("gan", "train.steps_per_epoch=0", "train.batch_size=64"), found)
    assert short.steps_per_epoch == 1


def test_validation_is_spread_over_the_split(photos, tmp_path):
    """A bound on it does not mean the first class only."""
    from kcolor import build

    found = surveyed(photos)
    assert set(build.photos(found, "train", 2).labels) == {0, 1}
    assert len(build.photos(found, "train", 2)) == 2
    assert len(build.photos(found, "train")) == 10


def test_history_is_json_lines(photos, tmp_path):
    run = fit.fit(narrow("gan-class", *SIXTY_FOUR, "train.epochs=1"), surveyed(photos), tmp_path / "run")
    (line,) = run.history.read_text().splitlines()
    entry = json.loads(line)
    assert {"classification", "val_classification", "val_accuracy"} <= entry.keys()
    assert 0 <= entry["val_accuracy"] <= 1


def test_classes_that_are_missing(tmp_path):
    folder = fill(tmp_path / "photos", [f"{i}.png" for i in range(8)])
    colour(64).save(folder / "more.png")
    with pytest.raises(Exception, match="the photos have no classes"):
        fit.fit(narrow("gan-class", *SIXTY_FOUR), surveyed(folder), tmp_path / "run")
    assert not (tmp_path / "run").exists()
