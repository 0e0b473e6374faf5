"""One training step, its bookkeeping, and the GAN as a Keras model."""

import functools

import keras
import numpy as np
import pytest
import skimage.color
import tensorflow as tf

from kcolor import color, gan, losses, networks

OBJECTIVES = {"cgan": gan.ConditionalGAN, "wgan-gp": gan.WassersteinGANGP, "wgan-clip": gan.WassersteinGAN}
CLASSES = 5


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def make(objective="cgan", *, size=16, classes=0, dropout=0.0, dtype="float32", optimizers=None, **arguments):
    """A narrow GAN, compiled."""
    if classes:
        generator = networks.unet_with_class_branch(classes, 64, width=2, depth=4, dropout=dropout, dtype=dtype)
        size = 64
    else:
        generator = networks.unet(size, width=4, depth=2, dropout=dropout, dtype=dtype)
    critic = networks.patchgan(size, width=4, strided=2, normalize=objective != "wgan-gp", dtype=dtype)
    if objective == "wgan-gp":
        arguments.setdefault("seed", 0)
    model = OBJECTIVES[objective](generator, critic, **arguments)
    model.compile(*(optimizers or (keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))))
    return model


def photos(count, size=16):
    """(rgb, labels), the first photo grey."""
    rgb = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    rgb[0] = rgb[0, ..., :1]
    return tf.constant(rgb), tf.constant(np.arange(count) % CLASSES, tf.int32)


def batches(count, batch_size, size=16):
    return tf.data.Dataset.from_tensor_slices(photos(count, size)).batch(batch_size)


def values(variables):
    return [np.array(variable) for variable in variables]


def same(before, after):
    return all(np.array_equal(ours, theirs) for ours, theirs in zip(before, after, strict=True))


def state(model, seeds=True):
    """All that training moves, but for the running metrics; with the states of the random generators or without."""
    variables = [*model.variables, *model.optimizer.variables, *model.critic_optimizer.variables]
    return values(variable for variable in variables if seeds or not is_seed(variable))


def is_seed(variable):
    return "seed_generator" in variable.path


class Watch(keras.callbacks.Callback):
    """Says for each step whether the weights of each network moved, and what was reported."""

    def __init__(self):
        super().__init__()
        self.moved, self.logs = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.before = [values(net.trainable_variables) for net in (self.model.generator, self.model.critic)]

    def on_train_batch_end(self, batch, logs=None):
        nets = (self.model.generator, self.model.critic)
        self.moved.append(
            tuple(not same(old, values(net.trainable_variables)) for old, net in zip(self.before, nets, strict=True))
        )
        self.logs.append(dict(logs))


@pytest.fixture(scope="module", params=OBJECTIVES)
def fitted(request):
    """A GAN after two epochs of three steps, critic_steps=3, and what was seen of it."""
    keras.utils.set_random_seed(0)
    model, watch = make(request.param, critic_steps=3), Watch()
    # The generator that meets the third batch has not moved yet.
    lightness, ab = color.split(list(batches(6, 2))[2][0])
    first = float(tf.reduce_mean(tf.abs(ab - model.generator(lightness, training=True)["ab"])))
    before, step, traced = state(model), model.train_step, []

    def counting_step(data):
        traced.append(data)  # Python runs when the step is traced, not when it is taken
        return step(data)

    model.train_step = counting_step
    history = model.fit(batches(6, 2), epochs=2, verbose=0, shuffle=False, callbacks=[watch]).history
    assert not same(before, state(model))
    return {"model": model, "history": history, "watch": watch, "traces": len(traced), "first_reconstruction": first}


def test_fit_reports_finite_terms(fitted):
    shared = {"critic", "generator", "adversarial", "reconstruction"}
    own = {"wasserstein", "penalty"} if isinstance(fitted["model"], gan.WassersteinGANGP) else set()
    history = fitted["history"]
    assert {name for name, value in history.items() if value != [0, 0]} == shared | own
    assert np.isfinite(list(history.values())).all()


def test_critic_steps_to_one_of_the_generator(fitted):
    assert fitted["watch"].moved == [(False, True), (False, True), (True, True)] * 2
    model = fitted["model"]
    assert (int(model.optimizer.iterations), int(model.critic_optimizer.iterations)) == (2, 6)


def test_generator_terms_are_means_over_its_own_turns(fitted):
    logs, history = fitted["watch"].logs, fitted["history"]
    assert [logs[step]["generator"] for step in (0, 1, 3, 4)] == [0, 0, 0, 0]  # no turn yet in this epoch
    assert logs[2]["reconstruction"] == pytest.approx(fitted["first_reconstruction"], rel=1e-4)
    assert history["reconstruction"] == [logs[2]["reconstruction"], logs[5]["reconstruction"]]


def test_steps_are_traced_once(fitted):
    assert fitted["traces"] == 1


# L as it is shown in training.


def test_without_tone_and_grain_nothing_is_there_of_them():
    """Neither in the step nor in a checkpoint: runs that were begun before there were any go on."""
    for objective in OBJECTIVES:
        seeds = [variable.path for variable in make(objective).variables if "seed" in variable.path]
        assert len(seeds) == (objective == "wgan-gp")
        aged = make(objective, tone=0.1)
        assert len([variable for variable in aged.variables if "seed" in variable.path]) == len(seeds) + 1
        assert len(aged.variables) == len(make(objective).variables) + 1
    lightness, _ = color.split(photos(2)[0])
    assert make().shown(lightness) is lightness


def test_grain_is_noise_of_a_sigma_of_each_picture():
    grain = make(grain=6.0, seed=1)
    lightness = tf.fill((200, 32, 32, 1), 0.2)
    noise = (grain.shown(lightness) - lightness).numpy()[..., 0] * color.L_SCALE
    sigmas = noise.std(axis=(1, 2))
    assert sigmas.max() == pytest.approx(6.0, rel=0.1)
    assert sigmas.min() < 0.3
    assert sigmas.mean() == pytest.approx(3.0, rel=0.1)
    assert np.abs(noise.mean(axis=(1, 2))).max() < 1.0
    one = noise[sigmas.argmax()]
    assert abs(np.corrcoef(one[:, 1:].ravel(), one[:, :-1].ravel())[0, 1]) < 0.15  # each pixel its own


def test_tone_is_a_curve_of_each_picture():
    model = make(tone=0.3, seed=1)
    ramp = np.linspace(-1, 1, 41, dtype=np.float32)
    curves = model.shown(tf.constant(np.tile(ramp, (300, 2, 1))[..., None])).numpy()[..., 0]
    np.testing.assert_array_equal(curves[:, 0], curves[:, 1])  # of L alone, wherever it is
    curves = (curves[:, 0] + 1) / 2
    assert (np.diff(curves, axis=1) >= 0).all()
    assert curves.min() == 0
    assert curves.max() == 1
    # 0.5 + c (L^g - 0.5) at the middle, log g and log c at most 0.3: between these, and near both ends of it.
    most = np.exp(0.3)
    ends = [0.5 + most * (0.5**most - 0.5), 0.5 + most * (0.5 ** (1 / most) - 0.5)]
    assert ends[0] - 1e-5 <= curves[:, 20].min() < ends[0] + 0.03
    assert ends[1] - 0.03 < curves[:, 20].max() <= ends[1] + 1e-5
    slope = (curves[:, 21] - curves[:, 19]) / 0.05
    assert slope.min() < 0.8
    assert slope.max() > 1.25
    assert len(np.unique(curves[:, 20])) > 290


def test_what_is_shown_depends_on_the_seed_and_is_new_each_time():
    lightness, _ = color.split(photos(2)[0])
    first, again, other = (make(tone=0.2, grain=4.0, seed=seed) for seed in (3, 3, 4))
    once, twice = first.shown(lightness), first.shown(lightness)
    np.testing.assert_array_equal(again.shown(lightness), once)
    np.testing.assert_array_equal(again.shown(lightness), twice)
    assert not np.allclose(once, twice, atol=1e-3)
    assert not np.allclose(other.shown(lightness), once, atol=1e-3)
    assert np.abs(once).max() <= 1


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_generator_and_critic_are_shown_the_same_and_the_truth_stays(objective, monkeypatch):
    model, seen = make(objective, tone=0.2, grain=4.0, seed=0), []
    # Made anew with the same seed, it draws what the step is going to draw.
    expected = make(objective, tone=0.2, grain=4.0, seed=0).shown(color.split(photos(2)[0])[0])

    def watched(method):
        return lambda l, ab, *rest: seen.append((l, ab, rest[-1])) or method(l, ab, *rest)

    for name in ("critic_terms", "generator_terms"):
        monkeypatch.setattr(model, name, watched(getattr(model, name)))
    before = model.generator(expected, training=True)["ab"]
    model.train_step(photos(2))
    lightness, ab = color.split(photos(2)[0])
    (critic_l, critic_ab, fake), (l, truth, outputs) = seen
    for given in (critic_l, l):
        np.testing.assert_array_equal(given, expected)
    assert not np.allclose(expected, lightness, atol=1e-2)
    for given in (critic_ab, truth):
        np.testing.assert_array_equal(given, ab)
    for made in (fake, outputs["ab"]):
        np.testing.assert_allclose(made, before, atol=1e-6)


def test_validation_is_shown_photos_as_they_are():
    plain, aged = make(), make(tone=0.3, grain=8.0, seed=0)
    aged.set_weights(plain.get_weights())
    before = state(aged)
    expected, found = (model.evaluate(batches(5, 2), verbose=0, return_dict=True) for model in (plain, aged))
    assert found == expected
    assert same(before, state(aged))


def test_clipped_critic_stays_clipped():
    model = make("wgan-clip", clip=0.015)
    model.fit(batches(4, 2), verbose=0, shuffle=False)
    largest = [np.abs(weight).max() for weight in values(model.critic.trainable_variables)]
    assert max(largest) == np.float32(0.015)
    assert np.abs(model.generator.get_layer("encoder_0_conv").kernel).max() > 0.015


def test_each_optimizer_moves_only_its_own_network():
    still, moving = (lambda: keras.optimizers.SGD(0.0)), (lambda: keras.optimizers.SGD(0.1))
    for optimizers, expected in (((moving(), still()), (True, False)), ((still(), moving()), (False, True))):
        model = make(optimizers=optimizers)
        before = [values(net.trainable_variables) for net in (model.generator, model.critic)]
        model.train_step(photos(2))
        after = [values(net.trainable_variables) for net in (model.generator, model.critic)]
        assert tuple(not same(*pair) for pair in zip(before, after, strict=True)) == expected


def test_evaluation_moves_nothing():
    model = make(dropout=0.5)
    model.fit(batches(4, 2), verbose=0, shuffle=False)
    before = state(model)
    model.evaluate(batches(5, 2), verbose=0)
    assert same(before, state(model))
    model.train_step(photos(2))
    assert not same(before, state(model))


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_evaluation_is_the_mean_over_photos_whatever_the_batches(kind):
    model = make(reconstruction=kind)
    metrics = model.evaluate(batches(5, 4), verbose=0, return_dict=True)
    rgb = photos(5)[0]
    truth = skimage.color.rgb2lab(rgb)[..., 1:] / color.AB_SCALE
    prediction = model.generator(color.split(rgb)[0])["ab"].numpy()
    power = {"l1": 1, "l2": 2}[kind]
    # The first photo is grey: one batch of four and one of one, weighted alike, would give something else.
    assert metrics["grey_reconstruction"] == pytest.approx((np.abs(truth) ** power).mean(), rel=1e-4)
    assert metrics["reconstruction"] == pytest.approx((np.abs(prediction - truth) ** power).mean(), rel=1e-4)


def test_a_generator_that_answers_grey_scores_as_grey():
    model = make()
    model.generator.get_layer("output_conv").set_weights([np.zeros((4, 4, 2, 8)), np.zeros(2)])
    metrics = model.evaluate(batches(4, 2), verbose=0, return_dict=True)
    assert metrics["reconstruction"] == metrics["grey_reconstruction"] > 0.05
    assert metrics["psnr"] == metrics["grey_psnr"] < 40
    assert metrics["delta_e_2000"] == metrics["grey_delta_e_2000"] > 1
    assert metrics["colourfulness_ratio"] < 0.02


def test_the_figures_of_evaluation_are_those_of_rgb():
    model = make()
    metrics = model.evaluate(batches(5, 4), verbose=0, return_dict=True)
    rgb = np.asarray(photos(5)[0])
    lab = skimage.color.rgb2lab(rgb)
    ab = model.generator(color.split(rgb)[0])["ab"].numpy() * color.AB_SCALE
    prediction = np.round(skimage.color.lab2rgb(np.concatenate([lab[..., :1], ab], axis=-1)) * 255) / 255
    error = ((prediction - rgb / 255) ** 2).mean()
    assert metrics["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.01)
    difference = skimage.color.deltaE_ciede2000(lab, skimage.color.rgb2lab(prediction))
    assert metrics["delta_e_2000"] == pytest.approx(difference.mean(), rel=1e-2)


def test_accuracy_and_cross_entropy_of_the_class_branch():
    model = make(classes=CLASSES)
    rgb, _ = photos(5, 64)
    logits = model.generator(color.split(rgb)[0])["logits"].numpy()
    best = logits.argmax(axis=-1)
    labels = np.where([True, True, False, False, True], best, (best + 1) % CLASSES).astype(np.int32)
    data = tf.data.Dataset.from_tensor_slices((rgb, labels)).batch(4)
    metrics = model.evaluate(data, verbose=0, return_dict=True)
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = -np.log(softmax[np.arange(5), labels]).mean()
    assert metrics["classification"] == pytest.approx(expected, rel=1e-5)


def by_brightness(l):
    """A teacher: the probabilities of `CLASSES` classes, of which a brighter picture is more probably a later one."""
    return tf.nn.softmax(5.0 * tf.reduce_mean(l, axis=[1, 2]) * tf.range(float(CLASSES)))


def test_accuracy_and_divergence_with_a_teacher():
    """It agrees with the teacher or not, whatever the labels are."""
    model = make(classes=CLASSES, teacher=by_brightness)
    rgb, labels = photos(5, 64)
    lightness = color.split(rgb)[0]
    logits, target = model.generator(lightness)["logits"], by_brightness(lightness)
    data = tf.data.Dataset.from_tensor_slices((rgb, labels - 1)).batch(4)  # no photo needs a class
    metrics = model.evaluate(data, verbose=0, return_dict=True)
    agreed = np.argmax(logits, axis=-1) == np.argmax(target, axis=-1)
    assert metrics["accuracy"] == pytest.approx(agreed.mean())
    expected = np.mean(keras.losses.kl_divergence(target, tf.nn.softmax(logits)))
    assert metrics["classification"] == pytest.approx(expected, rel=1e-4)


def test_a_teacher_sees_each_batch_once_and_as_it_was():
    seen = []

    def teacher(l):
        seen.append(np.asarray(l))
        return by_brightness(l)

    model = make(classes=CLASSES, teacher=teacher, critic_steps=2, tone=0.5, grain=5.0, seed=1)
    data = photos(2, 64)
    for _ in range(4):
        model.learn(*data, turn=int(model.critic_optimizer.iterations) % 2 == 1)
    assert len(seen) == 2
    np.testing.assert_array_equal(seen[0], color.split(data[0])[0])


def test_a_teacher_is_no_part_of_the_gan(tmp_path):
    taught = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(CLASSES, "softmax")])
    taught.build((None, 64, 64, 1))
    model = make(classes=CLASSES, teacher=lambda l: taught(l, training=False))
    before = values(taught.variables)
    model.train_step(photos(2, 64))
    assert same(before, values(taught.variables))
    assert len(model.variables) == len(make(classes=CLASSES).variables)
    model.save(tmp_path / "gan.keras")
    again = keras.models.load_model(tmp_path / "gan.keras")
    assert again.teacher is None
    again.teacher = model.teacher
    assert float(again.train_step(photos(2, 64))["classification"]) > 0


@pytest.mark.parametrize(
    ("objective", "classes", "teacher"),
    [("cgan", 0, None), ("wgan-gp", CLASSES, None), ("wgan-gp", CLASSES, by_brightness), ("wgan-clip", 0, None)],
    ids=["cgan", "wgan-gp", "wgan-gp with a teacher", "wgan-clip"],
)
def test_generator_learns_by_the_gradient_of_its_loss(objective, classes, teacher):
    optimizers = (keras.optimizers.SGD(1.0), keras.optimizers.SGD(0.01))
    weights = {"classification_weight": 0.5, "reconstruction_weight": 2.0}
    model = make(objective, classes=classes, optimizers=optimizers, teacher=teacher, **weights)
    generator, critic = model.generator, model.critic
    rgb, labels = photos(2, 64 if classes else 16)
    before = values(generator.trainable_variables)
    model.train_step((rgb, labels))
    step = [old - new for old, new in zip(before, values(generator.trainable_variables), strict=True)]

    # Back at the old weights, in one piece, against the critic as the step left it.
    for variable, value in zip(generator.trainable_variables, before, strict=True):
        variable.assign(value)
    lightness, ab = color.split(rgb)
    with tf.GradientTape() as tape:
        outputs = generator(lightness, training=True)
        scores = critic([lightness, outputs["ab"]], training=True)
        adversarial = tf.reduce_mean(tf.nn.softplus(-scores)) if objective == "cgan" else -tf.reduce_mean(scores)
        loss = adversarial + 2 * tf.reduce_mean(tf.abs(ab - outputs["ab"]))
        if teacher:
            probable = tf.nn.softmax(outputs["logits"])
            loss += 0.5 * tf.reduce_mean(keras.losses.kl_divergence(teacher(lightness), probable))
        elif classes:
            loss += 0.5 * tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, outputs["logits"], True))
    gradients = tape.gradient(loss, generator.trainable_variables)
    assert tf.linalg.global_norm(gradients) > 0.1
    for ours, gradient in zip(step, gradients, strict=True):
        np.testing.assert_allclose(ours, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_critic_learns_from_real_and_generated_pictures(objective):
    optimizers = (keras.optimizers.SGD(0.0), keras.optimizers.SGD(1.0))
    model = make(objective, optimizers=optimizers, **({"clip": 1e9} if objective == "wgan-clip" else {}))
    critic = model.critic
    rgb, labels = photos(2)
    before = values(critic.trainable_variables)
    lightness, ab = color.split(rgb)
    fake = model.generator(lightness, training=True)["ab"]
    with tf.GradientTape() as tape:
        real_scores, fake_scores = critic([lightness, ab], training=True), critic([lightness, fake], training=True)
        if objective == "cgan":
            real_loss = 0.9 * tf.nn.softplus(-real_scores) + 0.1 * tf.nn.softplus(real_scores)
            loss = (tf.reduce_mean(real_loss) + tf.reduce_mean(tf.nn.softplus(fake_scores))) / 2
        else:
            loss = tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores)
        if objective == "wgan-gp":
            mixing = keras.random.uniform((2, 1, 1, 1), seed=keras.random.SeedGenerator(0))
            loss += 10 * losses.gradient_penalty(lambda x: critic([lightness, x]), ab, fake, mixing)
    gradients = tape.gradient(loss, critic.trainable_variables)
    metrics = model.train_step((rgb, labels))
    assert float(metrics["critic"]) == pytest.approx(float(loss), rel=1e-4, abs=1e-6)
    for old, new, gradient in zip(before, values(critic.trainable_variables), gradients, strict=True):
        np.testing.assert_allclose(old - new, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("objective", "optimizer", "own"),
    [
        ("cgan", keras.optimizers.Adam, {"real_target": 0.8}),
        ("wgan-gp", keras.optimizers.RMSprop, {"penalty": 3.0}),
        ("wgan-clip", keras.optimizers.RMSprop, {"clip": 0.02}),
    ],
    ids=OBJECTIVES,
)
def test_saved_gan_trains_on_as_if_never_saved(objective, optimizer, own, tmp_path):
    shared = {
        "adversarial_weight": 0.7,
        "reconstruction": "l2",
        "reconstruction_weight": 3.0,
        "classification_weight": 0.25,
        "critic_steps": 2,
        "tone": 0.2,
        "grain": 3.0,
        "seed": 7,
    }
    model = make(objective, dropout=0.5, optimizers=(optimizer(3e-3), optimizer(1e-3)), **shared, **own)
    for _ in range(3):
        model.train_step(photos(2))
    model.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")

    assert type(loaded) is OBJECTIVES[objective]
    assert loaded.get_config().items() >= (shared | own).items()
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.critic_optimizer.get_config() == model.critic_optimizer.get_config()
    assert int(loaded.critic_optimizer.iterations) == 3
    assert same(state(model, seeds=False), state(loaded, seeds=False))
    # Keras leaves the states of random generators out of its files.
    for ours, theirs in zip(model.variables, loaded.variables, strict=True):
        if is_seed(ours):
            theirs.assign(ours)
    for _ in range(2):
        model.train_step(photos(2))
        loaded.train_step(photos(2))
    assert same(state(model), state(loaded))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_step_compiles_under_xla(objective):
    critic_steps = 2 if objective == "wgan-gp" else 1
    eager, compiled = (make(objective, critic_steps=critic_steps) for _ in range(2))
    compiled.set_weights(eager.get_weights())
    if objective == "wgan-gp":  # XLA draws other random numbers, so the points of the penalty are given
        mixing = tf.constant([0.25, 0.75], shape=(2, 1, 1, 1))
        for model in (eager, compiled):
            model.critic_terms = functools.partial(model.critic_terms, mixing=mixing)
    step = tf.function(compiled.train_step, jit_compile=True)
    for _ in range(critic_steps):
        expected, metrics = eager.train_step(photos(2)), step(photos(2))
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4), name


def test_step_compiles_under_xla_with_all_there_can_be_in_it():
    model = make("wgan-gp", classes=CLASSES, dropout=0.5, dtype="mixed_bfloat16", tone=0.2, grain=5.0)
    terms = tf.function(model.train_step, jit_compile=True)(photos(2, 64))
    assert np.isfinite(values(terms.values())).all()


@pytest.mark.parametrize(("objective", "classes"), [("cgan", 0), ("wgan-gp", CLASSES), ("wgan-clip", 0)])
def test_mixed_precision_trains_with_float32_losses(objective, classes):
    model = make(objective, classes=classes, dtype="mixed_bfloat16", classification_weight=1.0)
    data = photos(2, 64 if classes else 16)
    before = values(model.trainable_variables)
    lightness, ab = color.split(data[0])
    outputs = model.generator(lightness, training=True)
    terms = model.generator_terms(lightness, ab, data[1], outputs) | model.critic_terms(lightness, ab, outputs["ab"])
    assert {term.dtype for term in terms.values()} == {tf.float32}
    for _ in range(2):
        metrics = model.train_step(data)
    assert np.isfinite(values(metrics.values())).all()
    assert np.isfinite(np.concatenate([value.ravel() for value in values(model.trainable_variables)])).all()
    moved = [not np.array_equal(*pair) for pair in zip(before, values(model.trainable_variables), strict=True)]
    assert np.mean(moved) > 0.9
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


def test_penalty_is_taken_at_new_points_each_step():
    model = make("wgan-gp")
    lightness, ab = color.split(photos(2)[0])
    once, again = (float(model.critic_terms(lightness, ab, -ab)["penalty"]) for _ in range(2))
    assert once != again
    assert float(make("wgan-gp").critic_terms(lightness, ab, -ab)["penalty"]) != again


def test_call_is_the_generator_without_dropout():
    model = make(dropout=0.5)
    lightness, _ = color.split(photos(2)[0])
    np.testing.assert_array_equal(model(lightness)["ab"], model.generator(lightness, training=False)["ab"])
