"""Gradients: of the cost, with respect to every parameter and to the input."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Check, Observation, Part, key_of, returned
from conformance.problems.problem import Problem
from conformance.problems.tensors import Tensors


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """At the initial and the trained parameters, on the first and on the last, smallest batch of the first epoch."""
    problem = case.problem
    places = {"first batch": 0, "last batch": problem.batches_per_epoch - 1}
    if problem.batches_per_epoch == 1:
        del places["last batch"]
    for step, (parameters, _) in case.points.items():
        for place, batch in places.items():
            yield Part(_gradients(session, problem, step, parameters, place, batch), ("gradient",), step)


def _gradients(
    session: Session, problem: Problem, step: int, parameters: Tensors, place: str, batch: int
) -> Iterator[Observation]:
    gradients = session.gradients(parameters, *problem.batch(batch))
    for name, value in returned(gradients, (*parameters, "A0"), beside=["cost"]):
        yield Observation(key_of(problem, "gradient", step, name, f"d{name} ({place})"), value)
