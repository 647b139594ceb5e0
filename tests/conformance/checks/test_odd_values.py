"""What a session returns that is no array of the right kind: a verdict of that tensor, and never a crash."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from conformance.adapters.guarded import LARGEST_BYTES, Guarded, copied, readable
from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import State
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.look import look
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.results.cases import load_seen, save_seen
from conformance.results.store import Done, Store
from conformance.verdicts import floors
from conformance.verdicts.record import Context
from conformance.verdicts.summary import judge

RECIPE = {
    "name": "small",
    "dataset": {"name": "moons", "scaling": "standardize", "examples": 24, "test_examples": 12},
    "model": {"name": "deep_network", "hidden_units": [5, 3], "activation": "tanh", "normalization": "batch_norm"},
    "initializer": "xavier_normal",
    "loss": "binary_cross_entropy",
    "optimizer": {"name": "momentum", "learning_rate": 0.2},
    "regularizers": [
        {"name": "clip_by_global_norm", "limit": 0.05},
        {"name": "max_norm", "limit": 0.5},
        {"name": "early_stopping", "patience": 2},
    ],
    "batch_size": 9,
    "epochs": 4,
    "fit": "in_halves",
}
NEUTRAL = {"pass", "inconclusive", "unsupported"}


@cache
def case_of(fit="once", dtype="float64"):
    plain = [r for r in RECIPE["regularizers"] if fit == "once" or r["name"] != "early_stopping"]
    problem = prepare(Recipe.model_validate(RECIPE | {"fit": fit, "regularizers": plain}), dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


def judged(session, fit="once", dtype="float64", checks=tuple(CHECKS)):
    """The records of a session, whose sights are written to a store and read again between."""
    case, expectations = case_of(fit, dtype)
    context = Context("run", "file", case.problem.recipe, "tested", "1", "cpu", dtype)
    return [
        record
        for check in checks
        for record in judge(context, look(session, case, check), expectations[check], {}, check, 1.0)
    ]


def with_methods(asked="once", dtype="float64", **methods):
    """The reference, some of whose methods return something else: a function of what they would."""
    session = NumpySession(case_of(asked, dtype)[0].problem)
    for name, change in methods.items():
        setattr(session, name, lambda *given, own=getattr(session, name), change=change: change(own(*given)))  # noqa: B008
    return session


def causes(found):
    return {record.tensor: record.cause for record in found if record.verdict == "fail"}


class Strange:
    def __array__(self, *given, **keywords):
        raise RuntimeError("not yours")


ODD = {
    "None": (lambda v: None, "is None: must be an array of float64 of shape"),
    "a string": (lambda v: "W", "is a str: must be an array"),
    "an object array": (lambda v: v.astype(object), "has dtype object: must be float64"),
    "complex numbers": (lambda v: v + 0j, "has dtype complex128: must be float64"),
    "extended precision": (lambda v: v.astype(np.longdouble), "has dtype"),
    "a list of None": (lambda v: [None], "has dtype object: must be float64"),
    "a ragged list": (lambda v: [[1.0], [1.0, 2.0]], "is a list, of which NumPy makes no array"),
    "an exception of its own": (lambda v: Strange(), "is a Strange, of which NumPy makes no array"),
    "a generator": (lambda v: (x for x in v), "is a generator: must be"),
    "a dict": (lambda v: {}, "is a dict: must be"),
    "another shape": (lambda v: v[..., None], "has shape"),
    "more than there is room for": (
        lambda v: np.broadcast_to(0.0, (2**20, 2**20)),
        "which is too large to be looked at",
    ),
    "NaN": (lambda v: v * np.nan, "is nan at"),
}


@pytest.mark.parametrize("name", ODD)
def test_one_odd_gradient_is_told_and_everything_else_is_compared(name):
    change, cause = ODD[name]
    session = with_methods(gradients=lambda found: found | {"W2": change(found["W2"])})
    found = judged(session, checks=["gradients", "gradient_check", "teacher_forced"])
    told = causes([r for r in found if r.check != "gradient_check"])
    assert {"dW2", "dW2 (first batch)", "dW2 (last batch)"} <= told.keys()
    assert all(cause in text for tensor, text in told.items() if tensor.startswith("dW2"))
    assert {r.verdict for r in found} <= {"pass", "inconclusive", "fail"}
    if name != "NaN":  # which an optimizer is given as it is
        assert {tensor.split(" ")[0] for tensor in told} == {"dW2"}
    assert {r.tensor for r in found if r.check == "gradient_check" and r.verdict == "fail"} >= {"slope by gradient"}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("method", ["draw_weights", "standardize", "predict_classes"])
def test_an_odd_array_is_told(method, name):
    found = judged(with_methods(**{method: ODD[name][0]}))
    assert causes(found)
    assert "crashed" not in {record.verdict for record in found}


WHOLE = {
    "None": lambda found: None,
    "a list": lambda found: [1, 2],
    "a generator": lambda found: (x for x in ()),
    "a string": lambda found: "nothing",
    "nothing": lambda found: {},
    "an object": lambda found: SimpleNamespace(slots=None, costs=3),
    "a tuple of the wrong length": lambda found: (1, 2, 3),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize(
    "method",
    ["intermediates", "losses", "gradients", "running_statistics", "clip", "constrain", "optimizer_step", "fit"],
)
def test_what_is_not_made_as_it_must_be_is_told_with_the_method(method, name):
    checks = ["forward"] if method == "intermediates" else CHECKS  # the reference's losses call it
    found = judged(with_methods(**{method: WHOLE[name]}), checks=checks)
    wrong = [record for record in found if record.verdict not in NEUTRAL]
    assert {record.verdict for record in wrong} <= {"fail", "missing"}
    assert wrong
    assert all(method in record.cause for record in wrong if "must be" in record.cause and "returned" in record.cause)


@pytest.mark.parametrize("field", ["parameters", "slots", "statistics", "checkpoints", "costs", "best_epoch"])
@pytest.mark.parametrize("value", [None, 3.5, "x", {1: None}, {"a": {"b": None}}, [[1], [1, 2]]], ids=repr)
@pytest.mark.parametrize("fit", ["once", "in_halves"])
def test_an_odd_part_of_a_training_is_told(field, value, fit):
    if fit == "in_halves" and field == "best_epoch":
        return  # which is told of early stopping alone
    session = with_methods(fit, fit=lambda found: found._replace(**{field: value}))
    found = judged(session, fit, checks=["free_running"])
    wrong = [record for record in found if record.verdict not in NEUTRAL]
    assert wrong
    assert {record.verdict for record in wrong} <= {"fail", "missing"} or fit == "in_halves"


@pytest.mark.parametrize("costs", [np.zeros(7), np.zeros((2, 2)), 1.0, [], None])
def test_costs_of_the_wrong_length_are_told(costs):
    found = judged(with_methods(fit=lambda found: found._replace(costs=costs)), checks=["free_running"])
    assert causes(found).keys() == {"cost"}


def test_what_numpy_makes_the_right_array_of_is_taken():
    nested = with_methods(
        gradients=lambda found: {name: value.tolist() for name, value in found.items()},
        losses=lambda found: {name: float(v) if v.ndim == 0 else list(v) for name, v in found.items()},
    )
    assert {record.verdict for record in judged(nested)} <= NEUTRAL
    single = judged(
        with_methods(dtype="float32", gradients=lambda found: found | {"b3": found["b3"].tolist()}),
        dtype="float32",
        checks=["gradients"],
    )
    assert causes(single)["db3 (first batch)"] == "db3 (first batch) has dtype float64: must be float32"


def test_read_only_foreign_and_strided_arrays_are_taken():
    def frozen(value):
        value = value[::-1].copy()[::-1]
        value.flags.writeable = False
        return value.astype(value.dtype.newbyteorder(">")) if value.ndim == 2 else value

    session = with_methods(gradients=lambda found: found | {n: frozen(v) for n, v in found.items() if n != "cost"})
    assert {record.verdict for record in judged(session)} <= NEUTRAL


EXTRA = {"extra": np.zeros(3)}


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("intermediates", lambda found: found | EXTRA),
        ("losses", lambda found: found | EXTRA),
        ("gradients", lambda found: found | EXTRA),
        ("running_statistics", lambda found: found | EXTRA),
        ("clip", lambda found: found | EXTRA),
        ("constrain", lambda found: found | EXTRA),
        ("optimizer_step", lambda found: (found[0] | EXTRA, found[1])),
        ("optimizer_step", lambda found: (found[0], State(found[1].step, found[1].slots | {"more": EXTRA}))),
        ("fit", lambda found: found._replace(parameters=found.parameters | EXTRA)),
        ("fit", lambda found: found._replace(slots=found.slots | {"more": EXTRA})),
        ("fit", lambda found: found._replace(statistics=found.statistics | EXTRA)),
        ("fit", lambda found: found._replace(checkpoints={e: p | EXTRA for e, p in found.checkpoints.items()})),
    ],
)
def test_an_extra_name_is_told(method, change):
    told = causes(judged(with_methods(**{method: change})))
    assert any("extra" in tensor and "is not one of the oracle's tensors" in text for tensor, text in told.items())
    assert all("extra" in tensor for tensor in told)


@pytest.mark.parametrize("name", [1, None, ("W", 1), b"W1", "W\ud800", "W|1", "W\n\x001"], ids=ascii)
def test_an_odd_name_is_told_and_can_be_stored(tmp_path, name):
    case, _ = case_of()
    session = with_methods(gradients=lambda found: {name if n == "W1" else n: value for n, value in found.items()})
    found = judged(session, checks=["gradients"])
    missing = {r.tensor for r in found if r.verdict == "missing"}
    assert missing == {"dW1 (first batch)", "dW1 (batch 2)", "dW1 (last batch)"}
    assert len(causes(found)) == 3
    store, seen = Store(tmp_path, create=True), look(session, case, "gradients")
    store.enter(Done("small", "float64", "tested", "gradients"), found)
    store.close()
    save_seen(store, "small", "float64", "tested", "gradients", seen)
    again = load_seen(store, "small", "float64", "tested", "gradients")
    assert [o.key for o in again.observations] == [o.key for o in seen.observations]


def test_all_that_was_seen_can_be_written_and_read_again(tmp_path):
    def broken(found):
        raise RuntimeError("boom\ud800")

    session = with_methods(gradients=lambda found: found | {"W2": None, "W1": found["W1"] + 0j}, optimizer_step=broken)
    case, expectations = case_of()
    store, context = Store(tmp_path, create=True), Context("run", "f", case.problem.recipe, "t", "1", "cpu", "float64")
    for check in CHECKS:
        seen = look(session, case, check)
        save_seen(store, "small", "float64", "t", check, seen)
        again = load_seen(store, "small", "float64", "t", check)
        assert (again.lost, again.crashed, again.unsupported) == (seen.lost, seen.crashed, seen.unsupported)
        records = [judge(context, sight, expectations[check], {}, check, 0.0) for sight in (seen, again)]
        assert list(map(repr, records[0])) == list(map(repr, records[1]))
        store.enter(Done("small", "float64", "t", check), records[0])
    store.close()


class ChangesItsInputs:
    """Computes what is asked, then overwrites all that it was given."""

    def __init__(self, problem):
        self.own = NumpySession(problem)

    def __getattr__(self, name):
        def method(*given):
            found = getattr(self.own, name)(*copied(given))
            overwrite(given)
            return found

        return method


OVERWRITING = (
    "standardize", "augment", "intermediates", "losses", "gradients", "running_statistics", "predict_classes", "clip",
    "constrain", "optimizer_step", "fit",
)  # fmt: skip


def overwrite(value):
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value[...] = 7.0
    elif isinstance(value, dict):
        for item in list(value.values()):
            overwrite(item)
        value.clear()
    elif isinstance(value, (tuple, list)):
        for item in value:
            overwrite(item)
    elif hasattr(value, "tape"):
        overwrite([*vars(value).values(), *vars(value.tape).values(), *vars(value.dataset).values()])


@pytest.mark.parametrize("fit", ["once", "in_halves"])
def test_a_session_that_changes_what_it_is_given_harms_nothing(fit):
    case, _ = case_of(fit)
    before = judged(NumpySession(case.problem), fit)
    session = ChangesItsInputs(copied(case.problem))
    assert list(map(repr, judged(session, fit))) == list(map(repr, before))
    assert list(map(repr, judged(NumpySession(case.problem), fit))) == list(map(repr, before))


@pytest.mark.parametrize("fit", ["once", "in_halves"])
def test_a_session_that_returns_the_same_buffers_every_time_gains_and_harms_nothing(fit):
    buffers = {}

    def reused(value, place=()):
        if isinstance(value, np.ndarray):
            buffer = buffers.setdefault((place, value.shape, value.dtype.str), np.empty_like(value))
            np.copyto(buffer, value)
            return buffer
        if isinstance(value, dict):
            return {name: reused(item, (*place, name)) for name, item in value.items()}
        if isinstance(value, tuple):
            items = [reused(item, (*place, number)) for number, item in enumerate(value)]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        return value

    case, _ = case_of(fit)
    methods = {name: reused for name in OVERWRITING if name != "augment"}
    assert list(map(repr, judged(with_methods(fit, **methods), fit))) == list(
        map(repr, judged(NumpySession(case.problem), fit))
    )


def test_a_copy_of_a_problem_shares_no_array_with_it():
    problem = case_of()[0].problem
    twin = copied(problem)
    assert twin.recipe is problem.recipe
    for own, other in ((problem, twin), (problem.tape, twin.tape), (problem.dataset, twin.dataset)):
        for name, value in vars(own).items():
            if isinstance(value, np.ndarray):
                assert not np.shares_memory(value, vars(other)[name])
                assert np.array_equal(value, vars(other)[name])


def test_a_large_array_that_takes_no_room_is_not_copied():
    assert "too large" in readable(np.broadcast_to(0.0, (LARGEST_BYTES // 8 + 1,))).found


def test_a_session_of_another_class_has_every_method():
    assert {name for name in vars(NumpySession) if not name.startswith("_")} <= set(dir(Guarded(object())))
