"""``conformance check``: one subject held against the oracle, told check by check, with the causes."""

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from conformance.cli import vectoring
from conformance.cli.display import Exit, say, show_panel, show_table, stop
from conformance.cli.outputs import require_folder

if TYPE_CHECKING:
    from conformance.cli.result import Result
    from conformance.runs.pool import Progress
    from conformance.runs.watching import Watch
    from conformance.testing.checked import Checked

STYLES = {"pass": "green", "fail": "bold red", "missing": "bold red", "known difference": "yellow"}  # of a result
STATUSES: dict[str, Literal[0, 1, 3]] = {"pass": 0, "fail": 1, "incomplete": 3}  # as of any other run

commands = typer.Typer()


@commands.command()
def check(
    target: Annotated[
        str | None,
        typer.Argument(help="package.module:attribute, a wrapped subject or an adapter class; or an ejected FILE.py."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="What it should be: a recipe's name, or a file; may be repeated. By default those that the "
                          "subject carries; of an adapter class those of the suite quick that it opens."),
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="A recorded trace, in the place of TARGET.")] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Answers to test vectors, in the place of TARGET; with --vectors.")
    ] = None,
    vectors: Annotated[Path | None, typer.Option(help="The folder of the vectors that were answered.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Precisions, separated by commas; by default those that each recipe names.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, gpu or tpu.")] = "cpu",
    known_differences: Annotated[
        Path | None, typer.Option(help="File of what may differ, each with a reason; what no longer does fails.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the run, a new or an empty one; by default reports/TIME."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the verdict, the causes and where the report is.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end; progress goes to standard error.")
    ] = False,
) -> None:  # fmt: skip
    """Hold your own code against the oracle in all that it offers: a verdict, a line for each check, and the causes.

    Status 0 if all that it offers passes, 1 if some check does not, 2 for bad usage or input, 3 for a run that did not
    come to its end.
    """
    if [target is None, trace is None, answers is None].count(False) != 1:
        stop(Exit.BAD_INPUT, "TARGET, --trace or --answers must be given, and only one of them")
    if (answers is None) != (vectors is None):
        stop(Exit.BAD_INPUT, "--answers and --vectors go together: a file of answers, and the folder of what was asked")
    if answers is not None and vectors is not None:
        raise typer.Exit(vectoring.judge(answers, vectors))
    from conformance.adapters.registry import TRACE
    from conformance.cli import naming, running
    from conformance.recipes.files import RecipeError
    from conformance.results.run import Run
    from conformance.runs.folders import as_latest
    from conformance.runs.outcome import BadInput
    from conformance.testing import checking
    from conformance.testing.checked import Checked

    named = f"{TRACE}{trace}" if target is None else target
    if output is not None:
        require_folder("--output", output)
    try:
        known = () if known_differences is None else checking.known_of(known_differences)
        naming.require_name("TARGET" if trace is None else "--trace", named)
        asked = checking.prepare(
            named, recipe, dtypes=None if dtype is None else dtype.split(","), device=device, output=output
        )
    except RecipeError as error:
        stop(Exit.BAD_INPUT, str(error))
    except ValueError as error:
        stop(Exit.BAD_INPUT, naming.brief(error))
    except BadInput as error:
        stop(Exit.BAD_INPUT, naming.brief(error, target or ""))

    def work(progress: "Progress", watch: "Watch") -> None:
        with as_latest(asked.plan.folder) if output is None else nullcontext():
            asked.carry_out(progress, watch)

    def show(folder: Path) -> "Result":
        return show_checked(Checked(Run(folder), known), quiet=quiet, as_json=as_json)

    raise typer.Exit(running.carry_out(work, asked.plan, show, quiet=quiet))


def show_checked(checked: "Checked", *, quiet: bool, as_json: bool) -> "Result":
    """Print what came of a check, and return it as the result of its run."""
    from conformance.cli.result import STYLES as STYLES_OF_VERDICTS
    from conformance.cli.result import result_of
    from conformance.testing.checked import Answer

    result = replace(result_of(checked.run), status=checked.verdict, exit_status=STATUSES[checked.verdict])
    if as_json:
        print(json.dumps(_for_json(checked, result), indent=2))
    elif quiet:
        for line in (checked.summary, *checked.details):
            say(line)
    else:
        show_table(Answer._fields, checked.told, style=lambda cell: STYLES.get(cell, ""))
        verdict, _, counts = checked.summary.partition(":")
        style = STYLES_OF_VERDICTS[checked.verdict]
        show_panel([[(verdict, style), f":{counts}"], *([line] for line in checked.details)], style)
    return result


def _for_json(checked: "Checked", result: "Result") -> dict[str, Any]:
    """The object of the run's result, and what is told of the subject beside."""
    stale = [asdict(difference) for difference in checked.stale]
    causes = checked.causes.drop(columns=["implementation"]).to_dict("records")
    checks = [answer._asdict() for answer in checked.answers]
    values: dict[str, Any] = json.loads(result.as_json)
    return values | {"subject": checked.subject, "checks": checks, "causes": causes, "stale": stale}
