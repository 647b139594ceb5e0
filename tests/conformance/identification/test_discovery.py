"""The built-ins of a framework are found by walking it."""

import pytest
import torch

from conformance.identification.frameworks.discovery import discover


def test_the_optimizers_of_pytorch_are_found_without_their_base():
    found = discover("torch", "optimizer")
    assert {"torch.optim.Adam", "torch.optim.SparseAdam"} <= set(found)
    assert "torch.optim.Optimizer" not in found


def test_what_a_new_version_brings_is_found(monkeypatch):
    class Brought(torch.optim.SGD):
        pass

    monkeypatch.setattr(torch.optim, "Brought", Brought, raising=False)
    assert "torch.optim.Brought" in discover("torch", "optimizer")


@pytest.mark.parametrize(
    ("kind", "there", "not_there"),
    [
        ("activation", "torch.nn.GELU", "torch.nn.Linear"),
        ("loss", "torch.nn.MSELoss", "torch.nn.ReLU"),
        ("initializer", "torch.nn.init.xavier_uniform_", "torch.nn.init.xavier_uniform"),
        ("schedule", "torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.LRScheduler"),
        ("normalization", "torch.nn.LayerNorm", "torch.nn.Conv1d"),
    ],
)
def test_a_kind_has_its_own_and_nothing_else(kind, there, not_there):
    found = discover("torch", kind)
    assert there in found
    assert not_there not in found


def test_an_unknown_framework_and_kind_are_refused():
    with pytest.raises(ValueError, match=r"framework='toch' is not allowed.*'torch'"):
        discover("toch", "optimizer")
    with pytest.raises(ValueError, match="kind='optimiser' is not allowed"):
        discover("torch", "optimiser")
