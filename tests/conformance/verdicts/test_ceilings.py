"""Ceilings: what a fault that a check must catch would move, and what becomes of records that it could hide in."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.checks.case import build_case
from conformance.checks.observation import Key
from conformance.faults import mutants
from conformance.faults.injection import Edit
from conformance.faults.mutant import Mutant
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.results.frames import load_records
from conformance.runs.plan import Plan
from conformance.verdicts import ceilings, floors
from conformance.verdicts.compare import NO_CEILING, Ceiling, Comparison, Verdict, under_ceiling

RECIPE = recipe_with({"optimizer": "gradient descent"}, "descent")
STEP = "w -= alpha * g\n"


def longer_step(factor, name=None, checks=("update",), **fields):
    """The fault of a gradient descent whose every step is ``factor`` times as long."""
    return faulty_step(name or f"gradient descent: steps {factor} times as long", f"w -= {factor} * alpha * g\n",
                       checks, **fields)  # fmt: skip


def faulty_step(name, line, checks=("update",), **fields):
    return Mutant(
        name,
        (Edit("optimizers.py: gradient_descent", STEP, line),),
        where={"optimizer": "gradient descent"},
        checks=checks,
        **fields,
    )


@pytest.fixture(scope="module")
def situation():
    problem = prepare(RECIPE, "float64")
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Lets the harness know these mutants and no others, and nothing that another test found out about them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def know(*faults):
        monkeypatch.setattr(mutants, "MUTANTS", faults)
        monkeypatch.setattr(ceilings, "MUTANTS", faults)

    return know


def with_floors(expectations, floor):
    """The same expectations, with another noise floor."""
    return {
        check: [replace(e, floor=np.full_like(e.floor, floor)) for e in expected]
        for check, expected in expectations.items()
    }


def ceilings_of(case, expectations):
    return ceilings.above(expectations, ceilings.measure(case, expectations))


def test_the_ceiling_is_what_the_fault_moves(situation, known):
    case, expectations = situation
    known(longer_step(1.001))
    moved = {}
    rate = RECIPE.optimizer.keywords["learning_rate"]
    for exercise in case.exercises:
        for name, gradient in exercise.gradients.items():
            (expectation,) = (
                e for e in expectations["update"] if e.observation.key == Key("parameter", exercise.step, name)
            )
            largest = np.abs(expectation.observation.value).max()
            if largest > 0:
                error = 0.001 * rate * np.abs(gradient).max() / largest
                moved.setdefault(name, []).append(error / float(expectation.allowance[0]))
    found = ceilings_of(case, expectations)
    assert {place: c.ratio for place, c in found.pop("update").items()} == {
        ("parameter", name): pytest.approx(max(ratios), rel=1e-9) for name, ratios in moved.items()
    }
    assert "zeros" not in moved
    assert not any(found.values())


def test_of_two_faults_the_one_that_moves_a_tensor_less_is_its_ceiling(situation, known):
    small, large = longer_step(1.001), longer_step(1.01)
    for faults in ((small, large), (large, small)):
        known(*faults)
        found = ceilings_of(*situation)["update"]
        assert {ceiling.fault for ceiling in found.values()} == {small.name}


@pytest.mark.parametrize(
    "fault",
    [
        longer_step(1.001, "of another optimizer", of=("adam", "momentum")),
        longer_step(1.001, "of another precision", dtypes=("float32",)),
        longer_step(1.0 + 1e-9, "without an effect"),
        faulty_step("a crash", "raise ValueError(alpha)\n"),
        faulty_step("another crash", "w -= alpha * h\n"),
    ],
    ids=lambda fault: fault.name,
)
def test_a_fault_that_does_not_concern_a_recipe_does_nothing_or_crashes_gives_no_ceiling(situation, known, fault):
    known(fault)
    assert not any(ceilings_of(*situation).values())


def test_a_fault_of_one_of_the_recipes_components_concerns_it(situation, known):
    known(longer_step(1.001, "of this optimizer", of=("adam", "gradient_descent")))
    assert ceilings_of(*situation)["update"]


def test_a_check_has_ceilings_of_the_faults_that_it_must_catch_alone(situation, known):
    known(longer_step(1.001, "in two checks", ("update", "free_running")))
    found = ceilings_of(*situation)
    assert {check for check in found if found[check]} == {"update", "free_running"}
    assert ("curve", "cost") in found["free_running"]


def test_a_fault_below_every_allowance_is_a_ceiling_of_the_tensor_nearest_to_it_alone(situation, known):
    case, expectations = situation
    known(longer_step(1.0 + 4e-8))
    found = ceilings_of(case, with_floors(expectations, 1e-8))["update"]
    (ceiling,) = found.values()
    assert ceiling.ratio == pytest.approx(0.5, rel=1e-5)


def test_steps_at_which_nothing_could_be_told_have_no_part(situation, known):
    case, expectations = situation
    known(longer_step(1.001))
    assert ceilings_of(case, with_floors(expectations, 1.0))["update"] == {}
    explained = {"update": [replace(e, events=dict.fromkeys((1, 2, 10), "a switch")) for e in expectations["update"]]}
    at_the_last = ceilings_of(case, explained)["update"]
    assert set(at_the_last) == set(ceilings_of(case, expectations)["update"])
    everywhere = dict.fromkeys((1, 2, 10, 1000), "a switch")
    explained = {"update": [replace(e, events=everywhere) for e in expectations["update"]]}
    assert ceilings_of(case, explained)["update"] == {}


def test_of_a_long_training_the_first_epochs_are_followed(known):
    recipe = RECIPE.model_copy(update={"epochs": 2 * ceilings.STEPS})
    problem = prepare(recipe, "float64")
    case = build_case(problem, NumpySession(problem))
    expectations = floors.measure(case)
    known(longer_step(1 + 1e-6, checks=("free_running",)))
    found = ceilings_of(case, expectations)["free_running"]
    assert ("curve", "cost") in found
    assert ("decision", "predicted classes (training)") not in found  # it is of the end
    assert all(ceiling.ratio > 1 for ceiling in found.values())
    assert ceilings_of(case, with_floors(expectations, 1e-5))["free_running"] == {}  # perhaps it shows later


def test_a_fault_that_gives_nan_is_seen_there_and_hides_nowhere(situation, known):
    case, expectations = situation
    known(faulty_step("hidden but for NaN", "w -= (1 + 4e-8) * alpha * g; w[np.abs(g) > 1e8] = np.nan\n"))
    found = ceilings_of(case, with_floors(expectations, 1e-8))["update"]
    assert found == {("parameter", "huge"): Ceiling(np.inf, "hidden but for NaN")}


def comparison(verdict, cause=""):
    return Comparison(Key("parameter", 2, "W1"), 2, 1e-9, 3.0, 1e-9, 8e-9, verdict, cause)


def test_what_passes_under_a_ceiling_below_its_allowance_is_inconclusive_and_says_why():
    judged = under_ceiling(comparison(Verdict.PASS), Ceiling(0.25, "a fault"))
    assert judged.verdict == Verdict.INCONCLUSIVE
    assert "the fault 'a fault' would move W1 by 0.25 of its allowance" in judged.cause
    assert judged._replace(verdict=Verdict.PASS, cause="") == comparison(Verdict.PASS)


@pytest.mark.parametrize("ceiling", [NO_CEILING, Ceiling(1.0, "a fault"), Ceiling(np.inf, "a fault")])
def test_what_passes_under_another_ceiling_or_none_passes(ceiling):
    assert under_ceiling(comparison(Verdict.PASS), ceiling) == comparison(Verdict.PASS)


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict != Verdict.PASS])
def test_a_ceiling_changes_nothing_that_did_not_pass(verdict):
    judged = comparison(verdict, "another reason")
    assert under_ceiling(judged, Ceiling(0.25, "a fault")) == judged


def test_the_bound_says_where_the_fault_shows_most_and_how_much(situation, known):
    case, expectations = situation
    fault = longer_step(1.001, checks=("update", "free_running"))
    known(fault)
    bounds = ceilings.measure(case, expectations)
    update = {bound.step for bound in bounds["update"].values()}
    assert update <= {1, 2, 10, 1000}
    cost = bounds["free_running"]["curve", "cost"]
    assert cost.fault == fault.name
    (expected,) = (e for e in expectations["free_running"] if e.observation.key.tensor == "cost")
    faulty = mutants.reference_with(fault.name).session(case.problem)
    training = faulty.fit(case.problem, (1,))
    errors = np.abs(training.costs - expected.observation.value) / expected.observation.value
    assert cost.step == 1 + np.argmax(errors / expected.allowance)
    assert cost.error == pytest.approx(errors[cost.step - 1], rel=1e-9)


def test_the_ratio_is_to_the_allowance_at_the_step_of_the_bound(situation):
    _, expectations = situation
    (expected,) = (e for e in expectations["free_running"] if e.observation.key.tensor == "cost")
    rising = np.linspace(1e-9, 1e-6, expected.floor.size)
    steep = {"free_running": [replace(expected, floor=rising)], "loss": []}
    for step in (1, 2, rising.size):
        bound = ceilings.Bound("a fault", step, 1e-3, False)
        found = ceilings.above(steep, {"free_running": {("curve", "cost"): bound}})
        allowance = 8 * rising[step - 1] + 16 * expected.unit_roundoff
        ceiling = Ceiling(pytest.approx(1e-3 / allowance, rel=1e-12), "a fault")
        assert found == {"free_running": {("curve", "cost"): ceiling}, "loss": {}}


@pytest.mark.parametrize(("most", "kept"), [(True, True), (False, False)])
def test_under_a_risen_allowance_a_fault_hides_only_where_it_shows_most(situation, most, kept):
    _, expectations = situation
    bound = ceilings.Bound("a fault", 10, 1e-8, most)
    risen = with_floors(expectations, 1e-6)
    assert bool(ceilings.above(risen, {"update": {("parameter", "ordinary"): bound}})["update"]) == kept
    assert ceilings.above(expectations, {"update": {("parameter", "ordinary"): bound}})["update"]


def test_the_faults_that_are_seen_are_told_and_those_that_are_not_are_not(situation, known):
    large, small = longer_step(1.001), longer_step(1 + 1e-14)
    known(large, small)
    measured = ceilings.measure_all(*situation)
    assert measured.seen == (large.name,)
    assert measured.bounds == ceilings.measure(*situation)


def test_of_the_tensors_that_a_fault_moves_one_moves_most(situation, known):
    case, expectations = situation
    known(longer_step(1.001))
    bounds = ceilings.measure(case, expectations)["update"]
    ratios = {
        place: ceiling.ratio for place, ceiling in ceilings.above(expectations, {"update": bounds})["update"].items()
    }
    assert [place for place, bound in bounds.items() if bound.most] == [max(ratios, key=ratios.get)]
    assert len(ratios) > 1


@pytest.mark.parametrize("place", [(("parameter", "W9"), 1), (("parameter", "ordinary"), 3)])
def test_a_bound_of_what_is_not_expected_is_refused(situation, place):
    (tensor, step), (_, expectations) = place, situation
    with pytest.raises(KeyError):
        ceilings.above(expectations, {"update": {tensor: ceilings.Bound("a fault", step, 1e-3, True)}})


def test_an_infinite_error_is_infinitely_many_allowances(situation):
    _, expectations = situation
    bounds = {"update": {("parameter", "huge"): ceilings.Bound("a fault", 1, np.inf, False)}}
    for floor in (0.0, np.inf):
        assert ceilings.above(with_floors(expectations, floor), bounds)["update"]["parameter", "huge"].ratio == np.inf


def test_ceilings_survive_packing(situation, known):
    known(longer_step(1.001))
    found = ceilings_of(*situation)
    found["forward"] = {("activation", "Z1 (inference)"): Ceiling(np.inf, "a fault")}
    assert ceilings.unpack(ceilings.pack(found)) == found


class HalfTheRate(NumpySession):
    def optimizer_step(self, parameters, gradients, state, learning_rate):
        return super().optimizer_step(parameters, gradients, state, learning_rate / 2)


class Hasty(NumpyAdapter):
    def session(self, problem):
        return HalfTheRate(problem)


@pytest.fixture
def records_of(carry_out):
    """``records_of(folder, adapter)``: the records of the recipe in an implementation."""
    return lambda folder, adapter: load_records(
        carry_out(Plan(folder, [("file", RECIPE)], {}, ["float64"]), {"tested": adapter})
    )


def test_both_margins_stand_in_every_record_of_a_tensor_with_a_ceiling(tmp_path, known, records_of):
    known(longer_step(1.001, checks=("update", "teacher_forced")))
    records = records_of(tmp_path, NumpyAdapter)
    bounded = records[records["nearest_fault"] != ""]
    assert set(bounded["check"]) == {"update", "teacher_forced"}
    assert set(bounded["stage"]) == {"parameter"}
    assert bounded[["ceiling", "allowance_per_ceiling", "error_per_allowance"]].notna().all(axis=None)
    assert (bounded["allowance_per_ceiling"] * bounded["ceiling"]).to_numpy() == pytest.approx(bounded["allowance"])
    assert (bounded["error"] / bounded["allowance"]).to_numpy() == pytest.approx(bounded["error_per_allowance"])
    assert records.loc[records["nearest_fault"] == "", ["ceiling", "allowance_per_ceiling"]].isna().all(axis=None)
    assert set(records["verdict"]) == {"pass"}


def test_a_crossed_ceiling_makes_a_record_inconclusive_and_hides_no_failure(tmp_path, known, monkeypatch, records_of):
    known(longer_step(1.0 + 4e-8))
    measure = floors.measure
    monkeypatch.setattr(floors, "measure", lambda case: with_floors(measure(case), 1e-8))
    for adapter, verdict in ((NumpyAdapter, "inconclusive"), (Hasty, "fail")):
        records = records_of(tmp_path / adapter.__name__, adapter)
        (crossed,) = records[records["allowance_per_ceiling"] > 1].to_dict("records")
        assert (crossed["check"], crossed["verdict"]) == ("update", verdict)
        assert ("would move" in crossed["cause"]) == (verdict == "inconclusive")
