"""``summary.md``: a run on one page."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from conformance.results import frames, tables
from conformance.results.conclusion import counted
from conformance.results.run import Run

WORST = 12


def summarize(run: Run) -> str:
    """The page of a run, in Markdown."""
    records = run.records
    if records.empty:
        return "# Conformance report\n\n**INCOMPLETE**: the run ended before anything was compared.\n"
    sections = [
        ("", _headline(run)),
        ("First failures", _failures(run)),
        *([("Built-ins", markdown(run.subjects.drop(columns="recipe")))] if len(run.subjects) else []),
        ("Verdicts", markdown(run.verdicts)),
        ("Records by check", markdown(frames.count_verdicts(records, "check"))),
        ("Largest error of each check, of what passes", markdown(run.largest_errors)),
        ("Noise floors by stage", markdown(run.floors)),
        ("Nearest to the allowance", markdown(run.worst_margins.head(WORST))),
        ("Margins: errors under allowances, allowances under faults", markdown(run.margins)),
        ("Local errors, and what a training makes of them", markdown(run.amplification.head(WORST))),
        ("Inconclusive, and why", markdown(run.inconclusive)),
        ("Last cost and accuracy", markdown(run.final_values, "No training was finished.", digits=8)),
        ("Seconds by implementation", markdown(tables.timing(records))),
        ("Environment", markdown(run.environment)),
    ]
    return "# Conformance report\n\n" + "\n\n".join(
        f"## {title}\n\n{text}" if title else text for title, text in sections
    )


def markdown(table: pd.DataFrame, empty: str = "None.", *, digits: int = 3) -> str:
    """A table in Markdown; numbers with so many digits, and nothing that could break a cell."""
    if table.empty:
        return empty
    cells = [[_text(value, digits) for value in row] for row in table.itertuples(index=False)]
    lines = [[_text(column) for column in table.columns], ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _headline(run: Run) -> str:
    records = run.records
    return (
        f"Run `{records['run'].iloc[0]}`: {extent(records)}, {len(records)} records.\n\n"
        f"**{_text(run.conclusion)}**: {counted(records)}."
    )


def extent(records: pd.DataFrame) -> str:
    """How much a run looked at; trainings are counted, since not every recipe is run in every precision."""
    trainings = len(records[["recipe", "dtype"]].drop_duplicates())
    return (
        f"{records['recipe'].nunique()} recipes, {records['implementation'].nunique()} implementations,"
        f" {trainings} trainings each ({', '.join(records['dtype'].unique())})"
    )


def _failures(run: Run) -> str:
    failures = run.first_failures
    if failures.empty:
        return "None."
    return "\n".join(_sentence(row) for row in failures.to_dict("records"))


def _sentence(row: Mapping[Hashable, Any]) -> str:
    place = f", stage `{row['stage']}`, tensor `{row['tensor']}`, step {row['step']}" if row["tensor"] else ""
    size = f", error {row['error']:.3g} where {row['allowance']:.3g} is allowed" if pd.notna(row["error"]) else ""
    return (
        f"- **{row['implementation']}**, {row['recipe']}, {row['dtype']}: check `{row['check']}`{place}:"
        f" {row['verdict']}{size}. {_text(row['cause'])}"
    )


def _text(value: Any, digits: int = 3) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.{digits}g}"
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
