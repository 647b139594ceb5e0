"""``conformance translate``: what a built-in of one framework is in another."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.display import Exit, say, stop
from conformance.cli.outputs import require_file, require_new, write_text

if TYPE_CHECKING:
    from conformance.translation.translated import Translation

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
    eject: Annotated[
        Path | None,
        typer.Option(help="Where the code is this project's: a file with it, which needs the framework alone."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --eject.")] = False,
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

    if eject is not None:
        require_file("--eject", eject)
        require_new("--eject", eject, force=force)
    try:
        given = dict(map(setting, settings or []))
        found = find(name, to=to, settings=given, seconds=timeout, memory=memory * 2**20)
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, brief(error))
    except (Incomplete, OSError) as error:
        stop(Exit.INCOMPLETE, brief(error))
    if eject is not None:
        found = _eject(found, eject)
    print(json.dumps(as_dict(found), indent=2) if as_json else found)
    raise typer.Exit(Exit.ALL_PASS if found.found else Exit.NOT_ALL_PASS)


def _eject(found: "Translation", file: Path) -> "Translation":
    """Write this project's implementation into a file; the translation that imports it, or as it is if none is."""
    from conformance.ejecting.writing import NoFormatter
    from conformance.translation.ejected import ejected
    from conformance.translation.translated import OURS

    if found.outcome != OURS:
        say(f"{file} is not written: {'a built-in is the same' if found.found else 'it is refused'}", error=True)
        return found
    try:
        text, imported = ejected(found, file.stem)
    except NoFormatter as error:
        stop(Exit.INCOMPLETE, str(error))
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    write_text(file, text)
    say(f"written: {file}", error=True)
    return imported
