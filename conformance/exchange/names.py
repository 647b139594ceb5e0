"""The grammar of names in tapes and traces, stated once: what is written, what is read, and what is refused.

A name is a path whose parts are joined by ``/``. ``NUMBER`` stands for digits, ``SLOT`` for a slot of the optimizer's
state, ``NAME`` for the rest of the path, a tensor's name, which may hold ``/`` itself.
"""

from collections.abc import Collection, Mapping
from typing import Any

from conformance.data.wording import nearest, shown
from conformance.problems.tensors import Array, Tensors
from conformance.results.grammar import Tree, nested

_STATE = ("parameter/NAME", "statistic/NAME", "slot/SLOT/NAME")

# What an implementation is given: the training, and the questions that may be answered beside it.
TAPE = (
    "x", "y", "test_x", "test_y", "weight", "batch", "input", "mask/NAME", "initial/NAME",
    "ask/point/NUMBER/parameter/NAME", "ask/point/NUMBER/statistic/NAME",
    *(f"ask/step/NUMBER/{part}" for part in _STATE),
    "ask/exercise/NUMBER/parameter/NAME", "ask/exercise/NUMBER/gradient/NAME", "ask/exercise/NUMBER/slot/SLOT/NAME",
    "ask/standardize/train_x", "ask/standardize/test_x", "ask/augment/x", "ask/augment/draw/NUMBER",
)  # fmt: skip

# What it computed: its own training, and answers.
TRACE = (
    "costs", "learning_rates", "gradient_norms", "validation_costs", "best_epoch",
    *(f"step/NUMBER/{part}" for part in ("activation/NAME", "gradient/NAME", "clipped/NAME", *_STATE, "class/SET")),
    *(f"end/{part}" for part in (*_STATE, "class/SET")),
    "answer/point/NUMBER/inference/NAME", "answer/point/NUMBER/training/NAME", "answer/point/NUMBER/statistic/NAME",
    "answer/point/NUMBER/batch/NUMBER/loss/NAME", "answer/point/NUMBER/batch/NUMBER/gradient/NAME",
    *(f"answer/step/NUMBER/{part}" for part in ("cost", "gradient/NAME", "clipped/NAME", *_STATE)),
    "answer/exercise/NUMBER/parameter/NAME", "answer/exercise/NUMBER/slot/SLOT/NAME",
    "answer/standardize", "answer/augment", "answer/draw/SHAPE",
)  # fmt: skip

_FREE = ("NUMBER", "SLOT", "NAME", "SHAPE", "SET")
SETS = ("train", "test")
LONGEST = 500  # characters of a name


def tree_of(tensors: Mapping[str, Array], grammar: Collection[str] = TRACE) -> Tree:
    """Named arrays as nested dicts by the parts of their names. Raises ValueError for a name not in the grammar.

    >>> tree_of({"costs": 1, "step/2/gradient/dense/kernel": 2})
    {'costs': 1, 'step': {'2': {'gradient': {'dense/kernel': 2}}}}
    """
    return nested((parts(name, grammar), value) for name, value in tensors.items())


def flat(tree: Mapping[Any, Any], path: str = "") -> Tensors:
    """The inverse of :func:`tree_of`; an empty part leaves nothing.

    >>> flat({"step": {2: {"gradient": {"W1": 1}}}, "end": {}})
    {'step/2/gradient/W1': 1}
    """
    found: Tensors = {}
    for name, value in tree.items():
        here = f"{path}/{name}" if path else str(name)
        found |= flat(value, here) if isinstance(value, Mapping) else {here: value}
    return found


def parts(name: str, grammar: Collection[str] = TRACE) -> tuple[str, ...]:
    """The parts of a name, the tensor's own name as one. Raises ValueError, saying which part is not known.

    >>> parts("step/12/gradient/W1")
    ('step', '12', 'gradient', 'W1')
    >>> parts("step/12/gradeint/W1")
    Traceback (most recent call last):
    ValueError: 'gradeint' in 'step/12/gradeint/W1' is not allowed: must be one of activation, class, clipped, \
gradient, parameter, slot, statistic; did you mean 'gradient'?
    """
    if len(name) > LONGEST:
        raise ValueError(f"a name has {len(name)} characters: must be at most {LONGEST}")
    found, left = name.split("/"), [pattern.split("/") for pattern in grammar]
    for place, part in enumerate(found):
        if any(pattern[place] == "NAME" for pattern in left):
            return *found[:place], "/".join(found[place:])
        fitting = [pattern for pattern in left if _fits(part, pattern[place])]
        if not fitting:
            raise ValueError(_refusal(name, part, {pattern[place] for pattern in left}))
        ended = any(len(pattern) == place + 1 for pattern in fitting)
        left = [pattern for pattern in fitting if len(pattern) > place + 1]
        if place + 1 == len(found) and not ended:
            more = ", ".join(sorted({pattern[place + 1] for pattern in left}))
            raise ValueError(f"{shown(name)} ends too early: must go on with one of {more}")
        if place + 1 < len(found) and not left:
            raise ValueError(f"{shown(name)} goes on too long: must end with {shown('/'.join(found[: place + 1]))}")
    return tuple(found)


def _fits(part: str, pattern: str) -> bool:
    if pattern == "NUMBER":
        return part.isascii() and part.isdigit() and len(part) < 10
    if pattern == "SHAPE":
        rows, _, columns = part.partition("x")
        return rows.isdecimal() and columns.isdecimal()
    if pattern == "SET":
        return part in SETS
    return part == pattern or (pattern == "SLOT" and part != "")


def _refusal(name: str, part: str, allowed: set[str]) -> str:
    if allowed == {"NUMBER"}:
        must = "a number"
    elif allowed == {"SET"}:
        must = f"one of {', '.join(SETS)}"
    elif allowed == {"SHAPE"}:
        must = "a shape, as 160x640"
    else:
        must = f"one of {', '.join(sorted(allowed))}"
    return f"{shown(part)} in {shown(name)} is not allowed: must be {must}{nearest(part, sorted(allowed - {*_FREE}))}"
