"""Convolutions and pools beside ``nn.Conv1d``, ``nn.Conv2d``, ``nn.MaxPool`` and ``nn.AvgPool``."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from impl_torch import initializers, layers

DOUBLE = torch.float64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def channels_last(module, x):
    """A module of PyTorch's, whose channels are second, on data whose channels are last."""
    return module(x.movedim(-1, 1)).movedim(1, -1)


def with_gradients(function, x, *leaves):
    """The output, and its gradients with respect to ``x`` and ``leaves`` in a fixed direction."""
    x = x.detach().requires_grad_()
    y = function(x)
    direction = torch.randn(y.shape, generator=seeded(9), dtype=y.dtype)
    return y, torch.autograd.grad((y * direction).sum(), (x, *leaves))


def assert_same(mine, theirs):
    torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-13)


CONVOLUTIONS = {
    "plain": {},
    "strided": {"stride": 2},
    "uneven": {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)},
    "same": {"padding": "same"},
    "groups": {"groups": 2, "padding": 1},
    "depthwise": {"groups": 4},
    "no bias": {"bias": False},
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # it pads after, as here
@pytest.mark.parametrize("keywords", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("axes", [1, 2])
def test_pytorchs_convolutions_have_their_weights_the_other_way_round(axes, keywords):
    keywords = {name: value[:axes] if isinstance(value, tuple) else value for name, value in keywords.items()}
    kernel, x = (3, 2)[:axes], torch.randn((2, *(7, 6)[:axes], 4), generator=seeded(), dtype=DOUBLE)
    mine = layers.convolution(8, kernel, **keywords).double()
    theirs = (nn.Conv1d, nn.Conv2d)[axes - 1](4, 8, kernel, **keywords).double()
    names = {"W": theirs.weight.movedim(1, -1)} | ({"b": theirs.bias} if theirs.bias is not None else {})
    mine.load_state_dict(names)
    y, (dx, dw, *db) = with_gradients(mine, x, *mine.parameters())
    expected, (their_dx, their_dw, *their_db) = with_gradients(
        lambda x: channels_last(theirs, x), x, *theirs.parameters()
    )
    assert_same(y, expected)
    assert_same((dx, dw, *db), (their_dx, their_dw.movedim(1, -1), *their_db))


def test_same_with_a_stride_is_refused_by_pytorch_and_pads_after_here():
    with pytest.raises(ValueError, match="padding='same' is not supported for strided"):
        nn.Conv2d(1, 1, 3, stride=2, padding="same")
    layer = layers.convolution(1, (3,), stride=2, padding="same", bias=False)
    layer.load_state_dict({"W": torch.tensor([[[1.0], [10.0], [100.0]]])})
    assert layer(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])).flatten().tolist() == [321.0, 43.0]


@pytest.mark.parametrize("keywords", [{}, {"stride": 1}, {"stride": 2, "padding": 1}], ids=str)
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("kind", ["max", "average", "average, padding counted"])
def test_pytorchs_pools_are_the_same(kind, axes, keywords):
    window, x = (3, 2)[:axes], torch.randn((2, *(7, 6)[:axes], 3), generator=seeded(), dtype=DOUBLE)
    if kind == "max":
        mine, theirs = layers.max_pool(window, **keywords), (nn.MaxPool1d, nn.MaxPool2d)[axes - 1](window, **keywords)
    else:
        counted = "counted" in kind
        mine = layers.average_pool(window, **keywords, count_padding=counted)
        theirs = (nn.AvgPool1d, nn.AvgPool2d)[axes - 1](window, **keywords, count_include_pad=counted)
    if axes == 1 and isinstance(theirs, nn.AvgPool1d):
        assert nn.AvgPool1d(3).count_include_pad is nn.AvgPool2d(3).count_include_pad is True
    assert_same(with_gradients(mine, x), with_gradients(lambda x: channels_last(theirs, x), x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("layer", "shape", "chosen"),
    [
        (layers.max_pool((2, 2)), (5, 6, 2), (slice(0, 4, 2), slice(0, 6, 2))),
        (layers.max_pool((3, 3), padding=1), (6, 6, 2), ([[0], [2], [5]][:2], [[0, 2]])),
        (layers.max_pool((2,)), (6, 3), (slice(0, 6, 2),)),
        (layers.global_max_pool(), (5, 6, 2), (0, 0)),
        (layers.global_max_pool(), (700, 2), (0,)),
    ],
)
def test_among_equals_the_first_of_the_window_gets_the_gradient(layer, shape, chosen, dtype):
    x = torch.ones((2, *shape), dtype=dtype, requires_grad=True)
    layer(x).sum().backward()
    expected = torch.zeros_like(x)
    expected[(slice(None), *chosen)] = 1
    assert torch.equal(x.grad, expected)


def test_pytorchs_adaptive_and_global_reductions_are_the_global_pools():
    x = torch.randn((2, 4, 5, 3), generator=seeded(), dtype=DOUBLE)
    mean = channels_last(nn.AdaptiveAvgPool2d(1), x)[:, 0, 0]
    assert_same(layers.global_average_pool()(x), mean)
    assert_same(layers.global_max_pool()(x), x.amax(dim=(1, 2)))


@pytest.mark.parametrize("make", [layers.global_max_pool, layers.global_average_pool])
def test_global_pools_take_steps_that_are_there_and_are_0_without_any(make):
    x = torch.randn((3, 4, 2), generator=seeded(), dtype=DOUBLE)
    mask = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
    y, (dx,) = with_gradients(lambda x: make()(x, mask=mask), x)
    alone = make()(x[1:2, [0, 2]])
    assert_same(y, torch.cat([make()(x[:1]), alone, torch.zeros(1, 2, dtype=DOUBLE)]))
    assert torch.equal(dx[~mask], torch.zeros(6, 2, dtype=DOUBLE))


@pytest.mark.parametrize(
    ("layer", "passes"),
    [
        (layers.convolution(1, (3,)), False),
        (layers.convolution(1, (1,)), True),
        (layers.convolution(1, (3,), padding="same"), True),
        (layers.convolution(1, (3,), padding=1), True),
        (layers.convolution(1, (3,), padding=2, dilation=2), True),
        (layers.convolution(1, (3,), padding="same", stride=2), False),
        (layers.max_pool((3,), stride=1, padding="same"), True),
        (layers.max_pool((2,)), False),
    ],
)
def test_the_mask_goes_on_where_there_are_as_many_steps_as_before(layer, passes):
    assert layer.passes_mask is passes


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_weights_of_a_convolution_are_drawn_by_the_number_of_their_connections(name):
    shape = (40, 3, 2, 20)  # (n_out, *window, n_in)
    w = initializers.INITIALIZERS[name](seeded(), shape, dtype=DOUBLE)
    assert w.shape == shape
    if name == "orthogonal":
        rows = w.flatten(1)
        assert_same(rows @ rows.T, torch.eye(40, dtype=DOUBLE))
        return
    fan_in, fan_out = 120, 240
    variance = {
        "zeros": 0.0, "scaled_normal": 1e-4, "xavier_normal": 1 / fan_in, "xavier_uniform": 2 / (fan_in + fan_out),
        "he_normal": 2 / fan_in, "he_uniform": 2 / fan_in, "lecun_normal": 1 / fan_in, "lecun_uniform": 1 / fan_in,
    }[name]  # fmt: skip
    assert abs(w.square().mean().item() - variance) <= 6 * variance * math.sqrt(2 / w.numel())


def test_pytorchs_initializers_count_the_connections_of_their_own_layout():
    in_theirs = nn.init._calculate_fan_in_and_fan_out(torch.empty(40, 20, 3, 2))
    assert in_theirs == (20 * 6, 40 * 6)
    theirs = nn.init.kaiming_uniform_(torch.empty(40, 20, 3, 2), nonlinearity="relu", generator=seeded())
    mine = initializers.he_uniform(seeded(), (40, 3, 2, 20))
    assert torch.equal(mine.flatten(), theirs.flatten())  # the same numbers, in another layout


REFUSED = {
    "channels": [lambda: layers.convolution(0, (3,)), lambda: layers.convolution(3, (3,), groups=2)],
    "kernel": [partial(layers.convolution, 1, kernel) for kernel in (3, (), (0,), (1, 1, 1), "33", (1.5,), None)],
    "window": [lambda: layers.max_pool(2), lambda: layers.average_pool((2, 0))],
    "stride": [lambda: layers.convolution(1, (3,), stride=0), lambda: layers.max_pool((2, 2), stride=(1,))],
    "dilation": [lambda: layers.convolution(1, (3,), dilation=0)],
    "padding": [
        lambda: layers.convolution(1, (3,), padding="full"),
        lambda: layers.convolution(1, (3,), padding=-1),
        lambda: layers.convolution(1, (3, 3), padding=(1,)),
        lambda: layers.max_pool((3,), padding=2),
        lambda: layers.average_pool((2, 3), padding=(2, 1)),
    ],
    "groups": [lambda: layers.convolution(1, (3,), groups=0)],
    "bias": [lambda: layers.convolution(1, (3,), bias="yes")],
    "count_padding": [lambda: layers.average_pool((2,), count_padding="yes")],
}


@pytest.mark.parametrize(("argument", "call"), [(name, call) for name, calls in REFUSED.items() for call in calls])
def test_arguments_out_of_range_are_refused(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}=.* is not allowed.*: must be "):
        call()


def test_a_bare_integer_is_answered_with_what_to_write():
    with pytest.raises(ValueError, match=r"as \(3,\) or \(3, 3\)$"):
        layers.convolution(1, 3)


@pytest.mark.parametrize(
    ("layer", "shape", "must"),
    [
        (layers.convolution(1, (3,)), (5, 5, 1), r"\(t, n\)"),
        (layers.max_pool((2, 2)), (5, 1), r"\(h, w, n\)"),
        (layers.convolution(1, (3,), dilation=2), (4, 1), r"as large as a window, \(5,\), with the padding"),
        (layers.convolution(2, (3,), groups=2), (5, 3), "a multiple of groups=2 channels"),
        (layers.global_max_pool(), (5,), r"\(t, n\) or \(h, w, n\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer, shape, must):
    match = f"^{type(layer).__name__} cannot take examples of shape .*: must be {must}$"
    for refusing in (layer.output_shape, layer.build, lambda shape: layer(torch.ones(2, *shape))):
        with pytest.raises(ValueError, match=match):
            refusing(shape)


def test_images_go_to_pytorchs_kernels_without_a_copy():
    x = torch.ones(2, 4, 5, 3)
    assert x.movedim(-1, 1).is_contiguous(memory_format=torch.channels_last)
    y = layers.convolution(2, (3, 3))(x)
    assert y.is_contiguous()
