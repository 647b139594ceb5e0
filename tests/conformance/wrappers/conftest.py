"""What the checks see of a wrapped subject, looked at in this process."""

import tomllib
from functools import cache
from typing import Any, NamedTuple

import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import Case, build_case
from conformance.checks.look import look
from conformance.problems.preparation import prepare
from conformance.problems.problem import Problem
from conformance.recipes.recipe import Recipe
from conformance.verdicts import floors
from conformance.verdicts.record import Context, Record
from conformance.verdicts.summary import judge


class Judged(NamedTuple):
    """The records of a subject."""

    records: list[Record]

    def of(self, verdict: str) -> dict[str, set[str]]:
        """The tensors with a verdict, by check; "" for a check as a whole."""
        found: dict[str, set[str]] = {}
        for record in self.records:
            if record.verdict == verdict:
                found.setdefault(record.check, set()).add(record.tensor)
        return found

    @property
    def wrong(self) -> dict[str, set[str]]:
        """The tensors that did not pass, by check."""
        found: dict[str, set[str]] = {}
        for record in self.records:
            if record.verdict in ("fail", "missing", "crashed", "timeout"):
                found.setdefault(record.check, set()).add(record.tensor)
        return found

    @property
    def causes(self) -> str:
        """What is said of the tensors that are not offered or did not pass, a line each."""
        return "\n".join(f"{r.check}: {r.tensor}: {r.cause}" for r in self.records if r.cause)


def _prepared(recipe: str | Recipe, dtype: str) -> Problem:
    return prepare(recipe if isinstance(recipe, Recipe) else Recipe.model_validate(tomllib.loads(recipe)), dtype)


@cache
def _case(recipe: str | Recipe, dtype: str) -> tuple[Case, Any]:
    problem = _prepared(recipe, dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


def _judged(subject: Any, recipe: str | Recipe, dtype: str = "float64") -> Judged:
    case, expectations = _case(recipe, dtype)
    session = subject("cpu").session(case.problem)
    context = Context("run", "file", case.problem.recipe, "tested", "1", "cpu", dtype)
    found: list[Record] = []
    for check in CHECKS:
        found += judge(context, look(session, case, check), expectations[check], {}, check, 1.0)
    return Judged(found)


@pytest.fixture(scope="session")
def prepared() -> Any:
    """``prepared(recipe as TOML, dtype)``: its problem."""
    return _prepared


@pytest.fixture(scope="session")
def judged() -> Any:
    """``judged(subject, recipe or its TOML, dtype)``: a subject held against the oracle, with all checks."""
    return _judged
