"""The plan of a run: what is done, by whom, and where. Written once by the parent, read by every worker."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from conformance.recipes.recipe import Recipe

FILE = "plan.json"
SILENCE_SECONDS = 900.0  # a worker that reports nothing for so long is stopped


class Task(NamedTuple):
    """One recipe at one precision, and the suite that it comes from."""

    suite: str
    recipe: Recipe
    dtype: str

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from the others of a run."""
        return self.recipe.name, self.dtype


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        folder: that holds it, whose name is the run's.
        recipes: each with the suite that it comes from.
        implementations: by name, as ``module:Class``.
        dtypes: the precisions.
        device: ``cpu``, ``gpu`` or ``tpu``.
        silence_seconds: after which a worker that reports nothing is stopped.
    """

    folder: Path
    recipes: list[tuple[str, Recipe]]
    implementations: dict[str, str]
    dtypes: list[str]
    device: str = "cpu"
    silence_seconds: float = SILENCE_SECONDS

    @property
    def run(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def tasks(self) -> list[Task]:
        """Every recipe in every precision that it and the plan name."""
        return [Task(suite, recipe, d) for suite, recipe in self.recipes for d in self.dtypes if d in recipe.dtypes]

    def share(self, part: int, parts: int) -> list[Task]:
        """Every ``parts``-th task, from number ``part`` on."""
        return self.tasks[part::parts]

    def write(self) -> None:
        """Write the plan into its folder."""
        values = {
            "recipes": [(suite, recipe.model_dump(mode="json")) for suite, recipe in self.recipes],
            "implementations": self.implementations,
            "dtypes": self.dtypes,
            "device": self.device,
            "silence_seconds": self.silence_seconds,
        }
        (self.folder / FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Plan":
        """The plan in a folder."""
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        recipes = [(suite, Recipe.model_validate(recipe)) for suite, recipe in values.pop("recipes")]
        return cls(folder, recipes, **values)
