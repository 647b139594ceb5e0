"""How layers of the frameworks keep their parameters, as tables, and where each number of the reference's is in them.

A table says for each kind of a framework's own layer which of the recipe's layers it is, and for each parameter of that
in which of its own tensors it is and how that one is turned. Own tensors are called by their *leaves*; ``{}`` in a leaf
stands for a gate, of which each has a tensor of its own. All numbers of a layer's tensors are counted through, and what
is turned is an array of these counts: so the tables say both ways, for parts of a tensor and for several of them too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.wrappers.recipe_layers import DIRECTIONS, RecipeLayer, Shape

Counts = NDArray[np.intp]


class Turn(NamedTuple):
    """How an own tensor becomes the reference's: in ``words``, and as a function of its counts.

    ``own``: the shape of the own tensor, of that of the reference's and the number of heads or groups.
    """

    words: str
    of: Callable[[Counts], Counts]
    own: Callable[[Shape, int], Shape]


class Source(NamedTuple):
    """Where a parameter is: the ``paths`` of own tensors, and which of their numbers, in a row, stands at each place.

    ``form``: what was done to the tensor, in words, or nothing.
    """

    paths: tuple[str, ...]
    places: Counts
    form: str


@dataclass(frozen=True)
class LayerLayout:
    """How a kind of layer keeps the parameters of the recipe's ``layer``.

    ``parameters``: by the reference's name the own leaf, and how it is turned; a name such as ``b_h[n]`` is of one gate
    alone. ``gates``: the order of its gates, which go along the first axis of what was turned. ``refused``: why no
    recipe has this kind of layer, or nothing.
    """

    layer: str
    parameters: Mapping[str, tuple[str, Turn]]
    gates: str = ""
    refused: str = ""


@dataclass(frozen=True)
class OwnLayer:
    """A layer of a user's model that a table knows.

    Attributes:
        path: of the module in the model.
        kind: in the table.
        leaves: the paths of its tensors by their leaves, those of ``"forward."`` and ``"backward."`` in two directions.
        shown: what it is called in messages, ``"torch.nn.GRU '0'"``.
        first, last: whether the module's input is its own, and the output; of layers stacked in one module not all.
        backwards: whether its outputs are in the other order of time than its inputs.
    """

    path: str
    kind: str
    leaves: Mapping[str, str]
    shown: str
    first: bool = True
    last: bool = True
    backwards: bool = False

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions that it has, if it has both."""
        return tuple(dict.fromkeys(leaf.partition(".")[0] for leaf in self.leaves if leaf.startswith(_DIRECTIONS)))


_DIRECTIONS = tuple(f"{direction}." for direction in DIRECTIONS)


def sources(layout: LayerLayout, own: OwnLayer, shapes: Mapping[str, Shape], layer: RecipeLayer) -> dict[str, Source]:
    """Where each parameter of a recipe's layer is in an own one, of those that it has; {} for another kind of layer.

    ``shapes``: of the model's tensors by path.
    """
    if layout.layer != layer.name or own.directions != layer.directions:
        return {}
    found: dict[str, Source] = {}
    for direction in layer.directions or ("",):
        before = f"{direction}." if direction else ""
        for name, (leaf, turn) in layout.parameters.items():
            order = str(layer.keywords.get("gates", "")) if layout.gates and "[" not in name else ""
            leaves = [before + leaf.format(gate) for gate in order] if "{}" in leaf else [before + leaf]
            if all(each in own.leaves for each in leaves):
                paths = tuple(own.leaves[each] for each in leaves)
                gates = layout.gates if order and "{}" not in leaf else ""
                found[before + name] = _source(paths, shapes, turn, gates, order)
    return found


def _source(paths: tuple[str, ...], shapes: Mapping[str, Shape], turn: Turn, gates: str, order: str) -> Source:
    """The numbers of tensors turned one by one and joined, their gates brought into another order."""
    parts = [turn.of(counts) for counts in counted([shapes[path] for path in paths])]
    places = np.concatenate(parts) if len(parts) > 1 else parts[0]
    words = [turn.words] if turn.words else []
    if len(paths) > 1:
        words.append("gate by gate")
    elif gates != order:
        blocks = dict(zip(gates, np.split(places, len(gates)), strict=True))
        places = np.concatenate([blocks[gate] for gate in order])
        words.append(f"gates {gates} as {order}")
    return Source(paths, places, ", ".join(words))


def counted(shapes: Sequence[Shape]) -> Iterator[Counts]:
    """For tensors of these shapes, the place of each of their numbers where all stand in a row.

    >>> [counts.tolist() for counts in counted([(2,), (1, 2)])]
    [[0, 1], [[2, 3]]]
    """
    start = 0
    for shape in shapes:
        size = int(np.prod(shape, dtype=np.intp))
        yield np.arange(start, start + size).reshape(shape)
        start += size


# ---------------------------------------------------------------------- how tensors are turned

AS_IT_IS = Turn("", lambda w: w, lambda s, _: s)
FLAT = Turn("flat", np.ravel, lambda s, _: s)
TRANSPOSED = Turn("transposed", lambda w: w.T, lambda s, _: s[::-1])
INPUTS_LAST = Turn(  # (outputs, inputs, *kernel)
    "inputs last", lambda w: np.moveaxis(w, 1, -1), lambda s, _: (s[0], s[-1], *s[1:-1])
)
OUTPUTS_FIRST = Turn(  # (*kernel, inputs, outputs)
    "outputs first", lambda w: np.moveaxis(w, -1, 0), lambda s, _: (*s[1:], s[0])
)
_BY_CHANNEL = Turn(  # (*kernel, channels, multiplier) as (channels * multiplier, *kernel, 1)
    "channel by channel", lambda w: np.moveaxis(w.reshape(*w.shape[:-2], -1), -1, 0)[..., None],
    lambda s, groups: (*s[1:-1], groups, s[0] // groups),
)  # fmt: skip
_OF_HEADS = Turn(  # (n, heads, key_units)
    "heads joined, transposed", lambda w: w.reshape(len(w), -1).T, lambda s, heads: (s[1], heads, s[0] // heads)
)
_FROM_HEADS = Turn(  # (heads, key_units, n)
    "heads joined, transposed", lambda w: w.reshape(-1, w.shape[-1]).T, lambda s, heads: (heads, s[1] // heads, s[0])
)
_JOINED = Turn("heads joined", np.ravel, lambda s, heads: (heads, s[0] // heads))


def _part(place: int, count: int) -> Turn:
    """One of ``count`` equal parts along the first axis."""
    words = f"part {place + 1} of {count}"
    return Turn(words, lambda w: np.split(w, count)[place], lambda s, _: (count * s[0], *s[1:]))


def _row(place: int) -> Turn:
    """A row of two."""
    return Turn(f"row {place + 1}", lambda w: w[place], lambda s, _: (2, *s))


# ---------------------------------------------------------------------- the frameworks' layers

_DENSE = {"W": ("weight", AS_IT_IS), "b": ("bias", AS_IT_IS)}
_CONVOLUTION = {"W": ("weight", INPUTS_LAST), "b": ("bias", AS_IT_IS)}
_LAYER_NORM = {"gamma": ("weight", AS_IT_IS), "beta": ("bias", AS_IT_IS)}
_BATCH_NORM = _LAYER_NORM | {
    "running_mean": ("running_mean", AS_IT_IS), "running_variance": ("running_var", AS_IT_IS),
}  # fmt: skip
_RECURRENT = {
    "W": ("weight_ih", AS_IT_IS), "U": ("weight_hh", AS_IT_IS),
    "b": ("bias_ih", AS_IT_IS), "b_h": ("bias_hh", AS_IT_IS),
}  # fmt: skip
_PACKED = {f"W_{letter}": ("in_proj_weight", _part(place, 3)) for place, letter in enumerate("qkv")} | {
    f"b_{letter}": ("in_proj_bias", _part(place, 3)) for place, letter in enumerate("qkv")
}

# Torch's recurrent modules have ``_l0`` and the like after their leaves, which is left out here.
TORCH = {
    "Linear": LayerLayout("dense", _DENSE),
    "Conv1d": LayerLayout("convolution", _CONVOLUTION),
    "Conv2d": LayerLayout("convolution", _CONVOLUTION),
    "BatchNorm1d": LayerLayout("batch_norm", _BATCH_NORM),
    "BatchNorm2d": LayerLayout("batch_norm", _BATCH_NORM),
    "LayerNorm": LayerLayout("layer_norm", _LAYER_NORM),
    "Embedding": LayerLayout("embedding", {"W": ("weight", AS_IT_IS)}),
    "RNN": LayerLayout("simple_rnn", _RECURRENT),
    "LSTM": LayerLayout("lstm", _RECURRENT, gates="ifgo"),
    "GRU": LayerLayout("gru", _RECURRENT, gates="rzn"),
    "MultiheadAttention": LayerLayout(
        "attention", _PACKED | {"W_o": ("out_proj.weight", AS_IT_IS), "b_o": ("out_proj.bias", AS_IT_IS)}
    ),
}

_KERAS_DENSE = {"W": ("kernel", TRANSPOSED), "b": ("bias", AS_IT_IS)}
_KERNEL_LAST = {"W": ("kernel", OUTPUTS_FIRST), "b": ("bias", AS_IT_IS)}
_KERAS_LAYER_NORM = {"gamma": ("gamma", AS_IT_IS), "beta": ("beta", AS_IT_IS)}
_KERAS_RECURRENT = {
    "W": ("kernel", TRANSPOSED), "U": ("recurrent_kernel", TRANSPOSED), "b": ("bias", AS_IT_IS),
}  # fmt: skip
_HEADS = {
    f"{own}_{letter}": (f"{leaf}.{'kernel' if own == 'W' else 'bias'}", turn)
    for letter, leaf in {"q": "query", "k": "key", "v": "value"}.items()
    for own, turn in (("W", _OF_HEADS), ("b", _JOINED))
}

KERAS = {
    "Dense": LayerLayout("dense", _KERAS_DENSE),
    "Conv1D": LayerLayout("convolution", _KERNEL_LAST),
    "Conv2D": LayerLayout("convolution", _KERNEL_LAST),
    "DepthwiseConv1D": LayerLayout("convolution", {"W": ("kernel", _BY_CHANNEL), "b": ("bias", AS_IT_IS)}),
    "DepthwiseConv2D": LayerLayout("convolution", {"W": ("kernel", _BY_CHANNEL), "b": ("bias", AS_IT_IS)}),
    "BatchNormalization": LayerLayout(
        "batch_norm",
        _KERAS_LAYER_NORM | {
            "running_mean": ("moving_mean", AS_IT_IS), "running_variance": ("moving_variance", AS_IT_IS),
        },
    ),
    "LayerNormalization": LayerLayout("layer_norm", _KERAS_LAYER_NORM),
    "Embedding": LayerLayout("embedding", {"W": ("embeddings", AS_IT_IS)}),
    "SimpleRNN": LayerLayout("simple_rnn", _KERAS_RECURRENT),
    "LSTM": LayerLayout("lstm", _KERAS_RECURRENT, gates="ifgo"),
    "GRU": LayerLayout("gru", _KERAS_RECURRENT | {"b": ("bias", _row(0)), "b_h": ("bias", _row(1))}, gates="zrn"),
    "GRU(reset_after=False)": LayerLayout("gru", _KERAS_RECURRENT, gates="zrn"),
    "MultiHeadAttention": LayerLayout(
        "attention",
        _HEADS | {"W_o": ("attention_output.kernel", _FROM_HEADS), "b_o": ("attention_output.bias", AS_IT_IS)},
    ),
}  # fmt: skip

# Of Flax; a ``_`` that NNX has after a leaf's name, as that of ``if_``, is left out here.
_FLAX_LAYER_NORM = {"gamma": ("scale", AS_IT_IS), "beta": ("bias", AS_IT_IS)}
_FLAX = {
    "Conv": LayerLayout("convolution", _KERNEL_LAST),
    "BatchNorm": LayerLayout(
        "batch_norm",
        _FLAX_LAYER_NORM | {"running_mean": ("mean", AS_IT_IS), "running_variance": ("var", AS_IT_IS)},
    ),
    "LayerNorm": LayerLayout("layer_norm", _FLAX_LAYER_NORM),
    "Embed": LayerLayout("embedding", {"W": ("embedding", AS_IT_IS)}),
}
_FLAX_ATTENTION = LayerLayout("attention", _HEADS | {"W_o": ("out.kernel", _FROM_HEADS), "b_o": ("out.bias", AS_IT_IS)})
_FLAX_LSTM = LayerLayout(
    "lstm",
    {"W": ("i{}.kernel", TRANSPOSED), "U": ("h{}.kernel", TRANSPOSED), "b": ("h{}.bias", AS_IT_IS)},
    gates="ifgo",
)

NNX = _FLAX | {
    "Linear": LayerLayout("dense", _KERAS_DENSE),
    "MultiHeadAttention": _FLAX_ATTENTION,
    "SimpleCell": LayerLayout(
        "simple_rnn",
        {"W": ("dense_i.kernel", TRANSPOSED), "U": ("dense_h.kernel", TRANSPOSED), "b": ("dense_i.bias", AS_IT_IS)},
    ),
    "LSTMCell": _FLAX_LSTM,
    "OptimizedLSTMCell": LayerLayout(
        "lstm",
        {"W": ("dense_i.kernel", TRANSPOSED), "U": ("dense_h.kernel", TRANSPOSED), "b": ("dense_h.bias", AS_IT_IS)},
        gates="ifgo",
    ),
    "GRUCell": LayerLayout(
        "gru",
        {"W": ("dense_i.kernel", TRANSPOSED), "U": ("dense_h.kernel", TRANSPOSED), "b": ("dense_i.bias", AS_IT_IS)},
        gates="rzn",
    ),
}

LINEN = _FLAX | {
    "Dense": LayerLayout("dense", _KERAS_DENSE),
    "MultiHeadDotProductAttention": _FLAX_ATTENTION,
    "MultiHeadAttention": _FLAX_ATTENTION,
    "SimpleCell": LayerLayout(
        "simple_rnn",
        {"W": ("i.kernel", TRANSPOSED), "U": ("h.kernel", TRANSPOSED), "b": ("i.bias", AS_IT_IS)},
    ),
    "LSTMCell": _FLAX_LSTM,
    "OptimizedLSTMCell": _FLAX_LSTM,
    "GRUCell": LayerLayout(
        "gru",
        {
            "W": ("i{}.kernel", TRANSPOSED),
            "U": ("h{}.kernel", TRANSPOSED),
            "b": ("i{}.bias", AS_IT_IS),
            "b_h[n]": ("hn.bias", AS_IT_IS),
        },
        gates="rzn",
        refused="has of its two biases the recurrent one for the gate n alone, and no recipe says that",
    ),
}
