"""The course's results on the course's own images, in every implementation.

The quick tests train with each implementation and compare its curve with the reference; the slow one makes whole runs.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conformance.adapters.registry import OWN, load, resolve
from conformance.problems.preparation import prepare
from conformance.recipes.files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
EPOCHS = {"cats_logistic": 2000, "signs_softmax": 3}
CURVE = 1e-11  # relative; what the slow test's measured allowances come to, and far below any difference of formula


@pytest.fixture(scope="module")
def trained(course_data):
    """Problem and training by recipe and implementation, each made once."""
    made = {}

    def train(name, implementation):
        if (name, implementation) not in made:
            recipe = load_recipe(RECIPES / f"{name}.toml").model_copy(update={"epochs": EPOCHS[name]})
            dataset = recipe.dataset.model_copy(update={"path": str(course_data)})
            problem = prepare(recipe.model_copy(update={"dataset": dataset}), "float64")
            session = load(resolve(implementation))("cpu").session(problem)
            made[name, implementation] = problem, session, session.fit(problem, (recipe.epochs,))
        return made[name, implementation]

    return train


@pytest.mark.parametrize(
    "implementation",
    [name if name == "numpy" else pytest.param(name, marks=pytest.mark.slow) for name in OWN],
)
def test_logistic_regression_on_the_cats_gives_the_accuracies_of_the_course(trained, implementation):
    problem, session, training = trained("cats_logistic", implementation)
    accuracies = [
        100 * np.mean(session.predict_classes(training.parameters, x, training.statistics) == y)
        for x, y in ((problem.train_x, problem.dataset.train_y), (problem.test_x, problem.dataset.test_y))
    ]
    assert np.round(accuracies, 2).tolist() == [99.04, 70.0]


@pytest.mark.slow
@pytest.mark.parametrize("implementation", OWN[1:])
@pytest.mark.parametrize("name", EPOCHS)
def test_the_curve_is_the_reference_s(trained, name, implementation):
    reference, other = trained(name, "numpy")[2], trained(name, implementation)[2]
    assert np.abs(other.costs / reference.costs - 1).max() < CURVE
    assert np.abs(other.gradient_norms / reference.gradient_norms - 1).max() < CURVE


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whole_runs_on_the_course_s_files_pass_and_report_accuracy_with_and_without_leaked_rows(course_data, tmp_path):
    recipes = [argument for name in EPOCHS for argument in ("--recipe", RECIPES / f"{name}.toml")]
    subprocess.run(
        [sys.executable, "-m", "conformance.cli", "run", *recipes, "--output", tmp_path / "out"],
        check=True,
        env=os.environ | {"CONFORMANCE_DATA": str(course_data)},
    )
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    last = curves[curves["quantity"].str.contains("accuracy")].pivot_table(
        index=["recipe", "quantity"], columns="implementation", values="value"
    )
    assert (last.nunique(axis=1) == 1).all()
    assert set(last.loc["signs-softmax"].index) == {
        "training accuracy",
        "test accuracy",
        "test accuracy without leaked rows",
    }
    assert last.loc[("cats-logistic", "test accuracy"), "numpy"] == pytest.approx(70.0)
