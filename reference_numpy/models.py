"""The models: logistic regression, shallow network, L-layer network, softmax classifier.

A model is an immutable description; its parameters are a dict ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}`` kept
apart
from it. Every model computes, for layers ``l = 1 .. L``, with ``A0 = x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    A[l] = f(Z[l])                     (m, n_l), then inverted dropout, for l < L

and its outputs are the logits ``Z[L]``; ``A[L]`` is their sigmoid, softmax or, for regression, ``Z[L]`` itself.

>>> model = shallow_network(2, hidden_units=3)
>>> parameters = initialize(model, np.random.default_rng(0), initializer="scaled_normal")
>>> predict(model, parameters, np.zeros((5, 2))).shape
(5, 1)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from . import activations, initializers, regularizers

OUTPUTS = ("sigmoid", "softmax", "identity")


@dataclass(frozen=True)
class DenseNetwork:
    """A fully connected network. Use the functions below to make one; they check their arguments."""

    layer_sizes: tuple
    activation: str
    activation_options: Mapping = field(default_factory=dict)
    output: str = "sigmoid"
    keep_probabilities: tuple = ()

    @property
    def depth(self):
        """Number of layers with weights, ``L``."""
        return len(self.layer_sizes) - 1

    def product(self, a, b, *, out=None):
        """The matrix product ``a b``. All long sums are taken here, so a subclass can take them in another order."""
        return np.matmul(a, b, out=out)

    def forward(self, parameters, x, *, masks=None, buffers=None):
        """Logits ``Z[L]: (m, n_L)`` and the values of every layer, ``{"A0": x, "Z1": ..., "A1": ..., ..., "ZL": ...}``.

        ``masks`` maps a hidden layer's number to its dropout mask ``(m, n_l)``; None means inference, without dropout.
        ``buffers`` maps those names to arrays to write into. Raises ValueError if ``x`` does not have ``n_0`` features.
        """
        if x.ndim != 2 or x.shape[1] != self.layer_sizes[0]:
            raise ValueError(f"x has shape {x.shape}: must be (examples, {self.layer_sizes[0]})")
        buffers = _no_buffers if buffers is None else buffers
        f = activations.ACTIVATIONS[self.activation]
        values = {"A0": x}
        for layer in range(1, self.depth + 1):
            weight, bias = parameters[f"W{layer}"], parameters[f"b{layer}"]
            z = self.product(values[f"A{layer - 1}"], weight.T, out=buffers[f"Z{layer}"])
            z += bias
            values[f"Z{layer}"] = z
            if layer < self.depth:
                a = f(z, out=buffers[f"A{layer}"], **self.activation_options)
                if masks is not None and layer in masks:
                    values[f"F{layer}"] = a  # f(Z) before dropout: the backward pass needs it
                    a = regularizers.inverted_dropout(
                        a, masks[layer], keep_probability=self.keep_probabilities[layer - 1]
                    )
                values[f"A{layer}"] = a
        return values[f"Z{self.depth}"], values

    def backward(self, parameters, values, output_gradient, *, masks=None, buffers=None, input_gradient=False):
        """Gradients of the cost from ``output_gradient = d cost / d Z[L]``, ``(m, n_L)``::

            dW[l] = dZ[l]^T A[l-1]     db[l] = sum over examples of dZ[l]
            dA[l-1] = dZ[l] W[l]       dZ[l] = dA[l] (dropout) f'(Z[l])

        ``values`` are those of :meth:`forward`. Returns ``{"W1": ..., "b1": ...}``, with ``"A0"`` (``d cost / d x``) if
        ``input_gradient``.
        """
        buffers = _no_buffers if buffers is None else buffers
        f_backward = activations.BACKWARD[self.activation]
        gradients, dz = {}, output_gradient
        for layer in range(self.depth, 0, -1):
            gradients[f"W{layer}"] = self.product(dz.T, values[f"A{layer - 1}"], out=buffers[f"dW{layer}"])
            gradients[f"b{layer}"] = np.sum(dz, axis=0, out=buffers[f"db{layer}"])
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
            dz = f_backward(da, values[f"Z{hidden}"], a, out=buffers[f"dA{hidden}"], **self.activation_options)
        return gradients


class _NoBuffers(dict):
    """Every buffer is None: NumPy then makes a new array."""

    def __missing__(self, name):
        return None


_no_buffers = _NoBuffers()


def logistic_regression(features):
    """One sigmoid unit: ``p = sigmoid(w . x + b)``. Source: the course, course 1 week 2.

    >>> logistic_regression(3).layer_sizes
    (3, 1)
    """
    return _dense_network((features, 1), "identity", None, "sigmoid", 1.0)


def shallow_network(
    features,
    *,
    hidden_units=4,
    outputs=1,
    activation="tanh",
    activation_options=None,
    output="sigmoid",
    keep_probability=1.0,
):
    """One hidden layer. Source: the course, course 1 week 3.

    >>> shallow_network(2).layer_sizes
    (2, 4, 1)
    """
    return _dense_network((features, hidden_units, outputs), activation, activation_options, output, keep_probability)


def deep_network(
    layer_sizes,
    *,
    activation="relu",
    activation_options=None,
    output="sigmoid",
    keep_probability=1.0,
):
    """The L-layer network; ``layer_sizes = (n_0, ..., n_L)``. Source: the course, course 1 week 4.

    ``keep_probability`` is one number, or one for each hidden layer.

    >>> deep_network((12288, 20, 7, 5, 1)).depth
    4
    """
    return _dense_network(layer_sizes, activation, activation_options, output, keep_probability)


def softmax_classifier(
    layer_sizes=(12288, 25, 12, 6),
    *,
    activation="relu",
    activation_options=None,
    keep_probability=1.0,
):
    """The L-layer network with a softmax over ``n_L`` classes; by default the course's hand-sign classifier.

    Source: the course, course 2 week 3.

    >>> softmax_classifier().output
    'softmax'
    """
    return _dense_network(layer_sizes, activation, activation_options, "softmax", keep_probability)


MODELS = {f.__name__: f for f in (logistic_regression, shallow_network, deep_network, softmax_classifier)}


def initialize(model, generator, *, initializer="he_normal", initializer_options=None, dtype=None):
    """Initial parameters: weights from ``initializer`` (a name in ``initializers.INITIALIZERS``), biases zero.

    ``generator`` is a ``numpy.random.Generator``. Returns ``{"W1": (n_1, n_0), "b1": (n_1,), ...}``.
    Raises ValueError for an unknown initializer.

    >>> initialize(logistic_regression(2), None, initializer="zeros")
    {'W1': array([[0., 0.]]), 'b1': array([0.])}
    """
    _check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    parameters = {}
    for layer, shape in enumerate(zip(model.layer_sizes[1:], model.layer_sizes[:-1], strict=True), start=1):
        parameters[f"W{layer}"] = draw(generator, shape, dtype=dtype, **(initializer_options or {}))
        parameters[f"b{layer}"] = np.zeros(shape[0], dtype)
    return parameters


def intermediates(model, parameters, x, *, masks=None):
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    ``masks`` as in :meth:`DenseNetwork.forward`; hidden activations are those after dropout.
    """
    logits, values = model.forward(parameters, x, masks=masks)
    named = {name: value for name, value in values.items() if name[0] in "ZA" and name != "A0"}
    named[f"A{model.depth}"] = activations.ACTIVATIONS[model.output](logits)
    return named


def predict(model, parameters, x):
    """``A[L]: (m, n_L)`` in inference mode: probabilities, or values for regression."""
    return activations.ACTIVATIONS[model.output](model.forward(parameters, x)[0])


def predict_classes(model, parameters, x):
    """Predicted labels ``(m,)``: the largest logit for softmax; 1 where the logit is positive for a single sigmoid.

    Raises ValueError for a model whose output is not one class.
    """
    if model.output == "softmax":
        return model.forward(parameters, x)[0].argmax(axis=1)
    if model.layer_sizes[-1] != 1 or model.output == "identity":
        raise ValueError(f"output={model.output!r} with {model.layer_sizes[-1]} units does not predict one class")
    return (model.forward(parameters, x)[0][:, 0] > 0).astype(np.int64)


def logistic_regression_loops(weight, bias, x, y):
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


def logistic_regression_example_loop(weight, bias, x, y):
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


def _logistic(z):
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def _logistic_loss(z, y):
    return max(z, 0.0) - z * y + math.log1p(math.exp(-abs(z)))


def _dense_network(layer_sizes, activation, activation_options, output, keep_probability):
    sizes = tuple(layer_sizes)
    if len(sizes) < 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):
        raise ValueError(f"layer_sizes={layer_sizes!r} is not allowed: must be two or more positive integers")
    _check_choice("activation", activation, tuple(activations.ACTIVATIONS))
    _check_choice("output", output, OUTPUTS)
    hidden = len(sizes) - 2
    keep = keep_probability if isinstance(keep_probability, (tuple, list)) else (keep_probability,) * hidden
    if len(keep) != hidden or not all(0 < p <= 1 for p in (*keep, *_numbers(keep_probability))):
        raise ValueError(
            f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1], one or {hidden} of them"
        )
    return DenseNetwork(sizes, activation, dict(activation_options or {}), output, tuple(keep))


def _numbers(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")
