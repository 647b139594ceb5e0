"""A network of layers as a model: layers that compose, the shape of what they are given, and an output.

Its parameters are the layers' own, by path: ``{"1.W": ..., "1.b": ..., "3.W": ...}``. With ``A0 = x``::

    Z = layers(x)        (m, n), the logits
    A = f(Z)             (m, n), by the output: sigmoid, softmax, relu or Z itself

Like a layer it is immutable and hashed by value, static under ``jit``. ``training.fit`` trains it, and so does any loop
around ``apply``::

    model = network([dense(8), activation("relu"), dense(3)], (4,), output="softmax")
    parameters = model.initialize(jax.random.key(0))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))

    @jax.jit
    def step(parameters, state, x, labels):
        def cost(parameters):
            return losses.categorical_cross_entropy(model.apply(parameters, x), labels).mean()

        updates, state = optimizer.update(jax.grad(cost)(parameters), state, parameters)
        return optax.apply_updates(parameters, updates), state
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ._common import check_choice, check_parameters, check_sizes, is_weight
from ._layer import Array, Layer, Shape, Tensors
from .layers import Sequence, sequence

Masks = Mapping[Any, Array]  # dropout masks by layer or path

OUTPUTS = ("sigmoid", "softmax", "identity", "relu")


@dataclass(frozen=True)
class Network:
    """What :func:`network` makes. It has what training asks of a ``models.DenseNetwork``."""

    layers: Sequence
    input_shape: Shape
    output: str

    logits_name: ClassVar[str] = "Z"
    output_name: ClassVar[str] = "A"

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
        return _shapes(lambda: self.initialize(jax.random.key(0)))

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The paths of the weights, which penalties are of."""
        return tuple(filter(is_weight, self.parameter_shapes))

    @cached_property
    def mask_shapes(self) -> dict[str, Shape]:
        """The shape of a dropout mask of one example, by path."""
        return {path: shape[1:] for path, shape in _shapes(lambda: self.draw_masks(jax.random.key(0), 1)).items()}

    @cached_property
    def has_statistics(self) -> bool:
        """Whether some layer keeps running averages."""
        return bool(_shapes(lambda: self.layers.initial_statistics(self.input_shape)))

    def shows(self, name: str) -> bool:
        """Whether a value of a layer is one that ``models.intermediates`` returns: none that only training has."""
        return name != "A0" and not name.rpartition(".")[2].startswith(("_", "batch_"))

    def initialize(self, key: jax.Array, *, dtype: DTypeLike | None = None) -> dict[str, jax.Array]:
        """The layers' own initial parameters. ``key``: a PRNG key; ``dtype`` None means JAX's default."""
        return self.layers.initialize(key, self.input_shape, dtype=dtype)

    def draw_masks(self, key: jax.Array, examples: int) -> dict[str, jax.Array]:
        """What dropout draws for ``examples``, by path: ``{"3.mask": (m, ...)}``."""
        return self.layers.draw(key, examples, self.input_shape)

    def apply(
        self, parameters: Tensors, x: Array, *, masks: Masks | None = None, statistics: Tensors | None = None
    ) -> jax.Array:
        """Logits ``Z: (m, n)``; arguments as in :meth:`forward`. Under ``jit`` the other values cost nothing."""
        return self.forward(parameters, x, masks=masks, statistics=statistics)[0]

    def forward(
        self, parameters: Tensors, x: Array, *, masks: Masks | None = None, statistics: Tensors | None = None
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Logits ``Z: (m, n)`` and the values of every layer by path, with ``"A0"``, which is ``x``, and ``"Z"``.

        ``masks`` by path, None for no dropout; ``statistics``: the running ones of batch norm, None for training.
        Raises ValueError for an ``x`` of another shape, and for parameters that are missing, too many or of another
        shape.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"x has shape {x.shape}: must be ({', '.join(map(str, ('examples', *self.input_shape)))})")
        check_parameters(parameters, self.parameter_shapes)
        logits, values = self.layers.forward(parameters, x, drawn=masks, statistics=statistics)
        return logits, values | {"A0": jnp.asarray(x), "Z": logits}

    def updated_statistics(self, statistics: Tensors, values: Mapping[str, Any]) -> dict[str, jax.Array]:
        """The running averages of batch norm after a training forward pass with ``values``; {} without batch norm."""
        return self.layers.updated_statistics(statistics, values)


def network(layers: Layer | Iterable[Layer], input_shape: Iterable[int], *, output: str = "identity") -> Network:
    """A network of one layer or of several in series, for examples of ``input_shape``.

    ``output``: ``"sigmoid"``, ``"softmax"``, ``"identity"`` or ``"relu"``. Raises ValueError unless the layers can take
    the shape and give ``(n,)``, and for an unknown output.
    """
    check_choice("output", output, OUTPUTS)
    given = (layers,) if isinstance(layers, Layer) else tuple(layers)
    series: Any = layers if isinstance(layers, Sequence) else sequence(*given)
    shape = check_sizes("input_shape", tuple(input_shape), range(1, 33), "sizes of one example, integers >= 1")
    found = series.output_shape(shape)
    if len(found) != 1:
        raise ValueError(f"layers give {found}: must give (n,), one row of logits for each example")
    return Network(series, shape, output)


def _shapes(make: Callable[[], Mapping[str, jax.Array]]) -> dict[str, Shape]:
    """The shapes of the arrays that ``make`` returns, in their order; nothing is computed."""
    found: dict[str, Shape] = {}
    jax.eval_shape(lambda: found.update({path: array.shape for path, array in make().items()}))
    return found
