"""JAX: ``fit``, one compiled program of all steps, and a compiled step with optax."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import impl_jax.layers
import impl_jax.models
from benchmarks import contenders
from benchmarks.contenders import BETA1, BETA2, EPSILON, DenseTrainer, FitTrainer, Trainer, W
from benchmarks.workloads import Array, DenseWorkload, Tensors, Workload
from impl_jax import optimizers, training

Arrays = dict[str, jax.Array]


def use(device: str, dtype: str) -> None:
    """Compute on ``device``, ``"cpu"`` or ``"gpu"``, in ``dtype``. Raises ValueError where there is no such device."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    try:
        jax.config.update("jax_default_device", jax.devices(device)[0])
    except RuntimeError:
        raise ValueError(f"device={device!r} is not allowed for jax: JAX finds none here") from None


def arrays(named: Mapping[str, Array]) -> Arrays:
    """On the device in use."""
    return {name: jnp.asarray(value) for name, value in named.items()}


def to_numpy(named: Mapping[str, Any]) -> Tensors:
    """As arrays of NumPy's."""
    return {name: np.asarray(value) for name, value in named.items()}


class Fit(FitTrainer):
    """The project's ``fit``."""

    training = training

    def __init__(self, workload: Workload, order: Array | None = None, adam: Mapping[str, Any] | None = None) -> None:
        super().__init__(workload, order)
        self.model = workload.model(impl_jax)
        self.initial = arrays(workload.initial())
        self.x, self.y = map(jnp.asarray, workload.data())
        self.optimizer = optimizers.adam(workload.learning_rate, **(adam or {}))

    def run(self) -> None:
        self.fit(self.model, self.initial, self.x, self.y)
        jax.block_until_ready(self.history.parameters)

    def parameters(self) -> Tensors:
        return to_numpy(self.history.parameters)


class Best(Trainer[DenseWorkload]):
    """All steps of all epochs in one compiled program, a scan of scans, which takes over the parameters."""

    def __init__(self, workload: DenseWorkload, order: Array | None = None) -> None:
        super().__init__(workload, order)
        self.x, self.y = map(jnp.asarray, workload.data())
        self.trained = arrays(workload.initial())
        self.compiled = jax.jit(self._full_batches if workload.is_full_batch else self._epochs, donate_argnums=0)

    def run(self) -> None:
        orders = () if self.workload.is_full_batch else (jnp.asarray(self._orders()),)
        self.trained = self.compiled(self.trained, self.x, self.y, *orders)
        jax.block_until_ready(self.trained)

    def parameters(self) -> Tensors:
        return to_numpy(self.trained)

    def _orders(self) -> Array:
        if self.order is not None:
            return self.order
        rows = np.broadcast_to(np.arange(self.workload.examples), (self.workload.epochs, self.workload.examples))
        return self.generator.permuted(rows, axis=1)

    def _full_batches(self, parameters: Arrays, x: jax.Array, y: jax.Array) -> Arrays:
        state = self._start(parameters)
        return jax.lax.fori_loop(0, self.workload.epochs, lambda _, state: self._step(state, x, y), state)[0]

    def _epochs(self, parameters: Arrays, x: jax.Array, y: jax.Array, orders: jax.Array) -> Arrays:
        size = self.workload.batch_size
        whole = self.workload.examples // size * size

        def on(state: Any, rows: jax.Array) -> tuple[Any, None]:
            return self._step(state, x[rows], y[rows]), None

        def epoch(state: Any, order: jax.Array) -> tuple[Any, None]:
            state, _ = jax.lax.scan(on, state, order[:whole].reshape(-1, size))
            return on(state, order[whole:]) if whole < self.workload.examples else (state, None)

        return jax.lax.scan(epoch, self._start(parameters), orders)[0][0]

    def _start(self, parameters: Arrays) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return parameters, zeros, zeros, jnp.zeros((), self.workload.dtype)

    def _step(self, state: Any, x: jax.Array, y: jax.Array) -> Any:
        parameters, first, second, steps = state
        gradients = jax.grad(self._cost)(parameters, x, y)
        steps += 1
        rate, root = self.workload.learning_rate / (1 - BETA1**steps), jnp.sqrt(1 - BETA2**steps)
        first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
        second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients)
        parameters = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + EPSILON), parameters, first, second
        )
        return parameters, first, second, steps

    def _cost(self, parameters: Arrays, x: jax.Array, y: jax.Array) -> jax.Array:
        return mean_loss(self.workload, dense_logits(self.workload, parameters, x), y)


class Loop(Trainer[W]):
    """The usual loop: a compiled step with ``value_and_grad`` and ``optax.adam``; batches come from the host."""

    def __init__(self, workload: W, order: Array | None = None) -> None:
        super().__init__(workload, order)
        put: Callable[[Any], Any] = jnp.asarray if workload.is_full_batch else np.asarray
        self.x, self.y = map(put, workload.data())
        self.logits, self.trained = self.make_network()
        self.optimizer = optax.adam(workload.learning_rate)
        self.state = self.optimizer.init(self.trained)
        self.step = jax.jit(self._step)

    @abstractmethod
    def make_network(self) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
        """From parameters and inputs to logits, and the workload's initial parameters."""

    def run(self) -> None:
        for rows in self.workload.batches(self.order, self.generator):
            x, y = (self.x, self.y) if self.workload.is_full_batch else (self.x[rows], self.y[rows])
            self.trained, self.state, self.cost = self.step(self.trained, self.state, x, y)
        jax.block_until_ready(self.trained)

    def first_cost(self) -> float:
        self.run()
        return float(self.cost)

    def _step(self, parameters: Any, state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any, jax.Array]:
        def cost(parameters: Any) -> jax.Array:
            return mean_loss(self.workload, self.logits(parameters, x), y)

        found, gradients = jax.value_and_grad(cost)(parameters)
        updates, state = self.optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state, found


class Usual(Loop[DenseWorkload]):
    """A function of a dict of parameters."""

    def make_network(self) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
        return partial(dense_logits, self.workload), arrays(self.workload.initial())

    def parameters(self) -> Tensors:
        return to_numpy(self.trained)


class Products(contenders.Products):
    """In a compiled loop; a barrier keeps XLA from taking products that are the same in every step out of it."""

    def __init__(self, workload: DenseWorkload) -> None:
        super().__init__(workload)
        self.arrays = [tuple(map(jnp.asarray, given)) for given in self.operands()]
        self.compiled = jax.jit(self._loop)

    def run(self) -> None:
        jax.block_until_ready(self.compiled(self.arrays))

    def _loop(self, arrays: Any) -> Any:
        def step(count: Any, found: Any) -> Any:
            given, _ = jax.lax.optimization_barrier((arrays, count))
            return self._products(given)

        return jax.lax.fori_loop(1, self.workload.steps, step, self._products(arrays))

    def _products(self, arrays: Any) -> list[jax.Array]:
        found = []
        for place, (a, w, d) in enumerate(arrays):
            found += [a @ w.T, d.T @ a]
            if place > 0:
                found.append(d @ w)
        return found


def dense_logits(workload: DenseWorkload, parameters: Arrays, x: jax.Array) -> jax.Array:
    """The logits of a dense network."""
    activate = jax.nn.relu if workload.activation == "relu" else jnp.tanh
    last = len(workload.weight_shapes)
    for place in range(1, last + 1):
        z = x @ parameters[f"W{place}"].T + parameters[f"b{place}"]
        x = activate(z) if place < last else z
    return x


def mean_loss(workload: Workload, logits: jax.Array, y: jax.Array) -> jax.Array:
    """The mean loss of a batch, of its logits."""
    if workload.loss == "binary_cross_entropy":
        return optax.sigmoid_binary_cross_entropy(logits, y).mean()
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


TRAINERS: dict[str, Callable[..., DenseTrainer]] = {"fit": Fit, "best": Best, "usual": Usual}
