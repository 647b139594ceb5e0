"""``conformance pick``: which implementation to take for one's own code."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.display import Exit, progress_bars, say, show_table, stop, untold
from conformance.cli.outputs import require_file, require_folder, write_text

if TYPE_CHECKING:
    from conformance.picking.picked import Picked

commands = typer.Typer()


@commands.command()
def pick(
    model: Annotated[
        str | None, typer.Option(help="A model, see `list models`, or network; by default deep_network.")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="An optimizer, see `list optimizers`, or a dialect, as keras.Adam; by default adam."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name, or a file, in place of both; with --run one of its recipes.")
    ] = None,
    implementation: Annotated[
        str | None, typer.Option(help="Names, separated by commas; by default numpy,torch,tf,jax.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu or tpu; by default cpu.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64; by default float32, where the recipe has it.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Half a minute: one process for each, and fewer checks.")
    ] = False,
    run: Annotated[
        Path | None, typer.Option(help="The folder of a run: tell what it has, and measure nothing.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A new or empty folder, to keep the comparison with the oracle as a run.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page, one file that needs no other.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say which of the implementations to take: side by side on one training, and one for each goal, with code.

    Status 0 if all comparisons pass, 1 if some check did not pass, 2 for bad usage or input, 3 if nothing could be
    measured or something did not come to its end.
    """
    from conformance.cli.naming import brief, implementations
    from conformance.picking.page import page
    from conformance.picking.pick import pick as find
    from conformance.runs.outcome import BadInput

    if html is not None:
        require_file("--html", html)
    if output is not None:
        require_folder("--output", output)
    try:
        names = None if implementation is None else implementations(implementation)
        with progress_bars() if run is None else nullcontext(untold) as progress:
            found = find(
                model, optimizer, recipe=recipe, implementations=names, device=device, dtype=dtype, quick=quick,
                run=run, output=output, progress=progress,
            )  # fmt: skip
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, str(error) if isinstance(error, ValueError) else brief(error))
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        show(found)
    if html is not None:
        write_text(html, page(found))
    _end(found)


def _end(found: "Picked") -> None:
    """End the command with the status that is called for."""
    if found.incomplete:
        stop(Exit.INCOMPLETE, f"INCOMPLETE: {found.incomplete}")
    if not found.measured:
        stop(Exit.INCOMPLETE, "nothing could be measured: none of the implementations can be had on this device")
    raise typer.Exit(Exit.NOT_ALL_PASS if found.failing else Exit.ALL_PASS)


def show(found: "Picked") -> None:
    """Print what is told: the table, then what to take, and at the end the code."""
    from conformance.picking.table import COLUMNS, TOLD

    names = list(map(str, found.table["implementation"]))
    say((found.training, "bold"), fold=True)
    say(f"{found.source}.\n", fold=True)
    show_table(["", *names], found.lines, right=names)
    say()
    for name in TOLD:
        say((COLUMNS[name].title, "bold"), f": {COLUMNS[name].explanation}", fold=True)
    for name, why in found.problems.items():
        say((name, "bold"), f" is not measured: {why}", fold=True)
    if found.failing:
        say((", ".join(found.failing), "bold red"), " failed a comparison with the oracle: not recommended", fold=True)
    if found.dialects:
        say(("dialects", "bold"), f": by keywords each of them trains as the built-ins {found.dialects}", fold=True)
    for note in found.notes:
        say(note, fold=True)
    say()
    recommended = found.recommended
    show_table(
        ["for", "take", "because"], [[each.goal, each.implementation or "none", each.reason] for each in recommended]
    )
    for name, code in found.snippets.items():
        goals = [each.goal for each in recommended if each.implementation == name]
        say("\n", (name, "bold"), f" ({', '.join(goals)}):\n", fold=True)
        print(code)
