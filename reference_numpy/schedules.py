"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

Which of the two ``t`` is, is said to ``fit`` (``schedule_unit``), not here. Rates are in units of the parameter over
the gradient. All raise ValueError for a negative or non-finite number.
"""

import math


def constant(learning_rate):
    """``alpha_t = alpha_0``.

    >>> constant(0.1)(7)
    0.1
    """
    _check_not_negative("learning_rate", learning_rate)
    return lambda t: learning_rate


def inverse_time(learning_rate, *, decay_rate=1.0):
    """``alpha_t = alpha_0 / (1 + decay_rate t)``. Source: the course, course 2 week 2.

    >>> inverse_time(0.2, decay_rate=1.0)(3)
    0.05
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("decay_rate", decay_rate)
    return lambda t: learning_rate / (1.0 + decay_rate * t)


def exponential(learning_rate, *, base=0.95):
    """``alpha_t = alpha_0 base^t``. Source: the course, course 2 week 2.

    >>> exponential(8.0, base=0.5)(3)
    1.0
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("base", base)
    return lambda t: learning_rate * base**t


SCHEDULES = {f.__name__: f for f in (constant, inverse_time, exponential)}


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")
