"""What a framework of an environment has: its version, its built-ins by kind, and what they take.

``python -m conformance.atlas.survey FRAMEWORK ANSWER < calls`` writes JSON; it is run by the environment's interpreter.
"""

import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from conformance.data.wording import one_line
from conformance.identification.frameworks import parameters_of
from conformance.identification.frameworks.discovery import NEEDS, discover
from conformance.identification.interpreter import Interpreter
from conformance.runs.outcome import BadInput

FRAMEWORKS = tuple(NEEDS)
KINDS = ("optimizer", "loss", "activation", "normalization", "initializer", "schedule")
DISTRIBUTIONS = {
    "torch": ("torch",), "keras": ("keras", "tensorflow", "tensorflow-cpu"), "jax": ("jax", "jaxlib", "flax"),
    "optax": ("optax", "jax"),
}  # fmt: skip
SECONDS = 300.0


class Signature(NamedTuple):
    """What a built-in takes: the arguments that it needs, and the others with their defaults as Python writes them."""

    needed: tuple[str, ...]
    defaults: Mapping[str, str]


class Survey(NamedTuple):
    """What was found. ``versions`` is empty for a framework that is not installed."""

    versions: Mapping[str, str]
    found: Mapping[str, Sequence[str]]
    signatures: Mapping[str, Signature]


def survey(framework: str, calls: Sequence[str], interpreter: Interpreter) -> Survey:
    """Ask an environment for a framework. Raises BadInput where its interpreter cannot answer."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        answer = Path(folder) / "answer.json"
        command = [interpreter.python, "-m", __name__, framework, str(answer)]
        environment = os.environ | dict(interpreter.environment(Path(folder)))
        try:
            done = subprocess.run(command, input="\n".join(calls), capture_output=True, text=True,
                                  timeout=SECONDS, env=environment, check=False)  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadInput(f"{interpreter.python} cannot be asked for {framework}: {one_line(str(error))}") from error
        if done.returncode or not answer.exists():
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise BadInput(f"{interpreter.python} cannot be asked for {framework}: {one_line(said[-1])}")
        held = json.loads(answer.read_text(encoding="utf-8"))
    signatures = {
        name: Signature(tuple(given["needed"]), given["defaults"]) for name, given in held.pop("taken").items()
    }
    return Survey(held["versions"], held["found"], signatures)


def look(framework: str, calls: Sequence[str]) -> dict[str, Any]:
    """The answer, in the environment's own process."""
    versions = {name: number for name in DISTRIBUTIONS[framework] if (number := _version(name))}
    try:
        for package in NEEDS[framework]:
            import_module(package)
    except ImportError:
        return {"versions": {}, "found": {}, "taken": {}}
    found = {kind: discover(framework, kind) for kind in KINDS}
    names = dict.fromkeys([*calls, *(name for own in found.values() for name in own)])
    taken = {name: signature for name in names if (signature := _taken(name)) is not None}
    return {"versions": {**versions, "python": platform.python_version()}, "found": found, "taken": taken}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _taken(name: str) -> dict[str, Any] | None:
    """What a dotted name takes; None of what is not there, and empty of what does not say."""
    module, _, own = (
        name.replace("tf.", "tensorflow.", 1).rpartition(".") if name.startswith("tf.") else name.rpartition(".")
    )
    try:
        thing = getattr(import_module(module), own)
    except (ImportError, AttributeError):
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
    return repr(default)


if __name__ == "__main__":
    answered = look(sys.argv[1], sys.stdin.read().split("\n"))
    Path(sys.argv[2]).write_text(json.dumps(answered), encoding="utf-8")
    os._exit(0)  # as the worker of a target ends
