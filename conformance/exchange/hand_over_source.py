"""Who begins a training that is handed over: an implementation in a process of its own, which leaves a checkpoint.

The process is that of any subject (``worker``). It is asked with one array, the request's JSON as bytes, and answers
with the training's arrays by their paths.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.adapters.guarded import open_session
from conformance.adapters.registry import available, load
from conformance.adapters.session import Adapter, State, Training, Unsupported
from conformance.exchange.checkpoints import Checkpoint, save_checkpoint
from conformance.exchange.requests import bytes_of, text_of
from conformance.exchange.worker import Away
from conformance.problems.preparation import prepare
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import Recipe
from conformance.results.grammar import flatten, unflatten

REQUEST, UNSUPPORTED, ABSENT = "request", "unsupported", "not offered"
# What of a training is a dict, and which of these are by epoch.
_NESTED = ("parameters", "slots", "checkpoints", "statistics", "checkpoint_slots", "checkpoint_statistics")
_BY_EPOCH = ("checkpoints", "checkpoint_slots", "checkpoint_statistics")


@dataclass(frozen=True)
class Here:
    """An implementation that is loaded in this process, by its ``name``."""

    name: str
    adapter: Adapter

    def begin(self, problem: Problem, epochs: int, checkpoint_epochs: tuple[int, ...], file: Path) -> Training:
        """The first ``epochs`` of a problem's training, which are left behind as a checkpoint. Raises Unsupported."""
        session = open_session(self.adapter, problem)
        training = session.fit(problem.epochs(0, epochs), checkpoint_epochs, None)
        steps = epochs * problem.batches_per_epoch if training.steps is None else training.steps
        left = Checkpoint(training.parameters, State(steps, training.slots), training.statistics)
        save_checkpoint(file, left, recipe=problem.recipe, writer=self.name)
        return training


class Elsewhere:
    """An implementation in a process of its own, which is started when it is first asked."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, device
        self._process: Away | None = None

    def begin(self, problem: Problem, epochs: int, checkpoint_epochs: tuple[int, ...], file: Path) -> Training:
        """As :meth:`Here.begin`. Raises Unsupported, and SubjectError where the process fails."""
        if self._process is None:
            self._process = Away(f"{__name__}:{self.name}@{self.device}")
        request = {
            "recipe": problem.recipe.model_dump(mode="json"), "dtype": problem.dtype.name, "epochs": epochs,
            "checkpoint_epochs": checkpoint_epochs, "file": str(file),
        }  # fmt: skip
        found = self._process.run(None, {REQUEST: bytes_of(json.dumps(request))})
        if UNSUPPORTED in found:
            raise Unsupported(text_of(found[UNSUPPORTED]))
        return training_from(found)


def __getattr__(name: str) -> Callable[[Any], Tensors]:
    implementation, at, device = name.partition("@")
    if not at:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: must be IMPLEMENTATION@DEVICE")
    here = Here(implementation, load(available()[implementation])(device))
    return lambda request: answer(here, request)


def answer(here: Here, request: Array) -> Tensors:
    """What a process answers to a request."""
    asked = json.loads(text_of(request))
    problem = prepare(Recipe.model_validate(asked["recipe"]), asked["dtype"])
    try:
        training = here.begin(problem, asked["epochs"], tuple(asked["checkpoint_epochs"]), Path(asked["file"]))
    except Unsupported as error:
        return {UNSUPPORTED: bytes_of(str(error))}
    return as_arrays(training)


def as_arrays(training: Training) -> Tensors:
    """The fields of a training, flattened, with the names of those that are not offered."""
    fields = training._asdict()
    absent = [name for name, value in fields.items() if value is None]
    offered = {name: value for name, value in fields.items() if value is not None}
    return {ABSENT: bytes_of(json.dumps(absent)), **flatten(offered)}


def training_from(arrays: Tensors) -> Training:
    """The inverse of :func:`as_arrays`. (A part that held nothing is not among the arrays.)"""
    tree = unflatten(arrays)
    absent = json.loads(text_of(tree.pop(ABSENT)))
    values: dict[str, Any] = {name: {} for name in _NESTED} | tree
    for name in _BY_EPOCH:
        values[name] = {int(epoch): found for epoch, found in values[name].items()}
    values |= {name: int(values[name]) for name in ("best_epoch", "steps") if name in tree}
    return Training(**values | dict.fromkeys(absent))
