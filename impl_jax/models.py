"""The models: single neuron, logistic regression, shallow and L-layer network, multi-task network, softmax classifier.

A model is an immutable, hashable description, so that ``jax.jit`` takes it as a static argument; its parameters are a
dict ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}`` kept apart from it. A network of layers that compose is one too
(:func:`network`), and the functions here take it as they take the others. Those compute, for ``l = 1 .. L``, with ``A0
= x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    N[l] = normalise(Z[l])             (m, n_l), with parameters gamma[l], beta[l]: (n_l,); for l < L, if asked for
    A[l] = f(N[l])                     (m, n_l), then inverted dropout, for l < L

and its outputs are ``A[L]``: sigmoid, softmax, relu or, for regression, ``Z[L]`` itself; the cross-entropies take the
logits ``Z[L]``. With ``bias=False`` no layer has a ``b[l]``, and a layer with batch norm has none either; its running
averages are no parameters and are kept in a dict of their own, ``{"running_mean1": (n_1,), "running_variance1":
(n_1,), ...}``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from numpy.typing import NDArray

from . import activations, initializers, normalization, regularizers
from ._common import check_choice, check_layer_sizes
from .layers import LAYERS as LAYERS
from .network import OUTPUTS, Network
from .network import Masks as Masks
from .network import network as network

Array: TypeAlias = jax.Array | NDArray
Tensors = Mapping[str, Array]  # by name, what a function takes; it returns dict[str, jax.Array]
Options = Mapping[str, Any]  # keywords
Pairs = tuple[tuple[str, Any], ...]  # the same: a dict could not be hashed


@dataclass(frozen=True)
class DenseNetwork:
    """A fully connected network. Use the functions below to make one; they check their arguments."""

    layer_sizes: tuple[int, ...]
    activation: str
    activation_options: Pairs = ()
    output: str = "sigmoid"
    keep_probabilities: tuple[float, ...] = ()
    normalization: str | None = None
    normalization_options: Pairs = ()
    bias: bool = True

    @property
    def depth(self) -> int:
        """Number of layers with weights, ``L``."""
        return len(self.layer_sizes) - 1

    @property
    def outputs(self) -> int:
        """Number of logits, ``n_L``."""
        return self.layer_sizes[-1]

    @property
    def logits_name(self) -> str:
        """What the logits are called among the values: ``"ZL"``."""
        return f"Z{self.depth}"

    @property
    def output_name(self) -> str:
        """What the outputs are called among the values: ``"AL"``."""
        return f"A{self.depth}"

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

    def shows(self, name: str) -> bool:
        """Whether a value of a layer is one that :func:`intermediates` returns."""
        return name[0] in "ZNA" and name != "A0"

    @property
    def epsilon(self) -> dict[str, Any]:
        """The keyword of the normalisation's function; batch norm's other options are those of its running averages."""
        return {name: value for name, value in self.normalization_options if name == "epsilon"}

    def normalizes(self, layer: int, kind: str) -> bool:
        """Whether layer ``layer`` is normalised by ``kind``."""
        return self.normalization == kind and layer < self.depth

    def has_bias(self, layer: int) -> bool:
        """Whether layer ``layer`` has a ``b[l]``: none has without ``bias``, nor has one with batch norm."""
        return self.bias and not self.normalizes(layer, "batch_norm")

    def draw_masks(self, key: jax.Array, examples: int) -> dict[Any, jax.Array]:
        """What dropout draws for ``examples``: by hidden layer ``(m, n_l)``, where units are dropped."""
        return {
            layer: regularizers.dropout_mask(
                jax.random.fold_in(key, layer), (examples, self.layer_sizes[layer]), keep_probability=keep
            )
            for layer, keep in enumerate(self.keep_probabilities, start=1)
            if keep < 1
        }

    def apply(
        self, parameters: Tensors, x: Array, *, masks: Masks | None = None, statistics: Tensors | None = None
    ) -> jax.Array:
        """Logits ``Z[L]: (m, n_L)``; arguments as in :meth:`forward`. Under ``jit`` the other values cost nothing."""
        return self.forward(parameters, x, masks=masks, statistics=statistics)[0]

    def forward(
        self, parameters: Tensors, x: Array, *, masks: Masks | None = None, statistics: Tensors | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Logits ``Z[L]: (m, n_L)`` and the values of every layer, ``{"A0": x, "Z1": ..., "A1": ..., ..., "ZL": ...}``.

        ``masks`` maps a hidden layer's number to its dropout mask ``(m, n_l)``; None means no dropout. ``statistics``
        are the running ones of batch norm; None means training, with the batch's own, which are then among the values
        (``"batch_mean1"``, ``"batch_variance1"``). Raises ValueError if ``x`` does not have ``n_0`` features.
        """
        if x.ndim != 2 or x.shape[1] != self.layer_sizes[0]:
            raise ValueError(f"x has shape {x.shape}: must be (examples, {self.layer_sizes[0]})")
        f = activations.ACTIVATIONS[self.activation]
        values = {"A0": jnp.asarray(x)}
        for layer in range(1, self.depth + 1):
            z = values[f"A{layer - 1}"] @ jnp.asarray(parameters[f"W{layer}"]).T
            if f"b{layer}" in parameters:
                z = z + parameters[f"b{layer}"]
            values[f"Z{layer}"] = z
            if layer < self.depth:
                normalized = self._normalize(layer, parameters, z, statistics)
                values |= normalized
                a = f(normalized.get(f"N{layer}", z), **dict(self.activation_options))
                if masks is not None and layer in masks:
                    a = regularizers.inverted_dropout(
                        a, masks[layer], keep_probability=self.keep_probabilities[layer - 1]
                    )
                values[f"A{layer}"] = a
        return values[f"Z{self.depth}"], values

    def updated_statistics(self, statistics: Tensors, values: Tensors) -> dict[str, jax.Array]:
        """The running averages of batch norm after a training forward pass with ``values``; {} without batch norm."""
        options = {name: value for name, value in self.normalization_options if name != "epsilon"}
        updated: dict[str, jax.Array] = {}
        for layer in range(1, self.depth):
            if self.normalizes(layer, "batch_norm"):
                names = f"running_mean{layer}", f"running_variance{layer}"
                running = statistics[names[0]], statistics[names[1]]
                batch = values[f"batch_mean{layer}"], values[f"batch_variance{layer}"]
                averages = normalization.running_average(running, batch, len(values["A0"]), **options)
                updated |= dict(zip(names, averages, strict=True))
        return updated

    def _normalize(self, layer: int, parameters: Tensors, z: jax.Array, statistics: Any) -> dict[str, jax.Array]:
        """``N[l]`` and, in training with batch norm, the batch's statistics, by name; {} without normalisation."""
        if self.normalization is None:
            return {}
        scale_and_shift = parameters[f"gamma{layer}"], parameters[f"beta{layer}"]
        if self.normalization == "layer_norm":
            return {f"N{layer}": normalization.layer_norm(z, *scale_and_shift, **self.epsilon)}
        if statistics is None:
            mean, variance = normalization.batch_statistics(z)
            batch = {f"batch_mean{layer}": mean, f"batch_variance{layer}": variance}
        else:
            mean, variance = statistics[f"running_mean{layer}"], statistics[f"running_variance{layer}"]
            batch = {}
        return {f"N{layer}": normalization.batch_norm(z, *scale_and_shift, mean, variance, **self.epsilon), **batch}


Model: TypeAlias = DenseNetwork | Network


def single_neuron(features: int, *, output: str = "identity", bias: bool = True) -> DenseNetwork:
    """One unit for regression, ``p = w . x + b`` (``output="identity"``) or ``max(w . x + b, 0)`` (``"relu"``).

    ``bias=False``: without ``b``, as in every model here. Raises ValueError for another output.
    """
    check_choice("output", output, ("identity", "relu"))
    return _dense_network((features, 1), "identity", None, output, 1.0, None, None, bias)


def logistic_regression(features: int, *, bias: bool = True) -> DenseNetwork:
    """One sigmoid unit: ``p = sigmoid(w . x + b)``."""
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
    """One hidden layer: ``Z[2] = f(x W[1]^T + b[1]) W[2]^T + b[2]``."""
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
    """The L-layer network; ``layer_sizes = (n_0, ..., n_L)``.

    ``keep_probability`` is one number, or one for each hidden layer. ``normalization`` is None, ``"batch_norm"``
    (``normalization_options``: ``epsilon``, ``momentum``, ``running_variance``) or ``"layer_norm"`` (``epsilon``), on
    every hidden layer, with the defaults of ``normalization.py``. ``bias=False``: no layer has a ``b[l]``. Raises
    ValueError for an argument out of range or unknown, as all models do.
    """
    return _dense_network(
        layer_sizes, activation, activation_options, output, keep_probability, normalization, normalization_options,
        bias,
    )  # fmt: skip


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
        layer_sizes, activation, activation_options, "sigmoid", keep_probability, normalization, normalization_options,
        bias,
    )  # fmt: skip


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
        layer_sizes, activation, activation_options, "softmax", keep_probability, normalization, normalization_options,
        bias,
    )  # fmt: skip


MODELS: dict[str, Callable[..., DenseNetwork]] = {
    f.__name__: f
    for f in (
        single_neuron, logistic_regression, shallow_network, deep_network, multi_task_network, softmax_classifier,
    )
}  # fmt: skip


def initialize(
    model: Model,
    key: jax.Array,
    *,
    initializer: str | None = None,
    initializer_options: Options | None = None,
    dtype: DTypeLike | None = None,
) -> dict[str, jax.Array]:
    """Initial parameters: weights from ``initializer`` (a name in ``initializers.INITIALIZERS``), biases zero.

    ``initializer`` None: ``"he_normal"``; a network of layers takes no other, as each of its layers has its own.
    ``key``: a PRNG key, typed or raw. Normalised layers have scales ``gamma`` of 1 and shifts ``beta`` of 0. Returns
    ``{"W1": (n_1, n_0), "b1": (n_1,), ...}``, or by path; ``dtype`` None means JAX's default. Raises ValueError for an
    unknown initializer.
    """
    if isinstance(model, Network):
        if initializer is not None:
            raise ValueError(
                f"initializer={initializer!r} is not allowed for a network of layers: must be None, as each layer has"
                " its own"
            )
        return model.initialize(key, dtype=dtype)
    initializer = "he_normal" if initializer is None else initializer
    check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    keys = jax.random.split(key, model.depth)
    shapes = zip(model.layer_sizes[1:], model.layer_sizes[:-1], strict=True)
    parameters: dict[str, jax.Array] = {}
    for layer, (layer_key, shape) in enumerate(zip(keys, shapes, strict=True), start=1):
        parameters[f"W{layer}"] = draw(layer_key, shape, dtype=dtype, **(initializer_options or {}))
        if model.has_bias(layer):
            parameters[f"b{layer}"] = jnp.zeros(shape[0], dtype)
        if model.normalization is not None and layer < model.depth:
            parameters |= {f"gamma{layer}": jnp.ones(shape[0], dtype), f"beta{layer}": jnp.zeros(shape[0], dtype)}
    return parameters


def initial_statistics(model: Model, *, dtype: DTypeLike | None = None) -> dict[str, jax.Array]:
    """Batch norm's running averages before training, means 0 and variances 1; {} for a model without batch norm."""
    if isinstance(model, Network):
        return model.layers.initial_statistics(model.input_shape, dtype=dtype)
    statistics: dict[str, jax.Array] = {}
    for layer, size in enumerate(model.layer_sizes[1:], start=1):
        if model.normalizes(layer, "batch_norm"):
            statistics |= {
                f"running_mean{layer}": jnp.zeros(size, dtype),
                f"running_variance{layer}": jnp.ones(size, dtype),
            }
    return statistics


def update_statistics(
    model: Model, parameters: Tensors, x: Array, statistics: Tensors, *, masks: Masks | None = None
) -> dict[str, jax.Array]:
    """Batch norm's running averages after one training forward pass of ``x: (m, n_0)``; changes no argument."""
    return model.updated_statistics(statistics, model.forward(parameters, x, masks=masks)[1])


def intermediates(
    model: Model,
    parameters: Tensors,
    x: Array,
    statistics: Tensors | None = None,
    *,
    masks: Masks | None = None,
    training: bool = False,
) -> dict[str, jax.Array]:
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    With normalisation also ``"N1"``, what the activation takes. Of a network of layers the values of its layers by
    path, ``"2.A"``, with ``"Z"`` and ``"A"``. ``masks`` as in :meth:`DenseNetwork.forward`; hidden activations are
    those after dropout. ``training`` says whether batch norm takes the batch's statistics or the running
    ``statistics``. Raises ValueError for a model with batch norm without either.
    """
    _check_statistics(model, statistics, training)
    logits, values = model.forward(parameters, x, masks=masks, statistics=None if training else statistics)
    named = {name: value for name, value in values.items() if model.shows(name)}
    return named | {model.output_name: activations.ACTIVATIONS[model.output](logits)}


def predict(model: Model, parameters: Tensors, x: Array, statistics: Tensors | None = None) -> jax.Array:
    """``A[L]: (m, n_L)`` in inference mode: probabilities, or values for regression.

    ``statistics``: the running ones of batch norm. Raises ValueError for a model with batch norm without them.
    """
    return activations.ACTIVATIONS[model.output](_logits(model, parameters, x, statistics))


def predict_classes(model: Model, parameters: Tensors, x: Array, statistics: Tensors | None = None) -> jax.Array:
    """Predicted labels: ``(m,)`` the largest logit for softmax, or 1 where the logit of a single sigmoid is positive;
    ``(m, n_L)`` of 0 and 1 for several sigmoid outputs.

    ``statistics`` as in :func:`predict`. Raises ValueError for a model whose output is not a class.
    """
    if model.output == "softmax":
        return _logits(model, parameters, x, statistics).argmax(axis=1)
    if model.output != "sigmoid":
        raise ValueError(f"output={model.output!r} does not predict classes: must be 'sigmoid' or 'softmax'")
    labels = (_logits(model, parameters, x, statistics) > 0).astype(int)
    return labels[:, 0] if labels.shape[1] == 1 else labels


def replace_head(
    model: DenseNetwork,
    parameters: Tensors,
    key: jax.Array,
    *,
    outputs: int,
    output: str = "sigmoid",
    initializer: str = "he_normal",
    initializer_options: Options | None = None,
) -> tuple[DenseNetwork, dict[str, jax.Array]]:
    """Transfer: the same model with a new last layer of ``outputs`` units. Returns ``(model, parameters)``, both new.

    The other layers keep their parameters, and a model without biases stays without; train with an update of
    ``frozen_layers`` to leave them alone. ``key``: a PRNG key; ``output``: ``"sigmoid"``, ``"softmax"``,
    ``"identity"`` or ``"relu"``. Raises ValueError for an unknown output or initializer, and for a network of
    layers.
    """
    if isinstance(model, Network):
        raise ValueError("model is a network of layers: replace_head takes a dense network")
    check_choice("output", output, OUTPUTS)
    model = replace(model, layer_sizes=check_layer_sizes((*model.layer_sizes[:-1], outputs)), output=output)
    dtype = parameters["W1"].dtype
    fresh = initialize(model, key, initializer=initializer, initializer_options=initializer_options, dtype=dtype)
    head = (f"W{model.depth}", f"b{model.depth}")
    return model, {name: fresh[name] if name in head else jnp.asarray(w) for name, w in parameters.items()}


def computation_graph(a: Any, b: Any, c: Any) -> Any:
    """``J = 3 (a + b c)``, the course's first computation graph."""
    return 3 * (a + b * c)


def computation_graph_gradients(a: Any, b: Any, c: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``J`` and its derivatives ``{"a": 3, "b": 3 c, "c": 3 b}``, by ``jax.value_and_grad``."""
    cost, gradients = jax.value_and_grad(computation_graph, argnums=(0, 1, 2))(a, b, c)
    return cost, dict(zip("abc", gradients, strict=True))


def _dense_network(
    layer_sizes: Sequence[int],
    activation: str,
    activation_options: Options | None,
    output: str,
    keep_probability: Any,
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
    keep = keep_probability if isinstance(keep_probability, (tuple, list)) else (keep_probability,) * hidden
    if len(keep) != hidden or not all(0 < p <= 1 for p in (*keep, *_numbers(keep_probability))):
        raise ValueError(
            f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1], one or {hidden} of them"
        )
    allowed: dict[str | None, tuple[str, ...]] = {
        "batch_norm": ("epsilon", "momentum", "running_variance"),
        "layer_norm": ("epsilon",),
    }
    for name in normalization_options or {}:
        check_choice("normalization_options", name, allowed.get(normalizer, ()))
    options, norm_options = _pairs(activation_options), _pairs(normalization_options)
    model = DenseNetwork(sizes, activation, options, output, tuple(keep), normalizer, norm_options, bool(bias))
    _try(model)
    return model


def _pairs(options: Options | None) -> Pairs:
    return tuple(sorted((options or {}).items()))


def _try(model: DenseNetwork) -> None:
    """Let the activation and the normalisation check their options now, on shapes alone, with nothing computed."""
    f = activations.ACTIVATIONS[model.activation]
    one = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    jax.eval_shape(partial(f, **dict(model.activation_options)), one)
    if model.normalization is not None:
        jax.eval_shape(partial(normalization.layer_norm, **model.epsilon), one, one, one)
    options = {name: value for name, value in model.normalization_options if name != "epsilon"}
    normalization.running_average((0.0, 1.0), (0.0, 1.0), 2, **options)


def _logits(model: Model, parameters: Tensors, x: Array, statistics: Tensors | None) -> jax.Array:
    _check_statistics(model, statistics, False)
    return model.apply(parameters, x, statistics=statistics)


def _check_statistics(model: Model, statistics: Tensors | None, training: bool) -> None:
    if model.has_statistics and not training and statistics is None:
        raise ValueError("statistics=None is not allowed for inference with batch norm: must be its running averages")


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
