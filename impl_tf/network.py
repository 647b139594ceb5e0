"""A network of layers as a model: layers that compose, the shape of what they are given, and an output.

A :class:`Network` has what training asks of a ``models.DenseNetwork``, and is called like one. Its variables are the
layers' own, by path: ``{"1.W": ..., "1.b": ..., "3.W": ...}``. With ``A0 = x``::

    Z = layers(x)        (m, n), the logits
    A = f(Z)             (m, n), by the output: sigmoid, softmax, relu or ``Z`` itself
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ._common import check_choice, check_sizes, is_weight
from ._layer import Layer, Sequence
from .layers import Embedding, sequence

Tensors = dict[str, tf.Tensor]
Masks = Mapping[Any, tf.Tensor] | None  # dropout masks by layer or path

OUTPUTS = ("sigmoid", "softmax", "identity", "relu")


class Network(tf.Module):
    """See :func:`network`, which checks the arguments."""

    logits_name = "Z"
    output_name = "A"

    def __init__(self, layers: Sequence, input_shape: tuple[int, ...], output: str) -> None:
        super().__init__()
        self.layers, self.input_shape, self.output = layers, input_shape, output
        layers.build(input_shape, generator=tf.random.Generator.from_non_deterministic_state())
        masks = self.draw_masks(tf.random.Generator.from_seed(0), 1)  # here, as no tf.function may make a generator
        # Past tf.Module, which would keep something else in the place of a dict.
        self.__dict__["_mask_shapes"] = {path: tuple(mask.shape[1:]) for path, mask in masks.items()}

    @property
    def depth(self) -> int:
        """Number of layers of the sequence."""
        return len(self.layers.layers)

    @property
    def outputs(self) -> int:
        """Number of logits, ``n``."""
        return self.layers.output_shape(self.input_shape)[0]

    @property
    def dtype(self) -> tf.DType:
        """Of every parameter, and so of every computation."""
        return self.layers.dtype

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The paths of the weights, which penalties are of."""
        return tuple(filter(is_weight, self.parameter_dict()))

    @property
    def mask_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of a dropout mask of one example, by path."""
        return dict(self._mask_shapes)

    @property
    def weights(self) -> list[tf.Variable]:
        """What penalties apply to, in the order of :attr:`weight_names`."""
        return self.layers.weights

    def parameter_dict(self) -> dict[str, tf.Variable]:
        """The variables by path, ``{"1.W": ..., "1.b": ..., "3.W": ...}``."""
        return self.layers.parameter_dict()

    def statistics_dict(self) -> dict[str, tf.Variable]:
        """Batch norm's running averages by path, variables to read and assign to."""
        return self.layers.statistics_dict()

    def shows(self, name: str) -> bool:
        """Whether a value of a layer is one that ``models.intermediates`` returns: none that only training has."""
        return name != "A0" and not name.rpartition(".")[2].startswith(("_", "batch_"))

    @tf.autograph.experimental.do_not_convert  # nothing to convert in it, and looking for it takes seconds
    def __call__(self, x: Any, masks: Masks = None, *, training: bool = False) -> tf.Tensor:
        """Logits ``Z: (m, n)``. In ``training`` dropout draws ``masks`` unless given, and running averages move on."""
        if masks is None:
            return self.layers(self.checked_input(x), training=training)
        logits, values = self.forward(x, masks=masks, training=training)
        if training:
            self.assign_statistics(values)
        return logits

    @tf.autograph.experimental.do_not_convert
    def forward(self, x: Any, *, masks: Masks = None, training: bool = False) -> tuple[tf.Tensor, Tensors]:
        """Logits ``Z: (m, n)`` and the values of every layer by path, with ``"A0"``, which is ``x``, and ``"Z"``.

        ``masks`` by path, ``{"3.mask": (m, ...)}``, None for no dropout. In ``training`` batch norm takes the batch's
        own statistics, else its running averages; neither changes them. Raises ValueError for an ``x`` of another
        shape, and for integers out of an embedding's range, as ``layers.embedding`` does.
        """
        x = self.checked_input(x)
        logits, values = self.layers.forward(x, drawn=dict(masks or {}), training=training)
        return logits, values | {"A0": x, "Z": logits}

    def draw_masks(self, generator: tf.random.Generator, examples: int | tf.Tensor) -> Tensors:
        """What dropout draws for ``examples``, by path: ``{"3.mask": (m, ...)}``."""
        return self.layers.draw(generator, examples, self.input_shape)

    def assign_statistics(self, values: Mapping[str, Any]) -> None:
        """Move batch norm's running averages on by a batch, whose ``values`` are those of a training forward pass."""
        self.layers.assign_statistics(values)

    def checked_input(self, x: Any) -> tf.Tensor:
        """``x`` as a tensor of the model's dtype, or of integers if it has an embedding, whose range is looked at.

        Arrays are converted, a tensor of another dtype is refused.
        """
        x = x if tf.is_tensor(x) else np.asarray(x)
        embeddings = [layer for layer in self.layers.submodules if isinstance(layer, Embedding)]
        floats = not embeddings or tf.as_dtype(x.dtype).is_floating
        x = tf.convert_to_tensor(x, self.dtype if floats else None)
        if not x.shape.is_compatible_with((None, *self.input_shape)):
            raise ValueError(f"x has shape {x.shape}: must be ({', '.join(map(str, ('examples', *self.input_shape)))})")
        for layer in embeddings:
            layer.check_tokens(x)
        return x


def network(layers: Layer | Iterable[Layer], input_shape: Iterable[int], *, output: str = "identity") -> Network:
    """A network of one layer or of several in series, for examples of ``input_shape``; draws their variables anew.

    ``output``: ``"sigmoid"``, ``"softmax"``, ``"identity"`` or ``"relu"``. Raises ValueError unless the layers can take
    the shape and give ``(n,)``, for an unknown output, and for a layer with variables that stands in two places.
    """
    check_choice("output", output, OUTPUTS)
    given = layers if isinstance(layers, Sequence) else sequence(*((layers,) if isinstance(layers, Layer) else layers))
    shape = check_sizes("input_shape", tuple(input_shape), range(1, 33), "sizes of one example, integers >= 1")
    found = given.output_shape(shape)
    if len(found) != 1:
        raise ValueError(f"layers give {tuple(found)}: must give (n,), one row of logits for each example")
    model = Network(given, shape, output)
    _check_shared(model)
    return model


def _check_shared(model: Network) -> None:
    """An optimizer would take two steps on a variable that has two paths."""
    places: dict[Any, str] = {}
    for path, variable in model.parameter_dict().items():
        first = places.setdefault(variable.ref(), path)
        if first != path:
            raise ValueError(f"layers have one variable at {first!r} and {path!r}: must be a layer for each place")
