"""One process of a run: the oracle, which makes the cases, or one implementation, which is looked at.

Started by ``conformance/runs/process.py`` as ``python -m conformance.runs.worker FOLDER NAME TARGET SCRATCH``. It does
what it is asked for until there is nothing more. An implementation's worker compares nothing: what it saw goes into the
scratch folder, and the parent judges it.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from conformance.adapters.collecting import collect_rarely
from conformance.adapters.guarded import open_session
from conformance.adapters.numpy import NumpySession
from conformance.adapters.registry import load
from conformance.adapters.session import Adapter, DeviceNotFound, Unsupported
from conformance.checks.case import build_case
from conformance.checks.look import describe_error, look
from conformance.checks.observation import STAGES, Lost, Seen
from conformance.data.datasets import DataError
from conformance.exchange.replay import in_situations_of
from conformance.problems.preparation import prepare
from conformance.results.cases import StoredCase, load_case, save_case, save_seen
from conformance.results.traces import StoreError, Traces
from conformance.runs.messages import MessageStream
from conformance.runs.plan import Plan, Task
from conformance.runs.schedule import ORACLE
from conformance.runs.timing import Timed, is_own, measure
from conformance.verdicts import floors, known_ceilings


def make_case(traces: Traces, stream: MessageStream, task: Task, targets: Iterable[str] = ()) -> None:
    """The oracle's part: build the case of a task and measure its noise floors.

    ``targets``: of the implementations, of which a trace has situations of its own.
    """
    try:
        problem = prepare(task.recipe, task.dtype)
        case = in_situations_of(targets, build_case(problem, NumpySession(problem.in_float64())))
    except DataError as error:
        stream.bad_input(f"recipe {task.recipe.name!r}: {error}")
        return
    expectations = floors.measure(case)
    save_case(traces, StoredCase(case, expectations, known_ceilings.find(case, expectations)))
    stream.made(float(floors.informative_steps(expectations)), problem.steps)


def look_at(
    name: str,
    adapter: Adapter,
    traces: Traces,
    scratch: Traces,
    stream: MessageStream,
    task: Task,
    checks: list[str],
    *,
    own: bool = False,
) -> None:
    """An implementation's part: some checks of a task. ``own``: whether it is one of the project's."""
    case = load_case(traces, task.recipe, task.dtype).case
    session, unopened = None, Seen([], [])
    try:
        session = Timed(open_session(adapter, case.problem))
    except Unsupported as error:
        unopened = _nothing("unsupported", str(error))
    except Exception as error:
        unopened = _nothing("crashed", describe_error(error))
    for check in checks:
        stream.checking(check)
        started = time.perf_counter()
        seen = unopened if session is None else look(session, case, check)
        seconds = time.perf_counter() - started
        save_seen(scratch, *task.name, name, check, seen)
        stream.seen(check, seconds)
    stream.measured(measure(session, case.problem, again=own))


def _nothing(how: Literal["crashed", "unsupported"], reason: str) -> Seen:
    """Of a session that could not be had nothing is seen."""
    return Seen([], [Lost(how, reason, STAGES, None, "")])


def adapter_of(make: Callable[[], Adapter], target: str, stream: MessageStream) -> Adapter | None:
    """The implementation that ``make`` makes on its device; None, and said so, where it cannot be had."""
    started = time.perf_counter()
    try:
        adapter = make()
        described = _described(adapter)
        stream.ready(str(adapter.device), *described, time.perf_counter() - started)
        return adapter
    except DeviceNotFound as error:
        stream.refused(str(error))
    except ValueError as error:
        stream.lost(str(error))
    except Exception as error:  # whatever somebody's class raises when it is made
        stream.lost(f"implementation {target!r} cannot be made: {type(error).__name__}: {error}")
    return None


def _described(adapter: Adapter) -> tuple[dict[str, str], dict[str, Any]]:
    versions = {str(name): str(version) for name, version in adapter.versions().items()}
    return versions, {str(name): value for name, value in adapter.settings().items()}


def work(folder: Path, name: str, target: str, scratch: Path) -> None:
    """Answer requests until there are no more."""
    stream = MessageStream()
    plan, traces = Plan.read(folder), Traces(folder)
    do: Callable[[Task, list[str]], None]
    if name == ORACLE:
        stream.ready("cpu", {}, {}, 0.0)
        do = lambda task, checks: make_case(traces, stream, task, plan.implementations.values())  # noqa: E731
    else:
        adapter = adapter_of(lambda: load(target)(plan.device), target, stream)
        if adapter is None:
            return
        own = is_own(target)
        do = lambda task, checks: look_at(  # noqa: E731
            name, adapter, traces, Traces(scratch), stream, task, checks, own=own
        )
    collect_rarely()
    for request in stream.requests():
        try:
            do(Task.of(request["task"]), request["checks"])
        except (OSError, StoreError) as error:
            stream.unwritable(str(error))
            return
        stream.done()


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    os._exit(0)  # frameworks take up to a second to tear themselves down, and nothing is left to lose
