"""An implementation whose workers run in another Python environment."""

import json
import os
import re
import sys

import pytest

from conformance.recipes.recipe import Recipe
from conformance.results.run import load_run
from conformance.results.store import Store
from conformance.runs.environment import environment
from conformance.runs.interpreter import Interpreter
from conformance.runs.order import plan_of
from conformance.runs.outcome import BadInput
from conformance.runs.run import carry_out, resume

TINY = Recipe.model_validate(
    {
        "name": "tiny", "dataset": {"name": "xor", "examples": 12, "test_examples": 4}, "loss": "binary_cross_entropy",
        "model": {"name": "shallow_network", "hidden_units": [2]}, "dtypes": ["float64"],
        "optimizer": {"name": "gradient_descent"},
    }
)  # fmt: skip


@pytest.fixture
def other(tmp_path):
    """An executable that is this Python, and tells how it was called."""
    path = tmp_path / "python"
    told = tmp_path / "told"
    path.write_text(f'#!/bin/sh\necho "$PYTHONPATH $@" >> {told}\nexec {sys.executable} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path, told


def quietly(worker, done, total):
    """Progress that nobody looks at."""


def planned(folder, path):
    return plan_of(
        [TINY], implementations=["numpy"], pythons={"numpy": str(path)}, output=folder, reuse=True, checks=["forward"]
    )


def test_a_run_goes_on_in_another_python_with_the_libraries_alone_with_which_it_was_begun(tmp_path, other):
    path, told = other
    folder = tmp_path / "run"
    folder.mkdir()
    plan = planned(folder, path)
    plan.write()
    store = Store(folder, create=True)
    store.set_fact("implementation numpy", {"device": "cpu", "versions": {"numpy": "0.1"}, "settings": {}})
    store.set_fact("environment", environment(plan))
    store.close()
    with pytest.raises(BadInput, match=re.escape("numpy: was begun with {'numpy': '0.1'}")):
        resume(folder, quietly)
    (called,) = told.read_text(encoding="utf-8").splitlines()
    assert "source" in called
    assert "conformance.runs.worker" in called


@pytest.mark.slow
def test_the_workers_of_an_implementation_run_in_another_python_and_the_oracle_s_do_not(tmp_path, other):
    path, told = other
    folder = tmp_path / "run"
    carry_out(planned(folder, path), quietly)
    assert load_run(folder).passed
    assert load_run(folder).facts["environment"]["pythons"] == {"numpy": str(path)}
    assert len(told.read_text(encoding="utf-8").splitlines()) == 1, "no result of this Python was taken"


@pytest.mark.parametrize(
    ("pythons", "told"),
    [
        ({"nunpy": sys.executable}, "python='nunpy' is not allowed: must be one of 'numpy'; did you mean 'numpy'?"),
        ({"numpy": "/nowhere/python"}, "'/nowhere/python' is no executable file"),
        ({"numpy": __file__}, "is no executable file"),
    ],
)
def test_an_unknown_implementation_and_what_is_no_executable_are_refused(tmp_path, pythons, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        plan_of([TINY], implementations=["numpy"], pythons=pythons, output=tmp_path / "run")


def test_another_python_finds_the_packages_of_this_project_and_those_before(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    other = Interpreter("/elsewhere/python")
    folder, mine = other.environment(tmp_path)["PYTHONPATH"].split(os.pathsep)
    assert mine == "/mine"
    assert sorted(os.listdir(folder)) == ["conformance", "impl_jax", "impl_tf", "impl_torch", "reference_numpy"]
    assert other.environment(tmp_path)["PYTHONPATH"].startswith(folder), "asked again, for another worker"


def test_the_plan_keeps_it(tmp_path):
    plan = plan_of([TINY], implementations=["numpy"], pythons={"numpy": sys.executable}, output=tmp_path / "run")
    assert json.loads(json.dumps(plan.as_dict))["pythons"] == {"numpy": os.path.abspath(sys.executable)}
