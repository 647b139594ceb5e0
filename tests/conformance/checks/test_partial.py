"""Implementations that offer a part of what is asked: judged by that part alone, and by all of it."""

from functools import cache

import numpy as np
import pytest

from conformance.adapters.guarded import as_session
from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session, State, Unsupported
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.look import look
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.verdicts import floors
from conformance.verdicts.record import Context
from conformance.verdicts.summary import judge

BASE = {
    "name": "small",
    "dataset": {"name": "moons", "scaling": "standardize", "examples": 24, "test_examples": 12},
    "model": {"name": "deep_network", "hidden_units": [5, 3], "activation": "tanh"},
    "initializer": "xavier_normal",
    "loss": "binary_cross_entropy",
    "optimizer": {"name": "momentum", "learning_rate": 0.2},
    "regularizers": [{"name": "clip_by_global_norm", "limit": 0.05}, {"name": "max_norm", "limit": 0.5}],
    "batch_size": 9,
    "epochs": 2,
}
RECIPES = {
    "limits": {},
    "batch norm": {"model": BASE["model"] | {"normalization": "batch_norm"}, "regularizers": []},
    "halves": {"fit": "in_halves"},
    "shift": {
        "dataset": {"name": "digits", "scaling": "unit", "examples": 30, "test_examples": 12},
        "model": {"name": "softmax_classifier"},
        "loss": "categorical_cross_entropy",
        "regularizers": [{"name": "random_shift", "largest": 2}],
    },
}
METHODS = (
    "draw_weights", "standardize", "augment", "intermediates", "losses", "gradients", "running_statistics",
    "predict_classes", "clip", "constrain", "optimizer_step", "fit", "initial_parameters",
)  # fmt: skip


@cache
def case_of(name, dtype):
    problem = prepare(Recipe.model_validate(BASE | RECIPES[name]), dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


def records(session, name="limits", dtype="float64", checks=tuple(CHECKS)):
    case, expectations = case_of(name, dtype)
    context = Context("run", "file", case.problem.recipe, "tested", "1", "cpu", dtype)
    found = []
    for check in checks:
        found += judge(context, look(session, case, check), expectations[check], {}, check, 1.0)
    return found


def verdicts(found):
    """By check, the tensors of each verdict; "" for a check as a whole."""
    by_check = {}
    for record in found:
        by_check.setdefault(record.check, {}).setdefault(record.verdict, set()).add(record.tensor)
    return by_check


class Only:
    """The reference with these methods alone; not even a subclass of Session."""

    def __init__(self, problem, *methods, **others):
        whole = NumpySession(problem)
        for method in methods:
            setattr(self, method, getattr(whole, method))
        for method, other in others.items():
            setattr(self, method, changed(getattr(whole, method), other))


def changed(method, change):
    return lambda *given: change(method(*given))


def only(*methods, recipe="limits", dtype="float64", **others):
    return Only(case_of(recipe, dtype)[0].problem, *methods, **others)


def doubled(*names):
    return lambda found: found | {name: 2 * found[name] for name in names}


def with_wrong_slots(found):
    parameters, state = found
    return parameters, State(state.step, {slot: doubled(*tensors)(tensors) for slot, tensors in state.slots.items()})


EVERYTHING_BUT_THE_OPTIMIZER = tuple(method for method in METHODS if method not in ("optimizer_step", "fit"))
PARTIAL = {
    "the optimizer alone": (("optimizer_step",), {"update": {"fail"}, "teacher_forced": {"fail", "unsupported"}}),
    "the loss alone": (("losses",), {"loss": {"fail"}, "gradient_check": {"fail"}}),
    "loss and gradients": (("losses", "gradients"), {"gradients": {"fail"}, "teacher_forced": {"fail"}}),
    "no initializers": (tuple(m for m in METHODS if m != "draw_weights"), {"forward": {"fail"}}),
    "a model without an optimizer": (EVERYTHING_BUT_THE_OPTIMIZER, {"gradients": {"fail"}}),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PARTIAL)
def test_a_partial_implementation_that_is_right_fails_nowhere(name, dtype, recipe):
    found = records(only(*PARTIAL[name][0], recipe=recipe, dtype=dtype), recipe, dtype)
    assert {record.verdict for record in found} == {"pass", "unsupported"}
    assert all("does not offer" in record.cause for record in found if record.verdict == "unsupported")


def test_an_optimizer_alone_is_seen_in_single_updates_and_in_a_training():
    found = verdicts(records(only("optimizer_step", "constrain")))
    assert found["update"].keys() == {"pass"}
    assert found["teacher_forced"]["pass"] == {
        f"{prefix}{name}" for prefix in ("", "velocity of ") for name in ("W1", "b1", "W2", "b2", "W3", "b3")
    }
    assert found["teacher_forced"]["unsupported"] >= {"cost", "dW1"}
    assert found["free_running"] == {"unsupported": {""}}


def test_an_optimizer_that_is_wrong_fails_with_the_right_tensor():
    right = only("constrain")
    wrong = only("constrain", optimizer_step=with_wrong_slots)
    found = verdicts(records(wrong))
    assert {tensor.split(" ")[0] for tensor in found["update"]["fail"]} == {"velocity"}
    assert found["teacher_forced"]["fail"] == {f"velocity of {name}" for name in ("W1", "b1", "W2", "b2", "W3", "b3")}
    assert "fail" not in {verdict for check in verdicts(records(right)).values() for verdict in check}


def test_a_loss_alone_is_seen_and_its_slope_with_it():
    found = verdicts(records(only("losses")))
    assert found["loss"].keys() == {"pass"}
    assert found["gradient_check"] == {"pass": {"slope by differences"}, "unsupported": {"slope by gradient"}}


def test_a_loss_that_is_wrong_fails_with_the_right_tensor():
    found = verdicts(records(only(losses=doubled("data_loss", "cost"))))
    places = ("", " (batch 2)", " (last batch)")
    assert found["loss"]["fail"] == {f"{name}{place}" for name in ("data_loss", "cost") for place in places}
    assert found["gradient_check"]["fail"] == {"slope by differences"}


def test_gradients_without_an_optimizer_are_compared_at_every_step():
    found = verdicts(records(only("losses", "gradients")))["teacher_forced"]
    gradients = {f"d{name}" for name in ("W1", "b1", "W2", "b2", "W3", "b3")}
    assert found["pass"] == {"cost", *gradients}
    wrong = verdicts(records(only("losses", gradients=doubled("W2"))))
    assert wrong["teacher_forced"]["fail"] == {"dW2"}
    assert wrong["gradients"]["fail"] == {"dW2 (first batch)", "dW2 (batch 2)", "dW2 (last batch)"}
    assert wrong["gradient_check"]["fail"] == {"slope by differences", "slope by gradient"}


def test_a_model_without_an_optimizer_that_is_wrong_fails_with_the_right_tensor():
    others = tuple(method for method in EVERYTHING_BUT_THE_OPTIMIZER if method != "intermediates")
    found = verdicts(records(only(*others, intermediates=doubled("A2"))))
    assert {check: failing["fail"] for check, failing in found.items() if "fail" in failing} == {
        "forward": {"A2 (inference)"}
    }


def test_an_implementation_without_initializers_is_held_to_everything_else():
    without = ("draw_weights", "initial_parameters", "standardize")
    others = tuple(method for method in METHODS if method not in without)
    found = verdicts(records(only(*others, standardize=lambda found: 2 * found)))
    assert found["initialization"] == {"unsupported": {""}}
    assert found["forward"]["fail"] == {"standardized test inputs"}


@pytest.mark.parametrize("method", METHODS)
def test_one_method_that_is_not_offered_loses_nothing_but_what_it_makes(method):
    recipe = {"running_statistics": "batch norm", "augment": "shift"}.get(method, "limits")
    whole = {(r.check, r.stage, r.tensor) for r in records(only(*METHODS, recipe=recipe), recipe)}
    found = records(only(*(m for m in METHODS if m != method), recipe=recipe), recipe)
    lost = {(r.check, r.stage, r.tensor) for r in found if r.verdict == "unsupported"}
    assert lost
    assert {r.verdict for r in found} == {"pass", "unsupported"}
    assert all(r.cause == f"Only does not offer {method}" for r in found if r.verdict == "unsupported")
    assert {(r.check, r.stage, r.tensor) for r in found if r.verdict == "pass"} == {
        place for place in whole if place not in lost and (place[0], "", "") not in lost
    }


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), RecursionError(), MemoryError()])
def test_an_exception_loses_nothing_but_its_part(error):
    def crash(found):
        raise error

    others = tuple(m for m in METHODS if m != "predict_classes")
    found = verdicts(records(only(*others, predict_classes=crash), checks=["free_running"]))["free_running"]
    assert found["crashed"] == {"predicted classes (training)", "predicted classes (test)"}
    assert {"cost", "learning rate", "W1"} <= found["pass"]


def test_an_exception_late_in_a_training_keeps_what_was_seen_before_it():
    class Breaks(NumpySession):
        def optimizer_step(self, parameters, gradients, state, learning_rate):
            if state.step == 4:
                raise RuntimeError("boom")
            return super().optimizer_step(parameters, gradients, state, learning_rate)

    found = records(Breaks(case_of("limits", "float64")[0].problem), checks=["teacher_forced"])
    crashed = {record.tensor: record.step for record in found if record.verdict == "crashed"}
    assert set(crashed.values()) == {5}
    assert {record.tensor for record in found if record.verdict == "pass"} >= {"cost", "dW1"}
    assert all("RuntimeError: boom (test_partial.py:" in r.cause for r in found if r.verdict == "crashed")


def test_what_is_interrupted_by_the_user_is_interrupted():
    def interrupted(found):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records(only(losses=interrupted), checks=["loss"])


def test_what_a_session_says_is_not_supported_for_one_recipe_is_so():
    class Picky(Session):
        def losses(self, *given):
            raise Unsupported("no losses like\nthis")

    (record,) = records(Picky(), checks=["loss"])
    assert (record.verdict, record.tensor, record.cause) == ("unsupported", "", "no losses like this")


def test_a_session_is_wrapped_once():
    session = as_session(object())
    assert as_session(session) is session


def test_a_missing_tensor_is_missing_although_another_part_is_not_offered():
    def without_w1(found):
        return {name: value for name, value in found.items() if name != "W1"}

    found = verdicts(records(only("losses", gradients=without_w1)))
    assert found["gradients"]["missing"] == {"dW1 (first batch)", "dW1 (batch 2)", "dW1 (last batch)"}
    assert "dW1" in found["teacher_forced"]["missing"]
    assert np.all([verdict != "crashed" for check in found.values() for verdict in check])
