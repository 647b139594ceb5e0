"""Recipes by name, by pattern, and written out; how large they are."""

import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.data.datasets import DATASETS, load_dataset
from conformance.data.extents import EXTENTS, Extent
from conformance.problems.preparation import prepare
from conformance.recipes.choosing import catalogue, find, select
from conformance.recipes.files import RecipeError, load_recipe
from conformance.recipes.recipe import Recipe
from conformance.recipes.size import estimate, require_bounded
from conformance.recipes.suites import suite
from conformance.recipes.writing import as_toml

QUICK = suite("quick")


def test_a_recipe_is_found_by_its_name_in_any_suite_and_by_its_path(tmp_path):
    for recipe in (QUICK[0], suite("full")[-1]):
        assert find(recipe.name) == recipe
    path = tmp_path / "some.toml"
    path.write_text(as_toml(QUICK[1]), encoding="utf-8")
    assert find(path) == find(str(path)) == QUICK[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flower-shallow-tan", "did you mean 'flower-shallow-tanh'?"),
        ("nothing-like-it", "recipe='nothing-like-it' is not known: must be a name that"),
        ("absent.toml", "absent.toml: cannot be read"),
        ("folder/absent", "folder/absent: has no suffix"),
        ("x" * 10**6, "(1000000 characters)"),
    ],
    ids=lambda value: value[:25],
)
def test_a_recipe_that_there_is_not_is_refused_with_the_nearest(name, message):
    with pytest.raises(RecipeError) as refused:
        find(name)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("patterns", "numbers"),
    [("flower", [1]), ("*-adam", [5]), ("moons,xor", [2, 3]), (["?*-logistic", "hand"], [0, 5]), ("*", range(6))],
)
def test_patterns_choose_by_parts_or_whole_names_in_the_order_of_the_recipes(patterns, numbers):
    assert select(QUICK, patterns) == [QUICK[number] for number in numbers]


@pytest.mark.parametrize("pattern", ["adamm", "", "flower,", "Flower*", "[", "x" * 10**5])
def test_a_pattern_that_matches_nothing_is_refused(pattern):
    with pytest.raises(ValueError, match="matches none of 6 recipe names"):
        select(QUICK, pattern)


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_recipe_written_as_toml_is_the_same_recipe(name):
    recipe = find(name)
    again = Recipe.model_validate(tomllib.loads(as_toml(recipe)))
    assert again == recipe
    assert again.hash == recipe.hash


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_description_can_be_written(description):
    recipe = QUICK[0].model_copy(update={"description": description})
    assert tomllib.loads(as_toml(recipe))["description"] == description


@pytest.mark.parametrize("name", [name for name, info in DATASETS.items() if info.kind != "files"])
def test_a_data_set_is_as_large_as_is_told(name):
    data = load_dataset(name)
    assert EXTENTS[name][:4] == (len(data.train_x), len(data.test_x), data.train_x.shape[1], data.n_classes)


def test_every_data_set_that_does_not_lie_in_files_has_an_extent():
    assert set(EXTENTS) == {name for name, info in DATASETS.items() if info.kind != "files"}


@pytest.mark.parametrize("recipe", suite("default"), ids=lambda recipe: recipe.name)
def test_the_size_of_a_training_is_told_before_it_is_prepared(recipe):
    told, problem = estimate(recipe), prepare(recipe, "float64")
    tape = problem.tape
    drawn = [*tape.initial_parameters.values(), *tape.dropout_masks.values(), *tape.augmentation_draws]
    drawn += [array for array in (tape.batch_order, tape.example_weights) if array is not None]
    assert told.steps == problem.steps * (2 if recipe.fit == "twice" else 1)
    assert told.data_bytes == problem.train_x.nbytes + problem.test_x.nbytes
    parameters = sum(np.size(w) for w in tape.initial_parameters.values())
    assert parameters <= told.parameters <= 2 * parameters
    assert sum(array.nbytes for array in drawn) <= told.tape_bytes <= 1.1 * sum(array.nbytes for array in drawn)


def test_of_files_the_size_is_known_when_they_are(tmp_path):
    text = """
        name = "cats"
        loss = "binary_cross_entropy"
        batch_size = 1
        epochs = 100000
        dataset = {name = "cat_files"}
        model = {name = "logistic_regression"}
        optimizer = {name = "adam"}
    """
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    recipe = load_recipe(path)
    assert estimate(recipe) is None
    with pytest.raises(ValueError, match=r"20,900,000 steps; allowed: at most 1,000,000") as refused:
        require_bounded(recipe, Extent(209, 50, 12288, 2))
    assert "steps x parameters" in str(refused.value)
