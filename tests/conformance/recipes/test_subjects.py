"""The built-ins as subjects: their names, and the recipes that they must train as."""

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.recipes import subjects
from conformance.recipes.dialects import dialects
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import SUITES


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(subjects).failed == 0


def test_every_optimizer_of_the_dialects_is_a_subject_with_a_recipe_of_its_formulation():
    found = [each for each in subjects.subjects().values() if each.kind == "optimizers"]
    assert len(found) == len(dialects())
    for each, dialect in zip(found, dialects(), strict=True):
        recipe = Recipe.model_validate(each.recipe)
        assert recipe.optimizer.name == dialect.optimizer
        assert recipe.optimizer.keywords.items() >= (dialect.keywords | each.keywords).items()


def test_every_subject_is_told_from_the_others_by_its_recipe_s_name_and_of_one_implementation():
    found = subjects.subjects()
    of_suites = [*SUITES[subjects.SUITE], *SUITES[subjects.SUITE_OF_LAYERS]]
    assert len(subjects.by_recipe()) == len(found) == len(of_suites)
    for each in found.values():
        assert re.fullmatch("[a-z0-9-]{1,80}", each.recipe_name)
        assert [name for name in subjects.IMPLEMENTATIONS if subjects.does(name, each.recipe_name)] == [
            each.implementation
        ]


def test_a_pattern_names_subjects_and_an_exact_name_itself_alone():
    assert [each.name for each in subjects.choose(["torch.optim.SGD"])] == ["torch.optim.SGD"]
    assert {each.name for each in subjects.choose(["*.Lion", "optax.lion"])} == {"keras.optimizers.Lion", "optax.lion"}


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("torch.optim.Adm", "did you mean 'torch.optim.Adam'"),
        ("", "subject='' is not allowed: must be the name of a built-in or a pattern"),
        ("torch.optim.RAdam(lr=0.5)", "there is 'torch.optim.RAdam', 'torch.optim.RAdam(weight_decay=0.1)'"),
        ("torch.nothing.*", "subject='torch.nothing.*' matches none of"),
    ],
)
def test_what_names_no_subject_is_refused_with_the_nearest(pattern, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        subjects.choose([pattern])


@given(st.lists(st.sampled_from(sorted(subjects.subjects())), min_size=1))
def test_names_come_apart_at_the_commas_between_them_alone(names):
    assert subjects.separated(",".join(names)) == names


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("torch.nn.LSTM(bidirectional=True)", {"name": "lstm", "return_sequences": True, "biases": 2}),
        ("keras.layers.Bidirectional", {"dialect": "keras.GRU"}),
    ],
)
def test_of_a_layer_in_both_directions_it_is_said_what_it_holds(name, inside):
    assert subjects.subject(name).formulation == f"bidirectional(layers=[{inside}])"
