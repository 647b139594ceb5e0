"""The cases that the judge keeps in memory."""

import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks.case import build_case
from conformance.problems.preparation import prepare
from conformance.results.cases import StoredCase, case_files, save_case, seal_case
from conformance.results.store import Store
from conformance.results.traces import StoreError, Traces
from conformance.runs import judging
from conformance.runs.judging import Judge
from conformance.runs.plan import Plan
from conformance.verdicts import floors


@pytest.fixture
def judge(tmp_path, small_recipe, monkeypatch):
    """A judge of two tasks whose cases are made, and the names of those that were read, in order."""
    recipes = [small_recipe, small_recipe.model_copy(update={"name": "other"})]
    plan = Plan(tmp_path, [("own", recipe) for recipe in recipes], {}, ["float64"])
    store = Store(tmp_path, create=True)
    made = Judge(plan, store, Traces(tmp_path / "scratch"))
    for recipe in recipes:
        problem = prepare(recipe, "float64")
        case = build_case(problem, NumpySession(problem))
        expectations = floors.measure(case)
        save_case(store, StoredCase(case, expectations, {check: {} for check in expectations}))
        made.seals[recipe.name, "float64"] = seal_case(store, recipe, "float64")
    made.read = []
    load_case = judging.load_case
    monkeypatch.setattr(judging, "load_case", lambda *of: (made.read.append(of[1].name), load_case(*of))[1])
    return made


def ask(judge, names, implementation="numpy"):
    for name in names:
        assert judge._stored((name, "float64"), implementation).problem.recipe.name == name


def test_a_case_is_read_once_whoever_asks(judge, small_recipe):
    first, second = small_recipe.name, "other"
    ask(judge, [first, second, first])
    ask(judge, [second, first], "torch")
    assert judge.read == [first, second]


def test_what_does_not_fit_in_memory_is_read_again(judge, small_recipe, monkeypatch):
    monkeypatch.setattr(judging, "BYTES_AT_HAND", 1)
    first, second = small_recipe.name, "other"
    ask(judge, [first, first, second, first])
    assert judge.read == [first, second, first]


def test_a_task_that_is_done_is_no_longer_in_memory(judge, small_recipe):
    ask(judge, [small_recipe.name])
    judge.put_away((small_recipe.name, "float64"))
    assert not judge._at_hand


def test_a_case_that_was_changed_meanwhile_is_refused_though_it_is_in_memory(judge, small_recipe):
    ask(judge, [small_recipe.name])
    path = judge.store.trace(case_files(small_recipe, "float64")[0])
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StoreError, match="was changed after the oracle had made it"):
        ask(judge, [small_recipe.name], "torch")
