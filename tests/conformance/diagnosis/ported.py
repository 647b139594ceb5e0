"""A training as somebody ports it to PyTorch: network, loss, optimizer and loop, each of which can be wrong."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import State, Training

SLOTS = {
    "adam": {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"},
    "momentum": {"velocity": "momentum_buffer"},
}
ACTIVATIONS = {"tanh": nn.Tanh, "gelu": nn.GELU}


class Ported(NumpySession):
    """The right port. A subclass changes what is wrong with it; what is not ported is the reference's."""

    def __init__(self, problem):
        super().__init__(problem)
        self.problem, self.recipe = problem, problem.recipe
        self.slots = SLOTS.get(self.recipe.optimizer.name, {})
        shapes = problem.tape.initial_parameters
        sizes = [problem.features, *(shapes[f"W{layer}"].shape[0] for layer in range(1, problem.depth + 1))]
        self.linear = [nn.Linear(*pair, dtype=torch.float64) for pair in pairwise(sizes)]
        self.norms = {}
        if self.recipe.model.normalization is not None:
            self.norms = {1: self.norm(sizes[1]).double()}
        self.activation = self.activate()

    # What somebody writes.

    def norm(self, units):
        return nn.LayerNorm(units)

    def activate(self):
        return ACTIVATIONS[self.recipe.model.activation.name]()

    def arranged(self, x):
        return x

    def dropped(self, a, mask, keep):
        return a if mask is None else a * mask / keep

    def single(self, z, y):
        if self.recipe.loss.name == "mean_squared_error":
            return (z - y).square().mean(dim=1)
        if self.recipe.loss.name == "binary_cross_entropy":
            return nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1)
        smoothing = self.recipe.loss.keywords["label_smoothing"]
        return nn.functional.cross_entropy(z, y, reduction="none", label_smoothing=smoothing)

    def data_loss(self, z, y):
        return self.single(z, y).mean()

    def penalty(self):
        strength = sum(r.keywords["strength"] for r in self.recipe.named("l2"))
        return strength / 2 * sum(layer.weight.square().sum() for layer in self.linear)

    def torch_optimizer(self, parameters):
        keywords = self.recipe.optimizer.keywords
        if self.recipe.optimizer.name == "adam":
            return torch.optim.Adam(parameters, lr=keywords["learning_rate"])
        return torch.optim.SGD(parameters, lr=keywords["learning_rate"], momentum=keywords.get("beta", 0.0))

    def clip_(self, parameters):
        pass

    def rate(self, step):
        return self.recipe.optimizer.keywords["learning_rate"]

    def zero_grad(self, optimizer, step):
        optimizer.zero_grad()

    # What is asked for.

    def named(self):
        found = {}
        for number, layer in enumerate(self.linear, start=1):
            found |= {f"W{number}": layer.weight, f"b{number}": layer.bias}
            if number in self.norms:
                found |= {f"gamma{number}": self.norms[number].weight, f"beta{number}": self.norms[number].bias}
        return {name: found[name] for name in self.problem.tape.initial_parameters}

    def loaded(self, parameters):
        with torch.no_grad():
            for name, parameter in self.named().items():
                parameter.copy_(torch.tensor(parameters[name]))

    def forward(self, x, masks):
        values, a = {}, self.arranged(x)
        for number, layer in enumerate(self.linear, start=1):
            values[f"Z{number}"] = z = layer(a)
            if number < len(self.linear):
                if number in self.norms:
                    values[f"N{number}"] = z = self.norms[number](z)
                mask = None if not masks else torch.tensor(masks[number])
                values[f"A{number}"] = a = self.dropped(self.activation(z), mask, self.recipe.keep_probability)
        last = {"softmax": lambda: z.softmax(dim=1), "sigmoid": z.sigmoid}.get(self.recipe.model.output, lambda: z)
        return z, values | {f"A{len(self.linear)}": last()}

    def intermediates(self, parameters, x, masks, statistics):
        self.loaded(parameters)
        return arrays(self.forward(torch.tensor(x), masks)[1])

    def predict_classes(self, parameters, x, statistics):
        self.loaded(parameters)
        z, _ = self.forward(torch.tensor(x), None)
        return (z.argmax(dim=1) if self.recipe.model.output == "softmax" else (z[:, 0] > 0).long()).numpy()

    def losses(self, parameters, x, y, masks, weights):
        self.loaded(parameters)
        z, y = self.forward(torch.tensor(x), masks)[0], torch.tensor(y)
        loss, penalty = self.data_loss(z, y), torch.as_tensor(self.penalty(), dtype=torch.float64)
        found = {"per_example": self.single(z, y), "data_loss": loss, "penalty": penalty, "cost": loss + penalty}
        return arrays(found)

    def gradients(self, parameters, x, y, masks, weights):
        self.loaded(parameters)
        x, named = torch.tensor(x, requires_grad=True), self.named()
        cost = self.data_loss(self.forward(x, masks)[0], torch.tensor(y)) + self.penalty()
        found = torch.autograd.grad(cost, [*named.values(), x])
        return arrays({"cost": cost, **dict(zip((*named, "A0"), found, strict=True))})

    def clip(self, gradients):
        held = {name: nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for name, g in gradients.items()}
        for name, parameter in held.items():
            parameter.grad = torch.tensor(gradients[name])
        self.clip_(list(held.values()))
        return arrays({name: parameter.grad for name, parameter in held.items()})

    def optimizer_step(self, parameters, gradients, state, learning_rate):
        held = {name: nn.Parameter(torch.tensor(w)) for name, w in parameters.items()}
        optimizer = self.torch_optimizer(list(held.values()))
        optimizer.param_groups[0]["lr"] = learning_rate
        for name, parameter in held.items():
            parameter.grad = torch.tensor(gradients[name])
            if state.step:
                own = {mine: torch.tensor(state.slots[slot][name]) for slot, mine in self.slots.items()}
                optimizer.state[parameter] = {"step": torch.tensor(float(state.step)), **own}
        optimizer.step()
        return arrays(held), State(state.step + 1, self.kept(optimizer, held))

    def kept(self, optimizer, held):
        return {
            slot: arrays({n: optimizer.state[p][mine] for n, p in held.items()}) for slot, mine in self.slots.items()
        }

    def fit(self, problem, checkpoint_epochs, start=None):
        self.loaded(problem.tape.initial_parameters)
        named = self.named()
        optimizer = self.torch_optimizer(list(named.values()))
        costs, rates, norms, checkpoints, slots = [], [], [], {}, {}
        for step in range(problem.steps):
            batch = problem.batch(step)
            rates.append(self.rate(step))
            optimizer.param_groups[0]["lr"] = rates[-1]
            self.zero_grad(optimizer, step)
            z, _ = self.forward(torch.tensor(batch.x), batch.masks)
            cost = self.data_loss(z, torch.tensor(batch.y)) + self.penalty()
            cost.backward()
            norms.append(float(torch.sqrt(sum(p.grad.square().sum() for p in named.values()))))
            self.clip_(list(named.values()))
            optimizer.step()
            costs.append(float(cost.detach()))
            epoch, left = divmod(step + 1, problem.batches_per_epoch)
            if not left and epoch in checkpoint_epochs:
                checkpoints[epoch], slots[epoch] = arrays(named), self.kept(optimizer, named)
        return Training(
            np.array(costs), np.array(rates), np.array(norms), arrays(named), self.kept(optimizer, named), checkpoints,
            np.array([]), 0, {}, slots, {epoch: {} for epoch in checkpoints},
        )  # fmt: skip


def arrays(tensors):
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}
