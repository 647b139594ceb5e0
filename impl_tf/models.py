"""The models: single neuron, logistic regression, shallow and L-layer network, multi-task network, softmax classifier.

A model is a ``tf.Module`` that owns its variables ``W1, b1, W2, ...``, with ``W[l]: (n_l, n_{l-1})`` and ``b[l]:
(n_l,)``. For layers ``l = 1 .. L``, with ``A0 = x``::

    Z[l] = A[l-1] W[l]^T + b[l]        (m, n_l)
    N[l] = normalise(Z[l])             (m, n_l), with parameters gamma[l], beta[l]: (n_l,); for l < L, if asked for
    A[l] = f(N[l])                     (m, n_l), then inverted dropout, for l < L

``model(x)`` gives the logits ``Z[L]``; ``A[L]`` is their sigmoid, softmax, relu or, for regression, ``Z[L]`` itself.
With ``bias=False`` no layer has a ``b[l]``: ``Z[l] = A[l-1] W[l]^T``. A layer with batch norm has none either; its
running averages are variables of the model, but not trainable ones. A network of other layers is a
:class:`network.Network`; the functions below take both.

On a recent GPU, TensorFlow rounds the factors of float32 matrix products to ten bits, unless told not to by
``tf.config.experimental.enable_tensor_float_32_execution(False)``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from . import activations, initializers, normalization, regularizers
from ._common import check_choice, check_layer_sizes
from .layers import LAYERS as LAYERS
from .network import OUTPUTS, Network
from .network import Masks as Masks
from .network import network as network

Tensors = dict[str, tf.Tensor]
Variables = dict[str, tf.Variable]
Options = Mapping[str, Any] | None
KeepProbability = float | tuple[float, ...] | list[float]  # one, or one for each hidden layer


class DenseNetwork(tf.Module):
    """A fully connected network. Use the functions below to make one; they check their arguments."""

    parameters: Variables
    statistics: Variables

    def __init__(
        self,
        layer_sizes: Sequence[int],
        activation: str,
        activation_options: Options = None,
        output: str = "sigmoid",
        keep_probabilities: Sequence[float] = (),
        normalization: str | None = None,
        normalization_options: Options = None,
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
        self.parameters, self.statistics = {}, {}
        drops = any(keep < 1 for keep in self.keep_probabilities)
        self.generator = tf.random.Generator.from_non_deterministic_state() if drops else None
        initialize(self, tf.random.Generator.from_non_deterministic_state())

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
    def weight_names(self) -> tuple[str, ...]:
        """The names of the weights, which penalties are of: ``("W1", ..., "WL")``."""
        return tuple(f"W{layer}" for layer in range(1, self.depth + 1))

    @property
    def mask_shapes(self) -> dict[Any, tuple[int, ...]]:
        """The shape of a dropout mask of one example, by hidden layer."""
        return {layer: (units,) for layer, units in enumerate(self.layer_sizes[1:-1], start=1)}

    @property
    def dtype(self) -> tf.DType:
        """Of every parameter, and so of every computation."""
        return self.parameters["W1"].dtype

    @property
    def weights(self) -> list[tf.Variable]:
        """``[W1, ..., WL]``, what penalties apply to."""
        return [self.parameters[name] for name in self.weight_names]

    @property
    def epsilon(self) -> dict[str, float]:
        """The keyword of the normalisation's function; batch norm's other options are those of its running averages."""
        return {name: value for name, value in self.normalization_options.items() if name == "epsilon"}

    def parameter_dict(self) -> Variables:
        """The variables by name, ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}``."""
        return dict(self.parameters)

    def statistics_dict(self) -> Variables:
        """Batch norm's running averages, variables to read and assign to, ``{"running_mean1": (n_1,), ...}``."""
        return dict(self.statistics)

    def shows(self, name: str) -> bool:
        """Whether a value of a layer is one that :func:`intermediates` returns."""
        return name[0] in "ZNA" and name != "A0"

    def normalizes(self, layer: int, kind: str) -> bool:
        """Whether layer ``layer`` is normalised by ``kind``."""
        return self.normalization == kind and layer < self.depth

    def has_bias(self, layer: int) -> bool:
        """Whether layer ``layer`` has a ``b[l]``: none has without ``bias``, nor has one with batch norm."""
        return self.bias and not self.normalizes(layer, "batch_norm")

    def __call__(self, x: tf.Tensor, masks: Masks = None, *, training: bool = False) -> tf.Tensor:
        """Logits ``Z[L]: (m, n_L)``. In ``training`` dropout draws ``masks`` unless given, and averages move on."""
        if training and masks is None and self.generator is not None:
            x = self.checked_input(x)
            masks = self.draw_masks(self.generator, tf.shape(x)[0])
        logits, values = self.forward(x, masks=masks, training=training)
        if training:
            self.assign_statistics(values)
        return logits

    def draw_masks(self, generator: tf.random.Generator, examples: int | tf.Tensor) -> dict[Any, tf.Tensor]:
        """What dropout draws for ``examples``: by hidden layer ``(m, n_l)``, where units are dropped."""
        return {
            layer: regularizers.dropout_mask(generator, (examples, self.layer_sizes[layer]), keep_probability=keep)
            for layer, keep in enumerate(self.keep_probabilities, start=1)
            if keep < 1
        }

    def forward(self, x: tf.Tensor, *, masks: Masks = None, training: bool = False) -> tuple[tf.Tensor, Tensors]:
        """Logits ``Z[L]: (m, n_L)`` and the values of every layer, ``{"A0": x, "Z1": ..., "A1": ..., ..., "ZL": ...}``.

        ``masks`` maps a hidden layer's number to its dropout mask ``(m, n_l)``; None means no dropout. In ``training``
        batch norm takes the batch's own statistics, which are then among the values (``"batch_mean1"``,
        ``"batch_variance1"``), else its running averages; neither changes them. Raises ValueError if ``x`` does not
        have ``n_0`` features.
        """
        x = self.checked_input(x)
        f = activations.ACTIVATIONS[self.activation]
        values = {"A0": x}
        a = x
        for layer in range(1, self.depth + 1):
            z = tf.matmul(a, self.parameters[f"W{layer}"], transpose_b=True)
            if self.has_bias(layer):
                z += self.parameters[f"b{layer}"]
            values[f"Z{layer}"] = z
            if layer < self.depth:
                a = f(self._normalized(layer, values, training), **self.activation_options)
                if masks is not None and layer in masks:
                    a = regularizers.inverted_dropout(
                        a, masks[layer], keep_probability=self.keep_probabilities[layer - 1]
                    )
                values[f"A{layer}"] = a
        return z, values

    def assign_statistics(self, values: Tensors) -> None:
        """Move batch norm's running averages on by a batch, whose ``values`` are those of a training forward pass."""
        options = {name: value for name, value in self.normalization_options.items() if name != "epsilon"}
        for layer in range(1, self.depth):
            if self.normalizes(layer, "batch_norm"):
                running = self.statistics[f"running_mean{layer}"], self.statistics[f"running_variance{layer}"]
                batch = values[f"batch_mean{layer}"], values[f"batch_variance{layer}"]
                examples = values["A0"].shape[0] or tf.shape(values["A0"])[0]
                averages = normalization.running_average(running, batch, examples, **options)
                for variable, average in zip(running, averages, strict=True):
                    variable.assign(average)

    def checked_input(self, x: Any) -> tf.Tensor:
        """``x`` as a tensor of the model's dtype: arrays are converted, a tensor of another dtype is refused."""
        x = tf.convert_to_tensor(x, self.dtype)
        if not x.shape.is_compatible_with((None, self.layer_sizes[0])):
            raise ValueError(f"x has shape {x.shape}: must be (examples, {self.layer_sizes[0]})")
        return x

    def _normalized(self, layer: int, values: Tensors, training: bool) -> tf.Tensor:
        """What the activation takes: ``N[l]``, or ``Z[l]`` without normalisation. Adds to ``values``."""
        z = values[f"Z{layer}"]
        if self.normalization is None:
            return z
        scale_and_shift = self.parameters[f"gamma{layer}"], self.parameters[f"beta{layer}"]
        if self.normalization == "layer_norm":
            values[f"N{layer}"] = normalization.layer_norm(z, *scale_and_shift, **self.epsilon)
        else:
            if training:
                mean, variance = normalization.batch_statistics(z)
                values |= {f"batch_mean{layer}": mean, f"batch_variance{layer}": variance}
            else:
                mean, variance = self.statistics[f"running_mean{layer}"], self.statistics[f"running_variance{layer}"]
            values[f"N{layer}"] = normalization.batch_norm(z, *scale_and_shift, mean, variance, **self.epsilon)
        return values[f"N{layer}"]


Model = DenseNetwork | Network
AnyModel = TypeVar("AnyModel", DenseNetwork, Network)


def single_neuron(features: int, *, output: str = "identity", bias: bool = True) -> DenseNetwork:
    """One unit for regression, ``p = w . x + b`` (``output="identity"``) or ``max(w . x + b, 0)`` (``"relu"``).

    ``bias=False``: without ``b``, as in every model here.
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
    activation_options: Options = None,
    output: str = "sigmoid",
    keep_probability: KeepProbability = 1.0,
    normalization: str | None = None,
    normalization_options: Options = None,
    bias: bool = True,
) -> DenseNetwork:
    """One hidden layer."""
    sizes = (features, hidden_units, outputs)
    return _dense_network(
        sizes, activation, activation_options, output, keep_probability, normalization, normalization_options, bias
    )


def deep_network(
    layer_sizes: Sequence[int],
    *,
    activation: str = "relu",
    activation_options: Options = None,
    output: str = "sigmoid",
    keep_probability: KeepProbability = 1.0,
    normalization: str | None = None,
    normalization_options: Options = None,
    bias: bool = True,
) -> DenseNetwork:
    """The L-layer network; ``layer_sizes = (n_0, ..., n_L)``, ``keep_probability``: one, or one per hidden layer.

    ``normalization``, on every hidden layer: None, ``"batch_norm"`` (``normalization_options``: ``epsilon``,
    ``momentum``, ``running_variance``) or ``"layer_norm"`` (``epsilon``). ``bias=False``: no layer has a ``b[l]``.
    Raises ValueError for an argument out of range or unknown, as all models do.
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
    activation_options: Options = None,
    keep_probability: KeepProbability = 1.0,
    normalization: str | None = None,
    normalization_options: Options = None,
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
    activation_options: Options = None,
    keep_probability: KeepProbability = 1.0,
    normalization: str | None = None,
    normalization_options: Options = None,
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


def initialize(
    model: AnyModel,
    generator: tf.random.Generator | None,
    *,
    initializer: str | None = None,
    initializer_options: Options = None,
    dtype: Any = None,
) -> AnyModel:
    """Draw the weights anew, in place, from ``initializer`` (a name in ``initializers.INITIALIZERS``); biases are zero.

    ``initializer`` None: ``"he_normal"``; a network of layers takes no other, as each of its layers has its own. Scales
    ``gamma`` are 1, shifts ``beta`` 0, and running averages start again. ``generator`` is a ``tf.random.Generator``;
    what dropout draws in calls follows from it too. ``dtype`` None means float32. Variables that have this dtype
    already are kept and assigned to, so that a ``tf.function`` traced with them stays valid; others are replaced.
    Returns ``model``. Raises ValueError for an unknown initializer.
    """
    if isinstance(model, Network):
        if initializer is not None:
            raise ValueError(
                f"initializer={initializer!r} is not allowed for a network of layers: must be None, as each layer has"
                " its own"
            )
        model.layers.build(model.input_shape, generator=generator, dtype=dtype)
        return model
    initializer = "he_normal" if initializer is None else initializer
    check_choice("initializer", initializer, tuple(initializers.INITIALIZERS))
    draw = initializers.INITIALIZERS[initializer]
    dtype = tf.as_dtype(dtype or tf.float32)
    parameters = {}
    for layer, shape in enumerate(zip(model.layer_sizes[1:], model.layer_sizes[:-1], strict=True), start=1):
        parameters[f"W{layer}"] = draw(generator, shape, dtype=dtype, **(initializer_options or {}))
        if model.has_bias(layer):
            parameters[f"b{layer}"] = tf.zeros(shape[0], dtype)
        if model.normalization is not None and layer < model.depth:
            parameters |= {f"gamma{layer}": tf.ones(shape[0], dtype), f"beta{layer}": tf.zeros(shape[0], dtype)}
    _set(model, parameters, initial_statistics(model, dtype=dtype))
    if model.generator is not None and generator is not None:  # from a copy, whose own draws are not used up
        (own,) = tf.random.Generator.from_state(generator.state.value(), generator.algorithm).split(1)
        model.generator.reset(own.state)
    return model


def initial_statistics(model: Model, *, dtype: Any = None) -> Tensors:
    """Batch norm's running averages before training, means 0 and variances 1; {} for a model without batch norm.

    ``dtype`` None means float32. The tensors are new; those of ``model`` are ``model.statistics_dict()``.
    """
    if isinstance(model, Network):
        return model.layers.initial_statistics(model.input_shape, dtype=dtype)
    statistics: Tensors = {}
    for layer, size in enumerate(model.layer_sizes[1:], start=1):
        if model.normalizes(layer, "batch_norm"):
            statistics |= {
                f"running_mean{layer}": tf.zeros(size, dtype or tf.float32),
                f"running_variance{layer}": tf.ones(size, dtype or tf.float32),
            }
    return statistics


def update_statistics(model: Model, x: tf.Tensor, *, masks: Masks = None) -> Variables:
    """Batch norm's running averages, moved on in place by one training forward pass of ``x: (m, n_0)``."""
    model.assign_statistics(model.forward(x, masks=masks, training=True)[1])
    return model.statistics_dict()


def intermediates(model: Model, x: tf.Tensor, *, masks: Masks = None, training: bool = False) -> Tensors:
    """Every pre-activation and activation, ``{"Z1": (m, n_1), "A1": ..., ..., "ZL": ..., "AL": (m, n_L)}``.

    With normalisation also ``"N1"``, what the activation takes. Of a network of layers the values of its layers by
    path, ``"2.A"``, with ``"Z"`` and ``"A"``. ``masks`` and ``training`` as in :meth:`DenseNetwork.forward`; hidden
    activations are those after dropout. Running averages stay as they are.
    """
    logits, values = model.forward(x, masks=masks, training=training)
    named = {name: value for name, value in values.items() if model.shows(name)}
    named[model.output_name] = activations.ACTIVATIONS[model.output](logits)
    return named


def predict(model: Model, x: tf.Tensor) -> tf.Tensor:
    """``A[L]: (m, n_L)`` in inference mode: probabilities, or values for regression."""
    return activations.ACTIVATIONS[model.output](model(x))


def predict_classes(model: Model, x: tf.Tensor) -> tf.Tensor:
    """Predicted labels: ``(m,)`` the largest logit for softmax, or 1 where the logit of a single sigmoid is positive;
    ``(m, n_L)`` of 0 and 1 for several sigmoid outputs.

    Raises ValueError for a model whose output is not a class.
    """
    if model.output == "softmax":
        return tf.argmax(model(x), axis=1)
    if model.output != "sigmoid":
        raise ValueError(f"output={model.output!r} does not predict classes: must be 'sigmoid' or 'softmax'")
    labels = tf.cast(model(x) > 0, tf.int64)
    return labels[:, 0] if labels.shape[1] == 1 else labels


def replace_head(
    model: DenseNetwork,
    generator: tf.random.Generator | None,
    *,
    outputs: int,
    output: str = "sigmoid",
    initializer: str = "he_normal",
    initializer_options: Options = None,
) -> DenseNetwork:
    """Transfer: a new model with a new last layer of ``outputs`` units and copies of ``model``'s other layers.

    Running averages are copied too, and a model without biases stays without. ``output``: ``"sigmoid"``,
    ``"softmax"``, ``"identity"`` or ``"relu"``. Train with an update of ``frozen_layers`` to leave the other layers
    alone.
    """
    if isinstance(model, Network):
        raise ValueError("model is a network of layers: replace_head takes a dense network")
    check_choice("output", output, OUTPUTS)
    sizes = check_layer_sizes((*model.layer_sizes[:-1], outputs))
    new = DenseNetwork(
        sizes, model.activation, model.activation_options, output, model.keep_probabilities, model.normalization,
        model.normalization_options, model.bias,
    )  # fmt: skip
    initialize(new, generator, initializer=initializer, initializer_options=initializer_options, dtype=model.dtype)
    head = (f"W{model.depth}", f"b{model.depth}")
    for name, variable in new.parameters.items():
        if name not in head:
            variable.assign(model.parameters[name])
    for name, variable in new.statistics.items():
        variable.assign(model.statistics[name])
    return new


def computation_graph(a: Any, b: Any, c: Any) -> Any:
    """``J = 3 (a + b c)``, the course's first computation graph; numbers or scalar tensors."""
    return 3 * (a + b * c)


def computation_graph_gradients(a: Any, b: Any, c: Any) -> tuple[tf.Tensor, Tensors]:
    """``J`` and its derivatives ``{"a": 3, "b": 3 c, "c": 3 b}`` by automatic differentiation; numbers in float64."""
    sources = {
        name: value if tf.is_tensor(value) else tf.constant(value, tf.float64)
        for name, value in (("a", a), ("b", b), ("c", c))
    }
    with tf.GradientTape() as tape:
        tape.watch(sources)
        j = computation_graph(**sources)
    return j, tape.gradient(j, sources)


def _dense_network(
    layer_sizes: Sequence[int],
    activation: str,
    activation_options: Options,
    output: str,
    keep_probability: KeepProbability,
    normalizer: str | None,
    normalization_options: Options,
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
    options = dict(normalization_options or {})
    allowed = {"batch_norm": ("epsilon", "momentum", "running_variance"), "layer_norm": ("epsilon",)}
    for name in options:
        check_choice("normalization_options", name, allowed.get(normalizer or "", ()))
    model = DenseNetwork(sizes, activation, activation_options, output, keep, normalizer, options, bias)
    _try(model)
    return model


def _try(model: DenseNetwork) -> None:
    """Let the activation and the normalisation check their options now rather than in the first forward pass."""
    one = tf.ones((1, 1))
    activations.ACTIVATIONS[model.activation](one, **model.activation_options)
    if model.normalization is not None:
        normalization.layer_norm(one, one[0], one[0], **model.epsilon)
    options = {name: value for name, value in model.normalization_options.items() if name != "epsilon"}
    normalization.running_average((one, one), (one, one), 2, **options)


def _set(model: DenseNetwork, parameters: Tensors, statistics: Tensors) -> None:
    """Assign to the model's variables where they have the dtype wanted, else replace them."""
    if model.parameters and model.dtype == parameters["W1"].dtype:
        for variables, values in ((model.parameters, parameters), (model.statistics, statistics)):
            for name, value in values.items():
                variables[name].assign(value)
    else:
        model.parameters = {name: tf.Variable(value, name=name) for name, value in parameters.items()}
        model.statistics = {name: tf.Variable(v, trainable=False, name=name) for name, v in statistics.items()}


def _numbers(value: KeepProbability) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
