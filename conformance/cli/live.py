"""A run while it goes on, drawn on a whole terminal: a table of verdicts so far, who is at what, and the time left.

It is as high and as wide as there is room. Where there are more recipes than lines, those are shown first at which
somebody is at work, then those that fail.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from conformance.cli.board import Board, Cell, Work
from conformance.cli.display import span, visible
from conformance.runs.schedule import ORACLE
from conformance.verdicts.compare import Verdict

SHORTEST = 12  # columns of a name that is cut, at least
LONGEST_HEADING = 20  # columns of an implementation's name
BAR = 20  # columns
WORK_LINES = 8  # at most, of who is at what


class Mark(NamedTuple):
    """A sign, the sign where a terminal has ASCII alone, and a style."""

    sign: str
    ascii: str
    style: str


FAILING = Mark("✗", "x", "bold red")
MARKS = {
    Verdict.PASS: Mark("✓", "+", "green"),
    Verdict.INCONCLUSIVE: Mark("?", "?", "yellow"),
    Verdict.DIVERGED: Mark("~", "~", "yellow"),
    Verdict.UNSUPPORTED: Mark("-", "-", "yellow"),
    **dict.fromkeys((Verdict.FAIL, Verdict.MISSING, Verdict.CRASHED, Verdict.TIMEOUT), FAILING),
}
AT_WORK = Mark("▸", ">", "")
WAITING = Mark("·", ".", "dim")


class Name:
    """A name that loses its middle where there is no room for all of it. ``longest``: columns that it takes at most."""

    def __init__(self, name: str, longest: int | None = None) -> None:
        self.name = visible(name)
        self.longest = min(cell_len(self.name), longest or cell_len(self.name))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(self.longest, SHORTEST), self.longest)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(self.longest, options.max_width)
        yield Text(without_middle(self.name, width, "..." if options.ascii_only else "…"), no_wrap=True, end="")


def without_middle(name: str, width: int, ellipsis: str = "…") -> str:
    """A name in so many columns.

    >>> without_middle("digits-softmax-adam", 10)
    'digit…adam'
    """
    if cell_len(name) <= width:
        return name
    kept = max(0, width - cell_len(ellipsis))
    head, tail = (kept + 1) // 2, kept // 2
    return set_cell_size(name, head) + ellipsis[:width] + set_cell_size(name[::-1], tail)[::-1]


class LiveTable:
    """A board, drawn."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._bar = Progress(
            BarColumn(bar_width=BAR),
            MofNCompleteColumn(),
            TextColumn("trainings"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            auto_refresh=False,
        )
        self._whole = self._bar.add_task("", total=board.total, left="")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.height - 2  # without those of the counts and of the bar
        work = self.board.work[: max(0, min(WORK_LINES, lines // 3))]
        yield from self._table(lines - len(work), options.ascii_only)
        if work:
            yield _who_is_at_what(work)
        counts = self._counts(options.ascii_only)
        if counts and lines >= 0:
            yield counts
        yield self._progress()

    def _table(self, lines: int, ascii_only: bool) -> RenderResult:
        """The verdicts so far, in so many lines with the heading; nothing where there is no room for any."""
        board = self.board
        cells = {recipe: [board.cell(recipe, name) for name in board.implementations] for recipe in board.dtypes}
        planned = {recipe: [cell for cell in own if cell.checks] for recipe, own in cells.items()}
        shown = sorted(cells, key=lambda recipe: _rank(planned[recipe]))
        if len(shown) >= lines:
            shown = shown[: max(0, lines - 2)]  # the last line tells of the others
        if not shown:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("recipe")
        for name in board.implementations:
            table.add_column(Name(name, LONGEST_HEADING), no_wrap=True)
        for recipe in filter(set(shown).__contains__, cells):
            table.add_row(Name(recipe), *(_cell(cell, ascii_only) for cell in cells[recipe]))
        yield table
        if len(shown) < len(cells):
            yield _line(_others([own for recipe, own in planned.items() if recipe not in shown]), "dim")

    def _counts(self, ascii_only: bool) -> Text:
        """How many trainings are finished, by verdict."""
        found = self.board.verdicts
        parts = [
            _marked(MARKS[verdict], f"{found[verdict]} {verdict}", ascii_only) for verdict in Verdict if found[verdict]
        ]
        return Text("   ", no_wrap=True, overflow="ellipsis").join(parts)

    def _progress(self) -> Progress:
        """The run as a whole."""
        done, seconds = self.board.verdicts.total(), self.board.seconds_left
        if self.board.ended:
            left = f"{self.board.ended}: writing the report"
        elif done == self.board.total:
            left = "writing the report"
        else:
            left = "loading" if seconds is None else f"{span(seconds)} left"
        self._bar.update(self._whole, completed=done, left=left)
        return self._bar


def _rank(cells: Sequence[Cell]) -> int:
    """Which recipes are shown first where there is no room for all."""
    if any(cell.at_work for cell in cells):
        return 0
    if any(cell.failing for cell in cells):
        return 1
    if all(cell.finished for cell in cells):
        return 5 if all(cell.verdict == Verdict.PASS for cell in cells) else 3
    return 2 if any(cell.judged for cell in cells) else 4


def _others(hidden: Sequence[Sequence[Cell]]) -> str:
    """What is to be said of the recipes that are not shown."""
    failing = sum(any(cell.failing for cell in own) for own in hidden)
    waiting = sum(not any(cell.judged for cell in own) for own in hidden)
    passing = sum(all(cell.finished and cell.verdict == Verdict.PASS for cell in own) for own in hidden)
    others = len(hidden) - failing - passing - waiting
    parts = ((failing, "fail"), (passing, "pass"), (others, "in between"), (waiting, "wait"))
    return f"and {len(hidden)} more: " + ", ".join(f"{number} {what}" for number, what in parts if number)


def _cell(cell: Cell, ascii_only: bool) -> Text:
    """A verdict so far, and how many checks are judged of how many; nothing where none is planned."""
    if not cell.checks:
        return Text()
    if not cell.judged and not cell.at_work:
        return _marked(WAITING, "", ascii_only)
    mark = MARKS[cell.verdict or Verdict.PASS]
    share = "" if cell.finished else f"{cell.judged}/{cell.checks}"
    if cell.at_work and not cell.failing:
        mark = AT_WORK._replace(style=mark.style)
    named = cell.failing or (cell.finished and cell.verdict)
    return _marked(mark, f"{cell.verdict} {share}" if named else share, ascii_only)


def _who_is_at_what(work: Sequence[Work]) -> Table:
    """A line for each worker that is at work: its name, the recipe, the precision, the check, and for how long."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for no_wrap in (False, False, True, True, True):  # the names give way
        table.add_column(no_wrap=no_wrap)
    for each in work:
        check = "makes the case" if each.worker == ORACLE else each.check or "begins"
        table.add_row(Name(each.worker, LONGEST_HEADING), Name(each.recipe), each.dtype, check, f"{each.seconds:.0f} s")
    return table


def _marked(mark: Mark, text: str, ascii_only: bool) -> Text:
    return _line(f"{mark.ascii if ascii_only else mark.sign} {text}".rstrip(), mark.style)


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
