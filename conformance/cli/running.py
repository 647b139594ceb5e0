"""``conformance run``, its ``--resume``, and ``report``: what is asked, carried out, and every way in which it ends."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.adapters.installation import FRAMEWORKS, install_command, installed
from conformance.cli.display import Exit, progress_bars, say, show_run, span, stop
from conformance.recipes.choosing import find
from conformance.reports import left_out, write_reports
from conformance.results.paths import short
from conformance.results.store import StoreError
from conformance.runs import run
from conformance.runs.folders import point_latest_to
from conformance.runs.order import plan_of
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.pace import Forecast, forecast
from conformance.runs.pool import Progress

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for: recipe files, implementations (None: what is installed), and options."""

    recipes: list[Path]
    implementations: list[str] | None
    options: dict[str, Any]


class Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end."""


def begin(asked: Asked, *, require_all: bool) -> Exit:
    """Carry out a run. The exit status that its end calls for."""
    try:
        recipes = [find(path) for path in asked.recipes]
        plan = plan_of(recipes, implementations=asked.implementations, **asked.options)
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    if asked.implementations is None:
        _say_what_is_installed()
    _say_how_much(forecast(plan))

    def work(progress: Progress) -> None:
        if asked.options["output"] is None:
            point_latest_to(plan.folder)
        run.carry_out(plan, progress)

    return _carry_out(work, plan.folder, require_all)


def go_on(folder: Path, *, require_all: bool) -> Exit:
    """Do what a run lacks. The exit status that its end calls for."""
    return _carry_out(lambda progress: run.resume(folder, progress), folder, require_all)


def make_report(folder: Path, *, require_all: bool) -> Exit:
    """Make the report files anew. The exit status that the run calls for."""
    try:
        write_reports(folder)
        return _show(folder, require_all)
    except StoreError as error:
        stop(Exit.BAD_INPUT, str(error))
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{folder}: {error}")


def _carry_out(work: Callable[[Progress], Any], folder: Path, require_all: bool) -> Exit:
    try:
        with _interruptible(), progress_bars() as progress:
            work(progress)
        return _show(folder, require_all)
    except (BadInput, StoreError) as error:
        stop(Exit.BAD_INPUT, str(error))
    except Incomplete as error:
        with contextlib.suppress(StoreError):
            _show(folder, require_all)
        stop(Exit.INCOMPLETE, str(error))
    except KeyboardInterrupt as error:
        stop(
            Exit.INCOMPLETE,
            f"{error or 'interrupted'}; `conformance run --resume {short(folder)}` goes on with what is missing",
        )


def _show(folder: Path, require_all: bool) -> Exit:
    """Print what a run came to, and what is missing of its reports; the exit status that it calls for."""
    status = show_run(folder, require_all=require_all)
    if left_out():
        say(left_out())
    return status


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Signals that ask the process to end are exceptions, so that a run leaves a report and nobody behind."""

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]

    def raise_it(number: int, frame: Any) -> None:
        for each in numbers:  # one is enough: the report is to be written now
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(f"ended by {signal.Signals(number).name}")

    before = [signal.signal(number, raise_it) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _say_what_is_installed() -> None:
    there = installed()
    absent = [name for name in FRAMEWORKS if name not in there]
    hint = f"; not installed: {', '.join(absent)} ({install_command(','.join(absent))})" if absent else ""
    say(f"implementations: {', '.join(there)}{hint}")


def _say_how_much(found: Forecast) -> None:
    """A line on what a run will be: trainings, steps, time and memory."""
    parts = [f"{found.trainings} trainings"]
    if found.kept:
        parts[0] += f", {found.kept} of them kept of earlier runs"
    if found.kept < found.trainings:
        steps = f"{found.steps:,} steps" + (f" and {found.unsized} recipes on files" if found.unsized else "")
        least = f"at least {span(found.seconds)} ({', '.join(found.unknown)} not counted)"
        parts += [
            steps,
            least if found.unknown else f"about {span(found.seconds)} by the last runs on this machine",
            f"at most {found.data_bytes / 1e6:.1f} MB of data and random draws in one",
        ]
    say("; ".join(parts))
