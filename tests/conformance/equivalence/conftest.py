"""Trainings in this process: what a process of their own would do, for many tests at once."""

import pytest

from conformance.adapters.numpy import NumpyAdapter
from conformance.equivalence.trainings import pairs


@pytest.fixture
def here(monkeypatch):
    """Trainings are made here, by the reference."""

    def train_all(asked, limits, progress):
        adapter = NumpyAdapter("cpu")
        return [
            list(pairs(each.recipes, asked.seeds, asked.dtype, adapter, lambda: progress("numpy", 1, 1)))
            for each in asked.situations
        ]

    monkeypatch.setattr("conformance.equivalence.compare.train_all", train_all)
