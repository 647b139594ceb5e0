"""``conformance compare``, ``history`` and ``plot``: what is told of runs that were."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from conformance.cli.display import Exit, say, show_table, stop
from conformance.cli.outputs import require_file, write_text

if TYPE_CHECKING:
    import pandas as pd

    from conformance.results.comparison import Comparison

ROWS_SHOWN = 40  # of a table on a terminal; a pipe gets all

commands = typer.Typer()


@commands.command()
def compare(
    context: typer.Context,
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Folders of runs; or two dialects, as keras.Adam 'torch.Adam(lr=0.01)'. The first is the baseline.",
        ),
    ],
    html: Annotated[Path | None, typer.Option(help="Write a page, one file that needs no other.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    recipe: Annotated[
        str | None, typer.Option(help="Of dialects: a recipe's name, or a file; by default 200 steps on digits.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Of dialects: KEYWORD=VALUE for both, as learning_rate=0.01.")
    ] = None,
    same_learning_rate: Annotated[
        bool, typer.Option("--same-learning-rate", help="Of dialects: the first one's for both, and that alone.")
    ] = False,
    seeds: Annotated[int, typer.Option(help="Of dialects: how many.")] = 10,
    margin: Annotated[
        float, typer.Option(help="Of dialects: in standard deviations of the first one's results over the seeds.")
    ] = 1.0,
    implementation: Annotated[str, typer.Option(help="Of dialects: numpy, torch, tf or jax.")] = "numpy",
    dtype: Annotated[
        str | None, typer.Option(help="Of dialects: float32 or float64; by default float32, where the recipe has it.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Of dialects: the curves, a file that ends in .svg, .png or .pdf.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Of dialects: the costs of every seed and step.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Of dialects: seconds that the trainings of one seed may take.")
    ] = 900.0,
    memory: Annotated[int, typer.Option(min=0, help="Of dialects: MiB that its process may take; 0: no limit.")] = 0,
) -> None:
    """Hold runs against the first; or two dialects: does it matter on a training which of them is taken?

    Of runs: verdicts that flipped, errors that moved, times, what differs in the environment. Status 0 if nothing came
    to not pass, 1 if something did, 3 if a run lacks something that the other does not lack.

    Of dialects: both train from the same weights, batches and masks, over several seeds, and the ends are tested for
    equivalence. Status 0 if they are equivalent, 1 if they are not or it is undecided, 2 for bad usage or input, 3 if
    the trainings did not come to their end.
    """
    from conformance.cli import dialects

    if html is not None:
        require_file("--html", html)
    if not dialects.are_meant(sides):
        dialects.refuse_beside_runs(context, sides)
        _compare_runs([Path(side) for side in sides], html, as_json=as_json)
    asked: dict[str, Any] = {
        "recipe": recipe, "same_learning_rate": same_learning_rate, "seeds": seeds, "margin": margin,
        "implementation": implementation, "dtype": dtype, "seconds": timeout, "memory": memory * 2**20,
    }  # fmt: skip
    dialects.compare(sides, settings or [], asked, dialects.Outputs(html, figure, csv, as_json))


def _compare_runs(runs: list[Path], html: Path | None, *, as_json: bool) -> NoReturn:
    """Compare runs, and end the command with the status that is called for."""
    from conformance.cli import dialects
    from conformance.reports.comparison_page import page, result
    from conformance.results import comparison

    try:
        found = comparison.compare(*runs)
    except ValueError as error:
        stop(Exit.BAD_INPUT, f"{error}{dialects.nearest_dialect(list(map(str, runs)))}")
    if as_json:
        print(json.dumps(_comparison_for_json(found), indent=2))
    else:
        show_comparison(found)
    if html is not None:
        write_text(html, page(found))
    if len(found.incomplete):
        raise typer.Exit(Exit.INCOMPLETE)
    if found.nothing_compared:
        stop(Exit.BAD_INPUT, result(found))
    raise typer.Exit(Exit.NOT_ALL_PASS if found.regressed else Exit.ALL_PASS)


@commands.command()
def history(
    folder: Annotated[Path, typer.Argument(help="The folder in which the folders of runs are.")] = Path("reports"),
    implementation: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None,
    check: Annotated[str | None, typer.Option(help="Only these checks, separated by commas.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Show all runs in time order: verdicts, margins and seconds, by implementation and check."""
    from conformance.recipes.components import choose_all
    from conformance.results import history as histories

    try:
        found = histories.history(folder)
        trend = found.trend
        for column, asked in (("implementation", implementation), ("check", check)):
            if asked is not None:
                allowed = list(found.trend[column].unique())
                trend = trend[trend[column].isin(choose_all(column, asked.split(","), allowed))]
    except (ValueError, ImportError) as error:
        stop(Exit.BAD_INPUT, str(error))
    for skipped in found.skipped:
        say(("skipped", "bold"), f" {skipped.reason}", error=True)
    if as_json:
        print(json.dumps({"trend": _rows(trend), "skipped": [each._asdict() for each in found.skipped]}, indent=2))
    elif trend.empty:
        stop(Exit.BAD_INPUT, f"{folder}: holds no run")
    else:
        _show_trend(trend)


@commands.command()
def plot(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The figure: a file that ends in .svg, .png or .pdf.")],
    recipe: Annotated[str | None, typer.Option(help="A recipe of the run; margins may be of all together.")] = None,
    what: Annotated[str, typer.Option(help="curves, margins or accuracy.")] = "curves",
    quantity: Annotated[str, typer.Option(help="Of curves: cost, gradient norm, learning rate ...")] = "cost",
    dtype: Annotated[str | None, typer.Option(help="The precision; by default the run's first.")] = None,
) -> None:
    """Draw a figure of a run: curves over the oracle's with their errors, margins of all checks, or accuracies."""
    from conformance.reports import plots

    try:
        plots.ending(output)
        require_file("--output", output)
        figure = plots.plot(run, recipe, what=what, quantity=quantity, dtype=dtype)
    except (ValueError, ImportError) as error:
        stop(Exit.BAD_INPUT, str(error))
    try:
        plots.save(figure, output)
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{output}: cannot be written: {error.strerror}")
    say(f"figure: {output}")


def show_comparison(found: "Comparison") -> None:
    """Print what is told of a comparison; on a terminal not more of a table than can be read."""
    from conformance.reports.comparison_page import result, sections

    say(f"baseline: {found.baseline}")
    for section in sections(found):
        say("\n", (section.title, "bold"), f". {section.explanation}" if section.explanation else "")
        limit = ROWS_SHOWN if sys.stdout.isatty() else len(section.rows)
        show_table(section.columns, section.rows[:limit], right=section.right)
        if len(section.rows) > limit:
            say(f"and {len(section.rows) - limit} more: in a pipe, with --html or --json")
    say(f"\n{result(found)}")


def _show_trend(trend: "pd.DataFrame") -> None:
    """Print the trend, without the verdicts that never occur."""
    from conformance.results.schema import VERDICTS

    never = [verdict for verdict in VERDICTS if verdict != "pass" and not trend[verdict].any()]
    shown = trend.drop(columns=never)
    rows = [
        ["" if value != value else f"{value:.3g}" if isinstance(value, float) else str(value) for value in row]
        for row in shown.itertuples(index=False)
    ]
    show_table(list(map(str, shown.columns)), rows, right=list(map(str, shown.select_dtypes("number").columns)))


def _comparison_for_json(found: "Comparison") -> dict[str, Any]:
    from conformance.results.comparison import SECTIONS

    tables = {section: _rows(getattr(found, section)) for section in SECTIONS}
    return {"baseline": found.baseline, "others": list(found.others), **tables}


def _rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    from conformance.verdicts.record import for_json

    return [for_json({str(name): value for name, value in row.items()}) for row in table.to_dict("records")]
