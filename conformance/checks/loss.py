"""Loss: data loss of each example and their mean, the penalty, and the cost."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import FIRST, Case, places
from conformance.checks.observation import Check, Key, Observation, Part
from conformance.problems.problem import Batch
from conformance.problems.tensors import Tensors


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """At the initial and the trained parameters, on the batches of the first epoch, in training mode.

    Values of the first batch go by their own names, ``cost``, others by ``cost (batch 2)``.
    """
    problem = case.problem
    batches = places(problem)
    for step, (parameters, _) in case.points.items():
        for place, batch in batches.items():
            yield Part(_losses(session, step, parameters, place, problem.batch(batch)), ("loss",), step)


def _losses(session: Session, step: int, parameters: Tensors, place: str, batch: Batch) -> Iterator[Observation]:
    for name, value in session.losses(parameters, *batch).items():
        yield Observation(Key("loss", step, name if place == FIRST else f"{name} ({place})"), value)
