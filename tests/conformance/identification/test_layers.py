"""Layers: the frameworks' own against the table of what they are, and a user's, right and wrong."""

import re
import sys
from pathlib import Path

import pytest

import conformance
from conformance.identification.answer import Named
from conformance.identification.layer_table import MODULES, same_as, table
from conformance.identification.layers import identify
from conformance.recipes.layer_dialects import lines
from conformance.runs.outcome import BadInput
from reference_numpy.layers import LAYERS

sys.path.insert(0, str(Path(__file__).parent))

from in_process import InProcess

pytest.importorskip("torch")
DOCS = Path(__file__).parents[3] / "docs"

SAMPLE = [
    "torch.nn:Conv2d(stride=2, padding=1)", "torch.nn:AvgPool2d(padding=1)", "torch.nn:BatchNorm2d",
    "torch.nn:LayerNorm", "torch.nn:GRU", "torch.nn:Embedding", "torch.nn:MultiheadAttention", "torch.nn:Flatten",
    "torch.nn:Dropout", "torch.nn:Bilinear", "torch.nn:InstanceNorm2d(affine=True)", "torch.nn:GroupNorm",
]  # fmt: skip
ROWS = {one.target: one for one in table()}

MINE = '''
import torch
from torch import nn

class Gated(nn.Module):
    """A GRU whose gates lie in the given order, with one bias; the last state alone."""
    def __init__(self, n_in, n, gates="zrn"):
        super().__init__()
        self.n, self.gates = n, gates
        self.of_x, self.of_h = nn.Linear(n_in, 3 * n), nn.Linear(n, 3 * n, bias=False)

    def forward(self, x):
        h = x.new_zeros(len(x), self.n)
        for t in range(x.shape[1]):
            a = dict(zip(self.gates, self.of_x(x[:, t]).chunk(3, -1)))
            b = dict(zip(self.gates, self.of_h(h).chunk(3, -1)))
            z, r = torch.sigmoid(a["z"] + b["z"]), torch.sigmoid(a["r"] + b["r"])
            h = (1 - z) * torch.tanh(a["n"] + r * b["n"]) + z * h
        return h

class Padded(nn.Module):
    """A convolution with stride 2, padded as TensorFlow pads, or not at all at the start."""
    def __init__(self, channels, all_at_the_end=False):
        super().__init__()
        self.conv, self.end = nn.Conv2d(channels, 6, 3, stride=2), all_at_the_end
    def forward(self, x):
        sums = [max((-(-n // 2) - 1) * 2 + 3 - n, 0) for n in x.shape[-2:]]
        before = [0 if self.end else n // 2 for n in sums]
        (h, w), (top, left) = sums, before
        return self.conv(nn.functional.pad(x, (left, w - left, top, h - top)))

class Heads(nn.Module):
    """Attention with one projection for all three."""
    def __init__(self, dim, heads, scale=None):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
    def forward(self, x):
        m, t, d = x.shape
        q, k, v = self.qkv(x).reshape(m, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        return self.out(y.transpose(1, 2).reshape(m, t, d))

class Leaky(nn.Module):
    def forward(self, x):
        return nn.functional.leaky_relu(x, 0.15)

def made_by_a_function():
    return nn.LSTM(5, 4, batch_first=True)

made = nn.Linear(5, 2)
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine_layers.py").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine_layers", raising=False)


def told(target):
    return identify(InProcess(target, "layer"))


def is_its_row(target):
    """The answer is what the table says, and the built-in is among those that are the same."""
    answer, row = told(target), ROWS[target]
    if row.layer is None:
        assert not answer.known, str(answer)
        assert answer.reason or answer.distance > 0.01
        return answer
    assert answer.known, str(answer)
    assert answer.found.written("layer") == row.layer.written("layer")
    assert target in answer.builtins
    assert row.layer.name == "dropout" or answer.digits["float64"] > 14 or answer.rounded
    starts_as_said(answer, row)
    return answer


def starts_as_said(answer, row):
    """The weights start as the table's line says: by an initializer of the catalogue, or in words."""
    line = lines()[row.framework][row.call]
    if "no_dialect" in line or "layer" in line.get("asked", ()):
        return  # it starts as the layers do that it was given
    start = line.get("start", "")
    own = [(path.rpartition(".")[2], words) for path, words in answer.starts.items()]
    measured = {path: words for path, words in own if path[0] in "WU"}
    if isinstance(start, str):
        assert all(words in start for words in measured.values() if " of the array" not in words)
        assert any("uniform" in words for path, words in own if path[0] == "b") == ("biases too" in start)
        return
    options = start.get("initializer_options", {})
    named = Named(start["initializer"], options).written("initializer")
    normal = f"normal, deviation {options.get('scale', 0):g}"
    assert all(named in words or words == normal for path, words in measured.items() if path[0] == "W")
    recurrent = f"{start.get('recurrent_initializer')}()"
    assert all(words == recurrent for path, words in measured.items() if path[0] == "U")


@pytest.fixture(autouse=True)
def in_float64():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("target", SAMPLE)
def test_a_layer_of_pytorch_is_what_the_table_says(target):
    is_its_row(target)


@pytest.mark.slow
@pytest.mark.parametrize("target", [target for target in ROWS if target not in SAMPLE])
def test_every_layer_of_the_table_is_what_it_says(target):
    pytest.importorskip(target.partition(".")[0])
    is_its_row(target)


def test_arrays_starts_and_data_are_told():
    answer = is_its_row("torch.nn:LSTM")
    assert answer.arrays == {"W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "b_h": "bias_hh_l0"}
    assert answer.starts["U"] == "uniform(-1/sqrt(n), 1/sqrt(n))"
    assert answer.notes == ("its data: steps first: (t, m, n)",)
    attention = is_its_row("torch.nn:MultiheadAttention")
    assert [attention.arrays[f"W_{letter}"] for letter in "qkv"] == [f"in_proj_weight[{n}]" for n in range(3)]
    assert attention.starts["W_k"] == "xavier_uniform() of the array, 12 outputs and 4 inputs"


@pytest.mark.parametrize("target", ["keras.layers:BatchNormalization", "flax.nnx:BatchNorm"])
def test_a_layer_of_keras_and_one_of_flax_are_what_the_table_says(target):
    pytest.importorskip(target.partition(".")[0])
    is_its_row(target)


@pytest.mark.slow
def test_keras_and_flax_have_their_gates_and_starts():
    pytest.importorskip("keras")
    pytest.importorskip("flax")
    keras = is_its_row("keras.layers:LSTM")
    assert keras.found.keywords["forget_bias"] == 1.0
    assert keras.arrays["W"] == "lstm_cell/kernel, transposed"
    assert keras.starts == {
        "W": "xavier_uniform()", "U": "orthogonal()", "b": "0 at i, 1 at f, 0 at g, 0 at o",
    }  # fmt: skip
    flax = is_its_row("flax.nnx:LSTMCell")
    names = ", ".join(f"cell/i{gate}/kernel" for gate in ("i", "f_", "g", "o"))
    assert flax.arrays["W"] == f"{names} on each other, transposed"


@pytest.mark.parametrize("gates", ["zrn", "rzn", "nzr"])
def test_a_users_gates_are_told_in_their_order(mine, gates):
    answer = told(f"mine_layers:Gated(n_in=5, n=4, gates='{gates}')")
    expected = "gru()" if gates == "rzn" else f'gru(gates="{gates}")'
    assert answer.found.written("layer") == expected


def test_a_users_padding_is_told_and_another_is_not(mine):
    answer = told("mine_layers:Padded(channels=4)")
    assert answer.found.written("layer") == 'convolution(stride=2, padding="same")'
    assert "keras.layers:Conv2D(padding='same', strides=2)" in answer.builtins
    assert answer.same == ()
    wrong = told("mine_layers:Padded(channels=4, all_at_the_end=True)")
    assert not wrong.known
    assert wrong.nearest.name == "convolution"


def test_a_users_attention_is_told_and_one_without_its_scale_is_not(mine):
    assert told("mine_layers:Heads(dim=4, heads=2)").found.written("layer") == "attention(causal=True)"
    wrong = told("mine_layers:Heads(dim=4, heads=2, scale=1.0)")
    assert not wrong.known
    assert wrong.nearest.name == "attention"
    assert 1e-3 < wrong.distance < 0.3


def test_kinds_are_told_apart(mine):
    assert InProcess("mine_layers:Leaky").kind == "activation"
    assert InProcess("mine_layers:made").kind == "layer"
    assert InProcess("torch.nn:ReLU").kind == "activation"
    assert InProcess("torch.nn:LayerNorm").kind == "normalization"
    assert InProcess("torch.nn:MSELoss").kind == "loss"
    assert InProcess("torch.nn:MaxPool2d").kind == "layer"


def test_what_a_function_makes_and_what_is_made_are_asked_in_a_process_of_their_own(mine):
    answer = conformance.identify("mine_layers:made_by_a_function")
    assert answer.kind == "layer"
    assert answer.found.written("layer") == "lstm(return_sequences=True, biases=2)"
    made = conformance.identify("mine_layers:made")
    assert made.found.written("layer") == "dense()"
    assert made.starts["W"] == "the same numbers with every seed"


def test_an_argument_that_no_convention_gives_is_asked_for(mine):
    with pytest.raises(BadInput, match=r"the layer needs n_in, n: say it, as in Layer\(n_in=4\)"):
        InProcess("mine_layers:Gated")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("torch.nn:Linear(bais=False)", "argument='bais' of torch.nn:Linear is not allowed.*did you mean 'bias'"),
        (
            "reference_numpy.activations:leaky_relu(slop=0.1)",
            "must be one of 'z', 'slope', 'out'; did you mean 'slope'",
        ),
    ],
)
def test_an_argument_that_is_none_is_refused_with_the_nearest(target, said):
    with pytest.raises(BadInput, match=said):
        InProcess(target)


def test_every_layer_of_the_table_is_one_that_the_reference_makes():
    for one in table():
        if one.layer is not None:
            assert one.layer.name in LAYERS
            assert one.target in same_as(one.layer)


@pytest.mark.parametrize(("heading", "framework"), [("### PyTorch", "torch"), ("### Keras", "keras")])
def test_the_table_has_every_layer_that_the_page_of_layers_names(heading, framework):
    section = (DOCS / "layers.md").read_text(encoding="utf-8").partition(heading)[2].partition("###")[0]
    cells = [line.split("|")[2] for line in section.splitlines() if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"[A-Z]\w+", cell)} - {"True", "False"}
    assert named <= {one.call.partition("(")[0] for one in table() if one.framework == framework}
    assert set(MODULES) == {"torch", "keras", "flax"}
