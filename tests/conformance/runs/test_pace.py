"""What is said of a run before it begins."""

import pytest

from conformance.recipes.recipe import Recipe
from conformance.recipes.size import estimate
from conformance.recipes.suites import suite
from conformance.runs import pace
from conformance.runs.order import in_precisions
from conformance.runs.plan import Plan


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipes = [("quick", recipe) for recipe in in_precisions(suite("quick"), ["float64"])]

    def made(*implementations, **settings):
        return Plan(tmp_path / "run", recipes, dict.fromkeys(implementations, ""), ["float64"], workers=2, **settings)

    return made


def test_steps_and_memory_are_those_of_the_recipes(plan):
    found = pace.forecast(plan("numpy", "torch"))
    sizes = [estimate(recipe) for recipe in suite("quick")]
    assert found.trainings == 2 * len(sizes)
    assert found.steps == 2 * sum(size.steps for size in sizes)
    assert found.data_bytes == max(size.data_bytes + size.tape_bytes for size in sizes)
    assert (found.kept, found.unsized, found.unknown) == (0, 0, ())


def test_time_is_what_was_measured_last(plan):
    pace.remember({"numpy": [1.0, 3.0], "oracle": [4.0], "torch": []})
    trainings = len(suite("quick"))
    assert pace.forecast(plan("numpy")).seconds == pytest.approx(trainings * (2.0 + 4.0) / 2)
    pace.remember({"numpy": [5.0]})
    assert pace.forecast(plan("numpy")).seconds == pytest.approx(trainings * (5.0 + 4.0) / 2)


def test_somebodys_own_is_not_counted_until_it_was_measured(plan):
    assert pace.forecast(plan("mine:Own")).unknown == ("mine:Own",)
    pace.remember({"mine:Own": [1.0]})
    assert pace.forecast(plan("mine:Own")).unknown == ()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"numpy": "fast"}', '{"numpy": null}'])
def test_a_damaged_note_is_as_none(plan, tmp_path, content):
    before = pace.forecast(plan("numpy"))
    pace.remember({"numpy": [100.0]})
    (file,) = (tmp_path / "cache" / "framework-conformance" / "pace").iterdir()
    file.write_text(content, encoding="utf-8")
    assert pace.forecast(plan("numpy")) == before


def test_recipes_on_files_are_counted_apart(plan):
    values = suite("quick")[0].model_dump(mode="json")
    recipe = Recipe.model_validate(values | {"name": "own", "dataset": {"name": "npz", "path": "own.npz"}})
    made = plan("numpy")
    made.recipes.append(("own", recipe))
    assert pace.forecast(made).unsized == 1
