"""Layers of PyTorch: modules with their parameters and buffers, in training and in inference."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from conformance.identification.exercises import Array, Tensors
from conformance.identification.frameworks import Ran, with_inner


def layered(thing: Any, keywords: Mapping[str, Any], x: Array, dtype: str, seed: int) -> "Layered | None":
    """A module, made anew where a class or a function makes it; None of anything else."""
    torch.manual_seed(seed)
    made = copy.deepcopy(thing) if isinstance(thing, torch.nn.Module) else _made(thing, keywords)
    if not isinstance(made, torch.nn.Module):
        return None
    found = Layered(made.to(getattr(torch, dtype)))
    if any(isinstance(value, torch.nn.parameter.UninitializedParameter) for value in made.parameters()):
        found.module(torch.tensor(x))
    return found


def _made(thing: Any, keywords: Mapping[str, Any]) -> Any:
    return thing(**with_inner(keywords, _made))


class Layered:
    """A module."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    @property
    def trained(self) -> list[str]:
        """The names of its parameters."""
        return [name for name, value in self.module.named_parameters() if value.requires_grad]

    def arrays(self) -> Tensors:
        """Its parameters and buffers, real numbers alone."""
        return {name: value.detach().numpy().copy() for name, value in self._held()}

    def run(self, arrays: Tensors, x: Array, upstream: Array | None, training: bool) -> Ran:
        """What it makes of ``x`` with these arrays, and the gradients of ``sum(upstream y)``."""
        with torch.no_grad():
            for name, value in self._held():
                value.copy_(torch.tensor(arrays[name]))
        self.module.train(training)
        given = torch.tensor(x, requires_grad=x.dtype.kind == "f")
        outputs = list(_tensors(_called(self.module, given)))
        found = [output.detach().numpy() for output in outputs]
        held = {name: value for name, value in self.module.named_parameters() if value.requires_grad}
        asked = ([given] if given.requires_grad else []) + list(held.values())
        gradients: list[Any] = [None] * len(asked)
        if upstream is not None and asked and outputs[0].requires_grad:
            cost = (outputs[0] * torch.tensor(upstream)).sum()
            gradients = list(torch.autograd.grad(cost, asked, allow_unused=True))
        arrived = [None if g is None else g.numpy() for g in gradients]
        dx = arrived.pop(0) if given.requires_grad else None
        after = {name: value.detach().numpy().copy() for name, value in self._held() if name not in held}
        return Ran(found, dx, {n: g for n, g in zip(held, arrived, strict=True) if g is not None}, after)

    def _held(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, value in (*self.module.named_parameters(), *self.module.named_buffers()):
            if value.is_floating_point():
                yield name, value


def _called(module: torch.nn.Module, x: torch.Tensor) -> Any:
    """A cell is led through the steps of a sequence; what needs several inputs is given the same for each of them."""
    if isinstance(module, torch.nn.RNNCellBase):
        if x.ndim != 3:
            raise ValueError("a cell is led through the steps of a sequence")
        state, states = None, []
        for step in range(x.shape[1]):
            state = module(x[:, step], state)
            states.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(states, dim=1)
    needed = [
        p.name
        for p in inspect.signature(module.forward).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    return module(*[x] * max(len(needed), 1))


def _tensors(found: Any) -> Iterator[torch.Tensor]:
    """All tensors of a result, however they are packed."""
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, list | tuple):
        for each in found:
            yield from _tensors(each)
