"""Where rounding may throw a switch: discrete events, whose effect no sample of re-rounded runs bounds.

Next to a kink (a rectifier's zero) rounding can turn a unit on or off for an example, and next to zero it can turn the
sign that Lion steps along, or that of a weight whose absolute value is penalised. The *events* of a case are the steps
at which some number lies that near to where it switches.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from conformance.adapters.session import Session, TrainingState
from conformance.checks.case import Case, places, replay, take_step
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, named
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import FLOOR_FACTOR, ROUNDOFFS
from conformance.verdicts.switches import KINKED, Switching, switching
from reference_numpy import models

Events = dict[int, str]


class Switch(NamedTuple):
    """What switches at 0: what meets a kink, the lead of a largest number, a direction or a weight by its sign."""

    kind: str
    name: str
    layer: int


Sight = dict[Switch, Array]  # what one session sees at one step; a pre-activation is (m, n_l)

_SENTENCES = {
    "kink": "unit {unit} of layer {layer} is {distance:.1e} from its kink for example {example} of the batch",
    "maximum": "the two largest numbers that layer {layer} chooses from are {distance:.1e} apart for example {example}"
    " of the batch",
    "direction": "the direction of {name}{index} is {distance:.1e} from changing its sign",
    "sign": "{name}{index} is {distance:.1e} from 0, where the gradient of its penalty changes its sign",
}


def local_events(case: Case, sessions: Sequence[Session]) -> Events:
    """Events of the checks that take single steps, by the step (and, for points, the number of steps taken).

    The first session is the oracle, the others are re-rounded.
    """
    events: Events = {}
    problem = case.problem
    if not _can_switch(problem):
        return events
    for state in case.trajectory:
        _add_event(events, state.step, [_switches(session, problem, state, state.step) for session in sessions])
    for taken, (parameters, statistics) in case.points.items():
        still = TrainingState(0, parameters, {}, statistics)
        for batch in places(problem).values():
            _add_event(events, taken, [_switches(session, problem, still, batch + 1) for session in sessions])
    return events


def free_running_events(case: Case, sessions: Sequence[Session]) -> Events:
    """Events of the free-running training: from the first on, every step is under its influence."""
    problem, (oracle, *_) = case.problem, sessions
    if not (_can_switch(problem) or _penalises_absolutes(problem.recipe)):
        return {}
    runs = [replay(session, problem.in_float64() if session is oracle else problem) for session in sessions]
    for states in zip(*runs, strict=True):
        step = states[0].step
        if step > problem.steps:
            break
        events: Events = {}
        seen = zip(sessions, states, strict=True)
        _add_event(events, step, [_switches(s, problem, state, step) | _signed(problem, state) for s, state in seen])
        if events:
            return dict.fromkeys(range(step, problem.steps + 2), f"since step {step}: {events[step]}")
    return {}


def _has_kinks(recipe: Recipe) -> bool:
    return recipe.model.activation.name in KINKED


def _can_switch(problem: Problem) -> bool:
    return _layers_switch(problem) or problem.recipe.optimizer.name == "lion"


def _layers_switch(problem: Problem) -> bool:
    recipe = problem.recipe
    return _has_kinks(recipe) or recipe.model.output == "relu" or bool(_switching(problem))


def _switching(problem: Problem) -> list[Switching]:
    """The layers of a network of them that switch."""
    return switching(problem.build_model(models)) if problem.recipe.is_network else []


def _penalises_absolutes(recipe: Recipe) -> bool:
    return any(
        regularizer.name == "l1" or (regularizer.name == "elastic_net" and regularizer.keywords["l1_ratio"] > 0)
        for regularizer in recipe.regularizers
    )


def _switches(session: Session, problem: Problem, state: TrainingState, step: int) -> Sight:
    """What the layers switch by and, if there is a state to step from, Lion's direction."""
    recipe, batch = problem.recipe, problem.batch(step - 1)
    found: Sight = {}
    if _layers_switch(problem):
        values = session.intermediates(state.parameters, batch.x, batch.masks, None)
        for switch in _kinks(problem):
            found[switch] = values[switch.name]
        for layer in _switching(problem):
            found[Switch(layer.kind, layer.takes, layer.place)] = layer.distance(values[layer.takes])
    if recipe.optimizer.name == "lion" and state.slots:
        beta1 = recipe.optimizer.keywords["beta1"]
        for name, g in take_step(session, problem, state).clipped.items():
            direction = beta1 * state.slots["momentum"][name] + (1 - beta1) * g
            found[Switch("direction", name, problem.places[name].layer)] = direction
    return found


def _kinks(problem: Problem) -> Iterable[Switch]:
    """What meets a kink: what a hidden layer's activation takes, and what a rectified output does."""
    recipe, depth = problem.recipe, problem.depth
    if _has_kinks(recipe):
        for layer in range(1, depth):
            taken = named("pre-activation" if recipe.model.normalization is None else "normalized", layer)
            yield Switch("kink", taken, layer)
    if recipe.model.output == "relu":
        yield Switch("kink", problem.logits, depth)


def _signed(problem: Problem, state: TrainingState) -> Sight:
    """The weights whose sign is the gradient of their penalty. Single steps are given them, and all see the same."""
    if not _penalises_absolutes(problem.recipe):
        return {}
    weights = ((name, place) for name, place in problem.places.items() if place.kind == "weight")
    return {Switch("sign", name, place.layer): state.parameters[name] for name, place in weights}


def _add_event(events: Events, step: int, sights: list[Sight]) -> None:
    """Note in ``events`` whether something lies within rounding of where it switches; the oracle sees first."""
    precise, *rounded = sights
    for switch, value in precise.items():
        distance = np.abs(value.astype(np.float64))
        noise = np.max([np.abs(run[switch] - value) for run in rounded], axis=0)
        unit_roundoff = float(np.finfo(rounded[0][switch].dtype).eps) / 2
        reach = FLOOR_FACTOR * noise.max() + ROUNDOFFS * unit_roundoff * distance.max()
        distance[(distance == 0) & (noise == 0)] = np.inf  # exactly there in every run: no rounding moves it
        index = np.unravel_index(int(np.argmin(distance)), distance.shape)
        if distance[index] <= reach < np.inf:  # what leaves the range of the precision is told otherwise
            sentence = _SENTENCES[switch.kind].format(
                name=switch.name, layer=switch.layer, index=[int(i) for i in index], distance=distance[index],
                unit=index[-1] + 1, example=index[0],
            )  # fmt: skip
            events.setdefault(step, f"{sentence}, within the {reach:.1e} that rounding can move it")
