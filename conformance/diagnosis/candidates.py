"""What an observation may be explained by: other formulations of a recipe, the mutants, and two of these at once.

A candidate is the reference with one or two changes. Its formulations are those that the catalogue has: of each
component of the recipe every other setting that ``factors.py``, a framework's dialect or its layers give to one of its
keywords, each framework's defaults as a whole, and each regularizer left out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ParamSpec, TypeVar, cast

from pydantic import ValidationError

from conformance.adapters.session import Session, State
from conformance.checks.case import Case
from conformance.faults.mutant import Mutant
from conformance.faults.mutants import MUTANTS, reference_with
from conformance.problems.problem import Problem
from conformance.problems.tensors import Tensors
from conformance.recipes.components import Component
from conformance.recipes.coverage import recipe_with
from conformance.recipes.dialects import dialects
from conformance.recipes.factors import FACTORS, values_in
from conformance.recipes.recipe import Recipe

# What layers of other libraries have by default (their optimizers are in dialects.toml): Keras's norms, Flax's layer
# norm, the leaky rectifiers of TensorFlow and Keras.
_LAYERS_ELSEWHERE: Mapping[str, Mapping[str, list[Any]]] = {
    "batch_norm": {"epsilon": [1e-3], "momentum": [0.99]},
    "layer_norm": {"epsilon": [1e-3, 1e-6]},
    "leaky_relu": {"slope": [0.2, 0.3]},
}

P = ParamSpec("P")
R = TypeVar("R")

Path = tuple[str | int, ...]  # of a component in a recipe: ("model", "activation"), ("regularizers", 0)


class CannotBeCarriedOut(Exception):
    """A candidate's own code raised something, as a fault may, or a setting that does not go with the case."""


@dataclass(frozen=True)
class Candidate:
    """The reference of ``recipe`` with ``mutants`` injected; ``description`` says what that changes."""

    description: str
    recipe: Recipe
    mutants: tuple[Mutant, ...] = ()

    @property
    def is_formulation(self) -> bool:
        """Whether it is something that is published, and no fault."""
        return not self.mutants

    def session(self, problem: Problem) -> Session:
        """A session on ``problem``; what it keeps of an optimizer's state are the slots that it is given.

        It raises nothing but CannotBeCarriedOut.
        """
        adapter = reference_with(*(mutant.name for mutant in self.mutants))
        return cast(Session, _Patient(_guarded(adapter.session)(replace(problem, recipe=self.recipe))))

    def situation(self, case: Case, check: str) -> Case:
        """The case as the candidate takes it: another schedule is followed only by a training that runs free."""
        if check != "free_running":
            return case
        return replace(case, problem=replace(case.problem, recipe=self.recipe))


class _Patient:
    """A session that bears to be asked by the case of another recipe.

    Its optimizer may have other slots than the ones it is given (those begin as at the first step), and what its recipe
    does not clip or constrain it leaves alone.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return _guarded(getattr(self._session, name))

    def another_session(self, problem: Problem) -> "_Patient":
        return _Patient(_guarded(self._session.another_session)(problem))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        slots = self._session.optimizer.init(parameters).slots | state.slots
        step = _guarded(self._session.optimizer_step)
        parameters, after = step(parameters, gradients, State(state.step, slots), learning_rate)
        return parameters, State(after.step, {slot: after.slots[slot] for slot in state.slots})

    def clip(self, gradients: Tensors) -> Tensors:
        return _guarded(self._session.clip)(gradients) if self._session.parts.clipping else dict(gradients)

    def constrain(self, parameters: Tensors) -> Tensors:
        return _guarded(self._session.constrain)(parameters) if self._session.parts.constraint else parameters


def _guarded(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, whose errors are CannotBeCarriedOut: a fault may raise anything."""

    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            raise CannotBeCarriedOut(f"{type(error).__name__}: {error}") from error

    return call


def singles(recipe: Recipe) -> list[Candidate]:
    """Every formulation and every mutant that concerns ``recipe``, one at a time; one of sums is none of means."""
    found: dict[str, Candidate] = {}
    for candidate in _formulations(recipe):
        if candidate.recipe.hash != recipe.hash:
            found.setdefault(candidate.recipe.hash, candidate)
    faults = [
        Candidate(f"the fault {mutant.name!r}", recipe, (mutant,))
        for mutant in MUTANTS
        if mutant.concerns(recipe) and mutant.settings.get("reduction", recipe.reduction) == recipe.reduction
    ]
    return [*found.values(), *faults]


def pair(one: Candidate, other: Candidate, recipe: Recipe) -> Candidate | None:
    """Both changes at once, or None if they do not go together: two faults may be of one text."""
    mutants = (*one.mutants, *other.mutants)
    try:
        both = Recipe.model_validate(_merged(*map(_values, (recipe, one.recipe, other.recipe))))
        reference_with(*(mutant.name for mutant in mutants))
    except (ValueError, _Conflict):
        return None
    return Candidate(f"{one.description} and {other.description}", both, mutants)


def _formulations(recipe: Recipe) -> Iterator[Candidate]:
    for path, component in _components(recipe):
        label = component.name
        for keyword, settings in _settings(component.name).items():
            for setting in settings:
                if keyword in component.keywords and component.keywords[keyword] != setting:
                    yield from _changed(recipe, path, {keyword: setting}, f"{label}({keyword}={setting!r})")
    for dialect in dialects():
        if dialect.optimizer == recipe.optimizer.name:
            keywords = {k: v for k, v in dialect.keywords.items() if k != "learning_rate"}
            label = f"{recipe.optimizer.name} as {dialect.framework}.{dialect.builtin} has it"
            yield from _changed(recipe, ("optimizer",), keywords, label)
    for place, regularizer in enumerate(recipe.regularizers):
        values = _values(recipe)
        del values["regularizers"][place]
        yield from _valid(values, f"no {regularizer.name}")
    unit = {"epoch": "step", "step": "epoch"}[recipe.schedule.unit]
    yield from _changed(recipe, ("schedule",), {"unit": unit}, f"schedule by {unit}")
    reduction = {"mean": "sum", "sum": "mean"}[recipe.reduction]
    yield from _valid(_values(recipe) | {"reduction": reduction}, f"the {reduction} over the examples")
    biases = "trained biases" if recipe.frozen_biases else "frozen biases"
    yield from _valid(_values(recipe) | {"frozen_biases": not recipe.frozen_biases}, biases)


def _components(recipe: Recipe) -> Iterator[tuple[Path, Component]]:
    """The components that an implementation computes with, and where in the recipe they stand."""
    yield ("optimizer",), recipe.optimizer
    yield ("loss",), recipe.loss
    yield ("schedule",), recipe.schedule
    yield ("model", "activation"), recipe.model.activation
    if recipe.model.normalization is not None:
        yield ("model", "normalization"), recipe.model.normalization
    for place, regularizer in enumerate(recipe.regularizers):
        yield ("regularizers", place), regularizer


@cache
def _settings(name: str) -> Mapping[str, list[Any]]:
    """The known settings of the keywords of a component, learning rates left out."""
    found = {keyword: list(settings) for keyword, settings in _LAYERS_ELSEWHERE.get(name, {}).items()}
    sources = [component.keywords for recipe in _prototypes() for _, component in _components(recipe)
               if component.name == name]  # fmt: skip
    sources += [dialect.keywords for dialect in dialects() if dialect.optimizer == name]
    for keywords in sources:
        for keyword, setting in keywords.items():
            known = found.setdefault(keyword, [])
            if keyword != "learning_rate" and setting not in known:
                known.append(setting)
    for settings in found.values():
        if any(isinstance(setting, bool) for setting in settings):
            settings[:] = [False, True]
    return found


@cache
def _prototypes() -> tuple[Recipe, ...]:
    return tuple(recipe_with({factor: value}) for factor in FACTORS if factor != "dtype" for value in values_in(factor))


def _changed(recipe: Recipe, path: Path, keywords: Mapping[str, Any], description: str) -> Iterator[Candidate]:
    values: Any = _values(recipe)
    place = values
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = place[path[-1]] | keywords
    yield from _valid(values, description)


def _values(recipe: Recipe) -> dict[str, Any]:
    """A recipe as nested values that can be changed."""
    values = recipe.model_dump()
    return values | {"regularizers": list(values["regularizers"])}


def _valid(values: Any, description: str) -> Iterator[Candidate]:
    try:
        yield Candidate(description, Recipe.model_validate(values))
    except ValidationError:
        return  # the setting does not go with the recipe's others


class _Conflict(Exception):
    """Two changes of the same field."""


def _merged(base: Any, one: Any, other: Any) -> Any:
    """``base`` with what ``one`` and what ``other`` change of it. Raises _Conflict if both change the same."""
    if one in (base, other):
        return other
    if other == base:
        return one
    if isinstance(base, dict) and isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: _merged(base.get(key), one[key], other[key]) for key in one}
    raise _Conflict
