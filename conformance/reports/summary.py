"""``summary.md``: a run on one page."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from conformance.results import frames
from conformance.results.run import Run

WORST = 12


def summarize(run: Run) -> str:
    """The page of a run, in Markdown."""
    records, curves, facts = run.records, run.curves, run.facts
    if records.empty:
        return "# Conformance report\n\n**INCOMPLETE**: the run ended before anything was compared.\n"
    sections = [
        ("", _headline(run)),
        ("First failures", _failures(records)),
        ("Verdicts", markdown(run.verdicts)),
        ("Records by check", markdown(frames.count_verdicts(records, "check"))),
        ("Largest error of each check", markdown(frames.largest_errors(records))),
        ("Noise floors by stage", markdown(frames.floors(records))),
        ("Nearest to the allowance", markdown(frames.worst_margins(records, WORST))),
        ("Margins: errors under allowances, allowances under faults", markdown(frames.ceilings(records))),
        ("Local errors, and what a training makes of them", markdown(frames.amplification(records, curves, WORST))),
        ("Inconclusive, and why", markdown(frames.inconclusive(records))),
        ("Last cost and accuracy", markdown(frames.final_values(curves), "No training was finished.", digits=8)),
        ("Seconds by implementation", markdown(frames.timing(records))),
        ("Environment", _environment(facts)),
    ]
    return "# Conformance report\n\n" + "\n\n".join(
        f"## {title}\n\n{text}" if title else text for title, text in sections
    )


def markdown(table: pd.DataFrame, empty: str = "None.", *, digits: int = 3) -> str:
    """A table in Markdown; numbers with so many digits, and nothing that could break a cell."""
    if table.empty:
        return empty
    cells = [[_text(value, digits) for value in row] for row in table.itertuples(index=False)]
    lines = [[str(column) for column in table.columns], ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _headline(run: Run) -> str:
    records, incomplete, silent = run.records, run.incomplete, run.offering_nothing
    counts = records["verdict"].value_counts()
    failing = len(frames.not_passing(records))
    counted = ", ".join(f"{counts[verdict]} {verdict}" for verdict in frames.VERDICTS if verdict in counts)
    result = "Every implementation conforms" if not failing else f"{failing} records did not pass"
    if silent:
        result = f"Nothing of {', '.join(map(_text, silent))} was compared: nothing that was asked for is offered"
        result += f". {failing} records did not pass" if failing else ""
    if incomplete:
        result = f"INCOMPLETE: {_text(incomplete)}" + (f". {failing} records did not pass" if failing else "")
    return (
        f"Run `{records['run'].iloc[0]}`: {records['recipe'].nunique()} recipes,"
        f" {records['implementation'].nunique()} implementations, {records['dtype'].nunique()} precisions,"
        f" {len(records)} records.\n\n**{result}**: {counted}."
    )


def _failures(records: pd.DataFrame) -> str:
    failures = frames.first_failures(records)
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


def _environment(facts: dict[str, Any]) -> str:
    environment = facts.get("environment", {})
    rows = [(name, environment[name]) for name in ("started", "python", "platform", "processors", "device")]
    rows += [(f"package {name}", value) for name, value in environment.get("packages", {}).items()]
    for name, fact in facts.items():
        if name.startswith("implementation "):
            settings = ", ".join(f"{key}={value}" for key, value in fact["settings"].items())
            rows.append((name, f"device {fact['device']}; {settings}"))
    return markdown(pd.DataFrame(rows, columns=["what", "value"]))


def _text(value: Any, digits: int = 3) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.{digits}g}"
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
