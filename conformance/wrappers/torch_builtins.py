"""PyTorch's built-ins as parts of small trainings."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from conformance.problems.problem import Problem
from conformance.recipes.subjects import Subject, call_of
from conformance.wrappers import torch_builtin_layers
from conformance.wrappers.builtins import Builtins, final_of, sizes_of
from conformance.wrappers.subject import Subject as Wrapped
from conformance.wrappers.torch import TorchSession, wrap_torch

SGD: Callable[..., Any] = partial(torch.optim.SGD, lr=0.1)
FASTER: Callable[..., Any] = partial(torch.optim.SGD, lr=0.5)  # so that limits are reached
_TENSORS = ("pos_weight", "weight")  # arguments that are tensors


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
        return {"optimizer": partial(OneEvaluation if maker is torch.optim.LBFGS else maker, **call.named)}

    def _layers(self, subject: Subject) -> dict[str, Any]:
        self.found(call_of(subject.name).function)
        return torch_builtin_layers.parts(subject)

    def _losses(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        function = self.found(call.function)
        if isinstance(function, type):
            return {"loss": function(**call.named)}
        takes_logarithms = function is nn.functional.nll_loss

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            keywords = {name: torch.tensor(value) if name in _TENSORS else value for name, value in call.named.items()}
            found: Tensor = function(outputs.log() if takes_logarithms else outputs, targets, **keywords)
            return found

        return {"loss": loss}

    def _activations(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        found = self.found(call.function)
        activation = found(**call.named) if isinstance(found, type) else Function(partial(found, **call.named))
        return {"model": partial(model, activation=activation)}

    def _normalizations(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        layer = self.found(call.function)
        return {"model": partial(model, before=lambda units: layer(units, **call.named))}

    def _schedules(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        scheduler = self.found(call.function)
        return {"scheduler": lambda optimizer: scheduler(optimizer, *call.positional, **call.named)}

    def _initializers(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        draw = self.found(call.function)

        def start(module: nn.Module) -> None:
            if isinstance(module, nn.Linear):
                draw(module.weight, **call.named)
                nn.init.zeros_(module.bias)

        return {"initializer": start}

    def _regularizers(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        function = self.found(call.function)
        if subject.component == "max_norm":
            return {"optimizer": FASTER, "constrain": partial(_constrain, partial(function, **call.named))}
        return {"optimizer": FASTER, "clip": partial(function, **call.named)}


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        """Its value."""
        return self.function(z)


class OneEvaluation(torch.optim.LBFGS):
    """``LBFGS`` of one iteration, which asks for the cost once and uses its gradients: they are there."""

    def step(self, closure: Any = None) -> Any:
        """A step by the gradients that the parameters have."""
        return super().step(lambda: torch.zeros(()))  # type: ignore[no-untyped-call]


def model(
    problem: Problem,
    *,
    activation: nn.Module | None = None,
    before: Callable[[int], nn.Module] | None = None,
) -> nn.Module:
    """Layers of tanh units, with what comes before these, and one of the outputs."""
    *hidden, last = sizes_of(problem)
    modules: list[nn.Module] = []
    for size in hidden:
        normalization = [] if before is None else [before(size.outputs)]
        modules += [nn.Linear(*size), *normalization, activation or nn.Tanh()]
    final = {"sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=-1)}.get(final_of(problem), nn.Identity())
    return nn.Sequential(*modules, nn.Linear(*last), final)


def _constrain(function: Callable[[Tensor], Tensor], parameters: Mapping[str, Tensor]) -> None:
    for name, w in parameters.items():
        if name.startswith("W"):
            w.copy_(function(w))
