"""The situations in which an implementation is looked at, made once from the oracle and handed to all of them.

* ``points``: parameters at which forward pass, loss and gradients are compared: the initial ones and the trained ones.
* ``trajectory``: parameters and optimizer state before steps of a training, for the teacher-forced check.
* ``exercises``: gradients and optimizer states on which single updates are compared.

Loss and gradients are looked at on the batches of the first epoch (:func:`places`), so that every example and every
class is seen.

All of them are in the working precision: the trajectory is a float64 training whose state is rounded to that
precision after every step, so that a step from it measures that step's own rounding and nothing else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session, State, TrainingState
from conformance.data.randomness import keyed_generator
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors, cast_floats
from reference_numpy import models, regularizers, schedules

Tree = dict[Any, Any]  # nested, with arrays as its leaves

TRAJECTORY_BYTES = 48e6  # a training too large to keep whole is looked at in evenly spaced steps
UPDATE_STEPS = (1, 2, 10, 1000)
FULL_BATCH_STEPS = (1, 2, 4, 8)
EXERCISE_SIZE = 6
MODEL_SHAPES = {"W1": (4, 3), "b1": (4,)}  # of an exercise's parameters that go by the names of a model's
FIRST = "first batch"
BATCHES = 32  # of a longer epoch so many are looked at, evenly spaced, and further ones for classes that these lack


class Step(NamedTuple):
    """Everything that one step of a training makes, in the order in which it comes into being."""

    cost: Array
    gradients: Tensors
    clipped: Tensors
    updated: TrainingState


class Exercise(NamedTuple):
    """One optimizer step: from ``parameters`` and ``slots`` with ``gradients``, as step ``step`` (counted from 1)."""

    step: int
    parameters: Tensors
    slots: dict[str, Tensors]
    gradients: Tensors


class Point(NamedTuple):
    """Parameters at which the model is looked at, and running averages to go with them."""

    parameters: Tensors
    statistics: Tensors


@dataclass(frozen=True)
class Case:
    """A problem and the situations in which it is looked at."""

    problem: Problem
    points: dict[int, Point]
    trajectory: tuple[TrainingState, ...]
    exercises: tuple[Exercise, ...]

    def in_float64(self) -> "Case":
        """The same numbers, to be computed with in float64."""
        double = np.dtype(np.float64)
        return Case(
            self.problem.in_float64(),
            {step: Point(*(cast_floats(tensors, double) for tensors in point)) for step, point in self.points.items()},
            tuple(_state_in(state, double) for state in self.trajectory),
            tuple(Exercise(e.step, cast_floats(e.parameters, double), _cast_slots(e.slots, double),
                           cast_floats(e.gradients, double)) for e in self.exercises),
        )  # fmt: skip


def places(problem: Problem) -> dict[str, int]:
    """The batches on which losses and gradients are compared, as steps counted from 0, by what they are called.

    All of the first epoch, or ``BATCHES`` of them and the first with each class that these lack.
    """
    last = problem.batches_per_epoch - 1
    if last == 0:
        return {FIRST: 0}
    chosen = {int(batch) for batch in np.linspace(0, last, min(last + 1, BATCHES)).round()}
    if len(chosen) <= last and problem.recipe.decides_classes and problem.train_y.shape[1:] in ((), (1,)):
        missing = set(problem.train_y.flat) - {label for batch in chosen for label in problem.batch(batch).y.flat}
        for batch in range(last + 1) if missing else ():
            found = missing & set(problem.batch(batch).y.flat)
            chosen |= {batch} if found else set()
            missing -= found
    names = {0: FIRST, last: "last batch"}
    return {names.get(batch, f"batch {batch + 1}"): batch for batch in sorted(chosen)}


def learning_rate(problem: Problem, step: int) -> float:
    """The recipe's learning rate at ``step`` (counted from 1)."""
    schedule = problem.recipe.build_schedule(schedules)
    by_epoch = problem.recipe.schedule.unit == "epoch"
    return schedule((step - 1) // problem.batches_per_epoch if by_epoch else step - 1)


def take_step(session: Session, problem: Problem, state: TrainingState) -> Step:
    """The step of a training that starts from ``state``."""
    batch = problem.batch(state.step - 1)
    found = session.gradients(state.parameters, *batch)
    gradients = {name: found[name] for name in problem.trained(state.parameters)}
    clipped = clip(session, problem, gradients)
    updated, slots = update(session, problem, state, clipped)
    updated = constrain(session, problem, updated)
    statistics = state.statistics and session.running_statistics(
        state.parameters, batch.x, batch.masks, state.statistics
    )
    return Step(
        found["cost"], gradients, clipped,
        TrainingState(state.step + 1, {n: updated.get(n, w) for n, w in state.parameters.items()}, slots, statistics),
    )  # fmt: skip


def clip(session: Session, problem: Problem, gradients: Tensors) -> Tensors:
    """The gradients after the recipe's clipping; the very same without one."""
    return session.clip(gradients) if problem.recipe.build_clipping(regularizers) else gradients


def update(
    session: Session, problem: Problem, state: TrainingState, gradients: Tensors
) -> tuple[Tensors, dict[str, Tensors]]:
    """What the optimizer makes of the trained parameters, and its slots, after the step from ``state``."""
    before, rate = State(state.step - 1, state.slots), learning_rate(problem, state.step)
    updated, after = session.optimizer_step(problem.trained(state.parameters), gradients, before, rate)
    return updated, after.slots


def constrain(session: Session, problem: Problem, updated: Tensors) -> Tensors:
    """Updated parameters after the recipe's constraint on them, if it has one."""
    return session.constrain(updated) if problem.recipe.build_constraint(regularizers) else updated


def replay(session: Session, problem: Problem, dtype: np.dtype[Any] | None = None) -> Iterator[TrainingState]:
    """A training in single steps, as states before each of them and one after the last.

    With ``dtype`` the state is rounded to that precision after every step.
    """
    state = initial_state(problem)
    for _ in range(problem.steps):
        yield state
        state = take_step(session, problem, state).updated
        if dtype is not None:
            state = _state_in(_state_in(state, dtype), problem.dtype)
    yield state


def initial_state(problem: Problem) -> TrainingState:
    """The state before the first step."""
    reference, parameters = NumpySession(problem), problem.tape.initial_parameters
    statistics = models.initial_statistics(reference.model, dtype=problem.dtype)
    return TrainingState(1, parameters, initial_slots(reference, problem.trained(parameters)), statistics)


def initial_slots(reference: NumpySession, parameters: Tensors) -> dict[str, Tensors]:
    """The optimizer's slots before the first step."""
    slots: dict[str, Tensors] = reference.optimizer.init(parameters).slots
    return slots


@np.errstate(all="ignore")  # a training may diverge
def build_case(problem: Problem, oracle: NumpySession) -> Case:
    """The case of ``problem``, with states from ``oracle``, the reference in float64."""
    double = problem.in_float64()
    kept, chosen = [], set(trajectory_steps(problem, oracle))
    first = state = initial_state(problem)
    for state in replay(oracle, double, problem.dtype):
        if state.step in chosen:
            kept.append(_state_in(state, problem.dtype))
    state = _state_in(state, problem.dtype)
    points = {
        0: Point(first.parameters, first.statistics),
        problem.steps: Point(state.parameters, state.statistics),
    }
    exercises = _exercises if oracle.optimizer.elementwise else _full_batch_exercises
    return Case(problem, points, tuple(kept), tuple(exercises(problem, oracle)))


def trajectory_steps(problem: Problem, oracle: NumpySession) -> list[int]:
    """Every step of the training, or as many evenly spaced ones as fit into ``TRAJECTORY_BYTES``."""
    parameters = problem.tape.initial_parameters
    state_bytes = 8 * sum(w.size for w in parameters.values()) * (1 + len(initial_slots(oracle, parameters)))
    count = int(np.clip(TRAJECTORY_BYTES // (2 * state_bytes), 2, problem.steps)) if problem.steps > 1 else 1
    return sorted({int(step) for step in np.linspace(1, problem.steps, count).round()})


@lru_cache(maxsize=2 * UPDATE_STEPS[-1])  # recipes share seeds, and a recipe's two precisions do
def gradient_sequence(seed: int, step: int) -> Mapping[str, Array]:
    """The gradients of step ``step`` of the update check, one tensor for each kind of sequence.

    ``ordinary`` ones are normal; ``zeros``; ``tiny`` (1e-10) and ``huge`` (1e10); ``sign_flips`` alternate;
    ``constant`` ones never change; ``bursts`` are huge at every seventh step and tiny otherwise. ``W1`` and ``b1``,
    a matrix and a vector, are ordinary ones of a model's weights and biases, which an optimizer is not to tell apart.
    """
    normal = keyed_generator(seed, "update gradients", step).standard_normal((3, EXERCISE_SIZE))
    steady = keyed_generator(seed, "update gradients").standard_normal(EXERCISE_SIZE)
    return {
        "ordinary": normal[0],
        "zeros": np.zeros(EXERCISE_SIZE),
        "tiny": 1e-10 * normal[1],
        "huge": 1e10 * normal[2],
        "sign_flips": steady * (-1.0) ** step,
        "constant": steady,
        "bursts": normal[0] * (1e5 if step % 7 == 0 else 1e-5),
        **_of_a_model(seed, "update gradients", step),
    }


def _of_a_model(seed: int, purpose: str, *keys: int) -> Tensors:
    """Normal numbers in the shape of a small layer's weights and biases."""
    sizes = {name: int(np.prod(shape)) for name, shape in MODEL_SHAPES.items()}
    drawn = keyed_generator(seed, f"{purpose} of a model", *keys).standard_normal(sum(sizes.values()))
    parts = np.split(drawn, np.cumsum(list(sizes.values()))[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(MODEL_SHAPES.items(), parts, strict=True)}


def _exercises(problem: Problem, oracle: NumpySession) -> Iterator[Exercise]:
    """States after long runs of each sequence, with parameters at 0 so that the smallest step is seen in full.

    The ``ordinary`` parameters and the model's alone are not 0, for formulas in which the parameter itself has a part.
    """
    seed = problem.recipe.seed
    start: Tensors = {name: np.zeros(EXERCISE_SIZE) for name in gradient_sequence(seed, 1)}
    start["ordinary"] = keyed_generator(seed, "update parameters").standard_normal(EXERCISE_SIZE)
    start |= _of_a_model(seed, "update parameters")
    slots = initial_slots(oracle, start)
    rate = float(problem.recipe.optimizer.keywords["learning_rate"])
    for step in range(1, UPDATE_STEPS[-1] + 1):
        gradients = cast_floats(gradient_sequence(seed, step), problem.dtype)
        if step in UPDATE_STEPS:
            yield Exercise(step, cast_floats(start, problem.dtype), _cast_slots(slots, problem.dtype), gradients)
        double = cast_floats(gradients, np.dtype(np.float64))
        slots = oracle.optimizer_step(start, double, State(step - 1, slots), rate)[1].slots


def _full_batch_exercises(problem: Problem, oracle: NumpySession) -> Iterator[Exercise]:
    """States on the way down a quadratic bowl ``1/2 sum c w^2`` with curvatures ``c`` from 1/2 to 2, at half the rate.

    Quasi-Newton methods learn from how the gradient changes with the parameters, so here these move.
    """
    double, seed = np.dtype(np.float64), problem.recipe.seed
    w: Tensors = {"bowl": keyed_generator(seed, "update parameters").standard_normal(EXERCISE_SIZE)}
    w |= _of_a_model(seed, "update parameters")
    curvatures = {name: np.geomspace(0.5, 2.0, value.size).reshape(value.shape) for name, value in w.items()}
    slots = initial_slots(oracle, w)
    rate = 0.5 * float(problem.recipe.optimizer.keywords["learning_rate"])
    for step in range(1, FULL_BATCH_STEPS[-1] + 1):
        w, slots = cast_floats(w, problem.dtype), _cast_slots(slots, problem.dtype)
        gradients = {name: (curvatures[name] * value).astype(problem.dtype) for name, value in w.items()}
        if step in FULL_BATCH_STEPS:
            yield Exercise(step, w, slots, gradients)
        state = State(step - 1, _cast_slots(slots, double))
        w, (_, slots) = oracle.optimizer_step(cast_floats(w, double), cast_floats(gradients, double), state, rate)


def _state_in(state: TrainingState, dtype: np.dtype[Any]) -> TrainingState:
    return TrainingState(
        state.step, cast_floats(state.parameters, dtype), _cast_slots(state.slots, dtype),
        cast_floats(state.statistics, dtype),
    )  # fmt: skip


def _cast_slots(slots: dict[str, Tensors], dtype: np.dtype[Any]) -> dict[str, Tensors]:
    return {slot: cast_floats(arrays, dtype) for slot, arrays in slots.items()}


def as_tree(case: Case) -> Tree:
    """The case's situations, not its problem, as nested dicts of arrays."""
    return {
        "points": {step: point._asdict() for step, point in case.points.items()},
        "trajectory": {state.step: _without_step(state) for state in case.trajectory},
        "exercises": {exercise.step: _without_step(exercise) for exercise in case.exercises},
    }


def from_tree(problem: Problem, tree: Mapping[str, Any]) -> Case:
    """The inverse of :func:`as_tree`. (A part that held nothing is not in the tree.)"""

    def steps(group: str) -> Iterator[tuple[int, Any]]:
        yield from sorted((int(step), parts) for step, parts in tree.get(group, {}).items())

    return Case(
        problem,
        {step: Point(parts["parameters"], parts.get("statistics", {})) for step, parts in steps("points")},
        tuple(
            TrainingState(step, parts["parameters"], parts.get("slots", {}), parts.get("statistics", {}))
            for step, parts in steps("trajectory")
        ),
        tuple(
            Exercise(step, parts["parameters"], parts.get("slots", {}), parts["gradients"])
            for step, parts in steps("exercises")
        ),
    )


def _without_step(situation: TrainingState | Exercise) -> Tree:
    parts = situation._asdict()
    del parts["step"]
    return parts
