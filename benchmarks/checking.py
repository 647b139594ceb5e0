"""Whether ``fit`` has become slower than the committed table says: by ratios, which hold on other machines too."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.frames import CELL, times_frame
from benchmarks.measuring import Plan, Say, measure_rounds

TABLE = Path(__file__).parent / "table.csv"


def read_table(plan: Plan, file: Path = TABLE) -> pd.DataFrame:
    """The committed ratios of what a plan measures. Raises ValueError where there is none of some workload."""
    table = pd.read_csv(file)
    chosen = table[
        table["framework"].isin(plan.frameworks)
        & table["workload"].isin(plan.workloads)
        & table["device"].eq(plan.device)
    ]
    for framework in plan.frameworks:
        held = set(chosen[chosen["framework"] == framework]["workload"])
        lacking = [name for name in plan.workloads if name not in held]
        if lacking:
            raise ValueError(
                f"{file.name} has no times of {framework} on {plan.device} for {', '.join(lacking)}: "
                "must be made anew by `make benchmarks`"
            )
    return chosen.reset_index(drop=True)


def slower(table: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    """The cells whose ratio is worse by more than the spread: its lower quartile is above the table's upper one.

    Returns the columns of the cell with ``ratio_before`` and ``ratio``, each with its quartiles. Raises ValueError for
    a cell of the table that was not measured.
    """
    both = table.merge(times, on=CELL, how="left", suffixes=("_before", ""))
    missing = both[both["ratio"].isna()]
    if len(missing):
        raise ValueError(
            f"the table has {in_words(missing.iloc[0])}, which is not measured: must be made anew by `make benchmarks`"
        )
    return both[both["ratio_lower"] > both["ratio_upper_before"]]


def check(
    plan: Plan, table: pd.DataFrame, say: Say, rounds: Callable[[Plan, Say], pd.DataFrame] = measure_rounds
) -> list[str]:
    """What is slower, a line for each cell; nothing where all is well.

    What seems slower is measured a second time, in other processes, and must seem so again.
    """
    found = slower(table, times_frame(rounds(plan, say)))
    if found.empty:
        return []
    say(f"{len(found)} of {len(table)} ratios are worse: measured once more")
    again = replace(plan, frameworks=_each(found, "framework"), workloads=_each(found, "workload"))
    doubted = table.merge(found[CELL], on=CELL)
    return [in_words(cell, with_ratios=True) for _, cell in slower(doubted, times_frame(rounds(again, say))).iterrows()]


def in_words(cell: "pd.Series[Any]", with_ratios: bool = False) -> str:
    """A cell by its name, and what it was and is."""
    name = f"{cell['framework']}, {cell['workload']}, fit / {cell['contender']} ({cell['device']})"
    if not with_ratios:
        return name
    now, before = (
        f"{cell[f'ratio{end}']:.2f} ({cell[f'ratio_lower{end}']:.2f} to {cell[f'ratio_upper{end}']:.2f})"
        for end in ("", "_before")
    )
    return f"{name}: {now}, was {before}"


def _each(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(frame[column]))
