"""A network of layers as a model: layers that compose, the shape of what they are given, and an output.

With ``A0 = x``::

    Z = layers(x)        (m, n), the logits
    A = f(Z)             (m, n), by the output: sigmoid, softmax, relu or ``Z`` itself

Parameters and running averages have the layers' paths, which are the keys of ``state_dict``.

>>> from impl_torch.layers import activation, dense
>>> model = network([dense(3), activation("tanh"), dense(1)], (2,), output="sigmoid")
>>> list(model.state_dict()), model(torch.zeros(5, 2)).shape
(['1.W', '1.b', '3.W', '3.b'], torch.Size([5, 1]))
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ._common import check_choice, check_parameters, check_sizes, check_state, is_weight
from ._layer import Layer, Sequence, Shape, an_example, decided, layer_values
from .layers import BatchNorm, sequence

Tensors = dict[str, Tensor]
Masks = Mapping[Any, Tensor]  # dropout masks by layer or path

OUTPUTS = ("sigmoid", "softmax", "identity", "relu")


class Model(nn.Module, ABC):
    """What :class:`Network` and ``models.DenseNetwork`` have in common, and training asks of them.

    ``output``: what makes outputs of the logits; ``outputs``: the number of logits.
    """

    output: str
    outputs: int

    @property
    @abstractmethod
    def depth(self) -> int:
        """The number of layers."""

    @property
    @abstractmethod
    def logits_name(self) -> str:
        """What the logits are called among the values."""

    @property
    @abstractmethod
    def output_name(self) -> str:
        """What the outputs are called among the values."""

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The names of the weights, which penalties are of, in the order of the parameters."""
        return tuple(filter(is_weight, self.parameter_dict()))

    @property
    @abstractmethod
    def mask_shapes(self) -> dict[Any, Shape]:
        """The shape of a dropout mask of one example, by layer or path."""

    @abstractmethod
    def weights(self) -> list[Tensor]:
        """The weights in the order of their names."""

    @abstractmethod
    def shows(self, name: str) -> bool:
        """Whether a value of a layer is one that ``models.intermediates`` returns: none that only training has."""

    @abstractmethod
    def parameter_dict(self) -> dict[str, nn.Parameter]:
        """The module's own parameters by name."""

    @abstractmethod
    def statistics_dict(self) -> Tensors:
        """Batch norm's own running averages by name, or {}."""

    @abstractmethod
    def draw_masks(self, generator: torch.Generator | None, examples: int) -> dict[Any, Tensor]:
        """What dropout draws for ``examples``, on the generator's device; None: PyTorch's default generator."""

    @abstractmethod
    def layer_values(self, x: Tensor, masks: Masks | None = None, training: bool = False) -> Tensors:
        """Every value up to the logits by name. Nothing is drawn, and running averages stay."""

    @abstractmethod
    def update_running_averages(self, values: Tensors) -> None:
        """Take the batch's statistics among ``values`` of :meth:`layer_values` in training into the running ones."""

    @torch.no_grad()
    def load_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Copy tensors or arrays into the parameters. Raises ValueError unless these are all, with their shapes."""
        own = self.parameter_dict()
        check_parameters(parameters, {name: tuple(w.shape) for name, w in own.items()})
        for name, w in own.items():
            w.copy_(torch.as_tensor(parameters[name]))

    @torch.no_grad()
    def load_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Copy ``statistics`` into the running averages. Raises ValueError if one is missing or has another shape."""
        self.check_statistics(statistics)
        for name, average in self.statistics_dict().items():
            average.copy_(torch.as_tensor(statistics[name]))

    def check_statistics(self, statistics: Mapping[str, Any]) -> None:
        """Raise ValueError unless ``statistics`` are running averages of a model of these sizes."""
        check_state("statistics", statistics, {name: tuple(a.shape) for name, a in self.statistics_dict().items()})


class Network(Model):
    """See :func:`network`. Its children are the layers, so their paths are its own.

    ``layers``: the sequence; ``input_shape``: the shape of one example; ``outputs``: the number of logits, ``n``.
    """

    layers: Sequence
    logits_name = "Z"
    output_name = "A"

    def __init__(self, layers: Sequence, input_shape: Shape, output: str, outputs: int) -> None:
        super().__init__()
        self.__dict__["layers"] = layers  # past nn.Module, which would make it a child
        self._modules = layers._modules  # type: ignore[assignment]
        self.input_shape, self.output, self.outputs = input_shape, output, outputs
        self.training = layers.training

    @property
    def depth(self) -> int:
        """Number of layers of the sequence."""
        return len(self.layers)

    def train(self, mode: bool = True) -> "Network":
        self.layers.train(mode)
        self.training = mode
        return self

    def forward(self, x: Tensor, masks: Masks | None = None, training: bool | None = None) -> Tensor:
        """Logits ``Z: (m, n)`` of ``x: (m, *input_shape)``.

        By itself it is as any module: in training mode dropout is drawn, and batch norm takes the batch's statistics
        and moves its running averages; in eval mode neither. With ``masks``, dropout's by path, ``{"3.mask": (m,
        ...)}``, or with ``training``, nothing is drawn; with ``training``, which says whether batch norm takes the
        batch's statistics, the mode does not matter and running averages stay. Raises ValueError for an ``x`` of
        another shape, and for a mask at a path without dropout.
        """
        self._check(x)
        if masks is None and training is None:
            return self.layers(x)
        with decided(self.layers, training, masks or {}):
            return self.layers(x)

    def layer_values(self, x: Tensor, masks: Masks | None = None, training: bool = False) -> Tensors:
        """The values of every layer by path, as :func:`layers.layer_values` returns them, and the logits ``"Z"``.

        Nothing is drawn, and running averages stay. Arguments and errors as of :meth:`forward`.
        """
        self._check(x)
        with decided(self.layers, training, masks or {}):
            values = layer_values(self.layers, x)
        return values | {"Z": values[f"{self.depth}.A"]}

    @property
    def mask_shapes(self) -> dict[Any, Shape]:
        return {path: tuple(mask.shape[1:]) for path, mask in self.draw_masks(torch.Generator(), 1).items()}

    def weights(self) -> list[Tensor]:
        return [w for path, w in self.layers.named_parameters() if is_weight(path)]

    def shows(self, name: str) -> bool:
        return not name.rpartition(".")[2].startswith(("_", "batch_"))

    def parameter_dict(self) -> dict[str, nn.Parameter]:
        return dict(self.layers.named_parameters())

    def statistics_dict(self) -> Tensors:
        return {
            f"{path}.{name}": getattr(layer, name)
            for path, layer in self._batch_norms()
            for name in ("running_mean", "running_variance")
        }

    def draw_masks(self, generator: torch.Generator | None, examples: int) -> Tensors:
        """What dropout draws for ``examples``, by path: ``{"3.mask": (m, ...)}``."""
        return self.layers.draw(generator, examples, self.input_shape)

    def update_running_averages(self, values: Tensors) -> None:
        for path, layer in self._batch_norms():
            batch = values[f"{path}.batch_mean"], values[f"{path}.batch_variance"]
            layer.update(batch, values[f"{path}.A"][..., 0].numel())

    def extra_repr(self) -> str:
        return f"input_shape={self.input_shape!r}, output={self.output!r}"

    def _batch_norms(self) -> Iterator[tuple[str, BatchNorm]]:
        for path, layer in self.layers.named_modules():
            if isinstance(layer, BatchNorm):
                yield path, layer

    def _check(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.input_shape:
            must = ", ".join(map(str, ("examples", *self.input_shape)))
            raise ValueError(f"x has shape {tuple(x.shape)}: must be ({must})")


def network(
    layers: nn.Module | Iterable[nn.Module], input_shape: Iterable[int], *, output: str = "identity"
) -> Network:
    """A network of one layer or of several in series, for examples of ``input_shape``.

    ``output``: ``"sigmoid"``, ``"softmax"``, ``"identity"`` or ``"relu"``. Layers that have no parameters yet draw them
    from PyTorch's default generator; ``models.initialize`` draws all anew. Modules of PyTorch's own may be among the
    layers, and are no part of what is said of dropout and running averages: theirs do as the mode says, ``fit``'s being
    training. Raises ValueError unless the layers can take the shape and give ``(n,)``, and for an unknown output.

    >>> from impl_torch.layers import dense, embedding, gru
    >>> network([embedding(27, 8), gru(16), dense(3)], (12,), output="softmax").outputs
    3
    """
    check_choice("output", output, OUTPUTS)
    given = (
        layers if isinstance(layers, Sequence) else sequence(*(layers if isinstance(layers, Iterable) else (layers,)))
    )
    shape = check_sizes("input_shape", tuple(input_shape), range(1, 33), "sizes of one example, integers >= 1")
    found = given.output_shape(shape)
    if len(found) != 1:
        raise ValueError(f"layers give {tuple(found)}: must give (n,), one row of logits for each example")
    _complete(given, shape)
    return Network(given, shape, output, found[0])


@torch.no_grad()
def _complete(layer: Layer, shape: Shape) -> None:
    """Build the layers that are not built, and let PyTorch's lazy modules take their shapes."""
    for name, part, given in layer.parts(shape):
        if isinstance(part, Layer):
            _complete(part, given)
            continue
        if any(isinstance(inner, Layer) for inner in part.modules()):
            raise ValueError(f"layers has layers within its {type(part).__name__} {name!r}: must be a sequence of them")
        if any(map(is_lazy, part.parameters())):
            mode = part.training
            part.eval()(an_example(part, given))
            part.train(mode)
    if layer.is_unbuilt:
        layer.build(shape)
