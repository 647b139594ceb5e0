"""``docs/evidence.md``: what a run and the tests of the tester measured, as a page.

``python -m conformance.reports.evidence RUN MUTANTS EXPLAINED HELD_OUT`` prints it. RUN is the folder of a run; MUTANTS
and EXPLAINED are what ``conformance mutants --json`` and ``conformance mutants --explain --json`` printed; HELD_OUT is
the TOML file of the faults that the diagnosis was not made for, with what is said of each.
"""

import json
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from conformance.reports.summary import WORST, extent, markdown
from conformance.results.run import Run, load_run

INTRODUCTION = """\
# What is measured

Made from a run of the default suite by

    conformance mutants --implementation numpy,torch,tf,jax --json > mutants.jsonl
    conformance mutants --implementation numpy,torch,tf,jax --explain --json > explained.jsonl
    python -m conformance.reports.evidence reports/latest mutants.jsonl explained.jsonl \\
        tests/conformance/diagnosis/held_out_faults.toml > docs/evidence.md

What the words mean is told in [verdicts.md](verdicts.md)."""

EXPLAINED = """\
Each known fault is injected and `explain` is asked why the implementation leaves the oracle, in float64. Named is what
it gives as the first cause if that is the fault itself, or computes the same to the last digit. What `native` alone
sees is drawn anew by each implementation; where it shows is said in any case. By some faults a framework raises an
error, which says for itself what is wrong."""

HELD_OUT = """\
None of these is in the library, and what a reader would be told of each was written down before it was tried. The first
divergence is where a reader would look first, unless "(expected: ...)" says otherwise; so is the cause.
`make slow` holds every row."""

MARGINS = """\
For each check and precision, the error that came nearest to its allowance, and the tensor whose ceiling is nearest to
its allowance: of all tensors by which the named fault is seen, the one on which it is seen least. Only above 1 would
the check as a whole miss the fault."""


Lines = list[dict[str, Any]]


def page(run: Run, outcomes: Lines, recognitions: Lines, held_out: Lines) -> str:
    """The page, in Markdown, of a run, of what was found of the mutants and of the faults that were held out."""
    sections = [
        ("The run", _headline(run)),
        ("Known faults that are caught", markdown(scores(outcomes))),
        ("Known faults that are explained", f"{EXPLAINED}\n\n{markdown(explained(recognitions))}"),
        ("Faults that it was not made for", f"{HELD_OUT}\n\n{_score(held_out)}\n\n{markdown(told(held_out))}"),
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


def scores(outcomes: Lines) -> pd.DataFrame:
    """How many of the mutants that were injected were caught by every check that must catch them, and the least margin.

    By implementation and precision; a margin is in allowances.
    """
    found = pd.DataFrame(outcomes)
    named = found[found["named"]].assign(margin=found["margin"].astype(float).fillna(float("inf")))
    keys = ["implementation", "dtype"]
    caught = named.groupby([*keys, "mutant"], sort=False)["caught"].all().groupby(keys, sort=False)
    least = named.loc[named.groupby(keys, sort=False)["margin"].idxmin()].set_index(keys)
    table: pd.DataFrame = caught.agg(injected="size", caught="sum").join(least[["margin", "mutant", "check"]])
    return table.rename(columns={"margin": "least margin"}).reset_index()


def explained(recognitions: Lines) -> pd.DataFrame:
    """How many of the mutants were explained under their own name, by implementation, and what came of the others."""
    rows = []
    for implementation in dict.fromkeys(line["implementation"] for line in recognitions):
        mine = [line for line in recognitions if line["implementation"] == implementation]
        unnamed = [line for line in mine if not line["recognised"]]
        errors = [line["mutant"] for line in unnamed if is_an_error(line)]
        other = [line["mutant"] for line in unnamed if not is_an_error(line)]
        rows.append(
            {
                "implementation": implementation,
                "injected": len(mine),
                "caught": sum(bool(line["where"]) for line in mine),
                "named": len(mine) - len(unnamed),
                "raised an error": "; ".join(errors) or "-",
                "not named": "; ".join(other) or "-",
            }
        )
    return pd.DataFrame(rows)


def is_an_error(recognition: Mapping[str, Any]) -> bool:
    """Whether the first failure is an exception: it has a check, and neither a stage nor a tensor."""
    return str(recognition["where"]).endswith(":")


PLACE = ("check", "stage", "tensor")
CAUSE = ("cause",)


def told(held_out: Lines) -> pd.DataFrame:
    """Of each fault that was held out, where it is said to show first and why; what was expected if that differs."""
    rows = [
        {
            "fault": fault["name"],
            "kind": fault["kind"],
            "implementation": fault["implementation"],
            "first divergence": _beside(fault, PLACE),
            "cause": _beside(fault, CAUSE),
            "nearest": (fault | fault.get("now", {})).get("nearest", "-"),
        }
        for fault in held_out
    ]
    return pd.DataFrame(rows)


def _score(held_out: Lines) -> str:
    """How many are caught, at their place and with their cause, in one line."""
    place, cause = (sum(as_expected(fault, of) for fault in held_out) for of in (PLACE, CAUSE))
    known = sum(fault["cause"] != "none known" for fault in held_out)
    return (
        f"Caught: {len(held_out)} of {len(held_out)}. The place as expected: {place}. The cause as expected: {cause},"
        f" of which {known} are known and {len(held_out) - known} are not."
    )


def as_expected(fault: Mapping[str, Any], of: Iterable[str]) -> bool:
    """Whether what is said of a fault that was held out is what was expected of it."""
    return not set(of) & fault.get("now", {}).keys()


def _beside(fault: Mapping[str, Any], of: tuple[str, ...]) -> str:
    said = ", ".join((fault | fault.get("now", {}))[name] for name in of)
    expected = ", ".join(fault[name] for name in of)
    return said if as_expected(fault, of) else f"{said} (expected: {expected})"


def _headline(run: Run) -> str:
    records, environment = run.records, run.facts["environment"]
    counts = ", ".join(f"{number} {verdict}" for verdict, number in records["verdict"].value_counts().items())
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return (
        f"{extent(records)}, on {environment['device']} with {environment['processors']} cores:"
        f" {len(records)} records: {counts}. Python {environment['python']}, {packages}."
    )


def main(folder: str, mutants: str, recognitions: str, held_out: str) -> None:
    """Print the page."""
    faults = tomllib.loads(Path(held_out).read_text(encoding="utf-8"))["fault"]
    print(page(load_run(folder), _lines(mutants), _lines(recognitions), faults), end="")


def _lines(path: str) -> Lines:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(*sys.argv[1:])
