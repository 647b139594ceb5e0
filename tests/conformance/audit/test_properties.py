"""Properties of every recipe: of a random choice of components and sizes, and of anything that is no recipe.

The default run takes the same few examples every time; the slow tests take many.
"""

import json
import math
import tomllib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from conformance.adapters.numpy import NumpySession
from conformance.adapters.registry import OWN, available, load
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import allowed, recipe_values
from conformance.recipes.factors import BASE, FACTORS, values_in
from conformance.recipes.recipe import Recipe
from conformance.results.cases import StoredCase, load_case, save_case
from conformance.results.store import Store
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, Verdict, compare

# Only without shrinking is a failing example the one that is shown first; with it, a failure takes minutes to report.
COSTLY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
CHEAP = settings(deadline=None, derandomize=True, database=None, max_examples=40)

scales = st.sampled_from([0.25, 0.5, 1.0, 2.0])


@st.composite
def choices(draw):
    """A complete choice of values that go together."""
    choice = {}
    for factor in FACTORS:
        fitting = [value for value in values_in(factor) if allowed({**choice, factor: value})]
        choice[factor] = draw(st.sampled_from(fitting))
    return choice


@st.composite
def recipes(draw):
    """The values of a recipe: a choice of components, and sizes, rates and strengths drawn on top."""
    choice = draw(choices())
    values = recipe_values("drawn", choice)
    values["seed"] = draw(st.integers(0, 2**32))
    fewest = 20 if values["dataset"]["name"] == "digits" else 10  # ten classes
    examples = 8 if choice["batches"] == "single examples" else draw(st.integers(fewest, 30))
    values["dataset"] |= {"examples": examples, "test_examples": 12, "seed": draw(st.integers(0, 99))}
    # Of two units layer norm, and of two examples batch norm, leaves nothing of a gradient but what epsilon does,
    # about epsilon / variance of it, and its rounding is that many times larger than that of other sums.
    fewest = 3 if choice["normalization"] == "layer" else 2
    values["model"]["hidden_units"] = [draw(st.integers(fewest, 7)) for _ in values["model"]["hidden_units"]]
    values["optimizer"] = _scaled(values["optimizer"], "learning_rate", draw(scales))
    values["regularizers"] = [
        _scaled(component, keyword, draw(scales)) if keyword in component else component
        for component in values["regularizers"]
        for keyword in [next((name for name in ("strength", "limit", "scale") if name in component), "")]
    ]
    values["epochs"] = draw(st.integers(2 if choice["training"] == "in halves" else 1, 3))
    if choice["batches"] in ("even", "last one small"):
        # For batch norm also the last batch: one example has no variance.
        least = 3 if choice["normalization"].startswith("batch") else 1
        fitting = [size for size in range(max(2, least), 13) if (examples % size or size) >= least]
        values["batch_size"] = draw(st.sampled_from(fitting))
    return values


def _scaled(component, keyword, scale):
    return component | {keyword: component[keyword] * scale}


def as_toml(value):
    """A value in TOML; what is None is left out, as TOML has no word for it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {as_toml(v)}" for name, v in value.items() if v is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)


def backwards(value):
    """The same with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {name: backwards(v) for name, v in reversed(value.items())}
    return [backwards(v) for v in value] if isinstance(value, list) else value


@CHEAP
@given(recipes())
def test_a_recipe_survives_json_and_toml(values):
    recipe = Recipe.model_validate(values)
    written = recipe.model_dump(mode="json")
    again = Recipe.model_validate(json.loads(json.dumps(written)))
    lines = "\n".join(f"{name} = {as_toml(value)}" for name, value in written.items() if value is not None)
    from_toml = Recipe.model_validate(tomllib.loads(lines))
    assert again == from_toml == recipe
    assert again.hash == from_toml.hash == recipe.hash


@CHEAP
@given(recipes())
def test_the_order_of_keywords_does_not_matter(values):
    recipe = Recipe.model_validate(values)
    for turned in (backwards(values), backwards(recipe.model_dump(mode="json"))):
        assert Recipe.model_validate(turned) == recipe
        assert Recipe.model_validate(turned).hash == recipe.hash


@CHEAP
@given(recipes(), st.sampled_from(["seed", "epochs", "learning_rate", "dataset"]))
def test_another_number_is_another_recipe(values, changed):
    other = json.loads(json.dumps(values))
    if changed == "learning_rate":
        other["optimizer"]["learning_rate"] *= 1 + 2**-52
    elif changed == "dataset":
        other["dataset"]["seed"] += 1
    else:
        other[changed] += 1
    assert Recipe.model_validate(other).hash != Recipe.model_validate(values).hash


def same(one, other):
    """Whether two trees of arrays are equal in structure, type and every bit."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return one == other


def sorted_by_name(tree):
    """A case keeps its tensors by name: their order is not part of it."""
    if isinstance(tree, dict):
        return {name: sorted_by_name(tree[name]) for name in sorted(tree)}
    return tuple(map(sorted_by_name, tree)) if isinstance(tree, tuple) else tree


def situations(built):
    return sorted_by_name((built.points, built.trajectory, built.exercises))


@cache
def adapter(name):
    return load(available()[name])("cpu")


def failures(problem, built, expectations, name):
    """What an implementation fails, and what is inconclusive without a reason."""
    session = adapter(name).session(problem)
    found = []
    for check, observe in CHECKS.items():
        for comparison in compare(observe(session, built), expectations[check]):
            event(f"{name}: {comparison.verdict}")
            if comparison.verdict not in NOT_FAILING:
                found.append((name, check, comparison))
            elif comparison.verdict is Verdict.INCONCLUSIVE and not comparison.cause:
                found.append((name, check, "no reason", comparison))
    return found


def go_through(values, names):
    """Take a recipe the whole way, in its precision, and hold each of the implementations against the oracle."""
    recipe = Recipe.model_validate(values)
    (dtype,) = recipe.dtypes
    problem = prepare(recipe, dtype)
    note(json.dumps(values))
    built = build_case(problem, NumpySession(problem.in_float64()))
    expectations = floors.measure(built)
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), create=True)
        save_case(store, StoredCase(built, expectations, {}))
        stored = load_case(store, recipe, dtype)
    assert same(situations(stored.case), situations(built))
    for check, expected in expectations.items():
        for one, other in zip(expected, stored.expectations[check], strict=True):
            assert same(one.observation[:2], other.observation[:2]), one.observation.key
            assert same(np.asarray(one.floor), other.floor), one.observation.key
            assert (dict(one.events), one.dtype) == (dict(other.events), other.dtype)
    found = [failure for name in names for failure in failures(stored.problem, stored.case, stored.expectations, name)]
    assert found == [], "\n".join(map(str, found[:8]))


@settings(COSTLY, max_examples=6)
@given(recipes())
def test_a_random_recipe_passes_in_numpy_and_torch(values):
    go_through(values, ("numpy", "torch"))


@settings(COSTLY, max_examples=1)
@given(recipes())
def test_a_random_recipe_passes_in_tensorflow_and_jax(values):
    go_through(values, ("tf", "jax"))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(COSTLY, max_examples=200)
@given(recipes())
def test_many_random_recipes_pass_in_numpy_and_torch(values):
    go_through(values, ("numpy", "torch"))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(COSTLY, max_examples=40)
@given(recipes())
def test_many_random_recipes_pass_in_tensorflow_and_jax(values):
    go_through(values, ("tf", "jax"))


def test_every_implementation_of_the_project_has_its_turn():
    assert OWN == ("numpy", "torch", "tf", "jax")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([10**400, -(10**400), math.nan, math.inf, -math.inf, 1e308, 5e-324]),
    st.floats(width=16),
    st.text(max_size=4),
    st.binary(max_size=3),
    st.sampled_from(["adam", "l2", "relu", "warmup", "constant", "moons", "half"]),
)
names = st.sampled_from(["name", "strength", "beta1", "steps", "after", "after_options", "unit"]) | st.text(max_size=4)
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def is_accepted(values):
    """Whether values make a recipe; anything that is not a refusal in pydantic's own words goes through to the test."""
    try:
        Recipe.model_validate(values)
    except ValidationError:
        return False
    return True


@settings(CHEAP, max_examples=150)
@given(junk | st.dictionaries(st.sampled_from(sorted(Recipe.model_fields)), junk, max_size=4))
def test_what_is_no_recipe_is_refused_by_a_validation_error(values):
    assert not is_accepted(values)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (
            {"regularizers": [{"name": "max_norm", "limit": None}]},
            "limit=None is not allowed: must be a finite number > 0",
        ),
        ({"regularizers": [{"name": "early_stopping", "min_delta": "small"}]}, "min_delta='small' is not allowed"),
        ({"optimizer": {"name": "adam", "epsilon": 10**400}}, "optimizer.epsilon="),
        ({"optimizer": {"name": "adam", "beta1": None}}, "optimizer: "),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_refused_and_its_place_told(part, told):
    values = recipe_values("drawn", BASE)
    assert is_accepted(values)
    with pytest.raises(ValidationError, match=told):
        Recipe.model_validate({**values, **part})


def places(value, path=()):
    """The path to every value in a tree of mappings and lists."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from places(child, (*path, name))


def replaced(value, path, new):
    """A copy of ``value`` with ``new`` at ``path``."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new) if path[1:] else new
    return copy


@settings(CHEAP, max_examples=250)
@given(st.data())
def test_a_recipe_with_anything_at_one_place_is_a_recipe_or_refused_by_a_validation_error(data):
    values = Recipe.model_validate(recipe_values("drawn", data.draw(choices()))).model_dump(mode="json")
    wrong = replaced(values, data.draw(st.sampled_from(list(places(values)))), data.draw(junk))
    event("accepted" if is_accepted(wrong) else "refused")


@CHEAP
@given(recipes(), st.text(min_size=1, max_size=5))
def test_a_field_that_nobody_knows_is_refused(values, name):
    for part in ("dataset", "model", "optimizer", "loss"):
        held = values[part] if isinstance(values[part], dict) else {"name": values[part]}
        assert name in held or not is_accepted({**values, part: {**held, f"no_such_{name}": 1}})
    assert not is_accepted({**values, f"no_such_{name}": 1})
