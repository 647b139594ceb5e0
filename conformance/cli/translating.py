"""``conformance translate``: what a built-in of one framework is in another."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conformance.cli.display import Exit, say, stop
from conformance.cli.outputs import require_file, require_module, require_new, write_text

if TYPE_CHECKING:
    from conformance.recipes.recipe import Recipe
    from conformance.translation.translated import Translation

commands = typer.Typer()


@commands.command()
def translate(
    name: Annotated[
        str,
        typer.Argument(
            help="A built-in with its framework, keras.Adam or torch.optim.Adam(lr=0.01); a formulation; or a recipe, "
            "its name or file."
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

    Both are run, or asked what they are, before anything is told, where their frameworks are installed. Of a recipe
    each part is told; --eject writes the whole training. Status 0 if there is code, 1 if it is refused, 2 for bad usage
    or input, 3 if a process did not come to its end.
    """
    from conformance.cli.naming import brief, setting
    from conformance.runs.outcome import BadInput, Incomplete
    from conformance.translation.translated import as_dict

    if eject is not None:
        require_file("--eject", eject)
        require_module("--eject", eject, (".py",))
        require_new("--eject", eject, force=force)
    try:
        given = dict(map(setting, settings or []))
        recipe = _recipe(name, given)
        found = _found(recipe or name, to, given, timeout, memory * 2**20)
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, brief(error))
    except (Incomplete, OSError) as error:
        stop(Exit.INCOMPLETE, brief(error))
    if eject is not None:
        found = _eject(found, eject, recipe)
    if as_json:
        told = list(map(as_dict, found))
        print(json.dumps(told[0] if recipe is None else told, indent=2))
    else:
        print("\n\n".join(map(str, found)))
    raise typer.Exit(Exit.ALL_PASS if all(each.found for each in found) else Exit.NOT_ALL_PASS)


def _recipe(name: str, settings: dict[str, Any]) -> "Recipe | None":
    """The recipe of a name or a file; None of what is none. Raises ValueError for settings beside it.

    A name with a hyphen and no bracket is a recipe's, if any.
    """
    from conformance.recipes.choosing import find
    from conformance.recipes.files import KINDS

    if Path(name).suffix.lower() not in KINDS and ("-" not in name or "(" in name):
        return None
    if settings:
        raise ValueError("--set is not allowed for a recipe: say it in the recipe")
    return find(name)


def _found(what: "Recipe | str", to: str, settings: dict[str, Any], seconds: float, memory: int) -> "list[Translation]":
    """One translation, or those of a recipe's parts."""
    from conformance.runs.answers import Limits
    from conformance.translation.recipes import translate_recipe
    from conformance.translation.translate import translate as find

    if isinstance(what, str):
        return [find(what, to=to, settings=settings, seconds=seconds, memory=memory)]
    return translate_recipe(what, to=to, limits=Limits(seconds, memory))


def _eject(found: "list[Translation]", file: Path, recipe: "Recipe | None") -> "list[Translation]":
    """Write a recipe's whole training, or this project's implementation of what is no built-in; what is told then."""
    from conformance.ejecting.eject import eject
    from conformance.ejecting.writing import NoFormatter
    from conformance.translation.ejected import ejected
    from conformance.translation.translated import OURS

    if recipe is None and found[0].outcome != OURS:
        say(f"{file} is not written: {'a built-in is the same' if found[0].found else 'it is refused'}", error=True)
        return found
    try:
        if recipe is None:
            text, imported = ejected(found[0], file.stem)
            found = [imported]
        else:
            text = eject(found[0].to, recipe)
    except NoFormatter as error:
        stop(Exit.INCOMPLETE, str(error))
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    write_text(file, text)
    say(f"written: {file}", error=True)
    return found
