"""Results of earlier runs, taken again where nothing has changed of what they depend on.

Kept are trainings of the project's own implementations in which everything passed: by the recipe, the precision and the
device, the source of the harness and of the four packages, the versions of the libraries, and the machine. A training
on data that lie in files is not kept, for these may change, nor one of somebody's own implementation.
"""

import gzip
import hashlib
import json
import os
import platform
import shutil
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from conformance.adapters.cache import cache_folder, write_whole
from conformance.adapters.registry import OWN, available
from conformance.data.datasets import DATASETS
from conformance.results.store import CurvePoint, Done, Store
from conformance.runs.environment import WORKER_ENVIRONMENT, installed, source_digest
from conformance.runs.judging import Stand
from conformance.runs.plan import Plan, Task
from conformance.runs.schedule import ORACLE
from conformance.verdicts.compare import NOT_FAILING
from conformance.verdicts.record import Record

FOLDERS = 4  # of different sources or machines that are kept, the newest
NOTE = "of an earlier run"
SWITCHES = ("XLA_", "JAX_", "TF_", "TORCH", "PYTORCH_", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_")


class Kept:
    """What is kept of one user's runs on one device."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        root = cache_folder("results")
        self.folder = root and root / _state(plan.device)

    def take(self, store: Store) -> int:
        """Enter what is kept of a plan's trainings; how many there were."""
        done = store.done()
        found = 0
        for task in self.plan.tasks:
            for name in self.plan.implementations:
                if not any((*task.name, name, check) in done for check in self.plan.checks):
                    found += self._take(store, task, name)
        return found

    def keep(self, store: Store) -> None:
        """Keep those trainings of a run that are done and in which everything passed, and drop what is old."""
        if self.folder is None:
            return
        done, facts = store.done(), store.facts()
        with suppress(OSError):  # a folder that nobody may write to keeps nothing
            self.folder.mkdir(parents=True, exist_ok=True)
            for task in self.plan.tasks:
                for name in self.plan.implementations:
                    file = self._file(task, name)
                    whole = all((*task.name, name, check) in done for check in self.plan.checks)
                    if whole and file is not None and not file.exists():
                        _keep(store, (*task.name, name), facts[f"implementation {name}"], file)
            others = sorted(self.folder.parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
            for old in others[FOLDERS:]:
                shutil.rmtree(old, ignore_errors=True)

    def _file(self, task: Task, name: str) -> Path | None:
        """Where a training is kept; None for one that is not."""
        own = name in OWN and self.plan.implementations[name] == available()[name]
        if self.folder is None or not own or DATASETS[task.recipe.dataset.name].kind == "files":
            return None
        return self.folder / f"{task.recipe.hash}.{task.dtype}.{name}.json.gz"

    def _take(self, store: Store, task: Task, name: str) -> bool:
        file = self._file(task, name)
        try:
            values = json.loads(gzip.decompress(file.read_bytes())) if file is not None else None
            if values is None:
                return False
            stand = Stand(**values["stand"])
            records = [self._record(row, task) for row in values["records"]]
            points = [CurvePoint(**row | {"recipe": task.recipe.name}) for row in values["points"]]
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
            return False  # not there, not ours or damaged: made anew
        by_check = {check: [record for record in records if record.check == check] for check in self.plan.checks}
        if not all(own or check in values["without_records"] for check, own in by_check.items()):
            return False
        store.set_fact(f"implementation {name}", stand._asdict())
        for check, own in by_check.items():
            curves = [point for point in points if point.implementation == name and check == self.plan.checks[-1]]
            store.enter(Done(*task.name, name, check, NOTE), own, curves)
        store.enter(Done(*task.name, ORACLE, NOTE), (), [point for point in points if point.implementation == ORACLE])
        return True

    def _record(self, row: dict[str, Any], task: Task) -> Record:
        """A kept record, as one of this run."""
        numbers = {name: float("nan") for name, value in row.items() if value is None}
        return Record(**row | numbers | {"run": self.plan.run, "suite": task.suite, "recipe": task.recipe.name})


def _keep(store: Store, place: tuple[str, str, str], stand: Any, file: Path) -> None:
    records = _rows(store, "records", place)
    if any(record["verdict"] not in NOT_FAILING for record in records):
        return
    points = [row for who in (place[2], ORACLE) for row in _rows(store, "curves", (*place[:2], who))]
    # A check that looks at other recipes is done all the same.
    without = {name[3] for name in store.done() if name[:3] == place} - {record["check"] for record in records}
    values = {"stand": stand, "records": records, "points": points, "without_records": sorted(without)}
    write_whole(file, gzip.compress(json.dumps(values).encode(), compresslevel=3))


def _rows(store: Store, table: str, place: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Rows of one training, in order."""
    query = f"SELECT * FROM {table} WHERE recipe=? AND dtype=? AND implementation=? ORDER BY rowid"
    return [dict(zip(store.columns(table), row, strict=True)) for row in store.select(query, place)]


@cache
def _state(device: str) -> str:
    """A digest of everything that a result depends on but the recipe."""
    switches = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SWITCHES)}
    machine = [platform.python_version(), platform.platform(), _processor()]
    parts = [source_digest(), device, installed(), WORKER_ENVIRONMENT, machine, switches]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _processor() -> str:
    """What the processor is and can do: libraries choose their kernels by it."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return platform.processor()
