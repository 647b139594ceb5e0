"""The check of what is drawn without a tape: right implementations pass whatever the seed, each fault is seen."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.adapters.registry import OWN, available, load
from conformance.audit.mutation import edits_of, missed, outcomes, recipe_of
from conformance.checks import CHECKS, native, probe
from conformance.checks.case import Case
from conformance.checks.look import look
from conformance.checks.observation import Key, Observation
from conformance.faults.injection import Edit, injected
from conformance.faults.mutants import MUTANTS
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, Expectation, Verdict, compare
from conformance.verdicts.record import Context
from conformance.verdicts.summary import judge

FAULTS = tuple(mutant for mutant in MUTANTS if "native" in mutant.checks)
RECIPES = tuple(recipe for recipe in suite("default") if recipe.named("inverted_dropout") and recipe.fit == "once")

# The first statistic that sees a fault in the reference; the same in the other three.
KEPT, ALIKE = "kept units of layer", "units alike in masks of"
SEEN_BY = {
    "native: the seed ignored": "epochs in the order that another seed draws",
    "native: the seed of dropout ignored": f"{ALIKE} layer 1 under two seeds",
    "native: one key for the masks of all layers": f"{ALIKE} layers 1 and 2",
    "native: the same masks in every epoch": f"{ALIKE} layer 1 from one epoch to the next",
    "native: one mask for all examples": f"{ALIKE} layer 1 of a batch's examples",
    "native: units kept with the probability of dropping": f"{KEPT} 1",
    "native: units kept with the square of the probability": f"{KEPT} 1",
    "native: masks from the global generator": "masks of layer 1 that one seed draws twice",
    "native: examples never shuffled": "epochs in the order of the data",
    "native: the same order in every epoch": "epochs in an order that was there before",
    "native: the seed of the order ignored": "epochs in the order that another seed draws",
    "native: examples drawn with replacement": "epochs that visit every example once",
    "native: every epoch draws what the first one does": "epochs in an order that was there before",
    "native: a second training goes on with the draws of the first": "epochs whose order one seed draws twice",
    "native: scales drawn for a model without normalization": "initial parameters that the model has, of all",
    "native: initial biases drawn": "biases and shifts at 0, scales at 1",
    "native: one key for the weights of all layers": "correlation of W1 and W2",
    "native: the seed of initial weights ignored": "correlation of W1 under two seeds",
    "native: initial weights from the global generator": "initial parameters that one seed draws twice",
    "native: the initializer's name ignored": "distribution of W1",
}


class OtherSeeds(NumpySession):
    """The reference as another implementation: it draws otherwise than the oracle."""

    def initial_parameters(self, seed):
        return super().initial_parameters(seed + 1)

    def fit_natively(self, problem, seed, checkpoint_epochs):
        return super().fit_natively(problem, seed + 1, checkpoint_epochs)


@cache
def situation(recipe, dtype, seed=0):
    """The case of a recipe with this seed, without situations of a taped training, and what the check expects in it."""
    case = Case(prepare(recipe.model_copy(update={"seed": seed}), dtype), {}, (), ())
    double = case.in_float64()
    with np.errstate(all="ignore"):  # a training may diverge
        oracles = list(CHECKS["native"](NumpySession(double.problem), double))
    return case, [floors.of_chance(case, oracle) for oracle in oracles]


def failing(session, case, expectations):
    """The tensors that fail, in their order."""
    seen = look(session, case, "native")
    found = compare(seen.observations, expectations, seen.lost)
    return [comparison.key.tensor for comparison in found if comparison.verdict not in NOT_FAILING]


def seen_of(recipe, *edits, implementation="numpy", dtype="float64"):
    case, expectations = situation(recipe, dtype)
    with injected(implementation, *edits) as adapter:
        return failing(adapter("cpu").session(case.problem), case, expectations)


@pytest.mark.parametrize(
    ("dtype", "seeds"), [("float64", 4), ("float32", 4), pytest.param("float64", 20, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_who_draws_otherwise_passes_whatever_the_seed(recipe, dtype, seeds):
    for seed in range(seeds):
        case, expectations = situation(recipe, dtype, seed)
        assert len(expectations) > 25
        assert failing(OtherSeeds(case.problem), case, expectations) == [], seed


@pytest.mark.slow
@pytest.mark.parametrize("implementation", OWN)
def test_every_recipe_with_dropout_passes_in_every_implementation(implementation):
    adapter = load(available()[implementation])("cpu")
    for recipe in suite("full"):
        for dtype in recipe.dtypes:
            case, expectations = situation(recipe, dtype)
            if expectations:
                assert failing(adapter.session(case.problem), case, expectations) == [], (recipe.name, dtype)


@pytest.mark.parametrize("implementation", OWN)
def test_each_implementation_passes(implementation):
    recipe = recipe_with({"model": "deep", "noise": "dropout"})
    case, expectations = situation(recipe, "float32")
    assert failing(load(available()[implementation])("cpu").session(case.problem), case, expectations) == []


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mutant", FAULTS, ids=lambda mutant: mutant.name)
def test_an_injected_fault_is_seen_by_its_statistic(mutant, dtype):
    assert SEEN_BY[mutant.name] in seen_of(recipe_of(mutant), *mutant.edits, dtype=dtype)


def test_every_injected_fault_has_its_statistic():
    assert sorted(SEEN_BY) == sorted(mutant.name for mutant in FAULTS)


def test_a_fault_that_names_the_check_on_a_recipe_that_it_does_not_look_at_is_missed():
    mutant = FAULTS[0]._replace(where={"batches": "full"})
    assert {outcome.check for outcome in missed(outcomes([mutant], "numpy", ["float64"]))} == {"native"}


@pytest.mark.slow
@pytest.mark.parametrize("implementation", [name for name in OWN if name != "numpy"])
def test_an_injected_fault_is_seen_in_every_language(implementation):
    for mutant in FAULTS:
        if implementation in mutant.elsewhere:
            edits = edits_of(mutant, implementation)
            found = seen_of(recipe_of(mutant), *edits, implementation=implementation)
            assert SEEN_BY[mutant.name] in found, mutant.name


# Faults of the library that a tape shows too.
@pytest.mark.parametrize(
    ("name", "tensor", "settings"),
    [
        ("batches: the last, small one dropped", "epochs that visit every example once", {}),
        (
            "second training: the optimizer's state kept from the first",
            "what one seed trains twice",
            {"optimizer": {"name": "momentum", "learning_rate": 0.1}},
        ),
    ],
)
def test_what_is_seen_with_a_tape_is_seen_without_one_too(name, tensor, settings):
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    assert tensor in seen_of(recipe_with({"noise": "dropout"}, **settings), *mutant.edits)


def test_a_training_that_ends_with_other_costs_is_seen_by_their_mean():
    recipe = recipe_with({"noise": "dropout"})
    edit = Edit("training.py: fit", "costs.append(cost)", "costs.append(20 * cost)")
    assert f"logarithm of the cost at the end, mean of {native.SEEDS} seeds" in seen_of(recipe, edit)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.97, (0.9, 0.5), (1.0, 0.7)])
def test_a_probe_shows_the_masks_and_the_orders_that_were_drawn(keep, dtype):
    """Those of the reference, drawn again by its own functions."""
    recipe = with_keep(keep)
    probes = probe.Probe(recipe, dtype, probe.units(recipe))
    session = NumpySession(probes.orders)
    trained = probe.train(session, probes.orders, 5)
    batches, by_example = probes.batches(trained), probes.kept_by_example(trained)
    layers = probes.kept(probe.train(NumpySession(probes.layers), probes.layers, 5))
    for epoch in range(probe.EPOCHS):
        generator = np.random.default_rng((5, epoch))
        order = generator.permutation(probe.EXAMPLES)
        bits = [sum(1 << int(i) for i in order[k : k + probe.BATCH]) for k in range(0, probe.EXAMPLES, probe.BATCH)]
        assert batches[epoch].tolist() == bits
        if 1 in probes.dropping:
            mask = generator.random((probe.EXAMPLES, probes.width)) < probes.dropping[1]
            assert (by_example[epoch][order] == mask).all()
        else:
            assert by_example.all()
        generator = np.random.default_rng((5, epoch))
        for layer, kept in probes.dropping.items():
            assert (layers[layer][epoch] == (generator.random((1, probes.width)) < kept)[0]).all()


def with_keep(keep):
    return recipe_with(
        {"model": "deep", "noise": "dropout"}, regularizers=[{"name": "inverted_dropout", "keep_probability": keep}]
    )


def test_where_next_to_no_unit_is_kept_masks_cannot_be_read():
    assert probe.units(with_keep(0.5)) == probe.FEWEST_UNITS
    assert probe.FEWEST_UNITS < probe.units(with_keep(0.1)) <= probe.MOST_UNITS
    assert probe.units(with_keep(0.01)) is None
    _, expectations = situation(with_keep(0.01), "float64")
    assert {e.observation.key.stage for e in expectations} == {"initialization", "curve"}


@pytest.mark.parametrize("recipe", [recipe_with({}), recipe_with({"noise": "dropout"}, fit="twice")])
def test_of_other_recipes_there_is_nothing_to_be_recorded(recipe):
    case, expectations = situation(recipe, "float64")
    seen = look(object(), case, "native")
    context = Context("run", "file", recipe, "tested", "1", "cpu", "float64")
    assert (expectations, judge(context, seen, expectations, {}, "native", 1.0)) == ([], [])


def test_what_comes_trained_from_elsewhere_is_not_drawn_anew():
    values = recipe_with({"model": "deep", "noise": "dropout"}).model_dump()
    recipe = Recipe.model_validate(values | {"transfer": {"frozen_layers": 1}})
    assert {e.observation.key.stage for e in situation(recipe, "float64")[1]} >= {"initialization", "curve"}
    case, expectations = situation(recipe, "float64")
    assert failing(OtherSeeds(case.problem), case, expectations) == []


@pytest.mark.parametrize(
    ("method", "lost"),
    [
        ("another_session", {"initialization", "input", "activation"}),
        ("initial_parameters", {"initialization", "curve"}),
        ("fit_natively", {"input", "activation", "curve"}),
    ],
)
def test_a_method_that_is_not_offered_loses_what_it_makes_and_nothing_else(method, lost):
    def lacking(self, *given):
        self._not_offered(method)

    case, expectations = situation(recipe_with({"noise": "dropout"}), "float64")
    session = type("Partial", (NumpySession,), {method: lacking})(case.problem)
    seen = look(session, case, "native")
    found = list(compare(seen.observations, expectations, seen.lost))
    assert {c.key.stage for c in found if c.verdict == Verdict.UNSUPPORTED} == lost
    assert {c.verdict for c in found} == {Verdict.UNSUPPORTED, Verdict.PASS}
    assert seen.unsupported == [f"Partial does not offer {method}"]


def test_an_implementation_that_draws_nothing_is_unsupported():
    case, expectations = situation(recipe_with({"noise": "dropout"}), "float64")
    context = Context("run", "file", case.problem.recipe, "tested", "1", "cpu", "float64")
    (record,) = judge(context, look(object(), case, "native"), expectations, {}, "native", 1.0)
    assert (record.verdict, record.tensor) == ("unsupported", "")


def test_too_few_costs_and_weights_of_another_shape_are_told():
    class Wrong(NumpySession):
        def initial_parameters(self, seed):
            return {name: w[:1] for name, w in super().initial_parameters(seed).items()}

        def fit_natively(self, problem, seed, checkpoint_epochs):
            found = super().fit_natively(problem, seed, checkpoint_epochs)
            return found._replace(costs=found.costs[:3])

    case, _ = situation(recipe_with({"noise": "dropout"}), "float64")
    reasons = [lost.reason for lost in look(Wrong(case.problem), case, "native").lost]
    assert reasons[0].startswith("W1 has shape (1, 48): must be (48, 48)")
    assert reasons[1].startswith("3 costs were returned for 32 epochs: must be 5 in each")


@pytest.mark.parametrize(
    ("value", "verdict", "error"),
    [(0.2, Verdict.PASS, 0), (0.4, Verdict.PASS, 0), (0.1, Verdict.FAIL, 0.1), (0.9, Verdict.FAIL, 0.5)],
)
def test_a_sample_passes_within_what_chance_allows(value, verdict, error):
    key = Key("activation", 1, "kept units of layer 1", "sample")
    oracle = Observation(key, np.array([0.3]), np.array([0.2, 0.4]))
    expectation = Expectation(oracle, np.zeros(1), {}, 2.0**-53, np.dtype(np.float64))
    (found,) = compare([Observation(key, np.array([value]))], [expectation])
    assert found.verdict == verdict
    assert found.error == pytest.approx(error)
    if error:
        assert found.cause == f"kept units of layer 1: {value:g}, and chance allows 0.2 to 0.4"


def test_a_training_that_diverges_in_the_reference_is_no_failure():
    recipe = recipe_with({"noise": "dropout", "loss": "squared error"}, optimizer=huge_steps())
    case, expectations = situation(recipe, "float32")
    seen = look(OtherSeeds(case.problem), case, "native")
    found = {c.key.tensor: c.verdict for c in compare(seen.observations, expectations, seen.lost)}
    assert found.pop(f"logarithm of the cost at the end, mean of {native.SEEDS} seeds") == Verdict.DIVERGED
    assert set(found.values()) == {Verdict.PASS}


def huge_steps():
    return {"name": "gradient_descent", "learning_rate": 1e200}


def test_the_case_is_left_as_it_was():
    case, _ = situation(recipe_with({"noise": "dropout"}), "float64")
    before = replace(case.problem.tape), {n: w.copy() for n, w in case.problem.tape.initial_parameters.items()}
    list(CHECKS["native"](NumpySession(case.problem), case))
    assert all((case.problem.tape.initial_parameters[name] == w).all() for name, w in before[1].items())
