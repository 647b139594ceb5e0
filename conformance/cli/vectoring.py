"""``conformance vectors``: test vectors as files for any language; and answers to them, judged for ``check``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.display import Exit, progress_bars, say, show_table, stop
from conformance.cli.outputs import require_folder

if TYPE_CHECKING:
    from conformance.vectors.answers import Judgement
    from conformance.vectors.writing import Kit

WRONG_SHOWN = 20  # answers of one file

commands = typer.Typer()


@commands.command()
def vectors(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write.")],
    select: Annotated[
        list[str] | None, typer.Option("--select", "-k", help="Only these files (patterns), as 'optimizer/adam*'.")
    ] = None,
    matrix: Annotated[bool, typer.Option("--matrix", help="Print every row of the kill matrix.")] = False,
) -> None:
    """Write test vectors of every component for any language, with checkers and the matrix of what each vector shows.

    `conformance check --answers FILE --vectors FOLDER` judges what somebody computed of them.
    """
    from conformance.vectors import writing

    try:
        wanted = writing.chosen(select or [])
        require_folder("FOLDER", folder)
        with progress_bars() as progress:
            kit = writing.write(folder, wanted, progress)
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{folder}: cannot be written: {error.strerror}")
    _show_kit(kit, every_row=matrix)


def _show_kit(kit: "Kit", *, every_row: bool) -> None:
    """Print what was written and the kill matrix: by file, or every row of it."""
    from conformance.vectors.writing import MATRIX, summary, unkilled

    if every_row:
        rows = [[row.file, row.mistake, row.dtype, ", ".join(map(str, row.tests)), row.note] for row in kit.matrix]
        show_table(["file", "mistake", "dtype", "shown by test", "why by none"], rows)
    else:
        columns, rows = summary(kit.selections)
        show_table(columns, rows, right=columns[1:])
    beyond = unkilled(kit.selections)
    if beyond:
        say("\n", ("Known faults that no vector of their component shows", "bold"))
        show_table(
            ["fault", "components", "why"],
            [[each.fault, ", ".join(each.components), each.reason] for each in beyond],
        )
    tests = sum(len(selection.vectors) for selection in kit.selections)
    size = f"{len(kit.selections)} files with {tests} valid tests, {kit.bytes:,} bytes"
    say(f"\n{size}: {kit.folder}; {MATRIX} has every row")


def judge(answers: Path, folder: Path) -> Exit:
    """Judge answers to the vectors in a folder and print what came of it. Returns the exit status that it calls for."""
    from conformance.vectors import answers as answering

    try:
        return _show(answering.judge(answers, folder))
    except ValueError as error:
        stop(Exit.BAD_INPUT, str(error))


def _show(found: "Judgement") -> Exit:
    """Print a judgement. Returns the exit status that it calls for."""
    for file, cause in found.causes.items():
        say((file, "bold"), f": {cause}")
        wrong = found.frame[(found.frame["file"] == file) & (found.frame["verdict"] == "fail")]
        for row in wrong.head(WRONG_SHOWN).itertuples():
            say(f"    test {row.test} ({row.result}), {row.output}: {row.cause}")
    answered = found.frame["file"].nunique()
    tests = len(found.frame[["file", "test"]].drop_duplicates())
    counts = f"tests: {tests}, files: {answered}, files wrong: {len(found.causes)}"
    say(f"{'PASS' if found.ok else 'FAIL'}: {counts}, files not answered or not wholly: {len(found.unanswered)}")
    return Exit.ALL_PASS if found.ok else Exit.NOT_ALL_PASS
