"""Low precision in one place: candidates that round a rate, an optimizer's numbers, its state, gradients or factors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.adapters.session import State
from conformance.diagnosis.candidates import Candidate, changed, components_of, formulations
from conformance.diagnosis.stepping import Stepwise
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import Recipe

_BITS = {"bfloat16": 16, "TF32": 13}  # that are dropped of a float32's

PLACES = (
    "the learning rate", "the schedule", "the optimizer's state", "the parameters after each step", "the gradients",
    "the gradients that the optimizer takes", "what is multiplied as matrices",
)  # fmt: skip


def rounded(value: Array, precision: str) -> Array:
    """``value`` rounded to ``float32``, ``float16``, ``bfloat16`` or ``TF32``, to the even one of two as near.

    >>> rounded(np.array([1.0, 1.01, 3.14159]), "bfloat16")
    array([1.       , 1.0078125, 3.140625 ])
    >>> rounded(np.array([1.0001, 1.001]), "TF32")
    array([1.        , 1.00097656])
    """
    value = np.asarray(value)
    with np.errstate(over="ignore"):
        if precision not in _BITS:
            return value.astype(precision).astype(value.dtype)
        single = np.atleast_1d(value.astype(np.float32))
    dropped = np.uint32(_BITS[precision])
    bits = single.view(np.uint32)
    half = np.uint32((1 << (int(dropped) - 1)) - 1)
    mask = np.uint32(0xFFFFFFFF ^ ((1 << int(dropped)) - 1))
    kept = (bits + half + ((bits >> dropped) & np.uint32(1))) & mask
    found = np.where(np.isfinite(single), kept.view(np.float32), single)
    return found.reshape(value.shape).astype(value.dtype)


def roundings(recipe: Recipe, dtype: str) -> Iterator[Candidate]:
    """The reference with something rounded to each precision below ``dtype``, place by place."""
    narrower = ["float32", "TF32", "bfloat16", "float16"]
    if dtype == "float32":
        narrower.remove("float32")
    for precision in narrower:
        for place in PLACES:
            if precision != "TF32" or place == PLACES[-1]:
                yield Candidate(f"{place} rounded to {precision}", recipe, changes=(Rounding(place, precision),))
        if precision != "TF32":
            numbers = {
                keyword: float(rounded(np.asarray(setting), precision))
                for keyword, setting in recipe.optimizer.keywords.items()
                if isinstance(setting, float) and keyword != "learning_rate"
            }
            yield from changed(recipe, ("optimizer",), numbers, f"the optimizer's numbers rounded to {precision}")


def rounded_numbers(recipe: Recipe) -> Iterator[Candidate]:
    """The numbers of each component but the optimizer rounded to float32, as it is and in its other formulations."""
    asked = dict(components_of(recipe))
    for candidate in (Candidate("", recipe), *formulations(recipe)):
        for path, component in components_of(candidate.recipe):
            own = path != ("optimizer",) and component.name == asked.get(path, component).name
            numbers = {
                keyword: float(rounded(np.asarray(setting), "float32"))
                for keyword, setting in component.keywords.items()
                if isinstance(setting, float) and float(rounded(np.asarray(setting), "float32")) != setting
            }
            if own and numbers and (not candidate.description or component != asked.get(path)):
                words = f"{candidate.description or component.name} with its numbers rounded to float32"
                yield from changed(candidate.recipe, path, numbers, words)


@dataclass(frozen=True)
class Rounding:
    """Everything in one place of each step is rounded to one precision."""

    place: str
    precision: str

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        if self.place == PLACES[-1]:
            session.model = _with_products(session.model, lambda value: rounded(value, self.precision))
            return session
        return _Rounding(session, self)


class _Rounding(Stepwise):
    def __init__(self, session: Any, rounding: Rounding) -> None:
        super().__init__(session)
        self._rounding = rounding

    def _at(self, place: str, value: Any) -> Any:
        return rounded(value, self._rounding.precision) if place == self._rounding.place else value

    def rate(self, rate: float) -> float:
        return float(self._at("the schedule", rate))

    def gradients(self, parameters: Tensors, *batch: Any) -> Tensors:
        found = self.session.gradients(parameters, *batch)
        return {name: value if name == "cost" else self._at("the gradients", value) for name, value in found.items()}

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        rate = float(self._at("the learning rate", learning_rate))
        gradients = {name: self._at("the gradients that the optimizer takes", g) for name, g in gradients.items()}
        updated, after = self.session.optimizer_step(parameters, gradients, state, rate)
        slots = {
            slot: {name: self._at("the optimizer's state", value) for name, value in tensors.items()}
            for slot, tensors in after.slots.items()
        }
        after_step = {name: self._at("the parameters after each step", value) for name, value in updated.items()}
        return after_step, State(after.step, slots)


def _with_products(model: Any, change: Callable[[Array], Array]) -> Any:
    """The model whose matrix products are of changed factors."""

    def product(self: Any, a: Array, b: Array, *, out: Array | None = None) -> Array:
        found: Array = np.matmul(change(a), change(b), out=out)
        return found

    return type("Rounding", (type(model),), {"product": product})(**vars(model))
