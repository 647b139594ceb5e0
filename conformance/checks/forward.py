"""Forward pass: the scaled input, and every pre-activation and activation, in training and in inference mode."""

from collections.abc import Iterator

from conformance.adapter import Session
from conformance.case import Case
from conformance.compare import Key, Observation


def observe(session: Session, case: Case) -> Iterator[Observation]:
    """At the initial and the trained parameters, on the first batch; the input on the test set."""
    problem = case.problem
    if problem.recipe.dataset.scaling == "standardize":
        scaled = session.standardize(problem.raw_train_x, problem.raw_test_x)
        yield Observation(Key("input", 0, "standardized test inputs"), scaled)
    batch = problem.batch(0)
    for step, parameters in case.points.items():
        for name, value in session.intermediates(parameters, batch.x, None).items():
            yield Observation(Key("activation", step, f"{name} (inference)"), value)
        if batch.masks:
            for name, value in session.intermediates(parameters, batch.x, batch.masks).items():
                yield Observation(Key("activation", step, f"{name} (training)"), value)
