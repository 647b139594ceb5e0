"""What the script of the page works on: the matrix with what is behind its cells, and the curves."""

import base64
import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conformance.results.run import Run
from conformance.results.schema import VERDICTS
from conformance.results.store import INFORMATIVE
from conformance.verdicts.compare import NOT_FAILING
from conformance.verdicts.order import LADDER

Numbers = NDArray[np.float64]
ORACLE = "oracle"
INCOMPLETE = "incomplete"
FAILING = tuple(verdict for verdict in VERDICTS if verdict not in NOT_FAILING)
# What a cell of several verdicts shows: the first of these that it has.
SEVERITY = (*FAILING, INCOMPLETE, *(verdict for verdict in VERDICTS[1:] if verdict in NOT_FAILING), VERDICTS[0])
TRAINING = ["recipe", "implementation", "dtype"]
MEASURES = ("value", "error", "floor", "allowance")  # of a curve, at each of its positions
LEARNS = 0.5  # a training learns whose cost falls below this share of its first


class Names(NamedTuple):
    """The rows, the columns and the precisions of the matrix, in the run's own order."""

    recipes: list[str]
    implementations: list[str]
    dtypes: list[str]


class Cell(NamedTuple):
    """What one cell shows: its gravest verdict, how many records have it, and all verdicts that are in it."""

    verdict: str
    records: int
    verdicts: frozenset[str]


EMPTY = Cell("", 0, frozenset())


def names(run: Run) -> Names:
    """What was compared or is missing."""
    frames = (run.records, run.missing)
    found = {key: [str(name) for frame in frames for name in frame[key].unique()] for key in TRAINING}
    found["recipe"] = [*run.facts.get("recipes", {}), *found["recipe"]]
    return Names(*(list(dict.fromkeys(found[key])) for key in TRAINING))


def cells(run: Run) -> dict[tuple[str, str], dict[str, Cell]]:
    """For each recipe and implementation, the cell of each precision, and of all together under ``""``."""
    counts = run.records.groupby([*TRAINING, "verdict"], sort=False).size().reset_index(name="records")
    lacking = run.missing[TRAINING].drop_duplicates().assign(verdict=INCOMPLETE, records=0)
    found: dict[tuple[str, str], dict[str, Counter[str]]] = {}
    for recipe, implementation, dtype, verdict, number in chain(
        counts.itertuples(index=False, name=None), lacking.itertuples(index=False, name=None)
    ):
        by_dtype = found.setdefault((recipe, implementation), {})
        for key in ("", dtype):
            by_dtype.setdefault(key, Counter())[verdict] += number
    return {
        place: {dtype: _cell(verdicts) for dtype, verdicts in by_dtype.items()} for place, by_dtype in found.items()
    }


def _cell(verdicts: Counter[str]) -> Cell:
    gravest = min(verdicts, key=SEVERITY.index)
    return Cell(gravest, verdicts[gravest], frozenset(verdicts))


def script_data(run: Run, named: Names, matrix: dict[tuple[str, str], dict[str, Cell]]) -> dict[str, Any]:
    """All of it, as JSON can hold it: a number that is none is None, an infinite one is ``"inf"``."""
    strings = Strings()
    curve_names = [*named.implementations, ORACLE]
    return {
        **named._asdict(),
        "checks": list(LADDER),
        "severity": list(SEVERITY),
        "failing": list(FAILING),
        "cells": [
            [_cell_data(matrix.get((recipe, name), {}), named.dtypes) for name in named.implementations]
            for recipe in named.recipes
        ],
        "groups": _groups(run.records, named, strings),
        "missing": _places(run.missing, named, ["recipe", "implementation", "dtype", "check"]),
        "about": _about(run.records, named),
        "curveNames": curve_names,
        "curveVerdicts": _curve_verdicts(run.records, named, strings),
        "curves": _curves(run.curves, curve_names, named.dtypes),
        "start": start(run),
        "strings": strings.all,
    }


class Strings:
    """Texts that occur often, each once; what refers to one has its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of a text."""
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def all(self) -> list[str]:
        """The texts, by their numbers."""
        return list(self._numbers)


def _cell_data(by_dtype: dict[str, Cell], dtypes: list[str]) -> list[Any]:
    """Of all precisions, then of each: the gravest verdict's number, its records, a bit for each verdict."""
    shown = []
    for dtype in ("", *dtypes):
        cell = by_dtype.get(dtype, EMPTY)
        bits = sum(1 << SEVERITY.index(verdict) for verdict in cell.verdicts)
        shown.append([SEVERITY.index(cell.verdict), cell.records, bits] if cell.verdict else [-1, 0, 0])
    return shown


def _groups(records: pd.DataFrame, named: Names, strings: Strings) -> dict[str, list[Any]]:
    """For each recipe, implementation, precision, check and verdict: its records, and the worst of them."""
    keys = [*TRAINING, "check", "verdict"]
    ordered = records.sort_values("error_per_allowance", ascending=False, na_position="last", kind="stable")
    worst = ordered.drop_duplicates(keys).sort_index()
    counts = records.groupby(keys, sort=False).size().reindex(pd.MultiIndex.from_frame(worst[keys]))
    found = dict(zip(keys, np.transpose(_places(worst, named, keys)).tolist() or [[]] * len(keys), strict=True))
    for column in ("tensor", "stage", "cause"):
        found[column] = [strings.number(str(text)) for text in worst[column]]
    for column in ("error", "allowance", "error_per_allowance"):
        found[column] = [for_json(value) for value in worst[column]]
    return found | {"step": worst["step"].astype(int).tolist(), "records": counts.astype(int).tolist()}


def _places(table: pd.DataFrame, named: Names, keys: list[str]) -> list[list[int]]:
    """The columns as numbers: where each value stands in the order of its kind."""
    orders = {**dict(zip(TRAINING, named, strict=True)), "check": list(LADDER), "verdict": list(SEVERITY)}
    places = [table[key].map({value: place for place, value in enumerate(orders[key])}).astype(int) for key in keys]
    return [list(row) for row in zip(*places, strict=True)]


def _curve_verdicts(records: pd.DataFrame, named: Names, strings: Strings) -> list[list[int]]:
    """Recipe, implementation, precision, verdict and quantity of the curves that do not pass."""
    rows = records[(records["stage"] == "curve") & (records["verdict"] != VERDICTS[0])]
    places = _places(rows, named, [*TRAINING, "verdict"])
    return [[*place, strings.number(str(name))] for place, name in zip(places, rows["tensor"], strict=True)]


def _about(records: pd.DataFrame, named: Names) -> list[list[str]]:
    """What each recipe is of; in it, too, one searches."""
    columns = ["model", "dataset", "optimizer", "regularizers", "initializer", "schedule"]
    first = records.drop_duplicates("recipe").set_index("recipe")[columns]
    known = {recipe: [str(value) for value in row] for recipe, *row in first.itertuples()}
    return [known.get(recipe, []) for recipe in named.recipes]


def for_json(value: float) -> float | str | None:
    """A number with three digits; None for none, ``"inf"`` for an infinite one."""
    if math.isnan(value):
        return None
    return "inf" if math.isinf(value) else float(f"{value:.3g}")


def _curves(curves: pd.DataFrame, curve_names: list[str], dtypes: list[str]) -> dict[str, dict[str, Any]]:
    """For each recipe its curves, and their numbers as little-endian float64 in base64, what is equal only once."""
    series: dict[str, list[list[Any]]] = {}
    pools: dict[str, Pool] = {}
    known = curves[curves["implementation"].isin(curve_names) & (curves["quantity"] != INFORMATIVE)]
    for (recipe, implementation, dtype, unit, quantity), columns in _apart(known):
        pool = pools.setdefault(recipe, Pool())
        place = [curve_names.index(implementation), dtypes.index(dtype), unit, quantity, columns.shape[1]]
        series.setdefault(recipe, []).append([*place, *map(pool.offset, columns)])
    return {recipe: {"series": series[recipe], "numbers": pool.base64} for recipe, pool in pools.items()}


def _apart(curves: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], Numbers]]:
    """Each curve by what it is of, with its positions and measures as rows."""
    keys = [*TRAINING, "unit", "quantity"]
    number = curves.groupby(keys, sort=False).ngroup().to_numpy()
    ordered = curves.iloc[np.argsort(number, kind="stable")]
    first = np.flatnonzero(np.diff(np.sort(number), prepend=-1))
    measured = ordered[["position", *MEASURES]].to_numpy(np.float64).T
    heads = ordered[keys].iloc[first].itertuples(index=False, name=None)
    return zip(heads, np.split(measured, first[1:], axis=1), strict=True) if len(first) else iter(())


class Pool:
    """Arrays of numbers one after the other; an array that is there already is not put there again."""

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}
        self._length = 0

    def offset(self, numbers: Numbers) -> int:
        """Where the numbers begin; -1 if none of them is one."""
        if np.isnan(numbers).all():
            return -1
        data = numbers.astype("<f8").tobytes()
        if data not in self._offsets:
            self._offsets[data] = self._length
            self._length += len(numbers)
        return self._offsets[data]

    @property
    def base64(self) -> str:
        """All of them."""
        return base64.b64encode(b"".join(self._offsets)).decode("ascii")


def start(run: Run) -> dict[str, str]:
    """Whose curves are shown first: of the first training that did not pass, else of one that learns steadily."""
    curves = run.curves
    failures = run.first_failures.merge(curves[TRAINING].drop_duplicates(), on=TRAINING)
    if len(failures):
        return {key: str(failures[key].iloc[0]) for key in ("recipe", "dtype")}
    costs = curves[(curves["implementation"] == ORACLE) & (curves["quantity"] == "cost") & np.isfinite(curves["value"])]
    if costs.empty:
        return {}
    keys = ["recipe", "dtype"]
    by_training = costs.groupby(keys, sort=False)["value"]
    ends = by_training.agg(["first", "last", "size"]).reset_index()
    ends["path"] = by_training.diff().abs().groupby([costs[key] for key in keys], sort=False).sum().to_numpy()
    learning = ends[(ends["last"] < LEARNS * ends["first"]) & (ends["size"] >= ends["size"].median())]
    steady = learning.iloc[np.argsort(learning["path"] / (learning["first"] - learning["last"]), kind="stable")]
    shown = steady if len(steady) else ends
    return {key: str(shown[key].iloc[0]) for key in ("recipe", "dtype")}
