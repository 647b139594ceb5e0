"""The models: single neuron, logistic regression, shallow and L-layer network, multi-task network, softmax classifier.

Each is an ``nn.Module``. Every model computes, for layers ``l = 1 .. L``, with ``A0 = x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    N[l] = normalise(Z[l])             (m, n_l), with parameters gamma[l], beta[l]: (n_l,); for l < L, if asked for
    A[l] = f(N[l])                     (m, n_l), then inverted dropout, for l < L

and its outputs are the logits ``Z[L]``; ``A[L]`` is their sigmoid, softmax, relu or, for regression, ``Z[L]`` itself.
With ``bias=False`` no layer has a ``b[l]``. A layer with batch norm has none in any case; its running averages are
buffers of the module. Layers of other kinds make a :func:`network`, which all functions here take as well.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from . import activations, initializers, normalization, regularizers
from ._common import check_choice, check_layer_sizes, own_name
from .layers import LAYERS as LAYERS
from .network import OUTPUTS, Network
from .network import Masks as Masks
from .network import Model as Model
from .network import Tensors as Tensors
from .network import network as network

Options = Mapping[str, Any]


class Normalization(nn.Module):
    """The scale and shift of one layer's batch or layer norm, ``(n_l,)`` each, and batch norm's running averages.

    Not ``nn.BatchNorm1d``: that refuses a batch of one example, and updates its averages in every forward pass of
    training mode, by the unbiased variance.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, kind: str | None, size: int, options: Options) -> None:
        super().__init__()
        self.kind = kind
        self.epsilon = {name: value for name, value in options.items() if name == "epsilon"}
        self.averaging = {name: value for name, value in options.items() if name != "epsilon"}
        self.gamma, self.beta = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        if kind == "batch_norm":
            self.register_buffer("running_mean", torch.zeros(size))
            self.register_buffer("running_variance", torch.ones(size))

    def forward(self, z: Tensor, batch: Sequence[Tensor] | None = None) -> Tensor:
        """``N: (m, n)`` of ``z``; ``batch``: batch norm's ``(mean, variance)`` in training, None in inference."""
        if self.kind == "layer_norm":
            return normalization.layer_norm(z, self.gamma, self.beta, **self.epsilon)
        mean, variance = (self.running_mean, self.running_variance) if batch is None else batch
        return normalization.batch_norm(z, self.gamma, self.beta, mean, variance, **self.epsilon)

    @torch.no_grad()
    def reset(self) -> None:
        """Scale 1, shift 0, running mean 0 and variance 1."""
        self.gamma.fill_(1)
        self.beta.zero_()
        if self.kind == "batch_norm":
            self.running_mean.zero_()
            self.running_variance.fill_(1)

    @torch.no_grad()
    def update(self, batch: Sequence[Tensor], examples: int) -> None:
        """Take a batch's ``(mean, variance)`` into the running averages."""
        running = self.running_mean, self.running_variance
        averages = normalization.running_average(running, batch, examples, **self.averaging)
        for kept, average in zip(running, averages, strict=True):
            kept.copy_(average)


class DenseNetwork(Model):
    """A fully connected network. Use the functions below to make one; they check arguments and draw the weights."""

    layers: Any  # nn.ModuleList of nn.Linear
    norms: Any  # nn.ModuleList of Normalization

    def __init__(
        self,
        layer_sizes: Sequence[int],
        activation: str,
        activation_options: Options | None = None,
        output: str = "sigmoid",
        keep_probabilities: Sequence[float] = (),
        normalization: str | None = None,
        normalization_options: Options | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.layer_sizes = tuple(layer_sizes)
        self.activation = activation
        self.activation_options = dict(activation_options or {})
        self.output = output
        self.keep_probabilities = tuple(keep_probabilities)
        self.normalization = normalization
        self.normalization_options = dict(normalization_options or {})
        self.bias = bias
        # skip_init: nn.Linear would draw its own weights here and so move the default generator.
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, n_in, n_out, bias=self.has_bias(number))
            for number, (n_in, n_out) in enumerate(pairwise(self.layer_sizes), start=1)
        )
        hidden_sizes = self.layer_sizes[1:-1] if normalization is not None else ()
        self.norms = nn.ModuleList(
            Normalization(normalization, size, self.normalization_options) for size in hidden_sizes
        )

    @property
    def depth(self) -> int:
        """Number of layers with weights, ``L``."""
        return len(self.layer_sizes) - 1

    @property
    def outputs(self) -> int:  # type: ignore[override]
        """Number of logits, ``n_L``."""
        return self.layer_sizes[-1]

    @property
    def logits_name(self) -> str:
        """``"ZL"``."""
        return f"Z{self.depth}"

    @property
    def output_name(self) -> str:
        """``"AL"``."""
        return f"A{self.depth}"

    @property
    def mask_shapes(self) -> dict[Any, tuple[int, ...]]:
        """The shape of a dropout mask of one example, by hidden layer."""
        return {layer: (units,) for layer, units in enumerate(self.layer_sizes[1:-1], start=1)}

    def weights(self) -> list[Tensor]:
        """``W[1] .. W[L]``."""
        return [layer.weight for layer in self.layers]

    def shows(self, name: str) -> bool:
        """Whether a value is one that :func:`intermediates` returns."""
        return name[0] in "ZNA"

    def normalizes(self, layer: int, kind: str) -> bool:
        """Whether layer ``layer`` is normalised by ``kind``."""
        return self.normalization == kind and layer < self.depth

    def has_bias(self, layer: int) -> bool:
        """Whether layer ``layer`` has a ``b[l]``: none has without ``bias``, nor has one with batch norm."""
        return self.bias and not self.normalizes(layer, "batch_norm")

    def parameter_dict(self) -> dict[str, nn.Parameter]:
        """The module's own parameters, ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}``."""
        named: dict[str, nn.Parameter] = {}
        for number, layer in enumerate(self.layers, start=1):
            named[f"W{number}"] = layer.weight
            if layer.bias is not None:
                named[f"b{number}"] = layer.bias
            if number <= len(self.norms):
                named |= {f"{name}{number}": w for name, w in self.norms[number - 1].named_parameters()}
        return named

    def statistics_dict(self) -> Tensors:
        """Batch norm's own running averages, ``{"running_mean1": (n_1,), "running_variance1": ...}``, or {}."""
        return {
            f"{name}{number}": average
            for number, norm in enumerate(self.norms, start=1)
            for name, average in norm.named_buffers()
        }

    def draw_masks(self, generator: torch.Generator | None, examples: int) -> dict[Any, Tensor]:
        """What dropout draws for ``examples``: by hidden layer ``(m, n_l)``, where units are dropped."""
        return {
            layer: regularizers.dropout_mask(generator, (examples, self.layer_sizes[layer]), keep_probability=keep)
            for layer, keep in self._dropping
        }

    def forward(self, x: Tensor, masks: Masks | None = None, training: bool | None = None) -> Tensor:
        """Logits ``Z[L]: (m, n_L)`` of ``x: (m, n_0)``.

        By itself it is as any module: in training mode dropout is drawn by PyTorch's default generator, and batch norm
        takes the batch's statistics and moves its running averages; in eval mode neither. ``masks`` maps a hidden
        layer's number to its dropout mask ``(m, n_l)``: with them, or with ``training``, nothing is drawn. With
        ``training``, which says whether batch norm takes the batch's statistics or the running ones, the mode does not
        matter and running averages stay. Raises ValueError if ``x`` does not have ``n_0`` features.
        """
        if training is not None:
            return self.layer_values(x, masks, training)[self.logits_name]
        if self.training and masks is None:
            masks = {
                layer: torch.rand(len(x), self.layer_sizes[layer], device=x.device) < keep
                for layer, keep in self._dropping
            }
        values = self.layer_values(x, masks, self.training)
        if self.training:
            self.update_running_averages(values)
        return values[self.logits_name]

    def layer_values(self, x: Tensor, masks: Masks | None = None, training: bool = False) -> Tensors:
        """Every value up to the logits, ``{"Z1": ..., "A1": ..., ..., "ZL": ...}``.

        Nothing is drawn, and running averages stay. Arguments and errors as of :meth:`forward`. With normalisation
        also ``"N1"``, and ``"batch_mean1"``, ``"batch_variance1"`` for batch norm in training.
        """
        if x.ndim != 2 or x.shape[1] != self.layer_sizes[0]:
            raise ValueError(f"x has shape {tuple(x.shape)}: must be (examples, {self.layer_sizes[0]})")
        f = activations.ACTIVATIONS[self.activation]
        values: Tensors = {}
        a = x
        for number, layer in enumerate(self.layers, start=1):
            values[f"Z{number}"] = layer(a)  # (m, n_l)
            if number < self.depth:
                a = f(self._normalized(number, values, training), **self.activation_options)
                if masks is not None and number in masks:
                    keep_probability = self.keep_probabilities[number - 1]
                    a = regularizers.inverted_dropout(a, masks[number], keep_probability=keep_probability)
                values[f"A{number}"] = a
        return values

    def update_running_averages(self, values: Tensors) -> None:
        """Take the batch's statistics among ``values`` of :meth:`layer_values` in training into the running ones."""
        if self.normalization == "batch_norm":
            for number, norm in enumerate(self.norms, start=1):
                batch = values[f"batch_mean{number}"], values[f"batch_variance{number}"]
                norm.update(batch, len(values["Z1"]))

    @property
    def _dropping(self) -> list[tuple[int, float]]:
        """The hidden layers with dropout, and with which probability they keep a unit."""
        return [(layer, keep) for layer, keep in enumerate(self.keep_probabilities, start=1) if keep < 1]

    def _normalized(self, number: int, values: Tensors, training: bool) -> Tensor:
        """What the activation takes: ``N[l]``, or ``Z[l]`` without normalisation. Adds to ``values``."""
        z = values[f"Z{number}"]
        if self.normalization is None:
            return z
        batch = None
        if training and self.normalization == "batch_norm":
            batch = values[f"batch_mean{number}"], values[f"batch_variance{number}"] = normalization.batch_statistics(z)
        values[f"N{number}"] = self.norms[number - 1](z, batch)
        return values[f"N{number}"]


AnyModel = TypeVar("AnyModel", DenseNetwork, Network)


def single_neuron(features: int, *, output: str = "identity", bias: bool = True) -> DenseNetwork:
    """One unit for regression, ``p = w . x + b`` (``output="identity"``) or ``max(w . x + b, 0)`` (``"relu"``).

    ``bias=False``: without ``b``, as in every model here. Every maker of a model raises ValueError for what it refuses.
    """
    check_choice("output", output, ("identity", "relu"))
    return _dense_network((features, 1), "identity", None, output, 1.0, None, None, bias)


def logistic_regression(features: int, *, bias: bool = True) -> DenseNetwork:
    """One sigmoid unit: ``p = sigmoid(w . x + b)``, ``features`` inputs."""
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
    """One hidden layer: sizes ``(features, hidden_units, outputs)``."""
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
    """The L-layer network, ``layer_sizes = (n_0, ..., n_L)``; ``keep_probability``: one, or one per hidden layer.

    ``normalization`` of every hidden layer is None, ``"batch_norm"`` (``normalization_options``: ``epsilon``,
    ``momentum``, ``running_variance``) or ``"layer_norm"`` (``epsilon``).
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
    """The L-layer network with ``n_L`` sigmoid outputs, each of its own."""
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
    """The L-layer network with a softmax over ``n_L`` classes; by default the course's hand-sign classifier."""
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


@torch.no_grad()
def initialize(
    model: AnyModel,
    generator: torch.Generator | None,
    *,
    initializer: str | None = None,
    initializer_options: Options | None = None,
    dtype: torch.dtype | None = None,
) -> AnyModel:
    """Fill ``model`` in place: weights from ``initializer``, a name in ``INITIALIZERS``, biases zero; returns it.

    ``initializer`` None: ``"he_normal"``; a network of layers takes no other, as each of its layers has its own, and
    PyTorch's own modules among these stay as they are. Normalised layers get scales 1, shifts 0 and fresh running
    averages. ``generator``: a ``torch.Generator`` on any device, None for the default one; ``dtype`` casts the model
    first, None leaves its dtype. Raises ValueError for an unknown initializer.
    """
    if isinstance(model, Network):
        if initializer is not None:
            raise ValueError(
                f"initializer={initializer!r} is not allowed for a network of layers: must be None, as each layer has"
                " its own"
            )
        model.to(dtype=dtype)
        model.layers.build(model.input_shape, generator=generator)
        return model
    initializer = "he_normal" if initializer is None else initializer
    check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    model.to(dtype=dtype)
    for layer in model.layers:
        shape, dtype = tuple(layer.weight.shape), layer.weight.dtype
        layer.weight.copy_(draw(generator, shape, dtype=dtype, **(initializer_options or {})))
        if layer.bias is not None:
            layer.bias.zero_()
    for norm in model.norms:
        norm.reset()
    return model


def initial_statistics(model: Model, *, dtype: torch.dtype | None = None) -> Tensors:
    """Batch norm's running averages before training, means 0 and variances 1; {} for a model without batch norm.

    They are on the model's device and, with ``dtype`` None, in its dtype.
    """
    return {
        name: torch.full_like(average, float(own_name(name) == "running_variance"), dtype=dtype)
        for name, average in model.statistics_dict().items()
    }


@torch.no_grad()
def update_statistics(model: Model, x: Tensor, *, masks: Masks | None = None) -> Tensors:
    """One training forward pass of ``x: (m, ...)`` into the model's running averages; returns copies of them."""
    model.update_running_averages(model.layer_values(x, masks, training=True))
    return {name: average.clone() for name, average in model.statistics_dict().items()}


@torch.no_grad()
def intermediates(model: Model, x: Tensor, *, masks: Masks | None = None, training: bool = False) -> Tensors:
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    With normalisation also ``"N1"``, what the activation takes. Of a network of layers the values of its layers by
    path, ``"2.A"``, with ``"Z"`` and ``"A"``. ``masks`` and ``training`` as in :meth:`DenseNetwork.forward`, in
    inference unless said; hidden activations are those after dropout.
    """
    values = model.layer_values(x, masks, training)
    named = {name: value for name, value in values.items() if model.shows(name)}
    return named | {model.output_name: activations.ACTIVATIONS[model.output](named[model.logits_name])}


@torch.no_grad()
def predict(model: Model, x: Tensor) -> Tensor:
    """``A[L]: (m, n_L)`` in inference, whatever the module's mode: probabilities, or values for regression."""
    return activations.ACTIVATIONS[model.output](model(x, training=False))


@torch.no_grad()
def predict_classes(model: Model, x: Tensor) -> Tensor:
    """Predicted labels: ``(m,)`` the largest logit for softmax, or 1 where the logit of a single sigmoid is positive;
    ``(m, n_L)`` of 0 and 1 for several sigmoid outputs.

    In inference, as :func:`predict`. Raises ValueError for a model whose output is not a class.
    """
    if model.output == "softmax":
        return model(x, training=False).argmax(dim=1)
    if model.output != "sigmoid":
        raise ValueError(f"output={model.output!r} does not predict classes: must be 'sigmoid' or 'softmax'")
    labels = (model(x, training=False) > 0).long()
    return labels[:, 0] if labels.shape[1] == 1 else labels


def replace_head(
    model: DenseNetwork,
    generator: torch.Generator | None,
    *,
    outputs: int,
    output: str = "sigmoid",
    initializer: str = "he_normal",
    initializer_options: Options | None = None,
) -> DenseNetwork:
    """Transfer: a new model with a new last layer of ``outputs`` units and copies of the other layers.

    Running averages go with them, and a model without biases stays without; train with an update of
    ``frozen_layers`` to leave the copies alone. ``output``: ``"sigmoid"``, ``"softmax"``, ``"identity"`` or
    ``"relu"``. Raises ValueError for an unknown output or initializer, and for a network of layers.
    """
    if isinstance(model, Network):
        raise ValueError("model is a network of layers: replace_head takes a dense network")
    check_choice("output", output, OUTPUTS)
    sizes = check_layer_sizes((*model.layer_sizes[:-1], outputs))
    weight = model.layers[-1].weight
    fresh = DenseNetwork(sizes[-2:], "identity", bias=model.bias).to(device=weight.device, dtype=weight.dtype)
    initialize(fresh, generator, initializer=initializer, initializer_options=initializer_options)
    changed = copy.deepcopy(model)
    changed.layer_sizes, changed.output, changed.layers[-1] = sizes, output, fresh.layers[0]
    return changed


def computation_graph(a: Any, b: Any, c: Any) -> Any:
    """``J = 3 (a + b c)``, of numbers or scalar tensors."""
    return 3 * (a + b * c)


def computation_graph_gradients(a: Any, b: Any, c: Any) -> tuple[Tensor, Tensors]:
    """``J`` and its derivatives ``{"a": ..., "b": ..., "c": ...}``, scalar tensors, by autograd.

    Numbers are taken in double precision, not in PyTorch's default dtype.
    """
    leaves = {
        name: torch.as_tensor(value, dtype=None if isinstance(value, torch.Tensor) else torch.float64)
        .detach()
        .clone()
        .requires_grad_()
        for name, value in {"a": a, "b": b, "c": c}.items()
    }
    cost = computation_graph(**leaves)
    gradients = torch.autograd.grad(cost, list(leaves.values()))
    return cost.detach(), dict(zip(leaves, gradients, strict=True))


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
    given = _numbers(keep_probability)
    keep = given if isinstance(keep_probability, (tuple, list)) else given * hidden
    if len(keep) != hidden or not all(0 < p <= 1 for p in (*keep, *given)):
        raise ValueError(
            f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1], one or {hidden} of them"
        )
    options = dict(normalization_options or {})
    allowed: dict[str | None, tuple[str, ...]] = {
        "batch_norm": ("epsilon", "momentum", "running_variance"),
        "layer_norm": ("epsilon",),
    }
    for name in options:
        check_choice("normalization_options", name, allowed.get(normalizer, ()))
    model = DenseNetwork(sizes, activation, activation_options, output, keep, normalizer, options, bias)
    _try(model)
    # nn.Linear's default, a uniform draw for the biases too, is a dialect of PyTorch's: start from the suite's instead.
    return initialize(model, None)


def _try(model: DenseNetwork) -> None:
    """Let the activation and the normalisation check their options now rather than in the first forward pass."""
    one = torch.ones(1, 1)
    activations.ACTIVATIONS[model.activation](one, **model.activation_options)
    norm = Normalization(model.normalization, 1, model.normalization_options)
    normalization.layer_norm(one, one[0], one[0], **norm.epsilon)
    normalization.running_average((one, one), (one, one), 2, **norm.averaging)


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
