"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

Which of the two ``t`` is, is said to ``training.Update`` (``schedule_unit``), not here. Rates are in units of the
parameter over the gradient. All raise ValueError for a negative or non-finite number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._common import check_choice, check_fraction, check_not_negative, check_positive_integer

Schedule = Callable[[int], float]


def constant(learning_rate: float) -> Schedule:
    """``alpha_t = alpha_0``.

    >>> constant(0.1)(7)
    0.1
    """
    check_not_negative("learning_rate", learning_rate)
    return lambda t: learning_rate


def inverse_time(learning_rate: float, *, decay_rate: float = 1.0) -> Schedule:
    """``alpha_t = alpha_0 / (1 + decay_rate t)``. Source: the course, course 2 week 2.

    >>> inverse_time(0.2, decay_rate=1.0)(3)
    0.05
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("decay_rate", decay_rate)
    return lambda t: learning_rate / (1.0 + decay_rate * t)


def exponential(learning_rate: float, *, base: float = 0.95) -> Schedule:
    """``alpha_t = alpha_0 base^t``. Source: the course, course 2 week 2.

    >>> exponential(8.0, base=0.5)(3)
    1.0
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("base", base)
    return lambda t: learning_rate * base**t


def inverse_sqrt(learning_rate: float, *, k: float = 1.0) -> Schedule:
    """``alpha_t = k alpha_0 / sqrt(t + 1)``: the course counts epochs from 1 here. Source: the course, course 2 week 2.

    >>> inverse_sqrt(1.0, k=0.5)(3)
    0.25
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("k", k)
    return lambda t: k * learning_rate / math.sqrt(t + 1)


def staircase(learning_rate: float, *, factor: float = 0.5, every: int = 10) -> Schedule:
    """``alpha_t = alpha_0 factor^floor(t / every)``. Source: the course, course 2 week 2 ("discrete staircase").

    Raises ValueError also unless ``every`` is a positive integer.

    >>> staircase(1.0, factor=0.5, every=2)(5)
    0.25
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("factor", factor)
    check_positive_integer("every", every)
    return lambda t: learning_rate * factor ** (t // every)


def piecewise(
    learning_rate: float, *, boundaries: Sequence[int] = (10, 20), factors: Sequence[float] = (0.5, 0.1)
) -> Schedule:
    """``alpha_t = alpha_0``, and from ``t = boundaries[i]`` on ``alpha_0 factors[i]`` (not their product).

    The new rate is that of ``t = boundaries[i]`` itself, as in PyTorch and optax; Keras's comes one later. Raises
    ValueError also unless ``boundaries`` are increasing integers, one for each factor.

    >>> [piecewise(1.0, boundaries=(1, 2), factors=(0.5, 0.1))(t) for t in range(4)]
    [1.0, 0.5, 0.1, 0.1]
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
    """``alpha_t = alpha_0 (final + (1 - final) (1 + cos(pi min(t, steps) / steps)) / 2)``: it stays at its end.

    ``final`` is a fraction of ``alpha_0``. Raises ValueError also unless ``steps`` is a positive integer and ``final``
    in [0, 1]. Source: Loshchilov & Hutter 2017, eq. 5, without restarts. (PyTorch's rises again after ``steps``.)

    >>> [cosine(1.0, steps=2)(t) for t in (0, 1, 2, 3)]
    [1.0, 0.5, 0.0, 0.0]
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
    """Linear warm-up, then any other schedule: ``alpha_t = alpha_0 (start + (1 - start) t / steps)`` for ``t < steps``,
    then ``after(alpha_0, **after_options)`` at ``t - steps``.

    ``start`` is a fraction of ``alpha_0``; ``after`` a name in ``SCHEDULES``. Raises ValueError also unless ``steps``
    is a positive integer, ``start`` in [0, 1] and ``after`` known. Source: Goyal et al. 2017, section 2.2.

    >>> rate = warmup(1.0, steps=2, after="exponential", after_options={"base": 0.5})
    >>> [rate(t) for t in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.25]
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("steps", steps)
    check_fraction("start", start)
    check_choice("after", after, tuple(SCHEDULES))
    then = SCHEDULES[after](learning_rate, **(after_options or {}))
    return lambda t: learning_rate * (start + (1 - start) * t / steps) if t < steps else then(t - steps)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    f.__name__: f for f in (constant, inverse_time, exponential, inverse_sqrt, staircase, piecewise, cosine, warmup)
}
