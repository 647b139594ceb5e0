"""The plan of a run: what is done, by whom, and where. Written once by the parent, read by every worker."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter

from conformance.adapters.whole_files import part_of
from conformance.data.wording import listed, shown
from conformance.recipes.recipe import DTYPES, Recipe
from conformance.recipes.subjects import by_recipe, does
from conformance.results.traces import StoreError, told
from conformance.verdicts.order import LADDER

FILE = "plan.json"
CHECK_SECONDS = 900.0  # a check that takes longer is stopped
DEVICES = ("cpu", "gpu", "tpu")
EXPLAIN_SECONDS = 60.0  # for the causes of all that failed


class Task(NamedTuple):
    """One recipe at one precision, and the suite that it comes from."""

    suite: str
    recipe: Recipe
    dtype: str

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from the others of a run."""
        return self.recipe.name, self.dtype

    @property
    def as_dict(self) -> dict[str, Any]:
        """The task as JSON has it."""
        return {"suite": self.suite, "recipe": self.recipe.model_dump(mode="json"), "dtype": self.dtype}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Task":
        """What :attr:`as_dict` gave."""
        return cls(values["suite"], Recipe.model_validate(values["recipe"]), values["dtype"])


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        folder: that holds it, whose name is the run's.
        recipes: each with the suite that it comes from.
        implementations: by name, as ``module:Class``.
        dtypes: the precisions.
        device: ``cpu``, ``gpu`` or ``tpu``.
        checks: those that are made, in the order of the ladder.
        workers: how many work at once; 0: one for each processor.
        check_seconds: after which a check is stopped.
        memory_bytes: above which a worker, with its children, is stopped; 0: no limit.
        keep_traces: whether the tensors of what passed are kept too.
        stop_at_failure: whether the run ends with the first record that does not pass.
        reuse: whether results of earlier runs of the very same are taken.
        kept_cases: whether the oracle's cases of earlier runs are taken, in which no implementation has a part.
        explain: whether the causes of failures are sought at the end.
        explain_seconds: after which no further ones are sought.
        pythons: the executables of other Python environments, by the implementation whose workers run in them.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    folder: Path
    recipes: list[tuple[str, Recipe]]
    implementations: dict[str, str]
    dtypes: list[str]
    device: str = "cpu"
    checks: tuple[str, ...] = LADDER
    workers: Annotated[int, Field(ge=0)] = 0
    check_seconds: Annotated[float, Field(gt=0)] = CHECK_SECONDS
    memory_bytes: Annotated[int, Field(ge=0)] = 0
    keep_traces: bool = False
    stop_at_failure: bool = False
    reuse: bool = False
    kept_cases: bool = False
    explain: bool = True
    explain_seconds: float = EXPLAIN_SECONDS
    pythons: dict[str, str] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """The run's name, as text that can be stored."""
        return os.fsencode(self.folder.name).decode("utf-8", "backslashreplace")

    @property
    def tasks(self) -> list[Task]:
        """Every recipe in every precision that it and the plan name."""
        return [Task(suite, recipe, d) for suite, recipe in self.recipes for d in self.dtypes if d in recipe.dtypes]

    def doing(self, task: Task) -> list[str]:
        """The implementations that do a task: one of built-ins does the recipes of its own subjects only."""
        return [name for name in self.implementations if does(name, task.recipe.name)]

    @property
    def units(self) -> list[tuple[str, Task]]:
        """Every task with every implementation that does it."""
        return [(name, task) for task in self.tasks for name in self.doing(task)]

    @property
    def subjects(self) -> dict[str, dict[str, Any]]:
        """The built-ins that are under test, by the names of their recipes."""
        found = {recipe.name: by_recipe().get(recipe.name) for _, recipe in self.recipes}
        return {name: each.told for name, each in found.items() if each and each.implementation in self.implementations}

    @property
    def at_once(self) -> int:
        """How many workers work at once."""
        return self.workers or processors()

    @property
    def summary(self) -> dict[str, Any]:
        """What has to be recorded, by which it is known what is missing."""
        return {
            "implementations": list(self.implementations),
            "tasks": [list(task.name) for task in self.tasks],
            "checks": list(self.checks),
            **({"subjects": self.subjects} if self.subjects else {}),
        }

    @property
    def as_dict(self) -> dict[str, Any]:
        """All of it but its folder, as JSON has it."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "folder"}
        return values | {"recipes": [(suite, recipe.model_dump(mode="json")) for suite, recipe in self.recipes]}

    @classmethod
    def of(cls, values: Mapping[str, Any], folder: Path) -> "Plan":
        """What :attr:`as_dict` gave, in a folder. Raises ValueError for what is none."""
        plan: Plan = TypeAdapter(cls).validate_python({**values, "folder": folder})
        return plan

    def write(self) -> None:
        """Write the plan into its folder; it appears whole or not at all. Raises OSError, also for a second."""
        part = part_of(self.folder / FILE)
        try:
            part.write_text(json.dumps(self.as_dict), encoding="utf-8")
            os.link(part, self.folder / FILE)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> "Plan":
        """The plan in a folder. Raises StoreError, naming the file."""
        path = folder / FILE
        if not path.exists():
            raise StoreError(f"{folder}: holds no {FILE}, for no run was begun in it: nothing can be gone on with")
        try:
            plan = cls.of(json.loads(path.read_text(encoding="utf-8")), folder)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise StoreError(f"{path}: cannot be read: {told(error)}") from error
        for what, found, known in (
            ("checks", plan.checks, LADDER), ("dtypes", plan.dtypes, DTYPES), ("device", [plan.device], DEVICES),
        ):  # fmt: skip
            for name in found:
                if name not in known:
                    raise StoreError(f"{path}: {what} has {shown(name)}: must be of {listed(known)}")
        return plan


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
