"""The formulations of the optimizers, and what each makes of an exercise: where it goes from state zero."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from conformance.identification.exercises import BOWL_STEPS, Array, Exercise, Tensors
from conformance.identification.fitting import Form, Manner, powers
from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults
from conformance.recipes.factors import values_in
from reference_numpy.optimizers import OPTIMIZERS, Optimizer

# Keywords that are no choice among published variants: a length, and what is told as that which a target rounds.
_NO_CHOICES = ("history", "correction_precision")
_CHOSEN_NUMBERS = {"radam": {"threshold": (5, 4)}}

# Numbers that are 0 in one formulation and something else in another; where one begins to look for the latter.
OPTIONAL: dict[str, dict[str, float]] = {
    "momentum": {"dampening": 0.5},
    "rmsprop": {"momentum": 0.9, "initial_square": 1.0},
    "adagrad": {"initial_accumulator": 0.1},
}
DECAY = 0.01

# What else a number of the catalogue is called, by torch, Keras and optax.
CALLED: dict[str, dict[str, tuple[str, ...]]] = {
    "every": {
        "learning_rate": ("lr",),
        "beta1": ("beta_1", "b1"),
        "beta2": ("beta_2", "b2"),
        "epsilon": ("eps",),
        "initial_accumulator": ("initial_accumulator_value",),
    },
    "momentum": {"beta": ("momentum", "decay")},
    "rmsprop": {"beta": ("alpha", "rho", "decay"), "initial_square": ("initial_scale",)},
}


@cache
def choices_of(name: str) -> Mapping[str, tuple[Any, ...]]:
    """What an optimizer may choose among published variants, the default first: all that the factors have.

    >>> choices_of("adamax")
    {'epsilon_position': ('inside_maximum', 'outside')}
    """
    found = {
        keyword: [default]
        for keyword, default in _defaults(name).items()
        if (default is None or isinstance(default, str | bool)) and keyword not in _NO_CHOICES
    }
    for values in values_in("optimizer").values():
        for keyword, setting in values["optimizer"].items():
            if values["optimizer"]["name"] == name and setting not in found.get(keyword, [setting]):
                found[keyword].append(setting)
    return {keyword: tuple(settings) for keyword, settings in found.items()} | _CHOSEN_NUMBERS.get(name, {})


def forms(*, decays: bool, elementwise: bool, history: int = BOWL_STEPS) -> Iterator[Form]:
    """The formulations of the catalogue: every optimizer with every choice, and with numbers that may be 0 or not.

    ``decays``: whether weights without a gradient move, so that there is a weight decay; without, none is sought.
    ``elementwise``: those that take each element for itself, or the others, of which ``history`` is the memory.
    """
    for name, make in OPTIMIZERS.items():
        if (make().elementwise) is not elementwise:
            continue
        known = choices_of(name)
        defaults = {k: d for k, d in _defaults(name).items() if isinstance(d, float) and k not in known}
        optional = OPTIONAL.get(name, {})
        for picked in itertools.product(*known.values()):
            choices = dict(zip(known, picked, strict=True))
            for present in itertools.product((False, True), repeat=len(optional)):
                numbers = defaults | {n: x if on else 0.0 for (n, x), on in zip(optional.items(), present, strict=True)}
                if "weight_decay" in numbers:
                    numbers["weight_decay"] = DECAY if decays else 0.0
                if _makes_a_difference(name, choices, numbers):
                    if choices.get("schedule") == "constant":
                        del numbers["momentum_decay"]
                    fixed = {n: x for n, x in numbers.items() if x == 0}
                    fixed |= {"history": history} if name == "lbfgs" else {}
                    yield Form(name, choices, {n: x for n, x in numbers.items() if x}, fixed)


def _defaults(name: str) -> dict[str, Any]:
    return keyword_defaults(OPTIMIZERS[name], POSITIONAL_KEYWORDS)


def _makes_a_difference(name: str, choices: Mapping[str, Any], numbers: Mapping[str, float]) -> bool:
    """Whether the choices are allowed together and each of them matters with these numbers."""
    if not numbers.get("weight_decay", 1.0) and (name == "adamw" or choices.get("decoupled_weight_decay")):
        return False
    if name == "rmsprop" and not numbers["momentum"] and choices["learning_rate_position"] == "inside":
        return False
    try:
        OPTIMIZERS[name](**choices, **numbers)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Steps:
    """The model: where each element of the parameters is after each step, ``(steps, elements)``, of an exercise."""

    exercise: Exercise

    def first(self, steps: int) -> "Steps":
        """The same of the first steps alone."""
        own = self.exercise
        gradients = {name: value[:steps] for name, value in own.gradients.items()}
        return Steps(Exercise(own.start, gradients, own.factors[:steps], own.curvature, own.lowest))

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """Where the formulation goes from the exercise's start. Raises ValueError for numbers out of range."""
        chosen = manner.numbers(numbers)
        rate = chosen["learning_rate"]
        with powers(manner):
            optimizer: Optimizer = OPTIMIZERS[form.name](**form.keywords(chosen))
            w = manner.moved(flat(self.exercise.start).astype(manner.dtype))
            slots = {slot: np.full_like(w, value) for slot, value in optimizer.initial_slots.items()}
            path = np.empty((len(self.exercise.factors), w.size), w.dtype)
            tape = self._tape.astype(manner.dtype)
            for step, factor in enumerate(self.exercise.factors):
                g = tape[step] if tape.size else self._slope(w)
                optimizer.update_array(w, manner.moved(g), slots, step + 1, rate * float(factor))
                path[step] = w
                w = manner.moved(w) if manner.generator is not None else w
        return path.astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """How large each element was until then."""
        start = np.abs(flat(self.exercise.start).astype(np.float64))[np.newaxis]
        return np.maximum.accumulate(np.abs(np.concatenate([start, predicted])), axis=0)[1:]

    def flattened(self, path: Tensors) -> Array:
        """What a target made, in the order of the elements here. Raises ValueError where it is of another shape."""
        steps, columns = len(self.exercise.factors), []
        for name, value in self.exercise.start.items():
            if name not in path or path[name].shape != (steps, *value.shape):
                raise ValueError(
                    f"{name} came back as {path[name].shape if name in path else 'nothing'}: must be {value.shape}"
                )
            columns.append(path[name].reshape(steps, -1))
        return np.concatenate(columns, axis=1)

    @cached_property
    def _tape(self) -> Array:
        gradients = self.exercise.gradients
        steps = len(self.exercise.factors)
        parts = (
            [gradients[name].reshape(steps, -1) for name in self.exercise.start] if gradients else [np.empty((0, 0))]
        )
        return np.concatenate(parts, axis=1)

    def _slope(self, w: Array) -> Array:
        assert self.exercise.curvature is not None
        assert self.exercise.lowest is not None
        slope: Array = self.exercise.curvature.astype(w.dtype) @ (w - self.exercise.lowest.astype(w.dtype))
        return slope


def flat(arrays: Tensors) -> Array:
    return np.concatenate([value.ravel() for value in arrays.values()])
