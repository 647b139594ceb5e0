"""A training that one implementation begins and another goes on with, as an implementation: ``torch-to-jax``.

The first half of the training is made by the one in a process of its own (``hand_over_source``), which leaves a
checkpoint (``checkpoints``); the other reads it in this process, and goes on. So the check ``free_running`` of a recipe
with ``fit = "in_halves"`` holds the curve, what stood in the checkpoint and all that training ends with against the
oracle of a training that never moved, with the allowances of any other.

The target of a pair is ``conformance.exchange.hand_over:FIRST-to-SECOND``, an attribute that no name of Python can be.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from conformance.adapters.guarded import Malformed
from conformance.adapters.registry import JOINT, OWN, available, load, pair_named, require_available
from conformance.adapters.session import Adapter, Session, Training, TrainingState, Unsupported
from conformance.data.files import DataError
from conformance.exchange.checkpoints import SUFFIX, load_checkpoint, require_of
from conformance.exchange.hand_over_source import Elsewhere
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors


class Source(Protocol):
    """Who begins a training."""

    def begin(self, problem: Problem, epochs: int, checkpoint_epochs: tuple[int, ...], file: Path) -> Training:
        """The first ``epochs`` of the training of a problem, which are left behind as a checkpoint in ``file``."""


def ordered_pairs(names: Iterable[str]) -> list[str]:
    """Every ordered pair of implementations, each with itself too; what is a pair already stays.

    Raises ValueError for any other name.

    >>> ordered_pairs(["numpy", "torch"])
    ['numpy-to-numpy', 'numpy-to-torch', 'torch-to-numpy', 'torch-to-torch']
    """
    given = list(dict.fromkeys(names))
    single = [name for name in given if pair_named(name) is None]
    require_available(single, "are handed over", [a + JOINT + b for a in OWN for b in OWN])
    return [name for name in given if name not in single] + [f"{a}-to-{b}" for a in single for b in single]


class HandOverAdapter:
    """Makes sessions in which ``first`` begins a training and ``second``, which this process loads, goes on."""

    first: str
    second: str

    def __init__(self, device: str) -> None:
        self._second: Adapter = load(available()[self.second])(device)
        self._source = Elsewhere(self.first, device)
        self._folder = tempfile.TemporaryDirectory(prefix="hand-over-")
        self.device = self._second.device

    def versions(self) -> Mapping[str, str]:
        return self._second.versions()

    def settings(self) -> Mapping[str, Any]:
        return {**self._second.settings(), "first half": self.first}

    def session(self, problem: Problem) -> "HandedOver":
        return HandedOver(problem, self._source, self._second.session(problem), Path(self._folder.name))


def __getattr__(name: str) -> type[HandOverAdapter]:
    pair = pair_named(name)
    if pair is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: must be FIRST-to-SECOND")
    return type("HandOverAdapter", (HandOverAdapter,), {"first": pair[0], "second": pair[1]})


class HandedOver(Session):
    """A training that ``source`` begins and ``second`` goes on with, from a file in ``folder``; no more is offered."""

    def __init__(self, problem: Problem, source: Source, second: Session, folder: Path) -> None:
        if problem.recipe.fit != "in_halves":
            raise Unsupported(
                f"a training is handed over where a recipe has fit='in_halves', not {problem.recipe.fit!r}"
            )
        self._problem, self._source, self._second = problem, source, second
        self._file = folder / f"checkpoint{SUFFIX}"

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        if start is None:
            return self._source.begin(self._problem, problem.recipe.epochs, checkpoint_epochs, self._file)
        try:
            checkpoint = load_checkpoint(self._file)
            require_of(checkpoint, self._problem, self._file.name)
        except DataError as error:
            raise Malformed(str(error)) from error
        if checkpoint.state.step != start.step:
            raise Malformed(
                f"optimizer/step is {checkpoint.state.step - 1} in the checkpoint: must be {start.step - 1}"
            )
        return self._second.fit(problem, checkpoint_epochs, checkpoint.state)

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return self._second.predict_classes(parameters, x, statistics)
