"""The record: one row of a run's result. Its fields are the columns of ``records.csv``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.checks.observation import Key
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import NO_CEILING, Ceiling, Comparison, Verdict, verdict_alone


def for_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with None for each number that is none or infinite, which JSON does not know."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }


@dataclass(frozen=True)
class Record:
    """One comparison of one implementation with the oracle, or the reason why there was none."""

    run: str
    recipe: str
    recipe_hash: str
    suite: str
    model: str
    dataset: str
    optimizer: str
    regularizers: str
    initializer: str
    schedule: str
    implementation: str
    framework_version: str
    device: str
    dtype: str
    check: str
    stage: str
    layer: int
    step: int
    tensor: str
    error: float
    ulps: float
    floor: float
    allowance: float
    error_per_allowance: float
    ceiling: float
    allowance_per_ceiling: float
    nearest_fault: str
    verdict: str
    cause: str
    seconds: float


@dataclass(frozen=True)
class Context:
    """What all records of one recipe in one implementation and precision have in common."""

    run: str
    suite: str
    recipe: Recipe
    implementation: str
    framework_version: str
    device: str
    dtype: str

    def record(self, check: str, comparison: Comparison, seconds: float = 0.0, ceiling: Ceiling = NO_CEILING) -> Record:
        """The record of a comparison."""
        recipe = self.recipe
        return Record(
            run=self.run, recipe=recipe.name, recipe_hash=recipe.hash, suite=self.suite, model=recipe.model.name,
            dataset=recipe.dataset.name, optimizer=recipe.optimizer.name,
            regularizers="+".join(component.name for component in recipe.regularizers) or "none",
            initializer=recipe.initializer.name, schedule=recipe.schedule.name, implementation=self.implementation,
            framework_version=self.framework_version, device=self.device, dtype=self.dtype, check=check,
            stage=comparison.key.stage, layer=comparison.key.layer, step=comparison.step, tensor=comparison.key.tensor,
            error=comparison.error,
            ulps=comparison.ulps, floor=comparison.floor, allowance=comparison.allowance,
            error_per_allowance=comparison.error / comparison.allowance,
            ceiling=comparison.allowance * ceiling.ratio, allowance_per_ceiling=1 / ceiling.ratio,
            nearest_fault=ceiling.fault, verdict=str(comparison.verdict), cause=comparison.cause, seconds=seconds,
        )  # fmt: skip

    def without_comparison(self, check: str, verdict: Verdict, cause: str, seconds: float = 0.0) -> Record:
        """The record of a check that could not be made."""
        return self.record(check, verdict_alone(Key("", 0, ""), verdict, cause), seconds)
