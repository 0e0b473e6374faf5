"""A trained generator from wherever it is stored, and the same in training mode."""

import hashlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from made import colour
from skimage.color import lab2rgb, rgb2lab

import kcolor
from kcolor import networks, scenes
from kcolor.colorizer import Colorizer, load_generator, of, stochastic, variant, with_scene
from kcolor.data.manifest import Manifest
from kcolor.errors import RunError
from kcolor.run import Run

KINDS = ("run", "keras", "saved_model", "tflite")


def lightness(count: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, (count, 64, 64, 1)), tf.float32)


@pytest.fixture(scope="module")
def places(finished, exported) -> dict[str, Path]:
    return {
        "run": finished.path,
        "keras": finished.generator,
        "saved_model": exported / "1",
        "tflite": exported / "tiny.float32.tflite",
    }


@pytest.fixture(scope="module")
def loaded(places) -> dict[str, Colorizer]:
    return {kind: Colorizer.load(place) for kind, place in places.items()}


# --- photographs


def test_photographs_in_any_form(loaded, tmp_path):
    colorizer = loaded["run"]
    picture = colour(90).crop((0, 0, 90, 70))
    picture.save(tmp_path / "a.png")
    expected = colorizer(np.asarray(picture))
    assert (expected.shape, expected.dtype) == ((70, 90, 3), np.uint8)
    np.testing.assert_array_equal(colorizer(tmp_path / "a.png").rgb, expected)
    np.testing.assert_array_equal(colorizer((tmp_path / "a.png").read_bytes()).rgb, expected)
    np.testing.assert_array_equal(np.asarray(colorizer(picture)), expected)
    # A list of more than a batch, of many sizes and forms, each in its own.
    given = [np.asarray(colour(20 + i, i)) for i in range(10)] + [picture]
    made = colorizer(given)
    assert [type(each) for each in made] == [np.ndarray] * 10 + [type(picture)]
    for one, both in zip(given[:10], made[:10], strict=True):
        assert np.abs(both.astype(int) - colorizer(one)).max() <= 1
    assert colorizer([]) == []


@pytest.mark.parametrize("seed", range(6))
def test_photographs_of_any_size(loaded, seed):
    """From 1 to 3000 pixels a side; turned grey again, each is the one that was given."""
    random = np.random.default_rng(seed)
    height, width = np.exp(random.uniform(0, np.log(3000), 2)).astype(int)
    grey = np.asarray(colour(64, seed).convert("L").resize((width, height)))
    made = loaded["run"](grey)
    assert made.shape == (height, width, 3)
    assert np.abs(rgb_to_grey(made) - grey).max() <= 1.01


def rgb_to_grey(rgb: np.ndarray) -> np.ndarray:
    """The grey of the same L, in 0..255."""
    lab = rgb2lab(rgb)
    lab[..., 1:] = 0
    return 255 * lab2rgb(lab)[..., 0]


def test_options_of_a_call(loaded):
    colorizer, rgb = loaded["run"], np.asarray(colour(80))
    chroma = [np.hypot(*np.moveaxis(rgb2lab(colorizer(rgb, saturation=s))[..., 1:], -1, 0)).mean() for s in (0, 1, 2)]
    assert chroma[0] < 0.5 < chroma[1] < chroma[2]
    assert (colorizer(rgb) != colorizer(rgb, upsample="bilinear")).any()
    with pytest.raises(ValueError, match="upsample is 'cubic', not one of guided, bilinear"):
        colorizer(rgb, upsample="cubic")
    for saturation in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not a number from 0 on"):
            colorizer(rgb, saturation=saturation)


def test_nan_is_no_colour(loaded):
    broken = replace(loaded["run"], outputs=lambda l: {"ab": tf.fill((len(l), 64, 64, 2), np.nan)})
    with pytest.raises(RunError, match=r"generator.keras: gives NaN: a broken model"):
        broken(np.asarray(colour(80)))


def test_it_is_the_package_s_own_name(finished):
    assert kcolor.Colorizer is Colorizer
    assert kcolor.Colorizer.load(str(finished.path)).size == 64
    with pytest.raises(AttributeError):
        kcolor.nothing  # noqa: B018


# --- what is loaded


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_all_kinds_say_what_keras_says(loaded, finished, kind, count):
    l = lightness(count)
    # The file by Keras itself.
    expected = keras.models.load_model(finished.generator, compile=False)(l, training=False)
    assert np.ptp(expected["ab"].numpy(), axis=0).max() > 0.01 or count == 1  # the pictures are told apart
    made = loaded[kind].outputs(l)
    assert made["ab"].shape == (count, 64, 64, 2)
    assert made["ab"].dtype == tf.float32
    np.testing.assert_allclose(made["ab"], expected["ab"], atol=1e-4)
    assert made.keys() == ({"ab"} if kind == "saved_model" else {"ab", "logits"})
    if "logits" in made:
        np.testing.assert_allclose(made["logits"], expected["logits"], atol=1e-4)


def test_another_picture_has_other_colours(loaded):
    for colorizer in loaded.values():
        one, other = (colorizer.outputs(lightness(1, seed))["ab"].numpy() for seed in (0, 1))
        assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_of_it(loaded, places, kind):
    colorizer, place = loaded[kind], places[kind]
    file = place / "generator.keras" if kind == "run" else place
    assert colorizer.path == file
    assert colorizer.kind == ("keras" if kind == "run" else kind)
    assert colorizer.size == 64
    assert (colorizer.generator is None) == (kind in ("saved_model", "tflite"))
    if file.is_file():
        assert colorizer.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    else:
        inside = sorted(path for path in file.rglob("*") if path.is_file())
        assert len(inside) > 2
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(file).as_posix()}\n" for path in inside
        ]
        assert colorizer.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_any_file_of_a_saved_model_counts(places, loaded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(places["saved_model"], copy)
    assert Colorizer.load(copy).sha256 == loaded["saved_model"].sha256
    (copy / "assets" / "names.txt").write_text("forest")
    changed = Colorizer.load(copy).sha256
    assert changed != loaded["saved_model"].sha256
    (copy / "assets" / "names.txt").rename(copy / "assets" / "classes.txt")
    assert Colorizer.load(copy).sha256 not in (changed, loaded["saved_model"].sha256)


def test_a_saved_model_outlives_what_loaded_it(places, loaded):
    import gc

    outputs = Colorizer.load(places["saved_model"]).outputs
    gc.collect()
    np.testing.assert_allclose(outputs(lightness(1))["ab"], loaded["keras"].outputs(lightness(1))["ab"], atol=1e-4)


def test_the_names_of_the_classes(finished, loaded, tmp_path):
    for kind in ("run", "keras"):
        assert loaded[kind].classes == ("forest", "sea")
    assert Colorizer.load(finished.best).classes == ("forest", "sea")
    assert loaded["saved_model"].classes == ()
    # Beside no run, nobody knows them.
    elsewhere = Path(shutil.copy(finished.generator, tmp_path / "elsewhere.keras"))
    assert Colorizer.load(elsewhere).classes == ()
    assert "logits" in Colorizer.load(elsewhere).outputs(lightness(1))


def test_a_tflite_says_what_it_sees(loaded, places, tmp_path):
    """By the JSON beside it, as long as that is of this very file."""
    assert loaded["tflite"].classes == ("forest", "sea")
    made = loaded["tflite"].outputs(lightness(2))
    np.testing.assert_allclose(made["logits"], loaded["keras"].outputs(lightness(2))["logits"], atol=1e-4)
    alone = Path(shutil.copy(places["tflite"], tmp_path / "alone.tflite"))
    assert Colorizer.load(alone).classes == ()
    shutil.copy(places["tflite"].with_suffix(".json"), tmp_path / "alone.json")
    assert Colorizer.load(alone).classes == ("forest", "sea")
    shutil.copy(places["tflite"].with_name("tiny.float16.json"), tmp_path / "alone.json")
    assert Colorizer.load(alone).classes == ()
    (tmp_path / "alone.json").write_text("{")
    assert Colorizer.load(alone).classes == ()


def test_a_tflite_from_photo_to_photo_is_not_for_here(places):
    assert "take the file beside it without .rgb" in refusal(places["tflite"].with_name("tiny.float32.rgb.tflite"))


def test_classes_of_a_manifest_that_is_not_the_model_s(finished, tmp_path):
    run = Run(tmp_path / "run")
    run.path.mkdir()
    for file in (finished.info, finished.generator, finished.manifest):
        shutil.copy(file, run.path)
    assert Colorizer.load(run.path).classes == ("forest", "sea")
    found = Manifest.load(finished.manifest)
    Manifest(found.root, tuple(p for p in found.photos if p.label == "sea"), found.rules).save(run.manifest)
    assert Colorizer.load(run.path).classes == ()
    run.manifest.write_text("damaged")
    assert Colorizer.load(run.path).classes == ()
    run.manifest.unlink()
    assert Colorizer.load(run.path).classes == ()


def test_a_generator_that_is_at_hand():
    generator = networks.unet(64, width=4, depth=4)
    colorizer = of(generator)
    assert (colorizer.kind, colorizer.size, colorizer.classes) == ("keras", 64, ())
    made = colorizer.outputs(lightness(2))
    assert made.keys() == {"ab"}
    np.testing.assert_allclose(made["ab"], generator(lightness(2), training=False)["ab"], atol=1e-6)


# --- what is refused


def refusal(place: Path) -> str:
    with pytest.raises(RunError) as refused:
        Colorizer.load(place)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{place}")
    return message


@pytest.mark.parametrize("shape", [(64, 64, 3), (64, 32, 1), (None, None, 1), (64, 64)], ids=str)
def test_a_keras_model_of_another_input(tmp_path, shape):
    given = keras.Input(shape)
    x = given if len(shape) == 3 else keras.layers.Reshape((64, 64, 1))(given)
    keras.Model(given, {"ab": keras.layers.Conv2D(2, 1)(x)}).save(tmp_path / "a.keras")
    message = refusal(tmp_path / "a.keras")
    assert str((None, *shape)) in message
    assert "squares of L" in message


def test_a_keras_model_of_several_inputs(tmp_path):
    pair = [keras.Input((64, 64, 1), name=name) for name in "ab"]
    for number, given in enumerate((pair, dict(zip("ab", pair, strict=True)))):
        place = tmp_path / f"{number}.keras"
        keras.Model(given, {"ab": keras.layers.Concatenate()(pair)}).save(place)
        assert "squares of L" in refusal(place)


def test_a_keras_model_that_gives_no_ab(tmp_path):
    networks.patchgan(64, width=4).save(tmp_path / "critic.keras")
    assert "no output ab" in refusal(tmp_path / "critic.keras")


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_keras_model_that_has_not_been_built(tmp_path):
    keras.Sequential([keras.layers.Conv2D(2, 1)]).save(tmp_path / "a.keras")
    assert "not a colorizer" in refusal(tmp_path / "a.keras")


def tflite(place: Path, *shape: int, names=("l",), output="ab") -> Path:
    """A file of LiteRT from such a batch, of as many inputs as have names."""

    def colours(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: tf.add_n([tf.concat([one[..., :1]] * 2, axis=-1) for one in given])}

    signature = tf.function(colours, [tf.TensorSpec(shape, tf.float32, name) for name in names])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures={"ab": signature})
        place.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["ab"]).convert())
    return place


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (1, 8, 4, 1), (1, 8, 8)], ids=str)
def test_a_tflite_of_another_input(tmp_path, shape):
    message = refusal(tflite(tmp_path / "a.tflite", *shape))
    assert str(shape) in message
    assert "squares of L" in message


def test_a_tflite_that_gives_something_else(tmp_path):
    for place in (
        tflite(tmp_path / "a.tflite", 1, 8, 8, 1, output="l"),
        tflite(tmp_path / "b.tflite", 1, 8, 8, 1, names=("l", "m")),
    ):
        assert "no readable signature ab, from l to ab" in refusal(place)
    # The same way in and out as kcolor's is taken.
    assert Colorizer.load(tflite(tmp_path / "c.tflite", 1, 8, 8, 1)).size == 8


def test_a_tflite_that_is_none(places, tmp_path):
    whole = places["tflite"].read_bytes()
    for content in (b"", b"nothing", whole[: len(whole) // 2], whole[:100]):
        (tmp_path / "a.tflite").write_bytes(content)
        assert "not a .tflite of kcolor export" in refusal(tmp_path / "a.tflite")


def test_a_saved_model_of_something_else(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda l: {"rgb": 2.0 * l}, [tf.TensorSpec((None, 8, 8, 1), tf.float32, name="l")])
    tf.saved_model.save(module, str(tmp_path / "other"), signatures={"double": module.double})
    assert "no readable signature ab" in refusal(tmp_path / "other")
    module.ab = tf.function(lambda l: {"ab": 2.0 * l[..., :2]}, [tf.TensorSpec((None, 8, 8, 3), tf.float32, name="l")])
    tf.saved_model.save(module, str(tmp_path / "colours"), signatures={"ab": module.ab})
    assert "(None, 8, 8, 3)" in refusal(tmp_path / "colours")
    module.ab = tf.function(lambda l: {"ab": 2.0 * l}, [tf.TensorSpec(None, tf.float32, name="l")])
    tf.saved_model.save(module, str(tmp_path / "anything"), signatures={"ab": module.ab})
    assert "squares of L" in refusal(tmp_path / "anything")


def test_a_saved_model_that_is_damaged(places, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(places["saved_model"], copy)
    whole = (copy / "saved_model.pb").read_bytes()
    for content in (b"", b"nothing", whole[: len(whole) // 2]):
        (copy / "saved_model.pb").write_bytes(content)
        assert "not a SavedModel of kcolor export" in refusal(copy)
    (copy / "saved_model.pb").write_bytes(whole)
    for data in (copy / "variables").iterdir():
        data.unlink()
    assert "not a SavedModel of kcolor export" in refusal(copy)


def test_what_is_no_model_at_all(finished, tmp_path):
    assert "not a run directory" in refusal(tmp_path)
    assert "no such run or model" in refusal(tmp_path / "nothing.keras")
    assert "no such run or model" in refusal(tmp_path / "nothing.tflite")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    assert "not a whole .keras model" in refusal(tmp_path / "photo.jpg")
    run = Run(tmp_path / "run")
    run.path.mkdir()
    shutil.copy(finished.info, run.info)
    assert "not finished; kcolor fit --resume" in refusal(run.path)


def test_a_folder_of_versions_is_its_newest_one_but_no_keras_model(exported):
    assert Colorizer.load(exported).path == exported / "1"
    with pytest.raises(RunError, match="not a run directory; the export in it is"):
        load_generator(exported)


# --- training mode


@pytest.fixture
def trained(finished) -> Colorizer:
    """A model of its own for each test, since noise goes on."""
    return Colorizer.load(finished.path)


def test_training_mode_repeats_by_its_seed(trained):
    l = lightness(3)
    noisy = stochastic(trained, 5)
    first = [noisy.outputs(l)["ab"].numpy() for _ in range(2)]
    assert np.abs(first[0] - first[1]).max() > 0.01  # dropout goes on
    noisy = stochastic(trained, 5)
    np.testing.assert_array_equal([noisy.outputs(l)["ab"].numpy() for _ in range(2)], first)
    assert np.abs(stochastic(trained, 6).outputs(l)["ab"].numpy() - first[0]).max() > 0.01


def test_training_mode_repeats_in_another_model(finished, trained):
    l = lightness(2)
    trained.generator(l, training=True)  # what noise it has had before does not matter
    fresh = Colorizer.load(finished.path)
    np.testing.assert_array_equal(stochastic(fresh, 3).outputs(l)["ab"], stochastic(trained, 3).outputs(l)["ab"])


def test_training_mode_is_not_inference(trained):
    l = lightness(3)
    inferred = trained.outputs(l)
    made = stochastic(trained, 0).outputs(l)
    assert made["ab"].shape == inferred["ab"].shape
    assert np.abs(made["ab"] - inferred["ab"]).max() > 0.01
    assert np.abs(made["logits"] - inferred["logits"]).max() > 1e-4


def test_training_mode_moves_nothing_but_the_noise(trained):
    l = lightness(3)
    inferred = trained.outputs(l)["ab"].numpy()
    before = {variable.path: variable.numpy() for variable in trained.generator.variables}
    noisy = stochastic(trained, 7)
    for count in (3, 2, 1):
        noisy.outputs(lightness(count))
    changed = {
        variable.path
        for variable in trained.generator.variables
        if not np.array_equal(variable.numpy(), before[variable.path])
    }
    # Dropout is in three blocks of the decoder and twice in the head; what it draws from are the only whole numbers.
    assert changed == {variable.path for variable in trained.generator.variables if "int" in variable.dtype}
    assert len(changed) == 5
    assert sum("moving_mean" in path for path in before) > 5
    np.testing.assert_array_equal(trained.outputs(l)["ab"], inferred)


def test_training_mode_has_the_statistics_of_the_batch():
    """Without dropout it is what Keras does in training, of which Keras itself would keep the statistics."""
    generator = networks.unet(64, width=4, depth=4, dropout=0.0)
    copy = keras.models.clone_model(generator)
    copy.set_weights(generator.get_weights())
    l = lightness(4)
    made = stochastic(of(generator), 0).outputs(l)["ab"]
    np.testing.assert_allclose(made, copy(l, training=True)["ab"], atol=1e-5)
    assert np.abs(made[:1] - stochastic(of(generator), 0).outputs(l[:1])["ab"]).max() > 0.01
    assert any(
        not np.array_equal(mine, theirs)
        for mine, theirs in zip(generator.get_weights(), copy.get_weights(), strict=True)
    )


@pytest.mark.parametrize("kind", ["saved_model", "tflite"])
def test_exports_have_no_training_mode(loaded, places, kind):
    with pytest.raises(RunError, match="an export has no training mode") as refused:
        stochastic(loaded[kind], 0)
    assert str(refused.value).startswith(f"{places[kind]}: ")
    assert "\n" not in str(refused.value)


# --- variants


def test_variants_differ(decided):
    colorizer, l = Colorizer.load(decided.path), lightness(2)
    ab = [
        variant(colorizer, seed, number).outputs(l)["ab"].numpy() for seed, number in ((0, 1), (0, 2), (1, 1), (1, 2))
    ]
    ab.append(colorizer.outputs(l)["ab"].numpy())
    for i, one in enumerate(ab):
        assert one.shape == (2, 64, 64, 2)
        assert all(np.abs(one - other).mean() > 0.01 for other in ab[:i])


def test_a_variant_is_one_of_photo_seed_and_number(decided):
    colorizer, l = Colorizer.load(decided.path), lightness(3)
    made = variant(colorizer, 5, 2).outputs(l)
    other = variant(colorizer, 5, 3)
    other.outputs(l)  # what else was made before does not matter,
    stochastic(colorizer, 5).outputs(l)
    colorizer.generator(l, training=False)
    again = variant(colorizer, 5, 2)
    for _ in range(2):
        np.testing.assert_array_equal(again.outputs(l)["ab"], made["ab"])
    # nor does what is made at the same time, nor who loaded it.
    fresh = variant(Colorizer.load(decided.path), 5, 2)
    backwards = fresh.outputs(l[::-1])
    for name in ("ab", "logits"):
        np.testing.assert_array_equal(backwards[name][::-1], made[name])
        np.testing.assert_array_equal(fresh.outputs(l[1:2])[name], made[name][1:2])


def test_a_variant_of_photographs_of_any_size(decided):
    colorizer = Colorizer.load(decided.path)
    rgb = [np.random.default_rng(i).integers(0, 256, (50 + 30 * i, 70, 3), np.uint8) for i in range(2)]
    one, other = (variant(colorizer, 0, number)(rgb) for number in (1, 2))
    assert [made.shape for made in one] == [photo.shape for photo in rgb]
    assert np.abs(one[1].astype(int) - other[1]).mean() > 0.5
    np.testing.assert_array_equal(variant(colorizer, 0, 1)(rgb[1]), one[1])


def test_variants_move_nothing(decided):
    colorizer, l = Colorizer.load(decided.path), lightness(3)
    inferred = colorizer.outputs(l)["ab"].numpy()
    before = [variable.numpy() for variable in colorizer.generator.variables]
    noisy = variant(colorizer, 7, 1)
    noisy.outputs(l)
    noisy.outputs(l)
    # The noise is not even that of the generator, which `stochastic` goes on with.
    for variable, value in zip(colorizer.generator.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    np.testing.assert_array_equal(colorizer.outputs(l)["ab"], inferred)
    np.testing.assert_array_equal(colorizer.generator(l, training=False)["ab"], inferred)
    colorizer.generator.save(decided.path / "again.keras")
    np.testing.assert_array_equal(Colorizer.load(decided.path / "again.keras").outputs(l)["ab"], inferred)


def test_a_variant_has_moving_statistics_and_dropout():
    """A dropout that keeps nearly all is nearly inference, though a batch's statistics are others."""
    generator = networks.unet(64, width=4, depth=4, dropout=1e-9)
    l = lightness(2)
    inferred = generator(l, training=False)["ab"]
    assert np.abs(generator(l, training=True)["ab"] - inferred).max() > 0.01  # which moves the statistics
    expected = generator(l, training=False)["ab"]
    np.testing.assert_allclose(variant(of(generator), 0, 0).outputs(l)["ab"], expected, atol=1e-5)
    # One that keeps nothing is as if the normalization before it gave nothing.
    generator = networks.unet(64, width=4, depth=4, dropout=1.0)
    made = variant(of(generator), 0, 0).outputs(l)["ab"]
    assert np.abs(made - generator(l, training=False)["ab"]).max() > 0.001
    for i in range(3):
        norm = generator.get_layer(f"decoder_{i}_norm")
        norm.gamma.assign(0.0 * norm.gamma)
        norm.beta.assign(0.0 * norm.beta)
    np.testing.assert_allclose(made, generator(l, training=False)["ab"], atol=1e-5)


@pytest.mark.parametrize("kind", ["saved_model", "tflite"])
def test_exports_have_no_variants(loaded, places, kind):
    with pytest.raises(RunError, match="an export has no variants") as refused:
        variant(loaded[kind], 0, 1)
    assert str(refused.value).startswith(f"{places[kind]}: ")
    assert "\n" not in str(refused.value)


def test_without_dropout_there_are_no_variants(tmp_path):
    networks.unet(64, width=4, depth=4, dropout=0.0).save(tmp_path / "sure.keras")
    with pytest.raises(RunError, match="no dropout") as refused:
        variant(Colorizer.load(tmp_path / "sure.keras"), 0, 1)
    assert str(refused.value).startswith(f"{tmp_path / 'sure.keras'}: ")
    assert "\n" not in str(refused.value)


# --- scenes


def test_the_network_s_own_scene_changes_nothing(decided):
    generator, l = load_generator(decided.path), lightness(2)
    own = networks.scene_encoder(generator)(l, training=False).numpy()
    assert own.shape == (2, 32)
    inferred = generator(l, training=False)
    for i in range(2):
        made = of(networks.with_scene(generator, own[i])).outputs(l)
        np.testing.assert_allclose(made["ab"][i], inferred["ab"][i], atol=1e-5)
        np.testing.assert_allclose(made["logits"], inferred["logits"], atol=1e-5)
        # The other photo is not of this scene.
        assert np.abs(made["ab"][1 - i] - inferred["ab"][1 - i]).max() > 0.001
    with pytest.raises(ValueError, match="32 numbers"):
        networks.with_scene(generator, own[0, :8])


def test_another_scene_is_other_colours(decided):
    colorizer, l = Colorizer.load(decided.path), lightness(2)
    inferred = colorizer.outputs(l)
    averages = scenes.of(colorizer)
    made = {name: with_scene(colorizer, name) for name in ("forest", "sea")}
    for name, told in made.items():
        expected = networks.with_scene(colorizer.generator, averages[name])(l, training=False)
        np.testing.assert_allclose(told.outputs(l)["ab"], expected["ab"], atol=1e-5)
        np.testing.assert_allclose(told.outputs(l)["logits"], inferred["logits"], atol=1e-5)
        assert np.abs(told.outputs(l)["ab"] - inferred["ab"]).max() > 0.001
        assert (told.path, told.sha256, told.classes) == (colorizer.path, colorizer.sha256, colorizer.classes)
    assert np.abs(made["forest"].outputs(l)["ab"] - made["sea"].outputs(l)["ab"]).max() > 0.001
    np.testing.assert_array_equal(colorizer.outputs(l)["ab"], inferred["ab"])
    # The last word counts.
    again = with_scene(made["forest"], "sea")
    np.testing.assert_allclose(again.outputs(l)["ab"], made["sea"].outputs(l)["ab"], atol=1e-5)


def test_variants_of_a_scene(decided):
    colorizer, l = Colorizer.load(decided.path), lightness(1)
    forest, sea = (with_scene(colorizer, name) for name in ("forest", "sea"))
    ab = [variant(told, 0, number).outputs(l)["ab"].numpy() for told in (forest, sea) for number in (1, 2)]
    for i, one in enumerate(ab):
        assert all(np.abs(one - other).max() > 0.001 for other in ab[:i])
    # The noise is that of the same variant without a scene: told what the network sees itself, it is the same.
    own = networks.scene_encoder(colorizer.generator)(l, training=False).numpy()[0]
    made = variant(of(networks.with_scene(colorizer.generator, own)), 0, 1).outputs(l)["ab"]
    np.testing.assert_allclose(made, variant(colorizer, 0, 1).outputs(l)["ab"], atol=1e-5)


def no_scene(colorizer: Colorizer, name: str) -> str:
    with pytest.raises(RunError) as refused:
        with_scene(colorizer, name)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{colorizer.path}: ")
    return str(refused.value)


def test_a_scene_that_is_not_known(decided, monkeypatch):
    colorizer = Colorizer.load(decided.path)
    monkeypatch.setattr(scenes, "measure", lambda *_, **__: pytest.fail("photos are read before the name is looked at"))
    message = no_scene(colorizer, "forst")
    assert "knows no scene forst (did you mean forest?)" in message
    assert message.endswith("it knows forest, sea")
    assert "did you mean" not in no_scene(colorizer, "a\nkitchen")


def test_what_takes_no_scene(loaded, tmp_path, finished):
    for kind in ("saved_model", "tflite"):
        assert "an export takes no scene" in no_scene(loaded[kind], "forest")
    networks.unet(64, width=4, depth=4).save(tmp_path / "plain.keras")
    assert "no class branch" in no_scene(Colorizer.load(tmp_path / "plain.keras"), "forest")
    shutil.copy(finished.generator, tmp_path / "alone.keras")
    assert "not known" in no_scene(Colorizer.load(tmp_path / "alone.keras"), "forest")
    assert "not known" in no_scene(of(load_generator(finished.path)), "forest")


def test_the_generator_alone(finished):
    assert load_generator(finished.path).input_shape == (None, 64, 64, 1)
