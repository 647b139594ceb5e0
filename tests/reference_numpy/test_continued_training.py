"""A training that goes on where another one was, one that starts again, and what of a model it leaves alone."""

import numpy as np
import pytest

from reference_numpy import models, optimizers, regularizers, schedules, training
from reference_numpy.optimizers import OptimizerState
from tests.training_settings import fit_with, gradients_with

EXAMPLES, EPOCHS, BATCH = 10, 4, 4
STEPS = 3  # an epoch's: the last batch is smaller
SCHEDULES = {
    "no schedule": {},
    "a rate by step": {"schedule": schedules.exponential(0.05, base=0.9), "schedule_unit": "step"},
    "a rate by epoch": {"schedule": schedules.inverse_time(0.05), "schedule_unit": "epoch"},
}
OPTIMIZERS = {
    "adam": optimizers.adam(0.05),
    "nadam": optimizers.nadam(0.05),
    "dampened momentum": optimizers.momentum(0.05, accumulation="sum", dampening=0.5),
    "lbfgs": optimizers.lbfgs(0.1, history=2),
}


def problem(normalization="batch_norm", dtype=np.float32):
    generator = np.random.default_rng(7)
    x, y = generator.standard_normal((EXAMPLES, 5)).astype(dtype), generator.integers(0, 3, EXAMPLES)
    model = models.softmax_classifier(
        (5, 6, 4, 3), activation="tanh", keep_probability=0.8, normalization=normalization
    )
    return model, models.initialize(model, generator, dtype=dtype), x, y


def fit(given, epochs=EPOCHS, **keywords):
    options = {"loss": "categorical_cross_entropy", "optimizer": OPTIMIZERS["adam"], "batch_size": BATCH, "seed": 3}
    return fit_with(training, *given, epochs=epochs, **options | keywords)


def tape():
    generator = np.random.default_rng(11)
    return {
        "batch_order": np.stack([generator.permutation(EXAMPLES) for _ in range(EPOCHS)]),
        "dropout_masks": {layer: generator.random((EPOCHS, EXAMPLES, n)) < 0.8 for layer, n in ((1, 6), (2, 4))},
        "augmentation_draws": [generator.standard_normal((EPOCHS, EXAMPLES, 5))],
    }


def part(taped, epochs):
    """The rows of ``epochs`` alone."""
    return {
        "batch_order": taped["batch_order"][epochs],
        "dropout_masks": {layer: masks[epochs] for layer, masks in taped["dropout_masks"].items()},
        "augmentation_draws": [draws[epochs] for draws in taped["augmentation_draws"]],
    }


def flattened(value, name=""):
    """Every array in a history's field, by the way to it."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {path: array for key in value for path, array in flattened(value[key], f"{name}/{key}").items()}
    return {name: np.asarray(value)}


def assert_equal_to_the_bit(one, other):
    one, other = flattened(one), flattened(other)
    assert one.keys() == other.keys()
    wrong = [n for n in one if one[n].dtype != other[n].dtype or one[n].tobytes() != other[n].tobytes()]
    assert wrong == []


def halves(given, taped, keywords):
    """The histories of the first and the second half of a training."""
    model, _, x, y = given
    first = fit(given, EPOCHS // 2, **keywords, **part(taped, slice(EPOCHS // 2)) if taped else {})
    going_on = {"optimizer_state": first.optimizer_state, "statistics": first.statistics}
    rest = part(taped, slice(EPOCHS // 2, None)) if taped else {}
    return first, fit((model, first.parameters, x, y), EPOCHS // 2, **keywords, **going_on, **rest)


@pytest.mark.parametrize("taped", [True, False], ids=["with a tape", "with seeds"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_halves_equal_the_whole_to_the_bit(optimizer, schedule, taped):
    given, recorded = problem(), tape() if taped else None
    _, _, x, y = given
    keywords = {
        "optimizer": OPTIMIZERS[optimizer], "augmentations": (regularizers.gaussian_noise(scale=0.1),),
        "validation": (x, y), **SCHEDULES[schedule],
    }  # fmt: skip
    whole = fit(given, **keywords, **recorded or {})
    first, second = halves(given, recorded, keywords)
    for values in ("costs", "learning_rates", "gradient_norms", "validation_costs"):
        assert_equal_to_the_bit(
            np.concatenate([getattr(first, values), getattr(second, values)]), getattr(whole, values)
        )
    for end in ("parameters", "optimizer_state", "statistics"):
        assert_equal_to_the_bit(getattr(second, end), getattr(whole, end))
    assert second.optimizer_state.step == EPOCHS * STEPS


@pytest.mark.parametrize("forgotten", ["optimizer_state", "statistics"])
def test_a_second_half_without_its_state_is_another_training(forgotten):
    given = problem()
    model, _, x, y = given
    whole, first = fit(given), fit(given, EPOCHS // 2)
    state = {"optimizer_state": first.optimizer_state, "statistics": first.statistics}
    del state[forgotten]
    second = fit((model, first.parameters, x, y), EPOCHS // 2, **state)
    kept = "parameters" if forgotten == "optimizer_state" else "statistics"
    with pytest.raises(AssertionError):
        assert_equal_to_the_bit(getattr(second, kept), getattr(whole, kept))


def test_checkpoints_and_the_best_epoch_count_within_the_call():
    given = problem()
    model, _, x, y = given
    first = fit(given, 3)
    stopping = regularizers.early_stopping(patience=9)
    second = fit(
        (model, first.parameters, x, y), 2, optimizer_state=first.optimizer_state, statistics=first.statistics,
        checkpoint_epochs=(1, 2), validation=(x, y), early_stopping=stopping,
    )  # fmt: skip
    assert sorted(second.checkpoints) == [1, 2]
    assert second.best_epoch in (1, 2)


def test_a_second_fit_with_the_same_objects_equals_the_first_and_changes_none_of_them():
    given = problem()
    first = fit(given, 2)
    _, parameters, x, _ = given
    state, statistics = first.optimizer_state, first.statistics
    before = flattened({"p": parameters, "x": x, "s": state.slots, "r": statistics})
    before = {name: array.copy() for name, array in before.items()}
    repeated = [
        fit(given, 2, optimizer_state=state, statistics=statistics, penalties=(regularizers.l2(0.1),)) for _ in range(2)
    ]
    assert_equal_to_the_bit(*repeated)
    assert_equal_to_the_bit(fit(given, 2), first)
    assert_equal_to_the_bit(flattened({"p": parameters, "x": x, "s": state.slots, "r": statistics}), before)
    assert state.step == 2 * STEPS


def test_a_state_shares_no_memory_with_the_history_it_came_from():
    given = problem()
    first = fit(given, 1)
    second = fit(given, 1, optimizer_state=first.optimizer_state, statistics=first.statistics)
    for mine, theirs in (
        (first.optimizer_state.slots, second.optimizer_state.slots),
        (first.statistics, second.statistics),
    ):
        pairs = zip(flattened(mine).values(), flattened(theirs).values(), strict=True)
        assert not any(np.shares_memory(a, b) for a, b in pairs)


def test_the_step_is_counted_on_in_the_formula_and_in_the_schedule():
    given = problem(None)
    rates = []

    def rate(t):
        rates.append(t)
        return 0.1

    state = fit(given, 2).optimizer_state
    fit(given, 1, optimizer_state=state, schedule=rate, schedule_unit="step")
    fit(given, 1, optimizer_state=state, schedule=rate, schedule_unit="epoch")
    assert rates == [6, 7, 8, 2, 2, 2]


def _without(state, slot=None, name=None):
    slots = {s: {n: w for n, w in arrays.items() if n != name} for s, arrays in state.slots.items() if s != slot}
    return OptimizerState(state.step, slots)


def _reshaped(state):
    slots = {s: {n: w[:1] if n == "W2" else w for n, w in arrays.items()} for s, arrays in state.slots.items()}
    return OptimizerState(state.step, slots)


NAMES = "W1, gamma1, beta1, W2, gamma2, beta2, W3, b3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: _without(s, slot="second_moment"),
         "optimizer_state has no slot 'second_moment': must hold first_moment, second_moment"),
        (lambda s: _without(s, name="b3"), f"optimizer_state, slot 'first_moment', has no 'b3': must hold {NAMES}"),
        (_reshaped, "optimizer_state, slot 'first_moment', 'W2' has shape (1, 6): must be (4, 6)"),
        (lambda s: s._replace(step=-1), "optimizer_state.step=-1 is not allowed: must be an integer >= 0"),
        (lambda s: s._replace(step=1.5), "optimizer_state.step=1.5 is not allowed: must be an integer >= 0"),
        (lambda s: s._replace(step=True), "optimizer_state.step=True is not allowed: must be an integer >= 0"),
    ],
)  # fmt: skip
def test_a_state_of_another_training_is_refused(change, message):
    given = problem()
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is held below)
        fit(given, optimizer_state=change(fit(given, 1).optimizer_state))
    assert str(error.value) == message


AVERAGES = "running_mean1, running_variance1, running_mean2, running_variance2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {n: a for n, a in s.items() if n != "running_mean1"},
         f"statistics has no 'running_mean1': must hold {AVERAGES}"),
        (lambda s: s | {"running_mean2": s["running_mean1"]},
         "statistics 'running_mean2' has shape (6,): must be (4,)"),
    ],
)  # fmt: skip
def test_running_averages_of_another_model_are_refused(change, message):
    given = problem()
    with pytest.raises(ValueError) as error:  # noqa: PT011
        fit(given, statistics=change(fit(given, 1).statistics))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"reduction": "total"}, "reduction='total' is not allowed: must be one of 'mean', 'sum'"),
        ({"frozen_biases": "all"}, "frozen_biases='all' is not allowed: must be one of False, True"),
        ({"frozen_layers": 3}, "frozen_layers=3 is not allowed: must be in 0 .. 2"),
    ],
)
def test_a_wrong_argument_of_fit_is_refused(keywords, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        fit(problem(), **keywords)
    assert str(error.value) == message


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_frozen_biases_stay_and_are_in_no_norm_no_clipping_and_no_state(frozen_layers):
    given = problem(None)
    model, start, x, y = given
    start = {name: w + np.float32(0.1) for name, w in start.items()}
    seen = []

    def clipping(gradients):
        seen.append(set(gradients))
        return regularizers.clip_by_global_norm(0.1)(gradients)

    history = fit((model, start, x, y), 1, frozen_biases=True, frozen_layers=frozen_layers, clipping=clipping)
    trained = {f"W{layer}" for layer in range(frozen_layers + 1, 4)}
    assert all(names == trained for names in seen)
    assert {n for n, w in start.items() if (history.parameters[n] != w).any()} == trained
    assert all(set(arrays) == trained for arrays in history.optimizer_state.slots.values())


def test_scales_and_shifts_are_no_biases():
    given = problem()
    history = fit(given, 1, frozen_biases=True)
    changed = {name for name, w in given[1].items() if (history.parameters[name] != w).any()}
    assert changed == {"W1", "gamma1", "beta1", "W2", "gamma2", "beta2", "W3"}


def test_the_norm_of_the_gradients_leaves_frozen_biases_out(agrees):
    given = problem(None, np.float64)
    model, parameters, x, y = given
    masks = {1: np.ones((1, EXAMPLES, 6), bool), 2: np.ones((1, EXAMPLES, 4), bool)}
    history = fit(given, 1, batch_size=None, dropout_masks=masks, frozen_biases=True)

    def norm(parameters):
        taken = {layer: mask[0] for layer, mask in masks.items()}
        found = gradients_with(training, model, parameters, x, y, loss="categorical_cross_entropy", masks=taken)
        return np.sqrt(sum((found.gradients[f"W{layer}"] ** 2).sum() for layer in (1, 2, 3)))

    agrees(history.gradient_norms[0], norm, parameters, dtype="float64")


def test_a_training_on_sums_takes_steps_of_sums_and_validates_with_sums():
    """A mean over 8 examples divides by a power of two, so that rates 8 times smaller take the same steps exactly."""
    model, parameters, x, y = problem(None, np.float64)
    x, y = x[:8], y[:8]
    model = models.softmax_classifier((5, 6, 4, 3), activation="tanh")
    keywords = {"batch_size": None, "validation": (x, y)}
    mean = fit((model, parameters, x, y), 3, optimizer=optimizers.gradient_descent(0.5), **keywords)
    summed = fit(
        (model, parameters, x, y), 3, optimizer=optimizers.gradient_descent(0.5 / 8), reduction="sum", **keywords
    )
    assert_equal_to_the_bit(mean.parameters, summed.parameters)
    assert_equal_to_the_bit(8 * mean.costs, summed.costs)
    assert_equal_to_the_bit(8 * mean.validation_costs, summed.validation_costs)


def test_penalties_do_not_follow_the_reduction():
    model, parameters, x, y = problem(None, np.float64)
    found = {
        reduction: gradients_with(
            training, model, parameters, x, y, loss="categorical_cross_entropy", reduction=reduction,
            penalties=(regularizers.l2(0.3),),
        )
        for reduction in ("mean", "sum")
    }  # fmt: skip
    assert found["sum"].penalty == found["mean"].penalty
    assert found["sum"].cost == found["sum"].data_loss + found["sum"].penalty
