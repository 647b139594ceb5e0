"""The models: logistic regression, shallow network, L-layer network, softmax classifier, each an ``nn.Module``.

Every model computes, for layers ``l = 1 .. L``, with ``A0 = x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    A[l] = f(Z[l])                     (m, n_l), then inverted dropout, for l < L

and its outputs are the logits ``Z[L]``; ``A[L]`` is their sigmoid, softmax or, for regression, ``Z[L]`` itself.
"""

from numbers import Integral

import torch
from torch import nn

from . import activations, initializers, regularizers

OUTPUTS = ("sigmoid", "softmax", "identity")


class DenseNetwork(nn.Module):
    """A fully connected network. Use the functions below to make one; they check their arguments and draw the weights.

    Dropout follows the masks given to :meth:`forward`, not the module's train/eval mode.
    """

    def __init__(self, layer_sizes, activation, activation_options=None, output="sigmoid", keep_probabilities=()):
        super().__init__()
        self.layer_sizes = tuple(layer_sizes)
        self.activation = activation
        self.activation_options = dict(activation_options or {})
        self.output = output
        self.keep_probabilities = tuple(keep_probabilities)
        # skip_init: nn.Linear would draw its own weights here and so move the default generator.
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, n_in, n_out)
            for n_in, n_out in zip(self.layer_sizes[:-1], self.layer_sizes[1:], strict=True)
        )

    @property
    def depth(self):
        """Number of layers with weights, ``L``."""
        return len(self.layers)

    def parameter_dict(self):
        """The module's own parameters, ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}``."""
        named = {}
        for number, layer in enumerate(self.layers, start=1):
            named |= {f"W{number}": layer.weight, f"b{number}": layer.bias}
        return named

    def forward(self, x, masks=None):
        """Logits ``Z[L]: (m, n_L)`` of ``x: (m, n_0)``.

        ``masks`` maps a hidden layer's number to its dropout mask ``(m, n_l)``; None means inference, without dropout.
        Raises ValueError if ``x`` does not have ``n_0`` features.
        """
        return self.layer_values(x, masks)[f"Z{self.depth}"]

    def layer_values(self, x, masks=None):
        """Every value up to the logits, ``{"Z1": ..., "A1": ..., ..., "ZL": ...}``; arguments of :meth:`forward`."""
        if x.ndim != 2 or x.shape[1] != self.layer_sizes[0]:
            raise ValueError(f"x has shape {tuple(x.shape)}: must be (examples, {self.layer_sizes[0]})")
        f = activations.ACTIVATIONS[self.activation]
        values, a = {}, x
        for number, layer in enumerate(self.layers, start=1):
            z = values[f"Z{number}"] = layer(a)  # (m, n_l)
            if number < self.depth:
                a = f(z, **self.activation_options)
                if masks is not None and number in masks:
                    keep_probability = self.keep_probabilities[number - 1]
                    a = regularizers.inverted_dropout(a, masks[number], keep_probability=keep_probability)
                values[f"A{number}"] = a
        return values


def logistic_regression(features):
    """One sigmoid unit: ``p = sigmoid(w . x + b)``, ``features`` inputs."""
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
    """One hidden layer: sizes ``(features, hidden_units, outputs)``."""
    return _dense_network((features, hidden_units, outputs), activation, activation_options, output, keep_probability)


def deep_network(
    layer_sizes,
    *,
    activation="relu",
    activation_options=None,
    output="sigmoid",
    keep_probability=1.0,
):
    """The L-layer network, ``layer_sizes = (n_0, ..., n_L)``; ``keep_probability``: one, or one per hidden layer."""
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


@torch.no_grad()
def initialize(model, generator, *, initializer="he_normal", initializer_options=None, dtype=None):
    """Fill ``model`` in place: weights from ``initializer``, a name in ``INITIALIZERS``, biases zero; returns it.

    ``generator``: a ``torch.Generator`` on any device, None for the default one; ``dtype`` casts the model first, None
    leaves its dtype. Raises ValueError for an unknown initializer.
    """
    _check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    model.to(dtype=dtype)
    for layer in model.layers:
        shape, dtype = tuple(layer.weight.shape), layer.weight.dtype
        layer.weight.copy_(draw(generator, shape, dtype=dtype, **(initializer_options or {})))
        layer.bias.zero_()
    return model


@torch.no_grad()
def intermediates(model, x, *, masks=None):
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    ``masks`` as in :meth:`DenseNetwork.forward`; hidden activations are those after dropout.
    """
    values = model.layer_values(x, masks)
    logits = values[f"Z{model.depth}"]
    return values | {f"A{model.depth}": activations.ACTIVATIONS[model.output](logits)}


@torch.no_grad()
def predict(model, x):
    """``A[L]: (m, n_L)`` in inference mode: probabilities, or values for regression."""
    return activations.ACTIVATIONS[model.output](model(x))


@torch.no_grad()
def predict_classes(model, x):
    """Predicted labels ``(m,)``: the largest logit for softmax; 1 where the logit is positive for a single sigmoid.

    Raises ValueError for a model whose output is not one class.
    """
    if model.output == "softmax":
        return model(x).argmax(dim=1)
    if model.layer_sizes[-1] != 1 or model.output == "identity":
        raise ValueError(f"output={model.output!r} with {model.layer_sizes[-1]} units does not predict one class")
    return (model(x)[:, 0] > 0).long()


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
    # nn.Linear's default, a uniform draw for the biases too, is a dialect of PyTorch's: start from the suite's instead.
    return initialize(DenseNetwork(sizes, activation, activation_options, output, keep), None)


def _numbers(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")
