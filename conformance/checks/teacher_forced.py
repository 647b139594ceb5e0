"""Teacher-forced training: at every step the state is the oracle's, one step is taken, and everything is looked at.

Errors are local: none is carried to the next step, so none is amplified.
"""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case, take_step
from conformance.checks.observation import Key, Observation, key_of


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """Cost, gradients, optimizer state, parameters and running averages of each step of the case's trajectory."""
    problem = case.problem
    for state in case.trajectory:
        step, taken = state.step, take_step(session, problem, state)
        yield Observation(Key("loss", step, "cost"), taken.cost)
        for name, value in taken.gradients.items():
            yield Observation(key_of(problem, "gradient", step, name, f"d{name}"), value)
        if taken.clipped is not taken.gradients:
            for name, value in taken.clipped.items():
                yield Observation(key_of(problem, "clipped gradient", step, name, f"d{name}"), value)
        for slot, tensors in taken.updated.slots.items():
            for name, value in tensors.items():
                key = key_of(problem, "optimizer state", step, name, f"{slot} of {name}", slot=slot)
                yield Observation(key, value)
        for name in taken.gradients:
            yield Observation(key_of(problem, "parameter", step, name, name), taken.updated.parameters[name])
        for name, value in taken.updated.statistics.items():
            yield Observation(key_of(problem, "running statistic", step, name, name), value)
