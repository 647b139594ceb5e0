"""A run's records, curves and what else its store holds as pandas tables, and what failed first."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from conformance.checks.observation import STAGES, rank
from conformance.results.completeness import Missing
from conformance.results.schema import VERDICTS, typed
from conformance.results.store import KEPT, Store, StoreError
from conformance.verdicts.compare import NOT_FAILING, Verdict
from conformance.verdicts.order import LADDER

_KINDS = {str: "str", int: "int64", float: "float64", bool: "bool"}  # of a column in the store
TRAINING = ["recipe", "implementation", "dtype"]  # by which one training is told from the others


def load_records(store: Store) -> pd.DataFrame:
    """The records, by recipe, implementation and precision in the run's own order, as if one worker had made them."""
    return _loaded(store, "records")


def load_curves(store: Store) -> pd.DataFrame:
    """The training curves in long form."""
    return _loaded(store, "curves")


def timings(records: pd.DataFrame, store: Store) -> pd.DataFrame:
    """The seconds of each check of each training."""
    keys = [*TRAINING, "check"]
    table = records.groupby(keys, sort=False)["seconds"].sum().reset_index()
    done = store.done()
    places = zip(*(table[key] for key in ("recipe", "dtype", "implementation", "check")), strict=True)
    return typed("timings", table.assign(kept=[done.get(place) == KEPT for place in places]))


def load_training_times(store: Store) -> pd.DataFrame:
    """How long the trainings themselves took."""
    table = _table(store, "trainings")
    per_step = table["steady_seconds"] / table["steps"].where(table["steps"] > 0)
    return typed("training_times", _in_order(table.assign(seconds_per_step=per_step), store))


def load_explanations(store: Store) -> pd.DataFrame:
    """What diagnosis found of failures."""
    return _in_order(_table(store, "explanations"), store)


def load_implementations(store: Store, records: pd.DataFrame) -> pd.DataFrame:
    """Each implementation: what it runs on, what it takes, and the verdicts on it."""
    found, facts = _counted(records, "implementation"), store.facts()
    used = _table(store, "trainings").groupby("implementation")
    stands: list[Mapping[str, Any]] = [facts.get(f"implementation {name}", {}) for name in found["implementation"]]
    table = found.assign(
        version=[str(next(iter(stand.get("versions", {}).values()), "")) for stand in stands],
        device=[str(stand.get("device", "")) for stand in stands],
        import_seconds=found["implementation"].map(used["import_seconds"].median()),
        peak_mib=found["implementation"].map(used["peak_mib"].max()),
    )
    return typed("implementations", table)


def checks(records: pd.DataFrame) -> pd.DataFrame:
    """Each check: its time and the verdicts in it."""
    table = _counted(records, "check")
    return typed("checks", table.sort_values("check", key=lambda names: names.map(LADDER.index)))


def environment(facts: Mapping[str, Any]) -> pd.DataFrame:
    """What the run ran on: versions, machine, and the settings of each implementation."""
    return typed("environment", pd.DataFrame(_environment(facts), columns=["what", "value"]))


def _environment(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = facts.get("environment", {})
    for name in ("started", "python", "platform", "processors", "device"):
        yield name, str(known.get(name, ""))
    for name, version in known.get("packages", {}).items():
        yield f"package {name}", str(version)
    for name, fact in facts.items():
        if name.startswith("implementation "):
            settings = ", ".join(f"{key}={value}" for key, value in fact["settings"].items())
            yield name, f"device {fact['device']}; {settings}"


def _counted(records: pd.DataFrame, by: str) -> pd.DataFrame:
    """Seconds, records, and records of each verdict, for each value of a column in the order in which they come."""
    grouped = records.groupby(by, sort=False)
    counts = pd.crosstab(records[by], records["verdict"]).reindex(columns=list(VERDICTS), fill_value=0)
    sums = pd.DataFrame({"seconds": grouped["seconds"].sum(), "records": grouped.size()})
    return sums.join(counts).rename_axis(by).reset_index()


def count_verdicts(records: pd.DataFrame, by: str) -> pd.DataFrame:
    """How many records of each verdict each value of column ``by`` has; verdicts that never occur are left out."""
    counts = pd.crosstab(records[by], records["verdict"])
    order = [verdict for verdict in VERDICTS if verdict in counts.columns]
    return counts[order].rename_axis(columns=None).reset_index()


def verdict_matrix(records: pd.DataFrame, lacking: Iterable[Missing] = ()) -> pd.DataFrame:
    """Recipes by implementations: ``pass``, or the verdicts that are not, with their number and precision.

    ``lacking``: what was planned and is not done, of which the cells say so.
    """
    keys = ["recipe", "implementation"]
    pairs = records[keys].drop_duplicates()
    cells: dict[tuple[str, str], str] = dict.fromkeys(zip(*(pairs[key] for key in keys), strict=True), "pass")
    cells |= _cells_that_do_not_pass(records[records["verdict"] != Verdict.PASS])
    for each in lacking:
        key = (each.recipe, each.implementation)
        found = cells.get(key, "")
        cells[key] = f"INCOMPLETE ({each.dtype})" + ("" if found in ("", "pass") else f", {found}")
    index = pd.MultiIndex.from_tuples(cells, names=keys)
    table = pd.Series(list(cells.values()), index, dtype=object).unstack("implementation", sort=False)
    return typed("verdicts", table.fillna("").rename_axis(columns=None).reset_index())


def _cells_that_do_not_pass(records: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The verdicts of each cell with their number and precision: what fails comes first."""
    order = {verdict: place for place, verdict in enumerate(sorted(VERDICTS, key=NOT_FAILING.__contains__))}
    columns = ["recipe", "implementation", "verdict", "dtype"]
    counts = records.groupby(columns).size().reset_index(name="number")
    parts: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
    for recipe, implementation, verdict, dtype, number in zip(*(counts[name] for name in counts), strict=True):
        shown = verdict if verdict in NOT_FAILING else verdict.upper()
        parts.setdefault((recipe, implementation), []).append((order[verdict], dtype, f"{shown} {number} ({dtype})"))
    return {key: ", ".join(text for *_, text in sorted(found)) for key, found in parts.items()}


def not_passing(records: pd.DataFrame, *, require_all: bool = False) -> pd.DataFrame:
    """The records that do not pass; with ``require_all`` what is not supported is among them."""
    neutral = [verdict for verdict in NOT_FAILING if not (require_all and verdict == Verdict.UNSUPPORTED)]
    return records[~records["verdict"].isin(neutral)]


def first_failures(records: pd.DataFrame) -> pd.DataFrame:
    """For each recipe, implementation and precision that fails: its first failure, by check and by what came first."""
    failing = not_passing(records)
    places = failing.assign(
        _check=failing["check"].map({check: place for place, check in enumerate(LADDER)}),
        _rank=[rank(*found) for found in zip(failing["stage"], failing["tensor"], strict=True)],
    )
    first = places.sort_values(["_check", "step", "_rank"], kind="stable").drop_duplicates(TRAINING)
    columns = [*TRAINING, "check", "stage", "tensor", "step", "verdict", "error", "allowance", "cause"]
    return first[columns]


def by_check(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the checks, then of the stages if there are any, then of the precisions."""
    order = table["check"].map(LADDER.index) * len(STAGES)
    if "stage" in table:
        order += table["stage"].map(STAGES.index)
    ordered: pd.DataFrame = table.assign(order=order).sort_values(["order", "dtype"]).drop(columns="order")
    return ordered


def _loaded(store: Store, name: str) -> pd.DataFrame:
    return typed(name, _in_order(_table(store, name), store))


def _table(store: Store, name: str) -> pd.DataFrame:
    """A table of the store; SQLite has nothing for NaN. Raises StoreError for what is not of its column's kind."""
    columns = store.columns(name)
    rows = store.select(f"SELECT * FROM {name} ORDER BY rowid")
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    found = dict(zip(columns, values, strict=True))
    try:
        return pd.DataFrame({column: pd.Series(found[column], dtype=_KINDS[kind]) for column, kind in columns.items()})
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{store.database}: its {name} cannot be read: {error}") from error


def _in_order(table: pd.DataFrame, store: Store) -> pd.DataFrame:
    facts = store.facts()
    known = facts.get("environment", {})
    orders: dict[str, list[str]] = {
        "recipe": list(facts.get("recipes", {})),
        "implementation": list(known.get("implementations", {})),
        "dtype": list(known.get("dtypes", [])),
    }
    if "check" in table:
        orders["check"] = list(LADDER)
    places = pd.DataFrame({key: table[key].map({v: i for i, v in enumerate(order)}) for key, order in orders.items()})
    return table.loc[places.sort_values(list(orders), kind="stable").index].reset_index(drop=True)
