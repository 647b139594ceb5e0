"""The records of two runs side by side: which of them have another verdict, and which errors moved.

Records are held against each other by what they are of (``KEY``), never by their place in a run, so runs of other
versions, machines, devices and precisions can be compared where they hold the same recipes.
"""

import numpy as np
import pandas as pd

from conformance.results.schema import VERDICTS
from conformance.verdicts.compare import NOT_FAILING

KEY = ["recipe", "implementation", "dtype", "check", "stage", "tensor"]  # what a record is of
CHECK = KEY[:4]
VALUES = ["verdict", "step", "error", "floor", "allowance", "error_per_allowance", "cause"]
ABSENT = "absent"  # in the place of a verdict: the check was made, and has no such record


def join(baseline: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """The records of two runs side by side, in their order; the columns of the first begin with ``baseline_``.

    ``_merge`` says which run has the record (``both``, ``left_only``, ``right_only``), ``made`` whether both made the
    check that it is of. A check of which a run has one record as a whole (it crashed, or nothing of it is offered) is
    held against the other's worst verdict in that check.
    """
    whole, other_whole = _as_a_whole(baseline), _as_a_whole(records)
    left = _worst_of_checks(baseline, other_whole.difference(whole))
    right = _worst_of_checks(records, whole.difference(other_whole))
    left, right = (table.assign(order=np.arange(len(table))) for table in (left, right))
    joined = left.rename(columns={name: f"baseline_{name}" for name in [*VALUES, "order"]}).merge(
        right, on=KEY, how="outer", indicator=True
    )
    joined["made"] = index_of(joined, CHECK).isin(index_of(left, CHECK).intersection(index_of(right, CHECK)))
    order = joined["baseline_order"].fillna(joined["order"])
    return joined.loc[order.sort_values(kind="stable").index].reset_index(drop=True)


def index_of(table: pd.DataFrame, columns: list[str]) -> pd.MultiIndex:
    """The values of some columns, to be looked up."""
    return pd.MultiIndex.from_frame(table[columns])


def _as_a_whole(records: pd.DataFrame) -> pd.MultiIndex:
    """The checks of which there is one record, of no tensor."""
    alone = ~records.duplicated(CHECK, keep=False) & (records["tensor"] == "")
    return index_of(records[alone], CHECK)


def _worst_of_checks(records: pd.DataFrame, checks: pd.Index) -> pd.DataFrame:
    """The records, with one for each of the ``checks`` in the place of its tensors: the worst of its verdicts."""
    told = index_of(records, CHECK).isin(checks)
    severity = sorted(VERDICTS, key=lambda verdict: (verdict in NOT_FAILING, verdict == "pass"))
    ordered = records[told].sort_values("verdict", key=lambda column: column.map(severity.index), kind="stable")
    worst = ordered.drop_duplicates(CHECK).assign(stage="", tensor="")
    both: pd.DataFrame = pd.concat([records[~told], worst])
    return both.sort_index(kind="stable")


def flipped_records(joined: pd.DataFrame) -> pd.DataFrame:
    """The records whose verdict is another; what does not pass and is ``absent`` from the other run is among them."""
    verdicts = joined[["baseline_verdict", "verdict"]].fillna(ABSENT)
    before, after = ~verdicts.isin([*NOT_FAILING, ABSENT]).to_numpy().T
    other = verdicts["baseline_verdict"] != verdicts["verdict"]
    chosen = other & ((joined["_merge"] == "both") | (joined["made"] & (before | after)))
    columns = [*KEY, "baseline_verdict", "verdict", "regression", "baseline_error", "error", "allowance", "cause"]
    table = joined.assign(
        **verdicts, regression=after & ~before, cause=joined["cause"].fillna(""),
        allowance=joined["allowance"].fillna(joined["baseline_allowance"]),
    )  # fmt: skip
    flipped: pd.DataFrame = table.loc[chosen, columns]
    return flipped.reset_index(drop=True)


def moved_records(joined: pd.DataFrame) -> pd.DataFrame:
    """The records whose errors differ by more than the noise floor, the farthest first.

    The floor is the largest error that re-rounded runs of the reference made, so two runs of one right implementation
    that differ in nothing but rounding hardly differ by more, and a larger difference asks for a reason. It is no
    verdict: that an error moved and is still within its allowance is allowed.

    A record tells the step of a training that came nearest to its allowance. That may be another step in the other
    run, with another floor, so errors are compared in units of their own allowances, and the floor in the same unit.
    A floor below one unit roundoff counts as one: less than that no number of the precision can tell. At one step this
    is ``|error - baseline_error| > max(floor, unit roundoff)``.

    ``floors_moved``: how many floors an error is farther from the oracle than the baseline's; negative if it is nearer.
    """
    found = joined[joined["_merge"] == "both"]
    floor = np.fmax(_floor_per_allowance(found, "baseline_"), _floor_per_allowance(found, ""))
    with np.errstate(invalid="ignore"):  # infinite errors of both
        change: pd.Series[float] = (found["error_per_allowance"] - found["baseline_error_per_allowance"]) / floor
    columns = ["baseline_verdict", "verdict", "baseline_step", "step", "baseline_error", "error", "floor", "allowance"]
    table = found.assign(floors_moved=change)[[*KEY, *columns, "floors_moved"]]
    moved: pd.DataFrame = table[change.abs() > 1]
    return moved.sort_values("floors_moved", key=np.abs, ascending=False, kind="stable").reset_index(drop=True)


def _floor_per_allowance(table: pd.DataFrame, prefix: str) -> "pd.Series[float]":
    unit_roundoff = table["dtype"].map(lambda dtype: float(np.finfo(dtype).eps) / 2).astype(float)
    floor: pd.Series[float] = np.fmax(table[f"{prefix}floor"], unit_roundoff) / table[f"{prefix}allowance"]
    return floor


def only_in_one(joined: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The records that one run alone has."""
    alone = joined[joined["_merge"] != "both"]
    only_in = np.where(alone["_merge"] == "left_only", first, second)
    table = alone.assign(only_in=only_in, verdict=alone["verdict"].fillna(alone["baseline_verdict"]))
    return table[["only_in", *KEY, "verdict"]].reset_index(drop=True)
