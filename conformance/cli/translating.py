"""``conformance translate``: what a built-in of one framework is in another."""

import json
from typing import Annotated

import typer

from conformance.cli.display import Exit, stop

commands = typer.Typer()


@commands.command()
def translate(
    name: Annotated[
        str,
        typer.Argument(
            help="A built-in with its framework, keras.Adam or torch.optim.Adam(lr=0.01); or a formulation."
        ),
    ],
    to: Annotated[str, typer.Option(help="torch, tf (or keras), jax or numpy.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="ARGUMENT=VALUE, in the spelling of its own framework; may be repeated."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one answer of a framework may take.")] = 300.0,
    memory: Annotated[int, typer.Option(min=0, help="MiB that its process may take; 0: no limit.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Write what a built-in is in another framework: its built-in if one is the same, else this project's own.

    Both are run on the same gradients before anything is told, where their frameworks are installed. Status 0 if there
    is code, 1 if it is refused, 2 for bad usage or input, 3 if a process did not come to its end.
    """
    from conformance.cli.naming import brief, setting
    from conformance.runs.outcome import BadInput, Incomplete
    from conformance.translation.translate import translate as find
    from conformance.translation.translated import as_dict

    try:
        given = dict(map(setting, settings or []))
        found = find(name, to=to, settings=given, seconds=timeout, memory=memory * 2**20)
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, brief(error))
    except (Incomplete, OSError) as error:
        stop(Exit.INCOMPLETE, brief(error))
    print(json.dumps(as_dict(found), indent=2) if as_json else found)
    raise typer.Exit(Exit.ALL_PASS if found.found else Exit.NOT_ALL_PASS)
