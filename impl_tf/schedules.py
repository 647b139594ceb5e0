"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

They are plain functions of Python numbers, evaluated outside the graph in double precision; ``fit`` hands the rates
to the compiled epoch as data. (Keras's ``LearningRateSchedule`` is evaluated in float32, inside the graph.)
"""

import math


def constant(learning_rate):
    """``alpha_t = alpha_0``."""
    _check_not_negative("learning_rate", learning_rate)
    return lambda t: learning_rate


def inverse_time(learning_rate, *, decay_rate=1.0):
    """``alpha_t = alpha_0 / (1 + decay_rate t)``."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("decay_rate", decay_rate)
    return lambda t: learning_rate / (1.0 + decay_rate * t)


def exponential(learning_rate, *, base=0.95):
    """``alpha_t = alpha_0 base^t``."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("base", base)
    return lambda t: learning_rate * base**t


SCHEDULES = {f.__name__: f for f in (constant, inverse_time, exponential)}


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")
