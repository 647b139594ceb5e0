"""``conformance eject``: a training or a component as a file that needs nothing of this project."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from conformance.cli.display import Exit, say, stop
from conformance.cli.outputs import require_file, require_folder, require_module, require_new, write_text
from conformance.data.wording import shown

commands = typer.Typer()


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def eject(
    context: typer.Context,
    framework: Annotated[str, typer.Argument(help="numpy, torch, tf or jax.")],
    component: Annotated[
        str | None,
        typer.Argument(help="An optimizer, loss, activation, schedule, initializer, normalisation, or a regularizer of "
                            "any kind; keywords are options, as --epsilon-position inside_root."),
    ] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="A recipe's name, or a file, in the place of COMPONENT; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file, NAME.py or NAME.ipynb, for several recipes a folder; without, "
                                            "the file is printed."),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32; by default the first of each recipe.")] = None,
    notebook: Annotated[bool, typer.Option("--notebook", help="A notebook; so is what ends in .ipynb.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Hold each training against the oracle before it is written.")
    ] = True,
) -> None:  # fmt: skip
    """Write a recipe's training, or one component, as a file that needs the framework and nothing of this project.

    It holds what the recipe does and nothing else, and trains on a .npz of yours. A training is held against the oracle
    first, as `conformance check FILE.py` does. Status 1 if some check of it does not pass, and nothing is then written;
    2 for bad usage or input, 3 where the file could not be checked or written.
    """
    recipes = recipe or []
    options = [argument for argument in (component or "", *context.args) if argument.startswith("--")]
    if recipes and options:
        stop(
            Exit.BAD_INPUT, f"{shown(options[0])} is not allowed with --recipe: must be left out, as the recipe has it"
        )
    if (component is None) == (not recipes):
        stop(Exit.BAD_INPUT, "COMPONENT or --recipe must be given, and only one of them")
    keywords = _keywords(context.args)
    notebook = notebook or (output is not None and output.suffix == ".ipynb")
    several = len(recipes) > 1
    if several and output is None:
        stop(Exit.BAD_INPUT, "--output is missing: must be a folder for several recipes")
    if output is not None:
        (require_folder if several else require_file)("--output", output)
        if not several:
            require_module("--output", output, (".py", ".ipynb"))
    names = [component] if component is not None else recipes
    files = _files(names, output, notebook)
    for file in files.values():
        require_new("--output", file, force=force)
    texts = {name: _text(framework, name, component is None, dtype, notebook, keywords) for name in names}
    if recipes and check:
        for name in names:
            plain = _text(framework, name, True, dtype, False, {}) if notebook else texts[name]
            _hold(plain, name, framework, dtype, aside=output is None)
    if output is None:
        print(texts[names[0]], end="")
        return
    if several and not notebook:
        _write(output / "__init__.py", f'"""Trainings in {framework}, each in a file that needs no other."""\n')
    for name, text in texts.items():
        _write(files[name], text)


def _files(names: list[str], output: Path | None, notebook: bool) -> dict[str, Path]:
    """Where each is written; nowhere without an output."""
    if output is None:
        return {}
    if len(names) == 1:
        return {names[0]: output}
    suffix = ".ipynb" if notebook else ".py"
    files: dict[str, Path] = {}
    for name in dict.fromkeys(names):
        file = output / f"{_module_name(name)}{suffix}"
        if file in files.values():
            stop(Exit.BAD_INPUT, f"recipe={shown(name)} is not allowed: another one is written as {file.name}, too")
        files[name] = file
    return files


def _text(
    framework: str, name: str, is_recipe: bool, dtype: str | None, notebook: bool, keywords: dict[str, Any]
) -> str:
    from conformance.data.datasets import DataError
    from conformance.ejecting.components import COMPONENTS
    from conformance.ejecting.eject import eject
    from conformance.ejecting.writing import NoFormatter
    from conformance.recipes.choosing import find
    from conformance.recipes.components import not_allowed

    try:
        if not is_recipe and name not in COMPONENTS:
            raise ValueError(not_allowed("component", name, COMPONENTS))
        return eject(framework, find(name) if is_recipe else name, dtype=dtype, notebook=notebook, **keywords)
    except NoFormatter as error:
        stop(Exit.INCOMPLETE, str(error))
    except (ValueError, DataError) as error:
        stop(Exit.BAD_INPUT, str(error))


def _hold(text: str, name: str, framework: str, dtype: str | None, *, aside: bool) -> None:
    """Check an ejected training and say what came of it; ends the command if it does not pass."""
    from conformance.recipes.choosing import find
    from conformance.runs.outcome import BadInput, Incomplete
    from conformance.testing.checking import check

    recipe = find(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{_module_name(name)}_{framework}.py")
        file.write_text(text, encoding="utf-8")
        try:
            checked = check(str(file), recipe, dtypes=[dtype or recipe.dtypes[0]], output=Path(folder, "run"))
        except (ValueError, BadInput, Incomplete) as error:
            stop(Exit.INCOMPLETE, f"{recipe.name} cannot be checked: {error}; --no-check writes it all the same")
        say(checked.summary, error=aside)
        if not checked.ok:
            stop(Exit.NOT_ALL_PASS, "\n".join(["nothing is written", *checked.why]))


def _module_name(recipe: str) -> str:
    return Path(recipe).stem.replace("-", "_")


def _keywords(arguments: Iterable[str]) -> dict[str, Any]:
    """``--epsilon-position inside_root`` as keywords; a value is read as JSON where it is that."""
    keywords: dict[str, Any] = {}
    given = iter(arguments)
    for argument in given:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            stop(
                Exit.BAD_INPUT,
                f"{shown(argument)} is not allowed: must be an option that `conformance eject --help` shows",
            )
        if not equals:
            value = next(given, "")
        keywords[name.replace("-", "_")] = _value(value)
    return keywords


def _value(text: str) -> Any:
    try:
        value = json.loads({"None": "null", "True": "true", "False": "false"}.get(text, text))
    except json.JSONDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value


def _write(file: Path, text: str) -> None:
    write_text(file, text)
    say(f"written: {file}")
