"""The frameworks' built-ins as subjects of a run."""

import pytest

from conformance.recipes.subjects import IMPLEMENTATIONS, SUITE, SUITE_OF_LAYERS
from conformance.results.run import load_run
from conformance.runs.order import plan_of
from conformance.runs.run import carry_out


def quietly(worker, done, total):
    """Progress that nobody looks at."""


def ran(folder, **asked):
    plan = plan_of(output=folder, explain=False, **asked)
    carry_out(plan, quietly)
    return load_run(folder)


def test_two_built_ins_of_one_framework_are_done_by_one_worker_and_equal_their_formulations(tmp_path):
    pytest.importorskip("torch")
    run = ran(tmp_path, subjects=["torch.optim.Adam", "torch.optim.RMSprop"], dtypes=["float64"], workers=1)
    found = run.subjects.set_index("subject")
    assert list(found["verdict"]) == ["equal", "equal"]
    assert (found["digits_float64"] > 12).all()
    assert found["formulation"]["torch.optim.Adam"] == "adam"
    assert run.passed
    assert list(run.implementations["implementation"]) == ["builtins.torch"]


def test_an_implementation_of_built_ins_does_its_own_subjects_alone_and_another_all(tmp_path):
    plan = plan_of(
        subjects=["torch.optim.SGD", "optax.sgd"], implementations=["builtins.torch", "numpy"],
        output=tmp_path / "new", dtypes=["float64"],
    )  # fmt: skip
    assert {(name, task.recipe.name) for name, task in plan.units} == {
        ("builtins.torch", "torch-optim-sgd"), ("numpy", "torch-optim-sgd"), ("numpy", "optax-sgd"),
    }  # fmt: skip
    assert list(plan.subjects) == ["torch-optim-sgd"]


def test_the_suite_is_of_all_built_ins_whose_framework_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("conformance.runs.order.installed", lambda: ("numpy", "torch"))
    plan = plan_of(suite="builtins", output=tmp_path / "new")
    assert list(plan.implementations) == ["builtins.torch"]
    assert plan.recipes
    assert all(name.startswith("torch-") for name in plan.subjects)
    with pytest.raises(ValueError, match="its framework is not installed"):
        plan_of(subjects=["optax.sgd"], output=tmp_path / "new")


def test_an_implementation_of_built_ins_without_any_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"implementation=.builtins\.tf. is not allowed"):
        plan_of(subjects=["torch.optim.SGD"], implementations=["builtins.tf"], output=tmp_path / "new")


def test_a_built_in_of_the_suite_that_is_named_too_is_done_once(tmp_path):
    pytest.importorskip("torch")
    plan = plan_of(suite=SUITE, subjects=["torch.optim.SGD"], output=tmp_path / "new")
    assert [recipe.name for _, recipe in plan.recipes].count("torch-optim-sgd") == 1


def test_a_recipe_that_nobody_does_is_refused(small_recipe, tmp_path):
    pytest.importorskip("torch")
    asked = {"recipes": [small_recipe], "subjects": ["torch.optim.SGD"], "output": tmp_path / "new"}
    with pytest.raises(ValueError, match=f"recipe '{small_recipe.name}' is of no built-in, and 'builtins.torch' can"):
        plan_of(**asked)
    plan = plan_of(**asked, implementations=["builtins.torch", "numpy"])
    assert ("numpy", small_recipe.name) in {(name, task.recipe.name) for name, task in plan.units}


def test_a_misspelt_implementation_of_built_ins_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"did you mean 'builtins.torch'"):
        plan_of(subjects=["torch.optim.SGD"], implementations=["builtin.torch"], output=tmp_path / "new")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("suite", [SUITE, SUITE_OF_LAYERS])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_every_built_in_is_equal_to_its_formulation_or_a_known_difference(name, suite, tmp_path):
    pytest.importorskip({"torch": "torch", "tf": "tensorflow", "jax": "jax"}[IMPLEMENTATIONS[name]])
    run = ran(tmp_path, suite=suite, implementations=[name])
    wrong = run.subjects[~run.subjects["verdict"].isin(["equal", "known difference"])]
    assert wrong.empty, wrong[["subject", "verdict", "reason"]].to_string()
