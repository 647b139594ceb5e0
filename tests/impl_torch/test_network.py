"""Networks of layers as models of ``impl_torch``: the reference's numbers, and what is PyTorch's own about them."""

import copy
import doctest
import io
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impl_torch import _layer, layers, models, optimizers, regularizers, schedules, training
from impl_torch import network as module
from reference_numpy import layers as reference_layers
from reference_numpy import models as reference
from reference_numpy import optimizers as reference_optimizers
from reference_numpy import regularizers as reference_regularizers
from reference_numpy import schedules as reference_schedules
from reference_numpy import training as reference_training
from tests.training_settings import fit_with, gradients_with

EXAMPLES, EPOCHS, ENTRIES = 11, 2, 7
RTOL = 1e-12  # of float64, beside the largest number of a tensor

# Each network: its layers, made by a package's ``layers``; the shape of an example; whether its inputs are integers.
# No bias has a gradient that is 0 but for rounding, of which Adam would make whole steps.
NETWORKS = {
    "dense": (
        lambda r: [r.dense(6), r.activation("tanh"), r.dropout(0.7), r.dense(5), r.activation("relu"), r.dense(3)],
        (4,), False,
    ),
    "images": (
        lambda r: [
            r.convolution(4, (3, 3), padding="same", bias=False), r.batch_norm(momentum=0.6), r.activation("tanh"),
            r.residual(r.sequence(r.convolution(4, (3, 3), padding=1), r.dropout(0.8))), r.max_pool((2, 2)),
            r.flatten(), r.dense(3),
        ],
        (6, 6, 2), False,
    ),
    "batch norm everywhere": (
        lambda r: [
            r.dense(5, bias=False), r.residual(r.batch_norm(running_variance="unbiased")),
            r.parallel(r.sequence(r.dense(3, bias=False), r.batch_norm(epsilon=1e-2)), r.dense(2), join="concatenate"),
            r.activation("swish"), r.dense(3),
        ],
        (4,), False,
    ),
    "words": (
        lambda r: [
            r.embedding(ENTRIES, 4, mask_zero=True), r.dropout(0.8), r.lstm(4, return_sequences=True, biases=2),
            r.bidirectional(r.gru(3)), r.layer_norm(), r.dense(3),
        ],
        (5,), True,
    ),
    "attention": (
        lambda r: [
            r.embedding(ENTRIES, 4, mask_zero=True), r.positional_encoding(), r.residual(r.attention(2, bias=False)),
            r.layer_norm(), r.residual(r.sequence(r.dense(6), r.activation("gelu"), r.dropout(0.9), r.dense(4))),
            r.global_average_pool(), r.dense(3),
        ],
        (5,), True,
    ),
    "masked": (
        lambda r: [r.activation("relu"), r.masking(), r.sequence(r.dense(3), r.simple_rnn(4)), r.dense(3)],
        (5, 1), False,
    ),
}  # fmt: skip
everywhere = pytest.mark.parametrize("name", NETWORKS)


def tensors(arrays):
    return {name: torch.as_tensor(np.array(array)) for name, array in arrays.items()}


def close(found, expected, name=""):
    """Equal beside the largest number of the tensor, or beside 0.1 where all is smaller (attention's ``b_k``)."""
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    expected = np.asarray(expected)
    assert found.shape == expected.shape, name
    bound = RTOL * max(np.abs(expected).max(initial=0.0), 0.1)
    assert np.abs(found - expected).max(initial=0.0) <= bound, (name, np.abs(found - expected).max(), bound)


def all_close(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        close(found[name], array, name)


class Both:
    """A network in both packages with the same parameters, data and draws."""

    def __init__(self, name, seed=0):
        make, shape, integers = NETWORKS[name]
        generator = np.random.default_rng(seed)
        self.theirs = reference.network(make(reference_layers), shape, output="softmax")
        self.parameters = {
            path: w + 0.1 * generator.standard_normal(w.shape)
            for path, w in reference.initialize(self.theirs, generator).items()
        }
        self.ours = models.network(make(layers), shape, output="softmax").double()
        self.ours.load_parameters(self.parameters)
        shape = (2 * EXAMPLES, *shape)
        x = generator.integers(ENTRIES, size=shape) if integers else generator.standard_normal(shape)
        y = generator.integers(3, size=len(x))
        self.train, self.held_out = (x[:EXAMPLES], y[:EXAMPLES]), (x[EXAMPLES:], y[EXAMPLES:])
        self.integers = integers
        self.masks = self.theirs.draw_masks(generator, EXAMPLES)
        draws = [self.theirs.draw_masks(generator, EXAMPLES) for _ in range(EPOCHS)]
        self.tape = {
            "batch_order": np.stack([generator.permutation(EXAMPLES) for _ in range(EPOCHS)]),
            "dropout_masks": {path: np.stack([drawn[path] for drawn in draws]) for path in self.masks},
        }
        self.statistics = {
            path: generator.uniform(0.5, 2, a.shape) for path, a in reference.initial_statistics(self.theirs).items()
        }

    @property
    def x(self):
        return torch.tensor(self.train[0])

    def fit(self, *, made=None, optimizer="adam", rate=0.02, **options):
        """``(history, expected)`` of a training that both are fed the same draws for."""
        rule = {"loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": 4, **self.tape, **options}
        made = made or (lambda r: {})
        expected = fit_with(
            reference_training, self.theirs, self.parameters, *self.train,
            optimizer=reference_optimizers.OPTIMIZERS[optimizer](rate),
            validation=self.held_out, **rule, **made(reference_regularizers),
        )  # fmt: skip
        history = fit_with(
            training, self.ours, *map(torch.tensor, self.train),
            optimizer=optimizers.OPTIMIZERS[optimizer](self.ours.parameters(), rate),
            validation=tuple(map(torch.tensor, self.held_out)), **rule, **made(regularizers),
        )  # fmt: skip
        return history, expected


def same_history(found, expected):
    for part in ("costs", "learning_rates", "gradient_norms", "validation_costs"):
        close(getattr(found, part), getattr(expected, part), part)
    all_close(found.parameters, expected.parameters)
    all_close(found.statistics, expected.statistics)
    assert found.best_epoch == expected.best_epoch
    assert found.optimizer_state.step == expected.optimizer_state.step
    for slot, arrays in expected.optimizer_state.slots.items():
        all_close(found.optimizer_state.slots[slot], arrays)
    assert list(found.checkpoints) == list(expected.checkpoints)
    for epoch, parameters in expected.checkpoints.items():
        all_close(found.checkpoints[epoch], parameters)
        all_close(found.checkpoint_statistics[epoch], expected.checkpoint_statistics[epoch])


@everywhere
def test_the_interface_is_the_reference_s(name):
    both = Both(name)
    for attribute in ("depth", "outputs", "output", "input_shape", "logits_name", "output_name", "weight_names"):
        assert getattr(both.ours, attribute) == getattr(both.theirs, attribute), attribute
    assert list(both.ours.parameter_dict()) == list(both.parameters)
    assert [
        w is both.ours.parameter_dict()[n] for n, w in zip(both.ours.weight_names, both.ours.weights(), strict=True)
    ]
    initial = models.initial_statistics(both.ours)
    assert list(initial) == list(both.statistics)
    for path, average in reference.initial_statistics(both.theirs).items():
        assert np.array_equal(initial[path].numpy(), average)
    drawn = both.ours.draw_masks(torch.Generator().manual_seed(0), 4)
    assert {path: (4, *mask.shape[1:]) for path, mask in both.masks.items()} == {
        p: tuple(m.shape) for p, m in drawn.items()
    }


@pytest.mark.parametrize("make", ["network", "deep_network"])
def test_both_kinds_of_model_say_how_they_name_logits_outputs_and_weights(make):
    arguments = {"network": (layers.dense(3), (2,)), "deep_network": ((2, 5, 4, 3),)}[make]
    model = getattr(models, make)(*arguments)
    values = models.intermediates(model, torch.zeros(1, 2))
    expected = {"network": ("Z", "A", ("1.W",)), "deep_network": ("Z3", "A3", ("W1", "W2", "W3"))}[make]
    assert (model.logits_name, model.output_name, model.weight_names) == expected
    assert list(values)[-2:] == [*expected[:2]]


def test_masks_are_drawn_for_the_layers_that_drop():
    model = models.deep_network((2, 5, 4, 3), keep_probability=(1.0, 0.5))
    drawn = model.draw_masks(torch.Generator().manual_seed(0), 7)
    assert {layer: tuple(mask.shape) for layer, mask in drawn.items()} == {2: (7, 4)}
    assert torch.equal(
        drawn[2], regularizers.dropout_mask(torch.Generator().manual_seed(0), (7, 4), keep_probability=0.5)
    )


@everywhere
@pytest.mark.parametrize("training", [False, True])
def test_all_values_are_the_reference_s_and_predictions_too(name, training):
    both = Both(name)
    both.ours.load_statistics(both.statistics)
    x, masks = both.train[0], both.masks if training else None
    given = None if masks is None else tensors(masks)
    expected = reference.intermediates(both.theirs, both.parameters, x, both.statistics, masks=masks, training=training)
    found = models.intermediates(both.ours, both.x, masks=given, training=training)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        close(found[path], value, path)
    assert torch.equal(both.ours(both.x, given, training), found["Z"])
    predicted = reference.predict(both.theirs, both.parameters, x, both.statistics)
    close(models.predict(both.ours, both.x), predicted)
    labels = reference.predict_classes(both.theirs, both.parameters, x, both.statistics)
    assert np.array_equal(models.predict_classes(both.ours, both.x), labels)
    all_close(both.ours.statistics_dict(), both.statistics)


@everywhere
def test_running_averages_are_updated_as_the_reference_s(name):
    both = Both(name)
    both.ours.load_statistics(both.statistics)
    expected = reference.update_statistics(
        both.theirs, both.parameters, both.train[0], both.statistics, masks=both.masks
    )
    found = models.update_statistics(both.ours, both.x, masks=tensors(both.masks))
    all_close(found, expected)
    all_close(both.ours.statistics_dict(), expected)


@everywhere
@pytest.mark.parametrize("loss", ["categorical_cross_entropy", "categorical_cross_entropy_from_probabilities"])
def test_cost_and_gradients_are_the_reference_s(name, loss):
    both = Both(name)
    weights = np.linspace(0.5, 1.5, EXAMPLES)
    expected = gradients_with(
        reference_training, both.theirs, both.parameters, *both.train, loss=loss,
        penalties=(reference_regularizers.elastic_net(0.3),),
        masks=both.masks, example_weights=weights, input_gradient=True,
    )  # fmt: skip
    before = copy.deepcopy(both.ours.state_dict())
    found = gradients_with(
        training, both.ours, *map(torch.tensor, both.train), loss=loss, penalties=(regularizers.elastic_net(0.3),),
        masks=tensors(both.masks), example_weights=torch.tensor(weights), input_gradient=True,
    )  # fmt: skip
    for part in ("cost", "data_loss", "penalty"):
        close(getattr(found, part), getattr(expected, part), part)
    assert found.gradients.keys() == expected.gradients.keys() >= set(both.parameters)
    assert ("A0" in found.gradients) == (not both.integers)
    for path, gradient in expected.gradients.items():
        close(found.gradients[path], gradient, path)
    assert all(torch.equal(value, before[path]) for path, value in both.ours.state_dict().items())


@everywhere
def test_a_training_is_the_reference_s(name):
    both = Both(name)
    schedule = {"schedule_unit": "step", "checkpoint_epochs": (1, EPOCHS)}
    for mode in (True, False):  # whatever the mode
        both.ours.train(mode).load_parameters(both.parameters)
        history, expected = both.fit(schedule=reference_schedules.exponential(0.02), **schedule)
        same_history(history, expected)
        assert all(part.training == mode for part in both.ours.modules())
        for path, w in history.parameters.items():
            assert torch.equal(both.ours.parameter_dict()[path], w)
    assert schedules.exponential(0.02)(3) == reference_schedules.exponential(0.02)(3)


REGULARIZED = {
    "penalties": ({}, lambda r: {"penalties": (r.l1(0.1), r.elastic_net(0.2, convention="half"))}),
    "max-norm": ({"optimizer": "momentum", "rate": 0.5}, lambda r: {"constraint": r.max_norm(0.4)}),
    "clipping": ({}, lambda r: {"clipping": r.clip_by_global_norm(0.1)}),
    "frozen layers": ({"frozen_layers": 2}, lambda r: {"clipping": r.clip_by_norm(0.1)}),
    "frozen biases": ({"frozen_biases": True}, lambda r: {}),
    "sum": ({"reduction": "sum", "rate": 0.001}, lambda r: {"penalties": (r.l2(0.1),)}),
    "weights": ({"example_weights": np.linspace(0.1, 2.0, EXAMPLES)}, lambda r: {}),
}


@pytest.mark.parametrize("case", REGULARIZED.values(), ids=REGULARIZED)
@pytest.mark.parametrize("name", ["images", "words"])
def test_what_restrains_a_training_is_the_reference_s(name, case):
    both = Both(name)
    options, made = case
    history, expected = both.fit(made=made, **options)
    same_history(history, expected)
    still = {path for path, w in both.parameters.items() if np.array_equal(history.parameters[path], w)}
    frozen = {path for path in both.parameters if path[0] <= str(options.get("frozen_layers", 0))}
    if options.get("frozen_biases"):
        frozen |= {path for path in both.parameters if path.rpartition(".")[2] in ("b", "b_h")}
    assert still == frozen
    assert not any(set(arrays) & frozen for arrays in history.optimizer_state.slots.values())


def test_max_norm_is_of_all_that_lies_along_the_first_axis_of_every_weight():
    generator = torch.Generator().manual_seed(0)
    shapes = {"1.W": (3, 2, 2, 4), "1.b": (3,), "2.U": (4, 3), "3.W_q": (2, 5), "3.b_q": (2,), "4.gamma": (3,)}
    given = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    found = regularizers.max_norm(0.5)(given)
    for name, w in given.items():
        if name.rpartition(".")[2][0] in "WU":
            norms = torch.linalg.vector_norm(found[name].flatten(1), dim=1)
            torch.testing.assert_close(norms, torch.full_like(norms, 0.5))
            torch.testing.assert_close(found[name], torch.renorm(w, 2, 0, 0.5))
        else:
            assert torch.equal(found[name], w)


def test_early_stopping_ends_with_the_best_epoch_as_the_reference():
    both = Both("images")
    tape = {
        "batch_order": np.stack([np.arange(EXAMPLES)] * 6),
        "dropout_masks": {path: np.stack([mask] * 6) for path, mask in both.masks.items()},
    }
    stops = {"epochs": 6, "checkpoint_epochs": range(1, 7), "rate": 0.3, **tape}
    history, expected = both.fit(made=lambda r: {"early_stopping": r.early_stopping(patience=1)}, **stops)
    same_history(history, expected)
    assert history.best_epoch < len(history.validation_costs) < 6
    for path, w in history.checkpoints[history.best_epoch].items():
        assert torch.equal(both.ours.parameter_dict()[path], w)
    for path, average in history.checkpoint_statistics[history.best_epoch].items():
        assert torch.equal(both.ours.statistics_dict()[path], average)


@pytest.mark.parametrize("name", ["images", "words"])
def test_two_halves_are_the_whole(name):
    ends = []
    for halves in (1, 2):
        both, done = Both(name), {}
        for _ in range(halves):
            optimizer = optimizers.adam(both.ours.parameters(), 0.02)
            history = fit_with(
                training, both.ours, *map(torch.tensor, both.train), loss="categorical_cross_entropy",
                optimizer=optimizer, epochs=4 // halves, batch_size=4, seed=3, **done,
            )  # fmt: skip
            done = {"optimizer_state": history.optimizer_state, "statistics": history.statistics}
            models.initialize(both.ours, None)  # what matters is in the history
            both.ours.load_parameters(history.parameters)
        ends.append(history)
    whole, second = ends
    assert np.array_equal(whole.costs[len(second.costs) :], second.costs)
    for one, other in (
        (whole.parameters, second.parameters), (whole.statistics, second.statistics),
        *zip(whole.optimizer_state.slots.values(), second.optimizer_state.slots.values(), strict=True),
    ):  # fmt: skip
        assert list(one) == list(other)
        assert all(torch.equal(value, other[path]) for path, value in one.items())


def test_the_seed_decides_what_is_drawn_and_the_default_generator_stays():
    def costs(seed):
        both = Both("words")
        optimizer = optimizers.adam(both.ours.parameters(), 0.02)
        return fit_with(
            training, both.ours, *map(torch.tensor, both.train), loss="categorical_cross_entropy", optimizer=optimizer,
            batch_size=4, epochs=2, seed=seed,
        ).costs  # fmt: skip

    one = costs(1)
    state = torch.get_rng_state()
    both = Both("words")
    drawn = torch.get_rng_state()  # what making it drew
    torch.set_rng_state(state)
    assert np.array_equal(one, costs(1))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not np.isclose(one, costs(2)).any()
    assert both.ours.training


def test_images_are_augmented_as_the_reference_s_and_noise_has_their_shape():
    both = Both("images")
    noise = regularizers.gaussian_noise(scale=0.3)
    optimizer = optimizers.gradient_descent(both.ours.parameters(), 0.0)
    x, y = map(torch.tensor, both.train)
    draws = np.random.default_rng(0).standard_normal((1, EXAMPLES, 72))
    history = fit_with(
        training, both.ours, x, y, loss="categorical_cross_entropy", optimizer=optimizer, epochs=1, dropout_masks={},
        augmentations=(noise, regularizers.random_flip((6, 6, 2))),
        augmentation_draws=(draws, np.ones((1, EXAMPLES), dtype=bool)),
    )  # fmt: skip
    changed = (x + 0.3 * torch.tensor(draws[0]).reshape(x.shape)).flip(2)
    close(history.costs, [F.cross_entropy(both.ours(changed, training=True), y).item()])
    drawn = fit_with(
        training, both.ours, x, y, loss="categorical_cross_entropy", optimizer=optimizer, epochs=1, dropout_masks={},
        augmentations=(noise,),
    )  # fmt: skip
    assert abs(drawn.costs[0] - F.cross_entropy(both.ours(x, training=True), y).item()) > 1e-3


class TestModes:
    """``train()`` and ``eval()`` mean what they mean everywhere, unless ``training`` is said."""

    def make(self, kind):
        torch.manual_seed(0)
        if kind == "network":
            parts = (
                layers.dense(8),
                layers.batch_norm(),
                layers.activation("tanh"),
                layers.dropout(0.5),
                layers.dense(2),
            )
            model = models.network(parts, (3,))
        else:
            model = models.deep_network((3, 8, 2), activation="tanh", keep_probability=0.5, normalization="batch_norm")
        return model, torch.randn(16, 3), "4.mask" if kind == "network" else 1

    kinds = pytest.mark.parametrize("kind", ["network", "dense network"])

    @kinds
    def test_in_training_mode_dropout_is_drawn_and_averages_move_in_eval_mode_neither(self, kind):
        model, x, _ = self.make(kind)
        start = {name: average.clone() for name, average in model.statistics_dict().items()}
        torch.manual_seed(1)
        first, second = model(x), model(x)
        torch.manual_seed(1)
        assert torch.equal(model(x), first)
        assert not torch.equal(first, second)
        moved = {name: average.clone() for name, average in model.statistics_dict().items()}
        assert not any(torch.equal(average, start[name]) for name, average in moved.items())
        assert torch.equal(model.eval()(x), model(x))
        assert torch.equal(model(x), model(x, training=False))
        assert all(torch.equal(average, moved[name]) for name, average in model.statistics_dict().items())

    @kinds
    def test_averages_move_once_a_pass_as_update_statistics_moves_them(self, kind):
        model, x, name = self.make(kind)
        other = copy.deepcopy(model)
        model(x, {name: torch.ones(16, 8, dtype=torch.bool)})
        expected = models.update_statistics(other, x)
        assert all(torch.equal(average, expected[n]) for n, average in model.statistics_dict().items())

    @kinds
    def test_what_is_said_holds_whatever_the_mode_and_draws_and_moves_nothing(self, kind):
        model, x, name = self.make(kind)
        masks = {name: torch.rand(16, 8) < 0.5}
        state, before = torch.get_rng_state(), copy.deepcopy(model.state_dict())
        found = {}
        for mode in (True, False):
            model.train(mode)
            found[mode] = [model(x, m, t) for m in (None, masks) for t in (True, False)]
            found[mode].append(models.predict(model, x))
            found[mode] += models.intermediates(model, x, masks=masks, training=True).values()
            assert all(part.training == mode for part in model.modules())
        assert all(map(torch.equal, found[True], found[False]))
        assert not any(torch.equal(a, b) for a in found[True][:4] for b in found[True][:4] if a is not b)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())

    @kinds
    def test_given_masks_are_taken_in_either_mode_and_no_other_is_drawn(self, kind):
        model, x, name = self.make(kind)
        masks = {name: torch.rand(16, 8) < 0.5}
        assert torch.equal(model(x, masks), model(x, masks, training=True))
        assert torch.equal(model(x, {}), model(x, training=True))
        model.eval()
        assert torch.equal(model(x, masks), model(x, masks, training=False))

    def test_the_mode_of_a_single_layer_counts(self):
        model, x, _ = self.make("network")
        model.layers[1].eval()
        before = copy.deepcopy(model.statistics_dict())
        assert not torch.equal(model(x), model(x))
        model.layers[3].eval()
        assert torch.equal(model(x), model.eval()(x))
        assert all(torch.equal(average, before[n]) for n, average in model.statistics_dict().items())

    def test_modes_are_as_before_after_an_error(self):
        model, x, _ = self.make("network")
        with pytest.raises(ValueError, match=r"drawn 'mask' has shape \(1, 8\): must be \(16, 8\)"):
            model(x, {"4.mask": torch.ones(1, 8)}, training=False)
        with pytest.raises(ValueError, match=r"drawn has '3\.mask', which is not drawn: must be among 4\.mask"):
            model(x, {"3.mask": torch.ones(16, 8)}, training=False)
        assert all(part.training for part in model.modules())
        assert not torch.equal(model(x), model(x))
        assert model.statistics_dict()["2.running_mean"].any()


def test_a_loop_of_ones_own_with_an_optimizer_of_pytorch_is_fit():
    both, same = Both("images"), Both("images").ours
    x, y = map(torch.tensor, both.train)
    history = fit_with(
        training, both.ours, x, y, loss="categorical_cross_entropy",
        optimizer=torch.optim.Adam(both.ours.parameters(), lr=0.01),
        epochs=5, dropout_masks={path: np.stack([mask] * 5) for path, mask in both.masks.items()},
    )  # fmt: skip
    optimizer, costs = torch.optim.Adam(same.parameters(), lr=0.01), []
    for _ in range(5):
        optimizer.zero_grad()
        cost = F.cross_entropy(same(x, tensors(both.masks)), y)
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    close(history.costs, costs)
    all_close(same.state_dict(), {path: value.numpy() for path, value in both.ours.state_dict().items()})


def test_a_network_learns_in_a_plain_loop_with_dropout_drawn():
    torch.manual_seed(0)
    model = models.network(
        [layers.embedding(ENTRIES, 6, mask_zero=True), layers.dropout(0.9), layers.gru(8), layers.dense(2)], (6,)
    )
    x = torch.randint(0, ENTRIES, (128, 6))
    y = (x == 3).any(dim=1).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(120):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert (model.eval()(x).argmax(dim=1) == y).float().mean() > 0.9


@everywhere
def test_networks_are_saved_copied_and_called_functionally(name):
    both = Both(name)
    both.ours.load_statistics(both.statistics)
    expected = both.ours(both.x, training=False)
    file = io.BytesIO()
    torch.save(both.ours.state_dict(), file)
    file.seek(0)
    make, shape, _ = NETWORKS[name]
    loaded = models.network(make(layers), shape).double()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert list(both.ours.state_dict()) == list(both.ours.layers.state_dict())
    pickled = pickle.loads(pickle.dumps(both.ours))  # its own bytes, as where a process hands a module to another
    for other in (loaded, pickled, copy.deepcopy(both.ours)):
        assert torch.equal(other(both.x, training=False), expected)
        other.layers[-1].b.data.fill_(100.0)
        assert (other(both.x, training=False) > 50).all()
        assert torch.equal(both.ours(both.x, training=False), expected)
    scaled = {path: 2 * tensor for path, tensor in both.ours.state_dict().items()}
    loaded.load_state_dict(scaled)
    called = torch.func.functional_call(both.ours.eval(), scaled, (both.x,))
    assert torch.equal(called, loaded(both.x, training=False))
    assert torch.equal(both.ours(both.x), expected)


def test_a_network_is_cast_and_moved_and_compiled_as_a_whole():
    model = models.network([layers.dense(4), layers.batch_norm(), layers.dropout(0.5), layers.dense(2)], (3,))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(compiled.eval()(x), model(x, training=False))
    assert compiled.train()(x).shape == (5, 2)
    model.double().to("meta")
    assert {(value.dtype, value.is_meta) for value in model.state_dict().values()} == {(torch.float64, True)}


def test_initialize_draws_every_layer_anew_by_its_own_rule():
    model = models.network([layers.dense(40), layers.batch_norm(), layers.dense(2, initializer="zeros")], (30,))
    drawn = [
        {path: w.clone() for path, w in models.initialize(model, generator, dtype=dtype).state_dict().items()}
        for generator, dtype in (
            (torch.Generator().manual_seed(0), None),
            (torch.Generator().manual_seed(0), torch.float64),
            (torch.Generator().manual_seed(1), None),
        )
    ]
    assert [drawn[k]["1.W"].dtype for k in range(3)] == [torch.float32, torch.float64, torch.float64]
    torch.testing.assert_close(drawn[0]["1.W"].double(), models.initializers.he_normal(
        torch.Generator().manual_seed(0), (40, 30)).double())  # fmt: skip
    assert not torch.equal(drawn[1]["1.W"], drawn[2]["1.W"])
    assert not drawn[0]["3.W"].any()
    model.layers[1].running_mean.fill_(3.0)
    assert not models.initialize(model, None).statistics_dict()["2.running_mean"].any()


def test_a_new_network_draws_from_the_default_generator_and_keeps_what_is_there():
    trained = models.network([layers.dense(4), layers.activation("relu"), layers.dense(2)], (3,))
    kept = {path: w.clone() for path, w in trained.state_dict().items()}
    torch.manual_seed(5)
    changed = models.network([*trained.layers[:-1], layers.dense(7)], (3,))
    torch.manual_seed(5)
    assert torch.equal(changed.layers[2].W, models.initializers.he_normal(None, (7, 4)))
    assert torch.equal(changed.layers[0].W, kept["1.W"])
    assert changed.layers[0] is trained.layers[0]


def test_one_layer_a_list_a_sequence_and_a_container_of_pytorch_make_a_network():
    one = models.network(layers.dense(2), (3,))
    assert (one.depth, one.outputs, list(one.parameter_dict())) == (1, 2, ["1.W", "1.b"])
    series = layers.sequence(layers.dense(2), layers.activation("relu"))
    assert models.network(series, (3,)).layers is series
    assert models.network(layers.residual(series), (2,)).depth == 1
    plain = models.network(nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.Linear(4, 2)), (3,), output="softmax")
    assert list(plain.parameter_dict()) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert tuple(plain.parameter_dict()["1.weight"].shape) == (4, 3)
    assert plain.weight_names == ()
    x, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    found = gradients_with(training, plain, x, y, loss="categorical_cross_entropy", penalties=(regularizers.l2(0.1),))
    expected = torch.autograd.grad(F.cross_entropy(plain(x), y), list(plain.parameters()))
    for gradient, other in zip(found.gradients.values(), expected, strict=True):
        torch.testing.assert_close(gradient, other)


def small():
    return models.network([layers.dense(3), layers.activation("relu"), layers.dense(2)], (4,), output="softmax")


def fitted(**options):
    model = small()
    optimizer = optimizers.adam(model.parameters())
    fit_with(
        training,
        model,
        torch.zeros(2, 4),
        torch.zeros(2).long(),
        loss="categorical_cross_entropy",
        optimizer=optimizer,
        **options,
    )


REFUSED = {
    "layers give (4, 3): must give (n,), one row of logits for each example": (
        lambda: models.network(layers.dense(3), (4, 2))
    ),
    "LSTM cannot take examples of shape (4,): must be (t, n)": lambda: models.network(layers.lstm(3), (4,)),
    "output='tanh' is not allowed: must be one of 'sigmoid', 'softmax', 'identity', 'relu'": (
        lambda: models.network(layers.dense(3), (4,), output="tanh")
    ),
    "input_shape=(0,) is not allowed: must be sizes of one example, integers >= 1": (
        lambda: models.network(layers.dense(3), (0,))
    ),
    "layers=() is not allowed: must be layers, at least one": lambda: models.network([], (4,)),
    "layers has layers within its Sequential '2': must be a sequence of them": (
        lambda: models.network([layers.dense(2), nn.Sequential(layers.dropout(0.5))], (4,))
    ),
    "x has shape (5, 3): must be (examples, 4)": lambda: small()(torch.zeros(5, 3)),
    "x has shape (5, 4, 1): must be (examples, 4)": lambda: models.intermediates(small(), torch.zeros(5, 4, 1)),
    "x has shape (0, 4): must hold at least one example": (
        lambda: gradients_with(
            training, small(), torch.zeros(0, 4), torch.zeros(0).long(), loss="categorical_cross_entropy"
        )
    ),
    "parameters has no '3.W': must hold 1.W, 1.b, 3.W, 3.b": (
        lambda: small().load_parameters({"1.W": torch.zeros(3, 4), "1.b": torch.zeros(3)})
    ),
    "parameters has '3.b_h', which the model has not: must hold 1.W, 1.b, 3.W, 3.b": (
        lambda: small().load_parameters({**small().parameter_dict(), "3.b_h": torch.zeros(2)})
    ),
    "parameters '1.b' has shape (4,): must be (3,)": (
        lambda: small().load_parameters({**small().parameter_dict(), "1.b": torch.zeros(4)})
    ),
    "initializer='zeros' is not allowed for a network of layers: must be None, as each layer has its own": (
        lambda: models.initialize(small(), None, initializer="zeros")
    ),
    "model is a network of layers: replace_head takes a dense network": (
        lambda: models.replace_head(small(), None, outputs=2)
    ),
    "output='identity' does not predict classes: must be 'sigmoid' or 'softmax'": (
        lambda: models.predict_classes(models.network(layers.dense(2), (4,)), torch.zeros(1, 4))
    ),
    "frozen_layers=3 is not allowed: must be in 0 .. 2": lambda: fitted(frozen_layers=3),
    "dropout_masks='2.mask' is not allowed: must be left out, since the model drops nothing": (
        lambda: fitted(dropout_masks={"2.mask": np.ones((10, 2, 3), dtype=bool)})
    ),
    "mask_zero='yes' is not allowed: must be one of False, True": lambda: layers.embedding(3, 2, mask_zero="yes"),
    "value=nan is not allowed: must be a finite number": lambda: layers.masking(float("nan")),
    "Masking cannot take examples of shape (4,): must be (t, n)": lambda: layers.masking()(torch.zeros(1, 4)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_in_these_words(message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        REFUSED[message]()
    assert str(caught.value) == message


class TestMasks:
    """Which steps of a sequence are there goes from the layers that see it to those that ask."""

    tokens = torch.tensor([[1, 2, 0, 3], [4, 0, 0, 0], [5, 6, 1, 2]])

    def test_steps_of_token_0_are_not_there_for_what_follows(self):
        table, after = layers.embedding(ENTRIES, 3, mask_zero=True), layers.lstm(2)
        net = layers.sequence(table, layers.dropout(1.0), after)
        y = net(self.tokens)
        assert torch.equal(y, after(table(self.tokens), mask=self.tokens != 0))
        assert not torch.equal(y, after(table(self.tokens)))
        assert table(self.tokens)[0, 2].any()

    def test_a_mask_that_is_given_and_one_that_is_made_hold_both(self):
        table, after = layers.embedding(ENTRIES, 3, mask_zero=True), layers.gru(2)
        given = torch.tensor([[True, True, True, False]] * 3)
        y = layers.sequence(table, after)(self.tokens, mask=given)
        assert torch.equal(y, after(table(self.tokens), mask=given & (self.tokens != 0)))

    @pytest.mark.parametrize("around", ["sequence", "residual of a sequence"])
    def test_a_mask_leaves_the_layers_that_it_is_made_in(self, around):
        first = layers.masking(1.0)
        inner = layers.sequence(first, layers.dense(2))
        inner = layers.residual(inner) if around != "sequence" else inner
        after = layers.gru(2)
        x = torch.randn((3, 4, 2), generator=torch.Generator().manual_seed(0))
        x[1, 2:] = 1.0
        y = layers.sequence(inner, after)(x)
        there = torch.ones(3, 4, dtype=torch.bool)
        there[1, 2:] = False
        assert torch.equal(y, after(inner(x), mask=there))
        assert not torch.equal(y, after(inner(x)))

    def test_a_mask_ends_where_a_layer_within_has_other_steps(self):
        table = layers.embedding(ENTRIES, 3, mask_zero=True)
        inner = layers.sequence(table, layers.max_pool((2,)))
        after = layers.gru(2)
        assert torch.equal(layers.sequence(inner, after)(self.tokens), after(inner(self.tokens)))

    def test_masked_steps_are_0_and_have_no_gradient(self):
        x = torch.tensor([[[9.0, 9.0], [9.0, 1.0]]], requires_grad=True)
        y = layers.masking(9.0)(x)
        assert y.tolist() == [[[0.0, 0.0], [9.0, 1.0]]]
        y.sum().backward()
        assert x.grad.tolist() == [[[0.0, 0.0], [1.0, 1.0]]]

    def test_modules_of_pytorch_hand_a_mask_on(self):
        table, after = layers.embedding(ENTRIES, 3, mask_zero=True), layers.gru(2)
        y = layers.sequence(table, nn.Tanh(), after)(self.tokens)
        assert torch.equal(y, after(table(self.tokens).tanh(), mask=self.tokens != 0))


def test_decided_passes_leave_modules_of_pytorch_to_the_mode_that_is_said():
    model = models.network([nn.Linear(3, 50), nn.Dropout(0.5), layers.dense(2)], (3,))
    x = torch.ones(1, 3)
    assert torch.equal(model(x, training=False), model(x, training=False))
    assert not torch.equal(model(x, training=True), model(x, training=True))


@pytest.mark.parametrize("text", [module, _layer])
def test_examples_in_docstrings_hold(text):
    assert doctest.testmod(text).failed == 0
    assert doctest.testmod(text).attempted > 0
