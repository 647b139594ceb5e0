"""What the process of a framework is asked: layers with their tensors and inputs, for a forward pass of each.

Each of the modules in ``frameworks`` has a function ``forward``, which is a subject of ``conformance.exchange.worker``.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.exchange.requests import bytes_of, text_of
from conformance.problems.tensors import Array, Tensors
from conformance.results.grammar import flatten, unflatten
from conformance.wrappers.recipe_layers import RecipeLayer

REQUEST = "request"
EXAMPLES, STEPS, AROUND = 4, 5, 3  # of the inputs; AROUND: numbers along an axis beside those of a kernel
RECURRENT = ("simple_rnn", "lstm", "gru")


class Asked(NamedTuple):
    """A layer of a framework: its kind, what the recipe says of it, its tensors by leaf, and inputs."""

    kind: str
    keywords: Mapping[str, Any]
    tensors: Tensors
    x: Array


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
        return generator.standard_normal((EXAMPLES, STEPS, layer.parameters["W"][1]))
    takes = layer.parameters["W"][1] if "W" in layer.parameters else layer.parameters["gamma"][0]
    return generator.standard_normal((EXAMPLES, takes))


def request(asked: list[Asked]) -> Tensors:
    """Layers as the arrays of one request."""
    words = [{"kind": each.kind, "keywords": dict(each.keywords)} for each in asked]
    tree = {place: {"x": each.x, "tensors": each.tensors} for place, each in enumerate(asked)}
    return {REQUEST: bytes_of(json.dumps(words, default=list)), **flatten(tree)}


def answered(given: Mapping[str, Array], run: Callable[[Asked], Array]) -> Tensors:
    """The outputs of all layers of a request, by their places."""
    words, tree = json.loads(text_of(given[REQUEST])), unflatten({n: v for n, v in given.items() if n != REQUEST})
    outputs = {}
    for place, each in enumerate(words):
        held = tree[str(place)]
        double = {leaf: np.asarray(value, np.float64) for leaf, value in held["tensors"].items()}
        asked = Asked(each["kind"], each["keywords"], double, held["x"])
        backwards = bool(asked.keywords.get("reverse"))
        found = run(asked._replace(x=asked.x[:, ::-1].copy()) if backwards else asked)
        outputs[str(place)] = found[:, ::-1] if backwards and asked.keywords["return_sequences"] else found
    return outputs


def padded(asked: Asked) -> tuple[Array, Any]:
    """The inputs of a convolution and its padding by word; numbers that are given instead are put around the inputs."""
    padding = asked.keywords["padding"]
    if isinstance(padding, str):
        return asked.x, padding
    widths = np.broadcast_to(padding, asked.x.ndim - 2).tolist()
    return np.pad(asked.x, [(0, 0), *((width, width) for width in widths), (0, 0)]), "valid"
