"""PyTorch's own layers, and the project's in the same loop."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import impl_torch
from benchmarks.contenders import LayerTrainer
from benchmarks.idioms.torch import Fit, Loop, tensor
from benchmarks.workloads import Array, LayerWorkload, Tensors


class LastState(nn.Module):
    """The state after the last step of ``nn.LSTM`` or ``nn.GRU``."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.recurrent(x)
        return (state[0] if isinstance(state, tuple) else state)[-1]


class Mean(nn.Module):
    """The mean over time."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


class Residual(nn.Module):
    """``x + layer(x)``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


@torch.no_grad()
def filled(module: nn.Module, values: Mapping[str, Array]) -> nn.Module:
    """The module, with all of its parameters set. Raises KeyError for one that has no value."""
    for name, parameter in module.named_parameters():
        parameter.copy_(tensor(values[name]))
    return module


def linear(p: Tensors, path: str) -> nn.Module:
    """``nn.Linear`` of the project's ``dense``."""
    n_out, n_in = p[f"{path}.W"].shape
    return filled(nn.Linear(n_in, n_out), {"weight": p[f"{path}.W"], "bias": p[f"{path}.b"]})


def convolution(p: Tensors, path: str, padding: int = 0) -> nn.Module:
    """``nn.Conv2d`` of the project's ``convolution``, ``W: (n_out, h, w, n_in)``."""
    weight = p[f"{path}.W"].transpose(0, 3, 1, 2)
    n_out, n_in, *kernel = weight.shape
    made = nn.Conv2d(n_in, n_out, (kernel[0], kernel[1]), padding=padding)
    return filled(made, {"weight": weight, "bias": p[f"{path}.b"]})


def recurrent(kind: Callable[..., nn.Module], p: Tensors) -> nn.Module:
    """``nn.LSTM`` or ``nn.GRU`` of the project's, and a dense layer after it."""
    units, n_in = p["1.U"].shape[1], p["1.W"].shape[1]
    names = {"weight_ih_l0": "1.W", "weight_hh_l0": "1.U", "bias_ih_l0": "1.b", "bias_hh_l0": "1.b_h"}
    made = filled(kind(n_in, units, batch_first=True), {own: p[name] for own, name in names.items()})
    return nn.Sequential(LastState(made), linear(p, "2"))


def lenet(p: Tensors) -> nn.Module:
    """Of images with channels second."""
    return nn.Sequential(
        convolution(p, "1", padding=2), nn.ReLU(), nn.MaxPool2d(2), convolution(p, "4"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), linear(p, "8"), nn.ReLU(), linear(p, "10"), nn.ReLU(), linear(p, "12"),
    )  # fmt: skip


def bag(p: Tensors) -> nn.Module:
    """``nn.EmbeddingBag`` takes the mean itself."""
    made = nn.EmbeddingBag(p["1.W"].shape[0], p["1.W"].shape[1], mode="mean")
    return nn.Sequential(filled(made, {"weight": p["1.W"]}), linear(p, "3"))


def transformer(p: Tensors) -> nn.Module:
    """``nn.TransformerEncoderLayer`` is the whole block."""
    block = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    values = {
        f"self_attn.in_proj_{own}": torch.cat([tensor(p[f"1.{kind}_{part}"]) for part in "qkv"]).numpy(force=True)
        for own, kind in (("weight", "W"), ("bias", "b"))
    }
    values |= {"self_attn.out_proj.weight": p["1.W_o"], "self_attn.out_proj.bias": p["1.b_o"]}
    for own, path in (("linear1", "3.1"), ("linear2", "3.3")):
        values |= {f"{own}.weight": p[f"{path}.W"], f"{own}.bias": p[f"{path}.b"]}
    for own, path in (("norm1", "2"), ("norm2", "4")):
        values |= {f"{own}.weight": p[f"{path}.gamma"], f"{own}.bias": p[f"{path}.beta"]}
    return nn.Sequential(filled(block, values), Mean(), linear(p, "6"))


def residual(p: Tensors) -> nn.Module:
    """Two blocks."""
    blocks = [Residual(nn.Sequential(linear(p, f"{b}.1"), nn.ReLU(), linear(p, f"{b}.3"))) for b in (1, 2)]
    return nn.Sequential(*blocks, nn.ReLU(), linear(p, "4"))


NETWORKS: dict[str, Callable[[Tensors], nn.Module]] = {
    "lenet": lenet, "lstm": lambda p: recurrent(nn.LSTM, p), "gru": lambda p: recurrent(nn.GRU, p),
    "bag of embeddings": bag, "transformer block": transformer, "residual dense": residual,
}  # fmt: skip


class _LayerLoop(Loop[LayerWorkload]):
    """The usual loop with the fused Adam, as ``fit`` has it: what differs is the layers."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.module.parameters(), lr=self.workload.learning_rate, fused=True)

    def first_cost(self) -> float:
        rows = slice(self.workload.batch_size)
        return self.cost(self.x[rows], self.y[rows]).item()


class OwnLayers(_LayerLoop):
    """PyTorch's own layers."""

    def make_module(self) -> nn.Module:
        if len(self.workload.input_shape) == 3:
            self.x = self.x.movedim(-1, 1).contiguous()
        return NETWORKS[self.workload.name](self.workload.initial())


class ProjectLayers(_LayerLoop):
    """The project's layers."""

    def make_module(self) -> nn.Module:
        model = self.workload.model(impl_torch).to(torch.get_default_device())
        model.load_parameters(self.workload.initial())
        return model


TRAINERS: dict[str, Callable[[LayerWorkload], LayerTrainer]] = {
    "fit": Fit, "own layers": OwnLayers, "project layers": ProjectLayers
}  # fmt: skip
