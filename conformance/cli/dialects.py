"""``conformance compare`` of two dialects: what is asked, and what is told of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import typer

from conformance.cli.display import Exit, progress_bars, say, show_table, stop
from conformance.cli.outputs import require_file, write_text

if TYPE_CHECKING:
    from conformance.equivalence.compared import DialectsComparison, Outcome

OF_BOTH = ("sides", "html", "as_json")  # options of runs and of dialects


class Outputs(NamedTuple):
    """The files that are to be written, and whether JSON is printed."""

    html: Path | None
    figure: Path | None
    csv: Path | None
    as_json: bool


def are_meant(sides: Sequence[str]) -> bool:
    """Whether dialects are named, and not folders of runs. Ends the command where it is one of each."""
    from conformance.equivalence.asking import is_dialect

    dialects = [not Path(side).exists() and is_dialect(side) for side in sides]
    if any(dialects) and not all(dialects) and any(Path(side).exists() for side in sides):
        one, other = sides[dialects.index(True)], sides[dialects.index(False)]
        stop(Exit.BAD_INPUT, f"a dialect is compared with a dialect, and a run with a run: not {one!r} with {other!r}")
    if any(dialects) and len(sides) != 2:
        stop(Exit.BAD_INPUT, f"two dialects are compared: {len(sides)} {'was' if len(sides) == 1 else 'were'} given")
    return any(dialects)


def refuse_beside_runs(context: typer.Context, sides: Sequence[str]) -> None:
    """End the command if an option is given that is for dialects alone."""
    from conformance.cli.naming import options_given

    if given := options_given(context, beside=OF_BOTH):
        are = "is not allowed for runs: it is" if len(given) == 1 else "are not allowed for runs: they are"
        near = nearest_dialect(sides)
        stop(Exit.BAD_INPUT, f"{', '.join(given)} {are} for two dialects, as keras.Adam{near}")


def nearest_dialect(sides: Sequence[str]) -> str:
    """What ends a refusal of what is no run: the dialect that the first of them is like, if there is one.

    Of an optimizer without a framework it is told what it must have.
    """
    from conformance.data.wording import nearest
    from conformance.recipes.spelling import builtin_names
    from reference_numpy.optimizers import OPTIMIZERS

    missing = [side for side in sides if not Path(side).exists() and "/" not in side]
    if any(side in OPTIMIZERS for side in missing):
        return "; an optimizer without a framework is no dialect: must be a built-in, as keras.Adam"
    return next(filter(None, (nearest(side, builtin_names()) for side in missing if "." in side)), "")


def compare(sides: Sequence[str], settings: Sequence[str], asked: dict[str, Any], outputs: Outputs) -> NoReturn:
    """Compare two dialects, tell what came of it, and end the command with the status that is called for."""
    from conformance.cli.naming import brief, require_name, setting
    from conformance.equivalence.compare import compare_dialects
    from conformance.runs.outcome import BadInput, Incomplete

    _require(outputs)
    try:
        require_name("implementation", asked["implementation"])
        given = dict(map(setting, settings))
        with progress_bars() as progress:
            found = compare_dialects(*sides, settings=given, progress=progress, **asked)
    except (ValueError, BadInput) as error:
        stop(Exit.BAD_INPUT, str(error) if isinstance(error, ValueError) else brief(error))
    except Incomplete as error:
        stop(Exit.INCOMPLETE, brief(error))
    _tell(found, outputs)
    raise typer.Exit(Exit.ALL_PASS if found.verdict == "equivalent" else Exit.NOT_ALL_PASS)


def _require(outputs: Outputs) -> None:
    """End the command unless the files can be written."""
    from conformance.reports import plots

    if outputs.csv is not None:
        require_file("--csv", outputs.csv)
    if outputs.figure is not None:
        try:
            plots.check_installed()
            plots.ending(outputs.figure)
        except (ValueError, ImportError) as error:
            stop(Exit.BAD_INPUT, str(error))
        require_file("--figure", outputs.figure)


def _tell(found: "DialectsComparison", outputs: Outputs) -> None:
    """Print what came of it and write the files."""
    import json

    from conformance.equivalence.figure import figure
    from conformance.equivalence.page import page
    from conformance.reports import plots

    if outputs.as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        show(found)
    if outputs.html is not None:
        write_text(outputs.html, page(found))
    if outputs.csv is not None:
        write_text(outputs.csv, found.curves.to_csv(index=False))
    if outputs.figure is not None:
        try:
            plots.save(figure(found, found.outcomes[0]), outputs.figure)
        except OSError as error:
            stop(Exit.INCOMPLETE, f"{outputs.figure}: cannot be written: {error.strerror}")


def show(found: "DialectsComparison") -> None:
    """Print what was trained, and for each situation the keywords that differ, the numbers and the verdict."""
    from conformance.equivalence import words

    say((" and ".join(found.names), "bold"), fold=True)
    say(found.training, fold=True)
    for outcome in found.outcomes:
        say("\n", (words.conclusion(outcome), "bold"), fold=True)
        _show_keywords(found, outcome)
        show_table(words.columns(found), words.rows(outcome), right=found.names)
        say()
        for line in (*(words.sentence(held, found) for held in outcome.held), words.parting(outcome)):
            say(line, fold=True)
    say("\n", words.method(), fold=True)


def _show_keywords(found: "DialectsComparison", outcome: "Outcome") -> None:
    if outcome.differing:
        show_table(["keyword", *found.names], outcome.differing)
        say()
    else:
        say("all keywords are the same")
