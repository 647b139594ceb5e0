"""A change of some tensors alone: of one kind, of one layer, a single one, or of all but these."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.adapters.session import State
from conformance.checks.observation import Key
from conformance.diagnosis.candidates import Candidate
from conformance.diagnosis.fits import Fits
from conformance.diagnosis.stepping import Stepwise
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Place, Tensors

_KINDS = {
    "weight": "weights",
    "bias": "biases",
    "scale": "scales",
    "shift": "shifts",
    "running mean": "running means",
    "running variance": "running variances",
}
_LOCAL = ("gradients", "teacher_forced")  # the checks that see each tensor by its name and carry nothing on


def partial(fits: Fits, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """The candidates that explain exactly the tensors that fail, of one kind, layer or name, on those tensors only."""
    places = fits.workshop.case.problem.places
    wrong = _named(key for check in _LOCAL for key in fits.evidence.failed[check])
    if not wrong:
        return
    every = groups_of({name: places[name] for name in _names(fits) if name in places})
    groups = {label: names for label, names in every.items() if wrong <= names}
    if not groups:
        return
    for candidate in candidates:
        if candidate.changes:
            continue
        left = [fits.apart(candidate, check, fits.evidence.seen(check)) for check in _LOCAL]
        if any(keys is None for keys in left):
            continue
        unmet = _named(key for keys in left if keys for key in keys)
        for label, names in groups.items():
            if unmet and not names & unmet:
                for exercises in (False, True):
                    change = Only(candidate, names, exercises)
                    yield Candidate(f"{candidate.description} {label}", fits.evidence.recipe, changes=(change,))


def groups_of(places: Mapping[str, Place]) -> dict[str, frozenset[str]]:
    """The names of each kind, of each layer, of each tensor, and of all but these, by what is said of them.

    >>> from conformance.problems.tensors import places
    >>> found = groups_of({name: place for name, place in places(3).items() if place.kind in ("weight", "bias")})
    >>> sorted(found["on biases only"]), sorted(found["but not on layer 2"])
    (['b1', 'b2', 'b3'], ['W1', 'W3', 'b1', 'b3'])
    """
    sets = {plural: {n for n, p in places.items() if p.kind == kind} for kind, plural in _KINDS.items()}
    sets |= {f"layer {layer}": {n for n, p in places.items() if p.layer == layer}
             for layer in sorted({place.layer for place in places.values()})}  # fmt: skip
    sets |= {name: {name} for name in places}
    found: dict[str, frozenset[str]] = {}
    for form in ("on {} only", "but not on {}"):
        for what, names in sets.items():
            chosen = frozenset(names if form.startswith("on") else places.keys() - names)
            if names and chosen and chosen != places.keys() and chosen not in found.values():
                found[form.format(what)] = chosen
    return found


def _names(fits: Fits) -> list[str]:
    keys = (e.observation.key for check in _LOCAL for e in fits.evidence.expected[check])
    return [name for name in dict.fromkeys(key.name for key in keys) if name != "A0"]


def _named(keys: Iterator[Key]) -> set[str]:
    """The tensors that keys are of."""
    return {key.name for key in keys if key.name not in ("", "A0")}


@dataclass(frozen=True)
class Only:
    """A candidate on the tensors of some names only; ``exercises``: also in single updates, whose tensors have none."""

    candidate: Candidate
    names: frozenset[str]
    exercises: bool

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _Mixed(session, self.candidate.plain_session(problem), self, problem)


class _Mixed(Stepwise):
    """A session whose tensors are partly another's."""

    def __init__(self, session: Any, other: Any, only: Only, problem: Problem) -> None:
        super().__init__(session)
        self._other = other
        self._only = only
        self._problem = problem

    def _mixed(self, own: Tensors, others: Tensors) -> Tensors:
        return {name: others[name] if self._is_chosen(name) and name in others else own[name] for name in own}

    def _is_chosen(self, name: str) -> bool:
        return name in self._only.names if name in self._problem.places else self._only.exercises

    def _penalty(self, parameters: Tensors, examples: int) -> tuple[Any, Any]:
        """The penalty of the session, and the one that is partly the other's."""
        weights = {name: w for name, w in parameters.items() if self._problem.places[name].kind == "weight"}

        def of(session: Any, names: set[str]) -> Any:
            chosen = [w for name, w in weights.items() if name in names]
            return sum(p.value(chosen, examples) for p in session.objective.penalties) if chosen else 0.0

        chosen = {name for name in weights if self._is_chosen(name)}
        mixed = of(self.session, weights.keys() - chosen) + of(self._other, chosen)
        return of(self.session, set(weights)), mixed

    def losses(self, parameters: Tensors, x: Array, *batch: Any) -> Tensors:
        found = self.session.losses(parameters, x, *batch)
        own, mixed = self._penalty(parameters, len(x))
        if own == mixed:
            return dict(found)
        return {**found, "penalty": found["penalty"] * 0 + mixed, "cost": found["data_loss"] + mixed}

    def gradients(self, parameters: Tensors, x: Array, *batch: Any) -> Tensors:
        found = self.session.gradients(parameters, x, *batch)
        own, mixed = self._penalty(parameters, len(x))
        cost = found["cost"] if own == mixed else found["cost"] - own + mixed
        return self._mixed(found, self._other.gradients(parameters, x, *batch)) | {"cost": cost}

    def running_statistics(self, *arguments: Any) -> Tensors:
        return self._mixed(self.session.running_statistics(*arguments), self._other.running_statistics(*arguments))

    def clip(self, gradients: Tensors) -> Tensors:
        return self._mixed(self.session.clip(gradients), self._other.clip(gradients))

    def constrain(self, parameters: Tensors) -> Tensors:
        return self._mixed(self.session.constrain(parameters), self._other.constrain(parameters))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        updated, after = self.session.optimizer_step(parameters, gradients, state, learning_rate)
        others, others_after = self._other.optimizer_step(parameters, gradients, state, learning_rate)
        slots = {slot: self._mixed(tensors, others_after.slots[slot]) for slot, tensors in after.slots.items()}
        return self._mixed(updated, others), State(after.step, slots)
