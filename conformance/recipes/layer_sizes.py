"""How the shapes go through a recipe's network, and how many numbers each layer holds, draws and computes.

All of it is told from shapes alone; no parameter is drawn. Shapes are those of one example.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from conformance.recipes.layers import LayerChoice
from reference_numpy.convolution import Window
from reference_numpy.layers import LAYERS

Shape = tuple[int, ...]

SHAPES_SHOWN = 8  # of the layers before one that does not fit


class ShapeError(ValueError):
    """Layers that cannot take what those before them give."""


class Data(NamedTuple):
    """What goes from layer to layer: its shape, whether it is tokens, and whether a mask says which steps are there."""

    shape: Shape
    tokens: bool = False
    masked: bool = False


class Placed(NamedTuple):
    """A layer that has none inside, or both directions of one; its path; what it takes, and the shape that it gives."""

    path: str
    layer: LayerChoice
    data: Data
    gives: Shape

    @property
    def takes(self) -> Shape:
        """The shape that it takes."""
        return self.data.shape

    @property
    def parameters(self) -> int:
        """How many numbers it holds, batch norm's running averages among them."""
        return _parameters(self.layer, self.takes)

    @property
    def drawn(self) -> int:
        """How many numbers dropout draws for an example."""
        return math.prod(self.takes) if self.layer.name == "dropout" else 0

    @property
    def values(self) -> int:
        """About how many numbers it computes from an example: the padded input and all that windows see of it, its
        weights of attention.
        """
        keywords: dict[str, Any] = self.layer.keywords
        takes, gives = self.takes, self.gives
        if self.layer.name in ("convolution", "max_pool", "average_pool"):
            size: Shape = keywords["kernel" if self.layer.name == "convolution" else "window"]
            window = Window(size, keywords["stride"], keywords["padding"], keywords.get("dilation", (1,) * len(size)))
            margins = zip(takes, window.margins(takes[:-1]), strict=False)
            padded = math.prod(n + before + after for n, (before, after) in margins)
            return math.prod(gives) + (padded + math.prod(gives[:-1]) * math.prod(size)) * takes[-1]
        if self.layer.name == "attention":
            inner = _inner(keywords, takes[-1])
            heads: int = keywords["heads"]
            return heads * takes[0] ** 2 + takes[0] * (4 * inner + takes[-1])
        recurrent = self.layer.layers[0] if self.layer.name == "bidirectional" else self.layer
        if recurrent.name in _BLOCKS:
            directions = 1 if recurrent is self.layer else 2
            units: int = recurrent.keywords["units"]
            return directions * takes[0] * 2 * (_BLOCKS[recurrent.name] + 1) * units
        return math.prod(gives)


def placed(layers: tuple[LayerChoice, ...], shape: Shape, *, tokens: bool = False) -> Iterator[Placed]:
    """Every layer that computes, in the order of the data, of inputs that are ``tokens`` or numbers.

    Raises ShapeError where a layer cannot take what it is given; the message ends with how the shapes go up to there.
    """
    data, trail = Data(shape, tokens), [f"input {shape}"]
    for place, layer in enumerate(layers, start=1):
        try:
            yield from _inside(layer, data, str(place))
            data = _after(layer, data, str(place))
        except ValueError as error:
            shown = trail if len(trail) <= SHAPES_SHOWN else [trail[0], "...", *trail[1 - SHAPES_SHOWN :]]
            raise ShapeError(f"{error}; shapes: {', '.join(shown)}") from error
        trail.append(f"{place} {layer.name} {data.shape}")


_OF_ANY = ("reshape", "flatten")  # layers that do not compute with what they are given


def _inside(layer: LayerChoice, data: Data, path: str) -> Iterator[Placed]:
    """The layer itself, or those inside; one alone has the path of the layer around it."""
    if layer.name not in ("sequence", "residual", "parallel"):
        if data.tokens != (layer.name == "embedding") and layer.name not in _OF_ANY:
            given, must = ("tokens", "numbers, as 'embedding' gives them") if data.tokens else ("numbers", "tokens")
            raise ValueError(f"layer {path} ({layer.name}) is given {given}: must be {must}")
        yield Placed(path, layer, data, _after(layer, data, path).shape)
        return
    for number, series in enumerate(layer.series, start=1):
        around = f"{path}.{number}" if layer.name == "parallel" else path
        taken = data
        for place, inner in enumerate(series, start=1):
            alone = len(series) == 1 and layer.name != "sequence"
            inner_path = around if alone else f"{around}.{place}"
            yield from _inside(inner, taken, inner_path)
            taken = _after(inner, taken, inner_path)


def _after(layer: LayerChoice, data: Data, path: str) -> Data:
    """What a layer gives."""
    try:
        shape = tuple(layer.build(LAYERS).output_shape(data.shape))
    except ValueError as error:
        said = str(error).partition(" ")[2]  # after the name of the reference's class
        raise ValueError(f"layer {path} ({layer.name}) {said}") from error
    return Data(shape, _gives_tokens(layer, data.tokens), _gives_mask(layer, data.masked))


def _gives_tokens(layer: LayerChoice, given: bool) -> bool:
    """Whether a layer gives tokens, ``given`` whether it takes them."""
    if not layer.series or layer.name == "bidirectional":
        return given and layer.name in _OF_ANY
    return given and any(all(_gives_tokens(inner, True) for inner in series) for series in layer.series)


def _gives_mask(layer: LayerChoice, given: bool) -> bool:
    """Whether what follows has a mask, ``given`` whether the layer has one."""
    if layer.name in ("sequence", "residual"):
        first, *others = layer.layers
        return _gives_mask(first, given) and all(other.build(LAYERS).passes_mask for other in others)
    makes = layer.name == "masking" or bool(layer.keywords.get("mask_zero"))
    return makes or (given and bool(layer.build(LAYERS).passes_mask))


# --- numbers of parameters, from the keywords and the number of features ----------------------------------------------

_BLOCKS = {"simple_rnn": 1, "lstm": 4, "gru": 3}  # of as many rows as there are units


def _parameters(layer: LayerChoice, shape: Shape) -> int:
    if layer.name == "bidirectional":
        return 2 * _parameters(layer.layers[0], shape)
    count = PARAMETERS[layer.name]
    return 0 if count is None else count(layer.keywords, shape[-1])


def _dense(keywords: Mapping[str, Any], n: int) -> int:
    return int(keywords["units"] * (n + keywords["bias"]))


def _convolution(keywords: Mapping[str, Any], n: int) -> int:
    window = math.prod(keywords["kernel"]) * n // keywords["groups"]
    return int(keywords["channels"] * (window + keywords["bias"]))


def _recurrent(blocks: int) -> Callable[[Mapping[str, Any], int], int]:
    return lambda keywords, n: blocks * keywords["units"] * (n + keywords["units"] + keywords["biases"])


def _attention(keywords: Mapping[str, Any], n: int) -> int:
    inner = _inner(keywords, n)
    return int(4 * inner * n + keywords["bias"] * (3 * inner + n))


def _inner(keywords: Mapping[str, Any], n: int) -> int:
    """Numbers of all heads together."""
    return int(keywords["heads"] * (keywords["key_units"] or n // keywords["heads"]))


# By name, all layers that have none inside; None: without parameters.
PARAMETERS: dict[str, Callable[[Mapping[str, Any], int], int] | None] = {
    "dense": _dense,
    "convolution": _convolution,
    "embedding": lambda keywords, n: keywords["entries"] * keywords["units"],
    "batch_norm": lambda keywords, n: 4 * n,
    "layer_norm": lambda keywords, n: 2 * n,
    **{name: _recurrent(blocks) for name, blocks in _BLOCKS.items()},
    "attention": _attention,
    **dict.fromkeys(
        (
            "activation", "dropout", "flatten", "reshape", "max_pool", "average_pool", "global_max_pool",
            "global_average_pool", "masking", "positional_encoding",
        )
    ),
}  # fmt: skip
