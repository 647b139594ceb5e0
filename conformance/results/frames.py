"""A run's records and curves as pandas tables, and the tables derived from them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from conformance.checks.observation import STAGES
from conformance.results.completeness import Missing
from conformance.results.store import INFORMATIVE, Store
from conformance.verdicts.compare import NOT_FAILING, Verdict
from conformance.verdicts.order import LADDER, place

VERDICTS = tuple(map(str, Verdict))


def load_records(store: Store) -> pd.DataFrame:
    """The records, by recipe, implementation and precision in the run's own order, as if one worker had made them."""
    return _in_order(_table(store, "records"), store)


def load_curves(store: Store) -> pd.DataFrame:
    """The training curves in long form."""
    return _in_order(_table(store, "curves"), store)


def _table(store: Store, name: str) -> pd.DataFrame:
    """A table of the store; SQLite has nothing for NaN."""
    columns = store.columns(name)
    table = pd.DataFrame(store.select(f"SELECT * FROM {name} ORDER BY rowid"), columns=list(columns))
    for column, kind in columns.items():
        if kind is float:
            table[column] = pd.to_numeric(table[column]).astype(float)
    return table


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
    cells = {key: _cell(group) for key, group in records.groupby(keys, sort=False)}
    for each in lacking:
        key = (each.recipe, each.implementation)
        found = cells.get(key, "")
        cells[key] = f"INCOMPLETE ({each.dtype})" + ("" if found in ("", "pass") else f", {found}")
    index = pd.MultiIndex.from_tuples(cells, names=keys)
    table = pd.Series(list(cells.values()), index).unstack("implementation", sort=False)
    return table.fillna("").rename_axis(columns=None).reset_index()


def not_passing(records: pd.DataFrame, *, require_all: bool = False) -> pd.DataFrame:
    """The records that do not pass; with ``require_all`` what is not supported is among them."""
    neutral = [verdict for verdict in NOT_FAILING if not (require_all and verdict == Verdict.UNSUPPORTED)]
    return records[~records["verdict"].isin(neutral)]


def first_failures(records: pd.DataFrame) -> pd.DataFrame:
    """For each recipe, implementation and precision that fails: its first failure, by check and by what came first."""
    failing = not_passing(records)
    told = (failing[column] for column in ("check", "step", "stage", "tensor"))
    places = [place(*found) for found in zip(*told, strict=True)]
    order = sorted(range(len(failing)), key=places.__getitem__)
    columns = ["recipe", "implementation", "dtype", "check", "stage", "tensor", "step", "verdict", "error", "allowance"]
    first = failing.iloc[order].drop_duplicates(["recipe", "implementation", "dtype"])
    return first[[*columns, "cause"]]


def worst_margins(records: pd.DataFrame, count: int) -> pd.DataFrame:
    """The ``count`` passing records nearest their allowance."""
    return records[records["verdict"] == "pass"].nlargest(count, "error_per_allowance")[
        ["recipe", "implementation", "dtype", "check", "tensor", "step", "error", "ulps", "allowance",
         "error_per_allowance"]
    ]  # fmt: skip


def largest_errors(records: pd.DataFrame) -> pd.DataFrame:
    """The largest error of the passing records, by check and precision, with where it was seen."""
    passing = records[(records["verdict"] == "pass") & np.isfinite(records["error"])]
    places = passing.groupby(["check", "dtype"])["error"].idxmax()
    worst = passing.loc[places, ["check", "dtype", "error", "floor", "allowance", "implementation", "recipe", "tensor"]]
    return _by_check(worst)


def floors(records: pd.DataFrame) -> pd.DataFrame:
    """The noise floors of each check, stage and precision: their median and their largest, and where that was."""
    known = records[records["floor"].notna()]
    groups = ["check", "stage", "dtype"]
    rows = known.loc[known.groupby(groups)["floor"].idxmax()]
    table = rows[[*groups, "floor", "recipe", "tensor"]].rename(columns={"floor": "largest"})
    medians = known.groupby(groups)["floor"].median().reindex(pd.MultiIndex.from_frame(table[groups]))
    table.insert(len(groups), "median", medians.to_numpy())
    return _by_check(table)


def ceilings(records: pd.DataFrame) -> pd.DataFrame:
    """Both margins of each check and precision: the tightest from below, and the nearest fault from above."""
    groups = ["check", "dtype"]
    bounded = records[records["ceiling"].notna()]
    tightest = bounded.loc[bounded.groupby(groups)["allowance_per_ceiling"].idxmax()]
    places = pd.MultiIndex.from_frame(tightest[groups])
    nearest = records[records["verdict"] == "pass"].groupby(groups)["error_per_allowance"].max()
    faults = bounded.groupby(groups)["nearest_fault"].nunique()
    table = tightest.assign(
        error_per_allowance=nearest.reindex(places).to_numpy(), faults=faults.reindex(places).to_numpy()
    )
    shown = ["error_per_allowance", "allowance_per_ceiling", "nearest_fault", "recipe", "tensor", "faults"]
    return _by_check(table)[[*groups, *shown]]


def amplification(records: pd.DataFrame, curves: pd.DataFrame, count: int) -> pd.DataFrame:
    """Local errors beside what becomes of them in a training that runs free: the ``count`` largest ratios.

    ``local``: the largest error of a parameter after one step from the oracle's state; ``free``: of a parameter of the
    training that runs on its own. ``informative`` steps of ``steps``: before rounding alone takes half of the digits of
    the cost, or may throw a switch.
    """
    keys = ["recipe", "dtype", "implementation"]
    parameters = records[(records["stage"] == "parameter") & np.isfinite(records["error"])]
    largest = parameters.pivot_table(index=keys, columns="check", values="error", aggfunc="max", sort=False)
    if not {"teacher_forced", "free_running"} <= set(largest.columns):
        return pd.DataFrame()
    table = largest[["teacher_forced", "free_running"]].set_axis(["local", "free"], axis=1).reset_index()
    table["ratio"] = table["free"] / table["local"]
    known = curves[curves["quantity"] == INFORMATIVE].set_index(["recipe", "dtype"])
    places = pd.MultiIndex.from_frame(table[["recipe", "dtype"]])
    table["informative"] = known["value"].reindex(places).to_numpy()
    table["steps"] = known["position"].reindex(places).to_numpy()
    largest_ratios: pd.DataFrame = table[np.isfinite(table["ratio"])].nlargest(count, "ratio")
    return largest_ratios


def inconclusive(records: pd.DataFrame) -> pd.DataFrame:
    """Where and why nothing could be concluded: one row for a recipe and check, with an example of the reason."""
    rows = records[records["verdict"] == "inconclusive"]
    grouped = rows.groupby(["recipe", "dtype", "check"], sort=False)
    found: pd.DataFrame = grouped.agg(
        records=("tensor", "size"),
        implementations=("implementation", lambda names: ", ".join(dict.fromkeys(names))),
        example=("cause", "first"),
    ).reset_index()
    return found


def timing(records: pd.DataFrame) -> pd.DataFrame:
    """Seconds each implementation spent in each check, compilation included."""
    table = records.pivot_table(index="implementation", columns="check", values="seconds", aggfunc="sum", sort=False)
    table = table[[check for check in LADDER if check in table.columns]]
    totals: pd.DataFrame = table.assign(total=table.sum(axis=1)).rename_axis(columns=None).reset_index()
    return totals


def final_values(curves: pd.DataFrame) -> pd.DataFrame:
    """The last cost and the accuracies of each training, implementations side by side."""
    last = curves.sort_values("position").drop_duplicates(
        ["recipe", "implementation", "dtype", "unit", "quantity"], keep="last"
    )
    last = last[last["quantity"].str.contains("accuracy") | (last["quantity"] == "cost")]
    table = last.pivot_table(
        index=["recipe", "quantity", "dtype"], columns="implementation", values="value", sort=False
    )
    table = table[[name for name in curves["implementation"].unique() if name in table.columns]]
    return table.rename_axis(columns=None).reset_index().sort_values(["recipe", "quantity", "dtype"])


def _by_check(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the checks, then of the stages if there are any, then of the precisions."""
    order = table["check"].map(LADDER.index) * len(STAGES)
    if "stage" in table:
        order += table["stage"].map(STAGES.index)
    ordered: pd.DataFrame = table.assign(order=order).sort_values(["order", "dtype"]).drop(columns="order")
    return ordered


def _in_order(table: pd.DataFrame, store: Store) -> pd.DataFrame:
    facts = store.facts()
    environment = facts.get("environment", {})
    orders: dict[str, list[str]] = {
        "recipe": list(facts.get("recipes", {})),
        "implementation": list(environment.get("implementations", {})),
        "dtype": list(environment.get("dtypes", [])),
    }
    if "check" in table:
        orders["check"] = list(LADDER)
    places = pd.DataFrame({key: table[key].map({v: i for i, v in enumerate(order)}) for key, order in orders.items()})
    return table.loc[places.sort_values(list(orders), kind="stable").index].reset_index(drop=True)


def _cell(records: pd.DataFrame) -> str:
    parts = []
    for verdict in sorted(VERDICTS[1:], key=NOT_FAILING.__contains__):  # what fails comes first
        for dtype, rows in records[records["verdict"] == verdict].groupby("dtype"):
            parts.append(f"{verdict if verdict in NOT_FAILING else verdict.upper()} {len(rows)} ({dtype})")
    return ", ".join(parts) or "pass"
