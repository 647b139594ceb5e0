"""Of what kind a target is, and whose: asked of the framework that it is made with, else read off its arguments."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from conformance.data.wording import listed, nearest, shown
from conformance.identification.frameworks import RATES, Framework, parameters_of
from conformance.identification.target import KINDS, Target, load

# Of each framework's module beside this file: the packages whose things it can ask.
PACKAGES = {"torch": ("torch",), "tf": ("keras", "tensorflow"), "jax": ("jax", "optax", "flax", "equinox")}
_STEPS = ("step", "t", "epoch", "count", "iteration")
_PARAMETERS = ("params", "parameters")
_MOST_FACTORIES = 3  # a function that makes a function that makes one


class Subject(NamedTuple):
    """What is asked: an object, a class or a function with its keywords, of a kind, by one of some frameworks."""

    kind: str
    thing: Any
    keywords: Mapping[str, Any]
    frameworks: tuple[Any, ...]


def subject(target: Target, kind: str | None) -> Subject:
    """Load a target and find its kind, unless it is said. Raises ValueError where it cannot be had or told."""
    thing, keywords, before = load(target), target.keywords, None
    _require_known(target, thing)
    for _ in range(_MOST_FACTORIES):
        frameworks = tuple(_frameworks(thing))
        found = _recognised(thing, frameworks) or _by_arguments(thing, keywords)
        if found in ("optimizer", "layer") and kind in (None, found) and before is not None:
            return Subject(found, *before)  # by what makes it, so that it can be made anew
        if found in KINDS and kind in (None, found):
            return Subject(found, thing, keywords, frameworks)
        if kind is not None and (found != "factory" or kind in ("optimizer", "layer")):
            return Subject(kind, thing, keywords, frameworks)
        if found != "factory":
            break
        before = (thing, keywords, frameworks)
        thing, keywords = _called(target, thing, keywords), {}
    raise ValueError(
        f"target {target.module}:{target.attribute}: its kind cannot be told; say it: one of {listed(KINDS)};"
        f" it needs {listed(missing(thing, keywords) or ['nothing'])}"
    )


def _require_known(target: Target, thing: Any) -> None:
    """Raise ValueError, with the nearest, for an argument that a class or a function which says its own has not."""
    try:
        known = parameters_of(thing)
    except (ValueError, TypeError):  # of what is written in C, or is not called
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in target.keywords:
        if name not in known:
            raise ValueError(
                f"argument={shown(name)} of {target.module}:{target.attribute} is not allowed: must be one of"
                f" {listed(known)}{nearest(name, known)}"
            )


def _recognised(thing: Any, frameworks: tuple[Framework, ...]) -> str | None:
    return next((known for each in frameworks if (known := each.recognised(thing))), None)


def missing(thing: Any, keywords: Mapping[str, Any]) -> list[str] | None:
    """The arguments that a function still needs, by name; None where it does not say."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (ValueError, TypeError):
        return None
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    return [p.name for p in parameters if p.kind in positional and p.default is p.empty and p.name not in keywords]


def _by_arguments(thing: Any, keywords: Mapping[str, Any]) -> str | None:
    """The kind by the arguments that are missing; ``"factory"`` where none is."""
    if not callable(thing):
        return None
    needed = missing(thing, keywords)
    if needed is None:
        return "activation"
    if not needed:
        return "factory"
    if "shape" in needed:
        return "initializer"
    if needed[0] in (*_PARAMETERS, *RATES) or len(needed) == 3:
        return "optimizer"
    if needed[0] in _STEPS:
        return "schedule"
    return {1: "activation", 2: "loss"}.get(len(needed))


def _called(target: Target, thing: Callable[..., Any], keywords: Mapping[str, Any]) -> Any:
    try:
        return thing(**keywords)
    except Exception as error:  # whatever somebody's code raises
        raise ValueError(
            f"target {target.module}:{target.attribute} cannot be made: {type(error).__name__}: {error}"
        ) from error


def _frameworks(thing: Any) -> Iterator[Framework]:
    """Who can ask it: the framework that it is of, those that its module imports, NumPy, then all that are loaded."""
    own = thing if isinstance(getattr(thing, "__module__", None), str) else type(thing)
    bases = [base.__module__ for base in (own if isinstance(own, type) else type(own)).__mro__]
    roots = {name.split(".")[0] for name in (getattr(own, "__module__", None) or "", *bases)}
    module = sys.modules.get(getattr(own, "__module__", None) or "")
    if not roots & {package for packages in PACKAGES.values() for package in packages}:
        roots |= (
            {value.__name__.split(".")[0] for value in vars(module).values() if isinstance(value, ModuleType)}
            if module
            else set()
        )
    names = [name for name, packages in PACKAGES.items() if roots & set(packages)]
    names += ["plain"] + [
        name for name, packages in PACKAGES.items() if name not in names and packages[0] in sys.modules
    ]
    for name in names:
        framework: Any = import_module(f"conformance.identification.frameworks.{name}")
        yield framework
