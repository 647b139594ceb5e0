"""A network of layers as a model: layers that compose, the shape of what they are given, and an output.

Its parameters are the layers' own, by path: ``{"1.W": ..., "1.b": ..., "3.W": ...}``. With ``A0 = x``::

    Z = layers(x)        (m, n), the logits
    A = f(Z)             (m, n), by the output: sigmoid, softmax, relu or ``Z`` itself

>>> from reference_numpy.layers import activation, dense
>>> model = network([dense(3), activation("tanh"), dense(1)], (2,), output="sigmoid")
>>> model.weight_names, model.outputs
(('1.W', '3.W'), 1)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ._common import check_choice, check_parameters, check_sizes, is_weight
from ._layer import Array, Layer, Sequence, Shape, Tensors, check_layers
from .arithmetic import product

Masks = Mapping[Any, Array]  # dropout masks by layer or path

OUTPUTS = ("sigmoid", "softmax", "identity", "relu")


@dataclass(frozen=True)
class Network:
    """See :func:`network`. It has what training asks of a ``models.DenseNetwork``."""

    layers: Sequence
    input_shape: Shape
    output: str

    logits_name = "Z"
    output_name = "A"

    @property
    def depth(self) -> int:
        """Number of layers of the sequence."""
        return len(self.layers.layers)

    @property
    def outputs(self) -> int:
        """Number of logits, ``n``."""
        return self.layers.output_shape(self.input_shape)[0]

    @cached_property
    def parameter_shapes(self) -> dict[str, Shape]:
        """The shape of every parameter, by path."""
        initial = self.layers.initialize(np.random.default_rng(0), self.input_shape)
        return {path: w.shape for path, w in initial.items()}

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The paths of the weights, which penalties are of."""
        return tuple(filter(is_weight, self.parameter_shapes))

    @cached_property
    def mask_shapes(self) -> dict[str, Shape]:
        """The shape of a dropout mask of one example, by path."""
        return {path: mask.shape[1:] for path, mask in self.draw_masks(np.random.default_rng(0), 1).items()}

    def shows(self, name: str) -> bool:
        """Whether a value of a layer is one that ``models.intermediates`` returns: none that only training has."""
        return name != "A0" and not name.rpartition(".")[2].startswith(("_", "batch_"))

    @property
    def has_statistics(self) -> bool:
        """Whether some layer keeps running averages."""
        return bool(self.layers.initial_statistics(self.input_shape))

    def product(self, a: Array, b: Array) -> Array:
        """The matrix product ``a b``, as layers take it."""
        return product(a, b)

    def initialize(self, generator: Any, *, dtype: DTypeLike | None = None) -> Tensors:
        """The layers' own initial parameters; ``generator``: a ``numpy.random.Generator``."""
        return self.layers.initialize(generator, self.input_shape, dtype=dtype)

    def draw_masks(self, generator: np.random.Generator, examples: int) -> Tensors:
        """What dropout draws for ``examples``, by path: ``{"3.mask": (m, ...)}``."""
        return self.layers.draw(generator, examples, self.input_shape)

    def forward(
        self,
        parameters: Tensors,
        x: Array,
        *,
        masks: Masks | None = None,
        statistics: Tensors | None = None,
        buffers: Mapping[str, Any] | None = None,
    ) -> tuple[Array, Tensors]:
        """Logits ``Z: (m, n)`` and the values of every layer by path, with ``"A0"``, which is ``x``, and ``"Z"``.

        ``masks`` by path, None for no dropout; ``statistics``: the running ones of batch norm, None for training. What
        is in ``buffers`` is for the backward pass. Raises ValueError for an ``x`` of another shape, and for parameters
        that are missing, too many or of another shape.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"x has shape {x.shape}: must be ({', '.join(map(str, ('examples', *self.input_shape)))})")
        check_parameters(parameters, self.parameter_shapes)
        logits, values = self.layers.forward(parameters, x, drawn=masks, statistics=statistics)
        return logits, values | {"A0": x, "Z": logits}

    def backward(
        self,
        parameters: Tensors,
        values: Tensors,
        output_gradient: Array,
        *,
        masks: Masks | None = None,
        buffers: Mapping[str, Any] | None = None,
        input_gradient: bool = False,
    ) -> Tensors:
        """Gradients of the cost by path from ``output_gradient = d cost / d Z``, ``(m, n)``.

        ``values`` are those of :meth:`forward`; gradients for which there is a buffer, ``"d1.W"``, are written into it.
        With ``"A0"``, ``d cost / d x``, if ``input_gradient`` and ``x`` are no integers.
        """
        dx, found = self.layers.backward(parameters, values, output_gradient, drawn=masks)
        gradients = {path: _kept(gradient, (buffers or {}).get(f"d{path}")) for path, gradient in found.items()}
        return gradients | ({"A0": dx} if input_gradient and dx is not None else {})

    def updated_statistics(self, statistics: Tensors, values: Tensors) -> Tensors:
        """The running averages of batch norm after a training forward pass with ``values``; {} without batch norm."""
        return self.layers.updated_statistics(statistics, values)

    def buffers(self, examples: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Layers make their values anew: none."""
        return {}


def network(layers: Layer | Iterable[Layer], input_shape: Iterable[int], *, output: str = "identity") -> Network:
    """A network of one layer or of several in series, for examples of ``input_shape``.

    ``output``: ``"sigmoid"``, ``"softmax"``, ``"identity"`` or ``"relu"``. Raises ValueError unless the layers can take
    the shape and give ``(n,)``, and for an unknown output.

    >>> from reference_numpy.layers import dense, embedding, gru
    >>> network([embedding(27, 8), gru(16), dense(3)], (12,), output="softmax").outputs
    3
    """
    check_choice("output", output, OUTPUTS)
    parts = (layers,) if isinstance(layers, Layer) else tuple(layers)
    given = layers if isinstance(layers, Sequence) else Sequence(check_layers(parts))
    shape = check_sizes("input_shape", tuple(input_shape), range(1, 33), "sizes of one example, integers >= 1")
    found = given.output_shape(shape)
    if len(found) != 1:
        raise ValueError(f"layers give {tuple(found)}: must give (n,), one row of logits for each example")
    return Network(given, shape, output)


def _kept(gradient: Array, buffer: Array | None) -> Array:
    if buffer is None:
        return gradient
    buffer[...] = gradient
    return buffer
