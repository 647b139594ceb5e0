"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

``fit`` evaluates them on plain integers, in Python's double precision, and hands the rates to the compiled step as
data. They are also optax schedules: an optimizer takes one in place of its learning rate, and then ``t`` is the step.
All raise ValueError for a negative or non-finite number.
"""

import math


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


SCHEDULES = {f.__name__: f for f in (constant, inverse_time, exponential)}


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")
