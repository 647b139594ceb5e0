"""Free-running training: as a user runs it, compiled and fast, from the initial parameters to the predicted classes.

It sees the plumbing that single steps cannot: schedules, epochs, batch order, the last small batch, state carried on.
"""

from collections.abc import Iterator

import numpy as np

from conformance.adapters.session import Session, Training
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation, key_of
from conformance.problems.problem import Problem
from reference_numpy import regularizers


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """Curves of costs, gradient norms and rates; parameters after some epochs; state and decisions at the end."""
    problem = case.problem
    training = session.fit(problem, checkpoint_epochs(problem))
    yield from observe_training(session, problem, training)


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
