"""TensorFlow: ``fit``, one compiled loop, a ``tf.function`` with Keras's optimizer, and Keras's own ``fit``."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

import impl_tf.layers
import impl_tf.models
from benchmarks import contenders
from benchmarks.contenders import BETA1, BETA2, EPSILON, DenseTrainer, FitTrainer, Trainer, W
from benchmarks.processes import KERAS_EPOCHS
from benchmarks.workloads import Array, DenseWorkload, Tensors, Workload
from impl_tf import optimizers, training

# The formulation of Keras's Adam, in the packages' keywords.
KERAS_ADAM: Mapping[str, Any] = {
    "epsilon": 1e-7,
    "epsilon_position": "before_correction",
    "correction_precision": "float32",
}


def use(device: str, dtype: str) -> None:
    """Compute on ``device``, ``"cpu"`` or ``"gpu"``, in ``dtype``. Raises ValueError where there is no such device."""
    keras.config.set_floatx(dtype)
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not tf.config.list_physical_devices("GPU"):
        raise ValueError("device='gpu' is not allowed for tensorflow: TensorFlow finds none here")


class Fit(FitTrainer):
    """The project's ``fit``."""

    training = training

    def __init__(self, workload: Workload, order: Array | None = None, adam: Mapping[str, Any] | None = None) -> None:
        super().__init__(workload, order)
        self.model = project_model(workload)
        x, y = workload.data()
        self.x, self.y = tf.constant(x), tf.constant(y)
        self.optimizer = optimizers.adam(workload.learning_rate, **(adam or {}))

    def run(self) -> None:
        self.fit(self.model, self.x, self.y)

    def parameters(self) -> Tensors:
        return {name: value.numpy() for name, value in self.model.parameter_dict().items()}


class Batched(Trainer[W]):
    """A trainer with its data on the device."""

    def __init__(self, workload: W, order: Array | None = None) -> None:
        super().__init__(workload, order)
        x, y = workload.data()
        self.x, self.y = tf.constant(x), tf.constant(y)

    def epoch_order(self, epoch: int) -> tf.Tensor:
        """The order of the examples: as given, or drawn."""
        return tf.random.shuffle(tf.range(self.workload.examples)) if self.order is None else self.order[epoch]


class Best(Batched[DenseWorkload]):
    """Loops over steps compiled by XLA, gradient and Adam in them; an epoch's examples are gathered at once."""

    def __init__(self, workload: DenseWorkload, order: Array | None = None) -> None:
        super().__init__(workload, order)
        self.variables = [tf.Variable(value) for value in workload.initial().values()]
        self.names = list(workload.initial())
        self.first = [tf.Variable(tf.zeros_like(w)) for w in self.variables]
        self.second = [tf.Variable(tf.zeros_like(w)) for w in self.variables]
        self.steps = tf.Variable(tf.zeros((), workload.dtype))
        self.compiled = tf.function(
            self._full_batches if workload.is_full_batch else self._epoch, jit_compile=True, autograph=True
        )

    def run(self) -> None:
        for slot in (*self.first, *self.second, self.steps):
            slot.assign(tf.zeros_like(slot))
        if self.workload.is_full_batch:
            self.compiled(self.x, self.y)
        else:
            for epoch in range(self.workload.epochs):
                order = self.epoch_order(epoch)
                self.compiled(tf.gather(self.x, order), tf.gather(self.y, order))
        self.steps.numpy()  # waits

    def parameters(self) -> Tensors:
        return {name: value.numpy() for name, value in zip(self.names, self.variables, strict=True)}

    def _full_batches(self, x: tf.Tensor, y: tf.Tensor) -> None:
        for _ in tf.range(self.workload.epochs):
            self._step(x, y)

    def _epoch(self, x: tf.Tensor, y: tf.Tensor) -> None:
        size = self.workload.batch_size
        whole = self.workload.examples // size
        batches = tf.reshape(x[: whole * size], (whole, size, -1)), tf.reshape(y[: whole * size], (whole, size))
        for step in tf.range(whole):
            self._step(batches[0][step], batches[1][step])
        if self.workload.examples > whole * size:
            self._step(x[whole * size :], y[whole * size :])

    @tf.autograph.experimental.do_not_convert
    def _step(self, x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            cost = self._cost(x, y)
        self.steps.assign_add(1.0)
        rate = self.workload.learning_rate / (1 - BETA1**self.steps)
        root = tf.sqrt(1 - BETA2**self.steps)
        gradients = tape.gradient(cost, self.variables)
        for w, g, m, v in zip(self.variables, gradients, self.first, self.second, strict=True):
            m.assign(BETA1 * m + (1 - BETA1) * g)
            v.assign(BETA2 * v + (1 - BETA2) * g * g)
            w.assign_sub(rate * m / (tf.sqrt(v) / root + EPSILON))

    def _cost(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        parameters = dict(zip(self.names, self.variables, strict=True))
        activate = tf.nn.relu if self.workload.activation == "relu" else tf.tanh
        last = len(self.workload.weight_shapes)
        for place in range(1, last + 1):
            z = tf.matmul(x, parameters[f"W{place}"], transpose_b=True) + parameters[f"b{place}"]
            x = activate(z) if place < last else z
        return mean_loss(self.workload, x, y)


class Loop(Batched[W]):
    """The usual loop: a ``tf.function`` of a step with a ``GradientTape`` and Keras's Adam."""

    adam = KERAS_ADAM

    def __init__(self, workload: W, order: Array | None = None) -> None:
        super().__init__(workload, order)
        self.network, self.variables = self.make_network()
        self.optimizer = keras.optimizers.Adam(workload.learning_rate)
        self.optimizer.build(self.variables)
        self.step = tf.function(self._step)

    @abstractmethod
    def make_network(self) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[Any]]:
        """From inputs to logits in training, at the workload's initial parameters, and its trainable variables."""

    def batches(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Inputs and targets of every step."""
        workload = self.workload
        for epoch in range(workload.epochs):
            if workload.is_full_batch:
                yield self.x, self.y
                continue
            order = self.epoch_order(epoch)
            for first in range(0, workload.examples, workload.batch_size):
                rows = order[first : first + workload.batch_size]
                yield tf.gather(self.x, rows), tf.gather(self.y, rows)

    def run(self) -> None:
        for x, y in self.batches():
            self.cost = self.step(x, y)
        self.cost.numpy()  # waits

    def first_cost(self) -> float:
        self.run()
        return float(self.cost)

    @tf.autograph.experimental.do_not_convert
    def _step(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            cost = mean_loss(self.workload, self.network(x), y)
        self.optimizer.apply(tape.gradient(cost, self.variables), self.variables)
        return cost


class Usual(Loop[DenseWorkload]):
    """``keras.Sequential`` of ``Dense``."""

    def make_network(self) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[Any]]:
        self.model = keras_model(self.workload)
        return self.model, self.model.trainable_variables

    def parameters(self) -> Tensors:
        return keras_parameters(self.model)


class KerasFit(Trainer[DenseWorkload]):
    """Keras's ``compile`` and ``fit``, for twenty epochs at most; an order that is given must be of one."""

    adam: ClassVar[Mapping[str, Any]] = KERAS_ADAM

    def __init__(self, workload: DenseWorkload, order: Array | None = None) -> None:
        super().__init__(workload.shortened(KERAS_EPOCHS), order)
        self.x, self.y = workload.data()
        if order is not None:
            self.x, self.y = self.x[order[0]], self.y[order[0]]
        self.model = keras_model(workload)
        loss = keras.losses.BinaryCrossentropy if workload.is_binary else keras.losses.SparseCategoricalCrossentropy
        self.model.compile(keras.optimizers.Adam(workload.learning_rate), loss(from_logits=True))

    def run(self) -> None:
        workload = self.workload
        self.model.fit(
            self.x, self.y, batch_size=workload.batch_size, epochs=workload.epochs, verbose=0,
            shuffle=self.order is None and not workload.is_full_batch,
        )  # fmt: skip

    def parameters(self) -> Tensors:
        return keras_parameters(self.model)


class Products(contenders.Products):
    """In a loop of a graph; XLA would take products that are the same in every step out of it."""

    def __init__(self, workload: DenseWorkload) -> None:
        super().__init__(workload)
        self.tensors = [tuple(map(tf.constant, arrays)) for arrays in self.operands()]
        self.compiled = tf.function(self._loop)

    def run(self) -> None:
        self.compiled(self.tensors)[0].numpy()  # waits

    def _loop(self, tensors: Any) -> Any:
        found = self._products(tensors)
        for _ in tf.range(self.workload.steps - 1):
            found = self._products(tensors)
        return found

    @tf.autograph.experimental.do_not_convert
    def _products(self, tensors: Any) -> list[tf.Tensor]:
        found = []
        for place, (a, w, d) in enumerate(tensors):
            found += [tf.matmul(a, w, transpose_b=True), tf.matmul(d, a, transpose_a=True)]
            if place > 0:
                found.append(tf.matmul(d, w))
        return found


def project_model(workload: Workload) -> Any:
    """The project's model at the workload's initial parameters."""
    model = workload.model(impl_tf)
    impl_tf.models.initialize(model, tf.random.Generator.from_seed(0), dtype=workload.dtype)
    for name, value in workload.initial().items():
        model.parameter_dict()[name].assign(value)
    return model


def mean_loss(workload: Workload, logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The mean loss of a batch, of its logits."""
    if workload.loss == "binary_cross_entropy":
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, logits))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def keras_model(workload: DenseWorkload) -> keras.Sequential:
    """Keras's model to logits, at the workload's initial parameters."""
    last = len(workload.weight_shapes)
    layers = [
        keras.layers.Dense(units, workload.activation if place < last else None)
        for place, (units, _) in enumerate(workload.weight_shapes, start=1)
    ]
    model = keras.Sequential([keras.Input(workload.layer_sizes[:1]), *layers])
    initial = workload.initial()
    for place, layer in enumerate(layers, start=1):
        layer.set_weights([initial[f"W{place}"].T, initial[f"b{place}"]])
    return model


def keras_parameters(model: keras.Sequential) -> Tensors:
    """Named and laid out as in the four packages."""
    named = {}
    for place, layer in enumerate(model.layers, start=1):
        kernel, named[f"b{place}"] = layer.get_weights()
        named[f"W{place}"] = kernel.T
    return named


TRAINERS: dict[str, Callable[..., DenseTrainer]] = {"fit": Fit, "best": Best, "usual": Usual, "keras fit": KerasFit}
