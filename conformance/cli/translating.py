"""``conformance translate``: what a built-in of one framework is in another."""

import ast
import json
from typing import Annotated, Any

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
    from conformance.cli.naming import brief
    from conformance.runs.outcome import BadInput, Incomplete
    from conformance.translation.translate import translate as find
    from conformance.translation.translated import as_dict

    try:
        given = dict(map(_setting, settings or []))
        found = find(name, to=to, settings=given, seconds=timeout, memory=memory * 2**20)
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, brief(error))
    except (Incomplete, OSError) as error:
        stop(Exit.INCOMPLETE, brief(error))
    print(json.dumps(as_dict(found), indent=2) if as_json else found)
    raise typer.Exit(Exit.ALL_PASS if found.found else Exit.NOT_ALL_PASS)


def _setting(text: str) -> tuple[str, Any]:
    """An argument and its value, a literal of Python or a word. Raises ValueError for what is none.

    >>> _setting("betas=(0.8, 0.9)"), _setting("reduction=sum")
    (('betas', (0.8, 0.9)), ('reduction', 'sum'))
    """
    name, sign, value = text.partition("=")
    if not sign or not name.strip().isidentifier():
        raise ValueError(f"--set {text} is not allowed: must be ARGUMENT=VALUE, as in lr=0.1")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value.strip()
