"""From what is asked to a plan: names resolved, everything refused that can be refused before it costs."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conformance.adapters.installation import installed
from conformance.adapters.registry import resolve
from conformance.exchange.replay import by_short_names
from conformance.recipes import choosing
from conformance.recipes.components import choose_all
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import names
from conformance.recipes.suites import suite as recipes_of
from conformance.runs.folders import new_folder
from conformance.runs.plan import PART, Plan
from conformance.verdicts.order import LADDER

DEVICES = ("cpu", "gpu", "tpu")
DTYPES = ("float64", "float32")
REPORTS = Path("reports")


def plan_of(
    recipes: Iterable[Recipe] = (),
    *,
    suite: str | None = None,
    implementations: Iterable[str] | None = None,
    dtypes: Iterable[str] = DTYPES,
    device: str = "cpu",
    output: Path | None = None,
    select: str | None = None,
    checks: Iterable[str] = LADDER,
    **options: Any,
) -> Plan:
    """The plan of a run of a suite, of recipes, or of both; of the default suite if neither is named.

    ``implementations`` are names, ``package.module:Class``, or ``trace:PATH``; by default those of the project's own
    whose framework is installed. ``output`` is a new or empty folder, by default one below ``reports``, named by the
    time. ``select`` chooses recipes by patterns. ``options`` are other fields of :class:`Plan`. Raises ValueError,
    naming the option.
    """
    choose_all("device", [device], DEVICES)
    precisions = choose_all("dtype", dtypes, DTYPES)
    chosen_checks = choose_all("check", checks, LADDER)
    asked = [("file", recipe) for recipe in recipes]
    suites = [suite] if suite else [] if asked else ["default"]
    found = [(name, recipe) for name in suites for recipe in recipes_of(name)] + asked
    names(recipe for _, recipe in found)
    if select is not None:
        kept = {recipe.name for recipe in choosing.select((recipe for _, recipe in found), select)}
        found = [(name, recipe) for name, recipe in found if recipe.name in kept]
    asked_for = {name: resolve(name) for name in (installed() if implementations is None else implementations)}
    targets = by_short_names(asked_for)
    if targets != asked_for:
        options["reuse"] = False  # cases are then in the situations of a trace
    folder = new_folder(REPORTS) if output is None else _free(output)
    in_order = tuple(check for check in LADDER if check in chosen_checks)
    return Plan(folder.resolve(), found, targets, precisions, device, in_order, **options)


def _free(output: Path) -> Path:
    """The folder if a run can be written there. Raises ValueError."""
    try:
        taken = output.is_symlink() and not output.exists()
        taken = taken or (output.exists() and (not output.is_dir() or any(f.name != PART for f in output.iterdir())))
        above = next(folder for folder in output.resolve().parents if folder.exists())
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"output={str(output)!r} is not allowed: {error}") from error
    if taken:
        raise ValueError(f"output={str(output)!r} is not allowed: must be a new or an empty folder")
    if not above.is_dir():
        raise ValueError(f"output={str(output)!r} is not allowed: {above} is no folder")
    if not os.access(output if output.exists() else above, os.W_OK):
        raise ValueError(f"output={str(output)!r} is not allowed: {above} cannot be written to")
    return output
