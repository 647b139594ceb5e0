"""The process in which one implementation is timed: imported, trained for the first time, and again and again.

Started by ``conformance/picking/timing.py`` as ``python -m conformance.picking.worker FOLDER NAME TARGET SCRATCH``. The
package is imported before anything of the harness is, so that the time and the memory that it takes are its own.
"""

import json
import math
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.runs.peak import peak_mib

if TYPE_CHECKING:
    from conformance.problems.problem import Problem
    from conformance.runs.timing import Timed

REQUEST = "request.json"
FORMER = 2  # trainings before those that are repeated: the first, and one to warm up
FEW, PATIENCE = 5, 4  # fewer repetitions than so many are waited for, so many times as long
MODULES = ("models", "optimizers", "training")  # that somebody imports who trains
WITHOUT_KEPT_PROGRAMS = {"JAX_ENABLE_COMPILATION_CACHE": "false"}  # so that what is compiled is compiled


def import_seconds(package: str) -> float:
    """How long it takes to import a package, with its framework."""
    started = time.perf_counter()
    for module in MODULES:
        import_module(f"{package}.{module}")
    return time.perf_counter() - started


def trainings(session: "Timed", problem: "Problem", seconds: float, most: int) -> list[tuple[float, int]]:
    """Seconds and steps of the same training: first, once to warm up, and again for ``seconds``.

    Again means at least once; five times, if these do not take more than four times as long; and ``most`` times.
    """
    from conformance.checks.free_running import train

    found: list[tuple[float, int]] = []
    begun = math.inf
    while len(found) < FORMER + most:
        since, again = time.perf_counter() - begun, len(found) - FORMER
        if again >= 1 and since >= (seconds if again >= FEW else PATIENCE * seconds):
            break
        session.calls.clear()
        train(session, problem)
        found.append((sum(call.seconds for call in session.calls), sum(call.steps for call in session.calls)))
        if len(found) == FORMER:
            begun = time.perf_counter()
    return found


def work(target: str, request: dict[str, Any]) -> None:
    """Time one implementation, and say what was found, or why nothing was."""
    os.environ.update(WITHOUT_KEPT_PROGRAMS)
    try:
        importing = import_seconds(request["package"])
    except Exception as error:  # whatever a framework that is broken raises
        importing, broken = 0.0, f"{type(error).__name__}: {error}"
    else:
        broken = ""
    before = peak_mib()
    from conformance.runs.messages import MessageStream

    stream = MessageStream()
    if broken:
        stream.lost(f"{request['package']} cannot be imported: {broken}")
        return
    try:
        found = _measured(target, request, before)
    except Exception as error:  # a device that is not there, data that cannot be had, a training that ends otherwise
        _say_lost(stream, error)
        return
    stream.timed(import_seconds=importing, **found)


def _measured(target: str, request: dict[str, Any], before: float) -> dict[str, Any]:
    from conformance.adapters.guarded import open_session
    from conformance.adapters.registry import load
    from conformance.problems.preparation import prepare
    from conformance.recipes.recipe import Recipe
    from conformance.runs.timing import Timed

    problem = prepare(Recipe.model_validate(request["recipe"]), request["dtype"])
    make = load(target)
    harness = peak_mib() - before
    adapter = make(request["device"])
    session = Timed(open_session(adapter, problem))
    first, _, *later = trainings(session, problem, request["seconds"], request["most"])
    return {
        "version": str(next(iter(adapter.versions().values()))),
        "steps": first[1],
        "first_seconds": first[0],
        "seconds": [seconds for seconds, _ in later],
        "peak_mib": peak_mib() - harness,
    }


def _say_lost(stream: Any, error: Exception) -> None:
    from conformance.adapters.session import DeviceNotFound
    from conformance.data.datasets import DataError

    if isinstance(error, DeviceNotFound):
        stream.refused(str(error))
    elif isinstance(error, DataError):
        stream.bad_input(str(error))
    else:
        stream.lost(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    work(sys.argv[3], json.loads((Path(sys.argv[4]) / REQUEST).read_text(encoding="utf-8")))
    os._exit(0)  # frameworks take up to a second to tear themselves down, and nothing is left to lose
