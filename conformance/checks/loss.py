"""Loss: data loss of each example and their mean, the penalty, and the cost."""

from collections.abc import Iterator

from conformance.adapter import Session
from conformance.case import Case
from conformance.compare import Key, Observation


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """At the initial and the trained parameters, on the first batch, in training mode."""
    batch = case.problem.batch(0)
    for step, (parameters, _) in case.points.items():
        for name, value in session.losses(parameters, *batch).items():
            yield Observation(Key("loss", step, name), value)
