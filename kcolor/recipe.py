"""The typed recipe of a run: TOML, ``--set key=value``, and errors that say what is allowed.

A recipe stops at `kcolor.build`: what it makes takes plain arguments.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kcolor.errors import RecipeError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**6)]
CriticWidth = Annotated[Count, Field(description="channels of the critic's first block")]
CriticStrided = Annotated[int, Field(ge=1, le=6, description="critic blocks of stride 2; 3: 70x70 patches")]
CriticBatchnorm = Annotated[bool, Field(description="batch normalization in the critic; off for wgan-gp")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(_Table):
    """Which photos, and how they are shown to the networks."""

    folder: str = Field("", description="folder of photos, or package:NAME/DIR inside an installed Python package")
    include: list[str] = Field([], description="glob patterns of the photos to take; none: all of them")
    labels: str = Field("", description="CSV of file_name,class; none: the class is the photo's sub-folder")
    size: Annotated[int, Field(ge=16, le=4096)] = Field(256, description="side of the squares the networks see")
    crop: bool = Field(False, description="cut out the centre square instead of stretching the photo")
    flip: Share = Field(0.5, description="probability that a training photo is mirrored")
    random_crop: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.0, description="the largest share of its sides that a training photo loses; 0: none"
    )
    instances: Share = Field(
        0.0, description="probability that one of a training photo's people and objects is shown in place of it"
    )
    tone: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="how much the gamma and the contrast of L change as it is shown in training; 0: not"
    )
    grain: Annotated[float, Field(ge=0, le=50)] = Field(
        0.0, description="the largest sigma, in CIE L units, of the noise in L as it is shown in training; 0: none"
    )
    min_size: Count = Field(64, description="photos with a shorter side than this are out")
    drop_toned: bool = Field(False, description="leave toned monochromes (sepia, cyanotype) out too")
    split: tuple[Share, Share, Share] = Field(
        (0.85, 0.05, 0.1), strict=False, description="shares of train, val and test"
    )

    @model_validator(mode="after")
    def _whole(self) -> "Data":
        if abs(sum(self.split) - 1) > 1e-9:
            raise ValueError(f"data.split: the shares add up to {sum(self.split):g}, not 1")
        return self


class UNet(_Table):
    """The size of the networks: `kcolor.networks.unet`, and `patchgan`."""

    kind: Literal["unet"] = "unet"
    width: Count = Field(64, description="channels of the generator's first block")
    depth: Annotated[int, Field(ge=2, le=12)] = Field(
        8, description="encoder blocks; data.size must be a multiple of 2^depth"
    )
    max_width: Count = Field(512, description="the most channels of a generator block")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="dropout in the decoder and the classifier")
    critic_width: CriticWidth = 64
    critic_strided: CriticStrided = 3
    critic_batchnorm: CriticBatchnorm = True


class ChromaGAN(_Table):
    """The size of the networks: `kcolor.chromagan.chromagan`, and `kcolor.networks.patchgan`."""

    kind: Literal["chromagan"] = "chromagan"
    width: Count = Field(64, description="channels of VGG-16's first block, from which all others follow")
    backbone_weights: Literal["imagenet", "none"] = Field(
        "imagenet", description="what VGG-16 starts from: those of kcolor weights, or drawn from the seed"
    )
    critic_width: CriticWidth = 64
    critic_strided: CriticStrided = 3
    critic_batchnorm: CriticBatchnorm = True


class CGAN(_Table):
    """`kcolor.gan.ConditionalGAN`."""

    kind: Literal["cgan"] = "cgan"
    weight: NotNegative = Field(1.0, description="weight of the adversarial term")
    real_target: Annotated[float, Field(gt=0, le=1)] = Field(0.9, description="one-sided label smoothing; 1: none")
    critic_steps: Count = Field(1, description="critic steps a generator step")


class WGANGP(_Table):
    """`kcolor.gan.WassersteinGANGP`."""

    kind: Literal["wgan-gp"] = "wgan-gp"
    weight: NotNegative = Field(0.1, description="weight of the adversarial term")
    penalty: NotNegative = Field(10.0, description="weight of the gradient penalty")
    critic_steps: Count = Field(5, description="critic steps a generator step")


class WGANClip(_Table):
    """`kcolor.gan.WassersteinGAN`."""

    kind: Literal["wgan-clip"] = "wgan-clip"
    weight: NotNegative = Field(0.1, description="weight of the adversarial term")
    clip: Positive = Field(0.01, description="the critic's weights are kept within [-clip, clip]")
    critic_steps: Count = Field(5, description="critic steps a generator step")


class Reconstruction(_Table):
    """The distance of the prediction from the truth, in ab scaled to [-1, 1]."""

    kind: Literal["l1", "l2"] = "l1"
    weight: NotNegative = Field(100.0, description="weight of the term")


class Classification(_Table):
    """The class branch; without weight there is none."""

    weight: NotNegative = Field(0.0, description="weight of the term; 0: no class branch")
    target: Literal["labels", "teacher"] = Field(
        "labels",
        description="cross-entropy with the photo's class, or KL divergence from what ImageNet's VGG-16 sees in it",
    )


class Adam(_Table):
    """`keras.optimizers.Adam`, for both networks."""

    kind: Literal["adam"] = "adam"
    learning_rate: Positive = Field(2e-4)
    final_learning_rate: NotNegative = Field(0.0, description="falls to this by cosine over the run; 0: constant")
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Positive = 1e-8


class RMSprop(_Table):
    """`keras.optimizers.RMSprop`, for both networks."""

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: Positive = Field(5e-5)
    final_learning_rate: NotNegative = Field(0.0, description="falls to this by cosine over the run; 0: constant")
    rho: Annotated[float, Field(ge=0, lt=1)] = 0.99
    epsilon: Positive = 1e-8


class Train(_Table):
    """How long, how, and what is kept."""

    epochs: Count = Field(30, description="when the run is finished")
    steps_per_epoch: Annotated[int, Field(ge=0)] = Field(0, description="batches an epoch; 0: all training photos once")
    batch_size: Count = Field(8, description="photos a step")
    precision: Literal["float32", "mixed_bfloat16"] = Field("float32", description="of the layers; losses are float32")
    validation_photos: Annotated[int, Field(ge=0)] = Field(1000, description="at most so many a validation; 0: all")
    best_by: Literal["reconstruction", "psnr", "delta_e_2000", "colourfulness_ratio"] = Field(
        "reconstruction", description="the validation figure by which best.keras is kept"
    )
    checkpoint_minutes: NotNegative = Field(10.0, description="a checkpoint so often within an epoch; 0: every step")
    deterministic: bool = Field(True, description="bit-for-bit repeatable; off, a GPU's step is compiled by XLA")


class Recipe(_Table):
    """A whole recipe; see ``recipes/`` for those that come with the package."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Data = Data()
    network: Annotated[UNet | ChromaGAN, Field(discriminator="kind")] = UNet()
    objective: Annotated[CGAN | WGANGP | WGANClip, Field(discriminator="kind")] = CGAN()
    reconstruction: Reconstruction = Reconstruction()
    classification: Classification = Classification()
    optimizer: Annotated[Adam | RMSprop, Field(discriminator="kind")] = Adam()
    train: Train = Train()

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_kind(cls, tree: Any) -> Any:
        """A table that names no kind is of the first one, as in cards and runs from before there were others."""
        if not isinstance(tree, Mapping):
            return tree
        told = {name: kind for name, kind in KINDS.items() if isinstance(tree.get(name), Mapping)}
        return {**tree, **{name: {"kind": kind, **tree[name]} for name, kind in told.items()}}

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        network, classification = self.network, self.classification
        if network.kind == "chromagan":
            if self.data.size % 32:
                raise ValueError(f"data.size: {self.data.size} is no multiple of 32, as network.kind = chromagan needs")
            if network.backbone_weights == "imagenet" and network.width != 64:
                raise ValueError(
                    f"network.backbone_weights: ImageNet's are of network.width = 64, not {network.width}; "
                    "none draws them from the seed"
                )
        else:
            if self.data.size % 2**network.depth:
                raise ValueError(
                    f"data.size: {self.data.size} is no multiple of {2**network.depth}, "
                    f"as network.depth = {network.depth} needs"
                )
            if classification.weight and (network.depth < 4 or self.data.size < 64):
                raise ValueError("classification.weight: the class branch needs network.depth >= 4 and data.size >= 64")
        if classification.target == "teacher" and not classification.weight:
            raise ValueError("classification.target: a teacher has nobody to teach where classification.weight is 0")
        if self.data.size // 2**network.critic_strided < 3:
            raise ValueError(
                f"network.critic_strided: pictures of data.size = {self.data.size} are too small for "
                f"{network.critic_strided} critic blocks of stride 2"
            )
        if self.optimizer.final_learning_rate > self.optimizer.learning_rate:
            raise ValueError("optimizer.final_learning_rate: must not be above optimizer.learning_rate")
        if self.objective.kind == "wgan-gp" and self.network.critic_batchnorm:
            raise ValueError(
                "network.critic_batchnorm: must be false for objective.kind = wgan-gp (its penalty is of single photos)"
            )
        return self

    def dump(self) -> str:
        """The recipe as TOML, every key written out."""
        return tomli_w.dumps(self.model_dump(mode="json"))


# The tables that come in kinds, and the kind of one that names none.
KINDS = {"network": "unet", "objective": "cgan", "optimizer": "adam"}


def load(path: Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: A TOML file.
        changes: ``key=value`` strings that override keys of the file; the value is TOML, or a bare word. A change
            of ``network.kind``, ``objective.kind`` or ``optimizer.kind`` starts that table from the new kind's own
            defaults.

    Raises:
        RecipeError: The file cannot be read, or a key, a type or a value is wrong; all such mistakes in one line each.
    """
    tree = tables(path)
    _validate(tree, str(path))
    return _change(tree, changes, f"{path} with --set")


def tables(path: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        RecipeError: It cannot be read, or is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error


def default(changes: Iterable[str] = ()) -> Recipe:
    """The recipe of defaults, with changes as in `load`.

    Raises:
        RecipeError: As `load`.
    """
    return _change({}, changes, "--set")


def changed(chosen: Recipe, values: Mapping[str, Any], where: str) -> Recipe:
    """A recipe with some of its keys changed.

    Args:
        chosen: The recipe.
        values: By dotted key. As in `load`, a change of a kind starts its table from that kind's own defaults.
        where: What a mistake is said to be in.

    Raises:
        RecipeError: As `load`.
    """
    return _assigned(chosen.model_dump(mode="json"), [(key.split("."), value) for key, value in values.items()], where)


def has(chosen: Recipe, key: str, kinds: Mapping[str, str]) -> bool:
    """Whether there is such a key in a recipe whose tables are of other `kinds`.

    Args:
        chosen: The recipe.
        key: A dotted key of some kind of recipe.
        kinds: By key, such as ``{"objective.kind": "wgan-gp"}``.
    """
    tree = chosen.model_dump(mode="json")
    for name, kind in kinds.items():
        tree[name.removesuffix(".kind")]["kind"] = kind
    path = key.split(".")
    return path[-1] in _keys_beside(path, tree)


def is_whole(key: str) -> bool:
    """Whether a dotted key, of any kind of recipe, takes whole numbers."""
    tables: list[Any] = [Recipe]
    for name in key.split("."):
        annotations = [table.model_fields[name].annotation for table in tables if name in table.model_fields]
        tables = [kind for each in annotations for kind in (each.__args__ if hasattr(each, "__args__") else [each])]
        tables = [each for each in tables if hasattr(each, "model_fields")] or annotations
    return int in tables


def find(name: str) -> Path:
    """The file of a recipe given as a path, or by the bare name of one that comes with the package.

    Raises:
        RecipeError: There is no such recipe; it names the nearest one.
    """
    path = Path(name)
    known = {recipe.stem: recipe for recipe in bundled()}
    if name in known:
        return known[name]
    if path.is_file():
        return path
    raise RecipeError(
        f"{name}: no such recipe; give a .toml file or one of {', '.join(known)}{nearest(path.stem, known)}"
    )


def bundled() -> list[Path]:
    """The recipes that come with the package, by name."""
    inside = Path(__file__).parent / "recipes"  # in an installed package
    folder = inside if inside.is_dir() else Path(__file__).parents[1] / "recipes"  # in a checkout
    return sorted(folder.glob("*.toml"), key=lambda path: path.stem)


def headline(path: Path) -> str:
    """The first line of a recipe's comment."""
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").rstrip()


def differences(ours: Recipe, theirs: Recipe) -> list[str]:
    """The keys in which two recipes differ, each with both values: ``seed = 0, not 1``."""
    left, right = dict(_leaves(ours.model_dump(mode="json"))), dict(_leaves(theirs.model_dump(mode="json")))
    keys = [*left, *(key for key in right if key not in left)]
    return [f"{key} = {left.get(key)}, not {right.get(key)}" for key in keys if left.get(key) != right.get(key)]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _change(tree: dict[str, Any], changes: Iterable[str], where: str) -> Recipe:
    return _assigned(tree, [_assignment(change) for change in changes], where)


def _assigned(tree: dict[str, Any], assignments: Iterable[tuple[list[str], Any]], where: str) -> Recipe:
    # Kinds first: they decide which other keys their tables have.
    for keys, value in sorted(assignments, key=lambda assignment: assignment[0][-1] != "kind"):
        _assign(tree, keys, value)
    return _validate(tree, where)


def _assignment(change: str) -> tuple[list[str], Any]:
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: write it as key=value, such as train.epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word, so that objective.kind=wgan-gp needs no quotes
    return key.strip().split("."), value


def _assign(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    *tables, last = keys
    for depth, name in enumerate(tables):
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise RecipeError(f"--set {'.'.join(keys)}: {'.'.join(tables[: depth + 1])} is a key, not a table")
    if last == "kind" and len(tables) == 1 and tables[0] in KINDS and tree.get("kind", KINDS[tables[0]]) != value:
        tree.clear()
    tree[last] = value


def _validate(tree: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        lines = [f"{where}: {_explain(mistake, tree)}" for mistake in error.errors()]
        raise RecipeError("\n".join(lines)) from error


def _explain(mistake: Any, tree: Mapping[str, Any]) -> str:
    """One line on what pydantic found: the key, what is wrong, what is allowed."""
    loc = [str(part) for part in mistake["loc"]]
    # In the path of a table that comes in kinds, pydantic puts the kind behind the table's name.
    path = loc[:1] + loc[2:] if loc and loc[0] in KINDS else loc
    key = ".".join(path)
    if mistake["type"] == "extra_forbidden":
        siblings = _keys_beside(path, tree)
        return f"{key}: no such key; allowed here: {', '.join(siblings)}{nearest(path[-1], siblings)}"
    if mistake["type"] == "value_error":
        return str(mistake["ctx"]["error"])
    if mistake["type"] in ("union_tag_invalid", "union_tag_not_found"):
        allowed = [tag.strip(" '") for tag in mistake["ctx"].get("expected_tags", "").split(",") if tag]
        given = tree.get(path[0], {}).get("kind", "missing") if isinstance(tree.get(path[0]), dict) else "missing"
        choice = f"; allowed: {', '.join(allowed)}" if allowed else ""
        return f"{key}.kind: {json.dumps(given, default=str)} is not a kind{choice}{nearest(str(given), allowed)}"
    message = mistake["msg"][0].lower() + mistake["msg"][1:]
    return f"{key}: {message}, not {json.dumps(mistake['input'], default=str)}"


def _keys_beside(path: list[str], tree: Mapping[str, Any]) -> list[str]:
    """The keys that the table around `path` may have, given the kinds that the recipe chose."""
    table: Any = Recipe
    for name in path[:-1]:
        annotation: Any = table.model_fields[name].annotation
        kinds = [annotation] if isinstance(annotation, type) else list(annotation.__args__)
        chosen = tree.get(name, {}).get("kind")
        table = next((kind for kind in kinds if getattr(kind(), "kind", None) == chosen), kinds[0])
    return list(table.model_fields)


def nearest(name: str, names: Iterable[str]) -> str:
    """What somebody may have meant who wrote a name that is none, in brackets; "" if none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
