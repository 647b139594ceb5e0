"""What failed, for the page: the first failure of each training, and what is known of its cause."""

import json
import math
import re
from collections import defaultdict
from typing import Any, NamedTuple

import pandas as pd

from conformance.reports.page_data import TRAINING
from conformance.reports.page_tables import chosen, in_short, named
from conformance.results.conclusion import command_to_explain
from conformance.results.run import Run

CALL = re.compile(r"(\w+)\(([^()]*)\)")  # a formulation in a cause: batch_norm(momentum=0.99)
Own = dict[tuple[str, str, str], set[str]]


class Failure(NamedTuple):
    """The first failure of one training, what is known of its cause, and the command that looks for it."""

    row: dict[str, Any]
    times: float  # the error in allowances
    explanations: list[dict[str, Any]]
    explain: str
    shared: list[str]  # the other precisions of which the same command tells
    elsewhere: list[dict[str, Any]]  # without an explanation of its own: those of the other precisions

    @property
    def cause(self) -> dict[str, Any] | None:
        """The explanation that names a cause; of another precision if there is none of its own."""
        return next((each for each in (*self.explanations, *self.elsewhere) if each["explained"]), None)


def failures(run: Run) -> list[Failure]:
    """The first failure of each training, in the order of the ladder."""
    first = [named(row) for row in run.first_failures.to_dict("records")]
    explained, told = _explanations(run), defaultdict(list)
    for row in first:
        told[row["recipe"], row["implementation"], row["command"]].append(row["dtype"])
    found = []
    for row in first:
        own = explained.get(tuple(row[key] for key in TRAINING), [])
        pair = (row["recipe"], row["implementation"])
        others = [each for key, rows in explained.items() if key[:2] == pair for each in rows if each["explained"]]
        found.append(
            Failure(
                row,
                row["error"] / row["allowance"] if row["allowance"] else math.nan,
                own,
                command_to_explain(row, run.folder),
                [dtype for dtype in told[*pair, row["command"]] if dtype != row["dtype"]],
                [] if own else others,
            )
        )
    return found


def _explanations(run: Run) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The explanations of each training, each with what the recipe has instead of its cause."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    rows = [named(row) for row in run.explanations.to_dict("records")]
    own = _own_values(chosen(run, "dialects")) if rows else {}
    for row in rows:
        row["instead_of"] = instead_of(row["cause"], row["recipe"], own)
        found[tuple(row[key] for key in TRAINING)].append(row)
    return found


def _own_values(dialects: pd.DataFrame) -> Own:
    """The values that each recipe has, by the name of a component and its keyword."""
    found: Own = defaultdict(set)
    for recipe, name, keyword, value in dialects[["recipe", "name", "keyword", "value"]].itertuples(index=False):
        found[recipe, name, keyword].add(value)
    return found


def instead_of(cause: str, recipe: str, own: Own) -> str:
    """The recipe's own values of the keywords in a cause; "" where they are not known, or not one.

    >>> own = {("mine", "adam", "epsilon"): {"1e-08"}, ("mine", "adam", "beta1"): {"0.9"}}
    >>> instead_of("adam(epsilon=0.001)", "mine", own), instead_of("adam(beta1=0.9, epsilon=0.1)", "mine", own)
    ('epsilon=1e-08', 'epsilon=1e-08')
    >>> instead_of("adam(epsilon=0.001)", "another", own), instead_of("no call", "mine", own)
    ('', '')
    """
    told = []
    for name, keywords in CALL.findall(cause):
        for keyword, _, value in (part.strip().partition("=") for part in keywords.split(",")):
            values = [str(json.loads(each)) for each in own.get((recipe, name, keyword), ()) if each]
            if len(values) == 1 and values[0] != value.strip("'\""):
                told.append(f"{keyword}={values[0]}")
    return ", ".join(dict.fromkeys(told))


def failures_by_check(run: Run) -> pd.DataFrame:
    """How many trainings of each implementation fail first in each check."""
    first = run.first_failures
    counts = pd.crosstab(first["implementation"], first["check"])
    ordered = counts.reindex(columns=list(dict.fromkeys(first["check"])))
    return ordered.assign(total=counts.sum(axis=1)).rename_axis(columns=None).reset_index()


def causes(run: Run) -> pd.DataFrame:
    """The causes that were found: how many trainings of which implementation each explains, and where."""
    explained = run.explanations[run.explanations["explained"].astype(bool)]
    if explained.empty:
        return explained
    trainings = explained.drop_duplicates([*TRAINING, "cause"])
    table: pd.DataFrame = trainings.groupby(["implementation", "cause"], sort=False).agg(
        trainings=("recipe", "size"), recipes=("recipe", lambda recipes: in_short(list(dict.fromkeys(recipes))))
    )
    return table.reset_index().sort_values("trainings", ascending=False, kind="stable")
