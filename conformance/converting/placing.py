"""Where the tensors of a model's layers are in a file, by the tables of how frameworks' layers keep them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from conformance.converting.formats import Format
from conformance.converting.model_layers import ModelLayer
from conformance.data.files import DataError
from conformance.data.wording import cut, listed
from conformance.problems.tensors import Array, Tensors
from conformance.wrappers.layouts import (
    AS_IT_IS,
    INPUTS_LAST,
    OUTPUTS_FIRST,
    TRANSPOSED,
    LayerLayout,
    OwnLayer,
    Source,
    Turn,
    sources,
)
from conformance.wrappers.matching import Match, made
from conformance.wrappers.recipe_layers import RecipeLayer, Shape

_BACK: dict[Turn, Callable[[Shape], Shape]] = {  # the shape of an own tensor, of that of the recipe's
    AS_IT_IS: lambda s: s,
    TRANSPOSED: lambda s: s[::-1],
    INPUTS_LAST: lambda s: (s[0], s[-1], *s[1:-1]),
    OUTPUTS_FIRST: lambda s: (*s[1:], s[0]),
}
MOST_SHOWN = 12  # tensors of a file in a message
_RECURRENT = ("simple_rnn", "lstm", "gru")
CONVERTED = ("dense", "convolution", "batch_norm", "layer_norm", "embedding", *_RECURRENT)


class Placed(NamedTuple):
    """A layer as a framework keeps it: its kind there, its tensors by leaf, and where the recipe's are in them.

    ``shapes`` are those of the framework's tensors, by their names in the file.
    """

    model: ModelLayer
    kind: str
    names: Mapping[str, str]
    shapes: Mapping[str, Shape]
    matches: tuple[Match, ...]


def placed_in(form: Format, layers: list[ModelLayer], tensors: Tensors, file: str) -> list[Placed]:
    """Each of the layers among the tensors of a file: by leaf and shape, those alike in their order.

    Raises DataError where it cannot be told, and for a tensor of none.
    """
    groups, found = form.grouped(tensors), dict[str, Placed]()
    free, left = dict(groups), list(layers)
    while left:
        first = left[0].layer
        alike = [each for each in left if (each.layer.name, each.layer.parameters) == (first.name, first.parameters)]
        fitting = [path for path in free if _as_layer(form, alike[0], free[path], tensors)]
        if len(fitting) != len(alike):
            raise DataError(_untold(form, file, alike, fitting, tensors))
        for each, path in zip(alike, fitting, strict=True):
            placed = _as_layer(form, each, free.pop(path), tensors)
            assert placed is not None
            found[each.place] = placed
        left = [each for each in left if each not in alike]
    over = [name for leaves in free.values() for name in leaves.values()]
    over += [name for name in tensors if form.normal(name) and not any(name in g.values() for g in groups.values())]
    if over:
        raise DataError(
            f"{file}: {listed(over[:MOST_SHOWN])} is of no layer of the recipe's; allowed: {_asked(layers)}"
        )
    return [found[each.place] for each in layers]


def _as_layer(form: Format, model: ModelLayer, leaves: Mapping[str, str], tensors: Tensors) -> Placed | None:
    """A group of tensors as a layer, if all of it is that and nothing else."""
    shapes = {name: tensors[name].shape for name in leaves.values()}
    for kind, layout in form.layouts.items():
        if _refusal(form, kind, layout, model.layer):
            continue
        own = OwnLayer("", kind, leaves, kind)
        where = _fitting(layout, own, shapes, model.layer)
        if where is None:
            continue
        matches = tuple(made(name, model.layer.parameters[name], source, shapes, "") for name, source in where.items())
        if _is_all(matches, leaves, tensors):
            return Placed(model, kind, leaves, shapes, matches)
    return None


def _is_all(matches: tuple[Match, ...], leaves: Mapping[str, str], tensors: Tensors) -> bool:
    """Whether what the recipe takes of a layer's tensors is all of them; a number that is 0 may be left."""
    taken: Tensors = {}
    for match in matches:
        match.put(np.ones(match.shape), taken)
    return all(not tensors[n][taken.get(n, np.zeros(tensors[n].shape)) == 0].any() for n in leaves.values())


def _fitting(
    layout: LayerLayout, own: OwnLayer, shapes: Mapping[str, Shape], layer: RecipeLayer
) -> dict[str, Source] | None:
    """Where a recipe's parameters are in an own layer's, if they are all there and of their shapes."""
    try:
        found = sources(layout, own, shapes, layer)
    except (ValueError, IndexError):  # turned so, it is no such tensor
        return None
    where = {name: source for name, source in found.items() if name in layer.parameters}
    same = {name: source.places.shape for name, source in where.items()} == dict(layer.parameters)
    return where if same else None


def place_for(form: Format, layers: list[ModelLayer]) -> list[Placed]:
    """Each of the layers as a framework would keep it. Raises DataError for one that it has no counterpart of."""
    counts: dict[str, int] = {}
    found = []
    for model in layers:
        kind = _kind_for(form, model.layer)
        shapes = _own_shapes(form.layouts[kind], model.layer)
        path = form.path(kind, model.place, counts.get(kind, 0))
        counts[kind] = counts.get(kind, 0) + 1
        leaves = {leaf: form.written(path, leaf) for leaf in shapes}
        own = OwnLayer(path, kind, leaves, kind)
        by_name = {leaves[leaf]: shape for leaf, shape in shapes.items()}
        where = sources(form.layouts[kind], own, by_name, model.layer)
        matches = tuple(made(name, shape, where[name], by_name, "") for name, shape in model.layer.parameters.items())
        found.append(Placed(model, kind, leaves, by_name, matches))
    return found


def _kind_for(form: Format, layer: RecipeLayer) -> str:
    """The framework's layer that a recipe's is. Raises DataError, with why the nearest is not."""
    reasons = []
    for kind, layout in form.layouts.items():
        if layout.layer == layer.name:
            reason = _refusal(form, kind, layout, layer)
            if not reason:
                return kind
            reasons.append(f"{form.title}'s {kind} {reason}")
    why = "; ".join(reasons) or f"{form.title} has no such layer in the tables"
    raise DataError(f"{layer} has no counterpart: {why}")


def _refusal(form: Format, kind: str, layout: LayerLayout, layer: RecipeLayer) -> str:
    """Why a framework's layer cannot be a recipe's, or nothing."""
    if layout.layer != layer.name:
        return "is another layer"
    if layer.name not in CONVERTED:
        return "is not converted here"
    if layout.refused:
        return layout.refused
    if layer.directions:
        return "is converted in one direction alone"
    lacking = [name for name in layer.parameters if name not in layout.parameters]
    if lacking:
        return f"keeps no {', '.join(lacking)}"
    axes = _axes(kind)
    if layer.name == "convolution" and axes and axes != len(layer.parameters["W"]) - 2:
        return f"has a kernel of {axes} axes"
    if kind.startswith("Depthwise"):
        return "keeps a kernel by channel"
    own = "before" if kind == "GRU(reset_after=False)" else "after"
    if layer.name == "gru" and own != layer.keywords["reset"]:
        return f"applies its reset gate {own} the product, the recipe {layer.keywords['reset']}"
    return ""


def _axes(kind: str) -> int:
    """The axes that a kernel has by the name of its layer, ``Conv2D``; 0 where that does not say."""
    return next((int(letter) for letter in kind if letter.isdecimal()), 0)


def _own_shapes(layout: LayerLayout, layer: RecipeLayer) -> dict[str, Shape]:
    """The shapes of a framework's own tensors by leaf; of a recurrent layer also of biases that the recipe lacks."""
    found: dict[str, Shape] = {}
    rows = layer.parameters["W"][:1] if "W" in layer.parameters else ()
    for name, (leaf, turn) in layout.parameters.items():
        if name not in layer.parameters and layer.name not in _RECURRENT:
            continue
        shape = layer.parameters.get(name, rows)
        gates = str(layer.keywords.get("gates", "")) if "{}" in leaf else ""
        for gate in gates or [""]:
            found[leaf.format(gate)] = _own_shape(turn, (shape[0] // len(gates), *shape[1:]) if gates else shape)
    return found


def _own_shape(turn: Turn, shape: Shape) -> Shape:
    """The shape of a tensor that ``turn`` makes one of ``shape`` of; a row is one of two."""
    return _BACK[turn](shape) if turn in _BACK else (2, *shape)


def to_file(placed: list[Placed], tensors: Tensors) -> Tensors:
    """A model's tensors as those of a file; what the recipe lacks of a layer is 0."""
    found: Tensors = {}
    for each in placed:
        for match in each.matches:
            match.put(np.asarray(tensors[each.model.names[match.name]]), found)
        dtype = found[each.matches[0].path].dtype
        found |= {name: np.zeros(shape, dtype) for name, shape in each.shapes.items() if name not in found}
    return found


def from_file(placed: list[Placed], tensors: Tensors) -> Tensors:
    """The tensors of a file as a model's, by the recipe's names."""
    return {each.model.names[match.name]: _whole(match.of(tensors)) for each in placed for match in each.matches}


def _whole(value: Array) -> Array:
    return np.ascontiguousarray(value)


def _asked(layers: list[ModelLayer]) -> str:
    return ", ".join(f"{each.layer.name} {dict(each.layer.parameters)}" for each in layers)


def _untold(form: Format, file: str, alike: list[ModelLayer], fitting: list[str], tensors: Tensors) -> str:
    """What is said where a file has more or fewer layers of a kind than the recipe."""
    layer = alike[0].layer
    reasons = [
        f"{form.title}'s {kind} {reason}" for kind, layout in form.layouts.items()
        if layout.layer == layer.name and (reason := _refusal(form, kind, layout, layer))
    ]  # fmt: skip
    there = listed([f"{cut(name)} {value.shape}" for name, value in tensors.items()][:MOST_SHOWN])
    there = there or "no tensor of floating-point numbers with such a name"
    why = f" ({'; '.join(reasons)})" if reasons and not fitting else ""
    return (
        f"{file}: has {len(fitting)} layers like {layer.name} {dict(layer.parameters)}; allowed: {len(alike)}, as the"
        f" recipe has{why}. The file has {there}"
    )
