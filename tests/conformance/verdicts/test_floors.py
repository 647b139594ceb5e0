"""The measured noise floor: re-rounded runs are the same mathematics, and honest runs stay below the allowance."""

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import Point, build_case
from conformance.checks.observation import STAGES
from conformance.problems.preparation import prepare
from conformance.recipes import suites
from conformance.recipes.coverage import recipe_with
from conformance.results.cases import StoredCase, load_case, save_case
from conformance.results.store import Store
from conformance.verdicts import floors
from conformance.verdicts.compare import Verdict, compare, measure_errors
from conformance.verdicts.events import local_events
from conformance.verdicts.order import LADDER
from conformance.verdicts.rerounding import VARIANTS, Rerounded
from conformance.verdicts.summation import SequentialNetwork
from reference_numpy import models

RECIPES = {recipe.name: recipe for recipe in suites.suite("default")}
SMALL = ["moons-deep-relu-momentum", "moons-twice", "digits-softmax-adam-dropout-l2", "moons-relu-at-zero"]


@pytest.fixture(scope="module")
def cases():
    found = {}
    for name in SMALL:
        for dtype in ("float64", "float32"):
            problem = prepare(RECIPES[name], dtype)
            case = build_case(problem, NumpySession(problem.in_float64()))
            found[name, dtype] = case, floors.measure(case)
    return found


@pytest.mark.parametrize("variant", range(len(VARIANTS)))
@pytest.mark.parametrize("name", SMALL)
def test_a_rerounded_run_differs_from_the_reference_by_rounding_alone(cases, name, variant):
    """In float64, where there is so little of it that any mistake in the reordering would stand out."""
    case, _ = cases[name, "float64"]
    oracle, rerounded = NumpySession(case.problem), Rerounded(case.problem, variant)
    for check, observe in CHECKS.items():
        if check == floors.SAMPLED:  # what it sees no rounding moves
            continue
        for expected, observed in zip(observe(oracle, case), observe(rerounded, case), strict=True):
            assert observed.key == expected.key
            if expected.key.kind == "statistic":  # of other weights
                continue
            assert measure_errors(observed, expected).max() < 1e-9, expected.key


def test_the_rerounded_runs_do_not_all_round_alike(cases):
    for (name, dtype), (_, expectations) in cases.items():
        floors = [float(e.floor.max()) for e in expectations["teacher_forced"] if e.observation.key.stage == "gradient"]
        assert max(floors) > 0, (name, dtype)


def test_the_floor_of_float32_is_that_of_float32(cases):
    for name in SMALL[:3]:  # (from zeros, the loss is log 2 in every run)
        largest = {
            dtype: max(float(e.floor.max()) for e in cases[name, dtype][1]["loss"]) for dtype in ("float64", "float32")
        }
        assert 1e7 < largest["float32"] / largest["float64"] < 1e10


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SMALL)
def test_the_reference_itself_passes_every_check(cases, name, dtype):
    case, expectations = cases[name, dtype]
    session = NumpySession(case.problem)
    for check, observe in CHECKS.items():
        for comparison in compare(observe(session, case), expectations[check]):
            assert comparison.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), comparison


def test_checks_and_stages_are_those_of_the_ladder(cases):
    assert tuple(CHECKS) == LADDER

    _, expectations = cases["moons-twice", "float64"]
    stages = {e.observation.key.stage for found in expectations.values() for e in found}
    assert stages <= set(STAGES)


def test_a_case_and_its_expectations_survive_the_store(cases, tmp_path):
    case, expectations = cases["digits-softmax-adam-dropout-l2", "float32"]
    store = Store(tmp_path, create=True)
    save_case(store, StoredCase(case, expectations, {}))
    stored = load_case(store, case.problem.recipe, "float32")
    again = stored.case
    assert (again.problem.train_x == case.problem.train_x).all()
    assert (again.problem.dataset.test_y == case.problem.dataset.test_y).all()
    assert (again.problem.tape.batch_order == case.problem.tape.batch_order).all()
    assert list(again.problem.tape.initial_parameters) == list(case.problem.tape.initial_parameters)
    for state, other in zip(case.trajectory, again.trajectory, strict=True):
        assert state.step == other.step
        assert all((state.slots[s][n] == other.slots[s][n]).all() for s in state.slots for n in state.slots[s])
    assert [e.step for e in again.exercises] == [e.step for e in case.exercises]
    for check, found in stored.expectations.items():
        assert [e.observation.key for e in found] == [e.observation.key for e in expectations[check]]
        assert [e.observation.key.layer for e in found] == [e.observation.key.layer for e in expectations[check]]
        assert all((a.floor == b.floor).all() for a, b in zip(found, expectations[check], strict=True))


def test_a_unit_at_its_kink_is_an_event_and_one_exactly_on_it_is_not(cases):
    problem = prepare(RECIPES["moons-deep-relu-momentum"], "float32")
    case = build_case(problem, NumpySession(problem.in_float64()))
    oracle = NumpySession(problem.in_float64())
    variants = [Rerounded(problem, v) for v in range(len(VARIANTS))]
    assert local_events(case, (oracle, *variants)) == {}
    nudged = {name: value.copy() for name, value in case.points[0].parameters.items()}
    z = oracle.intermediates(case.points[0].parameters, problem.in_float64().batch(0).x, None, {})["Z1"]
    nudged["b1"][0] -= np.float32(z[0, 0])  # example 0 now lies within rounding of unit 1's kink
    moved = type(case)(problem, {0: Point(nudged, {})}, (), ())
    events = local_events(moved, (oracle, *variants))
    assert "unit 1 of layer 1" in events[0]
    zeros = prepare(recipe_with({"model": "deep", "activation": "relu"}, initializer="zeros"), "float32")
    on_it = build_case(zeros, NumpySession(zeros.in_float64()))
    point = type(case)(zeros, {0: on_it.points[0]}, (), ())
    oracle, variants = NumpySession(zeros.in_float64()), [Rerounded(zeros, v) for v in range(len(VARIANTS))]
    assert local_events(point, (oracle, *variants)) == {}


@pytest.mark.parametrize(("penalty", "first"), [("l1", 2), ("elastic net", 2), ("l2", None)])
def test_a_weight_within_rounding_of_zero_is_an_event_where_its_absolute_value_is_penalised(penalty, first):
    """With standardized inputs nothing but rounding moves the weights of a class that no example has from zero."""
    recipe = recipe_with(
        {"model": "softmax regression", "initializer": "zeros", "penalty": penalty, "batches": "full"},
        dataset={"name": "digits", "scaling": "standardize", "examples": 8, "test_examples": 4},
    )
    problem = prepare(recipe, "float64")
    case = build_case(problem, NumpySession(problem))
    expectations = floors.measure(case)
    events = expectations["free_running"][0].events
    assert min(events, default=None) == first
    assert all("from 0, where the gradient of its penalty changes its sign" in event for event in events.values())
    assert not expectations["teacher_forced"][0].events


def test_a_parameter_that_two_steps_cancel_has_the_floor_of_what_it_was():
    """Clipped by its norm, the gradient of a single bias is the limit, up or down."""
    recipe = recipe_with(
        {"model": "logistic regression", "optimizer": "gradient descent"},
        regularizers=[{"name": "clip_by_norm", "limit": 1e-3}],
        batch_size=1,
    )
    problem = prepare(recipe, "float32")
    case = build_case(problem, NumpySession(problem.in_float64()))
    measured = {
        (check, e.observation.key.step): (float(abs(e.observation.value[0])), float(e.floor[0]))
        for check, expected in floors.measure(case).items()
        for e in expected
        if e.observation.key.stage == "parameter" and e.observation.key.tensor == "b1"
    }
    cancelled, largest = 0, 0.0
    for state in case.trajectory:
        given = float(abs(state.parameters["b1"][0]))
        largest = max(largest, given)
        for check, was in (("teacher_forced", given), ("free_running", largest)):
            left, floor = measured.get((check, state.step), (np.inf, 0.0))
            if left < was:
                assert floor >= 0.999 * problem.unit_roundoff * was / max(left, 1e-300)
                cancelled += left < was / 1000
    assert cancelled


def test_a_difference_of_gradients_has_the_floor_of_the_gradients():
    """Even where by luck all re-rounded runs agree."""
    recipe = recipe_with({"model": "logistic regression", "optimizer": "lbfgs", "batches": "full"}, epochs=4)
    problem = prepare(recipe, "float64")
    case = build_case(problem, NumpySession(problem))
    oracles = list(CHECKS["teacher_forced"](NumpySession(problem), case))
    carried = floors._carried(case, oracles, [np.zeros(np.size(o.value)) for o in oracles], accumulated=False)
    found = {o.key.step: (o, floor) for o, floor in zip(oracles, carried, strict=True)
             if o.key.tensor == "gradient_change_1 of b1"}  # fmt: skip
    assert found[1][1].max() == 0  # no step has been made yet
    for state in case.trajectory[1:]:
        observation, floor = found[state.step]
        own, was = float(abs(observation.value[0])), float(abs(state.slots["previous_gradient"]["b1"][0]))
        assert floor.max() == pytest.approx(problem.unit_roundoff * was / own if was > own else 0.0, rel=1e-12)
    assert max(floor.max() for _, floor in found.values()) > 0


def test_the_sequential_network_sums_every_term_once():
    generator = np.random.default_rng(0)
    network = SequentialNetwork(**vars(models.deep_network((1500, 3, 1))))
    a, b = generator.standard_normal((4, 1500)), generator.standard_normal((1500, 3))
    assert network.product(a, b) == pytest.approx(a @ b, rel=1e-11)


def test_some_rerounded_runs_sum_norms_in_turn():
    """Equal squares, added in turn, all round the same way: a bias that no order of pairwise sums shows."""
    recipe = recipe_with({"model": "softmax regression", "limit": "clip by global norm"}, dataset={"name": "digits"})
    problem = prepare(recipe, "float32")
    gradients = {"W1": np.full((10, 64), np.float32(0.2)), "b1": np.zeros(10, np.float32)}
    in_turn = np.sqrt(np.add.accumulate(gradients["W1"].ravel() ** 2)[-1])
    (limit,) = (r.keywords["limit"] for r in recipe.regularizers if r.name == "clip_by_global_norm")
    exact = NumpySession(problem.in_float64()).clip({n: g.astype(np.float64) for n, g in gradients.items()})["W1"]
    errors = [np.abs(Rerounded(problem, v).clip(gradients)["W1"] / exact - 1).max() for v in range(len(VARIANTS))]
    biased = abs(gradients["W1"][0, 0] * limit / in_turn / exact[0, 0] - 1)
    assert biased > 16 * problem.unit_roundoff
    assert max(errors) > 0.5 * biased


@pytest.mark.parametrize(("z", "approximate"), [(-2.5, False), (-2.5, True), (4.8677, True)])
def test_some_rerounded_runs_move_the_distribution_inside_gelu(z, approximate):
    """Its slope takes the difference of the distribution function from 0 and 1, and multiplies it."""
    recipe = recipe_with({"model": "shallow", "activation": "gelu, by tanh" if approximate else "gelu"})
    problem = prepare(recipe, "float32")
    parameters = {n: np.zeros_like(w) for n, w in problem.tape.initial_parameters.items()}
    parameters["b1"] += np.float32(z)
    parameters["W2"] += 1
    batch = problem.batch(0)
    exact = NumpySession(problem.in_float64()).gradients(parameters, *batch)["b1"]
    errors = [Rerounded(problem, v).gradients(parameters, *batch)["b1"] - exact for v in range(len(VARIANTS))]
    # XLA's tanh makes 3.5e-6 of it at 4.8677.
    assert np.abs(errors).max() / np.abs(exact).max() > 1e-6


def test_some_rerounded_runs_move_a_linear_prediction():
    """What is left of one example's prediction next to its target is the prediction's rounding."""
    recipe = recipe_with({"model": "linear neuron"}, batch_size=1)
    problem = prepare(recipe, "float32")
    x, y, masks, weights = problem.batch(0)
    near = {"W1": np.zeros_like(problem.tape.initial_parameters["W1"]), "b1": (y[0] * np.float32(1.001))}
    oracle = NumpySession(problem.in_float64())
    exact = oracle.gradients(near, x, y, masks, weights)["b1"]
    errors = [
        Rerounded(problem, v).gradients(near, x, y, masks, weights)["b1"] / exact - 1 for v in range(len(VARIANTS))
    ]
    assert np.abs(errors).max() > 500 * problem.unit_roundoff


def test_a_training_of_several_batches_ends_where_single_steps_end(cases):
    """The oracle's two ways of training, compiled and step by step, agree."""
    case, expectations = cases["digits-softmax-adam-dropout-l2", "float64"]
    ended = {
        e.observation.key.tensor: e.observation.value
        for e in expectations["free_running"]
        if e.observation.key.stage == "parameter" and e.observation.key.step == case.problem.steps
    }
    for name, value in case.points[case.problem.steps].parameters.items():
        assert ended[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
