"""The table: what its columns are, how a value of each is shown, and the rows that the parts of a measurement make."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from conformance.reports.page import number, share


class Column(NamedTuple):
    """A column: the dtype of its values, what it is called where it is shown, what it is, and how a value is shown."""

    dtype: str
    title: str
    explanation: str
    show: Callable[[Any], str] = str


def seconds(value: float) -> str:
    """A time as it is read.

    >>> seconds(0.0000123), seconds(0.0123), seconds(1.23), seconds(math.nan)
    ('12.3 us', '12.3 ms', '1.23 s', '')
    """
    if math.isnan(value):
        return ""
    if value >= 1:
        return f"{number(value)} s"
    return f"{number(value * 1e3)} ms" if value >= 1e-3 else f"{number(value * 1e6)} us"


def megabytes(value: float) -> str:
    """A size as it is read: ``1,234 MB``."""
    return "" if math.isnan(value) else f"{number(float(value))} MB"


def _mib(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.0f} MiB"


def _count(value: int) -> str:
    return f"{value:,}" if value >= 0 else ""


# In the order in which they are shown. An empty title: a column of the frame that no line of the table is for.
COLUMNS: Mapping[str, Column] = {
    "implementation": Column("str", "", "name of the implementation"),
    "version": Column("str", "version", "Of the framework."),
    "problem": Column("str", "", "why it is not measured; empty where it is"),
    "steps_per_second": Column(
        "float64", "steps per second", "Steps of training in a second once it runs: the median of repeated trainings;"
        " compilation is over by then.", number,
    ),
    "steps_per_second_low": Column("float64", "", "lower quartile over the repeated trainings"),
    "steps_per_second_high": Column("float64", "", "upper quartile over the repeated trainings"),
    "spread": Column(
        "str", "  (middle half)", "Between which rates the middle half of the repeated trainings lies."
    ),
    "seconds_per_step": Column("float64", "time of a step", "Its reciprocal.", seconds),
    "trainings": Column("int64", "", "number of repeated trainings; of a run, of trainings looked at"),
    "steps": Column("int64", "", "steps of a training; of a run, of all that are looked at"),
    "import_seconds": Column(
        "float64", "time to import", "Of the package, with its framework, in a fresh process.", seconds
    ),
    "first_step_seconds": Column(
        "float64", "time to first step", "From the first call of fit to the end of its first step, compilation"
        " included.", seconds,
    ),
    "first_training_seconds": Column("float64", "", "the first call of fit, compilation included"),
    "whole_seconds": Column(
        "float64", "import to last step", "This training in a fresh process: import, compilation and all steps.",
        seconds,
    ),
    "peak_mib": Column("float64", "most memory held", "By a process that trains, at any time.", _mib),
    "installed_mb": Column(
        "float64", "installed size", "Of all files of the packages that it needs, directly or not, without Python.",
        megabytes,
    ),
    "lines": Column(
        "int64", "lines of code to read", "Of the package, what this model and optimizer use, without comments and"
        " docstrings; nothing of the framework.", _count,
    ),
    "package_lines": Column("int64", "", "the same of the whole package"),
    "records": Column("int64", "", "number of comparisons with the oracle"),
    "passed": Column("int64", "", "number of these that pass"),
    "failed": Column("int64", "", "number of these that fail"),
    "passes": Column(
        "str", "comparisons passed", "Tensors of the training that are held against the oracle, a reference in float64."
    ),
    "error_per_allowance": Column(
        "float64", "largest error", "In per cent of what is allowed, of the tensor that comes nearest to that. Up to"
        " 100 % it is what rounding may do.", share,
    ),
    "nearest_record": Column("str", "", "check and tensor of that"),
    "devices": Column("str", "devices found here", "By the framework, on this machine."),
    "dialects": Column(
        "str", "", "of which built-ins of the frameworks the optimizer and the layers are, with their keywords"
    ),
}  # fmt: skip
SHOWN = tuple(name for name, column in COLUMNS.items() if column.title)
# Those that a name of a few words does not tell.
TOLD = ("steps_per_second", "first_step_seconds", "lines", "passes", "error_per_allowance")


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each implementation; what is not known is "", NaN, or -1 of whole numbers."""
    nothing = {"str": "", "float64": math.nan, "int64": -1}
    full = [{name: row.get(name, nothing[column.dtype]) for name, column in COLUMNS.items()} for row in rows]
    found = pd.DataFrame([_combined(row) for row in full], columns=list(COLUMNS))
    return found.astype({name: column.dtype for name, column in COLUMNS.items()})


def _combined(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what follows from others of its values."""
    low, high = row["steps_per_second_low"], row["steps_per_second_high"]
    return row | {
        "spread": "" if math.isnan(low) else f"{number(low)} - {number(high)}",
        "whole_seconds": row["import_seconds"] + row["first_training_seconds"],
        "passes": f"{row['passed']:,} of {row['records']:,}" if row["records"] > 0 else "",
    }


def lines(table: pd.DataFrame) -> list[list[str]]:
    """The table as it is shown: a line for each property, a cell for each implementation. Empty lines are left out."""
    found = []
    for name in SHOWN:
        cells = [COLUMNS[name].show(value) for value in table[name]]
        if any(cells):
            found.append([COLUMNS[name].title, *(cell or "-" for cell in cells)])
    return found
