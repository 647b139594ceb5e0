"""What every layer is, and what the names of its arrays are: paths, such as ``"3.W"``, in one flat dict.

A layer is an immutable, hashable description, so that ``jax.jit`` takes it as a static argument. Its parameters,
running averages, draws and values are dicts kept apart from it: pytrees, which ``grad``, ``vmap`` and optax take as
they are.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from numpy.typing import NDArray

from . import initializers
from ._common import check_choice, inside, named

Array: TypeAlias = jax.Array | NDArray
Tensors = Mapping[str, Array]  # by path, what a method takes; it returns dict[str, jax.Array]
Shape = tuple[int, ...]  # of one example
Options = Mapping[str, Any]  # keywords
Pairs = tuple[tuple[str, Any], ...]  # the same: a dict could not be hashed


@dataclass(frozen=True)
class Layer:
    """A map of ``x: (m, *shape)`` to ``y: (m, *output_shape)``. The functions of ``layers.py`` make and check them."""

    @property
    def passes_mask(self) -> bool:
        """Whether the output has the time axis of the input, so that the mask of its steps fits what follows."""
        return True

    def next_mask(self, x: Array, mask: Array | None) -> Array | None:
        """The mask of the steps for what follows, where the layer was given ``x`` and ``mask``."""
        return mask if self.passes_mask else None

    def check_entries(self, x: Array) -> None:
        """Raise ValueError for tokens that are none or out of range, if known: compiled code cannot refuse them."""

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one output for that of one input. Raises ValueError if the layer cannot take it."""
        return tuple(shape)

    def initialize(self, key: jax.Array, shape: Shape, *, dtype: DTypeLike | None = None) -> dict[str, jax.Array]:
        """Initial parameters by path, for inputs of ``shape``.

        ``key``: a PRNG key, typed or raw; the layer at a place of a sequence takes ``jax.random.fold_in(key, place)``.
        ``dtype`` None means JAX's default. Raises ValueError as :meth:`output_shape`.
        """
        self.output_shape(shape)
        return {}

    def initial_statistics(self, shape: Shape, *, dtype: DTypeLike | None = None) -> dict[str, jax.Array]:
        """Batch norm's running averages before training by path, means 0 and variances 1; {} without batch norm."""
        return {}

    def draw(self, key: jax.Array, examples: int, shape: Shape) -> dict[str, jax.Array]:
        """What is random in a training pass of ``examples``, by path: dropout's ``"mask"``, bool ``(m, *shape)``."""
        return {}

    def forward(
        self,
        parameters: Tensors,
        x: Array,
        *,
        drawn: Tensors | None = None,
        statistics: Tensors | None = None,
        mask: Array | None = None,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """``y: (m, *output_shape)`` and the values on the way to it, by path.

        ``x``: ``(m, *shape)``; ``drawn``: what :meth:`draw` gave, None: no dropout; ``statistics``: the running ones of
        batch norm, None: training, with the batch's own; ``mask``: bool ``(m, t)``, True where a sequence has a step,
        None: everywhere.
        """
        raise NotImplementedError

    def apply(
        self,
        parameters: Tensors,
        x: Array,
        *,
        drawn: Tensors | None = None,
        statistics: Tensors | None = None,
        mask: Array | None = None,
    ) -> jax.Array:
        """``y`` alone; arguments as in :meth:`forward`. Under ``jit`` the other values cost nothing."""
        return self.forward(parameters, x, drawn=drawn, statistics=statistics, mask=mask)[0]

    def updated_statistics(self, statistics: Tensors, values: Mapping[str, Any]) -> dict[str, jax.Array]:
        """The running averages after a training pass that had ``values``; {} without batch norm."""
        return {}

    def _refused(self, shape: Shape, must_be: str) -> ValueError:
        return ValueError(f"{type(self).__name__} cannot take examples of shape {tuple(shape)}: must be {must_be}")


@dataclass(frozen=True)
class Composite(Layer):
    """A layer made of others, with the arrays of each under a path of its own."""

    def parts(self) -> dict[str, Layer]:
        """The layers by the first part of their paths, in the order of their places, from 1."""
        raise NotImplementedError

    def shapes(self, shape: Shape) -> Iterator[Shape]:
        """What each part is given: the input's shape, unless they follow one another."""
        return (shape for _ in self.parts())

    def initialize(self, key: jax.Array, shape: Shape, *, dtype: DTypeLike | None = None) -> dict[str, jax.Array]:
        self.output_shape(shape)
        return self._collected(
            shape, lambda place, part, given: part.initialize(jax.random.fold_in(key, place), given, dtype=dtype)
        )

    def initial_statistics(self, shape: Shape, *, dtype: DTypeLike | None = None) -> dict[str, jax.Array]:
        return self._collected(shape, lambda _, part, given: part.initial_statistics(given, dtype=dtype))

    def draw(self, key: jax.Array, examples: int, shape: Shape) -> dict[str, jax.Array]:
        return self._collected(
            shape, lambda place, part, given: part.draw(jax.random.fold_in(key, place), examples, given)
        )

    def updated_statistics(self, statistics: Tensors, values: Mapping[str, Any]) -> dict[str, jax.Array]:
        updated: dict[str, jax.Array] = {}
        for name, part in self.parts().items():
            updated |= named(part.updated_statistics(inside(statistics, name), inside(values, name)), name)
        return updated

    def _collected(self, shape: Shape, of: Callable[[int, Layer, Shape], dict[str, jax.Array]]) -> dict[str, jax.Array]:
        collected: dict[str, jax.Array] = {}
        for place, ((name, part), given) in enumerate(zip(self.parts().items(), self.shapes(shape), strict=True), 1):
            collected |= named(of(place, part, given), name)
        return collected

    def _forward_part(
        self, name: str, parameters: Tensors, x: Array, drawn: Any, statistics: Any, mask: Any
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The output of one part, and its values by their names within that part."""
        return self.parts()[name].forward(
            inside(parameters, name), x, drawn=inside(drawn, name), statistics=inside(statistics, name), mask=mask
        )


def initial_weights(
    initializer: str, options: Pairs, key: jax.Array, shape: Shape, dtype: DTypeLike | None
) -> jax.Array:
    """Weights of ``shape`` from an initializer and its options."""
    return initializers.INITIALIZERS[initializer](key, shape, dtype=dtype, **dict(options))


def initializer_pairs(initializer: str, options: Options | None) -> Pairs:
    """The options as pairs. Raises ValueError for an unknown initializer or an option it refuses; nothing is drawn."""
    check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = partial(initializers.INITIALIZERS[initializer], shape=(1, 1), **(options or {}))
    jax.eval_shape(draw, jax.ShapeDtypeStruct((2,), jnp.uint32))
    return tuple(sorted((options or {}).items()))
