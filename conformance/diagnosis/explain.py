"""Why a run did not pass: an explanation of each failure, from what the run kept, with nothing but the reference."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conformance.checks.observation import Seen
from conformance.data.wording import listed, nearest, shown
from conformance.diagnosis.evidence import Evidence, First
from conformance.diagnosis.explanation import Explanation, as_row
from conformance.diagnosis.inquiry import Inquiry
from conformance.diagnosis.workshop import Observations, Workshop
from conformance.recipes.recipe import Recipe
from conformance.results.cases import load_case, load_seen
from conformance.results.choices import recipes_of
from conformance.results.store import Explained, Store, StoreError
from conformance.verdicts.compare import NOT_FAILING, Verdict
from conformance.verdicts.floors import Expectations
from conformance.verdicts.order import LADDER, place

PLACE = ("check", "step", "stage", "tensor")  # of a record: by these is told which came first


class Failing(NamedTuple):
    """One training of which some record did not pass."""

    recipe: str
    implementation: str
    dtype: str


def failing(store: Store) -> list[Failing]:
    """Every training that did not pass, in the order in which they were entered. Raises StoreError."""
    rows = store.select(
        "SELECT recipe, implementation, dtype FROM records"
        f" WHERE verdict NOT IN ({', '.join('?' * len(NOT_FAILING))}) GROUP BY 1, 2, 3 ORDER BY min(rowid)",
        tuple(map(str, NOT_FAILING)),
    )
    return [Failing(*row) for row in rows]


def explain(folder: Path, recipe: str | None = None, implementation: str | None = None) -> list[Explanation]:
    """An explanation of every recipe, implementation and precision of a run that did not pass, or of those asked for.

    Raises StoreError if the folder holds no run or the run no such recipe or implementation.
    """
    store = Store(folder)
    for column, wanted in (("recipe", recipe), ("implementation", implementation)):
        known = [name for (name,) in store.select(f"SELECT DISTINCT {column} FROM records")]
        if wanted is not None and wanted not in known:
            raise StoreError(
                f"{column}={shown(wanted)} is not in this run: must be one of {listed(known)}{nearest(wanted, known)}"
            )
    recipes = recipes_of(store)
    return [
        explain_one(store, recipes, each)
        for each in failing(store)
        if recipe in (None, each.recipe) and implementation in (None, each.implementation)
    ]


@np.errstate(all="ignore")  # a training may diverge
def explain_one(store: Store, recipes: Mapping[str, Recipe], failing: Failing) -> Explanation:
    """The explanation of one training that did not pass. Raises StoreError."""
    if failing.recipe not in recipes:
        raise StoreError(
            f"{store.database}: has a record of the recipe {failing.recipe!r}, of which it says nothing else"
        )
    return _inquiry(store, recipes[failing.recipe], failing.implementation, failing.dtype).explanation()


def not_explained(failing: Failing, why: str) -> Explained:
    """What stands in the place of an explanation that could not be made."""
    return Explained(*failing, check="", place="", cause=why, explained=False, text=why)


def keep(folder: Path, explanations: Iterable[Explanation]) -> None:
    """Enter explanations into the store of their run. Raises OSError."""
    store = Store(folder)
    try:
        for explanation in explanations:
            store.explain(as_row(explanation))
    finally:
        store.close()


def _inquiry(store: Store, recipe: Recipe, implementation: str, dtype: str) -> Inquiry:
    """The inquiry into one failure of a run."""
    stored = load_case(store, recipe, dtype)
    records = _records(store, recipe.name, implementation, dtype)
    failing = [record for record in records if record["verdict"] not in map(str, NOT_FAILING)]
    first = min(failing, key=lambda record: place(*(record[part] for part in PLACE)))
    seen = _seen(store, recipe.name, implementation, dtype, {record["check"] for record in failing})
    observed = {check: {o.key: o for o in found.observations} for check, found in seen.items() if found.observations}
    expected = _looked_at(stored.expectations, records, observed)
    crashed = {record["check"] for record in failing if record["verdict"] == Verdict.CRASHED}
    evidence = Evidence(
        recipe, implementation, dtype, expected, observed,
        frozenset(record["check"] for record in records if expected[record["check"]]),
        frozenset(crashed - observed.keys()),
        First(**{field: first[field] for field in First._fields}),
        {check: found.lost for check, found in seen.items()}, _stopped(first, failing),
    )  # fmt: skip
    return Inquiry(evidence, Workshop(stored.case.in_float64()))


def _stopped(first: dict[str, Any], failing: list[dict[str, Any]]) -> tuple[str, ...]:
    """The checks that the exception of the first failure stopped; none where that is no exception."""
    if first["verdict"] != Verdict.CRASHED:
        return ()
    alike = {record["check"] for record in failing if record["cause"] == first["cause"]}
    return tuple(check for check in LADDER if check in alike)


def _looked_at(
    expected: Expectations, records: list[dict[str, Any]], observed: dict[str, Observations]
) -> Expectations:
    """What is expected, but for what the implementation does not offer: that says nothing about any cause."""
    unsupported = [record for record in records if record["verdict"] == Verdict.UNSUPPORTED]
    places = {(record["check"], record["stage"], record["tensor"]) for record in unsupported}
    kept = {}
    for check, expectations in expected.items():
        keys, seen = [expectation.observation.key for expectation in expectations], observed.get(check, {})
        whole = (check, "", "") in places
        kept[check] = [
            expectation
            for key, expectation in zip(keys, expectations, strict=True)
            if not whole and (key in seen or (check, key.stage, key.tensor) not in places)
        ]
    return kept


def _records(store: Store, recipe: str, implementation: str, dtype: str) -> list[dict[str, Any]]:
    columns = store.columns("records")
    rows = store.select(
        "SELECT * FROM records WHERE recipe=? AND implementation=? AND dtype=?", (recipe, implementation, dtype)
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _seen(store: Store, recipe: str, implementation: str, dtype: str, failing: set[str]) -> dict[str, Seen]:
    """What was seen in each check that failed, as far as it got."""
    return {check: load_seen(store, recipe, dtype, implementation, check) for check in LADDER if check in failing}
