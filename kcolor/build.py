"""From a recipe to the objects it describes: the only module that knows both."""

import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kcolor import chromagan, gan, networks, trunks, weights
from kcolor.colorizer import Colorizer
from kcolor.data import dataset, shards
from kcolor.data.dataset import Photos
from kcolor.data.manifest import Manifest
from kcolor.data.prepare import place
from kcolor.data.records import Shards
from kcolor.errors import DataError, RecipeError, RunError
from kcolor.optimizers import Adam
from kcolor.recipe import Recipe


def photos(manifest: Manifest, split: str, at_most: int = 0) -> Photos:
    """The photos of one split, or `at_most` of them spread evenly over it (0: all)."""
    rows = manifest.split(split)
    if at_most:
        rows = rows.spread(at_most)
    return dataset.photos_of(rows, manifest.root, manifest.classes)


def source(recipe: Recipe, manifest: Manifest) -> Callable[..., Photos | Shards]:
    """What gives the photos of a split, and at most so many of them, as `photos` does: from files, or from shards.

    Of shards, the first so many; they were shuffled.

    Raises:
        DataError: ``data.folder`` is one of shards, and they are damaged, of other photos, without those of a split, or
            made in another way than the recipe sees photos; or the recipe shows instances, and there are none to show.
    """
    data = recipe.data
    folder = place(data.folder)
    if data.instances:
        _check_instances(folder, manifest)
    if not shards.are_in(folder):
        return lambda split, at_most=0: photos(manifest, split, at_most)
    index = shards.load(folder)
    if index.manifest_sha256 != manifest.sha256:
        raise DataError(f"{folder}: shards of other photos than {manifest.root} has; name the right ones")
    smallest = math.ceil(data.size / (1 - data.random_crop))
    if index.size < smallest or index.crop != data.crop:
        windows = " to cut windows from (data.random_crop)" if data.random_crop else ""
        raise DataError(
            f"{folder}: squares of {index.size} pixels, {_FITTED[index.crop]}; the recipe needs {smallest} or more"
            f"{windows}, {_FITTED[data.crop]}; change the recipe, or write others: kcolor prepare FOLDER --shards DIR "
            f"--size {smallest} --set data.crop={str(data.crop).lower()}"
        )
    for split in shards.SPLITS:
        if not index.photos(split):
            raise DataError(f"{folder}: no photo of the {split} split could be read for them; {shards.mending(folder)}")
    shards.check(folder, index)

    def of(split: shards.Split, at_most: int = 0) -> Shards:
        # Those that were left out may have been all of a file.
        files = [shard for shard in index.splits.get(split, []) if shard.photos]
        return Shards(
            files=[shards.inside(folder, shard.name) for shard in files],
            counts=[shard.photos for shard in files],
            bytes=sum(shard.bytes for shard in files),
            size=index.size,
            quality=index.quality,
            at_most=at_most,
        )

    return of


def _check_instances(folder: str, manifest: Manifest) -> None:
    """Make sure that there are instances to train on.

    Raises:
        DataError: There are not.
    """
    without = "or do without: --set data.instances=0"
    if shards.are_in(folder):
        raise DataError(
            f"data.instances: instances are cut from photos, which the shards in {folder} do not hold; train from a "
            f"manifest, {without}"
        )
    if not manifest.has_instances:
        raise DataError(
            f"data.instances: nobody has looked for instances in these photos; kcolor prepare "
            f"{shlex.quote(str(manifest.root))} --instances, and --data the manifest that it names, {without}"
        )
    if not manifest.split("train").instances.counts.any():
        found = manifest.rules["instances"]
        raise DataError(
            f"data.instances: {found['detector']} found none of score {found['min_score']:g} and {found['min_size']} "
            f"pixels in the training photos of {manifest.root}; try another --detector or --min-score, {without}"
        )


_FITTED = {False: "of whole photos (data.crop=false)", True: "of photos' centres (data.crop=true)"}


def shards_sha256(recipe: Recipe) -> str | None:
    """The hash of the shards that a recipe's photos are in; None where they are files.

    Raises:
        DataError: The shards have no index, or a broken one.
    """
    folder = place(recipe.data.folder)
    return shards.load(folder).sha256 if shards.are_in(folder) else None


def check(recipe: Recipe, manifest: Manifest, *, begins: bool = True) -> None:
    """Make sure, before anything is made, that there is all that a recipe needs: photos, classes, published weights.

    Args:
        recipe: The recipe.
        manifest: Its photos.
        begins: As in `imagenet`; what another model needs to be begun with is `check_origin`'s to say.

    Raises:
        RecipeError, DataError: As `source`, `imagenet` and `class_count`.
    """
    source(recipe, manifest)
    imagenet(recipe, begins=begins)
    if begins:
        class_count(recipe, len(manifest.classes))


def class_count(recipe: Recipe, classes: int) -> int:
    """How many classes the class branch tells apart: as many as the photos have, or as the teacher; 0 without a branch.

    Args:
        recipe: The recipe.
        classes: The number of classes in the photos.

    Raises:
        RecipeError: The recipe classifies, and the photos have fewer than two classes.
    """
    if not recipe.classification.weight:
        return 0
    number = trunks.IMAGENET_CLASSES if recipe.classification.target == "teacher" else classes
    if number < 2:
        raise RecipeError(
            "classification.weight: the photos have no classes; put them in a folder a class, name a CSV with "
            "--set data.labels=FILE, or do without (--set classification.weight=0)"
        )
    return number


def generator(recipe: Recipe, classes: int) -> keras.Model:
    """The generator: with a class branch where the recipe gives classification a weight.

    Args:
        recipe: The recipe.
        classes: The number of classes in the photos.

    Raises:
        RecipeError: As `class_count`.
    """
    network, number = recipe.network, class_count(recipe, classes)
    arguments: dict[str, Any] = {
        "size": recipe.data.size,
        "width": network.width,
        "dtype": recipe.train.precision,
    }
    if network.kind == "chromagan":
        return chromagan.chromagan(number, **arguments)
    arguments |= {"depth": network.depth, "max_width": network.max_width, "dropout": network.dropout}
    return networks.unet_with_class_branch(number, **arguments) if number else networks.unet(**arguments)


def imagenet(recipe: Recipe, *, begins: bool = True) -> Path | None:
    """The file of ImageNet's VGG-16, where a recipe needs it.

    Args:
        recipe: The recipe.
        begins: Whether the generator begins by the recipe, and not with the weights of a checkpoint or another model.

    Raises:
        RecipeError: It is needed, and not here.
        DataError: It cannot be read.
    """
    network, taught = recipe.network, recipe.classification.target == "teacher"
    pretrained = begins and network.kind == "chromagan" and network.backbone_weights == "imagenet"
    if not (taught or pretrained):
        return None
    entry = weights.CATALOGUE["vgg16-imagenet"]
    path = weights.find(entry)
    if path is None:
        key = "network.backbone_weights" if pretrained else "classification.target"
        do_without = ["--set network.backbone_weights=none"] if pretrained else []
        do_without += ["--set classification.target=labels"] if taught else []
        raise RecipeError(
            f"{key}: needs ImageNet's VGG-16, which is not here: kcolor weights fetch {entry.name}; "
            f"or do without: {' '.join(do_without)}"
        )
    return path


def pretrain(generator: keras.Model, recipe: Recipe) -> bool:
    """Give a generator ImageNet's weights, where its recipe lets it begin with them.

    Args:
        generator: As from `generator`.
        recipe: Its recipe.

    Returns:
        Whether it does.

    Raises:
        RecipeError, DataError: As `imagenet`; or it is another network.
    """
    network = recipe.network
    path = imagenet(recipe)
    if network.kind != "chromagan" or network.backbone_weights != "imagenet" or path is None:
        return False
    names = [layer.name for layer in generator.layers]
    trunks.give_weights(generator, trunks.vgg16_layers(path, names), path)
    return True


def check_origin(recipe: Recipe, origin: Colorizer, classes: Sequence[str] | None) -> None:
    """Make sure that a recipe's generator can start from the weights of another.

    Args:
        recipe: The recipe.
        origin: The other.
        classes: The names of the photos' classes; None where they are not known yet.

    Raises:
        RunError: It has no weights to train on, or is no generator of kcolor.
        RecipeError: The recipe means another network, or the photos have no classes for its class branch to learn.
    """
    if origin.generator is None:
        raise RunError(f"{origin.path}: an export cannot be trained on; give the run, or its generator.keras")
    try:
        theirs = networks.layout(origin.generator)
    except ValueError as error:
        raise RunError(f"{origin.path}: {error}") from error
    network = recipe.network
    if theirs.kind != network.kind:
        raise RecipeError(
            f"{origin.path}: of another network than the recipe's: it has network.kind = {theirs.kind}, "
            f"not {network.kind}; to start from it: --set network.kind={theirs.kind}, and what else its recipe has"
        )
    needed = {"data.size": theirs.size, "network.width": theirs.widths[0]}
    given = {"data.size": recipe.data.size, "network.width": network.width}
    if network.kind == "unet":
        width, depth = theirs.widths[0], len(theirs.widths)
        needed["network.depth"], given["network.depth"] = depth, network.depth
        if theirs.widths != tuple(min(width * 2**i, network.max_width) for i in range(depth)):
            needed["network.max_width"], given["network.max_width"] = theirs.widths[-1], network.max_width
    found = {key: f"{key} = {value}, not {given[key]}" for key, value in needed.items() if value != given[key]}
    changes = [f"--set {key}={needed[key]}" for key in found]
    if bool(theirs.classes) != bool(recipe.classification.weight):
        found["classification.weight"] = "a class branch" if theirs.classes else "no class branch"
        changes.append(f"--set classification.weight={0.1 if theirs.classes else 0}")
    if found:
        raise RecipeError(
            f"{origin.path}: of another network than the recipe's: it has {'; '.join(found.values())}; "
            f"to start from it: {' '.join(changes)}"
        )
    taught = recipe.classification.target == "teacher"
    if theirs.classes and not taught and classes is not None and len(classes) < 2:
        raise RecipeError(
            f"classification.weight: the photos have no classes, and {origin.path} has a class branch that goes on "
            "learning; put them in a folder a class, or name a CSV with --set data.labels=FILE"
        )


def start_from(generator: keras.Model, origin: Colorizer, classes: Sequence[str]) -> bool:
    """Give a generator the weights of another, but for the last layer of the class head where the classes differ.

    Args:
        generator: As from `generator`, of a recipe that `check_origin` found fit.
        origin: The other.
        classes: The names of its classes; none where they are not known, as those of a teacher.

    Returns:
        Whether that layer was taken, too; classes that are not known count as the same if they are as many.

    Raises:
        RunError: Its layers are not those of the generator.
    """
    ours, theirs = networks.layout(generator).classes, networks.layout(origin.generator).classes
    same = ours == theirs and (not ours or origin.classes in ((), tuple(classes)))
    try:
        networks.copy_weights(origin.generator, generator, head=same)
    except ValueError as error:
        raise RunError(f"{origin.path}: of another network than the recipe's: {error}") from error
    return same


def critic(recipe: Recipe) -> keras.Model:
    """The critic."""
    network = recipe.network
    return networks.patchgan(
        recipe.data.size,
        width=network.critic_width,
        strided=network.critic_strided,
        normalize=network.critic_batchnorm,
        dtype=recipe.train.precision,
    )


def teacher(recipe: Recipe) -> Callable[[Any], tf.Tensor] | None:
    """Who tells a recipe's class branch what it sees; None where the labels do.

    Raises:
        RecipeError, DataError: As `imagenet` and `kcolor.trunks.vgg16_teacher`.
    """
    path = imagenet(recipe, begins=False)
    return trunks.vgg16_teacher(path, recipe.data.size, recipe.train.precision) if path else None


def color_gan(recipe: Recipe, classes: int, steps: int) -> gan.ColorGAN:
    """The GAN of a recipe, compiled, its weights drawn from the recipe's seed, its teacher beside it if it has one.

    Args:
        recipe: The recipe.
        classes: The number of classes in the photos.
        steps: Batches in the whole run, over which a falling learning rate falls.

    Raises:
        RecipeError: As `generator` and `imagenet`.
        DataError: As `kcolor.trunks.vgg16_teacher`.
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
        "teacher": teacher(recipe),
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
    return Adam(rate, beta_1=chosen.beta1, beta_2=chosen.beta2, epsilon=chosen.epsilon)
