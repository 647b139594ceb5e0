"""An environment asked what it has of a framework, by a process of its interpreter."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from conformance.data.wording import one_line
from conformance.runs.interpreter import Interpreter
from conformance.runs.outcome import BadInput
from conformance.translation.calls import KINDS

SECONDS = 300.0
SINGULAR = {"optimizers": "optimizer", "regularizers": "regularizer", "layers": "layer", **KINDS}


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
        command = [interpreter.python, "-m", "conformance.atlas.survey", framework, str(answer)]
        environment = os.environ | dict(interpreter.environment(Path(folder)))
        try:
            done = subprocess.run(command, input="\n".join(calls), capture_output=True, text=True,
                                  timeout=SECONDS, env=environment, check=False)  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadInput(f"{interpreter.python} cannot be asked for {framework}: {one_line(str(error))}") from error
        if done.returncode or not answer.exists():
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise BadInput(f"{interpreter.python} cannot be asked for {framework}: {one_line(said[-1])}")
        return told(json.loads(answer.read_text(encoding="utf-8")))


def told(held: Mapping[str, Any]) -> Survey:
    """What ``conformance.atlas.survey`` answered."""
    signatures = {name: Signature(tuple(given["needed"]), given["defaults"]) for name, given in held["taken"].items()}
    found = {SINGULAR[kind]: names for kind, names in held["found"].items() if kind in SINGULAR}
    return Survey(held["versions"], found, signatures)
