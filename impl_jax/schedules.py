"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

``fit`` evaluates them on plain integers, in Python's double precision, and hands the rates to the compiled step as
data. They are also optax schedules: an optimizer takes one in place of its learning rate, and then ``t`` is the step,
perhaps a traced one. All raise ValueError for a negative or non-finite number.
"""

import math

import jax
import jax.numpy as jnp


def constant(learning_rate):
    """``alpha_t = alpha_0``: ``optax.constant_schedule``."""
    _check_not_negative("learning_rate", learning_rate)
    return lambda t: learning_rate


def inverse_time(learning_rate, *, decay_rate=1.0):
    """``alpha_t = alpha_0 / (1 + decay_rate t)``; optax has none of this form."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("decay_rate", decay_rate)
    return lambda t: learning_rate / (1.0 + decay_rate * t)


def exponential(learning_rate, *, base=0.95):
    """``alpha_t = alpha_0 base^t``: ``optax.exponential_decay`` with ``transition_steps=1``."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("base", base)
    return lambda t: learning_rate * base**t


def inverse_sqrt(learning_rate, *, k=1.0):
    """``alpha_t = k alpha_0 / sqrt(t + 1)``; optax has none of this form."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("k", k)
    return lambda t: k * learning_rate / (jnp.sqrt(t + 1.0) if _on_device(t) else math.sqrt(t + 1))


def staircase(learning_rate, *, factor=0.5, every=10):
    """``alpha_t = alpha_0 factor^floor(t / every)``: ``optax.exponential_decay`` with ``staircase=True``.

    Raises ValueError also unless ``every`` is a positive integer.
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("factor", factor)
    _check_positive_integer("every", every)
    return lambda t: learning_rate * factor ** (t // every)


def piecewise(learning_rate, *, boundaries=(10, 20), factors=(0.5, 0.1)):
    """``alpha_t = alpha_0``, and from ``t = boundaries[i]`` on ``alpha_0 factors[i]`` (not their product).

    ``optax.piecewise_constant_schedule`` changes at the same ``t``, but multiplies its factors. Raises ValueError also
    unless ``boundaries`` are increasing integers, one for each factor.
    """
    _check_not_negative("learning_rate", learning_rate)
    boundaries, factors = tuple(boundaries), tuple(factors)
    for factor in factors:
        _check_not_negative("factors", factor)
    increasing = all(a < b for a, b in zip((0, *boundaries), boundaries, strict=False))
    if not (increasing and all(isinstance(b, int) for b in boundaries) and len(boundaries) == len(factors)):
        raise ValueError(
            f"boundaries={boundaries!r} is not allowed: must be increasing integers >= 1, one for each of factors"
        )
    pieces = (1.0, *factors)

    def rate(t):
        piece = sum(t >= boundary for boundary in boundaries)
        return learning_rate * (jnp.array(pieces)[piece] if _on_device(t) else pieces[piece])

    return rate


def cosine(learning_rate, *, steps=100, final=0.0):
    """``alpha_t = alpha_0 (final + (1 - final) (1 + cos(pi min(t, steps) / steps)) / 2)``: it stays at its end.

    ``optax.cosine_decay_schedule`` with ``alpha=final``. Raises ValueError also unless ``steps`` is a positive integer
    and ``final`` in [0, 1].
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_positive_integer("steps", steps)
    _check_fraction("final", final)

    def rate(t):
        angle = math.pi * (jnp.minimum(t, steps) if _on_device(t) else min(t, steps)) / steps
        return learning_rate * (final + (1 - final) * (1 + (jnp if _on_device(t) else math).cos(angle)) / 2)

    return rate


def warmup(learning_rate, *, steps=10, start=0.0, after="constant", after_options=None):
    """Linear warm-up, then any other schedule: ``alpha_t = alpha_0 (start + (1 - start) t / steps)`` for ``t < steps``,
    then ``after(alpha_0, **after_options)`` at ``t - steps``: ``optax.join_schedules``.

    ``start`` is a fraction of ``alpha_0``; ``after`` a name in ``SCHEDULES``. Raises ValueError also unless ``steps``
    is a positive integer, ``start`` in [0, 1] and ``after`` known.
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_positive_integer("steps", steps)
    _check_fraction("start", start)
    if after not in SCHEDULES:
        raise ValueError(f"after={after!r} is not allowed: must be one of {', '.join(map(repr, SCHEDULES))}")
    then = SCHEDULES[after](learning_rate, **(after_options or {}))

    def rise(t):
        return learning_rate * (start + (1 - start) * t / steps)

    def rate(t):
        if _on_device(t):
            return jnp.where(t < steps, rise(t), then(jnp.maximum(t - steps, 0)))
        return rise(t) if t < steps else then(t - steps)

    return rate


SCHEDULES = {
    f.__name__: f for f in (constant, inverse_time, exponential, inverse_sqrt, staircase, piecewise, cosine, warmup)
}


def _on_device(t):
    """Whether ``t`` is an array of JAX, perhaps a traced one, and not a number that Python can compute with."""
    return isinstance(t, jax.Array)


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")


def _check_positive_integer(name, value):
    if not (isinstance(value, int) and value >= 1):
        raise ValueError(f"{name}={value!r} is not allowed: must be an integer >= 1")


def _check_fraction(name, value):
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1]")
