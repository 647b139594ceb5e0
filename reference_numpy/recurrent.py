"""Recurrent layers over sequences ``(m, t, n_in)``: the simple one, LSTM, GRU, and one in each direction.

All start from a state of zeros. With ``return_sequences`` the output is the state ``h`` at every step, ``(m, t, n)``,
otherwise the last one, ``(m, n)``. ``reverse``: from the last step to the first; outputs stand at the places of their
inputs all the same (Keras gives them in the order in which they were computed). At a step that the mask says is not
there, the state stays as it is, and is the output. ``s`` is the sigmoid, ``x`` below is ``x[t]``, and ``h`` the state
before it. ``biases``: 0, 1 (``b``) or 2 (also ``b_h``, as PyTorch has it).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from . import activations, initializers
from ._common import check_choice, check_finite, check_flags, check_permutation, check_positive_integer, inside, named
from ._layer import (
    Array,
    Layer,
    Shape,
    Tensors,
    affine,
    affine_backward,
    bias_gradient,
    check_initializer,
    weight_gradient,
)

State = tuple[Array, ...]


@dataclass(frozen=True)
class Recurrent(Layer):
    """What recurrent layers have in common: all but one step and its backward pass."""

    units: int
    return_sequences: bool
    reverse: bool
    biases: int
    initializer: str
    recurrent_initializer: str

    blocks: ClassVar[int] = 1  # of n rows, in W and U
    state: ClassVar[tuple[str, ...]] = ("h",)
    kept: ClassVar[tuple[str, ...]] = ()  # what else a step leaves for its backward pass

    @property
    def passes_mask(self) -> bool:
        """Only if there is an output for each step."""
        return self.return_sequences

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        size = self.blocks * self.units
        draw, draw_recurrent = (initializers.INITIALIZERS[n] for n in (self.initializer, self.recurrent_initializer))
        parameters = {"W": draw(generator, (size, shape[-1]), dtype=dtype)}
        parameters["U"] = draw_recurrent(generator, (size, self.units), dtype=dtype)
        return parameters | {name: np.zeros(size, dtype) for name in ("b", "b_h")[: self.biases]}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        z = affine(x, parameters["W"], parameters.get("b"))  # (m, t, blocks * n)
        state: State = tuple(np.zeros((len(x), self.units), z.dtype) for _ in self.state)
        found = {}
        for step in self._steps(x.shape[1]):
            new, kept = self._step(parameters, z[:, step], *state)
            state = _where_there(mask, step, new, state)
            found[step] = (*state, *kept)
        in_place = zip(*(found[step] for step in range(x.shape[1])), strict=True)
        names = (*self.state, *self.kept)
        values = {name: np.stack(arrays, axis=1) for name, arrays in zip(names, in_place, strict=True)}
        return values["h"] if self.return_sequences else state[0], values | {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        after = {name: values[name] for name in (*self.state, *self.kept)}
        before = {name: self._before(values[name]) for name in self.state}
        nothing = np.zeros_like(before["h"][:, 0])
        d_state: State = (nothing if self.return_sequences else dy, *(nothing for _ in self.state[1:]))
        dz, du = np.zeros((2, *dy.shape[:1], values["_x"].shape[1], self.blocks * self.units), dy.dtype)
        for step in reversed(self._steps(values["_x"].shape[1])):
            if self.return_sequences:
                d_state = (d_state[0] + dy[:, step], *d_state[1:])
            now, then = ({name: a[:, step] for name, a in arrays.items()} for arrays in (after, before))
            d_new = _where_there(mask, step, d_state, (nothing,) * len(d_state))
            dz[:, step], du[:, step], d_before = self._step_backward(parameters, now, then, *d_new)
            d_stayed = _where_there(mask, step, (nothing,) * len(d_state), d_state)
            d_state = tuple(a + b for a, b in zip(d_before, d_stayed, strict=True))
        dx, dw, db = affine_backward(dz, values["_x"], parameters["W"])
        gradients = {"W": dw, "U": self._recurrent_gradient(du, before["h"], values), "b": db, "b_h": bias_gradient(du)}
        return dx, {name: gradients[name] for name in parameters}

    def _step(self, parameters: Tensors, z: Array, *state: Array) -> tuple[State, State]:
        """The state after a step, and what is ``kept``; ``z = x W^T + b``: ``(m, blocks * n)``."""
        raise NotImplementedError

    def _step_backward(
        self, parameters: Tensors, now: Tensors, before: Tensors, *gradients: Array
    ) -> tuple[Array, Array, State]:
        """``(dz, du, gradients of the state before)``: ``u = h U^T + b_h``; ``gradients``: of the state after."""
        raise NotImplementedError

    def _recurrent_gradient(self, du: Array, before: Array, values: Tensors) -> Array:
        """``dU``; ``before``: ``h`` before each step, ``(m, t, n)``."""
        return weight_gradient(du, before)

    def _steps(self, t: int) -> range:
        return range(t - 1, -1, -1) if self.reverse else range(t)

    def _before(self, states: Array) -> Array:
        """The state before each step, of that after it, ``(m, t, n)``."""
        start = np.zeros_like(states[:, :1])
        parts = (states[:, 1:], start) if self.reverse else (start, states[:, :-1])
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class SimpleRNN(Recurrent):
    """See :func:`simple_rnn`."""

    activation: str

    def _step(self, parameters: Tensors, z: Array, *state: Array) -> tuple[State, State]:
        u = affine(state[0], parameters["U"], parameters.get("b_h"))
        return (activations.ACTIVATIONS[self.activation](z + u),), ()

    def _step_backward(
        self, parameters: Tensors, now: Tensors, before: Tensors, *gradients: Array
    ) -> tuple[Array, Array, State]:
        # The slopes of tanh and relu are functions of their value.
        dz = activations.BACKWARD[self.activation](gradients[0], now["h"], now["h"])
        return dz, dz, (affine(dz, parameters["U"].T),)


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
    unknown. Source: Elman 1990; the course, course 5 week 1.

    >>> parameters = {"W": np.array([[1.0]]), "U": np.array([[2.0]])}
    >>> layer = simple_rnn(1, activation="relu", biases=0, return_sequences=True)
    >>> layer.forward(parameters, np.array([[[1.0], [0.0], [1.0]]]))[0].ravel()
    array([1., 2., 5.])
    """
    check_choice("activation", activation, ("tanh", "relu"))
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return SimpleRNN(**common, activation=activation)


@dataclass(frozen=True)
class LSTM(Recurrent):
    """See :func:`lstm`."""

    gates: str
    forget_bias: float

    blocks: ClassVar[int] = 4
    state: ClassVar[tuple[str, ...]] = ("h", "c")
    kept: ClassVar[tuple[str, ...]] = ("_gates",)

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        parameters = super().initialize(generator, shape, dtype=dtype)
        if self.biases:
            _split(self.gates, parameters["b"])["f"][:] = self.forget_bias
        return parameters

    def _step(self, parameters: Tensors, z: Array, *state: Array) -> tuple[State, State]:
        h, c = state
        z = z + affine(h, parameters["U"], parameters.get("b_h"))
        gate = {
            letter: (activations.tanh if letter == "g" else activations.sigmoid)(block)
            for letter, block in _split(self.gates, z).items()
        }
        c = gate["f"] * c + gate["i"] * gate["g"]
        return (gate["o"] * activations.tanh(c), c), (_join(self.gates, gate),)

    def _step_backward(
        self, parameters: Tensors, now: Tensors, before: Tensors, *gradients: Array
    ) -> tuple[Array, Array, State]:
        dh, dc = gradients
        gate, squashed = _split(self.gates, now["_gates"]), activations.tanh(now["c"])
        dc = dc + activations.tanh_backward(dh * gate["o"], now["c"], squashed)
        d_gate = {"i": dc * gate["g"], "f": dc * before["c"], "g": dc * gate["i"], "o": dh * squashed}
        dz = _join(self.gates, {letter: _slope(letter, d_gate[letter], gate[letter]) for letter in self.gates})
        return dz, dz, (affine(dz, parameters["U"].T), dc * gate["f"])


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
    forget bias starts at 1.) Raises ValueError for an argument out of range or unknown. Source: Hochreiter &
    Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 for the forget gate; the course, course 5 week 1.

    >>> parameters = {"W": np.zeros((4, 1)), "U": np.zeros((4, 1)), "b": np.array([99.0, 99.0, 99.0, 99.0])}
    >>> lstm(1, return_sequences=True).forward(parameters, np.zeros((1, 3, 1)))[1]["c"].ravel()
    array([1., 2., 3.])
    """
    check_permutation("gates", gates, "ifgo")
    check_finite("forget_bias", forget_bias)
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return LSTM(**common, gates=gates, forget_bias=forget_bias)


@dataclass(frozen=True)
class GRU(Recurrent):
    """See :func:`gru`."""

    gates: str
    reset: str

    blocks: ClassVar[int] = 3
    kept: ClassVar[tuple[str, ...]] = ("_gates", "_candidate")

    def _step(self, parameters: Tensors, z: Array, *state: Array) -> tuple[State, State]:
        h, blocks, weights = state[0], _split(self.gates, z), _split(self.gates, parameters["U"], axis=0)
        biases = _split(self.gates, parameters["b_h"]) if self.biases == 2 else {}
        gate = {
            letter: activations.sigmoid(blocks[letter] + affine(h, weights[letter], biases.get(letter)))
            for letter in "rz"
        }
        if self.reset == "after":
            u = affine(h, weights["n"], biases.get("n"))
            gate["n"] = activations.tanh(blocks["n"] + gate["r"] * u)
        else:
            u = affine(gate["r"] * h, weights["n"], biases.get("n"))
            gate["n"] = activations.tanh(blocks["n"] + u)
        return ((1 - gate["z"]) * gate["n"] + gate["z"] * h,), (_join(self.gates, gate), u)

    def _step_backward(
        self, parameters: Tensors, now: Tensors, before: Tensors, *gradients: Array
    ) -> tuple[Array, Array, State]:
        dh, h, weights = gradients[0], before["h"], _split(self.gates, parameters["U"], axis=0)
        gate = _split(self.gates, now["_gates"])
        dz = {"z": _slope("z", dh * (h - gate["n"]), gate["z"]), "n": _slope("n", dh * (1 - gate["z"]), gate["n"])}
        if self.reset == "after":
            dz["r"] = _slope("r", dz["n"] * now["_candidate"], gate["r"])
            du = dz | {"n": dz["n"] * gate["r"]}
            d_through_n = affine(du["n"], weights["n"].T)
        else:
            d_reset = affine(dz["n"], weights["n"].T)  # of r h
            dz["r"] = _slope("r", d_reset * h, gate["r"])
            du = dz
            d_through_n = d_reset * gate["r"]
        through_gates = affine(du["r"], weights["r"].T) + affine(du["z"], weights["z"].T)
        d_before = dh * gate["z"] + through_gates + d_through_n
        return _join(self.gates, dz), _join(self.gates, du), (d_before,)

    def _recurrent_gradient(self, du: Array, before: Array, values: Tensors) -> Array:
        seen = dict.fromkeys(self.gates, before)
        if self.reset == "before":
            seen["n"] = _split(self.gates, values["_gates"])["r"] * before
        blocks = {letter: weight_gradient(block, seen[letter]) for letter, block in _split(self.gates, du).items()}
        return _join(self.gates, blocks, axis=0)


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

    ``W``: ``(3n, n_in)``; ``U``: ``(3n, n)``; ``b, b_h``: ``(3n,)``; blocks of ``n`` rows in the order of ``gates``.
    Raises ValueError for an argument out of range or unknown. Source: Cho et al. 2014 (``"before"``, with the roles of
    ``z`` and ``1 - z`` as here); cuDNN, and so PyTorch and Keras, has ``"after"``; the course, course 5 week 1.

    >>> parameters = {"W": np.zeros((3, 1)), "U": np.zeros((3, 1)), "b": np.array([0.0, 0.0, 99.0])}
    >>> gru(1, return_sequences=True).forward(parameters, np.zeros((1, 3, 1)))[0].ravel()
    array([0.5  , 0.75 , 0.875])
    """
    check_permutation("gates", gates, "rzn")
    check_choice("reset", reset, ("after", "before"))
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return GRU(**common, gates=gates, reset=reset)


@dataclass(frozen=True)
class Bidirectional(Layer):
    """See :func:`bidirectional`."""

    layer: Recurrent
    join: str

    @property
    def passes_mask(self) -> bool:
        """As the layer itself."""
        return self.layer.passes_mask

    @property
    def directions(self) -> dict[str, Recurrent]:
        """The layer, and its copy the other way round."""
        return {"forward": self.layer, "backward": replace(self.layer, reverse=not self.layer.reverse)}

    def output_shape(self, shape: Shape) -> Shape:
        *steps, n = self.layer.output_shape(shape)
        return (*steps, 2 * n if self.join == "concatenate" else n)

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        parameters: Tensors = {}
        for name, layer in self.directions.items():
            parameters |= named(layer.initialize(generator, shape, dtype=dtype), name)
        return parameters

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        outputs: list[Array] = []
        values: Tensors = {}
        for name, layer in self.directions.items():
            y, found = layer.forward(inside(parameters, name), x, mask=mask)
            outputs.append(y)
            values |= named(found, name)
        return np.concatenate(outputs, axis=-1) if self.join == "concatenate" else outputs[0] + outputs[1], values

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        shares = np.split(dy, 2, axis=-1) if self.join == "concatenate" else (dy, dy)
        dx: Any = 0.0
        gradients: Tensors = {}
        for (name, layer), share in zip(self.directions.items(), shares, strict=True):
            found_dx, found = layer.backward(inside(parameters, name), inside(values, name), share, mask=mask)
            dx = dx + found_dx
            gradients |= named(found, name)
        return dx, gradients


def bidirectional(layer: Layer, *, join: str = "concatenate") -> Layer:
    """A recurrent layer in both directions: ``layer``, and its copy with ``reverse`` the other way round.

    Parameters are those of the two under ``"forward."`` and ``"backward."``. Outputs are joined along the last axis, or
    summed (``join="sum"``); without ``return_sequences`` they are the last states, each of its own direction. Raises
    ValueError if ``layer`` is not recurrent or ``join`` unknown. Source: Schuster & Paliwal 1997; the course, course 5
    week 1.

    >>> bidirectional(lstm(3, return_sequences=True)).output_shape((5, 2))
    (5, 6)
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


def _where_there(mask: Array | None, step: int, there: State, otherwise: State) -> State:
    """``there`` for examples that have this step, ``otherwise`` for the others."""
    if mask is None:
        return there
    return tuple(np.where(mask[:, step, None], a, b) for a, b in zip(there, otherwise, strict=True))


def _split(letters: str, blocks: Array, axis: int = -1) -> dict[str, Array]:
    """The blocks by their letters, views."""
    return dict(zip(letters, np.split(blocks, len(letters), axis=axis), strict=True))


def _join(letters: str, blocks: Mapping[str, Array], axis: int = -1) -> Array:
    return np.concatenate([blocks[letter] for letter in letters], axis=axis)


def _slope(letter: str, gradient: Array, value: Array) -> Array:
    """The backward pass of tanh for a candidate, of the sigmoid for a gate; both know their slope from their value."""
    backward = activations.tanh_backward if letter in "gn" else activations.sigmoid_backward
    return backward(gradient, value, value)
