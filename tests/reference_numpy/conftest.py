"""How a layer's backward pass is proved: by differences of its forward pass, and by complex steps of it."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from reference_numpy import activations

STEP = 1e-5  # of differences, whose error is about its square
COMPLEX_STEP = 1e-30  # of which nothing is subtracted: no rounding is enlarged
SLOPE = 2 / math.sqrt(math.pi)


@pytest.fixture(scope="session")
def gradient_errors() -> Callable[..., dict[str, float]]:
    """``gradient_errors(forward, backward, arrays, *, differences=True) -> {"differences": ..., "complex step": ...}``.

    ``forward(arrays)`` gives an array, ``backward(dy)`` the gradients of ``(forward(arrays) * dy).sum()`` with respect
    to ``arrays`` by the same names. An error is the largest of all entries, by the largest gradient.
    """
    return found_errors


@pytest.fixture(scope="session")
def layer_errors() -> Callable[..., dict[str, float]]:
    """``layer_errors(layer, x, *, mask=None, statistics=None, parameters=None, differences=True)``: the errors for a
    layer's parameters, and ``x`` unless integers; random parameters near the initial ones, random draws."""
    return found_layer_errors


def found_errors(forward, backward, arrays, *, differences=True):
    y = forward(arrays)
    dy = np.random.default_rng(5).standard_normal(y.shape)
    analytic = backward(dy)
    assert analytic.keys() == arrays.keys()
    assert all(analytic[name].shape == array.shape for name, array in arrays.items())

    def numeric(slope):
        gradients = {name: np.zeros_like(array) for name, array in arrays.items()}
        for name, array in arrays.items():
            for index in np.ndindex(array.shape):
                gradients[name][index] = slope(name, index)
        return gradients

    def moved(name, index, step):
        array = arrays[name].astype(np.result_type(arrays[name], step))
        array[index] += step
        return (forward(arrays | {name: array}) * dy).sum()

    def by_differences(name, index):
        return (moved(name, index, STEP) - moved(name, index, -STEP)) / (2 * STEP)

    def by_complex_step(name, index):
        return moved(name, index, 1j * COMPLEX_STEP).imag / COMPLEX_STEP

    errors = {"differences": _error(analytic, numeric(by_differences))} if differences else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activations, "sigmoid", _sigmoid)
        patch.setitem(activations.ACTIVATIONS, "sigmoid", _sigmoid)
        patch.setattr(activations, "_erfc", np.frompyfunc(_erfc, 1, 1))
        errors["complex step"] = _error(analytic, numeric(by_complex_step))
    return errors


def found_layer_errors(layer, x, *, mask=None, statistics=None, parameters=None, differences=True):
    generator, shape = np.random.default_rng(1), x.shape[1:]
    if parameters is None:
        initial = layer.initialize(generator, shape)
        parameters = {name: w + 0.1 * generator.standard_normal(w.shape) for name, w in initial.items()}
    drawn = layer.draw(generator, len(x), shape)
    arrays = dict(parameters) if np.issubdtype(x.dtype, np.integer) else parameters | {"the input": x}

    def forward(arrays):
        own = {name: array for name, array in arrays.items() if name != "the input"}
        return layer.forward(
            own, arrays.get("the input", x), drawn=drawn, statistics=statistics, mask=mask
        )[0]  # fmt: skip

    def backward(dy):
        values = layer.forward(parameters, x, drawn=drawn, statistics=statistics, mask=mask)[1]
        dx, gradients = layer.backward(parameters, values, dy, drawn=drawn, mask=mask)
        assert list(gradients) == list(parameters)
        assert (dx is None) == ("the input" not in arrays)
        return gradients if dx is None else gradients | {"the input": dx}

    return found_errors(forward, backward, arrays, differences=differences)


def _error(analytic, numeric):
    largest = max((np.abs(gradient).max() for gradient in numeric.values()), default=0.0)
    worst = max((np.abs(analytic[name] - numeric[name]).max() for name in numeric), default=0.0)
    return float(worst / largest) if largest else float(worst)


def _sigmoid(z, *, out=None):
    """As the definition is written: the reference's takes ``|z|``, which is not holomorphic."""
    return 1 / (1 + np.exp(-z))


def _erfc(z):
    """To first order beside the real axis, which is all that a complex step asks for."""
    if isinstance(z, float):
        return math.erfc(z)
    return complex(math.erfc(z.real), -SLOPE * math.exp(-z.real * z.real) * z.imag)
