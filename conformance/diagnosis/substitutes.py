"""Another component in the place of the one asked for: another activation, optimizer, loss, schedule, initializer."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from conformance.diagnosis.candidates import Candidate, Path, replaced
from conformance.recipes.recipe import Recipe
from reference_numpy import activations, initializers, losses, optimizers, schedules

_TABLES: Mapping[Path, Mapping[str, Callable[..., Any]]] = {
    ("model", "activation"): activations.ACTIVATIONS,
    ("optimizer",): optimizers.OPTIMIZERS,
    ("loss",): losses.LOSSES,
    ("schedule",): schedules.SCHEDULES,
    ("initializer",): initializers.INITIALIZERS,
}


def substitutes(recipe: Recipe) -> Iterator[Candidate]:
    """The recipe with each other component of the catalogue; what both have keywords for is kept."""
    for path, table in _TABLES.items():
        asked: Any = recipe
        for part in path:
            asked = getattr(asked, str(part))
        for name, made in table.items():
            if name != asked.name:
                accepted = inspect.signature(made).parameters
                keywords = {keyword: value for keyword, value in asked.keywords.items() if keyword in accepted}
                extra = {"unit": asked.unit} if path == ("schedule",) else {}
                component = {"name": name, **extra, **keywords}
                yield from replaced(recipe, path, component, f"{name} for {asked.name}")
