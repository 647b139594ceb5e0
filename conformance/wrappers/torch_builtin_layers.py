"""PyTorch's own layers, each in a small network: the layer, and a linear head."""

from typing import Any

import torch
from torch import Tensor, nn

from conformance.recipes.layer_dialects import LayerDialect, layer_dialect
from conformance.recipes.subject_layers import ROWS, SHAPES, TOKENS, UNITS, channels_second, classes, kind, window
from conformance.recipes.subjects import Subject, call_of

SERIES = ("RNN", "LSTM", "GRU")


def parts(subject: Subject) -> dict[str, Any]:
    """What a layer's network and its loss are, as ``wrap_torch`` takes them."""
    dialect = layer_dialect(subject.name)

    def inputs(x: Tensor) -> Tensor:
        return x if kind(dialect) == "tokens" else x.reshape(-1, *SHAPES[kind(dialect)])

    def model() -> nn.Module:
        made = Network(subject, dialect)
        tokens = kind(dialect) == "tokens"
        made(inputs(torch.zeros(2, 12, dtype=torch.int64) if tokens else torch.zeros(2, 64)))
        return made

    return {"model": model, "loss": nn.CrossEntropyLoss(), "inputs": inputs}


class Network(nn.Module):
    """A layer, and a head of whatever it gives."""

    def __init__(self, subject: Subject, dialect: LayerDialect) -> None:
        super().__init__()
        call = call_of(subject.name)
        self.name, self.dialect = call.function.rpartition(".")[2], dialect
        batch_first = {"batch_first": True} if self.name in (*SERIES, "MultiheadAttention") else {}
        self.layer = getattr(nn, self.name)(*_sizes(self.name, dialect), **call.named, **batch_first)
        self.out = nn.LazyLinear(classes(dialect))

    def forward(self, x: Tensor) -> Tensor:
        """Of what the layer is given, the logits."""
        if channels_second(self.dialect) or self.dialect.layer.startswith("global"):
            x = x.movedim(-1, 1)
        if self.name in SERIES:
            x = self.layer(x)[0]
        elif self.name.endswith("Cell"):
            x = self._unrolled(x)
        else:
            x = self.layer(x, x, x)[0] if self.name == "MultiheadAttention" else self.layer(x)
        logits: Tensor = self.out(x.flatten(1))
        return logits

    def _unrolled(self, x: Tensor) -> Tensor:
        states: list[Tensor] = []
        state: Any = None
        for step in range(x.shape[1]):
            state = self.layer(x[:, step], state)
            states.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(states, 1)


def _sizes(name: str, dialect: LayerDialect) -> tuple[Any, ...]:
    """What a layer is given by position."""
    own = window(dialect)
    channels = SHAPES[kind(dialect)][-1]
    sizes: dict[str, tuple[Any, ...]] = {
        "Linear": (channels, ROWS), "Conv1d": (channels, 4, own), "Conv2d": (channels, 4, own), "AvgPool1d": own,
        "AvgPool2d": (own,), "MaxPool1d": own, "MaxPool2d": (own,), "AdaptiveAvgPool2d": (1,),
        "AdaptiveMaxPool2d": (1,), "BatchNorm1d": (channels,), "BatchNorm2d": (channels,), "LayerNorm": (channels,),
        "Embedding": (TOKENS, UNITS), "MultiheadAttention": (channels, 2), "Flatten": (), "Dropout": (),
    }  # fmt: skip
    return sizes.get(name, (channels, UNITS))
