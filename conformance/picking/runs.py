"""What a run says of implementations: how near they are to the oracle, and the times that it took while it ran."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from conformance.data.wording import shown
from conformance.picking.asking import Asked, usual_dtype
from conformance.picking.timing import Progress, first_step_seconds
from conformance.recipes.components import choose, choose_all
from conformance.recipes.recipe import Recipe
from conformance.results.run import Run
from conformance.runs.order import plan_of
from conformance.runs.run import carry_out
from conformance.verdicts.order import LADDER

# The checks of a quick look: those that look at single steps and at the whole training.
QUICK_CHECKS = ("forward", "loss", "gradients", "update", "free_running")

NUMPY = "numpy"  # whose import no run has timed: the harness has loaded it before

Values = dict[str, dict[str, Any]]  # columns of the table by implementation


class Chosen(NamedTuple):
    """Of a run the recipes in one precision that are looked at, and the implementations."""

    run: Run
    recipes: dict[str, Recipe]
    dtype: str
    implementations: tuple[str, ...]

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of a frame that are of these recipes, in this precision."""
        return frame[frame["recipe"].isin(list(self.recipes)) & (frame["dtype"] == self.dtype)]

    @property
    def device(self) -> str:
        """The device that the run was asked to compute on."""
        return str(self.run.facts.get("environment", {}).get("device", "cpu"))


def hold(asked: Asked, names: Sequence[str], folder: Path | None, *, quick: bool, progress: Progress) -> Chosen:
    """Hold implementations against the oracle on what is asked, in a folder that is kept, or in none.

    Raises ValueError, BadInput or Incomplete, as ``conformance.run`` does.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as temporary:
        plan = plan_of(
            [asked.recipe],
            implementations=names,
            device=asked.device,
            output=folder or Path(temporary) / "run",
            checks=QUICK_CHECKS if quick else LADDER,
            explain=False,
            reuse=True,
        )
        carry_out(plan, lambda worker, done, total: progress(f"check {worker}", done, total))
        chosen = Chosen(Run(plan.folder), {asked.recipe.name: asked.recipe}, asked.dtype, tuple(names))
        _read(chosen.run)
    return chosen


def _read(run: Run) -> None:
    """Read what is asked of a run while its folder is there."""
    for _ in (run.records, run.facts, run.incomplete):
        pass


def choose_of(
    run: Run,
    *,
    model: str | None,
    optimizer: str | None,
    recipe: str | None,
    device: str | None,
    dtype: str | None,
    implementations: Sequence[str] | None,
) -> Chosen:
    """What of a run is looked at: all, or what is named. Raises ValueError for what it has not."""
    recipes = run.recipes
    if recipe is not None:
        recipes = {choose("recipe", recipe, recipes): recipes[recipe]}
    if model is not None:
        choose("model", model, sorted({each.model.name for each in recipes.values()}))
        recipes = {name: each for name, each in recipes.items() if each.model.name == model}
    if optimizer is not None:
        choose("optimizer", optimizer, sorted({each.optimizer.name for each in recipes.values()}))
        recipes = {name: each for name, each in recipes.items() if each.optimizer.name == optimizer}
    records = run.records[run.records["recipe"].isin(list(recipes))]
    if records.empty:
        raise ValueError(f"run={shown(str(run.folder))} is not allowed: it has no record of what is asked")
    there = list(records["dtype"].unique())
    precision = usual_dtype(there) if dtype is None else choose("dtype", dtype, there)
    names = list(records["implementation"].unique())
    wanted = names if implementations is None else choose_all("implementation", implementations, names)
    chosen = Chosen(run, recipes, precision, tuple(wanted))
    if device is not None:
        choose("device", device, [chosen.device])
    return chosen


def margins(chosen: Chosen) -> Values:
    """Of each implementation the records, how many pass, and which comes nearest to its allowance."""
    records, failing, found = chosen.of(chosen.run.records), chosen.of(chosen.run.not_passing()), Values()
    for name in chosen.implementations:
        own = records[records["implementation"] == name]
        compared = own[own["error_per_allowance"].notna()]
        nearest = compared.sort_values("error_per_allowance").iloc[-1] if len(compared) else None
        found[name] = {
            "records": len(own),
            "passed": int((own["verdict"] == "pass").sum()),
            "failed": int((failing["implementation"] == name).sum()),
            "error_per_allowance": float("nan") if nearest is None else float(nearest["error_per_allowance"]),
            "nearest_record": "" if nearest is None else f"{nearest['check']}: {nearest['tensor']}",
        }
    return found


def times(chosen: Chosen) -> Values:
    """Of each implementation what the run timed, over the trainings that it timed of all that it timed at all."""
    trained = chosen.of(chosen.run.training_times)
    trained = trained[trained["implementation"].isin(chosen.implementations)]
    steady = trained.pivot_table(index="recipe", columns="implementation", values="seconds_per_step", sort=False)
    common = steady.dropna().index
    used = {str(row["implementation"]): row for row in chosen.run.implementations.to_dict("records")}
    return {
        name: _of_one(used[name], trained[trained["implementation"] == name].set_index("recipe"), common)
        for name in chosen.implementations
    }


def _of_one(used: Mapping[Any, Any], trained: pd.DataFrame, common: "pd.Index[Any]") -> dict[str, Any]:
    values = {"version": str(used["version"]), "peak_mib": used["peak_mib"]}
    if used["implementation"] != NUMPY:
        values["import_seconds"] = used["import_seconds"]
    both = trained.reindex(common).dropna(subset=["seconds_per_step"])
    if both.empty:
        return values
    seconds, steps = float(both["steady_seconds"].sum()), int(both["steps"].sum())
    columns = zip(both["first_seconds"], both["steps"], both["seconds_per_step"], strict=True)
    return values | {
        "trainings": len(both),
        "steps": steps,
        "steps_per_second": steps / seconds,
        "seconds_per_step": seconds / steps,
        "first_step_seconds": float(pd.Series([first_step_seconds(*each) for each in columns]).median()),
        "first_training_seconds": float(both["first_seconds"].sum()),
    }
