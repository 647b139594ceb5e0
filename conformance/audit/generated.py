"""The tester tested mechanically: each generated fault is injected into the reference, and some check must catch it.

A fault is tried on the recipes that execute the changed expression, found by tracing, until one of them catches it.
``python -m conformance.audit.generated PART/PARTS [FILE ...]`` tries a share of the faults, or of those of some files,
and prints one JSON object a line.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal, NamedTuple

import numpy as np

import reference_numpy
from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Adapter
from conformance.audit.mutation import situation
from conformance.checks import CHECKS
from conformance.checks.case import Case, build_case
from conformance.faults.generated import FORMULAS, Generated, Lines, generated
from conformance.faults.injection import injected
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from conformance.verdicts.compare import NOT_FAILING, compare

REFERENCE = Path(reference_numpy.__file__).parent
DTYPE = "float64"

# What shows only where two values come together, or where the best epoch is not the last: values, and other settings of
# their recipe. Some pair of ``full`` does each.
FURTHER: tuple[tuple[dict[str, str], dict[str, Any]], ...] = (
    ({"model": "multi-task", "loss": "binary, mean of outputs"}, {}),
    ({"model": "logistic regression", "optimizer": "lbfgs"}, {}),
    ({"batches": "full", "noise": "dropout"}, {}),
    (
        {"stopping": "early stopping"},
        {"optimizer": {"name": "gradient_descent", "learning_rate": 5.0}, "epochs": 12},
    ),
)

Places = dict[str, frozenset[Lines]]  # by file


class Outcome(NamedTuple):
    """What became of a fault.

    Attributes:
        fault: its name.
        outcome: ``caught``, ``survived`` all ``tried`` recipes, or ``not executed`` by any.
        recipe: the recipe on which it was caught, else empty.
        check: the check that caught it there.
        tried: on how many recipes it was tried.
    """

    fault: str
    outcome: Literal["caught", "survived", "not executed"]
    recipe: str = ""
    check: str = ""
    tried: int = 0


@cache
def faults() -> tuple[Generated, ...]:
    """The generated faults of the reference."""
    return generated(REFERENCE)


def try_out(fault: Generated) -> Outcome:
    """Inject a fault into the reference and ask the checks on one recipe after another, until one catches it."""
    tried = 0
    with injected("numpy", fault.edit) as adapter:
        made = adapter("cpu")
        for recipe in _in_order(fault):
            if not executes(recipe, fault):
                continue
            tried += 1
            check = caught_by(made, recipe, with_initialization=fault.file == "initializers.py")
            if check is not None:
                return Outcome(fault.name, "caught", recipe.name, check, tried)
    return Outcome(fault.name, "survived" if tried else "not executed", tried=tried)


def caught_by(adapter: Adapter, recipe: Recipe, *, with_initialization: bool) -> str | None:
    """The first check that sees a difference from the oracle on a recipe, or None."""
    case, expectations = situation(recipe, DTYPE)
    for check, expected in expectations.items():
        if check == "initialization" and not with_initialization:
            continue
        try:
            with np.errstate(all="ignore"):  # a fault may divide by 0
                found = compare(CHECKS[check](adapter.session(case.problem), case), expected)
                failed = any(comparison.verdict not in NOT_FAILING for comparison in found)
        except Exception:  # a fault may well make the code crash: then it is caught
            failed = True
        if failed:
            return check
    return None


@cache
def recipes() -> tuple[Recipe, ...]:
    """Those on which faults are tried: each formulation on its own, which are the smallest, and the default suite.

    And a few of ``FURTHER``: the others of the suite ``full`` would take long and catch nothing more.
    """
    alone = tuple(recipe for recipe in suite("full") if recipe.name.startswith("alone-"))
    further = (recipe_with(values, f"further-{n:03}", **settings) for n, (values, settings) in enumerate(FURTHER))
    return (*alone, *suite("default"), *further)


def _in_order(fault: Generated) -> list[Recipe]:
    """The recipes, first those with the component that the changed function makes."""
    name = fault.function.partition(": ")[2].removesuffix("_backward").removesuffix("_gradient")
    return sorted(recipes(), key=lambda recipe: name not in recipe.components)


def executes(recipe: Recipe, fault: Generated) -> bool:
    """Whether the checks, on a recipe, execute the expression that a fault changes.

    That is whether they execute an instruction made of a part of it, or, where the compiler has made none of its own,
    the one made of the smallest expression around it.
    """
    known, executed = _instructions()[fault.file], _executed(recipe)[fault.file]
    inside = {place for place in known if _within(place, fault.where)}
    if inside:
        return not inside.isdisjoint(executed)
    around = (place for place in known if _within(fault.where, place))
    return min(around, key=lambda place: (place[1] - place[0], place[3] - place[2])) in executed


def _within(inner: Lines, outer: Lines) -> bool:
    begins_after = (outer[0], outer[2]) <= (inner[0], inner[2])
    return begins_after and (inner[1], inner[3]) <= (outer[1], outer[3])


@cache
def _instructions() -> Places:
    """The places of all instructions of the formula files."""
    found = {}
    for file in FORMULAS:
        path = REFERENCE / file
        module = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        found[file] = frozenset(place for code in _codes(module) for place in _places(code) if place)
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@cache
def _places(code: CodeType) -> list[Lines | None]:
    """Of each instruction of a function, where in the file the expression is that it was made of."""
    return [
        None if None in (line, last, start, end) else (line, last, start, end)  # type: ignore[misc]
        for line, last, start, end in code.co_positions()
    ]


@cache
def _executed(recipe: Recipe) -> Places:
    """The places of the instructions that the reference executes when all checks look at it on a recipe."""
    problem = prepare(recipe, DTYPE)
    case = build_case(problem, NumpySession(problem))
    offsets = _traced(case)
    found: dict[str, set[Lines]] = {file: set() for file in FORMULAS}
    for code, executed in offsets.items():
        places = _places(code)
        mine = (places[offset // 2] for offset in executed)  # an instruction has two bytes
        found[Path(code.co_filename).name].update(place for place in mine if place)
    return {file: frozenset(places) for file, places in found.items()}


def _traced(case: Case) -> dict[CodeType, set[int]]:
    """The instructions of each function of the formula files, by their offset, that the checks execute on a case."""
    files = {str(REFERENCE / file) for file in FORMULAS}
    offsets: dict[CodeType, set[int]] = {}

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        executed = offsets.setdefault(frame.f_code, set())

        def traced(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "opcode":
                executed.add(frame.f_lasti)
            return traced

        return traced

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        for observe in CHECKS.values():
            for _ in observe(NumpySession(case.problem), case):
                pass
    finally:
        sys.settrace(before)
    return offsets


def outcomes(chosen: Iterable[Generated]) -> Iterator[Outcome]:
    """What becomes of each fault."""
    return map(try_out, chosen)


def main(share: str, *files: str) -> None:
    """Try a share of the faults, or of those of some files, and print what became of them, a line each.

    A share is of neighbours, which are caught on the same recipes.
    """
    part, _, parts = share.partition("/")
    chosen = [fault for fault in faults() if not files or fault.file in files]
    first, last = (len(chosen) * number // int(parts) for number in (int(part), int(part) + 1))
    for outcome in outcomes(chosen[first:last]):
        print(json.dumps(outcome._asdict()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
