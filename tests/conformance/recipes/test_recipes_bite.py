"""A limit that never binds tests nothing: what a recipe of the default suite names decides something in its training.

All of it is computed from the reference, of every recipe that has such a component.
"""

from functools import cache

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks.case import BATCHES, FIRST, build_case, learning_rate, places, replay, take_step
from conformance.problems.preparation import prepare
from conformance.recipes.suites import suite
from reference_numpy import regularizers

DEFAULT = {recipe.name: recipe for recipe in suite("default")}
FAR = 40.0  # beyond it 1 - sigmoid is below the roundoff of float64
OF_PROBABILITIES = ("binary_cross_entropy_from_probabilities", "categorical_cross_entropy_from_probabilities")


def holding(*components):
    """The names of the default suite's recipes that have one of these components, or none of the suite has."""
    names = [name for name, recipe in DEFAULT.items() if recipe.components & set(components)]
    assert names, f"no recipe of the default suite has {components}"
    return names


@cache
def trained(name, dtype="float64"):
    """Problem, session, and for each step the state before it and what the step made."""
    problem = prepare(DEFAULT[name], dtype)
    session = NumpySession(problem)
    states = list(replay(session, problem))
    return problem, session, [(state, take_step(session, problem, state)) for state in states[:-1]]


def keyword(name, component, key):
    (found,) = DEFAULT[name].named(component)
    return found.keywords[key]


def stopped(costs, patience, min_delta):
    """The best and the last epoch of early stopping that is told these validation costs."""
    monitor = regularizers.early_stopping(patience=patience, min_delta=min_delta)
    for cost in map(float, costs):
        monitor.improved(cost)
        if monitor.stop:
            break
    return monitor.best_epoch, monitor.epoch


def is_decided_by_all(costs, patience, min_delta):
    """Whether early stopping ends a training before its last epoch, and not so with other numbers."""
    best, last = stopped(costs, patience, min_delta)
    more_patient, at_once = stopped(costs, patience + 1, min_delta), stopped(costs, patience - 1, min_delta)
    any_better = stopped(costs, patience, 0.0)
    return best < last < len(costs) and more_patient[1] != last and best not in (at_once[0], any_better[0])


@pytest.mark.parametrize("name", holding("early_stopping"))
def test_early_stopping_ends_before_the_last_epoch_and_goes_back_by_its_patience_and_its_least_change(name):
    recipe = DEFAULT[name]
    patience, least = (keyword(name, "early_stopping", key) for key in ("patience", "min_delta"))
    assert keyword(name, "early_stopping", "restore_best")
    training = trained_whole(recipe)
    never = trained_whole(without_stopping(recipe))
    assert len(never.validation_costs) == recipe.epochs
    assert is_decided_by_all(never.validation_costs, patience, least), np.round(never.validation_costs, 4)
    best = never.checkpoints[training.best_epoch]
    assert all(np.array_equal(training.parameters[n], w) for n, w in best.items())


def trained_whole(recipe):
    """The training in float64, with the parameters after every epoch."""
    problem = prepare(recipe, "float64")
    return NumpySession(problem).fit(problem, tuple(range(1, recipe.epochs + 1)))


def without_stopping(recipe):
    """The recipe with so much patience that every epoch is made."""
    patient = tuple(
        type(found)(name=found.name, **found.keywords | {"patience": recipe.epochs})
        if found.name == "early_stopping"
        else found
        for found in recipe.regularizers
    )
    return recipe.model_copy(update={"regularizers": patient})


@pytest.mark.parametrize(
    ("costs", "patience", "min_delta", "decided"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0], 2, 0.1, False),  # it never stops
        ([5.0, 4.0, 4.5, 3.0, 2.95, 2.99, 9.0], 2, 0.1, True),
        ([5.0, 4.0, 4.5, 3.0, 2.95, 2.99], 2, 0.1, False),  # in the last epoch
        ([5.0, 4.0, 4.5, 3.0, 3.05, 3.09, 9.0], 2, 0.1, False),  # whatever the least change
        ([5.0, 4.0, 3.5, 3.0, 2.95, 2.99, 9.0], 2, 0.1, False),  # with the same best epoch, were it less patient
    ],
)
def test_a_stopping_rule_that_decides_nothing_is_told(costs, patience, min_delta, decided):
    assert is_decided_by_all(costs, patience, min_delta) == decided


@pytest.mark.parametrize("name", holding("max_norm"))
def test_max_norm_shrinks_some_rows_and_not_others_at_several_steps(name):
    _, _, steps = trained(name)
    limit, clipped = keyword(name, "max_norm", "limit"), []
    for _, made in steps:
        norms = np.concatenate([np.linalg.norm(w, axis=1) for n, w in made.updated.parameters.items() if n[0] == "W"])
        clipped.append(np.isclose(norms, limit, rtol=1e-12, atol=0.0))
    assert sum(rows.any() for rows in clipped) > 1
    assert not any(rows.all() for rows in clipped)


@pytest.mark.parametrize("name", holding(*regularizers.CLIPPINGS))
def test_clipping_binds_at_some_steps_and_not_at_others(name):
    _, _, steps = trained(name)
    bound = [
        np.concatenate([(made.gradients[n] != made.clipped[n]).ravel() for n in made.gradients]) for _, made in steps
    ]
    assert any(numbers.any() for numbers in bound)
    assert not all(numbers.any() for numbers in bound)


@pytest.mark.parametrize("name", holding(*OF_PROBABILITIES))
def test_the_clip_of_a_loss_is_reached_by_some_examples_and_not_by_others(name):
    problem, session, steps = trained(name)
    clip, reached = DEFAULT[name].loss.keywords["clip"], []
    for state, _ in steps:
        batch = problem.batch(state.step - 1)
        output = session.intermediates(state.parameters, batch.x, batch.masks, None)[f"A{problem.depth}"]
        reached.append(np.concatenate([(output < clip).ravel(), (output > 1 - clip).ravel()]))
    assert 0 < np.mean(np.concatenate(reached)) < 1


def ends(schedule):
    """The steps or epochs, counted from 0, at which a schedule is to have arrived: where its formula changes."""
    keywords = schedule.keywords
    if schedule.name == "warmup":
        then = type(schedule)(name=keywords["after"], **keywords["after_options"] or {})
        return [keywords["steps"], *(keywords["steps"] + end for end in ends(then))]
    if schedule.name == "piecewise":
        return list(keywords["boundaries"])
    return [keywords[key] for key in ("steps", "every") if key in keywords]


@pytest.mark.parametrize("name", [name for name, recipe in DEFAULT.items() if recipe.schedule.name != "constant"])
def test_a_schedule_changes_the_rate_and_comes_to_each_of_its_ends(name):
    problem = prepare(DEFAULT[name], "float64")
    rates = [learning_rate(problem, step) for step in range(1, problem.steps + 1)]
    assert len(set(rates)) > 2
    last = problem.recipe.epochs - 1 if problem.recipe.schedule.unit == "epoch" else problem.steps - 1
    assert max(ends(problem.recipe.schedule), default=0) < last


def test_the_ends_of_a_warm_up_are_its_own_and_those_of_what_comes_after():
    schedule = DEFAULT["digits-layer-norm-augmented"].schedule
    assert ends(schedule) == [5, 15]


@pytest.mark.parametrize("name", holding("lbfgs"))
def test_a_quasi_newton_method_forgets_its_oldest_pair(name):
    problem = prepare(DEFAULT[name], "float64")
    assert problem.steps - 1 > DEFAULT[name].optimizer.keywords["history"]


# --- situations -------------------------------------------------------------------------------------------------------


def pre_activations(name, dtype="float64"):
    """All of a training's, by layer."""
    problem, session, steps = trained(name, dtype)
    for state, _ in steps:
        batch = problem.batch(state.step - 1)
        values = session.intermediates(state.parameters, batch.x, batch.masks, None)
        yield problem, {layer: values[f"Z{layer}"] for layer in range(1, problem.depth + 1)}


@pytest.mark.parametrize("derivative", [0, 1])
def test_a_rectifier_is_at_exactly_0_with_either_derivative(derivative):
    names = [
        name
        for name, recipe in DEFAULT.items()
        if recipe.model.activation.name == "relu"
        and recipe.model.activation.keywords["derivative_at_zero"] == derivative
    ]
    assert any(
        (z[layer] == 0).any()
        for name in names
        for problem, z in pre_activations(name)
        for layer in range(2, problem.depth)
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sigmoids_are_saturated_in_a_hidden_layer_and_at_the_output(dtype):
    seen = [(z[1], z[problem.depth]) for problem, z in pre_activations("breast-cancer-saturated", dtype)]
    assert DEFAULT["breast-cancer-saturated"].model.activation.name == "sigmoid"
    for layer in zip(*seen, strict=True):
        values = np.concatenate([z.ravel() for z in layer])
        assert values.max() > FAR
        assert values.min() < -FAR
        assert np.abs(values).min() < 1


def test_l2_stands_beside_batch_norm_and_there_is_an_elastic_net():
    beside = [r for r in DEFAULT.values() if r.named("l2") and "batch_norm" in r.components]
    assert [r.named("l2")[0].keywords["strength"] > 0 for r in beside] == [True]
    assert all(0 < keyword(name, "elastic_net", "l1_ratio") < 1 for name in holding("elastic_net"))


@pytest.mark.parametrize("name", DEFAULT)
def test_losses_and_gradients_are_compared_on_every_example(name):
    problem = prepare(DEFAULT[name], "float64")
    batches = [problem.batch(batch) for batch in places(problem).values()]
    assert sum(len(batch.y) for batch in batches) == len(problem.train_y)
    order = problem.tape.batch_order
    rows = np.arange(len(problem.train_y)) if order is None else order[0]
    assert np.array_equal(np.concatenate([batch.y for batch in batches]), problem.train_y[rows])
    assert np.array_equal(np.unique(rows), np.arange(len(problem.train_y)))


def test_of_a_long_epoch_so_many_batches_are_compared_and_all_classes_are_among_them():
    (recipe,) = (recipe for recipe in suite("full") if recipe.name == "digits-softmax-regression")
    sizes = {"examples": 1400, "test_examples": 10}
    long = recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update=sizes), "batch_size": 1, "epochs": 1})
    problem = prepare(long, "float64")
    rare = problem.tape.batch_order[0][1]  # one that is not among the evenly spaced
    problem.train_y[problem.train_y == 9] = 8
    problem.train_y[rare] = 9
    found = places(problem)
    assert (found[FIRST], found["last batch"], found["batch 2"]) == (0, 1399, 1)
    assert BATCHES < len(found) <= BATCHES + 10
    assert {label for batch in found.values() for label in problem.batch(batch).y} == set(range(10))


@pytest.mark.parametrize("name", ["digits-transfer", "breast-cancer-lbfgs"])
def test_updates_are_compared_on_weights_and_biases_that_are_not_0_by_their_names(name):
    problem = prepare(DEFAULT[name], "float32")
    for exercise in build_case(problem, NumpySession(problem.in_float64())).exercises:
        for held in (exercise.parameters, exercise.gradients, *exercise.slots.values()):
            assert held["W1"].shape == (4, 3)
            assert held["b1"].shape == (4,)
            assert held["W1"].dtype == held["b1"].dtype == np.float32
        for held in (exercise.parameters, exercise.gradients):
            assert (held["W1"] != 0).all()
            assert (held["b1"] != 0).all()
