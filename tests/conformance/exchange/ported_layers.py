"""The same layers with the same numbers in PyTorch, Keras and Flax, as each framework's own object keeps them.

Keras's layer draws the numbers; they are given to the other two, whose outputs are held against Keras's, so that what
the files hold is truly one layer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
D, U = 5, 3  # inputs and units


class Ported(NamedTuple):
    """A layer's arrays in three frameworks."""

    torch: Arrays
    keras: Arrays
    flax: Arrays


def attention() -> Ported:
    """Multi-head attention: one packed projection, or three kernels with an axis of heads."""
    import flax.linen as nn
    import keras
    import torch

    heads, each, size = 2, 3, 6
    x = _drawn(4, 7, size)
    layer = keras.layers.MultiHeadAttention(heads, each, bias_initializer="glorot_uniform")
    expected = np.asarray(layer(x, x))
    named = {w.path.split("/", 1)[1]: w.numpy() for w in layer.weights}
    three = ("query", "key", "value")
    own = torch.nn.MultiheadAttention(size, heads, batch_first=True)
    _fill(own, {
        "in_proj_weight": np.concatenate([named[f"{n}/kernel"].reshape(size, size).T for n in three]),
        "in_proj_bias": np.concatenate([named[f"{n}/bias"].reshape(size) for n in three]),
        "out_proj.weight": named["attention_output/kernel"].reshape(size, size).T,
        "out_proj.bias": named["attention_output/bias"],
    })  # fmt: skip
    tensor = torch.tensor(x)
    _agree(own(tensor, tensor, tensor)[0].detach().numpy(), expected)
    flax = {f"{n}/{part}": named[f"{n}/{part}"] for n in three for part in ("kernel", "bias")}
    flax |= {f"out/{part}": named[f"attention_output/{part}"] for part in ("kernel", "bias")}
    _agree(nn.MultiHeadDotProductAttention(heads).apply({"params": _tree(flax)}, x, x), expected)
    return Ported(_state(own), named, flax)


def lstm() -> Ported:
    """An LSTM: one bias, two that are added, or eight kernels with a bias on four of them."""
    import flax.linen as nn
    import keras
    import torch

    x = _drawn(4, 7, D)
    layer = keras.layers.LSTM(U, bias_initializer="glorot_uniform")
    expected = np.asarray(layer(x))
    kernel, recurrent, bias = (w.numpy() for w in layer.weights)
    first = _drawn(4 * U)
    own = torch.nn.LSTM(D, U, batch_first=True)
    _fill(own, {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent.T, "bias_ih_l0": first, "bias_hh_l0": bias - first})
    _agree(own(torch.tensor(x))[1][0][0].detach().numpy(), expected)
    named = {w.path.split("/", 1)[1]: w.numpy() for w in layer.weights}
    named["lstm_cell/bias"] = first + (bias - first)  # which rounds
    flax: Arrays = {}
    for place, gate in enumerate("ifgo"):
        own_part = slice(place * U, (place + 1) * U)
        flax[f"i{gate}/kernel"] = kernel[:, own_part]
        flax[f"h{gate}/kernel"], flax[f"h{gate}/bias"] = recurrent[:, own_part], named["lstm_cell/bias"][own_part]
    carry = (np.zeros((4, U), np.float32),) * 2
    cell = nn.LSTMCell(U)
    for step in range(x.shape[1]):
        carry, out = cell.apply({"params": _tree(flax)}, carry, x[:, step])
    _agree(out, expected)
    return Ported(_state(own), named, flax)


def gru() -> Ported:
    """A GRU with its reset gate behind the product: a bias (2, 3u), two, or four of which two are sums."""
    import flax.linen as nn
    import keras
    import torch

    x = _drawn(4, 7, D)
    layer = keras.layers.GRU(U, bias_initializer="glorot_uniform")
    expected = np.asarray(layer(x))
    kernel, recurrent, bias = (w.numpy() for w in layer.weights)

    def turned(w: np.ndarray) -> np.ndarray:
        z, r, n = np.split(w, 3, -1)
        return np.concatenate([r, z, n], -1)

    own = torch.nn.GRU(D, U, batch_first=True)
    biases = dict(zip(("bias_ih_l0", "bias_hh_l0"), turned(bias), strict=True))
    _fill(own, {"weight_ih_l0": turned(kernel).T, "weight_hh_l0": turned(recurrent).T, **biases})
    _agree(own(torch.tensor(x))[1][0].detach().numpy(), expected)
    flax: Arrays = {}
    for place, gate in enumerate("zrn"):
        own_part = slice(place * U, (place + 1) * U)
        flax[f"i{gate}/kernel"], flax[f"h{gate}/kernel"] = kernel[:, own_part], recurrent[:, own_part]
        both = bias[:, own_part]
        flax[f"i{gate}/bias"] = both[0] if gate == "n" else both.sum(0)
    flax["hn/bias"] = bias[1, 2 * U :]
    carry = np.zeros((4, U), np.float32)
    for step in range(x.shape[1]):
        carry, out = nn.GRUCell(U).apply({"params": _tree(flax)}, carry, x[:, step])
    _agree(out, expected)
    return Ported(_state(own), {w.path.split("/", 1)[1]: w.numpy() for w in layer.weights}, flax)


def bidirectional() -> Ported:
    """Two LSTMs, one of which reads from the end."""
    import flax.linen as nn
    import jax
    import keras
    import torch

    x = _drawn(4, 7, D)
    layer = keras.layers.Bidirectional(keras.layers.LSTM(U, bias_initializer="glorot_uniform"))
    expected = np.asarray(layer(x))
    named = {w.path.split("/", 1)[1]: w.numpy() for w in layer.weights}
    own, flax = torch.nn.LSTM(D, U, batch_first=True, bidirectional=True), {}
    for number, (suffix, direction) in enumerate((("", "forward"), ("_reverse", "backward"))):
        mine = {name.rsplit("/", 1)[1]: w for name, w in named.items() if name.startswith(direction)}
        first = _drawn(4 * U)
        _fill(own, {f"weight_ih_l0{suffix}": mine["kernel"].T, f"weight_hh_l0{suffix}": mine["recurrent_kernel"].T,
                    f"bias_ih_l0{suffix}": first, f"bias_hh_l0{suffix}": mine["bias"] - first})  # fmt: skip
        whole = next(name for name in named if name.startswith(direction) and name.endswith("/bias"))
        named[whole] = first + (mine["bias"] - first)
        for place, gate in enumerate("ifgo"):
            own_part = slice(place * U, (place + 1) * U)
            flax[f"LSTMCell_{number}/i{gate}/kernel"] = mine["kernel"][:, own_part]
            flax[f"LSTMCell_{number}/h{gate}/kernel"] = mine["recurrent_kernel"][:, own_part]
            flax[f"LSTMCell_{number}/h{gate}/bias"] = named[whole][own_part]
    out = own(torch.tensor(x))[1][0]
    _agree(np.concatenate(list(out.detach().numpy()), -1), expected)
    found = []
    for number in (0, 1):
        tree = _tree({k.split("/", 1)[1]: w for k, w in flax.items() if k.startswith(f"LSTMCell_{number}")})
        (_, out), _ = nn.RNN(nn.LSTMCell(U), reverse=bool(number), return_carry=True).apply(
            {"params": {"cell": tree}}, jax.numpy.asarray(x)
        )
        found.append(np.asarray(out))
    _agree(np.concatenate(found, -1), expected)
    return Ported(_state(own), named, flax)


def convolution() -> Ported:
    """A convolution, a batch norm with running statistics, and a dense layer on the flattened image."""
    import flax.linen as nn
    import keras
    import torch

    x = _drawn(4, 6, 8, 2)
    model = keras.Sequential([
        keras.Input(x.shape[1:]), keras.layers.Conv2D(3, 3, bias_initializer="glorot_uniform"),
        keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(5),
    ])  # fmt: skip
    norm = model.layers[1]
    for number, weight in enumerate(norm.weights, start=1):
        weight.assign(number + np.abs(_drawn(3)))
    model.layers[-1].bias.assign(_drawn(5))
    expected = np.asarray(model(x))
    conv, scale, shift, mean, variance, dense = (
        model.layers[0].kernel.numpy(), *(w.numpy() for w in norm.weights), model.layers[-1].kernel.numpy(),
    )  # fmt: skip
    bias, last = model.layers[0].bias.numpy(), model.layers[-1].bias.numpy()
    own = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3, eps=1e-3), torch.nn.Flatten(), torch.nn.Linear(72, 5)
    )
    _fill(own, {
        "0.weight": conv.transpose(3, 2, 0, 1), "0.bias": bias, "1.weight": scale, "1.bias": shift,
        "1.running_mean": mean, "1.running_var": variance, "3.bias": last,
        "3.weight": dense.reshape(4, 6, 3, 5).transpose(3, 2, 0, 1).reshape(5, 72),
    })  # fmt: skip
    _agree(own.eval()(torch.tensor(x.transpose(0, 3, 1, 2))).detach().numpy(), expected)
    params = {"Conv_0/kernel": conv, "Conv_0/bias": bias, "BatchNorm_0/scale": scale, "BatchNorm_0/bias": shift}
    statistics = {"BatchNorm_0/mean": mean, "BatchNorm_0/var": variance}
    out = nn.Conv(3, (3, 3), padding="VALID").apply({"params": _tree(params)["Conv_0"]}, x)
    norm_of = {"params": _tree(params)["BatchNorm_0"], "batch_stats": _tree(statistics)["BatchNorm_0"]}
    out = nn.BatchNorm(use_running_average=True, epsilon=1e-3).apply(norm_of, out)
    out = nn.Dense(5).apply({"params": {"kernel": dense, "bias": last}}, out.reshape(4, -1))
    _agree(out, expected)
    flax = {f"params/{k}": w for k, w in params.items()} | {f"batch_stats/{k}": w for k, w in statistics.items()}
    flax |= {"params/Dense_0/kernel": dense, "params/Dense_0/bias": last}
    return Ported(_state(own), {w.path: w.numpy() for w in model.weights}, flax)


LAYERS: dict[str, Callable[[], Ported]] = {
    each.__name__: each for each in (attention, lstm, gru, bidirectional, convolution)
}


def _drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def _fill(module: Any, arrays: Arrays) -> None:
    import torch

    found = module.load_state_dict({name: torch.tensor(value.copy()) for name, value in arrays.items()}, strict=False)
    assert not found.unexpected_keys


def _state(module: Any) -> Arrays:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def _tree(flat: Arrays) -> dict[str, Any]:
    """Flat names with slashes as nested dicts."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split("/")
        inner = tree
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return tree


def _agree(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-5)
