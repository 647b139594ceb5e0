"""What the commands print: tables, bars, the end of a run, and the exit status that it calls for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from conformance.audit.soak import Soak

FAILURES_SHOWN = 5  # the rest is in the report
FALSE_ALARMS_SHOWN = 20  # of a soak; the rest is in the reports of its runs
ROWS_SHOWN = 100  # of a run with more recipes, only those that do not pass throughout
console = Console()
error_console = Console(stderr=True)


class Exit(IntEnum):
    """Exit status of every command."""

    ALL_PASS = 0
    NOT_ALL_PASS = 1
    BAD_INPUT = 2
    INCOMPLETE = 3


def show_rows(rows: list[dict[str, str]]) -> None:
    """Print rows as a table."""
    table = Table(*rows[0], box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row.values()))
    console.print(table)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each worker, with counts and time left."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=error_console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(worker: str, done: int, total: int) -> None:
            if worker not in tasks:
                tasks[worker] = bars.add_task(worker, total=total)
            bars.update(tasks[worker], completed=done)

        yield show


def show_run(folder: Path, *, require_all: bool = False) -> Exit:
    """Print the summary table of a run and where its report is; the exit status that it calls for.

    Raises StoreError.
    """
    from conformance.results import frames
    from conformance.results.run import Run

    run = Run(folder)
    records = run.records
    if records.empty:
        return Exit.INCOMPLETE
    matrix = frames.verdict_matrix(records)
    if len(matrix) > ROWS_SHOWN:
        passing = (matrix.drop(columns="recipe") == "pass").all(axis=1)
        console.print(f"{passing.sum()} recipes pass in every implementation and precision; the others:")
        matrix = matrix[~passing]
    table = Table(*matrix.columns, box=None, header_style="bold", pad_edge=False)
    for row in matrix.itertuples(index=False):
        table.add_row(*row)
    console.print(table)
    for failure in frames.first_failures(records).head(FAILURES_SHOWN).to_dict("records"):
        place = "{recipe} {dtype}: {check}, {stage}, {tensor}, step {step}: {verdict}".format_map(failure)
        text = f"[bold red]{failure['implementation']}[/] {escape(place)}. {escape(failure['cause'])}"
        console.print(text, highlight=False)
    counts = records["verdict"].value_counts()
    console.print("\n" + ", ".join(f"{counts[v]} {v}" for v in frames.VERDICTS if v in counts) + " records")
    reused = run.facts.get("reused", 0)
    if reused:
        trainings = len(run.facts["plan"]["tasks"]) * len(run.facts["plan"]["implementations"])
        console.print(f"{reused} of {trainings} trainings are of earlier runs of the very same; --fresh measures anew")
    if run.incomplete:
        console.print(f"INCOMPLETE: {run.incomplete}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"report: {folder / 'summary.md'}", soft_wrap=True, markup=False, highlight=False)
    if run.incomplete and not run.stopped:
        return Exit.INCOMPLETE
    return Exit.ALL_PASS if run.not_passing(require_all=require_all).empty else Exit.NOT_ALL_PASS


def show_soak(asked: "Soak") -> Exit:
    """Print the counts of the finished portions of a soak; the exit status that they call for."""
    from conformance.audit import soak as soaking

    tally = soaking.tally(asked)
    table = Table("check", "dtype", box=None, header_style="bold", pad_edge=False)
    for column in ("records", "pass", "inconclusive", "share", "false alarms"):
        table.add_column(column, justify="right")
    for row in (*tally.counts, tally.total):
        numbers = (row.records, row.passed, row.inconclusive, f"{row.share:.2%}", row.false_alarms)
        table.add_row(row.check, row.dtype, *map(str, numbers))
    console.print(table)
    for alarm in tally.first_false_alarms.head(FALSE_ALARMS_SHOWN).to_dict("records"):
        place = "{recipe} {dtype}: {check}, {stage}, {tensor}, step {step}: {verdict}".format_map(alarm)
        size = "error {error:.3g}, allowance {allowance:.3g}".format_map(alarm)
        text = f"[bold red]{alarm['implementation']}[/] {escape(place)}, {size}. {escape(alarm['cause'])}"
        console.print(text, highlight=False)
    console.print(
        f"\n{tally.recipes} of {asked.recipes} recipes x {asked.seeds} seeds x {len(asked.implementations)}"
        f" implementations in {tally.seconds / 60:.0f} minutes: {tally.total.records} records,"
        f" {tally.total.inconclusive} inconclusive, {tally.total.false_alarms} false alarms",
        soft_wrap=True,
    )
    if not tally.total.records:
        return Exit.INCOMPLETE
    return Exit.NOT_ALL_PASS if tally.total.false_alarms else Exit.ALL_PASS


def stop(status: Exit, message: str) -> NoReturn:
    """Say why on standard error, and end with a status."""
    error_console.print(f"[bold]conformance:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(status)
