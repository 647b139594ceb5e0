"""Runs whose tasks are done by a scheduler's workers: the records of a run here, whatever becomes of a worker."""

import asyncio
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from conformance.adapters.numpy import NumpyAdapter
from conformance.cli.app import app
from conformance.recipes.recipe import Recipe
from conformance.results.store import Store
from conformance.results.traces import Traces
from conformance.runs import cluster, remote, scheduler
from conformance.runs.environment import state
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.plan import Plan, Task
from conformance.runs.run import carry_out, resume
from conformance.runs.scheduler import Scheduler

OWN = "conformance.adapters.numpy:NumpyAdapter"
NOT_COMPARED = {"records": {"run", "seconds"}, "curves": set(), "done": {"note"}}
DASK = pytest.mark.skipif(
    scheduler.find_spec(scheduler.PACKAGE) is None, reason="distributed is not installed: pip install '.[dask]'"
)

PLUGIN = """
import os, signal, time
from pathlib import Path
from conformance.adapters.numpy import NumpyAdapter, NumpySession

class Segfaults(NumpyAdapter):
    def session(self, problem):
        os.kill(os.getpid(), signal.SIGSEGV)

class Hangs(NumpyAdapter):
    def session(self, problem):
        Path(os.environ["HANGING"]).touch()
        time.sleep(1000)

class Takes(NumpyAdapter):
    def session(self, problem):
        session = NumpySession(problem)
        session.losses = lambda *a: time.sleep(1000)
        return session
"""


def drawn(number):
    """A small recipe drawn by its number."""
    generator = np.random.default_rng(number)
    return Recipe.model_validate(
        {
            "name": f"drawn-{number:04}",
            "seed": number,
            "epochs": 1,
            "batch_size": int(generator.choice([8, 12, 16])),
            "dtypes": ["float64"],
            "loss": "binary_cross_entropy",
            "dataset": {"name": "xor", "examples": int(generator.choice([16, 24])), "test_examples": 4},
            "model": {
                "name": "shallow_network",
                "hidden_units": [int(generator.integers(2, 5))],
                "activation": str(generator.choice(["tanh", "sigmoid"])),
            },
            "optimizer": {
                "name": str(generator.choice(["gradient_descent", "momentum", "adam", "rmsprop", "adagrad"])),
                "learning_rate": float(10 ** generator.uniform(-3, -1)),
            },
        }
    )


def a_plan(folder, recipes, implementations=None, **options):
    chosen = {"numpy": OWN} if implementations is None else implementations
    return Plan(folder, [("file", recipe) for recipe in recipes], chosen, ["float64"], explain=False, **options)


def silent(*progress):
    """Nobody is shown how far a run is."""


def told(folder):
    """All that a run's database tells, but for times."""
    store = Store(folder)
    found = {}
    for table, left_out in NOT_COMPARED.items():
        kept = [place for place, name in enumerate(store.columns(table)) if name not in left_out]
        found[table] = sorted(repr([row[place] for place in kept]) for row in store.select(f"SELECT * FROM {table}"))
    return found


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("dusk", "scheduler='dusk' is not allowed: must be dask or dask=ADDRESS; did you mean 'dask'?"),
        ("dask=", "scheduler='dask=' is not allowed: ADDRESS must be"),
        ("dask=nowhere.json", "ADDRESS must be tcp://host:port, or a scheduler file that is there"),
    ],
)
def test_what_is_no_scheduler_is_refused(tmp_path, named, words):
    asked = ["run", "--suite", "quick", "--implementation", "numpy", "--output", str(tmp_path / "out"), "--scheduler"]
    ended = CliRunner().invoke(app, [*asked, named])
    assert ended.exit_code == 2
    assert words in ended.stderr
    assert not (tmp_path / "out").exists()


def test_where_the_scheduler_s_package_is_not_installed_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "find_spec", lambda name: None)
    ended = CliRunner().invoke(app, ["run", "--suite", "quick", "-q", "--scheduler", "dask"])
    assert ended.exit_code == 2
    assert "distributed not found; scheduler='dask' needs: pip install '.[dask]'" in ended.stderr


@pytest.mark.parametrize(
    ("implementations", "data", "words"),
    [
        ({"t": "conformance.exchange.replay:/a/trace"}, {"name": "xor"}, "implementation=t: a trace is a file here"),
        (
            {"numpy": OWN},
            {"name": "npz", "path": "mine.npz"},
            "its data are files here, which workers of dask=tcp://x:1",
        ),
    ],
)
def test_what_workers_elsewhere_do_not_see_is_refused(tmp_path, small_recipe, implementations, data, words):
    values = small_recipe.model_dump(mode="json") | {"dataset": data}
    plan = a_plan(tmp_path / "out", [Recipe.model_validate(values)], implementations)
    with pytest.raises(BadInput, match=words):
        carry_out(plan, silent, scheduler=Scheduler("tcp://x:1"))
    assert not plan.folder.exists()


def test_a_machine_with_other_versions_does_nothing(small_recipe):
    other = state() | {"packages": state()["packages"] | {"numpy": "0.1"}}
    asked = remote.Asked("other", other, {}, "numpy", Task("", small_recipe, "float64").as_dict, ["forward"])
    said, files = remote.work(json.dumps(asked._asdict()).encode(), {})
    (message,) = json.loads(said)
    assert message["kind"] == "halt"
    assert f"numpy is {np.__version__}, must be 0.1" in message["text"]
    assert files == {}
    assert "other" not in remote.Station._all


class Client:
    """Dask's client as far as a launcher needs it: a thread of this process is its one worker."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(1)

    def submit(self, function, *arguments, key, priority):
        return self.pool.submit(function, *arguments)

    def run(self, function, *arguments, on_error):
        made = function(*arguments)
        return {"here": asyncio.run(made) if asyncio.iscoroutine(made) else made}

    def nthreads(self):
        return {"here": 1}


@DASK
def test_tasks_done_from_bytes_alone_give_the_records_of_a_run_here(tmp_path, monkeypatch, request):
    @contextmanager
    def a_client(*_):
        yield Client()

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Client, "wait_for_workers", lambda *_, timeout: None, raising=False)
    monkeypatch.setattr(cluster, "_client", a_client)
    recipe = drawn(5)
    carry_out(a_plan(tmp_path / "there", [recipe]), silent, scheduler=Scheduler("tcp://x:1"))
    here = request.getfixturevalue("carry_out")(a_plan(tmp_path / "here", [recipe]), {"numpy": NumpyAdapter})
    assert told(tmp_path / "there") == told(here.folder)
    assert len(told(here.folder)["records"]) > 50
    assert not list(tmp_path.glob("conformance-*"))
    assert not remote.Station._all


class Future:
    """One that is done."""

    def __init__(self, result=None, error=None):
        self.result, self.exception = lambda: result, lambda: error


@pytest.fixture
def launcher(tmp_path):
    (tmp_path / "scratch" / "traces").mkdir(parents=True)
    (tmp_path / "traces").mkdir()
    client = Mock()
    client.run.return_value = {}
    return cluster.ClusterLauncher(client, a_plan(tmp_path, []), tmp_path / "scratch", elsewhere=True)


def heard(launcher, future, name="numpy"):
    """What the pool hears of a worker whose future is this one."""
    events = queue.Queue()
    launcher.client.submit.return_value = Mock()
    worker = launcher.launch(name, events)
    worker._take(future, None, [])
    return [events.get_nowait()[1] for _ in range(events.qsize())]


@DASK
def test_a_machine_that_was_lost_is_a_lost_worker(launcher):
    from distributed import KilledWorker

    stopped, end = heard(launcher, Future(error=KilledWorker("a task", Mock(), 3)))
    assert (stopped["kind"], stopped["verdict"], end) == ("stopped", "crashed", None)


@DASK
@pytest.mark.parametrize(
    "answer", [Future(error=OSError("no space")), Future(("not bytes", 3, 4)), Future((b"[]]", {}))]
)
def test_what_dask_fails_in_ends_the_run(launcher, answer):
    halt, end = heard(launcher, answer)
    assert halt["kind"] == "halt"
    assert end is None


@DASK
def test_an_implementation_that_says_otherwise_elsewhere_ends_the_run(launcher):
    said = {"kind": "ready", "device": "cpu", "versions": {"numpy": "2"}, "settings": {"blas": "one"}, "seconds": 0.0}
    first = heard(launcher, Future((json.dumps([said]).encode(), {})))
    assert [message["kind"] for message in first] == ["ready"]
    (halt, _) = heard(launcher, Future((json.dumps([said | {"settings": {"blas": "two"}}]).encode(), {})))
    assert halt["kind"] == "halt"
    assert "{'blas': 'two'}" in halt["text"]


def test_without_any_worker_for_long_a_run_is_broken_off(launcher, monkeypatch):
    launcher.client.nthreads.return_value = {}
    monkeypatch.setattr(cluster, "COUNT_SECONDS", 0.0)
    launcher.require_workers()
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(Incomplete, match="dask has had no worker for 0 s"):
        launcher.require_workers()


def test_files_that_are_too_large_do_not_travel(tmp_path, monkeypatch):
    traces = Traces(tmp_path)
    (tmp_path / "traces").mkdir()
    traces.save_tensors("large", {"W1": np.zeros(100)})
    assert remote.files_at(traces, ["large"]) == {"large": traces.trace("large").read_bytes()}
    monkeypatch.setattr(remote, "MOST_BYTES", 800)
    with pytest.raises(remote.TooLarge, match=r"'large': \d+ bytes: must be at most 800 to travel"):
        remote.files_at(traces, ["large"])


def test_data_that_another_machine_draws_otherwise_end_the_run(launcher, small_recipe, tmp_path):
    task = Task("", small_recipe, "float64")
    case, data = remote.case_files(small_recipe, "float64")
    elsewhere = Traces(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "traces").mkdir(parents=True)

    def made(x):
        elsewhere.save_tensors(data, {"x": np.array(x)}, {"a": "b", "c": "d"})
        return {data: elsewhere.trace(data).read_bytes(), case: b"a case", "../../escaped": b"no"}

    launcher._keep("oracle", task, [], made([1.0]))
    launcher._keep("oracle", task, [], made([1.0]))
    assert launcher.traces.trace(case).read_bytes() == b"a case"
    assert sorted(path.name for path in tmp_path.rglob("*escaped*")) == []
    with pytest.raises(Incomplete, match="'small': its data are not what another machine made of them"):
        launcher._keep("oracle", task, [], made([1.0 + 1e-15]))


class Cluster:
    """A scheduler and workers on the loopback interface, each in a folder of its own."""

    def __init__(self, folder, path=""):
        self.folder, self.path = folder, path
        self.file = folder / "scheduler.json"
        self.started = []
        self.start(
            "scheduler", "--scheduler-file", str(self.file), "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
        )

    def worker(self):
        """One more, with one thread and nobody who starts it again."""
        options = ("--scheduler-file", str(self.file), "--no-nanny", "--nthreads", "1", "--no-dashboard")
        return self.start("worker", *options)

    def start(self, *arguments):
        own = self.folder / f"process-{len(self.started)}"
        own.mkdir(parents=True)
        environment = os.environ | {
            "TMPDIR": str(own),
            "PYTHONPATH": os.pathsep.join([self.path, os.environ.get("PYTHONPATH", "")]),
            "HANGING": str(self.folder / "hanging"),
        }
        with (own / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments], cwd=own, env=environment, stdout=log, stderr=log
            )
        self.started.append(process)
        return process

    def leftovers(self):
        """Processes of ours that work for dask's workers, and their folders."""
        folders = [path for path in self.folder.rglob("conformance-*") if path.is_dir()]
        ours = [process for process in psutil.process_iter() if str(self.folder) in " ".join(_command(process))]
        return folders, [process for process in ours if "conformance.runs" in " ".join(_command(process))]

    def end(self):
        for process in self.started:
            process.kill()
            process.wait()


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def await_that(condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.fixture
def dask(tmp_path, monkeypatch):
    """A scheduler on loopback, whose workers can import the misbehaving implementations."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "plug.py").write_text(PLUGIN, encoding="utf-8")
    made = Cluster(tmp_path / "dask", str(plugins))
    yield made
    made.end()


@DASK
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [40, 1000])
def test_random_recipes_give_the_records_of_a_run_here_though_a_worker_is_killed(tmp_path, dask, count):
    recipes = [drawn(number) for number in range(count)]
    workers = [dask.worker() for _ in range(3)]
    judged = []

    def watch(event):
        judged.append(event)
        if len(judged) == 20 * count:
            workers[0].kill()

    carry_out(a_plan(tmp_path / "there", recipes), silent, watch, scheduler=Scheduler(str(dask.file)))
    assert len(judged) > 20 * count
    assert workers[0].poll() == -signal.SIGKILL
    carry_out(a_plan(tmp_path / "here", recipes), silent)
    assert told(tmp_path / "there") == told(tmp_path / "here")
    await_that(lambda: dask.leftovers() == ([], []))


@DASK
@pytest.mark.slow
def test_what_crashes_or_takes_too_long_elsewhere_is_told_as_here(tmp_path, dask, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([dask.path, os.environ.get("PYTHONPATH", "")]))
    for _ in range(2):
        dask.worker()
    chosen = {"numpy": OWN, "crashing": "plug:Segfaults", "slow": "plug:Takes"}
    for name, where in (("there", Scheduler(str(dask.file))), ("here", None)):
        plan = a_plan(tmp_path / name, [drawn(1)], chosen, checks=("forward", "loss"), check_seconds=4.0)
        with pytest.raises(Incomplete):
            carry_out(plan, silent, scheduler=where)
    assert told(tmp_path / "there") == told(tmp_path / "here")
    causes = Store(tmp_path / "there").select("SELECT DISTINCT implementation, verdict, cause FROM records")
    assert ("crashing", "crashed", "worker process: killed by SIGSEGV: nothing on its standard error") in causes
    assert ("slow", "timeout", "worker process: took longer than 4 s and was stopped") in causes


@DASK
@pytest.mark.slow
def test_a_run_whose_process_is_killed_leaves_nothing_at_dask_s_workers_but_idle_ones_and_goes_on(
    tmp_path, monkeypatch
):
    """With workers of its own: nothing at all."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    recipe = tmp_path / "one.json"
    recipe.write_text(drawn(1).model_dump_json(), encoding="utf-8")
    asked = ["run", "--recipe", str(recipe), "--implementation", "numpy", "--output", str(tmp_path / "out")]
    command = [sys.executable, "-m", "conformance", *asked, "--fresh", "--scheduler", "dask", "-j", "1"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await_that(lambda: list((tmp_path / "out" / ".scratch").rglob("conformance-*")))
    process.kill()
    process.wait()
    await_that(lambda: not (tmp_path / "out" / ".scratch").exists())
    await_that(lambda: not [each for each in psutil.process_iter() if str(tmp_path) in " ".join(_command(each))])
    resume(tmp_path / "out", silent, scheduler=None)
    carry_out(a_plan(tmp_path / "here", [drawn(1)]), silent)
    assert len(told(tmp_path / "out")["records"]) == len(told(tmp_path / "here")["records"]) > 0


@DASK
@pytest.mark.slow
def test_a_run_that_is_interrupted_with_its_workers_says_so_in_a_line_and_leaves_nothing(tmp_path):
    """As a terminal does, which sends Ctrl-C to all processes of the command."""
    out = tmp_path / "out"
    asked = ["run", "--suite", "quick", "--implementation", "numpy", "--output", str(out), "--fresh"]
    command = [sys.executable, "-m", "conformance", *asked, "--scheduler", "dask", "-j", "2"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    await_that(lambda: list((out / ".scratch").rglob("conformance-*/*")))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said.strip().splitlines()[-1]) == (3, "conformance: ended by SIGINT")
    assert "Traceback" not in said
    assert not (out / ".scratch").exists()
    await_that(lambda: not [each for each in psutil.process_iter() if str(out) in " ".join(_command(each))])


@DASK
@pytest.mark.slow
def test_workers_with_other_source_are_told_before_anything_is_done(tmp_path, dask):
    other = tmp_path / "other" / "conformance"
    source = Path(remote.__file__).parents[1]
    shutil.copytree(source, other, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "__init__.py").open("a") as file:
        file.write("\nOTHER = True\n")
    dask.path = str(other.parent)
    dask.worker()
    with pytest.raises(Incomplete, match=r"dask's worker tcp://127.0.0.1:\d+: source is [0-9a-f]{12}, must be"):
        carry_out(a_plan(tmp_path / "out", [drawn(1)]), silent, scheduler=Scheduler(str(dask.file)))
    assert not Store(tmp_path / "out").done()


@DASK
@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    with pytest.raises(Incomplete, match=r"dask=tcp://127\.0\.0\.1:1: "):
        carry_out(a_plan(tmp_path / "out", [drawn(1)]), silent, scheduler=Scheduler("tcp://127.0.0.1:1"))
