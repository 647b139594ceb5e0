"""Recipes by name: one of the catalogue or a file, and several by patterns."""

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from conformance.data.wording import nearest, shown
from conformance.recipes.files import KINDS, OTHER_KINDS, RecipeError, load_recipe
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import SUITES


def find(name_or_path: str | Path) -> Recipe:
    """A recipe by its name in some suite, or from a file.

    Raises RecipeError for an unknown name, with the nearest known ones, and for a file that is no recipe.

    >>> find("flower-shallow-tanh").optimizer.name
    'gradient_descent'
    """
    name = str(name_or_path)
    if name in catalogue():
        return Recipe.model_validate(catalogue()[name])
    if Path(name).suffix.lower() in KINDS | OTHER_KINDS or Path(name).name != name or os.path.lexists(name):
        return load_recipe(Path(name))
    raise RecipeError(
        f"recipe={shown(name)} is not known: must be a name that `conformance list recipes` shows,"
        f" or a .toml or .json file{nearest(name, catalogue())}"
    )


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """What every recipe of every suite holds, by its name."""
    return {values["name"]: values for suite in SUITES.values() for values in suite}


def select(recipes: Iterable[Recipe], patterns: str | Iterable[str]) -> list[Recipe]:
    """Those recipes whose name matches a pattern: one with ``*``, ``?`` or ``[`` the whole name, another a part of it.

    ``patterns``: separated by commas, or one by one. Raises ValueError, naming the pattern, where one matches nothing.

    >>> from conformance.recipes.suites import suite
    >>> [recipe.name for recipe in select(suite("quick"), "flower,*-adam")]
    ['flower-shallow-tanh', 'hand-signs-softmax-adam']
    """
    recipes = list(recipes)
    wanted = patterns.split(",") if isinstance(patterns, str) else list(patterns)
    names = [recipe.name for recipe in recipes]
    chosen: set[str] = set()
    for pattern in map(str.strip, wanted):
        found = [name for name in names if matches(name, pattern)]
        if not found:
            raise ValueError(
                f"pattern={shown(pattern)} matches none of {len(names)} recipe names{nearest(pattern, names)}"
            )
        chosen.update(found)
    return [recipe for recipe in recipes if recipe.name in chosen]


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern, which is not empty, matches a name.

    >>> matches("moons-twice", "twice"), matches("moons-twice", "moons-*"), matches("moons-twice", "twice*")
    (True, True, False)
    """
    if any(sign in pattern for sign in "*?["):
        return fnmatchcase(name, pattern)
    return bool(pattern) and pattern in name
