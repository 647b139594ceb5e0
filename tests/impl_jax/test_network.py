"""Networks of layers as models: held to the reference value by value, step by step, and as JAX's users take them."""

import copy

import jax
import numpy as np
import optax
import pytest

import impl_jax.layers
import impl_jax.models
import impl_jax.optimizers
import impl_jax.regularizers
import impl_jax.training
import reference_numpy.layers
import reference_numpy.models
import reference_numpy.optimizers
import reference_numpy.regularizers
import reference_numpy.schedules
import reference_numpy.training
from impl_jax import losses, models, optimizers, regularizers, schedules, training
from impl_jax.layers import activation, dense, dropout, embedding, flatten, lstm, masking, sequence
from tests.training_settings import fit_with, gradients_with

EXAMPLES, BATCH, EPOCHS = 11, 4, 2  # three steps an epoch, the last of three examples
ROUNDING = 1e-12
SGD = optimizers.gradient_descent(0.1)  # one object, so that the tests share what is compiled for it
ADAM = optimizers.adam(0.05)


def on_features(p):
    given = p.layers
    return p.models.network(
        [
            given.dense(6, bias=False), given.batch_norm(running_variance="unbiased"), given.activation("elu"),
            given.dropout(0.75), given.dense(3),
        ],
        (4,),
        output="softmax",
    )  # fmt: skip


def on_images(p):
    given = p.layers
    body = given.residual(given.sequence(given.convolution(3, (3, 3), padding="same"), given.dropout(0.5)))
    return p.models.network(
        [given.convolution(3, (3, 3)), body, given.max_pool((2, 2)), given.flatten(), given.dense(1)],
        (6, 6, 2),
        output="sigmoid",
    )


def on_tokens(p):
    given = p.layers
    return p.models.network(
        [given.embedding(7, 4, mask_zero=True), given.lstm(5, biases=2), given.dense(3)], (5,), output="softmax"
    )


def on_sequences(p):
    given = p.layers
    body = given.parallel(
        given.bidirectional(given.gru(2, return_sequences=True)), given.attention(2, bias=False), join="sum"
    )
    return p.models.network([given.masking(), body, given.global_average_pool(), given.dense(2)], (5, 4))


MAKERS = {
    "features": (on_features, "categorical_cross_entropy"),
    "images": (on_images, "binary_cross_entropy"),
    "tokens": (on_tokens, "categorical_cross_entropy"),
    "sequences": (on_sequences, "mean_squared_error"),
}


def data(name, examples=EXAMPLES):
    """Inputs and targets; of sequences some steps are not there."""
    generator = np.random.default_rng(3)
    y = generator.integers(0, 3, examples)
    if name == "tokens":
        return generator.integers(0, 7, (examples, 5)), y
    shape = {"features": (4,), "images": (6, 6, 2), "sequences": (5, 4)}[name]
    x = generator.standard_normal((examples, *shape))
    if name == "sequences":
        x[generator.random((examples, 5)) < 0.3] = 0
    targets = {"features": y, "images": (y[:, None] > 0) * 1.0, "sequences": generator.standard_normal((examples, 2))}
    return x, targets[name]


def both(name):
    """The network here and in the reference, the loss, parameters off their start, data, and masks of the epochs."""
    make, loss = MAKERS[name]
    model, reference = make(impl_jax), make(reference_numpy)
    generator = np.random.default_rng(5)
    initial = reference_numpy.models.initialize(reference, generator)
    parameters = {path: w + 0.1 * generator.standard_normal(w.shape) for path, w in initial.items()}
    masks = [reference.draw_masks(generator, EXAMPLES) for _ in range(EPOCHS)]
    return (
        model,
        reference,
        loss,
        parameters,
        data(name),
        {path: np.stack([m[path] for m in masks]) for path in masks[0]},
    )


def assert_close(observed, expected):
    """Equal up to rounding, as a part of the largest number of each array."""
    assert set(observed) == set(expected)
    for name, value in expected.items():
        assert np.shape(observed[name]) == np.shape(value), name
        largest = np.max(np.abs(value), initial=0.0)
        np.testing.assert_allclose(observed[name], value, rtol=0, atol=ROUNDING * largest, err_msg=name)


def assert_same(first, second):
    """Every array of two trees, to the bit."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for (path, a), (_, b) in zip(*map(jax.tree.leaves_with_path, (first, second)), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def in_both(name, keywords, epochs=EPOCHS):
    """The same training here and in the reference, compared; ``keywords(package)`` are others of ``fit``."""
    model, reference, loss, parameters, (x, y), masks = both(name)
    order = np.stack([np.random.default_rng(epoch).permutation(EXAMPLES) for epoch in range(epochs)])
    tape = {"epochs": epochs, "batch_size": BATCH, "loss": loss, "batch_order": order, "dropout_masks": masks}
    ours, theirs = (
        fit_with(package.training, network, parameters, x, y, **(tape | keywords(package)))
        for package, network in ((impl_jax, model), (reference_numpy, reference))
    )
    assert_close(ours.parameters, theirs.parameters)
    assert_close(ours.statistics, theirs.statistics)
    assert ours.optimizer_state.slots.keys() == theirs.optimizer_state.slots.keys()
    for slot, arrays in theirs.optimizer_state.slots.items():
        assert_close(ours.optimizer_state.slots[slot], arrays)
    assert ours.best_epoch == theirs.best_epoch
    curves = ("costs", "learning_rates", "gradient_norms", "validation_costs")
    assert_close({c: getattr(ours, c) for c in curves}, {c: getattr(theirs, c) for c in curves})
    return ours, parameters


@pytest.mark.parametrize("name", MAKERS)
def test_values_predictions_and_averages_are_those_of_the_reference(double_precision, name):
    model, reference, _, parameters, (x, _), masks = both(name)
    drawn = {path: of_epochs[0] for path, of_epochs in masks.items()}
    start = reference_numpy.models.initial_statistics(reference)
    statistics = {path: average + 0.5 for path, average in start.items()}

    @jax.jit
    def all_of(parameters, x, drawn, statistics):
        return (
            models.intermediates(model, parameters, x, masks=drawn, training=True),
            models.intermediates(model, parameters, x, statistics),
            models.update_statistics(model, parameters, x, statistics, masks=drawn),
            models.predict(model, parameters, x, statistics),
        )

    training_values, values, averages, outputs = all_of(parameters, x, drawn, statistics)
    p = reference_numpy.models
    assert_close(training_values, p.intermediates(reference, parameters, x, masks=drawn, training=True))
    assert_close(values, p.intermediates(reference, parameters, x, statistics))
    assert_close(averages, p.update_statistics(reference, parameters, x, statistics, masks=drawn))
    assert_close({"A": outputs}, {"A": p.predict(reference, parameters, x, statistics)})
    assert_same(models.initial_statistics(model), start)
    assert {model.logits_name, model.output_name} == {"Z", "A"} < values.keys()


@pytest.mark.parametrize("name", MAKERS)
def test_costs_and_gradients_are_those_of_the_reference(double_precision, name):
    model, reference, loss, parameters, (x, y), masks = both(name)
    drawn = {path: of_epochs[0] for path, of_epochs in masks.items()}
    ours, theirs = (
        gradients_with(
            p.training, network, parameters, x, y, loss=loss, masks=drawn, input_gradient=True,
            penalties=[p.regularizers.elastic_net(0.3)], example_weights=np.linspace(0.5, 1.5, EXAMPLES),
        )
        for p, network in ((impl_jax, model), (reference_numpy, reference))
    )  # fmt: skip
    assert_close(dict(enumerate(ours[:3])), dict(enumerate(theirs[:3])))
    assert_close(ours.gradients, theirs.gradients)
    assert ("A0" in ours.gradients) == (name != "tokens")


TRAININGS = {
    "features": lambda p: {
        "optimizer": p.optimizers.adam(0.05), "penalties": [p.regularizers.l2(0.5)], "validation": data("features", 5),
        "schedule": p.schedules.inverse_time(0.1, decay_rate=0.2), "schedule_unit": "step",
        "example_weights": np.linspace(0.5, 1.5, EXAMPLES),
    },
    "images": lambda p: {
        "optimizer": p.optimizers.momentum(0.1), "penalties": [p.regularizers.l1(0.1, convention="half")],
        "constraint": p.regularizers.max_norm(0.5), "clipping": p.regularizers.clip_by_global_norm(0.5),
        "frozen_layers": 1, "reduction": "sum",
    },
    "tokens": lambda p: {
        "optimizer": p.optimizers.momentum(0.1), "constraint": p.regularizers.max_norm(0.9), "frozen_biases": True,
        "validation": data("tokens", 5),
    },
    "sequences": lambda p: {"optimizer": p.optimizers.momentum(0.1), "penalties": [p.regularizers.l2(0.1)]},
}  # fmt: skip


UNTRAINED = {"images": {"1.W", "1.b"}, "tokens": {"2.b", "2.b_h", "3.b"}}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_that_of_the_reference(double_precision, name):
    ours, start = in_both(name, TRAININGS[name])
    unchanged = {path for path in start if np.array_equal(ours.parameters[path], start[path])}
    assert unchanged == UNTRAINED.get(name, set())
    assert ours.learning_rates[0] == 0.1


def test_convolutions_alone_are_slow_inside_of_a_loop():
    kernels = {name: models.initialize(on(impl_jax), jax.random.key(0)) for name, (on, _) in MAKERS.items()}
    assert [name for name, parameters in kernels.items() if training._is_slow_in_a_loop(parameters)] == ["images"]


@pytest.mark.slow
def test_steps_that_are_programs_of_their_own_are_those_of_one_program(monkeypatch):
    apart = fit("images")
    drawn = training._drawn_apart._cache_size()
    monkeypatch.setattr(training, "_is_slow_in_a_loop", lambda parameters: False)
    together = fit("images")
    assert training._drawn_apart._cache_size() == drawn > 0
    assert apart.costs.shape == together.costs.shape
    np.testing.assert_allclose(apart.costs, together.costs, rtol=1e-5)  # single precision, two compilations
    for path, array in together.parameters.items():
        np.testing.assert_allclose(apart.parameters[path], array, rtol=0, atol=1e-5, err_msg=path)


def test_early_stopping_goes_back_to_where_the_reference_does(double_precision):
    ours, _ = in_both(
        "features",
        lambda p: {
            "optimizer": p.optimizers.gradient_descent(2.0), "validation": data("features", 5), "dropout_masks": {},
            "early_stopping": p.regularizers.early_stopping(patience=2), "checkpoint_epochs": range(1, 13),
        },
        epochs=12,
    )  # fmt: skip
    assert 0 < ours.best_epoch < len(ours.validation_costs) < 12
    assert_same(ours.parameters, ours.checkpoints[ours.best_epoch])
    assert_same(ours.statistics, ours.checkpoint_statistics[ours.best_epoch])


def fit(name="features", parameters=None, **changes):
    """A training in JAX's default precision, whose draws are its own."""
    make, loss = MAKERS[name]
    x, y = data(name)
    model = make(impl_jax)
    start = models.initialize(model, jax.random.key(1)) if parameters is None else parameters
    arguments = {"loss": loss, "optimizer": ADAM, "batch_size": BATCH, "epochs": 4, "seed": 3}
    return fit_with(training, model, start, x, y, **(arguments | changes))


def test_a_training_in_two_halves_is_the_whole():
    schedule = {"schedule": schedules.inverse_time(0.1, decay_rate=0.2), "schedule_unit": "step"}
    whole, first = fit(**schedule), fit(**schedule, epochs=2)
    second = fit(
        parameters=first.parameters, optimizer_state=first.optimizer_state, statistics=first.statistics, epochs=2,
        **schedule,
    )  # fmt: skip
    assert_same((whole.parameters, whole.statistics), (second.parameters, second.statistics))
    assert_same(whole.optimizer_state.slots, second.optimizer_state.slots)
    np.testing.assert_array_equal(whole.costs, np.concatenate([first.costs, second.costs]))


def test_dropout_is_drawn_anew_in_every_epoch_and_by_the_seed():
    rest = {"optimizer": optimizers.gradient_descent(0.0), "epochs": 3, "batch_size": None}
    curves = [fit(**rest, seed=seed).costs for seed in (0, 0, 1)]
    np.testing.assert_array_equal(curves[0], curves[1])
    assert len({*curves[0], *curves[2]}) == 6


def test_masks_are_drawn_by_path():
    model = on_images(impl_jax)
    drawn = model.draw_masks(jax.random.key(0), 200)
    assert {path: mask.shape for path, mask in drawn.items()} == {"2.2.mask": (200, 4, 4, 3)}
    assert model.mask_shapes == {"2.2.mask": (4, 4, 3)}
    assert abs(float(drawn["2.2.mask"].mean()) - 0.5) < 5 * 0.5 / 9600**0.5
    dense_model = models.deep_network((3, 5, 4, 1), keep_probability=(1.0, 0.5))
    assert {layer: m.shape for layer, m in dense_model.draw_masks(jax.random.key(0), 7).items()} == {2: (7, 4)}


class TraceCounter:
    """A penalty of nothing that notes how many examples it was traced for: compiled code does not call it."""

    def __init__(self):
        self.traces = []

    def __call__(self, weights, examples):
        self.traces.append(examples)
        return 0.0


def test_the_epochs_of_a_fit_are_one_program_that_an_equal_network_shares():
    counter = TraceCounter()
    fit("tokens", penalties=(counter,), epochs=2)
    assert set(counter.traces) == {4, 3}
    before = len(counter.traces)
    fit("tokens", penalties=(counter,), epochs=3, seed=5, schedule=schedules.exponential(0.1))
    assert len(counter.traces) == before


def test_a_network_is_equal_by_value_and_static_under_jit():
    one, same = on_tokens(impl_jax), on_tokens(impl_jax)
    assert one.parameter_shapes  # computed for one of them alone
    assert (one, hash(one)) == (same, hash(same))
    assert copy.deepcopy(one) == one
    assert one != models.network(one.layers, (6,), output="softmax")
    assert one != models.network(one.layers, (5,))
    traces = []

    def apply(model, parameters, x):
        traces.append(model)
        return model.apply(parameters, x)

    compiled = jax.jit(apply, static_argnums=0)
    x, _ = data("tokens")
    parameters = models.initialize(one, jax.random.key(0))
    np.testing.assert_array_equal(compiled(one, parameters, x), compiled(same, parameters, x))
    assert traces == [one]


def test_a_loop_of_ones_own_with_a_chain_of_optax_gives_what_fit_gives_with_it():
    model, (x, y) = on_tokens(impl_jax), data("tokens")
    chain = optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(0.05))
    parameters = models.initialize(model, jax.random.key(0))
    history = fit_with(
        training, model, parameters, x, y, loss="categorical_cross_entropy", optimizer=chain, epochs=4, seed=1
    )

    @jax.jit
    def step(parameters, state):
        def cost(parameters):
            return losses.categorical_cross_entropy(model.apply(parameters, x), y).mean()

        value, gradients = jax.value_and_grad(cost)(parameters)
        updates, state = chain.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state, value

    state, costs = chain.init(parameters), []
    for _ in range(4):
        parameters, state, value = step(parameters, state)
        costs.append(value)
    # The sums of two programs, in float32: some roundings a step.
    np.testing.assert_allclose(history.costs, costs, rtol=64 * 2.0**-24)
    assert np.isnan(history.learning_rates).all()
    assert history.costs[-1] < history.costs[0]


def test_a_network_learns_an_order_that_counts_alone_cannot_tell():
    generator = np.random.default_rng(0)
    x = generator.integers(1, 4, (64, 4))
    y = ((x[:, 0] > x[:, -1]) * 1)[:, None].astype(np.float32)
    model = models.network([embedding(4, 4), lstm(8), dense(1)], (4,), output="sigmoid")
    parameters = models.initialize(model, jax.random.key(0))
    history = fit_with(training, model, parameters, x, y, loss="binary_cross_entropy", optimizer=ADAM, epochs=60)
    assert (models.predict_classes(model, history.parameters, x) == y[:, 0]).mean() > 0.95
    assert {array.dtype for array in history.parameters.values()} == {np.dtype(np.float32)}


def test_images_are_augmented_as_they_are():
    x, y = data("images", 6)
    model = models.network([flatten(), dense(1)], (6, 6, 2), output="sigmoid")
    shapes = []

    class Watching:
        def draw(self, key, examples, features):
            return regularizers.gaussian_noise().draw(key, examples, features)

        def apply(self, x, drawn):
            shapes.append((x.shape, drawn.shape))
            return regularizers.gaussian_noise(scale=0.0).apply(x, drawn)

    flip = regularizers.random_flip((6, 6, 2), probability=1.0)
    rest = {"loss": "binary_cross_entropy", "optimizer": SGD, "epochs": 2}
    parameters = models.initialize(model, jax.random.key(0))
    augmented = fit_with(training, model, parameters, x, y, augmentations=[flip, Watching()], **rest)
    flipped = fit_with(training, model, parameters, x[:, :, ::-1], y, **rest)
    np.testing.assert_allclose(augmented.costs, flipped.costs, rtol=16 * 2.0**-24)
    assert set(shapes) == {((6, 6, 6, 2), (6, 72))}


def test_the_limit_of_a_norm_is_of_all_that_leads_into_a_unit():
    generator = np.random.default_rng(0)
    shapes = {"1.W": (3, 2, 2, 4), "2.U": (4, 3), "3.1.W_q": (2, 5), "2.b": (4,), "4.gamma": (4,), "W1": (3, 2)}
    parameters = {path: 9 * generator.standard_normal(shape) for path, shape in shapes.items()}
    ours = regularizers.max_norm(0.5)(parameters)
    for path in ("1.W", "2.U", "3.1.W_q", "W1"):
        rows = np.asarray(ours[path]).reshape(len(ours[path]), -1)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 0.5, rtol=16 * 2.0**-24)
    assert ours["2.b"] is parameters["2.b"]
    assert ours["4.gamma"] is parameters["4.gamma"]


X = np.array([[[0.0], [1.0], [9.0]]])
TOKENS = np.array([[3, 0, 2]])
GIVEN = np.array([[True, True, False]])


@pytest.mark.parametrize(
    ("layer", "x", "without", "within"),
    [
        (embedding(4, 2, mask_zero=True), TOKENS, [1, 0, 1], [1, 0, 0]),
        (embedding(4, 2), TOKENS, None, [1, 1, 0]),
        (masking(), X, [0, 1, 1], [0, 1, 0]),
        (masking(9.0), X, [1, 1, 0], [1, 1, 0]),
        (sequence(masking(), activation("relu")), X, [0, 1, 1], [0, 1, 0]),
        (sequence(masking(), flatten()), X, None, None),
        (sequence(activation("relu"), masking()), X, None, [1, 1, 0]),
        (impl_jax.layers.residual(masking()), X, [0, 1, 1], [0, 1, 0]),
        (impl_jax.layers.parallel(masking(), activation("relu")), X, None, [1, 1, 0]),
        (dropout(0.5), X, None, [1, 1, 0]),
    ],
)  # fmt: skip
def test_a_mask_goes_on_where_the_steps_stay(layer, x, without, within):
    for given, expected in ((None, without), (GIVEN, within)):
        found = layer.next_mask(x, given)
        assert (found is None) if expected is None else np.array_equal(found, np.array([expected], bool))


def test_steps_that_are_not_there_do_not_count(double_precision):
    model = models.network([sequence(masking(9.0), activation("tanh")), lstm(3), dense(1)], (4, 2))
    parameters = models.initialize(model, jax.random.key(0))
    x = np.random.default_rng(0).standard_normal((2, 4, 2))
    x[:, 2] = 9.0
    shorter = models.network(model.layers, (3, 2))
    np.testing.assert_array_equal(model.apply(parameters, x), shorter.apply(parameters, np.delete(x, 2, axis=1)))
    y = impl_jax.layers.masking(9.0).apply({}, x)
    np.testing.assert_array_equal(y[:, 2], 0)
    np.testing.assert_array_equal(np.delete(y, 2, axis=1), np.delete(x, 2, axis=1))


def small(p, **changes):
    model = p.models.network([p.layers.dense(2), p.layers.batch_norm(), p.layers.dense(1)], (4,), output="sigmoid")
    parameters = {
        path: np.ones(shape, np.float32) for path, shape in model.parameter_shapes.items()
    } | changes  # fmt: skip
    return model, {path: w for path, w in parameters.items() if w is not None}


def fit_small(p, x=np.ones((3, 4), np.float32), parameters=None, **changes):  # noqa: B008
    model, given = small(p, **(parameters or {}))
    arguments = {"loss": "binary_cross_entropy", "optimizer": p.optimizers.gradient_descent(0.1), "epochs": 1}
    return fit_with(p.training, model, given, x, np.ones((3, 1), np.float32), **(arguments | changes))


TWO = np.ones((2, 4), np.float32)
REFUSED = [
    (lambda p: p.models.network([p.layers.dense(3)], (5, 4)), "layers give (5, 3): must give (n,), one row of logits"),
    (lambda p: p.models.network(p.layers.convolution(3, (3,)), (4,)), "Convolution cannot take examples of shape (4,)"),
    (lambda p: p.models.network([], (4,)), "layers=() is not allowed: must be layers, at least one"),
    (lambda p: p.models.network(["relu"], (4,)), "layers=('relu',) is not allowed: must be layers, at least one"),
    (lambda p: p.models.network(p.layers.dense(3), (0,)), "input_shape=(0,) is not allowed: must be sizes of one"),
    (lambda p: p.models.network(p.layers.dense(3), ()), "input_shape=() is not allowed: must be sizes of one"),
    (lambda p: p.models.network(p.layers.dense(3), (4,), output="tanh"), "output='tanh' is not allowed"),
    (lambda p: p.models.initialize(small(p)[0], None, initializer="zeros"), "initializer='zeros' is not allowed for a"),
    (lambda p: p.models.replace_head(*small(p), None, outputs=2), "model is a network of layers: replace_head takes"),
    (lambda p: p.models.predict(*small(p), TWO), "statistics=None is not allowed for inference with batch norm"),
    (lambda p: small(p)[0].forward(small(p)[1], np.ones((5, 3))), "x has shape (5, 3): must be (examples, 4)"),
    (lambda p: p.models.intermediates(*small(p, **{"3.b": None}), TWO, training=True), "parameters has no '3.b': must"),
    (lambda p: fit_small(p, x=np.ones((3, 4, 1), np.float32)), "x has shape (3, 4, 1): must be (examples, 4)"),
    (lambda p: fit_small(p, parameters={"3.b": None}), "parameters has no '3.b': must hold 1.W, 1.b, 2.gamma"),
    (lambda p: fit_small(p, parameters={"3.b_h": TWO}), "parameters has '3.b_h', which the model has not: must hold"),
    (lambda p: fit_small(p, parameters={"1.W": TWO.T}), "parameters '1.W' has shape (4, 2): must be (2, 4)"),
    (lambda p: fit_small(p, frozen_layers=3), "frozen_layers=3 is not allowed: must be in 0 .. 2"),
    (lambda p: fit_small(p, statistics={}), "statistics has no '2.running_mean'"),
    (lambda p: on_tokens(p).forward(tokens_of(p), np.ones((1, 5))), "x has dtype float64: must be integers"),
    (lambda p: fit_tokens(p, np.float32(7.5)), "x has dtype float32: must be integers"),
    (lambda p: fit_tokens(p, 7), "x has entries in 7 .. 7: must be in 0 .. 6"),
    (lambda p: fit_tokens(p, -1), "x has entries in -1 .. -1: must be in 0 .. 6"),
    (lambda p: fit_tokens(p, 1, validation=(np.full((1, 5), 8), np.zeros(1, int))), "x has entries in 8 .. 8: must be"),
    (lambda p: p.layers.masking(np.inf), "value=inf is not allowed: must be a finite number"),
    (lambda p: p.layers.embedding(3, 2, mask_zero=2), "mask_zero=2 is not allowed: must be one of False, True"),
    (lambda p: p.layers.masking().output_shape((3,)), "Masking cannot take examples of shape (3,): must be (t, n)"),
]


def tokens_of(p):
    return {path: np.ones(shape, np.float32) for path, shape in on_tokens(p).parameter_shapes.items()}


def fit_tokens(p, entry, **changes):
    return fit_with(
        p.training, on_tokens(p), tokens_of(p), np.full((3, 5), entry), np.zeros(3, int),
        loss="categorical_cross_entropy", optimizer=p.optimizers.gradient_descent(0.1), epochs=1, **changes,
    )  # fmt: skip


@pytest.mark.parametrize(("call", "words"), REFUSED)
def test_what_a_network_refuses_it_refuses_in_the_words_of_the_reference(double_precision, call, words):
    found = []
    for package in (impl_jax, reference_numpy):
        with pytest.raises(ValueError, match=r"must|takes") as refusal:
            call(package)
        found.append(str(refusal.value))
    assert found[0] == found[1]
    assert words in found[0]


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (
            {"4.mask": np.ones((4, EXAMPLES, 5), bool)},
            r"dropout_masks\['4.mask'\] has shape \(4, 11, 5\): must be \(4, 11, 6\)",
        ),
        ({"3.mask": np.ones((4, EXAMPLES, 6), bool)}, "dropout_masks='3.mask' is not allowed: must be one of '4.mask'"),
    ],
)
def test_a_dropout_mask_that_fits_no_layer_is_refused(masks, words):
    with pytest.raises(ValueError, match=words):
        fit(dropout_masks=masks)
