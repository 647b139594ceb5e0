"""The tables of the page, made of a run's frames."""

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from conformance.reports.page_data import ORACLE
from conformance.results.run import Run
from conformance.results.schema import VERDICTS, typed
from conformance.results.sight import known_faults, seen_faults

HOTTEST = 5  # the classes of the heat map: heat-0 is far within the allowance, heat-5 close to it, heat-beyond past it
DECADES = 3  # that the scale of the margins shows on both sides of the allowance
MICRO = 1e6
NAMED = 5  # recipes that are named of many


def named(row: dict[Any, Any]) -> dict[str, Any]:
    """A row of a frame, its columns as texts."""
    return {str(name): value for name, value in row.items()}


def in_short(recipes: list[str]) -> str:
    """The first few names, and how many more there are.

    >>> in_short(["one", "another"]), in_short(list("abcdefg"))
    ('one, another', 'a, b, c, d, e and 2 more')
    """
    more = f" and {len(recipes) - NAMED:,} more" if len(recipes) > NAMED else ""
    return ", ".join(recipes[:NAMED]) + more


class Margin(NamedTuple):
    """Both margins of a check and precision, and where they stand on the scale, in per cent of its width."""

    row: dict[str, Any]
    times: float  # the fault in allowances
    error: float
    fault: float

    @property
    def beyond(self) -> bool:
        """Whether the fault lies beyond the scale, at whose end it is drawn."""
        return self.fault in (0.0, 100.0)


def margins(run: Run) -> list[Margin]:
    """Error, allowance and nearest fault of each check and precision; the allowance is in the middle of the scale."""
    rows = [named(row) for row in run.margins.to_dict("records")]
    times = [_inverse(row["allowance_per_ceiling"]) for row in rows]
    return [
        Margin(row, fault, on_scale(row["error_per_allowance"]), on_scale(fault))
        for row, fault in zip(rows, times, strict=True)
    ]


def _inverse(ratio: float) -> float:
    return math.inf if ratio == 0 else 1 / ratio


def on_scale(ratio: float) -> float:
    """Where a number of allowances stands, in per cent; what lies beyond the scale stands at its end.

    >>> on_scale(1.0), on_scale(0.0), on_scale(1e9)
    (50.0, 0.0, 100.0)
    """
    if math.isnan(ratio):
        return math.nan
    exponent = -math.inf if ratio == 0 else math.log10(ratio)
    return 50 + 50 * max(-1.0, min(1.0, exponent / DECADES))


class Heat(NamedTuple):
    """The heat map: columns of implementations and precisions, rows of stages and layers."""

    columns: list[tuple[str, str]]
    rows: list[tuple[str, str, list[tuple[str, float]]]]


def heat(errors: pd.DataFrame) -> Heat:
    """The largest error of each stage and layer in allowances, with the class of its colour."""
    table = errors.pivot_table(
        index=["stage", "layer"], columns=["implementation", "dtype"], values="error_per_allowance", aggfunc="max",
        sort=False,
    )  # fmt: skip
    stages, layers = table.index.get_level_values("stage"), table.index.get_level_values("layer")
    columns = zip(*(map(str, table.columns.get_level_values(level)) for level in range(2)), strict=True)
    rows = [
        (str(stage), f"layer {layer}" if layer else "", [(heat_class(value), value) for value in values])
        for stage, layer, values in zip(stages, layers, table.to_numpy(float), strict=True)
    ]
    return Heat(list(columns), rows)


def heat_class(ratio: float) -> str:
    """The class of a colour: one for each halving of a share.

    >>> [heat_class(ratio) for ratio in (0.0, 0.01, 0.3, 0.9, 2.0)]
    ['heat-0', 'heat-0', 'heat-4', 'heat-5', 'heat-beyond']
    """
    if math.isnan(ratio):
        return ""
    if ratio > 1:
        return "heat-beyond"
    return f"heat-{max(0, HOTTEST + math.ceil(math.log2(ratio))) if ratio else 0}"


class Accuracies(NamedTuple):
    """Accuracies by epoch: the implementations beside the oracle."""

    columns: list[str]
    rows: list[tuple[list[str], list[tuple[float, bool]]]]  # each value, and whether it is not the oracle's


def accuracies(run: Run, implementations: Iterable[str]) -> Accuracies:
    """Of every training that has them."""
    found = run.curves[run.curves["quantity"].str.contains("accuracy")]
    keys = ["recipe", "dtype", "quantity", "position"]
    table = found.pivot_table(index=keys, columns="implementation", values="value", sort=False)
    columns = [name for name in (ORACLE, *implementations) if name in table.columns]
    rows = []
    for place, values in zip(table.index, table[columns].to_numpy(float), strict=True):
        oracle = values[columns.index(ORACLE)] if ORACLE in columns else math.nan
        differ = [not math.isnan(value - oracle) and value != oracle for value in values]
        rows.append(([str(part) for part in place], list(zip(values.tolist(), differ, strict=True))))
    return Accuracies(columns, rows)


def steps_by_implementation(run: Run) -> pd.DataFrame:
    """What a step takes in each implementation and precision: the first, with tracing and compiling, apart."""
    times = run.training_times
    if times.empty:
        return times
    grouped = times.groupby(["implementation", "dtype"], sort=False)
    table: pd.DataFrame = grouped.agg(
        trainings=("steps", "size"), steps=("steps", "sum"), first_seconds=("first_seconds", "sum"),
        steady_seconds=("steady_seconds", "sum"), median=("seconds_per_step", "median"),
        largest=("seconds_per_step", "max"),
    )  # fmt: skip
    table[["median", "largest"]] *= MICRO
    named = {"median": "µs per step (median)", "largest": "µs per step (largest)"}
    return table.rename(columns=named).reset_index()


def steps_by_recipe(run: Run) -> pd.DataFrame:
    """Microseconds of a step of each recipe, implementations side by side."""
    times = run.training_times.assign(value=lambda rows: rows["seconds_per_step"] * MICRO)
    return _side_by_side(times[times["value"].notna()], ["recipe", "dtype"])


def seconds_by_check(run: Run) -> pd.DataFrame:
    """Seconds that each implementation took for each check, and how many were taken from an earlier run."""
    timings = run.timings
    if timings.empty:
        return timings
    table = timings.pivot_table(index="implementation", columns="check", values="seconds", aggfunc="sum", sort=False)
    kept = timings.groupby("implementation", sort=False)["kept"].sum().reindex(table.index)
    return table.assign(total=table.sum(axis=1)).assign(**{"taken from an earlier run": kept}).reset_index()


def _side_by_side(rows: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    table = rows.pivot_table(index=index, columns="implementation", values="value", sort=False)
    return table.rename_axis(columns=None).reset_index()


def implementations(run: Run) -> pd.DataFrame:
    """What each implementation is, and takes."""
    return run.implementations.drop(columns=[*VERDICTS, "records"]).rename(columns={"peak_mib": "peak MiB"})


def verdicts_by(frame: pd.DataFrame) -> pd.DataFrame:
    """The records of each row of a frame (implementations, checks) by verdict; verdicts that none has are left out."""
    found = [verdict for verdict in VERDICTS if frame[verdict].any()]
    return frame[[str(frame.columns[0]), "records", *found]]


class Faults(NamedTuple):
    """How many known faults the recipes see together, and for each recipe how many, and which it alone sees."""

    seen: int
    known: int
    rows: list[dict[str, Any]]


def faults(run: Run) -> Faults:
    """As far as it is known of the recipes."""
    table = chosen(run, "faults")
    sights = seen_faults() if len(table) else {}
    seen = {fault for name in table["recipe"] for fault in sights.get(run.recipes[name].hash, ())}
    known = known_faults()
    return Faults(len(seen & set(known)), len(known), [named(row) for row in table.to_dict("records")])


def chosen(run: Run, frame: str) -> pd.DataFrame:
    """A frame of what the recipes choose; empty for a run that has none yet."""
    table: pd.DataFrame = getattr(run, frame) if run.facts.get("recipes") else typed(frame, pd.DataFrame())
    return table


class Coverage(NamedTuple):
    """Pairs of choices: for two factors, how many pairs of their values are covered, and how many are allowed."""

    factors: list[str]
    shares: dict[tuple[str, str], tuple[int, int]]
    covered: int
    allowed: int


def coverage(pairs: pd.DataFrame) -> Coverage:
    """By pairs of factors, and in all."""
    grouped = pairs.groupby(["factor", "other_factor"], sort=False)["covered"].agg(["sum", "size"])
    shares = {(str(one), str(other)): (int(covered), int(size)) for (one, other), covered, size in grouped.itertuples()}
    factors = list(dict.fromkeys([*pairs["factor"], *pairs["other_factor"]]))
    return Coverage([str(factor) for factor in factors], shares, int(pairs["covered"].sum()), len(pairs))


class Formulation(NamedTuple):
    """One component with all its keywords, and the recipes that have it."""

    component: str
    name: str
    keywords: list[tuple[str, str]]
    recipes: list[str]


def formulations(dialects: pd.DataFrame) -> list[Formulation]:
    """Every formulation in the run, once."""
    found: dict[tuple[Any, ...], list[str]] = {}
    rows = dialects.itertuples(index=False, name=None)
    for (recipe, component, name), of_component in groupby(rows, key=lambda row: row[:3]):
        keywords = tuple((keyword, value) for *_, keyword, value in of_component if keyword)
        found.setdefault((component, name, keywords), []).append(recipe)
    made = [
        Formulation(component, name, list(keywords), recipes) for (component, name, keywords), recipes in found.items()
    ]
    components = list(dict.fromkeys(each.component for each in made))
    return sorted(made, key=lambda each: (components.index(each.component), each.name))


def nearest(run: Run) -> dict[str, Any]:
    """The passing record that is nearest to its allowance; {} if there is none."""
    passing = run.records[run.records["verdict"] == "pass"]
    passing = passing[np.isfinite(passing["error_per_allowance"])]
    return {} if passing.empty else named(passing.loc[passing["error_per_allowance"].idxmax()].to_dict())
