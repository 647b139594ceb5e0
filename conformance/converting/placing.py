"""Where the tensors of a model's layers are in a file, by the tables of how frameworks' layers keep them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from conformance.converting.biases import OF_CANDIDATE, Kept, added, is_lost, kept_of, parted
from conformance.converting.formats import Format, plain, without_numbers
from conformance.converting.model_layers import RECURRENT, ModelLayer
from conformance.data.files import DataError
from conformance.data.wording import cut, listed
from conformance.problems.tensors import Tensors
from conformance.wrappers.layouts import LayerLayout, OwnLayer, Source, sources
from conformance.wrappers.matching import Match, made
from conformance.wrappers.recipe_layers import RecipeLayer, Shape

MOST_SHOWN = 12  # tensors of a file in a message


class Placed(NamedTuple):
    """A layer, in one direction, as a framework keeps it: its kind there, its tensors by leaf, the recipe's in them.

    ``shapes`` are those of the framework's tensors, by their names in the file; ``kept`` what it keeps of the recipe's.
    """

    model: ModelLayer
    kind: str
    names: Mapping[str, str]
    shapes: Mapping[str, Shape]
    matches: tuple[Match, ...]
    kept: Kept

    @property
    def layer(self) -> RecipeLayer:
        """The recipe's."""
        return self.model.layer

    def tensors_of(self, name: str) -> str:
        """The tensors of the file that a parameter of the recipe's layer is in, and how it is turned."""
        names = ("b", OF_CANDIDATE) if name == "b_h" and self.kept.is_added else (name,)
        found = [match for match in self.matches if match.name in names]
        words = [found[0].form, "b and b_h added" if self.kept.is_added and name in ("b", "b_h") else ""]
        said = ", ".join(filter(None, words))
        return ", ".join(path for match in found for path in match.paths) + (f" ({said})" if said else "")


def placed_in(form: Format, layers: list[ModelLayer], tensors: Tensors, file: str) -> list[Placed]:
    """Each of the layers, in each direction, among the tensors of a file.

    By the names that a plain series of the framework's layers has, else by leaf and shape, those alike in their order.
    Raises DataError where it cannot be told, and for a tensor of none.
    """
    layers = [one for layer in layers for one in layer.in_each_direction]
    groups = form.grouped(tensors)
    found = list(_of_plain_names(form, layers, groups, tensors))
    if not len(found) == len(layers) == len(groups):
        found = _of_any_names(form, layers, groups, tensors, file)
    taken = {name for each in found for name in each.shapes}
    over = [name for name in tensors if form.normal(name) and name not in taken]
    if over:
        raise DataError(
            f"{file}: {listed(over[:MOST_SHOWN])} is of no layer of the recipe's; allowed: {_asked(layers)}"
        )
    return found


def _of_any_names(
    form: Format, layers: list[ModelLayer], groups: Mapping[str, Mapping[str, str]], tensors: Tensors, file: str
) -> list[Placed]:
    """The layers by leaf and shape, those alike in their order."""
    found, free, left = dict[int, Placed](), dict(groups), dict(enumerate(layers))
    while left:
        first = next(iter(left.values())).layer
        alike = {place: one for place, one in left.items() if _are_alike(one.layer, first)}
        fitting = {path: _as_layer(form, next(iter(alike.values())), free[path], tensors) for path in free}
        paths = [path for path, placed in fitting.items() if placed]
        if len(paths) != len(alike):
            raise DataError(_untold(form, file, list(alike.values()), free, paths, tensors))
        _check_order(file, paths, first)
        for (place, one), path in zip(alike.items(), paths, strict=True):
            placed = _as_layer(form, one, free[path], tensors)
            if placed is None:
                raise DataError(_untold(form, file, [one], free, [], tensors))
            found[place] = placed
            del free[path], left[place]
    return [found[place] for place in range(len(layers))]


def _are_alike(one: RecipeLayer, other: RecipeLayer) -> bool:
    """Whether nothing but their order tells one from the other; a GRU's reset gate is told by its biases."""
    words = [(each.name, each.parameters, each.keywords.get("reset")) for each in (one, other)]
    return words[0] == words[1]


def _check_order(file: str, paths: list[str], layer: RecipeLayer) -> None:
    """Raise DataError for layers that are alike and have no numbers, so that nothing says which is first."""
    if len({without_numbers(path) for path in paths}) > 1:
        raise DataError(
            f"{file}: has {listed(paths[:MOST_SHOWN])}, all like {layer.name} {dict(layer.parameters)}: which is which"
            " cannot be told; allowed: paths that differ in numbers alone, as 0 and 2 do"
        )


def _of_plain_names(
    form: Format, layers: list[ModelLayer], groups: Mapping[str, Mapping[str, str]], tensors: Tensors
) -> Iterator[Placed]:
    """The layers whose tensors are called as those of a plain series of the framework's layers are."""
    counts: Counter[str] = Counter()
    by_path = {plain(path): leaves for path, leaves in groups.items()}
    for model in layers:
        for kind, layout in form.layouts.items():
            if not _refusal(form, kind, layout, model.layer):
                leaves = by_path.get(plain(form.path(kind, model, counts)), {})
                placed = _as_layer(form, model, leaves, tensors)
                if placed is not None:
                    yield placed
                break


def _as_layer(form: Format, model: ModelLayer, leaves: Mapping[str, str], tensors: Tensors) -> Placed | None:
    """A group of tensors as a layer, if all of it is that and nothing else."""
    placed = _with_shapes(form, model, leaves, tensors)
    return placed if placed and not _not_taken(placed, tensors) else None


def _with_shapes(form: Format, model: ModelLayer, leaves: Mapping[str, str], tensors: Tensors) -> Placed | None:
    """A group of tensors as the first kind of layer whose leaves and shapes it has."""
    shapes = {name: tensors[name].shape for name in leaves.values()}
    for kind, layout in form.layouts.items():
        if _refusal(form, kind, layout, model.layer):
            continue
        kept, expected = kept_of(model.layer, layout), _own_shapes(layout, model.layer, may_lack_biases=False)
        if any(shapes[name] != expected.get(leaf) for leaf, name in leaves.items()):
            continue
        where = _sources(layout, model.layer, leaves, shapes)
        if {name: source.places.shape for name, source in where.items() if name in kept.parameters} == kept.parameters:
            return _placed(model, kind, leaves, shapes, where, kept)
    return None


def _sources(
    layout: LayerLayout, layer: RecipeLayer, leaves: Mapping[str, str], shapes: Mapping[str, Shape]
) -> dict[str, Source]:
    return sources(layout, OwnLayer("", "", leaves, ""), shapes, layer)


def _placed(
    model: ModelLayer, kind: str, leaves: Mapping[str, str], shapes: Mapping[str, Shape],
    where: Mapping[str, Source], kept: Kept,
) -> Placed:  # fmt: skip
    matches = tuple(made(name, shape, where[name], shapes, "") for name, shape in kept.parameters.items())
    return Placed(model, kind, leaves, shapes, matches, kept)


def _not_taken(placed: Placed, tensors: Tensors) -> list[str]:
    """The tensors of a layer that the recipe has no place for; a number that is 0 may be left."""
    taken: Tensors = {}
    for match in placed.matches:
        match.put(np.ones(match.shape), taken)
    left = {name: tensors[name][taken.get(name, np.zeros(shape)) == 0] for name, shape in placed.shapes.items()}
    return [name for name, numbers in left.items() if numbers.any()]


def place_for(form: Format, layers: list[ModelLayer]) -> list[Placed]:
    """Each of the layers, in each direction, as a framework keeps it. Raises DataError where it has no counterpart."""
    counts: Counter[str] = Counter()
    found = []
    for model in (one for layer in layers for one in layer.in_each_direction):
        kind = _kind_for(form, model.layer)
        layout = form.layouts[kind]
        path = form.path(kind, model, counts)
        own = _own_shapes(layout, model.layer, may_lack_biases=form.may_lack_biases)
        leaves = {leaf: form.written(path, leaf) for leaf in own}
        shapes = {leaves[leaf]: shape for leaf, shape in own.items()}
        where = _sources(layout, model.layer, leaves, shapes)
        found.append(_placed(model, kind, leaves, shapes, where, kept_of(model.layer, layout)))
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
    if layer.name == "convolution":
        both = all(np.max(layer.keywords[name]) > 1 for name in ("stride", "dilation"))
        if both and form.strides_or_dilates:
            return "has a stride or a dilation, not both"
        return _refused_kernel(kind, layer.parameters["W"])
    lacking = [name for name in kept_of(layer, layout).parameters if name not in layout.parameters]
    if lacking:
        return f"keeps no {', '.join(lacking)}"
    own = "before" if kind == "GRU(reset_after=False)" else "after"
    if layer.name == "gru" and own != layer.keywords["reset"]:
        return f"applies its reset gate {own} the product, the recipe {layer.keywords['reset']}"
    if kind == "MultiheadAttention" and len(set(layer.parameters["W_q"])) > 1:
        inner, width = layer.parameters["W_q"]
        return f"has heads of {width} numbers together, as many as it takes, the recipe {inner}"
    return ""


def _refused_kernel(kind: str, kernel: Shape) -> str:
    """Why a convolution is not of a ``kernel``, or nothing."""
    axes = next((int(letter) for letter in kind if letter.isdecimal()), len(kernel) - 2)  # by name, as Conv2D
    if axes != len(kernel) - 2:
        return f"has a kernel of {axes} axes"
    return "takes each channel alone" if kind.startswith("Depthwise") and kernel[-1] != 1 else ""


def _own_shapes(layout: LayerLayout, layer: RecipeLayer, *, may_lack_biases: bool) -> dict[str, Shape]:
    """The shapes of a framework's own tensors by leaf; of a recurrent layer also of biases that the recipe lacks.

    ``may_lack_biases``: if the recipe has none at all, there are none.
    """
    found: dict[str, Shape] = {}
    shapes = kept_of(layer, layout).parameters
    parts = int(layer.keywords.get("heads", layer.keywords.get("groups", 1)))
    if layer.name in RECURRENT and ("b" in shapes or not may_lack_biases):
        rows, units = layer.parameters["U"]
        shapes = {"b": (rows,), "b_h": (rows,), OF_CANDIDATE: (units,), **shapes}
    for name, (leaf, turn) in layout.parameters.items():
        if name in shapes:
            gates = str(layer.keywords.get("gates", "")) if "{}" in leaf else ""
            rows, *columns = shapes[name]
            for gate in gates or [""]:
                found[leaf.format(gate)] = turn.own((rows // max(1, len(gates)), *columns), parts)
    return found


def to_file(form: Format, placed: list[Placed], tensors: Tensors) -> Tensors:
    """A model's tensors as those of a file; what the recipe lacks of a layer is 0.

    Raises DataError for a second bias that is no part of a sum.
    """
    found: Tensors = {}
    for each in placed:
        given = each.model.of(tensors)
        if is_lost(each.layer, each.kept, given):
            raise DataError(
                f"{each.layer} has no counterpart: its second bias is not 0 for the candidate n, where the reset gate"
                f" is applied to it, and {form.title}'s {each.kind} keeps none there"
            )
        own = added(each.layer, each.kept, given)
        for match in each.matches:
            match.put(np.asarray(own[match.name]), found)
        dtype = found[each.matches[0].path].dtype
        found |= {name: np.zeros(shape, dtype) for name, shape in each.shapes.items() if name not in found}
    return found


def sums(placed: list[Placed], tensors: Tensors) -> list[tuple[str, str]]:
    """The two biases of each layer that are added and are not 0, by the recipe's names."""
    found = []
    for each in placed:
        given = each.model.of(tensors)
        if each.kept.is_added and (added(each.layer, each.kept, given)["b"] != given["b"]).any():
            found.append((each.model.names["b"], each.model.names["b_h"]))
    return found


def from_file(placed: list[Placed], tensors: Tensors) -> Tensors:
    """The tensors of a file as a model's, by the recipe's names."""
    found: Tensors = {}
    for each in placed:
        own = parted(each.layer, each.kept, {match.name: match.of(tensors) for match in each.matches})
        found |= {name: np.ascontiguousarray(own[own_name]) for own_name, name in each.model.names.items()}
    return found


def _asked(layers: list[ModelLayer]) -> str:
    return ", ".join(f"{each.layer.name} {dict(each.layer.parameters)}" for each in layers)


def _untold(
    form: Format, file: str, alike: list[ModelLayer], free: Mapping[str, Mapping[str, str]], fitting: list[str],
    tensors: Tensors,
) -> str:  # fmt: skip
    """What is said where a file has more or fewer layers of a kind than the recipe."""
    layer = alike[0].layer
    reasons = [
        f"{form.title}'s {kind} {reason}" for kind, layout in form.layouts.items()
        if layout.layer == layer.name and (reason := _refusal(form, kind, layout, layer))
    ]  # fmt: skip
    reasons += list(_second_biases(form, alike[0], free, tensors))
    there = listed([f"{cut(name)} {value.shape}" for name, value in tensors.items()][:MOST_SHOWN])
    there = there or "no tensor of floating-point numbers with such a name"
    why = f" ({'; '.join(reasons)})" if reasons and not fitting else ""
    return (
        f"{file}: has {len(fitting)} layers like {layer.name} {dict(layer.parameters)}; allowed: {len(alike)}, as the"
        f" recipe has{why}. The file has {there}"
    )


def _second_biases(
    form: Format, model: ModelLayer, free: Mapping[str, Mapping[str, str]], tensors: Tensors
) -> Iterator[str]:
    """What a group of tensors has more of than a layer that it is otherwise."""
    for leaves in free.values():
        placed = _with_shapes(form, model, leaves, tensors)
        if placed:
            more = f": biases = {model.layer.keywords['biases'] + 1} has" if model.layer.name in RECURRENT else ""
            yield f"{listed(_not_taken(placed, tensors))} is not 0, and the recipe has no place for it{more}"
