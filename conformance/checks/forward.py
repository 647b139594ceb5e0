"""Forward pass: the scaled and augmented input, and every activation, in training and in inference mode."""

from collections.abc import Iterator

from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation, key_of


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """At the initial and the trained parameters, on the first batch; the scaled input on the test set."""
    problem = case.problem
    if problem.recipe.dataset.scaling == "standardize":
        scaled = session.standardize(problem.raw_train_x, problem.raw_test_x)
        yield Observation(Key("input", 0, "standardized test inputs"), scaled)
    if problem.tape.augmentation_draws:
        augmented = session.augment(problem.plain_inputs(0), problem.draws(0))
        yield Observation(Key("input", 0, "augmented inputs"), augmented)
    batch = problem.batch(0)
    for step, (parameters, statistics) in case.points.items():
        for name, value in session.intermediates(parameters, batch.x, None, statistics).items():
            key = key_of(problem, "activation", step, name, f"{name} (inference)", mode="inference")
            yield Observation(key, value)
        if batch.masks or statistics:
            for name, value in session.intermediates(parameters, batch.x, batch.masks, None).items():
                key = key_of(problem, "activation", step, name, f"{name} (training)", mode="training")
                yield Observation(key, value)
        if statistics:
            after = session.running_statistics(parameters, batch.x, batch.masks, statistics)
            for name, value in after.items():
                yield Observation(key_of(problem, "running statistic", step, name, name), value)
