"""``docs/evidence.md``: what a run and the tests of the tester measured, as a page.

``python -m conformance.reports.evidence RUN [SCORES]`` prints it. RUN is the folder of a run; SCORES is what
``conformance mutants --json`` printed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from conformance.reports.summary import WORST, extent, markdown
from conformance.results.run import Run, load_run

INTRODUCTION = """\
# What is measured

Made from a run of the default suite by

    python -m conformance.reports.evidence reports/latest mutants.json > docs/evidence.md

where `mutants.json` is what `conformance mutants --implementation numpy,torch,tf,jax --json` printed. What the words
mean is told in [verdicts.md](verdicts.md)."""

MARGINS = """\
For each check and precision, the error that came nearest to its allowance, and the tensor whose ceiling is nearest to
its allowance: of all tensors by which the named fault is seen, the one on which it is seen least. Only above 1 would
the check as a whole miss the fault."""


def page(run: Run, outcomes: list[dict[str, Any]]) -> str:
    """The page, in Markdown, of a run and of the outcomes of mutants."""
    sections = [
        ("The run", _headline(run)),
        ("Known faults that are caught", markdown(scores(outcomes), "Not measured.")),
        ("Largest error of each check, of what passes", markdown(run.largest_errors)),
        ("Noise floors by stage", markdown(run.floors)),
        ("Margins", f"{MARGINS}\n\n{markdown(run.margins)}"),
        (
            "Local errors, and what a training makes of them",
            markdown(run.amplification.head(WORST)),
        ),
        ("Inconclusive, and why", markdown(run.inconclusive)),
    ]
    return "\n\n".join([INTRODUCTION, *(f"## {title}\n\n{text}" for title, text in sections)]) + "\n"


def scores(outcomes: list[dict[str, Any]]) -> pd.DataFrame:
    """How many of the mutants that were injected were caught by every check that must catch them, and the least margin.

    By implementation and precision; a margin is in allowances.
    """
    if not outcomes:
        return pd.DataFrame()
    found = pd.DataFrame(outcomes)
    named = found[found["named"]].assign(margin=found["margin"].astype(float).fillna(float("inf")))
    keys = ["implementation", "dtype"]
    caught = named.groupby([*keys, "mutant"], sort=False)["caught"].all().groupby(keys, sort=False)
    least = named.loc[named.groupby(keys, sort=False)["margin"].idxmin()].set_index(keys)
    table: pd.DataFrame = caught.agg(injected="size", caught="sum").join(least[["margin", "mutant", "check"]])
    return table.rename(columns={"margin": "least margin"}).reset_index()


def _headline(run: Run) -> str:
    records, environment = run.records, run.facts["environment"]
    counts = ", ".join(f"{number} {verdict}" for verdict, number in records["verdict"].value_counts().items())
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return (
        f"{extent(records)}, on {environment['device']} with {environment['processors']} cores:"
        f" {len(records)} records: {counts}. Python {environment['python']}, {packages}."
    )


def main(folder: str, mutants: str = "") -> None:
    """Print the page."""
    outcomes = json.loads(Path(mutants).read_text(encoding="utf-8")) if mutants else []
    print(page(load_run(folder), outcomes), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
