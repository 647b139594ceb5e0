"""What the four frameworks' writers of a network have in common."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

from conformance.ejecting.networks.places import Place, Shape, Start, inside, mask_after, starts, walk, whole
from reference_numpy import layers, recurrent
from reference_numpy._common import is_weight
from reference_numpy._layer import Layer, Parallel, Residual
from reference_numpy.attention import MultiHeadAttention
from reference_numpy.network import Network


class Writer(ABC):
    """Writes a network of layers as a module of one framework: what the framework's skeleton has for a dense one.

    A class for a framework writes each kind of layer, of which ``put`` takes what it gives as an expression.
    """

    imports: str  # the head of the module
    source: str  # the argument from which masks are drawn
    variable = "x"  # what a layer is given, and gives
    indent = " " * 4

    def __init__(self, model: Network) -> None:
        self.model, self.starts = model, starts(model)
        self.places = list(walk(model.layers, whole(model, self.variable)))
        self.lines: list[str] = []

    # ------------------------------------------------------------------ what a framework's class has

    @abstractmethod
    def text(self) -> str:
        """The module."""

    @abstractmethod
    def parameter(self, at: Place, name: str) -> str:
        """The expression for a parameter of a layer."""

    @abstractmethod
    def joined(self, outputs: Sequence[str], join: str) -> str:
        """The expression for outputs that are summed, or joined along the last axis."""

    @abstractmethod
    def drawn(self, path: str, shape: Shape, keep: float) -> str:
        """The expression that draws the dropout mask of a path."""

    @abstractmethod
    def take_moments(self, layer: layers.BatchNorm, at: Place) -> None:
        """Write what makes ``mean`` and ``variance``: the batch's in training, else the running ones."""

    @abstractmethod
    def write_own(self, layer: Any, at: Place) -> None:
        """Write a layer that is written otherwise in each framework."""

    # ------------------------------------------------------------------ how the layers are written

    def written(self) -> list[str]:
        """The lines that compute the logits of the inputs, both in the same variable."""
        self.lines = []
        self.write(self.model.layers, whole(self.model, self.variable))
        return self.lines

    def write(self, layer: Layer, at: Place) -> None:
        """Write a layer and all inside it."""
        parts = list(inside(layer, at))
        if not parts:
            self.write_layer(layer, at)
        for each, place in parts:
            self.write(each, place)
        outputs = [place.y for _, place in parts]
        if isinstance(layer, Residual):
            self.put(layer, at, f"{at.x} + {outputs[0]}")
        elif isinstance(layer, (Parallel, recurrent.Bidirectional)):
            self.put(layer, at, self.joined(outputs, layer.join))

    def write_layer(self, layer: Any, at: Place) -> None:
        """Write a layer that has none inside it."""
        match layer:
            case layers.Activation():
                self.put(layer, at, f"activations.{layer.name}({at.x}{keywords(layer.options)})")
            case layers.Dropout():
                self.dropout(layer, at)
            case layers.LayerNorm():
                scale, shift = self.own(at, "gamma", "beta")
                self.put(layer, at, f"normalization.layer_norm({at.x}, {scale}, {shift}, epsilon={layer.epsilon})")
            case layers.BatchNorm():
                self.take_moments(layer, at)
                given = f"{at.x}, {', '.join(self.own(at, 'gamma', 'beta'))}, mean, variance, epsilon={layer.epsilon}"
                self.put(layer, at, f"normalization.batch_norm({given})")
            case recurrent.Recurrent():
                self.recurrent(layer, at)
            case MultiHeadAttention():
                self.attention(layer, at)
            case _:
                self.write_own(layer, at)

    def recurrent(self, layer: recurrent.Recurrent, at: Place) -> None:
        """Write a recurrent layer in one direction, a function of its arrays."""
        own = ", ".join(self.own(at, "W", "U", "b", "b_h"))
        self.put(layer, at, f"blocks.{FUNCTIONS[type(layer)]}({at.x}, {own}{recurrence(layer, at)})")

    def attention(self, layer: MultiHeadAttention, at: Place) -> None:
        """Write attention, a function of four pairs of arrays."""
        pairs = ", ".join(f"({', '.join(self.own(at, f'W_{of}', f'b_{of}'))})" for of in "qkvo")
        options = f"heads={layer.heads}, causal={layer.causal}, mask={at.mask}"
        self.put(layer, at, f"blocks.attention({at.x}, {pairs}, {options})")

    def put(self, layer: Layer, at: Place, expression: str) -> None:
        """What the layer gives, with its shape where that is another than it was given."""
        shape = tuple(layer.output_shape(at.shape))
        comment = "" if shape == tuple(at.shape) else f"  # {examples(shape)}"
        self.lines.append(f"{at.y} = {expression}{comment}")

    # ------------------------------------------------------------------ what is said of the network

    @property
    def weights(self) -> str:
        """The paths of the weights."""
        return tupled([start.path for start in self.starts if is_weight(start.path)])

    @property
    def shapes(self) -> tuple[str, str]:
        """Those of the inputs and of the logits, with the examples."""
        return examples(self.model.input_shape), examples((self.model.outputs,))

    @cached_property
    def masks(self) -> dict[str, tuple[Shape, float]]:
        """The shape of each dropout mask of one example, and how much it keeps, by the mask's path."""
        return {
            f"{at.path}.mask": (at.shape, layer.keep_probability)
            for layer, at in self.places if isinstance(layer, layers.Dropout)
        }  # fmt: skip

    @cached_property
    def batch_norms(self) -> list[tuple[layers.BatchNorm, Place]]:
        """The layers that keep running averages."""
        return [(layer, at) for layer, at in self.places if isinstance(layer, layers.BatchNorm)]

    @property
    def start_documented(self) -> str:
        """The docstring of what makes the parameters."""
        return "Initial parameters by path, the first part of which is a layer's place, from 1."

    @property
    def logits_documented(self) -> str:
        """The docstring of what computes the logits."""
        given, logits = self.shapes
        masks = " ``masks``: dropout masks by path, or none." if self.masks else ""
        return f"Logits ``{logits}`` of ``x: {given}``.{masks}"

    def module(self, *parts: Sequence[str]) -> str:
        """A module of the framework's imports, the names of the weights, and these parts."""
        return "\n\n\n".join([self.imports, f"WEIGHTS = {self.weights}", *("\n".join(part) for part in parts)]) + "\n"

    # ------------------------------------------------------------------ pieces of code

    def by_layer(self) -> list[tuple[str, list[Start]]]:
        """The parameters of each layer that has some, by its path."""
        return [(layer, list(starts)) for layer, starts in groupby(self.starts, key=lambda start: start.layer)]

    def averaged(self, at: Place) -> str:
        """How many numbers batch norm takes a mean of, as code."""
        places = math.prod(at.shape[:-1])
        return "examples" if places == 1 else f"examples * {places}"

    def dropout(self, layer: layers.Dropout, at: Place) -> None:
        """Drop what the layer's mask says, where there are masks."""
        if at.x != at.y:
            self.lines.append(f"{at.y} = {at.x}")
        dropped = f'{at.y}, masks["{at.path}.mask"], keep_probability={layer.keep_probability}'
        self.lines += ["if masks is not None:", f"    {at.y} = regularizers.inverted_dropout({dropped})"]

    def draw_masks(self) -> list[str]:
        """The function that draws all dropout masks."""
        return [
            f"def draw_masks({self.source}, examples: int) -> Tensors:",
            '    """What dropout keeps of each example, by path."""',
            "    return {",
            *(f'        "{path}": {self.drawn(path, shape, keep)},' for path, (shape, keep) in self.masks.items()),
            "    }",
        ]

    def initial_statistics(self, library: str) -> list[str]:
        """The function that makes batch norm's first running averages, of NumPy or of what is called alike."""
        lines = [
            "def initial_statistics() -> Tensors:",
            '    """Batch norm\'s running averages before training: means 0 and variances 1."""',
            "    return {",
        ]
        for _, at in self.batch_norms:
            lines.append(f'        "{at.path}.running_mean": {library}.zeros({at.shape[-1]}, DTYPE),')
            lines.append(f'        "{at.path}.running_variance": {library}.ones({at.shape[-1]}, DTYPE),')
        return [*lines, "    }"]

    def seen(self, layer: layers.Masking, at: Place, expression: str) -> str:
        """Write which steps a mask leaves, and which are there for what follows. Returns what the first are called."""
        name = at.named("seen") if at.mask else at.named("there")
        self.lines.append(f"{name} = {expression}  # (m, t)")
        if at.mask:
            self.lines.append(f"{mask_after(layer, at)} = {self.both(name, at.mask)}")
        return name

    def both(self, one: str, other: str) -> str:
        """The expression for what two masks leave."""
        return f"{one} & {other}"

    def begin_mask(self, layer: layers.Embedding, at: Place) -> None:
        """Which steps are there, those whose token is not 0, for what follows."""
        if layer.mask_zero:
            there = f"({at.x} != 0) & {at.mask}" if at.mask else f"{at.x} != 0"
            self.lines.append(f"{mask_after(layer, at)} = {there}  # (m, t)")

    def own(self, at: Place, *names: str) -> list[str]:
        """The expressions of those parameters of a layer that it has, None for the others."""
        held = {start.path for start in self.starts}
        return [self.parameter(at, name) if f"{at.path}.{name}" in held else "None" for name in names]

    def in_function(self, lines: Sequence[str], level: int = 1) -> list[str]:
        """Lines inside a function."""
        return [f"{self.indent * level}{line}" for line in lines]


def examples(shape: Sequence[int]) -> str:
    """The shape of a batch: ``(m, 8, 8, 16)``.

    >>> examples((3,))
    '(m, 3)'
    """
    return f"({', '.join(map(str, ('m', *shape)))})"


def keywords(options: Mapping[str, Any]) -> str:
    """Keywords of a call, after other arguments.

    >>> keywords({"gates": "rzn", "reverse": False})
    ", gates='rzn', reverse=False"
    """
    return "".join(f", {name}={value!r}" for name, value in options.items())


def plus(bias: str) -> str:
    """A bias that is added, where there is one."""
    return "" if bias == "None" else f" + {bias}"


def averaging(layer: layers.BatchNorm) -> str:
    """The keywords that say how a layer's running averages move."""
    return keywords({"momentum": layer.momentum, "running_variance": layer.running_variance})


def tupled(values: Sequence[Any]) -> str:
    """A tuple as code."""
    return repr(tuple(values))


def recurrence(layer: recurrent.Recurrent, at: Place) -> str:
    """The keywords of a recurrent layer's function, its formulation, its direction and its mask."""
    found: dict[str, Any] = {}
    match layer:
        case recurrent.SimpleRNN():
            found = {"activation": layer.activation}
        case recurrent.LSTM():
            found = {"gates": layer.gates}
        case recurrent.GRU():
            found = {"gates": layer.gates, "reset": layer.reset}
    found |= {"reverse": layer.reverse, "return_sequences": layer.return_sequences}
    return f"{keywords(found)}, mask={at.mask}"


# What the function of each recurrent layer is called.
FUNCTIONS = {recurrent.SimpleRNN: "simple_rnn", recurrent.LSTM: "lstm", recurrent.GRU: "gru"}
