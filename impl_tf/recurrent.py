"""Recurrent layers over sequences ``(m, t, n_in)``: the simple one, LSTM, GRU, and one in each direction.

All start from a state of zeros. With ``return_sequences`` the output is the state ``h`` at every step, ``(m, t, n)``,
otherwise the last one, ``(m, n)``. ``reverse``: from the last step to the first; outputs stand at the places of their
inputs all the same, as ``tf.scan`` has them (Keras gives them in the order in which they were computed). At a step that
the mask says is not there, the state stays as it is, and is the output. ``s`` is the sigmoid, ``x`` below is ``x[t]``,
and ``h`` the state before it. ``biases``: 0, 1 (``b``) or 2 (also ``b_h``, which Keras's GRU has in "reset after").
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import tensorflow as tf

from . import activations, initializers
from ._common import check_choice, check_finite, check_flags, check_permutation, check_positive_integer
from ._layer import Composite, Layer, Shape, Tensors, check_initializer, linear

State = tuple[tf.Tensor, ...]


@dataclass(eq=False)
class Recurrent(Layer):
    """What recurrent layers have in common: all but one step."""

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
        """Only if there is an output for each step."""
        return self.return_sequences

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        z = linear(x, self.parameters["W"], self.parameters.get("b"))  # (m, t, blocks * n)
        given = tuple(_time_first(tensor) for tensor in (z, mask) if tensor is not None)
        start = tf.zeros((tf.shape(x)[0], self.units), x.dtype)
        states = tf.scan(self._masked_step, given, (start,) * len(self.state), reverse=self.reverse)
        values = {name: _time_first(state) for name, state in zip(self.state, states, strict=True)}
        h = values["h"]
        return h if self.return_sequences else h[:, 0 if self.reverse else -1], values

    def _masked_step(self, state: State, given: tuple[tf.Tensor, ...]) -> State:
        """The state after a step, or as before where there is none; ``given``: ``z``, and the mask if there is one."""
        z, *there = given
        new = self._step(z, *state)
        return tuple(tf.where(there[0][:, None], a, b) for a, b in zip(new, state, strict=True)) if there else new

    def _step(self, z: tf.Tensor, *state: tf.Tensor) -> State:
        """The state after a step; ``z = x W^T + b``: ``(m, blocks * n)``."""
        raise NotImplementedError

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        size = self.blocks * self.units
        draw, draw_recurrent = (initializers.INITIALIZERS[n] for n in (self.initializer, self.recurrent_initializer))
        parameters = {"W": draw(generator, (size, shape[-1]), dtype=dtype)}
        parameters["U"] = draw_recurrent(generator, (size, self.units), dtype=dtype)
        return parameters | {name: tf.zeros(size, dtype) for name in ("b", "b_h")[: self.biases]}


@dataclass(eq=False)
class SimpleRNN(Recurrent):
    """See :func:`simple_rnn`."""

    activation: str

    def _step(self, z: tf.Tensor, *state: tf.Tensor) -> State:
        u = linear(state[0], self.parameters["U"], self.parameters.get("b_h"))
        return (activations.ACTIVATIONS[self.activation](z + u),)


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
    """The simple recurrent layer, ``n`` units; ``f`` is tanh or relu::

        h' = f(x W^T + b + h U^T + b_h)

    ``W``: ``(n, n_in)``; ``U``: ``(n, n)``; ``b, b_h``: ``(n,)``. Raises ValueError for an argument out of range or
    unknown.
    """
    check_choice("activation", activation, ("tanh", "relu"))
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return SimpleRNN(**common, activation=activation)


@dataclass(eq=False)
class LSTM(Recurrent):
    """See :func:`lstm`."""

    gates: str
    forget_bias: float

    blocks: ClassVar[int] = 4
    state: ClassVar[tuple[str, ...]] = ("h", "c")

    def _step(self, z: tf.Tensor, *state: tf.Tensor) -> State:
        h, c = state
        z = _split(self.gates, z + linear(h, self.parameters["U"], self.parameters.get("b_h")))
        c = tf.sigmoid(z["f"]) * c + tf.sigmoid(z["i"]) * tf.tanh(z["g"])
        return tf.sigmoid(z["o"]) * tf.tanh(c), c

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        parameters = super()._initial_parameters(generator, shape, dtype)
        if self.biases:
            parameters["b"] = tf.repeat(
                tf.constant([self.forget_bias if letter == "f" else 0.0 for letter in self.gates], dtype), self.units
            )
        return parameters


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
    """Long short-term memory, ``n`` units, with input, forget and output gates and a candidate ``g``::

        z = x W^T + b + h U^T + b_h      c' = s(z_f) c + s(z_i) tanh(z_g)      h' = s(z_o) tanh(c')

    ``W``: ``(4n, n_in)``; ``U``: ``(4n, n)``; ``b, b_h``: ``(4n,)``. Their blocks of ``n`` rows are in the order of
    the letters in ``gates``; ``forget_bias`` is what ``b`` starts at in block ``f``. (Keras's ``c`` is ``g``; its
    forget bias starts at 1.) Raises ValueError for an argument out of range or unknown.
    """
    check_permutation("gates", gates, "ifgo")
    check_finite("forget_bias", forget_bias)
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return LSTM(**common, gates=gates, forget_bias=forget_bias)


@dataclass(eq=False)
class GRU(Recurrent):
    """See :func:`gru`."""

    gates: str
    reset: str

    blocks: ClassVar[int] = 3

    def _step(self, z: tf.Tensor, *state: tf.Tensor) -> State:
        h, z = state[0], _split(self.gates, z)
        weights = _split(self.gates, self.parameters["U"], axis=0)
        biases = _split(self.gates, self.parameters["b_h"]) if self.biases == 2 else {}

        def u(letter: str, h: tf.Tensor) -> tf.Tensor:
            return linear(h, weights[letter], biases.get(letter))

        r, update = tf.sigmoid(z["r"] + u("r", h)), tf.sigmoid(z["z"] + u("z", h))
        candidate = tf.tanh(z["n"] + (r * u("n", h) if self.reset == "after" else u("n", r * h)))
        return ((1 - update) * candidate + update * h,)


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
    """The gated recurrent unit, ``n`` units, with reset and update gates ``r``, ``z`` and a candidate ``n``::

        r, z = s(x W_r^T + b_r + h U_r^T + b_h,r), the same with z
        n = tanh(x W_n^T + b_n + r (h U_n^T + b_h,n))      reset="after"
        n = tanh(x W_n^T + b_n + (r h) U_n^T + b_h,n)      reset="before"
        h' = (1 - z) n + z h

    ``W``: ``(3n, n_in)``; ``U``: ``(3n, n)``; ``b, b_h``: ``(3n,)``; blocks of ``n`` rows in the order of ``gates``
    (Keras's: ``"zrn"``). Raises ValueError for an argument out of range or unknown.
    """
    check_permutation("gates", gates, "rzn")
    check_choice("reset", reset, ("after", "before"))
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return GRU(**common, gates=gates, reset=reset)


@dataclass(eq=False)
class Bidirectional(Composite):
    """See :func:`bidirectional`."""

    layer: Recurrent
    join: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self.turned = replace(self.layer, reverse=not self.layer.reverse)

    @property
    def passes_mask(self) -> bool:
        """As the layer itself."""
        return self.layer.passes_mask

    def parts(self) -> dict[str, Layer]:
        """The layer, and its copy the other way round."""
        return {"forward": self.layer, "backward": self.turned}

    def output_shape(self, shape: Shape) -> Shape:
        *steps, n = self.layer.output_shape(shape)
        return (*steps, 2 * n if self.join == "concatenate" else n)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        (one, values), (other, more) = (self._part(name, x, drawn, training, mask) for name in self.parts())
        return tf.concat([one, other], axis=-1) if self.join == "concatenate" else one + other, values | more


def bidirectional(layer: Layer, *, join: str = "concatenate") -> Layer:
    """A recurrent layer in both directions: ``layer``, and its copy with ``reverse`` the other way round.

    Parameters are those of the two under ``"forward."`` and ``"backward."``. Outputs are joined along the last axis, or
    summed (``join="sum"``); without ``return_sequences`` they are the last states, each of its own direction. Raises
    ValueError if ``layer`` is not recurrent or ``join`` unknown.
    """
    if not isinstance(layer, Recurrent):
        raise ValueError(f"layer={layer!r} is not allowed: must be a recurrent layer")
    check_choice("join", join, ("concatenate", "sum"))
    return Bidirectional(layer, join)


def _checked(
    units: Any, return_sequences: Any, reverse: Any, biases: Any, initializer: Any, recurrent_initializer: Any
) -> dict[str, Any]:
    """What all recurrent layers take, by name."""
    check_positive_integer("units", units)
    check_flags(return_sequences=return_sequences, reverse=reverse)
    check_choice("biases", biases, (0, 1, 2))
    check_initializer("initializer", initializer)
    check_initializer("recurrent_initializer", recurrent_initializer)
    return {
        "units": units, "return_sequences": return_sequences, "reverse": reverse, "biases": int(biases),
        "initializer": initializer, "recurrent_initializer": recurrent_initializer,
    }  # fmt: skip


def _time_first(x: tf.Tensor) -> tf.Tensor:
    """``(m, t, ...)`` as ``(t, m, ...)``, and back."""
    return tf.transpose(x, (1, 0, *range(2, x.shape.rank)))


def _split(letters: str, blocks: tf.Tensor, axis: int = -1) -> dict[str, tf.Tensor]:
    """The blocks by their letters."""
    return dict(zip(letters, tf.split(blocks, len(letters), axis=axis), strict=True))
