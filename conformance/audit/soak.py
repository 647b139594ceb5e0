"""The soak test: random recipes, each with several seeds, on which correct implementations must raise no alarm.

The covering array holds every pair of values at fixed sizes. Here the values meet at random, more than two at a time,
and the sizes, rates and strengths are drawn too. A record that is neither ``pass`` nor ``inconclusive`` is a false
alarm. The recipes are divided into portions, each a run in a folder of its own; a portion that was finished is not run
again, so that the same call goes on where it was broken off.
"""

import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from conformance.audit.architectures import random_network
from conformance.data.datasets import DATASETS
from conformance.data.randomness import keyed_generator
from conformance.recipes.coverage import Choice, allowed, recipe_values
from conformance.recipes.factors import FACTORS, values_in
from conformance.recipes.recipe import Recipe
from conformance.results import frames
from conformance.results.store import Store, StoreError
from conformance.runs.environment import environment
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.plan import Plan
from conformance.runs.pool import Progress
from conformance.runs.run import carry_out, resume
from conformance.verdicts.compare import Verdict
from conformance.verdicts.order import LADDER

SEED = 0  # of the choice of recipes
RECIPES_A_PORTION = 20  # even: two workers that take turns then each have all seeds of a recipe
FACTOR = 3.0  # learning rates, strengths and limits are drawn from a third to three times their usual value
EXAMPLES = range(20, 31)
BATCH_SIZES = range(4, 13)
SINGLE_EXAMPLES = range(6, 11)
TEST_EXAMPLES = 12

# Small data of each task. Points of the plane are not standardised: inputs of mean 0 would leave a full batch's mean
# before batch norm to rounding alone.
DATA = {
    "moons": "none",
    "xor": "none",
    "flower": "none",
    "breast_cancer": "standardize",
    "attributes": "none",
    "digits": "unit",
    "housing": "standardize",
    "diabetes": "standardize",
}


@dataclass(frozen=True)
class Soak:
    """What is asked: how many recipes, each with how many seeds, for which implementations as ``module:Class``.

    ``networks``: their models are random networks of layers, not the dense ones.
    """

    recipes: int
    seeds: int
    implementations: dict[str, str]
    folder: Path
    networks: bool = False

    @property
    def portions(self) -> list[Plan]:
        """The runs that make up the soak."""
        return [
            self._portion(range(first, min(first + RECIPES_A_PORTION, self.recipes)))
            for first in range(0, self.recipes, RECIPES_A_PORTION)
        ]

    def _portion(self, numbers: range) -> Plan:
        draw = random_network if self.networks else random_recipe
        recipes = [("soak", draw(number, place)) for place in range(self.seeds) for number in numbers]
        folder = self.folder / f"recipes-{numbers.start:03}-{numbers.stop - 1:03}"
        return Plan(folder, recipes, self.implementations, list(FACTORS["dtype"]))


class Count(NamedTuple):
    """The records of one check in one precision."""

    check: str
    dtype: str
    records: int
    passed: int
    inconclusive: int

    @property
    def share(self) -> float:
        """The inconclusive ones, and those that leave the range of the precision as the reference does, of all."""
        return self.inconclusive / self.records if self.records else 0.0

    @property
    def false_alarms(self) -> int:
        """Those that neither pass nor are inconclusive."""
        return self.records - self.passed - self.inconclusive


class Tally(NamedTuple):
    """What has come of a soak: how many recipes and seconds its finished portions are, and their records.

    ``first_false_alarms`` has a row for each recipe, implementation and precision that has any.
    """

    recipes: int
    seconds: float
    counts: list[Count]
    first_false_alarms: pd.DataFrame

    @property
    def total(self) -> Count:
        """The sum of all counts."""
        records, passed, inconclusive = (sum(numbers) for numbers in zip(*(c[2:] for c in self.counts), strict=True))
        return Count("all", "all", records, passed, inconclusive)


def random_choice(number: int) -> Choice:
    """The values of recipe ``number``: one whose turn it is, then of each other factor any that goes with those before.

    The turns go round all values, in an order drawn anew for each round, so that no value of a long factor is left to
    luck; precisions alternate.
    """
    values = [(factor, value) for factor in FACTORS if factor != "dtype" for value in values_in(factor)]
    turn, place = divmod(number, len(values))
    factor, value = values[keyed_generator(SEED, "soak turns", turn).permutation(len(values))[place]]
    choice = {factor: value, "dtype": list(FACTORS["dtype"])[number % len(FACTORS["dtype"])]}
    generator = keyed_generator(SEED, "soak choice", number)
    for other in FACTORS:
        if other not in choice:
            fitting = [value for value in values_in(other) if allowed({**choice, other: value})]
            choice[other] = fitting[generator.integers(len(fitting))]
    return {factor: choice[factor] for factor in FACTORS}


def random_recipe(number: int, place: int) -> Recipe:
    """Recipe ``number`` with its seed ``place``, which also draws or divides its data; all else is of the number."""
    choice = random_choice(number)
    values = recipe_values(f"soak-{number:03}-{place}", choice)
    generator = keyed_generator(SEED, "soak sizes", number)
    seed = int(keyed_generator(SEED, "soak seed", number, place).integers(2**32))
    examples, batch_size = _batches(choice, generator)
    task = DATASETS[values["dataset"]["name"]].task
    dataset = str(generator.choice([name for name in DATA if DATASETS[name].task == task]))
    # Of two units layer norm leaves nothing of a gradient but what epsilon does.
    fewest = 3 if choice["normalization"] == "layer" else 2
    units = [int(generator.integers(fewest, 9)) for _ in values["model"]["hidden_units"]]
    loss = values["loss"]
    if "label_smoothing" in loss:
        loss = loss | {"label_smoothing": float(generator.uniform(0.02, 0.3))}
    return Recipe.model_validate(
        values
        | {
            "dataset": {
                "name": dataset,
                "scaling": DATA[dataset],
                "seed": seed,
                "examples": examples,
                "test_examples": TEST_EXAMPLES,
            },
            "model": values["model"] | {"hidden_units": units},
            "optimizer": _moved(values["optimizer"], generator),
            "regularizers": [_moved(component, generator) for component in values["regularizers"]],
            "loss": loss,
            "batch_size": batch_size,
            "epochs": int(generator.integers(2 if choice["training"] == "in halves" else 1, 4)),
            "seed": seed,
        }
    )


def _batches(choice: Choice, generator: np.random.Generator) -> tuple[int, int | None]:
    """Number of examples and batch size."""
    if choice["batches"] == "full":
        return int(generator.choice(EXAMPLES)), None
    if choice["batches"] == "single examples":
        return int(generator.choice(SINGLE_EXAMPLES)), 1
    if choice["batches"] == "even":
        fitting = [(m, size) for m in EXAMPLES for size in BATCH_SIZES if m % size == 0]
    else:  # of one example batch norm has no variance, of two it leaves of a gradient but what epsilon does
        fewest = 3 if choice["normalization"].startswith("batch") else 1
        fitting = [(m, size) for m in EXAMPLES for size in BATCH_SIZES if m % size >= fewest]
    return fitting[generator.integers(len(fitting))]


def _moved(component: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """A component with other numbers: rate, strength, limit and scale log-uniform within ``FACTOR``."""
    moved = dict(component)
    for keyword in ("learning_rate", "strength", "limit", "scale"):
        if keyword in component:
            moved[keyword] = float(component[keyword] * FACTOR ** generator.uniform(-1, 1))
    if "keep_probability" in component:
        moved["keep_probability"] = float(generator.uniform(0.5, 0.95))
    return moved


def work_through(soak: Soak, progress: Progress) -> None:
    """Run every portion that is not finished; one that was broken off goes on with what it lacks.

    Raises BadInput where the folder holds anything but this very soak, of the same code, and Incomplete, after the last
    portion, where one could not be finished.
    """
    portions = soak.portions
    _claim(soak, portions)
    total = sum(len(portion.tasks) for portion in portions)
    before, lost = 0, []
    for portion in portions:
        if not _finished(portion.folder):
            started = time.monotonic()
            try:
                _go_on(portion, _overall(progress, before, total))
            except Incomplete as error:
                lost.append(str(error))
            else:
                Store(portion.folder).set_fact("finished", {"seconds": time.monotonic() - started})
        before += len(portion.tasks)
    if lost:
        raise Incomplete("; ".join(lost))


def _go_on(portion: Plan, progress: Progress) -> None:
    """Carry out a portion, or what it lacks if it was broken off; one whose folder cannot be read is begun anew."""
    try:
        resume(portion.folder, progress)
    except StoreError:
        if portion.folder.exists():
            shutil.rmtree(portion.folder)
        carry_out(portion, progress)


def _overall(progress: Progress, before: int, total: int) -> Progress:
    """A portion's progress as the whole soak's, of whose tasks so many come before it."""
    return lambda worker, done, _: progress(worker, before + done, total)


def _claim(soak: Soak, portions: list[Plan]) -> None:
    """Write down whose the folder is, or see that it is this soak's; raises BadInput."""
    plan = {
        "implementations": soak.implementations,
        "recipes": {recipe.name: recipe.hash for portion in portions for _, recipe in portion.recipes},
        "packages": environment(portions[0])["packages"],
        "source": environment(portions[0])["source"],
    }
    path = soak.folder / "soak.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name in plan if found[name] != plan[name]]
        if other:
            raise BadInput(f"{soak.folder}: holds a soak with other {', '.join(other)}: must be removed to begin anew")
    elif soak.folder.exists() and (not soak.folder.is_dir() or any(soak.folder.iterdir())):
        raise BadInput(f"output={str(soak.folder)!r} is not allowed: must be a new or an empty folder, or a soak's")
    else:
        soak.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")


def _finished(folder: Path) -> bool:
    try:
        return "finished" in Store(folder).facts()
    except StoreError:
        return False


def tally(soak: Soak) -> Tally:
    """Read the stores of the finished portions."""
    recipes, seconds, found, alarms = 0, 0.0, Counter[tuple[str, str, str]](), []
    for portion in soak.portions:
        if _finished(portion.folder):
            store = Store(portion.folder)
            query = 'SELECT "check", dtype, verdict, COUNT(*) FROM records GROUP BY "check", dtype, verdict'
            found.update({(check, dtype, verdict): number for check, dtype, verdict, number in store.select(query)})
            alarms.append(frames.first_failures(frames.load_records(store)))
            recipes += len(portion.recipes) // soak.seeds
            seconds += store.facts()["finished"]["seconds"]
    counts = [
        Count(
            check,
            dtype,
            sum(found[check, dtype, verdict] for verdict in Verdict),
            found[check, dtype, Verdict.PASS],
            found[check, dtype, Verdict.INCONCLUSIVE] + found[check, dtype, Verdict.DIVERGED],
        )
        for check in LADDER
        for dtype in FACTORS["dtype"]
    ]
    return Tally(recipes, seconds, counts, pd.concat(alarms) if alarms else pd.DataFrame())
