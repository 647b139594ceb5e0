"""Why a run did not pass: an explanation of each failure, from what the run kept, with nothing but the reference."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conformance.checks.observation import Key, Observation
from conformance.diagnosis.explanation import Explanation
from conformance.diagnosis.inquiry import Evidence, First, Inquiry
from conformance.diagnosis.workshop import Observations, Workshop
from conformance.problems.problem import Tensors
from conformance.recipes.recipe import Recipe
from conformance.results.cases import load_case, trace_name
from conformance.results.store import Store, StoreError
from conformance.verdicts.compare import NOT_FAILING, Expectation, Verdict
from conformance.verdicts.floors import Expectations
from conformance.verdicts.record import LADDER


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
    _, case, expected, _ = load_case(store, recipe, dtype)
    records = _records(store, recipe.name, implementation, dtype)
    failing = [record for record in records if record["verdict"] not in map(str, NOT_FAILING)]
    first = min(failing, key=lambda record: (LADDER.index(record["check"]), record["step"]))
    evidence = Evidence(
        recipe, implementation, dtype, expected,
        _observed(store, recipe.name, implementation, dtype, {record["check"] for record in failing}, expected),
        frozenset(record["check"] for record in records),
        frozenset(record["check"] for record in failing if record["verdict"] == Verdict.CRASHED),
        First(**{field: first[field] for field in First._fields}),
    )  # fmt: skip
    return Inquiry(evidence, Workshop(case.in_float64()))


def _records(store: Store, recipe: str, implementation: str, dtype: str) -> list[dict[str, Any]]:
    columns = store.columns("records")
    rows = store.select(
        "SELECT * FROM records WHERE recipe=? AND implementation=? AND dtype=?", (recipe, implementation, dtype)
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _observed(
    store: Store, recipe: str, implementation: str, dtype: str, failing: set[str], expected: Expectations
) -> dict[str, Observations]:
    """What was seen in each check that failed, as far as it got."""
    found = {}
    for check in LADDER:
        name = trace_name(recipe, dtype, implementation, check)
        if check in failing and store.has_tensors(name):
            found[check] = _observations(store.load_tensors(name), expected[check])
    return found


def _observations(arrays: Tensors, expected: Iterable[Expectation]) -> Observations:
    """What a worker kept of a check; what is expected, under the key with its kind."""
    keys = [expectation.observation.key for expectation in expected]
    names = {f"{key.stage}|{key.step}|{key.tensor}": key for key in keys}
    found = {}
    for name, value in arrays.items():
        stage, step, tensor = name.split("|")
        key = names.get(name, Key(stage, int(step), tensor))
        found[key] = Observation(key, value)
    return found
