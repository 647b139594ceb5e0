"""The ceilings that ship with the package, made anew: ``python -m conformance.audit.ceilings [SUITE ...]``.

In two processes every recipe of the suites (``full`` and ``showcases`` if none is named) has its bounds measured in
each of its precisions; one of the suite ``default`` in both, since a run may ask for either. What stands in the file
and is made from the same reference, checks and faults is kept; what no suite needs is left out. What was finished when
the command was broken off is kept too.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from conformance.adapters.numpy import NumpySession
from conformance.checks.case import Case, build_case
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import DTYPES, Recipe
from conformance.recipes.suites import suite
from conformance.runs.environment import WORKER_ENVIRONMENT
from conformance.runs.order import in_precisions
from conformance.runs.plan import processors
from conformance.verdicts import ceilings, floors
from conformance.verdicts.floors import Expectations
from conformance.verdicts.known_ceilings import SHIPPED, Entry, digest, name_of, ship, shipped

SAVED_EVERY = 30.0  # seconds

Task = tuple[Recipe, str]
Work = Callable[[Callable[[Task], tuple[str, Entry]], list[Task]], Iterable[tuple[str, Entry]]]


def remake(file: Path, recipes: Iterable[Recipe], all_recipes: Iterable[Recipe], work: Work = map) -> Iterator[str]:
    """Write the entries of ``recipes`` that the file lacks or that are stale; yield how far it is, and what was done.

    Of the others those of ``all_recipes`` that are not stale are kept.
    """
    wanted, allowed = _tasks(recipes), _tasks(all_recipes)
    entries = {n: e for n, e in shipped(file).items() if n in allowed and e.digest == digest(*allowed[n])}
    missing = [task for name, task in wanted.items() if name not in entries]
    yield f"{len(entries)} entries are up to date, {len(missing)} are to be made"
    started = saved = time.monotonic()
    try:
        for done, (name, entry) in enumerate(work(made, missing), start=1):
            entries[name] = entry
            if time.monotonic() - saved > SAVED_EVERY:
                ship(file, entries)
                saved = time.monotonic()
                yield f"{done} of {len(missing)} after {saved - started:.0f} s"
    finally:
        ship(file, entries)
    yield f"{file}: {len(entries)} entries, {file.stat().st_size} bytes, {time.monotonic() - started:.0f} s"


def _of(suites: Iterable[str]) -> list[Recipe]:
    found = [recipe for name in suites for recipe in suite(name)]
    return found + in_precisions((recipe for recipe in found if recipe in suite("default")), DTYPES)


def _tasks(recipes: Iterable[Recipe]) -> Mapping[str, Task]:
    return {name_of(recipe, dtype): (recipe, dtype) for recipe in recipes for dtype in recipe.dtypes}


def made(task: Task) -> tuple[str, Entry]:
    """The entry of a recipe in a precision, with its name."""
    case, expectations = situation(*task)
    return name_of(*task), Entry.of(digest(*task), *ceilings.measure_all(case, expectations))


def situation(recipe: Recipe, dtype: str) -> tuple[Case, Expectations]:
    """The case of a recipe, and what is expected of it."""
    problem = prepare(recipe, dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


def end_with_the_parent() -> None:
    """Let this process end when the one that started it does, however that was: a pool's own would go on."""
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()


def main(*names: str) -> None:
    """Make the shipped file anew for some suites, all if none is named."""
    everything = ("full", "showcases")
    os.environ.update(WORKER_ENVIRONMENT)  # of the processes that are about to start
    with ProcessPoolExecutor(processors(), get_context("spawn"), end_with_the_parent) as pool:
        for line in remake(SHIPPED, _of(names or everything), _of(everything), pool.map):
            print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
