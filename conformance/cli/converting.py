"""``conformance convert``: a file of a model's weights as another framework's."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.display import Exit, say, show_table, stop
from conformance.cli.outputs import require_file, require_new

if TYPE_CHECKING:
    from conformance.converting.convert import Converted

commands = typer.Typer()


@commands.command()
def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="A .safetensors, .npz or .weights.h5 of weights, or a catalogue's checkpoint.")
    ],
    source: Annotated[str, typer.Option("--from", help="torch, keras, flax (linen), nnx or catalogue.")],
    target: Annotated[str, typer.Option("--to", help="torch, keras, flax (linen), nnx or catalogue.")],
    recipe: Annotated[str, typer.Option(help="Whose model it is: a recipe's name, or a file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .safetensors or .npz; of Keras also .weights.h5.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Write the weights of a catalogue's model as another framework keeps them.

    Each layer of both frameworks' own is given its tensors and the same inputs before anything is written. Status 0 if
    it is done, 1 if a layer has no counterpart or computes something else, 2 for bad usage or input, 3 if a framework's
    process fails or nothing can be written.
    """
    from conformance.cli.naming import brief
    from conformance.converting.convert import Refused
    from conformance.converting.convert import convert as carry_out
    from conformance.exchange.subjects import SubjectError

    require_file("--output", output)
    require_new("--output", output, force=force)
    try:
        found = carry_out(checkpoint, source=source, target=target, recipe=recipe, output=output)
    except Refused as error:
        stop(Exit.NOT_ALL_PASS, f"not converted: {error}")
    except ValueError as error:
        stop(Exit.BAD_INPUT, brief(error))
    except (SubjectError, OSError) as error:
        stop(Exit.INCOMPLETE, brief(error))
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found, source, target)


def _show(found: "Converted", source: str, target: str) -> None:
    rows = [[row.name, str(row.shape), row.source, row.target] for row in found.rows]
    show_table(["tensor", "shape", source, target], rows)
    for name in found.left_out:
        say(f"left out: {name}")
    for first, second in found.added:
        say(f"added: {first} and {second}, of which {target} keeps the sum alone; back, all of it is {first}")
    say(f"{found.file}: written; outputs of every layer are the same to {found.error:.1e}")
