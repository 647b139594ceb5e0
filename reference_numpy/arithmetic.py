"""Where another library's arithmetic may differ in rounding: declared here, so that a caller can have it otherwise.

Four things are computed in one place or marked where they are: sums of many terms, the matrix products of layers (those
of a dense network go through ``models.DenseNetwork.product``), ``1 - beta^t``, and functions that a library computes as
one (:func:`library_function`). :func:`rounded_otherwise` replaces them for a while; otherwise each costs one look-up.

>>> import numpy as np
>>> with rounded_otherwise(total=lambda values, *, axis=None: values.sum() + 1e-16):
...     float(mean(np.array([0.0, 0.0])))
5e-17
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from ._common import check_choice

Array = NDArray[Any]
P = ParamSpec("P")

# What a library computes as one: an activation; the slope of one, where its last digit is a library's own (that of a
# rectifier is 0, 1 or a given number); what most libraries take as ``1 + ...``, and so keeps no digits of its own where
# it is small: the distribution function inside of GELU and the exponential in the slope of ELU; what is standardised; a
# loss.
KINDS = ("activation", "slope", "one plus", "normalization", "loss")


def library_function(kind: str) -> Callable[[Callable[P, Array]], Callable[P, Array]]:
    """Mark a function that a library computes as one, of a ``kind`` among ``KINDS``: its value can be replaced.

    Raises ValueError for an unknown kind.

    >>> import numpy as np
    >>> @library_function("activation")
    ... def twice(z, *, out=None):
    ...     return np.multiply(z, 2.0, out=out)
    >>> with rounded_otherwise(value=lambda kind, value: value + 1.0):
    ...     twice(np.array([3.0]))
    array([7.])
    """
    check_choice("kind", kind, KINDS)

    def mark(function: Callable[P, Array]) -> Callable[P, Array]:
        @wraps(function)
        def marked(*arguments: P.args, **keywords: P.kwargs) -> Array:
            replaced = _in_use.value
            if replaced is None:
                return function(*arguments, **keywords)
            out: Any = keywords.pop("out", None)
            return np.positive(replaced(kind, function(*arguments, **keywords)), out=out)

        return marked

    return mark


def total(values: Array, *, axis: int | None = None) -> Any:
    """The sum of all elements, a scalar, or of those along ``axis``, which is kept with size 1.

    >>> import numpy as np
    >>> total(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    array([[3.],
           [7.]])
    """
    return _in_use.total(values, axis=axis)


def product(a: Array, b: Array) -> Array:
    """The matrix product ``a b`` of the last two axes; those before them are broadcast.

    >>> import numpy as np
    >>> product(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    return _in_use.product(a, b)


def mean(values: Array) -> Any:
    """The mean of all elements, a scalar: their :func:`total` by their number.

    >>> import numpy as np
    >>> float(mean(np.array([1.0, 3.0])))
    2.0
    """
    return total(values) / values.size


def one_minus_power(beta: float, t: int) -> float:
    """``1 - beta^t`` without the cancellation: the subtraction loses three digits at ``beta = 0.999, t = 1``.

    >>> one_minus_power(0.5, 2)
    0.75
    """
    return _in_use.one_minus_power(beta, t)


def one_minus_rounded_power(beta: float, t: int, dtype: np.dtype[Any]) -> float:
    """``1 - beta^t`` with the power rounded to ``dtype``, and that rounding, which the subtraction enlarges, left in.

    >>> import numpy as np
    >>> one_minus_rounded_power(0.875, 20, np.dtype(np.float32)) - one_minus_power(0.875, 20)
    2.684719779821876e-09
    """
    power = beta**t
    return one_minus_power(beta, t) + (power - float(dtype.type(power)))


@contextmanager
def rounded_otherwise(
    *,
    total: Callable[..., Any] | None = None,
    one_minus_power: Callable[[float, int], float] | None = None,
    value: Callable[[str, Array], Array] | None = None,
    product: Callable[[Array, Array], Array] | None = None,
) -> Iterator[None]:
    """While this lasts, have numbers rounded in another way, in all threads; None leaves a thing as it is.

    ``total(values, *, axis=None)`` takes the place of :func:`total`, ``product(a, b)`` that of :func:`product`,
    ``one_minus_power(beta, t)`` that of :func:`one_minus_power`. ``value(kind, value)`` is given what a
    :func:`library_function` of ``kind`` returns, nested ones too, and its result is returned instead. All must be equal
    in mathematics to what they replace.

    >>> with rounded_otherwise(one_minus_power=lambda beta, t: 1.0 - beta**t):
    ...     one_minus_power(0.999, 1)
    0.0010000000000000009
    """
    global _in_use
    before = _in_use
    _in_use = _Arithmetic(
        total or before.total,
        one_minus_power or before.one_minus_power,
        value or before.value,
        product or before.product,
    )
    try:
        yield
    finally:
        _in_use = before


def _total(values: Array, *, axis: int | None = None) -> Any:
    kept: Any = axis is not None
    return np.add.reduce(values, axis=axis, keepdims=kept)  # as values.sum, without its detour


def _one_minus_power(beta: float, t: int) -> float:
    return -math.expm1(t * math.log(beta)) if beta > 0 else 1.0


@dataclass(frozen=True)
class _Arithmetic:
    """How numbers are rounded; a value that is not replaced is None."""

    total: Callable[..., Any] = _total
    one_minus_power: Callable[[float, int], float] = _one_minus_power
    value: Callable[[str, Array], Array] | None = None
    product: Callable[[Array, Array], Array] = np.matmul


_in_use = _Arithmetic()
