"""Which tensors each method of a session is to return, and what is said where some are not there."""

from collections.abc import Iterable, Mapping

from conformance.data.wording import listed
from conformance.problems.tensors import Array, layer_of, places, places_of_paths

LOSSES = {
    "per_example": "the data loss of each example",
    "data_loss": "that of the batch",
    "penalty": "of the regularizers",
    "cost": "data loss and penalty",
}

Wanted = Mapping[str, str]  # what each name stands for


def parameters(names: Iterable[str]) -> dict[str, str]:
    """Parameters, of a model or of any name.

    >>> parameters(["W1", "bursts"])
    {'W1': 'weight of layer 1', 'bursts': ''}
    """
    return {name: _meaning(name) for name in names}


def gradients(names: Iterable[str], x: Array) -> dict[str, str]:
    """The cost, and the gradients of parameters and, unless it holds integers, of the input."""
    of_parameters = {name: f"gradient of the {meaning}" for name, meaning in parameters(names).items()}
    of_input = {"A0": "gradient of the input"} if x.dtype.kind == "f" else {}
    return {"cost": "data loss and penalty", **of_parameters, **of_input}


def intermediates(names: Iterable[str]) -> dict[str, str]:
    """What a model with these parameters has inside."""
    given = set(names)
    if any(_is_path(name) for name in given):
        return {"Z": "the logits", "A": "the outputs"}
    layers = sorted(layer_of(name) for name in given if name.startswith("W"))
    return parameters(f"{stem}{layer}" for layer in layers for stem in "ZNA" if stem != "N" or f"gamma{layer}" in given)


def lacks(method: str, found: Iterable[str], wanted: Wanted, part: str = "") -> str:
    """What is said of a method that did not return all that is ``wanted``; nothing if it did.

    >>> import numpy as np
    >>> lacks("gradients", ["cost", "W1"], gradients(["W1"], np.zeros((1, 2))))
    "gradients() returned no 'A0' (gradient of the input); got 'cost', 'W1'"
    >>> lacks("fit", [], {"W1": ""}, "parameters")
    "fit() returned no 'W1' among its parameters; got none"
    """
    names = list(found)
    missing = [f"{name!r}" + (f" ({meaning})" if meaning else "") for name, meaning in wanted.items()
               if name not in names]  # fmt: skip
    if not missing:
        return ""
    among = f" among its {part}" if part else ""
    return f"{method}() returned no {', '.join(missing)}{among}; got {listed(names) or 'none'}"


def _meaning(name: str) -> str:
    """What a tensor of a model is; nothing for any other."""
    if _is_path(name):
        found = places_of_paths([name], layer_of(name))[name]
        return f"{found.kind} of layer {found.layer}"
    digits = name.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
    place = places(int(digits)).get(name) if digits.isdecimal() and len(digits) < 4 else None
    return f"{place.kind} of layer {place.layer}" if place else ""


def _is_path(name: str) -> bool:
    """Whether a name is of a network of layers: ``"3.W"``."""
    return name.partition(".")[0].isdecimal() and "." in name
