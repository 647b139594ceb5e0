"""Free-running training: as a user runs it, compiled and fast, from the initial parameters to the predicted classes.

It sees the plumbing that single steps cannot: schedules, epochs, batch order, the last small batch, state carried on.
"""

from collections.abc import Iterator

from conformance.adapter import Session, Training
from conformance.case import Case
from conformance.compare import Key, Observation
from conformance.tape import Problem


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
            yield Observation(Key("parameter", epoch * problem.batches_per_epoch, name), value)
    for slot, tensors in training.slots.items():
        for name, value in tensors.items():
            yield Observation(Key("optimizer state", problem.steps, f"{slot} of {name}"), value)
    if problem.recipe.loss.name != "mean_squared_error":
        for rows, x in (("training", problem.train_x), ("test", problem.test_x)):
            classes = session.predict_classes(training.parameters, x)
            # The reference alone says how near its decisions were; an implementation is not asked to.
            margins = getattr(session, "decision_margins", lambda parameters, x: None)(training.parameters, x)
            yield Observation(
                Key("decision", problem.steps, f"predicted classes ({rows})", "decision"), classes, margins
            )


def checkpoint_epochs(problem: Problem) -> tuple[int, ...]:
    """The first epoch, the one halfway and the last."""
    epochs = problem.recipe.epochs
    return tuple(sorted({1, (epochs + 1) // 2, epochs}))
