"""Modules of PyTorch held against recipes of layers: right ones pass all that they offer, wrong ones fail in place."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import conformance  # noqa: E402
from conformance.wrappers.matching import CannotMatch  # noqa: E402

SHORT = """
name = "short"
loss = "categorical_cross_entropy"
dataset = { name = "digits", examples = 20, test_examples = 6 }
optimizer = { dialect = "torch.SGD(momentum=0.9)", learning_rate = 0.1 }
batch_size = 8
epochs = 1
[model]
name = "network"
layers = [LAYERS]
"""


def recipe(*layers, dataset=None, **changed):
    text = SHORT.replace("LAYERS", ", ".join(layers))
    for name, value in changed.items():
        text = "\n".join(f"{name} = {value}" if line.startswith(f"{name} =") else line for line in text.splitlines())
    return text if dataset is None else text.replace("digits", dataset)


IMAGE, STEPS = '{name = "reshape", shape = [8, 8, 1]}', '{name = "reshape", shape = [8, 8]}'
RELU, HEAD = '{name = "activation", function = "relu"}', '{name = "dense", units = 10}'
CNN = recipe(
    IMAGE,
    '{name = "convolution", channels = 4, kernel = [3, 3], padding = 1}',
    '{name = "batch_norm", running_variance = "unbiased"}',
    RELU,
    '{name = "average_pool", window = [3, 3], stride = 2, padding = 1, count_padding = true}',
    '{name = "dropout", keep_probability = 0.75}',
    '{name = "flatten", order = "channels_first"}',
    HEAD,
)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def wrapped(model, **parts):
    return conformance.wrap_torch(model, **{"loss": nn.CrossEntropyLoss(), "optimizer": sgd, **parts})


def image(x):
    return x.reshape(-1, 1, 8, 8)


def steps(x):
    return x.reshape(-1, 8, 8)


def cnn(pool=None):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), pool or nn.AvgPool2d(3, 2, 1),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_network_of_images_with_batch_norm_and_dropout(judged, dtype):
    found = judged(wrapped(cnn, inputs=image), CNN, dtype)
    assert found.wrong == {}, found.causes
    inside = {f"{place}.A ({mode})" for place in range(1, 9) for mode in ("training", "inference")}
    assert inside <= found.of("pass")["forward"]
    assert {"d2.W (first batch)", "d3.gamma (first batch)", "dA0 (first batch)"} <= found.of("pass")["gradients"]
    assert {"2.W", "3.running_variance", "velocity of 8.W", "cost"} <= found.of("pass")["free_running"]


class Last(nn.Module):
    """A recurrent layer's output at the last step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0][:, -1]


def test_recurrent_layers_of_either_order_of_gates(judged):
    for gates in ("rzn", "zrn"):
        said = recipe(STEPS, f'{{name = "gru", units = 3, gates = "{gates}", biases = 2}}', HEAD)
        found = judged(
            wrapped(lambda: nn.Sequential(Last(nn.GRU(8, 3, batch_first=True)), nn.Linear(3, 10)), inputs=steps), said
        )
        assert found.wrong == {}, found.causes
        assert {"1.A (inference)", "2.h (inference)", "2.A (inference)"} <= found.of("pass")["forward"]
        assert {"d2.U (first batch)", "d2.b_h (first batch)"} <= found.of("pass")["gradients"]


class Tagger(nn.Module):
    """Two LSTMs in one module, time first, then one in both directions, of which the last states are taken."""

    def __init__(self):
        super().__init__()
        self.read = nn.LSTM(8, 3, num_layers=2)
        self.both = nn.RNN(3, 2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(4, 10)

    def forward(self, x):
        states, _ = self.read(x.transpose(0, 1))
        _, last = self.both(states.transpose(0, 1))
        return self.out(torch.cat([last[0], last[1]], dim=1))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_stacked_recurrent_layers_and_one_in_both_directions(judged, dtype):
    said = recipe(
        STEPS,
        '{name = "lstm", units = 3, biases = 2, return_sequences = true}',
        '{name = "lstm", units = 3, biases = 2, return_sequences = true, gates = "fiog"}',
        '{name = "bidirectional", layers = [{name = "simple_rnn", units = 2, biases = 2}]}',
        HEAD,
    )
    found = judged(wrapped(Tagger, inputs=steps), said, dtype)
    assert found.wrong == {}, found.causes
    shown = {"1.A", "3.A", "3.h", "4.A", "4.forward.h", "4.backward.h"}
    assert {f"{name} (inference)" for name in shown} <= found.of("pass")["forward"]
    assert {"4.backward.U", "3.b_h", "velocity of 2.W"} <= found.of("pass")["free_running"]


class Block(nn.Module):
    """Attention and what follows, both with a way around, as PyTorch's own encoder layer has them."""

    def __init__(self, fused=False):
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.hidden = nn.Linear(8, 8)
        self.out = nn.Linear(8, 10)

    def forward(self, x):
        x = self.norm(x)
        x = x + self.attention(x, x, x, need_weights=True, average_attn_weights=False)[0]
        x = x + F.relu(self.hidden(x))
        return self.out(x.mean(1))


ATTENTION = recipe(
    STEPS,
    '{name = "layer_norm"}',
    '{name = "residual", layers = [{name = "attention", heads = 2}]}',
    '{name = "residual", layers = [{name = "dense", units = 8}, {name = "activation", function = "relu"}]}',
    '{name = "global_average_pool"}',
    HEAD,
)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_block_of_attention_with_packed_weights(judged, dtype):
    found = judged(wrapped(Block, inputs=steps), ATTENTION, dtype)
    assert found.wrong == {}, found.causes
    shown = {"1.A", "2.A", "3.A", "3.weights", "4.1.A", "5.A", "6.A"}
    assert {f"{name} (inference)" for name in shown} <= found.of("pass")["forward"]
    assert {"3.W_q", "3.W_k", "3.W_v", "3.W_o", "3.b_v", "3.b_o", "2.gamma"} <= found.of("pass")["free_running"]


class Own(nn.Module):
    """The same block out of a user's own parts: one matrix for queries, keys and values, a kernel of inputs first."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))
        self.qkv = nn.Parameter(torch.zeros(8, 24))
        self.biases = nn.Parameter(torch.zeros(24))
        self.join = nn.Linear(8, 8)
        self.hidden = nn.Linear(8, 8)
        self.out = nn.Linear(8, 10)

    def forward(self, x):
        x = F.layer_norm(x, (8,), self.scale, self.shift)
        q, k, v = (x @ self.qkv + self.biases).reshape(-1, 8, 3, 2, 4).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 8, 8)
        x = x + self.join(found)
        x = x + F.relu(self.hidden(x))
        return self.out(x.mean(1))


def test_a_block_of_one_s_own_with_what_is_which_said_of_its_rows(judged, prepared):
    with pytest.raises(CannotMatch, match=r"the model's parameters cannot be matched to the recipe's: 3.W_q \(8, 8\)"):
        wrapped(Own, inputs=steps).session(prepared(ATTENTION, "float64"))
    names = {f"3.b_{letter}": f"biases[{8 * i}:{8 * i + 8}]" for i, letter in enumerate("qkv")}
    names |= {"3.W_o": "join.weight", "3.b_o": "join.bias", "4.1.W": "hidden.weight"}
    names |= {f"3.W_{letter}": f"qkv.T[{8 * i}:{8 * i + 8}]" for i, letter in enumerate("qkv")}
    found = judged(wrapped(Own, inputs=steps, names=names), ATTENTION)
    assert found.wrong == {}, found.causes
    assert {"3.W_q", "3.b_v", "4.1.b", "2.gamma"} <= found.of("pass")["free_running"]


TOKENS = recipe(
    '{name = "embedding", entries = 27, units = 4}',
    '{name = "convolution", channels = 4, kernel = [3]}',
    RELU,
    '{name = "global_max_pool"}',
    '{name = "dense", units = 3}',
    dataset="words",
)


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(27, 4)
        self.read = nn.Conv1d(4, 4, 3)
        self.pool = nn.AdaptiveMaxPool1d(1)
        self.out = nn.Linear(4, 3)

    def forward(self, tokens):
        x = self.table(tokens).transpose(1, 2)
        return self.out(self.pool(F.relu(self.read(x))).flatten(1))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_tokens_into_an_embedding(judged, dtype):
    found = judged(wrapped(Bag), TOKENS, dtype)
    assert found.wrong == {}, found.causes
    assert {"1.A (inference)", "2.A (inference)", "4.A (inference)"} <= found.of("pass")["forward"]
    assert {"1.W", "2.W", "cost"} <= found.of("pass")["free_running"]


def after(model, **parts):
    """A model whose inputs are 8 steps of 8 numbers."""
    return wrapped(model, inputs=steps, **parts)


SAME = recipe(
    IMAGE,
    '{name = "convolution", channels = 2, kernel = [3, 3], stride = 2, padding = "same"}',
    '{name = "flatten", order = "channels_first"}',
    HEAD,
)


class Padded(nn.Module):
    def __init__(self, padding):
        super().__init__()
        self.padding, self.convolution = padding, nn.Conv2d(1, 2, 3, stride=2)

    def forward(self, x):
        return self.convolution(F.pad(x, self.padding))


@pytest.mark.parametrize(("padding", "right"), [((0, 1, 0, 1), True), ((1, 0, 1, 0), False)])
def test_padding_with_a_stride_is_on_the_side_where_the_recipe_has_it(judged, padding, right):
    found = judged(wrapped(lambda: nn.Sequential(Padded(padding), nn.Flatten(), nn.Linear(32, 10)), inputs=image), SAME)
    if right:
        assert found.wrong == {}, found.causes
        assert "2.A (inference)" in found.of("pass")["forward"]
    else:
        assert {"2.A (inference)", "3.A (inference)", "4.A (inference)"} <= found.wrong["forward"]
        assert "1.A (inference)" not in found.wrong["forward"]
        assert "d2.W (first batch)" in found.wrong["gradients"]
        assert "update" not in found.wrong


def test_an_average_that_counts_no_padding_is_wrong_from_the_pool_on(judged):
    found = judged(wrapped(lambda: cnn(nn.AvgPool2d(3, 2, 1, count_include_pad=False)), inputs=image), CNN)
    wrong = found.wrong["forward"]
    assert {"5.A (training)", "8.A (inference)"} <= wrong
    assert not {f"{place}.A ({mode})" for place in (1, 2, 3, 4) for mode in ("training", "inference")} & wrong


class OwnGru(nn.Module):
    """A port from Keras whose gates lie as they lay there, z before r, and are read as PyTorch has them."""

    def __init__(self, order="rzn"):
        super().__init__()
        self.order = order
        self.kernel, self.recurrent = nn.Parameter(torch.zeros(9, 8)), nn.Parameter(torch.zeros(9, 3))
        self.bias, self.recurrent_bias = nn.Parameter(torch.zeros(9)), nn.Parameter(torch.zeros(9))
        self.out = nn.Linear(3, 10)

    def forward(self, x):
        h = x.new_zeros(len(x), 3)
        for step in range(x.shape[1]):
            a = (x[:, step] @ self.kernel.T + self.bias).chunk(3, 1)
            b = (h @ self.recurrent.T + self.recurrent_bias).chunk(3, 1)
            at = {gate: self.order.index(gate) for gate in "rzn"}
            r, z = (torch.sigmoid(a[at[gate]] + b[at[gate]]) for gate in "rz")
            n = torch.tanh(a[at["n"]] + r * b[at["n"]])
            h = (1 - z) * n + z * h
        return self.out(h)


@pytest.mark.parametrize("order", ["zrn", "rzn"])
def test_gates_of_a_port_in_another_order_show_in_the_layer_s_output(judged, order):
    said = recipe(STEPS, '{name = "gru", units = 3, gates = "zrn", biases = 2}', HEAD)
    found = judged(after(lambda: OwnGru(order)), said)
    if order == "zrn":
        assert found.wrong == {}, found.causes
        assert {"2.A (inference)", "3.A (inference)"} <= found.of("pass")["forward"]
    else:
        assert {"2.A (inference)", "3.A (inference)"} <= found.wrong["forward"]
        assert {"d2.W (first batch)", "d2.b_h (first batch)"} <= found.wrong["gradients"]


def test_an_activation_after_a_pool_may_stand_before_it(judged):
    said = recipe(IMAGE, RELU, '{name = "max_pool", window = [2, 2]}', '{name = "flatten"}', HEAD)
    model = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10))
    found = judged(wrapped(model, inputs=image), said)
    assert found.wrong == {}, found.causes
    assert "2.A (inference)" in found.of("unsupported")["forward"]
    assert "4.A (inference)" in found.of("pass")["forward"]


def drawn_as_the_recipe_says(module):
    for name, w in module.named_parameters(recurse=False):
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(w)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(w)
        elif name.startswith("bias"):
            nn.init.zeros_(w)
            if isinstance(module, nn.LSTM) and name.startswith("bias_ih"):
                w.data[3:6] = module.forget
        else:
            nn.init.kaiming_normal_(w)


@pytest.mark.parametrize("forget", [1.0, 0.0])
def test_a_forget_gate_that_starts_closed_shows_in_the_biases(judged, forget):
    said = recipe(STEPS, '{name = "lstm", units = 3, biases = 2, forget_bias = 1.0}', HEAD)

    def model():
        layer = nn.LSTM(8, 3, batch_first=True)
        layer.forget = forget
        return nn.Sequential(Last(layer), nn.Linear(3, 10))

    found = judged(conformance.wrap_torch(model, inputs=steps, initializer=drawn_as_the_recipe_says), said)
    if forget:
        assert found.wrong == {}, found.causes
        assert "root mean square of initial 2.W" in found.of("pass")["initialization"]
    else:
        shown = {"root mean square of each layer's initial biases", "mean of initial 2.b of gate f"}
        assert found.wrong == {"initialization": shown}


def test_an_embedding_that_starts_in_another_way_is_told(judged):
    def as_keras_does(module):
        if isinstance(module, nn.Embedding):
            nn.init.uniform_(module.weight, -0.05, 0.05)
        else:
            drawn_as_the_recipe_says(module)

    right = judged(conformance.wrap_torch(Bag, initializer=_normal_table), TOKENS)
    assert right.wrong == {}, right.causes
    wrong = judged(conformance.wrap_torch(Bag, initializer=as_keras_does), TOKENS)
    assert "root mean square of initial 1.W" in wrong.wrong["initialization"]
    assert all("initial 1.W" in statistic for statistic in wrong.wrong["initialization"])


def _normal_table(module):
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight)
    else:
        drawn_as_the_recipe_says(module)


def test_a_constraint_is_given_the_recipe_s_tensors_also_of_packed_ones(judged):
    def limit(parameters):
        for name in ("3.W_q", "3.W_k", "3.W_v", "3.W_o", "4.1.W", "6.W"):
            w = parameters[name]
            w.mul_(0.5 / w.norm(dim=1, keepdim=True).clamp(min=0.5))

    said = 'regularizers = [{ name = "max_norm", limit = 0.5 }]\n' + ATTENTION
    found = judged(after(Block, constrain=limit), said)
    assert found.wrong == {}, found.causes
    assert {"3.W_k", "6.W"} <= found.of("pass")["free_running"]


@pytest.mark.slow
def test_a_whole_check_by_its_front_door(tmp_path):
    recipe_file = tmp_path / "short.toml"
    recipe_file.write_text(CNN)
    good = conformance.check(wrapped(cnn, inputs=image), recipe_file, dtypes=["float32"], output=tmp_path / "good")
    assert good.ok, good
    pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    bad = conformance.check(
        wrapped(lambda: cnn(pool), inputs=image), recipe_file, dtypes=["float64"], output=tmp_path / "bad"
    )
    assert not bad.ok
    assert "padding" in "\n".join(bad.why)
