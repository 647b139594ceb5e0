"""A run that has been: its frames, and what came of it."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from conformance.results import frames
from conformance.results.completeness import incompleteness, missing
from conformance.results.store import Store
from conformance.verdicts.compare import Verdict


class Run:
    """The run in a folder, read when it is asked for."""

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

    @property
    def verdicts(self) -> pd.DataFrame:
        """Recipes by implementations."""
        return frames.verdict_matrix(self.records, missing(self._store))

    @property
    def first_failures(self) -> pd.DataFrame:
        """For each recipe, implementation and precision that fails, its first failure."""
        return frames.first_failures(self.records)

    @cached_property
    def incomplete(self) -> str:
        """What was planned and is not done, and why; "" for a run that came to its end."""
        return incompleteness(self._store)

    @property
    def missing(self) -> pd.DataFrame:
        """The checks that were planned and are not done: implementation, recipe, precision, check."""
        rows = [(*each[:3], check) for each in missing(self._store) for check in each.checks]
        return pd.DataFrame(rows, columns=["implementation", "recipe", "dtype", "check"])

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end with the first check that did not pass, and did."""
        return bool(self.facts.get("stopped"))

    def not_passing(self, *, require_all: bool = False) -> pd.DataFrame:
        """The records that count against the run; with ``require_all`` what is not offered does too."""
        return frames.not_passing(self.records, require_all=require_all)

    @property
    def offering_nothing(self) -> list[str]:
        """The implementations of which nothing at all could be compared."""
        offers = (self.records["verdict"] != Verdict.UNSUPPORTED).groupby(self.records["implementation"]).any()
        return [str(name) for name in offers.index[~offers]]

    @property
    def passed(self) -> bool:
        """Whether the run came to its end, and all that was offered, of each something, passes or is inconclusive."""
        return (
            not self.incomplete and bool(len(self.records)) and self.not_passing().empty and not self.offering_nothing
        )

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def load_run(folder: str | Path) -> Run:
    """The run in a folder. Raises StoreError, a ValueError, if it holds none."""
    return Run(Path(folder))
