"""What the process of a framework is asked: layers with their tensors and inputs, for a forward pass of each.

Each of the modules in ``frameworks`` has a function ``forward``, which is a subject of ``conformance.exchange.worker``.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from conformance.converting.model_layers import RECURRENT
from conformance.data.randomness import keyed_generator
from conformance.exchange.requests import bytes_of, text_of
from conformance.problems.tensors import Array, Tensors
from conformance.results.grammar import flatten, unflatten
from conformance.wrappers.recipe_layers import DIRECTIONS, RecipeLayer
from reference_numpy.convolution import Window

REQUEST = "request"
EXAMPLES, STEPS, AROUND = 4, 5, 3  # of the inputs; AROUND: numbers along an axis beside those of a kernel


class Asked(NamedTuple):
    """A layer of a framework: the recipe's, its kind, what the recipe says of it, its tensors by leaf, and inputs.

    Of one in both directions leaves begin with ``"forward."`` and ``"backward."``.
    """

    shown: str
    kind: str
    keywords: Mapping[str, Any]
    tensors: Tensors
    x: Array

    @property
    def directions(self) -> "list[Asked]":
        """The layers of both directions, or none."""
        return [
            self._replace(tensors={leaf.removeprefix(f"{direction}."): w for leaf, w in self.tensors.items()
                                   if leaf.startswith(f"{direction}.")})
            for direction in DIRECTIONS if any(leaf.startswith(f"{direction}.") for leaf in self.tensors)
        ]  # fmt: skip


def inputs_of(layer: RecipeLayer) -> Array:
    """Inputs that a layer can take: normal numbers, or the entries of an embedding."""
    generator, keywords = keyed_generator(0, "inputs of a layer"), layer.keywords
    if layer.name == "embedding":
        return generator.integers(0, len(layer.parameters["W"]), (EXAMPLES, STEPS))
    if layer.name == "convolution":
        *kernel, inputs = layer.parameters["W"][1:]
        dilations = np.broadcast_to(keywords["dilation"], len(kernel))
        axes = [int(dilation) * (size - 1) + AROUND for size, dilation in zip(kernel, dilations, strict=True)]
        return generator.standard_normal((EXAMPLES, *axes, inputs * int(keywords["groups"])))
    if layer.name in RECURRENT:
        weight = layer.parameters[f"{layer.directions[0]}.W" if layer.directions else "W"]
        return generator.standard_normal((EXAMPLES, STEPS, weight[1]))
    if layer.name == "attention":
        return generator.standard_normal((EXAMPLES, STEPS, layer.parameters["W_q"][1]))
    takes = layer.parameters["W"][1] if "W" in layer.parameters else layer.parameters["gamma"][0]
    return generator.standard_normal((EXAMPLES, takes))


def request(asked: list[Asked]) -> Tensors:
    """Layers as the arrays of one request."""
    words = [{"shown": each.shown, "kind": each.kind, "keywords": dict(each.keywords)} for each in asked]
    tree = {place: {"x": each.x, "tensors": each.tensors} for place, each in enumerate(asked)}
    return {REQUEST: bytes_of(json.dumps(words, default=list)), **flatten(tree)}


def answered(given: Mapping[str, Array], run: Callable[[Asked], Array]) -> Tensors:
    """The outputs of all layers of a request, by their places. Raises ValueError for one that cannot be made."""
    words, tree = json.loads(text_of(given[REQUEST])), unflatten({n: v for n, v in given.items() if n != REQUEST})
    outputs = {}
    for place, each in enumerate(words):
        held = tree[str(place)]
        double = {leaf: np.asarray(value, np.float64) for leaf, value in held["tensors"].items()}
        asked = Asked(each["shown"], each["kind"], each["keywords"], double, held["x"])
        try:
            outputs[str(place)] = _in_order(asked, run)
        except Exception as error:  # whatever the framework raises
            raise ValueError(f"{asked.shown}: {error}") from error
    return outputs


def _in_order(asked: Asked, run: Callable[[Asked], Array]) -> Array:
    """The output of a layer; of one that goes backwards, by that of the inputs the other way round."""
    if not asked.keywords.get("reverse"):
        return run(asked)
    found = run(asked._replace(x=asked.x[:, ::-1].copy()))
    return found[:, ::-1] if asked.keywords["return_sequences"] else found


def padded(asked: Asked, *kernel: int, has_same: bool = True) -> tuple[Array, Any]:
    """The inputs of a convolution and its padding by word; else the zeros are put around the inputs.

    ``has_same``: whether the framework's layer pads to the same size by itself.
    """
    padding, axes = asked.keywords["padding"], len(kernel)
    if padding == "valid" or (padding == "same" and has_same):
        return asked.x, padding
    words = isinstance(padding, str)
    stride, dilation, around = (
        tuple(np.broadcast_to(given, axes).tolist())
        for given in (asked.keywords["stride"], asked.keywords["dilation"], 0 if words else padding)
    )
    window = Window(kernel, stride, padding if words else around, dilation)
    return np.pad(asked.x, [(0, 0), *window.margins(asked.x.shape[1:-1]), (0, 0)]), "valid"


def padded_channels_last(asked: Asked) -> tuple[Array, Any]:
    """As :func:`padded`, of a convolution whose kernel's last two axes are the channels."""
    return padded(asked, *asked.tensors["kernel"].shape[:-2])


def joined(asked: Asked, forward: Array, backward: Array) -> Array:
    """The output of a layer in both directions, of the states that each has at every step, ``(m, t, n)``."""
    ends = (forward, backward) if asked.keywords["return_sequences"] else (forward[:, -1], backward[:, 0])
    return np.concatenate(ends, axis=-1) if asked.keywords["join"] == "concatenate" else np.add(*ends)
