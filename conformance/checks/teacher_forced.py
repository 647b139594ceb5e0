"""Teacher-forced training: at every step the state is the oracle's, one step is taken, and everything is looked at.

Errors are local: none is carried to the next step, so none is amplified.
"""

from collections.abc import Iterator

from conformance.adapter import Session, State
from conformance.case import Case, learning_rate
from conformance.compare import Key, Observation


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """Cost, gradients, optimizer state and parameters of each step of the case's trajectory."""
    problem = case.problem
    for step, parameters, slots in case.trajectory:
        gradients = session.gradients(parameters, *problem.batch(step - 1))
        yield Observation(Key("loss", step, "cost"), gradients["cost"])
        own = {name: gradients[name] for name in parameters}
        for name, value in own.items():
            yield Observation(Key("gradient", step, f"d{name}"), value)
        updated, state = session.optimizer_step(parameters, own, State(step - 1, slots), learning_rate(problem, step))
        for slot, tensors in state.slots.items():
            for name, value in tensors.items():
                yield Observation(Key("optimizer state", step, f"{slot} of {name}"), value)
        for name, value in updated.items():
            yield Observation(Key("parameter", step, name), value)
