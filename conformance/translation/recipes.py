"""A whole recipe in another framework: each of its parts, by a built-in where one is the same."""

from collections.abc import Iterator, Mapping
from typing import Any

from conformance.identification.answer import SIZES, Named
from conformance.recipes.dialects import Dialect
from conformance.recipes.layers import all_layers
from conformance.recipes.recipe import Recipe
from conformance.runs.answers import Limits
from conformance.translation import functions, layers, optimizers, regularizers
from conformance.translation.code import of_this_project
from conformance.translation.translate import framework_of
from conformance.translation.translated import Translation
from conformance.translation.trial import Processes, Trial
from reference_numpy.regularizers import CLIPPINGS, PENALTIES

COMPOSED = ("sequence", "residual", "bidirectional", "parallel")  # layers that are told by those inside
PLAIN = ("identity", "constant")  # of which there is no code

Part = tuple[str, Named]  # its kind, and what it is


def translate_recipe(
    recipe: Recipe, *, to: str, limits: Limits | None = None, trial: Trial | None = None
) -> list[Translation]:
    """Each part of a recipe in a framework: layers, activations, initializers, loss, penalties, schedule, optimizer.

    Batches, masks and early stopping are those of a loop: the whole training as a file is had by ``conformance.eject``.
    Raises ValueError for a framework that is not known; Incomplete (of ``conformance.runs.outcome``) where a process
    does not come to its end.
    """
    target = framework_of(to)
    if trial is not None:
        return _translated(recipe, target, trial)
    with Processes(limits or Limits()) as own:
        return _translated(recipe, target, own)


def _translated(recipe: Recipe, to: str, trial: Trial) -> list[Translation]:
    """Each part once, a layer of each size."""
    found = {(kind, named.written(kind), str(_sizes(named))): (kind, named) for kind, named in parts(recipe)}
    translated = [_part(kind, named, to, trial) for kind, named in found.values()]
    optimizer = Dialect("numpy", recipe.optimizer.name, recipe.optimizer.name, recipe.optimizer.keywords, "")
    source = optimizers.Source(recipe.optimizer.name, of_this_project(optimizer, "numpy"), optimizer)
    return [*translated, optimizers.translate(source, to, trial)]


def _part(kind: str, named: Named, to: str, trial: Trial) -> Translation:
    if kind == "regularizer":
        return regularizers.of_formulation(named, to)
    if kind != "layer":
        return functions.of_formulation(kind, named, to, trial)
    rank = len(named.keywords.get("kernel") or named.keywords.get("window") or ())
    source = functions.itself(kind, named)
    return layers.translated(named.written(kind), source, to, trial, sizes=_sizes(named), rank=rank)


def _sizes(named: Named) -> dict[str, Any]:
    """The sizes of a layer, by what they are in ``layer_spelling.toml``."""
    return {layers.ROLES.get(name, name): value for name, value in named.keywords.items() if name in SIZES}


def parts(recipe: Recipe) -> Iterator[Part]:
    """What a recipe is made of, the optimizer excepted."""
    model = recipe.model
    if recipe.is_network:
        yield from _of_layers(recipe)
    else:
        yield "layer", Named("dense", {"bias": model.bias})
        yield from _function("activation", model.activation.name, model.activation.keywords)
        yield from _function("initializer", recipe.initializer.name, recipe.initializer.keywords)
        if model.normalization is not None:
            yield from _function("normalization", model.normalization.name, model.normalization.keywords)
    yield from _function("loss", recipe.loss.name, recipe.loss.keywords)
    for component in recipe.named(*PENALTIES, *CLIPPINGS):
        yield "regularizer", Named(component.name, component.keywords)
    rate = {"learning_rate": recipe.optimizer.keywords["learning_rate"]}
    yield from _function("schedule", recipe.schedule.name, recipe.schedule.keywords | rate)


def _function(kind: str, name: str, keywords: Mapping[str, Any]) -> Iterator[Part]:
    if name not in PLAIN:
        yield kind, Named(name, {keyword: value for keyword, value in keywords.items() if keyword != "unit"})


def _of_layers(recipe: Recipe) -> Iterator[Part]:
    """The layers of a network, its activations as such, and the initializers that layers name."""
    for layer in all_layers(recipe.model.layers):
        if layer.name == "activation":
            yield from _function("activation", layer.keywords["function"], layer.keywords.get("options") or {})
        elif layer.name not in COMPOSED:
            own = {keyword: value for keyword, value in layer.keywords.items() if keyword not in layers.STARTS}
            yield "layer", Named(layer.name, own)
        if "initializer" in layer.keywords:
            options = layer.keywords.get("initializer_options") or {}
            yield from _function("initializer", layer.keywords["initializer"], options)
