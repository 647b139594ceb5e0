"""Gradient checking: gradients by formula against differences of the cost.

The course reads the ratio of :func:`gradient_difference`, at ``epsilon = 1e-7`` in float64, so: about 1e-7 or less,
great; about 1e-5, look again; 1e-3 or more, wrong. Two things make the ratio of right gradients larger: gradients that
are small beside the cost, as after training (rounding leaves an error of about ``1e-16 |J| / epsilon`` in every
entry), and a ReLU whose input lies within ``epsilon`` of its kink. Dropout must have fixed masks.
Source: the course, course 2 week 1.

>>> from reference_numpy.models import initialize, shallow_network
>>> generator = np.random.default_rng(0)
>>> model = shallow_network(2)
>>> x, y = generator.standard_normal((5, 2)), generator.integers(0, 2, (5, 1)).astype(float)
>>> check_gradients(model, initialize(model, generator), x, y, loss="binary_cross_entropy") < 1e-7
True
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from . import training
from ._common import check_positive
from .models import Array, DenseNetwork, Tensors


def numerical_gradient(cost: Callable[[Tensors], float], parameters: Tensors, *, epsilon: float = 1e-7) -> Tensors:
    """Central differences ``(J(w + epsilon) - J(w - epsilon)) / (2 epsilon)``, one entry ``w`` at a time.

    ``cost(parameters)`` gives a number; ``parameters`` is a dict of float64 arrays, which is not changed. ``cost`` is
    evaluated twice an entry. The divisor is the distance really moved, which rounding makes slightly other than
    ``2 epsilon``. Returns a dict of arrays of the parameters' shapes. Raises ValueError for parameters of another
    dtype, and for an ``epsilon`` that is not above 0 or too small to move an entry.

    >>> numerical_gradient(lambda p: float((p["w"] ** 2).sum()), {"w": np.array([0.0, 1.0])})["w"].round(6)
    array([0., 2.])
    """
    check_positive("epsilon", epsilon)
    for name, array in parameters.items():
        if array.dtype != np.float64:
            raise ValueError(f"parameters[{name!r}] has dtype {array.dtype}: must be float64")
    moved = {name: array.copy() for name, array in parameters.items()}
    gradients = {name: np.zeros_like(array) for name, array in parameters.items()}
    for name, array in moved.items():
        for index in np.ndindex(array.shape):
            value = array[index]
            above, below = value + epsilon, value - epsilon
            if not above > below:
                raise ValueError(
                    f"epsilon={epsilon!r} is not allowed: must be able to move {name}{list(index)}={value}"
                )
            array[index] = above
            cost_above = cost(moved)
            array[index] = below
            cost_below = cost(moved)
            array[index] = value
            gradients[name][index] = (cost_above - cost_below) / (above - below)
    return gradients


def gradient_difference(gradients: Mapping[str, Array], approximate: Mapping[str, Array]) -> float:
    """``||g - g'||_2 / (||g||_2 + ||g'||_2)`` over all entries of two dicts of arrays; 0 if both are zero.

    A number in [0, 1]. Raises ValueError for other names or shapes in one than in the other, or an entry that is not
    finite.

    >>> gradient_difference({"w": np.array([3.0])}, {"w": np.array([1.0])})
    0.5
    """
    if gradients.keys() != approximate.keys():
        names = sorted(gradients), sorted(approximate)
        raise ValueError(f"gradients has {names[0]}, approximate {names[1]}: must be the same names")
    for name, gradient in gradients.items():
        if np.shape(gradient) != np.shape(approximate[name]):
            shapes = np.shape(gradient), np.shape(approximate[name])
            raise ValueError(f"gradients[{name!r}] has shape {shapes[0]}, approximate {shapes[1]}: must be the same")
    pair = np.stack([_joined(gradients, gradients, "gradients"), _joined(approximate, gradients, "approximate")])
    largest = np.abs(pair).max(initial=0.0)
    if largest == 0:
        return 0.0
    # By a power of two, which is exact: squares of very small or very large entries would be 0 or infinite.
    g, approximation = np.ldexp(pair, -np.frexp(largest)[1])
    return float(np.linalg.norm(g - approximation) / (np.linalg.norm(g) + np.linalg.norm(approximation)))


def check_gradients(
    model: DenseNetwork,
    parameters: Tensors,
    x: Array,
    y: Array,
    *,
    loss: str | training.Objective,
    epsilon: float = 1e-7,
    **options: Any,
) -> float:
    """:func:`gradient_difference` between ``training.loss_and_gradients`` and differences of its cost.

    ``loss`` and ``options`` (``masks``, ``example_weights``) are those of ``training.loss_and_gradients``. Parameters
    must be float64. Raises the ValueErrors of the three functions.

    >>> from reference_numpy.models import logistic_regression
    >>> model, x, y = logistic_regression(1), np.array([[2.0]]), np.array([[1.0]])
    >>> parameters = {"W1": np.ones((1, 1)), "b1": np.zeros(1)}
    >>> bool(check_gradients(model, parameters, x, y, loss="binary_cross_entropy") < 1e-7)
    True
    """

    def evaluate(arrays: Tensors) -> training.Gradients:
        return training.loss_and_gradients(model, arrays, x, y, loss=loss, **options)

    approximate = numerical_gradient(lambda arrays: evaluate(arrays).cost, parameters, epsilon=epsilon)
    return gradient_difference(evaluate(parameters).gradients, approximate)


def _joined(arrays: Mapping[str, Array], names: Iterable[str], argument: str) -> Array:
    """All entries in one float64 vector, in the order of ``names``."""
    for name in names:
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{argument}[{name!r}] has an entry that is nan or infinite: must be finite")
    return np.concatenate([np.zeros(0), *(np.ravel(arrays[name]) for name in names)])
