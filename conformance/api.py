"""``conformance.run``: what the command line's ``run`` does, from Python."""

from collections.abc import Iterable
from pathlib import Path

from conformance.recipes.recipe import Recipe
from conformance.results.run import Run
from conformance.runs.order import plan_of
from conformance.runs.run import carry_out


def run(
    recipes: Recipe | Iterable[Recipe] = (),
    *,
    suite: str | None = None,
    implementations: Iterable[str] | None = None,
    dtypes: Iterable[str] | None = None,
    device: str = "cpu",
    output: str | Path | None = None,
) -> Run:
    """Hold implementations against the oracle, in worker processes of their own, and return the finished run.

    Args:
        recipes: one, or several; with neither these nor ``suite`` the default suite.
        suite: ``quick``, ``default``, ``full`` or ``showcases``.
        implementations: names, or ``package.module:Class``; by default the project's own whose framework is installed.
        dtypes: ``float64``, ``float32``; by default those that each recipe names.
        device: ``cpu``, ``gpu`` or ``tpu``.
        output: a new or empty folder; by default one below ``reports``, named by the time.

    Raises ValueError for an argument that is not allowed or data that are not there, BadInput (of
    ``conformance.runs.outcome``) where a device or an implementation is not there, Incomplete where the run could not
    be carried out to its end.
    """
    plan = plan_of(
        [recipes] if isinstance(recipes, Recipe) else recipes,
        suite=suite,
        implementations=implementations,
        dtypes=dtypes,
        device=device,
        output=None if output is None else Path(output),
    )
    carry_out(plan, lambda worker, done, total: None)
    return Run(plan.folder)
