"""What every layer is, a description that never changes, apart from the arrays it works on; and layers of layers.

Arrays are kept in flat dicts. In a layer of layers their names are paths: ``"3.W"`` is ``W`` of the third, ``"5.1.W"``
that of the first layer of the fifth. Names that begin with ``_`` are kept for the backward pass alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import initializers
from ._common import check_choice, inside, named
from .arithmetic import product, total

Array = NDArray[Any]
Tensors = dict[str, Array]
Options = Mapping[str, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """The base class. ``m`` examples come first in all data; ``shape`` is that of one example."""

    @property
    def passes_mask(self) -> bool:
        """Whether what follows still has the steps that the mask of a sequence is about."""
        return True

    def next_mask(self, x: Array, mask: Array | None) -> Array | None:
        """The mask for what follows, of an input ``x`` of which ``mask`` is that of its steps."""
        return mask if self.passes_mask else None

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one output. Raises ValueError, with the layer's name, if the layer cannot take ``shape``."""
        return shape

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        """The initial parameters by name; ``dtype`` None means float64."""
        return {}

    def initial_statistics(self, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        """The running averages before training by name."""
        return {}

    def draw(self, generator: np.random.Generator, examples: int, shape: Shape) -> Tensors:
        """What chance decides in one training step, by name: masks ``(examples, *shape)`` of dropout."""
        return {}

    def forward(
        self,
        parameters: Tensors,
        x: Array,
        *,
        drawn: Tensors | None = None,
        statistics: Tensors | None = None,
        mask: Array | None = None,
    ) -> tuple[Array, Tensors]:
        """The output of ``x: (m, *shape)``, and values by name.

        ``drawn`` None: no dropout. ``statistics`` None: training. ``mask``: ``(m, t)`` of bool, True where a step of a
        sequence is there; None: all are.
        """
        raise NotImplementedError

    def backward(
        self,
        parameters: Tensors,
        values: Tensors,
        dy: Array,
        *,
        drawn: Tensors | None = None,
        mask: Array | None = None,
    ) -> tuple[Any, Tensors]:
        """``(d cost / d x, gradients of the parameters)`` from ``dy = d cost / d y``; None in place of ``d cost / d x``
        where ``x`` are integers.

        ``values``, ``drawn`` and ``mask`` are those of the forward pass.
        """
        raise NotImplementedError

    def updated_statistics(self, statistics: Tensors, values: Tensors) -> Tensors:
        """The running averages after a training forward pass with ``values``."""
        return {}

    def _refuse(self, shape: Shape, must: str) -> None:
        """Raise the ValueError that the layer cannot take examples of this shape."""
        raise ValueError(f"{type(self).__name__} cannot take examples of shape {tuple(shape)}: must be {must}")


@dataclass(frozen=True)
class Layers(Layer):
    """What layers of layers have in common: the names of their parts."""

    layers: tuple[Layer, ...]

    @property
    def passes_mask(self) -> bool:
        """If all of its layers do."""
        return all(layer.passes_mask for layer in self.layers)

    @property
    def placed(self) -> list[tuple[int, Layer]]:
        """The layers with their places from 1."""
        return list(enumerate(self.layers, start=1))

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        return self._collected(shape, lambda layer, shape: layer.initialize(generator, shape, dtype=dtype))

    def initial_statistics(self, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        return self._collected(shape, lambda layer, shape: layer.initial_statistics(shape, dtype=dtype))

    def draw(self, generator: np.random.Generator, examples: int, shape: Shape) -> Tensors:
        return self._collected(shape, lambda layer, shape: layer.draw(generator, examples, shape))

    def updated_statistics(self, statistics: Tensors, values: Tensors) -> Tensors:
        updated: Tensors = {}
        for place, layer in self.placed:
            updated |= named(layer.updated_statistics(inside(statistics, place), inside(values, place)), place)
        return updated

    def _inputs(self, shape: Shape) -> Iterator[Shape]:
        """The shape that each layer takes."""
        raise NotImplementedError

    def _collected(self, shape: Shape, of: Callable[[Layer, Shape], Tensors]) -> Tensors:
        found: Tensors = {}
        for (place, layer), taken in zip(self.placed, self._inputs(shape), strict=True):
            found |= named(of(layer, taken), place)
        return found


@dataclass(frozen=True)
class Sequence(Layers):
    """See :func:`layers.sequence`."""

    def output_shape(self, shape: Shape) -> Shape:
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def _inputs(self, shape: Shape) -> Iterator[Shape]:
        for layer in self.layers:
            yield shape
            shape = layer.output_shape(shape)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        values: Tensors = {}
        for place, layer in self.placed:
            y, found = layer.forward(
                inside(parameters, place), x,
                drawn=inside(drawn, place), statistics=inside(statistics, place), mask=mask,
            )  # fmt: skip
            values |= named(found | {"A": y} | ({} if mask is None else {"_mask": mask}), place)
            x, mask = y, layer.next_mask(x, mask)
        return x, values

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        gradients: Tensors = {}
        for place, layer in reversed(self.placed):
            if dy is None:  # integers, before which there are no parameters
                break
            dy, found = layer.backward(
                inside(parameters, place), inside(values, place), dy,
                drawn=inside(drawn, place), mask=values.get(f"{place}._mask"),
            )  # fmt: skip
            gradients = named(found, place) | gradients
        return dy, gradients

    def next_mask(self, x: Array, mask: Array | None) -> Array | None:
        """That of its first layer, if the others pass it on."""
        mask = self.layers[0].next_mask(x, mask)
        return mask if all(layer.passes_mask for layer in self.layers[1:]) else None


@dataclass(frozen=True)
class Residual(Layer):
    """See :func:`layers.residual`."""

    layer: Layer

    @property
    def passes_mask(self) -> bool:
        """As the layer itself."""
        return self.layer.passes_mask

    def next_mask(self, x: Array, mask: Array | None) -> Array | None:
        """As the layer itself."""
        return self.layer.next_mask(x, mask)

    def output_shape(self, shape: Shape) -> Shape:
        found = self.layer.output_shape(shape)
        if tuple(found) != tuple(shape):
            self._refuse(shape, f"what its layer gives, which is {tuple(found)}")
        return shape

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        return self.layer.initialize(generator, shape, dtype=dtype)

    def initial_statistics(self, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        return self.layer.initial_statistics(shape, dtype=dtype)

    def draw(self, generator: np.random.Generator, examples: int, shape: Shape) -> Tensors:
        return self.layer.draw(generator, examples, shape)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        y, values = self.layer.forward(parameters, x, drawn=drawn, statistics=statistics, mask=mask)
        return x + y, values

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        dx, gradients = self.layer.backward(parameters, values, dy, drawn=drawn, mask=mask)
        return dy + dx, gradients

    def updated_statistics(self, statistics: Tensors, values: Tensors) -> Tensors:
        return self.layer.updated_statistics(statistics, values)


@dataclass(frozen=True)
class Parallel(Layers):
    """See :func:`layers.parallel`."""

    join: str

    def output_shape(self, shape: Shape) -> Shape:
        shapes = [tuple(layer.output_shape(shape)) for layer in self.layers]
        alike = {found[:-1] if self.join == "concatenate" else found for found in shapes}
        if len(alike) > 1 or len({len(found) for found in shapes}) > 1:
            self._refuse(shape, f"such that outputs can be joined by {self.join!r}, which are {shapes}")
        return (*shapes[0][:-1], sum(found[-1] for found in shapes)) if self.join == "concatenate" else shapes[0]

    def _inputs(self, shape: Shape) -> Iterator[Shape]:
        return iter([shape] * len(self.layers))

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        outputs: list[Array] = []
        values: Tensors = {}
        for place, layer in self.placed:
            y, found = layer.forward(
                inside(parameters, place), x,
                drawn=inside(drawn, place), statistics=inside(statistics, place), mask=mask,
            )  # fmt: skip
            outputs.append(y)
            values |= named(found | {"A": y}, place)
        return np.concatenate(outputs, axis=-1) if self.join == "concatenate" else _sum(outputs), values

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        ends = np.cumsum([values[f"{place}.A"].shape[-1] for place, _ in self.placed])
        shares = np.split(dy, ends[:-1], axis=-1) if self.join == "concatenate" else [dy] * len(ends)
        parts: list[Any] = []
        gradients: Tensors = {}
        for (place, layer), share in zip(self.placed, shares, strict=True):
            dx, found = layer.backward(
                inside(parameters, place), inside(values, place), share, drawn=inside(drawn, place), mask=mask
            )
            parts.append(dx)
            gradients |= named(found, place)
        return None if any(dx is None for dx in parts) else _sum(parts), gradients


def _sum(arrays: list[Array]) -> Array:
    return sum(arrays[1:], start=arrays[0])


def affine(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``x W^T + b`` along the last axis. ``x``: ``(..., n_in)``; ``W``: ``(n_out, n_in)``; ``b``: ``(n_out,)``."""
    y = product(rows(x), weight.T).reshape(*x.shape[:-1], len(weight))
    return y if bias is None else y + bias


def affine_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Gradients ``(dx, dW, db)`` of :func:`affine`."""
    return affine(dy, weight.T), weight_gradient(dy, x), bias_gradient(dy)


def weight_gradient(dy: Array, x: Array) -> Array:
    """``dW = sum of dy x^T`` over all axes but the last."""
    return product(rows(dy).T, rows(x))


def bias_gradient(dy: Array) -> Array:
    """``db = sum of dy`` over all axes but the last."""
    return total(rows(dy), axis=0)[0]


def rows(x: Array) -> Array:
    """``(..., n)`` as ``(rows, n)``."""
    return x.reshape(-1, x.shape[-1])


def check_initializer(name: str, value: Any, options: Options | None = None) -> dict[str, Any]:
    """The options as a dict. Raises ValueError for an unknown initializer or an option it refuses."""
    check_choice(name, value, tuple(initializers.INITIALIZERS))
    options = dict(options or {})
    initializers.INITIALIZERS[value](np.random.default_rng(0), (1, 1), **options)
    return options


def check_layers(layers: tuple[Any, ...]) -> tuple[Layer, ...]:
    """The layers. Raises ValueError unless all are layers, at least one."""
    if not layers or not all(isinstance(layer, Layer) for layer in layers):
        raise ValueError(f"layers={layers!r} is not allowed: must be layers, at least one")
    return layers
