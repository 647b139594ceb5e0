"""From what is asked to a plan: names resolved, everything refused that can be refused before it costs."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from conformance.adapters.installation import install_command, installed
from conformance.adapters.registry import called, resolve
from conformance.adapters.whole_files import is_part
from conformance.data.datasets import DATASETS, DataError, load_dataset
from conformance.data.wording import listed, nearest, shown
from conformance.exchange.hand_over import ordered_pairs
from conformance.exchange.replay import by_short_names
from conformance.parallel.replicas import on_replicas
from conformance.recipes import choosing
from conformance.recipes.components import choose_all
from conformance.recipes.recipe import DTYPES, Recipe
from conformance.recipes.subjects import IMPLEMENTATIONS as FRAMEWORK_OF
from conformance.recipes.subjects import SUITE, Subject, by_recipe, choose, does
from conformance.recipes.suites import OF_SUBJECTS, names
from conformance.recipes.suites import suite as recipes_of
from conformance.runs.folders import new_folder
from conformance.runs.plan import DEVICES, FILE, Plan
from conformance.verdicts.order import LADDER

REPORTS = Path("reports")


class Manner(NamedTuple):
    """How a suite is run unless it is asked for otherwise: with what of the named implementations, and which checks."""

    targets: Callable[[Iterable[str]], list[str]]
    checks: tuple[str, ...]


MANNERS = {
    "hand_over": Manner(ordered_pairs, ("free_running",)),
    "data_parallel": Manner(on_replicas, ("gradients", "free_running")),
}


def plan_of(
    recipes: Iterable[Recipe] = (),
    *,
    suite: str | None = None,
    subjects: Iterable[str] | None = None,
    pythons: Mapping[str, str] | None = None,
    implementations: Iterable[str] | None = None,
    dtypes: Iterable[str] | None = None,
    device: str = "cpu",
    output: Path | None = None,
    select: str | None = None,
    checks: Iterable[str] | None = None,
    **options: Any,
) -> Plan:
    """The plan of a run of a suite, of recipes, or of both; of the default suite if nothing is named.

    ``subjects`` are built-ins of the frameworks, or patterns of them, each with its recipe. ``implementations`` are
    names, ``package.module:Class``, ``trace:PATH`` or an ejected ``FILE.py``; by default those of the project's own
    whose framework is installed, and for subjects and their suite those that the subjects are of. ``pythons``: the
    executables of other Python environments, by the implementation whose workers run there. ``output`` is a new or
    empty folder, by default one below ``reports``, named by the time. ``dtypes`` are the precisions of all recipes; by
    default each recipe's own. ``select`` chooses recipes by patterns. ``checks``: by default all, or those of the
    suite's manner. ``options`` are other fields of :class:`Plan`; the oracle's cases of earlier runs are taken unless
    they say otherwise. Raises ValueError, naming the option, or the recipe whose data cannot be had.
    """
    choose_all("device", [device], DEVICES)
    manner = MANNERS.get(suite or "", Manner(list, LADDER))
    chosen_checks = choose_all("check", manner.checks if checks is None else checks, LADDER)
    asked = [("file", recipe) for recipe in recipes]
    named = choose(subjects) if subjects is not None else []
    suites = [suite] if suite is not None else [] if asked or named else ["default"]
    found = [(name, recipe) for name in suites for recipe in recipes_of(name)] + asked
    whole = {recipe.name for name, recipe in found if name in OF_SUBJECTS}
    found += [(SUITE, Recipe.model_validate(each.recipe)) for each in named if each.recipe_name not in whole]
    names(recipe for _, recipe in found)
    if select is not None:
        kept = {recipe.name for recipe in choosing.select((recipe for _, recipe in found), select)}
        found = [(name, recipe) for name, recipe in found if recipe.name in kept]
    by_default = _of_subjects(named) if named or suite in OF_SUBJECTS else installed()
    asked_for = _resolved(manner.targets(by_default if implementations is None else implementations))
    if asked_for:  # there are none where an object of this process is looked at
        found = _done(list(asked_for), found)
    precise = in_precisions((recipe for _, recipe in found), dtypes)
    found = [(name, recipe) for (name, _), recipe in zip(found, precise, strict=True)]
    needed: list[str] = [dtype for dtype in DTYPES if any(dtype in recipe.dtypes for recipe in precise)]
    targets = by_short_names(asked_for)
    if targets != asked_for:
        options |= {"reuse": False, "kept_cases": False}  # cases are then in the situations of a trace
    _require_data(precise)
    folder = new_folder(REPORTS) if output is None else _free(output)
    in_order = tuple(check for check in LADDER if check in chosen_checks)
    options = {"kept_cases": True, "pythons": _executables(pythons or {}, targets), **options}
    return Plan(folder.resolve(), found, targets, needed, device, in_order, **options)


def _resolved(implementations: Iterable[str]) -> dict[str, str]:
    """Where each implementation is, by what it is called in a run. Raises ValueError for two files of one name."""
    found: dict[str, str] = {}
    for name in implementations:
        if called(name) in found and called(name) != name:
            raise ValueError(f"implementation={name!r} is not allowed: another file is called {called(name)}, too")
        found[called(name)] = resolve(name)
    return found


def _of_subjects(named: Sequence[Subject]) -> list[str]:
    """The implementations that subjects are of, as far as their frameworks are installed; without any, all of them.

    Raises ValueError where none is.
    """
    of = {each.implementation for each in named} or set(FRAMEWORK_OF)
    there = [name for name in FRAMEWORK_OF if name in of and FRAMEWORK_OF[name] in installed()]
    if not there:
        commands = ", ".join(install_command(FRAMEWORK_OF[name]) for name in sorted(of))
        raise ValueError(f"subject={shown(named[0].name)} cannot be run: its framework is not installed ({commands})")
    return there


def _done(implementations: Sequence[str], found: Sequence[tuple[str, Recipe]]) -> list[tuple[str, Recipe]]:
    """The recipes, each with its suite, that some implementation does: those of built-ins do their own alone.

    Raises ValueError for an implementation of built-ins that has nothing to do, and for a recipe of no built-in that
    nobody does.
    """
    for name in implementations:
        if not any(does(name, recipe.name) for _, recipe in found):
            raise ValueError(
                f"implementation={shown(name)} is not allowed: does the recipes of its built-ins alone, and none of"
                " them is asked for; name them with --subject"
            )
    done = [(suite, recipe) for suite, recipe in found if any(does(name, recipe.name) for name in implementations)]
    for suite, recipe in found:
        if recipe.name not in by_recipe() and (suite, recipe) not in done:
            raise ValueError(
                f"recipe {recipe.name!r} is of no built-in, and {listed(implementations)} can do none but theirs:"
                " name another implementation, too"
            )
    return done


def _executables(pythons: Mapping[str, str], implementations: Iterable[str]) -> dict[str, str]:
    """The executables of other Pythons by implementation. Raises ValueError for an unknown one, and for no executable.

    >>> _executables({"tocrh": "/bin/true"}, ["torch"])
    Traceback (most recent call last):
    ValueError: python='tocrh' is not allowed: must be one of 'torch'; did you mean 'torch'?
    """
    known = list(implementations)
    for name, path in pythons.items():
        if name not in known:
            raise ValueError(
                f"python={shown(name)} is not allowed: must be one of {listed(known)}{nearest(name, known)}"
            )
        if not (os.path.isfile(path) and os.access(path, os.X_OK)):
            raise ValueError(f"python={shown(f'{name}={path}')} is not allowed: {shown(path)} is no executable file")
    return {name: os.path.abspath(path) for name, path in pythons.items()}


def _require_data(recipes: Iterable[Recipe]) -> None:
    """Raise ValueError where files of data cannot be had; all other data comes along."""
    read = {recipe.dataset: recipe.name for recipe in recipes if DATASETS[recipe.dataset.name].kind == "files"}
    for choice, name in read.items():
        try:
            load_dataset(**dict(choice))
        except DataError as error:
            raise ValueError(f"recipe {name!r}: {error}") from error


def in_precisions(recipes: Iterable[Recipe], dtypes: Iterable[str] | None) -> list[Recipe]:
    """Recipes, each in its own precisions; in those of ``dtypes`` if any are asked for. Raises ValueError."""
    if dtypes is None:
        return list(recipes)
    precisions = tuple(choose_all("dtype", dtypes, DTYPES))
    return [recipe.model_copy(update={"dtypes": precisions}) for recipe in recipes]


def _free(output: Path) -> Path:
    """The folder if a run can be written there. Raises ValueError."""
    try:
        taken = output.is_symlink() and not output.exists()
        taken = taken or (output.exists() and not output.is_dir())
        taken = taken or (output.exists() and any(not is_part(file.name, FILE) for file in output.iterdir()))
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
