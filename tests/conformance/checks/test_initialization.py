"""The check of initial weights: its statistics, what it tells apart, and that it never takes chance for a fault."""

from dataclasses import replace
from functools import cache
from unittest.mock import patch

import numpy as np
import pytest

from conformance.adapters.guarded import as_session
from conformance.adapters.numpy import NumpySession
from conformance.adapters.registry import OWN, available, load
from conformance.adapters.session import Unsupported
from conformance.checks import initialization
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation
from conformance.faults.injection import injected
from conformance.faults.mutants import MUTANTS
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.recipes.factors import values_in
from conformance.recipes.recipe import Recipe
from conformance.verdicts import floors
from conformance.verdicts.compare import FLOOR_FACTOR, Expectation, Verdict, compare
from conformance.verdicts.rerounding import VARIANTS, Rerounded

INITIALIZERS = tuple(values_in("initializer"))
FAULTS = tuple(mutant for mutant in MUTANTS if "initialization" in mutant.checks and not mutant.layers)
FAULTS_OF_LAYERS = tuple(mutant for mutant in MUTANTS if "initialization" in mutant.checks and mutant.layers)
SCALE, SHAPE, CENTRE = {"root mean square", "mean"}, {"kurtosis"}, {"mean"}

# The statistics that must see a fault; the others may.
SEEN_BY = {
    "zeros: small numbers in their place": {"mean", "singular values"},
    "scaled normal: the scale squared": SCALE,
    "scaled normal: always float64": {"shape", *SCALE, "kurtosis", "singular values", "both signs in R"},
    "xavier normal: fan-out in place of fan-in": SCALE,
    "xavier normal: the average of the fans is fan-in": SCALE,
    "xavier uniform: fan-in is the average of the fans": SCALE,
    "he normal: fan-out in place of fan-in": SCALE,
    "he uniform: the variance of LeCun": SCALE,
    "lecun normal: the variance of He": SCALE,
    "orthogonal: the gain forgotten": SCALE | {"singular values"},
    "xavier normal: uniform, of the same deviation": SHAPE,
    "he uniform: normal, of the same deviation": SHAPE,
    "he normal: never truncated": SHAPE,
    "he normal: always truncated": SHAPE,
    "truncated normal: the deviation not restored": SCALE,
    "uniform: the limit without the root of 3": SCALE,
    "uniform: from 0 on": CENTRE,
    "normal: all units alike": {"singular values"},
    "orthogonal: normal, of the same deviation": {"singular values"},
    "orthogonal: the signs of the library's QR": {"both signs in R"},
    "orthogonal: wide matrices left tall": {"shape"},
}


class OtherSeeds(NumpySession):
    """The reference as another implementation: with weights that are not the oracle's."""

    def draw_weights(self, shape, seed):
        return super().draw_weights(shape, seed + 1)


@cache
def problem_of(initializer, dtype, gain=1.0):
    settings = {} if gain == 1.0 else {"initializer": {"name": "orthogonal", "gain": gain}}
    return prepare(recipe_with({"initializer": initializer}, **settings), dtype)


def situation(problem, seed=0):
    """The case of a problem with this seed, without a training, and what the check expects in it."""
    case = Case(replace(problem, recipe=problem.recipe.model_copy(update={"seed": seed})), {}, (), ())
    with patch.object(floors, "CHECKS", {"initialization": initialization.observe}):
        return case, floors.measure(case)["initialization"]


def session_of(implementation, problem):
    if implementation == "numpy":
        return OtherSeeds(problem)
    return load(available()[implementation])("cpu").session(problem)


def failures(session, case, expectations):
    """The statistics that do not pass, by the number of the draw."""
    found = compare(initialization.observe(session, case), expectations)
    return {(comparison.step, comparison.key.tensor) for comparison in found if comparison.verdict != Verdict.PASS}


dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def test_the_statistics_of_a_matrix_worked_out_by_hand():
    """Of the six weights 3, -4 and four zeros."""
    weights = np.array([[3.0, 0.0, 0.0], [0.0, -4.0, 0.0]])
    expected = {
        "shape": [2, 3],
        "mean": [-1 / 6, (25 / 6) ** 0.5],
        "root mean square": [(25 / 6) ** 0.5],
        "kurtosis": [(3**4 + 4**4) / 6 / (25 / 6) ** 2],
        "singular values": [4, 3],
        "both signs in R": [1],
    }
    for matrix, shape in ((weights, [2, 3]), (weights.T, [3, 2])):
        found = initialization.statistics(matrix)
        assert list(found) == list(expected)
        for name, value in (expected | {"shape": shape}).items():
            assert found[name] == pytest.approx(value, rel=1e-14), name
    assert initialization.statistics(np.abs(weights))["both signs in R"] == [0]


def test_the_statistics_of_zeros_are_zero_but_for_the_shape():
    found = initialization.statistics(np.zeros((3, 5)))
    assert {name for name, value in found.items() if np.any(value)} == {"shape"}


@pytest.mark.parametrize(
    ("draw", "kurtosis"),
    [(np.random.Generator.standard_normal, 3.0), (np.random.Generator.random, 1.8)],
    ids=["normal", "uniform"],
)
def test_the_kurtosis_is_that_of_the_distribution(draw, kurtosis):
    """The variance of a sample's kurtosis is 24/n for normal numbers and less for uniform ones; five deviations."""
    weights = draw(np.random.default_rng(0), (400, 500))
    found = initialization.statistics(weights)
    assert found["kurtosis"] == pytest.approx([kurtosis], abs=5 * (24 / weights.size) ** 0.5)


# Variance in a matrix (160, 640), and kurtosis: that of a truncated normal by its moments, with the density
# phi(2) = 0.05399 and the mass 0.9545 within two deviations, (3 - (16 + 12) phi / mass) / (1 - 4 phi / mass)^2.
TRUNCATED = (3 - 28 * 0.0539909665 / 0.9544997361) / (1 - 4 * 0.0539909665 / 0.9544997361) ** 2
DISTRIBUTIONS = {
    "normal": (0.3**2, 3.0),
    "xavier normal": (1 / 640, 3.0),
    "xavier normal, average": (1 / 400, 3.0),
    "xavier uniform": (1 / 400, 1.8),
    "xavier uniform, fan-in": (1 / 640, 1.8),
    "he normal": (2 / 640, 3.0),
    "he normal, truncated": (2 / 640, TRUNCATED),
    "he uniform": (2 / 640, 1.8),
    "lecun normal": (1 / 640, 3.0),
    "lecun normal, truncated": (1 / 640, TRUNCATED),
    "lecun uniform": (1 / 640, 1.8),
}


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_the_oracles_weights_have_the_distribution_of_their_formula(initializer):
    """To five deviations of a sample's variance, ``(kurtosis - 1) / n`` relative, and of its kurtosis (see above)."""
    weights = NumpySession(problem_of(initializer, "float64")).draw_weights((160, 640), 0)
    found = initialization.statistics(weights)
    if initializer == "zeros":
        assert not weights.any()
    elif initializer == "orthogonal":
        assert found["singular values"] == pytest.approx([1, 1], rel=640 * 2.0**-53)
    else:
        variance, kurtosis = DISTRIBUTIONS[initializer]
        assert abs(found["mean"][0]) < 5 * (variance / weights.size) ** 0.5
        assert found["root mean square"][0] ** 2 == pytest.approx(
            variance, rel=5 * ((kurtosis - 1) / weights.size) ** 0.5
        )
        assert found["kurtosis"] == pytest.approx([kurtosis], abs=5 * (24 / weights.size) ** 0.5)


@dtypes
@pytest.mark.parametrize("implementation", OWN)
def test_weights_have_the_shape_the_precision_and_the_seed_asked_for(implementation, dtype):
    session = session_of(implementation, problem_of("he normal, truncated", dtype))
    weights = session.draw_weights((5, 7), 3)
    assert (weights.shape, weights.dtype) == ((5, 7), np.dtype(dtype))
    np.testing.assert_array_equal(weights, session.draw_weights((5, 7), 3))
    assert np.all(weights != session.draw_weights((5, 7), 4))


@dtypes
@pytest.mark.parametrize("implementation", OWN)
@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_every_initializer_passes(initializer, implementation, dtype):
    problem = problem_of(initializer, dtype)
    assert failures(session_of(implementation, problem), *situation(problem)) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("initializer", "gain"), [*((initializer, 1.0) for initializer in INITIALIZERS), ("orthogonal", 1.5)]
)
def test_every_initializer_passes_whatever_the_seed(initializer, gain):
    """Two hundred seeds; the sessions do not look at the recipe's seed, so that they are made once."""
    for dtype in ("float64", "float32"):
        problem = problem_of(initializer, dtype, gain)
        sessions = {implementation: session_of(implementation, problem) for implementation in OWN}
        for seed in range(200):
            case, expectations = situation(problem, seed)
            for implementation, session in sessions.items():
                assert failures(session, case, expectations) == set(), (implementation, dtype, seed)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mutant", FAULTS, ids=lambda mutant: mutant.name)
def test_an_injected_fault_is_seen_by_the_statistics_that_it_moves(mutant, dtype):
    problem = prepare(recipe_with(mutant.where, **mutant.settings), dtype)
    case, expectations = situation(problem)
    with injected("numpy", *mutant.edits) as adapter:
        seen = failures(adapter("cpu").session(problem), case, expectations)
    assert bool(seen) == (dtype in mutant.dtypes)
    if seen:
        assert SEEN_BY[mutant.name] <= {tensor for _, tensor in seen}


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mutant", FAULTS_OF_LAYERS, ids=lambda mutant: mutant.name)
def test_an_injected_fault_of_a_layer_is_seen(mutant, dtype):
    problem = prepare(recipe_with(mutant.where, **mutant.settings), dtype)
    case, expectations = situation(problem)
    assert failures(session_of("numpy", problem), case, expectations) == set()
    with injected("numpy", *mutant.edits) as adapter:
        assert failures(adapter("cpu").session(problem), case, expectations)


def test_every_injected_fault_has_its_statistics():
    assert sorted(SEEN_BY) == sorted(mutant.name for mutant in FAULTS)


def test_the_rerounded_references_draw_other_weights_than_the_oracle_and_than_one_another():
    problem = problem_of("he normal", "float64")
    sessions = [NumpySession(problem), *(Rerounded(problem, variant) for variant in range(len(VARIANTS)))]
    drawn = {session.draw_weights((2, 3), 0).tobytes() for session in sessions}
    assert len(drawn) == 1 + len(VARIANTS)


@pytest.mark.parametrize("gain", [1.0, 1.5])
@pytest.mark.parametrize("shape", initialization.SHAPES)
def test_the_rerounded_references_orthogonalize_in_the_working_precision(shape, gain):
    """Else the floor in float32 would be that of a rounded result, nearer to orthogonal than QR can make it."""
    problem = problem_of("orthogonal", "float32", gain)
    rounded, rerounded = (
        np.abs(np.divide(initialization.statistics(session.draw_weights(shape, 0))["singular values"], gain) - 1).max()
        for session in (NumpySession(problem), Rerounded(problem, 0))
    )
    assert 4 * rounded < rerounded < 16 * problem.unit_roundoff


class WithABias(NumpySession):
    """The biases of the last layer start at 0.1."""

    def initial_parameters(self, seed):
        found = super().initial_parameters(seed)
        last = max(name for name in found if name.startswith("b"))
        return found | {last: found[last] + 0.1}


def test_biases_that_do_not_start_at_zero_fail_and_nothing_else_does():
    problem = problem_of("he normal", "float64")
    case, expectations = situation(problem)
    found = list(compare(initialization.observe(WithABias(problem), case), expectations))
    (wrong,) = (comparison for comparison in found if comparison.verdict != Verdict.PASS)
    assert (wrong.key.tensor, wrong.verdict) == (initialization.BIASES, Verdict.FAIL)
    assert "is 0.1, the oracle 0" in wrong.cause


def test_a_session_that_cannot_draw_weights_is_unsupported():
    with pytest.raises(Unsupported, match="object does not offer draw_weights"):
        list(initialization.observe(as_session(object()), situation(problem_of("zeros", "float64"))[0]))


def test_no_switch_of_a_training_excuses_wrong_weights():
    """Events go by the step of a training; a draw's number is none."""
    with patch.object(floors, "local_events", lambda *given: {1: "a unit at its kink", 2: "another"}):
        _, expectations = situation(problem_of("he normal", "float64"))
    assert [dict(expectation.events) for expectation in expectations] == [{}] * len(expectations)


@pytest.mark.parametrize(("floor", "verdict"), [(1.01, Verdict.INCONCLUSIVE), (0.99, Verdict.PASS)])
def test_a_statistic_tells_something_as_long_as_zeros_would_not_pass(floor, verdict):
    observation = Observation(Key("initialization", 1, "kurtosis", "statistic"), np.ones(1))
    expectation = Expectation(observation, np.array([floor / FLOOR_FACTOR]), {}, 2.0**-53, np.dtype(np.float64))
    (found,) = compare([observation], [expectation])
    assert found.verdict == verdict
    (zeros,) = compare([observation._replace(value=np.zeros(1))], [expectation])
    assert zeros.verdict == (Verdict.FAIL if verdict == Verdict.PASS else verdict)
    assert ("chance alone moves kurtosis" in found.cause) == (verdict == Verdict.INCONCLUSIVE)


@dtypes
@pytest.mark.parametrize("layer", ["lstm", "bidirectional"])
def test_a_forget_bias_in_another_gate_fails_in_both_gates_and_nothing_else_does(dtype, layer):
    lstm = {"name": "lstm", "units": 3, "gates": "fiog", "forget_bias": 1.0}
    layers = [lstm] if layer == "lstm" else [{"name": "bidirectional", "layers": [lstm]}]
    name = "2.b" if layer == "lstm" else "2.forward.b"
    recipe = Recipe.model_validate({
        "name": "some", "dataset": {"name": "digits", "examples": 20}, "loss": "categorical_cross_entropy",
        "model": {
            "name": "network",
            "layers": [{"name": "reshape", "shape": [8, 8]}, *layers, {"name": "dense", "units": 10}],
        },
        "optimizer": "gradient_descent",
    })  # fmt: skip
    problem = prepare(recipe, dtype)
    case, expectations = situation(problem)

    class Rolled(NumpySession):
        def initial_parameters(self, seed):
            found = super().initial_parameters(seed)
            return found | {name: np.roll(found[name], 3)}

    assert failures(NumpySession(problem), case, expectations) == set()
    found = compare(initialization.observe(Rolled(problem), case), expectations)
    failing = {comparison.key.tensor for comparison in found if comparison.verdict != Verdict.PASS}
    assert failing == {f"mean of initial {name} of gate {letter}" for letter in "fi"}
