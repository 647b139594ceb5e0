"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

Plain Python numbers, evaluated on the host: ``fit`` writes ``rate(t)`` into the optimizer's parameter groups. For
PyTorch's own loop, ``torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(1.0))`` makes a scheduler of any of them.
All raise ValueError for a negative or non-finite number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._common import check_choice, check_fraction, check_not_negative, check_positive_integer

Schedule = Callable[[int], float]


def constant(learning_rate: float) -> Schedule:
    """``alpha_t = alpha_0``."""
    check_not_negative("learning_rate", learning_rate)
    return lambda t: learning_rate


def inverse_time(learning_rate: float, *, decay_rate: float = 1.0) -> Schedule:
    """``alpha_t = alpha_0 / (1 + decay_rate t)``; PyTorch has no scheduler of this form."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("decay_rate", decay_rate)
    return lambda t: learning_rate / (1.0 + decay_rate * t)


def exponential(learning_rate: float, *, base: float = 0.95) -> Schedule:
    """``alpha_t = alpha_0 base^t``; ``lr_scheduler.ExponentialLR`` multiplies step by step and rounds differently."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("base", base)
    return lambda t: learning_rate * base**t


def inverse_sqrt(learning_rate: float, *, k: float = 1.0) -> Schedule:
    """``alpha_t = k alpha_0 / sqrt(t + 1)``."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("k", k)
    return lambda t: k * learning_rate / math.sqrt(t + 1)


def staircase(learning_rate: float, *, factor: float = 0.5, every: int = 10) -> Schedule:
    """``alpha_t = alpha_0 factor^floor(t / every)``, as ``lr_scheduler.StepLR``.

    Raises ValueError also unless ``every`` is a positive integer.
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("factor", factor)
    check_positive_integer("every", every)
    return lambda t: learning_rate * factor ** (t // every)


def piecewise(
    learning_rate: float, *, boundaries: Sequence[int] = (10, 20), factors: Sequence[float] = (0.5, 0.1)
) -> Schedule:
    """``alpha_t = alpha_0``, and from ``t = boundaries[i]`` on ``alpha_0 factors[i]`` (not their product).

    ``lr_scheduler.MultiStepLR`` has one factor and takes its powers. Raises ValueError also unless ``boundaries`` are
    increasing integers, one for each factor.
    """
    check_not_negative("learning_rate", learning_rate)
    boundaries, factors = tuple(boundaries), tuple(factors)
    for factor in factors:
        check_not_negative("factors", factor)
    increasing = all(a < b for a, b in zip((0, *boundaries), boundaries, strict=False))
    if not (increasing and all(isinstance(b, int) for b in boundaries) and len(boundaries) == len(factors)):
        raise ValueError(
            f"boundaries={boundaries!r} is not allowed: must be increasing integers >= 1, one for each of factors"
        )
    return lambda t: learning_rate * ((1.0, *factors)[sum(t >= boundary for boundary in boundaries)])


def cosine(learning_rate: float, *, steps: int = 100, final: float = 0.0) -> Schedule:
    """``alpha_t = alpha_0 (final + (1 - final) (1 + cos(pi min(t, steps) / steps)) / 2)``.

    ``lr_scheduler.CosineAnnealingLR`` rises again after ``steps``. Raises ValueError also unless ``steps`` is a
    positive integer and ``final`` in [0, 1].
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("steps", steps)
    check_fraction("final", final)
    return lambda t: learning_rate * (final + (1 - final) * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2)


def warmup(
    learning_rate: float,
    *,
    steps: int = 10,
    start: float = 0.0,
    after: str = "constant",
    after_options: Mapping[str, Any] | None = None,
) -> Schedule:
    """``alpha_t = alpha_0 (start + (1 - start) t / steps)`` for ``t < steps``, then ``after`` at ``t - steps``.

    ``after`` is a name in ``SCHEDULES``, ``after_options`` its keywords. Raises ValueError also unless ``steps`` is a
    positive integer, ``start`` in [0, 1] and ``after`` known.
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("steps", steps)
    check_fraction("start", start)
    check_choice("after", after, SCHEDULES)
    then = SCHEDULES[after](learning_rate, **(after_options or {}))
    return lambda t: learning_rate * (start + (1 - start) * t / steps) if t < steps else then(t - steps)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    f.__name__: f for f in (constant, inverse_time, exponential, inverse_sqrt, staircase, piecewise, cosine, warmup)
}
