"""The catalogue's page, and ``builtins.toml`` against the built-ins themselves, in float64 where the framework can."""

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported
jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
optax = pytest.importorskip("optax")
tf = pytest.importorskip("tensorflow")
torch = pytest.importorskip("torch")

from conformance.cli import listing  # noqa: E402
from conformance.recipes import catalogue_page  # noqa: E402
from conformance.recipes.catalogue import KINDS  # noqa: E402
from reference_numpy import activations, models, normalization, regularizers, training  # noqa: E402
from reference_numpy.layers import LAYERS  # noqa: E402
from tests.training_settings import gradients_with  # noqa: E402

PAGE = Path(__file__).parents[3] / "docs" / "catalogue.md"
UNIT_ROUNDOFF = 2.0**-53
FLOAT32_ROUNDOFF = 2.0**-24
NEVER = 1e-9  # the probability that an equality of distributions is denied by chance
SHAPE = (1600, 600)  # (n_out, n_in): so far apart that the two fans cannot be taken for each other
RATE = 0.1  # the schedules' alpha_0
EXAMPLES = 40

ROWS = {f"{row.component}-{row.call}": row for row in catalogue_page.builtins()}
EQUAL = [name for name, row in ROWS.items() if not row.differs]
DIFFERENT = [name for name, row in ROWS.items() if row.differs]
CALLED = ("jax.nn.initializers.", "optax.")  # functions that make the function that is meant


@pytest.fixture(autouse=True)
def _float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(3)
    torch.manual_seed(3)
    with jax.enable_x64(True):
        yield
    keras.config.set_floatx(before)


def resolve(dotted):
    """The object of a dotted name such as ``torch.nn.functional.relu``."""
    root, *path = dotted.split(".")
    found = {"torch": torch, "tf": tf, "keras": keras, "jax": jax, "optax": optax}[root]
    for name in path:
        found = getattr(found, name)
    return found


def made(row, *first, **more):
    """The built-in that a row's call makes; ``first`` and ``more`` are what every such call takes."""
    node = ast.parse(row.call, mode="eval").body
    called = isinstance(node, ast.Call)
    arguments = [ast.literal_eval(value) for value in node.args] if called else []
    keywords = {k.arg: ast.literal_eval(k.value) for k in node.keywords} if called else {}
    keywords |= {k: torch.tensor(v, dtype=torch.float64) for k, v in keywords.items() if k in ("weight", "pos_weight")}
    function = resolve(ast.unparse(node.func if called else node))
    if isinstance(function, type) or (called and row.call.startswith(CALLED)):
        return function(*first, *arguments, **keywords, **more)
    return partial(function, *arguments, **keywords)


def tensor(row, array):
    """``array`` as a tensor of the row's framework."""
    return {"torch": torch.tensor, "tensorflow": tf.constant, "jax": jax.numpy.asarray}[row.framework](array)


def numbers(result):
    return np.asarray(result.detach() if isinstance(result, torch.Tensor) else result)


def roundoff(row):
    return FLOAT32_ROUNDOFF if row.precision == "float32" else UNIT_ROUNDOFF


def ratio(got, wanted, allowed):
    """The largest difference as a multiple of what is allowed."""
    assert got.shape == wanted.shape
    assert np.isfinite(got).all()
    return float((np.abs(got - wanted) / allowed).max())


def distributions_apart(got, wanted):
    """The Kolmogorov-Smirnov distance as a multiple of what chance makes it (Dvoretzky, Kiefer, Wolfowitz, Massart)."""
    got, wanted = np.sort(got, axis=None), np.sort(wanted, axis=None)
    values = np.concatenate([got, wanted])
    shares = [np.searchsorted(a, values, side="right") / a.size for a in (got, wanted)]
    return float(np.abs(shares[0] - shares[1]).max()) / (2 * share_allowance(got.size))


def share_allowance(count):
    """How far the share of ``count`` draws may be from its probability (Hoeffding)."""
    return np.sqrt(np.log(2 / NEVER) / (2 * count))


def activation_apart(row):
    """Some ten roundings, of numbers that are no larger than 1 or ``z``."""
    z = np.concatenate(
        [np.random.default_rng(1).normal(scale=4, size=(30, 6)), np.full((1, 6), 20.5), np.zeros((1, 6))]
    )
    got = numbers(made(row)(tensor(row, z)))
    allowed = 16 * roundoff(row) * np.maximum(1, np.abs(z))
    function = getattr(activations, row.function or row.component)
    return lambda keywords: ratio(got, function(z, **keywords), allowed)


def initializer_apart(row):
    name = f"{row.component}-{row.call}"
    got = drawn(name, SHAPE)
    make = KINDS["initializers"][row.component]

    def apart(keywords):
        generator = np.random.default_rng(2)
        if row.component != "orthogonal":
            return distributions_apart(got, make(generator, SHAPE, **keywords))
        size = keywords.get("gain", 1.0) ** 2
        allowed = SHAPE[0] * FLOAT32_ROUNDOFF * size  # a sum of n_out products, drawn in float32
        first = [np.sign(drawn(name, (3, 2), seed)[0, 0]) for seed in range(30)]  # without R's signs always the same
        assert set(first) == {-1, 1}
        return ratio(got.T @ got, size * np.eye(SHAPE[1]), allowed)

    return apart


@cache
def drawn(name, shape, seed=7):
    """What an initializer draws, ``(n_out, n_in)``; Keras and JAX have weights the other way round."""
    row = ROWS[name]
    if row.framework == "torch":
        torch.manual_seed(seed)
        return numbers(made(row)(torch.empty(shape))).astype(np.float64)
    if row.framework == "jax":
        return np.asarray(made(row)(jax.random.key(seed), shape[::-1])).T.astype(np.float64)
    keras.utils.set_random_seed(seed)
    return made(row)(shape=shape[::-1]).numpy().T.astype(np.float64)


def loss_apart(row):
    """A mean over the examples and some twenty roundings; ``log(1 - q)`` knows ``1 - q >= clip`` to a roundoff only."""
    generator = np.random.default_rng(3)
    outputs, targets = loss_case(row, generator)
    weights = generator.uniform(0.5, 2, EXAMPLES) if row.call.startswith("keras") else None
    got = loss_value(row, outputs, targets, weights)
    reference = KINDS["losses"][row.component]

    def apart(keywords):
        losses = reference(outputs, targets, weights, **keywords)
        allowed = (EXAMPLES + 20) * UNIT_ROUNDOFF * (np.abs(losses).max() + np.abs(outputs).max())
        if row.component.endswith("from_probabilities"):
            allowed += outputs.shape[1] * UNIT_ROUNDOFF / 1e-7
        return ratio(np.asarray(got), np.asarray(losses.mean()), allowed)

    return apart


def loss_case(row, generator):
    """Outputs and targets, with probabilities of exactly 0 and 1 among them."""
    columns = 1 if row.component == "binary_cross_entropy" and "class_weights" in row.keywords else 3
    logits = generator.normal(scale=3, size=(EXAMPLES, columns))
    targets = generator.integers(0, 2, logits.shape).astype(np.float64)
    if row.component.startswith("categorical"):
        targets = generator.integers(0, columns, EXAMPLES)
    if row.component == "binary_cross_entropy_from_probabilities":
        logits = activations.sigmoid(logits)
        logits[0], logits[1], targets[0, 0], targets[1, 0] = 0.0, 1.0, 1.0, 0.0
    if row.component == "categorical_cross_entropy_from_probabilities":
        logits = activations.softmax(logits)
        logits[:8] = np.eye(columns)[np.arange(8) % columns]
    return logits, targets


def loss_value(row, outputs, targets, weights=None):
    """The cost that the built-in makes of a batch."""
    if row.call.startswith("keras.losses.Categorical"):
        targets = np.eye(outputs.shape[1])[targets]
    pair = tensor(row, outputs), tensor(row, targets)
    if row.framework == "tensorflow":
        weighted = {} if weights is None else {"sample_weight": weights}
        result = numbers(made(row)(*reversed(pair), **weighted))
    else:
        result = numbers(made(row)(*pair))
    return float((result.sum(axis=1) if result.ndim == 2 else result).mean())


def normalization_apart(row):
    """Sums over a batch; a variance in one pass loses ``mean^2 / variance`` more."""
    generator = np.random.default_rng(4)
    z, other = generator.normal(loc=0.5, scale=(2, 0.05, 1, 0.5), size=(2, EXAMPLES, 4))
    gamma, beta = generator.uniform(0.5, 2, (2, 4))
    got = normalized(row, z, other, gamma, beta)
    roundings = (EXAMPLES + 16) * (1 + (z.mean(axis=0) ** 2 / z.var(axis=0)).max())
    running_keywords = inspect.signature(normalization.running_average).parameters

    def apart(keywords):
        if row.component == "layer_norm":
            wanted = [normalization.layer_norm(x, gamma, beta, **keywords) for x in (z, other)]
        else:
            averages = {name: value for name, value in keywords.items() if name in running_keywords}
            epsilon = {name: value for name, value in keywords.items() if name not in averages}
            batch = normalization.batch_statistics(z)
            running = normalization.running_average((np.zeros(4), np.ones(4)), batch, EXAMPLES, **averages)
            outputs = [
                normalization.batch_norm(x, gamma, beta, *s, **epsilon) for x, s in ((z, batch), (other, running))
            ]
            wanted = [outputs[0], *running, outputs[1]]
        pairs = zip(got, wanted, strict=not row.differs)
        return max(ratio(a, b, roundings * UNIT_ROUNDOFF * np.abs(b).max()) for a, b in pairs)

    return apart


def normalized(row, z, other, gamma, beta):
    """Training on ``z``, the running averages that it leaves, and inference on ``other``."""
    first, second = tensor(row, z), tensor(row, other)
    if row.framework == "jax":
        return [numbers(made(row)(first))]
    batch_norm = row.component == "batch_norm"
    if row.framework == "torch":
        layer = made(row, 4).double()
        layer.load_state_dict(layer.state_dict() | {"weight": torch.tensor(gamma), "bias": torch.tensor(beta)})
        training = layer(first)
        running = [layer.running_mean.clone(), layer.running_var.clone()] if batch_norm else []
        inference = layer.eval()(second)
    else:
        layer = made(row)
        layer.build(z.shape)
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
        training = layer(first, training=True) if batch_norm else layer(first)
        running = [layer.moving_mean, layer.moving_variance] if batch_norm else []
        inference = layer(second)
    return [numbers(result) for result in (training, *running, inference)]


def penalty_apart(row):
    """PyTorch and optax show the gradient, Keras and TensorFlow the value: sums of a dozen products."""
    weight = np.random.default_rng(5).normal(size=(4, 3))
    if row.framework == "torch":
        parameter = torch.nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))
        optimizer = made(row, [parameter], lr=1.0)
        parameter.data, parameter.grad = torch.tensor(weight), torch.zeros(4, 3, dtype=torch.float64)
        optimizer.step()
        got = weight - numbers(parameter)
    elif row.framework == "jax":
        transformation, values = made(row), jax.numpy.asarray(weight)
        got = numbers(transformation.update(jax.numpy.zeros((4, 3)), transformation.init(values), values)[0])
    else:
        got = numbers(made(row)(tf.constant(weight)))

    def apart(keywords):
        penalty = regularizers.PENALTIES[row.component](**keywords)
        wanted = penalty.gradient(weight, 7) if got.ndim else np.asarray(penalty.value([weight], 7))
        return ratio(got, wanted, 32 * roundoff(row) * np.abs(weight).max())

    return apart


def dropout_apart(row):
    x = np.random.default_rng(6).uniform(1, 2, (400, 50))
    got = numbers(made(row)(tensor(row, x), **({"training": True} if "keras" in row.call else {})))

    def apart(keywords):
        wanted = regularizers.inverted_dropout(x, got != 0, **keywords)
        share = abs((got != 0).mean() - keywords["keep_probability"]) / share_allowance(got.size)
        return max(ratio(got, wanted, 4 * UNIT_ROUNDOFF * wanted.max()), share)

    return apart


def clipping_apart(row):
    """Beyond the limit, and within it, where nothing may change; a norm of fifteen numbers."""
    generator = np.random.default_rng(7)
    large = {"W1": generator.normal(size=(4, 3)), "b1": 0.1 * generator.normal(size=3)}
    cases = [large, {name: 0.01 * g for name, g in large.items()}]
    got = [clipped(row, gradients) for gradients in cases]

    def apart(keywords):
        clip = regularizers.CLIPPINGS[row.component](**keywords)
        pairs = [(g[n], clip(gradients)[n]) for g, gradients in zip(got, cases, strict=True) for n in gradients]
        return max(ratio(a, b, 24 * UNIT_ROUNDOFF * np.abs(b).max()) for a, b in pairs)

    return apart


def clipped(row, gradients):
    """What the built-in makes of a dict of gradients."""
    if row.framework == "jax":
        transformation = made(row)
        values = {name: jax.numpy.asarray(g) for name, g in gradients.items()}
        return {name: numbers(g) for name, g in transformation.update(values, transformation.init(values))[0].items()}
    if row.framework == "torch":
        parameters = {
            name: torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for name, g in gradients.items()
        }
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(gradients[name])
        made(row)(list(parameters.values()))
        return {name: parameter.grad.numpy() for name, parameter in parameters.items()}
    values = [tf.constant(g) for g in gradients.values()]
    if row.call.startswith("keras"):
        variables = [keras.Variable(np.zeros(g.shape)) for g in gradients.values()]
        made(row, learning_rate=1.0).apply(values, variables)
        results = [-variable.numpy() for variable in variables]
    elif row.component == "clip_by_global_norm":
        results = made(row)(values)[0]
    else:
        results = [made(row)(value) for value in values]
    return dict(zip(gradients, map(numbers, results), strict=True))


def max_norm_apart(row):
    weight = np.random.default_rng(8).normal(size=(4, 3))
    got = numbers(made(row)(torch.tensor(weight)) if row.framework == "torch" else made(row)(tf.constant(weight.T)))
    got = got if row.framework == "torch" else got.T
    return lambda keywords: ratio(got, regularizers.max_norm(**keywords)({"W1": weight})["W1"], 16 * UNIT_ROUNDOFF)


class Weights:
    """What Keras's callback asks of a model: here the weights are the number of the epoch."""

    stop_training, weights = False, 0

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def early_stopping_apart(row):
    """Last epoch and final weights of many sequences of costs; the costs are 64ths, so no comparison is a near tie."""
    sequences = np.random.default_rng(9).integers(0, 64, (200, 30)) / 64
    got = []
    for costs in sequences:
        callback, model = made(row), Weights()
        callback.set_model(model)
        callback.on_train_begin()
        for epoch, cost in enumerate(costs):
            model.weights = epoch + 1
            callback.on_epoch_end(epoch, {"val_loss": float(cost)})
            if model.stop_training:
                break
        callback.on_train_end()
        got.append((epoch + 1, model.weights))

    def apart(keywords):
        wanted = []
        for costs in sequences:
            monitor = regularizers.early_stopping(**keywords)
            for cost in costs:
                monitor.improved(float(cost))
                if monitor.stop:
                    break
            wanted.append((monitor.epoch, monitor.best_epoch if monitor.restore_best else monitor.epoch))
        return 0.0 if got == wanted else np.inf

    return apart


def flip_apart(row):
    images = np.random.default_rng(10).uniform(size=(4000, 2, 3, 1))
    got = numbers(made(row)(tf.constant(images), **({"training": True} if "keras" in row.call else {})))
    flips = (got != images).any(axis=(1, 2, 3))

    def apart(keywords):
        flip = regularizers.random_flip((2, 3, 1), **keywords)
        flat = flip.apply(images.reshape(4000, -1), flips).reshape(images.shape)
        expected = flip.draw(np.random.default_rng(11), 4000, 6).mean()
        assert (got == flat).all()
        return abs(flips.mean() - expected) / (2 * share_allowance(4000))

    return apart


def noise_apart(row):
    x = np.ones((1000, 1000))
    got = numbers(made(row)(tf.constant(x), training=True))

    def apart(keywords):
        noise = regularizers.gaussian_noise(**keywords)
        return distributions_apart(got, noise.apply(x, noise.draw(np.random.default_rng(12), *x.shape)))

    return apart


def regularizer_apart(row):
    kinds = dict.fromkeys(regularizers.PENALTIES, penalty_apart) | dict.fromkeys(regularizers.CLIPPINGS, clipping_apart)
    others = {"inverted_dropout": dropout_apart, "max_norm": max_norm_apart, "early_stopping": early_stopping_apart}
    return (kinds | others | {"random_flip": flip_apart, "gaussian_noise": noise_apart})[row.component](row)


def schedule_apart(row, times=None):
    """PyTorch multiplies up, a rounding a step; so do powers and cosines, in proportion to ``t``."""
    times = range((130 if row.until is None else row.until) + 1) if times is None else times
    rates = builtin_rates(row, times)
    allowed = RATE * roundoff(row) * (16 + np.asarray(times))

    def apart(keywords):
        rate = KINDS["schedules"][row.component](RATE, **keywords)
        return ratio(rates, np.array([rate(t) for t in times]), allowed)

    return apart


def builtin_rates(row, times):
    if row.framework != "torch":
        schedule = made(row)
        return np.array([float(schedule(t)) for t in times])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler, rates = made(row, optimizer), []
    for _ in range(max(times) + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)[list(times)]


def model_apart(row):
    generator = np.random.default_rng(13)
    x, weight, bias = generator.normal(size=(EXAMPLES, 3)), generator.normal(size=(1, 3)), generator.normal(size=1)
    has_bias = row.keywords.get("bias", True)
    if row.framework == "torch":
        layer = made(row).double()
        state = {"weight": torch.tensor(weight), "bias": torch.tensor(bias)}
        layer.load_state_dict(state if has_bias else {"weight": state["weight"]})
    else:
        layer = made(row)
        layer.build(x.shape)
        layer.set_weights([weight.T, bias] if has_bias else [weight.T])
    got = numbers(layer(tensor(row, x)))

    def apart(keywords):
        model = models.MODELS[row.component](3, **keywords)
        parameters = {"W1": weight, "b1": bias} if keywords.get("bias", True) else {"W1": weight}
        wanted = models.predict(model, parameters, x)
        return ratio(got, wanted, 16 * UNIT_ROUNDOFF * (np.abs(x) @ np.abs(weight.T) + np.abs(bias)))

    return apart


APART = {
    "activations": activation_apart,
    "initializers": initializer_apart,
    "losses": loss_apart,
    "models": model_apart,
    "normalizations": normalization_apart,
    "regularizers": regularizer_apart,
    "schedules": schedule_apart,
}


def changes(row):
    """The keywords of a row with one of them left out, or, where it has no default, a tenth larger."""
    defaults = inspect.signature(KINDS[row.kind][row.component]).parameters
    for name, value in row.keywords.items():
        required = name in defaults and defaults[name].default is inspect.Parameter.empty
        rest = {other: setting for other, setting in row.keywords.items() if other != name}
        yield name, rest | {name: 1.1 * value} if required else rest


CHANGES = [(name, keyword) for name in EQUAL for keyword, _ in changes(ROWS[name]) if keyword != "after"]


@pytest.mark.parametrize("name", EQUAL)
def test_a_component_with_the_keywords_of_a_row_equals_the_builtin(name):
    assert APART[ROWS[name].kind](ROWS[name])(ROWS[name].keywords) <= 1


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_builtin_that_is_said_to_differ_does(name):
    assert APART[ROWS[name].kind](ROWS[name])(ROWS[name].keywords) > 1


@pytest.mark.parametrize(("name", "keyword"), CHANGES)
def test_no_keyword_of_a_row_can_be_left_out_or_changed(name, keyword):
    assert APART[ROWS[name].kind](ROWS[name])(dict(changes(ROWS[name]))[keyword]) > 1


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.until is not None])
def test_a_schedule_that_is_equal_until_a_step_differs_from_the_next_on(name):
    row = ROWS[name]
    assert schedule_apart(row, range(row.until + 2))(row.keywords) > 1


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.precision == "float32"])
def test_a_builtin_that_is_said_to_round_to_float32_does(name):
    row = ROWS[name]._replace(precision="float64")
    assert APART[row.kind](row)(row.keywords) > 1


def test_jax_has_a_derivative_of_1_at_the_kink_of_leaky_relu():
    assert float(jax.grad(jax.nn.leaky_relu)(0.0)) == 1.0
    z = torch.zeros((), requires_grad=True)
    assert torch.autograd.grad(torch.nn.functional.leaky_relu(z), z)[0].item() == pytest.approx(0.01)


def test_pytorchs_softplus_is_2e_9_off_just_above_20():
    z = torch.tensor(20.0 + 1e-6, dtype=torch.float64)
    gap = torch.nn.functional.softplus(z, threshold=50) - torch.nn.functional.softplus(z)
    assert gap.item() == pytest.approx(2e-9, rel=0.05)  # said to one digit


def test_the_cut_of_the_logarithm_and_the_clip_are_100_and_16():
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert torch.nn.functional.binary_cross_entropy(zero, one).item() == 100.0
    assert float(keras.losses.BinaryCrossentropy()([[1.0]], [[0.0]])) == pytest.approx(-np.log(1e-7), rel=1e-9)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_the_sum_over_examples_of_a_builtin_is_that_of_a_recipe(framework):
    logits, labels = np.random.default_rng(14).normal(size=(EXAMPLES, 3)), np.arange(EXAMPLES) % 3
    if framework == "torch":
        got = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels), reduction="sum")
    else:
        got = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")(labels, logits)
    model, weight = models.softmax_classifier((3, 3), bias=False), np.eye(3)
    wanted = gradients_with(
        training, model, {"W1": weight}, logits, labels, loss="categorical_cross_entropy", reduction="sum"
    ).cost
    assert abs(float(got) - wanted) <= (EXAMPLES + 20) * UNIT_ROUNDOFF * wanted


def test_the_tests_that_the_page_names_are_there():
    page = catalogue_page.page()
    files, named = re.findall(r"`(tests/\S+\.py)`", page), re.findall(r"`(test_\w+)`", page)
    text = "".join((PAGE.parents[1] / file).read_text(encoding="utf-8") for file in files)
    assert len(named) == 2
    assert [name for name in named if f"def {name}(" not in text] == []


def test_pytorchs_global_norm_changes_gradients_that_are_at_the_limit():
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.tensor([0.5], dtype=torch.float64)
    torch.nn.utils.clip_grad_norm_([parameter], 0.5)
    assert parameter.grad.item() == pytest.approx(0.5 * 0.5 / (0.5 + 1e-6), rel=8 * UNIT_ROUNDOFF)


def test_the_max_norm_of_keras_shrinks_columns_within_the_limit_and_that_of_pytorch_does_not():
    weight = np.array([[0.3], [0.0]])
    assert keras.constraints.MaxNorm(0.5)(tf.constant(weight)).numpy()[0, 0] < 0.3
    assert torch.renorm(torch.tensor(weight.T), 2, 0, 0.5)[0, 0].item() == 0.3


def test_pytorchs_linear_starts_from_the_range_that_is_said_biases_too():
    torch.manual_seed(0)
    layer = torch.nn.Linear(400, 10_000)
    for drawn_numbers in (layer.weight, layer.bias):
        largest = drawn_numbers.detach().abs().max().item()
        assert 0.99 / 20 < largest <= (1 + FLOAT32_ROUNDOFF) / 20  # below 0.99 all of 10,000: 2e-44


def test_one_initializer_object_of_keras_gives_the_same_values_twice():
    initializer = keras.initializers.GlorotUniform()
    first, second = (initializer((3, 2)).numpy() for _ in range(2))
    assert (first == second).all()
    assert (first != keras.initializers.GlorotUniform()((3, 2)).numpy()).any()


def test_pytorchs_batch_norm_refuses_a_single_example():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm1d(2)(torch.zeros(1, 2))


def test_keras_divides_probabilities_by_their_sum_first():
    loss = keras.losses.CategoricalCrossentropy()([[1.0, 0.0]], [[0.2, 0.2]])
    assert float(loss) == pytest.approx(np.log(2), rel=8 * UNIT_ROUNDOFF)


def test_pytorchs_cosine_rises_again():
    row = ROWS["cosine-torch.optim.lr_scheduler.CosineAnnealingLR(T_max=100)"]
    at_the_end, after = builtin_rates(row, range(131))[[100, 130]]
    assert after > at_the_end + 0.01


def test_the_page_is_the_one_that_is_generated_now():
    assert PAGE.read_text(encoding="utf-8") == catalogue_page.page(), "run the command at the head of docs/catalogue.md"


def test_the_page_has_every_kind_and_component_of_the_listings_once():
    headings = re.findall(r"^(## .+|### .+)$", catalogue_page.page(), flags=re.MULTILINE)
    expected = []
    for kind, table in KINDS.items():
        expected += [f"## {kind.capitalize()}", *(f"### `{name}`" for name in table)]
    assert headings == [*expected, "## Layers", *(f"### Layer `{name}`" for name in LAYERS)]
    columns = {what: set(rows[0]) for what, rows in listing.made().items()}
    of_components = {"name", "required", "keywords", "description"}
    assert {what for what, names in columns.items() if names == of_components} == {*KINDS, "layers"}


def test_the_page_has_the_keywords_that_the_listings_have():
    page = catalogue_page.page().replace("`", "")
    for kind in KINDS:
        for row in listing.made()[kind]:
            stated = page.partition(f"### {row['name']}\n")[2].partition("\nKeywords: ")[2].partition("\n")[0]
            names = [*row["required"], *row["keywords"]]
            assert all(name in stated for name in names) if names else stated.startswith("none")


@given(st.lists(st.tuples(*[st.text(st.characters(categories=["L", "N", "P", "S"]))] * 4), min_size=1))
def test_a_row_of_a_table_has_four_cells_whatever_is_in_them(rows):
    for line in catalogue_page._table(rows).split("\n"):
        assert len(re.findall(r"(?<!\\)\|", line)) == 5


SENTENCES = ["It is ``a``.", "Raises ValueError if not.", "Source: Gauss 1809, eq. 2.", "Returns it."]


@given(st.lists(st.sampled_from(SENTENCES)))
def test_a_description_keeps_what_is_said_and_sets_the_source_apart(sentences):
    found = catalogue_page.description(" ".join(sentences))
    assert found.text == " ".join(["It is `a`."] * sentences.count(SENTENCES[0]))
    assert found.source == ("Gauss 1809, eq. 2." if SENTENCES[2] in sentences else "")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"optimizers": {}}, "kind='optimizers' is not allowed: must be one of 'activations', "),
        ({"losses": {"hinge": {}}}, "component='hinge' is not allowed: must be one of 'binary_cross_entropy', "),
        (
            {"losses": {"mean_squared_error": {"caffe": {}}}},
            "framework='caffe' is not allowed: must be one of 'torch', 'tensorflow', 'jax'",
        ),
        (
            {"losses": {"mean_squared_error": {"torch": {"f": {"keyword": {}}}}}},
            "field='keyword' is not allowed: must be one of 'keywords', 'differs', 'precision', 'until', 'note', ",
        ),
    ],
)
def test_a_row_that_is_not_known_is_refused_with_what_is(tables, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        list(catalogue_page.read_builtins(tables))


def test_the_examples_of_the_docstrings_hold():
    result = doctest.testmod(catalogue_page)
    assert result.attempted >= 4
    assert result.failed == 0


def test_the_page_is_made_without_a_framework():
    code = (
        "import sys; from conformance.recipes.catalogue_page import page; page()\n"
        "loaded = {'torch', 'tensorflow', 'jax', 'optax', 'keras'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
