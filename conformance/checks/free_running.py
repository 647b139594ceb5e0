"""Free-running training: as a user runs it, compiled and fast, from the initial parameters to the predicted classes.

It sees the plumbing that single steps cannot: schedules, epochs, batch order, the last small batch, state carried on.
"""

from collections.abc import Iterator

import numpy as np

from conformance.adapters.session import Session, Training, TrainingState
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation, key_of
from conformance.problems.problem import Problem
from reference_numpy import regularizers


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """Curves of costs, gradient norms and rates; parameters after some epochs; state and decisions at the end."""
    yield from observe_training(session, case.problem, train(session, case.problem))


def train(session: Session, problem: Problem) -> Training:
    """The training as the recipe has it asked for: in one call of ``fit``, in two halves, or a second time."""
    chosen, epochs = checkpoint_epochs(problem), problem.recipe.epochs
    if problem.recipe.fit == "in_halves":
        half = epochs // 2
        first = session.fit(problem.epochs(0, half), tuple(e for e in chosen if e <= half), None)
        start = TrainingState(half * problem.batches_per_epoch + 1, first.parameters, first.slots, first.statistics)
        rest = tuple(epoch - half for epoch in chosen if epoch > half)
        return _joined(first, session.fit(problem.epochs(half, epochs), rest, start), half)
    if problem.recipe.fit == "twice":
        session.fit(problem, ())
    return session.fit(problem, chosen)


def _joined(first: Training, second: Training, half: int) -> Training:
    """A training in two parts, the first of ``half`` epochs, as one."""
    later = {epoch + half: parameters for epoch, parameters in second.checkpoints.items()}
    return second._replace(
        costs=np.concatenate([first.costs, second.costs]),
        learning_rates=np.concatenate([first.learning_rates, second.learning_rates]),
        gradient_norms=np.concatenate([first.gradient_norms, second.gradient_norms]),
        checkpoints=first.checkpoints | later,
    )


def observe_training(session: Session, problem: Problem, training: Training) -> Iterator[Observation]:
    """The observations of a finished training."""
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
    if problem.validation is not None:
        for name, value in training.parameters.items():  # those of the best epoch, perhaps
            key = key_of(problem, "parameter", problem.steps + 1, name, f"{name} at the end")
            yield Observation(key, value)
        yield Observation(Key("curve", 1, "validation cost", "curve"), training.validation_costs)
        yield from _observe_stopping(problem, training)
    if problem.recipe.decides_classes:
        for rows, x in (("training", problem.train_x), ("test", problem.test_x)):
            classes = session.predict_classes(training.parameters, x, training.statistics)
            margins = session.decision_margins(training.parameters, x, training.statistics)
            yield Observation(
                Key("decision", problem.steps, f"predicted classes ({rows})", "decision"), classes, margins
            )


def _observe_stopping(problem: Problem, training: Training) -> Iterator[Observation]:
    """The epochs at which training was at its best and at which it ended.

    Their margin: how near some epoch's cost came to being judged the other way.
    """
    monitor = problem.recipe.build_early_stopping(regularizers)
    margins = []
    for cost in map(float, training.validation_costs):
        if monitor.epoch:  # the first epoch has nothing to be better than: no rounding makes it any other than the best
            margins.append(abs(monitor.best_cost - monitor.min_delta - cost))
        monitor.improved(cost)
    smallest = np.asarray([min(margins, default=1.0)])
    decided = {"best epoch": training.best_epoch, "last epoch": len(training.validation_costs)}
    for tensor, epoch in decided.items():
        yield Observation(Key("decision", problem.steps, tensor, "decision"), np.asarray([epoch]), smallest)


def checkpoint_epochs(problem: Problem) -> tuple[int, ...]:
    """The first epoch, the one halfway and the last."""
    epochs = problem.recipe.epochs
    return tuple(sorted({1, (epochs + 1) // 2, epochs}))
