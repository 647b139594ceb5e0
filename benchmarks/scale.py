"""What a recipe costs in a run of very many: seconds of a processor, and bytes, each measured on random recipes.

    python benchmarks/scale.py cost --recipes 20 --implementation numpy,torch
    python benchmarks/scale.py scheduler --tasks 500 --bytes 500000
    python benchmarks/scale.py bookkeeping --recipes 1000 10000

``cost``: the oracle's part, what each implementation takes, judging and entering. ``scheduler``: what dask takes for a
task that does nothing. ``bookkeeping``: what the plan and the schedule take for a task, by the length of the plan. All
seconds are of processors (``time.process_time``), so a busy machine changes them little.
"""

import argparse
import json
import statistics
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from conformance.adapters.registry import load, resolve
from conformance.audit.soak import random_recipe
from conformance.results.cases import case_files
from conformance.results.store import DATABASE, Store
from conformance.results.traces import Traces
from conformance.runs import worker
from conformance.runs.judging import Judge, Stand
from conformance.runs.plan import FILE, Plan, Task
from conformance.runs.schedule import ORACLE, Schedule, Unit

Measured = dict[str, list[float]]


def plan_of(folder: Path, count: int, names: list[str]) -> Plan:
    """A plan of random recipes in one precision each."""
    recipes = [("file", random_recipe(number, 0)) for number in range(count)]
    return Plan(folder, recipes, {name: resolve(name) for name in names}, ["float64", "float32"])


def timed(measured: Measured, what: str, do: Callable[[], Any]) -> Any:
    """Do something, and add the seconds of a processor that it took."""
    began = time.process_time()
    found = do()
    measured[what].append(time.process_time() - began)
    return found


def cost(count: int, names: list[str]) -> Measured:
    """Seconds and bytes of each part of each task, in one process."""
    measured: Measured = defaultdict(list)
    folder = Path(tempfile.mkdtemp())
    plan, scratch = plan_of(folder, count, names), Traces(folder / "scratch")
    (scratch.folder / "traces").mkdir(parents=True)
    store = Store(folder, create=True)
    judge, adapters = Judge(plan, store, scratch), {name: load(resolve(name))("cpu") for name in names}
    judge.await_all({task.name for task in plan.tasks})
    for task in plan.tasks:
        stream = Mock()
        timed(measured, f"{ORACLE}: make the case", lambda: worker.make_case(store, stream, task))  # noqa: B023
        timed(measured, "enter the case", lambda: judge.case_made(task.name, *stream.made.call_args.args))  # noqa: B023
        case, data = case_files(task.recipe, task.dtype)
        measured["bytes of a case"].append(store.trace(case).stat().st_size)
        measured["bytes of its data"].append(store.trace(data).stat().st_size)
        for name, adapter in adapters.items():
            look_and_judge(measured, plan, task, name, adapter, judge)
        timed(measured, "put the case away", lambda: judge.put_away(task.name))  # noqa: B023
    records = store.select("SELECT COUNT(*) FROM records")[0][0]
    tracemalloc.start()
    every = store.select("SELECT * FROM records")  # as the end of a run and its report read them
    measured["bytes of memory for a record that is read"] = [tracemalloc.get_traced_memory()[0] / len(every)]
    tracemalloc.stop()
    store.close()
    measured["records of a training"] = [records / len(plan.tasks) / len(names)]
    measured["bytes of the store for a record"] = [(folder / DATABASE).stat().st_size / records]
    return measured


def look_and_judge(measured: Measured, plan: Plan, task: Task, name: str, adapter: Any, judge: Judge) -> None:
    """One implementation's part of a task, and what the run's own process makes of it."""
    checks, scratch = list(plan.checks), judge.scratch
    stand = Stand(adapter.device, adapter.versions(), adapter.settings())
    looking = lambda: worker.look_at(name, adapter, judge.store, scratch, Mock(), task, checks, own=True)  # noqa: E731
    timed(measured, f"{name}: look", looking)
    seen = (scratch.folder / "traces").glob("*")
    measured[f"{name}: bytes of what was seen"].append(sum(path.stat().st_size for path in seen))
    judging = lambda: [judge.seen(name, stand, task.name, check, 0.0) for check in checks]  # noqa: E731
    timed(measured, f"{name}: judge and enter", judging)


def scheduler(tasks: int, size: int) -> Measured:
    """Seconds of the client's and the scheduler's process, for tasks that send and give back so many bytes."""
    from distributed import Client, LocalCluster

    measured: Measured = defaultdict(list)
    files = {"case": bytes(size)}
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        client.submit(_nothing, b"", files, key="first").result()
        began, wall, waiting = time.process_time(), time.perf_counter(), []
        for number in range(tasks):
            waiting.append(client.submit(_nothing, b"", files, key=f"task-{number}"))
            if len(waiting) == 4:  # as many as a run asks of two threads at once
                waiting.pop(0).result()
        for future in waiting:
            future.result()
        measured["client and scheduler: a task"].append((time.process_time() - began) / tasks)
        measured["wall clock: a task, two workers"].append((time.perf_counter() - wall) / tasks)
    return measured


def _nothing(asked: bytes, files: dict[str, bytes]) -> tuple[bytes, dict[str, bytes]]:
    return asked, files


def bookkeeping(counts: list[int]) -> Measured:
    """Seconds, bytes of memory and of the plan's file, for a task, by the number of recipes."""
    measured: Measured = defaultdict(list)
    for count in counts:
        folder = Path(tempfile.mkdtemp())
        tracemalloc.start()
        plan = plan_of(folder, count, ["numpy"])
        measured[f"{count} recipes: bytes of memory of a recipe"].append(tracemalloc.get_traced_memory()[0] / count)
        tracemalloc.stop()
        timed(measured, f"{count} recipes: write the plan", plan.write)
        measured[f"{count} recipes: bytes of the plan for a recipe"] = [(folder / FILE).stat().st_size / count]
        timed(measured, f"{count} recipes: read the plan", lambda: Plan.read(folder))  # noqa: B023
        names = [task.name for task in plan.tasks]
        key = f"{count} recipes: schedule a task"
        timed(measured, key, lambda: scheduled(names))  # noqa: B023
        measured[key] = [measured[key][0] / count]
    return measured


def scheduled(names: list[tuple[str, str]]) -> None:
    """Give out all units of a plan, each case as soon as it is asked for."""
    schedule = Schedule([Unit("numpy", name) for name in names], (), at_once=2)
    while (unit := schedule.next(lambda name, left: True)) is not None:
        if unit.worker == ORACLE:
            schedule.case_made(unit.task)


def main() -> None:
    """Measure what is named on the command line, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    of_cost = commands.add_parser("cost")
    of_cost.add_argument("--recipes", type=int, default=20)
    of_cost.add_argument("--implementation", default="numpy")
    of_scheduler = commands.add_parser("scheduler")
    of_scheduler.add_argument("--tasks", type=int, default=500)
    of_scheduler.add_argument("--bytes", type=int, default=500_000)
    commands.add_parser("bookkeeping").add_argument("--recipes", type=int, nargs="+", default=[1000, 10_000])
    asked = parser.parse_args()
    if asked.what == "cost":
        found = cost(asked.recipes, asked.implementation.split(","))
    elif asked.what == "scheduler":
        found = scheduler(asked.tasks, asked.bytes)
    else:
        found = bookkeeping(asked.recipes)
    print(json.dumps(vars(asked)))
    print("| what | mean | median | largest |\n| --- | --- | --- | --- |")
    for what, values in found.items():
        print(f"| {what} | {statistics.mean(values):.3g} | {statistics.median(values):.3g} | {max(values):.3g} |")


if __name__ == "__main__":
    main()
