"""What an implementation offers to be tested.

An implementation is put under test by one class, its adapter, which makes sessions. A session holds one recipe's
model and optimizer in one precision on one device; its methods take and return NumPy arrays and do nothing but
convert and call. The adapters of the four packages stand beside this file.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn, Protocol, runtime_checkable

from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors


class Unsupported(Exception):
    """Raised by an adapter for a component or device that its implementation does not claim to have."""


class DeviceNotFound(Exception):
    """Raised by an adapter when the device asked for is not there; the message says what was found."""


class State(NamedTuple):
    """An optimizer's state: steps taken, and for each slot one array per parameter."""

    step: int
    slots: dict[str, Tensors]


class Training(NamedTuple):
    """What a session's ``fit`` returns: one value a step, and the parameters after each epoch asked for.

    ``validation_costs`` has one value an epoch, or none; ``best_epoch`` counts from 1, 0 without early stopping;
    ``statistics`` are the running averages that training ended with. ``checkpoint_slots`` and
    ``checkpoint_statistics`` are the optimizer's slots and the running averages after the epochs of ``checkpoints``;
    None where they are not offered. ``steps`` is what the optimizer's state counts at the end; None where that is not
    told.
    """

    costs: Array
    learning_rates: Array
    gradient_norms: Array
    parameters: Tensors
    slots: dict[str, Tensors]
    checkpoints: dict[int, Tensors]
    validation_costs: Array
    best_epoch: int
    statistics: Tensors
    checkpoint_slots: dict[int, dict[str, Tensors]] | None = None
    checkpoint_statistics: dict[int, Tensors] | None = None
    steps: int | None = None


class TrainingState(NamedTuple):
    """Parameters, optimizer state and batch norm's running averages before step ``step`` (counted from 1)."""

    step: int
    parameters: Tensors
    slots: dict[str, Tensors]
    statistics: Tensors


class Session:
    """One recipe in one implementation, precision and device. Tensors go by the reference's names.

    A base class: a method that is not overridden counts as not offered, and what needs it as unsupported. All else is
    compared all the same. Arguments are copies, which a method may change or keep; what it returns is copied at once,
    so that it may return the same buffers every time. What ``np.asarray`` makes an array of the right dtype and shape
    of is taken for it: a list of floats is a float64 array.

    ``masks``: dropout masks by layer, None for no dropout. ``statistics``: batch norm's running averages, {} for a
    model without; None means training, with the statistics of the batch. ``weights``: of the examples, or None.
    """

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        """Weights of ``shape = (n_out, n_in)`` from the recipe's initializer, by the implementation's own generator.

        In the working precision; another ``seed`` gives other weights.
        """
        self._not_offered("draw_weights")

    def standardize(self, train_x: Array, x: Array) -> Array:
        """``x`` standardised with the statistics of ``train_x``."""
        self._not_offered("standardize")

    def augment(self, x: Array, draws: list[Array]) -> Array:
        """``x`` after the recipe's augmentations, which drew ``draws`` for its examples."""
        self._not_offered("augment")

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        """Every pre-activation and activation."""
        self._not_offered("intermediates")

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        """``per_example (m,)``, ``data_loss``, ``penalty`` and ``cost``."""
        self._not_offered("losses")

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        """``cost`` and the gradients by parameter name, with ``A0`` that of the input."""
        self._not_offered("gradients")

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        """Batch norm's running averages after one training forward pass."""
        self._not_offered("running_statistics")

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        """Predicted labels ``(m,)``, or ``(m, k)`` for several yes-or-no outputs."""
        self._not_offered("predict_classes")

    def decision_margins(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array | None:
        """How far each decision of ``predict_classes`` is from another; the reference alone is asked, others say None.

        In the shape of the labels.
        """
        return None

    def clip(self, gradients: Tensors) -> Tensors:
        """The recipe's clipping; called only if it has one."""
        self._not_offered("clip")

    def constrain(self, parameters: Tensors) -> Tensors:
        """The recipe's constraint on parameters; called only if it has one."""
        self._not_offered("constrain")

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        """One step of the recipe's optimizer on parameters of any names, from ``state``."""
        self._not_offered("optimizer_step")

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        """The training as a user runs it, fed with the problem's tape; from ``start``, or from the beginning."""
        self._not_offered("fit")

    def another_session(self, problem: Problem) -> "Session":
        """A session of the same implementation, on the same device, for another problem."""
        self._not_offered("another_session")

    def initial_parameters(self, seed: int) -> Tensors:
        """Every parameter of the recipe's model before training, as a user has them initialized with a generator.

        Drawn by the implementation's own; another ``seed`` gives other weights, the same the same ones.
        """
        self._not_offered("initial_parameters")

    def fit_natively(self, problem: Problem, seed: int, checkpoint_epochs: tuple[int, ...]) -> Training:
        """``fit`` without the tape, but for its initial parameters and example weights.

        Batch order, dropout masks and augmentations are drawn by the implementation itself from ``seed``.
        """
        self._not_offered("fit_natively")

    def _not_offered(self, method: str) -> NoReturn:
        raise Unsupported(f"{type(self).__name__} does not offer {method}")


@runtime_checkable
class Adapter(Protocol):
    """Makes sessions. Its constructor takes the device (``cpu``, ``gpu``, ``tpu``) and raises DeviceNotFound."""

    device: str

    def __init__(self, device: str) -> None: ...

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries the implementation stands on; the first is its framework's."""

    def settings(self) -> Mapping[str, Any]:
        """Precision switches, threads and whatever else changes the last bits."""

    def session(self, problem: Problem) -> Session:
        """Build the recipe's model and optimizer. Raises Unsupported."""
