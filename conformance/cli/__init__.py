"""The command line: ``conformance list``, ``run``, ``report``, ``explain``, ``mutants``, ``soak``."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

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
    from conformance.runs.run import Order


class Exit(IntEnum):
    """Exit status of every command."""

    ALL_PASS = 0
    NOT_ALL_PASS = 1
    BAD_INPUT = 2
    INCOMPLETE = 3


app = typer.Typer(
    help="Is my model in PyTorch the same model as in JAX, TensorFlow or NumPy, and if not, where?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
FAILURES_SHOWN = 5  # the rest is in the report
FALSE_ALARMS_SHOWN = 20  # of a soak; the rest is in the reports of its runs
ROWS_SHOWN = 100  # of a run with more recipes, only those that do not pass throughout
console = Console()
error_console = Console(stderr=True)


@app.command("list")
def list_what(
    what: Annotated[str, typer.Argument(help="models, optimizers, dialects, regularizers, normalizations, schedules, "
                                             "initializers, losses, activations, datasets, checks, suites, coverage "
                                             "or implementations")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:  # fmt: skip
    """List what can be named in a recipe or on the command line."""
    from conformance.cli import listing

    try:
        rows = listing.listing(what)
    except ValueError as error:
        _stop(Exit.BAD_INPUT, str(error))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    _show_rows(rows)


@app.command()
def run(
    suite: Annotated[str | None, typer.Option(help="quick, default or full (see `conformance list suites`).")] = None,
    recipe: Annotated[list[Path] | None, typer.Option(help="A recipe file, TOML or JSON; may be repeated.")] = None,
    implementation: Annotated[str, typer.Option(help="Names, or package.module:Class, separated by commas.")] = (
        "numpy,torch,tf,jax"
    ),
    dtype: Annotated[str, typer.Option(help="Precisions, separated by commas.")] = "float64,float32",
    device: Annotated[str, typer.Option(help="cpu, gpu or tpu.")] = "cpu",
    output: Annotated[Path | None, typer.Option(help="Folder of the run; by default reports/TIME.")] = None,
) -> None:
    """Hold implementations against the oracle and write a report. Without SUITE and RECIPE: the default suite."""
    from conformance.runs import run as runs

    try:
        order = _order(suite, recipe or [], implementation, dtype, device, output)
    except ValueError as error:
        _stop(Exit.BAD_INPUT, str(error))
    try:
        with _progress() as progress:
            runs.carry_out(order, progress)
        if output is None:
            runs.point_latest_to(order.folder)
    except runs.BadInput as error:
        _stop(Exit.BAD_INPUT, str(error))
    except runs.Incomplete as error:
        _show(order.folder)
        _stop(Exit.INCOMPLETE, str(error))
    except KeyboardInterrupt:
        _stop(Exit.INCOMPLETE, f"interrupted; what was finished is in {order.folder}")
    raise typer.Exit(_show(order.folder))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Make the report files of a run anew from its records."""
    from conformance.reports import write_reports
    from conformance.results.store import StoreError

    try:
        write_reports(folder)
    except StoreError as error:
        _stop(Exit.BAD_INPUT, str(error))
    raise typer.Exit(_show(folder))


@app.command()
def explain(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    recipe: Annotated[str | None, typer.Argument(help="One recipe of it; without, all that did not pass.")] = None,
    implementation: Annotated[str | None, typer.Option(help="One implementation of it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say where an implementation first leaves the oracle, and why. Status 1 if something remains unexplained."""
    from conformance.diagnosis import explain as explaining
    from conformance.diagnosis.explanation import as_dict, text
    from conformance.results.store import StoreError

    try:
        found = explaining.explain(folder, recipe, implementation)
    except StoreError as error:
        _stop(Exit.BAD_INPUT, str(error))
    if as_json:
        print(json.dumps([as_dict(explanation) for explanation in found], indent=2))
    else:
        print("\n\n".join(map(text, found)) or "nothing to explain: no record failed")
    raise typer.Exit(Exit.ALL_PASS if all(explanation.explained for explanation in found) else Exit.NOT_ALL_PASS)


@app.command()
def mutants(
    implementation: Annotated[str, typer.Option(help="numpy, torch, tf, jax, separated by commas.")] = "numpy",
    dtype: Annotated[str, typer.Option(help="Precisions, separated by commas.")] = "float64,float32",
    explained: Annotated[
        bool, typer.Option("--explain", help="Ask, in float64, whether each is explained under its own name.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Inject every known fault and see whether the checks catch it. Status 1 if one that they should catch gets by."""
    from conformance.audit import mutation
    from conformance.faults.injection import PACKAGES
    from conformance.runs.run import Incomplete
    from conformance.verdicts.record import for_json

    try:
        names = _choose("implementation", implementation.split(","), tuple(PACKAGES))
        dtypes = _choose("dtype", dtype.split(","), ("float64", "float32"))
    except ValueError as error:
        _stop(Exit.BAD_INPUT, str(error))
    if explained:
        raise typer.Exit(_explain_mutants(names, as_json))
    try:
        with _progress() as progress:
            found = mutation.try_all(names, dtypes, progress)
    except Incomplete as error:
        _stop(Exit.INCOMPLETE, str(error))
    if as_json:
        print(json.dumps([for_json(outcome._asdict()) for outcome in found], indent=2))
    else:
        _show_rows(mutation.table(found))
        for line in mutation.score(found):
            console.print(line, highlight=False)
    raise typer.Exit(Exit.NOT_ALL_PASS if mutation.missed(found) else Exit.ALL_PASS)


@app.command()
def soak(
    recipes: Annotated[int, typer.Option(min=1, help="How many random recipes.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds of each.")] = 5,
    implementation: Annotated[str, typer.Option(help="Names, or package.module:Class, separated by commas.")] = (
        "numpy,torch,tf,jax"
    ),
    output: Annotated[Path, typer.Option(help="Folder of the soak.")] = Path("reports/soak"),
) -> None:
    """Count false alarms on random recipes, with a run for every twenty. What was finished in OUTPUT is kept."""
    from conformance.adapters.session import resolve
    from conformance.audit import soak as soaking
    from conformance.runs import run as runs

    try:
        asked = soaking.Soak(recipes, seeds, {name: resolve(name) for name in implementation.split(",")}, output)
    except ValueError as error:
        _stop(Exit.BAD_INPUT, str(error))
    try:
        with _progress() as progress:
            soaking.work_through(asked, progress)
    except runs.BadInput as error:
        _stop(Exit.BAD_INPUT, str(error))
    except runs.Incomplete as error:
        _show_soak(asked)
        _stop(Exit.INCOMPLETE, str(error))
    except KeyboardInterrupt:
        _stop(Exit.INCOMPLETE, f"interrupted; the same command goes on with what {output} lacks")
    raise typer.Exit(_show_soak(asked))


def _order(
    suite: str | None, files: list[Path], implementation: str, dtype: str, device: str, output: Path | None
) -> "Order":
    """Check the options and make the order. Raises ValueError, naming the option."""
    from conformance.adapters.session import resolve
    from conformance.recipes.recipe import load_recipe
    from conformance.recipes.suites import names
    from conformance.recipes.suites import suite as recipes_of
    from conformance.runs.run import Order, new_folder

    _choose("device", [device], ("cpu", "gpu", "tpu"))
    dtypes = _choose("dtype", dtype.split(","), ("float64", "float32"))
    suites = [suite] if suite else [] if files else ["default"]
    recipes = [(name, found) for name in suites for found in recipes_of(name)]
    recipes += [("file", load_recipe(path)) for path in files]
    names(found for _, found in recipes)
    implementations = {name: resolve(name) for name in implementation.split(",")}
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output={str(output)!r} is not allowed: must be a new or an empty folder")
    return Order(recipes, implementations, dtypes, device, output or new_folder(Path("reports")))


def _explain_mutants(names: list[str], as_json: bool) -> Exit:
    """Print which mutants are explained under their own name. Returns the exit status that they call for."""
    from conformance.audit import recognition
    from conformance.runs.run import Incomplete

    try:
        with _progress() as progress:
            found = recognition.try_all(names, progress)
    except Incomplete as error:
        _stop(Exit.INCOMPLETE, str(error))
    if as_json:
        print(json.dumps([each._asdict() for each in found], indent=2))
    else:
        for line in recognition.score(found):
            console.print(line, highlight=False, markup=False)
    return Exit.ALL_PASS if all(each.recognised for each in found) else Exit.NOT_ALL_PASS


def _show_rows(rows: list[dict[str, str]]) -> None:
    table = Table(*rows[0], box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row.values()))
    console.print(table)


def _choose(option: str, values: list[str], allowed: tuple[str, ...]) -> list[str]:
    for value in values:
        if value not in allowed:
            raise ValueError(f"{option}={value!r} is not allowed: must be among {', '.join(allowed)}")
    return list(dict.fromkeys(values))


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each worker, with counts and time left."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=error_console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(worker: str, done: int, total: int) -> None:
            if worker not in tasks:
                tasks[worker] = bars.add_task(worker, total=total)
            bars.update(tasks[worker], completed=done)

        yield show


def _show(folder: Path) -> Exit:
    """Print the summary table of a run and where its report is; the exit status that its verdicts call for."""
    from conformance.results import frames
    from conformance.results.store import Store
    from conformance.verdicts.compare import NOT_FAILING

    records = frames.load_records(Store(folder))
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
    console.print(f"report: {folder / 'summary.md'}", soft_wrap=True)
    return Exit.ALL_PASS if set(counts.index) <= set(NOT_FAILING) else Exit.NOT_ALL_PASS


def _show_soak(asked: "Soak") -> Exit:
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


def _stop(status: Exit, message: str) -> NoReturn:
    error_console.print(f"[bold]conformance:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(status)


def main() -> None:
    """Entry point of the ``conformance`` command."""
    sys.exit(app())
