"""What a framework has ready made, found by walking its public namespaces; in the framework's own process.

Classes are told by the framework's own base classes, functions by what they take and return.
"""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from conformance.data.wording import listed, nearest, shown
from conformance.identification.frameworks import RATES


class Space(NamedTuple):
    """A namespace, what is looked for in it, and by which rule it is told."""

    module: str
    kind: str
    rule: Callable[[Any, str, Any], bool]


def discover(framework: str, kind: str) -> list[str]:
    """The dotted names of a framework's built-ins of a kind, in the order of the alphabet; each thing once.

    ``framework`` is ``torch``, ``keras``, ``jax`` or ``optax``; one that is not installed has none. Raises ValueError
    for another framework or kind.
    """
    _check("framework", framework, tuple(SPACES))
    _check("kind", kind, tuple(dict.fromkeys(space.kind for spaces in SPACES.values() for space in spaces)))
    names: dict[int, str] = {}
    if not all(find_spec(package) for package in NEEDS[framework]):
        return []
    asking = import_module(f"conformance.identification.frameworks.{ASKED_BY[framework]}")
    for space in SPACES[framework]:
        if space.kind == kind:
            for name, thing in public(space.module):
                if not name.startswith(PARTS) and space.rule(asking, kind, thing) and not _is_an_alias(name, thing):
                    names.setdefault(id(thing), f"{space.module}.{name}")
    return sorted(names.values(), key=str.lower)


def public(module: str) -> Iterator[tuple[str, Any]]:
    """What a namespace offers: its names without an underscore, modules left out; nothing of one that is not there."""
    try:
        space = import_module(module)
    except ImportError:
        return
    for name in dir(space):
        thing = getattr(space, name)
        if not name.startswith("_") and not inspect.ismodule(thing):
            yield name, thing


def a_class(asking: Any, kind: str, thing: Any) -> bool:
    """A class of the framework's own make that is of the kind, its bases left out."""
    return isinstance(thing, type) and thing.__name__ not in BASES and asking.recognised(thing) == kind


def of_one_array(asking: Any, kind: str, thing: Any) -> bool:
    """A function that makes of an array one of the same shape, whatever numbers it holds."""
    if isinstance(thing, type) or not callable(thing) or _needed(thing) != 1:
        return False
    z = np.zeros((2, 4), np.float32)
    try:
        shape = asking.shaped(thing, z) if hasattr(asking, "shaped") else asking.evaluated(thing, [z], None)[0].shape
    except Exception:  # whatever it says of what it wants
        return False
    return bool(shape == z.shape)


def of_two(asking: Any, kind: str, thing: Any) -> bool:
    """A function that takes at least two arguments, as a loss does outputs and targets."""
    return inspect.isfunction(thing) and len(inspect.signature(thing).parameters) >= 2


def with_a_rate(asking: Any, kind: str, thing: Any) -> bool:
    """A function that takes a rate and returns a gradient transformation."""
    if isinstance(thing, type) or not callable(thing):
        return False
    try:
        signature = inspect.signature(thing)
    except (ValueError, TypeError):
        return False
    taken = any(name.endswith(RATES[0]) for name in signature.parameters)
    return taken and "GradientTransformation" in str(signature.return_annotation)


def in_place(asking: Any, kind: str, thing: Any) -> bool:
    """A function of ``torch.nn.init`` that fills a tensor."""
    return inspect.isfunction(thing) and thing.__name__.endswith("_") and asking.recognised(thing) == kind


def a_function(asking: Any, kind: str, thing: Any) -> bool:
    """Any function."""
    return inspect.isfunction(thing)


PARTS = ("scale",)  # how optax names what optimizers are put together from
BASES = ("Optimizer", "LRScheduler", "Loss", "Initializer", "LearningRateSchedule")
NEEDS = {"torch": ("torch",), "keras": ("keras", "tensorflow"), "jax": ("jax", "optax"), "optax": ("jax", "optax")}
ASKED_BY = {"torch": "torch", "keras": "tf", "jax": "jax", "optax": "jax"}  # modules beside this file
SPACES: dict[str, tuple[Space, ...]] = {
    "torch": (
        Space("torch.optim", "optimizer", a_class),
        Space("torch.optim.lr_scheduler", "schedule", a_class),
        Space("torch.nn", "activation", a_class),
        Space("torch.nn", "loss", a_class),
        Space("torch.nn", "normalization", a_class),
        Space("torch.nn.init", "initializer", in_place),
    ),
    "keras": (
        Space("keras.optimizers", "optimizer", a_class),
        Space("keras.optimizers.schedules", "schedule", a_class),
        Space("keras.activations", "activation", of_one_array),
        Space("keras.layers", "activation", a_class),
        Space("keras.losses", "loss", a_class),
        Space("keras.layers", "normalization", a_class),
        Space("keras.initializers", "initializer", a_class),
    ),
    "jax": (
        Space("jax.nn", "activation", of_one_array),
        Space("jax.nn.initializers", "initializer", a_function),
    ),
    "optax": (
        Space("optax", "optimizer", with_a_rate),
        Space("optax.schedules", "schedule", a_function),
        Space("optax.losses", "loss", of_two),
    ),
}


def _needed(function: Callable[..., Any]) -> int:
    """How many arguments have no default; 0 where a function does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return 0
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _is_an_alias(name: str, thing: Any) -> bool:
    """Whether a class goes by another name than its own, as Keras's ``glorot_uniform`` for ``GlorotUniform``."""
    return isinstance(thing, type) and name[0].islower() and thing.__name__[0].isupper()


def _check(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(
            f"{field}={shown(value)} is not allowed: must be one of {listed(known)}{nearest(value, known)}"
        )
