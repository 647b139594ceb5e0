"""What every layer is, and what the names of its variables are: paths, such as ``"3.W"``, in one flat dict.

A layer is a ``tf.Module`` that owns its variables. It makes them in :meth:`Layer.build`, or at its first call; both may
stand inside a ``tf.function``, and a ``tf.train.Checkpoint`` may be restored before or after.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from . import initializers
from ._common import check_choice, inside, is_weight, named

Shape = tuple[int, ...]  # of one example
Tensors = dict[str, tf.Tensor]  # by path
Variables = dict[str, tf.Variable]  # by path
Options = Mapping[str, Any] | None  # keywords
Mask: TypeAlias = tf.Tensor | None  # bool (m, t), True where a sequence has a step

_FED: ContextVar[Mapping[int, Tensors] | None] = ContextVar("_FED", default=None)


@dataclass(eq=False)
class Layer(tf.Module):
    """A map of ``x: (m, *shape)`` to ``y: (m, *output_shape)``. The functions of ``layers.py`` make and check them."""

    def __post_init__(self) -> None:
        super().__init__()
        self.parameters: Variables = {}
        self.statistics: Variables = {}
        self.input_shape: Shape | None = None  # that of the examples it is built for
        self.dtype: tf.DType | None = None

    @property
    def passes_mask(self) -> bool:
        """Whether the output has the time axis of the input, so that the mask of its steps fits what follows."""
        return True

    @property
    def weights(self) -> list[tf.Variable]:
        """What penalties apply to: parameters whose last part begins with ``W`` or ``U``."""
        return [w for path, w in self.parameter_dict().items() if is_weight(path)]

    def parameter_dict(self) -> Variables:
        """The variables by path; empty before they are made."""
        return dict(self.parameters)

    def statistics_dict(self) -> Variables:
        """Batch norm's running averages by path, variables to read and assign to; {} without batch norm."""
        return dict(self.statistics)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one output for that of one input. Raises ValueError if the layer cannot take it."""
        return tuple(shape)

    def build(self, shape: Shape, *, generator: tf.random.Generator | None = None, dtype: Any = None) -> Shape:
        """Make the variables, or draw them anew, for inputs of ``shape``; returns the shape of one output.

        ``generator`` None means TensorFlow's global one, ``dtype`` None float32. Variables that have the shape and the
        dtype already are kept and assigned to, so that a ``tf.function`` traced with them stays valid. Raises
        ValueError if the layer cannot take ``shape``.
        """
        shape, dtype = tuple(shape), tf.as_dtype(dtype or tf.float32)
        output = self.output_shape(shape)
        with tf.init_scope():  # a first call may be in a tf.function
            self._make(generator or tf.random.get_global_generator(), shape, dtype)
        self.input_shape, self.dtype = shape, dtype
        return output

    def initial_statistics(self, shape: Shape, *, dtype: Any = None) -> Tensors:
        """Batch norm's running averages before training, new tensors by path; ``dtype`` None means float32."""
        return self._initial_statistics(tuple(shape), tf.as_dtype(dtype or tf.float32))

    def next_mask(self, x: tf.Tensor, mask: Mask) -> Mask:
        """The mask of steps for what follows; ``x`` is this layer's input, and ``mask`` its mask."""
        return mask if self.passes_mask else None

    def draw(self, generator: tf.random.Generator, examples: int | tf.Tensor, shape: Shape) -> Tensors:
        """What is random in a training pass of ``examples``, by path: dropout's ``"mask"``, bool ``(m, *shape)``."""
        return {}

    def forward(
        self, x: tf.Tensor, *, drawn: Tensors | None = None, training: bool = False, mask: Mask = None
    ) -> tuple[tf.Tensor, dict[str, Any]]:
        """``y: (m, *output_shape)`` and the values on the way to it, by path, of a layer that is built.

        ``x``: ``(m, *shape)``; ``drawn``: what :meth:`draw` gave, and dropout is where it has a mask; with None dropout
        draws for itself, in ``training``. There batch norm takes the batch's own statistics. ``mask``: bool ``(m, t)``,
        True where a sequence has a step, None: everywhere. Running averages stay as they are.
        """
        raise NotImplementedError

    def assign_statistics(self, values: Mapping[str, Any]) -> None:
        """Move batch norm's running averages on by a batch, whose ``values`` are those of a training forward pass."""

    @tf.autograph.experimental.do_not_convert  # nothing to convert in it, and looking for it takes seconds
    def __call__(self, x: Any, *, training: bool = False, mask: Any = None) -> tf.Tensor:
        """``y: (m, *output_shape)``; arguments as in :meth:`forward`. In ``training`` running averages move on.

        A layer without variables makes them now, in the dtype of ``x`` (float32 for integers). Arrays are converted
        to the layer's dtype. Raises ValueError for an ``x`` that the layer cannot take.
        """
        y, values = self._called(x, training, mask)
        if training:
            self.assign_statistics(values)
        return y

    def _called(self, x: Any, training: bool, mask: Any) -> tuple[tf.Tensor, dict[str, Any]]:
        """:meth:`forward` of checked arguments, with the draws that :func:`fed` has for this layer."""
        x, mask = self._checked_input(x), None if mask is None else tf.cast(mask, tf.bool)
        drawn = (_FED.get() or {}).get(id(self)) if training else None
        return self.forward(x, drawn=drawn, training=training, mask=mask)

    def _checked_input(self, x: Any) -> tf.Tensor:
        x = x if tf.is_tensor(x) else np.asarray(x)
        dtype = tf.as_dtype(x.dtype) if tf.as_dtype(x.dtype).is_floating else None
        x = tf.convert_to_tensor(x, dtype and self.dtype)
        if self.input_shape is None:
            self.build(tuple(x.shape[1:]), dtype=dtype)
        else:  # steps and places may be more or fewer than before, features not
            features = self.input_shape[-1:] if dtype is not None else ()
            if x.shape.rank != len(self.input_shape) + 1 or (features and x.shape[-1] != features[0]):
                built_for = ", ".join(map(str, ("examples", *self.input_shape)))
                raise ValueError(f"x has shape {x.shape}: must be ({built_for}), for which the layer is built")
        return x

    def _make(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> None:
        self.parameters = _assigned(self.parameters, self._initial_parameters(generator, shape, dtype), trainable=True)
        self.statistics = _assigned(self.statistics, self._initial_statistics(shape, dtype), trainable=False)

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        return {}

    def _initial_statistics(self, shape: Shape, dtype: tf.DType) -> Tensors:
        return {}

    def _refuse(self, shape: Shape, must: str) -> None:
        """Raise the ValueError that the layer cannot take examples of this shape."""
        raise ValueError(f"{type(self).__name__} cannot take examples of shape {tuple(shape)}: must be {must}")


class Composite(Layer):
    """A layer made of others, with the variables of each under a path of its own."""

    def parts(self) -> dict[str, Layer]:
        """The layers by the first part of their paths; ``""`` for one that has no level of its own."""
        raise NotImplementedError

    def shapes(self, shape: Shape) -> Iterator[Shape]:
        """What each part is given: the input's shape, unless they follow one another."""
        return (shape for _ in self.parts())

    def parameter_dict(self) -> Variables:
        return self._collected(lambda part: part.parameter_dict())

    def statistics_dict(self) -> Variables:
        return self._collected(lambda part: part.statistics_dict())

    def initial_statistics(self, shape: Shape, *, dtype: Any = None) -> Tensors:
        shapes = self.shapes(tuple(shape))
        return self._collected(lambda part: part.initial_statistics(next(shapes), dtype=dtype))

    def draw(self, generator: tf.random.Generator, examples: int | tf.Tensor, shape: Shape) -> Tensors:
        shapes = self.shapes(tuple(shape))
        return self._collected(lambda part: part.draw(generator, examples, next(shapes)))

    def assign_statistics(self, values: Mapping[str, Any]) -> None:
        for name, part in self.parts().items():
            part.assign_statistics(inside(values, name))

    def _make(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> None:
        for (name, part), given in zip(self.parts().items(), self.shapes(shape), strict=True):
            with tf.name_scope(name) if name else nullcontext():
                part.build(given, generator=generator, dtype=dtype)

    def _collected(self, of: Callable[[Layer], dict[str, Any]]) -> dict[str, Any]:
        return {path: v for name, part in self.parts().items() for path, v in named(of(part), name).items()}

    def _part(
        self, name: str, x: tf.Tensor, drawn: Tensors | None, training: bool, mask: Mask
    ) -> tuple[tf.Tensor, dict[str, Any]]:
        """The output of one part, and its values by their paths within this layer."""
        y, values = self.parts()[name].forward(x, drawn=inside(drawn, name), training=training, mask=mask)
        return y, named(values, name)


@dataclass(eq=False)
class Layers(Composite):
    """What series and branches have in common: places from 1."""

    layers: tuple[Layer, ...]

    @property
    def passes_mask(self) -> bool:
        """If all of its layers do."""
        return all(layer.passes_mask for layer in self.layers)

    def parts(self) -> dict[str, Layer]:
        """The layers by their places."""
        return {str(place): layer for place, layer in enumerate(self.layers, start=1)}


class Sequence(Layers):
    """See :func:`layers.sequence`."""

    def output_shape(self, shape: Shape) -> Shape:
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def shapes(self, shape: Shape) -> Iterator[Shape]:
        for layer in self.layers:
            yield shape
            shape = layer.output_shape(shape)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        values: dict[str, Any] = {}
        for name, layer in self.parts().items():
            y, found = self._part(name, x, drawn, training, mask)
            mask = layer.next_mask(x, mask)
            x = y
            values |= found | {f"{name}.A": x}
        return x, values

    def next_mask(self, x: tf.Tensor, mask: Mask) -> Mask:
        """That of the first layer, if all others hand it on."""
        first, *others = self.layers
        return first.next_mask(x, mask) if all(layer.passes_mask for layer in others) else None


@dataclass(eq=False)
class Residual(Composite):
    """See :func:`layers.residual`."""

    layer: Layer

    @property
    def passes_mask(self) -> bool:
        """As the layer itself."""
        return self.layer.passes_mask

    def parts(self) -> dict[str, Layer]:
        """The layer, on the level of this one."""
        return {"": self.layer}

    def output_shape(self, shape: Shape) -> Shape:
        found = self.layer.output_shape(shape)
        if tuple(found) != tuple(shape):
            self._refuse(shape, f"what its layer gives, which is {tuple(found)}")
        return shape

    def next_mask(self, x: tf.Tensor, mask: Mask) -> Mask:
        """As the layer itself."""
        return self.layer.next_mask(x, mask)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        y, values = self._part("", x, drawn, training, mask)
        return x + y, values


@dataclass(eq=False)
class Parallel(Layers):
    """See :func:`layers.parallel`."""

    join: str

    def output_shape(self, shape: Shape) -> Shape:
        shapes = [tuple(layer.output_shape(shape)) for layer in self.layers]
        alike = {found[:-1] if self.join == "concatenate" else found for found in shapes}
        if len(alike) > 1 or len({len(found) for found in shapes}) > 1:
            self._refuse(shape, f"such that outputs can be joined by {self.join!r}, which are {shapes}")
        return (*shapes[0][:-1], sum(found[-1] for found in shapes)) if self.join == "concatenate" else shapes[0]

    def forward(self, x, *, drawn=None, training=False, mask=None):
        outputs: list[tf.Tensor] = []
        values: dict[str, Any] = {}
        for name in self.parts():
            y, found = self._part(name, x, drawn, training, mask)
            outputs.append(y)
            values |= found | {f"{name}.A": y}
        return tf.concat(outputs, axis=-1) if self.join == "concatenate" else tf.add_n(outputs), values


@contextmanager
def fed(module: Layer, drawn: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, calls of ``module`` in training take ``drawn``, by path, in place of draws of their own.

    Where ``drawn`` has no mask, there is no dropout. A ``tf.function`` takes what is fed while it is traced: there,
    open it inside, with the draws as arguments.
    """
    token = _FED.set({**(_FED.get() or {}), id(module): {path: tf.convert_to_tensor(v) for path, v in drawn.items()}})
    try:
        yield
    finally:
        _FED.reset(token)


def layer_values(module: Layer, x: Any, *, training: bool = False, mask: Any = None) -> dict[str, Any]:
    """The values of one pass by path: ``"3.A"``, what the third layer gives, ``"2.h"``, ``"4.weights"``.

    Arguments as in a call; running averages stay as they are, and what :func:`fed` feeds is taken.
    """
    return module._called(x, training, mask)[1]


def check_initializer(name: str, value: Any, options: Options = None) -> dict[str, Any]:
    """The options as a dict. Raises ValueError for an unknown initializer or an option it refuses."""
    check_choice(name, value, tuple(initializers.INITIALIZERS))
    options = dict(options or {})
    initializers.INITIALIZERS[value](tf.random.Generator.from_seed(0), (1, 1), **options)
    return options


def linear(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None = None) -> tf.Tensor:
    """``x W^T + b`` over the last axis of ``x``, of any rank; ``w``: ``(n_out, n_in)``."""
    y = tf.matmul(x, w, transpose_b=True) if x.shape.rank == 2 else tf.tensordot(x, w, [[-1], [1]])
    return y if b is None else y + b


def _assigned(variables: Variables, values: Tensors, *, trainable: bool) -> Variables:
    """The variables with these values: the same ones where shapes and dtypes are, else new ones."""
    alike = all(name in variables and _kind(variables[name]) == _kind(value) for name, value in values.items())
    variables = variables if alike or not variables else {}
    for name, value in values.items():
        if name in variables:
            variables[name].assign(value)
        else:  # one by one into the dict that is tracked: it hands over what a checkpoint has for it
            variables[name] = tf.Variable(value, trainable=trainable, name=name)
    return variables


def _kind(tensor: Any) -> tuple[Any, Any]:
    return tuple(tensor.shape), tensor.dtype
