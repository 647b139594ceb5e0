"""The models: logistic regression, shallow network, L-layer network, softmax classifier.

A model is an immutable, hashable description, so that ``jax.jit`` takes it as a static argument; its parameters are a
dict ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}`` kept apart from it. Every model computes, for ``l = 1 .. L``, with
``A0 = x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    A[l] = f(Z[l])                     (m, n_l), then inverted dropout, for l < L

and its outputs are the logits ``Z[L]``; ``A[L]`` is their sigmoid, softmax or, for regression, ``Z[L]`` itself.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from . import activations, initializers, regularizers

OUTPUTS = ("sigmoid", "softmax", "identity")


@dataclass(frozen=True)
class DenseNetwork:
    """A fully connected network. Use the functions below to make one; they check their arguments."""

    layer_sizes: tuple
    activation: str
    activation_options: tuple = ()  # pairs (name, value): a dict could not be hashed
    output: str = "sigmoid"
    keep_probabilities: tuple = ()

    @property
    def depth(self):
        """Number of layers with weights, ``L``."""
        return len(self.layer_sizes) - 1

    def apply(self, parameters, x, *, masks=None):
        """Logits ``Z[L]: (m, n_L)``; arguments as in :meth:`forward`. Under ``jit`` the other values cost nothing."""
        return self.forward(parameters, x, masks=masks)[0]

    def forward(self, parameters, x, *, masks=None):
        """Logits ``Z[L]: (m, n_L)`` and the values of every layer, ``{"A0": x, "Z1": ..., "A1": ..., ..., "ZL": ...}``.

        ``masks`` maps a hidden layer's number to its dropout mask ``(m, n_l)``; None means inference, without dropout.
        Raises ValueError if ``x`` does not have ``n_0`` features.
        """
        if x.ndim != 2 or x.shape[1] != self.layer_sizes[0]:
            raise ValueError(f"x has shape {x.shape}: must be (examples, {self.layer_sizes[0]})")
        f = activations.ACTIVATIONS[self.activation]
        values = {"A0": jnp.asarray(x)}
        for layer in range(1, self.depth + 1):
            z = values[f"A{layer - 1}"] @ jnp.asarray(parameters[f"W{layer}"]).T + parameters[f"b{layer}"]
            values[f"Z{layer}"] = z
            if layer < self.depth:
                a = f(z, **dict(self.activation_options))
                if masks is not None and layer in masks:
                    a = regularizers.inverted_dropout(
                        a, masks[layer], keep_probability=self.keep_probabilities[layer - 1]
                    )
                values[f"A{layer}"] = a
        return values[f"Z{self.depth}"], values


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
    """One hidden layer: ``Z[2] = f(x W[1]^T + b[1]) W[2]^T + b[2]``."""
    return _dense_network((features, hidden_units, outputs), activation, activation_options, output, keep_probability)


def deep_network(
    layer_sizes,
    *,
    activation="relu",
    activation_options=None,
    output="sigmoid",
    keep_probability=1.0,
):
    """The L-layer network; ``layer_sizes = (n_0, ..., n_L)``.

    ``keep_probability`` is one number, or one for each hidden layer.
    """
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


def initialize(model, key, *, initializer="he_normal", initializer_options=None, dtype=None):
    """Initial parameters: weights from ``initializer`` (a name in ``initializers.INITIALIZERS``), biases zero.

    ``key``: a PRNG key, typed or raw. Returns ``{"W1": (n_1, n_0), "b1": (n_1,), ...}``; ``dtype`` None means JAX's
    default. Raises ValueError for an unknown initializer.
    """
    _check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    keys = jax.random.split(key, model.depth)
    shapes = zip(model.layer_sizes[1:], model.layer_sizes[:-1], strict=True)
    parameters = {}
    for layer, (layer_key, shape) in enumerate(zip(keys, shapes, strict=True), start=1):
        parameters[f"W{layer}"] = draw(layer_key, shape, dtype=dtype, **(initializer_options or {}))
        parameters[f"b{layer}"] = jnp.zeros(shape[0], dtype)
    return parameters


def intermediates(model, parameters, x, *, masks=None):
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    ``masks`` as in :meth:`DenseNetwork.forward`; hidden activations are those after dropout.
    """
    logits, values = model.forward(parameters, x, masks=masks)
    del values["A0"]
    return values | {f"A{model.depth}": activations.ACTIVATIONS[model.output](logits)}


def predict(model, parameters, x):
    """``A[L]: (m, n_L)`` in inference mode: probabilities, or values for regression."""
    return activations.ACTIVATIONS[model.output](model.apply(parameters, x))


def predict_classes(model, parameters, x):
    """Predicted labels ``(m,)``: the largest logit for softmax; 1 where the logit is positive for a single sigmoid.

    Raises ValueError for a model whose output is not one class.
    """
    if model.output == "softmax":
        return model.apply(parameters, x).argmax(axis=1)
    if model.layer_sizes[-1] != 1 or model.output == "identity":
        raise ValueError(f"output={model.output!r} with {model.layer_sizes[-1]} units does not predict one class")
    return (model.apply(parameters, x)[:, 0] > 0).astype(int)


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
    return DenseNetwork(sizes, activation, tuple(sorted((activation_options or {}).items())), output, tuple(keep))


def _numbers(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")
