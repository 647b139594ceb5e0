"""Which layers of a network switch where rounding may move them: rectifiers at their kink, pools between two maxima."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from conformance.problems.tensors import Array
from reference_numpy._layer import Layer, Parallel, Residual, Sequence
from reference_numpy.convolution import GlobalMaxPool, MaxPool
from reference_numpy.layers import Activation
from reference_numpy.models import Network

KINKED = ("relu", "leaky_relu", "elu", "selu")


class Switching(NamedTuple):
    """A layer that switches, the name of the value that it takes, and the place of its part of the network."""

    layer: Layer
    takes: str
    place: int

    @property
    def kind(self) -> str:
        """At a kink, or between two that are the largest."""
        return "kink" if isinstance(self.layer, Activation) else "maximum"

    def distance(self, x: Array) -> Array:
        """What is 0 where the layer switches, of what it takes."""
        if isinstance(self.layer, Activation):
            return x
        if isinstance(self.layer, MaxPool):
            seen = self.layer.window.gather(x, -np.inf)
            seen = seen.reshape(*seen.shape[: x.ndim - 1], -1, x.shape[-1])
        else:
            seen = x.reshape(len(x), -1, x.shape[-1])
        if seen.shape[-2] < 2:
            return np.full(1, np.inf, x.dtype)
        largest = np.partition(seen, -2, axis=-2)
        lead: Array = largest[..., -1, :] - largest[..., -2, :]
        return lead


def switching(model: Network) -> list[Switching]:
    """All of a network's, but for those that take its input, which no rounding moves.

    >>> from reference_numpy.layers import activation, dense, residual, sequence
    >>> model = Network(sequence(dense(2), residual(activation("relu")), dense(1)), (2,), "identity")
    >>> [(found.takes, found.place) for found in switching(model)]
    [('1.A', 2)]
    """
    return [found for found in _inside(model.layers, "", "A0") if found.takes != "A0"]


def _inside(layer: Layer, path: str, takes: str) -> Iterator[Switching]:
    """Those of a layer at a path: its own prefix, ``"3."``, and the name of its input."""
    if isinstance(layer, Sequence):
        for place, part in layer.placed:
            yield from _inside(part, f"{path}{place}.", takes)
            takes = f"{path}{place}.A"
    elif isinstance(layer, Parallel):
        for place, part in layer.placed:
            yield from _inside(part, f"{path}{place}.", takes)
    elif isinstance(layer, Residual):
        yield from _inside(layer.layer, path, takes)
    elif isinstance(layer, (MaxPool, GlobalMaxPool)) or (isinstance(layer, Activation) and layer.name in KINKED):
        yield Switching(layer, takes, int(path.partition(".")[0]))
