"""What a training of ``impl_torch`` starts from: everything fresh, or exactly where an earlier one ended."""

import copy

import numpy as np
import pytest
import torch
from torch import nn, optim

from impl_torch import models, optimizers, regularizers, schedules, training
from impl_torch.optimizers import OptimizerState
from tests.training_settings import fit_with, gradients_with

EXAMPLES, EPOCHS, BATCH = 11, 4, 4  # three steps an epoch, the last of three examples

SCHEDULES = {
    "no schedule": {},
    "by step": {"schedule": schedules.exponential(0.05, base=0.9), "schedule_unit": "step"},
    "by epoch": {"schedule": schedules.inverse_time(0.05), "schedule_unit": "epoch"},
}
TAPE = {
    "batch_order": np.stack([np.random.default_rng(e).permutation(EXAMPLES) for e in range(EPOCHS)]),
    "dropout_masks": {1: np.random.default_rng(9).random((EPOCHS, EXAMPLES, 6)) < 0.7},
}
OPTIMIZERS = {
    **optimizers.OPTIMIZERS,
    "SGD": lambda p, rate: optimizers.momentum(p, rate, accumulation="sum", dampening=0.5, weight_decay=0.1),
    "AMSGrad": lambda p, rate: optimizers.adam(p, rate, amsgrad="raw_max"),
    "Adagrad from 0.1": lambda p, rate: optimizers.adagrad(p, rate, initial_accumulator=0.1),
    "PyTorch's NAdam": lambda p, rate: optim.NAdam(p, lr=rate),
    "PyTorch's ASGD": lambda p, rate: optim.ASGD(p, lr=rate),
    "PyTorch's fused Adagrad": lambda p, rate: optim.Adagrad(p, lr=rate, fused=True),
}


def data(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(EXAMPLES, 4, generator=generator, dtype=dtype), torch.arange(EXAMPLES) % 3


def network(dtype=torch.float64, **options):
    options = {"normalization": "batch_norm", "keep_probability": (0.7, 1.0)} | options
    model = models.softmax_classifier((4, 6, 5, 3), **options)
    return models.initialize(model, torch.Generator().manual_seed(2), dtype=dtype)


def train(model, optimizer, **options):
    rule = {"loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": BATCH} | options
    return fit_with(training, model, *data(model.layers[0].weight.dtype), optimizer=optimizer, **rule)


def rows(tape, chosen):
    """These epochs of a tape."""
    if not tape:
        return {}
    masks = {layer: drawn[chosen] for layer, drawn in tape["dropout_masks"].items()}
    return {"batch_order": tape["batch_order"][chosen], "dropout_masks": masks}


def assert_same(one, other):
    """Bit for bit, whatever they are made of."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, (tuple, list)):
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    else:
        assert np.array_equal(one, other)


def assert_two_halves_are_the_whole(make, tape, dtype=torch.float64, **options):
    whole = network(dtype)
    expected = train(whole, make(whole.parameters(), 0.05), **tape, **options)
    model = network(dtype)
    first = train(model, make(model.parameters(), 0.05), epochs=1, **rows(tape, slice(0, 1)), **options)
    again = network(dtype)
    again.load_state_dict(model.state_dict())
    models.initialize(model, None)  # what the first half used is gone: all that matters is in its history
    second = train(
        again, make(again.parameters(), 0.05), epochs=EPOCHS - 1, optimizer_state=first.optimizer_state,
        statistics=first.statistics, **rows(tape, slice(1, None)), **options,
    )  # fmt: skip
    for curve in ("costs", "learning_rates", "gradient_norms"):
        halves = np.concatenate([getattr(first, curve), getattr(second, curve)])
        assert np.array_equal(halves, getattr(expected, curve)), curve
    for part in ("parameters", "optimizer_state", "statistics"):
        assert_same(getattr(second, part), getattr(expected, part))
    assert second.optimizer_state.step == 3 * EPOCHS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("tape", [TAPE, {}], ids=["tape", "seed"])
def test_two_halves_are_the_whole_to_the_bit(tape, schedule, dtype):
    assert_two_halves_are_the_whole(optimizers.adam, tape, dtype, **schedule)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_two_halves_with_any_optimizer_are_the_whole(make):
    assert_two_halves_are_the_whole(make, {}, seed=3)


def test_two_halves_with_augmentations_and_every_gradient_changed_are_the_whole():
    assert_two_halves_are_the_whole(
        optimizers.nadam, {}, augmentations=(regularizers.gaussian_noise(), regularizers.random_flip((2, 2))),
        clipping=regularizers.clip_by_global_norm(0.1), constraint=regularizers.max_norm(0.9), frozen_biases=True,
        frozen_layers=1, reduction="sum",
    )  # fmt: skip


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_second_fit_with_the_same_objects_equals_the_first(make):
    model = network()
    optimizer = make(model.parameters(), 0.05)
    start = copy.deepcopy(dict(model.parameter_dict()))
    histories = []
    for _ in range(2):
        with torch.no_grad():
            for name, w in model.parameter_dict().items():
                w.copy_(start[name])
        histories.append(train(model, optimizer, schedule=schedules.exponential(0.05)))
        assert [group["lr"] for group in optimizer.param_groups] == [0.05]
    assert_same(*map(tuple, histories))


def test_learning_rates_are_left_as_found_even_by_a_training_that_fails():
    model = network()
    weights = [w for name, w in model.parameter_dict().items() if name.startswith("W")]
    others = [w for name, w in model.parameter_dict().items() if not name.startswith("W")]
    optimizer = optim.Adam([{"params": weights, "lr": 0.3}, {"params": others, "lr": 0.2}])
    with pytest.raises(ValueError, match="labels span"):
        fit_with(
            training, model, data()[0], data()[1] + 1, loss="categorical_cross_entropy", optimizer=optimizer,
            schedule=schedules.constant(1.0),
        )  # fmt: skip
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.2]
    assert set(train(model, optimizer, schedule=schedules.constant(0.1)).learning_rates) == {0.1}
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.2]


def test_epochs_are_drawn_each_by_itself_and_another_seed_draws_others():
    costs = {}
    for seed in (0, 1):
        model = network(normalization=None)
        frozen = optimizers.gradient_descent(model.parameters(), 0.0)
        costs[seed] = train(model, frozen, seed=seed, batch_size=None).costs
    assert len({*costs[0], *costs[1]}) == 2 * EPOCHS  # each epoch has masks of its own


def test_what_is_drawn_is_keyed_by_the_seed_and_the_epoch_together():
    from impl_torch.training import _generator

    drawn = {torch.rand(1, generator=_generator(seed, epoch, "cpu")).item() for seed in range(9) for epoch in range(9)}
    assert len(drawn) == 81
    bits = int(np.random.SeedSequence((3, 4)).generate_state(1, np.uint64)[0]) >> 1
    assert _generator(3, 4, "cpu").initial_seed() == bits


def test_the_state_of_a_history_has_the_reference_s_names_and_is_a_copy():
    model = network()
    optimizer = optimizers.adam(model.parameters(), 0.05)
    history = train(model, optimizer, frozen_layers=1)
    assert isinstance(history.optimizer_state, OptimizerState)
    assert history.optimizer_state.step == 3 * EPOCHS
    assert list(history.optimizer_state.slots) == ["first_moment", "second_moment"]
    for arrays in history.optimizer_state.slots.values():
        assert list(arrays) == [name for name in model.parameter_dict() if name[-1] != "1"]
    before = copy.deepcopy(history)
    state, statistics = history.optimizer_state, history.statistics
    train(model, optimizer, frozen_layers=1, optimizer_state=state, statistics=statistics)
    assert_same(tuple(history), tuple(before))


def test_a_foreign_optimizer_s_slots_have_their_own_names():
    model = network()
    state = train(model, optim.NAdam(model.parameters(), lr=0.01)).optimizer_state
    assert (state.step, sorted(state.slots)) == (3 * EPOCHS, ["exp_avg", "exp_avg_sq", "mu_product"])


def test_arrays_of_numpy_go_on_just_as_well():
    ends = []
    for convert in (lambda tensor: tensor, lambda tensor: tensor.numpy()):
        model = network()
        first = train(model, optimizers.adam(model.parameters(), 0.05), epochs=1)
        state = OptimizerState(
            np.int64(first.optimizer_state.step),
            {slot: {n: convert(a) for n, a in arrays.items()} for slot, arrays in first.optimizer_state.slots.items()},
        )
        statistics = {name: convert(average) for name, average in first.statistics.items()}
        fresh = optimizers.adam(model.parameters(), 0.05)
        ends.append(train(model, fresh, epochs=1, optimizer_state=state, statistics=statistics).parameters)
    assert_same(*ends)


def state_of(model, **changes):
    shapes = {name: w.shape for name, w in model.parameter_dict().items()} | changes
    return {"velocity": {name: torch.zeros(shape) for name, shape in shapes.items() if shape is not None}}


NAMES = "W1, b1, W2, b2"
REFUSED = {
    "optimizer_state has no slot 'velocity': must hold velocity": lambda m: {"optimizer_state": OptimizerState(1, {})},
    f"optimizer_state, slot 'velocity', has no 'b1': must hold {NAMES}": (
        lambda m: {"optimizer_state": OptimizerState(1, state_of(m, b1=None))}
    ),
    "optimizer_state, slot 'velocity', 'b1' has shape (7,): must be (5,)": (
        lambda m: {"optimizer_state": OptimizerState(1, state_of(m, b1=(7,)))}
    ),
    "optimizer_state.step=-1 is not allowed: must be an integer >= 0": (
        lambda m: {"optimizer_state": OptimizerState(-1, state_of(m))}
    ),
    "optimizer_state.step=1.5 is not allowed: must be an integer >= 0": (
        lambda m: {"optimizer_state": OptimizerState(1.5, state_of(m))}
    ),
    "frozen_biases='yes' is not allowed: must be one of False, True": lambda m: {"frozen_biases": "yes"},
    "reduction='other' is not allowed: must be one of 'mean', 'sum'": lambda m: {"reduction": "other"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_state_that_does_not_fit_is_refused_and_nothing_is_changed(message):
    model = models.softmax_classifier((4, 5, 3)).double()
    optimizer = optimizers.momentum(model.parameters(), 0.1, accumulation="sum")
    train(model, optimizer)
    before = copy.deepcopy((model.state_dict(), optimizers.named_state(optimizer, model.parameter_dict())))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        train(model, optimizer, **REFUSED[message](model))
    assert str(caught.value) == message
    assert_same((model.state_dict(), optimizers.named_state(optimizer, model.parameter_dict())), before)


def test_statistics_that_do_not_fit_are_refused():
    model = network()
    optimizer = optimizers.adam(model.parameters())
    every = ", ".join(model.statistics_dict())
    good = models.initial_statistics(model)
    for statistics, message in (
        ({}, f"statistics has no 'running_mean1': must hold {every}"),
        (good | {"running_variance2": torch.ones(1)}, "statistics 'running_variance2' has shape (1,): must be (5,)"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
            train(model, optimizer, statistics=statistics)
        assert str(caught.value) == message
    with pytest.raises(ValueError, match="reduction='max' is not allowed: must be one of 'mean', 'sum'"):
        gradients_with(training, model, *data(), loss="categorical_cross_entropy", reduction="max")


def test_frozen_biases_are_neither_trained_nor_counted_nor_clipped_nor_given_to_the_optimizer():
    seen = []

    def clipping(gradients):
        seen.append(list(gradients))
        return regularizers.clip_by_global_norm(0.01)(gradients)

    model = network(normalization="layer_norm", keep_probability=1.0)
    start = copy.deepcopy(dict(model.parameter_dict()))
    expected = gradients_with(training, model, *data(), loss="categorical_cross_entropy").gradients
    optimizer = optimizers.adamw(model.parameters(), 0.1, weight_decay=0.5)
    history = train(model, optimizer, frozen_biases=True, clipping=clipping, batch_size=None)
    trained = [name for name in start if name not in ("b1", "b2", "b3")]
    assert seen[0] == trained
    for name, w in history.parameters.items():
        assert torch.equal(w, start[name]) == (name not in trained), name
    squares = sum(float(g.square().sum()) for name, g in expected.items() if name in trained)
    assert history.gradient_norms[0] == pytest.approx(squares**0.5, rel=ROUNDOFFS * 2.0**-53)
    assert all(list(arrays) == trained for arrays in history.optimizer_state.slots.values())
    assert {id(w) for w in optimizer.state} == {id(model.parameter_dict()[name]) for name in trained}


ROUNDOFFS = 64  # sums of some dozens of squares, in two orders


def test_the_sum_of_losses_is_the_mean_times_the_examples_and_penalties_stay():
    model, (x, y) = network(), data()
    rule = {"loss": "categorical_cross_entropy", "penalties": (regularizers.l2(0.3),)}
    mean, total = (gradients_with(training, model, x, y, reduction=r, **rule) for r in ("mean", "sum"))
    bare = gradients_with(training, model, x, y, loss="categorical_cross_entropy").gradients
    close = {"rtol": ROUNDOFFS * 2.0**-53, "atol": ROUNDOFFS * 2.0**-53}
    assert torch.equal(total.penalty, mean.penalty)
    torch.testing.assert_close(total.data_loss, EXAMPLES * mean.data_loss, **close)
    for name, g in total.gradients.items():
        torch.testing.assert_close(g, EXAMPLES * bare[name] + (mean.gradients[name] - bare[name]), **close)


def test_the_validation_cost_follows_the_reduction():
    costs = {}
    for reduction in ("mean", "sum"):
        model = network(normalization=None)
        still = optimizers.gradient_descent(model.parameters(), 0.0)
        costs[reduction] = train(model, still, epochs=1, reduction=reduction, validation=data()).validation_costs
    np.testing.assert_allclose(costs["sum"], EXAMPLES * costs["mean"], rtol=ROUNDOFFS * 2.0**-53)


def test_running_averages_start_afresh_or_from_what_is_given():
    model = network()
    models.update_statistics(model, 5 + data()[0])
    still = optimizers.gradient_descent(model.parameters(), 0.0)
    rule = {"epochs": 1, "batch_size": None, "dropout_masks": {}}
    fresh = train(model, still, **rule).statistics
    assert_same(fresh, train(model, still, **rule).statistics)
    given = {name: average + 1 for name, average in fresh.items()}
    goes_on = train(model, still, statistics=given, **rule).statistics
    assert not torch.equal(goes_on["running_mean1"], fresh["running_mean1"])
    assert torch.equal(given["running_mean1"], fresh["running_mean1"] + 1)


def test_a_parameter_that_the_optimizer_alone_holds_is_left_to_it():
    model, extra = network(), nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = optimizers.adagrad([*model.parameters(), extra], 0.1)
    train(model, optimizer)
    extra.grad = torch.ones_like(extra)
    optimizer.step()  # Adagrad needs its state for every parameter: the reset made it anew
    assert (extra < 1).all()
