"""What an implementation must offer to be tested, and how implementations are found.

An implementation is put under test by one class, its adapter, which makes sessions. A session holds one recipe's
model and optimizer in one precision on one device; its methods take and return NumPy arrays and do nothing but
convert and call. The adapters of the four packages are in ``conformance/adapters``. From outside this project an
implementation is added by an entry point in the group ``conformance.implementations``, or named on the command line
as ``package.module:Class``.
"""

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol, runtime_checkable

from conformance.problems.problem import Array, Masks, Problem, Tensors

OWN = ("numpy", "torch", "tf", "jax")
ENTRY_POINTS = "conformance.implementations"


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
    ``statistics`` are the running averages that training ended with.
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


class Session(Protocol):
    """One recipe in one implementation, precision and device. Tensors go by the reference's names.

    ``masks``: dropout masks by layer, None for no dropout. ``statistics``: batch norm's running averages, {} for a
    model without; None means training, with the statistics of the batch. ``weights``: of the examples, or None.
    """

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        """Weights of ``shape = (n_out, n_in)`` from the recipe's initializer, by the implementation's own generator.

        In the working precision; another ``seed`` gives other weights. Raises Unsupported for an implementation that
        has no initializers; a session without this method counts as one that raises it.
        """

    def standardize(self, train_x: Array, x: Array) -> Array:
        """``x`` standardised with the statistics of ``train_x``."""

    def augment(self, x: Array, draws: list[Array]) -> Array:
        """``x`` after the recipe's augmentations, which drew ``draws`` for its examples."""

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        """Every pre-activation and activation."""

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        """``per_example (m,)``, ``data_loss``, ``penalty`` and ``cost``."""

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        """``cost`` and the gradients by parameter name, with ``A0`` that of the input."""

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        """Batch norm's running averages after one training forward pass."""

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        """Predicted labels ``(m,)``, or ``(m, k)`` for several yes-or-no outputs."""

    def clip(self, gradients: Tensors) -> Tensors:
        """The recipe's clipping; called only if it has one."""

    def constrain(self, parameters: Tensors) -> Tensors:
        """The recipe's constraint on parameters; called only if it has one."""

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        """One step of the recipe's optimizer on parameters of any names, from ``state``."""

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...]) -> Training:
        """The training as a user runs it, fed with the problem's tape."""


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


def available() -> dict[str, str]:
    """Implementations by name, each as ``module:Class``: the project's own and those of installed entry points."""
    own = {name: f"conformance.adapters.{name}:{name.capitalize()}Adapter" for name in OWN}
    return own | {point.name: point.value for point in entry_points(group=ENTRY_POINTS) if point.name not in own}


def resolve(name: str) -> str:
    """The ``module:Class`` of an implementation named on the command line. Raises ValueError for an unknown name."""
    if name in available():
        return available()[name]
    if ":" in name:
        return name
    raise ValueError(
        f"implementation={name!r} is not allowed: must be one of {', '.join(available())}, or package.module:Class"
    )


def load(target: str) -> type[Adapter]:
    """Import an adapter class from ``module:Class``. Raises ValueError if there is none."""
    module, _, attribute = target.partition(":")
    try:
        adapter = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        own = module.removeprefix("conformance.adapters.")
        hint = f" (pip install 'framework-conformance[{own}]')" if own in OWN else ""
        raise ValueError(f"implementation {target!r} cannot be loaded: {error}{hint}") from error
    missing = [name for name in ("versions", "settings", "session") if not callable(getattr(adapter, name, None))]
    if missing:
        raise ValueError(f"implementation {target!r} lacks {', '.join(missing)}: see conformance/adapters/session.py")
    found: type[Adapter] = adapter
    return found
