"""``conformance atlas``: what the built-ins of every installed framework really do, as a page."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.display import Exit, say, stop
from conformance.cli.outputs import require_folder, require_new
from conformance.data.wording import listed, nearest, shown

if TYPE_CHECKING:
    from conformance.atlas.evidence import Atlas
    from conformance.runs.interpreter import Interpreter

commands = typer.Typer()


def told(line: str) -> None:
    """A line of progress, where no answer is printed."""
    print(line, file=sys.stderr, flush=True)


@commands.command()
def atlas(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="The folder for the page and the tables behind it.")] = Path("atlas"),
    framework: Annotated[
        str | None, typer.Option(help="torch, keras, jax or optax, separated by commas; by default all.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="optimizer, loss, activation, normalization, initializer, schedule, regularizer or layer, separated by"
            " commas."
        ),
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="The interpreter of another environment, whose frameworks are asked.")
    ] = None,
    show: Annotated[
        str | None, typer.Option(help="Measure one built-in, or run one known fault, and write no page.")
    ] = None,
    beside: Annotated[str | None, typer.Option(help="With --show: train the two, and tell how far apart.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two folders of atlases, OLD and NEW: tell what changed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the atlas in --output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Measure what the built-ins of the installed frameworks do, side by side, and write it as a page.

    All four take 5 to 15 minutes on two cores; progress goes to the standard error. Of another environment's Python
    nothing is needed but NumPy and the frameworks. Status 0 if it was made or nothing changed, 1 if something differs
    between OLD and NEW, 2 for bad usage or input, 3 if it did not come to its end.
    """
    from conformance.atlas.survey import FRAMEWORKS, KINDS
    from conformance.cli.naming import brief, require_alone
    from conformance.runs.interpreter import Interpreter
    from conformance.runs.outcome import BadInput, Incomplete

    try:
        if compare is not None:
            require_alone("compare", context, ("as_json",), "two atlases are compared as they are")
            _compare(*compare, as_json)
        frameworks = _chosen("framework", framework, FRAMEWORKS)
        kinds = _chosen("kind", kind, KINDS)
        asked = Interpreter() if python is None else Interpreter(str(_interpreter(python)))
        if beside is not None and show is None:
            raise ValueError("beside is not allowed without show: name the other built-in with --show")
        if show is not None:
            beside_show = ("beside", "python", "as_json")
            require_alone("show", context, beside_show, "one built-in is measured, and nothing is written")
            _show(show, beside, asked, as_json)
        require_folder("--output", output)
        require_new("--output", output / "atlas.md", force=force)
        _make(output, frameworks, kinds, asked, as_json)
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, brief(error))
    except (Incomplete, OSError) as error:
        stop(Exit.INCOMPLETE, brief(error))


def _chosen(field: str, given: str | None, known: Sequence[str]) -> list[str]:
    """The names of a list, in the order in which they are known. Raises ValueError for one that is not."""
    names = list(known) if given is None else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(
                f"{field}={shown(name)} is not allowed: must be one of {listed(known)}{nearest(name, known)}"
            )
    return [name for name in known if name in names]


def _interpreter(python: Path) -> Path:
    if not python.is_file():
        raise ValueError(f"python={shown(str(python))} is not allowed: must be the file of a Python interpreter")
    return python.absolute()


def _make(folder: Path, frameworks: list[str], kinds: list[str], asked: "Interpreter", as_json: bool) -> None:
    from conformance.atlas.making import make, write

    made = make(frameworks, kinds, asked, told)
    if not made.evidence:
        stop(Exit.INCOMPLETE, "nothing could be measured: none of the frameworks is installed")
    written = write(made, folder)
    lacking = [name for name, found in made.versions.items() if not found]
    if as_json:
        print(json.dumps(_as_dict(made), indent=2))
    else:
        for name in lacking:
            say((name, "bold"), " is not installed there: it is not in the atlas")
        known = sum(bool(each.formulation) for each in made.evidence)
        say(f"{len(made.evidence)} built-ins, {known} of them a known formulation; {len(made.surprises)} surprises")
        for file in written:
            say(f"written: {file}")
    raise typer.Exit(Exit.ALL_PASS)


def _as_dict(made: "Atlas") -> dict[str, object]:
    return {name: frame.to_dict("records") for name, frame in made.frames().items()}


def _show(name: str, beside: str | None, asked: "Interpreter", as_json: bool) -> None:
    from conformance.atlas.showing import of_name, of_pair

    found = of_name(name, asked, told) if beside is None else of_pair(name, beside, asked, told)
    if as_json:
        print(json.dumps(found.as_dict, indent=2))
    else:
        say(found.text)
    raise typer.Exit(Exit.ALL_PASS)


def _compare(old: Path, new: Path, as_json: bool) -> None:
    from conformance.atlas.comparison import compare, text

    changes = compare(old, new)
    if as_json:
        print(json.dumps([change._asdict() for change in changes], indent=2))
    else:
        say(text(changes))
    raise typer.Exit(Exit.NOT_ALL_PASS if len(changes) else Exit.ALL_PASS)
