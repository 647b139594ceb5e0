"""Free-running training: as a user runs it, compiled and fast, from the initial parameters to the predicted classes.

It sees the plumbing that single steps cannot: schedules, epochs, batch order, the last small batch, state carried on.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.adapters.guarded import Unreadable, demand
from conformance.adapters.session import Session, Training, TrainingState
from conformance.checks.case import Case, Point
from conformance.checks.observation import STAGES, Check, Key, Observation, Part, key_of, returned
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from reference_numpy import regularizers


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """Curves of costs, gradient norms and rates; parameters after some epochs; state and decisions at the end."""
    problem, finished = case.problem, list[Training]()
    like = case.points[max(case.points)]
    yield Part(_trained(session, problem, finished, like), STAGES)
    if problem.recipe.decides_classes:
        for rows, x in (("training", problem.train_x), ("test", problem.test_x)):
            tensor = f"predicted classes ({rows})"
            observations = _predicted(session, problem, finished, like, tensor, x)
            yield Part(observations, ("decision",), afterwards(problem), tensor)


def _trained(session: Session, problem: Problem, finished: list[Training], like: Point) -> Iterator[Observation]:
    finished.append(train(session, problem, like))
    yield from observe_training(problem, finished[0])


def train(session: Session, problem: Problem, like: Point | None = None) -> Training:
    """The training as the recipe has it asked for: in one call of ``fit``, in two halves, or a second time.

    ``like``: what the first half must end with, if that is to be demanded. Raises Malformed if it does not.
    """
    chosen, epochs = checkpoint_epochs(problem), problem.recipe.epochs
    if problem.recipe.fit == "in_halves":
        half = epochs // 2
        first = session.fit(problem.epochs(0, half), tuple(e for e in chosen if e <= half), None)
        start = TrainingState(half * problem.batches_per_epoch + 1, first.parameters, first.slots, first.statistics)
        rest = tuple(epoch - half for epoch in chosen if epoch > half)
        if like is not None:
            _demand_whole(first, like)
        return _joined(first, session.fit(problem.epochs(half, epochs), rest, start), half)
    if problem.recipe.fit == "twice":
        session.fit(problem, ())
    return session.fit(problem, chosen)


def _joined(first: Training, second: Training, half: int) -> Training:
    """A training in two parts, the first of ``half`` epochs, as one."""
    later = {epoch + half: parameters for epoch, parameters in second.checkpoints.items()}
    return second._replace(
        costs=_end_to_end(first.costs, second.costs),
        learning_rates=_end_to_end(first.learning_rates, second.learning_rates),
        gradient_norms=_end_to_end(first.gradient_norms, second.gradient_norms),
        checkpoints=first.checkpoints | later,
    )


def _end_to_end(first: Array, second: Array) -> Array:
    """Two parts of a curve as one; what is no curve stands for the whole."""
    for part in (first, second):
        if isinstance(part, Unreadable) or part.ndim != 1:
            return part
    return np.concatenate([first, second])


def _demand_whole(training: Training, like: Point) -> None:
    """Raise Malformed for a training from whose end nothing can go on."""
    for own, others in ((training.parameters, like.parameters), (training.statistics, like.statistics)):
        for name, other in others.items():
            demand(name, own.get(name), other.shape)
    for tensors in training.slots.values():
        for name, value in tensors.items():
            demand(name, value)


def observe_training(problem: Problem, training: Training) -> Iterator[Observation]:
    """The observations of a finished training, but for what is predicted with it."""
    yield Observation(Key("curve", 1, "learning rate", "curve"), training.learning_rates)
    yield Observation(Key("curve", 1, "cost", "curve"), training.costs)
    yield Observation(Key("curve", 1, "gradient norm", "curve"), training.gradient_norms)
    for epoch, parameters in training.checkpoints.items():
        for name, value in parameters.items():
            key = key_of(problem, "parameter", epoch * problem.batches_per_epoch, name, name)
            yield Observation(key, value)
    for slot, tensors in training.slots.items():
        for name, value in tensors.items():
            key = key_of(problem, "optimizer state", problem.steps, name, f"{slot} of {name}", slot=slot)
            yield Observation(key, value)
    for name, value in training.statistics.items():
        yield Observation(key_of(problem, "running statistic", problem.steps, name, name), value)
    # With early stopping those of the best epoch, perhaps; else those of the last checkpoint.
    known = () if problem.validation is not None else problem.tape.initial_parameters
    for name, value in returned(training.parameters, (), beside=known):
        key = key_of(problem, "parameter", afterwards(problem), name, f"{name} at the end")
        yield Observation(key, value)
    if problem.validation is not None:
        epoch = problem.batches_per_epoch
        key = Key("curve", epoch, "validation cost", "curve", stride=epoch)
        yield Observation(key, training.validation_costs)
        yield from _observe_stopping(problem, training)


def _observe_stopping(problem: Problem, training: Training) -> Iterator[Observation]:
    """The epochs at which training was at its best and at which it ended.

    Their margin: how near some epoch's cost came to being judged the other way.
    """
    monitor = problem.recipe.build_early_stopping(regularizers)
    margins, costs, last = [], training.validation_costs, np.asarray(np.size(training.validation_costs))
    if isinstance(costs, Unreadable):
        last = Unreadable.of("cannot be told from the validation costs")
    for cost in map(float, np.ravel(costs)[: problem.recipe.epochs]):
        if monitor.epoch:  # the first epoch has nothing to be better than: no rounding makes it any other than the best
            margins.append(abs(monitor.best_cost - monitor.min_delta - cost))
        monitor.improved(cost)
    smallest = np.asarray([min(filter(np.isfinite, margins), default=1.0)])
    decided: dict[str, Any] = {"best epoch": training.best_epoch, "last epoch": last}
    for tensor, epoch in decided.items():
        yield Observation(Key("decision", afterwards(problem), tensor, "decision"), np.atleast_1d(epoch), smallest)


def _predicted(
    session: Session, problem: Problem, finished: list[Training], like: Point, tensor: str, x: Array
) -> Iterator[Observation]:
    for training in finished:  # one, or none
        _demand_whole(training, like)
        classes = session.predict_classes(training.parameters, x, training.statistics)
        margins = session.decision_margins(training.parameters, x, training.statistics)
        yield Observation(Key("decision", afterwards(problem), tensor, "decision"), classes, margins)


def afterwards(problem: Problem) -> int:
    """The step of what there is when the training has ended and the best epoch, perhaps, been gone back to."""
    return problem.steps + 1


def checkpoint_epochs(problem: Problem) -> tuple[int, ...]:
    """The first epoch, the one halfway and the last."""
    epochs = problem.recipe.epochs
    return tuple(sorted({1, (epochs + 1) // 2, epochs}))
