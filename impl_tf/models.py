"""The models: logistic regression, shallow network, L-layer network, softmax classifier.

A model is a ``tf.Module`` that owns its variables ``W1, b1, W2, ...``, with ``W[l]: (n_l, n_{l-1})`` and ``b[l]:
(n_l,)``. For layers ``l = 1 .. L``, with ``A0 = x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    A[l] = f(Z[l])                     (m, n_l), then inverted dropout, for l < L

``model(x)`` gives the logits ``Z[L]``; ``A[L]`` is their sigmoid, softmax or, for regression, ``Z[L]`` itself.

On a recent GPU, TensorFlow rounds the factors of float32 matrix products to ten bits, unless told not to by
``tf.config.experimental.enable_tensor_float_32_execution(False)``.
"""

from numbers import Integral

import tensorflow as tf

from . import activations, initializers, regularizers

OUTPUTS = ("sigmoid", "softmax", "identity")


class DenseNetwork(tf.Module):
    """A fully connected network. Use the functions below to make one; they check their arguments."""

    def __init__(self, layer_sizes, activation, activation_options=None, output="sigmoid", keep_probabilities=()):
        super().__init__()
        self.layer_sizes = tuple(layer_sizes)
        self.activation = activation
        self.activation_options = dict(activation_options or {})
        self.output = output
        self.keep_probabilities = tuple(keep_probabilities)
        self.weights, self.biases = [], []
        initialize(self, tf.random.Generator.from_non_deterministic_state())

    @property
    def depth(self):
        """Number of layers with weights, ``L``."""
        return len(self.layer_sizes) - 1

    @property
    def dtype(self):
        """Of every parameter, and so of every computation."""
        return self.weights[0].dtype

    def parameter_dict(self):
        """The variables by name, ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}``."""
        parameters = {}
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            parameters[f"W{layer}"] = weight
            parameters[f"b{layer}"] = bias
        return parameters

    def __call__(self, x, masks=None):
        """Logits ``Z[L]: (m, n_L)``; ``masks`` as in :meth:`forward`."""
        return self.forward(x, masks=masks)[0]

    def forward(self, x, *, masks=None):
        """Logits ``Z[L]: (m, n_L)`` and the values of every layer, ``{"A0": x, "Z1": ..., "A1": ..., ..., "ZL": ...}``.

        ``masks`` maps a hidden layer's number to its dropout mask ``(m, n_l)``; None means inference, without dropout.
        Raises ValueError if ``x`` does not have ``n_0`` features.
        """
        x = self.checked_input(x)
        f = activations.ACTIVATIONS[self.activation]
        values = {"A0": x}
        a = x
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            z = tf.matmul(a, weight, transpose_b=True) + bias
            values[f"Z{layer}"] = z
            if layer < self.depth:
                a = f(z, **self.activation_options)
                if masks is not None and layer in masks:
                    a = regularizers.inverted_dropout(
                        a, masks[layer], keep_probability=self.keep_probabilities[layer - 1]
                    )
                values[f"A{layer}"] = a
        return z, values

    def checked_input(self, x):
        """``x`` as a tensor of the model's dtype: arrays are converted, a tensor of another dtype is refused."""
        x = tf.convert_to_tensor(x, self.dtype)
        if not x.shape.is_compatible_with((None, self.layer_sizes[0])):
            raise ValueError(f"x has shape {x.shape}: must be (examples, {self.layer_sizes[0]})")
        return x


def logistic_regression(features):
    """One sigmoid unit: ``p = sigmoid(w . x + b)``."""
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
    """One hidden layer."""
    return _dense_network((features, hidden_units, outputs), activation, activation_options, output, keep_probability)


def deep_network(
    layer_sizes,
    *,
    activation="relu",
    activation_options=None,
    output="sigmoid",
    keep_probability=1.0,
):
    """The L-layer network; ``layer_sizes = (n_0, ..., n_L)``, ``keep_probability``: one, or one per hidden layer."""
    return _dense_network(layer_sizes, activation, activation_options, output, keep_probability)


def softmax_classifier(
    layer_sizes=(12288, 25, 12, 6),
    *,
    activation="relu",
    activation_options=None,
    keep_probability=1.0,
):
    """The L-layer network with a softmax over ``n_L`` classes; by default the course's hand-sign classifier."""
    return _dense_network(layer_sizes, activation, activation_options, "softmax", keep_probability)


MODELS = {f.__name__: f for f in (logistic_regression, shallow_network, deep_network, softmax_classifier)}


def initialize(model, generator, *, initializer="he_normal", initializer_options=None, dtype=None):
    """Draw the weights anew, in place, from ``initializer`` (a name in ``initializers.INITIALIZERS``); biases are zero.

    ``generator`` is a ``tf.random.Generator``; ``dtype`` None means float32. Variables that have this dtype already
    are kept and assigned to, so that a ``tf.function`` traced with them stays valid; others are replaced. Returns
    ``model``.
    """
    _check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    dtype = tf.as_dtype(dtype or tf.float32)
    shapes = zip(model.layer_sizes[1:], model.layer_sizes[:-1], strict=True)
    weights = [draw(generator, shape, dtype=dtype, **(initializer_options or {})) for shape in shapes]
    biases = [tf.zeros(n, dtype) for n in model.layer_sizes[1:]]
    if model.weights and model.dtype == dtype:
        for variable, value in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
            variable.assign(value)
    else:
        model.weights = [tf.Variable(value, name=f"W{layer}") for layer, value in enumerate(weights, start=1)]
        model.biases = [tf.Variable(value, name=f"b{layer}") for layer, value in enumerate(biases, start=1)]
    return model


def intermediates(model, x, *, masks=None):
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    ``masks`` as in :meth:`DenseNetwork.forward`; hidden activations are those after dropout.
    """
    logits, values = model.forward(x, masks=masks)
    named = {name: value for name, value in values.items() if name != "A0"}
    named[f"A{model.depth}"] = activations.ACTIVATIONS[model.output](logits)
    return named


def predict(model, x):
    """``A[L]: (m, n_L)`` in inference mode: probabilities, or values for regression."""
    return activations.ACTIVATIONS[model.output](model(x))


def predict_classes(model, x):
    """Predicted labels ``(m,)``: the largest logit for softmax; 1 where the logit is positive for a single sigmoid.

    Raises ValueError for a model whose output is not one class.
    """
    if model.output == "softmax":
        return tf.argmax(model(x), axis=1)
    if model.layer_sizes[-1] != 1 or model.output == "identity":
        raise ValueError(f"output={model.output!r} with {model.layer_sizes[-1]} units does not predict one class")
    return tf.cast(model(x)[:, 0] > 0, tf.int64)


def _dense_network(layer_sizes, activation, activation_options, output, keep_probability):
    sizes = tuple(layer_sizes)
    if len(sizes) < 2 or not all(isinstance(n, Integral) and n > 0 for n in sizes):
        raise ValueError(f"layer_sizes={layer_sizes!r} is not allowed: must be two or more positive integers")
    _check_choice("activation", activation, tuple(activations.ACTIVATIONS))
    _check_choice("output", output, OUTPUTS)
    hidden = len(sizes) - 2
    keep = keep_probability if isinstance(keep_probability, (tuple, list)) else (keep_probability,) * hidden
    if len(keep) != hidden or not all(0 < p <= 1 for p in (*keep, *_numbers(keep_probability))):
        raise ValueError(
            f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1], one or {hidden} of them"
        )
    return DenseNetwork(sizes, activation, activation_options, output, keep)


def _numbers(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")
