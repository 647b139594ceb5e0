"""Where the layers of a network stand, and what their parameters start from: layers are those of the reference."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from reference_numpy import convolution, layers, recurrent
from reference_numpy._layer import Layer, Parallel, Residual, Sequence
from reference_numpy.attention import MultiHeadAttention
from reference_numpy.network import Network

Shape = tuple[int, ...]  # of one example


class Place(NamedTuple):
    """Where a layer stands: its path, the shape of an example that it is given, and what things are called there."""

    path: str
    shape: Shape
    x: str  # what the layer is given
    y: str  # what it gives
    mask: str | None  # which steps of a sequence are there, None: all

    def named(self, name: str) -> str:
        """What an array of the layer is called in code: ``W5_1`` for the path ``5.1``."""
        return f"{name}{suffix(self.path)}"


class Start(NamedTuple):
    """What a parameter starts from: an initializer with its keywords, or a number; ``places``: those with another."""

    path: str
    shape: Shape
    initializer: str | None = None
    options: Mapping[str, Any] = {}
    value: float = 0.0
    places: tuple[int, int, float] | None = None  # of a bias, from and to

    @property
    def own(self) -> str:
        """Its name within its layer."""
        return self.path.rpartition(".")[2]

    @property
    def layer(self) -> str:
        """The path of its layer."""
        return self.path.rpartition(".")[0]


def suffix(path: str) -> str:
    """A path as part of a name."""
    return path.replace(".", "_")


def inside(layer: Layer, at: Place) -> Iterator[tuple[Layer, Place]]:
    """The layers that a layer is directly made of, each at its place, those of a series one after the other."""
    if isinstance(layer, Sequence):
        yield from series(layer, at)
    elif isinstance(layer, Residual):
        y = at.named("inner")
        yield layer.layer, at._replace(y=f"{at.y}_" if at.y.startswith(y) else y)
    elif isinstance(layer, Parallel):
        for number, branch in enumerate(layer.layers, start=1):
            path = _below(at.path, number)
            yield branch, at._replace(path=path, y=f"branch{suffix(path)}")
    elif isinstance(layer, recurrent.Bidirectional):
        for name, direction in layer.directions.items():
            yield direction, at._replace(path=_below(at.path, name), y=f"{name}{suffix(at.path)}")


def series(layer: Sequence, at: Place) -> Iterator[tuple[Layer, Place]]:
    """The layers of a series: the first takes what the series is given, the others what the one before them gives."""
    shape, x, mask = at.shape, at.x, at.mask
    for number, each in enumerate(layer.layers, start=1):
        place = Place(_below(at.path, number), shape, x, at.y, mask)
        yield each, place
        shape, x, mask = tuple(each.output_shape(shape)), at.y, mask_after(each, place)


def mask_after(layer: Layer, at: Place) -> str | None:
    """What the mask for what follows a layer is called, None where there is none."""
    if (isinstance(layer, layers.Embedding) and layer.mask_zero) or isinstance(layer, layers.Masking):
        return at.named("there")
    if isinstance(layer, Sequence):
        first = next(series(layer, at))
        passes = all(each.passes_mask for each in layer.layers[1:])
        return mask_after(*first) if passes else None
    if isinstance(layer, Residual):
        return mask_after(layer.layer, at)
    return at.mask if layer.passes_mask else None


def whole(model: Network, variable: str) -> Place:
    """The place of a network's own series, all of which is in one variable."""
    return Place("", model.input_shape, variable, variable, None)


def walk(layer: Layer, at: Place) -> Iterator[tuple[Layer, Place]]:
    """A layer and all inside it, in the order in which they are computed."""
    yield layer, at
    for each, place in inside(layer, at):
        yield from walk(each, place)


def starts(model: Network) -> list[Start]:
    """The parameters of a network in their order."""
    return [start for layer, at in walk(model.layers, whole(model, "x")) for start in _own(layer, at)]


def _own(layer: Layer, at: Place) -> Iterator[Start]:
    """The parameters of a layer itself, not of those inside it."""
    match layer:
        case layers.Dense():
            yield from _weights(layer, at, "W", (layer.units, at.shape[-1]), "b" if layer.bias else None)
        case convolution.Convolution():
            size = (layer.channels, *layer.window.size, at.shape[-1] // layer.groups)
            yield from _weights(layer, at, "W", size, "b" if layer.bias else None)
        case layers.Embedding():
            yield from _weights(layer, at, "W", (layer.entries, layer.units), None)
        case layers.BatchNorm() | layers.LayerNorm():
            yield Start(_below(at.path, "gamma"), at.shape[-1:], value=1.0)
            yield Start(_below(at.path, "beta"), at.shape[-1:])
        case recurrent.Recurrent():
            yield from _recurrent(layer, at)
        case MultiHeadAttention():
            n = at.shape[-1]
            inner = layer.heads * (layer.key_units or n // layer.heads)
            for letter, size in {"q": (inner, n), "k": (inner, n), "v": (inner, n), "o": (n, inner)}.items():
                yield from _weights(layer, at, f"W_{letter}", size, f"b_{letter}" if layer.bias else None)


def _weights(layer: Any, at: Place, name: str, shape: Shape, bias: str | None) -> Iterator[Start]:
    yield Start(_below(at.path, name), shape, layer.initializer, layer.initializer_options)
    if bias is not None:
        yield Start(_below(at.path, bias), shape[:1])


def _recurrent(layer: recurrent.Recurrent, at: Place) -> Iterator[Start]:
    rows, units = layer.blocks * layer.units, layer.units
    yield Start(_below(at.path, "W"), (rows, at.shape[-1]), layer.initializer)
    yield Start(_below(at.path, "U"), (rows, units), layer.recurrent_initializer)
    forgets = None
    if isinstance(layer, recurrent.LSTM) and layer.forget_bias:
        block = layer.gates.index("f") * units
        forgets = block, block + units, float(layer.forget_bias)
    for name in ("b", "b_h")[: layer.biases]:
        yield Start(_below(at.path, name), (rows,), places=forgets if name == "b" else None)


def _below(path: str, part: int | str) -> str:
    return f"{path}.{part}" if path else str(part)
