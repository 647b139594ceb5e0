"""What the commands print: lines, tables, bars, a panel, and the exit status.

What a user named is printed as it is: no markup, no emoji codes, no highlighting. In a pipe nothing is styled, wrapped
or cut. rich is imported where a terminal is written to.
"""

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

from conformance.data.wording import in_columns

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from conformance.audit.soak import Soak

FALSE_ALARMS_SHOWN = 20  # of a soak; the rest is in the reports of its runs
LONGEST_FACT = 480  # columns of a line in a panel
TENTHS = 10  # lines of progress for each worker where there is no terminal
SECONDS_BETWEEN = 30.0  # after which a line comes before the next tenth

Progress = Callable[[str, int, int], None]
Part = str | tuple[str, str]  # text, or text and its style
Line = Sequence[Part]


class Exit(IntEnum):
    """Exit status of every command."""

    ALL_PASS = 0
    NOT_ALL_PASS = 1
    BAD_INPUT = 2
    INCOMPLETE = 3


def say(*parts: Part, error: bool = False, fold: bool = False) -> None:
    """Print a line, styled on a terminal alone, where it is broken between words if it is to be folded."""
    stream = sys.stderr if error else sys.stdout
    if stream.isatty():
        _console(stream).print(_text(parts), soft_wrap=not fold)
    else:
        _write(stream, _plain(parts))


def _console(stream: TextIO) -> "Console":
    """A terminal, on which what it cannot show is written out."""
    from rich.console import Console

    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return Console(file=stream)


def visible(text: str) -> str:
    r"""``text`` without what would steer a terminal or cannot be encoded, other than the ends of lines.

    >>> visible("\x1b[31mred\x00")
    '\\x1b[31mred\\x00'
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" or sign.isspace() else sign.encode("unicode_escape").decode()
        for sign in text.replace("\r", "\\r")
    )


def _plain(parts: Iterable[Part]) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in parts)


def _write(stream: TextIO, line: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(visible(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _text(parts: Iterable[Part]) -> "Text":
    from rich.text import Text

    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((visible(text), style) for text, style in pairs))


def show_rows(rows: Sequence[dict[str, str]], right: Collection[str] = ()) -> None:
    """Print rows as a table, with the columns of numbers ``right`` aligned."""
    if rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows], right)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Collection[str] = (),
    style: Callable[[str], str] = lambda cell: "",
) -> None:
    """Print a table: folded to the width of a terminal, where each cell has a ``style``; in a pipe a row is a line."""
    cells = [[visible(str(cell)).replace("\n", "\\n") for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in in_columns(columns, cells, right):
            _write(sys.stdout, line)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style(cell)) for cell in row))
    _console(sys.stdout).print(table)


def terminal() -> "Console | None":
    """The terminal on standard error, if lines can be drawn anew on it."""
    if not sys.stderr.isatty():
        return None
    console = _console(sys.stderr)
    return console if console.is_interactive else None


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A bar for each worker, with counts and time left; where there is no terminal, a plain line at each tenth."""
    console = terminal()
    if console is None:
        yield plain_progress()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    name = TextColumn("{task.description:10}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(worker: str, done: int, total: int) -> None:
            if worker not in tasks:
                tasks[worker] = bars.add_task(visible(worker), total=total)
            bars.update(tasks[worker], completed=done)

        yield show


def untold(worker: str, done: int, total: int) -> None:
    """Progress that nobody is told."""


def plain_progress(clock: Callable[[], float] = time.monotonic) -> Progress:
    """Progress as lines on standard error: a worker's first, one at each tenth, and at least one in half a minute."""
    told: dict[str, tuple[int, float]] = {}

    def show(worker: str, done: int, total: int) -> None:
        before, when = told.get(worker, (-1, clock()))
        tenth = before < 0 or TENTHS * done // max(total, 1) > TENTHS * before // max(total, 1)
        if done != before and (tenth or clock() - when >= SECONDS_BETWEEN):
            told[worker] = (done, clock())
            _write(sys.stderr, f"{worker}: {done} of {total}")

    return show


def show_panel(lines: Iterable[Line], style: str) -> None:
    """Print lines, one for each fact. On a terminal between rules, without sides so that a command can be copied.

    There a very long one, which the report has too, is cut.
    """
    if not sys.stdout.isatty():
        print()
        for line in lines:
            _write(sys.stdout, _plain(line).replace("\n", "\\n"))
        return
    from rich.box import HORIZONTALS
    from rich.console import Group
    from rich.panel import Panel

    facts = [_text(line) for line in lines]
    for fact in facts:
        fact.truncate(LONGEST_FACT, overflow="ellipsis")
    _console(sys.stdout).print(Panel(Group(*facts), box=HORIZONTALS, border_style=style))


def span(seconds: float) -> str:
    """A time as one says it.

    >>> span(4.2), span(150.0), span(9000.0)
    ('5 s', '3 min', '2 h 30 min')
    """
    if seconds < 60:
        return f"{5 * max(1, round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60 + 0.499))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def show_soak(asked: "Soak") -> Exit:
    """Print the counts of the finished portions of a soak; the exit status that they call for."""
    from conformance.audit import soak as soaking

    tally = soaking.tally(asked)
    numbers = ("records", "pass", "inconclusive", "share", "false alarms")
    rows = [
        [row.check, row.dtype, f"{row.records}", f"{row.passed}", f"{row.inconclusive}", f"{row.share:.2%}",
         f"{row.false_alarms}"]
        for row in (*tally.counts, tally.total)
    ]  # fmt: skip
    show_table(["check", "dtype", *numbers], rows, right=numbers)
    for alarm in tally.first_false_alarms.head(FALSE_ALARMS_SHOWN).to_dict("records"):
        place = "{recipe} {dtype}: {check}, {stage}, {tensor}, step {step}: {verdict}".format_map(alarm)
        size = "error {error:.3g}, allowance {allowance:.3g}".format_map(alarm)
        say((f"{alarm['implementation']}", "bold red"), f" {place}, {size}. {alarm['cause']}")
    say(
        f"\n{tally.recipes} of {asked.recipes} recipes x {asked.seeds} seeds x {len(asked.implementations)}"
        f" implementations in {tally.seconds / 60:.0f} minutes: {tally.total.records} records,"
        f" {tally.total.inconclusive} inconclusive, {tally.total.false_alarms} false alarms"
    )
    if not tally.total.records:
        return Exit.INCOMPLETE
    return Exit.NOT_ALL_PASS if tally.total.false_alarms else Exit.ALL_PASS


def stop(status: Exit, message: str) -> NoReturn:
    """Say why on standard error, and end with a status."""
    say(("conformance:", "bold"), f" {message}", error=True)
    raise typer.Exit(status)
