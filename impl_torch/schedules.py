"""Learning-rate schedules: each returns ``rate(t)``, with ``t`` the epoch or the step, counted from 0.

Plain Python numbers, evaluated on the host: ``fit`` writes ``rate(t)`` into the optimizer's parameter groups. For
PyTorch's own loop, ``torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(1.0))`` makes a scheduler of any of them.
All raise ValueError for a negative or non-finite number.
"""

import math


def constant(learning_rate):
    """``alpha_t = alpha_0``."""
    _check_not_negative("learning_rate", learning_rate)
    return lambda t: learning_rate


def inverse_time(learning_rate, *, decay_rate=1.0):
    """``alpha_t = alpha_0 / (1 + decay_rate t)``; PyTorch has no scheduler of this form."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("decay_rate", decay_rate)
    return lambda t: learning_rate / (1.0 + decay_rate * t)


def exponential(learning_rate, *, base=0.95):
    """``alpha_t = alpha_0 base^t``; ``lr_scheduler.ExponentialLR`` multiplies step by step and rounds differently."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("base", base)
    return lambda t: learning_rate * base**t


def inverse_sqrt(learning_rate, *, k=1.0):
    """``alpha_t = k alpha_0 / sqrt(t + 1)``."""
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("k", k)
    return lambda t: k * learning_rate / math.sqrt(t + 1)


def staircase(learning_rate, *, factor=0.5, every=10):
    """``alpha_t = alpha_0 factor^floor(t / every)``, as ``lr_scheduler.StepLR``.

    Raises ValueError also unless ``every`` is a positive integer.
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_not_negative("factor", factor)
    _check_positive_integer("every", every)
    return lambda t: learning_rate * factor ** (t // every)


def piecewise(learning_rate, *, boundaries=(10, 20), factors=(0.5, 0.1)):
    """``alpha_t = alpha_0``, and from ``t = boundaries[i]`` on ``alpha_0 factors[i]`` (not their product).

    ``lr_scheduler.MultiStepLR`` has one factor and takes its powers. Raises ValueError also unless ``boundaries`` are
    increasing integers, one for each factor.
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
    return lambda t: learning_rate * ((1.0, *factors)[sum(t >= boundary for boundary in boundaries)])


def cosine(learning_rate, *, steps=100, final=0.0):
    """``alpha_t = alpha_0 (final + (1 - final) (1 + cos(pi min(t, steps) / steps)) / 2)``.

    ``lr_scheduler.CosineAnnealingLR`` rises again after ``steps``. Raises ValueError also unless ``steps`` is a
    positive integer and ``final`` in [0, 1].
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_positive_integer("steps", steps)
    _check_fraction("final", final)
    return lambda t: learning_rate * (final + (1 - final) * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2)


def warmup(learning_rate, *, steps=10, start=0.0, after="constant", after_options=None):
    """``alpha_t = alpha_0 (start + (1 - start) t / steps)`` for ``t < steps``, then ``after`` at ``t - steps``.

    ``after`` is a name in ``SCHEDULES``, ``after_options`` its keywords. Raises ValueError also unless ``steps`` is a
    positive integer, ``start`` in [0, 1] and ``after`` known.
    """
    _check_not_negative("learning_rate", learning_rate)
    _check_positive_integer("steps", steps)
    _check_fraction("start", start)
    if after not in SCHEDULES:
        raise ValueError(f"after={after!r} is not allowed: must be one of {', '.join(map(repr, SCHEDULES))}")
    then = SCHEDULES[after](learning_rate, **(after_options or {}))
    return lambda t: learning_rate * (start + (1 - start) * t / steps) if t < steps else then(t - steps)


SCHEDULES = {
    f.__name__: f for f in (constant, inverse_time, exponential, inverse_sqrt, staircase, piecewise, cosine, warmup)
}


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")


def _check_positive_integer(name, value):
    if not (isinstance(value, int) and value >= 1):
        raise ValueError(f"{name}={value!r} is not allowed: must be an integer >= 1")


def _check_fraction(name, value):
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1]")
