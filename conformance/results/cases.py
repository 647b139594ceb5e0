"""The cases of a run as its oracle left them in the store."""

from conformance.checks import case
from conformance.checks.case import Case
from conformance.problems.problem import Problem, prepare
from conformance.recipes.recipe import Recipe
from conformance.results.store import Store
from conformance.verdicts import ceilings
from conformance.verdicts import floors as allowance


def load_case(
    store: Store, recipe: Recipe, dtype: str
) -> tuple[Problem, Case, allowance.Expectations, ceilings.Ceilings]:
    """What the oracle's worker left of a task: the case, what is expected of it, and the ceilings."""
    problem = prepare(recipe, dtype)
    name = f"{recipe.name}.{dtype}"
    built = case.unpack(problem, store.load_tensors(f"{name}.case"))
    expected = allowance.unpack(problem, store.load_tensors(f"{name}.oracle"), store.load_metadata(f"{name}.oracle"))
    return problem, built, expected, ceilings.unpack(store.load_metadata(f"{name}.case")["ceilings"])


def trace_name(recipe: str, dtype: str, implementation: str, check: str) -> str:
    """The name under which what a check saw is kept: of every training, and of every check that failed."""
    return f"{recipe}.{dtype}.{implementation}.{check}"
