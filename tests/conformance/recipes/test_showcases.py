"""What is there to be looked at learns what it says, and can be followed from epoch to epoch."""

import re
from pathlib import Path

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks.case import build_case
from conformance.checks.free_running import WATCHED_NUMBERS, checkpoint_epochs, watched_epochs
from conformance.checks.look import look
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from conformance.runs.curves import curve_points
from conformance.verdicts.record import Context

SHOWCASES = {recipe.name: recipe for recipe in suite("showcases")}
LEARNT = {  # per cent of the training and of the test examples, more than which are right
    "showcase-hand-signs": (90, 0),
    "showcase-digits": (95, 95),
    "showcase-flower": (85, 85),
    "showcase-breast-cancer": (95, 95),
    "showcase-digits-convolutions": (97, 97),
    "showcase-hand-signs-lenet": (95, 70),
    "showcase-words-gru": (90, 80),
}


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SHOWCASES)
def test_a_showcase_learns(name, dtype):
    problem = prepare(SHOWCASES[name], dtype)
    session = NumpySession(problem)
    training = session.fit(problem, ())
    data = (problem.train_x, problem.dataset.train_y), (problem.test_x, problem.dataset.test_y)
    for (x, y), wanted in zip(data, LEARNT[name], strict=True):
        assert 100 * np.mean(session.predict_classes(training.parameters, x, {}) == y) > wanted
    assert len(training.validation_costs) == problem.recipe.epochs


def test_the_page_says_what_every_showcase_learns():
    page = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(showcase-.*?)` \| (\d+) \| (\d+|not held) \|$", page, re.MULTILINE)
    assert {name: (int(train), int(test.replace("not held", "0"))) for name, train, test in rows} == LEARNT
    assert list(LEARNT) == list(SHOWCASES)


def recipe_of(**fields):
    values = {
        "name": "small",
        "dataset": {"name": "moons", "examples": 40, "test_examples": 20},
        "model": {"name": "shallow_network", "hidden_units": [3], "activation": "tanh"},
        "loss": "binary_cross_entropy",
        "optimizer": {"name": "adam", "learning_rate": 0.05},
        "batch_size": 16,
        "epochs": 5,
        "every_epoch": True,
    }
    return Recipe.model_validate(values | fields)


def points_of(recipe):
    problem = prepare(recipe, "float64")
    case = build_case(problem, NumpySession(problem))
    seen = look(NumpySession(problem), case, "free_running")
    assert seen.lost == []
    context = Context("a run", "a suite", recipe, "numpy", "", "cpu", "float64")
    return problem, seen, list(curve_points(context, problem, seen.observations))


def curve(points, quantity):
    return {point.position: point.value for point in points if (point.unit, point.quantity) == ("epoch", quantity)}


@pytest.mark.parametrize("fit", ["once", "in_halves", "twice"])
def test_accuracies_and_validation_costs_of_every_epoch_are_curves(fit):
    problem, _, points = points_of(recipe_of(fit=fit))
    session = NumpySession(problem)
    training = session.fit(problem, (1, 2, 3, 4, 5))
    assert curve(points, "validation cost") == dict(enumerate(training.validation_costs, start=1))
    for quantity, x, y in (
        ("training accuracy", problem.train_x, problem.dataset.train_y),
        ("test accuracy", problem.test_x, problem.dataset.test_y),
    ):
        expected = {
            epoch: 100 * float(np.mean(session.predict_classes(parameters, x, {}) == y))
            for epoch, parameters in training.checkpoints.items()
        }
        assert curve(points, quantity) == expected


def test_without_being_asked_for_there_is_the_accuracy_at_the_end_alone():
    _, _, points = points_of(recipe_of(every_epoch=False))
    assert list(curve(points, "test accuracy")) == [5]
    assert curve(points, "validation cost") == {}


def test_a_training_that_stops_early_is_followed_to_its_last_epoch_and_ends_with_what_it_goes_back_to():
    stopping = [{"name": "early_stopping", "patience": 2, "min_delta": 0.1}]
    problem, _, points = points_of(recipe_of(regularizers=stopping, epochs=20))
    training = NumpySession(problem).fit(problem, (1,))
    last = len(training.validation_costs)
    assert training.best_epoch < last < 20
    assert list(curve(points, "validation cost")) == list(range(1, last + 1))
    assert list(curve(points, "test accuracy")) == list(range(1, last + 1))
    classes = NumpySession(problem).predict_classes(training.parameters, problem.test_x, {})
    assert curve(points, "test accuracy")[last] == 100 * np.mean(classes == problem.dataset.test_y)


def test_parameters_are_compared_after_no_more_epochs_than_in_any_other_training():
    problem, seen, _ = points_of(recipe_of())
    steps = {o.key.step for o in seen.observations if o.key.stage == "parameter" and "at the end" not in o.key.tensor}
    assert steps == {epoch * problem.batches_per_epoch for epoch in checkpoint_epochs(problem)}


def test_a_large_model_is_watched_after_fewer_epochs_the_last_among_them():
    problem = prepare(recipe_of(epochs=400), "float64")
    assert watched_epochs(problem)[-1] == 400
    assert len(watched_epochs(problem)) == 200
    many = {"W1": np.broadcast_to(0.0, (WATCHED_NUMBERS // 10,))}
    problem.tape.initial_parameters.clear()
    problem.tape.initial_parameters.update(many)
    assert watched_epochs(problem)[-1] == 400
    assert len(watched_epochs(problem)) == 10


def test_what_is_looked_at_is_no_other_training_but_another_recipe():
    watched, plain = recipe_of(), recipe_of(every_epoch=False)
    assert watched.hash != plain.hash
    assert Recipe.model_validate(watched.model_dump()).hash == watched.hash


def test_every_epoch_is_refused_where_the_running_averages_of_an_epoch_are_not_kept():
    model = {"name": "shallow_network", "hidden_units": [3], "activation": "tanh", "normalization": "batch_norm"}
    with pytest.raises(ValueError, match="every_epoch=True is not allowed with 'batch_norm'"):
        recipe_of(model=model)
