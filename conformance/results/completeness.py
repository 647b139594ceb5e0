"""What was planned, held against what is done: by this alone it is known whether a run came to its end."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from conformance.results.store import Store, StoreError
from conformance.results.traces import told


class Missing(NamedTuple):
    """Checks of one implementation, recipe and precision that were planned and are not done."""

    implementation: str
    recipe: str
    dtype: str
    checks: tuple[str, ...]


def planned(plan: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The trainings of a plan: implementation, recipe, precision. Those of built-ins do their own subjects' alone."""
    subjects = plan.get("subjects", {})
    builtins = {each["implementation"] for each in subjects.values()}
    return [
        (name, recipe, dtype)
        for name in plan["implementations"]
        for recipe, dtype in plan["tasks"]
        if name not in builtins or subjects.get(recipe, {}).get("implementation") == name
    ]


def missing(store: Store) -> list[Missing]:
    """What is not done, in the order of the plan. Raises StoreError for a run without a plan."""
    plan, done, found = store.fact("plan"), store.done(), []
    try:
        for name, recipe, dtype in planned(plan):
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
    whole = Counter(name for name, *_ in planned(store.fact("plan")))
    counted = Counter(each.implementation for each in lacking)
    parts = [f"{name} lacks {counted[name]} of {whole[name]} trainings" for name in whole if counted[name]]
    reasons = store.facts().get("lost", [])
    return "; ".join(parts) + (f" ({'; '.join(map(str, reasons))})" if reasons else "")
