"""Code that is run in this process: what ``Processes`` does without processes of their own, for many at once."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from conformance.identification.asking import Asked
from conformance.identification.identify import answered
from conformance.identification.kinds import Subject
from conformance.identification.process import Declined
from conformance.runs.outcome import BadInput
from conformance.translation.calls import MADE
from conformance.translation.code import MAKE

sys.path.insert(0, str(Path(__file__).parents[1] / "identification"))

from in_process import InProcess

ASKED_BY = {"torch": "torch", "tf": "tf", "jax": "jax", "numpy": "plain"}


class InThisProcess:
    """A trial; ``lacking``: frameworks that it says are not installed."""

    def __init__(self, lacking=()):
        self.lacking = lacking
        self._made = {}

    def has(self, framework):
        return framework not in self.lacking

    def run(self, code, exercise, dtype):
        assert self.has(code.framework)
        key = (code.module(dtype), dtype, *(array.tobytes() for array in exercise.as_arrays().values()))
        if key not in self._made:
            self._made[key] = self._run(code, exercise, dtype)
        return self._made[key]

    def identified(self, framework, target, module, kind):
        assert self.has(framework)
        if not target:
            made = ModuleType(f"translated_{len(self._made)}_{abs(hash(module))}")
            exec(compile(module, "translated", "exec"), vars(made))
            sys.modules[made.__name__] = made
            target = f"{made.__name__}:{MADE}"
        try:
            return answered(InProcess(target, kind))
        except ValueError as error:
            raise BadInput(str(error)) from error

    def _run(self, code, exercise, dtype):
        names = {}
        exec(compile(code.module(dtype), "translated", "exec"), names)
        framework = import_module(f"conformance.identification.frameworks.{ASKED_BY[code.framework]}")
        try:
            asked = Asked(Subject("optimizer", names[MAKE], {}, (framework,)))
        except ValueError as error:
            raise BadInput(str(error)) from error
        try:
            return asked.answer("optimize", exercise.as_arrays())
        except Exception as error:
            raise Declined(f"{type(error).__name__}: {error}") from error
