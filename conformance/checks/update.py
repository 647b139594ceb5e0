"""Update: one optimizer step from a given state; the new parameters and every slot."""

from collections.abc import Iterator

from conformance.adapters.session import Session, State
from conformance.checks.case import Case, Exercise
from conformance.checks.observation import Check, Key, Observation, Part


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """At t = 1, 2, 10 and 1000 of seven kinds of gradient sequence, and of a model's weights and biases.

    See ``case.gradient_sequence``. Methods for full batches alone: at the first steps down a quadratic bowl.
    """
    rate = float(case.problem.recipe.optimizer.keywords["learning_rate"])
    for exercise in case.exercises:
        yield Part(_updated(session, exercise, rate), ("optimizer state", "parameter"), exercise.step)


def _updated(session: Session, exercise: Exercise, rate: float) -> Iterator[Observation]:
    parameters, state = session.optimizer_step(
        exercise.parameters, exercise.gradients, State(exercise.step - 1, exercise.slots), rate
    )
    for slot, tensors in state.slots.items():
        for name, value in tensors.items():
            yield Observation(Key("optimizer state", exercise.step, f"{slot} of {name}", slot=slot), value)
    for name, value in parameters.items():
        yield Observation(Key("parameter", exercise.step, name), value)
