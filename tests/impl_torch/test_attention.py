"""Attention beside ``F.scaled_dot_product_attention`` and ``nn.MultiheadAttention``; positions in closed form."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impl_torch import layers

DOUBLE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=DOUBLE)


def assert_same(mine, theirs):
    torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-13)


def value_and_gradients(function, *leaves):
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    y = function(*leaves)
    return y, torch.autograd.grad((y * drawn(*y.shape, seed=9)).sum(), leaves)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_pytorchs_function_is_the_same_in_value_and_gradient_where_a_row_is_empty_too(masked, causal, scale):
    q, k, v = drawn(2, 3, 5, 4), drawn(2, 3, 6, 4, seed=1), drawn(2, 3, 6, 2, seed=2)
    mask = torch.rand((2, 1, 5, 6), generator=seeded()) < 0.6 if masked else None
    if masked:
        mask[0, 0, 2] = False
    below = torch.ones(5, 6, dtype=torch.bool).tril()
    theirs = mask & below if masked and causal else below if causal else mask
    mine = value_and_gradients(
        lambda q, k, v: layers.scaled_dot_product(q, k, v, mask=mask, causal=causal, scale=scale), q, k, v
    )
    assert_same(
        mine,
        value_and_gradients(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=theirs, scale=scale), q, k, v
        ),
    )
    if masked:
        assert not mine[0][0, :, 2].any()
        assert not mine[1][0][0, :, 2].any()
    if causal and not masked:  # is_causal begins at the first key, as here
        assert_same(mine[0], F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale))


def test_nothing_is_ever_nan():
    q = torch.full((1, 3, 2), 1e30)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    y, gradients = value_and_gradients(lambda q, k, v: layers.scaled_dot_product(q, k, v, mask=mask), q, q, q)
    assert not y.any()
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_pytorchs_layer_packs_three_weights_into_one_and_masks_what_is_not_there(bias, causal, masked):
    n, heads, steps = 6, 2, 5
    layer = layers.attention(heads, causal=causal, bias=bias).double()
    layer.build((steps, n), generator=seeded())
    theirs = nn.MultiheadAttention(n, heads, bias=bias, batch_first=True, dtype=DOUBLE)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(layer.named_parameters()):
            if name.startswith("b"):
                parameter.copy_(drawn(n, seed=number))
    mine = layer.state_dict()
    state = {"in_proj_weight": torch.cat([mine[f"W_{of}"] for of in "qkv"]), "out_proj.weight": mine["W_o"]}
    if bias:
        state |= {"in_proj_bias": torch.cat([mine[f"b_{of}"] for of in "qkv"]), "out_proj.bias": mine["b_o"]}
    theirs.load_state_dict(state)
    x, mask = drawn(3, steps, n), None
    if masked:
        mask = torch.arange(steps) < torch.tensor([5, 3, 1])[:, None]
    later = torch.ones(steps, steps, dtype=torch.bool).triu(1) if causal else None

    def of_pytorch(x):
        padding = None if mask is None else ~mask
        return theirs(x, x, x, key_padding_mask=padding, attn_mask=later, average_attn_weights=False)

    expected, weights = of_pytorch(x)
    assert_same(
        value_and_gradients(lambda x: layer(x, mask=mask), x), value_and_gradients(lambda x: of_pytorch(x)[0], x)
    )
    assert_same(layers.layer_values(layer, x, mask=mask)["weights"], weights)
    own, packed = layer(x, mask=mask), expected
    mine_dw = torch.autograd.grad((own * drawn(*own.shape)).sum(), [layer.W_q, layer.W_k, layer.W_v, layer.W_o])
    their_dw = torch.autograd.grad((packed * drawn(*own.shape)).sum(), [theirs.in_proj_weight, theirs.out_proj.weight])
    assert_same((torch.cat(mine_dw[:3]), mine_dw[3]), tuple(their_dw))


def test_pytorchs_encoder_layer_is_residuals_of_attention_and_dense_layers():
    theirs = nn.TransformerEncoderLayer(6, 2, dim_feedforward=8, dropout=0.0, batch_first=True, dtype=DOUBLE)
    block = layers.sequence(
        layers.residual(layers.attention(2)),
        layers.layer_norm(),
        layers.residual(layers.sequence(layers.dense(8), layers.activation("relu"), layers.dense(6))),
        layers.layer_norm(),
    ).double()
    w, b = theirs.self_attn.in_proj_weight.chunk(3), theirs.self_attn.in_proj_bias.chunk(3)
    state = {f"1.W_{of}": part for of, part in zip("qkv", w, strict=True)}
    state |= {f"1.b_{of}": part for of, part in zip("qkv", b, strict=True)}
    state |= {"1.W_o": theirs.self_attn.out_proj.weight, "1.b_o": theirs.self_attn.out_proj.bias}
    state |= {"2.gamma": theirs.norm1.weight, "2.beta": theirs.norm1.bias}
    state |= {"3.1.W": theirs.linear1.weight, "3.1.b": theirs.linear1.bias}
    state |= {"3.3.W": theirs.linear2.weight, "3.3.b": theirs.linear2.bias}
    state |= {"4.gamma": theirs.norm2.weight, "4.beta": theirs.norm2.bias}
    block.load_state_dict(state)
    x, mask = drawn(3, 5, 6), torch.arange(5) < torch.tensor([5, 3, 1])[:, None]
    assert_same(block(x, mask=mask), theirs(x, src_key_padding_mask=~mask))


def test_a_sequence_without_any_step_gives_the_last_bias_and_no_gradient_to_its_scores():
    layer = layers.attention(1).double()
    layer.build((3, 2), generator=seeded())
    with torch.no_grad():
        layer.b_o.copy_(torch.tensor([1.0, 2.0]))
    y, (dx,) = value_and_gradients(lambda x: layer(x, mask=torch.zeros(1, 3, dtype=torch.bool)), drawn(1, 3, 2))
    assert torch.equal(y, layer.b_o.expand(1, 3, 2))
    assert torch.equal(dx, torch.zeros_like(dx))


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
@pytest.mark.parametrize("n", [1, 4, 5])
def test_positions_are_sines_and_cosines_of_the_step(n, layout):
    found = layers.positional_encoding(base=100.0, layout=layout)(torch.zeros(2, 7, n, dtype=DOUBLE))
    for t in range(7):
        for i in range((n + 1) // 2):
            angle = t / 100.0 ** (2 * i / n)
            sine, cosine = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, (n + 1) // 2 + i)
            assert abs(found[1, t, sine].item() - math.sin(angle)) < 1e-15
            if 2 * i + 1 < n:
                assert abs(found[1, t, cosine].item() - math.cos(angle)) < 1e-15


def test_positions_keep_their_digits_in_single_precision():
    single = layers.positional_encoding()(torch.zeros(1, 4000, 2))
    double = layers.positional_encoding()(torch.zeros(1, 4000, 2, dtype=DOUBLE))
    assert torch.equal(single, double.float())


REFUSED = {
    "heads": lambda: layers.attention(0),
    "key_units": lambda: layers.attention(1, key_units=0),
    "causal": lambda: layers.attention(1, causal="yes"),
    "bias": lambda: layers.attention(1, bias="no"),
    "initializer": lambda: layers.attention(1, initializer="other"),
    "base": lambda: layers.positional_encoding(base=0.0),
    "layout": lambda: layers.positional_encoding(layout="other"),
    "scale": lambda: layers.scaled_dot_product(*[torch.ones(1, 1)] * 3, scale=0.0),
}


@pytest.mark.parametrize("argument", REFUSED)
def test_arguments_out_of_range_are_refused(argument):
    with pytest.raises(ValueError, match=f"^{argument}=.* is not allowed: must be "):
        REFUSED[argument]()


@pytest.mark.parametrize("layer", [layers.attention(2), layers.positional_encoding()])
def test_inputs_that_are_no_sequences_are_refused(layer):
    with pytest.raises(ValueError, match=rf"^{type(layer).__name__} cannot take examples of shape \(4,\): must be"):
        layer(torch.ones(2, 4))
