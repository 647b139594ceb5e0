"""Recurrent layers of sequences ``x: (m, t, n_in)`` with ``units`` values of state, ``n`` below, that starts at 0.

``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` are the same functions with what is here ``biases=2``; they know no mask, have
one order of the gates, and return all outputs and the last state. They are kernels; these are loops.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._common import check_choice, check_finite, check_flags, check_permutation, check_positive_integer
from ._layer import Around, Layer, Shape, called, check_initializer, initial_weights

State = tuple[Tensor, ...]  # h, and what else a layer remembers


class Recurrent(Layer):
    """A layer that goes from step to step. Its kinds say how many blocks their weights have, and what a step is."""

    units: int
    return_sequences: bool
    reverse: bool
    biases: int
    initializer: str
    recurrent_initializer: str
    blocks = 1
    state_names: tuple[str, ...] = ("h",)
    parameter_names = ("W", "U", "b", "b_h")
    W: Tensor
    U: Tensor
    b: Tensor | None
    b_h: Tensor | None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("b", "b_h")[self.biases :]:
            setattr(self, name, None)

    @property
    def passes_mask(self) -> bool:
        return self.return_sequences

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self.refuse(shape, "(t, n)")
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        rows = self.blocks * self.units
        return {
            "W": initial_weights(self.initializer, {}, generator, (rows, shape[-1]), dtype),
            "U": initial_weights(self.recurrent_initializer, {}, generator, (rows, self.units), dtype),
            "b": torch.zeros(rows, dtype=dtype),
            "b_h": torch.zeros(rows, dtype=dtype),
        }

    def step(self, z: Tensor, *state: Tensor) -> State:
        """The next state; ``z: (m, blocks n)`` is what the input gives, ``x[t] W^T + b``."""
        raise NotImplementedError

    def from_state(self, h: Tensor) -> Tensor:
        """What the state gives, ``h U^T (+ b_h): (m, blocks n)``."""
        return F.linear(h, self.U, self.b_h)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.output_shape(x.shape[1:])
        self.built_for(x)
        z = F.linear(x, self.W, self.b)  # (m, t, blocks n)
        state: State = (z.new_zeros(len(x), self.units),) * len(self.state_names)
        states: list[State] = [state] * x.shape[1]
        for t in reversed(range(x.shape[1])) if self.reverse else range(x.shape[1]):
            after = self.step(z[:, t], *state)
            if mask is not None:
                there = mask[:, t, None]
                after = tuple(torch.where(there, new, old) for new, old in zip(after, state, strict=True))
            state = states[t] = after
        kept = {
            name: torch.stack(s, dim=1) for name, s in zip(self.state_names, zip(*states, strict=True), strict=True)
        }
        self.note(**kept)
        return kept["h"] if self.return_sequences else state[0]


class SimpleRNN(Recurrent):
    """See :func:`simple_rnn`. ``W: (n, n_in)``, ``U: (n, n)``, ``b, b_h: (n,)``."""

    activation: str

    def step(self, z: Tensor, *state: Tensor) -> State:
        return (getattr(torch, self.activation)(z + self.from_state(*state)),)


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
    """``h[t] = f(x[t] W^T + b + h[t-1] U^T (+ b_h))``, ``f`` tanh or relu, ``h[0] = 0``.

    ``W: (n, n_in)``, ``U: (n, n)``; ``biases``: 0, 1 (``b: (n,)``) or 2 (``b_h`` too). Returns the last state, ``(m,
    n)``, or with ``return_sequences`` that of every step, ``(m, t, n)``; ``reverse``: from the last step to the first,
    outputs at the places of their inputs. Where ``mask: (m, t)`` is False the state stays. ``nn.RNN`` is the same with
    ``biases=2``. Raises ValueError for arguments that do not fit.
    """
    check_choice("activation", activation, ("tanh", "relu"))
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return SimpleRNN(**common, activation=activation)


class LSTM(Recurrent):
    """See :func:`lstm`. ``W: (4n, n_in)``, ``U: (4n, n)``, ``b, b_h: (4n,)``."""

    gates: str
    forget_bias: float
    blocks = 4
    state_names = ("h", "c")

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        values = super().initial_values(generator, shape, dtype)
        values["b"].view(4, self.units)[self.gates.index("f")] = self.forget_bias
        return values

    def step(self, z: Tensor, *state: Tensor) -> State:
        h, c = state
        gate = dict(zip(self.gates, (z + self.from_state(h)).chunk(4, dim=-1), strict=True))  # (m, n) each
        c = torch.sigmoid(gate["f"]) * c + torch.sigmoid(gate["i"]) * torch.tanh(gate["g"])
        return torch.sigmoid(gate["o"]) * torch.tanh(c), c


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
    """``c' = s(f) c + s(i) tanh(g)``, ``h' = s(o) tanh(c')``, of the blocks of ``x W^T + b + h U^T (+ b_h)``.

    ``s`` is the sigmoid. ``W: (4n, n_in)``, ``U: (4n, n)``, ``b, b_h: (4n,)``; ``gates``: the order of the four blocks,
    a permutation of ``"ifgo"``, which is that of ``nn.LSTM``; ``forget_bias``: what ``b``'s block f starts at. All else
    as in :func:`simple_rnn`.
    """
    check_permutation("gates", gates, "ifgo")
    check_finite("forget_bias", forget_bias)
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return LSTM(**common, gates=gates, forget_bias=float(forget_bias))


class GRU(Recurrent):
    """See :func:`gru`. ``W: (3n, n_in)``, ``U: (3n, n)``, ``b, b_h: (3n,)``."""

    gates: str
    reset: str
    blocks = 3

    def step(self, z: Tensor, *state: Tensor) -> State:
        (h,) = state
        of_x = dict(zip(self.gates, z.chunk(3, dim=-1), strict=True))  # (m, n) each
        of_h = self._by_gate(h)
        r, update = torch.sigmoid(of_x["r"] + of_h["r"]), torch.sigmoid(of_x["z"] + of_h["z"])
        candidate = torch.tanh(of_x["n"] + (r * of_h["n"] if self.reset == "after" else self._by_gate(r * h)["n"]))
        return ((1 - update) * candidate + update * h,)

    def _by_gate(self, h: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.gates, self.from_state(h).chunk(3, dim=-1), strict=True))


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
    """``h' = (1 - z) n + z h``, ``r`` and ``z`` sigmoids of ``x W^T + b + h U^T (+ b_h)``, and ``n`` by ``reset``::

        n = tanh(x W_n^T + b_n + r (h U_n^T (+ b_h,n)))    "after" the product, as nn.GRU
        n = tanh(x W_n^T + b_n + (r h) U_n^T (+ b_h,n))    "before" it

    ``W: (3n, n_in)``, ``U: (3n, n)``, ``b, b_h: (3n,)``; ``gates``: the order of the three blocks, a permutation of
    ``"rzn"``, which is that of ``nn.GRU``. All else as in :func:`simple_rnn`.
    """
    check_permutation("gates", gates, "rzn")
    check_choice("reset", reset, ("after", "before"))
    common = _checked(units, return_sequences, reverse, biases, initializer, recurrent_initializer)
    return GRU(**common, gates=gates, reset=reset)


class Bidirectional(Layer):
    """See :func:`bidirectional`. Parameters under ``"forward."`` and ``"backward."``."""

    join: str

    def __init__(self, layer: Recurrent, *, join: str) -> None:
        super().__init__(join=join)
        backward = type(layer)(**layer.settings | {"reverse": not layer.reverse})
        self._modules["forward"] = _Joined(layer, backward, join)  # add_module refuses a name that a method has
        self.backward = backward

    @property
    def forward(self) -> nn.Module:  # type: ignore[override]
        """The child of this name. PyTorch calls what stands here, so that this one joins both directions."""
        return self._modules["forward"]  # type: ignore[return-value]

    @property
    def passes_mask(self) -> bool:
        return self.backward.passes_mask

    def parts(self, shape: Shape) -> Iterator[tuple[str, nn.Module, Shape]]:
        yield from ((name, layer, shape) for name, layer in self._modules.items())  # type: ignore[misc]

    def output_shape(self, shape: Shape) -> Shape:
        *others, units = self.backward.output_shape(shape)
        return (*others, 2 * units if self.join == "concatenate" else units)


class _Joined(Around):
    """The layer that goes forward, at its own path, with the outputs of its fellow joined to its own."""

    backward_layer: Layer

    def __init__(self, layer: Layer, backward: Layer, join: str) -> None:
        super().__init__(layer)
        self.__dict__["backward_layer"] = backward
        self.join = join

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        both = called(self.layer, x, mask), called(self.backward_layer, x, mask)
        return torch.cat(both, dim=-1) if self.join == "concatenate" else both[0] + both[1]


def bidirectional(layer: Layer, *, join: str = "concatenate") -> Layer:
    """A recurrent layer and its like in the other direction, outputs joined along the last axis or added (``"sum"``).

    Parameters have the paths ``"forward.W"``, ``"backward.W"``, and so on. Without ``return_sequences`` each direction
    gives the state that it ends with. Raises ValueError for a layer that is not recurrent, or another ``join``.
    """
    if not isinstance(layer, Recurrent):
        raise ValueError(f"layer={layer!r} is not allowed: must be a recurrent layer")
    check_choice("join", join, ("concatenate", "sum"))
    return Bidirectional(layer, join=join)


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
