"""Folders of runs that never were, for tests of what is told of a run: every verdict, odd names, numbers and sizes.

``synthetic_run(folder, recipes=500)`` writes one; ``python tests/conformance/results/synthetic.py FOLDER [RECIPES]``
does too, to look at.
"""

import math
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from conformance.results.store import INFORMATIVE, CurvePoint, Done, Store
from conformance.verdicts.compare import NO_CEILING, Ceiling, Comparison, Key, Verdict
from conformance.verdicts.order import LADDER
from conformance.verdicts.record import Context, Record

ODD = '<script>alert("x")</script> | a & b\n`c` * _d_ \\ \u00fc\u4e2d'  # what no page and no table may fall for
IMPLEMENTATIONS = ("numpy", "torch", "jax", "my.package:Model<b>")
DTYPES = ("float64", "float32")
STEPS, EPOCHS = 12, 3
LAYERS = 6


def _named(tensor: str) -> tuple[str, ...]:
    return tuple(f"{tensor}{layer}" for layer in range(1, LAYERS + 1))


PARAMETERS = (*_named("W"), *_named("b"))
TENSORS = {
    "initialization": ("initialization", ("mean of W1", "root mean square of W1")),
    "forward": ("activation", (*_named("A"), *_named("Z"), "predictions")),
    "loss": ("loss", ("cost", "data loss", "penalty")),
    "gradients": ("gradient", (*_named("dW"), *_named("db"), "dX")),
    "gradient_check": ("gradient", ("slope 1", "slope 2")),
    "update": ("parameter", ("W1", "b1", "W1 of zeros", "b1 of zeros")),
    "teacher_forced": ("parameter", (*_named("W"), *_named("b"), *_named("velocity of W"))),
    "free_running": ("curve", ("cost", "gradient norm", *_named("W"), *_named("b"), *_named("velocity of W"))),
    "native": ("parameter", ("share of units kept",)),
}


def synthetic_run(
    folder: Path,
    recipes: int = 12,
    implementations: tuple[str, ...] = IMPLEMENTATIONS,
    *,
    failing: bool = True,
    complete: bool = True,
) -> Path:
    """Write a run of so many recipes. ``failing``: whether all verdicts occur; ``complete``: whether nothing lacks.

    Nothing is drawn anew: two runs of the same arguments hold the same.
    """
    store, made = Store(folder, create=True), _recipes(recipes)
    tasks = [(recipe, dtype) for recipe in made for dtype in DTYPES]
    records, points, done = [], [], []
    generator = np.random.default_rng(recipes)
    for number, (recipe, dtype) in enumerate(tasks):
        done.append(Done(recipe.name, dtype, "oracle", "case"))
        points += _curves(recipe.name, "oracle", dtype, generator)
        for place, name in enumerate(implementations):
            lacks = not complete and number % 7 == 6 and place == 1
            context = Context(folder.name, "default", recipe, name, "1.2.3", "cpu", dtype)
            verdict = _verdict(number, place) if failing else Verdict.PASS
            records += _records(context, verdict, generator)
            points += _curves(recipe.name, name, dtype, generator)
            done += [Done(recipe.name, dtype, name, check) for check in LADDER if not (lacks and check == "native")]
    _facts(store, made, implementations)
    store.close()
    with closing(sqlite3.connect(store.database)) as connection, connection:
        for table, rows in (("records", map(astuple, records)), ("curves", points), ("done", done)):
            marks = ", ".join("?" * len(store.columns(table)))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
    return folder


def _recipes(count: int) -> list[Recipe]:
    """Recipes of the full suite, the first with the longest name that is allowed."""
    known = suite("full")
    found = [known[place % len(known)] for place in range(count)]
    names = [recipe.name if place < len(known) else f"again-{place}" for place, recipe in enumerate(found)]
    names[0] = "a-very-" + "long-" * 14 + "one"
    return [recipe.model_copy(update={"name": name}) for recipe, name in zip(found, names, strict=True)]


def _verdict(task: int, implementation: int) -> Verdict:
    """The one verdict of a training that is not ``pass``: of the first implementation all pass."""
    return list(Verdict)[task % len(Verdict)] if implementation and (task + implementation) % 5 == 0 else Verdict.PASS


def _records(context: Context, verdict: Verdict, generator: np.random.Generator) -> Iterator[Record]:
    """The records of a training, the last of each check with the verdict."""
    unit = 1e-16 if context.dtype == "float64" else 6e-8
    for place, check in enumerate(LADDER):
        stage, tensors = TENSORS[check]
        for number, tensor in enumerate(tensors):
            wrong = verdict != Verdict.PASS and tensor == tensors[-1] and place % 2 == 1
            key = Key("parameter" if tensor in PARAMETERS else stage, number + 1, tensor)
            comparison = _comparison(key, unit, generator)
            ceiling = Ceiling(float(generator.uniform(2, 1e6)), "adam: betas swapped") if place % 3 else NO_CEILING
            yield context.record(check, _not_passing(comparison, verdict) if wrong else comparison, 0.01, ceiling)


def _comparison(key: Key, unit: float, generator: np.random.Generator) -> Comparison:
    floor = unit * float(generator.uniform(0.5, 20))
    allowance = 8 * floor + 16 * unit
    error = allowance * float(generator.uniform(0, 0.9))
    return Comparison(key, key.step, error, error / unit, floor, allowance, Verdict.PASS, "")


def _not_passing(comparison: Comparison, verdict: Verdict) -> Comparison:
    """With an error where the verdict has one: some are infinite."""
    cause = f"{comparison.key.tensor} is 0.25, the oracle 0.5: {ODD}"
    if verdict == Verdict.FAIL:
        wide = math.inf if comparison.key.tensor == "W2" else 1e3
        return comparison._replace(error=wide * comparison.allowance, ulps=wide, verdict=verdict, cause=cause)
    if verdict == Verdict.INCONCLUSIVE:
        return comparison._replace(floor=0.1, allowance=0.8, verdict=verdict, cause=cause)
    nan = math.nan
    return comparison._replace(error=nan, ulps=nan, floor=nan, allowance=nan, verdict=verdict, cause=cause)


def _curves(recipe: str, name: str, dtype: str, generator: np.random.Generator) -> Iterator[CurvePoint]:
    """Curves whose second epoch is not finite in one of many trainings."""
    row, unit = (recipe, name, dtype), 1e-16 if dtype == "float64" else 6e-8
    for step in range(1, STEPS + 1):
        for quantity in ("cost", "gradient norm", "learning rate"):
            floor = unit * step
            error = math.nan if name == "oracle" else floor * float(generator.uniform(0, 6))
            value = math.inf if quantity == "cost" and generator.uniform() < 1e-3 else math.exp(-step / 5)
            yield CurvePoint(*row, "step", step, quantity, value, error, floor, 8 * floor + 16 * unit)
    for epoch in range(1, EPOCHS + 1):
        yield CurvePoint(*row, "epoch", epoch, "mean cost", math.exp(-epoch))
    for quantity in ("training accuracy", "test accuracy"):
        yield CurvePoint(*row, "epoch", EPOCHS, quantity, 87.5)
    if name == "oracle":
        yield CurvePoint(*row, "step", STEPS, INFORMATIVE, 9.0)


def _facts(store: Store, recipes: list[Recipe], implementations: tuple[str, ...]) -> None:
    facts: dict[str, Any] = {
        "plan": {
            "implementations": list(implementations),
            "tasks": [[recipe.name, dtype] for recipe in recipes for dtype in DTYPES],
            "checks": list(LADDER),
        },
        "recipes": {recipe.name: recipe.model_dump(mode="json") for recipe in recipes},
        "environment": {
            "started": "2026-01-02T03:04:05+00:00", "python": "3.11.7", "platform": "Linux <x86_64>",
            "machine": "x86_64", "processors": 2, "packages": {"numpy": "2.4.6", "torch": "2.13.0"},
            "worker_environment": {"OMP_NUM_THREADS": "1"}, "device": "cpu", "dtypes": list(DTYPES),
            "implementations": {name: f"somewhere:{name.title()}" for name in implementations}, "source": "0" * 64,
        },
        "lost": [], "stopped": False, "reused": 0,
    }  # fmt: skip
    for name, value in facts.items():
        store.set_fact(name, value)
    for name in implementations:
        settings = {"blas": "some", "odd": ODD}
        store.set_fact(f"implementation {name}", {"device": "cpu", "versions": {name: "1.2.3"}, "settings": settings})


if __name__ == "__main__":
    synthetic_run(Path(sys.argv[1]), *map(int, sys.argv[2:]))
