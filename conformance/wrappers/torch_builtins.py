"""PyTorch's built-ins as parts of small trainings."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from conformance.problems.problem import Problem
from conformance.recipes.subjects import Subject, call_of
from conformance.wrappers.builtins import Builtins
from conformance.wrappers.subject import Subject as Wrapped
from conformance.wrappers.torch import TorchSession, wrap_torch

HIDDEN = 4
SGD: Callable[..., Any] = partial(torch.optim.SGD, lr=0.1)


class TorchBuiltins(Builtins):
    """What ``torch`` has ready made."""

    name = "builtins.torch"
    session_class = TorchSession
    roots = {"torch": torch}  # noqa: RUF012

    def wrapped(self, subject: Subject) -> Wrapped:
        """A network of two ``Linear`` layers, the cross-entropy of logits and ``SGD``, one of them the subject's."""
        parts: dict[str, Any] = {"model": model, "loss": nn.BCEWithLogitsLoss(), "optimizer": SGD}
        return wrap_torch(**(parts | getattr(self, f"_{subject.kind}")(subject)))

    def _optimizers(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        maker = self.found(call.function)
        if maker is torch.optim.LBFGS:
            maker = OneEvaluation
        return {"optimizer": partial(maker, **call.named)}


class OneEvaluation(torch.optim.LBFGS):
    """``LBFGS`` of one iteration, which asks for the cost once and uses its gradients: they are there."""

    def step(self, closure: Any = None) -> Any:
        """A step by the gradients that the parameters have."""
        return super().step(lambda: torch.zeros(()))  # type: ignore[no-untyped-call]


def model(problem: Problem) -> nn.Module:
    """A layer of tanh units, and one of one unit."""
    return nn.Sequential(nn.Linear(problem.features, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
