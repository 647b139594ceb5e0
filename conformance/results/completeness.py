"""What was planned, held against what is done: by this alone it is known whether a run came to its end."""

from typing import NamedTuple

from conformance.results.store import Store, StoreError
from conformance.results.traces import told


class Missing(NamedTuple):
    """Checks of one implementation, recipe and precision that were planned and are not done."""

    implementation: str
    recipe: str
    dtype: str
    checks: tuple[str, ...]


def missing(store: Store) -> list[Missing]:
    """What is not done, in the order of the plan. Raises StoreError for a run without a plan."""
    plan, done, found = store.fact("plan"), store.done(), []
    try:
        for name in plan["implementations"]:
            for recipe, dtype in plan["tasks"]:
                checks = tuple(check for check in plan["checks"] if (recipe, dtype, name, check) not in done)
                if checks:
                    found.append(Missing(name, recipe, dtype, checks))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{store.database}: its plan cannot be read: {told(error)}") from error
    return found


def incompleteness(store: Store) -> str:
    """What is missing, in a line, with what is known of why; "" for a run that is complete. Raises StoreError."""
    lacking = missing(store)
    if not lacking:
        return ""
    planned = {name: len(store.fact("plan")["tasks"]) for name in store.fact("plan")["implementations"]}
    counted: dict[str, int] = dict.fromkeys(planned, 0)
    for each in lacking:
        counted[each.implementation] += 1
    parts = [f"{name} lacks {n} of {planned[name]} trainings" for name, n in counted.items() if n]
    reasons = store.facts().get("lost", [])
    return "; ".join(parts) + (f" ({'; '.join(map(str, reasons))})" if reasons else "")
