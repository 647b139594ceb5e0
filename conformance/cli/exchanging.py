"""``conformance record``, ``diff`` and ``pair``: tapes and traces, weights against weights, any two held together."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.display import Exit, say, show_table, stop
from conformance.cli.outputs import require_folder

if TYPE_CHECKING:
    from conformance.exchange.pair_result import PairResult
    from conformance.exchange.weights import WeightsComparison

commands = typer.Typer()


@commands.command()
def record(
    recipe: Annotated[str, typer.Option(help="A recipe's name, or a file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new or empty folder.")],
    dtype: Annotated[str, typer.Option(help="float64 or float32.")] = "float64",
) -> None:
    """Write a recipe's tape, for any program to replay, and the reference's trace.

    What a program computes from the tape is then held against the oracle by ``run --implementation trace:PATH``.
    """
    from conformance.exchange import pair as exchange
    from conformance.exchange.trace import TAPE_FILE

    require_folder("--output", output)
    try:
        files = exchange.record(recipe, output, dtype)
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{output}: cannot be written: {error.strerror or error}")
    for file in files:
        say(f"{'tape' if file.name == TAPE_FILE else file.stem}: {file}")


@commands.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A file of weights, a trace's folder, or module:attribute.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What is held against it.")],
    rearranged: Annotated[
        bool, typer.Option("--rearranged", help="What is the same but for a known layout counts as the same.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Hold weights against weights: which tensors match, and which are transposed, reordered, split, scaled, rounded.

    Status 0 if all are the same, 1 if they differ, 2 for what cannot be read.
    """
    from conformance.exchange import pair as exchange

    with _told(A=a, B=b):
        found = exchange.diff(a, b)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        _show_weights(found)
        say((found.verdict, "bold"))
    same = found.same or (rearranged and found.same_but_rearranged)
    raise typer.Exit(Exit.ALL_PASS if same else Exit.NOT_ALL_PASS)


@commands.command()
def pair(
    a: Annotated[str, typer.Argument(metavar="A", help="module:attribute, or a file of what was recorded.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What is held against it.")],
    inputs: Annotated[Path | None, typer.Option(help="A file of the inputs, one or several.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A file of weights that both are given.")] = None,
    weights_b: Annotated[Path | None, typer.Option("--weights-b", help="What B is given instead.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    start: Annotated[bool, typer.Option("--start", help="Compare the weights that training begins with.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Hold any two programs against each other, of which one is the oracle: no recipe and no reference is needed.

    Status 0 if all that both returned agrees, 1 if something does not, 2 for bad input, 3 if the oracle failed.
    """
    from conformance.exchange import pair as exchange

    with _told(A=a, B=b):
        found = exchange.pair(a, b, inputs, weights=weights, weights_b=weights_b, dtype=dtype, start=start)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        _show_pair(found)
    raise typer.Exit(Exit.ALL_PASS if found.ok else Exit.NOT_ALL_PASS)


@contextmanager
def _told(**sides: str) -> Iterator[None]:
    """What two things cannot be held against each other for ends the command: bad input, or a program that failed."""
    from conformance.cli.naming import brief
    from conformance.exchange.pair import SubjectError

    for name, side in sides.items():
        if not side:
            stop(Exit.BAD_INPUT, f"{name}='' is not allowed: must be a file, or module:attribute")
    try:
        yield
    except (ValueError, OSError) as error:
        stop(Exit.BAD_INPUT, brief(error))
    except SubjectError as error:
        stop(Exit.INCOMPLETE, brief(error))


def _show_weights(found: "WeightsComparison") -> None:
    show_table(
        ["A", "B", "what B's is of A's", "error"],
        [[row.a, row.b, row.relation, "" if row.error != row.error else f"{row.error:.2g}"] for row in found.rows],
        right=["error"],
    )


def _show_pair(found: "PairResult") -> None:
    rows = found.rows()
    columns = ["tensor", "step", "verdict", "error", "allowance"]
    cells = [
        [f"{row[name]:.2g}" if isinstance(row[name], float) else "" if row[name] is None else str(row[name])
         for name in columns] for row in rows
    ]  # fmt: skip
    show_table(columns, cells, right=["step", "error", "allowance"])
    if found.weights is not None:
        say("")
        _show_weights(found.weights)
    say("")
    say(str(found))
