"""PyTorch's own layers, in inference and in float64, with tensors as a ``state_dict`` has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from conformance.converting.asking import Asked, answered, joined, padded
from conformance.converting.model_layers import RECURRENT
from conformance.problems.tensors import Array, Tensors
from conformance.wrappers.recipe_layers import DIRECTIONS


def forward(given: Mapping[str, Array]) -> Tensors:
    """The outputs of the layers of a request."""
    return answered(given, _run)


def _run(asked: Asked) -> Array:
    return np.asarray(_output(asked))


def _output(asked: Asked) -> Any:
    """What a layer gives in inference."""
    x = torch.tensor(asked.x)
    module = _made(asked).double().eval()
    recurrent = asked.kind.lower() in _RECURRENT_KINDS
    named = _in_first_layer if recurrent else str
    module.load_state_dict({named(leaf): torch.tensor(w) for leaf, w in asked.tensors.items()}, strict=False)
    with torch.no_grad():
        if asked.kind.startswith("Conv"):
            x = torch.tensor(_padded(asked)[0])
            return module(x.movedim(-1, 1)).movedim(1, -1)
        if asked.kind == "MultiheadAttention":
            unseen = torch.ones(x.shape[1], x.shape[1]).triu(1).bool() if asked.keywords["causal"] else None
            return module(x, x, x, attn_mask=unseen, need_weights=False)[0]
        if not recurrent:
            return module(x)
        states, last = module(x)
        if asked.directions:
            return joined(asked, *(half.numpy() for half in states.chunk(2, dim=-1)))
        last = last[0] if isinstance(last, tuple) else last
        return states if asked.keywords["return_sequences"] else last[0]


def _padded(asked: Asked) -> tuple[Array, Any]:
    """The inputs and the padding of a convolution, which has no "same" of its own where it has a stride."""
    strides = np.ravel(asked.keywords["stride"]).tolist()
    return padded(asked, *asked.tensors["weight"].shape[2:], has_same=set(strides) == {1})


def _in_first_layer(leaf: str) -> str:
    """The name in a module of stacked layers, ``weight_ih_l0_reverse``."""
    direction, _, own = leaf.rpartition(".")
    return f"{own}_l0" + ("_reverse" if direction == DIRECTIONS[1] else "")


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
            inputs * keywords["groups"], outputs, kernel, padding=_padded(asked)[1], stride=tuple(keywords["stride"]),
            dilation=tuple(keywords["dilation"]), groups=keywords["groups"], bias="bias" in tensors,
        )  # fmt: skip
    if kind == "Embedding":
        return nn.Embedding(*tensors["weight"].shape)
    if kind in ("BatchNorm1d", "BatchNorm2d", "LayerNorm"):
        made = nn.LayerNorm if kind == "LayerNorm" else nn.BatchNorm1d
        return made(len(tensors["weight"]), eps=keywords["epsilon"])
    if kind == "MultiheadAttention":
        width = len(tensors["out_proj.weight"])
        return nn.MultiheadAttention(width, keywords["heads"], bias="in_proj_bias" in tensors, batch_first=True)
    more = {"nonlinearity": keywords["activation"]} if kind == "RNN" else {}
    held = asked.directions[0].tensors if asked.directions else tensors
    units, inputs = held["weight_hh"].shape[1], held["weight_ih"].shape[1]
    return getattr(nn, kind)(
        inputs, units, bias="bias_ih" in held, batch_first=True, bidirectional=bool(asked.directions), **more
    )
