"""The GANs: one training step, and per objective only what differs.

A step is one batch. The generator runs once; the critic learns from its output; and at every
`critic_steps`-th step the generator learns from the critic as it then is.
"""

from collections.abc import Callable
from typing import Any, Self

import keras
import tensorflow as tf

from kcolor import color, losses, metrics, replicas
from kcolor.training import training_pass

# What validation tells beside the reconstruction error; "grey_" is the all-grey answer.
FIGURES = ("psnr", "delta_e_2000", "colourfulness_ratio", "grey_psnr", "grey_delta_e_2000")

# Keeps the draws of tone and grain apart from those of the penalty's points.
_AGING_STREAM = 0x61676564

_RECONSTRUCTION = {"l1": losses.l1, "l2": losses.l2}


class RunningMean(keras.metrics.Metric):
    """A mean over steps, of which several replicas hold the same one.

    `keras.metrics.Mean` keeps on each replica what that one saw, and adds it up to be read: all machines would have to
    take part where one of them looks at a loss or writes a checkpoint.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.total = keras.Variable(0.0, trainable=False, aggregation="mean", name="total")
        self.count = keras.Variable(0.0, trainable=False, aggregation="mean", name="count")

    def update_state(self, value: Any, sample_weight: Any = None) -> None:
        """Count a value, so many times."""
        weight = tf.constant(1.0) if sample_weight is None else sample_weight
        self.total.assign_add(value * weight)
        self.count.assign_add(weight)

    def result(self) -> tf.Tensor:
        """The mean; 0 before there is anything."""
        return tf.math.divide_no_nan(tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count))


class ColorGAN(keras.Model):
    """A generator of ab from L and a critic that judges it; `compile`, `fit` and `save` as with any Keras model.

    Subclasses say what the critic minimizes (`critic_terms`) and what it tells the generator
    (`adversarial`). The data are batches of (rgb, labels): (batch, size, size, 3) uint8 and (batch,) integer;
    the labels are read only by a generator with a class branch, and not if it has a teacher.

    Args:
        generator: As from `kcolor.networks.unet` or `unet_with_class_branch`, or `kcolor.chromagan.chromagan`.
        critic: As from `kcolor.networks.patchgan`.
        adversarial_weight: Weight of the adversarial term in the generator's loss.
        reconstruction: "l1" or "l2", of ab scaled to [-1, 1].
        reconstruction_weight: Weight of that term.
        classification_weight: Weight of the class branch's term, where there is one: cross-entropy with the labels, or
            KL divergence from what the teacher says.
        critic_steps: Steps of the critic to one of the generator.
        tone: How much the tone of L changes as the networks are shown it in training (`shown`); 0: not.
        grain: The largest sigma, in CIE L units, of the noise in it; 0: none.
        seed: Of what a step draws by chance; dropout has its own.
        teacher: From L (batch, size, size, 1), as it was before `shown`, to the probabilities (batch, classes) that the
            class branch learns; None: it learns the labels. A function, as from `kcolor.trunks.vgg16_teacher`, and no
            part of the GAN: it is neither saved nor counted, so that one that was loaded is to be given it again.
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        adversarial_weight: float = 1.0,
        reconstruction: str = "l1",
        reconstruction_weight: float = 100.0,
        classification_weight: float = 0.0,
        critic_steps: int = 1,
        tone: float = 0.0,
        grain: float = 0.0,
        seed: int | None = None,
        teacher: Callable[[tf.Tensor], tf.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.critic = critic
        self.generate = training_pass(generator)
        self.criticize = training_pass(critic)
        self.adversarial_weight = adversarial_weight
        self.reconstruction = reconstruction
        self.reconstruction_weight = reconstruction_weight
        self.classification_weight = classification_weight
        self.critic_steps = critic_steps
        self.tone = tone
        self.grain = grain
        self.seed = seed
        self.teacher = teacher
        if tone or grain:  # only then: a variable more, and the checkpoints of a GAN without it would not be its own
            self.aging_seed = keras.random.SeedGenerator(None if seed is None else seed ^ _AGING_STREAM)
        self.classifies = "logits" in generator.output
        train = [*self._critic_names, "generator", "adversarial", "reconstruction"]
        test = ["reconstruction", "grey_reconstruction"]
        if self.classifies:
            train.append("classification")
            test += ["classification", "accuracy"]
        self.train_trackers = {name: RunningMean(name) for name in train}
        self.test_trackers = {name: keras.metrics.Mean(name=name) for name in test}
        self.figures = [metrics.PSNR(), metrics.DeltaE(), metrics.Colourfulness()]
        self.grey_figures = [metrics.PSNR(name="grey_psnr"), metrics.DeltaE(name="grey_delta_e_2000")]
        self.built = True  # both networks are

    # What an objective says of itself.

    _critic_names: tuple[str, ...] = ("critic",)

    def critic_terms(self, l: tf.Tensor, ab: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
        """The critic's loss as "critic", with the terms it is made of beside it.

        Args:
            l: (batch, size, size, 1).
            ab: The truth, (batch, size, size, 2).
            fake: The generator's ab, of the same shape.
        """
        raise NotImplementedError

    def adversarial(self, scores: tf.Tensor) -> tf.Tensor:
        """The generator's adversarial loss, unweighted, from the critic's view of its pictures."""
        raise NotImplementedError

    def constrain_critic(self) -> None:
        """What is done to the critic's weights after each of its steps."""

    # What they share.

    def shown(self, l: tf.Tensor) -> tf.Tensor:
        """L as old prints have it, each picture in its own way; the truth's ab is left as it is.

        L in [0, 1] becomes 0.5 + c (L^g - 0.5), log g and log c drawn evenly from [-tone, tone]; then come normal noise
        of a sigma drawn evenly from [0, grain], pixel by pixel, and clipping to the range of L.

        Args:
            l: (batch, size, size, 1).

        Returns:
            (batch, size, size, 1); without `tone` and `grain`, `l` itself.
        """
        if not (self.tone or self.grain):
            return l

        def even(low: float, high: float) -> tf.Tensor:
            """A number a picture."""
            return replicas.own_rows(
                lambda rows: keras.random.uniform((rows, 1, 1, 1), low, high, seed=self.aging_seed), tf.shape(l)[0]
            )

        lightness = tf.clip_by_value((l + 1.0) / 2.0, 0.0, 1.0)
        if self.tone:
            gamma, contrast = tf.exp(even(-self.tone, self.tone)), tf.exp(even(-self.tone, self.tone))
            lightness = 0.5 + contrast * (lightness**gamma - 0.5)
        if self.grain:
            sigma = even(0.0, self.grain / (2.0 * color.L_SCALE))
            lightness += sigma * replicas.own_rows(
                lambda rows: keras.random.normal((rows, *l.shape[1:]), seed=self.aging_seed), tf.shape(l)[0]
            )
        return 2.0 * tf.clip_by_value(lightness, 0.0, 1.0) - 1.0

    def classes_of(self, l: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """What the class branch is to say: the labels, or the teacher's probabilities (batch, classes).

        Args:
            l: (batch, size, size, 1), as it was before `shown`.
            labels: (batch,) class numbers.
        """
        return tf.stop_gradient(self.teacher(l)) if self.classifies and self.teacher else labels

    def classification(self, classes: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The class branch's term, unweighted, from what `classes_of` gives."""
        return (losses.kl_divergence if self.teacher else losses.classification)(classes, logits)

    def generator_terms(
        self,
        l: tf.Tensor,
        ab: tf.Tensor,
        classes: tf.Tensor,
        outputs: dict[str, tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """The generator's loss as "generator", and its unweighted terms.

        Args:
            l: (batch, size, size, 1).
            ab: The truth, (batch, size, size, 2).
            classes: What `classes_of` gives.
            outputs: What the generator made of `l`.
        """
        terms = {
            "adversarial": self.adversarial(self.criticize([l, outputs["ab"]])),
            "reconstruction": _RECONSTRUCTION[self.reconstruction](ab, outputs["ab"]),
        }
        total = self.adversarial_weight * terms["adversarial"] + self.reconstruction_weight * terms["reconstruction"]
        if self.classifies:
            terms["classification"] = self.classification(classes, outputs["logits"])
            total += self.classification_weight * terms["classification"]
        return {"generator": total, **terms}

    def compile(self, optimizer: Any = "adam", critic_optimizer: Any = "adam", **kwargs: Any) -> None:
        """Set the two optimizers: `optimizer` trains the generator, `critic_optimizer` the critic."""
        super().compile(optimizer=optimizer, **kwargs)
        self.critic_optimizer = keras.optimizers.get(critic_optimizer)
        if self.critic_optimizer is self.optimizer:
            raise ValueError("the two networks need an optimizer each: one keeps the state of one network")
        self.optimizer.build(self.generator.trainable_variables)
        self.critic_optimizer.build(self.critic.trainable_variables)

    @property
    def step(self) -> int:
        """The number of batches learnt from."""
        return int(self.critic_optimizer.iterations.numpy())

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means that `fit` and `evaluate` report and reset."""
        return [*self.train_trackers.values(), *self.test_trackers.values(), *self.figures, *self.grey_figures]

    def call(self, l: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """What the generator makes of L (batch, size, size, 1)."""
        return self.generator(l, training=training)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One batch: the critic learns, and in its turn the generator."""
        # A graph runs what it can: without this, a batch that cannot be read would still be counted.
        with tf.control_dependencies(data):
            steps = self.critic_steps
            turn = steps == 1 or self.critic_optimizer.iterations % steps == steps - 1
            self.track(self.learn(*data, turn), turn)
        return self.means()

    def learn(self, rgb: tf.Tensor, labels: tf.Tensor, turn: bool | tf.Tensor) -> dict[str, tf.Tensor]:
        """The learning of one step, from a batch or a replica's rows of it.

        Args:
            rgb: (rows, size, size, 3) uint8.
            labels: (rows,) integer.
            turn: Whether it is the generator's turn, too. A tensor makes both ways part of the graph, which several
                replicas do not allow.

        Returns:
            The terms of the losses, means over these rows; out of its turn those of the generator are zero, or not
            there.
        """
        clean, ab = color.split(rgb)
        # The critic is shown the same L. Beside the clean one it would know edges that the generator cannot, and punish
        # it for what it was not told; and in use it is the print's own L that the colours are joined with.
        l = self.shown(clean)
        with tf.GradientTape() as generator_tape:
            outputs = self.generate(l)

        with tf.GradientTape() as critic_tape:
            critic_terms = self.critic_terms(l, ab, tf.stop_gradient(outputs["ab"]))
        gradients = critic_tape.gradient(critic_terms["critic"], self.critic.trainable_variables)
        _descend(self.critic_optimizer, gradients, self.critic.trainable_variables)
        self.constrain_critic()

        def learn() -> dict[str, tf.Tensor]:
            classes = self.classes_of(clean, labels)
            # The generator's own pass was recorded above; here the loss is led back to its outputs.
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                terms = self.generator_terms(l, ab, classes, outputs)
            slopes = tape.gradient(terms["generator"], outputs)
            if replicas.count() == 1:
                gradients = generator_tape.gradient(
                    outputs, self.generator.trainable_variables, output_gradients=slopes
                )
            else:
                # From one number back: from several outputs TensorFlow takes the branches in no certain order, and what
                # replicas exchange on the way they must exchange in the same one.
                with generator_tape:
                    led = tf.add_n([tf.reduce_sum(slopes[name] * output) for name, output in sorted(outputs.items())])
                gradients = generator_tape.gradient(led, self.generator.trainable_variables)
            _descend(self.optimizer, gradients, self.generator.trainable_variables)
            return terms

        if isinstance(turn, bool):
            return critic_terms | learn() if turn else critic_terms
        names = [name for name in self.train_trackers if name not in critic_terms]
        return critic_terms | tf.cond(turn, learn, lambda: dict.fromkeys(names, tf.constant(0.0)))

    def track(self, terms: dict[str, tf.Tensor], turn: bool | tf.Tensor) -> None:
        """Count what `learn` returned in the running means."""
        for name, value in terms.items():
            counted = name in self._critic_names or turn
            self.train_trackers[name].update_state(value, tf.cast(counted, tf.float32))

    def means(self) -> dict[str, tf.Tensor]:
        """The running means of the epoch, by name."""
        return {name: tracker.result() for name, tracker in self.train_trackers.items()}

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One batch in inference mode: the reconstruction error and the figures of `FIGURES`, beside those of all grey.

        The accuracy of a class branch that has a teacher is how often both think the same class the likeliest.
        The figures are those of 8-bit RGB of the networks' size, joined with the true L (`kcolor.metrics`).
        """
        self.judge(*data)
        return self.verdict()

    def judge(self, rgb: tf.Tensor, labels: tf.Tensor) -> None:
        """Add a batch, or a replica's part of one, to what `verdict` tells."""
        l, ab = color.split(rgb)
        outputs = self.generator(l, training=False)
        error = _RECONSTRUCTION[self.reconstruction]
        terms = {"reconstruction": error(ab, outputs["ab"]), "grey_reconstruction": error(ab, tf.zeros_like(ab))}
        if self.classifies:
            classes = self.classes_of(l, labels)
            terms["classification"] = self.classification(classes, outputs["logits"])
            if self.teacher:
                labels = tf.argmax(classes, axis=-1, output_type=labels.dtype)
            right = tf.argmax(outputs["logits"], axis=-1, output_type=labels.dtype) == labels
            terms["accuracy"] = tf.reduce_mean(tf.cast(right, tf.float32))
        for name, value in terms.items():
            self.test_trackers[name].update_state(value, tf.cast(tf.shape(rgb)[0], tf.float32))
        for answer, figures in ((outputs["ab"], self.figures), (tf.zeros_like(ab), self.grey_figures)):
            prediction = color.merge(l, answer)
            for figure in figures:
                figure.update_state(rgb, prediction)

    def verdict(self) -> dict[str, tf.Tensor]:
        """What `test_step` tells, of all that has been judged."""
        results = {name: tracker.result() for name, tracker in self.test_trackers.items()}
        for figure in [*self.figures, *self.grey_figures]:
            result = figure.result()
            results |= result if isinstance(result, dict) else {figure.name: result}
        return {name: value for name, value in results.items() if name in self.test_trackers or name in FIGURES}

    # Saving and loading.

    def get_config(self) -> dict[str, Any]:
        """Everything the constructor takes, the two networks included."""
        return {
            **super().get_config(),
            "generator": keras.saving.serialize_keras_object(self.generator),
            "critic": keras.saving.serialize_keras_object(self.critic),
            "adversarial_weight": self.adversarial_weight,
            "reconstruction": self.reconstruction,
            "reconstruction_weight": self.reconstruction_weight,
            "classification_weight": self.classification_weight,
            "critic_steps": self.critic_steps,
            "tone": self.tone,
            "grain": self.grain,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Rebuild a GAN from `get_config`."""
        networks = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("generator", "critic")
        }
        return cls(**{**config, **networks})

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, with both optimizers."""
        return {
            **super().get_compile_config(),
            "critic_optimizer": keras.saving.serialize_keras_object(self.critic_optimizer),
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as `get_compile_config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))


@keras.saving.register_keras_serializable(package="kcolor")
class ConditionalGAN(ColorGAN):
    """pix2pix's conditional GAN (Isola et al., CVPR 2017), with one-sided label smoothing.

    Args:
        real_target: What the critic is told of real patches (see `kcolor.losses.cgan_critic`).
    """

    def __init__(self, generator: keras.Model, critic: keras.Model, *, real_target: float = 0.9, **kwargs: Any) -> None:
        super().__init__(generator, critic, **kwargs)
        self.real_target = real_target

    def critic_terms(self, l: tf.Tensor, ab: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
        # Two calls: batch normalization is to see real and generated pictures apart.
        real_scores = self.criticize([l, ab])
        fake_scores = self.criticize([l, fake])
        return {"critic": losses.cgan_critic(real_scores, fake_scores, self.real_target)}

    def adversarial(self, scores: tf.Tensor) -> tf.Tensor:
        return losses.cgan_generator(scores)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "real_target": self.real_target}


@keras.saving.register_keras_serializable(package="kcolor")
class WassersteinGAN(ColorGAN):
    """Wasserstein GAN with clipped weights (Arjovsky et al., ICML 2017, algorithm 1).

    Args:
        clip: Each weight of the critic is kept within [-clip, clip].
    """

    def __init__(self, generator: keras.Model, critic: keras.Model, *, clip: float = 0.01, **kwargs: Any) -> None:
        super().__init__(generator, critic, **kwargs)
        self.clip = clip

    def critic_terms(self, l: tf.Tensor, ab: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
        real_scores = self.criticize([l, ab])
        fake_scores = self.criticize([l, fake])
        return {"critic": losses.wasserstein_critic(real_scores, fake_scores)}

    def adversarial(self, scores: tf.Tensor) -> tf.Tensor:
        return losses.wasserstein_generator(scores)

    def constrain_critic(self) -> None:
        for variable in self.critic.trainable_variables:
            variable.assign(tf.clip_by_value(variable.value, -self.clip, self.clip))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "clip": self.clip}


@keras.saving.register_keras_serializable(package="kcolor")
class WassersteinGANGP(ColorGAN):
    """Wasserstein GAN with gradient penalty (Gulrajani et al., NeurIPS 2017, algorithm 1).

    The penalty is taken along ab: L is given, the same in both pictures.

    Args:
        penalty: Weight of the gradient penalty.
        seed: Of the points between real and generated pictures where the slope is taken, too.
    """

    _critic_names = ("critic", "wasserstein", "penalty")

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        *,
        penalty: float = 10.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(generator, critic, seed=seed, **kwargs)
        self.penalty = penalty
        self.mixing_seed = keras.random.SeedGenerator(seed)

    def critic_terms(
        self,
        l: tf.Tensor,
        ab: tf.Tensor,
        fake: tf.Tensor,
        mixing: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        # One call, as each score depends on its own picture alone.
        scores = self.criticize([tf.concat([l, l], 0), tf.concat([ab, fake], 0)])
        real_scores, fake_scores = tf.split(scores, 2)
        wasserstein = losses.wasserstein_critic(real_scores, fake_scores)
        if mixing is None:
            mixing = replicas.own_rows(
                lambda rows: keras.random.uniform((rows, 1, 1, 1), seed=self.mixing_seed), tf.shape(l)[0]
            )
        penalty = losses.gradient_penalty(lambda x: self.criticize([l, x]), ab, fake, mixing)
        return {"critic": wasserstein + self.penalty * penalty, "wasserstein": wasserstein, "penalty": penalty}

    def adversarial(self, scores: tf.Tensor) -> tf.Tensor:
        return losses.wasserstein_generator(scores)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "penalty": self.penalty, "seed": self.mixing_seed.get_config()["seed"]}


def _descend(optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor], variables: list[Any]) -> None:
    """Apply the gradients of a loss that is a mean over a replica's rows; optimizers add those of all replicas up."""
    number = replicas.count()
    optimizer.apply(gradients if number == 1 else [gradient / number for gradient in gradients], variables)
