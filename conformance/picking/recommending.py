"""One implementation for each goal, with the number for which it is taken, and what is next to it.

>>> from conformance.picking.table import frame
>>> sizes = {"numpy": 60.0, "torch": 900.0}
>>> table = frame([{"implementation": name, "installed_mb": size} for name, size in sizes.items()])
>>> [found.reason for found in recommendations(table, "cpu") if found.implementation]
['60 MB of files; torch is next with 900 MB']
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from conformance.picking.table import COLUMNS, megabytes, seconds
from conformance.reports.page import number, share

ACCELERATORS = ("gpu", "tpu")
ORACLE = "numpy"  # what the oracle computes with, in float64

Row = Mapping[Any, Any]


class Recommendation(NamedTuple):
    """What to take for a goal: an implementation, or "" where none can be named; the number, and the reason."""

    goal: str
    implementation: str
    value: float
    reason: str


class Goal(NamedTuple):
    """A goal: the value by which it is judged, whether the highest is best, and how a value is said."""

    name: str
    value: Callable[[Row], float]
    highest: bool
    said: Callable[[float], str]
    next_said: Callable[[float], str]


def _of(column: str) -> Callable[[Row], float]:
    """A column's value; NaN where it is not known, which of whole numbers is -1."""
    whole = COLUMNS[column].dtype == "int64"
    return lambda row: math.nan if whole and row[column] < 0 else float(row[column])


def _to_first_step(row: Row) -> float:
    return float(row["import_seconds"] + row["first_step_seconds"])


GOALS = (
    Goal(
        "fastest once it runs", _of("steps_per_second"), True,
        lambda value: f"{number(value)} steps per second", number,
    ),
    Goal(
        "fastest to start", _to_first_step, False,
        lambda value: f"{seconds(value)} from the import to the end of the first step", seconds,
    ),
    Goal(
        "shortest run of this training", _of("whole_seconds"), False,
        lambda value: f"{seconds(value)} from the import to the end of this training", seconds,
    ),
    Goal("smallest installation", _of("installed_mb"), False, lambda value: f"{megabytes(value)} of files", megabytes),
    Goal(
        "least memory", _of("peak_mib"), False, lambda value: f"{value:,.0f} MiB at most",
        lambda value: f"{value:,.0f} MiB",
    ),
    Goal(
        "easiest to read", _of("lines"), False, lambda value: f"{value:,.0f} lines of code",
        lambda value: f"{value:,.0f}",
    ),
    Goal(
        "nearest to the oracle", _of("error_per_allowance"), False,
        lambda value: f"no error above {share(value)} of what is allowed", share,
    ),
)  # fmt: skip


def recommendations(table: pd.DataFrame, device: str, dtype: str = "float32") -> list[Recommendation]:
    """One for each goal, of what is measured and of which nothing fails; of the device asked for, and of others."""
    rows: list[Row] = [row for row in table.to_dict("records") if not row["problem"] and row["failed"] <= 0]
    found = [_best(goal, rows, dtype) for goal in GOALS]
    return [*(each for each in found if each), *_on_devices(rows, device)]


def _best(goal: Goal, rows: list[Row], dtype: str) -> Recommendation | None:
    """The best for a goal, if something is known of all; None where nothing is known of any."""
    known = sorted((row for row in rows if not math.isnan(goal.value(row))), key=goal.value, reverse=goal.highest)
    if not known:
        return None
    unknown = [str(row["implementation"]) for row in rows if math.isnan(goal.value(row))]
    best, others = known[0], known[1:]
    parts = [goal.said(goal.value(best))]
    if others:
        alike = [row["implementation"] for row in others if goal.value(row) == goal.value(best)]
        parts.append(
            f"the same as {', '.join(alike)}" if alike
            else f"{others[0]['implementation']} is next with {goal.next_said(goal.value(others[0]))}"
        )  # fmt: skip
    parts += _beside(goal, best, others, dtype)
    if unknown:
        parts[0] = f"not known of {', '.join(unknown)}; of the others {best['implementation']}: {parts[0]}"
        return Recommendation(goal.name, "", math.nan, "; ".join(parts))
    return Recommendation(goal.name, str(best["implementation"]), goal.value(best), "; ".join(parts))


def _beside(goal: Goal, best: Row, others: list[Row], dtype: str) -> Iterator[str]:
    """What is to be known beside the number."""
    if goal.name == "fastest once it runs":
        near = [row["implementation"] for row in others if row["steps_per_second_high"] >= best["steps_per_second_low"]]
        if near:
            yield f"not told apart from {', '.join(near)}: the middle halves of their trainings overlap"
        yield from _overtaking(best, others)
    if goal.name == "nearest to the oracle" and others:
        yield "up to 100 % it is rounding, and all are equally right"
    if goal.name == "nearest to the oracle" and best["implementation"] == ORACLE and dtype == "float64":
        yield "in float64 it is what the oracle itself computes with"


def _overtaking(best: Row, others: list[Row]) -> Iterator[str]:
    """After how many steps the fastest is ahead of the one that is soonest at work."""
    soonest = min([best, *others], key=_to_first_step)
    steps = overtaken_after(best, soonest)
    if soonest is not best and steps is not None:
        yield f"ahead of {soonest['implementation']}, which starts sooner, after {number(steps)} steps"


def overtaken_after(fast: Row, soon: Row) -> int | None:
    """Steps after which ``fast`` has made up for its later start, by a ``soon`` that is slower; None where never.

    >>> fast = {"import_seconds": 3.0, "first_step_seconds": 1.0, "seconds_per_step": 0.001}
    >>> overtaken_after(fast, {"import_seconds": 0.9, "first_step_seconds": 0.1, "seconds_per_step": 0.003})
    1500
    """
    later = _to_first_step(fast) - _to_first_step(soon)
    gained = float(soon["seconds_per_step"] - fast["seconds_per_step"])
    return math.ceil(later / gained - 1e-9) if later > 0 and gained > 0 else None


def _on_devices(rows: list[Row], device: str) -> Iterator[Recommendation]:
    """For each accelerator that is found here which implementations find it, and the fastest of those timed there."""
    found = {wanted: [row for row in rows if wanted in str(row["devices"]).split(", ")] for wanted in ACCELERATORS}
    if not any(found.values()) and any(row["devices"] for row in rows):
        reason = f"none of them finds a {' or '.join(ACCELERATORS)} on this machine"
        yield Recommendation("runs on an accelerator", "", math.nan, reason)
    for wanted, able in found.items():
        if not able:
            continue
        timed = [row for row in able if wanted == device and not math.isnan(row["steps_per_second"])]
        best = max(timed, key=_of("steps_per_second")) if timed else able[0]
        reason = f"found by {', '.join(str(row['implementation']) for row in able)}"
        reason += f"; {number(best['steps_per_second'])} steps per second on it" if timed else ""
        taken = str(best["implementation"]) if timed or len(able) == 1 else ""
        more = "" if timed else f"; --device {wanted} times them there"
        yield Recommendation(f"runs on a {wanted}", taken, float(len(able)), reason + more)
