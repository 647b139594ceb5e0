"""What a run's records and curves come to: largest errors, floors, margins, and where nothing could be concluded."""

import numpy as np
import pandas as pd

from conformance.results.frames import TRAINING, by_check
from conformance.results.schema import typed
from conformance.results.store import INFORMATIVE
from conformance.verdicts.order import LADDER


def worst_margins(records: pd.DataFrame) -> pd.DataFrame:
    """The passing records, nearest to their allowance first."""
    passing = records[(records["verdict"] == "pass") & records["error_per_allowance"].notna()]
    return typed("worst_margins", passing.sort_values("error_per_allowance", ascending=False, kind="stable"))


def largest_errors(records: pd.DataFrame) -> pd.DataFrame:
    """The largest error of the passing records, by check and precision, with where it was seen."""
    passing = records[(records["verdict"] == "pass") & np.isfinite(records["error"])]
    places = passing.groupby(["check", "dtype"])["error"].idxmax()
    return typed("largest_errors", by_check(passing.loc[places].drop(columns="stage")))


def errors_by_stage(records: pd.DataFrame) -> pd.DataFrame:
    """The largest error of each implementation by precision, stage and layer, in allowances."""
    compared = records[records["error_per_allowance"].notna()]
    keys = ["implementation", "dtype", "stage", "layer"]
    table = compared.groupby(keys, sort=False)["error_per_allowance"].max().reset_index()
    return typed("errors_by_stage", table)


def floors(records: pd.DataFrame) -> pd.DataFrame:
    """The noise floors of each check, stage and precision: their median and their largest, and where that was."""
    known = records[records["floor"].notna()]
    groups = ["check", "stage", "dtype"]
    rows = known.loc[known.groupby(groups)["floor"].idxmax()]
    medians = known.groupby(groups)["floor"].median().reindex(pd.MultiIndex.from_frame(rows[groups]))
    table = rows.rename(columns={"floor": "largest"}).assign(median=medians.to_numpy())
    return typed("floors", by_check(table))


def margins(records: pd.DataFrame) -> pd.DataFrame:
    """Both margins of each check and precision: errors under allowances, and allowances under the ceilings of faults.

    The ceiling is the one nearest to its allowance: of all tensors by which its fault is seen, the one on which it is
    seen least.
    """
    groups = ["check", "dtype"]
    bounded = records[records["ceiling"].notna()]
    tightest = bounded.loc[bounded.groupby(groups)["allowance_per_ceiling"].idxmax()]
    places = pd.MultiIndex.from_frame(tightest[groups])
    nearest = records[records["verdict"] == "pass"].groupby(groups)["error_per_allowance"].max()
    faults = bounded.groupby(groups)["nearest_fault"].nunique()
    table = tightest.drop(columns="stage").assign(
        error_per_allowance=nearest.reindex(places).to_numpy(), faults=faults.reindex(places).to_numpy()
    )
    return typed("margins", by_check(table))


def amplification(records: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Local errors beside what becomes of them in a training that runs free, largest ratio first.

    ``local``: the largest error of a parameter after one step from the oracle's state; ``free``: of a parameter of the
    training that runs on its own. ``informative`` steps of ``steps``: before rounding alone takes half of the digits of
    the cost, or may throw a switch.
    """
    keys = ["recipe", "dtype", "implementation"]
    parameters = records[(records["stage"] == "parameter") & np.isfinite(records["error"])]
    largest = parameters.pivot_table(index=keys, columns="check", values="error", aggfunc="max", sort=False)
    if not {"teacher_forced", "free_running"} <= set(largest.columns):
        return typed("amplification", pd.DataFrame())
    table = largest[["teacher_forced", "free_running"]].set_axis(["local", "free"], axis=1).reset_index()
    table["ratio"] = table["free"] / table["local"]
    known = curves[curves["quantity"] == INFORMATIVE].set_index(["recipe", "dtype"])
    places = pd.MultiIndex.from_frame(table[["recipe", "dtype"]])
    table["informative"] = known["value"].reindex(places).to_numpy()
    table["steps"] = known["position"].reindex(places).to_numpy()
    finite = table[np.isfinite(table["ratio"])]
    return typed("amplification", finite.sort_values("ratio", ascending=False, kind="stable"))


def inconclusive(records: pd.DataFrame) -> pd.DataFrame:
    """Where and why nothing could be concluded: one row for a recipe and check, with an example of the reason."""
    rows = records[records["verdict"] == "inconclusive"]
    grouped = rows.groupby(["recipe", "dtype", "check"], sort=False)
    found = grouped.agg(
        records=("tensor", "size"),
        implementations=("implementation", lambda names: ", ".join(dict.fromkeys(names))),
        example=("cause", "first"),
    )
    return typed("inconclusive", found.reset_index())


def timing(records: pd.DataFrame) -> pd.DataFrame:
    """Seconds each implementation spent in each check, compilation included."""
    table = records.pivot_table(index="implementation", columns="check", values="seconds", aggfunc="sum", sort=False)
    table = table[[check for check in LADDER if check in table.columns]]
    totals: pd.DataFrame = table.assign(total=table.sum(axis=1)).rename_axis(columns=None).reset_index()
    return totals


def final_values(curves: pd.DataFrame) -> pd.DataFrame:
    """The last cost and the accuracies of each training, implementations side by side."""
    last = curves.sort_values("position").drop_duplicates([*TRAINING, "unit", "quantity"], keep="last")
    last = last[last["quantity"].str.contains("accuracy") | (last["quantity"] == "cost")]
    table = last.pivot_table(
        index=["recipe", "quantity", "dtype"], columns="implementation", values="value", sort=False
    )
    table = table[[name for name in curves["implementation"].unique() if name in table.columns]]
    wide = table.rename_axis(columns=None).reset_index()
    return typed("final_values", wide.sort_values(["recipe", "quantity", "dtype"]))
