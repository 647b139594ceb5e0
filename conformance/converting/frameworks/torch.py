"""PyTorch's own layers, in inference and in float64, with tensors as a ``state_dict`` has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from conformance.converting.asking import RECURRENT, Asked, answered, padded
from conformance.problems.tensors import Array, Tensors


def forward(given: Mapping[str, Array]) -> Tensors:
    """The outputs of the layers of a request."""
    return answered(given, _run)


def _run(asked: Asked) -> Array:
    return np.asarray(_output(asked))


def _output(asked: Asked) -> Any:
    """What a layer gives in inference."""
    x = torch.tensor(asked.x)
    module = _made(asked).double().eval()
    ending = "_l0" if asked.kind.lower() in _RECURRENT_KINDS else ""
    module.load_state_dict({leaf + ending: torch.tensor(w) for leaf, w in asked.tensors.items()}, strict=False)
    with torch.no_grad():
        if asked.kind.startswith("Conv"):
            x = torch.tensor(padded(asked)[0])
            return module(x.movedim(-1, 1)).movedim(1, -1)
        if not ending:
            return module(x)
        states, last = module(x)
        last = last[0] if isinstance(last, tuple) else last
        return states if asked.keywords["return_sequences"] else last[0]


_RECURRENT_KINDS = ("rnn", *RECURRENT)


def _made(asked: Asked) -> Any:
    """The module; all that is not a size is as the recipe has it."""
    kind, keywords, tensors = asked.kind, asked.keywords, asked.tensors
    if kind == "Linear":
        outputs, inputs = tensors["weight"].shape
        return nn.Linear(inputs, outputs, bias="bias" in tensors)
    if kind.startswith("Conv"):
        outputs, inputs, *kernel = tensors["weight"].shape
        return getattr(nn, kind)(
            inputs * keywords["groups"], outputs, kernel, padding=padded(asked)[1], stride=tuple(keywords["stride"]),
            dilation=tuple(keywords["dilation"]), groups=keywords["groups"], bias="bias" in tensors,
        )  # fmt: skip
    if kind == "Embedding":
        return nn.Embedding(*tensors["weight"].shape)
    if kind in ("BatchNorm1d", "BatchNorm2d", "LayerNorm"):
        made = nn.LayerNorm if kind == "LayerNorm" else nn.BatchNorm1d
        return made(len(tensors["weight"]), eps=keywords["epsilon"])
    more = {"nonlinearity": keywords["activation"]} if kind == "RNN" else {}
    units, inputs = tensors["weight_hh"].shape[1], tensors["weight_ih"].shape[1]
    return getattr(nn, kind)(inputs, units, bias="bias_ih" in tensors, batch_first=True, **more)
