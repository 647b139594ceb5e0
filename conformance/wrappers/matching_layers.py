"""A model's own layers matched to those of a recipe's network: by kind and order, and what is no known layer by shape.

What the tables of :mod:`conformance.wrappers.layouts` know is matched as a whole: a recurrent layer with its gates, an
attention with its packed weights. What the user says of single parameters comes before that, and all that is left then
is matched as in a dense network.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.problems.problem import Problem
from conformance.problems.tensors import places_of_paths
from conformance.recipes.layers import PARTNERS
from conformance.wrappers.layer_calls import Call, layers_by_call
from conformance.wrappers.layouts import LayerLayout, OwnLayer, Source, sources
from conformance.wrappers.matching import (
    CannotMatch,
    Forms,
    Match,
    Matching,
    Relations,
    Shape,
    Shapes,
    by_shape,
    made,
    match,
    said,
    told,
)
from conformance.wrappers.recipe_layers import RecipeLayer, recipe_layers

# What a parameter or a running average stands beside in its layer.
_BESIDE = PARTNERS | dict.fromkeys(("running_mean", "running_variance"), "gamma")
_BIASES = ("no bias", "one bias", "two biases")


@dataclass(frozen=True)
class Model:
    """What is to be matched: own tensors by path with the running averages, own layers and calls, how they are kept."""

    tensors: Shapes
    averages: Sequence[str]
    layers: Sequence[OwnLayer]
    layouts: Mapping[str, LayerLayout]
    forms: Forms
    calls: Sequence[Call] = ()


def seen_layers(see: Callable[[], list[OwnLayer]], problem: Problem, inputs: Any) -> list[OwnLayer]:
    """A model's own layers for a network, which ``see`` finds in a forward pass; none for any other recipe.

    Raises CannotMatch, with the way out, where the model cannot take the recipe's inputs and no ``inputs`` is given.
    """
    if not problem.recipe.is_network:
        return []
    try:
        return see()
    except CannotMatch:
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        if inputs is not None:
            raise
        first = str(error).strip().partition("\n")[0]
        raise CannotMatch(
            f"the model cannot take the recipe's inputs (m, {problem.features}): {first}. Give inputs=, what it is to"
            " take of them, as lambda x: x.reshape(-1, 1, 8, 8)"
        ) from error


def match_model(problem: Problem, wanted: Shapes, model: Model, names: Mapping[str, str] | None = None) -> Matching:
    """Match the tensors ``wanted`` of a problem's model, running averages too, to a user's own model.

    ``names`` as for :func:`conformance.wrappers.matching.match`. Raises CannotMatch where it cannot be told, with what
    to say.
    """
    if problem.recipe.is_network:
        return match_layers(recipe_layers(problem, wanted), wanted, model, names)
    return match(wanted, model.tensors, names, inputs_first=model.forms.inputs_first)


def match_layers(
    recipe: Sequence[RecipeLayer], wanted: Shapes, model: Model, names: Mapping[str, str] | None = None
) -> Matching:
    """The same for the layers of a network, of which ``wanted`` are all parameters and running averages."""
    found = {m.name: m for m in said(wanted, model.tensors, names or {}, model.forms)}
    layers = dict(_by_kind(recipe, found, model))
    for layer in recipe:
        if layer.path in layers:
            where = _sources(model, layers[layer.path], layer)
            found |= {
                f"{layer.path}.{name}": made(f"{layer.path}.{name}", shape, where[name], model.tensors, "by kind")
                for name, shape in layer.parameters.items()
            }
    try:
        by_shape(found, wanted, model.tensors, model.forms, _relations(wanted))
        _check_all_taken(found, wanted, model)
    except CannotMatch as error:
        for layer in recipe:
            if layer.parameters and layer.path not in layers:
                _explain(layer, layers, model)
        raise error
    called = {layer.path: path for (path, _), each in layers_by_call(recipe, layers, model.calls).items()
              for layer in each}  # fmt: skip
    return Matching(tuple(found[name] for name in wanted), (), tuple(recipe), layers, called)


def _by_kind(recipe: Sequence[RecipeLayer], found: Mapping[str, Match], model: Model) -> Iterator[tuple[str, OwnLayer]]:
    """Own layers by the path of the recipe's, in their order where there are as many of the same kind and shapes."""
    taken = {path for m in found.values() for path in m.paths}
    free = [own for own in model.layers if taken.isdisjoint(own.leaves.values())]
    left = [layer for layer in recipe if layer.parameters and not found.keys() & set(layer.names)]
    while left:
        alike = [layer for layer in left if (layer.name, layer.parameters) == (left[0].name, left[0].parameters)]
        fitting = [own for own in free if _difference(model, own, left[0]) == ""]
        if len(alike) == len(fitting):
            yield from ((layer.path, own) for layer, own in zip(alike, fitting, strict=True))
        left = [layer for layer in left if layer not in alike]


def _relations(wanted: Shapes) -> Relations:
    parts = {name: name.rpartition(".") for name in wanted}
    beside = {name: f"{outer}.{_BESIDE[own]}" for name, (outer, _, own) in parts.items() if own in _BESIDE}
    return Relations({name: place.kind for name, place in places_of_paths(wanted, 0).items()}, beside)


def _sources(model: Model, own: OwnLayer, layer: RecipeLayer) -> dict[str, Source]:
    return sources(model.layouts[own.kind], own, model.tensors, layer)


def _difference(model: Model, own: OwnLayer, layer: RecipeLayer) -> str | None:
    """How the parameters of an own layer are not those of a recipe's; None where they are layers of different kinds."""
    layout = model.layouts[own.kind]
    if layout.layer != layer.name or own.directions != layer.directions:
        return None
    if layout.refused:
        return f"{own.shown} {layout.refused}"
    there: dict[str, Shape] = {name: source.places.shape for name, source in _sources(model, own, layer).items()}
    if there == layer.parameters:
        return ""
    if there.keys() == layer.parameters.keys():
        name = next(name for name, shape in layer.parameters.items() if there[name] != shape)
        return f"{name} of {layer} is {layer.parameters[name]} in the recipe, that of {own.shown} {there[name]}"
    recipe_s, own_s = ({name for name in names if _is_bias(name)} for names in (layer.parameters, there))
    if recipe_s != own_s:
        several = max(1, len(layer.directions)) if layer.name != "attention" else 4
        count, own_count = len(recipe_s) // several, len(own_s) // several
        say = f"bias = {str(own_count > 0).lower()}" if "bias" in layer.keywords else f"biases = {own_count}"
        return f"{layer} has {_BIASES[count]} in the recipe, {own.shown} has {_BIASES[own_count]}: say {say}"
    name = next(iter(layer.parameters.keys() ^ there.keys()))
    owner, other = (f"{layer} of the recipe", own.shown) if name in layer.parameters else (own.shown, str(layer))
    return f"{owner} has {name}, and {other} has not"


def _is_bias(name: str) -> bool:
    path = f"1.{name}"
    return places_of_paths([path], 1)[path].kind == "bias"


def _explain(layer: RecipeLayer, layers: Mapping[str, OwnLayer], model: Model) -> None:
    """Raise CannotMatch with how a layer differs from the first own one of its kind that is no other's."""
    for own in model.layers:
        difference = None if own in layers.values() else _difference(model, own, layer)
        if difference:
            raise CannotMatch(f"the model's parameters cannot be matched to the recipe's: {difference}")


def _check_all_taken(found: Mapping[str, Match], wanted: Shapes, model: Model) -> None:
    """Nothing may be left; buffers may that are no running averages of the recipe's."""
    taken = {path for m in found.values() for path in m.paths}
    for path, shape in model.tensors.items():
        if path not in taken and path not in model.averages:
            raise CannotMatch(told(f"the model's {path} {shape} is none of the recipe's", wanted, model.tensors))
