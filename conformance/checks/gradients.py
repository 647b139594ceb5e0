"""Gradients: of the cost, with respect to every parameter and to the input."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case, places
from conformance.checks.observation import Check, Observation, Part, key_of, returned
from conformance.problems.problem import Problem
from conformance.problems.tensors import Tensors


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """At the initial and the trained parameters, on the batches of the first epoch, the last of which may be small."""
    problem = case.problem
    batches = places(problem)
    for step, (parameters, _) in case.points.items():
        for place, batch in batches.items():
            yield Part(_gradients(session, problem, step, parameters, place, batch), ("gradient",), step)


def _gradients(
    session: Session, problem: Problem, step: int, parameters: Tensors, place: str, batch: int
) -> Iterator[Observation]:
    gradients = session.gradients(parameters, *problem.batch(batch))
    for name, value in returned(gradients, (*parameters, "A0"), beside=["cost"]):
        yield Observation(key_of(problem, "gradient", step, name, f"d{name} ({place})"), value)
