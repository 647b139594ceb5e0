"""NumPy: ``fit``, by hand, and scikit-learn's network of the same training."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import reference_numpy.layers
import reference_numpy.models
from benchmarks import contenders
from benchmarks.contenders import BETA1, BETA2, EPSILON, DenseTrainer, FitTrainer, Trainer
from benchmarks.workloads import Array, DenseWorkload, Tensors, Workload
from reference_numpy import optimizers, training

PIECE = 16384  # parameters: five arrays of so many stay in a core's cache


def use(device: str, dtype: str) -> None:
    """Compute on ``device``, in any ``dtype``. Raises ValueError for any but the CPU."""
    if device != "cpu":
        raise ValueError(f"device={device!r} is not allowed for numpy: must be 'cpu'")


class Fit(FitTrainer):
    """The project's ``fit``, from ``initial`` where another start than the workload's is given."""

    training = training

    def __init__(
        self,
        workload: Workload,
        order: Array | None = None,
        adam: Mapping[str, Any] | None = None,
        initial: Tensors | None = None,
    ) -> None:
        super().__init__(workload, order)
        self.model = workload.model(reference_numpy)
        self.initial, self.data = initial or workload.initial(), workload.data()
        self.optimizer = optimizers.adam(workload.learning_rate, **(adam or {}))
        self.trained = self.initial

    def run(self) -> None:
        self.fit(self.model, self.initial, *self.data)
        self.trained = self.history.parameters

    def parameters(self) -> Tensors:
        return self.trained


class Best(Trainer[DenseWorkload]):
    """Derivatives by hand, every array made once, and Adam over one vector of all parameters, a piece at a time."""

    def __init__(self, workload: DenseWorkload, order: Array | None = None) -> None:
        super().__init__(workload, order)
        self.x = workload.inputs()
        self.targets = workload.output_targets()
        self.flat, self.weights, self.biases = _flat(workload)
        self.gradient, self.weight_gradients, self.bias_gradients = _flat(workload)
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            weight[...], bias[...] = workload.initial()[f"W{place}"], workload.initial()[f"b{place}"]
        self.buffers: dict[int, tuple[list[Array], list[Array]]] = {}

    def run(self) -> None:
        adam = _Adam(self.flat, self.gradient, self.workload.learning_rate)
        for rows in self.workload.batches(self.order, self.generator):
            self.take_gradient(self.x[rows], self.targets[rows])
            adam.step()

    def take_gradient(self, x: Array, targets: Array) -> None:
        """Write the gradient of the mean loss of a batch into ``gradient``."""
        outputs, deltas = self._buffers(len(x))
        inputs = [x, *outputs[:-1]]
        last = len(outputs) - 1
        for place, output in enumerate(outputs):
            np.matmul(inputs[place], self.weights[place].T, out=output)  # (m, n_out)
            output += self.biases[place]
            if place < last:
                self._activate(output)
        self._output_delta(outputs[last], targets, deltas[last])
        for place in range(last, -1, -1):
            np.matmul(deltas[place].T, inputs[place], out=self.weight_gradients[place])
            np.sum(deltas[place], axis=0, out=self.bias_gradients[place])
            if place > 0:
                np.matmul(deltas[place], self.weights[place], out=deltas[place - 1])
                self._through_activation(deltas[place - 1], outputs[place - 1])

    def parameters(self) -> Tensors:
        return _named(self.weights, self.biases)

    def _buffers(self, examples: int) -> tuple[list[Array], list[Array]]:
        if examples not in self.buffers:
            sizes, dtype = self.workload.layer_sizes[1:], self.flat.dtype
            made = [[np.empty((examples, n), dtype) for n in sizes] for _ in range(2)]
            self.buffers[examples] = made[0], made[1]
        return self.buffers[examples]

    def _activate(self, z: Array) -> None:
        np.maximum(z, 0, out=z) if self.workload.activation == "relu" else np.tanh(z, out=z)

    def _through_activation(self, delta: Array, a: Array) -> None:
        if self.workload.activation == "relu":
            delta *= a > 0
        else:
            a *= a  # nobody needs it any more
            np.subtract(1, a, out=a)
            delta *= a

    def _output_delta(self, logits: Array, targets: Array, delta: Array) -> None:
        """``(A - Y) / m``."""
        if self.workload.is_binary:
            np.negative(logits, out=delta)
            np.exp(delta, out=delta)
            delta += 1
            np.reciprocal(delta, out=delta)
        else:
            np.subtract(logits, logits.max(axis=1, keepdims=True), out=delta)
            np.exp(delta, out=delta)
            delta /= delta.sum(axis=1, keepdims=True)
        delta -= targets
        delta /= len(delta)


class _Adam:
    """Adam with moments that are not multiplied by ``1 - beta``, which the step makes good: two passes fewer."""

    def __init__(self, flat: Array, gradient: Array, learning_rate: float) -> None:
        self.learning_rate, self.steps = learning_rate, 0
        moments = np.zeros_like(flat), np.zeros_like(flat)
        self.scratch = np.empty_like(flat[:PIECE])
        self.pieces = [
            tuple(array[first : first + PIECE] for array in (flat, gradient, *moments))
            for first in range(0, flat.size, PIECE)
        ]

    def step(self) -> None:
        self.steps += 1
        of_first, of_second = 1 - BETA1**self.steps, 1 - BETA2**self.steps
        root = (of_second / (1 - BETA2)) ** 0.5
        rate, epsilon = self.learning_rate * (1 - BETA1) / of_first * root, EPSILON * root
        for w, g, m, v in self.pieces:
            u = self.scratch[: w.size]
            m *= BETA1
            m += g
            np.multiply(g, g, out=u)
            v *= BETA2
            v += u
            np.sqrt(v, out=u)
            u += epsilon
            np.divide(m, u, out=u)
            u *= rate
            w -= u


class ScikitLearn(Trainer[DenseWorkload]):
    """``MLPClassifier``: the same network, loss and optimizer. Its start is its own, and ``fit`` checks its arguments.

    An order that is given must be of one epoch. ``LogisticRegression`` is no contender: it makes no steps of Adam.
    """

    adam: ClassVar[Mapping[str, Any]] = {"epsilon_position": "before_correction"}

    def __init__(self, workload: DenseWorkload, order: Array | None = None) -> None:
        super().__init__(workload, order)
        self.x, y = workload.data()
        self.y = y.ravel()
        if order is not None:
            self.x, self.y = self.x[order[0]], self.y[order[0]]
        self.network = self._network(workload.learning_rate, workload.epochs)

    def run(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.network.fit(self.x, self.y)

    def parameters(self) -> Tensors:
        return _named([weight.T for weight in self.network.coefs_], self.network.intercepts_)

    def start(self) -> Tensors:
        """The parameters that it starts from: what it has after a step so small that it changes nothing."""
        trained, self.network = self.network, self._network(1e-300, epochs=1)
        self.run()
        started, self.network = self.parameters(), trained
        return started

    def _network(self, learning_rate: float, epochs: int) -> MLPClassifier:
        workload = self.workload
        return MLPClassifier(
            workload.layer_sizes[1:-1], activation=workload.activation, solver="adam", alpha=0.0, random_state=0,
            batch_size=workload.batch_size, learning_rate_init=learning_rate, max_iter=epochs, epsilon=EPSILON,
            shuffle=self.order is None, tol=0.0, n_iter_no_change=epochs + 1,
        )  # fmt: skip


class Products(contenders.Products):
    """Written into arrays made once."""

    def __init__(self, workload: DenseWorkload) -> None:
        super().__init__(workload)
        self.arrays = [(a, w, d, np.empty_like(d), np.empty_like(w), np.empty_like(a)) for a, w, d in self.operands()]

    def run(self) -> None:
        for _ in range(self.workload.steps):
            for place, (a, w, d, z, dw, da) in enumerate(self.arrays):
                np.matmul(a, w.T, out=z)
                np.matmul(d.T, a, out=dw)
                if place > 0:
                    np.matmul(d, w, out=da)


def _flat(workload: DenseWorkload) -> tuple[Array, list[Array], list[Array]]:
    """A vector, and the weights and biases that are views into it."""
    flat = np.empty(sum(o * i + o for o, i in workload.weight_shapes), workload.dtype)
    weights, biases, first = [], [], 0
    for o, i in workload.weight_shapes:
        weights.append(flat[first : first + o * i].reshape(o, i))
        biases.append(flat[first + o * i : first + o * i + o])
        first += o * i + o
    return flat, weights, biases


def _named(weights: list[Array], biases: list[Array]) -> Tensors:
    named = {f"W{place}": weight for place, weight in enumerate(weights, start=1)}
    return named | {f"b{place}": bias for place, bias in enumerate(biases, start=1)}


TRAINERS: dict[str, Callable[..., DenseTrainer]] = {"fit": Fit, "best": Best, "scikit-learn": ScikitLearn}
