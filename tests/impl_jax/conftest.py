"""Double precision where a test asks for it; nothing global is changed."""

import jax
import pytest


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def single_precision():
    with jax.enable_x64(False):
        yield
