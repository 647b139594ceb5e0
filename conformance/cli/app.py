"""The commands; some are in ``checking``, ``comparing``, ``exchanging`` and others beside this file."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from conformance.cli import (
    charting,
    checking,
    comparing,
    converting,
    ejecting,
    exchanging,
    identifying,
    making,
    picking,
    translating,
    vectoring,
)
from conformance.cli.display import Exit, progress_bars, say, show_rows, show_soak, stop
from conformance.cli.outputs import require_folder
from conformance.cli.streams import Output
from conformance.data.wording import one_line


class _Commands(TyperGroup):
    """Whose commands, interrupted or in trouble with a disk, did not come to their end; click would say they failed."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            stop(Exit.INCOMPLETE, "interrupted")
        except OSError as error:  # where a command does not say more of it itself
            stop(Exit.INCOMPLETE, one_line(str(error)))


app = typer.Typer(
    cls=_Commands,
    help="Is my model in PyTorch the same model as in JAX, TensorFlow or NumPy, and if not, where?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # what was typed is said as it is, and in a pipe nothing is boxed or wrapped
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from conformance import __version__

        print(f"conformance {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command("list")
def list_what(
    what: Annotated[str, typer.Argument(help="recipes, models, optimizers, dialects, regularizers, normalizations, "
                                             "schedules, initializers, losses, activations, layers, datasets, checks, "
                                             "suites, coverage, faults, implementations or subjects")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:  # fmt: skip
    """List what can be named in a recipe or on the command line, and the implementations that are installed."""
    from conformance.cli import listing

    try:
        rows = listing.listing(what)
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    numbers = [column for column, value in rows[0].items() if isinstance(value, int) and not isinstance(value, bool)]
    show_rows(listing.as_cells(what, rows), right=numbers)


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(help="A name that `conformance list recipes` shows, or a file.")],
) -> None:
    """Write a recipe as TOML, with every keyword, to be changed and run."""
    from conformance.cli.showing import written
    from conformance.recipes.choosing import find

    try:
        print(written(find(recipe)), end="")
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))


@app.command()
def run(
    context: typer.Context,
    suite: Annotated[str | None, typer.Option(help="quick, default, full or builtins (see `list suites`).")] = None,
    recipe: Annotated[list[str] | None, typer.Option(help="A recipe's name, or a file; may be repeated.")] = None,
    select: Annotated[
        str | None, typer.Option("--select", "-k", help="Only recipes of these names (patterns).")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Built-ins of the frameworks, or patterns of them, separated by commas; see `list subjects`."
        ),
    ] = None,
    implementation: Annotated[
        str | None,
        typer.Option(
            help="Names, package.module:Class or an ejected FILE.py, separated by commas; by default what is installed."
        ),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH: this implementation runs in another Python environment; may be repeated."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Precisions, separated by commas; by default those that each recipe names.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, gpu or tpu.")] = "cpu",
    check: Annotated[str | None, typer.Option(help="Only these checks, separated by commas.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Workers at once; 0: one for each processor.")] = 0,
    scheduler: Annotated[
        str | None,
        typer.Option(help="dask: its own processes do the work; dask=ADDRESS: the workers of that scheduler."),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--exitfirst", "-x", help="End with the first check that does not pass.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which a check is stopped.")] = 900.0,
    memory: Annotated[int, typer.Option(min=0, help="MiB above which a worker is stopped; 0: no limit.")] = 0,
    require_all: Annotated[
        bool, typer.Option("--require-all", help="What an implementation does not offer counts as not passed.")
    ] = False,
    keep_traces: Annotated[bool, typer.Option("--keep-traces", help="Keep the tensors of what passed too.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure every implementation anew, also where nothing changed.")
    ] = False,
    explained: Annotated[
        bool,
        typer.Option("--explain/--no-explain", help="Seek the causes of failures at the end, for a minute at most."),
    ] = True,
    resume: Annotated[Path | None, typer.Option(help="Do what a run lacks that was broken off, in its folder.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run, a new or an empty one; by default reports/TIME.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the verdict and where the report is.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end; progress goes to standard error.")
    ] = False,
) -> None:
    """Hold implementations against the oracle and write a report. Without SUITE, RECIPE and SUBJECT: the default suite.

    Status 0 if all pass, 1 if some check did not pass, 2 for bad usage or input, 3 for a run that did not come to its
    end.
    """
    from conformance.cli import running
    from conformance.cli.naming import require_alone
    from conformance.cli.result import Manner
    from conformance.recipes.subjects import separated

    manner = Manner(require_all, quiet, as_json)
    if resume is not None:
        beside = ("require_all", "quiet", "as_json", "scheduler")
        require_alone("resume", context, beside, "a run goes on as it was begun")
        raise typer.Exit(running.go_on(resume, manner, scheduler))
    asked = running.Asked(
        recipes=recipe or [],
        implementations=implementation,
        pythons=python or [],
        options={
            "suite": suite,
            "select": select,
            "subjects": None if subject is None else separated(subject),
            "dtypes": None if dtype is None else dtype.split(","),
            "device": device,
            "output": output,
            "workers": jobs,
            "check_seconds": timeout,
            "memory_bytes": memory * 2**20,
            "stop_at_failure": stop,
            "keep_traces": keep_traces,
            "explain": explained,
            "reuse": not (fresh or keep_traces),
            **({} if check is None else {"checks": check.split(",")}),
        },
        scheduler=scheduler,
    )
    raise typer.Exit(running.begin(asked, manner))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    require_all: Annotated[
        bool, typer.Option("--require-all", help="What an implementation does not offer counts as not passed.")
    ] = False,
) -> None:
    """Make the report files of a run anew from its records. Status 3 for a run that did not come to its end."""
    from conformance.cli import running
    from conformance.cli.result import Manner

    raise typer.Exit(running.make_report(folder, Manner(require_all)))


@app.command()
def explain(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    recipe: Annotated[str | None, typer.Argument(help="One recipe of it; without, all that did not pass.")] = None,
    implementation: Annotated[str | None, typer.Option(help="One implementation of it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say where an implementation first leaves the oracle, and why. What is found is kept with the run.

    Status 1 if something remains unexplained, 3 for a run that did not come to its end.
    """
    from conformance.diagnosis import explain as explaining
    from conformance.diagnosis.explanation import as_dict, text
    from conformance.results.run import load_run
    from conformance.results.store import StoreError

    try:
        found = explaining.explain(folder, recipe, implementation)
        run = load_run(folder)
        lacking = run.incomplete
    except StoreError as error:
        stop(Exit.BAD_INPUT, str(error))
    try:
        explaining.keep(folder, found)
    except OSError as error:
        say(f"conformance: what was found is not kept with the run: {error}", error=True)
    if as_json:
        print(json.dumps([as_dict(explanation) for explanation in found], indent=2))
    else:
        print("\n\n".join(map(text, found)) or "nothing to explain: no record failed")
    if lacking and not run.stopped:
        stop(Exit.INCOMPLETE, f"INCOMPLETE: {lacking}")
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
    """Inject every known fault and see whether the checks catch it. Status 1 if one that they should catch gets by.

    With --json each outcome is a line as soon as it is found, so a trial that is broken off leaves what it has.
    """
    from conformance.audit import mutation
    from conformance.cli.naming import implementations
    from conformance.faults.injection import PACKAGES
    from conformance.recipes.components import choose_all
    from conformance.recipes.recipe import DTYPES
    from conformance.runs.outcome import Incomplete

    try:
        names = choose_all("implementation", implementations(implementation), tuple(PACKAGES))
        dtypes = choose_all("dtype", dtype.split(","), DTYPES)
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    if explained:
        raise typer.Exit(_explain_mutants(names, as_json))
    try:
        with progress_bars() as progress:
            found = mutation.try_all(names, dtypes, progress, _print_line if as_json else mutation.untold)
    except Incomplete as error:
        stop(Exit.INCOMPLETE, str(error))
    if not as_json:
        show_rows(mutation.table(found))
        for line in mutation.score(found):
            say(line)
    raise typer.Exit(Exit.NOT_ALL_PASS if mutation.missed(found) else Exit.ALL_PASS)


def _print_line(values: Mapping[str, Any]) -> None:
    """Print an object as one line of JSON, whole even if the command is broken off after it."""
    from conformance.verdicts.record import for_json

    print(json.dumps(for_json(values)), flush=True)


def _explain_mutants(names: list[str], as_json: bool) -> Exit:
    """Print which mutants are explained under their own name. Returns the exit status that they call for."""
    from conformance.audit import recognition
    from conformance.audit.mutation import untold
    from conformance.runs.outcome import Incomplete

    try:
        with progress_bars() as progress:
            found = recognition.try_all(names, progress, _print_line if as_json else untold)
    except Incomplete as error:
        stop(Exit.INCOMPLETE, str(error))
    if not as_json:
        for line in recognition.score(found):
            say(line)
    return Exit.ALL_PASS if all(each.recognised for each in found) else Exit.NOT_ALL_PASS


@app.command()
def soak(
    recipes: Annotated[int, typer.Option(min=1, help="How many random recipes.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds of each.")] = 5,
    implementation: Annotated[str, typer.Option(help="Names, or package.module:Class, separated by commas.")] = (
        "numpy,torch,tf,jax"
    ),
    networks: Annotated[bool, typer.Option("--networks", help="Of random networks of layers.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder; reports/soak or reports/soak-networks.")] = None,
) -> None:
    """Count false alarms on random recipes, with a run for every twenty. What was finished in OUTPUT is kept."""
    from conformance.adapters.registry import resolve
    from conformance.audit import soak as soaking
    from conformance.cli.naming import implementations
    from conformance.runs.outcome import BadInput, Incomplete

    if output is not None:
        require_folder("--output", output)
    try:
        known = {name: resolve(name) for name in implementations(implementation)}
        folder = output or Path("reports/soak-networks" if networks else "reports/soak")
        asked = soaking.Soak(recipes, seeds, known, folder, networks)
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    try:
        with progress_bars() as progress:
            soaking.work_through(asked, progress)
    except BadInput as error:
        stop(Exit.BAD_INPUT, str(error))
    except Incomplete as error:
        show_soak(asked)
        stop(Exit.INCOMPLETE, str(error))
    except KeyboardInterrupt:
        stop(Exit.INCOMPLETE, f"interrupted; the same command goes on with what {folder} lacks")
    raise typer.Exit(show_soak(asked))


app.add_typer(charting.commands)
app.add_typer(checking.commands)
app.add_typer(comparing.commands)
app.add_typer(converting.commands)
app.add_typer(ejecting.commands)
app.add_typer(exchanging.commands)
app.add_typer(identifying.commands)
app.add_typer(making.commands, name="new")
app.add_typer(picking.commands)
app.add_typer(translating.commands)
app.add_typer(vectoring.commands)


def main() -> None:
    """Entry point of the ``conformance`` command."""
    output = Output()
    try:
        app()
    except SystemExit as ended:  # as every command ends
        sys.exit(output.status(ended.code) if isinstance(ended.code, int) else ended.code)
