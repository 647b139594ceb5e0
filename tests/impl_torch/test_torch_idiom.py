"""What is PyTorch's own about ``impl_torch``: its modules, generators, optimizer state, dtypes and error messages."""

import copy
import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from impl_torch import (
    activations,
    initializers,
    losses,
    models,
    normalization,
    optimizers,
    regularizers,
    schedules,
    training,
)
from tests.training_settings import fit_with, gradients_with

DTYPES = (torch.float32, torch.float64)

# Bounds beside PyTorch's own ways, in units of roundoff of float64: a cost is a sum over a batch, a training dozens of
# steps each of which starts from the roundings of those before it.
UNIT = 2.0**-53
COST, TRAINING, DRAWN = 64, 8192, 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(dtype=torch.float64, examples=23, classes=3):
    """Separable points in four dimensions: ``x: (m, 4)``, ``y: (m,)``."""
    labels = torch.arange(examples) % classes
    noise = torch.randn((examples, 4), generator=seeded(1), dtype=dtype)
    return noise + 2 * F.one_hot(labels, 4).to(dtype), labels


def classifier(dtype=torch.float64, keep_probability=1.0, seed=0):
    model = models.softmax_classifier((4, 6, 3), keep_probability=keep_probability)
    return models.initialize(model, seeded(seed), dtype=dtype)


def train(model, x, y, **options):
    options = {"epochs": 3, "batch_size": 5} | options
    optimizer = options.pop("optimizer", None) or optimizers.adam(model.parameters(), 0.01)
    return fit_with(training, model, x, y, loss="categorical_cross_entropy", optimizer=optimizer, **options)


def test_weight_decay_is_the_half_penalty_where_biases_are_kept_out_of_it():
    x, y = blobs()
    penalised, decayed = classifier(), classifier()
    train(penalised, x, y, penalties=(regularizers.l2(0.1, convention="half"),), epochs=10)
    named = decayed.parameter_dict()
    groups = [
        {"params": [w for name, w in named.items() if name.startswith("W")], "weight_decay": 0.1},
        {"params": [w for name, w in named.items() if name.startswith("b")]},
    ]
    train(decayed, x, y, optimizer=optim.Adam(groups, lr=0.01), epochs=10)
    for name, w in penalised.parameter_dict().items():
        torch.testing.assert_close(named[name], w, rtol=TRAINING * UNIT, atol=TRAINING * UNIT)


def test_labels_are_looked_at_once_a_training(monkeypatch):
    looks, (x, y), look = [], blobs(), torch.Tensor.aminmax
    monkeypatch.setattr(torch.Tensor, "aminmax", lambda labels: looks.append(len(labels)) or look(labels))
    train(classifier(), x, y)
    assert looks == [len(y)]
    with pytest.raises(ValueError, match=r"labels span .*: must be in 0 \.\. 2"):
        train(classifier(), x, torch.where(torch.arange(len(y)) == len(y) - 1, 3, y))


def test_one_logarithm_of_targets_that_are_0_or_1_gives_the_bits_of_two():
    x = torch.linspace(-200, 200, 401, dtype=torch.float64)[:, None].requires_grad_()
    y = (torch.arange(401) % 2)[:, None]
    whole, real = (losses.binary_cross_entropy(x, targets) for targets in (y, y.to(x.dtype)))
    assert torch.equal(whole, real)
    assert torch.equal(*(torch.autograd.grad(loss.sum(), x)[0] for loss in (whole, real)))
    for sure in (0, 399):  # far in its own tail no digit of a loss is lost
        assert whole[sure].item() == pytest.approx(math.exp(-abs(x[sure].item())), rel=1e-12)


def test_fit_is_the_loop_that_pytorch_users_write():
    x, y = blobs()
    model, same = classifier(), classifier()
    history = train(model, x, y, optimizer=optim.Adam(model.parameters(), lr=0.01), batch_size=None, epochs=20)
    optimizer, costs, norms = optim.Adam(same.parameters(), lr=0.01), [], []
    for _ in range(20):
        optimizer.zero_grad()
        cost = F.cross_entropy(same(x), y)
        cost.backward()
        costs.append(cost.item())
        norms.append(nn.utils.clip_grad_norm_(same.parameters(), max_norm=float("inf")).item())
        optimizer.step()
    np.testing.assert_allclose(history.costs, costs, rtol=TRAINING * UNIT)
    np.testing.assert_allclose(history.gradient_norms, norms, rtol=TRAINING * UNIT)
    assert history.costs[-1] < history.costs[0]


def test_a_schedule_makes_a_pytorch_scheduler():
    x, y = blobs()
    model, same = classifier(), classifier()
    rule = {"batch_size": None, "epochs": 6}
    history = train(model, x, y, schedule=schedules.inverse_time(0.1), **rule)
    optimizer = optimizers.momentum(same.parameters(), 0.1)
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, schedules.inverse_time(1.0))
    rates = []
    for _ in range(6):
        rates.append(scheduler.get_last_lr()[0])
        train(same, x, y, optimizer=optimizer, batch_size=None, epochs=1)
        scheduler.step()
    np.testing.assert_allclose(history.learning_rates, rates, rtol=DRAWN * UNIT)


def test_the_schedule_counts_epochs_or_steps_from_zero():
    x, y = blobs(examples=7)
    rule = {"batch_size": 3, "epochs": 2, "schedule": lambda t: 0.01 * (t + 1)}
    by_epoch = train(classifier(), x, y, schedule_unit="epoch", **rule).learning_rates
    by_step = train(classifier(), x, y, schedule_unit="step", **rule).learning_rates
    assert by_epoch.tolist() == [0.01 * (t + 1) for t in (0, 0, 0, 1, 1, 1)]
    assert by_step.tolist() == [0.01 * (t + 1) for t in range(6)]


def test_the_same_seed_gives_the_same_history_and_another_seed_another():
    x, y = blobs()
    first, again, other = (train(classifier(keep_probability=0.7), x, y, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.costs, again.costs)
    assert not np.isclose(first.costs, other.costs).any()


def test_training_and_making_models_leave_the_default_generator_to_its_owner():
    x, y = blobs()
    model = classifier(keep_probability=0.7)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    train(model, x, y)
    models.initialize(model, seeded())
    assert torch.equal(torch.rand(1), expected)


def test_a_new_model_draws_from_the_default_generator_once():
    torch.manual_seed(0)
    model = models.deep_network((4, 6, 1))
    drawn = model.parameter_dict()["W2"].clone()
    assert torch.equal(drawn, models.initialize(model, seeded(0)).parameter_dict()["W2"])


def test_a_new_model_has_he_weights_and_zero_biases_not_those_of_linear():
    torch.manual_seed(0)
    named = models.deep_network((400, 300, 1)).parameter_dict()
    assert abs(named["W1"].std().item() - (2 / 400) ** 0.5) < 1e-3  # nn.Linear: 0.029
    assert named["W1"].abs().max() > 3 * (2 / 400) ** 0.5  # not truncated
    assert not named["b1"].any()


def test_initializers_agree_with_those_of_pytorch():
    drawn_alike = {"rtol": DRAWN * UNIT, "atol": 0}
    built_ins = {
        "he_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=seeded()),
        "scaled_normal": lambda w: nn.init.normal_(w, std=0.01, generator=seeded()),
    }
    for name, built_in in built_ins.items():
        drawn = initializers.INITIALIZERS[name](seeded(), (30, 20), dtype=torch.float64)
        torch.testing.assert_close(drawn, built_in(torch.empty(30, 20, dtype=torch.float64)), **drawn_alike)
    average = initializers.xavier_normal(seeded(), (30, 20), fan="fan_average", dtype=torch.float64)
    built_in = nn.init.xavier_normal_(torch.empty(30, 20, dtype=torch.float64), generator=seeded())
    torch.testing.assert_close(average, built_in, **drawn_alike)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("make", optimizers.OPTIMIZERS.values(), ids=optimizers.OPTIMIZERS)
def test_the_dtype_is_kept_everywhere(dtype, make):
    x, y = blobs(dtype)
    model = classifier(dtype, keep_probability=0.8)
    optimizer = make(model.parameters())
    penalty = (regularizers.l2(0.1),)
    history = train(model, x, y, optimizer=optimizer, penalties=penalty, schedule=schedules.exponential(0.1))
    result = gradients_with(
        training, model, x, y, loss="categorical_cross_entropy", penalties=penalty, input_gradient=True
    )
    _, slots = optimizers.named_state(optimizer, model.parameter_dict())
    arrays = (array for named in slots.values() for array in named.values())
    tensors = (*history.parameters.values(), *result.gradients.values(), *result[:3], *arrays)
    assert {tensor.dtype for tensor in tensors} == {dtype}
    assert history.costs.dtype == history.gradient_norms.dtype == torch.empty(0, dtype=dtype).numpy().dtype


def test_targets_of_another_precision_are_refused_where_pytorch_would_promote():
    logits, targets = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.float64)
    assert F.binary_cross_entropy_with_logits(logits, targets).dtype == torch.float64
    with pytest.raises(ValueError, match="targets has dtype float64, outputs float32: must be equal, or integers"):
        losses.binary_cross_entropy(logits, targets)


def test_the_last_batch_holds_what_is_left_and_is_averaged_over_its_own_size():
    x, y = blobs(examples=7)
    model = classifier()
    order = np.array([[6, 5, 4, 3, 2, 1, 0]], dtype=np.int32)
    order.flags.writeable = False
    frozen = optimizers.gradient_descent(model.parameters(), 0.0)
    history = train(
        model, x, y, optimizer=frozen, epochs=1, batch_size=3, batch_order=order, penalties=(regularizers.l2(0.5),)
    )
    weights = [w for name, w in model.parameter_dict().items() if name.startswith("W")]
    squares = sum((w.detach() ** 2).sum().item() for w in weights)
    expected = [
        F.cross_entropy(model(x[rows]), y[rows]).item() + 0.5 / (2 * len(rows)) * squares
        for rows in ([6, 5, 4], [3, 2, 1], [0])
    ]
    np.testing.assert_allclose(history.costs, expected, rtol=COST * UNIT)


def test_dropout_masks_follow_the_order_of_the_visits():
    x, y = blobs(examples=6)
    model = classifier(keep_probability=0.5)
    masks = torch.rand(1, 6, 6, generator=seeded()) < 0.5
    order = torch.tensor([[5, 3, 1, 0, 2, 4]])
    frozen = optimizers.gradient_descent(model.parameters(), 0.0)
    history = train(
        model, x, y, optimizer=frozen, epochs=1, batch_size=4, batch_order=order, dropout_masks={1: masks.numpy()}
    )
    rows = order[0, 4:]
    expected = F.cross_entropy(model(x[rows], {1: masks[0, 4:]}), y[rows]).item()
    assert history.costs[1] == pytest.approx(expected, rel=COST * UNIT)
    without = F.cross_entropy(model(x[rows], training=True), y[rows]).item()
    assert history.costs[1] != pytest.approx(without, rel=1e-3)


def test_the_kinks_have_the_derivatives_that_are_promised():
    def slope_at_zero(f, **options):
        z = torch.zeros((), dtype=torch.float64, requires_grad=True)
        f(z, **options).backward()
        return z.grad.item()

    assert slope_at_zero(activations.relu) == 0
    assert slope_at_zero(activations.relu, derivative_at_zero=1) == 1
    assert slope_at_zero(activations.leaky_relu, slope=0.2) == 0.2


def test_small_binary_losses_survive_where_the_built_in_cancels():
    logits = torch.tensor([[-20.0]])
    assert losses.binary_cross_entropy(logits, torch.zeros(1, 1)).item() == pytest.approx(
        math.log1p(math.exp(-20)), rel=COST * 2.0**-24
    )
    assert F.binary_cross_entropy_with_logits(logits, torch.zeros(1, 1)).item() == 0.0
    start = torch.zeros(1, 1, requires_grad=True)
    losses.binary_cross_entropy(start, torch.ones(1, 1)).sum().backward()
    assert start.grad.item() == -0.5


def test_a_label_that_pytorch_would_skip_is_refused():
    logits, labels = torch.zeros(2, 3), torch.tensor([-100, 1])
    assert F.cross_entropy(logits, labels, reduction="none")[0] == 0
    with pytest.raises(ValueError, match=r"labels span -100 \.\. 1: must be in 0 \.\. 2"):
        losses.categorical_cross_entropy(logits, labels)


ERRORS = {
    "beta1=1.2 is not allowed: must be in [0, 1)": lambda p: optimizers.adam(p, beta1=1.2),
    "beta=nan is not allowed: must be in [0, 1)": lambda p: optimizers.momentum(p, beta=float("nan")),
    "learning_rate=inf is not allowed: must be a finite number >= 0": lambda p: optimizers.rmsprop(p, float("inf")),
    "epsilon=nan is not allowed: must be a finite number >= 0": lambda p: optimizers.adam(p, epsilon=float("nan")),
    "amsgrad=True is not allowed: must be one of None, 'raw_max', 'corrected_max', 'uncorrected'": (
        lambda p: optimizers.adam(p, amsgrad=True)
    ),
    "targets has shape (2,), outputs (2, 1): both must be (examples, outputs) and equal": (
        lambda p: losses.mean_squared_error(torch.zeros(2, 1), torch.zeros(2))
    ),
    "x has shape (2, 5): must be (examples, 4)": lambda p: classifier()(torch.zeros(2, 5)),
    "x has shape (0, 4): must hold at least one example": (
        lambda p: gradients_with(
            training, classifier(), torch.zeros(0, 4), torch.zeros(0).long(), loss="categorical_cross_entropy"
        )
    ),
    "optimizer does not hold the model's parameters: make it from model.parameters()": (
        lambda p: train(classifier(), *blobs(), optimizer=optimizers.adam(p))
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_an_argument_that_is_not_allowed_is_named(message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        ERRORS[message]([nn.Parameter(torch.ones(1))])
    assert str(caught.value) == message


RESUMED = {
    "SGD": lambda p: optimizers.momentum(p, accumulation="sum"),
    "RMSprop": lambda p: optimizers.rmsprop(p, momentum=0.9),
    "Adam": lambda p: optimizers.adam(p, amsgrad="raw_max"),
    "formula": lambda p: optimizers.rmsprop(p, centered=True, bias_correction=True),
}


@pytest.mark.parametrize("make", RESUMED.values(), ids=RESUMED)
def test_steps_go_on_from_a_named_state(make):
    x, y = blobs()
    model = classifier()
    optimizer = make(model.parameters())
    rule = {"epochs": 2, "batch_size": None}
    train(model, x, y, optimizer=optimizer, **rule)
    state = optimizers.named_state(optimizer, model.parameter_dict())
    resumed = copy.deepcopy(model)
    reopened = make(resumed.parameters())
    optimizers.load_named_state(reopened, resumed.parameter_dict(), *state)
    for _ in range(3):
        for other, held in ((model, optimizer), (resumed, reopened)):
            held.zero_grad()
            F.cross_entropy(other(x), y).backward()
            held.step()
    for name, w in resumed.parameter_dict().items():
        assert torch.equal(w, model.parameter_dict()[name])


def test_a_fresh_optimizer_has_its_initial_slots_and_refuses_those_of_another():
    named = {"w": nn.Parameter(torch.ones(2))}
    optimizer = optimizers.rmsprop(named.values(), initial_square=1.0, momentum=0.5)
    step, slots = optimizers.named_state(optimizer, named)
    assert step == 0
    assert {slot: arrays["w"].tolist() for slot, arrays in slots.items()} == {
        "square_average": [1.0, 1.0],
        "velocity": [0.0, 0.0],
    }
    with pytest.raises(ValueError, match="optimizer_state has no slot 'first_moment': must hold first_moment, second"):
        optimizers.load_named_state(optimizers.adam(named.values()), named, 0, slots)
    with pytest.raises(ValueError, match="must be \\(2,\\)"):
        optimizers.load_named_state(optimizer, named, 0, {slot: {"w": torch.ones(3)} for slot in slots})


@pytest.mark.parametrize("make", RESUMED.values(), ids=RESUMED)
def test_an_optimizers_state_dict_is_saved_and_loaded_as_weights_only(make):
    parameter = nn.Parameter(torch.ones(3))
    optimizer = make([parameter])
    parameter.grad = torch.tensor([1.0, -2.0, 0.0])
    optimizer.step()
    reopened = make([parameter])
    torch.save(optimizer.state_dict(), file := io.BytesIO())
    file.seek(0)
    reopened.load_state_dict(torch.load(file, weights_only=True))
    after, again = (optimizers.named_state(o, {"w": parameter})[1] for o in (optimizer, reopened))
    assert all(torch.equal(after[slot]["w"], again[slot]["w"]) for slot in after)
    assert any(after[slot]["w"].any() for slot in after)


def test_a_formula_takes_a_closure_and_leaves_parameters_without_gradient_alone():
    used, unused = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = optimizers.momentum([used, unused], 0.5, beta=0.0)

    def closure():
        optimizer.zero_grad()
        cost = (used**2).sum()
        cost.backward()
        return cost

    assert optimizer.step(closure).item() == 1.0
    assert (used.item(), unused.item()) == (0.0, 1.0)


def test_costs_and_gradients_leave_grad_alone_and_the_history_keeps_no_live_tensor():
    x, y = blobs()
    model = classifier()
    gradients_with(training, model, x, y, loss="categorical_cross_entropy", input_gradient=True)
    assert all(w.grad is None for w in model.parameters())
    assert not x.requires_grad
    optimizer = optimizers.adam(model.parameters(), 0.01)
    history = train(model, x, y, optimizer=optimizer, checkpoint_epochs=(1, 3))
    first_moment = history.optimizer_state.slots["first_moment"]["W1"].clone()
    after = {name: w.clone() for name, w in history.parameters.items()}
    train(model, x, y, optimizer=optimizer)
    assert all(torch.equal(history.parameters[name], w) for name, w in after.items())
    assert all(torch.equal(history.checkpoints[3][name], w) for name, w in after.items())
    assert not torch.equal(history.checkpoints[1]["W1"], after["W1"])
    assert torch.equal(history.optimizer_state.slots["first_moment"]["W1"], first_moment)


def test_predictions_carry_no_graph_and_intermediates_end_in_them():
    x, _ = blobs()
    model = classifier()
    values = models.intermediates(model, x)
    assert list(values) == ["Z1", "A1", "Z2", "A2"]
    assert torch.equal(values["A2"], models.predict(model, x))
    assert torch.equal(values["Z2"].argmax(dim=1), models.predict_classes(model, x))
    assert not any(value.requires_grad for value in values.values())


def test_a_constant_feature_keeps_its_scale_whatever_its_mean_rounds_to():
    for examples in range(2, 40):
        x = torch.full((examples, 1), 0.1, dtype=torch.float64)
        assert normalization.standardization_statistics(x)[1].item() == 1.0


def test_standardisation_divides_by_the_number_of_examples():
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]], dtype=torch.float64)
    mean, deviation = normalization.standardization_statistics(x)
    expected = torch.stack([x[:, 0].std(correction=0), torch.ones((), dtype=x.dtype)])
    torch.testing.assert_close(deviation, expected, rtol=DRAWN * UNIT, atol=0)
    standardized = normalization.standardize(x, mean, deviation)
    squares = torch.tensor([1.0, 0.0], dtype=x.dtype)
    torch.testing.assert_close(standardized.square().mean(dim=0), squares, rtol=DRAWN * UNIT, atol=0)


ANOTHER_DEVICE = 2**23  # fifteen steps, with any optimizer, of sums in other orders and other elementary functions


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make", optimizers.OPTIMIZERS.values(), ids=optimizers.OPTIMIZERS)
def test_a_model_on_another_device_trains_the_same(make):
    x, y = blobs()
    here = classifier(keep_probability=0.5)
    there = copy.deepcopy(here).cuda()
    draws = {
        "batch_order": np.stack([np.random.default_rng(0).permutation(23) for _ in range(3)]),
        "dropout_masks": {1: np.random.default_rng(1).random((3, 23, 6)) < 0.5},
    }
    expected = train(here, x, y, optimizer=make(here.parameters()), **draws)
    history = train(there, x.cuda(), y.cuda(), optimizer=make(there.parameters()), **draws)
    np.testing.assert_allclose(history.costs, expected.costs, rtol=ANOTHER_DEVICE * UNIT)
    assert len(train(there, x.cuda(), y.cuda(), optimizer=make(there.parameters())).costs) == 15
