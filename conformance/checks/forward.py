"""Forward pass: the scaled and augmented input, and every activation, in training and in inference mode."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case, Point
from conformance.checks.observation import Check, Key, Mode, Observation, Part, key_of
from conformance.problems.problem import Batch, Problem

STANDARDIZED, AUGMENTED = "standardized test inputs", "augmented inputs"


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """At the initial and the trained parameters, on the first batch; the scaled input on the test set."""
    problem = case.problem
    if problem.dataset.scaling == "standardize":
        yield Part(_standardized(session, problem), ("input",), 0, STANDARDIZED)
    if problem.tape.augmentation_draws:
        yield Part(_augmented(session, problem), ("input",), 0, AUGMENTED)
    batch = problem.batch(0)
    for step, point in case.points.items():
        yield Part(_activations(session, problem, step, point, batch, "inference"), ("activation",), step)
        if batch.masks or point.statistics:
            yield Part(_activations(session, problem, step, point, batch, "training"), ("activation",), step)
        if point.statistics:
            yield Part(_running_averages(session, problem, step, point, batch), ("running statistic",), step)


def _standardized(session: Session, problem: Problem) -> Iterator[Observation]:
    scaled = session.standardize(problem.raw_train_x, problem.raw_test_x)
    yield Observation(Key("input", 0, STANDARDIZED), scaled)


def _augmented(session: Session, problem: Problem) -> Iterator[Observation]:
    augmented = session.augment(problem.plain_inputs(0), problem.draws(0))
    yield Observation(Key("input", 0, AUGMENTED), augmented)


def _activations(
    session: Session, problem: Problem, step: int, point: Point, batch: Batch, mode: Mode
) -> Iterator[Observation]:
    masks, statistics = (batch.masks, None) if mode == "training" else (None, point.statistics)
    for name, value in session.intermediates(point.parameters, batch.x, masks, statistics).items():
        yield Observation(key_of(problem, "activation", step, name, f"{name} ({mode})", mode=mode), value)


def _running_averages(
    session: Session, problem: Problem, step: int, point: Point, batch: Batch
) -> Iterator[Observation]:
    after = session.running_statistics(point.parameters, batch.x, batch.masks, point.statistics)
    for name, value in after.items():
        yield Observation(key_of(problem, "running statistic", step, name, name), value)
