"""Results of earlier runs, taken again where nothing has changed of what they depend on.

Kept are trainings of the project's own implementations in which everything passed: by the recipe, the precision and the
device, the source of the harness and of the implementation, the versions of its libraries, and the machine. A training
on data that lie in files is not kept, for these may change, nor one of somebody's own implementation. Kept too are the
oracle's cases, which serve every implementation, somebody's own as well.
"""

import gzip
import hashlib
import json
import math
import os
import platform
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from conformance.adapters.cache import cache_folder, prune
from conformance.adapters.registry import OWN, available
from conformance.adapters.whole_files import write_whole
from conformance.data.datasets import DATASETS
from conformance.faults.injection import PACKAGES
from conformance.results.cases import case_files, seal_case
from conformance.results.store import KEPT, CurvePoint, Done, Store, TrainingTime
from conformance.runs.environment import WORKER_ENVIRONMENT, installed, source_digest
from conformance.runs.judging import CASE, Stand
from conformance.runs.plan import Plan, Task
from conformance.runs.schedule import ORACLE
from conformance.verdicts.compare import NOT_FAILING
from conformance.verdicts.record import Record

MOST_BYTES = 1 << 28  # of trainings, and of cases, that are kept; the default suite's take 1 and 80 million
MOST_CASE_BYTES = 1 << 24  # of one file of a case: a larger one is made anew
SWITCHES = ("XLA_", "JAX_", "TF_", "TORCH", "PYTORCH_", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_")
LIBRARIES: Mapping[str, tuple[str, ...]] = {  # that an implementation stands on, beside those that all do
    "torch": ("torch",),
    "tf": ("tensorflow", "tensorflow-cpu"),
    "jax": ("jax", "jaxlib", "optax"),
}


class Kept:
    """What is kept of one user's runs on one device."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = cache_folder("results")

    def take(self, store: Store) -> int:
        """Enter what is kept of a plan's trainings; how many there were."""
        done = store.done()
        found = 0
        for task in self.plan.tasks:
            for name in self.plan.implementations:
                if not any((*task.name, name, check) in done for check in self.plan.checks):
                    found += self._take(store, task, name)
        return found

    def holds(self, task: Task, name: str) -> bool:
        """Whether a training is kept."""
        file = self._file(task, name)
        return file is not None and file.exists()

    def keep(self, store: Store) -> None:
        """Keep those trainings of a run that are done and in which everything passed, and drop what is old."""
        if self.folder is None or not prune(self.folder, MOST_BYTES):
            return
        done, facts = store.done(), store.facts()
        with suppress(OSError):  # a folder that nobody may write to keeps nothing
            for task in self.plan.tasks:
                for name in self.plan.implementations:
                    file = self._file(task, name)
                    whole = all((*task.name, name, check) in done for check in self.plan.checks)
                    if whole and file is not None and not file.exists():
                        _keep(store, (*task.name, name), facts[f"implementation {name}"], file)

    def _file(self, task: Task, name: str) -> Path | None:
        """Where a training is kept; None for one that is not."""
        own = name in OWN and self.plan.implementations[name] == available()[name] and name not in self.plan.pythons
        if self.folder is None or not own or not _is_embedded(task):
            return None
        state = _state_of_implementation(name, self.plan.device)
        return self.folder / f"{task.recipe.hash}.{task.dtype}.{name}.{state}.json.gz"

    def _take(self, store: Store, task: Task, name: str) -> bool:
        file = self._file(task, name)
        try:
            values = json.loads(gzip.decompress(file.read_bytes())) if file is not None else None
            if values is None:
                return False
            stand = Stand(**values["stand"])
            records = [self._record(row, task) for row in values["records"]]
            own_name = {"recipe": task.recipe.name}
            points = [CurvePoint(**_known(row) | own_name) for row in values["points"]]
            times = [TrainingTime(**_known(row) | own_name) for row in values["times"]]
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
            return False  # not there, not ours or damaged: made anew
        by_check = {check: [record for record in records if record.check == check] for check in self.plan.checks}
        if not all(own or check in values["without_records"] for check, own in by_check.items()):
            return False
        store.set_fact(f"implementation {name}", stand._asdict())
        for check, own in by_check.items():
            curves = [point for point in points if point.implementation == name and check == self.plan.checks[-1]]
            store.enter(Done(*task.name, name, check, KEPT), own, curves)
        for time in times:
            store.time(time)
        store.enter(Done(*task.name, ORACLE, KEPT), (), [point for point in points if point.implementation == ORACLE])
        return True

    def _record(self, row: dict[str, Any], task: Task) -> Record:
        """A kept record, as one of this run."""
        return Record(**_known(row) | {"run": self.plan.run, "suite": task.suite, "recipe": task.recipe.name})


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table, in which SQLite and JSON have nothing for NaN."""
    return {name: math.nan if value is None else value for name, value in row.items()}


def _keep(store: Store, place: tuple[str, str, str], stand: Any, file: Path) -> None:
    records = _rows(store, "records", place)
    if any(record["verdict"] not in NOT_FAILING for record in records):
        return
    points = [row for who in (place[2], ORACLE) for row in _rows(store, "curves", (*place[:2], who))]
    # A check that looks at other recipes is done all the same.
    without = {name[3] for name in store.done() if name[:3] == place} - {record["check"] for record in records}
    times = _rows(store, "trainings", place)
    values = {
        "stand": stand, "records": records, "points": points, "times": times, "without_records": sorted(without),
    }  # fmt: skip
    write_whole(file, gzip.compress(json.dumps(values).encode(), compresslevel=3))


def _rows(store: Store, table: str, place: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Rows of one training, in order."""
    query = f"SELECT * FROM {table} WHERE recipe=? AND dtype=? AND implementation=? ORDER BY rowid"
    return [dict(zip(store.columns(table), row, strict=True)) for row in store.select(query, place)]


class KeptCases:
    """What is kept of the oracle's part, which no implementation has a part in: the cases."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = cache_folder("cases")

    def take(self, store: Store) -> Iterator[tuple[Task, float, int]]:
        """Put the kept cases of those trainings into a store of which something is left to do, to be entered.

        Yields each with its informative steps and its steps. Raises OSError.
        """
        done = store.done()
        for task in self.plan.tasks:
            wanted = [(*task.name, name, check) for name in self.plan.doing(task) for check in self.plan.checks]
            if (*task.name, ORACLE, CASE) not in done and not done.keys() >= set(wanted):
                reach = self._take(store, task)
                if reach is not None:
                    yield task, *reach

    def keep(self, store: Store, task: Task, informative_steps: float, steps: int) -> None:
        """Keep a case that the oracle has just made, if it is none too large."""
        names = case_files(task.recipe, task.dtype)
        if self.folder is None or not _is_embedded(task) or not prune(self.folder, MOST_BYTES):
            return
        if any(store.trace(name).stat().st_size > MOST_CASE_BYTES for name in names):
            return
        seal = seal_case(store, task.recipe, task.dtype)
        with suppress(OSError):
            *files, note = _places(self.folder, task)
            for name, file in zip(names, files, strict=True):
                if not file.exists():
                    write_whole(file, store.trace(name).read_bytes())
            values = {"digests": list(json.loads(seal).values()), "informative": informative_steps, "steps": steps}
            write_whole(note, json.dumps(values).encode())

    def _take(self, store: Store, task: Task) -> tuple[float, int] | None:
        if self.folder is None or not _is_embedded(task):
            return None
        *files, note = _places(self.folder, task)
        try:
            values = json.loads(note.read_bytes())
            held = [file.read_bytes() for file in files]
            if [hashlib.sha256(data).hexdigest() for data in held] != values["digests"]:
                return None
            reach = float(values["informative"]), int(values["steps"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, not ours or damaged: made anew
        for name, data in zip(case_files(task.recipe, task.dtype), held, strict=True):
            write_whole(store.trace(name), data)
        return reach


def _places(folder: Path, task: Task) -> tuple[Path, Path, Path]:
    """Where a case is kept: its own file, that of its data, and a note on them."""
    own = f"{task.recipe.hash}.{task.dtype}.{_state()}"
    data = case_files(task.recipe, task.dtype)[1]
    return folder / own, folder / f"{data}.{_state()}", folder / f"{own}.json"


def _is_embedded(task: Task) -> bool:
    """Whether a task's data are the project's own, and not somebody's files."""
    return DATASETS[task.recipe.dataset.name].kind != "files"


@cache
def _state_of_implementation(name: str, device: str) -> str:
    """A digest of everything that the result of an implementation depends on but the recipe."""
    versions = {package: installed().get(package) for package in LIBRARIES.get(name, ())}
    return _digest([_state(), source_digest(PACKAGES[name]), versions, device])


@cache
def _state() -> str:
    """A digest of everything that a case depends on but the recipe."""
    versions = {package: installed().get(package) for package in ("numpy", "scikit-learn")}
    machine = [platform.python_version(), platform.platform(), _processor()]
    switches = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SWITCHES)}
    return _digest([source_digest("conformance", PACKAGES["numpy"]), versions, machine, WORKER_ENVIRONMENT, switches])


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _processor() -> str:
    """What the processor is and can do: libraries choose their kernels by it."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return platform.processor()
