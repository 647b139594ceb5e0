"""What is trained: dense networks of the course's sizes, and networks of layers; Adam, float32.

Data are drawn, since no number of a time depends on what they say. Every contender starts from the same parameters.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

import reference_numpy.layers
import reference_numpy.models

Array = NDArray[Any]
Tensors = dict[str, Array]

Named = TypeVar("Named", bound="Workload")


@dataclass(frozen=True)
class Workload(ABC):
    """A training: ``epochs`` passes over ``examples`` in batches of ``batch_size``, the last of what is left.

    A full batch keeps the order of the examples.
    """

    name: str
    examples: int
    batch_size: int
    epochs: int
    dtype: str = "float32"
    learning_rate: float = 1e-4

    @property
    def loss(self) -> str:
        """The name of the loss."""
        return "categorical_cross_entropy"

    @property
    def steps(self) -> int:
        """Training steps of all epochs."""
        return self.epochs * math.ceil(self.examples / self.batch_size)

    @property
    def is_full_batch(self) -> bool:
        """Whether every step sees all examples."""
        return self.batch_size >= self.examples

    @abstractmethod
    def model(self, package: Any) -> Any:
        """The model in one of the four packages."""

    @abstractmethod
    def inputs(self) -> Array:
        """The examples, ``(m, ...)``."""

    @abstractmethod
    def targets(self) -> Array:
        """Those of the loss."""

    def data(self) -> tuple[Array, Array]:
        """Inputs and targets."""
        return self.inputs(), self.targets()

    def drawn(self, shape: tuple[int, ...]) -> Array:
        """Real numbers, in the workload's dtype from the first: no larger array takes part in the peak of memory."""
        dtype: Any = self.dtype
        return np.random.default_rng(0).standard_normal(shape, dtype)

    def initial(self) -> Tensors:
        """The parameters that every contender starts from, by their name in the four packages."""
        model = self.model(reference_numpy)
        drawn = reference_numpy.models.initialize(model, np.random.default_rng(1))
        return {name: value.astype(self.dtype) for name, value in drawn.items()}

    def batches(self, order: Array | None, generator: np.random.Generator) -> Iterator[Array | slice]:
        """The rows of every batch of the training; ``order: (epochs, examples)``, drawn if None."""
        for epoch in range(self.epochs):
            if self.is_full_batch:
                yield slice(None)
                continue
            rows = generator.permutation(self.examples) if order is None else order[epoch]
            for first in range(0, self.examples, self.batch_size):
                yield rows[first : first + self.batch_size]

    def shortened(self, epochs: int) -> Self:
        """The same with at most so many epochs."""
        return replace(self, epochs=min(self.epochs, epochs))

    def one_step(self) -> Self:
        """A single step, on the first batch."""
        return replace(self, examples=min(self.examples, self.batch_size), epochs=1)


@dataclass(frozen=True)
class DenseWorkload(Workload):
    """A dense network: ``layer_sizes`` from the inputs to the outputs, one output being a sigmoid, several a softmax.

    ``activation`` is the hidden layers': ``"relu"`` or ``"tanh"``.
    """

    layer_sizes: tuple[int, ...] = ()
    activation: str = "relu"

    @property
    def is_binary(self) -> bool:
        """Whether the output is a single sigmoid."""
        return self.layer_sizes[-1] == 1

    @property
    def loss(self) -> str:
        return "binary_cross_entropy" if self.is_binary else "categorical_cross_entropy"

    @property
    def weight_shapes(self) -> list[tuple[int, int]]:
        """``(n_out, n_in)`` of every layer."""
        return list(zip(self.layer_sizes[1:], self.layer_sizes[:-1], strict=True))

    def model(self, package: Any) -> Any:
        if not self.is_binary:
            return package.models.softmax_classifier(self.layer_sizes, activation=self.activation)
        if len(self.layer_sizes) == 2:
            return package.models.logistic_regression(self.layer_sizes[0])
        return package.models.deep_network(self.layer_sizes, activation=self.activation)

    def inputs(self) -> Array:
        """``(m, n_0)``."""
        return self.drawn((self.examples, self.layer_sizes[0]))

    def targets(self) -> Array:
        """``(m, 1)`` of 0 and 1, or labels ``(m,)``."""
        generator = np.random.default_rng(1)
        if self.is_binary:
            return generator.integers(0, 2, (self.examples, 1)).astype(self.dtype)
        return generator.integers(0, self.layer_sizes[-1], self.examples)

    def output_targets(self) -> Array:
        """What the outputs should be, ``(m, n_L)``: the targets, or the labels one-hot."""
        y = self.targets()
        return y if self.is_binary else np.eye(self.layer_sizes[-1], dtype=self.dtype)[y]


@dataclass(frozen=True)
class Conventions:
    """A framework's own layers in the packages' keywords: the order of a flattened image, gates and biases."""

    flatten: str = "channels_last"
    lstm: Mapping[str, Any] | None = None
    gru: Mapping[str, Any] | None = None


CONVENTIONS = {
    "numpy": Conventions(),
    "torch": Conventions("channels_first", lstm={"biases": 2}, gru={"biases": 2}),
    "tensorflow": Conventions(gru={"gates": "zrn", "biases": 2}),
    "jax": Conventions(gru={"biases": 2}),
}


@dataclass(frozen=True)
class LayerWorkload(Workload):
    """A network of layers: ``layers(package.layers, conventions)`` for examples of ``input_shape``, to 10 classes.

    ``description``: the network in a few words; ``vocabulary``: how many tokens there are, 0 for inputs that are real
    numbers.
    """

    description: str = ""
    layers: Callable[[Any, Conventions], list[Any]] = lambda package, conventions: []
    input_shape: tuple[int, ...] = ()
    vocabulary: int = 0
    conventions: Conventions = Conventions()

    classes = 10

    def model(self, package: Any) -> Any:
        layers = self.layers(package.layers, self.conventions)
        return package.models.network(layers, self.input_shape, output="softmax")

    def inputs(self) -> Array:
        """``(m, *input_shape)``, real numbers or tokens."""
        shape = (self.examples, *self.input_shape)
        if self.vocabulary:
            return np.random.default_rng(0).integers(0, self.vocabulary, shape, dtype=np.int32)
        return self.drawn(shape)

    def targets(self) -> Array:
        """Labels, ``(m,)``."""
        return np.random.default_rng(1).integers(0, self.classes, self.examples)


def lenet(k: Any, conventions: Conventions) -> list[Any]:
    """Two convolutions with pools, three dense layers."""
    return [
        k.convolution(6, (5, 5), padding="same"), k.activation("relu"), k.max_pool((2, 2)),
        k.convolution(16, (5, 5)), k.activation("relu"), k.max_pool((2, 2)),
        k.flatten(order=conventions.flatten), k.dense(120), k.activation("relu"), k.dense(84), k.activation("relu"),
        k.dense(10),
    ]  # fmt: skip


def lstm(k: Any, conventions: Conventions) -> list[Any]:
    """The last state, classified."""
    return [k.lstm(64, **conventions.lstm or {}), k.dense(10)]


def gru(k: Any, conventions: Conventions) -> list[Any]:
    """The last state, classified; the reset gate comes after the product."""
    return [k.gru(64, **conventions.gru or {}), k.dense(10)]


def bag(k: Any, conventions: Conventions) -> list[Any]:
    """The mean of the tokens' embeddings, classified."""
    return [k.embedding(1000, 32), k.global_average_pool(), k.dense(10)]


def transformer(k: Any, conventions: Conventions) -> list[Any]:
    """Attention, then two dense layers, each with a residual and a layer norm after it; the mean over time."""
    forward = k.sequence(k.dense(128), k.activation("relu"), k.dense(64))
    return [
        k.residual(k.attention(4)), k.layer_norm(), k.residual(forward), k.layer_norm(),
        k.global_average_pool(), k.dense(10),
    ]  # fmt: skip


def residual(k: Any, conventions: Conventions) -> list[Any]:
    """Two residual blocks of two dense layers."""
    blocks = [k.residual(k.sequence(k.dense(64), k.activation("relu"), k.dense(64))) for _ in range(2)]
    return [*blocks, k.activation("relu"), k.dense(10)]


DENSE = (
    DenseWorkload("logistic", 209, 209, 60, layer_sizes=(12288, 1)),
    DenseWorkload("shallow", 400, 400, 600, layer_sizes=(2, 4, 1), activation="tanh"),
    DenseWorkload("deep", 209, 209, 30, layer_sizes=(12288, 20, 7, 5, 1)),
    DenseWorkload("digits", 1797, 64, 6, layer_sizes=(64, 128, 64, 10)),
    DenseWorkload("signs", 1080, 32, 2, layer_sizes=(12288, 25, 12, 6)),
    DenseWorkload("wide", 4096, 128, 2, layer_sizes=(784, 512, 256, 10)),
)
COLD = next(workload for workload in DENSE if workload.name == "signs")  # of which first steps are taken
LAYERED = (
    LayerWorkload("lenet", 320, 32, 1, layers=lenet, input_shape=(28, 28, 1),
                  description="LeNet-5 with relu and maxima"),
    LayerWorkload("lstm", 320, 32, 1, layers=lstm, input_shape=(32, 32),
                  description="LSTM of 64 units, its last state"),
    LayerWorkload("gru", 320, 32, 1, layers=gru, input_shape=(32, 32),
                  description="GRU of 64 units, its last state"),
    LayerWorkload("bag of embeddings", 320, 32, 4, layers=bag, input_shape=(32,), vocabulary=1000,
                  description="the mean of 32 embeddings of 32 units"),
    LayerWorkload("transformer block", 320, 32, 1, layers=transformer, input_shape=(32, 64),
                  description="attention of 4 heads, dense 128-64, residuals, norms"),
    LayerWorkload("residual dense", 320, 32, 4, layers=residual, input_shape=(64,),
                  description="two residual blocks of dense 64-64"),
)  # fmt: skip
# Three steps each, with an incomplete last batch where there are batches: what contenders are verified
# on. Keras keeps the learning rate in float32, which this one is.
SMALL = (
    DenseWorkload("small logistic", 30, 30, 3, "float64", 2**-7, layer_sizes=(5, 1)),
    DenseWorkload("small shallow", 30, 30, 3, "float64", 2**-7, layer_sizes=(2, 4, 1), activation="tanh"),
    DenseWorkload("small softmax", 70, 32, 1, "float64", 2**-7, layer_sizes=(6, 5, 4, 3)),
)


def for_framework(workload: Named, framework: str) -> Named:
    """The workload as the framework's own layers have it."""
    if not isinstance(workload, LayerWorkload):
        return workload
    return replace(workload, conventions=CONVENTIONS[framework])
