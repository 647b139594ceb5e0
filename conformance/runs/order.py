"""From what is asked to a plan: names resolved, everything refused that can be refused before it costs."""

from collections.abc import Iterable
from pathlib import Path

from conformance.adapters.registry import resolve
from conformance.recipes.components import choose_all
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import names
from conformance.recipes.suites import suite as recipes_of
from conformance.runs.folders import new_folder
from conformance.runs.plan import Plan

DEVICES = ("cpu", "gpu", "tpu")
DTYPES = ("float64", "float32")
REPORTS = Path("reports")


def plan_of(
    recipes: Iterable[Recipe] = (),
    *,
    suite: str | None = None,
    implementations: Iterable[str],
    dtypes: Iterable[str] = DTYPES,
    device: str = "cpu",
    output: Path | None = None,
) -> Plan:
    """The plan of a run of a suite, of recipes, or of both; of the default suite if neither is named.

    ``implementations`` are names, or ``package.module:Class``; ``output`` is a new or empty folder, by default one
    below ``reports``, named by the time. Raises ValueError, naming the option.
    """
    choose_all("device", [device], DEVICES)
    precisions = choose_all("dtype", dtypes, DTYPES)
    asked = [("file", recipe) for recipe in recipes]
    suites = [suite] if suite else [] if asked else ["default"]
    chosen = [(name, recipe) for name in suites for recipe in recipes_of(name)] + asked
    names(recipe for _, recipe in chosen)
    targets = {name: resolve(name) for name in implementations}
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output={str(output)!r} is not allowed: must be a new or an empty folder")
    return Plan(output or new_folder(REPORTS), chosen, targets, precisions, device)
