"""PyTorch: ``fit``, by hand, and a loop over an ``nn.Module`` with ``torch.optim``."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import impl_torch.layers
import impl_torch.models
from benchmarks import contenders
from benchmarks.contenders import BETA1, BETA2, EPSILON, DenseTrainer, FitTrainer, Trainer, W
from benchmarks.workloads import Array, DenseWorkload, Tensors, Workload
from impl_torch import optimizers, training


def use(device: str, dtype: str) -> None:
    """Compute on ``device``, ``"cpu"`` or ``"gpu"``, in ``dtype``. Raises ValueError where there is no such device."""
    torch.set_num_threads(1)
    torch.set_default_dtype(getattr(torch, dtype))
    if device == "gpu":
        if not torch.cuda.is_available():
            raise ValueError("device='gpu' is not allowed for torch: PyTorch finds none here")
        torch.set_default_device("cuda")


def tensor(array: Any) -> Tensor:
    """On the device in use; labels and tokens as integers of 64 bits."""
    made = torch.as_tensor(array, device=torch.get_default_device())
    return made if made.is_floating_point() else made.long()


def finish() -> None:
    """Wait until the device has done what it was given."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


def to_numpy(named: Mapping[str, Tensor]) -> Tensors:
    """Copies, as arrays."""
    return {name: value.detach().cpu().numpy().copy() for name, value in named.items()}


class Fit(FitTrainer):
    """The project's ``fit``."""

    training = training

    def __init__(self, workload: Workload, order: Array | None = None, adam: Mapping[str, Any] | None = None) -> None:
        super().__init__(workload, order)
        self.model = workload.model(impl_torch).to(getattr(torch, workload.dtype)).to(torch.get_default_device())
        self.model.load_parameters(workload.initial())
        x, y = workload.data()
        self.x, self.y = tensor(x), tensor(y)
        self.optimizer = optimizers.adam(self.model.parameters(), workload.learning_rate, **(adam or {}))

    def run(self) -> None:
        self.fit(self.model, self.x, self.y)
        finish()

    def parameters(self) -> Tensors:
        return to_numpy(self.model.parameter_dict())


class Batched(Trainer[W]):
    """A trainer with its data on the device."""

    def __init__(self, workload: W, order: Array | None = None) -> None:
        super().__init__(workload, order)
        x, y = workload.data()
        self.x, self.y = tensor(x), tensor(y)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of every step."""
        workload = self.workload
        for epoch in range(workload.epochs):
            if workload.is_full_batch:
                yield self.x, self.y
                continue
            order = torch.randperm(workload.examples) if self.order is None else tensor(self.order[epoch])
            for rows in order.split(workload.batch_size):
                yield self.x[rows], self.y[rows]


class Best(Batched[DenseWorkload]):
    """Derivatives by hand, into views of one vector, and one call of the fused Adam for it."""

    def __init__(self, workload: DenseWorkload, order: Array | None = None) -> None:
        super().__init__(workload, order)
        self.y = tensor(workload.output_targets())
        sizes = [size for o, i in workload.weight_shapes for size in (o * i, o)]
        self.flat = torch.empty(sum(sizes), dtype=self.x.dtype)
        self.gradient = torch.empty_like(self.flat)
        self.weights, self.biases = _views(self.flat, sizes, workload)
        self.weight_gradients, self.bias_gradients = _views(self.gradient, sizes, workload)
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            weight.copy_(tensor(workload.initial()[f"W{place}"]))
            bias.copy_(tensor(workload.initial()[f"b{place}"]))

    @torch.inference_mode()
    def run(self) -> None:
        flat, gradient = [self.flat], [self.gradient]
        first, second, step = [torch.zeros_like(self.flat)], [torch.zeros_like(self.flat)], [torch.zeros(())]
        for x, targets in self.batches():
            self.take_gradient(x, targets)
            step[0] += 1
            torch._fused_adam_(  # what torch.optim.Adam(fused=True) calls, after longer than a small step takes
                flat, gradient, first, second, [], step, lr=self.workload.learning_rate, beta1=BETA1, beta2=BETA2,
                weight_decay=0.0, eps=EPSILON, amsgrad=False, maximize=False,
            )  # fmt: skip
        finish()

    def take_gradient(self, x: Tensor, targets: Tensor) -> None:
        """Write the gradient of the mean loss of a batch into ``gradient``."""
        values, last = [x], len(self.weights) - 1
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = torch.addmm(bias, values[place], weight.t())
            values.append(self._activated(z) if place < last else z)
        outputs = values.pop()
        delta = outputs.sigmoid_() if self.workload.is_binary else outputs.softmax(dim=1)
        delta.sub_(targets).div_(len(x))
        for place in range(last, -1, -1):
            torch.mm(delta.t(), values[place], out=self.weight_gradients[place])
            torch.sum(delta, dim=0, out=self.bias_gradients[place])
            if place > 0:
                delta = self._through_activation(delta @ self.weights[place], values[place])

    def parameters(self) -> Tensors:
        named = {f"W{place}": weight for place, weight in enumerate(self.weights, start=1)}
        return to_numpy(named | {f"b{place}": bias for place, bias in enumerate(self.biases, start=1)})

    def _activated(self, z: Tensor) -> Tensor:
        return z.relu_() if self.workload.activation == "relu" else z.tanh_()

    def _through_activation(self, delta: Tensor, a: Tensor) -> Tensor:
        if self.workload.activation == "relu":
            return torch.ops.aten.threshold_backward(delta, a, 0)
        return torch.ops.aten.tanh_backward(delta, a)


class Loop(Batched[W]):
    """The usual loop: ``zero_grad``, ``backward``, ``step``."""

    def __init__(self, workload: W, order: Array | None = None) -> None:
        super().__init__(workload, order)
        self.module = self.make_module()
        self.optimizer = self.make_optimizer()

    @abstractmethod
    def make_module(self) -> nn.Module:
        """From inputs to logits, at the workload's initial parameters."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Adam as PyTorch gives it."""
        return torch.optim.Adam(self.module.parameters(), lr=self.workload.learning_rate)

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of a batch."""
        if self.workload.loss == "binary_cross_entropy":
            return F.binary_cross_entropy_with_logits(self.module(x), y)
        return F.cross_entropy(self.module(x), y)

    def run(self) -> None:
        for x, y in self.batches():
            self.optimizer.zero_grad()
            self.cost(x, y).backward()
            self.optimizer.step()
        finish()


class Usual(Loop[DenseWorkload]):
    """``nn.Sequential`` of ``nn.Linear``, and ``torch.optim.Adam`` with its defaults."""

    def make_module(self) -> nn.Module:
        layers: list[nn.Module] = []
        for place, (o, i) in enumerate(self.workload.weight_shapes, start=1):
            linear = nn.Linear(i, o, dtype=self.x.dtype)
            with torch.no_grad():
                linear.weight.copy_(tensor(self.workload.initial()[f"W{place}"]))
                linear.bias.copy_(tensor(self.workload.initial()[f"b{place}"]))
            layers += [linear, nn.ReLU() if self.workload.activation == "relu" else nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    def parameters(self) -> Tensors:
        names = [f"{kind}{place}" for place in range(1, len(self.workload.layer_sizes)) for kind in "Wb"]
        return to_numpy(dict(zip(names, self.module.parameters(), strict=True)))


class Products(contenders.Products):
    """Written into tensors made once."""

    def __init__(self, workload: DenseWorkload) -> None:
        super().__init__(workload)
        made = [tuple(map(tensor, arrays)) for arrays in self.operands()]
        self.tensors = [(a, w, d, torch.empty_like(d), torch.empty_like(w), torch.empty_like(a)) for a, w, d in made]

    @torch.inference_mode()
    def run(self) -> None:
        for _ in range(self.workload.steps):
            for place, (a, w, d, z, dw, da) in enumerate(self.tensors):
                torch.mm(a, w.t(), out=z)
                torch.mm(d.t(), a, out=dw)
                if place > 0:
                    torch.mm(d, w, out=da)
        finish()


def _views(flat: Tensor, sizes: list[int], workload: DenseWorkload) -> tuple[list[Tensor], list[Tensor]]:
    """The weights and biases in a vector."""
    parts = flat.split(sizes)
    weights = [part.view(shape) for part, shape in zip(parts[::2], workload.weight_shapes, strict=True)]
    return weights, list(parts[1::2])


TRAINERS: dict[str, Callable[..., DenseTrainer]] = {"fit": Fit, "best": Best, "usual": Usual}
