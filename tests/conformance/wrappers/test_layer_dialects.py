"""The frameworks' own layers, each with its own defaults, held against recipes that name them in their dialect.

A stock layer passes all that its wrapper offers; where the catalogue has its start, also how it starts.
"""

import ast
import os
import re
from typing import Any

import pytest

import conformance
from conformance.recipes.layer_dialects import LayerDialect, layer_dialects

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported

SHORT = """
name = "short"
loss = "categorical_cross_entropy"
dataset = { name = "DATA", examples = 20, test_examples = 6 }
initializer = INITIALIZER
optimizer = { dialect = "SGD", learning_rate = 0.1 }
batch_size = 8
epochs = 1
[model]
name = "network"
layers = [LAYERS]
"""
HEADS = {"torch": "torch.Linear", "keras": "keras.Dense", "flax": "flax.Linear"}
OPTIMIZERS = {
    "torch": "torch.SGD(momentum=0.9)",
    "keras": "keras.SGD(momentum=0.9)",
    "flax": "optax.sgd(momentum=0.9)",
}
# Of matrices that a wrapper draws apart from the model.
INITIALIZERS = {
    "torch": '"he_normal"',
    "keras": '"xavier_uniform"',
    "flax": '{ name = "lecun_normal", truncated = true }',
}
RECURRENT = ("simple_rnn", "lstm", "gru", "bidirectional")
SHAPES = {"image": (8, 4, 2), "sequence": (8, 8), "features": (64,)}
IN_FLOAT32_ALONE = ("flax.MultiHeadAttention",)  # in float64 it takes the softmax in float32

# PyTorch remarks that an even kernel may need a copy.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

DIALECTS = {dialect.name: dialect for dialect in layer_dialects()}
EVERYDAY = ("torch.GRU", "keras.BatchNormalization", "flax.Linear")


def axes(dialect: LayerDialect) -> int:
    """Of a window, by the built-in's name; Flax's ``Conv`` has as many as its kernel."""
    return 1 if re.search("1[dD]|kernel_size=3", dialect.builtin) else 2


def kind(dialect: LayerDialect) -> str:
    """What the layer is given."""
    if dialect.layer == "embedding":
        return "tokens"
    if dialect.layer in (*RECURRENT, "attention") or (dialect.layer == "flatten"):
        return "sequence"
    if dialect.layer in ("convolution", "max_pool", "average_pool") or dialect.layer.startswith("global"):
        return "sequence" if axes(dialect) == 1 else "image"
    return "image" if dialect.builtin == "BatchNorm2d" else "features"


def sizes(dialect: LayerDialect) -> dict[str, Any]:
    """What a recipe says beside the dialect."""
    window = [3] if axes(dialect) == 1 else [3, 2]
    depthwise = {"groups": 2} if "groups" in dialect.required else {}
    return {
        "dense": {"units": 5}, "convolution": {"channels": 4, "kernel": window, **depthwise},
        "embedding": {"entries": 27, "units": 3}, "attention": {"heads": 2, "key_units": 4},
        "average_pool": {"window": window},
        "max_pool": {} if "window" in dialect.keywords else {"window": window},
        "dropout": {} if "keep_probability" in dialect.keywords else {"keep_probability": 0.7},
        **{name: {"units": 3} for name in RECURRENT},
    }.get(dialect.layer, {})  # fmt: skip


def recipe(dialect: LayerDialect) -> str:
    given = kind(dialect)
    # Recurrent layers take an initializer by its name alone.
    by_name = {"initializer": "xavier_uniform"} if dialect.framework == "flax" and dialect.layer in RECURRENT else {}
    said: dict[str, Any] = {"dialect": dialect.name, **sizes(dialect), **by_name}
    if dialect.layer == "bidirectional" and not dialect.inside:
        inner = {"keras": "keras.GRU", "flax": "flax.GRUCell"}[dialect.framework]
        said = {"dialect": dialect.name, "layers": [{"dialect": inner, "units": 3, **by_name}]}
    order = "channels_first" if dialect.framework == "torch" and channels_second(dialect) else "channels_last"
    layers = [] if given in ("features", "tokens") else [{"name": "reshape", "shape": list(SHAPES[given])}]
    layers += [said, {"name": "flatten", "order": order}]
    flat = (
        given == "features" or dialect.layer in ("flatten", "global_average_pool", "global_max_pool") or last(dialect)
    )
    layers = layers[:-1] if flat else layers
    layers.append({"dialect": HEADS[dialect.framework], "units": 3 if given == "tokens" else 10})
    text = SHORT.replace("DATA", "words" if given == "tokens" else "digits")
    text = text.replace("SGD", OPTIMIZERS[dialect.framework])
    text = text.replace("INITIALIZER", INITIALIZERS[dialect.framework])
    return text.replace("LAYERS", ", ".join(map(toml, layers)))


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(setting)}" for name, setting in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def channels_second(dialect: LayerDialect) -> bool:
    """Whether PyTorch has the layer's channels on the second axis."""
    return dialect.layer in ("convolution", "max_pool", "average_pool") or dialect.builtin == "BatchNorm2d"


def last(dialect: LayerDialect) -> bool:
    """Whether a recurrent layer gives its last state alone."""
    if dialect.layer not in RECURRENT:
        return False
    if dialect.layer == "bidirectional" and not dialect.inside:
        return dialect.framework == "keras"
    return not (dialect.inside or dialect.keywords).get("return_sequences", False)


def call(dialect: LayerDialect) -> tuple[str, dict[str, Any]]:
    """The built-in's name, and the arguments that its call has."""
    node = ast.parse(dialect.builtin, mode="eval").body
    if not isinstance(node, ast.Call):
        return dialect.builtin, {}
    assert isinstance(node.func, ast.Name)
    return node.func.id, {str(one.arg): ast.literal_eval(one.value) for one in node.keywords}


def started(dialect: LayerDialect) -> dict[str, Any]:
    """What has a wrapper draw the model's own start, where the catalogue has it; Flax's cells have another."""
    return {} if dialect.start or dialect.name == "flax.Bidirectional" else {"initializer": "own"}


def of_torch(dialect: LayerDialect) -> Any:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    name, arguments = call(dialect)
    channels = {"image": 2, "sequence": 8, "features": 64, "tokens": 0}[kind(dialect)]
    window = 3 if axes(dialect) == 1 else (3, 2)
    made = {
        "Linear": (64, 5), "Conv1d": (channels, 4, window), "Conv2d": (channels, 4, window), "AvgPool1d": (window,),
        "AvgPool2d": (window,), "MaxPool1d": (window,), "MaxPool2d": (window,), "AdaptiveAvgPool2d": (1,),
        "AdaptiveMaxPool2d": (1,), "BatchNorm1d": (channels,), "BatchNorm2d": (channels,), "LayerNorm": (64,),
        "Embedding": (27, 3), "MultiheadAttention": (8, 2), "Flatten": (), "Dropout": (),
    }.get(name, (8, 3))  # fmt: skip

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            batch_first = {"batch_first": True} if name in ("RNN", "LSTM", "GRU", "MultiheadAttention") else {}
            self.layer = getattr(nn, name)(*made, **arguments, **batch_first)
            self.out = nn.LazyLinear(3 if kind(dialect) == "tokens" else 10)

        def forward(self, x):
            if channels_second(dialect) or dialect.layer.startswith("global"):
                x = x.movedim(-1, 1)
            if name in ("RNN", "LSTM", "GRU"):
                x = self.layer(x)[0]
            elif name.endswith("Cell"):
                x = self.unrolled(x)
            elif name == "MultiheadAttention":
                x = self.layer(x, x, x)[0]
            else:
                x = self.layer(x)
            return self.out(x.flatten(1))

        def unrolled(self, x):
            states, state = [], None
            for step in range(x.shape[1]):
                state = self.layer(x[:, step], state)
                states.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(states, 1)

    def model():
        made = Model()
        made(inputs(torch.zeros(2, 12, dtype=int) if kind(dialect) == "tokens" else torch.zeros(2, 64)))
        return made

    def inputs(x):
        return x if kind(dialect) == "tokens" else x.reshape(-1, *SHAPES[kind(dialect)])

    return conformance.wrap_torch(
        model, loss=nn.CrossEntropyLoss(), inputs=inputs,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    )  # fmt: skip


def of_keras(dialect: LayerDialect) -> Any:
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    layers = keras.layers
    name, arguments = call(dialect)
    window = 3 if axes(dialect) == 1 else (3, 2)
    made = {
        "Dense": (5,), "Conv1D": (4, window), "Conv2D": (4, window), "DepthwiseConv2D": (window,),
        "AveragePooling1D": (window,), "AveragePooling2D": (window,), "Embedding": (27, 3),
        "MultiHeadAttention": (2, 4), "Dropout": (0.3,), "SimpleRNN": (3,), "LSTM": (3,), "GRU": (3,), "GRUCell": (3,),
    }.get(name, ())  # fmt: skip

    class Attending(layers.Layer):
        def __init__(self):
            super().__init__()
            self.attention = layers.MultiHeadAttention(*made)

        def call(self, x):
            return self.attention(x, x)

    def layer():
        if name == "GRUCell":
            return layers.RNN(layers.GRUCell(3), return_sequences=True)
        if name == "Bidirectional":
            return layers.Bidirectional(layers.GRU(3))
        return Attending() if name == "MultiHeadAttention" else getattr(layers, name)(*made, **arguments)

    class Backwards(layers.Layer):
        """Recipes have outputs at the places of their inputs."""

        def __init__(self):
            super().__init__()
            self.layer = layer()

        def call(self, x):
            return self.layer(x)[:, ::-1]

    def model():
        first = Backwards() if "go_backwards" in arguments else layer()
        return [first, layers.Flatten(), layers.Dense(3 if kind(dialect) == "tokens" else 10)]

    def inputs(x):
        return x if kind(dialect) == "tokens" else tf.reshape(x, (-1, *SHAPES[kind(dialect)]))

    return conformance.wrap_keras(
        model, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), inputs=inputs,
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9), **started(dialect),
    )  # fmt: skip


def of_flax(dialect: LayerDialect) -> Any:
    jnp, optax = pytest.importorskip("jax.numpy"), pytest.importorskip("optax")
    nnx = pytest.importorskip("flax.nnx")
    name, arguments = call(dialect)
    window = (3,) if axes(dialect) == 1 else (3, 2)
    channels = {"image": 2, "sequence": 8, "features": 64, "tokens": 0}[kind(dialect)]
    arguments.pop("kernel_size", None)
    made = {
        "Linear": (64, 5), "Conv": (channels, 4, window), "Embed": (27, 3), "BatchNorm": (64,), "LayerNorm": (64,),
        "MultiHeadAttention": (2, 8),
    }.get(name, (8, 3))  # fmt: skip
    outputs = {"Conv": 128, "Linear": 5, "Embed": 36, "BatchNorm": 64, "LayerNorm": 64, "Bidirectional": 48}

    class Model(nnx.Module):
        def __init__(self, rngs):
            real = {"param_dtype": jnp.result_type(float), "rngs": rngs}
            if name == "SimpleCell":  # the one that computes in float32 unless it is told otherwise
                real["dtype"] = jnp.result_type(float)
            if name == "Bidirectional":
                self.layer = nnx.Bidirectional(*(nnx.RNN(nnx.GRUCell(8, 3, **real)) for _ in range(2)))
            elif name.endswith("Cell"):
                self.layer = nnx.RNN(getattr(nnx, name)(*made, **real))
            else:
                decode = {"decode": False} if name == "MultiHeadAttention" else {}
                self.layer = getattr(nnx, name)(*made, **arguments, **decode, **real)
            features = {"VALID": 24, None: outputs.get(name, 64 if name == "MultiHeadAttention" else 24)}
            wide = 32 if "strides" in arguments else features[arguments.get("padding")]
            self.out = nnx.Linear(wide, 3 if kind(dialect) == "tokens" else 10, rngs=rngs)

        def __call__(self, x):
            x = self.layer(x)
            return self.out(x.reshape(len(x), -1))

    def inputs(x):
        return x if kind(dialect) == "tokens" else x.reshape(-1, *SHAPES[kind(dialect)])

    return conformance.wrap_jax(
        Model, loss=optax.softmax_cross_entropy_with_integer_labels, inputs=inputs,
        optimizer=optax.sgd(0.1, momentum=0.9), **started(dialect),
    )  # fmt: skip


WRAPPED = {"torch": of_torch, "keras": of_keras, "flax": of_flax}


@pytest.mark.parametrize(
    "name", [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.slow) for name in DIALECTS]
)
def test_a_stock_layer_passes_under_its_dialect(judged, name):
    dialect = DIALECTS[name]
    dtype = "float32" if name in IN_FLOAT32_ALONE else "float64"
    found = judged(WRAPPED[dialect.framework](dialect), recipe(dialect), dtype)
    assert found.wrong == {}, found.causes
    assert "Z (inference)" in found.of("pass")["forward"]
    assert "cost" in found.of("pass")["free_running"]
    if dialect.framework != "torch" and started(dialect):
        assert any("initial" in tensor for tensor in found.of("pass")["initialization"])
