"""Coverage by design: the factors of a recipe, which values of theirs go together, and a covering array of the pairs.

A factor is a choice that every recipe makes (its model, its optimizer in one formulation ...), with its values by name;
a value is what it writes into a recipe. Two values of different factors are an *allowed pair* if some recipe that keeps
every constraint holds both. ``covering_array.csv`` holds every allowed pair in as few recipes as a search found.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import resources
from itertools import combinations, product
from typing import Any, NamedTuple

from conformance.recipes.components import Component
from conformance.recipes.factors import BASE, FACTORS, WITHOUT_BIASES, values_in
from conformance.recipes.layer_coverage import FORMULATIONS, missing
from conformance.recipes.recipe import Recipe

Choice = dict[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]  # ((factor, value), (factor, value)), in the order of FACTORS

_CONVEX = ("linear neuron", "logistic regression", "softmax regression")
_WITHOUT_HIDDEN = ("relu neuron", *_CONVEX)
_SOFTMAX = ("softmax regression", "softmax")
_ERROR = "mean_squared_error"
_SOFTMAX_ERROR = "squared error of a softmax"
_OF_DENSE_NETWORKS = ("model", "initializer", "activation", "normalization")  # factors that networks of layers have not
_REGULARIZING = ("penalty", "limit", "noise", "stopping")


def allowed(choice: Mapping[str, str]) -> bool:
    """Whether values go together; factors not in ``choice`` are still open. Every rule is about two factors."""
    model, loss, penalty, noise = (choice.get(factor) for factor in ("model", "loss", "penalty", "noise"))
    optimizer, normalization, batches = (choice.get(factor) for factor in ("optimizer", "normalization", "batches"))
    activation, initializer, training = (choice.get(factor) for factor in ("activation", "initializer", "training"))
    biases = model is None or not model.endswith(WITHOUT_BIASES)
    model = model and model.removesuffix(WITHOUT_BIASES)
    if model is not None and loss is not None and not _loss_fits(model, loss):
        return False
    if model in _WITHOUT_HIDDEN and (
        activation not in (None, "identity") or normalization not in (None, "none") or noise == "dropout"
    ):
        return False  # there is no hidden layer to have them
    if initializer == "zeros" and model not in (None, *_CONVEX):
        return False  # hidden units that start equal stay equal, and a rectifier at 0 stays there
    if noise == "flip and shift" and model not in (None, *_SOFTMAX):
        return False  # the inputs of the other models here are no images
    if penalty == "label smoothing" and (
        model in ("linear neuron", "relu neuron") or (loss is not None and not _takes_logits(loss))
    ):
        return False  # there is no label to smooth
    if batches == "single examples" and normalization in ("batch", "batch, unbiased"):
        return False  # one example has no variance
    if training == "in halves" and (choice.get("stopping") == "early stopping" or batches == "single examples"):
        return False  # where it stops is not known before; one epoch has no halves
    if training == "frozen biases" and not biases:
        return False  # there is none to freeze
    if optimizer is not None and optimizer.startswith("lbfgs"):  # full batches of a smooth convex cost
        convex = model in (None, *_CONVEX)
        smooth = penalty not in ("l1", "elastic net") and choice.get("limit") in (None, "none")
        probabilities = loss is not None and loss.endswith("probabilities")
        return convex and smooth and not probabilities and noise in (None, "none") and batches in (None, "full")
    return True


def _loss_fits(model: str, loss: str) -> bool:
    kind = loss.split(",")[0]
    if model in ("linear neuron", "relu neuron"):
        return kind == "squared error"
    if model in _SOFTMAX:
        return kind in ("categorical", _SOFTMAX_ERROR)
    if model == "multi-task":
        return kind == "binary" and loss != "binary, class weights"
    if model == "logistic regression":
        return kind == "binary"
    return kind in ("binary", "squared error")


def _takes_logits(loss: str) -> bool:
    return not loss.startswith("squared error") and not loss.endswith("probabilities")


@cache
def allowed_pairs() -> frozenset[Pair]:
    """Every pair of values that some complete choice holds: those of the covering array, which are looked up."""
    return frozenset().union(*map(pairs_of, covering_array()))


def completed_pairs() -> frozenset[Pair]:
    """The same by the rules alone: for every two values it is tried whether others complete them."""
    found = set()
    for one, other in combinations(FACTORS, 2):
        for pair in product(FACTORS[one], FACTORS[other]):
            choice = {one: pair[0], other: pair[1]}
            if _completed(choice) is not None:
                found.add(((one, pair[0]), (other, pair[1])))
    return frozenset(found)


def single_changes() -> list[Choice]:
    """Each value on its own: ``BASE`` with that one value, and others only where it does not go with the base's.

    In float64; the values that the pairs leave out, in both precisions, that is without a value for the dtype.
    """
    found = []
    for factor in FACTORS:
        for value in values_in(factor):
            choice = _completed({factor: value})
            assert choice is not None
            if value not in FACTORS[factor]:
                del choice["dtype"]
            if choice not in found:
                found.append(choice)
    return found


def _completed(choice: Choice) -> Choice | None:
    """``choice`` with a value for every factor, or None if no values fit: the base's if it fits, else the first."""
    if not allowed(choice):
        return None
    open_factor = next((factor for factor in FACTORS if factor not in choice), None)
    if open_factor is None:
        return choice
    for value in (BASE[open_factor], *FACTORS[open_factor]):
        found = _completed(choice | {open_factor: value})
        if found is not None:
            return found
    return None


def covering_array() -> list[Choice]:
    """The committed array: choices that together hold every allowed pair."""
    text = resources.files("conformance.recipes").joinpath("covering_array.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def search_covering_array() -> list[Choice]:
    """Search for the array, half a minute of it; ``python -m conformance.recipes.coverage`` writes what it finds."""
    from covertable import make

    rules = [
        {"operator": "fn", "requires": [one, other], "evaluate": partial(_pair_allowed, one, other)}
        for one, other in combinations(FACTORS, 2)
        if not all(allowed({one: a, other: b}) for a, b in product(FACTORS[one], FACTORS[other]))
    ]
    rows: list[Choice] = make({factor: list(values) for factor, values in FACTORS.items()}, constraints=rules)
    return _balanced([{factor: row[factor] for factor in FACTORS} for row in rows])


def _balanced(rows: list[Choice]) -> list[Choice]:
    """``rows`` with about as many in one precision as in the other; the search takes the first where either will do."""
    held = Counter(pair for row in rows for pair in pairs_of(row))
    count = Counter(row["dtype"] for row in rows)
    balanced = []
    for row in rows:
        other = row | {"dtype": "float32" if row["dtype"] == "float64" else "float64"}
        lost = pairs_of(row) - pairs_of(other)
        if count[row["dtype"]] > count[other["dtype"]] and all(held[pair] > 1 for pair in lost):
            held.subtract(pairs_of(row))
            held.update(pairs_of(other))
            count.subtract([row["dtype"]])
            count.update([other["dtype"]])
            row = other
        balanced.append(row)
    return balanced


def _pair_allowed(one: str, other: str, row: Mapping[str, str]) -> bool:
    return allowed({one: row[one], other: row[other]})


def pairs_of(choice: Mapping[str, str]) -> set[Pair]:
    """The pairs that a choice holds."""
    return {((a, choice[a]), (b, choice[b])) for a, b in combinations(FACTORS, 2)}


def recipe_values(name: str, choice: Mapping[str, str]) -> dict[str, Any]:
    """The recipe of a complete choice."""
    parts: dict[str, Any] = {}
    regularizers = [r for f in _REGULARIZING for r in values_in(f)[choice[f]].get("regularizers", ())]
    for factor, value in choice.items():
        parts |= values_in(factor)[value]
    parts["regularizers"] = regularizers
    model = parts["model"] | {"activation": parts.pop("activation"), "normalization": parts.pop("normalization")}
    if "smoothing" in parts:
        parts["loss"] = parts["loss"] | {"label_smoothing": parts.pop("smoothing")}
    if "examples" in parts:
        parts["dataset"] = parts["dataset"] | {"examples": parts.pop("examples")}
    if parts.get("reduction") == "sum":  # its gradient is as many times the mean's
        rate = parts["optimizer"]["learning_rate"] / (parts["batch_size"] or parts["dataset"]["examples"])
        parts["optimizer"] = parts["optimizer"] | {"learning_rate": rate}
    return parts | {"name": name, "model": model, "description": "; ".join(choice.values())}


def recipe_with(values: Mapping[str, str], name: str = "some", **settings: Any) -> Recipe:
    """A small recipe, in both precisions, that holds ``values`` (of the factors by name), with other ``settings``.

    Raises ValueError for values that do not go together.

    >>> recipe_with({"optimizer": "adam"}).optimizer.name
    'adam'
    """
    choice = _completed(dict(values))
    if choice is None:
        raise ValueError(f"values={dict(values)!r} do not go together")
    return Recipe.model_validate(recipe_values(name, choice) | {"dtypes": ["float64", "float32"]} | settings)


class Coverage(NamedTuple):
    """How many of the allowed values of one factor or a layer, or pairs of two factors, a set of recipes holds."""

    factors: str
    held: int
    allowed: int
    missing: list[str]


def coverage(recipes: Iterable[Recipe]) -> list[Coverage]:
    """What ``recipes`` hold of each factor's values, each two factors' allowed pairs, and each layer's keywords."""
    recipes = list(recipes)
    values: dict[str, set[str]] = {factor: set() for factor in FACTORS}
    pairs: set[Pair] = set()
    for recipe in recipes:
        found = values_of(recipe)
        for factor, held in found.items():
            values[factor] |= held
        for one, other in combinations(FACTORS, 2):
            pairs |= {((one, a), (other, b)) for a, b in product(found[one], found[other])}
    rows = [
        Coverage(
            factor,
            len(values[factor]),
            len(values_in(factor)),
            [v for v in values_in(factor) if v not in values[factor]],
        )
        for factor in FACTORS
    ]
    for one, other in combinations(FACTORS, 2):
        wanted = sorted(pair for pair in allowed_pairs() if (pair[0][0], pair[1][0]) == (one, other))
        lacking = [f"{a[1]} + {b[1]}" for a, b in wanted if (a, b) not in pairs]
        rows.append(Coverage(f"{one} x {other}", len(wanted) - len(lacking), len(wanted), lacking))
    for layer, lacking in missing(recipes).items():
        allowed_values = sum(map(len, FORMULATIONS[layer].values()))
        rows.append(Coverage(f"layer {layer}", allowed_values - len(lacking), allowed_values, lacking))
    return rows


def values_of(recipe: Recipe) -> dict[str, set[str]]:
    """Which values of each factor a recipe holds; a formulation is recognised by everything in it but its sizes.

    A network of layers holds none of those that its layers say in their own way, such as the activation.
    """
    without = _OF_DENSE_NETWORKS if recipe.is_network else ()
    return {factor: set() if factor in without else set(_matching(factor, recipe)) for factor in FACTORS}


def _matching(factor: str, recipe: Recipe) -> Iterator[str]:
    if factor == "dtype":
        yield from recipe.dtypes
    elif factor == "batches":
        yield _batches(recipe)
    elif factor == "training":
        yield from _training(recipe)
    elif factor in _REGULARIZING:
        yield from _regularizers(factor, recipe)
    else:
        for value in values_in(factor):
            if _holds(factor, _prototype(factor, value), recipe):
                yield value


def _holds(factor: str, prototype: Recipe, recipe: Recipe) -> bool:
    if factor == "model":
        mine, other = recipe.model, prototype.model
        kinds = [(model.name, bool(model.hidden_units), model.bias) for model in (mine, other)]
        return kinds[0] == kinds[1] and (mine.name != "single_neuron" or mine.output == other.output)
    if factor == "activation":
        return _alike(recipe.model.activation, prototype.model.activation)
    if factor == "normalization":
        one, other_one = recipe.model.normalization, prototype.model.normalization
        return one is other_one if one is None or other_one is None else _alike(one, other_one)
    if factor == "loss":
        smoothing = {"label_smoothing": 0.0}
        one = Component(name=recipe.loss.name, **(recipe.loss.keywords | smoothing))
        other_one = Component(name=prototype.loss.name, **(prototype.loss.keywords | smoothing))
        costs = [
            (choice.example_weights, choice.reduction, choice.model.output == "softmax" and choice.loss.name == _ERROR)
            for choice in (recipe, prototype)
        ]
        return _alike(one, other_one) and costs[0] == costs[1]
    return _alike(getattr(recipe, factor), getattr(prototype, factor))


def _alike(one: Component, other: Component) -> bool:
    """Whether two components are the same formulation: of a number it counts whether it is 0, of a list that it is."""

    def kind(value: Any) -> Any:
        if isinstance(value, (str, bool)) or value is None:
            return value
        return bool(value) if isinstance(value, (int, float)) else type(value).__name__

    def formulation(component: Component) -> dict[str, Any]:
        free = ("learning_rate", "after", "after_options", "momentum_decay", "decay_rate", "final", "start", "scale")
        return {name: kind(value) for name, value in component.keywords.items() if name not in free}

    return one.name == other.name and formulation(one) == formulation(other)


def _batches(recipe: Recipe) -> str:
    if recipe.batch_size is None:
        return "full"
    if recipe.batch_size == 1:
        return "single examples"
    examples = recipe.dataset.examples
    return "even" if examples is not None and examples % recipe.batch_size == 0 else "last one small"


def _training(recipe: Recipe) -> Iterator[str]:
    if recipe.fit != "once":
        yield recipe.fit.replace("_", " ")
    if recipe.frozen_biases:
        yield "frozen biases"
    if recipe.fit == "once" and not recipe.frozen_biases:
        yield "once"


def _regularizers(factor: str, recipe: Recipe) -> Iterator[str]:
    nothing = True
    for value, settings in values_in(factor).items():
        wanted = _regularizers_of(factor, value)
        smoothed = "smoothing" in settings and recipe.loss.keywords.get("label_smoothing")
        if (wanted and all(any(_alike(one, other) for other in recipe.regularizers) for one in wanted)) or smoothed:
            nothing = False
            yield value
    if nothing:
        yield "none"


@cache
def _regularizers_of(factor: str, value: str) -> tuple[Component, ...]:
    """The regularizers that a value writes into a recipe, with all their keywords."""
    names = [component["name"] for component in values_in(factor)[value].get("regularizers", ())]
    return tuple(c for c in _prototype(factor, value).regularizers if c.name in names)


@cache
def _prototype(factor: str, value: str) -> Recipe:
    """Some recipe that holds a value."""
    return recipe_with({factor: value})


if __name__ == "__main__":
    writer = csv.DictWriter(sys.stdout, list(FACTORS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(search_covering_array())
