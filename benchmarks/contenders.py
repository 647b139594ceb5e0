"""What a contender is: one way to make the steps of a workload."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from benchmarks.workloads import Array, DenseWorkload, Tensors, Workload

W = TypeVar("W", bound=Workload)

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam, everywhere


class Work(ABC, Generic[W]):
    """What is timed: made once, for a workload, and then run again and again.

    Attributes:
        workload: with the epochs that a run of this work really makes, which may be fewer than asked for.
    """

    def __init__(self, workload: W) -> None:
        self.workload = workload

    @abstractmethod
    def run(self) -> None:
        """Make the workload's steps; returns when they are done, on a device too."""


class Trainer(Work[W]):
    """A work that trains.

    ``order: (epochs, m)`` is that of the examples; None, as when times are taken: drawn in each run, by whatever the
    contender has for it. A first run starts from ``workload.initial()``.

    Attributes:
        adam: which formulation of Adam it trains by, as keywords of the packages' ``optimizers.adam``.
    """

    adam: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, workload: W, order: Array | None = None) -> None:
        super().__init__(workload)
        self.order = order
        self.generator = np.random.default_rng(0)


class FitTrainer(Trainer[Workload]):
    """The project's ``fit``, of one of the four packages.

    Attributes:
        training: the package's module.
        optimizer: its Adam.
        history: of the last run.
    """

    training: Any
    optimizer: Any
    history: Any

    def fit(self, *given: Any) -> None:
        """Call ``fit`` with the model, where they are apart its parameters, and the data."""
        self.history = self.training.fit(
            *given, loss=self.workload.loss, optimizer=self.optimizer, epochs=self.workload.epochs,
            batch_size=self.workload.batch_size,
            sampling=self.training.Sampling(tape=self.training.Tape(batch_order=self.order)),
        )  # fmt: skip

    def first_cost(self) -> float:
        """The cost of the first batch."""
        self.run()
        return float(self.history.costs[0])


class DenseTrainer(Protocol):
    """A work that trains a dense network."""

    @property
    def workload(self) -> Workload:
        """See :class:`Work`, as what follows."""

    def run(self) -> None:
        """Make the workload's steps."""

    def parameters(self) -> Tensors:
        """What training has come to, named and laid out as in the four packages."""


class LayerTrainer(Protocol):
    """A work that trains a network of layers."""

    @property
    def workload(self) -> Workload:
        """See :class:`Work`, as what follows."""

    def run(self) -> None:
        """Make the workload's steps."""

    def first_cost(self) -> float:
        """The cost of the first batch of the data, by a trainer of one step at the initial parameters."""


class Products(Work[DenseWorkload]):
    """The matrix products of each step and nothing else: no step can be faster.

    Of layer ``l`` with inputs ``A: (m, n_in)`` and gradients ``D: (m, n_out)`` these are ``A W^T``, ``D^T A`` and, but
    for the first layer, ``D W``.
    """

    def operands(self) -> list[tuple[Array, Array, Array]]:
        """``(A, W, D)`` of every layer."""
        generator, rows = np.random.default_rng(2), self.workload.batch_size

        def drawn(*shape: int) -> Array:
            return generator.standard_normal(shape).astype(self.workload.dtype)

        return [(drawn(rows, i), drawn(o, i), drawn(rows, o)) for o, i in self.workload.weight_shapes]
