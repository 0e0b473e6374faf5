"""From a recipe to the objects it describes: the only module that knows both."""

import os
from typing import Any

import keras

from kcolor import gan, networks
from kcolor.dataset import Photos
from kcolor.errors import RecipeError
from kcolor.manifest import Manifest
from kcolor.recipe import Recipe


def photos(manifest: Manifest, split: str, at_most: int = 0) -> Photos:
    """The photos of one split, or `at_most` of them spread evenly over it (0: all)."""
    rows = manifest.split(split)
    if 0 < at_most < len(rows):
        rows = [rows[i * len(rows) // at_most] for i in range(at_most)]
    numbers = {name: number for number, name in enumerate(manifest.classes)}
    return Photos(
        paths=[os.path.join(manifest.root, row.path) for row in rows],  # noqa: PTH118 - there may be millions
        labels=[numbers.get(row.label, 0) for row in rows],
        orientations=[row.orientation for row in rows],
    )


def generator(recipe: Recipe, classes: int) -> keras.Model:
    """The generator: with a class branch where the recipe gives classification a weight.

    Raises:
        RecipeError: The recipe classifies, and the photos have fewer than two classes.
    """
    network = recipe.network
    arguments: dict[str, Any] = {
        "size": recipe.data.size,
        "width": network.width,
        "depth": network.depth,
        "max_width": network.max_width,
        "dropout": network.dropout,
        "dtype": recipe.train.precision,
    }
    if not recipe.classification.weight:
        return networks.unet(**arguments)
    if classes < 2:
        raise RecipeError(
            "classification.weight: the photos have no classes; put them in a folder a class, name a CSV with "
            "--set data.labels=FILE, or do without (--set classification.weight=0)"
        )
    return networks.unet_with_class_branch(classes, **arguments)


def critic(recipe: Recipe) -> keras.Model:
    """The critic.

    Raises:
        RecipeError: The pictures are too small for so many strided blocks.
    """
    network = recipe.network
    if recipe.data.size // 2**network.critic_strided < 3:
        raise RecipeError(
            f"network.critic_strided: pictures of {recipe.data.size} are too small for {network.critic_strided}"
        )
    return networks.patchgan(
        recipe.data.size,
        width=network.critic_width,
        strided=network.critic_strided,
        normalize=network.critic_batchnorm,
        dtype=recipe.train.precision,
    )


def color_gan(recipe: Recipe, classes: int, steps: int) -> gan.ColorGAN:
    """The GAN of a recipe, compiled, its weights drawn from the recipe's seed.

    Args:
        recipe: The recipe.
        classes: The number of classes in the photos.
        steps: Batches in the whole run, over which a falling learning rate falls.

    Raises:
        RecipeError: As `generator` and `critic`.
    """
    keras.utils.set_random_seed(recipe.seed)
    both = (generator(recipe, classes), critic(recipe))
    objective = recipe.objective
    common: dict[str, Any] = {
        "adversarial_weight": objective.weight,
        "reconstruction": recipe.reconstruction.kind,
        "reconstruction_weight": recipe.reconstruction.weight,
        "classification_weight": recipe.classification.weight,
        "critic_steps": objective.critic_steps,
        "tone": recipe.data.tone,
        "grain": recipe.data.grain,
        "seed": recipe.seed,
    }
    model: gan.ColorGAN
    if objective.kind == "cgan":
        model = gan.ConditionalGAN(*both, real_target=objective.real_target, **common)
    elif objective.kind == "wgan-clip":
        model = gan.WassersteinGAN(*both, clip=objective.clip, **common)
    else:
        model = gan.WassersteinGANGP(*both, penalty=objective.penalty, **common)
    model.compile(optimizer(recipe, steps // objective.critic_steps), optimizer(recipe, steps))
    return model


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """An optimizer as the recipe says, for a network that takes so many steps in the whole run."""
    chosen = recipe.optimizer
    rate = chosen.learning_rate
    if chosen.final_learning_rate:
        rate = keras.optimizers.schedules.CosineDecay(rate, max(steps, 1), alpha=chosen.final_learning_rate / rate)
    if chosen.kind == "rmsprop":
        return keras.optimizers.RMSprop(rate, rho=chosen.rho, epsilon=chosen.epsilon)
    return keras.optimizers.Adam(rate, beta_1=chosen.beta1, beta_2=chosen.beta2, epsilon=chosen.epsilon)
