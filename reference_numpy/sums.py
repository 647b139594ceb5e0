"""Sums of many terms outside of matrix products, in one place, so that a caller can take them in another order."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


def total(values: Array, *, axis: int | None = None) -> Any:
    """The sum of all elements, a scalar, or of those along ``axis``, which is kept with size 1.

    >>> import numpy as np
    >>> total(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    array([[3.],
           [7.]])
    """
    return values.sum(axis=axis, keepdims=axis is not None)


def mean(values: Array) -> Any:
    """The mean of all elements, a scalar.

    >>> import numpy as np
    >>> float(mean(np.array([1.0, 3.0])))
    2.0
    """
    return total(values) / values.size
