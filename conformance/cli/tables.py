"""The rows of ``conformance list``, made from what they tell of.

Making them imports NumPy, pydantic and all recipes. So they are made once, into a file that ``listing`` reads::

    python -m conformance.cli.tables > conformance/cli/tables.json

A test holds the file equal to what is made.
"""

import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from conformance.recipes import coverage, suites
from conformance.recipes.catalogue import KINDS, first_line
from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults
from conformance.recipes.layers import HELD, defaults_of
from conformance.recipes.size import estimate
from reference_numpy.layers import LAYERS

Rows = list[dict[str, Any]]


def _components(table: dict[str, Callable[..., Any]]) -> Rows:
    """Each component of one of the reference's tables: the keywords it must be given, and the others' defaults."""
    return [_row(name, keyword_defaults(function, POSITIONAL_KEYWORDS), function) for name, function in table.items()]


def _layers() -> Rows:
    """Each layer with its keywords as a recipe names them, the layers that it is made of among the required ones."""
    inside = {name: {key: inspect.Parameter.empty} for name, key in HELD.items()}
    return [_row(name, inside.get(name, {}) | defaults_of(name), make) for name, make in LAYERS.items()]


def _row(name: str, keywords: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    required = [keyword for keyword, default in keywords.items() if default is inspect.Parameter.empty]
    others = {keyword: default for keyword, default in keywords.items() if keyword not in required}
    return {"name": name, "required": required, "keywords": others, "description": first_line(function)}


def _datasets() -> Rows:
    from conformance.data.datasets import DATASETS
    from conformance.data.extents import EXTENTS

    rows = []
    for info in DATASETS.values():
        extent = EXTENTS.get(info.name)
        columns = ("examples", "test_examples", "features", "classes", "vocabulary")
        sizes = {column: None if extent is None else getattr(extent, column) for column in columns}
        rows.append({"name": info.name, "kind": info.kind, "task": info.task, **sizes, "description": info.description})
    return rows


def _checks() -> Rows:
    from conformance.checks import CHECKS

    return [
        {"name": name, "description": first_line(__import__(check.__module__, fromlist=["observe"]))}
        for name, check in CHECKS.items()
    ]


def _suites() -> Rows:
    return [
        {"name": name, "recipes": len(recipes), "description": suites.SUITE_DESCRIPTIONS[name]}
        for name, recipes in suites.SUITES.items()
    ]


def _recipes() -> Rows:
    """Every recipe of every suite, each once, but for those of built-ins, which `list subjects` has."""
    named = [name for name in suites.SUITES if name not in suites.OF_SUBJECTS]
    held: dict[str, list[str]] = {}
    for name in named:
        for recipe in suites.suite(name):
            held.setdefault(recipe.name, []).append(name)
    rows = []
    for recipe in {recipe.name: recipe for name in named for recipe in suites.suite(name)}.values():
        size = estimate(recipe)
        rows.append({
            "name": recipe.name, "suites": held[recipe.name], "model": recipe.model.name,
            "optimizer": recipe.optimizer.name, "dataset": recipe.dataset.name, "epochs": recipe.epochs,
            "steps": size and size.steps, "parameters": size and size.parameters, "hash": recipe.hash,
        })  # fmt: skip
    return rows


def _dialects() -> Rows:
    """Those of optimizers with all keywords, then those of layers with the keywords that the built-in sets."""
    from conformance.recipes.dialects import dialects
    from conformance.recipes.layer_dialects import layer_dialects

    optimizers: Rows = [
        {
            "dialect": f"{found.framework}.{found.builtin}",
            "optimizer": found.optimizer,
            "layer": None,
            "keywords": found.keywords,
            "note": found.note or None,
        }
        for found in dialects()
    ]
    return optimizers + [
        {
            "dialect": found.name,
            "optimizer": None,
            "layer": found.layer,
            "keywords": found.keywords | ({"layers": [found.inside]} if found.inside else {}),
            "note": found.note or None,
        }
        for found in layer_dialects()
    ]


def _coverage() -> Rows:
    return [
        {"suite": name, "factors": row.factors, "covered": row.held, "allowed": row.allowed, "missing": row.missing}
        for name in suites.MADE_TO_COVER
        for row in coverage.coverage(suites.suite(name))
    ]


TABLES: dict[str, Callable[[], Rows]] = {
    "recipes": _recipes,
    **{kind: partial(_components, table) for kind, table in KINDS.items()},
    "layers": _layers,
    "dialects": _dialects,
    "datasets": _datasets,
    "checks": _checks,
    "suites": _suites,
    "coverage": _coverage,
}


def text() -> str:
    """What stands in the file: all tables as JSON, a row a line."""
    parts = [
        f"{json.dumps(what)}: [\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in make()) + "\n]"
        for what, make in TABLES.items()
    ]
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    print(text(), end="")
