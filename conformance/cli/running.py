"""``conformance run``, its ``--resume``, and ``report``: what is asked, carried out, and every way in which it ends."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.adapters.installation import FRAMEWORKS, install_command, installed
from conformance.cli.board import Board
from conformance.cli.display import Exit, plain_progress, say, span, stop, terminal, untold
from conformance.cli.naming import implementations
from conformance.cli.outputs import require_folder
from conformance.cli.result import Manner, Result, show_result
from conformance.data.wording import shown
from conformance.recipes.choosing import find
from conformance.reports import write_reports
from conformance.reports.page import number_of
from conformance.results.paths import short
from conformance.results.store import StoreError
from conformance.runs import run
from conformance.runs.folders import as_latest
from conformance.runs.order import plan_of
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.pace import Forecast, forecast
from conformance.runs.plan import Plan
from conformance.runs.pool import Progress
from conformance.runs.scheduler import Scheduler
from conformance.runs.watching import Watch

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
REFRESHES = 2  # a second; drawing the 581 recipes of the full suite takes 30 ms of a processor


@dataclass(frozen=True)
class Asked:
    """What the command line asks for; ``implementations`` of None are what is installed, ``pythons`` are NAME=PATH."""

    recipes: list[str]
    implementations: str | None
    options: dict[str, Any]
    scheduler: str | None = None
    pythons: list[str] = field(default_factory=list)


def begin(asked: Asked, manner: Manner) -> Exit:
    """Carry out a run. The exit status that its end calls for."""
    if asked.options["output"] is not None:
        require_folder("--output", asked.options["output"])
    try:
        recipes = [find(name_or_path) for name_or_path in asked.recipes]
        names = None if asked.implementations is None else implementations(asked.implementations)
        plan = plan_of(recipes, implementations=names, pythons=_pythons(asked.pythons), **asked.options)
        scheduler = _scheduler(asked.scheduler)
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    if not manner.quiet:
        if asked.implementations is None:
            say(_who(plan), error=manner.as_json)
        say(_how_much(forecast(plan)), error=manner.as_json, fold=True)

    def work(progress: Progress, watch: Watch) -> None:
        with as_latest(plan.folder) if asked.options["output"] is None else contextlib.nullcontext():
            run.carry_out(plan, progress, watch, scheduler=scheduler)

    return carry_out(work, plan, lambda folder: show_result(folder, manner), quiet=manner.quiet)


def _pythons(texts: list[str]) -> dict[str, str]:
    """The executables by name. Raises ValueError for a text that is not NAME=PATH, and for a name said twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, path = text.partition("=")
        if not (name and sign and path):
            raise ValueError(f"python={shown(text)} is not allowed: must be NAME=PATH, as in torch=/path/bin/python")
        if name in found:
            raise ValueError(f"python={shown(text)} is not allowed: {name} has one already, {found[name]}")
        found[name] = path
    return found


def _scheduler(text: str | None) -> Scheduler | None:
    """The scheduler that is asked for. Raises ValueError."""
    return None if text is None else Scheduler.named(text)


def go_on(folder: Path, manner: Manner, asked: str | None = None) -> Exit:
    """Do what a run lacks, by the scheduler that is ``asked`` for. The exit status that its end calls for."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "is not there"
        stop(Exit.BAD_INPUT, f"--resume={shown(str(folder))} is not allowed: must be the folder of a run: {found}")
    try:
        scheduler = _scheduler(asked)
        plan = Plan.read(folder.resolve())
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    show = lambda folder: show_result(folder, manner)  # noqa: E731
    return carry_out(
        lambda progress, watch: run.resume(folder, progress, watch, scheduler), plan, show, quiet=manner.quiet
    )


def make_report(folder: Path, manner: Manner) -> Exit:
    """Make the report files anew. The exit status that the run calls for."""
    try:
        write_reports(folder)
        return Exit(show_result(folder, manner).exit_status)
    except StoreError as error:
        stop(Exit.BAD_INPUT, str(error))
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{folder}: {error}")


def carry_out(
    work: Callable[[Progress, Watch], Any], plan: Plan, show: Callable[[Path], Result], *, quiet: bool
) -> Exit:
    """Do the work of a plan, and show what came of it, however it ends. The exit status that its end calls for.

    ``show`` prints what came of the run in a folder. ``quiet``: nothing is told of it before.
    """
    board = Board(plan)
    try:
        with _interruptible(board), _followed(board, quiet=quiet) as progress:
            work(progress, board.take)
        return Exit(show(plan.folder).exit_status)
    except (BadInput, StoreError) as error:
        stop(Exit.BAD_INPUT, str(error))
    except Incomplete as error:
        result = _show_what_is_there(plan.folder, show)
        if result is not None and result.incomplete == str(error) and sys.stdout.isatty():
            return Exit.INCOMPLETE  # which has been said where this would be said
        stop(Exit.INCOMPLETE, str(error))
    except KeyboardInterrupt:
        shown = _show_what_is_there(plan.folder, show) is not None and not quiet
        hint = "" if shown else f"; `conformance run --resume {short(plan.folder)}` goes on with what is missing"
        stop(Exit.INCOMPLETE, (board.ended or "interrupted") + hint)


def _show_what_is_there(folder: Path, show: Callable[[Path], Result]) -> Result | None:
    """Print what came of a run that did not come to its end, if anything did."""
    with contextlib.suppress(StoreError):
        return show(folder)
    return None


@contextlib.contextmanager
def _followed(board: Board, *, quiet: bool) -> Iterator[Progress]:
    """The board, drawn on a terminal; where there is none, plain lines; nothing at all if it is to be ``quiet``."""
    console = None if quiet else terminal()
    if console is None:
        yield plain_progress() if not quiet else untold
        return
    from rich.live import Live

    from conformance.cli.live import LiveTable

    # On a screen of its own nothing is left behind where the terminal is made smaller.
    with Live(LiveTable(board), console=console, screen=True, refresh_per_second=REFRESHES):
        yield untold


@contextlib.contextmanager
def _interruptible(board: Board) -> Iterator[None]:
    """Signals that ask the process to end are exceptions, so that a run leaves a report and nobody behind."""

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]

    def raise_it(number: int, frame: Any) -> None:
        for each in numbers:  # one is enough: the report is to be written now
            signal.signal(each, signal.SIG_IGN)
        board.ended = f"ended by {signal.Signals(number).name}"
        raise KeyboardInterrupt

    before = [signal.signal(number, raise_it) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _who(plan: Plan) -> str:
    """A line on which implementations were chosen, and how those of frameworks that are not here are installed."""
    there = installed()
    absent = [name for name in FRAMEWORKS if name not in there]
    hint = f"; not installed: {', '.join(absent)} ({install_command(','.join(absent))})" if absent else ""
    return f"implementations: {', '.join(plan.implementations)}{hint}"


def _how_much(found: Forecast) -> str:
    """A line on what a run will be: trainings, steps, time and memory."""
    parts = [number_of(found.trainings, "training")]
    if found.kept:
        parts[0] += f", {found.kept} of them kept of earlier runs"
    if found.kept < found.trainings:
        steps = f"{found.steps:,} steps"
        if found.unsized:
            steps += f" and {number_of(found.unsized, 'recipe')} on files"
        least = f"at least {span(found.seconds)} ({', '.join(found.unknown)} not counted)"
        parts += [
            steps,
            least if found.unknown else f"about {span(found.seconds)} by the last runs on this machine",
            f"at most {found.data_bytes / 1e6:.1f} MB of data and random draws in one",
        ]
    return "; ".join(parts)
