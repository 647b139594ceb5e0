"""Double precision where a test asks for it; nothing global is changed."""

import jax
import numpy as np
import pytest


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def single_precision():
    with jax.enable_x64(False):
        yield


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    """Each precision in turn, with 64-bit types on only where they are meant."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)
