"""What an implementation does to its own process costs itself: whatever it says, starts, or uses up."""

import json
import os

import psutil
import pytest

from conformance.recipes.suites import suite
from conformance.results.store import Store, StoreError
from conformance.runs.plan import Plan

PLUGIN = r"""
import os, resource, shutil, signal, sqlite3, subprocess, time
from pathlib import Path
import numpy as np
from conformance.adapters.numpy import NumpyAdapter, NumpySession

def before_its_gradients(do):
    class Session(NumpySession):
        def gradients(self, *arguments):
            if not getattr(Session, "did", False):
                Session.did = True
                do()
            return NumpySession.gradients(self, *arguments)
    return type("Adapter", (NumpyAdapter,), {"session": lambda self, problem: Session(problem)})

def open_all():
    global opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    opened = []
    try:
        while True:
            opened.append(open("/dev/null"))
    except OSError:
        pass

def write_little():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(300)
        os._exit(0)

OpensAll = before_its_gradients(open_all)
WritesLittle = before_its_gradients(write_little)
Removes = before_its_gradients(lambda: shutil.rmtree(os.environ["TMPDIR"]))
Daemon = before_its_gradients(daemon)
Session = before_its_gradients(lambda: subprocess.Popen(["sleep", "301"], start_new_session=True))

class Says(NumpyAdapter):
    def versions(self):
        return {"numpy": "1.0 \ud800"}
    def settings(self):
        return {"path": "caf\udce9 \x1b[31m", "scale": float("nan")}

class Long(NumpyAdapter):
    def __init__(self, device):
        raise ValueError("z" * 5_000_000 + " \ud800")

class Slow(NumpyAdapter):
    def session(self, problem):
        time.sleep(300)

def with_methods(**methods):
    session = type("Session", (NumpySession,), methods)
    return type("Adapter", (NumpyAdapter,), {"session": lambda self, problem: session(problem)})

def changed(method, change):
    return with_methods(**{method: lambda self, *given: change(getattr(NumpySession, method)(self, *given))})

def masked(found):
    return {name: np.ma.masked_array(value, mask=True) for name, value in found.items()}

Masks = changed("gradients", masked)
Decimals = changed("predict_classes", lambda classes: classes.astype(float))
Names = changed("losses", lambda found: {np.str_(name): value for name, value in found.items()})
Twin = before_its_gradients(os.fork)

class Soon(str):
    def __sub__(self, other):
        return self

class Clock(NumpyAdapter):
    def session(self, problem):
        time.perf_counter = lambda: Soon("soon")
        return NumpySession(problem)

def wrong(self, *given):
    return {**NumpySession.losses(self, *given), "cost": 1.0}

def edit():
    folder = Path(os.environ["TMPDIR"])
    while not (folder / "run.sqlite").exists():
        folder = folder.parent
    with sqlite3.connect(folder / "run.sqlite", timeout=60) as connection:
        while not connection.execute("UPDATE records SET verdict = 'pass' WHERE verdict = 'fail'").rowcount:
            connection.commit()
            time.sleep(0.1)  # until what was wrong has been judged

edited = []

def and_edit(self, *given):
    if not edited:
        edited.append(edit())
    return NumpySession.gradients(self, *given)

Edits = with_methods(losses=wrong, gradients=and_edit)
"""

UNHARMED = ("numpy", "plug:Removes", "plug:Daemon", "plug:Session", "plug:Says", "plug:Names", "plug:Twin")
HARMED = ("plug:OpensAll", "plug:WritesLittle")
WRONG = {"plug:Masks": "of which some numbers are masked", "plug:Decimals": "has dtype float64: must be integers"}


def test_each_costs_itself_and_nothing_is_left(place):
    names = ",".join((*HARMED, *UNHARMED, *WRONG, "plug:Clock", "plug:Long"))
    status, _, err = place.run(*place.begin(names, "--no-explain", "-j", "2", recipes=("s1",)))
    assert status == 3
    passed = place.load().implementations.set_index("implementation")
    for name in UNHARMED:
        assert passed.loc[name, "pass"] == passed.loc[name, "records"] > 50, name
    for name in HARMED:
        assert passed.loc[name, "pass"] > 0, name
        assert passed.loc[name, "crashed"] > 0, name
    assert passed.loc["plug:Clock", "crashed"] > 0
    records = place.records()
    for name, told in WRONG.items():
        failing = records[(records["implementation"] == name) & (records["verdict"] == "fail")]
        assert len(failing) > 0
        assert failing["cause"].str.contains(told).all()
    assert "(5000002 characters)" in err
    assert len(err) < 10_000
    assert place.left_behind() == []
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "301"]]
    for file in ("summary.md", "environment.json", "records.csv", "comment.md"):
        text = (place.folder / "out" / file).read_text(encoding="utf-8")
        assert "\x1b" not in text
    environment = (place.folder / "out" / "environment.json").read_text(encoding="utf-8")
    json.loads(environment, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_records_that_are_changed_by_another_process_count_as_lacking(place):
    status, out, _ = place.run(*place.begin("plug:Edits", "--no-explain", recipes=("s1",)))
    assert status == 3
    assert "recipe s1, float64, loss: its records were changed by another process" in out
    assert not place.load().passed


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"workers": "x"}, "workers"), ({"check_seconds": -1}, "check_seconds"), ({"dtypes": 3}, "dtypes"),
        ({"implementations": {"numpy": 3}}, "numpy"), ({"checks": ["nope"]}, "'nope'"), ({"device": 5}, "device"),
        ({"more": 1}, "more"),
    ],
)  # fmt: skip
def test_a_damaged_plan_is_an_error_that_names_the_file(tmp_path, values, told):
    plan = Plan(tmp_path, [("quick", suite("quick")[0])], {"numpy": "numpy"}, ["float64"])
    plan.write()
    assert Plan.read(tmp_path) == plan
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    with pytest.raises(StoreError, match="plan") as refused:
        Plan.read(tmp_path)
    assert told in str(refused.value)
    with pytest.raises(FileExistsError):
        plan.write()


def test_a_run_that_nobody_may_write_to_can_be_read(tmp_path, monkeypatch):
    store = Store(tmp_path, create=True)
    store.set_fact("stopped", False)
    store.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert Store(tmp_path).facts() == {"stopped": False}


@pytest.mark.slow
def test_a_folder_whose_name_is_no_text_holds_a_run(place):
    folder = os.fsdecode(b"a\xff")
    assert place.run(*place.begin("numpy", recipes=("s1",), output=folder))[0] == 0
    assert (place.folder / folder / "report.html").is_file()
    assert place.run("report", folder)[0] == 0


@pytest.mark.slow
def test_opening_a_session_has_the_time_of_a_check(place):
    status, _, err = place.run(*place.begin("plug:Slow", "--timeout", "2", "--no-explain", recipes=("s1",)))
    assert status == 3
    assert "took longer than 2 s and was stopped" in err


@pytest.mark.slow
def test_an_implementation_that_is_not_there_costs_itself_where_the_others_are_kept(place):
    kept = [word for word in place.begin("numpy", recipes=("s1",)) if word != "--fresh"]
    assert place.run(*kept)[0] == 0
    with_another = [word.replace("numpy", "numpy,absent:X") for word in kept]
    status, out, _ = place.run(*[word if word != "out" else "another" for word in with_another])
    assert status == 3
    assert "absent:X lacks 1 of 1 trainings" in out


@pytest.mark.slow
def test_a_run_that_was_ended_before_its_tables_were_made_can_be_gone_on_with(place):
    assert place.run(*place.begin("numpy", recipes=("s1",)))[0] == 0
    (place.folder / "empty").mkdir()
    (place.folder / "out" / "plan.json").rename(place.folder / "empty" / "plan.json")
    (place.folder / "empty" / "run.sqlite").touch()
    status, _, err = place.run("report", "empty")
    assert status == 2
    assert "has no tables, for the run was ended before it began" in err
    assert place.run("run", "--resume", "empty")[0] == 0
    assert place.load("empty").passed


@pytest.mark.slow
def test_a_run_that_is_refused_leaves_no_folder_in_the_way_of_the_next(place):
    assert place.run(*place.begin("numpy", recipes=("s1",), output="before"))[0] == 0  # whose case is kept
    for implementation, more in (("numpy", ("--device", "tpu")), ("absent:X", ())):
        status, _, err = place.run(*place.begin(implementation, *more, recipes=("s1",)))
        assert status == 2
        assert not (place.folder / "out").exists(), err
