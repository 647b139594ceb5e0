"""``impl_torch.layers``: the reference's values and gradients, and what is PyTorch's own about the modules."""

import copy
import doctest
import io
import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impl_torch import _layer, layers, normalization
from reference_numpy import layers as reference

sys.path.insert(0, str(Path(__file__).parents[1]))

from layer_situations import SITUATIONS


def tensors(arrays):
    return {name: torch.as_tensor(np.array(array)) for name, array in arrays.items()}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def close(found, expected, name="", rtol=1e-13):
    """Equal beside the largest number of the tensor, as rounding is; or beside 0.1, if it is all (``b_k``)."""
    found, expected = np.asarray(found.detach()), np.asarray(expected)
    assert found.shape == expected.shape, name
    bound = rtol * max(np.abs(expected).max(initial=0.0), 0.1)
    assert np.abs(found - expected).max(initial=0.0) <= bound, (name, np.abs(found - expected).max(), bound)


class Both:
    """A situation in the reference and as a module with the same parameters, draws and inputs."""

    def __init__(self, name, training=True):
        situation = SITUATIONS[name]
        self.shape, self.layer, self.module = (
            situation.shape,
            situation.make(reference),
            situation.make(layers).double(),
        )
        generator = np.random.default_rng(1)
        self.parameters = {
            path: generator.uniform(-1, 1, array.shape)
            for path, array in self.layer.initialize(generator, self.shape).items()
        }
        statistics = self.layer.initial_statistics(self.shape)
        self.statistics = {path: generator.uniform(0.5, 2, array.shape) for path, array in statistics.items()}
        self.x, self.mask = situation.inputs()
        self.drawn = self.layer.draw(generator, len(self.x), self.shape)
        self.training = training
        self.module.load_state_dict(tensors(self.parameters | self.statistics))
        self.module.train(training)

    def expected(self):
        statistics = None if self.training else self.statistics
        return self.layer.forward(self.parameters, self.x, drawn=self.drawn, statistics=statistics, mask=self.mask)

    def found(self):
        """The output, with the input as a leaf."""
        self.leaf = torch.as_tensor(self.x).clone()
        if self.leaf.is_floating_point():
            self.leaf.requires_grad_()
        with layers.fed(self.module, self.drawn):
            return self.module(self.leaf, mask=self.torch_mask)

    @property
    def torch_mask(self):
        return None if self.mask is None else torch.as_tensor(self.mask)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SITUATIONS)
def test_outputs_and_all_values_on_the_way_are_those_of_the_reference(name, training):
    both = Both(name, training)
    y, values = both.expected()
    close(both.found(), y, "y")
    with layers.fed(both.module, both.drawn):
        found = layers.layer_values(both.module, torch.as_tensor(both.x), mask=both.torch_mask)
    public = {path: v for path, v in values.items() if path.rpartition(".")[2][0] != "_" and "batch_count" not in path}
    assert found.keys() == public.keys()
    for path, value in public.items():
        close(found[path], value, path)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SITUATIONS)
def test_gradients_are_those_of_the_reference(name, training):
    both = Both(name, training)
    y, values = both.expected()
    direction = np.random.default_rng(2).standard_normal(y.shape)
    dx, gradients = both.layer.backward(both.parameters, values, direction, drawn=both.drawn, mask=both.mask)
    leaves = dict(both.module.named_parameters())
    found = both.found()
    if dx is not None:
        leaves["x"], gradients = both.leaf, gradients | {"x": dx}
    assert leaves.keys() == gradients.keys()
    if not leaves:
        return
    computed = torch.autograd.grad((found * torch.as_tensor(direction)).sum(), list(leaves.values()))
    for path, gradient in zip(leaves, computed, strict=True):
        close(gradient, gradients[path], path)


@pytest.mark.parametrize("name", [name for name in SITUATIONS if "batch norm" in name or "network" in name])
def test_running_averages_move_as_the_references_do_and_not_in_eval_mode(name):
    both = Both(name)
    updated = both.layer.updated_statistics(both.statistics, both.expected()[1])
    both.found()
    buffers = dict(both.module.named_buffers())
    assert buffers.keys() == updated.keys() != set()
    for path, average in updated.items():
        close(buffers[path], average, path)
    both.module.eval()
    both.found()
    for path, average in updated.items():
        close(buffers[path], average, path)


@pytest.mark.parametrize("name", SITUATIONS)
def test_shapes_and_names_are_those_of_the_reference(name):
    situation = SITUATIONS[name]
    layer, module = situation.make(reference), situation.make(layers)
    assert module.build(situation.shape, generator=seeded()) == layer.output_shape(situation.shape)
    assert module.output_shape(situation.shape) == layer.output_shape(situation.shape)
    assert module.passes_mask == layer.passes_mask
    expected = layer.initialize(np.random.default_rng(0), situation.shape)
    statistics = layer.initial_statistics(situation.shape)
    assert {n: tuple(p.shape) for n, p in module.named_parameters()} == {n: a.shape for n, a in expected.items()}
    assert {n: tuple(p.shape) for n, p in module.named_buffers()} == {n: a.shape for n, a in statistics.items()}
    assert module.state_dict().keys() == {**expected, **statistics}.keys()
    for path, array in {**expected, **statistics}.items():  # all that is not drawn
        if path.rpartition(".")[2][0] not in "WU":
            np.testing.assert_array_equal(module.state_dict()[path], array.astype(np.float32))
    drawn = module.draw(seeded(), 3, situation.shape)
    expected = layer.draw(np.random.default_rng(0), 3, situation.shape)
    assert {n: tuple(d.shape) for n, d in drawn.items()} == {n: d.shape for n, d in expected.items()}
    assert all(d.dtype == torch.bool for d in drawn.values())


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_first_forward_pass_builds_what_build_builds(name):
    situation = SITUATIONS[name]
    built, lazy = situation.make(layers).eval(), situation.make(layers).eval()
    built.build(situation.shape, generator=seeded())
    x, mask = situation.inputs()
    x = torch.as_tensor(x) if situation.integers else torch.as_tensor(x).float()
    torch.manual_seed(0)
    lazy(x, mask=None if mask is None else torch.as_tensor(mask))
    assert lazy.state_dict().keys() == built.state_dict().keys()
    torch.testing.assert_close(dict(lazy.state_dict()), dict(built.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("name", SITUATIONS)
def test_modules_are_saved_copied_and_called_functionally(name):
    both = Both(name, training=False)
    y = both.found()
    x, mask = torch.as_tensor(both.x), both.torch_mask
    file = io.BytesIO()
    torch.save(both.module.state_dict(), file)
    file.seek(0)
    loaded = SITUATIONS[name].make(layers).double().eval()  # not built
    loaded.load_state_dict(torch.load(file, weights_only=True))
    pickled = pickle.loads(pickle.dumps(both.module))  # its own bytes, as where a process hands a module to another
    for other in (loaded, pickled, copy.deepcopy(both.module)):
        with layers.fed(other, both.drawn):
            assert torch.equal(other(x, mask=mask), y)
    scaled = {path: 2 * tensor for path, tensor in both.module.state_dict().items()}
    loaded.load_state_dict(scaled)
    with layers.fed(loaded, both.drawn), layers.fed(both.module, both.drawn):
        called = torch.func.functional_call(both.module, scaled, (x,), {"mask": mask})
        assert torch.equal(called, loaded(x, mask=mask))
    assert torch.equal(both.found(), y)  # as before


@pytest.mark.parametrize("name", SITUATIONS)
def test_an_unbuilt_module_is_cast_and_moved_and_copied(name):
    module = copy.deepcopy(SITUATIONS[name].make(layers).double().to("cpu"))
    pickle.loads(pickle.dumps(module))
    module.build(SITUATIONS[name].shape)
    assert all(tensor.dtype == torch.float64 for tensor in module.state_dict().values())
    module.build(SITUATIONS[name].shape, dtype=torch.float32)
    assert all(tensor.dtype == torch.float32 for tensor in module.state_dict().values())
    module.to("meta")
    assert all(tensor.is_meta for tensor in module.state_dict().values())


def small_network():
    return layers.sequence(
        layers.convolution(3, (3, 3), padding=1),
        layers.residual(layers.sequence(layers.batch_norm(), nn.ReLU(), layers.dropout(0.5))),
        layers.flatten(order="channels_first"),
        nn.LazyLinear(4),
        layers.parallel(layers.dense(2), nn.Linear(4, 2)),
    )


def test_modules_of_pytorch_stand_in_a_sequence_and_layers_in_a_sequential():
    net = small_network()
    x = torch.randn((5, 4, 4, 2), generator=seeded())
    assert net(x).shape == (5, 2)
    assert net.output_shape((4, 4, 2)) == (2,)
    assert [path for path, _ in net.named_parameters()] == [
        *("1.W", "1.b", "2.1.gamma", "2.1.beta", "4.weight", "4.bias", "5.1.W", "5.1.b", "5.2.weight", "5.2.bias"),
    ]
    plain = nn.Sequential(layers.dense(3), nn.Tanh(), layers.lstm(2))
    assert plain(torch.ones(2, 5, 3)).shape == (2, 2)
    assert [path for path, _ in plain.named_parameters()] == ["0.W", "0.b", "2.W", "2.U", "2.b"]
    assert list(layers.layer_values(plain, torch.ones(2, 5, 3))) == ["0.A", "1.A", "2.h", "2.c", "2.A"]


def test_the_mask_ends_where_the_steps_are_others():
    x = torch.randn((2, 4, 3), generator=seeded())
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    for ending in (layers.reshape((4, 3)), layers.max_pool((1,), stride=2), layers.sequence(layers.max_pool((2,)))):
        net, after = layers.sequence(ending, layers.lstm(2)), layers.lstm(2)
        y = net(x, mask=mask)
        after.load_state_dict(net[1].state_dict())
        assert torch.equal(y, after(ending(x)))
    going_on = layers.sequence(layers.parallel(layers.dense(3), nn.Tanh()), layers.lstm(2))
    y = going_on(x, mask=mask)
    assert torch.equal(y, going_on[1](going_on[0](x), mask=mask))
    assert not torch.equal(y, going_on(x))


def test_train_and_eval_reach_every_layer():
    net = small_network()
    x = torch.randn((5, 4, 4, 2), generator=seeded())
    net(x)
    assert not torch.equal(net(x), net(x))  # dropout
    net.eval()
    assert torch.equal(net(x), net(x))
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())
    assert {type(module).__name__ for module in net.modules()} >= {"Residual", "BatchNorm", "Dropout", "ReLU"}


def test_a_plain_training_loop_learns():
    net = small_network()
    x = torch.randn((32, 4, 4, 2), generator=seeded())
    labels = (x.mean(dim=(1, 2, 3)) > 0).long()
    torch.manual_seed(0)
    net.build((4, 4, 2))
    net(x)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    costs = []
    for _ in range(60):
        optimizer.zero_grad()
        cost = F.cross_entropy(net(x), labels)
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    net.eval()
    assert costs[-1] < 0.5 * costs[0]
    assert (net(x).argmax(dim=1) == labels).float().mean() > 0.9


def test_layers_of_a_sequence_are_counted_from_1_after_every_change():
    net = layers.sequence(layers.dense(1), layers.dense(2))
    net.append(layers.dense(4)).insert(2, layers.dense(3)).extend([layers.dense(5)])
    del net[0]
    net += [layers.dense(6)]
    assert [(name, layer.units) for name, layer in net.named_children()] == [(str(n), n + 1) for n in range(1, 6)]
    assert isinstance(net[1:], type(net))
    assert [(name, layer.units) for name, layer in net[1:3].named_children()] == [("1", 3), ("2", 4)]
    assert [name for name, _ in (net[:1] + net[1:2]).named_children()] == ["1", "2"]


def test_a_layer_may_be_there_twice_with_the_same_weights():
    layer = layers.dense(2)
    twice, both = layers.sequence(layer, layer), layers.parallel(layer, layer)
    assert twice.build((2,)) == both.build((2,)) == (2,)
    x = torch.ones(1, 2)
    assert torch.equal(twice(x), layer(layer(x)))
    assert torch.equal(both(x), 2 * layer(x))
    assert [path for path, _ in twice.named_parameters()] == ["1.W", "1.b"]


def test_dropout_keeps_with_its_probability_and_draws_from_the_default_generator():
    layer = layers.dropout(0.8)
    torch.manual_seed(3)
    y = layer(torch.ones(100, 100))
    torch.manual_seed(3)
    assert torch.equal(layer(torch.ones(100, 100)), y)
    assert abs((y > 0).double().mean() - 0.8) < 5 * math.sqrt(0.16 / 1e4)
    assert torch.equal(y.unique(), torch.tensor([0.0, 1 / 0.8]))


def test_fed_masks_hold_within_and_not_after():
    net = layers.sequence(layers.residual(layers.dropout(0.5)), layers.dropout(0.5)).eval()
    x, drawn = torch.ones(1, 3), {"1.mask": np.array([[True, False, True]]), "2.mask": [[True, True, False]]}
    with layers.fed(net, drawn):
        assert net(x).tolist() == [[6.0, 2.0, 0.0]]
    assert torch.equal(net(x), 2 * x)
    with pytest.raises(ValueError, match=r"drawn has '3.mask', which is not drawn: must be among 1.mask, 2.mask"):
        layers.fed(net, {"3.mask": x}).__enter__()
    with (
        layers.fed(net, {"1.mask": x[:, 1:] > 0}),
        pytest.raises(ValueError, match=r"shape \(1, 2\): must be \(1, 3\)"),
    ):
        net(x)
    assert torch.equal(net(x), 2 * x)


def test_values_have_gradients_and_nothing_stays_behind():
    net = layers.sequence(layers.lstm(2, return_sequences=True), layers.attention(1))
    x = torch.randn((2, 3, 2), generator=seeded())
    values = layers.layer_values(net, x)
    values["2.weights"].square().sum().backward()
    assert net[0].W.grad.abs().max() > 0
    assert not any(module._forward_hooks for module in net.modules())
    assert all(module._note is None for module in net.modules())


def test_running_averages_of_pytorchs_batch_norm():
    mine = layers.batch_norm(epsilon=1e-5, momentum=0.9, running_variance="unbiased").double()
    theirs = nn.BatchNorm2d(3, eps=1e-5, momentum=0.1).double()
    x = torch.randn((4, 5, 6, 3), generator=seeded(), dtype=torch.float64)
    mine.build((5, 6, 3))
    with torch.no_grad():
        mine.gamma.copy_(theirs.weight.uniform_(0.5, 2))
        mine.beta.copy_(theirs.bias.uniform_(-1, 1))
    for _ in range(3):
        close(mine(x), theirs(x.movedim(-1, 1)).movedim(1, -1).detach())
        x = x * 1.5 + 1
    close(mine.running_mean, theirs.running_mean)
    close(mine.running_variance, theirs.running_var)
    mine.eval()
    theirs.eval()
    close(mine(x), theirs(x.movedim(-1, 1)).movedim(1, -1).detach())


@pytest.mark.parametrize("shape", [(7, 3), (4, 5, 3)])
def test_pytorchs_own_dense_norm_and_embedding_layers_are_the_same(shape):
    x = torch.randn(shape, generator=seeded(), dtype=torch.float64)
    pairs = [
        (layers.dense(2), nn.Linear(3, 2), {"W": "weight", "b": "bias"}),
        (layers.layer_norm(), nn.LayerNorm(3), {"gamma": "weight", "beta": "bias"}),
        (layers.batch_norm(), nn.BatchNorm1d(3), {"gamma": "weight", "beta": "bias"}),
    ]
    for mine, theirs, names in pairs:
        mine.double().build(shape[1:])
        state = {n: torch.rand(p.shape, dtype=torch.float64) for n, p in theirs.double().named_parameters()}
        theirs.load_state_dict(state, strict=False)
        mine.load_state_dict({my: state[their] for my, their in names.items()}, strict=False)
        units_second = isinstance(theirs, nn.BatchNorm1d) and x.ndim == 3
        expected = theirs(x.movedim(-1, 1)).movedim(1, -1) if units_second else theirs(x)
        close(mine(x), expected.detach(), type(theirs).__name__)
    mine, theirs = layers.embedding(9, 4), nn.Embedding(9, 4)
    mine.load_state_dict({"W": theirs.weight})
    tokens = torch.tensor([[0, 8, 3]])
    assert torch.equal(mine(tokens), theirs(tokens))


def test_flatten_channels_first_is_pytorchs_flatten_of_its_own_layout():
    x = torch.randn((2, 3, 4, 5), generator=seeded())
    assert torch.equal(layers.flatten(order="channels_first")(x), nn.Flatten()(x.movedim(-1, 1)))


@pytest.mark.parametrize("shape", [(6, 3), (2, 5, 3), (2, 4, 5, 3)])
def test_normalizations_of_any_rank_are_those_of_the_rows(shape):
    z = torch.randn(shape, generator=seeded(), dtype=torch.float64)
    rows, gamma, beta = z.reshape(-1, 3), torch.rand(3).double(), torch.rand(3).double()
    statistics = normalization.batch_statistics(z)
    for found, expected in zip(statistics, normalization.batch_statistics(rows), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(
        normalization.batch_norm(z, gamma, beta, *statistics).reshape(-1, 3),
        normalization.batch_norm(rows, gamma, beta, *statistics),
    )
    close(
        normalization.layer_norm(z, gamma, beta).reshape(-1, 3), normalization.layer_norm(rows, gamma, beta), rtol=1e-15
    )


REFUSED = {
    "units": lambda: layers.dense(0),
    "bias": lambda: layers.dense(1, bias="yes"),
    "initializer": lambda: layers.dense(1, initializer="other"),
    "scale": lambda: layers.embedding(2, 2, initializer_options={"scale": -1.0}),
    "name": lambda: layers.activation("other"),
    "slope": lambda: layers.activation("leaky_relu", options={"slope": math.nan}),
    "keep_probability": lambda: layers.dropout(0.0),
    "order": lambda: layers.flatten(order="other"),
    "shape": lambda: layers.reshape((2, -1)),
    "entries": lambda: layers.embedding(0, 2),
    "epsilon": lambda: layers.layer_norm(epsilon=-1.0),
    "momentum": lambda: layers.batch_norm(momentum=1.0),
    "running_variance": lambda: layers.batch_norm(running_variance="other"),
    "layers": lambda: layers.sequence(),
    "layers ": lambda: layers.residual(3),
    "join": lambda: layers.parallel(layers.dense(1), join="other"),
}


@pytest.mark.parametrize("argument", REFUSED)
def test_arguments_out_of_range_are_refused(argument):
    with pytest.raises(ValueError, match=f"^{argument.strip()}=.* is not allowed: must be "):
        REFUSED[argument]()


@pytest.mark.parametrize("make", layers.LAYERS.values(), ids=layers.LAYERS)
def test_every_maker_is_exported(make):
    assert getattr(layers, make.__name__) is make
    assert make.__name__ in layers.__all__


def test_what_does_not_fit_is_refused_with_the_layers_name():
    with pytest.raises(
        ValueError, match=r"^Residual cannot take examples of shape \(4,\): must be what its layer gives"
    ):
        layers.residual(layers.dense(1))(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"^Parallel cannot take examples of shape \(4,\): must be such that outputs"):
        layers.parallel(layers.dense(1), layers.dense(2))(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"^Reshape cannot take examples of shape \(4,\): must be of 6 numbers"):
        layers.reshape((2, 3))(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"^MultiHeadAttention cannot take examples of shape \(5, 3\): must be a mult"):
        layers.sequence(layers.dense(3), layers.attention(2)).build((5, 1))
    for tokens in (torch.tensor([[0, 7]]), torch.tensor([[-1, 0]])):
        with pytest.raises(ValueError, match=r"^x has entries in -?\d .. \d: must be in 0 .. 6"):
            layers.embedding(7, 2)(tokens)
    with pytest.raises(ValueError, match="must be integers"):
        layers.embedding(7, 2)(torch.ones(1, 2))


@pytest.mark.parametrize("module", [layers, _layer])
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0
