"""One check of one faulty subject, an object of this process, for many a test of what is told of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import conformance
from conformance.recipes.recipe import Recipe
from conformance.results.known import Difference
from conformance.testing.checked import Checked


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    """The smallest there is: a failure of it is explained in no time, too."""
    return Recipe(
        name="small",
        epochs=2,
        batch_size=10,
        loss="binary_cross_entropy",
        dataset={"name": "xor", "examples": 24, "test_examples": 8},
        model={"name": "logistic_regression"},
        optimizer={"name": "adam", "learning_rate": 0.01},
    )


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory, small_recipe: Any, faulty_adapter: Any) -> Checked:
    """The adapter whose optimizer is wrong, checked in float64."""
    output = tmp_path_factory.mktemp("checked") / "faulty"
    return conformance.check(faulty_adapter, small_recipe, dtypes=["float64"], output=output)


@pytest.fixture
def knowing(faulty: Checked) -> Callable[..., Checked]:
    """``knowing(check="update")`` is what was checked, held against a known difference."""

    def hold(**fields: Any) -> Checked:
        row = {"subject": "*", "recipe": "small", "reason": "betas swapped", "link": "https://example.org/1"} | fields
        return Checked(faulty.run, [Difference(**row)])

    return hold


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where one stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
