"""Tensors by name: what each name stands for, and how tensors are rounded."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference_numpy._common import is_weight, own_name

Array = NDArray[Any]
Tensors = dict[str, Array]
Masks = dict[Any, Array]  # of dropout: by the number of a layer, or by path in a network of layers

TensorKind = Literal[
    "weight", "bias", "scale", "shift", "input", "pre-activation", "normalized", "activation", "running mean",
    "running variance",
]  # fmt: skip

# The course's names: a letter or a word, then the number of the layer.
_STEMS: dict[str, TensorKind] = {
    "W": "weight",
    "b": "bias",
    "gamma": "scale",
    "beta": "shift",
    "Z": "pre-activation",
    "N": "normalized",
    "A": "activation",
    "running_mean": "running mean",
    "running_variance": "running variance",
}


class Place(NamedTuple):
    """What a tensor of a model is, and of which layer (counted from 1; 0 for the input)."""

    kind: TensorKind
    layer: int


def places(depth: int) -> dict[str, Place]:
    """The place of every tensor that a model of ``depth`` layers may have, by name.

    >>> places(2)["gamma1"]
    Place(kind='scale', layer=1)
    """
    named = {f"{stem}{layer}": Place(kind, layer) for layer in range(1, depth + 1) for stem, kind in _STEMS.items()}
    return {"A0": Place("input", 0)} | named


# In a network of layers: what a parameter or a value is, by its name within its layer. What is not here is a value.
_OWN_NAMES: dict[str, TensorKind] = {
    "gamma": "scale",
    "beta": "shift",
    "running_mean": "running mean",
    "running_variance": "running variance",
}


def places_of_paths(names: Iterable[str], depth: int) -> dict[str, Place]:
    """The place of every tensor of a network of ``depth`` layers, by path.

    >>> places_of_paths(["3.1.W", "2.b_h", "2.h", "Z"], 4)["3.1.W"]
    Place(kind='weight', layer=3)
    """
    whole = {"A0": Place("input", 0), "Z": Place("pre-activation", depth), "A": Place("activation", depth)}
    return whole | {name: Place(_kind(own_name(name)), layer_of(name)) for name in names if name not in whole}


def _kind(name: str) -> TensorKind:
    """What a tensor is by its name within its layer."""
    if is_weight(name):
        return "weight"
    return "bias" if name == "b" or name.startswith("b_") else _OWN_NAMES.get(name, "activation")


def named(kind: TensorKind, layer: int) -> str:
    """The name of the tensor of a kind in a layer.

    >>> named("scale", 3)
    'gamma3'
    """
    return next(f"{stem}{layer}" for stem, known in _STEMS.items() if known == kind)


def round_floats(value: Array, dtype: np.dtype[Any]) -> Array:
    """``value`` rounded to ``dtype`` if it is of real numbers, else as it is."""
    return value.astype(dtype) if value.dtype.kind == "f" else value


def cast_floats(tensors: Mapping[str, Array], dtype: np.dtype[Any]) -> Tensors:
    """Every tensor of real numbers rounded to ``dtype``."""
    return {name: round_floats(value, dtype) for name, value in tensors.items()}


def layer_of(name: str) -> int:
    """The layer that a tensor belongs to, from its name: 12 for ``"gamma12"``, 3 for ``"3.1.W"``."""
    return int(name.partition(".")[0].lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"))
