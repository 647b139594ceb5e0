"""Code that makes optimizers, run: each framework's in a process of its own, on gradients that are given to it."""

import hashlib
from types import TracebackType
from typing import Protocol

from conformance.adapters.installation import installed
from conformance.identification.answer import Answer
from conformance.identification.exercises import Exercise, Tensors
from conformance.identification.identify import answered
from conformance.identification.process import Questioned
from conformance.runs.answers import Limits
from conformance.translation.calls import MADE
from conformance.translation.code import MAKE, Code

_FIRST = ("numpy:abs", "activation")  # what a process is asked for before there is any code


class Trial(Protocol):
    """Where code is run."""

    def has(self, framework: str) -> bool:
        """Whether a framework is installed: ``torch``, ``tf``, ``jax`` or ``numpy``."""

    def run(self, code: Code, exercise: Exercise, dtype: str) -> Tensors:
        """Each parameter after each step. Raises BadInput or Declined where the code makes no optimizer."""

    def identified(self, framework: str, target: str, module: str, kind: str | None) -> Answer:
        """Which formulation a target is; without one what ``module``, a text, has as ``made``. Raises BadInput."""


class Processes:
    """A process for each framework, started when it is first needed; what was run is not run again.

    Use it in a ``with``: they end with it.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits
        self._asked: dict[str, Questioned] = {}
        self._made: dict[str, Tensors] = {}  # by what was run
        self._answers: dict[tuple[str, str, str, str | None], Answer] = {}  # by what was asked

    def has(self, framework: str) -> bool:
        """As in :class:`Trial`."""
        return framework in installed()

    def run(self, code: Code, exercise: Exercise, dtype: str) -> Tensors:
        """As in :class:`Trial`. Raises Incomplete too, where the process ends or takes too long."""
        module, arrays = code.module(dtype), exercise.as_arrays()
        name = hashlib.sha256(module.encode()).hexdigest()[:16]
        key = name + hashlib.sha256(b"".join(arrays[each].tobytes() for each in sorted(arrays))).hexdigest()
        if key not in self._made:
            asked = self._process(code.framework)
            (asked.scratch / f"translated_{name}.py").write_text(module, encoding="utf-8")
            asked.turn_to(f"translated_{name}:{MAKE}", "optimizer")
            self._made[key] = asked.ask("optimize", arrays)
        return self._made[key]

    def identified(self, framework: str, target: str, module: str, kind: str | None) -> Answer:
        """As in :class:`Trial`. Raises Incomplete too."""
        key = (framework, target, module, kind)
        if key not in self._answers:
            self._answers[key] = self._answer(framework, target, module, kind)
        return self._answers[key]

    def _answer(self, framework: str, target: str, module: str, kind: str | None) -> Answer:
        asked = self._process(framework)
        if not target:
            name = f"translated_{hashlib.sha256(module.encode()).hexdigest()[:16]}"
            (asked.scratch / f"{name}.py").write_text(module, encoding="utf-8")
            target = f"{name}:{MADE}"
        asked.turn_to(target, kind)
        return answered(asked)

    def _process(self, framework: str) -> Questioned:
        if framework not in self._asked:
            self._asked[framework] = Questioned(*_FIRST, self._limits)
        return self._asked[framework]

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for asked in self._asked.values():
            asked.close()
