"""``fit`` of ``impl_torch`` beside the reference's, both fed the same draws, with each of its keywords.

What is compared here is exact: names, shapes, counts, rates, which epoch was best. The numbers of a training are
compared by the harness, which measures how far rounding takes them.
"""

import numpy as np
import pytest
import torch

from impl_torch import models, optimizers, regularizers, schedules, training
from impl_torch.training import augment
from reference_numpy import models as reference_models
from reference_numpy import optimizers as reference_optimizers
from reference_numpy import regularizers as reference_regularizers
from reference_numpy import schedules as reference_schedules
from reference_numpy import training as reference_training
from reference_numpy.training import augment as reference_augment
from tests.training_settings import fit_with

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
    "frozen biases": ({}, {"frozen_biases": True}, {"clipping": lambda r: r.clip_by_global_norm(0.1)}),
    "no biases": ({"bias": False}, {}, {}),
    "sum": ({}, {"reduction": "sum"}, {"penalties": lambda r: (r.l2(0.1),)}),
    "selu": ({"activation": "selu"}, {}, {}),
    "softsign": ({"activation": "softsign"}, {}, {}),
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
    """``(history, model, expected)`` of the same training in both packages."""
    ours, theirs, parameters, train, held_out, tape, generator = problem(model_options)
    rule = {"loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": 4, "checkpoint_epochs": (1, 2, EPOCHS)}
    rule |= tape | options
    if "augmentations" in made:
        rule["augmentation_draws"] = draws(generator, made["augmentations"](reference_regularizers))
    expected = fit_with(
        reference_training, theirs, parameters, *train, optimizer=reference_optimizers.OPTIMIZERS[optimizer](rate),
        validation=held_out, schedule=reference_schedules.exponential(rate), **rule,
        **{name: make(reference_regularizers) for name, make in made.items()},
    )  # fmt: skip
    rules = training.Update(
        None, frozen_layers=options.get("frozen_layers", 0), frozen_biases="frozen_biases" in options
    )
    trained = rules.trained(ours.parameter_dict(), ours.depth)
    history = fit_with(
        training, ours, *map(torch.tensor, train), optimizer=optimizers.OPTIMIZERS[optimizer](trained.values(), rate),
        validation=tuple(map(torch.tensor, held_out)), schedule=schedules.exponential(rate), **rule,
        **{name: make(regularizers) for name, make in made.items()},
    )  # fmt: skip
    return history, ours, expected


def names(value):
    """What a history holds under which names and in which shapes."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: names(held) for name, held in value.items()}
    return tuple(np.shape(value))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_history_is_made_as_the_reference_s_and_is_what_the_model_holds(case):
    history, model, expected = train_both(*case)
    assert names(history) == names(expected)
    assert list(history.parameters) == list(expected.parameters)
    assert np.array_equal(history.learning_rates, expected.learning_rates)
    assert history.best_epoch == expected.best_epoch
    assert history.optimizer_state.step == expected.optimizer_state.step
    for kept, held in ((history.parameters, model.parameter_dict()), (history.statistics, model.statistics_dict())):
        assert list(kept) == list(held)
        assert all(torch.equal(w, held[name]) for name, w in kept.items())


@pytest.mark.parametrize("optimizer", optimizers.OPTIMIZERS)
def test_a_state_has_the_slots_of_the_reference_s(optimizer):
    history, _, expected = train_both({}, {"frozen_layers": 1}, {}, optimizer, 0.01)
    assert names(history.optimizer_state) == names(expected.optimizer_state)
    assert list(history.optimizer_state.slots) == list(expected.optimizer_state.slots)


def test_early_stopping_ends_training_and_brings_the_best_epoch_back():
    model_options, options, made = CASES["early stopping"]
    history, model, _ = train_both(model_options, options, made)
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
    fit_with(
        training, ours, *map(torch.tensor, train), loss="categorical_cross_entropy", optimizer=optimizer, epochs=2,
        batch_size=4, frozen_layers=2, **tape,
    )  # fmt: skip
    for name, w in ours.parameter_dict().items():
        assert np.array_equal(w.detach().numpy(), parameters[name]) == (int(name[-1]) <= 2)
        assert w.requires_grad
    assert not torch.equal(ours.statistics_dict()["running_mean1"], before)  # no parameter: it goes on
    trained = {id(w) for name, w in ours.parameter_dict().items() if int(name[-1]) > 2}
    assert {id(w) for w in optimizer.state} == trained


def test_a_user_s_own_draws_repeat_with_the_seed():
    made = (regularizers.gaussian_noise(), regularizers.random_flip((2, 3)), regularizers.random_shift((2, 3)))
    histories = []
    for seed in (3, 3, 4):
        ours, _, _, train, _, _, _ = problem({})
        histories.append(
            fit_with(
                training, ours, *map(torch.tensor, train), loss="categorical_cross_entropy", epochs=2, seed=seed,
                optimizer=optimizers.adam(ours.parameters()), augmentations=made,
            )
        )  # fmt: skip
    np.testing.assert_array_equal(histories[0].costs, histories[1].costs)
    assert not np.isclose(histories[0].costs, histories[2].costs).any()


def test_augmentations_follow_each_other_and_keep_the_dtype(agrees):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((EXAMPLES, FEATURES)).astype(np.float32)
    theirs = (reference_regularizers.gaussian_noise(scale=0.5), reference_regularizers.random_shift((2, 3)))
    ours = (regularizers.gaussian_noise(scale=0.5), regularizers.random_shift((2, 3)))
    drawn = [augmentation.draw(generator, EXAMPLES, FEATURES) for augmentation in theirs]
    found = augment(torch.tensor(x), ours, list(map(torch.tensor, drawn)))
    assert found.dtype == torch.float32
    noise, shifts = drawn
    agrees(found.numpy(), lambda x, noise: reference_augment(x, theirs, [noise, shifts]), x, noise)


@pytest.mark.parametrize(
    "options",
    [{"frozen_layers": 3}, {"frozen_layers": -1}, {"early_stopping": regularizers.early_stopping()}, {"epochs": 0}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_of_fit_are_refused_in_the_reference_s_words(options):
    ours, theirs, parameters, train, _, _, _ = problem({})
    messages = []
    for call in (
        lambda o: fit_with(
            training, ours, *map(torch.tensor, train), optimizer=optimizers.adam(ours.parameters()), **o
        ),
        lambda o: fit_with(reference_training, theirs, parameters, *train, optimizer=reference_optimizers.adam(), **o),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole messages are compared
            call({"loss": "categorical_cross_entropy"} | options)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
