"""A user's Flax model and the layers of a recipe: its modules as layers that the tables know, what they compute.

Functions, as Flax has for activations and pools, are not seen; what they give is, where the next layer takes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from conformance.wrappers.jax_calls import Call
from conformance.wrappers.layer_calls import counted_calls, layers_by_call
from conformance.wrappers.layouts import LayerLayout, OwnLayer
from conformance.wrappers.matching import Match, Matching
from conformance.wrappers.recipe_layers import DIRECTIONS, RecipeLayer, Shape


def own_layers(
    modules: Mapping[str, Any],
    table: Mapping[str, LayerLayout],
    names: Sequence[str],
    parts: Mapping[str, Mapping[str, str]],
) -> list[OwnLayer]:
    """The layers that a table knows among a model's ``modules``, by path, in the order in which they are used.

    A recurrent cell is one with what leads it through the steps. ``names``: the paths of parameters and running
    averages, in the order in which they are used; ``parts``: by a module's path those of its cells by direction, or its
    own.
    """
    found = [own for path, module in modules.items() for own in _own_layer(path, module, table, names, parts[path])]
    kept: list[OwnLayer] = []
    taken: set[str] = set()
    for own in sorted(found, key=lambda own: (-len(own.leaves), kind_in(table, modules[own.path]) != "")):
        if taken.isdisjoint(own.leaves.values()):  # else it is inside of another
            kept.append(own)
            taken |= {*own.leaves.values()}
    return sorted(kept, key=lambda own: min(names.index(name) for name in own.leaves.values()))


def _own_layer(
    path: str, module: Any, table: Mapping[str, LayerLayout], names: Sequence[str], parts: Mapping[str, str]
) -> Iterator[OwnLayer]:
    led = cells(module)
    kind = kind_in(table, next(iter(led.values()), module))
    leaves: dict[str, str] = {}
    for direction, outer in parts.items():
        inside = f"{outer}."
        owned = {name.removeprefix(inside).replace("_.", "."): name for name in names if name.startswith(inside)}
        leaves |= {".".join(filter(None, (direction, leaf))): name for leaf, name in owned.items()}
    if kind and leaves:
        turned = bool(getattr(module, "reverse", False) and not getattr(module, "keep_order", False))
        shown = f"{type(module).__name__}({kind})" if led else kind
        yield OwnLayer(path, kind, leaves, f"Flax's {shown} {path!r}", backwards=turned)


def cells(module: Any) -> dict[str, Any]:
    """The cells that a module leads through the steps, by direction; {} for any other."""
    rnns = [getattr(module, f"{direction}_rnn", None) for direction in DIRECTIONS]
    if all(hasattr(rnn, "cell") for rnn in rnns):
        return {direction: rnn.cell for direction, rnn in zip(DIRECTIONS, rnns, strict=True) if rnn is not None}
    return {"": module.cell} if hasattr(module, "cell") else {}


def kind_in(table: Mapping[str, LayerLayout], module: Any) -> str:
    """What a table of Flax's layers calls a module, or nothing; its own class counts, and one that is derived of it."""
    of_flax = (made.__name__ for made in type(module).__mro__ if made.__module__.startswith("flax."))
    return next((name for name in of_flax if name in table), "")


def values_inside(matching: Matching, calls: Sequence[Call], dropouts: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """What a model's modules were given and gave in ``calls``, by the names that the recipe's network has for it.

    ``dropouts``: the paths of those that drop units.
    """
    own_paths = {own.path for own in matching.layers.values()}
    known = [call for call in calls if call.path in own_paths or call.path in dropouts]
    counted = list(counted_calls([(call.path, "dropout" if call.path in dropouts else "") for call in known]))
    layers = layers_by_call(matching.recipe, matching.layers, counted)
    for call, place in zip(known, counted, strict=True):
        for layer in layers.get((place.path, place.before), []):
            yield from _like(layer.input, call.given, layer.input_shape)
            yield from _given(layer, matching.layers.get(layer.path), call.returned)


def _given(layer: RecipeLayer, own: OwnLayer | None, returned: Any) -> Iterator[tuple[str, Any]]:
    """What a module gives for the recipe's layer that it is."""
    whole = returned[-1] if isinstance(returned, tuple) else returned  # of a recurrent one after its last state
    whole = jnp.flip(whole, 1) if own is not None and own.backwards else whole
    if "return_sequences" not in layer.keywords:
        yield from _like(layer.output, whole, layer.shape)
        return
    states = jnp.split(whole, 2, axis=-1) if layer.directions else [whole]
    names = [f"{layer.path}.{direction}.h" for direction in layer.directions] or [f"{layer.path}.h"]
    yield from zip(names, states, strict=True)
    if layer.keywords["return_sequences"] and layer.keywords.get("join") != "sum":
        yield from _like(layer.output, whole, layer.shape)


def _like(name: str, value: Any, shape: Shape) -> Iterator[tuple[str, Any]]:
    """A value by name, if it has one and is like the recipe's."""
    if name and jnp.issubdtype(jnp.result_type(value), jnp.floating) and jnp.shape(value)[1:] == shape:
        yield name, value


def of_recipe(match: Match, tensors: Mapping[str, Any]) -> Any:
    """The recipe's tensor, of the model's by path; also while JAX traces."""
    return jnp.concatenate([jnp.ravel(tensors[path]) for path in match.paths])[match.places]


def put_back(match: Match, value: Any, into: dict[str, Any]) -> None:
    """Put the recipe's tensor where it belongs in the model's."""
    start = 0
    for path in match.paths:
        flat = jnp.ravel(into[path])
        there = (match.places >= start) & (match.places < start + flat.size)
        into[path] = flat.at[match.places[there] - start].set(value[np.nonzero(there)]).reshape(into[path].shape)
        start += flat.size
