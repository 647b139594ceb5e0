"""The space of recipes: the covering array is complete, and nothing in the reference's tables is left untried."""

import csv
import importlib
from collections import Counter
from importlib import resources
from itertools import combinations

import pytest

from conformance.recipes.coverage import (
    allowed,
    allowed_pairs,
    completed_pairs,
    coverage,
    covering_array,
    pairs_of,
    recipe_values,
    recipe_with,
    single_changes,
    values_of,
)
from conformance.recipes.factors import BASE, FACTORS, values_in
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite

TABLES = {
    "activations": "ACTIVATIONS",
    "initializers": "INITIALIZERS",
    "losses": "LOSSES",
    "models": "MODELS",
    "normalization": "NORMALIZATIONS",
    "optimizers": "OPTIMIZERS",
    "regularizers": "REGULARIZERS",
    "schedules": "SCHEDULES",
}


@pytest.fixture(scope="module")
def full():
    return suite("full")


def reference_components():
    """The names in each of the reference's tables, by the table's module."""
    return {
        module: set(getattr(importlib.import_module(f"reference_numpy.{module}"), table))
        for module, table in TABLES.items()
    }


def components_of(recipe):
    """The names that a recipe takes from each table."""
    return {
        "activations": {recipe.model.activation.name, recipe.model.output},
        "initializers": {recipe.initializer.name},
        "losses": {recipe.loss.name},
        "models": {recipe.model.name},
        "normalization": {recipe.model.normalization.name} if recipe.model.normalization else set(),
        "optimizers": {recipe.optimizer.name},
        "regularizers": {component.name for component in recipe.regularizers},
        "schedules": {recipe.schedule.name},
    }


def untried(tables, recipes):
    """The components, as ``module.name``, that no recipe names."""
    held = {module: set() for module in tables}
    for recipe in recipes:
        for module, names in components_of(recipe).items():
            held[module] |= names
    return sorted(f"{module}.{name}" for module, names in tables.items() for name in names - held[module])


def pairs_missing(rows):
    """The allowed pairs that no row holds."""
    return allowed_pairs() - set().union(*map(pairs_of, rows))


def test_the_array_has_a_known_value_for_every_factor():
    with resources.files("conformance.recipes").joinpath("covering_array.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == list(FACTORS)
    for row in covering_array():
        assert {factor: value for factor, value in row.items() if value not in FACTORS[factor]} == {}


def test_every_row_of_the_array_is_allowed_and_no_row_stands_twice():
    rows = covering_array()
    assert [row for row in rows if not allowed(row)] == []
    assert [row for row, number in Counter(tuple(row.items()) for row in rows).items() if number > 1] == []


def test_the_array_holds_every_allowed_pair_and_no_other():
    assert allowed_pairs() == completed_pairs()


def test_an_allowed_pair_is_one_of_two_factors_whose_values_go_together():
    pairs = allowed_pairs()
    assert {(one, other) for (one, _), (other, _) in pairs} == set(combinations(FACTORS, 2))
    assert all(allowed({one: a, other: b}) for (one, a), (other, b) in pairs)
    assert (("model", "softmax"), ("loss", "binary")) not in pairs


def test_every_row_of_the_array_makes_a_recipe_that_holds_its_values():
    for number, row in enumerate(covering_array()):
        recipe = Recipe.model_validate(recipe_values(f"row-{number}", row))
        lost = {factor: value for factor, value in row.items() if value not in values_of(recipe)[factor]}
        assert lost == {}, row


def test_the_single_changes_hold_every_value():
    choices = single_changes()
    assert BASE in choices
    assert all(map(allowed, choices))
    for factor in FACTORS:
        assert {choice[factor] for choice in choices if factor in choice} == set(values_in(factor))


def test_the_full_suite_leaves_no_value_and_no_pair_out(full):
    rows = coverage(full)
    assert {row.factors: row.missing for row in rows if row.missing} == {}
    assert all(row.held == row.allowed > 0 for row in rows)


def test_the_full_suite_names_every_component_of_the_reference(full):
    assert untried(reference_components(), full) == []


def test_a_component_without_a_recipe_is_found(full):
    tables = reference_components()
    for module in TABLES:
        injected = tables | {module: tables[module] | {"novel"}}
        assert untried(injected, full) == [f"{module}.novel"]
    without = [recipe for recipe in full if recipe.optimizer.name != "lion"]
    assert untried(tables, without) == ["optimizers.lion"]


def test_a_row_taken_away_is_found_where_it_alone_holds_a_pair():
    rows = covering_array()
    number = Counter(pair for row in rows for pair in pairs_of(row))
    telling = [row for row in rows if any(number[pair] == 1 for pair in pairs_of(row))]
    assert len(telling) > len(rows) / 2
    for row in telling[:20]:
        rest = [other for other in rows if other is not row]
        assert pairs_missing(rest) == {pair for pair in pairs_of(row) if number[pair] == 1}


def test_a_suite_without_a_value_is_told_what_it_lacks(full):
    without = [recipe for recipe in full if "adadelta" not in values_of(recipe)["optimizer"]]
    rows = {row.factors: row for row in coverage(without)}
    assert rows["optimizer"].missing == ["adadelta"]
    assert rows["optimizer"].held == rows["optimizer"].allowed - 1
    assert "adadelta + float32" in rows["optimizer x dtype"].missing
    assert rows["model"].missing == []


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        ({}, {"once"}),
        ({"fit": "in_halves"}, {"in halves"}),
        ({"fit": "twice", "frozen_biases": True}, {"twice", "frozen biases"}),
        ({"frozen_biases": True}, {"frozen biases"}),
    ],
)
def test_the_way_a_training_is_asked_for_is_recognised(settings, held):
    assert values_of(recipe_with({}, **settings))["training"] == held


def test_a_model_without_biases_is_none_with_them():
    models = [values_of(recipe_with({"model": value}))["model"] for value in values_in("model")]
    assert models == [{value} for value in values_in("model")]


def test_a_formulation_of_weight_decay_is_none_of_the_others():
    for value in values_in("optimizer"):
        assert values_of(recipe_with({"optimizer": value}))["optimizer"] == {value}


def test_a_sum_over_examples_is_no_mean():
    for value in values_in("loss"):
        assert values_of(recipe_with({"loss": value}))["loss"] == {value}


@pytest.mark.parametrize(
    "values",
    [
        {"model": "deep, without biases", "training": "frozen biases"},
        {"training": "in halves", "stopping": "early stopping"},
        {"training": "in halves", "batches": "single examples"},
        {"model": "linear neuron, without biases", "loss": "binary"},
        {"model": "softmax, without biases", "loss": "binary, sum over examples"},
        {"model": "logistic regression, without biases", "activation": "selu"},
    ],
)
def test_what_does_not_go_together_is_not_allowed(values):
    assert not allowed(values)
    with pytest.raises(ValueError, match="do not go together"):
        recipe_with(values)


def test_an_injected_value_of_a_factor_is_missed(full, monkeypatch):
    novel = {"activation": {"name": "leaky_relu", "slope": 0.0}}
    monkeypatch.setitem(FACTORS["activation"], "leaky relu without a slope", novel)
    rows = {row.factors: row for row in coverage(full)}
    assert rows["activation"].missing == ["leaky relu without a slope"]


def test_the_names_of_the_full_suite_are_unique(full):
    assert [name for name, number in Counter(recipe.name for recipe in full).items() if number > 1] == []
