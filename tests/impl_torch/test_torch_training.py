"""``fit`` of ``impl_torch`` beside the reference's, both fed the same draws, with each of its keywords."""

import numpy as np
import pytest
import torch

from impl_torch import models, optimizers, regularizers, schedules
from impl_torch.training import augment, fit
from reference_numpy import models as reference_models
from reference_numpy import optimizers as reference_optimizers
from reference_numpy import regularizers as reference_regularizers
from reference_numpy import schedules as reference_schedules
from reference_numpy.training import augment as reference_augment
from reference_numpy.training import fit as reference_fit

EXAMPLES, FEATURES, EPOCHS = 11, 6, 4

# Each case: keywords of the model, keywords of fit for both, and those made by a package's regularizers.
CASES = {
    "plain": ({}, {}, {}),
    "clip_by_value": ({}, {}, {"clipping": lambda r: r.clip_by_value(0.05)}),
    "clip_by_norm": ({}, {}, {"clipping": lambda r: r.clip_by_norm(0.1)}),
    "clip_by_global_norm": ({}, {}, {"clipping": lambda r: r.clip_by_global_norm(0.1)}),
    "max_norm": ({}, {}, {"constraint": lambda r: r.max_norm(0.8)}),
    "penalties": ({}, {}, {"penalties": lambda r: (r.l1(0.1), r.elastic_net(0.2, convention="half"))}),
    "frozen": ({}, {"frozen_layers": 1}, {"clipping": lambda r: r.clip_by_global_norm(0.1)}),
    "frozen, batch norm": (
        {"normalization": "batch_norm"}, {"frozen_layers": 2}, {"constraint": lambda r: r.max_norm(0.5)}
    ),
    "weights": ({}, {"example_weights": np.linspace(0.1, 2.0, EXAMPLES)}, {}),
    "smoothed weights": (
        {}, {"example_weights": np.linspace(0.1, 2.0, EXAMPLES),
             "loss_options": {
                 "label_smoothing": 0.1, "class_weights": (1.0, 2.0, 0.5), "weight_denominator": "weights"}},
        {},
    ),
    "batch norm": ({"normalization": "batch_norm", "activation": "elu"}, {}, {}),
    "layer norm": ({"normalization": "layer_norm", "activation": "gelu"}, {}, {}),
    "noise": ({}, {}, {"augmentations": lambda r: (r.gaussian_noise(scale=0.2),)}),
    "images": ({}, {}, {"augmentations": lambda r: (r.random_flip((2, 3)), r.random_shift((2, 3)))}),
    "early stopping": (
        {"normalization": "batch_norm"}, {},
        {"early_stopping": lambda r: r.early_stopping(patience=1, min_delta=0.2)},
    ),
    "early stopping without restoring": ({}, {}, {"early_stopping": lambda r: r.early_stopping(
        patience=1, min_delta=0.5, restore_best=False)}),
}  # fmt: skip


def draws(generator, augmentations):
    """What the reference's ``augmentations`` draw for every epoch."""
    return [
        np.stack([augmentation.draw(generator, EXAMPLES, FEATURES) for _ in range(EPOCHS)])
        for augmentation in augmentations
    ]


def problem(model_options, seed=0):
    """Both models with the same parameters, data, and what else is random."""
    generator = np.random.default_rng(seed)
    options = {"keep_probability": (0.8, 1.0)} | model_options
    theirs = reference_models.softmax_classifier((FEATURES, 5, 4, 3), **options)
    parameters = reference_models.initialize(theirs, generator)
    ours = models.softmax_classifier((FEATURES, 5, 4, 3), **options).double()
    with torch.no_grad():
        for name, w in ours.parameter_dict().items():
            w.copy_(torch.tensor(parameters[name]))
    x, y = generator.standard_normal((2 * EXAMPLES, FEATURES)), np.arange(2 * EXAMPLES) % 3
    tape = {
        "batch_order": np.stack([generator.permutation(EXAMPLES) for _ in range(EPOCHS)]),
        "dropout_masks": {1: generator.random((EPOCHS, EXAMPLES, 5)) < 0.8},
    }
    return ours, theirs, parameters, (x[:EXAMPLES], y[:EXAMPLES]), (x[EXAMPLES:], y[EXAMPLES:]), tape, generator


def train_both(model_options, options, made, optimizer="adam", rate=0.02):
    """``(history, expected, model, state)`` of the same training in both packages."""
    ours, theirs, parameters, train, held_out, tape, generator = problem(model_options)
    rule = {"loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": 4, "checkpoint_epochs": (1, 2, EPOCHS)}
    rule |= tape | options
    if "augmentations" in made:
        rule["augmentation_draws"] = draws(generator, made["augmentations"](reference_regularizers))
    expected = reference_fit(
        theirs, parameters, *train, optimizer=reference_optimizers.OPTIMIZERS[optimizer](rate), validation=held_out,
        schedule=reference_schedules.exponential(rate), **rule,
        **{name: make(reference_regularizers) for name, make in made.items()},
    )  # fmt: skip
    trained = ours.parameter_dict(options.get("frozen_layers", 0))
    state = optimizers.OPTIMIZERS[optimizer](trained.values(), rate)
    history = fit(
        ours, *map(torch.tensor, train), optimizer=state, validation=tuple(map(torch.tensor, held_out)),
        schedule=schedules.exponential(rate), **rule,
        **{name: make(regularizers) for name, make in made.items()},
    )  # fmt: skip
    return history, expected, ours, optimizers.named_state(state, trained)[1]


def close(found, expected, name=""):
    """A dozen steps at unit roundoff 1e-16 beside numbers of size 1, each of some hundred roundings."""
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else found
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_training_is_the_reference_s(case):
    history, expected, model, slots = train_both(*case)
    for curve in ("costs", "learning_rates", "gradient_norms", "validation_costs"):
        close(getattr(history, curve), getattr(expected, curve), curve)
    assert history.best_epoch == expected.best_epoch
    assert history.checkpoints.keys() == expected.checkpoints.keys()
    pairs = [(history.parameters, expected.parameters), (history.statistics, expected.statistics)]
    pairs += [(history.checkpoints[epoch], expected.checkpoints[epoch]) for epoch in expected.checkpoints]
    pairs += [(slots[slot], arrays) for slot, arrays in expected.optimizer_state.slots.items()]
    pairs += [(model.parameter_dict(), expected.parameters), (model.statistics_dict(), expected.statistics)]
    for found, arrays in pairs:
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            close(found[name], array, name)


@pytest.mark.parametrize("optimizer", optimizers.OPTIMIZERS)
def test_training_with_any_optimizer_is_the_reference_s(optimizer):
    history, expected, _, slots = train_both({}, {"frozen_layers": 1}, {}, optimizer, 0.01)
    close(history.costs, expected.costs)
    assert list(slots) == list(expected.optimizer_state.slots)
    for name, array in expected.parameters.items():
        close(history.parameters[name], array, name)


@pytest.mark.parametrize("case", [name for name in CASES if name != "plain"])
def test_every_case_changes_the_training(case):
    plain = train_both(*CASES["plain"])[1]
    changed = train_both(*CASES[case])[1]
    same_length = len(changed.costs) == len(plain.costs)
    assert not (same_length and np.allclose(changed.parameters["W3"], plain.parameters["W3"], rtol=1e-6))


def test_early_stopping_ends_training_and_brings_the_best_epoch_back():
    model_options, options, made = CASES["early stopping"]
    history, _, model, _ = train_both(model_options, options, made)
    assert (history.best_epoch, len(history.validation_costs)) == (2, 3)
    assert len(history.costs) == 3 * len(history.validation_costs)
    for name, w in history.checkpoints[history.best_epoch].items():
        assert torch.equal(history.parameters[name], w)
        assert torch.equal(model.parameter_dict()[name], w)
    assert not torch.equal(history.checkpoints[1]["W1"], history.parameters["W1"])


def test_frozen_layers_keep_their_parameters_even_with_a_gradient_left_over_and_one_optimizer_for_all():
    ours, _, parameters, train, _, tape, _ = problem({"normalization": "batch_norm"})
    ours.parameter_dict()["W1"].grad = torch.ones_like(ours.parameter_dict()["W1"])
    optimizer = optimizers.adamw(ours.parameters(), 0.1, weight_decay=0.5)
    before = ours.statistics_dict()["running_mean1"].clone()
    fit(
        ours, *map(torch.tensor, train), loss="categorical_cross_entropy", optimizer=optimizer, epochs=2, batch_size=4,
        frozen_layers=2, **tape,
    )  # fmt: skip
    for name, w in ours.parameter_dict().items():
        assert np.array_equal(w.detach().numpy(), parameters[name]) == (int(name[-1]) <= 2)
        assert w.requires_grad
    assert not torch.equal(ours.statistics_dict()["running_mean1"], before)  # no parameter: it goes on
    trained = {id(w) for w in ours.parameter_dict(2).values()}
    assert {id(w) for w in optimizer.state} == trained


def test_a_user_s_own_draws_repeat_with_the_seed():
    made = (regularizers.gaussian_noise(), regularizers.random_flip((2, 3)), regularizers.random_shift((2, 3)))
    histories = []
    for seed in (3, 3, 4):
        ours, _, _, train, _, _, _ = problem({})
        histories.append(
            fit(
                ours, *map(torch.tensor, train), loss="categorical_cross_entropy", epochs=2, seed=seed,
                optimizer=optimizers.adam(ours.parameters()), augmentations=made,
            )
        )  # fmt: skip
    np.testing.assert_array_equal(histories[0].costs, histories[1].costs)
    assert not np.isclose(histories[0].costs, histories[2].costs).any()


def test_augmentations_follow_each_other_and_keep_the_dtype():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((EXAMPLES, FEATURES)).astype(np.float32)
    theirs = (reference_regularizers.gaussian_noise(scale=0.5), reference_regularizers.random_shift((2, 3)))
    ours = (regularizers.gaussian_noise(scale=0.5), regularizers.random_shift((2, 3)))
    drawn = [augmentation.draw(generator, EXAMPLES, FEATURES) for augmentation in theirs]
    found = augment(torch.tensor(x), ours, list(map(torch.tensor, drawn)))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), reference_augment(x, theirs, drawn), rtol=2.0**-23)


@pytest.mark.parametrize(
    "options",
    [{"frozen_layers": 3}, {"frozen_layers": -1}, {"early_stopping": regularizers.early_stopping()}, {"epochs": 0}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_of_fit_are_refused_in_the_reference_s_words(options):
    ours, theirs, parameters, train, _, _, _ = problem({})
    messages = []
    for call in (
        lambda o: fit(ours, *map(torch.tensor, train), optimizer=optimizers.adam(ours.parameters()), **o),
        lambda o: reference_fit(theirs, parameters, *train, optimizer=reference_optimizers.adam(), **o),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole messages are compared
            call({"loss": "categorical_cross_entropy"} | options)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
