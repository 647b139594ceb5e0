"""Another component in the place of the one asked for: another activation, optimizer, loss, schedule, initializer.

And another clipping, also with the faults of that one: PyTorch's own has a 1e-6 beside each norm.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from conformance.diagnosis.candidates import Candidate, Path, replaced
from conformance.faults.mutants import MUTANTS
from conformance.recipes.components import keyword_defaults
from conformance.recipes.dialects import dialects
from conformance.recipes.recipe import Recipe
from reference_numpy import activations, initializers, losses, optimizers, regularizers, schedules

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
    yield from _other_clippings(recipe)
    yield from built_in_instead(recipe)


def built_in_instead(recipe: Recipe) -> Iterator[Candidate]:
    """The recipe with each other optimizer as a framework has it: with that one's defaults where it asks for its own's.

    So AdamW decays weights where Adam, that does not, was asked for.
    """
    asked = recipe.optimizer
    defaults = keyword_defaults(optimizers.OPTIMIZERS[asked.name])
    own = {keyword: value for keyword, value in asked.keywords.items() if value != defaults.get(keyword)}
    found: dict[str, Candidate] = {}
    for dialect in dialects():
        if dialect.optimizer not in (asked.name, "gradient_descent"):  # of the latter none has anything of its own
            keywords = dialect.keywords | {keyword: own[keyword] for keyword in own.keys() & dialect.keywords.keys()}
            component = {"name": dialect.optimizer, **keywords, "learning_rate": asked.keywords["learning_rate"]}
            words = f"{dialect.optimizer} as {dialect.framework}.{dialect.builtin} has it, for {asked.name}"
            for other in replaced(recipe, ("optimizer",), component, words):
                found.setdefault(other.recipe.hash, other)
    yield from found.values()


def decaying(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe with the optimizer that is its own with a weight decay apart from the gradient, AdamW for Adam."""
    name, keywords = f"{recipe.optimizer.name}w", recipe.optimizer.keywords
    if name in optimizers.OPTIMIZERS:
        accepted = keyword_defaults(optimizers.OPTIMIZERS[name], ("learning_rate",))
        own = {
            keyword: value for keyword, value in keywords.items() if keyword in accepted and keyword != "weight_decay"
        }
        yield from (one.recipe for one in replaced(recipe, ("optimizer",), {"name": name, **own}, name))


def _other_clippings(recipe: Recipe) -> Iterator[Candidate]:
    for place, asked in enumerate(recipe.regularizers):
        for name in regularizers.CLIPPINGS:
            if asked.name not in regularizers.CLIPPINGS or name == asked.name:
                continue
            component = {"name": name, "limit": asked.keywords["limit"]}
            for other in replaced(recipe, ("regularizers", place), component, f"{name} for {asked.name}"):
                yield other
                for mutant in MUTANTS:
                    if mutant.concerns(other.recipe) and not mutant.concerns(recipe):
                        words = f"{other.description}, with the fault {mutant.name!r}"
                        yield replace(other, description=words, mutants=(mutant,))
