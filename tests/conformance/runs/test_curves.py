"""Each value of a curve has the error, the floor and the allowance by which it was judged."""

import numpy as np
import pytest

from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.results.run import Run
from conformance.runs.plan import Plan
from conformance.runs.schedule import ORACLE

COMPARED = ("cost", "gradient norm", "learning rate")


class Altered(NumpyAdapter):
    """What ``fit`` returns, changed by ``alter``."""

    def session(self, problem):
        session = NumpySession(problem)
        fit = session.fit
        session.fit = lambda *arguments: self.alter(fit(*arguments))
        return session


class Drifting(Altered):
    """Costs that are wrong from the third step."""

    def alter(self, training):
        return training._replace(costs=training.costs * np.where(np.arange(len(training.costs)) < 2, 1, 1.5))


class Shorter(Altered):
    """Costs that end after the second step, and rates of which there are too many."""

    def alter(self, training):
        rates = np.concatenate([training.learning_rates, [1.0]])
        return training._replace(costs=training.costs[:2], learning_rates=rates)


class Unreadable(Altered):
    """Costs that are none, and norms that are not finite."""

    def alter(self, training):
        return training._replace(costs=None, gradient_norms=np.full_like(training.gradient_norms, np.inf))


@pytest.fixture(scope="module")
def run(carry_out, small_recipe, tmp_path_factory):
    plan = Plan(tmp_path_factory.mktemp("run"), [("own", small_recipe)], {}, ["float32"], checks=("free_running",))
    tested = {"right": NumpyAdapter, "drifting": Drifting, "shorter": Shorter, "unreadable": Unreadable}
    return Run(carry_out(plan, tested).folder)


@pytest.fixture
def curve(run):
    def of(implementation, quantity):
        curves = run.curves
        return curves[(curves["implementation"] == implementation) & (curves["quantity"] == quantity)]

    return of


@pytest.mark.parametrize("implementation", ["right", "drifting"])
def test_where_a_curve_is_judged_it_has_the_numbers_of_the_record(run, curve, implementation):
    records = run.records[(run.records["implementation"] == implementation) & run.records["stage"].eq("curve")]
    assert len(records) == len(COMPARED)
    for record in records.to_dict("records"):
        point = curve(implementation, record["tensor"]).set_index("position").loc[record["step"]]
        assert [point[name] for name in ("error", "floor", "allowance")] == [
            record[name] for name in ("error", "floor", "allowance")
        ]


def test_a_curve_leaves_its_allowance_where_it_goes_wrong(curve):
    found = curve("drifting", "cost")
    assert list(found["error"] <= found["allowance"]) == [True, True, *[False] * (len(found) - 2)]


def test_the_oracles_own_curve_has_a_floor_and_an_allowance_and_no_error(curve):
    for quantity in COMPARED:
        own = curve(ORACLE, quantity)
        assert own["error"].isna().all()
        assert own[["floor", "allowance"]].equals(curve("right", quantity)[["floor", "allowance"]].set_axis(own.index))
        assert own["allowance"].notna().all()


def test_nothing_is_compared_beyond_the_oracles_last_value_and_of_what_is_no_curve_of_the_check(curve):
    assert curve("shorter", "cost")["error"].notna().sum() == len(curve("shorter", "cost")) == 2
    rates = curve("shorter", "learning rate")
    assert rates["allowance"].isna().tolist() == [*[False] * (len(rates) - 1), True]
    for quantity in ("mean cost", "test accuracy", "training accuracy"):
        numbers = curve("right", quantity)
        assert len(numbers)
        assert numbers[["error", "floor", "allowance"]].isna().all(axis=None)


def test_a_curve_that_cannot_be_read_has_no_point_and_one_that_is_not_finite_an_infinite_error(curve):
    assert curve("unreadable", "cost").empty
    assert np.isinf(curve("unreadable", "gradient norm")["error"]).all()
