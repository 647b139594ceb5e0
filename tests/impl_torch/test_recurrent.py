"""Recurrent layers beside ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``, and what masks, gates and directions do."""

import pytest
import torch
from torch import nn

from impl_torch import layers

DOUBLE = torch.float64
TORCHS = {
    "relu": (layers.simple_rnn, nn.RNN, {"activation": "relu"}, {"nonlinearity": "relu"}),
    "tanh": (layers.simple_rnn, nn.RNN, {}, {}),
    "lstm": (layers.lstm, nn.LSTM, {}, {}),
    "gru": (layers.gru, nn.GRU, {}, {}),
}
# The parameters of a layer and of one direction of PyTorch's: no permutation, two biases.
NAMES = {"W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "b_h": "bias_hh_l0"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(examples=3, steps=5, features=3):
    return torch.randn((examples, steps, features), generator=seeded(), dtype=DOUBLE)


def built(layer, seed=0, features=3):
    """In double precision, with every parameter drawn."""
    layer.double().build((5, features))
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-1, 1, generator=generator)
    return layer


def assert_same(mine, theirs):
    torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-13)


def gradients(y, leaves):
    return torch.autograd.grad((y * torch.randn(y.shape, generator=seeded(9), dtype=y.dtype)).sum(), leaves)


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("kind", TORCHS)
def test_pytorchs_layers_have_two_biases_and_the_same_gates(kind, return_sequences):
    make, torchs, mine, theirs = TORCHS[kind]
    layer = built(make(4, biases=2, return_sequences=return_sequences, **mine))
    other = torchs(3, 4, batch_first=True, **theirs).double()
    other.load_state_dict({NAMES[name]: tensor for name, tensor in layer.state_dict().items()})
    x = inputs().requires_grad_()
    outputs, _ = other(x)
    expected, y = outputs if return_sequences else outputs[:, -1], layer(x)
    assert_same(y, expected)
    others = [getattr(other, NAMES[name]) for name, _ in layer.named_parameters()]
    assert_same(gradients(y, [x, *layer.parameters()]), gradients(expected, [x, *others]))


@pytest.mark.parametrize("kind", ["tanh", "lstm", "gru"])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_pytorchs_bidirectional_layers(kind, return_sequences):
    make, torchs, _, _ = TORCHS[kind]
    layer = built(layers.bidirectional(make(4, biases=2, return_sequences=return_sequences)))
    other = torchs(3, 4, batch_first=True, bidirectional=True).double()
    suffixes = {"forward": "", "backward": "_reverse"}
    state = layer.state_dict()
    other.load_state_dict(
        {NAMES[name] + suffix: state[f"{way}.{name}"] for way, suffix in suffixes.items() for name in NAMES}
    )
    x = inputs()
    outputs, last = other(x)
    last = last[0] if kind == "lstm" else last  # (2, m, n): of each direction
    assert_same(layer(x), outputs if return_sequences else torch.cat([last[0], last[1]], dim=-1))


@pytest.mark.parametrize("make", [layers.simple_rnn, layers.lstm, layers.gru])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_masked_sequence_is_the_shorter_one(make, reverse):
    layer = built(make(4, return_sequences=True, reverse=reverse))
    x = inputs()
    mask = torch.tensor([[True] * 5, [True, True, True, False, False], [False, True, False, True, False]])
    y = layer(x, mask=mask)
    for example, there in enumerate(mask):
        assert_same(y[example, there], layer(x[example : example + 1, there])[0])
    if not reverse:
        assert torch.equal(y[1, 3:], y[1, 2].expand(2, -1))  # kept
        assert torch.equal(y[2, 0], torch.zeros(4, dtype=DOUBLE))
    last = make(4, reverse=reverse).double()
    last.load_state_dict(layer.state_dict())
    assert torch.equal(last(x, mask=mask), y[:, 0 if reverse else -1])


def test_packed_sequences_of_pytorch_are_masked_ones():
    layer = built(layers.bidirectional(layers.gru(4, biases=2)))
    other = nn.GRU(3, 4, batch_first=True, bidirectional=True).double()
    suffixes, state = {"forward": "", "backward": "_reverse"}, layer.state_dict()
    other.load_state_dict(
        {NAMES[name] + suffix: state[f"{way}.{name}"] for way, suffix in suffixes.items() for name in NAMES}
    )
    x, lengths = inputs(), torch.tensor([5, 3, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    last = other(packed)[1]
    mask = torch.arange(5) < lengths[:, None]
    assert_same(layer(x, mask=mask), torch.cat([last[0], last[1]], dim=-1))


@pytest.mark.parametrize("make", [layers.simple_rnn, layers.lstm, layers.gru])
def test_reverse_is_the_reversed_sequence_with_outputs_at_the_places_of_their_inputs(make):
    forward, backward = built(make(4, return_sequences=True)), make(4, return_sequences=True, reverse=True).double()
    backward.load_state_dict(forward.state_dict())
    x = inputs()
    assert_same(backward(x), forward(x.flip(1)).flip(1))


@pytest.mark.parametrize(
    ("make", "gates", "other"), [(layers.lstm, "ifgo", "ogfi"), (layers.gru, "rzn", "nzr"), (layers.gru, "rzn", "zrn")]
)
def test_another_order_of_the_gates_is_a_permutation_of_the_blocks(make, gates, other):
    one, two = built(make(4, biases=2)), make(4, gates=other, biases=2).double()

    def permuted(tensor):
        blocks = dict(zip(gates, tensor.chunk(len(gates)), strict=True))
        return torch.cat([blocks[gate] for gate in other])

    two.load_state_dict({name: permuted(tensor) for name, tensor in one.state_dict().items()})
    assert_same(one(inputs()), two(inputs()))


def test_reset_before_and_after_the_product_in_one_step_from_a_known_state():
    x = torch.zeros(1, 2, 1, dtype=DOUBLE)
    parameters = {"W": torch.zeros(3, 1), "U": torch.tensor([[0.0], [0.0], [3.0]]), "b": torch.tensor([0.0, 0.0, 1.0])}
    parameters |= {"b_h": torch.tensor([0.0, 0.0, 0.7])}
    first = {"after": torch.tanh(torch.tensor(1 + 0.5 * 0.7)), "before": torch.tanh(torch.tensor(1 + 0.7))}
    for reset, candidate in first.items():
        layer = layers.gru(1, reset=reset, biases=2).double()
        layer.load_state_dict(parameters)
        h = candidate.double() / 2
        inside = {"after": 1 + 0.5 * (3 * h + 0.7), "before": 1 + 3 * (0.5 * h) + 0.7}[reset]
        expected = 0.5 * torch.tanh(inside) + 0.5 * h
        torch.testing.assert_close(layer(x).squeeze(), expected, rtol=1e-6, atol=0)


def test_directions_start_apart_and_paths_lead_to_them():
    layer = layers.bidirectional(layers.lstm(3, return_sequences=True))
    assert layer.build((5, 2), generator=seeded()) == (5, 6)
    assert list(layer.state_dict()) == [f"{way}.{name}" for way in ("forward", "backward") for name in ("W", "U", "b")]
    assert not torch.equal(layer.get_parameter("forward.W"), layer.get_parameter("backward.W"))
    assert layer.get_submodule("backward").reverse
    x = torch.randn((2, 5, 2), generator=seeded())
    ways = [layers.lstm(3, return_sequences=True, reverse=reverse) for reverse in (False, True)]
    for way, name in zip(ways, ("forward", "backward"), strict=True):
        way.load_state_dict({key: layer.get_parameter(f"{name}.{key}") for key in ("W", "U", "b")})
    both = [way(x) for way in ways]
    assert torch.equal(layer(x), torch.cat(both, dim=-1))
    summed = layers.bidirectional(layers.lstm(3, return_sequences=True), join="sum")
    summed.load_state_dict(layer.state_dict())
    assert torch.equal(summed(x), both[0] + both[1])


def test_hooks_of_a_bidirectional_layer_see_what_it_returns():
    layer, seen = layers.bidirectional(layers.gru(2)), []
    layer.register_forward_hook(lambda module, arguments, output: seen.append(output))
    assert torch.equal(layer(torch.ones(1, 3, 2)), seen[0])


def test_the_forget_bias_is_where_its_block_starts():
    for gates, block in {"ifgo": 1, "ogfi": 2}.items():
        layer = layers.lstm(2, gates=gates, forget_bias=1.0, biases=2)
        layer.build((5, 3))
        expected = torch.zeros(4, 2)
        expected[block] = 1
        assert torch.equal(layer.b, expected.flatten())
        assert torch.equal(layer.b_h, torch.zeros(8))


def test_a_recurrent_layer_starts_from_an_orthogonal_matrix_as_a_whole():
    layer = layers.lstm(3).double()
    layer.build((5, 2), generator=seeded())
    assert_same(layer.U.T @ layer.U, torch.eye(3, dtype=DOUBLE))


REFUSED = {
    "units": [lambda: layers.simple_rnn(0), lambda: layers.lstm(1.5), lambda: layers.gru(None)],
    "activation": [lambda: layers.simple_rnn(1, activation="sigmoid")],
    "gates": [lambda: layers.lstm(1, gates="ifco"), lambda: layers.gru(1, gates="rz"), lambda: layers.gru(1, gates=3)],
    "reset": [lambda: layers.gru(1, reset="other")],
    "return_sequences": [lambda: layers.gru(1, return_sequences="yes")],
    "reverse": [lambda: layers.lstm(1, reverse=2)],
    "biases": [lambda: layers.simple_rnn(1, biases=3)],
    "forget_bias": [lambda: layers.lstm(1, forget_bias=float("nan"))],
    "initializer": [lambda: layers.lstm(1, initializer="other")],
    "recurrent_initializer": [lambda: layers.lstm(1, recurrent_initializer="other")],
    "layer": [lambda: layers.bidirectional(layers.dense(1)), lambda: layers.bidirectional(None)],
    "join": [lambda: layers.bidirectional(layers.gru(1), join="mean")],
}


@pytest.mark.parametrize(("argument", "call"), [(name, call) for name, calls in REFUSED.items() for call in calls])
def test_arguments_out_of_range_are_refused(argument, call):
    with pytest.raises(ValueError, match=rf"^{argument}=(.|\n)* is not allowed: must be "):
        call()


@pytest.mark.parametrize("layer", [layers.lstm(2), layers.gru(2), layers.simple_rnn(2)])
def test_inputs_that_are_no_sequences_are_refused(layer):
    match = rf"^{type(layer).__name__} cannot take examples of shape \(4,\): must be \(t, n\)$"
    with pytest.raises(ValueError, match=match):
        layer(torch.ones(2, 4))
    with pytest.raises(ValueError, match=match):
        layer.build((4,))
