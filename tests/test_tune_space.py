"""What a study may vary."""

from pathlib import Path

import pytest

from kcolor import recipe
from kcolor.errors import RecipeError
from kcolor.tune import objective, space
from kcolor.tune.space import Choice, Range

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def load(tmp_path):
    """Reads a space that is held against a recipe."""

    def read(text, name="small", *changes):
        path = tmp_path / "space.toml"
        path.write_text(text)
        return space.load(path, recipe.load(recipe.find(name), changes))

    return read


HEAD = 'objective = "psnr"\n[space]\n'


def test_tables_may_be_nested_or_dotted(load):
    nested = load(HEAD + "seed = [1, 2]\n[space.network]\nwidth = { low = 8, high = 32, step = 8 }")
    dotted = load(HEAD + 'seed = [1, 2]\n"network.width" = { low = 8, high = 32, step = 8 }')
    assert nested == dotted
    assert list(nested.axes) == [Choice("seed", (1, 2)), Range("network.width", 8, 32, 8)]
    assert nested.objectives == ["psnr"]


def test_whole_numbers_are_such_where_the_recipe_s_are(load):
    (axis,) = load(HEAD + '"reconstruction.weight" = { low = 10, high = 300, log = true }').axes
    assert [type(axis.low), axis.log] == [float, True]
    (axis,) = load(HEAD + '"objective.critic_steps" = { low = 1, high = 5 }').axes
    assert type(axis.low) is int


def test_a_value_may_need_another_one_of_the_space(load):
    both = '"network.depth" = [6, 8]\n"data.size" = [128, 256]\n'
    assert len(load(HEAD + both).axes) == 2
    kinds = '"objective.penalty" = [1.0, 10.0]\n"objective.kind" = ["cgan", "wgan-gp"]\n'
    batchnorm = '"network.critic_batchnorm" = [true, false]'
    found = load(HEAD + kinds + batchnorm)
    assert found.axes[0].key == "objective.kind"


def test_the_recipe_as_it_is_may_be_in_the_space(load):
    text = HEAD + '"objective.weight" = { low = 0.0, high = 0.5, step = 0.1 }\n"data.random_crop" = [0, 0.4]'
    small = recipe.load(recipe.find("small"))
    assert load(text).own(small) == {"objective.weight": 0.1, "data.random_crop": 0.4}
    assert load(text.replace("step = 0.1", "step = 0.25")).own(small) is None
    assert load(text.replace("0.4]", "0.3]")).own(small) is None


def test_the_space_of_the_documentation_holds_the_recipe(load):
    changes = ["data.size=64", "network.depth=6"]
    found = load((DOCS / "tuning" / "losses.toml").read_text(), "small", *changes)
    assert found.own(recipe.load(recipe.find("small"), changes)) is not None
    assert len(found.objectives) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("objective = ", "not TOML: "),
        ("", "names nothing to vary"),
        ('objective = "psnr"\nspaces = 1', "spaces: no such key; allowed here: objective, space (did you mean space?)"),
        ("[space]\nseed = [1, 2]", "objective: name one figure of the evaluation, or a list of two: psnr, "),
        ('objective = "pnsr"\n[space]\nseed = [1, 2]', 'objective: "pnsr" is none of '),
        ('objective = "colourfulness_truth"\n[space]\nseed = [1, 2]', 'objective: "colourfulness_truth" is none of '),
        ('objective = ["psnr", "psnr"]\n[space]\nseed = [1, 2]', "objective: psnr twice"),
        ('objective = "lpips"\n[space]\nseed = [1, 2]', "objective lpips needs "),
        (HEAD + '"network.widht" = [8, 16]', "network.widht: no such key; allowed here: kind, width, "),
        (HEAD + '"netwrok.width" = [8, 16]', "netwrok: no such key; allowed here: seed, "),
        (HEAD + '"network.width.x" = [8, 16]', "network.width.x: network.width is a key, not a table"),
        (HEAD + '"network.width" = { low = 8, high = 8 }', "network.width: an empty range: low = 8 is not below"),
        (HEAD + '"network.width" = { low = 8, hihg = 9 }', "network.width: hihg: no such key; allowed here: low, "),
        (HEAD + '"network.width" = { low = 8 }', "network.width: has no high"),
        (HEAD + '"network.width" = { low = 8.5, high = 16.5 }', "network.width: input should be a valid integer"),
        (
            HEAD + '"network.width" = { low = 0, high = 16 }',
            "network.width: input should be greater than or equal",
        ),
        (
            HEAD + '"network.width" = { low = 8, high = 17, step = 4 }',
            "network.width: steps of 4 do not lead from",
        ),
        (HEAD + '"network.width" = { low = "8", high = 17 }', 'network.width: low: must be a number, not "8"'),
        (HEAD + '"network.width" = 8', "network.width: give choices as a list, [1, 2], or a range"),
        (HEAD + '"network.width" = [8]', "network.width: a choice is of two or more"),
        (HEAD + '"network.width" = [8, 16, 8]', "network.width: 8 is there twice"),
        (HEAD + '"network.width" = [8, "wide"]', 'network.width: input should be a valid integer, not "wide"'),
        (HEAD + "seed = [1, 2]\n[space.network]", "network: is empty"),
        (
            HEAD + '"objective.weight" = { low = 0, high = 1, log = true }',
            "objective.weight: a range by logarithm has",
        ),
        (
            HEAD + '"objective.weight" = { low = 0.1, high = 1, log = 1 }',
            "objective.weight: log: must be true",
        ),
        (HEAD + '"objective.kind" = ["cgan", "wgan-qp"]', 'objective.kind: "wgan-qp" is not a kind; allowed: cgan, '),
        (HEAD + '"objective.penalty" = [1.0, 10.0]', "objective.penalty: no such key; allowed here: kind, weight, "),
        (
            HEAD + '"network.depth" = [6, 9]',
            "network.depth = 9: data.size: 128 is no multiple of 512",
        ),
        (
            HEAD + '"data.size" = { low = 128, high = 256 }',
            "data.size: 129 is no multiple of 128, as network.depth = 7 needs",
        ),
        (
            HEAD + '"network.critic_strided" = [3, 6]',
            "network.critic_strided: pictures of data.size = 128 are too small for 6",
        ),
        (HEAD + '"train.validation_photos" = [10, 0]', "train.validation_photos: says which photos there are"),
        (HEAD + '"data.split" = [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1]]', "data.split: says which photos there are"),
    ],
)
def test_bad_spaces_are_refused_in_one_line(load, text, told):
    with pytest.raises(RecipeError) as caught:
        load(text)
    (line,) = str(caught.value).splitlines()
    assert line.partition("space.toml: ")[2].startswith(told)


def test_a_teacher_s_classes_are_no_objective(load):
    text = 'objective = "top_1"\n[space]\n"objective.weight" = [0.1, 1.0]'
    with pytest.raises(RecipeError, match=r"which a teacher's are not; --set classification\.target=labels"):
        load(text, "chromagan")
    assert load(text, "chromagan", "classification.target=labels").objectives == ["top_1"]


def test_what_validation_says_of_an_objective():
    epoch = {"val_psnr": 20.0, "val_delta_e_2000": 9.0, "val_colourfulness_ratio": 0.7}
    assert objective.by_epoch("psnr", epoch) == 20.0
    assert objective.by_epoch("colourfulness_ratio", epoch) == pytest.approx(0.3)
    assert objective.by_epoch("lpips", epoch) == 9.0
    assert objective.by_epoch("ssim", epoch) == -9.0  # which is to be high
    assert objective.by_epoch("psnr", {"val_psnr": None}) is None
