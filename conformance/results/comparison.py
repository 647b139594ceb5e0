"""Two or more runs side by side: what differs in the later ones from the first, the baseline.

Runs of other versions, machines, devices and precisions can be compared where they hold the same recipes. A recipe is
the same if its content hash is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conformance.results.pairing import CHECK, KEY, VALUES, flipped_records, index_of, join, moved_records, only_in_one
from conformance.results.run import Run, load_run

TRAINING = KEY[:3]
SECTIONS = ("overview", "incomplete", "environment", "changed_recipes", "flipped", "moved", "only_in_one", "speed")
SPEED = ["implementation", "dtype", "what", "trainings", "left_out", "ratio", "lower_quartile", "upper_quartile"]
ASKED = ("started", "dtypes", "implementations")  # of an environment, what is of the order and not of the machine
ROWS_SHOWN = 20  # of each table in a notebook


@dataclass(frozen=True)
class Comparison:
    """What differs between a baseline and other runs. The column ``run`` of each table says which of the others.

    Attributes:
        baseline: how the first run is called: the folder as it was given.
        others: how the others are called.
        overview: for each other run: what was compared, and how much of it differs.
        incomplete: what one run lacks of its plan and the other does not: ``which`` run, ``lacks``.
        environment: what differs in versions, platform, device and settings.
        changed_recipes: recipes of the same name and another content hash, with what differs. They are not compared.
        flipped: records with another verdict. ``regression``: it did not count against the baseline, and does now.
        moved: records whose errors differ by more than the noise floor (see ``moved_records``).
        only_in_one: records that only one of the two runs has, and which (``only_in``).
        speed: ratios of times, run over baseline: their median and quartiles over the trainings of both.
    """

    baseline: str
    others: tuple[str, ...]
    overview: pd.DataFrame
    incomplete: pd.DataFrame
    environment: pd.DataFrame
    changed_recipes: pd.DataFrame
    flipped: pd.DataFrame
    moved: pd.DataFrame
    only_in_one: pd.DataFrame
    speed: pd.DataFrame

    @property
    def regressed(self) -> bool:
        """Whether something came to not pass."""
        return bool(self.flipped["regression"].any())

    @property
    def nothing_compared(self) -> list[str]:
        """The runs that have no record in common with the baseline."""
        return [str(name) for name in self.overview.loc[self.overview["records"] == 0, "run"]]

    def _repr_html_(self) -> str:
        parts = [f"<p>Baseline: {escape(self.baseline)}</p>"]
        for section in SECTIONS:
            table = getattr(self, section)
            if len(table):
                rows = f" ({len(table)} rows)" if len(table) > ROWS_SHOWN else ""
                parts.append(f"<p>{section.replace('_', ' ')}{rows}</p>{table.head(ROWS_SHOWN).to_html(index=False)}")
        return "\n".join(parts)


def compare(baseline: Run | str | Path, *others: Run | str | Path) -> Comparison:
    """Hold runs against a baseline, each by itself.

    Args:
        baseline: the first run, or its folder.
        others: one run or several, or their folders.

    Raises ValueError without ``others``, and StoreError, a ValueError, for a folder that holds no run.
    """
    if not others:
        raise ValueError("a comparison needs two runs or more: one was given")
    first, later = _opened(baseline), [_opened(other) for other in others]
    names = tuple(str(other.folder) for other in later)
    pairs = [_compare_two(first, other) for other in later]
    tables = {
        section: pd.concat(
            [pair[section].assign(run=name)[["run", *pair[section].columns]]
             for name, pair in zip(names, pairs, strict=True)],
            ignore_index=True,
        )
        for section in SECTIONS
    }  # fmt: skip
    return Comparison(str(first.folder), names, **tables)


def _opened(run: Run | str | Path) -> Run:
    return run if isinstance(run, Run) else load_run(run)


def _compare_two(first: Run, second: Run) -> dict[str, pd.DataFrame]:
    """The tables of a comparison of two runs, without the column ``run``."""
    changed = changed_recipes(first, second)
    both = [_comparable(run.records, changed) for run in (first, second)]
    joined = join(*both)
    found = {
        "environment": environment_differences(first.facts, second.facts),
        "incomplete": incomplete(first, second),
        "changed_recipes": changed,
        "flipped": flipped_records(joined),
        "moved": moved_records(joined),
        "only_in_one": only_in_one(joined, str(first.folder), str(second.folder)),
        "speed": speed(first, second, set(changed["recipe"])),
    }
    common = joined[joined["_merge"] == "both"]
    overview = {
        "recipes": common["recipe"].nunique(),
        "records": len(common),
        "regressions": int(found["flipped"]["regression"].sum()),
        **{name: len(found[name]) for name in ("flipped", "moved", "only_in_one", "changed_recipes")},
    }
    return {**found, "overview": pd.DataFrame([overview])}


def _comparable(records: pd.DataFrame, changed: pd.DataFrame) -> pd.DataFrame:
    return records.loc[~records["recipe"].isin(changed["recipe"]), [*KEY, *VALUES]]


def speed(first: Run, second: Run, changed: set[str]) -> pd.DataFrame:
    """Times of a run over those of the baseline: the median of the ratios of all trainings, and their quartiles.

    ``what``: the seconds of all checks that both made of a training, or those of one step of it once it is warm. A
    training that one run took from an earlier one was not measured there: it is ``left_out``.
    """
    checks = _pairs(first.timings, second.timings, CHECK, "seconds", changed)
    kept = index_of(checks[checks["baseline_kept"] | checks["kept"]], TRAINING).unique()
    whole = checks.groupby(TRAINING, sort=False)[["baseline_seconds", "seconds"]].sum().reset_index()
    steps = _pairs(first.training_times, second.training_times, TRAINING, "seconds_per_step", changed)
    rows = []
    for what, table, column in (("all checks", whole, "seconds"), ("one step", steps, "seconds_per_step")):
        ratio = table[column] / table[f"baseline_{column}"]
        told = table.assign(ratio=ratio, left_out=index_of(table, TRAINING).isin(kept))
        for (implementation, dtype), group in told.groupby(["implementation", "dtype"], sort=False):
            measured = group.loc[~group["left_out"] & np.isfinite(group["ratio"]), "ratio"]
            quartiles = measured.quantile([0.5, 0.25, 0.75])
            rows.append((implementation, dtype, what, len(measured), int(group["left_out"].sum()), *quartiles))
    return pd.DataFrame(rows, columns=SPEED)


def _pairs(first: pd.DataFrame, second: pd.DataFrame, key: list[str], column: str, changed: set[str]) -> pd.DataFrame:
    """The rows of what both tables tell of, side by side."""
    values = [name for name in (column, "kept") if name in first]
    left = first[[*key, *values]].rename(columns={name: f"baseline_{name}" for name in values})
    return left[~left["recipe"].isin(changed)].merge(second[[*key, *values]], on=key)


def incomplete(first: Run, second: Run) -> pd.DataFrame:
    """Which of two runs lacks something of its plan; none of both if both lack the same."""
    columns = ["which", "lacks"]
    if set(first.missing.itertuples(index=False)) == set(second.missing.itertuples(index=False)):
        return pd.DataFrame(columns=columns, dtype=str)
    rows = [(str(run.folder), run.incomplete) for run in (first, second) if run.incomplete]
    return pd.DataFrame(rows, columns=columns, dtype=str)


def changed_recipes(first: Run, second: Run) -> pd.DataFrame:
    """Recipes of one name and two content hashes, with the keywords that differ."""
    hashes = [run.records.drop_duplicates("recipe").set_index("recipe")["recipe_hash"] for run in (first, second)]
    both = pd.concat(hashes, axis=1, join="inner", keys=["baseline_hash", "hash"]).reset_index()
    changed = both[both["baseline_hash"] != both["hash"]].reset_index(drop=True)
    texts = [
        "; ".join(
            f"{what}: {before} -> {after}"
            for what, before, after in differences(*(run.facts.get("recipes", {}).get(name) for run in (first, second)))
        )
        for name in changed["recipe"]
    ]
    return changed.assign(differs=pd.Series(texts, dtype=str))


def environment_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> pd.DataFrame:
    """What differs in the surroundings of two runs, but for when they were; of implementations, in those of both."""
    both = sorted(name for name in first.keys() & second.keys() if name.startswith("implementation "))
    told = [
        {name: value for name, value in facts.get("environment", {}).items() if name not in ASKED}
        | {name: facts[name] for name in both}
        for facts in (first, second)
    ]
    return pd.DataFrame(differences(*told), columns=["what", "baseline", "value"], dtype=str)


def differences(first: Any, second: Any) -> Iterator[tuple[str, str, str]]:
    """What differs in two trees of values, as (path, value, value); what one lacks is "".

    >>> list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None}))
    [('a.c', '2', '3'), ('d', '', 'None')]
    """
    left, right = dict(_leaves(first)), dict(_leaves(second))
    for path in left | right:
        if path not in left or path not in right or left[path] != right[path]:
            yield path, str(left.get(path, "")), str(right.get(path, ""))


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if branches is None:
        yield path, tree
        return
    for name, branch in branches:
        yield from _leaves(branch, f"{path}.{name}" if path else str(name))
