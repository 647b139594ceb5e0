"""``conformance new adapter``: a file to begin with."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from conformance.cli.display import Exit, say, stop

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
    if not name.isidentifier():
        stop(Exit.BAD_INPUT, f"name={name!r} is not allowed: must be the name of a Python module, as my_adapter")
    file = Path(f"{name}.py")
    text = resources.files("conformance.cli").joinpath("templates", "adapter.py.txt").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(text.replace("MODULE", name))
    except FileExistsError:
        stop(Exit.BAD_INPUT, f"name={name!r} is not allowed: {file} is there already")
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{file}: cannot be written: {error.strerror}")
    say(f"written: {file}")
    say(f"run it:  conformance run --suite quick --implementation {name}:MyAdapter")
