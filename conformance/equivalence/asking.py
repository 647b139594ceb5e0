"""What is asked: two dialects, the training that each is to make, over which seeds, and by whom.

>>> asked = ask("keras.SGD", "torch.SGD")
>>> [situation.title for situation in asked.situations]
['as they ship', 'with the same learning rate']
>>> [recipe.optimizer.keywords["learning_rate"] for recipe in asked.situations[1].recipes]
[0.01, 0.01]
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from conformance.adapters.registry import OWN
from conformance.data.wording import shown
from conformance.equivalence.student import MOST_SEEDS
from conformance.recipes.choosing import find
from conformance.recipes.components import choose
from conformance.recipes.files import faults
from conformance.recipes.recipe import DTYPES, Recipe
from conformance.recipes.resolving import told_beside
from conformance.recipes.size import require_bounded
from conformance.recipes.spelling import parse, without_module

SEEDS, FEWEST_SEEDS = 10, 3
MARGIN = 1.0  # in standard deviations of the first one's results over the seeds
DTYPE = "float32"  # that PyTorch, TensorFlow and JAX compute in unless they are told otherwise
RATE = "learning_rate"
SHIPPED, SAME_RATE = "as they ship", "with the same learning rate"
# What is trained where no recipe is named: 200 steps.
TRAINING: dict[str, Any] = {
    "name": "digits",
    "dataset": {"name": "digits", "examples": 320, "test_examples": 320},
    "model": {"name": "softmax_classifier", "hidden_units": [32]},
    "loss": "categorical_cross_entropy",
    "optimizer": "adam",
    "batch_size": 32,
    "epochs": 20,
}


def is_default(recipe: Recipe) -> bool:
    """Whether a recipe is what is trained where none is named, by whichever optimizer."""
    default = Recipe.model_validate(TRAINING)
    return all(getattr(recipe, field) == getattr(default, field) for field in TRAINING if field != "optimizer")


class Situation(NamedTuple):
    """One way to compare: a title, and the training with each of the two dialects."""

    title: str
    recipes: tuple[Recipe, Recipe]


class Asked(NamedTuple):
    """Two dialects by name, the situations in which they are compared, over which seeds, where and by whom."""

    names: tuple[str, str]
    situations: tuple[Situation, ...]
    seeds: tuple[int, ...]
    margin: float
    dtype: str
    implementation: str

    @property
    def recipe(self) -> Recipe:
        """The training, as the first dialect makes it as it ships."""
        return self.situations[0].recipes[0]


def is_dialect(name: str) -> bool:
    """Whether a name begins as a dialect does, with a framework or its module of optimizers.

    >>> is_dialect("keras.Adm"), is_dialect("torch.optim.Adam"), is_dialect("reports/before")
    (True, True, False)
    """
    return without_module(name.strip())[0] is not None


def ask(
    first: str,
    second: str,
    *,
    recipe: Recipe | str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    same_learning_rate: bool = False,
    seeds: int = SEEDS,
    margin: float = MARGIN,
    dtype: str | None = None,
    implementation: str = "numpy",
) -> Asked:
    """What is asked, with everything that is left out filled in.

    ``settings`` are keywords of the reference for both. A built-in without a learning rate of its own takes that of
    the other, or of the recipe. Raises ValueError, naming the argument, the value, what is allowed and what is nearest.
    """
    if not (isinstance(seeds, int) and FEWEST_SEEDS <= seeds <= MOST_SEEDS):
        raise ValueError(f"seeds={shown(seeds)} is not allowed: must be {FEWEST_SEEDS} to {MOST_SEEDS}")
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin={shown(margin)} is not allowed: must be a number above 0, in standard deviations")
    choose("implementation", implementation, OWN)
    base = _recipe(recipe)
    precision = choose("dtype", dtype or (DTYPE if DTYPE in base.dtypes else base.dtypes[0]), DTYPES)
    base = base.model_copy(update={"dtypes": (precision,)})
    names = (_name(first), _name(second))
    if names[0] == names[1]:
        raise ValueError(f"dialect={shown(second)} is not allowed: must be another than the first")
    own = [_own_rate(name, settings or {}) for name in names]
    known = next((rate for rate in own if rate is not None), base.optimizer.keywords[RATE])
    rates = [known if rate is None else rate for rate in own]
    shipped = _situation(SHIPPED, base, names, rates, settings or {})
    equal = _situation(SAME_RATE, base, names, [rates[0]] * 2, settings or {})
    situations = (equal,) if same_learning_rate else (shipped,) if rates[0] == rates[1] else (shipped, equal)
    return Asked(names, situations, tuple(_seeds(base, seeds)), float(margin), precision, implementation)


def _recipe(recipe: Recipe | str | Path | None) -> Recipe:
    if recipe is None:
        return Recipe.model_validate(TRAINING)
    return recipe if isinstance(recipe, Recipe) else find(recipe)


def _seeds(recipe: Recipe, count: int) -> Iterable[int]:
    """The recipe's own and those after it, from 0 on again where there are no larger ones."""
    return ((recipe.seed + number) % 2**64 for number in range(count))


def _name(text: str) -> str:
    """A dialect as it is written shortest. Raises ValueError for what is none, with the nearest."""
    return str(parse(text, "dialect"))


def _own_rate(name: str, settings: Mapping[str, Any]) -> Any:
    """The learning rate with which a dialect trains; None where it has none by itself."""
    found, changed = told_beside(name, settings)
    return found.changed(changed).get(RATE)


def _situation(
    title: str, base: Recipe, names: tuple[str, str], rates: list[Any], settings: Mapping[str, Any]
) -> Situation:
    first, second = (
        _with(base, {"dialect": name, RATE: rate} | _beside(settings)) for name, rate in zip(names, rates, strict=True)
    )
    return Situation(title, (first, second))


def _beside(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings but for the learning rate, which is among the rates."""
    return {name: value for name, value in settings.items() if name != RATE}


def _with(base: Recipe, optimizer: Mapping[str, Any]) -> Recipe:
    """The recipe with another optimizer. Raises ValueError where that does not go with the rest of it."""
    try:
        found = Recipe.model_validate(base.model_dump() | {"optimizer": dict(optimizer)})
        require_bounded(found)
    except ValueError as error:
        raise ValueError(
            "\n".join(f"{base.name} with {optimizer['dialect']}: {line}" for line in faults(error))
        ) from error
    return found
