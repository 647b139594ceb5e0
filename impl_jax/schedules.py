"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

``fit`` evaluates them on plain integers, in Python's double precision, and hands the rates to the compiled step as
data. They are also optax schedules: an optimizer takes one in place of its learning rate, and then ``t`` is the step,
perhaps a traced one. All raise ValueError for a negative or non-finite number.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ._common import check_fraction, check_not_negative, check_positive_integer

Schedule = Callable[[Any], Any]  # of a number, a number; of an array of JAX, an array


def constant(learning_rate: float) -> Schedule:
    """``alpha_t = alpha_0``: ``optax.constant_schedule``."""
    check_not_negative("learning_rate", learning_rate)
    return lambda t: learning_rate


def inverse_time(learning_rate: float, *, decay_rate: float = 1.0) -> Schedule:
    """``alpha_t = alpha_0 / (1 + decay_rate t)``; optax has none of this form."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("decay_rate", decay_rate)
    return lambda t: learning_rate / (1.0 + decay_rate * t)


def exponential(learning_rate: float, *, base: float = 0.95) -> Schedule:
    """``alpha_t = alpha_0 base^t``: ``optax.exponential_decay`` with ``transition_steps=1``."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("base", base)
    return lambda t: learning_rate * base**t


def inverse_sqrt(learning_rate: float, *, k: float = 1.0) -> Schedule:
    """``alpha_t = k alpha_0 / sqrt(t + 1)``; optax has none of this form."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("k", k)
    return lambda t: k * learning_rate / (jnp.sqrt(t + 1.0) if _on_device(t) else math.sqrt(t + 1))


def staircase(learning_rate: float, *, factor: float = 0.5, every: int = 10) -> Schedule:
    """``alpha_t = alpha_0 factor^floor(t / every)``: ``optax.exponential_decay`` with ``staircase=True``.

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

    ``optax.piecewise_constant_schedule`` changes at the same ``t``, but multiplies its factors. Raises ValueError also
    unless ``boundaries`` are increasing integers, one for each factor.
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
    pieces = (1.0, *factors)

    def rate(t: Any) -> Any:
        piece = sum(t >= boundary for boundary in boundaries)
        return learning_rate * (jnp.array(pieces)[piece] if _on_device(t) else pieces[piece])

    return rate


def cosine(learning_rate: float, *, steps: int = 100, final: float = 0.0) -> Schedule:
    """``alpha_t = alpha_0 (final + (1 - final) (1 + cos(pi min(t, steps) / steps)) / 2)``: it stays at its end.

    ``optax.cosine_decay_schedule`` with ``alpha=final``. Raises ValueError also unless ``steps`` is a positive integer
    and ``final`` in [0, 1].
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("steps", steps)
    check_fraction("final", final)

    def rate(t: Any) -> Any:
        angle = math.pi * (jnp.minimum(t, steps) if _on_device(t) else min(t, steps)) / steps
        return learning_rate * (final + (1 - final) * (1 + (jnp if _on_device(t) else math).cos(angle)) / 2)

    return rate


def warmup(
    learning_rate: float,
    *,
    steps: int = 10,
    start: float = 0.0,
    after: str = "constant",
    after_options: dict[str, Any] | None = None,
) -> Schedule:
    """Linear warm-up, then any other schedule: ``alpha_t = alpha_0 (start + (1 - start) t / steps)`` for ``t < steps``,
    then ``after(alpha_0, **after_options)`` at ``t - steps``: ``optax.join_schedules``.

    ``start`` is a fraction of ``alpha_0``; ``after`` a name in ``SCHEDULES``. Raises ValueError also unless ``steps``
    is a positive integer, ``start`` in [0, 1] and ``after`` known.
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("steps", steps)
    check_fraction("start", start)
    if after not in SCHEDULES:
        raise ValueError(f"after={after!r} is not allowed: must be one of {', '.join(map(repr, SCHEDULES))}")
    then = SCHEDULES[after](learning_rate, **(after_options or {}))

    def rise(t: Any) -> Any:
        return learning_rate * (start + (1 - start) * t / steps)

    def rate(t: Any) -> Any:
        if _on_device(t):
            return jnp.where(t < steps, rise(t), then(jnp.maximum(t - steps, 0)))
        return rise(t) if t < steps else then(t - steps)

    return rate


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    f.__name__: f for f in (constant, inverse_time, exponential, inverse_sqrt, staircase, piecewise, cosine, warmup)
}


def _on_device(t: Any) -> bool:
    """Whether ``t`` is an array of JAX, perhaps a traced one, and not a number that Python can compute with."""
    return isinstance(t, jax.Array)
