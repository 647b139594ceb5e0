"""Which built-ins the installed frameworks have: their public namespaces are walked, in a process of the framework.

That process is this file: ``python -m conformance.wrappers.discovering FRAMEWORK``. ``namespaces.toml`` beside it says
where each framework keeps what.
"""

import importlib
import inspect
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("namespaces.toml")
SECONDS = 120.0  # for a framework to be imported
# Functions beside built-ins: of Keras's modules those that find what these hold, of torch.nn.init one of a number.
NO_BUILTINS = ("deserialize", "get", "serialize", "calculate_gain")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


class Found(NamedTuple):
    """A built-in that a framework has: its dotted name and its kind."""

    name: str
    kind: str


class NotFound(Exception):
    """A framework that cannot be looked into; the message says why."""


def discover(framework: str, python: str = sys.executable) -> list[Found]:
    """The built-ins of a framework, as the harness calls it, in an installation of Python. Raises NotFound."""
    try:
        ended = subprocess.run(
            [python, "-m", "conformance.wrappers.discovering", framework], capture_output=True, text=True,
            errors="replace", timeout=SECONDS, env=os.environ | QUIET, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return [Found(*each) for each in json.loads(ended.stdout)]
    except subprocess.TimeoutExpired as error:
        raise NotFound(f"{framework}: no answer within {SECONDS:g} s") from error
    except (OSError, ValueError) as error:
        said = ended.stderr.strip().splitlines() if isinstance(error, ValueError) else [str(error)]
        raise NotFound(f"{framework}: cannot be looked into: {(said or ['it said nothing'])[-1]}") from error


def walked(framework: str) -> Iterator[Found]:
    """The built-ins of a framework in this process; a module that is not installed has none."""
    for path, kinds in tables()[framework].items():
        try:
            module = importlib.import_module(path)
        except ImportError:
            continue
        seen: set[int] = set()  # classes under several names are told by the first
        for name, thing in vars(module).items():
            kind = None if name.startswith("_") or name in NO_BUILTINS else _kind(name, thing, kinds)
            if kind is not None and id(thing) not in seen:
                seen |= {id(thing)} if inspect.isclass(thing) else set()
                yield Found(f"{path.replace('tensorflow.', 'tf.')}.{name}", kind)


@cache
def tables() -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """``namespaces.toml``: by framework and module the kinds that it holds, and what is of them."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _kind(name: str, thing: Any, kinds: Mapping[str, Mapping[str, Any]]) -> str | None:
    return next((kind for kind, rule in kinds.items() if _fits(name, thing, rule)), None)


def _fits(name: str, thing: Any, rule: Mapping[str, Any]) -> bool:
    if name.endswith("_") and not rule.get("in_place", True):
        return False
    if "classes" in rule:
        base = _resolved(rule["classes"])
        alike = inspect.isclass(thing) and issubclass(thing, base) and thing is not base
    else:
        alike = callable(thing) and not inspect.isclass(thing)
    home = str(getattr(getattr(thing, "func", thing), "__module__", "")).rpartition(".")[2]
    return alike and ("of" not in rule or any(_is_of(name, home, part) for part in rule["of"]))


def _is_of(name: str, home: str, part: str) -> bool:
    """Whether a thing is of a module by its end, or of a name by its part."""
    return part[1:] in name if part.startswith("*") else home == part


@cache
def _resolved(dotted: str) -> type:
    module, _, name = dotted.rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)  # what a framework prints is no answer
    os.write(answers, json.dumps(list(walked(sys.argv[1]))).encode())
    os._exit(0)  # a framework's threads are not waited for
