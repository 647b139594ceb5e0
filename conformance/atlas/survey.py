"""What a framework of an environment has: its version, its built-ins by kind, and what they take.

``python -m conformance.atlas.survey FRAMEWORK ANSWER < calls`` writes JSON; it is run by the environment's interpreter.
"""

import inspect
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conformance.identification.frameworks import parameters_of
from conformance.wrappers.discovering import walked

NEEDS = {"torch": ("torch",), "keras": ("keras", "tensorflow"), "jax": ("jax", "optax"), "optax": ("jax", "optax")}
FRAMEWORKS = tuple(NEEDS)
KINDS = ("optimizer", "loss", "activation", "normalization", "initializer", "schedule", "regularizer", "layer")
# Which of the harness's frameworks has a framework's built-ins, and how their names begin.
HELD_BY = {
    "torch": ("torch", ("torch.",)), "keras": ("tf", ("keras.", "tf.")), "jax": ("jax", ("jax.",)),
    "optax": ("jax", ("optax.",)),
}  # fmt: skip
DISTRIBUTIONS = {
    "torch": ("torch",), "keras": ("keras", "tensorflow", "tensorflow-cpu"), "jax": ("jax", "jaxlib", "flax"),
    "optax": ("optax", "jax"),
}  # fmt: skip


def look(framework: str, calls: Sequence[str]) -> dict[str, Any]:
    """The answer, in the environment's own process."""
    versions = {name: number for name in DISTRIBUTIONS[framework] if (number := _version(name))}
    try:
        for package in NEEDS[framework]:
            import_module(package)
    except ImportError:
        return {"versions": {}, "found": {}, "taken": {}}
    found = _found(framework, calls)
    names = dict.fromkeys([*calls, *(name for own in found.values() for name in own)])
    taken = {name: signature for name in names if (signature := _taken(name)) is not None}
    return {"versions": {**versions, "python": platform.python_version()}, "found": found, "taken": taken}


def _found(framework: str, calls: Sequence[str]) -> dict[str, list[str]]:
    """The built-ins by kind, as ``namespaces.toml`` calls kinds, without those that are ``calls`` by other names."""
    harness, beginnings = HELD_BY[framework]
    known = {id(_thing(call)) for call in calls} | {id(None)}
    found: dict[str, list[str]] = {}
    for name, kind in walked(harness):
        if name.startswith(beginnings) and id(_thing(name)) not in known:
            found.setdefault(kind, []).append(name)
    return found


def _thing(name: str) -> Any:
    """What a dotted name stands for; None of what is not there."""
    module, _, own = (f"tensorflow.{name[3:]}" if name.startswith("tf.") else name).rpartition(".")
    try:
        return getattr(import_module(module), own)
    except (ImportError, AttributeError, ValueError):
        return None


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _taken(name: str) -> dict[str, Any] | None:
    """What a dotted name takes; None of what is not there, and empty of what does not say."""
    thing = _thing(name)
    if thing is None:
        return None
    try:
        parameters = parameters_of(thing).values()
    except (ValueError, TypeError):
        return {"needed": [], "defaults": {}}
    own_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [p for p in parameters if p.kind not in own_kinds]
    return {
        "needed": [p.name for p in named if p.default is p.empty],
        "defaults": {p.name: _written(p.default) for p in named if p.default is not p.empty},
    }


def _written(default: Any) -> str:
    """A default as Python writes it; a function by its name, without where it lies in memory."""
    if callable(default):
        return str(getattr(default, "__name__", type(default).__name__))
    return re.sub(r" at 0x[0-9a-f]+", "", repr(default))


if __name__ == "__main__":
    answered = look(sys.argv[1], sys.stdin.read().split("\n"))
    Path(sys.argv[2]).write_text(json.dumps(answered), encoding="utf-8")
    os._exit(0)  # as the worker of a target ends
