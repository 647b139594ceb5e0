"""From what is asked to a plan."""

import pytest

from conformance.recipes.suites import suite
from conformance.runs.order import plan_of


def tasks(**asked):
    return [task.name for task in plan_of(implementations=["numpy"], **asked).tasks]


@pytest.mark.parametrize("own", [("float64",), ("float32",), ("float64", "float32")])
def test_a_recipe_is_run_in_its_own_precisions_unless_others_are_asked_for(small_recipe, own, tmp_path):
    recipe = small_recipe.model_copy(update={"dtypes": own})
    assert tasks(recipes=[recipe], output=tmp_path / "own") == [(recipe.name, dtype) for dtype in own]
    for asked in (["float32"], ["float64"], ["float64", "float32"]):
        found = tasks(recipes=[recipe], dtypes=asked, output=tmp_path / "asked")
        assert found == [(recipe.name, dtype) for dtype in asked]


def test_a_device_without_float64_is_given_the_whole_suite(tmp_path):
    every = {(recipe.name, "float32") for recipe in suite("default")}
    assert set(tasks(dtypes=["float32"], output=tmp_path / "out")) == every


def test_a_precision_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dtype='float16' is not allowed: must be among float64, float32"):
        tasks(dtypes=["float16"], output=tmp_path / "out")
