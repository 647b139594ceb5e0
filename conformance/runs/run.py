"""A run carried out: a plan, its workers, and the reports, whatever its end."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from conformance.data.datasets import DATASETS
from conformance.exchange.replay import PREFIX
from conformance.reports import write_reports
from conformance.results.completeness import incompleteness
from conformance.results.store import Store, StoreError
from conformance.runs import pace
from conformance.runs.cluster import opened
from conformance.runs.environment import environment, state
from conformance.runs.explaining import explain_failures
from conformance.runs.folders import claimed, missing_above, remove_empty
from conformance.runs.inside import NOBODY, MakeAdapter
from conformance.runs.launching import Launcher, LocalLauncher
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.plan import Plan
from conformance.runs.pool import Progress, WorkerPool
from conformance.runs.reuse import Kept
from conformance.runs.schedule import ORACLE
from conformance.runs.scheduler import Scheduler
from conformance.runs.warden import Warden
from conformance.runs.watching import Watch, unwatched

SCRATCH = ".scratch"


def carry_out(
    plan: Plan,
    progress: Progress,
    watch: Watch = unwatched,
    inside: Mapping[str, MakeAdapter] = NOBODY,
    scheduler: Scheduler | None = None,
) -> None:
    """Carry out a plan in its new folder. Raises BadInput or Incomplete; whatever was finished by then is kept.

    Of a run that is refused before anything was done no folder is left.

    ``inside``: of the plan's implementations those that are objects of this process, by name. ``scheduler``: whose
    workers do the tasks; without one they are processes that this one starts.
    """
    if not plan.tasks:
        raise BadInput(f"dtype={','.join(plan.dtypes)}: no recipe of this run allows it")
    _require_reachable(plan, scheduler)
    above = missing_above(plan.folder)
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        plan.write()
    except FileExistsError:
        raise BadInput(f"{plan.folder}: another run was begun in it: must be a new or an empty folder") from None
    except OSError as error:
        raise Incomplete(f"{plan.folder}: cannot be written: {error}") from error
    try:
        _work(plan, progress, watch, inside, scheduler, new=True)
    finally:
        if not plan.folder.exists():
            remove_empty(above)


def resume(folder: Path, progress: Progress, watch: Watch = unwatched, scheduler: Scheduler | None = None) -> Plan:
    """Do what a run that was broken off lacks, wherever it was begun. Returns its plan.

    Raises StoreError, BadInput or Incomplete.
    """
    plan = Plan.read(folder.resolve())
    if Store.begun(folder):
        made = Store(folder).facts().get("environment")
        other = [name for name, value in state().items() if made and made.get(name) != value]
        if other:
            raise BadInput(f"{folder}: was made with other {', '.join(other)}: must be begun anew, in another folder")
    _require_reachable(plan, scheduler)
    _work(plan, progress, watch, NOBODY, scheduler)
    return plan


def _require_reachable(plan: Plan, scheduler: Scheduler | None) -> None:
    """Raise BadInput where a plan needs files of this machine, which workers elsewhere do not see."""
    if scheduler is None or not scheduler.elsewhere:
        return
    for name, target in plan.implementations.items():
        if target.startswith(PREFIX):
            raise BadInput(f"implementation={name}: a trace is a file here, which workers of {scheduler} do not see")
    if plan.pythons:
        raise BadInput(f"python of {', '.join(plan.pythons)}: is a file here, which workers of {scheduler} do not see")
    for _, recipe in plan.recipes:
        if DATASETS[recipe.dataset.name].kind == "files":
            raise BadInput(f"recipe {recipe.name!r}: its data are files here, which workers of {scheduler} do not see")


def _work(
    plan: Plan,
    progress: Progress,
    watch: Watch,
    inside: Mapping[str, MakeAdapter],
    scheduler: Scheduler | None,
    *,
    new: bool = False,
) -> None:
    """Do what of a plan is not done. A run that is killed meanwhile is cleaned up after by its warden."""
    if scheduler is not None and scheduler.elsewhere:  # what is kept is kept of this machine
        plan = replace(plan, reuse=False, kept_cases=False)
    try:
        with claimed(plan.folder) as claim:
            scratch = plan.folder / SCRATCH
            shutil.rmtree(scratch, ignore_errors=True)
            store = _begin(plan, scratch)
            warden = Warden(scratch, plan.folder, claim)
            pool, refused = None, None
            try:
                if plan.reuse:
                    store.set_fact("reused", Kept(plan).take(store))
                with _launcher(plan, scratch, warden, inside, scheduler) as launcher:
                    pool = WorkerPool(plan, store, scratch, launcher, progress, watch)
                    try:
                        pool.work()
                    finally:
                        pool.stop()
                        if scheduler is None:
                            pace.remember(pool.schedule.seconds)
                if plan.explain:
                    explain_failures(store, scratch, warden, progress, plan.explain_seconds)
            except BadInput as error:
                refused = error
                raise
            finally:
                try:
                    _finish(plan, store, pool, scratch)
                finally:
                    warden.dismiss()
                if new and refused:
                    _discard(plan, store)
            lacking = incompleteness(store)
    except (OSError, StoreError) as error:
        raise Incomplete(f"{plan.folder}: {error}") from error
    if lacking and not store.facts().get("stopped"):
        raise Incomplete(lacking)


@contextmanager
def _launcher(
    plan: Plan, scratch: Path, warden: Warden, inside: Mapping[str, MakeAdapter], scheduler: Scheduler | None
) -> Iterator[Launcher]:
    """What starts the workers of a run. Raises Incomplete where a scheduler has none."""
    if scheduler is None:
        yield LocalLauncher(plan, scratch, warden, inside)
    else:
        with opened(scheduler, plan, scratch) as launcher:
            yield launcher


def _discard(plan: Plan, store: Store) -> None:
    """Let a folder in which nothing was done not be in the way of what is asked for next."""
    if all(name == ORACLE for _, _, name, _ in store.done()):
        shutil.rmtree(plan.folder, ignore_errors=True)


def _begin(plan: Plan, scratch: Path) -> Store:
    """The store of a run with what is known beforehand, and an empty scratch folder."""
    store = Store(plan.folder, create=True)
    store.set_fact("plan", plan.summary)
    store.set_fact("recipes", {recipe.name: recipe.model_dump(mode="json") for _, recipe in plan.recipes})
    if "environment" not in store.facts():
        store.set_fact("environment", environment(plan))
    (scratch / "traces").mkdir(parents=True)
    return store


def _finish(plan: Plan, store: Store, pool: WorkerPool | None, scratch: Path) -> None:
    """Leave a report and no temporary file."""
    try:
        if pool is not None:
            store.set_fact("lost", [*pool.lost, *store.take_back_what_others_changed()])
            store.set_fact("stopped", pool.stopped)
    finally:
        store.close()
        shutil.rmtree(scratch, ignore_errors=True)
        write_reports(plan.folder)
    if plan.reuse:
        Kept(plan).keep(store)
