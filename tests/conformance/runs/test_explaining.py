"""Failures are explained at the end of a run, a few of them, and nothing that goes wrong with that loses the run."""

import shutil
import subprocess
import sys
from contextlib import suppress
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from conformance.cli import app
from conformance.diagnosis.explain import Failing
from conformance.results.run import Run
from conformance.results.store import Store
from conformance.runs import explaining
from conformance.runs.outcome import Incomplete
from conformance.runs.plan import Plan
from conformance.runs.run import carry_out, resume

FAULT = "adam: betas swapped"
CHECKS = ("update", "teacher_forced", "free_running")
PLUGIN = f'''
from conformance.adapters.numpy import NumpyAdapter
from conformance.faults.mutants import MUTANTS, reference_with


class Faulty(NumpyAdapter):
    """The reference with a known fault in it."""

    def session(self, problem):
        return reference_with({FAULT!r}).session(problem)
'''


@pytest.fixture(scope="module")
def plan(tmp_path_factory, small_recipe):
    """A plan of two recipes, with an implementation that has a fault and one that has none."""
    place = tmp_path_factory.mktemp("place")
    (place / "faulty.py").write_text(PLUGIN, encoding="utf-8")
    other = small_recipe.model_copy(update={"name": "other", "seed": 1})
    tested = {"numpy": "conformance.adapters.numpy:NumpyAdapter", "faulty": "faulty:Faulty"}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.setenv("PYTHONPATH", str(place), prepend=":")

        def made(name):
            recipes = [("own", small_recipe), ("own", other)]
            return Plan(place / name, recipes, tested, ["float64", "float32"], checks=CHECKS, workers=1)

        yield made


@pytest.fixture(scope="module")
def run(plan):
    made, shown = plan("run"), []
    carry_out(made, lambda *progress: shown.append(progress))
    return Run(made.folder), shown


def test_each_recipe_and_implementation_that_fails_is_explained_at_the_end_of_the_run(run):
    found, shown = run
    rows = found.explanations.to_dict("records")
    assert [(row["recipe"], row["implementation"], row["dtype"]) for row in rows] == [
        ("small", "faulty", "float64"),
        ("other", "faulty", "float64"),
    ]
    for row in rows:
        assert row["explained"]
        assert row["check"] == "update"
        assert row["place"].startswith("stage optimizer state, tensor first_moment of")
        assert FAULT in row["text"]
        assert row["text"].startswith(f"{row['recipe']}, faulty, float64\n  first divergence: check update")
        assert row["cause"] in row["text"]
        assert row["command"].startswith("conformance explain ")
        assert row["command"].endswith(f" {row['recipe']} --implementation faulty")
    assert found.unexplained == 0
    assert [count for name, *count in shown if name == explaining.NAME] == [[0, 2], [1, 2], [2, 2]]


@pytest.fixture
def unexplained(run, tmp_path):
    """A copy of the run that nobody has explained."""
    store = Store(shutil.copytree(run[0].folder, tmp_path / "unexplained"))
    store._write("DELETE FROM explanations")
    return store


def explain(store, seconds=60.0):
    """What there is when the run's own process has explained what it can."""
    explaining.explain_failures(store, store.folder, Mock(), Mock(), seconds)
    store.close()
    return Run(store.folder)


@pytest.mark.slow
def test_what_is_left_out_is_told_and_a_resumed_run_explains_it(unexplained, monkeypatch):
    monkeypatch.setattr(explaining, "MOST", 1)
    found = explain(unexplained)
    assert list(found.explanations["recipe"]) == ["small"]
    assert found.unexplained == 1
    monkeypatch.undo()
    resume(unexplained.folder, Mock())
    assert list(Run(unexplained.folder).explanations["recipe"]) == ["small", "other"]


@pytest.mark.parametrize(
    ("process", "told"),
    [
        ("import sys; sys.exit(5)", "the diagnosis ended with exit status 5"),
        ("print('[1, 2', end='')", "the diagnosis ended with exit status 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the diagnosis ended with exit status -9"),
        ("import time; time.sleep(100)", None),
    ],
)
def test_a_diagnosis_that_is_lost_or_late_is_told(unexplained, monkeypatch, process, told):
    begin = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: begin([sys.executable, "-c", process], **how))
    found = explain(unexplained, 60.0 if told else 0.2)
    rows = [(row["recipe"], row["explained"], row["cause"]) for row in found.explanations.to_dict("records")]
    assert rows == ([("small", False, told)] if told else [])
    assert found.unexplained == 2 - len(rows)


def test_a_diagnosis_that_cannot_begin_is_told(unexplained, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", Mock(side_effect=OSError("no memory")))
    (row,) = explain(unexplained).explanations.to_dict("records")
    assert (row["explained"], row["cause"]) == (False, "the diagnosis could not begin: no memory")


def test_an_error_in_a_diagnosis_is_told_in_its_row(unexplained):
    for file in (unexplained.folder / "traces").iterdir():
        file.unlink()
    rows = explain(unexplained).explanations.to_dict("records")
    assert len(rows) == 2
    for row in rows:
        assert not row["explained"]
        assert row["cause"].startswith("the diagnosis failed: StoreError:")
        assert "is missing" in row["cause"]


@pytest.mark.slow
def test_a_run_that_is_broken_off_is_not_explained(plan):
    made = plan("broken-off")

    def progress(name, done, total):
        if name == "faulty" and done == total:
            raise Incomplete("enough")

    with suppress(Incomplete):
        carry_out(made, progress)
    assert len(Run(made.folder).first_failures)
    assert Run(made.folder).explanations.empty
    assert (made.folder / "summary.md").exists()


def test_explain_keeps_what_it_finds(run, unexplained):
    unexplained.close()
    result = CliRunner().invoke(app, ["explain", str(unexplained.folder), "small"])
    assert result.exit_code == 0
    found = Run(unexplained.folder).explanations.drop(columns="command")
    assert list(found["dtype"]) == ["float64", "float32"]
    assert found.head(1).equals(run[0].explanations.drop(columns="command").head(1))


def test_explain_tells_what_it_finds_where_nothing_can_be_kept(run, monkeypatch):
    def refuse(store, explained):
        raise OSError("the disk is full")

    monkeypatch.setattr(Store, "explain", refuse)
    result = CliRunner().invoke(app, ["explain", str(run[0].folder), "small"])
    assert result.exit_code == 0
    assert FAULT in result.stdout
    assert "not kept with the run: the disk is full" in result.stderr


def test_each_implementation_has_its_turn_and_each_pair_one_precision():
    rows = [
        *(Failing(f"recipe-{n}", "one", dtype) for n in range(20) for dtype in ("float32", "float64")),
        *(Failing(f"recipe-{n}", "two", "float32") for n in range(3)),
    ]
    chosen = explaining.first_of(rows)
    assert len(chosen) == explaining.MOST
    assert [each.implementation for each in chosen[:6]] == ["one", "two", "one", "two", "one", "two"]
    assert {each.dtype for each in chosen if each.implementation == "one"} == {"float64"}
    assert len({each[:2] for each in chosen}) == len(chosen)
