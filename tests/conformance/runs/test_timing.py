"""Trainings are timed as they are made, and once more where nobody minds."""

import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest

from conformance.adapters.guarded import Guarded
from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.problems.preparation import prepare
from conformance.results.run import Run
from conformance.results.store import Store
from conformance.runs import timing, worker
from conformance.runs.plan import Plan, Task
from conformance.runs.run import carry_out
from conformance.runs.timing import Timed, measure

OWN = "conformance.adapters.numpy:NumpyAdapter"


@pytest.fixture
def session(small_recipe):
    """``session(fit)`` has been trained as the recipe has it asked for."""

    def made(fit="once"):
        problem = prepare(small_recipe.model_copy(update={"fit": fit}), "float64")
        found = Timed(Guarded(NumpySession(problem)))
        timing.train(found, problem)
        return found, problem

    return made


@pytest.mark.parametrize(("fit", "calls"), [("once", 1), ("in_halves", 2), ("twice", 2)])
def test_the_first_call_of_fit_is_timed_and_its_steps_are_counted(session, fit, calls):
    found, problem = session(fit)
    assert len(found.calls) == calls
    measured = measure(found, problem, again=False)
    assert measured.steps == problem.steps
    assert measured.first_seconds > 0
    assert np.isnan(measured.steady_seconds) == (fit != "twice")
    assert measured.peak_mib > 10


@pytest.mark.parametrize("fit", ["once", "in_halves"])
def test_the_projects_own_are_asked_once_more_and_nobody_elses(session, fit):
    found, problem = session(fit)
    before = len(found.calls)
    assert np.isnan(measure(found, problem, again=False).steady_seconds)
    assert len(found.calls) == before
    assert measure(found, problem, again=True).steady_seconds > 0
    assert len(found.calls) == 2 * before


def test_a_training_that_takes_long_is_not_made_again(session, monkeypatch):
    found, problem = session()
    monkeypatch.setattr(timing, "MOST_SECONDS", 0.0)
    assert np.isnan(measure(found, problem, again=True).steady_seconds)
    assert len(found.calls) == 1


def test_a_session_that_fails_the_second_time_has_no_steady_time(session):
    found, problem = session()
    found._found.fit = None
    assert np.isnan(measure(found, problem, again=True).steady_seconds)


def test_where_nothing_was_trained_there_is_no_time(session):
    assert measure(None, session()[1], again=True)[:1] == (0,)
    assert np.isnan(measure(None, session()[1], again=True)[1:3]).all()


def test_only_the_projects_own_are_its_own():
    assert timing.is_own(OWN)
    assert not timing.is_own("somebody:NumpyAdapter")


def test_a_run_tells_the_times_of_its_trainings_and_a_later_one_keeps_them(small_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = []
    for name in ("first", "second"):
        plan = Plan(tmp_path / name, [("own", small_recipe)], {"numpy": OWN}, ["float64"], workers=1, reuse=True)
        carry_out(plan, lambda *progress: None)
        found.append(Run(plan.folder))
    first, second = found
    (times,) = first.training_times.to_dict("records")
    assert times["steps"] == 6
    assert times["seconds_per_step"] == times["steady_seconds"] / 6 > 0
    (used,) = first.implementations.to_dict("records")
    assert used["import_seconds"] > 0
    assert used["peak_mib"] > 10
    assert used["pass"] == used["records"] == len(first.records)
    assert not first.timings["kept"].any()
    assert second.timings["kept"].all()
    assert second.training_times.equals(first.training_times)
    assert second.implementations.equals(first.implementations)
    assert second.timings.drop(columns="kept").equals(first.timings.drop(columns="kept"))


def test_the_second_training_comes_when_every_check_has_been_seen(small_recipe, tmp_path, monkeypatch):
    store, task, stream, order = Store(tmp_path, create=True), Task("own", small_recipe, "float32"), Mock(), []
    worker.make_case(store, Mock(), task)
    fit = NumpySession.fit
    monkeypatch.setattr(NumpySession, "fit", lambda *given: order.append("fit") or fit(*given))
    stream.seen.side_effect = lambda check, seconds: order.append(check)
    stream.measured.side_effect = lambda measured: order.append("measured")
    worker.look_at("numpy", NumpyAdapter("cpu"), store, store, stream, task, ["free_running", "native"], own=True)
    assert order == ["fit", "free_running", "native", "fit", "measured"]


def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    """What getrusage counts on Linux, and /proc does not."""
    held = np.ones(40_000_000)
    code = "from conformance.runs.peak import peak_mib; print(peak_mib())"
    peak = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    if sys.platform == "linux":
        assert 1 < peak < 100 < held.nbytes / 2**20
