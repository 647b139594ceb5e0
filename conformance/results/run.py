"""A run that has been: its frames, and what came of it."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from conformance.recipes.recipe import Recipe
from conformance.results import choices, conclusion, frames, subjects, tables
from conformance.results.completeness import incompleteness, missing
from conformance.results.schema import FRAMES, typed
from conformance.results.store import Store
from conformance.verdicts.compare import Verdict

ROWS_SHOWN = 40  # of the matrix in a notebook; those that do not pass throughout come first


class Run:
    """The run in a folder, read when it is asked for.

    What each frame holds is told in ``docs/frames.md``, and in ``conformance.results.schema.FRAMES``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = Store(folder)

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row for each tensor of each check: error, floor, allowance, ceiling, verdict, cause."""
        return frames.load_records(self._store)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The training curves in long form: one row for each value."""
        return frames.load_curves(self._store)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The environment, the implementations with their versions and settings, and the recipes in full."""
        return self._store.facts()

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The recipes by name. Raises StoreError where they cannot be read."""
        return choices.recipes_of(self._store)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Recipes by implementations."""
        return frames.verdict_matrix(self.records, missing(self._store))

    @cached_property
    def first_failures(self) -> pd.DataFrame:
        """For each recipe, implementation and precision that fails, its first failure, and the command to see it."""
        first, known = frames.first_failures(self._unexpected), self.facts.get("environment", {})
        rows = first.assign(suite=self.records["suite"].loc[first.index])
        return typed(
            "first_failures", self._commanded(rows, lambda row: conclusion.command_again(row, known, self.folder))
        )

    @cached_property
    def explanations(self) -> pd.DataFrame:
        """What diagnosis found of failures, as far as it was asked."""
        rows = frames.load_explanations(self._store)
        return typed("explanations", self._commanded(rows, lambda row: conclusion.command_to_explain(row, self.folder)))

    @staticmethod
    def _commanded(rows: pd.DataFrame, command: Callable[[Mapping[Any, Any]], str]) -> pd.DataFrame:
        return rows.assign(
            command=pd.Series([command(row) for row in rows.to_dict("records")], rows.index, dtype=object)
        )

    @cached_property
    def timings(self) -> pd.DataFrame:
        """Seconds of each check of each training."""
        return frames.timings(self.records, self._store)

    @cached_property
    def training_times(self) -> pd.DataFrame:
        """How long the trainings themselves took."""
        return frames.load_training_times(self._store)

    @cached_property
    def implementations(self) -> pd.DataFrame:
        """Each implementation: what it runs on, what it takes, and the verdicts on it."""
        return frames.load_implementations(self._store, self.records)

    @cached_property
    def checks(self) -> pd.DataFrame:
        """Each check: its time and the verdicts in it."""
        return frames.checks(self.records)

    @cached_property
    def environment(self) -> pd.DataFrame:
        """What the run ran on."""
        return frames.environment(self.facts)

    @cached_property
    def dialects(self) -> pd.DataFrame:
        """Every keyword of every recipe, written out."""
        return choices.dialects(self.recipes)

    @cached_property
    def coverage(self) -> pd.DataFrame:
        """Every allowed pair of two choices that a recipe makes, and whether a recipe of the run makes both."""
        return choices.coverage(self.recipes)

    @cached_property
    def faults(self) -> pd.DataFrame:
        """Known faults that the recipes see, as far as it is known of them."""
        return choices.faults(self.recipes)

    @cached_property
    def margins(self) -> pd.DataFrame:
        """Both margins of each check and precision: errors under allowances, and allowances under known faults."""
        return tables.margins(self.records)

    @cached_property
    def errors_by_stage(self) -> pd.DataFrame:
        """The largest error of each implementation by precision, stage and layer, in allowances."""
        return tables.errors_by_stage(self.records)

    @cached_property
    def floors(self) -> pd.DataFrame:
        """The noise floors of each check, stage and precision."""
        return tables.floors(self.records)

    @cached_property
    def largest_errors(self) -> pd.DataFrame:
        """The largest error of the passing records of each check and precision."""
        return tables.largest_errors(self.records)

    @cached_property
    def worst_margins(self) -> pd.DataFrame:
        """The passing records, nearest to their allowance first."""
        return tables.worst_margins(self.records)

    @cached_property
    def amplification(self) -> pd.DataFrame:
        """Errors of single steps beside what a training that runs free makes of them, largest ratio first."""
        return tables.amplification(self.records, self.curves)

    @cached_property
    def inconclusive(self) -> pd.DataFrame:
        """Where and why nothing could be concluded."""
        return tables.inconclusive(self.records)

    @cached_property
    def final_values(self) -> pd.DataFrame:
        """The last cost and accuracies of each training, implementations side by side."""
        return tables.final_values(self.curves)

    @cached_property
    def incomplete(self) -> str:
        """What was planned and is not done, and why; "" for a run that came to its end."""
        return incompleteness(self._store)

    @cached_property
    def missing(self) -> pd.DataFrame:
        """The checks that were planned and are not done: implementation, recipe, precision, check."""
        rows = [(*each[:3], check) for each in missing(self._store) for check in each.checks]
        return typed("missing", pd.DataFrame(rows, columns=["implementation", "recipe", "dtype", "check"]))

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end with the first check that did not pass, and did."""
        return bool(self.facts.get("stopped"))

    @cached_property
    def subjects(self) -> pd.DataFrame:
        """Each built-in of a framework that is under test: which formulation it equals, and to how many digits."""
        return subjects.subjects_frame(self.records, self._subjects, self.facts.get("plan", {}).get("checks", ()))

    @property
    def _subjects(self) -> dict[str, dict[str, str]]:
        """The built-ins under test as the plan has them, by recipe."""
        found: dict[str, dict[str, str]] = self.facts.get("plan", {}).get("subjects", {})
        return found

    @cached_property
    def _unexpected(self) -> pd.DataFrame:
        """The records but those of known differences of built-ins."""
        return subjects.without_known(self.records, self._subjects)

    def not_passing(self, *, require_all: bool = False) -> pd.DataFrame:
        """The records that count against the run; with ``require_all`` what is not offered does too.

        Known differences of built-ins count for nothing.
        """
        return frames.not_passing(self._unexpected, require_all=require_all)

    @property
    def stale(self) -> list[str]:
        """The known differences of built-ins that are no more, each with the row that must go."""
        return list(subjects.stale_of(self.subjects)) if self._subjects else []

    @property
    def offering_nothing(self) -> list[str]:
        """The implementations of which nothing at all could be compared."""
        offers = (self.records["verdict"] != Verdict.UNSUPPORTED).groupby(self.records["implementation"]).any()
        return [str(name) for name in offers.index[~offers]]

    @property
    def passed(self) -> bool:
        """Whether the run came to its end, and all that was offered, of each something, passes or is inconclusive."""
        return (
            not self.incomplete
            and bool(len(self.records))
            and self.not_passing().empty
            and not self.offering_nothing
            and not self.stale
        )

    @property
    def conclusion(self) -> str:
        """Whether every implementation conforms, or what stands against it, in a line."""
        told = conclusion.conclusion(self._unexpected, self.incomplete, self.offering_nothing)
        return "; stale: ".join([told, *self.stale])

    @property
    def unexplained(self) -> int:
        """How many of the recipes and implementations that fail nobody has explained."""
        pairs = ["recipe", "implementation"]
        told = set(self.explanations[pairs].itertuples(index=False, name=None))
        return len(set(self.first_failures[pairs].itertuples(index=False, name=None)) - told)

    def frames(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Every frame by name."""
        return ((name, getattr(self, name)) for name in FRAMES)

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, its counts and the matrix."""
        matrix, counts = self.verdicts, conclusion.counted(self.records)
        passing = (matrix.drop(columns="recipe") == "pass").all(axis=1)
        shown = matrix.loc[passing.sort_values(kind="stable").index].head(ROWS_SHOWN)
        table = shown.to_html(index=False, escape=True, border=0, notebook=True)
        hidden = len(matrix) - len(shown)
        more = f"<p>{hidden} more recipes are in <code>.verdicts</code>.</p>" if hidden else ""
        return f"<p><b>{escape(self.conclusion)}</b>: {escape(counts)} records.</p>{table}{more}"

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def load_run(folder: str | Path) -> Run:
    """The run in a folder. Raises StoreError, a ValueError, if it holds none."""
    return Run(Path(folder))
