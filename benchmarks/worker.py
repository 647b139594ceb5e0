"""A process that measures: ``python -m benchmarks.worker TASK ORDER`` prints what it finds, a line of JSON each.

``TASK`` is a function of ``benchmarks.tasks`` and ``ORDER`` its keywords, as JSON. Nothing but the standard library is
imported before the task begins, so that a task can measure an import.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def stay_on_one_core() -> None:
    """No framework then uses a second one, whatever its own settings of threads are; on Linux."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def imports(modules: list[str]) -> Iterator[dict[str, Any]]:
    """How long importing ``modules`` takes, and the memory that the process has had."""
    begun = time.perf_counter()
    for module in modules:
        importlib.import_module(module)
    yield {"import": time.perf_counter() - begun, "peak memory": peak_memory()}


def peak_memory() -> float:
    """The most resident memory that this process has had, in MB (1e6 bytes).

    From Linux's ``VmHWM``: the ``ru_maxrss`` of a process counts in that of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        held = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(held.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(task: str, order: str) -> None:
    """Do a task, and print its findings."""
    stay_on_one_core()
    if task == "imports":
        findings = imports(**json.loads(order))
    else:
        findings = getattr(importlib.import_module("benchmarks.tasks"), task)(**json.loads(order))
    for finding in findings:
        print(json.dumps(finding), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
