"""The situations in which an implementation is looked at, made once from the oracle and handed to all of them.

* ``points``: parameters at which forward pass, loss and gradients are compared: the initial ones and the trained ones.
* ``trajectory``: parameters and optimizer state before steps of a training, for the teacher-forced check.
* ``exercises``: gradients and optimizer states on which single updates are compared.

All of them are in the working precision: the trajectory is a float64 training whose state is rounded to that
precision after every step, so that a step from it measures that step's own rounding and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from conformance.adapter import Session, State
from conformance.adapters.numpy import NumpySession
from conformance.randomness import keyed_generator
from conformance.tape import Array, Problem, Tensors, cast_floats
from reference_numpy import schedules

TRAJECTORY_BYTES = 48e6  # a training too large to keep whole is looked at in evenly spaced steps
UPDATE_STEPS = (1, 2, 10, 1000)
EXERCISE_SIZE = 6


class TrainingState(NamedTuple):
    """Parameters and optimizer state before step ``step`` (counted from 1)."""

    step: int
    parameters: Tensors
    slots: dict[str, Tensors]


class Exercise(NamedTuple):
    """One optimizer step: from ``parameters`` and ``slots`` with ``gradients``, as step ``step`` (counted from 1)."""

    step: int
    parameters: Tensors
    slots: dict[str, Tensors]
    gradients: Tensors


@dataclass(frozen=True)
class Case:
    """A problem and the situations in which it is looked at."""

    problem: Problem
    points: dict[int, Tensors]
    trajectory: tuple[TrainingState, ...]
    exercises: tuple[Exercise, ...]

    def in_float64(self) -> "Case":
        """The same numbers, to be computed with in float64."""
        double = np.dtype(np.float64)
        return Case(
            self.problem.in_float64(),
            {step: cast_floats(point, double) for step, point in self.points.items()},
            tuple(TrainingState(s.step, cast_floats(s.parameters, double), _cast_slots(s.slots, double))
                  for s in self.trajectory),
            tuple(Exercise(e.step, cast_floats(e.parameters, double), _cast_slots(e.slots, double),
                           cast_floats(e.gradients, double)) for e in self.exercises),
        )  # fmt: skip


def learning_rate(problem: Problem, step: int) -> float:
    """The recipe's learning rate at ``step`` (counted from 1)."""
    schedule = problem.recipe.build_schedule(schedules)
    by_epoch = problem.recipe.schedule.unit == "epoch"
    return schedule((step - 1) // problem.batches_per_epoch if by_epoch else step - 1)


def replay(session: Session, problem: Problem, dtype: np.dtype[Any] | None = None) -> Iterator[TrainingState]:
    """A training in single steps, as states before each of them and one after the last.

    With ``dtype`` the state is rounded to that precision after every step.
    """
    parameters, slots = (
        problem.tape.initial_parameters,
        initial_slots(NumpySession(problem), problem.tape.initial_parameters),
    )
    for step in range(1, problem.steps + 1):
        yield TrainingState(step, parameters, slots)
        batch = problem.batch(step - 1)
        gradients = session.gradients(parameters, *batch)
        parameters, state = session.optimizer_step(
            parameters, {name: gradients[name] for name in parameters}, State(step - 1, slots),
            learning_rate(problem, step),
        )  # fmt: skip
        slots = state.slots
        if dtype is not None:
            parameters, slots = cast_floats(cast_floats(parameters, dtype), problem.dtype), _cast_slots(slots, dtype)
            slots = _cast_slots(slots, problem.dtype)
    yield TrainingState(problem.steps + 1, parameters, slots)


def initial_slots(reference: NumpySession, parameters: Tensors) -> dict[str, Tensors]:
    """The optimizer's slots before the first step."""
    slots: dict[str, Tensors] = reference.optimizer.init(parameters).slots
    return slots


def build_case(problem: Problem, oracle: NumpySession) -> Case:
    """The case of ``problem``, with states from ``oracle``, the reference in float64."""
    double = problem.in_float64()
    kept, chosen = [], set(trajectory_steps(problem, oracle))
    state = None
    for state in replay(oracle, double, problem.dtype):
        if state.step in chosen:
            kept.append(_state_in(state, problem.dtype))
    assert state is not None
    points = {0: problem.tape.initial_parameters, problem.steps: cast_floats(state.parameters, problem.dtype)}
    return Case(problem, points, tuple(kept), tuple(_exercises(problem, oracle)))


def trajectory_steps(problem: Problem, oracle: NumpySession) -> list[int]:
    """Every step of the training, or as many evenly spaced ones as fit into ``TRAJECTORY_BYTES``."""
    parameters = problem.tape.initial_parameters
    state_bytes = 8 * sum(w.size for w in parameters.values()) * (1 + len(initial_slots(oracle, parameters)))
    count = int(np.clip(TRAJECTORY_BYTES // (2 * state_bytes), 2, problem.steps)) if problem.steps > 1 else 1
    return sorted({int(step) for step in np.linspace(1, problem.steps, count).round()})


def gradient_sequence(seed: int, step: int) -> Tensors:
    """The gradients of step ``step`` of the update check, one tensor for each kind of sequence.

    ``ordinary`` ones are normal; ``zeros``; ``tiny`` (1e-10) and ``huge`` (1e10); ``sign_flips`` alternate;
    ``constant`` ones never change; ``bursts`` are huge at every seventh step and tiny otherwise.
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
    }


def _exercises(problem: Problem, oracle: NumpySession) -> Iterator[Exercise]:
    """States after long runs of each sequence, with parameters at 0 so that the smallest step is seen in full.

    The ``ordinary`` parameters alone are not 0, for formulas in which the parameter itself has a part.
    """
    start: Tensors = {name: np.zeros(EXERCISE_SIZE) for name in gradient_sequence(problem.recipe.seed, 1)}
    start["ordinary"] = keyed_generator(problem.recipe.seed, "update parameters").standard_normal(EXERCISE_SIZE)
    slots = initial_slots(oracle, start)
    rate = float(problem.recipe.optimizer.keywords["learning_rate"])
    for step in range(1, UPDATE_STEPS[-1] + 1):
        gradients = cast_floats(gradient_sequence(problem.recipe.seed, step), problem.dtype)
        if step in UPDATE_STEPS:
            yield Exercise(step, cast_floats(start, problem.dtype), _cast_slots(slots, problem.dtype), gradients)
        double = cast_floats(gradients, np.dtype(np.float64))
        slots = oracle.optimizer_step(start, double, State(step - 1, slots), rate)[1].slots


def _state_in(state: TrainingState, dtype: np.dtype[Any]) -> TrainingState:
    return TrainingState(state.step, cast_floats(state.parameters, dtype), _cast_slots(state.slots, dtype))


def _cast_slots(slots: dict[str, Tensors], dtype: np.dtype[Any]) -> dict[str, Tensors]:
    return {slot: cast_floats(arrays, dtype) for slot, arrays in slots.items()}


def pack(case: Case) -> Tensors:
    """The case's situations (not its problem, which is prepared anew) as named arrays."""
    arrays: Tensors = {}
    for step, point in case.points.items():
        arrays |= {f"point|{step}|{name}": value for name, value in point.items()}
    for state in case.trajectory:
        arrays |= _pack_state("trajectory", state.step, state.parameters, state.slots)
    for exercise in case.exercises:
        arrays |= _pack_state("exercise", exercise.step, exercise.parameters, exercise.slots)
        arrays |= {f"exercise|{exercise.step}|gradients|{n}": value for n, value in exercise.gradients.items()}
    return arrays


def unpack(problem: Problem, arrays: Tensors) -> Case:
    """The inverse of :func:`pack`."""
    tree: dict[str, dict[int, dict[str, Array]]] = {"point": {}, "trajectory": {}, "exercise": {}}
    for name, value in arrays.items():
        group, step, rest = name.split("|", 2)
        tree[group].setdefault(int(step), {})[rest] = value
    return Case(
        problem,
        tree["point"],
        tuple(TrainingState(step, _part(t, "parameters"), _slots(t)) for step, t in sorted(tree["trajectory"].items())),
        tuple(
            Exercise(step, _part(t, "parameters"), _slots(t), _part(t, "gradients"))
            for step, t in sorted(tree["exercise"].items())
        ),
    )


def _pack_state(group: str, step: int, parameters: Tensors, slots: dict[str, Tensors]) -> Tensors:
    arrays = {f"{group}|{step}|parameters|{name}": value for name, value in parameters.items()}
    for slot, tensors in slots.items():
        arrays |= {f"{group}|{step}|slots|{slot}|{name}": value for name, value in tensors.items()}
    return arrays


def _part(arrays: Tensors, part: str) -> Tensors:
    return {name.split("|")[-1]: value for name, value in arrays.items() if name.startswith(f"{part}|")}


def _slots(arrays: Tensors) -> dict[str, Tensors]:
    slots: dict[str, Tensors] = {}
    for name, value in arrays.items():
        if name.startswith("slots|"):
            _, slot, parameter = name.split("|")
            slots.setdefault(slot, {})[parameter] = value
    return slots
