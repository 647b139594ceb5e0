"""Random search: the scales, the keyed draws, coarse to fine."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reference_numpy.search import (
    Choice,
    LogUniform,
    OneMinusLogUniform,
    Uniform,
    UniformInteger,
    coarse_to_fine,
    random_search,
)

UNIT_ROUNDOFF = 2.0**-53
SPACE = {
    "learning_rate": LogUniform(1e-4, 1.0),
    "beta": OneMinusLogUniform(0.9, 0.999),
    "keep_probability": Uniform(0.5, 1.0),
    "hidden_units": UniformInteger(50, 100),
    "activation": Choice(("relu", "tanh", "sigmoid")),
}
fractions = st.floats(0, 1)


@st.composite
def scales(draw):
    kind = draw(st.sampled_from([Uniform, LogUniform, OneMinusLogUniform, UniformInteger]))
    if kind is UniformInteger:
        return kind(*sorted(draw(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)))))
    ends = {
        Uniform: st.floats(allow_nan=False, allow_infinity=False),
        LogUniform: st.floats(0, exclude_min=True, allow_infinity=False),
        OneMinusLogUniform: st.floats(0, 1, exclude_max=True),
    }[kind]
    low, high = sorted((draw(ends), draw(ends)))
    assume(low < high)
    return kind(low, high)


def no_cost(settings):
    return 0.0


def all_settings(search):
    return [trial.settings for trial in search.trials]


@given(scales(), fractions)
def test_a_value_never_leaves_its_range(scale, fraction):
    assert scale.low <= scale.value(fraction) <= scale.high


@given(scales())
def test_the_ends_of_a_scale_are_the_ends_of_its_range(scale):
    """``1 - (1 - beta)`` is beta to one unit roundoff; the others are exact."""
    allowed = UNIT_ROUNDOFF if isinstance(scale, OneMinusLogUniform) else 0
    assert abs(scale.value(0.0) - scale.low) <= allowed
    assert abs(scale.value(1.0) - scale.high) <= allowed


@given(st.floats(1e-12, 1), st.floats(1e-12, 1), fractions)
def test_a_log_scale_is_linear_in_the_logarithm(a, b, fraction):
    """An exponent rounded by one unit roundoff moves a power by that times the logarithm, below 28; the rest is 6."""
    low, high = sorted((a, b))
    assume(low < high)
    expected = math.exp((1 - fraction) * math.log(low) + fraction * math.log(high))
    assert LogUniform(low, high).value(fraction) == pytest.approx(expected, rel=(6 * 28 + 6) * UNIT_ROUNDOFF, abs=0)


@given(st.floats(0, 0.99), st.floats(0, 0.99), fractions)
def test_the_momentum_scale_is_a_log_scale_of_the_distance_from_one(a, b, fraction):
    low, high = sorted((a, b))
    assume(1 - high < 1 - low)
    distance = (1 - low) ** (1 - fraction) * (1 - high) ** fraction
    assert abs(1 - OneMinusLogUniform(low, high).value(fraction) - distance) <= 4 * UNIT_ROUNDOFF


@given(st.integers(-5, 5), st.integers(1, 9))
def test_every_integer_and_every_option_has_the_same_share_of_the_unit_interval(low, count):
    integers, options = UniformInteger(low, low + count - 1), Choice(tuple("abcdefghi"[:count]))
    middles = [(k + 0.5) / count for k in range(count)]
    assert [integers.value(u) for u in middles] == list(range(low, low + count))
    assert [options.value(u) for u in middles] == list("abcdefghi"[:count])


@given(
    st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True),
    st.text(max_size=5),
    st.integers(-(2**70), 2**70),
    st.integers(1, 8),
)
def test_another_hyperparameter_or_more_trials_change_no_draw(names, other, seed, trials):
    assume(other not in names)
    space = dict.fromkeys(names, Uniform(0.0, 1.0))
    alone = all_settings(random_search(no_cost, space, trials=trials, seed=seed))
    beside = all_settings(random_search(no_cost, {other: Uniform(0.0, 1.0)} | space, trials=trials + 2, seed=seed))
    assert alone == [{name: settings[name] for name in names} for settings in beside[:trials]]


def test_draws_are_uniform_and_those_of_other_names_and_seeds_are_others():
    """Kolmogorov's distance and correlations of 4000 draws, each below what chance exceeds once in ten thousand."""
    n, unit = 4000, Uniform(0.0, 1.0)
    draws = [
        np.array([settings[name] for settings in all_settings(random_search(no_cost, {name: unit}, trials=n, seed=s))])
        for name, s in (("a", 0), ("b", 0), ("a", 1), ("a1", 0))
    ]
    for drawn in draws:
        ordered, steps = np.sort(drawn), np.arange(n + 1) / n
        distance = max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max())
        assert distance < 2.23 / math.sqrt(n)
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 3.9 / math.sqrt(n)
    successive = np.corrcoef(draws[0][:-1], draws[0][1:])[0, 1]
    assert abs(successive) < 3.9 / math.sqrt(n)


def test_the_best_trial_is_the_first_with_the_lowest_cost_and_nan_is_worse_than_infinity():
    costs = [math.nan, math.inf, 3.0, math.nan, 1.0, 2.0, 1.0]
    for count, best in ((1, 0), (2, 1), (3, 2), (7, 4)):
        remaining = iter(costs)
        found = random_search(lambda settings, remaining=remaining: next(remaining), SPACE, trials=count)
        assert str([trial.cost for trial in found.trials]) == str(costs[:count])
        assert found.best is found.trials[best]


def test_an_evaluation_that_changes_its_settings_does_not_change_the_record():
    found = random_search(lambda settings: settings.pop("beta"), SPACE, trials=3)
    assert [trial.settings["beta"] for trial in found.trials] == [trial.cost for trial in found.trials]


@given(st.lists(st.floats(), min_size=12, max_size=12), st.integers(0, 5))
def test_coarse_to_fine_starts_with_the_random_search_and_stays_inside_the_ranges(costs, seed):
    remaining = iter(costs)
    found = coarse_to_fine(lambda settings: next(remaining), SPACE, rounds=3, trials=4, seed=seed)
    assert all_settings(found)[:4] == all_settings(random_search(no_cost, SPACE, trials=4, seed=seed))
    for settings in all_settings(found):
        assert settings.keys() == SPACE.keys()
        assert settings["activation"] in SPACE["activation"].options
        for name in SPACE.keys() - {"activation"}:
            assert SPACE[name].low <= settings[name] <= SPACE[name].high


@given(st.lists(st.floats(0, 1), min_size=15, max_size=15), st.floats(0.05, 0.95), st.integers(0, 5))
def test_a_round_lies_in_a_window_of_its_width_around_the_best_trial_so_far(costs, shrink, seed):
    """On [0, 1] a value is its fraction, with both roundings of ``(1 - u) 0 + u 1`` exact."""
    remaining = iter(costs)
    space = {"fraction": Uniform(0.0, 1.0), "choice": Choice("a b c d e".split())}
    found = coarse_to_fine(lambda settings: next(remaining), space, rounds=3, trials=5, shrink=shrink, seed=seed)
    for round_number in (1, 2):
        width = shrink**round_number
        best = min(found.trials[: 5 * round_number], key=lambda trial: trial.cost).settings
        start = min(max(best["fraction"] - width / 2, 0), 1 - width)
        for settings in all_settings(found)[5 * round_number : 5 * round_number + 5]:
            assert start <= settings["fraction"] <= start + width + UNIT_ROUNDOFF
            assert settings["choice"] == best["choice"]


def test_a_window_narrows_on_the_hyperparameter_s_own_scale():
    space = {"learning_rate": LogUniform(1e-8, 1.0), "beta": OneMinusLogUniform(0.0, 1 - 1e-8)}
    found = coarse_to_fine(lambda settings: settings["learning_rate"], space, trials=100, shrink=0.25)
    logarithms = np.log10([[s["learning_rate"], 1 - s["beta"]] for s in all_settings(found)[100:]])
    widths = logarithms.max(axis=0) - logarithms.min(axis=0)
    # The window is 2 of 8 decades; 100 draws miss a tenth of it at the ends with a chance of 100 * 0.9^99 = 0.003.
    assert np.all(widths <= 2 + 1e-6)
    assert np.all(widths >= 1.8)


@pytest.mark.parametrize("cost", [math.nan, math.inf])
def test_without_any_cost_to_go_by_no_range_is_narrowed(cost):
    found = coarse_to_fine(lambda settings: cost, SPACE, rounds=3, trials=5)
    assert all_settings(found) == all_settings(random_search(no_cost, SPACE, trials=15))


def test_coarse_to_fine_comes_nearer_than_random_search_with_as_many_trials():
    def cost(settings):
        return math.log10(settings["learning_rate"] / 0.01) ** 2 + math.log10((1 - settings["beta"]) / 0.02) ** 2

    space = {"learning_rate": LogUniform(1e-4, 1.0), "beta": OneMinusLogUniform(0.9, 0.999)}
    nearer = sum(
        coarse_to_fine(cost, space, rounds=2, trials=20, seed=seed).best.cost
        < random_search(cost, space, trials=40, seed=seed).best.cost
        for seed in range(50)
    )
    assert nearer > 36  # were both as good, more than 36 of 50 would have a chance of 0.0005


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1.0, 1.0), r"Uniform\(low=1.0, high=1.0\) is not allowed: must be finite numbers with low <"),
        (lambda: Uniform(-math.inf, 1.0), "must be finite numbers with low < high"),
        (lambda: Uniform(0.0, math.inf), "must be finite numbers with low < high"),
        (lambda: Uniform(math.nan, 1.0), "must be finite numbers with low < high"),
        (lambda: LogUniform(0.0, 1.0), r"LogUniform\(low=0.0, high=1.0\) is not allowed: .* with 0 < low < high"),
        (lambda: LogUniform(2.0, 1.0), "with 0 < low < high"),
        (lambda: OneMinusLogUniform(0.9, 1.0), "must be numbers with 0 <= low < high < 1"),
        (lambda: OneMinusLogUniform(-0.1, 0.9), "must be numbers with 0 <= low < high < 1"),
        (lambda: UniformInteger(3, 2), r"UniformInteger\(low=3, high=2\) is not allowed: must be integers with low <="),
        (lambda: UniformInteger(0.5, 2), "must be integers with low <= high"),
        (lambda: Choice(()), r"options=\(\) is not allowed: must be a tuple or list, not empty"),
        (lambda: Choice("relu"), "options='relu' is not allowed: must be a tuple or list"),
    ],
)
def test_a_scale_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": {}}, r"space=\{\} is not allowed: must name at least one hyperparameter"),
        ({"space": {"beta": 0.9}}, r"space\['beta'\]=0.9 is not allowed: must be one of Uniform, LogUniform"),
        ({"trials": 0}, "trials=0 is not allowed: must be an integer >= 1"),
        ({"trials": 2.5}, "trials=2.5 is not allowed: must be an integer >= 1"),
        ({"rounds": 0}, "rounds=0 is not allowed: must be an integer >= 1"),
        ({"seed": None}, "seed=None is not allowed: must be an integer"),
        ({"shrink": 0.0}, r"shrink=0.0 is not allowed: must be in \(0, 1\)"),
        ({"shrink": 1.0}, r"shrink=1.0 is not allowed: must be in \(0, 1\)"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        coarse_to_fine(no_cost, **({"space": SPACE} | arguments))
