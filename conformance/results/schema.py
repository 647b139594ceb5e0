"""What the frames of a run are: their columns, what is in each, and its dtype, the same from every store.

Text is never missing, it may be empty; numbers that are not there are NaN. The table is data, ``docs/frames.md`` is
made from it, and every frame of a run passes through :func:`typed`.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from conformance.adapters.whole_files import write_whole
from conformance.data.wording import nearest, shown
from conformance.verdicts.compare import Verdict

DTYPES = ("str", "int64", "float64", "bool")
VERDICTS = tuple(map(str, Verdict))


class Column(NamedTuple):
    """A column: the dtype of its values, one of ``DTYPES``, and what they are."""

    dtype: str
    description: str


class Frame(NamedTuple):
    """A frame: what a row is, its columns in order, and what further columns may follow, one for an implementation."""

    description: str
    columns: Mapping[str, Column]
    further: Column | None = None


# Columns that mean the same wherever they stand.
_SHARED = {
    "recipe": Column("str", "name of the recipe"),
    "implementation": Column("str", "name of the implementation"),
    "dtype": Column("str", "precision: `float64` or `float32`"),
    "check": Column("str", "the check, one of `conformance list checks`"),
    "stage": Column("str", "where in a step of training the tensor lives; empty where there is none"),
    "layer": Column("int64", "the tensor's layer, counted from 1; 0 for what belongs to none"),
    "step": Column("int64", "step of the training, counted from 1"),
    "tensor": Column("str", "name of the tensor; empty where a check was lost as a whole"),
    "error": Column("float64", "scale-free distance from the oracle; NaN where nothing could be compared"),
    "ulps": Column("float64", "the difference at the worst element in units in the last place of the oracle's value"),
    "floor": Column("float64", "the noise floor: how far rounding alone was seen to move it"),
    "allowance": Column("float64", "how large the error may be"),
    "error_per_allowance": Column("float64", "error over allowance: above 1 it fails"),
    "allowance_per_ceiling": Column("float64", "allowance over ceiling: above 1 the fault would pass by this tensor"),
    "nearest_fault": Column("str", "the known fault that moves the tensor least"),
    "verdict": Column("str", f"one of {', '.join(VERDICTS)}"),
    "cause": Column("str", "why it does not pass, in words"),
    "seconds": Column("float64", "time spent in it, compilation included"),
    "records": Column("int64", "number of records"),
    "command": Column("str", "the command line that shows it again"),
    **{verdict: Column("int64", f"number of records with the verdict `{verdict}`") for verdict in VERDICTS},
}


def _frame(description: str, shared: str, further: Column | None = None, **own: tuple[str, str]) -> Frame:
    """A frame of the columns in ``shared``, in that order; those named in ``own`` are described there."""
    described = {name: Column(*column) for name, column in own.items()}
    columns = {name: described[name] if name in described else _SHARED[name] for name in shared.split()}
    assert not described.keys() - columns.keys()
    return Frame(description, columns, further)


FRAMES: Mapping[str, Frame] = {
    "records": _frame(
        "One row for each tensor of each check: how far it is from the oracle, and the verdict on that.",
        "run recipe recipe_hash suite model dataset optimizer regularizers initializer schedule implementation"
        " framework_version device dtype check stage layer step tensor error ulps floor allowance error_per_allowance"
        " ceiling allowance_per_ceiling nearest_fault verdict cause seconds",
        run=("str", "name of the run: of its folder"),
        recipe_hash=("str", "content hash of the recipe, its identity"),
        suite=("str", "the suite that the recipe comes from; `file` for one's own"),
        model=("str", "name of the recipe's model"),
        dataset=("str", "name of the recipe's data set"),
        optimizer=("str", "name of the recipe's optimizer"),
        regularizers=("str", "names of the recipe's regularizers, joined by `+`; `none`"),
        initializer=("str", "name of the recipe's initializer"),
        schedule=("str", "name of the recipe's learning-rate schedule"),
        framework_version=("str", "version of the implementation's framework"),
        device=("str", "the device that was computed on"),
        step=("int64", "step at which the tensor tells most, counted from 1"),
        ceiling=("float64", "how far the nearest known fault moves the tensor; NaN where none is known"),
        seconds=("float64", "the check's time, divided by the number of its records"),
    ),
    "curves": _frame(
        "The training curves in long form: one row for each value. The implementation `oracle` has the oracle's own.",
        "recipe implementation dtype unit position quantity value error floor allowance",
        unit=("str", "what `position` counts: `step` or `epoch`"),
        position=("int64", "step or epoch, counted from 1"),
        quantity=(
            "str",
            "cost, gradient norm, learning rate, validation cost, mean cost, training accuracy, test accuracy, test"
            " accuracy without leaked rows; of the oracle also `informative steps`, those before rounding alone takes"
            " half of the digits of the cost or may throw a switch",
        ),
        value=("float64", "the value; accuracies in per cent"),
        error=("float64", "the value's error, as the verdict measures it; NaN where nothing is compared"),
        floor=("float64", "the noise floor of this position; NaN where nothing is compared"),
        allowance=("float64", "how large the error may be here; NaN where nothing is compared"),
    ),
    "verdicts": _frame(
        "Recipes by implementations.",
        "recipe",
        Column("str", "`pass`, or the verdicts that are not, with their number and precision"),
    ),
    "missing": _frame(
        "What was planned and is not done: one row for each check.",
        "implementation recipe dtype check",
    ),
    "first_failures": _frame(
        "For each recipe, implementation and precision that fails, what failed first: by check, step and stage.",
        "recipe implementation dtype check stage tensor step verdict error allowance cause command",
    ),
    "explanations": _frame(
        "What diagnosis found of failures: at the end of the run, of the first ones, and by `conformance explain`.",
        "recipe implementation dtype check place cause explained text command",
        check=("str", "the check in which the oracle is first left"),
        place=("str", "stage, tensor and step where it is first left"),
        cause=("str", "the cause that was found, or what is known instead"),
        explained=("bool", "whether a cause was found"),
        text=("str", "the explanation in full, of several lines"),
    ),
    "timings": _frame(
        "Seconds of each check of each training.",
        "recipe implementation dtype check seconds kept",
        kept=("bool", "whether the result, and the time with it, was taken from an earlier run"),
    ),
    "training_times": _frame(
        "How long the trainings themselves took, as the check `free_running` asks for them.",
        "recipe implementation dtype steps first_seconds steady_seconds seconds_per_step",
        steps=("int64", "steps of the training; 0 where it returned no costs"),
        first_seconds=("float64", "the first call of `fit`, compilation included; NaN where it was not looked at"),
        steady_seconds=(
            "float64",
            "a later call of `fit`, after all checks, for the same training; NaN for implementations that are not the"
            " project's own, for which nothing is called a second time, and where the first call took longer than a"
            " second",
        ),
        seconds_per_step=("float64", "`steady_seconds` over `steps`; NaN where either is not known"),
    ),
    "implementations": _frame(
        "Each implementation: what it runs on, what it takes, and the verdicts on it.",
        f"implementation version device import_seconds peak_mib seconds records {' '.join(VERDICTS)}",
        version=("str", "version of its framework"),
        device=("str", "the device that it says it computes on"),
        import_seconds=(
            "float64",
            "from the start of loading its adapter to its being ready, the median of its processes; for `numpy` next to"
            " nothing, since the harness has loaded NumPy before",
        ),
        peak_mib=("float64", "most memory that one of its processes held, in MiB; NaN where it is not known"),
        seconds=("float64", "time spent in all checks, compilation included"),
    ),
    "subjects": _frame(
        "Each built-in of a framework that is under test: which formulation it is equal to, and to how many digits.",
        "subject kind recipe implementation version formulation digits_float64 digits_float32 verdict reason",
        subject=("str", "the built-in, as the call that makes it"),
        kind=("str", "what it is, one of the catalogue's kinds"),
        recipe=("str", "name of the recipe that it trains as"),
        version=("str", "version of its framework"),
        formulation=("str", "the component of the catalogue, with its keywords, that it is held against"),
        digits_float64=("float64", "decimal digits to which every tensor agrees; NaN where none was compared"),
        digits_float32=("float64", "the same in float32"),
        verdict=(
            "str",
            "`equal`, `known difference`, `differs`, `stale` (a known difference that is no more), `not offered`, or"
            " `missing`",
        ),
        reason=("str", "why it is not equal, in words"),
    ),
    "checks": _frame(
        "Each check: its time and the verdicts in it.",
        f"check seconds records {' '.join(VERDICTS)}",
    ),
    "environment": _frame(
        "What the run ran on: versions, machine, and the settings of each implementation.",
        "what value",
        what=("str", "name of the fact"),
        value=("str", "the fact, as text"),
    ),
    "dialects": _frame(
        "Every keyword of every recipe, written out: formulations differ in nothing else.",
        "recipe component name keyword value",
        component=(
            "str",
            "the part of the recipe: dataset, model, activation, normalization, initializer, loss, regularizers,"
            " optimizer, schedule, transfer, or `training` for what belongs to none of these",
        ),
        name=("str", "name of the component; empty where it has none"),
        keyword=("str", "name of the keyword; empty, in a single row, for a component without any"),
        value=("str", "the keyword's value as JSON; empty for a component without keywords"),
    ),
    "coverage": _frame(
        "Every allowed pair of two choices that a recipe makes, and whether a recipe of the run makes both.",
        "factor value other_factor other_value covered",
        factor=("str", "what is chosen, see `conformance list coverage`"),
        value=("str", "the choice"),
        other_factor=("str", "what else is chosen"),
        other_value=("str", "the choice of that"),
        covered=("bool", "whether a recipe of the run makes both"),
    ),
    "faults": _frame(
        "Known faults that the run's recipes see, as far as it is known of them; see `conformance list faults`.",
        "recipe seen alone which",
        seen=("int64", "number of known faults that move something in the recipe beyond its allowance"),
        alone=("int64", "number of those that no other recipe of the run sees"),
        which=("str", "names of those that no other recipe of the run sees, joined by `; `"),
    ),
    "margins": _frame(
        "Both margins of each check and precision: errors under allowances, and allowances under known faults.",
        "check dtype error_per_allowance allowance_per_ceiling nearest_fault recipe tensor faults",
        error_per_allowance=("float64", "the largest of the passing records"),
        allowance_per_ceiling=("float64", "the largest: above 1 the check as a whole would miss the fault"),
        nearest_fault=("str", "the fault whose ceiling that is"),
        recipe=("str", "recipe in which it is"),
        tensor=("str", "tensor of which it is"),
        faults=("int64", "number of different faults that are nearest to some tensor"),
    ),
    "errors_by_stage": _frame(
        "The largest error of each implementation by precision, stage and layer, in allowances.",
        "implementation dtype stage layer error_per_allowance",
        error_per_allowance=("float64", "the largest of all records, failing ones among them"),
    ),
    "floors": _frame(
        "The noise floors of each check, stage and precision.",
        "check stage dtype median largest recipe tensor",
        median=("float64", "the median of the floors"),
        largest=("float64", "the largest of the floors"),
        recipe=("str", "recipe in which that is"),
        tensor=("str", "tensor of which it is"),
    ),
    "largest_errors": _frame(
        "The largest error of the passing records of each check and precision.",
        "check dtype error floor allowance implementation recipe tensor",
        error=("float64", "the largest scale-free distance from the oracle"),
    ),
    "worst_margins": _frame(
        "The passing records, nearest to their allowance first.",
        "recipe implementation dtype check tensor step error ulps allowance error_per_allowance",
    ),
    "amplification": _frame(
        "Errors of single steps beside what a training that runs free makes of them, largest ratio first.",
        "recipe dtype implementation local free ratio informative steps",
        local=("float64", "largest error of a parameter after one step from the oracle's state"),
        free=("float64", "largest error of a parameter of the training that runs on its own"),
        ratio=("float64", "`free` over `local`"),
        informative=("float64", "steps before rounding alone takes half of the cost's digits or may throw a switch"),
        steps=("float64", "steps of the training"),
    ),
    "inconclusive": _frame(
        "Where and why nothing could be concluded: one row for each recipe, precision and check.",
        "recipe dtype check records implementations example",
        implementations=("str", "names of the implementations, joined by commas"),
        example=("str", "one of the reasons"),
    ),
    "final_values": _frame(
        "The last cost and accuracies of each training, implementations side by side, the oracle among them.",
        "recipe quantity dtype",
        Column("float64", "the value; accuracies in per cent; NaN where there is none"),
        quantity=("str", "cost, or an accuracy"),
    ),
}


def typed(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns and dtypes of the frame ``name``. Raises ValueError for one that lacks a column."""
    frame = _known(name)
    lacking = [column for column in frame.columns if column not in table]
    if lacking and len(table):
        raise ValueError(f"frame {name!r} lacks {', '.join(map(repr, lacking))}")
    further = [str(column) for column in table if column not in frame.columns] if frame.further else []
    ordered = table.reindex(columns=[*frame.columns, *further])
    return ordered.astype(dtypes(name, further)).reset_index(drop=True)


def dtypes(name: str, further: Iterable[str] = ()) -> dict[str, str]:
    """The dtype of each column of a frame, and of those that may follow. Raises ValueError for an unknown frame."""
    frame = _known(name)
    found = {column: described.dtype for column, described in frame.columns.items()}
    return (dict.fromkeys(further, frame.further.dtype) if frame.further else {}) | found


def write_csv(table: pd.DataFrame, target: Path) -> None:
    """Write a frame as CSV, as pandas does in more time: all digits of a number, nothing for NaN. Raises OSError."""
    columns = [_cells(table[column]) for column in table]
    held = io.StringIO(newline="")
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(zip(*columns, strict=True))
    write_whole(target, held.getvalue().encode())


def read_csv(name: str, source: str | Path) -> pd.DataFrame:
    """A frame that was written as CSV, with the values and dtypes that it had.

    Raises ValueError for an unknown frame, and for a file that lacks a column of it.
    """
    _known(name)
    cells = pd.read_csv(source, dtype=str, keep_default_na=False, lineterminator="\n")
    kinds = dtypes(name, cells.columns)
    return typed(name, cells.apply(lambda column: _values(column, kinds.get(str(column.name), "str"))))


def read_parquet(name: str, source: str | Path) -> pd.DataFrame:
    """A frame that was written as Parquet, with the values and dtypes that it had. Needs pyarrow.

    Raises ValueError for an unknown frame, and for a file that lacks a column of it.
    """
    return typed(name, pd.read_parquet(source, engine="pyarrow"))


def _cells(column: "pd.Series[Any]") -> list[Any]:
    values = column.astype(object)
    return values.where(column.notna(), "").tolist() if column.dtype == "float64" else values.tolist()


def _values(cells: "pd.Series[str]", dtype: str) -> "pd.Series[Any]":
    """What stands in a column's cells; Python reads back every digit that it wrote."""
    if dtype == "float64":
        numbers = cells.where(cells != "", "nan").to_numpy(object).astype(float)
        return pd.Series(numbers, cells.index, name=cells.name)
    return cells == "True" if dtype == "bool" else cells


def _known(name: str) -> Frame:
    if name not in FRAMES:
        allowed = ", ".join(map(repr, FRAMES))
        raise ValueError(f"frame={shown(name)} is not allowed: must be one of {allowed}{nearest(name, FRAMES)}")
    return FRAMES[name]
