"""Either side of a pair: whatever can be called on weights and inputs, made into one thing that can be asked.

The protocol is one method, ``run(weights, x) -> dict of named arrays``; a plain function of the same arguments, or of
``x`` alone, will do, and so will a PyTorch module or a Keras model as it is. A framework is not imported here: an
object of it has brought it.
"""

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import numpy as np

from conformance.adapters.guarded import Unreadable, copied, printable, readable
from conformance.data.wording import shown
from conformance.problems.tensors import Array, Tensors

OUTPUT = "output"


class SubjectError(Exception):
    """A side of a pair cannot be had, or failed when it was asked; the message says which and how."""


class Subject(Protocol):
    """One side of a pair, asked for what it computes."""

    def run(self, weights: Tensors | None, inputs: Tensors) -> Tensors:
        """What it computes of inputs, in their precision, by name, in the order of computation."""

    def weights(self) -> Tensors:
        """Weights of its own; {} if it shows none."""

    def start(self, seed: int) -> Tensors:
        """Weights as training begins with them, drawn with a seed."""

    def close(self) -> None:
        """Nothing more is asked."""


class Here:
    """A subject in this process: anything that :func:`as_function` knows to call."""

    def __init__(self, name: str, found: Any) -> None:
        self.name, self.found = name, found
        self._function = as_function(name, found)

    def run(self, weights: Tensors | None, inputs: Tensors) -> Tensors:
        given = copied(inputs)
        x = next(iter(given.values())) if len(given) == 1 else given
        return named_arrays(self.name, self._asked(self._function, copied(weights), x))

    def weights(self) -> Tensors:
        own = getattr(self._function, "weights", None) or getattr(self.found, "weights", None)
        return named_arrays(self.name, self._asked(own)) if callable(own) else {}

    def start(self, seed: int) -> Tensors:
        own = getattr(self.found, "start", self.found)
        if not callable(own):
            raise SubjectError(
                f"{self.name} has no start(seed), which returns the weights as training begins with them"
            )
        return named_arrays(self.name, self._asked(own, seed))

    def close(self) -> None:
        """There is nothing to end."""

    def _asked(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:  # whatever somebody's code raises
            raise SubjectError(f"{self.name}: {type(error).__name__}: {error}") from error


def load_subject(target: str) -> Here:
    """The subject that a target names, ``package.module:attribute``. Raises ValueError if there is none."""
    module, separator, attribute = target.partition(":")
    if not separator:
        raise ValueError(f"{shown(target)} is not allowed: must be package.module:attribute, or a file of arrays")
    try:
        found = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever a module raises that is imported
        raise ValueError(f"{target} cannot be loaded: {type(error).__name__}: {error}") from error
    return Here(target, found)


def as_function(name: str, found: Any) -> Callable[[Tensors | None, Any], Any]:
    """What is to be called with weights and inputs. Raises ValueError for what cannot be."""
    if callable(getattr(found, "run", None)):
        return cast(Callable[[Tensors | None, Any], Any], found.run)
    if _is_of(found, "torch.nn", "Module"):
        return TorchModule(found)
    if _is_of(found, "keras", "Layer"):
        return KerasLayer(found)
    if not callable(found):
        raise ValueError(
            f"{name} is {type(found).__name__}: must be a function of (weights, x), or have run(weights, x)"
        )
    try:
        wanted = [
            parameter for parameter in inspect.signature(found).parameters.values()
            if parameter.default is parameter.empty and parameter.kind in (0, 1)
        ]  # fmt: skip
    except (TypeError, ValueError):
        return cast(Callable[[Tensors | None, Any], Any], found)
    if len(wanted) == 1:
        return lambda weights, x: found(x)
    return cast(Callable[[Tensors | None, Any], Any], found)


def named_arrays(name: str, found: Any) -> Tensors:
    """What was returned as plain arrays by name; a single array is the output. Raises SubjectError for what is none."""
    if not isinstance(found, Mapping):
        single = found if not isinstance(found, (tuple, list)) else dict(enumerate(found))
        found = {OUTPUT: single} if not isinstance(single, dict) else {f"{OUTPUT} {k}": v for k, v in single.items()}
    arrays = {printable(key): readable(_as_array(value)) for key, value in found.items()}
    for key, value in arrays.items():
        if isinstance(value, Unreadable):
            raise SubjectError(f"{name}: {key} {value.found}: must be an array of numbers")
    return arrays


def _as_array(value: Any) -> Any:
    """A tensor of PyTorch's without its history; anything else as it is."""
    return value.detach().cpu() if _is_of(value, "torch", "Tensor") else value


def _is_of(found: Any, module: str, name: str) -> bool:
    """Whether an object is of a class of a framework, or of one that is derived from it."""
    return any(
        each.__name__ == name and (each.__module__ + ".").startswith(module + ".") for each in type(found).__mro__
    )


class TorchModule:
    """A PyTorch module: its outputs, those of its parts, and gradients of a fixed sum of the outputs.

    It is copied, taken to the precision of the inputs and put in evaluation mode.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, weights: Tensors | None, x: Any) -> Tensors:
        torch = sys.modules["torch"]
        inputs = {"x": x} if not isinstance(x, dict) else x
        tensors = {name: torch.as_tensor(value) for name, value in inputs.items()}
        module = copy.deepcopy(self.module).eval()
        for tensor in tensors.values():
            if tensor.is_floating_point():
                module = module.to(tensor.dtype)
                tensor.requires_grad_(True)
        if weights is not None:
            module.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()}, strict=False)
        found: dict[str, Any] = {}
        for name, part in module.named_modules():
            if name:
                part.register_forward_hook(lambda _, __, out, name=name: found.update(_by_number(name, out)))
        outputs = _by_number(OUTPUT, module(*tensors.values()))
        total = sum((out * _pattern(torch, out)).sum() for out in outputs.values() if out.is_floating_point())
        shown = found | outputs
        wanted = dict(module.named_parameters()) | {name: t for name, t in tensors.items() if t.requires_grad}
        if isinstance(total, torch.Tensor) and total.requires_grad:
            slopes = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
            pairs = zip(wanted, slopes, strict=True)
            shown |= {f"gradient of {name}": slope for name, slope in pairs if slope is not None}
        return {name: value.detach().numpy() for name, value in shown.items()}

    def weights(self) -> Tensors:
        """Its parameters and buffers."""
        return {name: value.detach().cpu().numpy() for name, value in self.module.state_dict().items()}


class KerasLayer:
    """A Keras model or layer: its outputs, in the precision that it was made in."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, weights: Tensors | None, x: Any) -> Any:
        keras = sys.modules["keras"]
        if weights is not None:
            held = {each.path: each for each in self.layer.weights}
            for name, value in weights.items():
                held[name].assign(value)
        inputs = list(x.values()) if isinstance(x, dict) else [x]
        out = self.layer(*inputs)
        return {name: keras.ops.convert_to_numpy(value) for name, value in _by_number(OUTPUT, out).items()}

    def weights(self) -> Tensors:
        """Its weights by their paths."""
        keras = sys.modules["keras"]
        return {each.path: keras.ops.convert_to_numpy(each.value) for each in self.layer.weights}


def _by_number(name: str, out: Any) -> dict[str, Any]:
    """What a layer returned, by name; of several each by its place."""
    if isinstance(out, Mapping):
        return {f"{name}.{key}": value for key, value in out.items()}
    if isinstance(out, (tuple, list)):
        found: dict[str, Any] = {}
        for place, value in enumerate(out):
            found |= _by_number(f"{name}.{place}" if place else name, value)
        return found
    return {name: out}


def _pattern(torch: Any, out: Any) -> Any:
    """Fixed numbers between -1 and 1 in the shape of an output, the same in every precision and library."""
    return torch.as_tensor(pattern(tuple(out.shape))).to(out.dtype)


def pattern(shape: tuple[int, ...]) -> Array:
    """Fixed numbers between -1 and 1, in float32: the weights of the sum whose gradients are compared."""
    numbers: Array = np.cos(np.arange(int(np.prod(shape))) * 0.7).astype(np.float32)
    return numbers.reshape(shape)
