"""What is told of a comparison of runs: the same sections for the command line and for a page."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from conformance.reports.plain_page import render
from conformance.results.comparison import Comparison

ROWS = 1000  # of each table of the page
EXPLANATIONS = {
    "Overview": "What both runs hold, and how much of it differs. A regression is a record that came to not pass.",
    "Incomplete": "What was planned and is not done, so that nothing is said of it.",
    "Environment": "What differs in versions, platform, device and settings.",
    "Recipes that changed": "One name, two content hashes: what was trained is not the same, so it is not compared.",
    "Verdicts that flipped": "Regressions first.",
    "Errors that moved": "By more than the noise floor; floors moved: by how many, away from the oracle (above 0) or"
    " nearer to it (below 0). No verdict: within its allowance an error may move. Without those whose verdict flipped.",
    "Records that only one run has": "",
    "Times, run over baseline": "Median of the ratios of all trainings, and their quartiles. Left out: trainings that"
    " one of the runs took from an earlier one.",
}


class Section(NamedTuple):
    """A table with what is told of it. ``rows`` are texts; ``right``: the columns of numbers."""

    title: str
    explanation: str
    columns: list[str]
    rows: list[list[str]]
    right: list[str]


def sections(comparison: Comparison) -> list[Section]:
    """The sections of a comparison that have something to tell, in the order in which they are read."""
    return [_section(title, table, comparison) for title, table in _tables(comparison) if len(table)]


def page(comparison: Comparison) -> str:
    """A page in HTML that needs no other file. Whatever a run named is escaped."""
    return render(
        "comparison.html", comparison=comparison, sections=sections(comparison), limit=ROWS, result=result(comparison)
    )


def result(comparison: Comparison) -> str:
    """What came of a comparison, in a line."""
    if comparison.nothing_compared:
        return f"nothing in common with {', '.join(comparison.nothing_compared)}: no recipe, implementation and dtype"
    count = int(comparison.overview["regressions"].sum())
    told = f"{count or 'no'} {'record' if count == 1 else 'records'} came to not pass"
    return f"INCOMPLETE; {told}" if len(comparison.incomplete) else told


def _tables(comparison: Comparison) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "Overview", comparison.overview
    yield "Incomplete", comparison.incomplete
    yield "Environment", comparison.environment
    yield "Recipes that changed", comparison.changed_recipes
    flipped = comparison.flipped.sort_values("regression", ascending=False, kind="stable")
    yield "Verdicts that flipped", _side_by_side(flipped, "verdict", "error").drop(columns="regression")
    moved = comparison.moved[comparison.moved["baseline_verdict"] == comparison.moved["verdict"]]
    yield "Errors that moved", _side_by_side(moved, "verdict", "step", "error")
    alone = comparison.only_in_one.groupby(["run", "only_in", "implementation", "dtype"], sort=False)
    yield (
        "Records that only one run has",
        alone.agg(recipes=("recipe", "nunique"), records=("tensor", "size")).reset_index(),
    )
    yield "Times, run over baseline", comparison.speed


def _side_by_side(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """``before -> after`` in the place of two columns; one value where they are the same."""
    told = table.copy()
    for column in columns:
        pairs = zip(table[f"baseline_{column}"].map(_text), table[column].map(_text), strict=True)
        told[column] = [after if before == after else f"{before} -> {after}" for before, after in pairs]
    return told.drop(columns=[f"baseline_{column}" for column in columns])


def _section(title: str, table: pd.DataFrame, comparison: Comparison) -> Section:
    shown = table.drop(columns="run") if len(comparison.others) == 1 else table
    numbers = [str(column) for column in shown.select_dtypes("number")]
    rows = [[_text(value) for value in row] for row in shown.itertuples(index=False)]
    columns = [str(column) for column in shown.columns]
    titles = [column.replace("_", " ") for column in columns]
    return Section(title, EXPLANATIONS[title], titles, rows, [name.replace("_", " ") for name in numbers])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}"
    return str(value)
