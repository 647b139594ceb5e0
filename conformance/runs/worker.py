"""One process of a run: the oracle, which makes the cases, or one implementation, which is held against them.

Started by ``conformance/runs/pool.py`` as ``python -m conformance.runs.worker FOLDER NAME TARGET PART PARTS``. What it
finds goes into the run's store; what the parent is to know, it tells in messages.
"""

import os
import sys
import time
from pathlib import Path

from conformance.adapters.guarded import open_session
from conformance.adapters.numpy import NumpySession
from conformance.adapters.registry import load
from conformance.adapters.session import Adapter, DeviceNotFound, Session, Unsupported
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.look import describe_error, look
from conformance.data.datasets import DataError
from conformance.problems.preparation import prepare
from conformance.results.cases import StoredCase, load_case, save_case, save_seen
from conformance.results.store import INFORMATIVE, CurvePoint, Store
from conformance.runs.curves import curve_points
from conformance.runs.messages import MessageStream
from conformance.runs.plan import Plan, Task
from conformance.runs.pool import ORACLE
from conformance.verdicts import floors, known_ceilings
from conformance.verdicts.compare import NOT_FAILING, Verdict
from conformance.verdicts.record import Context
from conformance.verdicts.summary import judge


def make_cases(store: Store, tell: MessageStream, tasks: list[Task]) -> None:
    """The oracle's part: build the case of each task and measure its noise floors."""
    for _, recipe, dtype in tasks:
        try:
            problem = prepare(recipe, dtype)
        except DataError as error:
            tell.bad_input(f"recipe {recipe.name!r}: {error}")
            continue
        case = build_case(problem, NumpySession(problem.in_float64()))
        expectations = floors.measure(case)
        save_case(store, StoredCase(case, expectations, known_ceilings.find(case, expectations)))
        steps = float(floors.informative_steps(expectations))
        point = CurvePoint(recipe.name, ORACLE, dtype, "step", problem.steps, INFORMATIVE, steps)
        store.add_curve_points([point])
        tell.done(recipe.name, dtype)


def check_implementation(
    plan: Plan, store: Store, tell: MessageStream, tasks: list[Task], name: str, adapter: Adapter
) -> None:
    """An implementation's part: every check of each task, against the stored oracle."""
    version = next(iter(adapter.versions().values()))
    store.set_fact(f"implementation {name}", {
        "device": adapter.device, "versions": dict(adapter.versions()), "settings": dict(adapter.settings()),
    })  # fmt: skip
    for suite, recipe, dtype in tasks:
        context = Context(plan.run, suite, recipe, name, version, adapter.device, dtype)
        tell.started(recipe.name, dtype)
        stored = load_case(store, recipe, dtype)
        try:
            session = open_session(adapter, stored.problem)
        except Unsupported as error:
            store.add_records(context.without_comparison(c, Verdict.UNSUPPORTED, str(error)) for c in CHECKS)
        except Exception as error:
            store.add_records(context.without_comparison(c, Verdict.CRASHED, describe_error(error)) for c in CHECKS)
        else:
            for check in CHECKS:
                _run_check(store, context, session, stored, check)
        tell.done(recipe.name, dtype)


def _run_check(store: Store, context: Context, session: Session, stored: StoredCase, check: str) -> None:
    started = time.perf_counter()
    seen = look(session, stored.case, check)
    seconds = time.perf_counter() - started
    records = judge(context, seen, stored.expectations[check], stored.ceilings[check], check, seconds)
    store.add_records(records)
    if check == "free_running":
        store.add_curve_points(curve_points(context, stored.problem, seen.observations))
    if check == "free_running" or any(record.verdict not in NOT_FAILING for record in records):
        save_seen(store, context.recipe.name, context.dtype, context.implementation, check, seen)


def main(folder: str, name: str, target: str, part: str, parts: str) -> None:
    """Entry of a worker process; see the module docstring."""
    tell = MessageStream()
    plan = Plan.read(Path(folder))
    store = Store(plan.folder)
    tasks = plan.share(int(part), int(parts)) if int(parts) else []
    if name == ORACLE:
        make_cases(store, tell, tasks)
    else:
        try:
            adapter = load(target)(plan.device)
        except (DeviceNotFound, ValueError) as error:
            tell.bad_input(str(error))
            return
        tell.ready()
        if tasks:
            check_implementation(plan, store, tell, tasks, name, adapter)
    tell.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # frameworks take up to a second to tear themselves down, and nothing is left to lose
