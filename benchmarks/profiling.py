"""Where the time of a training goes: what a call takes beside its steps, and which functions take a step's."""

import cProfile
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.contenders import Trainer
from benchmarks.timing import Seconds, interleave
from benchmarks.workloads import DenseWorkload

SECONDS, LEAST = 0.3, 5  # for each of two trainings, one twice as long as the other
FUNCTIONS, SHARE = 5, 0.04  # so many at most are named, each of which takes that part of the time or more
CALL, STEPS = "a call beside its steps", "steps"


def parts(
    make: Callable[[DenseWorkload], Trainer[Any]],
    workload: DenseWorkload,
    interleave: Callable[..., Mapping[str, Seconds]] = interleave,
) -> Iterator[tuple[str, float]]:
    """Seconds a step of a contender by part: of ``CALL``, of ``STEPS``, then of functions.

    A training ``T(n)`` of ``n`` steps takes ``c + n s``: so ``c = 2 T(n) - T(2n)`` and ``s = (T(2n) - T(n)) / n``;
    ``c / n`` is told. What is negative is noise.
    """
    work = make(workload)
    longer = make(replace(work.workload, epochs=2 * work.workload.epochs))
    found = interleave({"once": work.run, "twice": longer.run}, seconds=SECONDS, least=LEAST)
    once, twice = (statistics.median(found[name]) for name in ("once", "twice"))
    steps = work.workload.steps
    yield CALL, (2 * once - twice) / steps
    yield STEPS, (twice - once) / steps
    yield from functions(work)


def functions(work: Trainer[Any]) -> Iterator[tuple[str, float]]:
    """Seconds a step inside of each function that takes long, by Python's profiler, which itself takes time."""
    profiler = cProfile.Profile()
    profiler.runcall(work.run)
    entries: list[Any] = sorted(profiler.getstats(), key=lambda entry: entry.inlinetime, reverse=True)
    whole = sum(entry.inlinetime for entry in entries)
    for entry in entries[:FUNCTIONS]:
        if entry.inlinetime >= SHARE * whole:
            yield name_of(entry.code), entry.inlinetime / work.workload.steps


def name_of(code: Any) -> str:
    """A function's name: of Python's ``fit``, of a built-in ``<built-in method numpy.matmul>`` ``numpy.matmul``.

    >>> name_of("<method 'mean' of 'torch._C.TensorBase' objects>")
    'torch._C.TensorBase.mean'
    """
    if not isinstance(code, str):
        return str(code.co_qualname)
    if code.startswith("<method "):
        method, owner = code.split("'")[1:4:2]
        return f"{owner}.{method}"
    return code.strip("<>").removeprefix("built-in method ")
