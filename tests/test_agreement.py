"""The fixture ``agrees`` lets rounding pass and nothing else."""

import numpy as np
import pytest

from reference_numpy.activations import sigmoid

Z = np.random.default_rng(1).standard_normal((5, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_differs_by_rounding_agrees(agrees, dtype):
    z = Z.astype(dtype)
    agrees(1 / (1 + np.exp(-z)), sigmoid, z, dtype=dtype)
    agrees({"a": [z * 3]}, lambda z: {"a": [z + z + z]}, z, dtype=dtype)


@pytest.mark.parametrize("wrong", [lambda a: a * (1 + 1e-5), lambda a: a.astype(np.float64), lambda a: a[:4]])
def test_what_differs_otherwise_does_not(agrees, wrong):
    z = Z.astype(np.float32)
    with pytest.raises(AssertionError, match="value"):
        agrees(wrong(sigmoid(z)), sigmoid, z)
