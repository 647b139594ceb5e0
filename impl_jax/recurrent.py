"""Recurrent layers: each carries a state over the steps of a sequence ``(m, t, n_in)``, from zeros on, in one ``scan``.

A step that the mask says is not there leaves the state as it was. ``reverse`` goes from the last step to the first, and
the outputs stand where their inputs do (Flax's ``RNN`` needs ``keep_order=True`` for that). All values of the state are
kept as ``"h"``, and an LSTM's cells as ``"c"``, each ``(m, t, n)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from . import activations, initializers
from ._common import check_choice, check_finite, check_flags, check_permutation, check_positive_integer, named
from ._layer import Composite, Layer, Tensors, initial_weights

State = tuple[jax.Array, ...]  # h, and c of an LSTM: (m, n) each


@dataclass(frozen=True)
class Recurrent(Layer):
    """What recurrent layers have in common: all but one step. ``W: (blocks n, n_in)``, ``U: (blocks n, n)``."""

    units: int
    return_sequences: bool
    reverse: bool
    biases: int
    initializer: str
    recurrent_initializer: str

    blocks: ClassVar[int] = 1  # of n rows, in W and U
    state: ClassVar[tuple[str, ...]] = ("h",)

    @property
    def passes_mask(self) -> bool:
        return self.return_sequences

    def step(self, parameters: Tensors, z: jax.Array, state: State) -> State:
        """The next state. ``z: (m, blocks n)``: what the input adds, ``x[t] W^T + b``."""
        raise NotImplementedError

    def output_shape(self, shape):
        if len(shape) != 2:
            raise self._refused(shape, "(t, n)")
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def initialize(self, key, shape, *, dtype=None):
        self.output_shape(shape)
        rows = self.blocks * self.units
        key_w, key_u = jax.random.split(key)
        return {
            "W": initial_weights(self.initializer, (), key_w, (rows, shape[-1]), dtype),
            "U": initial_weights(self.recurrent_initializer, (), key_u, (rows, self.units), dtype),
        } | {name: jnp.zeros(rows, dtype) for name in ("b", "b_h")[: self.biases]}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        self.output_shape(x.shape[1:])
        parameters = {name: jnp.asarray(array) for name, array in parameters.items()}
        z = _plus(jnp.asarray(x) @ parameters["W"].T, parameters, "b")  # (m, t, blocks n)
        there = None if mask is None else jnp.asarray(mask).T[:, :, None]  # (t, m, 1)

        def one_step(state: State, inputs: Any) -> tuple[State, State]:
            z, there = inputs
            new = self.step(parameters, z, state)
            if there is not None:
                new = tuple(jnp.where(there, n, old) for n, old in zip(new, state, strict=True))
            return new, new

        start = (jnp.zeros((len(x), self.units), z.dtype),) * len(self.state)
        last, every = lax.scan(one_step, start, (z.swapaxes(0, 1), there), reverse=self.reverse)
        values = {name: states.swapaxes(0, 1) for name, states in zip(self.state, every, strict=True)}
        return (values["h"] if self.return_sequences else last[0]), values


@dataclass(frozen=True)
class SimpleRNN(Recurrent):
    """The layer that :func:`simple_rnn` makes."""

    activation: str

    def step(self, parameters: Tensors, z: jax.Array, state: State) -> State:
        (h,) = state
        return (activations.ACTIVATIONS[self.activation](z + _plus(h @ parameters["U"].T, parameters, "b_h")),)


def simple_rnn(
    units: int,
    *,
    activation: str = "tanh",
    return_sequences: bool = False,
    reverse: bool = False,
    biases: int = 1,
    initializer: str = "xavier_uniform",
    recurrent_initializer: str = "orthogonal",
) -> Layer:
    """``h[t] = f(x[t] W^T + b + h[t-1] U^T + b_h)``, ``f`` tanh or relu; ``n`` units.

    ``x: (m, t, n_in)``; ``W: (n, n_in)``, ``U: (n, n)``, ``b``, ``b_h``: ``(n,)``. Returns the last ``h``, ``(m, n)``,
    or with ``return_sequences`` all, ``(m, t, n)``. ``biases``: 0, 1 (``b``) or 2 (``b`` and ``b_h``). Raises
    ValueError for an argument out of range or unknown, as all recurrent layers do.
    """
    check_choice("activation", activation, ("tanh", "relu"))
    shared = _check(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return SimpleRNN(**shared, activation=activation)


@dataclass(frozen=True)
class LSTM(Recurrent):
    """The layer that :func:`lstm` makes."""

    gates: str
    forget_bias: float

    blocks: ClassVar[int] = 4
    state: ClassVar[tuple[str, ...]] = ("h", "c")

    def initialize(self, key, shape, *, dtype=None):
        parameters = super().initialize(key, shape, dtype=dtype)
        if "b" in parameters:
            start = self.gates.index("f") * self.units
            parameters["b"] = parameters["b"].at[start : start + self.units].set(self.forget_bias)
        return parameters

    def step(self, parameters: Tensors, z: jax.Array, state: State) -> State:
        h, c = state
        blocks = _blocks(z + _plus(h @ parameters["U"].T, parameters, "b_h"), self.gates)
        i, f, o = (jax.nn.sigmoid(blocks[letter]) for letter in "ifo")
        c = f * c + i * jnp.tanh(blocks["g"])
        return o * jnp.tanh(c), c


def lstm(
    units: int,
    *,
    gates: str = "ifgo",
    return_sequences: bool = False,
    reverse: bool = False,
    biases: int = 1,
    forget_bias: float = 0.0,
    initializer: str = "xavier_uniform",
    recurrent_initializer: str = "orthogonal",
) -> Layer:
    """Long short-term memory of ``n`` units::

        z = x[t] W^T + b + h[t-1] U^T + b_h      (m, 4n): blocks i, f, g, o in the order of gates
        c[t] = s(f) c[t-1] + s(i) tanh(g)
        h[t] = s(o) tanh(c[t])                   s: sigmoid

    ``W: (4n, n_in)``, ``U: (4n, n)``, ``b``, ``b_h``: ``(4n,)``. Inputs, outputs and ``biases`` as in
    :func:`simple_rnn`; ``forget_bias`` is where block ``f`` of ``b`` starts. Flax's cells have a block ``ii``, ``if``,
    ``ig``, ``io`` each and their one bias with ``U``, all from 0. Raises ValueError too unless ``gates`` is a
    permutation of the letters.
    """
    check_permutation("gates", gates, "ifgo")
    check_finite("forget_bias", forget_bias)
    shared = _check(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return LSTM(**shared, gates=gates, forget_bias=float(forget_bias))


@dataclass(frozen=True)
class GRU(Recurrent):
    """The layer that :func:`gru` makes."""

    gates: str
    reset: str

    blocks: ClassVar[int] = 3

    def step(self, parameters: Tensors, z: jax.Array, state: State) -> State:
        (h,) = state
        x = _blocks(z, self.gates)
        u = _blocks(_plus(h @ parameters["U"].T, parameters, "b_h"), self.gates)
        r, z = (jax.nn.sigmoid(x[letter] + u[letter]) for letter in "rz")
        if self.reset == "after":
            n = jnp.tanh(x["n"] + r * u["n"])
        else:
            of_n = {name: _blocks(parameters[name], self.gates, axis=0)["n"] for name in parameters}
            n = jnp.tanh(x["n"] + _plus((r * h) @ of_n["U"].T, of_n, "b_h"))
        return ((1 - z) * n + z * h,)


def gru(
    units: int,
    *,
    gates: str = "rzn",
    reset: str = "after",
    return_sequences: bool = False,
    reverse: bool = False,
    biases: int = 1,
    initializer: str = "xavier_uniform",
    recurrent_initializer: str = "orthogonal",
) -> Layer:
    """Gated recurrent units, ``n`` of them::

        r, z = s(x[t] W^T + b + h[t-1] U^T + b_h)                        of their blocks; s: sigmoid
        n = tanh(x[t] W_n^T + b_n + r (h[t-1] U_n^T + b_h,n))            reset="after"
        n = tanh(x[t] W_n^T + b_n + (r h[t-1]) U_n^T + b_h,n)            reset="before"
        h[t] = (1 - z) n + z h[t-1]

    ``W: (3n, n_in)``, ``U: (3n, n)``, ``b``, ``b_h``: ``(3n,)``, blocks in the order of ``gates``. Inputs, outputs and
    ``biases`` as in :func:`simple_rnn`. Flax's cell resets after, and has of ``b_h`` the block ``n`` alone. Raises
    ValueError too unless ``gates`` is a permutation of the letters.
    """
    check_permutation("gates", gates, "rzn")
    check_choice("reset", reset, ("after", "before"))
    shared = _check(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return GRU(**shared, gates=gates, reset=reset)


@dataclass(frozen=True)
class Bidirectional(Composite):
    """The layer that :func:`bidirectional` makes."""

    layer: Recurrent
    join: str

    @property
    def passes_mask(self) -> bool:
        return self.layer.passes_mask

    def parts(self) -> dict[str, Layer]:
        return {"forward": self.layer, "backward": replace(self.layer, reverse=not self.layer.reverse)}

    def output_shape(self, shape):
        *before, units = self.layer.output_shape(shape)
        return (*before, 2 * units if self.join == "concatenate" else units)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        there, values = self._forward_part("forward", parameters, x, drawn, statistics, mask)
        back, values_back = self._forward_part("backward", parameters, x, drawn, statistics, mask)
        y = jnp.concatenate([there, back], axis=-1) if self.join == "concatenate" else there + back
        return y, named(values, "forward") | named(values_back, "backward")


def bidirectional(layer: Recurrent, *, join: str = "concatenate") -> Layer:
    """A recurrent layer, and beside it its copy with ``reverse`` the other way round.

    Their parameters are under ``forward.`` and ``backward.``; their outputs are joined along the last axis, or summed
    (``join="sum"``). Without ``return_sequences`` each gives its own last state. Raises ValueError for a layer that is
    not recurrent, or an unknown ``join``.
    """
    if not isinstance(layer, Recurrent):
        raise ValueError(f"layer={layer!r} is not allowed: must be a recurrent layer")
    check_choice("join", join, ("concatenate", "sum"))
    return Bidirectional(layer, join)


def _plus(z: jax.Array, parameters: Mapping[str, Any], name: str) -> jax.Array:
    """``z`` and the bias of that name, if there is one."""
    return z + parameters[name] if name in parameters else z


def _blocks(z: Any, gates: str, axis: int = -1) -> dict[str, jax.Array]:
    """The equal parts of ``z`` along an axis, by their letters."""
    return dict(zip(gates, jnp.split(z, len(gates), axis=axis), strict=True))


def _check(
    units: Any, return_sequences: Any, reverse: Any, biases: Any, initializer: Any, recurrent_initializer: Any
) -> dict[str, Any]:
    """What all recurrent layers take, by name."""
    check_positive_integer("units", units)
    check_flags(return_sequences=return_sequences, reverse=reverse)
    check_choice("biases", biases, (0, 1, 2))
    check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    check_choice("recurrent_initializer", recurrent_initializer, tuple(initializers.INITIALIZERS))
    return {
        "units": int(units), "return_sequences": bool(return_sequences), "reverse": bool(reverse),
        "biases": int(biases), "initializer": initializer, "recurrent_initializer": recurrent_initializer,
    }  # fmt: skip
