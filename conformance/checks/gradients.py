"""Gradients: of the cost, with respect to every parameter and to the input."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Observation, key_of


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """At the initial and the trained parameters, on the first and on the last, smallest batch of the first epoch."""
    problem = case.problem
    places = {"first batch": problem.batch(0), "last batch": problem.batch(problem.batches_per_epoch - 1)}
    if problem.batches_per_epoch == 1:
        del places["last batch"]
    for step, (parameters, _) in case.points.items():
        for place, batch in places.items():
            gradients = session.gradients(parameters, *batch)
            for name in (*parameters, "A0"):
                key = key_of(problem, "gradient", step, name, f"d{name} ({place})")
                yield Observation(key, gradients[name])
