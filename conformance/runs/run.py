"""A run carried out: one oracle, then one worker process for each implementation."""

from conformance.reports import write_reports
from conformance.results.store import Store
from conformance.runs.environment import environment
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.plan import Plan
from conformance.runs.pool import ORACLE, Job, Progress, WorkerPool, shared


def carry_out(plan: Plan, progress: Progress) -> None:
    """Carry out a plan in its folder. Raises BadInput or Incomplete; whatever was finished by then is kept."""
    if not plan.tasks:
        raise BadInput(f"dtype={','.join(plan.dtypes)}: no recipe of this run allows it")
    store = Store(plan.folder, create=True)
    plan.write()
    store.set_fact("environment", environment(plan))
    store.set_fact("recipes", {recipe.name: recipe.model_dump(mode="json") for _, recipe in plan.recipes})
    pool = WorkerPool(plan, store, progress)
    tasks = len(plan.tasks)
    try:
        if plan.device != "cpu":
            pool.work([Job(name, target) for name, target in plan.implementations.items()])
        pool.work(shared(ORACLE, ORACLE, tasks))
        pool.work([job for name, target in plan.implementations.items() for job in shared(name, target, tasks)])
    finally:
        pool.stop()
        write_reports(plan.folder)
    if pool.lost:
        raise Incomplete(f"{'; '.join(pool.lost)} (see {pool.logs})")
