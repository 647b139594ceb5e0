"""What a package needs and is no formula: checks of arguments, names of layers and paths, what a training is made of.

This file needs no framework. It reads the same in each of the four packages; a test holds the copies equal.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, NamedTuple


def check_not_negative(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number >= 0."""
    if not 0 <= _number(value) < math.inf:
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number > 0."""
    if not 0 < _number(value) < math.inf:
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number > 0")


def check_finite(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number."""
    if not math.isfinite(_number(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number")


def check_decay(name: str, value: Any) -> None:
    """Raise ValueError unless ``0 <= value < 1``."""
    if not 0 <= _number(value) < 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1)")


def check_fraction(name: str, value: Any) -> None:
    """Raise ValueError unless ``0 <= value <= 1``."""
    if not 0 <= _number(value) <= 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1]")


def check_keep_probability(value: Any) -> None:
    """Raise ValueError unless ``0 < value <= 1``."""
    if not 0 < _number(value) <= 1:
        raise ValueError(f"keep_probability={value!r} is not allowed: must be in (0, 1]")


def check_positive_integer(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is an integer >= 1."""
    if not (_is_integer(value) and value >= 1):
        raise ValueError(f"{name}={value!r} is not allowed: must be an integer >= 1")


def check_choice(name: str, value: Any, allowed: Collection[Any]) -> None:
    """Raise ValueError unless ``value`` is among ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")


def check_flags(**flags: Any) -> None:
    """Raise ValueError unless all are True or False."""
    for name, value in flags.items():
        check_choice(name, value, (False, True))


def check_permutation(name: str, value: Any, letters: str) -> None:
    """Raise ValueError unless ``value`` has each of the letters once."""
    if not isinstance(value, str) or sorted(value) != sorted(letters):
        raise ValueError(f"{name}={value!r} is not allowed: must be the letters of {letters!r} in any order")


def check_sizes(name: str, value: Any, lengths: Collection[int], must: str, *, least: int = 1) -> tuple[int, ...]:
    """As a tuple. Raises ValueError unless a tuple of an allowed length, of integers that are ``least`` or more."""
    whole = isinstance(value, tuple) and all(_is_integer(size) and size >= least for size in value)
    if not whole or len(value) not in lengths:
        raise ValueError(f"{name}={value!r} is not allowed: must be {must}")
    return tuple(map(int, value))


def check_layer_sizes(layer_sizes: Any) -> tuple[int, ...]:
    """The sizes as a tuple. Raises ValueError unless they are two or more positive integers."""
    sizes = tuple(layer_sizes)
    if len(sizes) < 2 or not all(_is_integer(size) and size > 0 for size in sizes):
        raise ValueError(f"layer_sizes={layer_sizes!r} is not allowed: must be two or more positive integers")
    return tuple(map(int, sizes))


def check_image_shape(shape: Any) -> tuple[int, ...]:
    """The shape as a tuple. Raises ValueError unless it is ``(h, w)`` or ``(h, w, channels)``."""
    if len(shape) not in (2, 3) or not all(_is_integer(size) and size > 0 for size in shape):
        raise ValueError(f"image_shape={shape!r} is not allowed: must be (h, w) or (h, w, channels), positive integers")
    return tuple(map(int, shape))


def check_training(*, inputs: int, targets: int, epochs: Any, batch_size: Any) -> None:
    """Raise ValueError for arguments of ``fit`` that do not fit; ``inputs`` and ``targets`` are numbers of examples."""
    if inputs == 0 or inputs != targets:
        raise ValueError(f"x has {inputs} examples, y {targets}: must be the same number, at least one")
    check_positive_integer("epochs", epochs)
    if batch_size is not None and not (_is_integer(batch_size) and batch_size >= 1):
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")


def check_state(what: str, given: Any, expected: dict[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless the arrays of ``given`` have the names and shapes ``expected``; ``what`` they are of."""
    for name, shape in expected.items():
        if name not in given:
            raise ValueError(f"{what} has no {name!r}: must hold {', '.join(expected)}")
        if tuple(given[name].shape) != tuple(shape):
            raise ValueError(f"{what} {name!r} has shape {tuple(given[name].shape)}: must be {tuple(shape)}")


def check_optimizer_state(step: Any, slots: Any, expected: dict[str, dict[str, tuple[int, ...]]]) -> None:
    """Raise ValueError unless a state to go on from has a step count and the slots, names and shapes ``expected``."""
    if not (_is_integer(step) and step >= 0):
        raise ValueError(f"optimizer_state.step={step!r} is not allowed: must be an integer >= 0")
    for slot, shapes in expected.items():
        if slot not in slots:
            raise ValueError(f"optimizer_state has no slot {slot!r}: must hold {', '.join(expected)}")
        check_state(f"optimizer_state, slot {slot!r},", slots[slot], shapes)


def check_parameters(given: Any, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless ``given`` has parameters of these names and shapes, and no others."""
    check_state("parameters", given, dict(expected))
    for name in given:
        if name not in expected:
            raise ValueError(f"parameters has {name!r}, which the model has not: must hold {', '.join(expected)}")


def layer_of(name: str) -> int:
    """The layer that a parameter belongs to: 12 for ``"gamma12"``, 3 for ``"3.W"``."""
    return int(name.partition(".")[0].lstrip("Wbgamet"))


def own_name(name: str) -> str:
    """The name of a parameter within its layer: ``"W"`` for ``"W12"``, ``"b_h"`` for ``"3.1.b_h"``."""
    return name.rpartition(".")[2].rstrip("0123456789")


def is_weight(name: str) -> bool:
    """Whether a parameter is weights, which penalties and norms' limits are of: ``"W12"``, ``"3.W"``, ``"3.W_q"``."""
    return own_name(name).startswith(("W", "U"))


def is_trained(name: str, frozen_layers: int, frozen_biases: bool) -> bool:
    """Whether training changes a parameter: not those of the first ``frozen_layers`` layers, nor frozen biases."""
    is_bias = own_name(name) == "b" or own_name(name).startswith("b_")
    return layer_of(name) > frozen_layers and not (frozen_biases and is_bias)


def inside(arrays: Any, part: int | str) -> Any:
    """What belongs to ``part`` of a network, by its path within: ``{"3.W": w}`` as ``{"W": w}`` for 3; None stays None.

    The part ``""`` is the whole.
    """
    if arrays is None or part == "":
        return arrays
    prefix = f"{part}."
    return {path.removeprefix(prefix): array for path, array in arrays.items() if path.startswith(prefix)}


def named(arrays: Mapping[str, Any], part: int | str) -> dict[str, Any]:
    """The other way round: ``{"W": w}`` as ``{"3.W": w}`` for 3."""
    return {path if part == "" else f"{part}.{path}": array for path, array in arrays.items()}


class EarlyStopping:
    """Decides after each epoch whether to go on; made by ``early_stopping``. ``best_epoch`` counts from 1."""

    def __init__(self, patience: int, min_delta: float, restore_best: bool) -> None:
        self.patience, self.min_delta, self.restore_best = patience, min_delta, restore_best
        self.best_cost, self.best_epoch, self.epoch = math.inf, 0, 0

    def improved(self, cost: float) -> bool:
        """Take in the validation cost of the next epoch; is it the best by more than ``min_delta``?"""
        self.epoch += 1
        if not cost < self.best_cost - self.min_delta:
            return False
        self.best_cost, self.best_epoch = cost, self.epoch
        return True

    @property
    def stop(self) -> bool:
        """Whether ``patience`` epochs have gone by since the best one."""
        return self.epoch - self.best_epoch >= self.patience


@dataclass(frozen=True)
class Objective:
    """What training makes smaller: the mean (or the sum) of the examples' losses, plus penalties of the weights.

    ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its keywords; ``reduction``: ``"mean"`` or ``"sum"`` of the
    examples' losses; ``penalties``: of ``regularizers``. Raises ValueError for an unknown reduction.
    """

    loss: str
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    reduction: str = "mean"
    penalties: Sequence[Any] = ()

    def __post_init__(self) -> None:
        check_choice("reduction", self.reduction, ("mean", "sum"))

    @classmethod
    def of(cls, loss: "str | Objective") -> "Objective":
        """An objective as it is; that of a loss by its name: the mean of it, without penalties."""
        return loss if isinstance(loss, cls) else cls(str(loss))


@dataclass(frozen=True)
class Update:
    """How a step changes the parameters: by an ``optimizer``, and by what is done before and after it.

    ``schedule`` gives ``fit`` the learning rate by epoch or by step (``schedule_unit``), both counted from 0; None
    keeps the optimizer's. ``clipping`` is of the gradients, ``constraint`` of the parameters after the step; both are
    made in ``regularizers``. The first ``frozen_layers`` layers and, with ``frozen_biases``, all biases stay as they
    are. Raises ValueError for an unknown unit, or ``frozen_biases`` that is no bool.
    """

    optimizer: Any
    schedule: Callable[[int], float] | None = None
    schedule_unit: str = "epoch"
    clipping: Callable[[Any], Any] | None = None
    constraint: Callable[[Any], Any] | None = None
    frozen_layers: int = 0
    frozen_biases: bool = False

    def __post_init__(self) -> None:
        check_choice("schedule_unit", self.schedule_unit, ("epoch", "step"))
        check_choice("frozen_biases", self.frozen_biases, (False, True))

    @classmethod
    def of(cls, optimizer: Any) -> "Update":
        """An update as it is; that of an optimizer: by it alone."""
        return optimizer if isinstance(optimizer, cls) else cls(optimizer)

    def trained(self, parameters: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Those of a model's ``parameters`` that training changes; ``depth`` is the number of its layers.

        Raises ValueError if ``frozen_layers`` is out of range, or leaves nothing to train.
        """
        if self.frozen_layers not in range(depth):
            raise ValueError(f"frozen_layers={self.frozen_layers!r} is not allowed: must be in 0 .. {depth - 1}")
        trained = {n: w for n, w in parameters.items() if is_trained(n, self.frozen_layers, self.frozen_biases)}
        if not trained:
            raise ValueError(f"frozen_layers={self.frozen_layers!r} is not allowed: it leaves no parameter to train")
        return trained

    def without_schedule(self) -> "Update":
        """The same of single steps, whose rates are data of theirs."""
        return replace(self, schedule=None, schedule_unit="epoch")

    def check_rate(self, learning_rate: Any) -> None:
        """Raise ValueError if a single step is asked for, without a rate, of an update whose rate is by a schedule."""
        if self.schedule is not None and learning_rate is None:
            raise ValueError(
                "learning_rate=None is not allowed with a schedule: must be its rate, which counts epochs or steps"
            )


@dataclass(frozen=True)
class Tape:
    """What would be drawn, recorded: row ``e`` of each array is of epoch ``e``. What is None is drawn after all.

    ``batch_order: (epochs, m)`` is the order of the examples. ``dropout_masks`` are ``(epochs, m, n_l)`` by layer, or
    ``(epochs, m, ...)`` by path, and row ``k`` belongs to the ``k``-th example visited; of the same order are
    ``augmentation_draws``, one array ``(epochs, m, ...)`` for each augmentation.
    """

    batch_order: Any = None
    dropout_masks: Mapping[Any, Any] | None = None
    augmentation_draws: Sequence[Any] | None = None


@dataclass(frozen=True)
class Sampling:
    """How examples come to ``fit``: in an order and with masks that are drawn from ``seed``, or stand on a ``tape``.

    ``augmentations``, of ``regularizers``, change the inputs of every batch; ``example_weights: (m,)`` go with the
    examples, in the order of the data.
    """

    seed: int = 0
    augmentations: Sequence[Any] = ()
    example_weights: Any = None
    tape: Tape = field(default_factory=Tape)


@dataclass(frozen=True)
class Monitor:
    """What is looked at after every epoch, and what is kept of it.

    ``validation=(x, y)`` gives a cost, without penalties and in inference mode. ``early_stopping``, of
    ``regularizers``, listens to it: a fresh one for every training. After ``checkpoint_epochs``, which count from 1,
    parameters are kept. Raises ValueError for ``early_stopping`` without ``validation``.
    """

    validation: tuple[Any, Any] | None = None
    early_stopping: EarlyStopping | None = None
    checkpoint_epochs: Collection[int] = ()

    def __post_init__(self) -> None:
        if self.early_stopping is not None and self.validation is None:
            raise ValueError("validation=None is not allowed with early_stopping: must be (x, y)")


class Progress(NamedTuple):
    """Where a training was, beside its parameters: what ``resume`` takes. A history is one too.

    Without an ``optimizer_state`` or ``statistics`` (batch norm's running averages) these begin afresh.
    """

    optimizer_state: Any = None
    statistics: Any = None


class Step(NamedTuple):
    """What a step tells: the batch's cost before the update, and the norm of its gradient before clipping."""

    cost: Any
    gradient_norm: Any


def _is_integer(value: Any) -> bool:
    """Whether it is a whole number, of Python or of NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """As a float; what is no number is NaN, which is in no range."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
