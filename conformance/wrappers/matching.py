"""A model's own parameters matched to the recipe's names: by what the user says, by name, path, order and shape.

Own parameters go by their paths, parts joined by dots: ``"0.weight"``, ``"encoder.dense.kernel"``. The last part is the
leaf; parameters with the same path but for the leaf belong to one layer.

>>> print(match({"W1": (3, 2), "b1": (3,)}, {"0.weight": (3, 2), "0.bias": (3,)}))
W1  (3, 2)  0.weight  (3, 2)  by order
b1  (3,)    0.bias    (3,)    by path
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from conformance.adapters.guarded import NotOffered
from conformance.data.wording import listed, nearest, shown
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, TensorKind, Tensors, layer_of, named, places

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

TRANSPOSED = ".T"  # what the user ends a path with whose tensor is the other way round
_SCALES = ("scale", "gamma", "weight", "g")
_SHIFTS = ("shift", "beta", "offset")
# A tensor of the first kind stands beside one of the second in the same layer.
_BESIDE: dict[TensorKind, TensorKind] = {
    "bias": "weight", "shift": "scale", "running mean": "scale", "running variance": "scale",
}  # fmt: skip
_KINDS: tuple[TensorKind, ...] = (
    "weight", "scale", "bias", "shift", "running mean", "running variance",
)  # fmt: skip


class CannotMatch(ValueError):
    """Raised where a model's parameters cannot be told apart, or are not those that the recipe has."""


class Match(NamedTuple):
    """One of the recipe's tensors and the model's: ``how`` they were matched, ``transposed`` if it is turned over."""

    name: str
    path: str
    shape: Shape
    own_shape: Shape
    transposed: bool
    how: str

    def to_own(self, value: Array) -> Array:
        """A value of the recipe's tensor as the model has it."""
        return np.ascontiguousarray(value.T) if self.transposed else value.reshape(self.own_shape)

    def to_recipe(self, value: Array) -> Array:
        """A value of the model's tensor as the recipe has it; NOT_OFFERED is what it is."""
        if isinstance(value, NotOffered):
            return value
        return np.ascontiguousarray(value.T) if self.transposed else value.reshape(self.shape)


@dataclass(frozen=True)
class Matching:
    """Which of the model's tensors is which of the recipe's; as text, a table of it.

    ``left_out``: the paths of biases that the recipe does not have, as batch norm takes them away. They are held at 0.
    """

    matches: tuple[Match, ...]
    left_out: tuple[str, ...] = ()
    _by_name: dict[str, Match] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {match.name: match for match in self.matches})

    def __getitem__(self, name: str) -> Match:
        """The match of the recipe's tensor ``name``."""
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def to_own(self, tensors: Tensors) -> Tensors:
        """Tensors by the recipe's names, by the model's paths."""
        return {self[name].path: self[name].to_own(value) for name, value in tensors.items()}

    def to_recipe(self, values: Tensors) -> Tensors:
        """Tensors by the model's paths, by the recipe's names, those that ``values`` has."""
        return {m.name: m.to_recipe(values[m.path]) for m in self.matches if m.path in values}

    def __str__(self) -> str:
        rows = [
            (m.name, str(m.shape), m.path, str(m.own_shape), f"{m.how}{', transposed' if m.transposed else ''}")
            for m in self.matches
        ]
        rows += [("", "", path, "", "held at 0: batch norm takes a bias away") for path in self.left_out]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


def wanted_shapes(problem: Problem) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """The shapes of the parameters that a problem's model has, and of its running averages, by name."""
    parameters: dict[str, Shape] = {name: w.shape for name, w in problem.tape.initial_parameters.items()}
    normalization, statistics = problem.recipe.model.normalization, dict[str, Shape]()
    if normalization is not None and normalization.name == "batch_norm":
        for layer in range(1, problem.depth):
            for kind in ("running mean", "running variance"):
                statistics[named(kind, layer)] = parameters[named("scale", layer)]
    return parameters, statistics


def match(
    wanted: Shapes, own: Shapes, names: Mapping[str, str] | None = None, *, inputs_first: bool = False
) -> Matching:
    """Match the recipe's tensors ``wanted`` to a model's ``own``, both given by their shapes.

    ``names`` says of some which is which, ``{"W1": "0.weight"}``, with ``".T"`` after the path of one that is the other
    way round. ``inputs_first``: whether this framework keeps weights as (inputs, outputs), which counts where a shape
    does not tell. Raises CannotMatch where it cannot be told, with what to say.
    """
    found = {m.name: m for m in _said(wanted, own, names or {}, inputs_first)}
    taken = {m.path for m in found.values()}
    left = {path: shape for path, shape in own.items() if path not in taken}
    lacking = {name: shape for name, shape in wanted.items() if name not in found}
    if lacking.keys() <= left.keys() and all(_fits(lacking[name], left[name]) for name in lacking):
        found |= {name: _made(name, name, lacking, left, inputs_first, "by name") for name in lacking}
    else:
        _by_kinds(found, lacking, left, inputs_first, wanted, own)
    taken = {m.path for m in found.values()}
    left_out = tuple(path for path in own if path not in taken)
    _check_left_out(left_out, found, wanted, own)
    return Matching(tuple(found[name] for name in wanted), left_out)


def _said(wanted: Shapes, own: Shapes, names: Mapping[str, str], inputs_first: bool) -> Iterator[Match]:
    """What the user says."""
    for name, said in names.items():
        if name not in wanted:
            raise CannotMatch(
                f"names: {shown(name)} is not allowed: must be one of {listed(wanted)}{nearest(name, wanted)}"
            )
        turned = said not in own and said.endswith(TRANSPOSED)
        path = said.removesuffix(TRANSPOSED) if turned else said
        if path not in own:
            raise CannotMatch(
                f"names[{name!r}]={shown(said)} is not allowed: must be one of {listed(own)}{nearest(path, own)}"
            )
        shape, own_shape = wanted[name], own[path]
        if turned and own_shape == shape[::-1]:
            yield Match(name, path, shape, own_shape, True, "as said")
        elif not turned and (_fits(shape, own_shape) or _squeezed(shape) == _squeezed(own_shape)):
            yield _made(name, path, wanted, own, inputs_first, "as said")
        else:
            raise CannotMatch(f"names[{name!r}]={shown(said)} has shape {own_shape}: must be {shape}")


def _by_kinds(
    found: dict[str, Match], lacking: Shapes, left: Shapes, inputs_first: bool, wanted: Shapes, own: Shapes
) -> None:
    """Add the matches of what is ``lacking`` among what is ``left``: weights and scales first, then what is beside."""
    kinds = places(max(map(layer_of, wanted), default=1))
    own_kinds = {path: kind_of(path, own) for path in left}
    for kind in _KINDS:
        names = [name for name in lacking if kinds[name].kind == kind]
        paths = [path for path in left if own_kinds[path] == kind]
        if kind in _BESIDE:
            for name in list(names):
                partner = named(_BESIDE[kind], kinds[name].layer)
                beside = [p for p in paths if partner in found and _layer(p) == _layer(found[partner].path)]
                if len(beside) == 1 and _fits(lacking[name], left[beside[0]]):
                    found[name] = _made(name, beside[0], lacking, left, inputs_first, "by path")
                    names.remove(name)
                    paths.remove(beside[0])
        for name, path, how in _assigned(names, paths, lacking, left, wanted, own):
            found[name] = _made(name, path, lacking, left, inputs_first, how)


def _assigned(
    names: list[str], paths: list[str], lacking: Shapes, left: Shapes, wanted: Shapes, own: Shapes
) -> Iterator[tuple[str, str, str]]:
    """Names and paths of one kind: in their order if all shapes agree with it, else in that of each shape alone."""
    pairs = list(zip(names, paths, strict=False))
    if len(names) == len(paths) and all(_fits(lacking[name], left[path]) for name, path in pairs):
        yield from ((name, path, "by order") for name, path in pairs)
        return
    for name in names:
        alike = [other for other in names if _fits(lacking[name], lacking[other])]
        fitting = [path for path in paths if _fits(lacking[name], left[path])]
        if len(alike) != len(fitting):
            why = f"it may be {' or '.join(map(repr, fitting))}" if fitting else "none of the model's is like it"
            raise CannotMatch(_told(f"{name} {lacking[name]} cannot be told: {why}", wanted, own, name, fitting))
        yield name, fitting[alike.index(name)], "by shape"


def kind_of(path: str, own: Shapes) -> TensorKind | None:
    """What a model's tensor is, by its shape, its leaf and what is in its layer with it; None for none of a recipe's.

    >>> kind_of("bn.weight", {"bn.weight": (3,), "bn.bias": (3,)}), kind_of("0.bias", {"0.bias": (3,), "0.w": (3, 2)})
    ('scale', 'bias')
    """
    leaf, dimensions = path.rpartition(".")[2].lower(), len(own[path])
    if dimensions == 2:
        return "weight"
    if dimensions != 1:
        return None
    if "mean" in leaf:
        return "running mean"
    if "var" in leaf:
        return "running variance"
    matrices = sum(len(shape) == 2 for other, shape in own.items() if _layer(other) == _layer(path))
    if matrices == 1:
        return "bias"
    if leaf.rstrip("0123456789_") in _SCALES:
        return "scale"
    return "shift" if not matrices or leaf.rstrip("0123456789_") in _SHIFTS else "bias"


def _made(name: str, path: str, wanted: Shapes, own: Shapes, inputs_first: bool, how: str) -> Match:
    shape, own_shape = wanted[name], own[path]
    square = len(shape) == 2 and shape[0] == shape[1]
    turned = inputs_first if square else own_shape != shape and own_shape == shape[::-1]
    return Match(name, path, shape, own_shape, turned, how)


def _fits(shape: Shape, own_shape: Shape) -> bool:
    return own_shape == shape or (len(shape) == 2 and own_shape == shape[::-1])


def _squeezed(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _layer(path: str) -> str:
    return path.rpartition(".")[0]


def _check_left_out(left_out: tuple[str, ...], found: Mapping[str, Match], wanted: Shapes, own: Shapes) -> None:
    """Nothing may be left but the biases of layers with batch norm."""
    normalized = {_layer(m.path) for name, m in found.items() if name[0] == "W" and f"gamma{layer_of(name)}" in wanted
                  and f"b{layer_of(name)}" not in wanted}  # fmt: skip
    for path in left_out:
        if not (kind_of(path, own) == "bias" and _layer(path) in normalized):
            raise CannotMatch(_told(f"the model's {path} {own[path]} is none of the recipe's", wanted, own))


def _told(why: str, wanted: Shapes, own: Shapes, name: str = "W1", fitting: list[str] | None = None) -> str:
    """A refusal, with both lists of tensors and what to say."""
    recipe = ", ".join(f"{wanted_name} {shape}" for wanted_name, shape in wanted.items())
    model = ", ".join(f"{path} {shape}" for path, shape in own.items()) or "nothing"
    example = {name: (fitting or list(own) or ["path"])[0]}
    return (
        f"the model's parameters cannot be matched to the recipe's: {why}. The recipe has {recipe}; the model has"
        f" {model}. Say which is which, names={example}, or change the recipe's model"
    )
