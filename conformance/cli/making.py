"""``conformance new adapter``: a file to begin with."""

import keyword
import os
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from conformance.adapters.installation import FRAMEWORKS
from conformance.cli.display import Exit, say, stop
from conformance.cli.outputs import require_file
from conformance.data.wording import shown

commands = typer.Typer(help="Write a file to begin with.", no_args_is_help=True)


@commands.callback()
def new() -> None:
    """Write a file to begin with."""


@commands.command()
def adapter(
    name: Annotated[str, typer.Argument(help="The module that is written, as NAME.py.")] = "my_adapter",
) -> None:
    """Write an adapter of your own, with every method that may be filled in. Nothing is overwritten.

    For a model in PyTorch, Keras or JAX, or for plain functions, a ready wrapper may do: docs/howto/test_my_own_model.
    """
    file = Path(f"{name}.py")
    reason = _why_not(name, file)
    if reason:
        stop(Exit.BAD_INPUT, f"name={shown(name)} is not allowed: {reason}")
    require_file("file", file)
    text = resources.files("conformance.cli").joinpath("templates", "adapter.py.txt").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(text.replace("MODULE", name))
    except FileExistsError:
        stop(Exit.BAD_INPUT, f"name={shown(name)} is not allowed: {file} is there already")
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{file}: cannot be written: {error.strerror}")
    say(f"written: {file}")
    say(f"run it:  conformance run --suite quick --implementation {name}:MyAdapter")


def _why_not(name: str, file: Path) -> str:
    """Why an adapter cannot have a name; "" if it can."""
    if not name.isidentifier():
        return "must be the name of a Python module, as my_adapter"
    if keyword.iskeyword(name):
        return "is a keyword of Python's: must be the name of a module, as my_adapter"
    if os.path.lexists(file):
        return f"{file} is there already"
    if name in {*sys.stdlib_module_names, *sys.modules, *FRAMEWORKS.values()} or find_spec(name) is not None:
        return f"{file} would hide the module {name}: must be a name that no other has, as my_adapter"
    return ""
