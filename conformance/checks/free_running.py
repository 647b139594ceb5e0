"""Free-running training: as a user runs it, compiled and fast, from the initial parameters to the predicted classes.

It sees the plumbing that single steps cannot: schedules, epochs, batch order, the last small batch, state carried on.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from conformance.adapters.guarded import Unreadable, demand
from conformance.adapters.session import Session, Training, TrainingState, Unsupported
from conformance.checks.case import Case, Point
from conformance.checks.observation import STAGES, VALIDATION, Check, Key, Observation, Part, key_of, returned
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from reference_numpy import regularizers

MOST_WATCHED = 200  # epochs after which classes are predicted
WATCHED_NUMBERS = 2**25  # of the parameters after these epochs, all together
T = TypeVar("T")


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """Curves of costs, gradient norms and rates; parameters, state and averages after some epochs; decisions.

    Decisions also after every epoch, if the recipe has it so.
    """
    problem, finished = case.problem, list[Training]()
    like = case.points[max(case.points)]
    yield Part(_trained(session, problem, finished, like), STAGES)
    for epoch in checkpoint_epochs(problem)[:-1]:  # the last one's are those at the end
        step = epoch * problem.batches_per_epoch
        yield Part(_between(problem, finished, epoch), ("optimizer state",), step)
        yield Part(_averages_between(problem, finished, epoch), ("running statistic",), step)
    if problem.recipe.decides_classes:
        for rows, x in (("training", problem.train_x), ("test", problem.test_x)):
            tensor = f"predicted classes ({rows})"
            for epoch in watched_epochs(problem)[:-1]:
                part = _predicted_after(session, problem, finished, like, epoch, tensor, x)
                yield Part(part, ("decision",), epoch * problem.batches_per_epoch, tensor)
            observations = _predicted(session, problem, finished, like, tensor, x)
            yield Part(observations, ("decision",), afterwards(problem), tensor)


def _trained(session: Session, problem: Problem, finished: list[Training], like: Point) -> Iterator[Observation]:
    finished.append(train(session, problem, like))
    yield from observe_training(problem, finished[0])


def _between(problem: Problem, finished: list[Training], epoch: int) -> Iterator[Observation]:
    """The optimizer's state after an epoch."""
    for training in finished:  # one, or none
        if training.checkpoint_slots is None:
            raise Unsupported("fit returns no checkpoint_slots")
        for slot, tensors in training.checkpoint_slots.get(epoch, {}).items():
            yield from _of_slot(problem, epoch * problem.batches_per_epoch, slot, tensors)


def _averages_between(problem: Problem, finished: list[Training], epoch: int) -> Iterator[Observation]:
    """The running averages after an epoch."""
    for training in finished:  # one, or none
        if training.checkpoint_statistics is None:
            raise Unsupported("fit returns no checkpoint_statistics")
        for name, value in training.checkpoint_statistics.get(epoch, {}).items():
            yield Observation(
                key_of(problem, "running statistic", epoch * problem.batches_per_epoch, name, name), value
            )


def _of_slot(problem: Problem, step: int, slot: str, tensors: Tensors) -> Iterator[Observation]:
    for name, value in tensors.items():
        yield Observation(key_of(problem, "optimizer state", step, name, f"{slot} of {name}", slot=slot), value)


def train(session: Session, problem: Problem, like: Point | None = None) -> Training:
    """The training as the recipe has it asked for: in one call of ``fit``, in two halves, or a second time.

    ``like``: what the first half must end with, if that is to be demanded. Raises Malformed if it does not.
    """
    epochs = problem.recipe.epochs
    chosen = tuple(sorted({*checkpoint_epochs(problem), *watched_epochs(problem)}))
    if problem.recipe.fit == "in_halves":
        half = epochs // 2
        first = session.fit(problem.epochs(0, half), tuple(e for e in chosen if e <= half), None)
        start = TrainingState(half * problem.batches_per_epoch + 1, first.parameters, first.slots, first.statistics)
        rest = tuple(epoch - half for epoch in chosen if epoch > half)
        if like is not None:
            _demand_whole(first, like)
            for tensors in first.slots.values():
                for name, value in tensors.items():
                    demand(name, value)
        return _joined(first, session.fit(problem.epochs(half, epochs), rest, start), half)
    if problem.recipe.fit == "twice":
        session.fit(problem, ())
    return session.fit(problem, chosen)


def _joined(first: Training, second: Training, half: int) -> Training:
    """A training in two parts, the first of ``half`` epochs, as one."""
    later = _later(second.checkpoints, half)
    slots, statistics = first.checkpoint_slots, first.checkpoint_statistics
    return second._replace(
        costs=_end_to_end(first.costs, second.costs),
        learning_rates=_end_to_end(first.learning_rates, second.learning_rates),
        gradient_norms=_end_to_end(first.gradient_norms, second.gradient_norms),
        checkpoints=first.checkpoints | later,
        validation_costs=_end_to_end(first.validation_costs, second.validation_costs),
        checkpoint_slots=None if slots is None else slots | _later(second.checkpoint_slots, half),
        checkpoint_statistics=None if statistics is None else statistics | _later(second.checkpoint_statistics, half),
    )


def _later(found: Mapping[int, T] | None, half: int) -> dict[int, T]:
    """What is kept by epoch of a second part, by the epochs of the whole."""
    return {epoch + half: value for epoch, value in (found or {}).items()}


def _end_to_end(first: Array, second: Array) -> Array:
    """Two parts of a curve as one; what is no curve stands for the whole."""
    for part in (first, second):
        if isinstance(part, Unreadable) or part.ndim != 1:
            return part
    return np.concatenate([first, second])


def _demand_whole(training: Training, like: Point) -> None:
    """Raise Malformed for a training with whose parameters and running averages nothing can be computed."""
    for own, others in ((training.parameters, like.parameters), (training.statistics, like.statistics)):
        for name, other in others.items():
            demand(name, own.get(name), other.shape)


def observe_training(problem: Problem, training: Training) -> Iterator[Observation]:
    """The observations of a finished training, but for what is predicted with it."""
    yield Observation(Key("curve", 1, "learning rate", "curve"), training.learning_rates)
    yield Observation(Key("curve", 1, "cost", "curve"), training.costs)
    yield Observation(Key("curve", 1, "gradient norm", "curve"), training.gradient_norms)
    watched = set(watched_epochs(problem)) - set(checkpoint_epochs(problem))  # whose parameters are not compared
    for epoch, parameters in training.checkpoints.items():
        if epoch in watched:
            continue
        for name, value in parameters.items():
            key = key_of(problem, "parameter", epoch * problem.batches_per_epoch, name, name)
            yield Observation(key, value)
    for slot, tensors in training.slots.items():
        yield from _of_slot(problem, problem.steps, slot, tensors)
    for name, value in training.statistics.items():
        yield Observation(key_of(problem, "running statistic", problem.steps, name, name), value)
    # With early stopping those of the best epoch, perhaps; else those of the last checkpoint.
    known = () if problem.stops_early else problem.tape.initial_parameters
    for name, value in returned(training.parameters, (), beside=known):
        key = key_of(problem, "parameter", afterwards(problem), name, f"{name} at the end")
        yield Observation(key, value)
    if problem.validation is not None:
        epoch = problem.batches_per_epoch
        yield Observation(Key("curve", epoch, VALIDATION, "curve", stride=epoch), training.validation_costs)
    if problem.stops_early:
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


def _predicted_after(
    session: Session, problem: Problem, finished: list[Training], like: Point, epoch: int, tensor: str, x: Array
) -> Iterator[Observation]:
    """The classes that are predicted after an epoch, if the training came to it."""
    for training in finished:
        if epoch in training.checkpoints:
            parameters = training.checkpoints[epoch]
            _demand_whole(training._replace(parameters=parameters), like)
            classes = session.predict_classes(parameters, x, {})
            margins = session.decision_margins(parameters, x, {})
            yield Observation(Key("decision", epoch * problem.batches_per_epoch, tensor, "decision"), classes, margins)


def watched_epochs(problem: Problem) -> tuple[int, ...]:
    """The epochs after which classes are predicted: every one if the recipe has it so, else none.

    Of a long training, or a large model, evenly spaced ones; the last is always among them.
    """
    recipe, size = problem.recipe, sum(w.size for w in problem.tape.initial_parameters.values())
    if not (recipe.every_epoch and recipe.decides_classes):
        return ()
    count = min(recipe.epochs, MOST_WATCHED, max(2, WATCHED_NUMBERS // size))
    return tuple(sorted({int(epoch) for epoch in np.linspace(1, recipe.epochs, count).round()} | {recipe.epochs}))


def checkpoint_epochs(problem: Problem) -> tuple[int, ...]:
    """The first epoch, the one halfway and the last."""
    epochs = problem.recipe.epochs
    return tuple(sorted({1, (epochs + 1) // 2, epochs}))
