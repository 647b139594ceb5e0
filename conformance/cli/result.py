"""What came of a run: one typed object, told as JSON, as plain lines, or in a panel at the end."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from conformance.cli.display import Line, say, show_panel, show_table
from conformance.reports import PAGES, left_out, report_of
from conformance.reports.page import number_of
from conformance.results import frames
from conformance.results.completeness import planned
from conformance.results.paths import short
from conformance.results.run import Run
from conformance.results.schema import VERDICTS
from conformance.results.subjects import EQUAL, FAILING, KNOWN, MISSING
from conformance.verdicts.compare import Verdict
from conformance.verdicts.record import for_json

FAILURES_SHOWN = 5  # the rest is in the report
ROWS_SHOWN = 100  # of a run with more recipes, only those that do not pass throughout
STYLES = {"pass": "bold green", "fail": "bold red", "incomplete": "bold red"}


class Manner(NamedTuple):
    """How the end of a run is told.

    ``require_all``: what is not offered counts as not passed. ``quiet``: only the verdict, and where the report is.
    ``as_json``: one JSON object, and nothing else on standard output.
    """

    require_all: bool = False
    quiet: bool = False
    as_json: bool = False


class Failure(NamedTuple):
    """The first record that does not pass, of a recipe in one implementation and precision.

    ``step``: from 1, or 0 where there is none. ``error`` and ``allowance``: None where there is no number. ``cause``:
    the record's, mostly two numbers. ``command``: shows it again. ``explanation``: the cause that diagnosis found; ""
    where it found none, or was not asked.
    """

    recipe: str
    implementation: str
    dtype: str
    check: str
    stage: str
    tensor: str
    step: int
    verdict: str
    error: float | None
    allowance: float | None
    cause: str
    command: str
    explanation: str

    @property
    def place(self) -> str:
        """Where it is, in words."""
        step = f"step {self.step}" if self.step else ""
        return f"{self.recipe} {self.dtype}: " + ", ".join(filter(None, (self.check, self.stage, self.tensor, step)))


@dataclass(frozen=True)
class Result:
    """What came of a run; its fields are those of the JSON object.

    Attributes:
        status: ``pass``, ``fail``, or ``incomplete`` where something that was planned is not done.
        exit_status: 0, 1 or 3, in this order.
        records: how many there are of each verdict; a verdict that does not occur is left out.
        trainings: planned ones: recipes in each precision and implementation.
        kept: how many of these were taken from earlier runs.
        require_all: whether records that are ``unsupported`` count as not passed.
        incomplete: what is missing and why; "" where nothing is. A run that ended, as it was asked to, with the first
            check that did not pass has ``status`` ``fail`` and tells here what it has not done.
        offering_nothing: implementations of which nothing at all could be compared.
        known: records that fail by known differences of built-ins, and count for nothing.
        stale: known differences of built-ins that are no more, each with the row that must go.
        first_failures: the first record that does not pass, for each recipe, implementation and precision.
        folder: of the run.
        report: the file that tells more.
        summary: the same on one page of text; of a run without a page for the browser it is the report.
        explain: a command that seeks the causes; "" where nothing failed.
        resume: a command that does what is missing; "" where nothing is.
    """

    status: Literal["pass", "fail", "incomplete"]
    exit_status: Literal[0, 1, 3]
    records: dict[str, int]
    trainings: int
    kept: int
    require_all: bool
    incomplete: str
    offering_nothing: list[str]
    known: int
    stale: list[str]
    first_failures: list[Failure]
    folder: str
    report: str
    summary: str
    explain: str
    resume: str

    @property
    def as_json(self) -> str:
        """The object, whose numbers that are none are null."""
        failures = [for_json(failure._asdict()) for failure in self.first_failures]
        return json.dumps(asdict(self) | {"first_failures": failures}, indent=2)


def result_of(run: Run, *, require_all: bool = False) -> Result:
    """What came of a run. Raises StoreError."""
    lacking, records, plan = run.incomplete, run.records, run.facts["plan"]
    counts = records["verdict"].value_counts()
    complete = not records.empty and (not lacking or run.stopped)
    passes = run.not_passing(require_all=require_all).empty and not run.offering_nothing and not run.stale
    failures = list(_failures(run))
    folder = short(run.folder)
    return Result(
        status="incomplete" if not complete else "pass" if passes else "fail",
        exit_status=3 if not complete else 0 if passes else 1,
        records={verdict: int(counts[verdict]) for verdict in VERDICTS if verdict in counts},
        trainings=len(planned(plan)),
        kept=run.facts.get("reused", 0),
        require_all=require_all,
        incomplete=lacking,
        offering_nothing=run.offering_nothing,
        known=len(frames.not_passing(run.records)) - len(run.not_passing()),
        stale=run.stale,
        first_failures=failures,
        folder=str(folder),
        report=str(short(report_of(run.folder))),
        summary=str(short(run.folder / PAGES[-1])),
        explain=f"conformance explain {shlex.quote(str(folder))}" if failures else "",
        resume=f"conformance run --resume {shlex.quote(str(folder))}" if lacking else "",
    )


def _failures(run: Run) -> Iterator[Failure]:
    """The first failures, with what diagnosis found of them."""
    training = ["recipe", "implementation", "dtype"]
    causes = run.explanations[run.explanations["explained"]].set_index(training)["cause"]
    for row in run.first_failures.to_dict("records"):
        known = causes.get(tuple(row[name] for name in training), "")
        yield Failure(**{str(name): value for name, value in row.items()}, explanation=known)


def show_result(folder: Path, manner: Manner) -> Result:
    """Print what came of the run in a folder, and return it. Raises StoreError."""
    run = Run(folder)
    result = result_of(run, require_all=manner.require_all)
    if manner.as_json:
        print(result.as_json)
    elif manner.quiet:
        say(*_verdict(result))
        say(f"report: {result.report}")
    else:
        _show_subjects(run)
        if not set(run.verdicts.columns) <= {"recipe", *run.subjects["implementation"]}:
            _show_matrix(run)
        show_panel([_verdict(result), *_details(result)], STYLES[result.status])
    return result


def _show_subjects(run: Run) -> None:
    """Each built-in with the formulation that it is equal to."""
    frame = run.subjects
    if frame.empty:
        return
    columns = ["subject", "formulation", "digits_float64", "digits_float32", "verdict", "reason"]
    rows = [
        ["" if value != value else f"{value:.1f}" if isinstance(value, float) else value for value in row]
        for row in frame[columns].itertuples(index=False)
    ]
    show_table([column.replace("digits_", "") for column in columns], rows, style=_style_of_subject)


def _style_of_subject(cell: str) -> str:
    return {EQUAL: "green", **dict.fromkeys(FAILING, "bold red"), KNOWN: "yellow", MISSING: "bold red"}.get(cell, "")


def _show_matrix(run: Run) -> None:
    """Recipes by implementations; of very many recipes those that do not pass throughout."""
    matrix = run.verdicts
    if len(matrix) > ROWS_SHOWN:
        passing = (matrix.drop(columns="recipe") == Verdict.PASS).all(axis=1)
        say(f"{passing.sum()} recipes pass in every implementation and precision; the others:")
        matrix = matrix[~passing]
    show_table(list(map(str, matrix.columns)), [list(row) for row in matrix.itertuples(index=False)], style=_style)


def _style(cell: str) -> str:
    """Of a cell of the matrix."""
    return {"pass": "green"}.get(cell, "bold red" if cell.partition(" ")[0].isupper() else "yellow")


def _verdict(result: Result) -> Line:
    """The verdict and the counts, in a line."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in result.records.items()) or "no"
    return [(result.status.upper(), STYLES[result.status]), f": {counts} records"]


def _details(result: Result) -> Iterator[Line]:
    """What else is to be told, a line for each fact."""
    for failure in result.first_failures[:FAILURES_SHOWN]:
        why = f". Explained by {failure.explanation}" if failure.explanation else ""
        yield [(failure.implementation, "bold red"), f" {failure.place}: {failure.verdict}. {failure.cause}{why}"]
    more = len(result.first_failures) - FAILURES_SHOWN
    if more > 0:
        yield [f"and {more} more that fail, each a recipe in one implementation and precision"]
    if result.require_all and Verdict.UNSUPPORTED in result.records:
        yield ["what is not offered, unsupported, counts as not passed"]
    for name in result.offering_nothing:
        yield [(name, "bold red"), " offers nothing of what was asked for: nothing of it was compared"]
    if result.known:
        yield [f"{number_of(result.known, 'record')} of known differences, which count for nothing"]
    for reason in result.stale:
        yield [("stale", "bold red"), f": {reason}"]
    if result.kept:
        yield [
            f"{result.kept} of {result.trainings} trainings are of earlier runs of the very same; --fresh measures anew"
        ]
    if result.incomplete:
        yield [("missing" if result.status == "incomplete" else "INCOMPLETE", "bold red"), f": {result.incomplete}"]
        yield [f"resume: {result.resume}"]
    if left_out():
        yield [left_out()]
    yield [f"report: {result.report}"]
    if result.summary != result.report:
        yield [f"summary: {result.summary}"]
    if result.explain:
        yield [f"explain: {result.explain}"]
