"""What a package needs and is no formula: checks of arguments, names of layers and their paths, early stopping.

This file needs no framework. It reads the same in each of the four packages; a test holds the copies equal.
"""

import math
from collections.abc import Collection, Mapping
from numbers import Integral
from typing import Any


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


def check_training(
    *,
    inputs: int,
    targets: int,
    depth: int,
    reduction: str,
    schedule_unit: str,
    epochs: Any,
    batch_size: Any,
    frozen_layers: Any,
    frozen_biases: Any,
    stops_early: bool,
    validates: bool,
) -> None:
    """Raise ValueError for arguments of ``fit`` that do not fit; ``inputs`` and ``targets`` are numbers of examples."""
    if inputs == 0 or inputs != targets:
        raise ValueError(f"x has {inputs} examples, y {targets}: must be the same number, at least one")
    check_choice("reduction", reduction, ("mean", "sum"))
    if schedule_unit not in ("epoch", "step"):
        raise ValueError(f"schedule_unit={schedule_unit!r} is not allowed: must be 'epoch' or 'step'")
    check_positive_integer("epochs", epochs)
    if batch_size is not None and not (_is_integer(batch_size) and batch_size >= 1):
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")
    if frozen_layers not in range(depth):
        raise ValueError(f"frozen_layers={frozen_layers!r} is not allowed: must be in 0 .. {depth - 1}")
    check_choice("frozen_biases", frozen_biases, (False, True))
    if stops_early and not validates:
        raise ValueError("validation=None is not allowed with early_stopping: must be (x, y)")


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


def check_trained(trained: Collection[str], frozen_layers: int) -> None:
    """Raise ValueError if training changes no parameter; ``trained``: the names of those that it does."""
    if not trained:
        raise ValueError(f"frozen_layers={frozen_layers!r} is not allowed: it leaves no parameter to train")


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


def _is_integer(value: Any) -> bool:
    """Whether it is a whole number, of Python or of NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """As a float; what is no number is NaN, which is in no range."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
