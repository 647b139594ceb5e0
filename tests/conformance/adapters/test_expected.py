"""What a session did not return is said: the method, the tensor and what it is, and what was returned."""

import numpy as np
import pytest

from conformance.adapter import NOT_OFFERED, Session, State, Unsupported
from conformance.adapters.guarded import Guarded, NotOffered, demand
from conformance.problems.tensors import Tensors

PARAMETERS: Tensors = {"W1": np.zeros((2, 3)), "gamma1": np.zeros(2), "W2": np.zeros((1, 2))}
X = np.zeros((4, 3))


class Returning(Session):
    """A session whose methods all return what it is given."""

    def __init__(self, found):
        self.found = found

    def __getattribute__(self, name):
        whole = ("intermediates", "losses", "gradients", "running_statistics", "clip", "constrain", "optimizer_step")
        return (lambda *arguments: self.found) if name in whole else super().__getattribute__(name)


@pytest.mark.parametrize(
    ("method", "arguments", "found", "told"),
    [
        ("gradients", (PARAMETERS, X, X, None, None), {"cost": 0.0, **PARAMETERS},
         "gradients() returned no 'A0' (gradient of the input); got 'cost', 'W1', 'gamma1', 'W2'"),
        ("losses", (PARAMETERS, X, X, None, None), {"cost": 0.0, "data_loss": 0.0, "penalty": 0.0},
         "losses() returned no 'per_example' (the data loss of each example); got 'cost', 'data_loss', 'penalty'"),
        ("intermediates", (PARAMETERS, X, None, None), {"Z1": X, "A1": X, "A2": X},
         "intermediates() returned no 'N1' (normalized of layer 1), 'Z2' (pre-activation of layer 2);"
         " got 'Z1', 'A1', 'A2'"),
        ("running_statistics", (PARAMETERS, X, None, {"running_mean1": X}), {},
         "running_statistics() returned no 'running_mean1' (running mean of layer 1); got none"),
        ("clip", ({"W1": X},), {"w1": X}, "clip() returned no 'W1' (weight of layer 1); got 'w1'"),
        ("optimizer_step", ({"tiny": X}, {"tiny": X}, State(0, {"velocity": {"tiny": X}}), 0.1), ({}, State(1, {})),
         "optimizer_step() returned no 'velocity' among its slots; got none"),
    ],
)  # fmt: skip
def test_what_was_not_returned_is_said(method, arguments, found, told):
    session = Guarded(Returning(found))
    getattr(session, method)(*arguments)
    assert told in session.lacking()
    assert session.lacking() == []


def test_of_a_whole_answer_nothing_is_said():
    session = Guarded(Returning({"cost": 0.0, **PARAMETERS, "A0": NOT_OFFERED}))
    found = session.gradients(PARAMETERS, X, X, None, None)
    assert session.lacking() == []
    assert isinstance(found["A0"], NotOffered)


def test_what_is_needed_and_not_offered_is_unsupported():
    with pytest.raises(Unsupported, match="W1 is not offered"):
        demand("W1", NOT_OFFERED)
