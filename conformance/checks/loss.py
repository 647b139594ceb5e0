"""Loss: data loss of each example and their mean, the penalty, and the cost."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """At the initial and the trained parameters, on the first batch, in training mode."""
    batch = case.problem.batch(0)
    for step, (parameters, _) in case.points.items():
        for name, value in session.losses(parameters, *batch).items():
            yield Observation(Key("loss", step, name), value)
