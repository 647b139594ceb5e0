"""The layers of the reference that a target may be: by the shapes of its inputs, outputs and arrays."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.identification import layer_blocks as blocks
from conformance.identification.answer import Named
from conformance.identification.fitting import Form
from conformance.identification.layer_arrays import (
    ONE,
    ZERO,
    Held,
    Needed,
    Piece,
    unpacked,
    unstacked,
)
from conformance.identification.layer_model import made
from conformance.recipes.components import keyword_defaults
from reference_numpy.activations import ACTIVATIONS
from reference_numpy.layers import LAYERS, Layer

MOST_STEPS = 3  # of strides, dilations and explicit padding
MOST_WINDOW = 4
EPSILONS = (1e-5, 1e-3, 1e-6)
MOMENTA = (0.9, 0.99)
GATES = {name: str(keyword_defaults(LAYERS[name])["gates"]) for name in ("lstm", "gru")}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """What is known of a target before formulas: shapes of an example and of its output, and what it says of itself."""

    shape: Shape
    output: Shape
    integers: bool
    held: Held
    said: Mapping[str, Any]

    def number(self, *names: str) -> float | None:
        """What it says under one of some names, if that is a number."""
        found = (self.said.get(name) for name in names)
        return next((float(n) for n in found if isinstance(n, int | float) and not isinstance(n, bool)), None)

    @property
    def sizes(self) -> list[int]:
        """The lengths of the axes of all arrays, and of two of them made one."""
        shapes = [self.held.shapes[name] for name in self.held.trained]
        pairs = [a * b for shape in shapes if len(shape) > 2 for a, b in itertools.pairwise(shape)]
        return sorted({n for shape in shapes for n in shape} | set(pairs))


@dataclass(frozen=True)
class Proposal:
    """A formulation, what it needs of arrays, and the pieces that these may be made of."""

    form: Form
    needed: tuple[Needed, ...]
    pieces: list[Piece]
    optional: Mapping[str, int] = field(default_factory=dict)
    statistics: tuple[Needed, ...] = ()
    turned: bool = False  # whether outputs may be in the order in which they are computed


def proposals(asked: Asked) -> Iterator[Proposal]:
    """All that may be, the plainest first."""
    families = (_embeddings, ) if asked.integers else (
        _plain, _dense, _pools, _convolutions, _norms, _recurrent, _bidirectional, _attention, _blocks
    )  # fmt: skip
    for family in families:
        for proposal in family(asked):
            if _fits(asked, proposal):
                yield proposal


def _fits(asked: Asked, proposal: Proposal) -> bool:
    """Whether its output has the shape of the target's, and its arrays as many numbers as the target's."""
    try:
        layer = made(proposal.form.name, proposal.form.keywords(proposal.form.numbers))
        shape = layer.output_shape(asked.shape)
    except ValueError:
        return False
    needs = sum(math.prod(one.shape) for one in proposal.needed if one.path not in proposal.optional)
    spare = sum(math.prod(one.shape) for one in proposal.needed) - needs
    size = sum(piece.ids.size for piece in proposal.pieces)
    alone = any(one.alone is not None for one in proposal.needed)
    return tuple(shape) == asked.output and (needs <= size <= needs + spare or alone)


def needed(layer: Layer, shape: Shape, of_blocks: Mapping[str, int] | None = None) -> tuple[Needed, ...]:
    """The parameters of a layer, in their order; ``of_blocks``: by the last part of their names."""
    found = layer.initialize(np.random.default_rng(0), shape)
    return tuple(Needed(p, w.shape, (of_blocks or {}).get(p.rpartition(".")[2], 1)) for p, w in found.items())


def _of(asked: Asked, name: str, keywords: Mapping[str, Any], **others: Any) -> Proposal:
    """A proposal whose arrays are what the layer needs, each by itself."""
    layer = made(name, keywords)
    pieces = others.pop("pieces", None) or asked.held.pieces(asked.held.trained)
    return Proposal(Form(name, dict(keywords), {}), needed(layer, asked.shape), pieces, **others)


def _plain(asked: Asked) -> Iterator[Proposal]:
    if asked.held.trained:
        return
    for order in ("channels_last", "channels_first") if len(asked.shape) > 1 else ("channels_last",):
        yield Proposal(Form("flatten", {"order": order}, {}), (), [])
    if math.prod(asked.output) == math.prod(asked.shape) and asked.output != asked.shape:
        yield Proposal(Form("reshape", {"shape": asked.output}, {}), (), [])
    for name in ACTIVATIONS:
        yield Proposal(Form("activation", {"name": name}, {}), (), [])
    for layout in ("interleaved", "halves"):
        if len(asked.shape) == 2:
            yield Proposal(Form("positional_encoding", {"layout": layout}, {}), (), [])


def _dense(asked: Asked) -> Iterator[Proposal]:
    for bias in (True, False):
        yield _of(asked, "dense", {"units": asked.output[-1], "bias": bias})


def _embeddings(asked: Asked) -> Iterator[Proposal]:
    for entries in asked.sizes:
        yield _of(asked, "embedding", {"entries": entries, "units": asked.output[-1]})


def _windows(asked: Asked, size: Shape, dilated: bool) -> Iterator[dict[str, Any]]:
    """Strides, paddings and dilations with which a window leaves so many outputs, the plainest first."""
    axes = list(zip(size, asked.shape[:-1], asked.output[:-1], strict=True))
    for padding in ("valid", "same", None):
        each = [list(_along(k, n, out, padding, dilated)) for k, n, out in axes]
        found = sorted(itertools.product(*each), key=lambda ways: (len(set(ways)) > 1, sum(sum(w) for w in ways)))
        for ways in found:
            strides, dilations, paddings = zip(*ways, strict=True)
            if padding is None and not any(paddings):
                continue
            yield {
                "stride": _alike(strides), "padding": padding or _alike(paddings),
                **({"dilation": _alike(dilations)} if dilated else {}),
            }  # fmt: skip


def _along(k: int, n: int, out: int, padding: str | None, dilated: bool) -> Iterator[tuple[int, int, int]]:
    """Stride, dilation and padding along one axis."""
    for stride, dilation in itertools.product(range(1, MOST_WINDOW + 1), range(1, MOST_STEPS + 1)):
        if dilation > 1 and (k == 1 or not dilated):
            continue
        span = (k - 1) * dilation + 1
        for before in range(MOST_STEPS + 1) if padding is None else (0,):
            both = 2 * before if padding != "same" else max((math.ceil(n / stride) - 1) * stride + span - n, 0)
            if n + both >= span and (n + both - span) // stride + 1 == out:
                yield stride, dilation, before


def _alike(values: Sequence[int]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else tuple(values)


def _pools(asked: Asked) -> Iterator[Proposal]:
    if asked.held.trained or len(asked.shape) not in (2, 3):
        return
    yield Proposal(Form("global_max_pool", {}, {}), (), [])
    yield Proposal(Form("global_average_pool", {}, {}), (), [])
    if len(asked.output) != len(asked.shape):
        return
    sizes = itertools.product(range(1, MOST_WINDOW + 1), repeat=len(asked.shape) - 1)
    for window in sorted(sizes, key=lambda size: len(set(size))):
        for keywords in _windows(asked, window, dilated=False):
            keywords = {"window": window, **keywords}
            if keywords["stride"] == _alike(window):
                keywords.pop("stride")
            yield Proposal(Form("max_pool", keywords, {}), (), [])
            for counted in (False, True) if keywords["padding"] != "valid" else (False,):
                yield Proposal(Form("average_pool", {**keywords, "count_padding": counted}, {}), (), [])


def _convolutions(asked: Asked) -> Iterator[Proposal]:
    axes, channels = len(asked.shape) - 1, asked.output[-1]
    if axes not in (1, 2) or len(asked.output) != len(asked.shape):
        return
    own = asked.held.pieces(asked.held.trained)
    for pieces in (own, _depthwise(own, asked)):
        for kernel, groups in _kernels(asked, pieces):
            for keywords, bias in itertools.product(_windows(asked, kernel, dilated=True), (True, False)):
                keywords = {"channels": channels, "kernel": kernel, **keywords, "groups": groups, "bias": bias}
                yield _of(asked, "convolution", keywords, pieces=pieces)


def _kernels(asked: Asked, pieces: list[Piece]) -> dict[tuple[Shape, int], None]:
    """The sizes of windows, and the groups, that some piece may be a kernel of."""
    found: dict[tuple[Shape, int], None] = {}
    for shape in (piece.ids.shape for piece in pieces if piece.ids.ndim == len(asked.shape) + 1):
        for outer, inner in itertools.permutations(range(len(shape)), 2):
            kernel = tuple(n for axis, n in enumerate(shape) if axis not in (outer, inner))
            if shape[outer] == asked.output[-1] and asked.shape[-1] % shape[inner] == 0:
                groups = asked.shape[-1] // shape[inner]
                if asked.output[-1] % groups == 0:
                    found[kernel, groups] = None
    return found


def _depthwise(pieces: list[Piece], asked: Asked) -> list[Piece]:
    """Kernels ``(*window, n, multiplier)`` as ``(*window, 1, n multiplier)``."""
    n, found = asked.shape[-1], []
    for piece in pieces:
        size = piece.ids.shape
        if len(size) == len(asked.shape) + 1 and size[-2] == n and n * size[-1] == asked.output[-1]:
            words = f"{piece.words} as (..., 1, {n * size[-1]})"
            piece = Piece(words, piece.ids.reshape(*size[:-2], 1, n * size[-1]))
        found.append(piece)
    return found


def _norms(asked: Asked) -> Iterator[Proposal]:
    n = asked.shape[-1]
    parameters = (Needed("gamma", (n,)), Needed("beta", (n,)))
    averages = (Needed("running_mean", (n,)), Needed("running_variance", (n,)))
    pieces, optional = asked.held.pieces(asked.held.trained), {"gamma": ONE, "beta": ZERO}
    epsilons = _first(asked.number("epsilon", "eps"), EPSILONS)
    if not asked.held.others:
        if pieces:
            for epsilon in epsilons:
                yield Proposal(Form("layer_norm", {}, {"epsilon": epsilon}), parameters, pieces, optional)
        return
    said = asked.number("momentum")
    momenta = MOMENTA if said is None else dict.fromkeys((said, round(1 - said, 12), *MOMENTA))
    for epsilon, momentum, variance in itertools.product(epsilons, momenta, ("biased", "unbiased")):
        numbers = {"epsilon": epsilon, "momentum": momentum}
        form = Form("batch_norm", {"running_variance": variance}, numbers)
        yield Proposal(form, parameters, pieces, optional, averages)


def _first(said: float | None, usual: Iterable[float]) -> list[float]:
    return list(dict.fromkeys(([said] if said is not None else []) + list(usual)))


def _recurrent_forms(asked: Asked, units: int, directions: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every recurrent layer of so many units that has as many numbers as the target: its name and keywords."""
    if len(asked.shape) != 2 or not asked.held.trained or units < 1:
        return
    common = {"units": units, "return_sequences": len(asked.output) == 2}
    for reverse, biases in itertools.product((False, True), (1, 2, 0)):
        own = {**common, "reverse": reverse, "biases": biases}
        for name, gates in (("simple_rnn", "h"), ("lstm", GATES["lstm"]), ("gru", GATES["gru"])):
            numbers = directions * len(gates) * units * (asked.shape[-1] + units + biases)
            lacking = 2 * directions * units if name == "gru" and biases == 2 else 0  # but the candidate's
            if len(asked.held.places(asked.held.trained)) not in (numbers, numbers - lacking):
                continue
            if name == "simple_rnn":
                yield from ((name, {**own, "activation": activation}) for activation in ("tanh", "relu"))
                continue
            for order in itertools.permutations(gates):
                for reset in ("after", "before") if name == "gru" else (None,):
                    yield name, {**own, "gates": "".join(order), **({"reset": reset} if reset else {})}


def _recurrent(asked: Asked) -> Iterator[Proposal]:
    for name, keywords in _recurrent_forms(asked, asked.output[-1], 1):
        turned = keywords["reverse"] and keywords["return_sequences"]
        for pieces in unstacked(asked.held.pieces(asked.held.trained), 2):
            yield Proposal(Form(name, keywords, {}), _of_gates(name, keywords, asked.shape), pieces, turned=turned)


def _of_gates(name: str, keywords: Mapping[str, Any], shape: Shape) -> tuple[Needed, ...]:
    """The parameters of a recurrent layer in blocks; a GRU's second bias may be that of the candidate alone."""
    count = len(GATES.get(name, "h"))
    found = needed(made(name, keywords), shape, dict.fromkeys(("W", "U", "b", "b_h"), count))
    if name != "gru":
        return found
    candidate = str(keywords["gates"]).index("n")
    return tuple(one._replace(alone=candidate) if one.path == "b_h" else one for one in found)


def _bidirectional(asked: Asked) -> Iterator[Proposal]:
    for join, units in (("concatenate", asked.output[-1] / 2), ("sum", asked.output[-1])):
        for name, keywords in _recurrent_forms(asked, int(units), 2) if units == int(units) else ():
            if keywords["reverse"]:
                continue
            each = _of_gates(name, keywords, asked.shape)
            both = tuple(one._replace(path=f"{way}.{one.path}") for way in ("forward", "backward") for one in each)
            form = Form("bidirectional", {"layer": Named(name, keywords), "join": join}, {})
            for pieces in unstacked(asked.held.pieces(asked.held.trained), 2):
                yield Proposal(form, both, pieces)


def _attention(asked: Asked) -> Iterator[Proposal]:
    for heads, inner in _heads(asked):
        for bias, causal in itertools.product((True, False), (False, True)):
            keywords = {"heads": heads, "key_units": inner // heads, "causal": causal, "bias": bias}
            if inner == asked.shape[-1]:
                keywords.pop("key_units")
            for pieces in unpacked(asked.held.pieces(asked.held.trained), 3, 3 * inner):
                yield _of(asked, "attention", keywords, pieces=pieces)


def _heads(asked: Asked) -> Iterator[tuple[int, int]]:
    """Numbers of heads, and of features in all of them together, that may be."""
    if len(asked.shape) != 2 or asked.output != asked.shape:
        return
    said = asked.number("num_heads", "heads", "nhead", "n_heads")
    total = sum(math.prod(asked.held.shapes[name]) for name in asked.held.trained)
    for inner in asked.sizes:
        if inner * asked.shape[-1] * 4 <= total:
            yield from ((h, inner) for h in ([int(said)] if said else range(1, inner + 1)) if h and inner % h == 0)


def _blocks(asked: Asked) -> Iterator[Proposal]:
    """Attention and two dense layers, each with a way around it and a norm."""
    n = asked.shape[-1]
    for heads, inner in _heads(asked):
        if inner != n or len(asked.held.trained) < 8:
            continue
        for hidden in asked.sizes:
            for keywords in blocks.transformer(heads, hidden, n):
                for pieces in unpacked(asked.held.pieces(asked.held.trained), 3, 3 * inner):
                    yield _of(asked, "sequence", keywords, pieces=pieces)
