"""``conformance identify``: which formulation of the catalogue somebody's code is."""

import json
from typing import Annotated

import typer

from conformance.cli.display import Exit, say, stop

commands = typer.Typer()


@commands.command()
def identify(
    target: Annotated[
        str, typer.Argument(help="package.module:attribute, also of the current folder, with arguments by name if any.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="optimizer, loss, activation, normalization, schedule, initializer, layer or regularizer; by itself it"
            " is found, but for a regularizer."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one answer of the target may take.")] = 300.0,
    memory: Annotated[int, typer.Option(min=0, help="MiB that its process may take; 0: no limit.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say which formulation an optimizer, loss, activation, normalisation, schedule, initializer or layer is.

    With --kind regularizer a penalty, a clipping, a max-norm or a dropout.

    Status 0 if it is one of the catalogue, 1 if none is known, 2 for bad usage or input, 3 if its process did not come
    to its end.
    """
    from conformance.cli.naming import brief
    from conformance.identification.answer import as_dict
    from conformance.identification.identify import identify as find
    from conformance.runs.outcome import BadInput, Incomplete

    try:
        found = find(target, kind=kind, seconds=timeout, memory=memory * 2**20)
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, brief(error))
    except (Incomplete, OSError) as error:
        stop(Exit.INCOMPLETE, brief(error))
    if as_json:
        print(json.dumps(as_dict(found), indent=2))
    else:
        say(str(found))
    raise typer.Exit(Exit.ALL_PASS if found.known else Exit.NOT_ALL_PASS)
