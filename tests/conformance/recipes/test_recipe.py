"""Recipes: what they accept, what they fill in, what identifies them."""

import json
import tomllib

import pytest
from pydantic import ValidationError

from conformance.recipes import suites
from conformance.recipes.components import keyword_defaults
from conformance.recipes.files import RecipeError, load_recipe
from conformance.recipes.recipe import Recipe
from reference_numpy import activations, initializers, losses, models, optimizers, regularizers, schedules

TOML = """
name = "my-xor"
batch_size = 32
epochs = 5
loss = "binary_cross_entropy"

[dataset]
name = "xor"

[model]
name = "deep_network"
hidden_units = [6, 3]
activation = "tanh"

[optimizer]
name = "adam"
learning_rate = 0.01

[[regularizers]]
name = "l2"
strength = 0.1
"""


def written(tmp_path, text, name="recipe.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_toml_and_json_give_the_same_recipe(tmp_path):
    from_toml = load_recipe(written(tmp_path, TOML))
    as_json = json.dumps(from_toml.model_dump(mode="json"))
    assert load_recipe(written(tmp_path, as_json, "recipe.json")) == from_toml


def test_defaults_are_filled_in_from_the_reference(tmp_path):
    recipe = load_recipe(written(tmp_path, TOML))
    assert recipe.optimizer.keywords["epsilon_position"] == "outside_root"
    assert recipe.regularizers[0].keywords == {"strength": 0.1, "convention": "course"}
    assert recipe.schedule.name == "constant"
    assert recipe.initializer.name == "he_normal"


def test_an_activation_left_out_is_the_reference_s_and_not_none(tmp_path):
    without = TOML.replace('activation = "tanh"', "")
    assert load_recipe(written(tmp_path, without)).model.activation.name == "relu"
    shallow = without.replace("deep_network", "shallow_network").replace("[6, 3]", "[6]")
    assert load_recipe(written(tmp_path, shallow)).model.activation.name == "tanh"


def test_the_hash_is_of_what_is_meant_not_of_how_it_is_written(tmp_path):
    recipe = load_recipe(written(tmp_path, TOML))
    spelled_out = TOML.replace('name = "adam"', 'name = "adam"\nbeta1 = 0.9').replace('"my-xor"', '"another-name"')
    other = TOML.replace('name = "adam"', 'name = "adam"\nbeta1 = 0.8')
    assert load_recipe(written(tmp_path, spelled_out)).hash == recipe.hash
    assert load_recipe(written(tmp_path, other)).hash != recipe.hash


def test_a_recipe_survives_json():
    for recipe in suites.suite("default"):
        again = Recipe.model_validate(json.loads(json.dumps(recipe.model_dump(mode="json"))))
        assert again == recipe
        assert again.hash == recipe.hash


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "adam"', 'name = "adamm"', "optimizer.name='adamm' is not allowed: must be one of"),
        ("learning_rate = 0.01", "learning_rate = -1.0", "learning_rate=-1.0 is not allowed: must be a finite number"),
        ("learning_rate = 0.01", "learning_rate = nan", "learning_rate=nan is not allowed"),
        ("learning_rate = 0.01", 'learning_rate = "fast"', "optimizer: "),
        ('name = "adam"', 'name = "adam"\nbeta1 = 1.0', r"beta1=1.0 is not allowed: must be in [0, 1)"),
        ('name = "adam"', 'name = "adam"\nbeta3 = 0.1', "optimizer keyword='beta3' is not allowed for 'adam'"),
        ('name = "xor"', 'name = "xors"', "dataset.name='xors' is not allowed: must be one of 'breast_cancer', "),
        ('name = "xor"', 'name = "digits"', "loss.name='binary_cross_entropy' is not allowed for the multiclass"),
        ("strength = 0.1", "", "regularizers.0.strength is missing: 'l2' needs it"),
        ("epochs = 5", "epochs = 0", "epochs=0 is not allowed: must be greater than or equal to 1"),
        ("epochs = 5", "epoch = 5", "; did you mean 'epochs'?"),
        (
            "hidden_units = [6, 3]",
            "hidden_units = [6, 0]",
            "model.hidden_units.1=0 is not allowed: must be greater than or equal to 1",
        ),
        ('"deep_network"', '"shallow_network"', "hidden_units"),
        (
            '"deep_network"',
            '"softmax_classifier"',
            "loss.name='binary_cross_entropy' is not allowed for 'softmax_classifier'",
        ),
        ('"tanh"', '"cube"', "model.activation.name='cube' is not allowed"),
        (
            "[[regularizers]]",
            '[[regularizers]]\nname = "inverted_dropout"\nkeep_probability = 0.5\n' * 2 + "[[regularizers]]",
            "regularizers names 'inverted_dropout', 'inverted_dropout': at most one of them",
        ),
        (
            "epochs = 5",
            'epochs = 5\nreduction = "total"',
            "reduction='total' is not allowed: must be 'mean' or 'sum'",
        ),
        (
            '"binary_cross_entropy"',
            '{ name = "binary_cross_entropy", reduction = "sum" }',
            "loss keyword='reduction' is not allowed for 'binary_cross_entropy': must be one of 'label_smoothing', ",
        ),
        (
            "epochs = 5",
            'epochs = 5\nfit = "thrice"',
            "fit='thrice' is not allowed: must be 'once', 'in_halves' or 'twice'",
        ),
        (
            "epochs = 5",
            'epochs = 1\nfit = "in_halves"',
            "fit='in_halves' is not allowed with epochs=1: must be one of 'once', 'twice'",
        ),
        ("epochs = 5", "epochs = 5\nfrozen_biases = 1", "frozen_biases=1 is not allowed: must be true or false"),
        (
            'activation = "tanh"',
            'activation = "tanh"\nbias = "no"',
            "model.bias='no' is not allowed: must be true or false",
        ),
        (
            'name = "adam"',
            'name = "adam"\nweight_decay = -0.1',
            "optimizer: weight_decay=-0.1 is not allowed: must be a finite number >= 0",
        ),
        (
            'name = "adam"',
            'name = "adam"\ndecoupled_weight_decay = true',
            "optimizer keyword='decoupled_weight_decay' is not allowed for 'adam': must be one of 'learning_rate', ",
        ),
        (
            'name = "adam"',
            'name = "rmsprop"\ndecoupled_weight_decay = "yes"',
            "optimizer.decoupled_weight_decay='yes' is not allowed: must be true or false",
        ),
        (
            'name = "adam"',
            'name = "momentum"\ndampening = 0.5',
            "optimizer: dampening=0.5 is not allowed with accumulation='average': must be 0",
        ),
        (
            'name = "adam"',
            'name = "momentum"\naccumulation = "sum"\ndampening = 1.5',
            "optimizer: dampening=1.5 is not allowed: must be in [0, 1]",
        ),
        ('"tanh"', '"log_softmax"', "model.activation.name='log_softmax' is not allowed: must be one of 'identity', "),
        ('name = "my-xor"', 'name = "my xor"', "name='my xor' is not allowed: must match pattern"),
        ("batch_size = 32", "batch_size = ", "not valid TOML"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_field_the_value_and_what_is_allowed(tmp_path, old, new, message):
    with pytest.raises(RecipeError) as refused:
        load_recipe(written(tmp_path, TOML.replace(old, new, 1)))
    assert message in str(refused.value)
    assert "recipe.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"fit": "in_halves", "regularizers": ["early_stopping"]},
            "fit='in_halves' is not allowed with 'early_stopping': must be one of 'once', 'twice'",
        ),
        (
            {"frozen_biases": True, "model": {"name": "deep_network", "hidden_units": [3], "bias": False}},
            "frozen_biases=True is not allowed with model.bias=False: must be False or left out",
        ),
    ],
)
def test_fields_that_do_not_go_together_are_refused_with_both(settings, message):
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate(tomllib.loads(TOML) | settings)
    assert message in str(refused.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match=r"absent\.toml: cannot be read"):
        load_recipe(tmp_path / "absent.toml")


def test_every_component_of_the_reference_is_in_the_full_suite():
    recipes = suites.suite("full")
    used = {
        "models": {recipe.model.name for recipe in recipes},
        "activations": {recipe.model.activation.name for recipe in recipes},
        "initializers": {recipe.initializer.name for recipe in recipes},
        "losses": {recipe.loss.name for recipe in recipes},
        "optimizers": {recipe.optimizer.name for recipe in recipes},
        "regularizers": {component.name for recipe in recipes for component in recipe.regularizers},
        "schedules": {recipe.schedule.name for recipe in recipes},
    }
    tables = {
        "models": models.MODELS,
        "activations": set(activations.ACTIVATIONS),
        "initializers": initializers.INITIALIZERS,
        "losses": losses.LOSSES,
        "optimizers": optimizers.OPTIMIZERS,
        "regularizers": regularizers.REGULARIZERS,
        "schedules": schedules.SCHEDULES,
    }
    assert {kind: set(table) - used[kind] for kind, table in tables.items()} == {kind: set() for kind in tables}


def test_every_formulation_that_a_keyword_can_name_is_in_the_full_suite():
    """The allowed words are read from the reference's own refusals."""
    recipes = suites.suite("full")
    for name, make in optimizers.OPTIMIZERS.items():
        for keyword in keyword_defaults(make):
            try:
                make(**{keyword: "no such formulation"})
            except ValueError as error:
                words = str(error).partition("must be one of ")[2]
                allowed = {eval(word) for word in words.split(", ") if words}  # none: a number
                used = {r.optimizer.keywords[keyword] for r in recipes if r.optimizer.name == name}
                assert allowed <= used, f"{name}: {keyword} {allowed - used}"
            except TypeError:
                continue  # a number


def test_a_dialect_is_written_out():
    spoken = TOML.replace('name = "adam"', 'dialect = "keras.Adam"')
    recipe = Recipe.model_validate(tomllib.loads(spoken))
    assert recipe.optimizer.name == "adam"
    assert recipe.optimizer.keywords["epsilon_position"] == "before_correction"
    assert recipe.optimizer.keywords["learning_rate"] == 0.01, "what stands beside the dialect is said by the recipe"
    with pytest.raises(ValidationError, match=r"optimizer.dialect='keras.Adamm': builtin='Adamm' is not allowed"):
        Recipe.model_validate(tomllib.loads(spoken.replace("keras.Adam", "keras.Adamm")))
    with pytest.raises(
        ValidationError, match=r"optimizer.dialect='keras.GRU' is not allowed: it is a dialect of a layer"
    ):
        Recipe.model_validate(tomllib.loads(spoken.replace("keras.Adam", "keras.GRU")))
    with pytest.raises(ValidationError, match=r"optimizer.name='lion' is not allowed for 'keras.Adam'"):
        Recipe.model_validate(tomllib.loads(spoken.replace("dialect =", 'name = "lion"\ndialect =')))


def test_the_new_fields_are_part_of_what_a_recipe_is_and_are_left_out_at_no_cost():
    recipe = Recipe.model_validate(tomllib.loads(TOML))
    said = {"reduction": "mean", "frozen_biases": False, "fit": "once"}
    assert Recipe.model_validate(tomllib.loads(TOML) | said).hash == recipe.hash
    others = [{"reduction": "sum"}, {"frozen_biases": True}, {"fit": "in_halves"}, {"fit": "twice"}]
    assert len({recipe.hash, *(Recipe.model_validate(tomllib.loads(TOML) | other).hash for other in others)}) == 5


def test_names_within_a_suite_differ():
    assert len(suites.names(suites.suite("full"))) >= 400
    with pytest.raises(ValueError, match="is used twice"):
        suites.names([*suites.suite("quick"), *suites.suite("quick")])


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError):
        suites.suite("quick")[0].epochs = 3
