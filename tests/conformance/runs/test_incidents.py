"""What becomes of a run when something happens to it: it says so, loses nothing, leaves nothing, and can go on."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
from typer.testing import CliRunner

from conformance.cli.app import app
from conformance.verdicts.order import LADDER

PLUGIN = """
import os, sys, time
from pathlib import Path
import numpy as np
from conformance.adapters.numpy import NumpyAdapter, NumpySession

class Honest(NumpyAdapter):
    pass

def made(**methods):
    session = type("Session", (NumpySession,), methods)
    return type("Adapter", (NumpyAdapter,), {"session": lambda self, problem: session(problem)})

def hang(self, *arguments):
    Path("hanging").touch()
    time.sleep(1000)

def with_a_child(self, *arguments):
    if os.fork() == 0:
        time.sleep(1000)
    return NumpySession.gradients(self, *arguments)

def chatter(self, *arguments):
    print("not for you", flush=True)
    os.write(1, b"{}\\n")
    sys.stdin.read()
    return NumpySession.gradients(self, *arguments)

def elsewhere(self, *arguments):
    os.chdir("/")
    np.abs = np.max = lambda *a, **k: 0.0  # nothing is far from anything
    found = NumpySession.losses(self, *arguments)
    return {**found, "cost": found["cost"] + 1.0}

def hoard(self, *arguments):
    global hoarded
    hoarded = np.ones(600 * 2**17)
    time.sleep(1000)

Hangs = made(gradients=hang)
Forks = made(gradients=with_a_child)
Chatters = made(gradients=chatter)
Elsewhere = made(losses=elsewhere)
Hoards = made(gradients=hoard)

class DiesOnce(NumpyAdapter):
    def session(self, problem):
        if not os.path.exists("died"):
            Path("died").touch()
            os._exit(7)
        return NumpySession(problem)

class DiesOnFirst(NumpyAdapter):
    def session(self, problem):
        if problem.recipe.name == "s1":
            os._exit(7)
        return NumpySession(problem)
"""

KILLS = 3  # of one run; of that of every day, one


def verdicts(records, implementation):
    own = records[records["implementation"] == implementation]
    return {(recipe, verdict) for recipe, verdict in zip(own["recipe"], own["verdict"], strict=True)}


@pytest.mark.parametrize(
    "name", ["SIGKILL", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGINT", "SIGTERM", "SIGHUP"))]
)
def test_a_run_that_was_ended_says_so_everywhere_and_leaves_nothing_behind(place, name):
    process = place.start(*place.begin("numpy,plug:Hangs"))
    place.await_the_hanging_one(process)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if name == "SIGKILL" else 3)
    place.await_the_end()
    assert os.listdir(place.folder / "tmp") == []
    assert not (place.folder / "out" / ".scratch").exists()
    assert "**INCOMPLETE: " in place.summary()
    assert "conforms" not in place.summary()
    run = place.load()
    assert not run.passed
    assert "plug:Hangs lacks " in run.incomplete
    assert set(run.missing["implementation"]) >= {"plug:Hangs"}
    assert place.run("report", "out")[0] == 3
    status, _, err = place.run("explain", "out")
    assert status == 3
    assert "INCOMPLETE" in err


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 50))])
def test_a_run_goes_on_after_kills_of_any_of_its_processes_and_then_has_the_records_of_an_undisturbed_one(place, seed):
    place.environment["XDG_CACHE_HOME"] = str(place.folder / "cache" / "first")
    assert place.run(*place.begin("numpy,plug:Honest", output="whole"))[0] == 0
    expected = place.records("whole").drop(columns=["run", "seconds"])
    place.environment["XDG_CACHE_HOME"] = str(place.folder / "cache" / "second")  # so that the oracle is at work too
    process = place.start(*place.begin("numpy,plug:Honest"))
    generator = random.Random(seed)
    for _ in range(KILLS if seed else 1):
        time.sleep(generator.uniform(0.5, 2.5))
        found = place.left_behind()
        if found:
            with contextlib.suppress(psutil.NoSuchProcess):
                generator.choice(found).kill()
    process.kill()
    process.communicate(timeout=60)
    place.await_the_end()
    if (place.folder / "out" / "plan.json").exists():
        status, _, err = place.run("run", "--resume", "out")
    else:  # killed before it had begun
        status, _, err = place.run(*place.begin("numpy,plug:Honest"))
    assert status == 0, err
    pd.testing.assert_frame_equal(place.records().drop(columns=["run", "seconds"]), expected, check_exact=True)
    assert place.load().passed


@pytest.mark.slow
def test_where_no_run_was_begun_none_is_gone_on_with_but_one_can_begin(place):
    out = place.folder / "out"
    assert place.run("run", "--resume", "out")[0] == 2
    out.mkdir()
    killed = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    part = out / f"plan.json.{int(killed.stdout)}.part"
    part.write_text("{", encoding="utf-8")
    own = out / f"film.{int(killed.stdout)}.part"  # somebody's, which a run would not write
    own.touch()
    assert place.run(*place.begin("numpy", recipes=("s1",)))[0] == 2
    own.unlink()
    status, _, err = place.run("run", "--resume", "out")
    assert status == 2
    assert "holds no plan.json, for no run was begun in it" in err
    assert place.run(*place.begin("numpy", recipes=("s1",)))[0] == 0
    assert not part.exists()


@pytest.mark.slow
def test_a_resumed_run_that_lacks_nothing_stays_as_it_is(place):
    assert place.run(*place.begin("numpy", recipes=("s1",)))[0] == 0
    before = (place.folder / "out" / "records.csv").read_bytes()
    assert place.run("run", "--resume", "out")[0] == 0
    assert (place.folder / "out" / "records.csv").read_bytes() == before


def test_a_run_of_other_code_is_not_gone_on_with(place):
    assert place.run(*place.begin("numpy", recipes=("s1",)))[0] == 0
    with sqlite3.connect(place.folder / "out" / "run.sqlite") as connection:
        (text,) = connection.execute("SELECT value FROM facts WHERE name = 'environment'").fetchone()
        changed = json.dumps(json.loads(text) | {"source": "another"})
        connection.execute("UPDATE facts SET value = ? WHERE name = 'environment'", (changed,))
    status, _, err = place.run("run", "--resume", "out")
    assert status == 2
    assert "was made with other source" in err


@pytest.mark.slow
def test_a_crash_costs_nothing_if_it_does_not_happen_again(place):
    status, _, err = place.run(*place.begin("plug:DiesOnce"))
    assert status == 0, err
    assert verdicts(place.records(), "plug:DiesOnce") == {("s1", "pass"), ("s2", "pass")}


def test_a_crash_that_happens_again_costs_one_recipe(place):
    status, _, err = place.run(*place.begin("numpy,plug:DiesOnFirst"))
    assert status == 3
    assert "worker plug:DiesOnFirst, recipe s1, float64: exit status 7" in err
    records = place.records()
    assert verdicts(records, "plug:DiesOnFirst") == {("s1", "crashed"), ("s2", "pass")}
    assert verdicts(records, "numpy") == {("s1", "pass"), ("s2", "pass")}
    assert "**INCOMPLETE: plug:DiesOnFirst lacks 1 of 2 trainings" in place.summary()


def test_a_check_that_takes_too_long_is_stopped_and_the_others_are_made(place):
    status, _, _ = place.run(*place.begin("plug:Hangs", "--timeout", "3", recipes=("s1",)))
    records = place.records()
    assert status == 3
    found = dict(zip(records["check"], records["verdict"], strict=True))
    assert {check for check, verdict in found.items() if verdict == "pass"} == {"initialization", "forward", "loss"}
    assert found["gradients"] == "timeout"
    assert set(found) == set(LADDER)


@pytest.mark.slow
def test_a_worker_that_takes_too_much_memory_is_stopped(place):
    status, _, err = place.run(*place.begin("plug:Hoards", "--memory", "400", recipes=("s1",)))
    assert status == 3
    assert "took more than 400 MiB of memory" in err


@pytest.mark.parametrize("name", ["Forks", pytest.param("Chatters", marks=pytest.mark.slow)])
def test_a_worker_with_children_or_stray_output_ends_and_passes(place, name):
    status, _, err = place.run(*place.begin(f"plug:{name}", recipes=("s1",)))
    assert status == 0, err
    assert place.left_behind() == []


def test_an_implementation_that_changes_numpy_and_the_working_folder_gains_nothing(place):
    status, _, _ = place.run(*place.begin("plug:Elsewhere", recipes=("s1",)))
    records = place.records()
    assert status == 1
    failed = records[records["verdict"] == "fail"]
    assert "cost" in set(failed[failed["check"] == "loss"]["tensor"])
    assert verdicts(records[records["check"] == "forward"], "plug:Elsewhere") == {("s1", "pass")}


def test_an_implementation_that_cannot_be_loaded_costs_itself_only(place):
    status, _, err = place.run(*place.begin("numpy,absent_module:X", recipes=("s1",)))
    assert status == 3
    assert "absent_module:X: implementation 'absent_module:X' cannot be loaded" in err
    assert verdicts(place.records(), "numpy") == {("s1", "pass")}
    assert place.load().verdicts["absent_module:X"].tolist() == ["INCOMPLETE (float64)"]


@pytest.mark.slow
def test_a_run_ends_with_the_first_failure_where_that_is_asked_for(place):
    status, _, _ = place.run(*place.begin("plug:Elsewhere", "-x", recipes=("s1", "s2")))
    records = place.records()
    assert status == 1
    assert set(records["check"]) == {"initialization", "forward", "loss"}
    assert set(records["recipe"]) == {"s1"}


@pytest.mark.slow
def test_only_the_checks_that_are_named_are_made(place):
    assert place.run(*place.begin("numpy", "--check", "update,loss", recipes=("s1",)))[0] == 0
    assert list(dict.fromkeys(place.records()["check"])) == ["loss", "update"]
    assert place.load().passed


@pytest.mark.slow
def test_tensors_are_kept_where_something_failed_or_all_are_asked_for(place):
    assert place.run(*place.begin("numpy", recipes=("s1",), output="passed"))[0] == 0
    assert os.listdir(place.folder / "passed" / "traces") == []
    assert place.run(*place.begin("numpy", "--keep-traces", recipes=("s1",), output="kept"))[0] == 0
    assert len(os.listdir(place.folder / "kept" / "traces")) == 2 + len(LADDER)
    assert place.run(*place.begin("plug:Elsewhere", recipes=("s1",), output="failed"))[0] == 1
    assert {f"s1.float64.{part}.safetensors" for part in ("case", "plug:Elsewhere.loss")} <= set(
        os.listdir(place.folder / "failed" / "traces")
    )


@pytest.mark.parametrize("command", ["report", "explain"])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE facts SET value = '{'",
        "UPDATE facts SET value = '{}'",
        "UPDATE facts SET value = '[1, [2]]'",
        "DELETE FROM facts",
        "UPDATE records SET verdict = 'other'",
        "UPDATE records SET \"check\" = 'other'",
        "UPDATE records SET recipe = 'other'",
        "DROP TABLE done",
    ],
)
def test_a_damaged_run_is_an_error_that_names_the_file(failed_run, tmp_path, damage, command):
    folder = shutil.copytree(failed_run, tmp_path / "copy")
    with sqlite3.connect(folder / "run.sqlite") as connection:
        connection.execute(damage)
    ended = CliRunner().invoke(app, [command, str(folder)])
    assert ended.exception is None or isinstance(ended.exception, SystemExit)
    assert ended.exit_code in (1, 2, 3)
    assert "run.sqlite" in ended.output or ended.exit_code != 2


def test_a_damaged_file_of_tensors_is_an_error_that_names_it(failed_run, tmp_path):
    for number, name in enumerate(sorted(os.listdir(failed_run / "traces"))):
        folder = shutil.copytree(failed_run, tmp_path / str(number))
        whole = (folder / "traces" / name).read_bytes()
        (folder / "traces" / name).write_bytes(whole[: len(whole) // 2])
        ended = CliRunner().invoke(app, ["explain", str(folder)])
        assert ended.exit_code == 2, name
        assert name in ended.output


@pytest.fixture(scope="module")
def failed_run(tmp_path_factory, place_at):
    """The folder of a run in which something failed."""
    place = place_at(tmp_path_factory.mktemp("failed") / "place", PLUGIN)
    place.run(*place.begin("plug:Elsewhere", recipes=("s1",)))
    return place.folder / "out"


@pytest.mark.slow
def test_results_of_an_unchanged_implementation_are_taken_again_and_it_is_said(place):
    arguments = [word for word in place.begin("numpy,plug:Honest") if word != "--fresh"]
    assert place.run(*arguments)[0] == 0
    expected = place.records()
    status, out, _ = place.run(*(word if word != "out" else "again" for word in arguments))
    assert status == 0
    assert "2 of 4 trainings are of earlier runs of the very same" in out
    again = place.records("again")
    pd.testing.assert_frame_equal(
        again.drop(columns=["run", "seconds"]), expected.drop(columns=["run", "seconds"]), check_exact=True
    )
    curves = [pd.read_csv(place.folder / output / "curves.csv") for output in ("out", "again")]
    pd.testing.assert_frame_equal(*curves, check_exact=True)
