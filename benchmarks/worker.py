"""A process that measures: ``python -m benchmarks.worker TASK ORDER`` prints what it finds, a line of JSON each.

``TASK`` is a function of ``benchmarks.tasks`` and ``ORDER`` its keywords, as JSON. Nothing that takes long or much is
imported before the task begins, so that a task can measure an import.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from conformance.runs.peak import peak_mib


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
    """The most resident memory that this process has had, in MB (1e6 bytes)."""
    return peak_mib() * 2**20 / 1e6


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
