"""Trainings in two halves, trainings again, frozen biases and sums of losses: exactly equal, and compiled once."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from impl_jax import models, optimizers, regularizers, schedules, training
from tests.training_settings import fit_with, gradients_with

EXAMPLES, FEATURES, BATCH = 14, 4, 5  # three steps an epoch, the last of four examples
X = np.random.default_rng(0).standard_normal((EXAMPLES, FEATURES)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] > 0).astype(np.float32)
MODEL = models.deep_network((FEATURES, 5, 3, 1), normalization="batch_norm", keep_probability=0.75)
AT_ONCE = ("momentum", "adam", "radam", "lbfgs")  # the others are slow
ADAM = optimizers.adam(0.05)  # one object, so that the tests share what is compiled for it

SCHEDULES = {
    "by step": {"schedule": schedules.inverse_time(0.1, decay_rate=0.2), "schedule_unit": "step"},
    "by epoch": {"schedule": schedules.exponential(0.1, base=0.5), "schedule_unit": "epoch"},
}
TAPE = {
    "batch_order": np.stack([np.random.default_rng(epoch).permutation(EXAMPLES) for epoch in range(4)]),
    "dropout_masks": {
        layer: np.random.default_rng(layer).random((4, EXAMPLES, units)) < 0.75 for layer, units in ((1, 5), (2, 3))
    },
    "augmentation_draws": [np.random.default_rng(5).standard_normal((4, EXAMPLES, FEATURES)).astype(np.float32)],
}


def part_of_tape(epochs):
    """The same epochs of everything on the tape."""
    return jax.tree.map(lambda drawn: drawn[epochs], TAPE)


def start(model=MODEL):
    return models.initialize(model, jax.random.key(1))


def train(parameters=None, model=MODEL, **changes):
    arguments = {
        "loss": "binary_cross_entropy", "optimizer": ADAM, "batch_size": BATCH, "epochs": 4, "seed": 3,
        "augmentations": [regularizers.gaussian_noise()],
    }  # fmt: skip
    parameters = start(model) if parameters is None else parameters
    return fit_with(training, model, parameters, X, Y, **(arguments | changes))


def go_on(history, **changes):
    return train(
        history.parameters, optimizer_state=history.optimizer_state, statistics=history.statistics, **changes
    )  # fmt: skip


def assert_same(first, second):
    """Every array of two trees, to the bit."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for (path, a), (_, b) in zip(*map(jax.tree.leaves_with_path, (first, second)), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("tape", [False, True], ids=["seeds", "tape"])
def test_a_training_in_two_halves_is_the_whole(schedule, tape):
    changes = SCHEDULES[schedule]
    whole, first, second = (part_of_tape(epochs) if tape else {} for epochs in (slice(4), slice(2), slice(2, 4)))
    whole = train(**whole, **changes)
    first = train(epochs=2, **first, **changes)
    second = go_on(first, epochs=2, **second, **changes)
    for curve in ("costs", "learning_rates", "gradient_norms"):
        np.testing.assert_array_equal(np.append(getattr(first, curve), getattr(second, curve)), getattr(whole, curve))
    for field in ("parameters", "optimizer_state", "statistics"):
        assert_same(getattr(second, field), getattr(whole, field))
    assert (first.optimizer_state.step, second.optimizer_state.step) == (6, 12)
    assert type(second.optimizer_state.step) is int


@pytest.mark.parametrize("tape", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["seeds", "tape"])
def test_epochs_in_one_program_are_those_one_by_one_and_compile_once(tape, monkeypatch):
    drawn = TAPE if tape else {}
    short = train(**drawn)
    monkeypatch.setattr(training, "LONG", 1)
    whole = train(**drawn)
    compiled = training._train_epochs._cache_size()
    looked_at = train(**drawn, checkpoint_epochs=[1, 2, 3, 4])
    assert_same(train(epochs=3, **drawn).parameters, looked_at.checkpoints[3])
    assert training._train_epochs._cache_size() == compiled
    monkeypatch.setattr(training, "MOST_STEPS", 6)  # two epochs
    for other in (short, looked_at, train(**drawn)):
        for field in ("costs", "learning_rates", "gradient_norms", "parameters", "optimizer_state", "statistics"):
            assert_same(getattr(other, field), getattr(whole, field))


def test_a_program_has_room_for_what_is_bounded():
    assert training._most_epochs(100, 1, 17, training.Tape()) == training.MOST_STEPS
    assert training._most_epochs(2, 10**6, 17, training.Tape()) == training._most_epochs(3, 2, 17, training.Tape()) == 1
    assert training._most_epochs(3, 2, 10**6, training.Tape()) == training.MOST_STEPS // 2
    large = training.Tape(dropout_masks={1: np.zeros((3, 20, 1000), bool)})
    assert training._most_epochs(20, 2, 17, large) == training.MOST_TAPED_BYTES // 20_000


@pytest.mark.parametrize(
    "name", [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.slow) for name in optimizers.OPTIMIZERS]
)
def test_every_optimizer_goes_on_where_it_was(name):
    model = models.logistic_regression(FEATURES)
    changes = {"optimizer": optimizers.OPTIMIZERS[name](0.05), "model": model}
    changes |= {"batch_size": None, "augmentations": ()} if name == "lbfgs" else {}
    whole, first = train(**changes), train(epochs=2, **changes)
    second = go_on(first, epochs=2, **changes)
    assert_same((second.parameters, second.optimizer_state), (whole.parameters, whole.optimizer_state))


def test_an_optimizer_of_optax_goes_on_with_its_own_state_and_counts_from_zero():
    changes = {"optimizer": optax.adam(0.05), "model": models.logistic_regression(FEATURES), "batch_size": None}
    changes["augmentations"] = ()
    whole, first = train(**changes), train(epochs=1, **changes)
    second = go_on(first, epochs=3, **changes)
    assert_same((second.parameters, second.optimizer_state), (whole.parameters, whole.optimizer_state))
    assert jax.tree.structure(first.optimizer_state) == jax.tree.structure(optax.adam(0.05).init(first.parameters))
    drawn = {"optimizer": optax.sgd(0.0), "batch_size": BATCH}
    first = train(epochs=1, **drawn)
    np.testing.assert_array_equal(
        first.costs, fit_with(
            training, MODEL, start(), X, Y, loss="binary_cross_entropy", epochs=1, seed=3, statistics=first.statistics,
            optimizer_state=first.optimizer_state, augmentations=[regularizers.gaussian_noise()], **drawn,
        ).costs,
    )  # fmt: skip
    with pytest.raises(ValueError, match="optimizer_state is not this optimizer's: must be that of an earlier"):
        go_on(first, **changes | {"model": MODEL})


def test_a_second_training_with_the_same_objects_is_the_first():
    arguments = {"clipping": regularizers.clip_by_norm(0.5), "validation": (X, Y), "checkpoint_epochs": (2,)}
    arguments |= SCHEDULES["by step"]
    assert_same(train(**arguments), train(**arguments))


def test_going_on_changes_nothing_that_it_is_given():
    first = train(epochs=1)
    given = jax.tree.map(np.array, (first.parameters, first.optimizer_state.slots, first.statistics))
    before = jax.tree.map(np.copy, given)
    state = optimizers.OptimizerState(3, given[1])
    train(given[0], optimizer_state=state, statistics=given[2])
    assert_same(given, before)
    assert state.step == 3


def test_what_counts_within_a_call_does_so_when_it_goes_on():
    first = train(epochs=2)
    second = go_on(
        first, epochs=3, checkpoint_epochs=(1, 3), validation=(X, Y),
        early_stopping=regularizers.early_stopping(patience=3, min_delta=1e6),
    )  # fmt: skip
    assert sorted(second.checkpoints) == [1, 3]
    assert second.best_epoch == 1  # the first is better than none
    assert second.optimizer_state.step == 15


def test_going_on_compiles_nothing(caplog):
    train(epochs=1, **SCHEDULES["by step"])
    first = train(epochs=2, **SCHEDULES["by step"])
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        go_on(first, epochs=2, **SCHEDULES["by step"])
        assert [record.message for record in caplog.records if "ompil" in record.message] == []
        jax.jit(lambda z: z + 1)(jnp.ones(37))
        assert any("ompil" in record.message for record in caplog.records)


def test_a_state_may_be_one_that_init_and_update_return():
    parameters = start(models.logistic_regression(FEATURES))
    changes = {"model": models.logistic_regression(FEATURES), "augmentations": ()}
    fresh = train(parameters, optimizer_state=ADAM.init(parameters), **changes)
    assert_same(fresh, train(parameters, **changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s._replace(slots={}), r"optimizer_state has no slot 'first_moment': must hold first_moment, second"),
        (
            lambda s: s._replace(slots=s.slots | {"second_moment": {"W1": s.slots["second_moment"]["W1"]}}),
            "optimizer_state, slot 'second_moment', has no 'W2': must hold W1, W2, W3, b3",
        ),
        (
            lambda s: s._replace(slots=s.slots | {"first_moment": s.slots["first_moment"] | {"W1": jnp.ones((2, 2))}}),
            r"optimizer_state, slot 'first_moment', 'W1' has shape \(2, 2\): must be \(5, 4\)",
        ),
        *(
            (lambda s, step=step: s._replace(step=step), f"optimizer_state.step={step!r} is not allowed: must be an")
            for step in (-1, 1.5, None, True)
        ),
        (lambda s: s._replace(step=jnp.float32(2.0)), "optimizer_state.step=2.0 is not allowed: must be an integer >="),
        (lambda s: (), r"optimizer_state=\(\) is not allowed: must be None or that of a history"),
    ],
)
def test_a_state_of_another_training_is_refused(change, message):
    history = train(epochs=1)
    with pytest.raises(ValueError, match=message):
        train(history.parameters, optimizer_state=change(history.optimizer_state), statistics=history.statistics)


def test_running_averages_of_another_model_are_refused():
    given = models.initial_statistics(MODEL)
    with pytest.raises(
        ValueError, match="statistics has no 'running_mean1': must hold running_mean1, running_variance1, "
    ):
        train(statistics={})
    with pytest.raises(ValueError, match=r"statistics 'running_mean2' has shape \(4,\): must be \(3,\)"):
        train(statistics=given | {"running_mean2": jnp.zeros(4)})


def test_running_averages_without_a_state_are_taken_as_they_are():
    first = train(epochs=2)
    fresh, kept = train(epochs=1), train(epochs=1, statistics=first.statistics)
    assert_same(fresh.parameters, kept.parameters)  # training takes the batch's own
    assert (np.asarray(fresh.statistics["running_mean1"]) != np.asarray(kept.statistics["running_mean1"])).any()


def test_frozen_biases_stay_and_have_no_part_in_norm_clipping_and_state():
    model = models.deep_network((FEATURES, 3, 1), normalization="layer_norm")
    parameters, clipping = start(model), regularizers.clip_by_global_norm(0.01)
    changes = {"model": model, "augmentations": (), "batch_size": None, "clipping": clipping, "epochs": 2}
    free, history = train(parameters, **changes), train(parameters, frozen_biases=True, **changes)
    assert set(history.optimizer_state.slots["first_moment"]) == {"W1", "W2", "gamma1", "beta1"}
    for name, array in history.parameters.items():
        assert (np.asarray(array) == np.asarray(parameters[name])).all() == (name in ("b1", "b2")), name
    gradients = gradients_with(training, model, parameters, X, Y, loss="binary_cross_entropy").gradients
    kept = {name: g for name, g in gradients.items() if name[0] != "b" or name == "beta1"}
    np.testing.assert_allclose(history.gradient_norms[0], optax.tree.norm(kept), rtol=8 * 2.0**-24)  # two compilations
    assert history.gradient_norms[0] < free.gradient_norms[0]
    clipped = train(parameters, frozen_biases=True, **(changes | {"epochs": 1, "optimizer": _descent})).parameters
    moved = {name: (clipped[name] - parameters[name]) for name in kept}
    assert float(optax.tree.norm(moved)) == pytest.approx(0.01, rel=1e-4)  # of differences of numbers of size 1


_descent = optimizers.gradient_descent(1.0)


@pytest.mark.slow
def test_frozen_biases_and_frozen_layers_go_together():
    history = train(frozen_layers=1, frozen_biases=True, epochs=1)
    assert set(history.optimizer_state.slots["first_moment"]) == {"W2", "gamma2", "beta2", "W3"}


def test_a_sum_of_losses_is_the_mean_times_the_examples_and_leaves_the_penalty():
    model = models.shallow_network(FEATURES)
    arguments = {"loss": "binary_cross_entropy", "penalties": [regularizers.l2(0.7)]}
    x, y, parameters = X[:8], Y[:8], start(model)  # eight: times and by it are exact
    mean, total = (
        gradients_with(training, model, parameters, x, y, reduction=reduction, **arguments)
        for reduction in ("mean", "sum")
    )
    plain = gradients_with(training, model, parameters, x, y, loss="binary_cross_entropy").gradients
    assert float(total.data_loss) == 8 * float(mean.data_loss)
    assert float(total.penalty) == float(mean.penalty)
    assert float(total.cost) == float(np.float32(total.data_loss) + np.float32(total.penalty))
    for name, gradient in total.gradients.items():
        expected = mean.gradients[name] + 7 * plain[name]
        # Sums of eight terms in three compilations.
        np.testing.assert_allclose(gradient, expected, rtol=64 * 2.0**-24, atol=64 * 2.0**-24, err_msg=name)


def test_a_training_on_sums_is_one_with_a_larger_rate_and_its_validation_costs_are_sums():
    model = models.logistic_regression(FEATURES)
    arguments = {"model": model, "batch_size": None, "augmentations": (), "epochs": 2, "validation": (X[:8], Y[:8])}
    total = train(reduction="sum", optimizer=optimizers.gradient_descent(0.125), **arguments)
    mean = train(optimizer=optimizers.gradient_descent(0.125 * EXAMPLES), **arguments)
    for name, ratio in (("costs", EXAMPLES), ("validation_costs", 8), ("gradient_norms", EXAMPLES)):
        # Two steps of sums of fourteen terms.
        np.testing.assert_allclose(getattr(total, name), ratio * getattr(mean, name), rtol=64 * 2.0**-24)


def test_another_reduction_is_refused():
    message = "reduction='max' is not allowed: must be one of 'mean', 'sum'"
    with pytest.raises(ValueError, match=message):
        train(reduction="max")
    with pytest.raises(ValueError, match=message):
        gradients_with(training, MODEL, start(), X, Y, loss="binary_cross_entropy", reduction="max")


def test_frozen_biases_are_true_or_false():
    with pytest.raises(ValueError, match="frozen_biases='all' is not allowed: must be one of False, True"):
        train(frozen_biases="all")
