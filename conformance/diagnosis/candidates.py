"""What an observation may be explained by: other formulations of a recipe, the mutants, and two of these at once.

A candidate is the reference with one or two changes. Its formulations are those that the catalogue has: of each
component of the recipe every other setting that ``factors.py``, a framework's dialect or its layers give to one of its
keywords, each framework's defaults as a whole, each regularizer left out, and each layer of a network in another.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ParamSpec, TypeVar, cast

from pydantic import ValidationError

from conformance.adapters.session import Session, State, Training
from conformance.checks.case import Case
from conformance.diagnosis.layer_formulations import other_networks
from conformance.diagnosis.stepping import Change, Changed
from conformance.faults.mutant import Mutant
from conformance.faults.mutants import MUTANTS, reference_with
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.recipes.components import Component
from conformance.recipes.coverage import recipe_with
from conformance.recipes.dialects import dialects
from conformance.recipes.factors import FACTORS, values_in
from conformance.recipes.recipe import Recipe
from reference_numpy import optimizers

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
    """The reference of ``recipe`` with ``mutants`` injected and ``changes`` of its session made.

    ``description`` says what that changes; ``parts`` are the single candidates that it was made of, if several;
    ``is_solved``: one of its numbers was solved for.
    """

    description: str
    recipe: Recipe
    mutants: tuple[Mutant, ...] = ()
    changes: tuple[Change, ...] = ()
    parts: "tuple[Candidate, ...]" = field(default=(), compare=False)
    is_solved: bool = field(default=False, compare=False)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What it computes with: two of the same make the same."""
        return self.recipe.hash, tuple(mutant.name for mutant in self.mutants), self.changes

    def __hash__(self) -> int:
        return hash(self.identity)

    @property
    def slots(self) -> frozenset[str]:
        """What its optimizer keeps from step to step."""
        optimizer = optimizers.OPTIMIZERS[self.recipe.optimizer.name](**self.recipe.optimizer.keywords)
        return frozenset(optimizer.init({}).slots)

    @property
    def is_formulation(self) -> bool:
        """Whether it is something that is published, and no fault."""
        return not self.mutants and all(isinstance(change, NoMasks) for change in self.changes)

    def session(self, problem: Problem) -> Session:
        """A session on ``problem``; what it keeps of an optimizer's state are the slots that it is given.

        It raises nothing but CannotBeCarriedOut.
        """
        return cast(Session, _Guarded(_guarded(self.plain_session)(problem)))

    def plain_session(self, problem: Problem) -> Any:
        """The same session, which raises whatever it does."""
        adapter, own = reference_with(*(mutant.name for mutant in self.mutants)), replace(problem, recipe=self.recipe)
        session: Any = _Patient(adapter.session(own))
        for change in self.changes:
            session = change.applied(session, own)
        return session

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
        return getattr(self._session, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_session":
            object.__setattr__(self, name, value)
        else:
            setattr(self._session, name, value)

    def another_session(self, problem: Problem) -> "_Patient":
        return _Patient(_guarded(self._session.another_session)(problem))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        slots = self._session.optimizer.init(parameters).slots | state.slots
        before = State(state.step, slots)
        parameters, after = self._session.optimizer_step(parameters, gradients, before, learning_rate)
        return parameters, State(after.step, {slot: after.slots[slot] for slot in state.slots if slot in after.slots})

    def clip(self, gradients: Tensors) -> Tensors:
        return self._session.clip(gradients) if self._session.parts.clipping else dict(gradients)

    def constrain(self, parameters: Tensors) -> Tensors:
        return self._session.constrain(parameters) if self._session.parts.constraint else parameters


class _Guarded:
    """A session whose methods raise nothing but CannotBeCarriedOut."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return _guarded(found) if callable(found) else found

    def another_session(self, problem: Problem) -> "_Guarded":
        return _Guarded(_guarded(self._session.another_session)(problem))


def _guarded(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, whose errors are CannotBeCarriedOut: a fault may raise anything."""

    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            raise CannotBeCarriedOut(f"{type(error).__name__}: {error}") from error

    return call


@dataclass(frozen=True)
class NoMasks:
    """The masks that it is given are not used. (With a keep probability of 1 units are dropped, and not scaled.)"""

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _WithoutMasks(session)


class _WithoutMasks(Changed):
    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        found: Tensors = self.session.intermediates(parameters, x, masks and {}, statistics)
        return found

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        found: Tensors = self.session.losses(parameters, x, y, {}, weights)
        return found

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        found: Tensors = self.session.gradients(parameters, x, y, {}, weights)
        return found

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        found: Tensors = self.session.running_statistics(parameters, x, {}, statistics)
        return found

    def fit(self, problem: Problem, *arguments: Any) -> Training:
        without = replace(problem, tape=replace(problem.tape, dropout_masks={}))
        found: Training = self.session.fit(without, *arguments)
        return found


def singles(recipe: Recipe) -> list[Candidate]:
    """Every formulation and every mutant that concerns ``recipe``, one at a time; one of sums is none of means."""
    found: dict[str, Candidate] = {}
    for candidate in formulations(recipe):
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
    return Candidate(
        f"{one.description} and {other.description}", both, mutants, (*one.changes, *other.changes),
        (*(one.parts or (one,)), *(other.parts or (other,))), one.is_solved or other.is_solved,
    )  # fmt: skip


def formulations(recipe: Recipe) -> Iterator[Candidate]:
    """What is published: other settings, other layers, dialects, no regularizer, another reduction, frozen biases."""
    for path, component in components_of(recipe):
        label = component.name
        for keyword, settings in _settings(component.name).items():
            for setting in settings:
                if keyword in component.keywords and component.keywords[keyword] != setting:
                    yield from changed(recipe, path, {keyword: setting}, f"{label}({keyword}={setting!r})")
    for description, layers in other_networks(recipe.model.layers, _LAYERS_ELSEWHERE):
        values = _values(recipe)
        yield from _valid(values | {"model": values["model"] | {"layers": layers}}, description)
    for dialect in dialects():
        if dialect.optimizer == recipe.optimizer.name:
            keywords = {k: v for k, v in dialect.keywords.items() if k != "learning_rate"}
            label = f"{recipe.optimizer.name} as {dialect.framework}.{dialect.builtin} has it"
            yield from changed(recipe, ("optimizer",), keywords, label)
    for place, regularizer in enumerate(recipe.regularizers):
        values = _values(recipe)
        del values["regularizers"][place]
        without = (NoMasks(),) if regularizer.name == "inverted_dropout" else ()
        for candidate in _valid(values, f"no {regularizer.name}"):
            yield replace(candidate, changes=without)
    unit = {"epoch": "step", "step": "epoch"}[recipe.schedule.unit]
    yield from changed(recipe, ("schedule",), {"unit": unit}, f"schedule by {unit}")
    reduction = {"mean": "sum", "sum": "mean"}[recipe.reduction]
    yield from _valid(_values(recipe) | {"reduction": reduction}, f"the {reduction} over the examples")
    biases = "trained biases" if recipe.frozen_biases else "frozen biases"
    yield from _valid(_values(recipe) | {"frozen_biases": not recipe.frozen_biases}, biases)


def components_of(recipe: Recipe) -> Iterator[tuple[Path, Component]]:
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
    sources = [component.keywords for recipe in _prototypes() for _, component in components_of(recipe)
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


def changed(recipe: Recipe, path: Path, keywords: Mapping[str, Any], description: str) -> Iterator[Candidate]:
    """The recipe with other keywords of one component; nothing if they do not go with the rest of it."""
    component: Any = _values(recipe)
    for step in path:
        component = component[step]
    yield from replaced(recipe, path, component | keywords, description)


def replaced(recipe: Recipe, path: Path, component: Mapping[str, Any], description: str) -> Iterator[Candidate]:
    """The recipe with another component; nothing if it does not go with the rest of it."""
    values: Any = _values(recipe)
    place = values
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = component
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
