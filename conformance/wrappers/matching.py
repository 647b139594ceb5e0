"""A model's own parameters matched to the recipe's names: by what the user says, by name, path, order and shape.

Own parameters go by their paths, parts joined by dots: ``"0.weight"``, ``"encoder.dense.kernel"``. The last part is the
leaf; parameters with the same path but for the leaf belong to one layer.

>>> print(match({"W1": (3, 2), "b1": (3,)}, {"0.weight": (3, 2), "0.bias": (3,)}))
W1  (3, 2)  0.weight  (3, 2)  by order
b1  (3,)    0.bias    (3,)    by path
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.adapters.guarded import NotOffered
from conformance.data.wording import listed, nearest, shown
from conformance.problems.tensors import Array, TensorKind, Tensors, layer_of, named, places
from conformance.wrappers.layouts import (
    AS_IT_IS,
    FLAT,
    INPUTS_LAST,
    OUTPUTS_FIRST,
    TRANSPOSED,
    Counts,
    OwnLayer,
    Source,
    Turn,
    counted,
)
from conformance.wrappers.recipe_layers import RecipeLayer

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

_TURNED = ".T"  # what the user ends a path with whose tensor is the other way round
_ONE = r"(\.T)|\[(\d*):(\d*)\]"  # or of which some rows alone are meant
_AFTER = re.compile(r"(?:\.T|\[\d*:\d*\])+$")
_CERTAIN_SCALES = ("scale", "gamma")
_SCALES = (*_CERTAIN_SCALES, "weight", "g")
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


@dataclass(frozen=True, eq=False)
class Match:
    """One of the recipe's tensors and where it is in the model.

    ``paths``: the model's tensors that it is in, with their ``own_shapes``; ``places``: which of their numbers, counted
    through all of them, stands at each place of the recipe's. ``form``: how they are turned, in words, or nothing;
    ``how`` they were matched.
    """

    name: str
    shape: Shape
    paths: tuple[str, ...]
    own_shapes: tuple[Shape, ...]
    places: NDArray[np.intp]
    form: str
    how: str

    @property
    def path(self) -> str:
        """That of the first of the model's tensors, mostly the only one."""
        return self.paths[0]

    @property
    def transposed(self) -> bool:
        """Whether the model has it the other way round."""
        return self.form == "transposed"

    def of(self, tensors: Tensors) -> Array:
        """The recipe's tensor, of the model's by path; NOT_OFFERED if one of them is."""
        values: list[Any] = [tensors[path] for path in self.paths]
        lacking = next((value for value in values if isinstance(value, NotOffered)), None)
        if lacking is not None:
            return lacking
        flat = np.concatenate([np.ravel(value) for value in values]) if len(values) > 1 else values[0].reshape(-1)
        return flat[self.places]

    def put(self, value: Array, into: Tensors) -> None:
        """Put the recipe's tensor where it belongs in the model's, which are made of zeros where they are not there."""
        ends = np.cumsum([0, *map(math.prod, self.own_shapes)])
        flat = np.zeros(ends[-1], value.dtype)
        flat[self.places] = value
        there = np.zeros(ends[-1], bool)
        there[self.places] = True
        for path, shape, start, end in zip(self.paths, self.own_shapes, ends, ends[1:], strict=False):
            own = into.setdefault(path, np.zeros(shape, value.dtype)).reshape(-1)
            own[there[start:end]] = flat[start:end][there[start:end]]


@dataclass(frozen=True)
class Matching:
    """Which of the model's tensors is which of the recipe's; as text, a table of it.

    ``left_out``: the paths of biases that the recipe does not have, as batch norm takes them away. They are held at 0.
    Of a network of layers, ``recipe`` are the recipe's, ``layers`` the model's own that were matched as wholes, and
    ``calls`` where the model has those without parameters, both by the path of the recipe's.
    """

    matches: tuple[Match, ...]
    left_out: tuple[str, ...] = ()
    recipe: tuple[RecipeLayer, ...] = ()
    layers: Mapping[str, OwnLayer] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
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
        own: Tensors = {}
        for name, value in tensors.items():
            self[name].put(value, own)
        return own

    def to_recipe(self, values: Tensors) -> Tensors:
        """Tensors by the model's paths, by the recipe's names, those that are wholly in ``values``."""
        return {m.name: m.of(values) for m in self.matches if all(path in values for path in m.paths)}

    def __str__(self) -> str:
        rows = [
            (m.name, str(m.shape), ", ".join(m.paths), ", ".join(map(str, m.own_shapes)),
             f"{m.how}{', ' if m.form else ''}{m.form}")
            for m in self.matches
        ]  # fmt: skip
        rows += [("", "", path, "", "held at 0: batch norm takes a bias away") for path in self.left_out]
        for layer in self.recipe:
            if layer.output and not layer.parameters:
                where = self.calls.get(layer.path, "")
                how = "by kind and place" if where else "no module: seen where the next one takes it"
                rows.append((f"{layer.path} {layer.name}", str(layer.shape), where, "", how))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True)
class Forms:
    """How a model's tensor may lie that is one of the recipe's, where nothing but shapes tells.

    ``inputs_first``: whether weights are kept as (inputs, outputs), which counts where a shape does not tell;
    ``kernels``: how those of convolutions are.
    """

    inputs_first: bool = False
    kernels: Turn = AS_IT_IS

    def source(self, shape: Shape, path: str, own_shape: Shape) -> Source | None:
        """Where a tensor of ``shape`` is in the one at ``path``; None if it is no such."""
        turns: tuple[Turn, ...] = (AS_IT_IS,)
        if len(shape) == 2:
            turns = (TRANSPOSED, AS_IT_IS) if self.inputs_first else (AS_IT_IS, TRANSPOSED)
        elif len(shape) > 2 and len(shape) == len(own_shape):
            turns = (self.kernels, OUTPUTS_FIRST, INPUTS_LAST, AS_IT_IS)
        elif len(shape) == 1 and _is_row(own_shape):
            turns = (FLAT,)
        counts = next(counted([own_shape]))
        found = ((turn, turn.of(counts)) for turn in turns)
        return next((Source((path,), places, turn.words) for turn, places in found if places.shape == shape), None)

    def fits(self, shape: Shape, own_shape: Shape) -> bool:
        """Whether a tensor of ``own_shape`` may be one of ``shape``."""
        return self.source(shape, "", own_shape) is not None

    def match(self, name: str, path: str, wanted: Shapes, own: Shapes, how: str) -> Match:
        """The match of two tensors that fit."""
        source = self.source(wanted[name], path, own[path])
        assert source is not None
        return made(name, wanted[name], source, own, how)


@dataclass(frozen=True)
class Relations:
    """What each tensor of the recipe is, by name, and which one of another kind it stands ``beside`` in its layer."""

    kinds: Mapping[str, TensorKind]
    beside: Mapping[str, str]

    @staticmethod
    def of_dense(wanted: Shapes) -> "Relations":
        """Those of a network whose layers are all dense, and have numbers."""
        found = {name: place for name, place in places(max(map(layer_of, wanted), default=1)).items() if name in wanted}
        beside = {n: named(_BESIDE[p.kind], p.layer) for n, p in found.items() if p.kind in _BESIDE}
        return Relations({name: place.kind for name, place in found.items()}, beside)


def made(name: str, shape: Shape, source: Source, own: Shapes, how: str) -> Match:
    """The match of the recipe's tensor ``name`` with where it is in the model."""
    return Match(name, shape, source.paths, tuple(own[p] for p in source.paths), source.places, source.form, how)


def match(
    wanted: Shapes, own: Shapes, names: Mapping[str, str] | None = None, *, inputs_first: bool = False
) -> Matching:
    """Match the tensors ``wanted`` of a recipe with dense layers to a model's ``own``, both given by their shapes.

    ``names`` says of some which is which, ``{"W1": "0.weight"}``, with ``".T"`` after the path of one that is the other
    way round. ``inputs_first``: whether this framework keeps weights as (inputs, outputs), which counts where a shape
    does not tell. Raises CannotMatch where it cannot be told, with what to say.
    """
    forms = Forms(inputs_first)
    found = {m.name: m for m in said(wanted, own, names or {}, forms)}
    by_shape(found, wanted, own, forms, Relations.of_dense(wanted))
    taken = {path for m in found.values() for path in m.paths}
    left_out = tuple(path for path in own if path not in taken)
    _check_left_out(left_out, found, wanted, own)
    return Matching(tuple(found[name] for name in wanted), left_out)


def said(wanted: Shapes, own: Shapes, names: Mapping[str, str], forms: Forms) -> Iterator[Match]:
    """What the user says: paths, with ``.T`` for the other way round, and with rows: ``"qkv.T[0:8]"``."""
    for name, words in names.items():
        if name not in wanted:
            raise CannotMatch(
                f"names: {shown(name)} is not allowed: must be one of {listed(wanted)}{nearest(name, wanted)}"
            )
        path, after = (words, "") if words in own else _parsed(words)
        if path not in own:
            raise CannotMatch(
                f"names[{name!r}]={shown(words)} is not allowed: must be one of {listed(own)}{nearest(path, own)}"
            )
        shape, counts = wanted[name], _chosen(next(counted([own[path]])), after)
        source = Source((path,), counts, TRANSPOSED.words if after == _TURNED else "as said")
        if not after:
            source = forms.source(shape, path, own[path]) or source
        if source.places.shape != shape and _squeezed(shape) == _squeezed(counts.shape):
            source = Source((path,), counts.reshape(shape), "")
        if source.places.shape != shape:
            raise CannotMatch(f"names[{name!r}]={shown(words)} has shape {counts.shape}: must be {shape}")
        yield made(name, shape, source, own, "as said")


def _parsed(words: str) -> tuple[str, str]:
    """A path and what stands after it.

    >>> _parsed("attention.qkv.T[0:8]")
    ('attention.qkv', '.T[0:8]')
    """
    after = _AFTER.search(words)
    return (words[: after.start()], after.group()) if after else (words, "")


def _chosen(counts: Counts, after: str) -> Counts:
    """A tensor turned over by each ``.T``, and of its rows those in brackets, one after the other."""
    for turned, start, end in re.findall(_ONE, after):
        counts = counts.T if turned else counts[int(start or 0) : int(end) if end else None]
    return counts


def by_shape(found: dict[str, Match], wanted: Shapes, own: Shapes, forms: Forms, relations: Relations) -> None:
    """Add the matches of what is ``wanted`` and not yet ``found``: by name, else by kind, path, order and shape.

    Raises CannotMatch where it cannot be told.
    """
    taken = {path for m in found.values() for path in m.paths}
    left = {path: shape for path, shape in own.items() if path not in taken}
    lacking = {name: shape for name, shape in wanted.items() if name not in found}
    if lacking.keys() <= left.keys() and all(forms.fits(lacking[name], left[name]) for name in lacking):
        found |= {name: forms.match(name, name, lacking, left, "by name") for name in lacking}
        return
    own_kinds = {path: kind_of(path, own) for path in left}
    for kind in _KINDS:
        names = [name for name in lacking if relations.kinds[name] == kind]
        paths = [path for path in left if own_kinds[path] == kind]
        for name in list(names):
            partner = found.get(relations.beside.get(name, ""))
            beside = [path for path in paths if partner is not None and _layer(path) == _layer(partner.path)]
            if len(beside) == 1 and forms.fits(lacking[name], left[beside[0]]):
                found[name] = forms.match(name, beside[0], lacking, left, "by path")
                names.remove(name)
                paths.remove(beside[0])
        for name, path, how in _assigned(names, paths, lacking, left, forms, wanted, own):
            found[name] = forms.match(name, path, lacking, left, how)


def _assigned(
    names: list[str], paths: list[str], lacking: Shapes, left: Shapes, forms: Forms, wanted: Shapes, own: Shapes
) -> Iterator[tuple[str, str, str]]:
    """Names and paths of one kind: in their order if all shapes agree with it, else in that of each shape alone."""
    pairs = list(zip(names, paths, strict=False))
    if len(names) == len(paths) and all(forms.fits(lacking[name], left[path]) for name, path in pairs):
        yield from ((name, path, "by order") for name, path in pairs)
        return
    for name in names:
        alike = [other for other in names if forms.fits(lacking[name], lacking[other])]
        fitting = [path for path in paths if forms.fits(lacking[name], left[path])]
        if len(alike) != len(fitting):
            why = f"it may be {' or '.join(map(repr, fitting))}" if fitting else "none of the model's is like it"
            raise CannotMatch(told(f"{name} {lacking[name]} cannot be told: {why}", wanted, own, name, fitting))
        yield name, fitting[alike.index(name)], "by shape"


def kind_of(path: str, own: Shapes) -> TensorKind | None:
    """What a model's tensor is, by its shape, its leaf and what is in its layer with it; None for none of a recipe's.

    >>> kind_of("bn.weight", {"bn.weight": (3,), "bn.bias": (3,)}), kind_of("0.bias", {"0.bias": (3,), "0.w": (3, 2)})
    ('scale', 'bias')
    """
    leaf, dimensions = path.rpartition(".")[2].lower(), 1 if _is_row(own[path]) else len(own[path])
    if dimensions > 1:
        return "weight"
    if dimensions == 0:
        return None
    if "mean" in leaf:
        return "running mean"
    if "var" in leaf:
        return "running variance"
    beside = {other.rpartition(".")[2].lower(): shape for other, shape in own.items() if _layer(other) == _layer(path)}
    stem = leaf.rstrip("0123456789_")
    if stem in _CERTAIN_SCALES or (stem in _SHIFTS and any(other in beside for other in _CERTAIN_SCALES)):
        return "scale" if stem in _CERTAIN_SCALES else "shift"
    matrices = sum(len(shape) > 1 and not _is_row(shape) for shape in beside.values())
    if matrices == 1:
        return "bias"
    if stem in _SCALES:
        return "scale"
    return "shift" if not matrices or stem in _SHIFTS else "bias"


def _is_row(shape: Shape) -> bool:
    """Whether a tensor is a bias that is kept with the axes of images, ``(n, 1, 1)``."""
    return len(shape) > 2 and len(_squeezed(shape)) == 1


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
            raise CannotMatch(told(f"the model's {path} {own[path]} is none of the recipe's", wanted, own))


def told(why: str, wanted: Shapes, own: Shapes, name: str = "", fitting: list[str] | None = None) -> str:
    """A refusal, with both lists of tensors and what to say."""
    recipe = ", ".join(f"{wanted_name} {shape}" for wanted_name, shape in wanted.items())
    model = ", ".join(f"{path} {shape}" for path, shape in own.items()) or "nothing"
    example = {name or next(iter(wanted), "W1"): (fitting or list(own) or ["path"])[0]}
    return (
        f"the model's parameters cannot be matched to the recipe's: {why}. The recipe has {recipe}; the model has"
        f" {model}. Say which is which, names={example}, or change the recipe's model"
    )
