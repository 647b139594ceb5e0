"""What a user gave to a wrapper, and how their functions are called."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from reference_numpy import regularizers

AGAIN = 2  # times that something is run again to see whether it draws


@dataclass(frozen=True)
class Given:
    """What a user gave of their own; None is what they did not give, and counts as not offered.

    What each is called with is said by ``wrap_torch`` and its like: tensors are the framework's own.
    """

    model: Any = None
    inputs: Callable[[Any], Any] | None = None
    loss: Any = None
    gradients: Callable[..., Any] | None = None
    optimizer: Any = None
    names: Mapping[str, str] | None = None
    slots: Mapping[str, str] | None = None
    per_example: Callable[..., Any] | None = None
    penalty: Callable[..., Any] | None = None
    schedule: Callable[..., Any] | None = None
    scheduler: Callable[..., Any] | None = None
    clip: Callable[..., Any] | None = None
    constrain: Callable[..., Any] | None = None
    standardize: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    predict: Callable[..., Any] | None = None
    initializer: Any = None


def made(maker: Any, problem: Problem) -> Any:
    """What a user's function makes, called with no argument, or with the problem if it takes one.

    >>> made(lambda: "a model", None), made(lambda problem: problem, "a problem")
    ('a model', 'a problem')
    """
    return maker(problem) if takes(maker, 1) else maker()


def sample(problem: Problem) -> Array:
    """A few examples of a problem, ``(m, n_0)``, to try a model on."""
    return problem.train_x[:2]


def varies(run: Callable[[], Array]) -> bool:
    """Whether something gives other numbers when it is run again, as what draws does.

    >>> varies(lambda: np.ones(3)), varies(lambda: np.random.default_rng().random(3))
    (False, True)
    """
    first = run()
    return not all(np.array_equal(first, run(), equal_nan=True) for _ in range(AGAIN))


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function has ``count`` arguments that may be given by position and have no default, or more.

    >>> takes(lambda x: x, 1), takes(lambda x=1: x, 1), takes(lambda *xs: xs, 1)
    (True, False, False)
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a function written in C
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters) >= count


def lacking(given: Given, problem: Problem) -> Iterator[str]:
    """Which parts of a problem's training the user did not give, each by its field."""
    recipe = problem.recipe
    if recipe.schedule.name != "constant" and given.schedule is None and given.scheduler is None:
        yield "schedule"
    if recipe.named(*regularizers.CLIPPINGS) and given.clip is None:
        yield "clip"
    if recipe.named(*regularizers.CONSTRAINTS) and given.constrain is None:
        yield "constrain"
    if problem.tape.augmentation_draws and given.augment is None:
        yield "augment"
