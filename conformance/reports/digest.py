"""``summary.json``: a run for programs, and ``comment.md``: a run in a few lines, for a pull request."""

from typing import Any, Literal, TypedDict

import pandas as pd

from conformance.results.conclusion import counted
from conformance.results.paths import short
from conformance.results.run import Run
from conformance.results.schema import VERDICTS
from conformance.verdicts.record import for_json

SCHEMA_VERSION = 1  # one more with each change that a program which reads the file would have to know of
ROWS_SHOWN = 10  # failures in the comment
LONGEST = 160  # characters of a cell of the comment


class Summary(TypedDict):
    """What ``summary.json`` holds. Rows have the columns of the frames of their name; null stands for no number."""

    schema_version: int
    run: str
    verdict: Literal["pass", "fail", "incomplete"]
    conclusion: str
    incomplete: str
    stopped: bool
    recipes: int
    records: int
    verdicts: dict[str, int]
    implementations: list[dict[str, Any]]
    offering_nothing: list[str]
    first_failures: list[dict[str, Any]]
    explanations: list[dict[str, Any]]
    unexplained: int
    environment: dict[str, str]


def as_values(run: Run) -> Summary:
    """The run for programs."""
    counts = run.records["verdict"].value_counts()
    return {
        "schema_version": SCHEMA_VERSION,
        "run": run.folder.resolve().name,
        "verdict": "incomplete" if run.incomplete else "pass" if run.passed else "fail",
        "conclusion": run.conclusion,
        "incomplete": run.incomplete,
        "stopped": run.stopped,
        "recipes": int(run.records["recipe"].nunique()),
        "records": len(run.records),
        "verdicts": {verdict: int(counts.get(verdict, 0)) for verdict in VERDICTS},
        "implementations": _rows(run.implementations),
        "offering_nothing": run.offering_nothing,
        "first_failures": _rows(run.first_failures),
        "explanations": _rows(run.explanations),
        "unexplained": run.unexplained,
        "environment": dict(run.environment.itertuples(index=False, name=None)),
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [for_json({str(name): value for name, value in row.items()}) for row in table.to_dict("records")]


def as_comment(run: Run) -> str:
    """The run in a few lines of Markdown, in which nothing that is named can be anything but text."""
    records = run.records
    sizes = ", ".join(f"{records[of].nunique()} {of}s" for of in ("recipe", "implementation"))
    lines = [f"### Conformance: {_plain(run.conclusion)}", "", f"{counted(records) or 'no'} records; {sizes}.", ""]
    failures = run.first_failures
    if len(failures):
        lines += [*_table(run), ""]
        if len(failures) > ROWS_SHOWN:
            lines += [f"{len(failures) - ROWS_SHOWN} more are in `summary.md`.", ""]
        lines += ["To see the first again, and why:", "", "```sh", failures["command"].iloc[0]]
        lines += [f"conformance explain {short(run.folder)}", "```", ""]
    return "\n".join(lines)


def _table(run: Run) -> list[str]:
    """The first failures, with the cause that was found, or else what was seen."""
    told = run.explanations[run.explanations["explained"]]
    causes = {(row["recipe"], row["implementation"]): row["cause"] for row in told.to_dict("records")}
    lines = ["| implementation | recipe | precision | where it fails first | why |", "| --- | --- | --- | --- | --- |"]
    for row in run.first_failures.head(ROWS_SHOWN).to_dict("records"):
        where = f"{row['check']}: {row['verdict']}" + (
            f", {row['tensor']}, step {row['step']}" if row["tensor"] else ""
        )
        cause = causes.get((row["recipe"], row["implementation"]), row["cause"])
        cells = (row["implementation"], row["recipe"], row["dtype"], where, cause)
        lines.append(f"| {' | '.join(map(_code, cells))} |")
    return lines


def _code(text: Any) -> str:
    """Text as a code span in a cell of a table."""
    line = _cut(" ".join(str(text).split())).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""


def _plain(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`" if set(text) & set("<>@[]*_`|#") else text


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
