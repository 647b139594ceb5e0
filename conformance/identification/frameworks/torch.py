"""Targets of PyTorch: optimizers, modules and functions of tensors."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from conformance.identification.exercises import Array, Exercise, Tensors
from conformance.identification.frameworks import RATES, Optimizing, Refused, parameters_of
from conformance.identification.frameworks.layers.torch import layered as layered
from conformance.identification.kinds import missing

_NORMS = ("BatchNorm1d", "LayerNorm", "GroupNorm", "RMSNorm", "InstanceNorm1d")


def recognised(thing: Any) -> str | None:
    """The kind of a class or an object of PyTorch's make."""
    made = thing if isinstance(thing, type) else type(thing)
    if _initializes(thing):
        return "initializer"
    if issubclass(made, torch.optim.Optimizer):
        return "optimizer"
    if issubclass(made, torch.optim.lr_scheduler.LRScheduler):
        return "schedule"
    if issubclass(made, torch.nn.Module):
        if any(base.__name__ in _NORMS for base in made.__mro__):
            return "normalization"
        if issubclass(made, torch.nn.modules.loss._Loss):
            return "loss"
        if made.__module__ == torch.nn.modules.activation.__name__ and made is not torch.nn.MultiheadAttention:
            return "activation"
        if made.__module__.startswith("torch.nn") or _holds_arrays(thing):
            return "layer"
        return "loss" if _takes(made.forward) == 3 else "activation"
    return None


def _holds_arrays(thing: Any) -> bool:
    """Whether a module has parameters or buffers; a class that cannot be made without arguments is taken to have."""
    try:
        module = thing() if isinstance(thing, type) else thing
    except Exception:  # whatever it says of what it needs
        return True
    return any(True for _ in (*module.parameters(), *module.buffers()))


def _initializes(function: Any) -> bool:
    return getattr(function, "__module__", None) == "torch.nn.init"


def _takes(function: Callable[..., Any]) -> int:
    """How many arguments a function needs."""
    return sum(
        p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        for p in inspect.signature(function).parameters.values()
    )


def optimizing(thing: Any, keywords: Mapping[str, Any]) -> Optimizing | None:
    """An optimizer class, an optimizer, or a function of parameters that makes one."""
    made = _maker(thing, keywords)
    if made is None:
        return None
    trial = made([torch.nn.Parameter(torch.zeros(2, 2))])
    if not isinstance(trial, torch.optim.Optimizer):
        return None
    group = {name: value for name, value in trial.param_groups[0].items() if name != "params"}
    return Optimizing(lambda exercise: _run(made, exercise), group, any(name in group for name in RATES))


def _maker(thing: Any, keywords: Mapping[str, Any]) -> Callable[[list[Any]], Any] | None:
    if isinstance(thing, torch.optim.Optimizer):
        known = inspect.signature(type(thing)).parameters
        own = {n: value for n, value in thing.param_groups[0].items() if n in known and n != "params"}
        return lambda parameters: type(thing)(parameters, **own)
    return (lambda parameters: thing(parameters, **keywords)) if callable(thing) else None


def _run(made: Callable[[list[Any]], Any], exercise: Exercise) -> Tensors:
    held = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in exercise.start.items()}
    optimizer = made(list(held.values()))
    rates = [{name: group[name] for name in RATES if name in group} for group in optimizer.param_groups]
    closed = inspect.signature(optimizer.step).parameters.get("closure")
    needs_closure = closed is not None and closed.default is closed.empty
    path: dict[str, list[Array]] = {name: [] for name in held}
    for step, factor in enumerate(exercise.factors):
        for group, own in zip(optimizer.param_groups, rates, strict=True):
            group.update({name: rate * float(factor) for name, rate in own.items()})
        closure = _Closure(held, exercise, step)
        if needs_closure:
            optimizer.step(closure)
            if closure.asked > 1:
                raise Refused(f"it asks for the cost {closure.asked} times in one step")
        else:
            closure()
            optimizer.step()
        for name, parameter in held.items():
            path[name].append(parameter.detach().numpy().copy())
    return {name: np.stack(values) for name, values in path.items()}


class _Closure:
    """What an optimizer may ask for the cost, which is not known, and for its gradients."""

    def __init__(self, held: Mapping[str, Any], exercise: Exercise, step: int) -> None:
        self.held, self.exercise, self.step, self.asked = held, exercise, step, 0

    def __call__(self) -> Any:
        self.asked += 1
        now = {name: parameter.detach().numpy() for name, parameter in self.held.items()}
        for name, gradient in self.exercise.gradients_at(self.step, now).items():
            self.held[name].grad = torch.tensor(gradient)
        return torch.zeros(())


def evaluated(function: Any, arrays: Sequence[Array], upstream: Array | None) -> tuple[Array, Array | None]:
    """The value of a module or function of tensors, and its gradient in the first."""
    if isinstance(function, torch.nn.Module):
        function = function.to(torch.tensor(arrays[0]).dtype)
    if isinstance(function, partial):
        own = {name: v.to(torch.tensor(arrays[0]).dtype) for name, v in function.keywords.items() if torch.is_tensor(v)}
        function = partial(function, **own)
    first = torch.tensor(arrays[0], requires_grad=arrays[0].dtype.kind == "f")
    value = function(first, *(torch.tensor(each) for each in arrays[1:]))
    if not isinstance(value, torch.Tensor):
        raise Refused(f"it returned {type(value).__name__}, not a tensor")
    gradient = None
    if value.requires_grad:
        weighted = value if upstream is None else value * torch.tensor(upstream)
        (gradient,) = torch.autograd.grad(weighted.sum(), first)
    return value.detach().numpy(), None if gradient is None else gradient.numpy()


def scheduled(thing: Any, keywords: Mapping[str, Any], steps: int) -> Array | None:
    """The rates of a scheduler's class, of an optimizer whose own rate is 0.1; None of anything else."""
    if not (isinstance(thing, type) and issubclass(thing, torch.optim.lr_scheduler.LRScheduler)):
        return None
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, rates = thing(optimizer, **keywords), []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def normalized(thing: Any, keywords: Mapping[str, Any], arrays: Tensors) -> Tensors | None:
    """What a module makes of two batches in training and of one in inference, and its running averages."""
    given = [torch.tensor(arrays[name]) for name in ("a0", "a1", "a2")]
    if isinstance(thing, type) and issubclass(thing, torch.nn.Module):
        layer = thing(given[0].shape[1], **keywords) if missing(thing, keywords) else thing(**keywords)
    elif isinstance(thing, torch.nn.Module):
        layer = copy.deepcopy(thing)
    else:
        return None
    layer = layer.to(given[0].dtype).train()
    made = {f"trained{place}": layer(given[place]) for place in (0, 1)}
    for ours, theirs in (("running_mean", "running_mean"), ("running_variance", "running_var")):
        if getattr(layer, theirs, None) is not None:
            made[ours] = getattr(layer, theirs).clone()
    made["inferred"] = layer.eval()(given[2])
    return {name: value.detach().numpy() for name, value in made.items()}


def initialized(function: Any, shape: tuple[int, int], seed: int) -> Array | None:
    """What is drawn into a tensor by one of PyTorch's own functions."""
    if not _initializes(getattr(function, "func", function)):
        return None
    torch.manual_seed(seed)
    return np.asarray(function(torch.empty(shape, dtype=torch.float64)))


def arguments(thing: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords, of which those are made tensors that PyTorch says are some."""
    try:
        known = parameters_of(thing)
    except (ValueError, TypeError):  # what is not written in Python does not say
        return dict(keywords)
    tensors = {name for name, parameter in known.items() if "Tensor" in str(parameter.annotation)}
    return {n: torch.tensor(v, dtype=torch.float64) if n in tensors else v for n, v in keywords.items()}


def regularized(thing: Any, keywords: Mapping[str, Any], weights: Tensors, gradients: Tensors) -> Tensors | None:
    """What an optimizer's step of rate 1 takes off weights, or what a clipping leaves of gradients in their place."""
    held = {name: torch.nn.Parameter(torch.tensor(w)) for name, w in weights.items()}
    for name, parameter in held.items():
        parameter.grad = torch.tensor(gradients[name])
    if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer):
        thing(list(held.values()), **{"lr": 1.0, **keywords}).step()
        return {name: weights[name] - parameter.detach().numpy() for name, parameter in held.items()}
    if getattr(thing, "__module__", None) != "torch.nn.utils.clip_grad":
        return None
    thing(list(held.values()), **keywords)
    return {name: np.asarray(parameter.grad) for name, parameter in held.items()}
