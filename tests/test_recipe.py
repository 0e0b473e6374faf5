"""Recipes: those of the package, --set, and what the errors say."""

import tomllib

import pytest
import tomli_w
from pydantic import ValidationError

from kcolor import recipe
from kcolor.errors import KcolorError, RecipeError

BUNDLED = {path.stem: path for path in recipe.bundled()}

# The four models as published: (objective, reconstruction, classification weight, optimizer).
GAN = {"kind": "cgan", "weight": 1.0, "real_target": 0.9, "critic_steps": 1}
FALLING_ADAM = {"kind": "adam", "learning_rate": 2e-4, "final_learning_rate": 2e-6, "beta1": 0.5, "beta2": 0.999}
PUBLISHED = {
    "gan": (GAN, {"kind": "l1", "weight": 100.0}, 0.0, FALLING_ADAM, True),
    "gan-class": (GAN, {"kind": "l1", "weight": 100.0}, 0.003, FALLING_ADAM, True),
    "wgan": (
        {"kind": "wgan-gp", "weight": 0.1, "penalty": 10.0, "critic_steps": 5},
        {"kind": "l2", "weight": 1.0},
        0.003,
        {"kind": "adam", "learning_rate": 2e-5, "final_learning_rate": 0.0, "beta1": 0.5, "beta2": 0.999},
        False,
    ),
    "wgan-clip": (
        {"kind": "wgan-clip", "weight": 0.1, "clip": 0.01, "critic_steps": 5},
        {"kind": "l2", "weight": 1.0},
        0.003,
        {"kind": "rmsprop", "learning_rate": 5e-5, "final_learning_rate": 0.0},
        True,
    ),
}


@pytest.fixture
def written(tmp_path):
    """Writes a recipe file and gives its path."""

    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def error(*changes, path=None):
    """The lines of the error of a recipe that cannot be used."""
    with pytest.raises(RecipeError) as caught:
        recipe.load(path, changes) if path else recipe.default(changes)
    return str(caught.value).splitlines()


# The recipes that come with the package.


def test_bundled_recipes_are_these():
    assert set(BUNDLED) == {"gan", "gan-class", "wgan", "wgan-clip", "quickstart", "small", "chromagan"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_bundled_recipe_has_the_published_values(name):
    objective, reconstruction, classification, optimizer, critic_batchnorm = PUBLISHED[name]
    made = recipe.load(BUNDLED[name])
    assert made.objective.model_dump() == objective
    assert made.reconstruction.model_dump() == reconstruction
    assert made.classification.weight == classification
    assert made.optimizer.model_dump().items() >= optimizer.items()
    assert (made.data.size, made.data.flip, made.data.crop) == (256, 0.5, False)
    assert (made.train.batch_size, made.train.epochs, made.train.steps_per_epoch) == (8, 30, 0)
    network = made.network
    assert (network.width, network.depth, network.max_width, network.dropout) == (64, 8, 512, 0.5)
    assert (network.critic_width, network.critic_strided) == (64, 3)
    assert network.critic_batchnorm is critic_batchnorm


def test_the_chromagan_recipe_has_the_values_of_the_paper():
    made = recipe.load(BUNDLED["chromagan"])
    assert (made.data.size, made.data.flip, made.train.batch_size, made.train.epochs) == (224, 0.0, 10, 5)
    assert (made.network.kind, made.network.width, made.network.backbone_weights) == ("chromagan", 64, "imagenet")
    assert not made.network.critic_batchnorm
    assert made.objective.model_dump() == {"kind": "wgan-gp", "weight": 0.1, "penalty": 10.0, "critic_steps": 1}
    assert made.reconstruction.model_dump() == {"kind": "l2", "weight": 1.0}
    assert made.classification.model_dump() == {"weight": 0.003, "target": "teacher"}
    assert made.optimizer.model_dump().items() >= {"learning_rate": 2e-5, "beta1": 0.5, "beta2": 0.999}.items()
    way_out = ["network.backbone_weights=none", "classification.target=labels"]
    assert all(f"--set {change}" in BUNDLED["chromagan"].read_text() for change in way_out)
    assert recipe.load(BUNDLED["chromagan"], way_out).classification.target == "labels"


def test_the_small_recipe_is_of_a_model_that_can_travel_in_the_package():
    from kcolor import build

    made = recipe.load(BUNDLED["small"])
    generator = build.generator(made, 6)
    assert generator.count_params() == 6_966_568
    assert 2 * generator.count_params() < 15e6
    assert (made.data.size, made.network.depth, made.classification.weight) == (128, 7, 0.1)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_recipe_survives_dumping(name, written):
    made = recipe.load(BUNDLED[name])
    again = recipe.load(written(made.dump()))
    assert again == made
    assert recipe.differences(made, again) == []


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_recipe_says_what_it_is_and_how_to_run_it(name):
    text = BUNDLED[name].read_text(encoding="utf-8")
    header = text[: text.index("\n[")]
    assert text.startswith("# ")
    assert all(line.startswith("#") for line in header.strip().splitlines())
    assert f"kcolor fit recipes/{name}.toml" in header
    headline = recipe.headline(BUNDLED[name])
    assert f"# {headline}\n" == text[: text.index("\n") + 1]
    assert len(headline) > 20


def test_dump_writes_every_key_out():
    tree = tomllib.loads(recipe.default().dump())
    assert tree["seed"] == 0
    assert tree["data"]["split"] == [0.85, 0.05, 0.1]
    assert tree["train"]["epochs"] == 30
    assert set(tree) == {
        "seed", "data", "network", "objective", "reconstruction", "classification", "optimizer", "train"
    }  # fmt: skip


def test_find_takes_a_name_or_a_path(written, monkeypatch, tmp_path):
    path = written("")
    assert recipe.find(str(path)) == path
    assert recipe.find("wgan").read_bytes() == BUNDLED["wgan"].read_bytes()
    (tmp_path / "wgan").mkdir()  # such as a run's folder of that name
    monkeypatch.chdir(tmp_path)
    assert recipe.find("wgan").read_bytes() == BUNDLED["wgan"].read_bytes()


def test_find_names_the_nearest():
    with pytest.raises(RecipeError, match=r"wgan-clp: no such recipe.*gan-class.*did you mean wgan-clip\?") as caught:
        recipe.find("wgan-clp")
    assert isinstance(caught.value, KcolorError)
    with pytest.raises(RecipeError, match=r"recipes/quikstart\.toml: .*did you mean quickstart\?"):
        recipe.find("recipes/quikstart.toml")


def test_recipes_cannot_be_changed_once_made():
    with pytest.raises(ValidationError, match="frozen"):
        recipe.default().train.epochs = 3


# --set.


@pytest.mark.parametrize(
    ("change", "table", "key", "value"),
    [
        ("train.epochs=5", "train", "epochs", 5),
        ("train.epochs = 5", "train", "epochs", 5),
        ("reconstruction.weight=2", "reconstruction", "weight", 2.0),
        ("reconstruction.weight=1e-3", "reconstruction", "weight", 0.001),
        ("data.crop=true", "data", "crop", True),
        ("train.precision=mixed_bfloat16", "train", "precision", "mixed_bfloat16"),
        ('train.precision="mixed_bfloat16"', "train", "precision", "mixed_bfloat16"),
        ("data.folder=/photos of/a=b", "data", "folder", "/photos of/a=b"),
        ("data.folder=", "data", "folder", ""),
        ('data.include=["*.jpg", "a/*.png"]', "data", "include", ["*.jpg", "a/*.png"]),
        ("data.split=[0.5, 0.25, 0.25]", "data", "split", (0.5, 0.25, 0.25)),
        ("data.split=[1, 0, 0]", "data", "split", (1.0, 0.0, 0.0)),
    ],
)
def test_set_of_each_type(change, table, key, value):
    plain, made = recipe.default(), recipe.default([change])
    assert getattr(getattr(made, table), key) == value
    changed = [line.split(" ")[0] for line in recipe.differences(plain, made)]
    assert changed == ([f"{table}.{key}"] if value != getattr(getattr(plain, table), key) else [])


def test_set_of_a_key_outside_tables():
    assert recipe.default(["seed=7"]).seed == 7


def test_set_overrides_the_file_and_the_last_one_counts(written):
    path = written("seed = 1\n[train]\nepochs = 4\nbatch_size = 2\n")
    made = recipe.load(path, ["train.epochs=5", "train.epochs=6"])
    assert (made.seed, made.train.epochs, made.train.batch_size) == (1, 6, 2)


@pytest.mark.parametrize("order", [1, -1])
def test_a_new_kind_starts_from_its_own_defaults_and_keeps_what_is_set_beside(order):
    changes = ["objective.kind=wgan-clip", "objective.clip=0.05", "optimizer.kind=rmsprop", "optimizer.rho=0.9"]
    made = recipe.load(BUNDLED["gan"], changes[::order])
    assert made.objective.model_dump() == {"kind": "wgan-clip", "weight": 0.1, "clip": 0.05, "critic_steps": 5}
    optimizer = made.optimizer.model_dump()
    assert optimizer.pop("epsilon") > 0
    assert optimizer == {"kind": "rmsprop", "learning_rate": 5e-5, "final_learning_rate": 0.0, "rho": 0.9}


def test_a_network_of_another_kind_starts_from_its_own_defaults(written):
    made = recipe.load(BUNDLED["gan"], ["network.critic_width=32", "network.kind=chromagan"])
    network = {"kind": "chromagan", "width": 64, "backbone_weights": "imagenet", "critic_width": 32}
    assert made.network.model_dump() == {**network, "critic_strided": 3, "critic_batchnorm": True}
    back = recipe.load(written(made.dump()), ["network.kind=unet", "network.critic_width=32"])
    assert back.network == recipe.load(BUNDLED["gan"], ["network.critic_width=32"]).network


def test_a_recipe_of_before_there_were_kinds_of_networks_is_the_same(written):
    """As runs have it that were begun then: to resume them, nothing is to differ."""
    tree = tomllib.loads(recipe.load(BUNDLED["gan-class"]).dump())
    assert tree["network"].pop("kind") == "unet"
    assert tree["classification"].pop("target") == "labels"
    made = recipe.load(written(tomli_w.dumps(tree)))
    assert made == recipe.load(BUNDLED["gan-class"])
    assert recipe.differences(made, recipe.load(BUNDLED["gan-class"])) == []


def test_the_same_kind_again_keeps_the_table(written):
    path = written('[objective]\nkind = "cgan"\nweight = 0.5\n')
    assert recipe.load(path, ["objective.kind=cgan"]).objective.weight == 0.5


def test_a_new_kind_of_distance_keeps_its_weight(written):
    path = written("[reconstruction]\nweight = 7.0\n")
    assert recipe.load(path, ["reconstruction.kind=l2"]).reconstruction.weight == 7.0


def test_kind_can_be_switched_to_wgan_gp_with_what_it_needs():
    made = recipe.load(BUNDLED["gan"], ["network.critic_batchnorm=false", "objective.kind=wgan-gp"])
    assert made.objective.model_dump() == {"kind": "wgan-gp", "weight": 0.1, "penalty": 10.0, "critic_steps": 5}


def test_differences_name_keys_and_both_values():
    ours = recipe.default()
    assert recipe.differences(ours, recipe.default()) == []
    theirs = recipe.default(["seed=3", "train.epochs=31", "data.include=['*.png']"])
    assert recipe.differences(ours, theirs) == [
        "seed = 0, not 3",
        "data.include = [], not ['*.png']",
        "train.epochs = 30, not 31",
    ]
    clip = recipe.differences(ours, recipe.default(["objective.kind=wgan-clip"]))
    assert "objective.kind = cgan, not wgan-clip" in clip
    assert "objective.real_target = 0.9, not None" in clip
    assert "objective.clip = None, not 0.01" in clip


# What errors say: where, which key, what is wrong, what is allowed.


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[train]\nepoch = 3\n", ["train.epoch:", "no such key", "epochs, steps_per_epoch", "did you mean epochs?"]),
        ("sede = 3\n", ["sede:", "no such key", "seed, data, network", "did you mean seed?"]),
        ("[data]\nqqq = 3\n", ["data.qqq:", "no such key", "folder, include"]),
        ('[objective]\nkind = "wgan-gp"\nclip = 0.1\n', ["objective.clip:", "no such key", "penalty, critic_steps"]),
        ('[optimizer]\nkind = "rmsprop"\nbeta1 = 0.1\n', ["optimizer.beta1:", "rho"]),
        ('[train]\nepochs = "many"\n', ["train.epochs:", "valid integer", '"many"']),
        ("[train]\nepochs = 3.0\n", ["train.epochs:", "valid integer", "3.0"]),
        ("[train]\nepochs = true\n", ["train.epochs:", "valid integer", "true"]),
        ('[data]\ncrop = "yes"\n', ["data.crop:", "boolean", '"yes"']),
        ("[data]\nfolder = 3\n", ["data.folder:", "string", "3"]),
        ("[data]\ninclude = [1]\n", ["data.include.0:", "string", "1"]),
        ("[data]\nsplit = [0.5, 0.5]\n", ["data.split", "required"]),
        ("[data]\nsplit = [0.5, 0.3, 0.3]\n", ["data.split:", "add up to 1.1, not 1"]),
        ("[data]\nflip = 1.5\n", ["data.flip:", "less than or equal to 1", "1.5"]),
        ("[data]\nflip = nan\n", ["data.flip:"]),
        ("[train]\nbatch_size = 0\n", ["train.batch_size:", "greater than or equal to 1", "0"]),
        ("seed = -1\n", ["seed:", "greater than or equal to 0", "-1"]),
        ("seed = 2147483648\n", ["seed:", "less than 2147483648"]),
        ('[train]\nprecision = "float16"\n', ["train.precision:", "'float32' or 'mixed_bfloat16'", '"float16"']),
        ('[reconstruction]\nkind = "l3"\n', ["reconstruction.kind:", "'l1' or 'l2'", '"l3"']),
        (
            '[objective]\nkind = "wgan-pg"\n',
            ["objective.kind:", '"wgan-pg"', "cgan, wgan-gp, wgan-clip", "mean wgan-gp?"],
        ),
        ('[optimizer]\nkind = "adma"\n', ["optimizer.kind:", '"adma"', "adam, rmsprop", "did you mean adam?"]),
        ('[objective]\nkind = "cgan"\nreal_target = 0\n', ["objective.real_target:", "greater than 0", "0"]),
        ("train = 3\n", ["train:", "3"]),
        ("[data]\nsize = 100\n", ["data.size:", "100", "multiple", "256", "network.depth = 8"]),
        ("[classification]\nweight = 1.0\n[data]\nsize = 8192\n", ["data.size:", "4096"]),
        ("[network]\ndepth = 3\n[classification]\nweight = 1.0\n", ["classification.weight:", "depth >= 4"]),
        ('[network]\nkind = "chroma"\n', ["network.kind:", '"chroma"', "unet, chromagan", "did you mean chromagan?"]),
        ('[network]\nkind = "chromagan"\ndepth = 8\n', ["network.depth:", "no such key", "width, backbone_weights"]),
        ('[network]\nbackbone_weights = "none"\n', ["network.backbone_weights:", "no such key", "max_width"]),
        (
            '[network]\nkind = "chromagan"\nbackbone_weights = "vgg"\n',
            ["network.backbone_weights:", "'imagenet' or 'none'", '"vgg"'],
        ),
        ('[network]\nkind = "chromagan"\nwidth = 32\n', ["network.backbone_weights:", "width = 64, not 32", "none"]),
        (
            '[data]\nsize = 240\n[network]\nkind = "chromagan"\n',
            ["data.size: 240 is no multiple of 32", "network.kind = chromagan"],
        ),
        ('[classification]\ntarget = "teacher"\n', ["classification.target:", "classification.weight is 0"]),
        ('[objective]\nkind = "wgan-gp"\n', ["network.critic_batchnorm:", "false", "wgan-gp"]),
    ],
)
def test_a_mistake_is_told_in_one_line(written, text, parts):
    path = written(text)
    [line] = error(path=path)
    assert line.startswith(f"{path}: ")
    for part in parts:
        assert part in line


def test_each_mistake_has_its_line(written):
    path = written('sed = 1\n[train]\nepoch = 1\nbatch_size = "a"\n[data]\nflip = 2.0\n')
    lines = error(path=path)
    assert len(lines) == 4
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert {line.removeprefix(f"{path}: ").split(":")[0] for line in lines} == {
        "sed", "train.epoch", "train.batch_size", "data.flip"
    }  # fmt: skip


def test_a_file_that_is_not_toml_says_where(written):
    path = written("seed = 1\nepochs is 3\n")
    [line] = error(path=path)
    assert line.startswith(f"{path}: not TOML: ")
    assert "line 2" in line


def test_a_file_that_cannot_be_read(tmp_path):
    assert error(path=tmp_path / "none.toml") == [
        f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"
    ]
    assert error(path=tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    (tmp_path / "latin.toml").write_bytes("# Größe\n".encode("latin-1"))
    [line] = error(path=tmp_path / "latin.toml")
    assert line.startswith(f"{tmp_path / 'latin.toml'}: cannot be read: ")
    assert "utf-8" in line


@pytest.mark.parametrize("change", ["train.epochs", "", "=3", " = 3"])
def test_a_set_that_is_no_assignment(change):
    [line] = error(change)
    assert line == f"--set {change}: write it as key=value, such as train.epochs=5"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("train.epoch=3", ["--set: train.epoch: no such key", "did you mean epochs?"]),
        ("trian.epochs=3", ["--set: trian: no such key", "did you mean train?"]),
        ("train.epochs=three", ["--set: train.epochs:", "valid integer", '"three"']),
        ("objective.kind=gan", ["--set: objective.kind:", '"gan"', "cgan, wgan-gp, wgan-clip", "did you mean cgan?"]),
        ("train=5", ["--set: train:", "5"]),
        ("data.size=100", ["--set: data.size: 100", "256"]),
    ],
)
def test_a_wrong_set_is_told_in_one_line(change, parts):
    [line] = error(change)
    for part in parts:
        assert part in line


def test_a_set_into_what_is_no_table(written):
    assert error("train.epochs.x=1", path=written("[train]\nepochs = 3\n")) == [
        "--set train.epochs.x: train.epochs is a key, not a table"
    ]


def test_a_mistake_of_the_file_is_not_blamed_on_set(written):
    path = written("[train]\nepoch = 3\n")
    [line] = error("seed=1", path=path)
    assert line.startswith(f"{path}: train.epoch")
    good = written("[train]\nepochs = 3\n")
    [line] = error("seed=x", path=good)
    assert line.startswith(f"{good} with --set: seed: ")


def test_keys_of_a_table_need_no_kind():
    assert recipe.default(["objective.weight=0.5"]).objective == recipe.CGAN(weight=0.5)
    assert recipe.default(["optimizer.learning_rate=0.001"]).optimizer == recipe.Adam(learning_rate=0.001)


@pytest.mark.parametrize(
    "change", ["adam.beta1=0.9", "cgan=1", "optimizer.adam=1", "kind=foo", "objective.kind=1979-05-27"]
)
def test_keys_that_look_like_kinds(change):
    with pytest.raises(RecipeError, match=r"no such key|is not a kind"):
        recipe.default([change])


def test_blanks_around_the_sign_of_equality():
    assert recipe.default(["objective.kind = wgan-clip"]).objective.kind == "wgan-clip"


def test_rates_fall():
    with pytest.raises(RecipeError, match="must not be above"):
        recipe.default(["optimizer.final_learning_rate=1.0"])


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_numbers_are_finite(value):
    with pytest.raises(RecipeError, match=r"optimizer.learning_rate: .*finite"):
        recipe.default([f"optimizer.learning_rate={value}"])


# Changed one by one, as a study does.


def test_a_recipe_with_other_values_is_checked_as_a_whole():
    small = recipe.load(recipe.find("small"))
    changed = recipe.changed(small, {"objective.kind": "wgan-clip", "network.width": 8}, "trial 3")
    assert (changed.network.width, changed.network.depth) == (8, 7)
    assert changed.objective == recipe.WGANClip()  # from its own defaults
    assert small.network.width == 24
    with pytest.raises(RecipeError, match=r"^trial 3: data.size: 128 is no multiple of 256"):
        recipe.changed(small, {"network.depth": 8}, "trial 3")


def test_which_keys_there_are_depends_on_the_kinds():
    small = recipe.load(recipe.find("small"))
    assert recipe.has(small, "objective.real_target", {})
    assert not recipe.has(small, "objective.penalty", {})
    assert recipe.has(small, "objective.penalty", {"objective.kind": "wgan-gp"})
    assert [recipe.is_whole(key) for key in ("seed", "network.width", "objective.critic_steps")] == [True] * 3
    assert [recipe.is_whole(key) for key in ("data.crop", "objective.clip", "train.best_by", "data.include")] == [
        False
    ] * 4


def test_a_table_without_a_kind_is_of_the_first_one(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[network]\nwidth = 8\n[objective]\nweight = 0.5\n")
    mine = recipe.load(path, ["objective.kind=cgan", "network.kind=unet"])
    assert (mine.network.width, mine.objective.weight) == (8, 0.5)
    # As a model's card has it, whatever it was written by.
    told = mine.model_dump(mode="json")
    for name in ("network", "objective", "optimizer"):
        del told[name]["kind"]
    assert recipe.Recipe.model_validate(told) == mine
