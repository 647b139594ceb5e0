"""Loss: data loss of each example and their mean, the penalty, and the cost."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Check, Key, Observation, Part
from conformance.problems.problem import Batch
from conformance.problems.tensors import Tensors


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """At the initial and the trained parameters, on the first batch, in training mode."""
    batch = case.problem.batch(0)
    for step, (parameters, _) in case.points.items():
        yield Part(_losses(session, step, parameters, batch), ("loss",), step)


def _losses(session: Session, step: int, parameters: Tensors, batch: Batch) -> Iterator[Observation]:
    for name, value in session.losses(parameters, *batch).items():
        yield Observation(Key("loss", step, name), value)
