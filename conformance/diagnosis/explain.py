"""Why a run did not pass: an explanation of each failure, from what the run kept, with nothing but the reference."""

from pathlib import Path
from typing import Any

from conformance.diagnosis.explanation import Explanation
from conformance.diagnosis.inquiry import Evidence, First, Inquiry
from conformance.diagnosis.workshop import Observations, Workshop
from conformance.recipes.recipe import Recipe
from conformance.results.cases import load_case, load_observations
from conformance.results.store import Store, StoreError
from conformance.verdicts.compare import NOT_FAILING, Verdict
from conformance.verdicts.order import LADDER, place


def explain(folder: Path, recipe: str | None = None, implementation: str | None = None) -> list[Explanation]:
    """An explanation of every recipe, implementation and precision of a run that did not pass, or of those asked for.

    Raises StoreError if the folder holds no run or the run no such recipe or implementation.
    """
    store = Store(folder)
    for column, wanted in (("recipe", recipe), ("implementation", implementation)):
        known = [name for (name,) in store.select(f"SELECT DISTINCT {column} FROM records")]
        if wanted is not None and wanted not in known:
            raise StoreError(f"{column}={wanted!r} is not in this run: must be one of {', '.join(map(repr, known))}")
    recipes = {name: Recipe.model_validate(values) for name, values in store.facts()["recipes"].items()}
    failing = store.select(
        "SELECT DISTINCT recipe, implementation, dtype FROM records WHERE verdict NOT IN (?, ?) ORDER BY rowid",
        tuple(map(str, NOT_FAILING)),
    )
    return [
        _inquiry(store, recipes[name], tested, dtype).explanation()
        for name, tested, dtype in failing
        if recipe in (None, name) and implementation in (None, tested)
    ]


def _inquiry(store: Store, recipe: Recipe, implementation: str, dtype: str) -> Inquiry:
    """The inquiry into one failure of a run."""
    stored = load_case(store, recipe, dtype)
    records = _records(store, recipe.name, implementation, dtype)
    failing = [record for record in records if record["verdict"] not in map(str, NOT_FAILING)]
    first = min(failing, key=lambda record: place(record["check"], record["step"], record["stage"]))
    evidence = Evidence(
        recipe, implementation, dtype, stored.expectations,
        _observed(store, recipe.name, implementation, dtype, {record["check"] for record in failing}),
        frozenset(record["check"] for record in records),
        frozenset(record["check"] for record in failing if record["verdict"] == Verdict.CRASHED),
        First(**{field: first[field] for field in First._fields}),
    )  # fmt: skip
    return Inquiry(evidence, Workshop(stored.case.in_float64()))


def _records(store: Store, recipe: str, implementation: str, dtype: str) -> list[dict[str, Any]]:
    columns = store.columns("records")
    rows = store.select(
        "SELECT * FROM records WHERE recipe=? AND implementation=? AND dtype=?", (recipe, implementation, dtype)
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _observed(store: Store, recipe: str, implementation: str, dtype: str, failing: set[str]) -> dict[str, Observations]:
    """What was seen in each check that failed, as far as it got."""
    found = {}
    for check in LADDER:
        seen = load_observations(store, recipe, dtype, implementation, check) if check in failing else []
        if seen:
            found[check] = {observation.key: observation for observation in seen}
    return found
