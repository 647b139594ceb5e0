"""The models: single neuron, logistic regression, shallow and L-layer network, multi-task network, softmax classifier.

A model is an immutable description; its parameters are a dict ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}`` kept
apart from it. Every model computes, for layers ``l = 1 .. L``, with ``A0 = x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    N[l] = normalise(Z[l])             (m, n_l), with parameters gamma[l], beta[l]: (n_l,); for l < L, if asked for
    A[l] = f(N[l])                     (m, n_l), then inverted dropout, for l < L

and its outputs are ``A[L]``: sigmoid, softmax, relu or, for regression, ``Z[L]`` itself; the cross-entropies take the
logits ``Z[L]``. With ``bias=False`` no layer has a ``b[l]``: ``Z[l] = A[l-1] W[l]^T``. A layer with batch norm has none
either, as the mean takes it away again; its running averages are no parameters and are kept in a dict of their own,
``{"running_mean1": (n_1,), "running_variance1": (n_1,), ...}``.

>>> model = shallow_network(2, hidden_units=3)
>>> parameters = initialize(model, np.random.default_rng(0), initializer="scaled_normal")
>>> predict(model, parameters, np.zeros((5, 2))).shape
(5, 1)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import activations, initializers, normalization, regularizers
from ._common import check_choice, check_layer_sizes
from .arithmetic import total
from .layers import LAYERS as LAYERS
from .network import OUTPUTS as OUTPUTS
from .network import Masks as Masks
from .network import Network as Network
from .network import network as network

Array = NDArray[Any]
Tensors = dict[str, Array]
Options = Mapping[str, Any]


class Buffers(dict[str, Any]):
    """Arrays to write values into, by name; None, for a new array, where there is none."""

    def __missing__(self, name: str) -> None:
        return None


_NO_BUFFERS = Buffers()


@dataclass(frozen=True)
class DenseNetwork:
    """A fully connected network. Use the functions below to make one; they check their arguments."""

    layer_sizes: tuple[int, ...]
    activation: str
    activation_options: Options = field(default_factory=dict)
    output: str = "sigmoid"
    keep_probabilities: tuple[float, ...] = ()
    normalization: str | None = None
    normalization_options: Options = field(default_factory=dict)
    bias: bool = True

    @property
    def depth(self) -> int:
        """Number of layers with weights, ``L``."""
        return len(self.layer_sizes) - 1

    @property
    def logits_name(self) -> str:
        """What the logits are called among the values: ``"ZL"``."""
        return f"Z{self.depth}"

    @property
    def output_name(self) -> str:
        """What the outputs are called among the values: ``"AL"``."""
        return f"A{self.depth}"

    def shows(self, name: str) -> bool:
        """Whether a value of a layer is one that :func:`intermediates` returns."""
        return name[0] in "ZNA" and name != "A0"

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters: ``{"W1": (n_1, n_0), "b1": (n_1,), ...}``."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (inputs, units) in enumerate(pairwise(self.layer_sizes), start=1):
            vectors: tuple[str, ...] = ("b",) if self.has_bias(layer) else ()
            if self.normalization is not None and layer < self.depth:
                vectors += ("gamma", "beta")
            shapes |= {f"W{layer}": (units, inputs), **{f"{name}{layer}": (units,) for name in vectors}}
        return shapes

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The names of the weights, which penalties are of: ``("W1", ..., "WL")``."""
        return tuple(f"W{layer}" for layer in range(1, self.depth + 1))

    @property
    def mask_shapes(self) -> dict[Any, tuple[int, ...]]:
        """The shape of a dropout mask of one example, by hidden layer."""
        return {layer: (units,) for layer, units in enumerate(self.layer_sizes[1:-1], start=1)}

    @property
    def has_statistics(self) -> bool:
        """Whether there are running averages, which batch norm keeps."""
        return self.normalization == "batch_norm"

    @property
    def epsilon(self) -> dict[str, Any]:
        """The keyword of the normalisation's function; batch norm's other options are those of its running averages."""
        return {"epsilon": self.normalization_options["epsilon"]} if "epsilon" in self.normalization_options else {}

    def normalizes(self, layer: int, kind: str) -> bool:
        """Whether layer ``layer`` is normalised by ``kind``."""
        return self.normalization == kind and layer < self.depth

    def has_bias(self, layer: int) -> bool:
        """Whether layer ``layer`` has a ``b[l]``: none has without ``bias``, nor has one with batch norm."""
        return self.bias and not self.normalizes(layer, "batch_norm")

    def draw_masks(self, generator: np.random.Generator, examples: int) -> dict[Any, Array]:
        """What dropout draws for ``examples``: by hidden layer ``(m, n_l)``, where units are dropped."""
        return {
            layer: regularizers.dropout_mask(generator, (examples, self.layer_sizes[layer]), keep_probability=keep)
            for layer, keep in enumerate(self.keep_probabilities, start=1)
            if keep < 1
        }

    def buffers(self, examples: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Arrays for the values of a batch of ``examples``, and for the gradients of the cost by them."""
        sizes = list(enumerate(self.layer_sizes[1:], start=1))
        return {f"{name}{layer}": np.empty((examples, n), dtype) for layer, n in sizes for name in ("Z", "A", "dA")}

    def product(self, a: Array, b: Array, *, out: Array | None = None) -> Array:
        """The matrix product ``a b``: sums of many terms are taken here, so that a subclass can reorder them."""
        return np.matmul(a, b, out=out)

    def forward(
        self,
        parameters: Tensors,
        x: Array,
        *,
        masks: Masks | None = None,
        statistics: Tensors | None = None,
        buffers: Buffers | None = None,
    ) -> tuple[Array, Tensors]:
        """Logits ``Z[L]: (m, n_L)`` and the values of every layer, ``{"A0": x, "Z1": ..., "A1": ..., ..., "ZL": ...}``.

        ``masks`` maps a hidden layer's number to its dropout mask ``(m, n_l)``; None means no dropout. ``statistics``
        are the running ones of batch norm; None means training, with the batch's own, which are then among the values
        (``"batch_mean1"``, ``"batch_variance1"``). ``buffers`` maps names of values to arrays to write into. Raises
        ValueError if ``x`` does not have ``n_0`` features.
        """
        if x.ndim != 2 or x.shape[1] != self.layer_sizes[0]:
            raise ValueError(f"x has shape {x.shape}: must be (examples, {self.layer_sizes[0]})")
        buffers = _NO_BUFFERS if buffers is None else buffers
        f = activations.ACTIVATIONS[self.activation]
        values = {"A0": x}
        for layer in range(1, self.depth + 1):
            z = self.product(values[f"A{layer - 1}"], parameters[f"W{layer}"].T, out=buffers[f"Z{layer}"])
            if f"b{layer}" in parameters:
                z += parameters[f"b{layer}"]
            values[f"Z{layer}"] = z
            if layer < self.depth:
                a = f(self._normalized(layer, parameters, values, statistics), out=buffers[f"A{layer}"],
                      **self.activation_options)  # fmt: skip
                if masks is not None and layer in masks:
                    values[f"F{layer}"] = a  # f(N) before dropout: the backward pass needs it
                    a = regularizers.inverted_dropout(
                        a, masks[layer], keep_probability=self.keep_probabilities[layer - 1]
                    )
                values[f"A{layer}"] = a
        return values[f"Z{self.depth}"], values

    def backward(
        self,
        parameters: Tensors,
        values: Tensors,
        output_gradient: Array,
        *,
        masks: Masks | None = None,
        buffers: Buffers | None = None,
        input_gradient: bool = False,
    ) -> Tensors:
        """Gradients of the cost from ``output_gradient = d cost / d Z[L]``, ``(m, n_L)``, in training::

            dW[l] = dZ[l]^T A[l-1]     db[l] = sum over examples of dZ[l]
            dA[l-1] = dZ[l] W[l]       dN[l] = dA[l] (dropout) f'(N[l])      dZ[l] = dN[l] (normalisation)

        ``values`` are those of :meth:`forward`. Returns ``{"W1": ..., "b1": ...}``, with ``"A0"`` (``d cost / d x``) if
        ``input_gradient``.
        """
        buffers = _NO_BUFFERS if buffers is None else buffers
        f_backward = activations.BACKWARD[self.activation]
        gradients, dz = {}, output_gradient
        for layer in range(self.depth, 0, -1):
            gradients[f"W{layer}"] = self.product(dz.T, values[f"A{layer - 1}"], out=buffers[f"dW{layer}"])
            if f"b{layer}" in parameters:
                gradients[f"b{layer}"] = np.positive(total(dz, axis=0)[0], out=buffers[f"db{layer}"])
            if layer == 1 and not input_gradient:
                break
            da = self.product(dz, parameters[f"W{layer}"], out=buffers[f"dA{layer - 1}"])
            if layer == 1:
                gradients["A0"] = da
                break
            hidden = layer - 1
            if masks is not None and hidden in masks:
                da = regularizers.inverted_dropout(
                    da, masks[hidden], keep_probability=self.keep_probabilities[hidden - 1]
                )
            a = values.get(f"F{hidden}", values[f"A{hidden}"])
            n = values.get(f"N{hidden}", values[f"Z{hidden}"])
            dn = f_backward(da, n, a, out=buffers[f"dA{hidden}"], **self.activation_options)
            dz = self._normalized_backward(hidden, parameters, values, dn, gradients, buffers)
        return gradients

    def updated_statistics(self, statistics: Tensors, values: Tensors) -> Tensors:
        """The running averages of batch norm after a training forward pass with ``values``; {} without batch norm."""
        if self.normalization != "batch_norm":
            return {}
        options = {name: value for name, value in self.normalization_options.items() if name != "epsilon"}
        updated: Tensors = {}
        for layer in range(1, self.depth):
            if self.normalizes(layer, "batch_norm"):
                names = f"running_mean{layer}", f"running_variance{layer}"
                running = statistics[names[0]], statistics[names[1]]
                batch = values[f"batch_mean{layer}"], values[f"batch_variance{layer}"]
                averages = normalization.running_average(running, batch, len(values["A0"]), **options)
                updated |= dict(zip(names, averages, strict=True))
        return updated

    def _normalized(self, layer: int, parameters: Tensors, values: Tensors, statistics: Tensors | None) -> Array:
        """What the activation takes: ``N[l]``, or ``Z[l]`` without normalisation. Adds to ``values``."""
        z = values[f"Z{layer}"]
        if self.normalization is None:
            return z
        scale_and_shift = parameters[f"gamma{layer}"], parameters[f"beta{layer}"]
        if self.normalization == "layer_norm":
            values[f"N{layer}"] = normalization.layer_norm(z, *scale_and_shift, **self.epsilon)
        else:
            if statistics is None:
                mean, variance = normalization.batch_statistics(z)
                values |= {f"batch_mean{layer}": mean, f"batch_variance{layer}": variance}
            else:
                mean, variance = statistics[f"running_mean{layer}"], statistics[f"running_variance{layer}"]
            values[f"N{layer}"] = normalization.batch_norm(z, *scale_and_shift, mean, variance, **self.epsilon)
        return values[f"N{layer}"]

    def _normalized_backward(
        self, layer: int, parameters: Tensors, values: Tensors, dn: Array, gradients: Tensors, buffers: Buffers
    ) -> Array:
        """``dZ[l]`` from ``dN[l]``; adds ``gamma[l]``'s and ``beta[l]``'s gradients to ``gradients``."""
        if self.normalization is None:
            return dn
        z, gamma = values[f"Z{layer}"], parameters[f"gamma{layer}"]
        if self.normalization == "layer_norm":
            dz, dgamma, dbeta = normalization.layer_norm_backward(dn, z, gamma, **self.epsilon)
        else:
            statistics = values[f"batch_mean{layer}"], values[f"batch_variance{layer}"]
            dz, dgamma, dbeta = normalization.batch_norm_backward(dn, z, gamma, *statistics, **self.epsilon)
        gradients[f"gamma{layer}"] = np.positive(dgamma, out=buffers[f"dgamma{layer}"])
        gradients[f"beta{layer}"] = np.positive(dbeta, out=buffers[f"dbeta{layer}"])
        return dz


Model = DenseNetwork | Network


def single_neuron(features: int, *, output: str = "identity", bias: bool = True) -> DenseNetwork:
    """One unit for regression, ``p = w . x + b`` (``output="identity"``) or ``max(w . x + b, 0)`` (``"relu"``).

    The course's first example: the price of a house from its size. ``bias=False``: without ``b``, as in every model
    here. Source: the course, course 1 week 1.

    >>> single_neuron(1, output="relu").output
    'relu'
    """
    check_choice("output", output, ("identity", "relu"))
    return _dense_network((features, 1), "identity", None, output, 1.0, None, None, bias)


def logistic_regression(features: int, *, bias: bool = True) -> DenseNetwork:
    """One sigmoid unit: ``p = sigmoid(w . x + b)``. Source: the course, course 1 week 2.

    >>> logistic_regression(3).layer_sizes
    (3, 1)
    """
    return _dense_network((features, 1), "identity", None, "sigmoid", 1.0, None, None, bias)


def shallow_network(
    features: int,
    *,
    hidden_units: int = 4,
    outputs: int = 1,
    activation: str = "tanh",
    activation_options: Options | None = None,
    output: str = "sigmoid",
    keep_probability: float | Sequence[float] = 1.0,
    normalization: str | None = None,
    normalization_options: Options | None = None,
    bias: bool = True,
) -> DenseNetwork:
    """One hidden layer. Source: the course, course 1 week 3.

    >>> shallow_network(2).layer_sizes
    (2, 4, 1)
    """
    sizes = (features, hidden_units, outputs)
    return _dense_network(
        sizes, activation, activation_options, output, keep_probability, normalization, normalization_options, bias
    )


def deep_network(
    layer_sizes: Sequence[int],
    *,
    activation: str = "relu",
    activation_options: Options | None = None,
    output: str = "sigmoid",
    keep_probability: float | Sequence[float] = 1.0,
    normalization: str | None = None,
    normalization_options: Options | None = None,
    bias: bool = True,
) -> DenseNetwork:
    """The L-layer network; ``layer_sizes = (n_0, ..., n_L)``. Source: the course, course 1 week 4.

    ``keep_probability`` is one number, or one for each hidden layer. ``normalization`` is None, ``"batch_norm"``
    (``normalization_options``: ``epsilon``, ``momentum``, ``running_variance``) or ``"layer_norm"`` (``epsilon``), on
    every hidden layer, with the defaults of ``normalization.py``. ``bias=False``: no layer has a ``b[l]``. Raises
    ValueError for an argument out of range or unknown, as all models do.

    >>> deep_network((12288, 20, 7, 5, 1)).depth
    4
    """
    return _dense_network(
        layer_sizes,
        activation,
        activation_options,
        output,
        keep_probability,
        normalization,
        normalization_options,
        bias,
    )


def multi_task_network(
    layer_sizes: Sequence[int],
    *,
    activation: str = "relu",
    activation_options: Options | None = None,
    keep_probability: float | Sequence[float] = 1.0,
    normalization: str | None = None,
    normalization_options: Options | None = None,
    bias: bool = True,
) -> DenseNetwork:
    """The L-layer network with ``n_L`` sigmoid outputs, each of its own. Source: the course, course 3 week 2.

    >>> multi_task_network((2, 8, 3)).output
    'sigmoid'
    """
    return _dense_network(
        layer_sizes,
        activation,
        activation_options,
        "sigmoid",
        keep_probability,
        normalization,
        normalization_options,
        bias,
    )


def softmax_classifier(
    layer_sizes: Sequence[int] = (12288, 25, 12, 6),
    *,
    activation: str = "relu",
    activation_options: Options | None = None,
    keep_probability: float | Sequence[float] = 1.0,
    normalization: str | None = None,
    normalization_options: Options | None = None,
    bias: bool = True,
) -> DenseNetwork:
    """The L-layer network with a softmax over ``n_L`` classes; by default the course's hand-sign classifier.

    Source: the course, course 2 week 3.

    >>> softmax_classifier().output
    'softmax'
    """
    return _dense_network(
        layer_sizes,
        activation,
        activation_options,
        "softmax",
        keep_probability,
        normalization,
        normalization_options,
        bias,
    )


MODELS: dict[str, Callable[..., DenseNetwork]] = {
    f.__name__: f
    for f in (
        single_neuron, logistic_regression, shallow_network, deep_network, multi_task_network, softmax_classifier,
    )
}  # fmt: skip


def initialize(
    model: Model,
    generator: np.random.Generator | None,
    *,
    initializer: str | None = None,
    initializer_options: Options | None = None,
    dtype: DTypeLike | None = None,
) -> Tensors:
    """Initial parameters: weights from ``initializer`` (a name in ``initializers.INITIALIZERS``), biases zero.

    ``initializer`` None: ``"he_normal"``; a network of layers takes no other, as each of its layers has its own.
    ``generator`` is a ``numpy.random.Generator``. Normalised layers have scales ``gamma`` of 1 and shifts ``beta`` of
    0. Returns ``{"W1": (n_1, n_0), "b1": (n_1,), ...}``, or by path. Raises ValueError for an unknown initializer.

    >>> initialize(logistic_regression(2), None, initializer="zeros")
    {'W1': array([[0., 0.]]), 'b1': array([0.])}
    """
    if isinstance(model, Network):
        if initializer is not None:
            raise ValueError(
                f"initializer={initializer!r} is not allowed for a network of layers: must be None, as each layer has"
                " its own"
            )
        return model.initialize(generator, dtype=dtype)
    initializer = "he_normal" if initializer is None else initializer
    check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    parameters = {}
    for layer, shape in enumerate(zip(model.layer_sizes[1:], model.layer_sizes[:-1], strict=True), start=1):
        parameters[f"W{layer}"] = draw(generator, shape, dtype=dtype, **(initializer_options or {}))
        if model.has_bias(layer):
            parameters[f"b{layer}"] = np.zeros(shape[0], dtype)
        if model.normalization is not None and layer < model.depth:
            parameters |= {f"gamma{layer}": np.ones(shape[0], dtype), f"beta{layer}": np.zeros(shape[0], dtype)}
    return parameters


def initial_statistics(model: Model, *, dtype: DTypeLike | None = None) -> Tensors:
    """Batch norm's running averages before training, means 0 and variances 1; {} for a model without batch norm.

    >>> initial_statistics(shallow_network(2, hidden_units=1, normalization="batch_norm"))
    {'running_mean1': array([0.]), 'running_variance1': array([1.])}
    """
    if isinstance(model, Network):
        return model.layers.initial_statistics(model.input_shape, dtype=dtype)
    statistics: Tensors = {}
    for layer, size in enumerate(model.layer_sizes[1:], start=1):
        if model.normalizes(layer, "batch_norm"):
            statistics |= {
                f"running_mean{layer}": np.zeros(size, dtype),
                f"running_variance{layer}": np.ones(size, dtype),
            }
    return statistics


def update_statistics(
    model: Model, parameters: Tensors, x: Array, statistics: Tensors, *, masks: Masks | None = None
) -> Tensors:
    """Batch norm's running averages after one training forward pass of ``x: (m, n_0)``; changes no argument.

    >>> model = shallow_network(1, hidden_units=1, normalization="batch_norm")
    >>> parameters = initialize(model, None, initializer="zeros") | {"W1": np.array([[1.0]])}
    >>> update_statistics(model, parameters, np.array([[9.0], [11.0]]), initial_statistics(model))
    {'running_mean1': array([1.]), 'running_variance1': array([1.])}
    """
    return model.updated_statistics(statistics, model.forward(parameters, x, masks=masks)[1])


def intermediates(
    model: Model,
    parameters: Tensors,
    x: Array,
    statistics: Tensors | None = None,
    *,
    masks: Masks | None = None,
    training: bool = False,
) -> Tensors:
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    With normalisation also ``"N1"``, what the activation takes. Of a network of layers the values of its layers by
    path, ``"2.A"``, with ``"Z"`` and ``"A"``. ``masks`` as in :meth:`DenseNetwork.forward`; hidden activations are
    those after dropout. ``training`` says whether batch norm takes the batch's statistics or the running
    ``statistics``. Raises ValueError for a model with batch norm without either.

    >>> model = logistic_regression(2)
    >>> parameters = {"W1": np.array([[1.0, -1.0]]), "b1": np.array([0.0])}
    >>> intermediates(model, parameters, np.array([[2.0, 2.0]]))
    {'Z1': array([[0.]]), 'A1': array([[0.5]])}
    """
    _check_statistics(model, statistics, training)
    logits, values = model.forward(parameters, x, masks=masks, statistics=None if training else statistics)
    named = {name: value for name, value in values.items() if model.shows(name)}
    named[model.output_name] = activations.ACTIVATIONS[model.output](logits)
    return named


def predict(model: Model, parameters: Tensors, x: Array, statistics: Tensors | None = None) -> Array:
    """``A[L]: (m, n_L)`` in inference mode: probabilities, or values for regression.

    ``statistics``: the running ones of batch norm. Raises ValueError for a model with batch norm without them.

    >>> model = logistic_regression(2)
    >>> parameters = {"W1": np.array([[1.0, -1.0]]), "b1": np.array([0.0])}
    >>> predict(model, parameters, np.array([[2.0, 2.0]]))
    array([[0.5]])
    """
    return activations.ACTIVATIONS[model.output](_logits(model, parameters, x, statistics))


def predict_classes(model: Model, parameters: Tensors, x: Array, statistics: Tensors | None = None) -> Array:
    """Predicted labels: ``(m,)`` the largest logit for softmax, or 1 where the logit of a single sigmoid is positive;
    ``(m, n_L)`` of 0 and 1 for several sigmoid outputs.

    ``statistics`` as in :func:`predict`. Raises ValueError for a model whose output is not a class.

    >>> model = logistic_regression(2)
    >>> parameters = {"W1": np.array([[1.0, -1.0]]), "b1": np.array([0.0])}
    >>> predict_classes(model, parameters, np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([1, 0])
    """
    if model.output == "softmax":
        return _logits(model, parameters, x, statistics).argmax(axis=1)
    if model.output != "sigmoid":
        raise ValueError(f"output={model.output!r} does not predict classes: must be 'sigmoid' or 'softmax'")
    labels = (_logits(model, parameters, x, statistics) > 0).astype(np.int64)
    return labels[:, 0] if labels.shape[1] == 1 else labels


def replace_head(
    model: DenseNetwork,
    parameters: Tensors,
    generator: np.random.Generator | None,
    *,
    outputs: int,
    output: str = "sigmoid",
    initializer: str = "he_normal",
    initializer_options: Options | None = None,
) -> tuple[DenseNetwork, Tensors]:
    """Transfer: the same model with a new last layer of ``outputs`` units. Returns ``(model, parameters)``, both new.

    The other layers keep their parameters, and a model without biases stays without; train with an update of
    ``frozen_layers`` to leave them alone. ``output``: ``"sigmoid"``, ``"softmax"``, ``"identity"`` or ``"relu"``.
    Raises ValueError for an unknown output or initializer. Source: the course, course 3 week 2.

    >>> model = deep_network((4, 3, 1))
    >>> parameters = initialize(model, np.random.default_rng(0))
    >>> model, parameters = replace_head(model, parameters, np.random.default_rng(1), outputs=6, output="softmax")
    >>> model.layer_sizes, parameters["W2"].shape
    ((4, 3, 6), (6, 3))
    """
    if isinstance(model, Network):
        raise ValueError("model is a network of layers: replace_head takes a dense network")
    check_choice("output", output, OUTPUTS)
    model = replace(model, layer_sizes=check_layer_sizes((*model.layer_sizes[:-1], outputs)), output=output)
    dtype = parameters["W1"].dtype
    fresh = initialize(model, generator, initializer=initializer, initializer_options=initializer_options, dtype=dtype)
    head = (f"W{model.depth}", f"b{model.depth}")
    return model, {name: fresh[name] if name in head else value.copy() for name, value in parameters.items()}


def computation_graph(a: float, b: float, c: float) -> float:
    """``J = 3 (a + b c)``, the course's first computation graph. Source: the course, course 1 week 2.

    >>> computation_graph(5.0, 3.0, 2.0)
    33.0
    """
    return 3 * (a + b * c)


def computation_graph_gradients(a: float, b: float, c: float) -> tuple[float, dict[str, float]]:
    """``J`` and its derivatives ``{"a": 3, "b": 3 c, "c": 3 b}``, backwards through the graph.

    >>> computation_graph_gradients(5.0, 3.0, 2.0)
    (33.0, {'a': 3.0, 'b': 6.0, 'c': 9.0})
    """
    dv = 3.0  # J = 3 v,  v = a + u,  u = b c
    du = dv
    return computation_graph(a, b, c), {"a": dv, "b": du * c, "c": du * b}


def logistic_regression_loops(weight: Array, bias: float, x: Array, y: Array) -> tuple[float, Array, float]:
    """Logistic regression's cost and gradients by loops over examples and features, as the course first writes them.

    ``weight``: ``(n_0,)``; ``bias``: a number; ``x``: ``(m, n_0)``; ``y``: ``(m,)`` of 0 and 1. Returns
    ``(cost, weight_gradient, bias_gradient)``. Slow on purpose. Source: the course, course 1 week 2.

    >>> logistic_regression_loops(np.zeros(1), 0.0, np.array([[2.0]]), np.array([1]))
    (0.6931471805599453, array([-1.]), -0.5)
    """
    examples, features = x.shape
    cost, weight_gradient, bias_gradient = 0.0, np.zeros(features), 0.0
    for i in range(examples):
        z = bias
        for j in range(features):
            z += weight[j] * x[i, j]
        cost += _logistic_loss(z, y[i])
        dz = _logistic(z) - y[i]
        for j in range(features):
            weight_gradient[j] += x[i, j] * dz
        bias_gradient += dz
    return float(cost / examples), weight_gradient / examples, float(bias_gradient / examples)


def logistic_regression_example_loop(weight: Array, bias: float, x: Array, y: Array) -> tuple[float, Array, float]:
    """The same with one loop, over examples; features are vectorised. Arguments and result as above.

    >>> logistic_regression_example_loop(np.zeros(1), 0.0, np.array([[2.0]]), np.array([1]))
    (0.6931471805599453, array([-1.]), -0.5)
    """
    examples, features = x.shape
    cost, weight_gradient, bias_gradient = 0.0, np.zeros(features), 0.0
    for i in range(examples):
        z = weight @ x[i] + bias
        dz = _logistic(z) - y[i]
        cost += _logistic_loss(z, y[i])
        weight_gradient += dz * x[i]
        bias_gradient += dz
    return float(cost / examples), weight_gradient / examples, float(bias_gradient / examples)


def _logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def _logistic_loss(z: float, y: float) -> float:
    return max(z, 0.0) - z * y + math.log1p(math.exp(-abs(z)))


def _dense_network(
    layer_sizes: Sequence[int],
    activation: str,
    activation_options: Options | None,
    output: str,
    keep_probability: float | Sequence[float],
    normalizer: str | None,
    normalization_options: Options | None,
    bias: bool,
) -> DenseNetwork:
    sizes = check_layer_sizes(layer_sizes)
    check_choice("activation", activation, tuple(activations.ACTIVATIONS))
    check_choice("output", output, OUTPUTS)
    check_choice("normalization", normalizer, (None, *normalization.NORMALIZATIONS))
    check_choice("bias", bias, (False, True))
    hidden = len(sizes) - 2
    keep = tuple(keep_probability) if isinstance(keep_probability, Sequence) else (keep_probability,) * hidden
    if len(keep) != hidden or not all(0 < p <= 1 for p in (*keep, *_numbers(keep_probability))):
        raise ValueError(
            f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1], one or {hidden} of them"
        )
    options = dict(normalization_options or {})
    allowed = {None: (), "batch_norm": ("epsilon", "momentum", "running_variance"), "layer_norm": ("epsilon",)}
    for name in options:
        check_choice("normalization_options", name, allowed[normalizer])
    model = DenseNetwork(sizes, activation, dict(activation_options or {}), output, keep, normalizer, options, bias)
    _try(model)
    return model


def _try(model: DenseNetwork) -> None:
    """Let the activation and the normalisation check their options now rather than in the first forward pass."""
    one = np.ones((1, 1))
    activations.ACTIVATIONS[model.activation](one, **model.activation_options)
    if model.normalization is not None:
        normalization.layer_norm(one, one[0], one[0], **model.epsilon)
    options = {name: value for name, value in model.normalization_options.items() if name != "epsilon"}
    normalization.running_average((one, one), (one, one), 2, **options)


def _logits(model: Model, parameters: Tensors, x: Array, statistics: Tensors | None) -> Array:
    _check_statistics(model, statistics, False)
    return model.forward(parameters, x, statistics=statistics)[0]


def _check_statistics(model: Model, statistics: Tensors | None, training: bool) -> None:
    if model.has_statistics and not training and statistics is None:
        raise ValueError("statistics=None is not allowed for inference with batch norm: must be its running averages")


def _numbers(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)
