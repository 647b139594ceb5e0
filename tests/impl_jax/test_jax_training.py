"""Training: a native user's program, compiled once, with JAX's generators and without surprises in the dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from impl_jax import losses, models, optimizers, regularizers, schedules, training
from tests.training_settings import fit_with, gradients_with

ROUNDOFF = 2.0**-24
ADAM = optimizers.adam(0.05)  # one object, so that the tests share what is compiled for it


def quadrants(examples=60):
    """Two classes that a line cannot tell apart."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((examples, 2))
    return x.astype(np.float32), (x[:, :1] * x[:, 1:] > 0).astype(np.float32)


def train(**changes):
    x, y = quadrants()
    model = models.shallow_network(2, hidden_units=8, keep_probability=changes.pop("keep_probability", 1.0))
    parameters = models.initialize(model, jax.random.key(0))
    arguments = {"loss": "binary_cross_entropy", "optimizer": ADAM, "batch_size": 20, "epochs": 4}
    return fit_with(training, model, parameters, x, y, **(arguments | changes))


class TraceCounter:
    """A penalty of nothing that notes how many examples it was traced for: compiled code does not call it."""

    def __init__(self):
        self.traces = []

    def __call__(self, weights, examples):
        self.traces.append(examples)
        return 0.0


def test_a_network_learns_what_a_line_cannot():
    x, y = quadrants()
    model = models.shallow_network(2, hidden_units=8)
    history = train(epochs=150)
    assert history.costs[-1] < 0.3 < history.costs[0]
    assert (models.predict_classes(model, history.parameters, x) == y[:, 0]).mean() > 0.9


def test_a_native_loop_of_ones_own_gives_what_fit_gives():
    x, y = quadrants()
    model, optimizer = models.shallow_network(2, hidden_units=8), optimizers.adam(0.05)
    parameters = models.initialize(model, jax.random.key(0))
    fitted = fit_with(training, model, parameters, x, y, loss="binary_cross_entropy", optimizer=optimizer, epochs=5)

    @jax.jit
    def step(parameters, state):
        def cost(parameters):
            return losses.binary_cross_entropy(model.apply(parameters, x), y).mean()

        updates, state = optimizer.update(jax.grad(cost)(parameters), state, parameters)
        return optax.apply_updates(parameters, updates), state

    state = optimizer.init(parameters)
    for _ in range(5):
        parameters, state = step(parameters, state)
    for name, value in parameters.items():
        # Two programs; Adam divides by roots of moments that are 1e-3 and that have the rounding of sums of 60 terms.
        np.testing.assert_allclose(fitted.parameters[name], value, rtol=1000 * ROUNDOFF, atol=16 * ROUNDOFF)


@pytest.mark.parametrize("keep_probability", [1.0, 0.7])
def test_the_seed_decides_the_order_and_the_masks(keep_probability):
    first, again, other = (train(seed=seed, keep_probability=keep_probability).costs for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_epochs_of_a_fit_are_traced_once_and_a_second_fit_not_at_all():
    counter = TraceCounter()
    train(penalties=(counter,), epochs=3, batch_size=16)
    assert set(counter.traces) == {16, 12}  # 60 examples: three full batches and what is left
    before = len(counter.traces)
    train(penalties=(counter,), epochs=7, batch_size=16, seed=5, schedule=schedules.exponential(0.1))
    assert len(counter.traces) == before


def test_gradients_are_traced_once_for_a_shape():
    x, y = quadrants()
    counter, model = TraceCounter(), models.shallow_network(2)
    arguments = {"loss": "binary_cross_entropy", "penalties": (counter,)}
    for seed in range(3):
        parameters = models.initialize(model, jax.random.key(seed))
        gradients_with(training, model, parameters, x, y, **arguments)
    assert counter.traces == [60]


def test_the_last_batch_holds_what_is_left_and_its_penalty_counts_its_own_examples():
    x, y = quadrants(10)
    model = models.logistic_regression(2)
    parameters = {"W1": jnp.ones((1, 2)), "b1": jnp.zeros(1)}
    arguments = {"loss": "binary_cross_entropy", "penalties": (regularizers.l2(3.0),)}
    history = fit_with(
        training, model, parameters, x, y, optimizer=optimizers.gradient_descent(0.0), epochs=1, batch_size=4,
        batch_order=np.arange(10)[None], **arguments,
    )  # fmt: skip
    batches = [gradients_with(training, model, parameters, x[i : i + 4], y[i : i + 4], **arguments) for i in (0, 4, 8)]
    np.testing.assert_allclose(history.costs, [batch.cost for batch in batches], rtol=16 * ROUNDOFF)
    assert float(batches[2].penalty) == pytest.approx(3.0 / (2 * 2) * 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_of_the_parameters_is_kept_where_double_precision_is_enabled(dtype, double_precision):
    x, y = quadrants()
    model = models.logistic_regression(2)
    parameters = models.initialize(model, jax.random.key(0), initializer="zeros", dtype=dtype)
    history = fit_with(
        training, model, parameters, x.astype(np.float64), y.astype(np.float64), loss="binary_cross_entropy",
        optimizer=ADAM, schedule=schedules.inverse_time(0.1), penalties=[regularizers.l2(0.1)], epochs=2, batch_size=20,
    )  # fmt: skip
    arrays = jax.tree.leaves((history.parameters, history.optimizer_state.slots, history.costs, history.gradient_norms))
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


def test_rates_are_recorded_and_epochs_kept():
    history = train(schedule=schedules.exponential(0.1, base=0.5), schedule_unit="epoch", checkpoint_epochs=(2, 4))
    np.testing.assert_array_equal(history.learning_rates, np.repeat([0.1, 0.05, 0.025, 0.0125], 3))
    assert sorted(history.checkpoints) == [2, 4]
    np.testing.assert_array_equal(history.checkpoints[4]["W1"], history.parameters["W1"])
    assert set(train().learning_rates) == {0.05}
    own = train(optimizer=optimizers.adam(schedules.exponential(0.1, base=0.5)), epochs=1)
    np.testing.assert_array_equal(own.learning_rates, [0.1, 0.05, 0.025])


def test_an_optimizer_of_optax_trains_too_but_takes_no_schedule():
    builtin, ours = train(optimizer=optax.adam(0.05)), train()
    # optax's bias correction loses digits: a relative 1e-5 a step, in a dozen steps that follow one another.
    np.testing.assert_allclose(builtin.costs, ours.costs, rtol=10_000 * ROUNDOFF)
    assert np.isnan(builtin.learning_rates).all()
    with pytest.raises(ValueError, match="schedule is not allowed with an optimizer without a learning_rate"):
        train(optimizer=optax.adam(0.05), schedule=schedules.constant(0.1))


def test_the_gradient_of_the_input_comes_on_request():
    x, y = quadrants()
    model = models.logistic_regression(2)
    parameters = {"W1": jnp.array([[0.5, -1.0]]), "b1": jnp.zeros(1)}
    gradients = gradients_with(
        training, model, parameters, x, y, loss="binary_cross_entropy", input_gradient=True
    ).gradients
    assert set(gradients) == {"A0", "W1", "b1"}
    expected = (np.asarray(models.predict(model, parameters, x)) - y) / len(x) * np.array([[0.5, -1.0]])
    # A probability less its target loses the digits that they share.
    np.testing.assert_allclose(gradients["A0"], expected, rtol=64 * ROUNDOFF, atol=ROUNDOFF / 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "loss='hinge' is not allowed: must be one of 'binary_cross_entropy'"),
        ({"schedule_unit": "batch"}, "schedule_unit='batch' is not allowed: must be one of 'epoch', 'step'"),
        ({"epochs": 0}, "epochs=0 is not allowed: must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size=0 is not allowed: must be None or an integer >= 1"),
        ({"loss": "categorical_cross_entropy"}, r"labels has shape \(20, 1\)"),
        ({"batch_order": np.full((4, 60), 60)}, r"batch_order spans 60 .. 60: must be in 0 .. 59"),
        (
            {"dropout_masks": {1: np.ones((4, 60, 1), bool)}},
            r"dropout_masks\[1\] has shape \(4, 60, 1\): must be \(4, 60, 8\)",
        ),
    ],
)
def test_what_a_compiled_function_would_not_refuse_is_refused_before(changes, message):
    with pytest.raises(ValueError, match=message):
        train(**changes)


def test_labels_out_of_range_are_refused_before_compiling():
    model = models.softmax_classifier((2, 3))
    parameters = models.initialize(model, jax.random.key(0))
    arguments = {"loss": "categorical_cross_entropy", "optimizer": optimizers.adam()}
    with pytest.raises(ValueError, match=r"labels span 0 .. 3: must be in 0 .. 2"):
        fit_with(training, model, parameters, np.zeros((4, 2), np.float32), np.arange(4), **arguments)
    with pytest.raises(ValueError, match="must hold at least one example"):
        gradients_with(
            training, model, parameters, np.zeros((0, 2)), np.zeros(0, int), loss="categorical_cross_entropy"
        )
