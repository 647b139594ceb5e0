"""What the recipes of a run choose: every keyword, the pairs of choices that are covered, and the faults they see."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import pandas as pd

from conformance.recipes.coverage import Pair, allowed_pairs, values_of
from conformance.recipes.recipe import Recipe
from conformance.results.schema import typed
from conformance.results.sight import seen_faults
from conformance.results.store import Store, StoreError

# The parts of a recipe that have a name and keywords of their own; in the model there are two more.
_COMPONENTS = ("dataset", "model", "initializer", "loss", "optimizer", "schedule")
_IN_MODEL = ("activation", "normalization")
_UNNAMED = ("name", "description", "dtypes", "regularizers", "transfer", *_COMPONENTS)


def recipes_of(store: Store) -> dict[str, Recipe]:
    """The recipes of the run by name. Raises StoreError."""
    try:
        return {name: Recipe.model_validate(values) for name, values in store.fact("recipes").items()}
    except (AttributeError, ValueError) as error:
        raise StoreError(
            f"{store.database}: its recipes cannot be read: {' '.join(str(error).split())[:200]}"
        ) from error


def dialects(recipes: dict[str, Recipe]) -> pd.DataFrame:
    """Every keyword of every recipe, written out."""
    rows = [(name, *row) for name, recipe in recipes.items() for row in _keywords(recipe.model_dump(mode="json"))]
    return typed("dialects", pd.DataFrame(rows, columns=["recipe", "component", "name", "keyword", "value"]))


def _keywords(recipe: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Component, name, keyword and value of everything in a recipe."""
    parts = {component: recipe[component] for component in _COMPONENTS}
    parts["model"] = {name: value for name, value in recipe["model"].items() if name not in _IN_MODEL}
    parts |= {component: recipe["model"][component] for component in _IN_MODEL} | {"transfer": recipe["transfer"]}
    for component, values in parts.items():
        yield from _of_component(component, values)
    for values in recipe["regularizers"]:
        yield from _of_component("regularizers", values)
    yield from _of_component("training", {name: value for name, value in recipe.items() if name not in _UNNAMED})


def _of_component(component: str, values: dict[str, Any] | None) -> Iterator[tuple[str, str, str, str]]:
    if values is None:
        return
    name = values.get("name", "")
    keywords = {keyword: json.dumps(value) for keyword, value in values.items() if keyword != "name"}
    for keyword, value in (keywords or {"": ""}).items():
        yield component, name, keyword, value


def coverage(recipes: dict[str, Recipe]) -> pd.DataFrame:
    """Every allowed pair of two choices that a recipe makes, and whether a recipe of the run makes both."""
    covered: set[Pair] = set()
    for recipe in recipes.values():
        for one, other in combinations(values_of(recipe).items(), 2):
            covered |= {((one[0], a), (other[0], b)) for a, b in product(one[1], other[1])}
    rows = [(*one, *other, (one, other) in covered) for one, other in sorted(allowed_pairs())]
    columns = ["factor", "value", "other_factor", "other_value", "covered"]
    return typed("coverage", pd.DataFrame(rows, columns=columns))


def faults(recipes: dict[str, Recipe]) -> pd.DataFrame:
    """How many of the known faults each recipe sees, and which it alone sees, as far as it is known of it."""
    sights, hashes = seen_faults(), {name: recipe.hash for name, recipe in recipes.items()}
    seen = {name: sights[found] for name, found in hashes.items() if found in sights}
    seers = Counter(fault for found in dict.fromkeys(hashes.values()) for fault in sights.get(found, ()))
    rows = []
    for name, known in seen.items():
        alone = [fault for fault in known if seers[fault] == 1]
        rows.append((name, len(known), len(alone), "; ".join(alone)))
    return typed("faults", pd.DataFrame(rows, columns=["recipe", "seen", "alone", "which"]))
