"""Initial weights and biases as libraries draw them, where that is no initializer of the catalogue."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from conformance.checks.initialization import BIASES
from conformance.diagnosis.candidates import Candidate
from conformance.diagnosis.fits import Fits
from conformance.diagnosis.stepping import Changed
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.layer_sizes import placed

Distribution = Literal["uniform", "normal", "truncated normal"]


@dataclass(frozen=True)
class Start:
    """Weights of one distribution: its limit or its deviation is ``scale`` over the root of a fan.

    A truncated one is cut off at two deviations and left narrower by it. ``fan``: ``in``, ``out``, ``average``, or
    ``none`` for no fan at all. ``biases``: they are drawn too, within one over the root of the fan-in. ``of``: the kind
    of a network's layers whose weights alone are drawn so; "" for all weights.
    """

    distribution: Distribution
    scale: float
    fan: Literal["in", "out", "average", "none"] = "in"
    biases: bool = False
    of: str = ""

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _Started(session, self, problem)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Weights of ``shape = (n_out, ..., n_in)``."""
        places = math.prod(shape[1:-1])
        n_out, n_in = shape[0] * places, shape[-1] * places
        fan = {"in": n_in, "out": n_out, "average": (n_in + n_out) / 2, "none": 1}[self.fan]
        size = self.scale / math.sqrt(fan)
        if self.distribution == "uniform":
            return generator.uniform(-size, size, shape)
        drawn = generator.standard_normal(shape)
        while self.distribution == "truncated normal" and (outside := np.abs(drawn) > 2).any():
            drawn[outside] = generator.standard_normal(np.count_nonzero(outside))
        return size * drawn


TORCH_LINEAR = "torch.nn.Linear's start: weights and biases uniform within 1/sqrt(n_in)"
NOT_SEEN = "torch.nn.Linear's start: weights uniform within 1/sqrt(n_in) (its biases too, which were not looked at)"

# What they are called, and where they are from.
STARTS: dict[str, Start] = {
    "weights uniform within 1/sqrt(n_in), as those of torch.nn.Linear, and biases of 0": Start("uniform", 1.0),
    "weights uniform within sqrt(6/(n_in + n_out)) times 5/3, PyTorch's gain for tanh": Start(
        "uniform", math.sqrt(3) * 5 / 3, "average"
    ),
    "weights normal with deviation sqrt(2/(n_in + n_out)) times 5/3, PyTorch's gain for tanh": Start(
        "normal", 5 / 3, "average"
    ),
    "weights normal with variance 2/n_out, the fan-out for the fan-in": Start("normal", math.sqrt(2), "out"),
    "weights normal with variance 1/n_out, the fan-out for the fan-in": Start("normal", 1.0, "out"),
    "weights uniform within sqrt(6/n_out), the fan-out for the fan-in": Start("uniform", math.sqrt(6), "out"),
    "weights uniform within sqrt(3/n_out), the fan-out for the fan-in": Start("uniform", math.sqrt(3), "out"),
    "weights normal with variance 2/n_in, cut off at two deviations and not widened again": Start(
        "truncated normal", math.sqrt(2)
    ),
    "weights normal with variance 1/n_in, cut off at two deviations and not widened again": Start(
        "truncated normal", 1.0
    ),
    "weights normal with deviation 0.02": Start("normal", 0.02, "none"),
    "weights normal with deviation 0.02, cut off at two of them": Start("truncated normal", 0.02, "none"),
    "weights normal with deviation 0.05, as Keras's RandomNormal": Start("normal", 0.05, "none"),
    "weights uniform within 0.05, as Keras's RandomUniform": Start("uniform", 0.05, "none"),
    "weights normal with deviation 1, as those of torch.nn.Embedding": Start("normal", 1.0, "none"),
}

TORCH_MODULES = (
    "the start of each torch.nn module, biases too: of Linear and convolutions uniform within 1/sqrt(fan-in)"
)


@dataclass(frozen=True)
class TorchModules:
    """A network's layers start as those of ``torch.nn`` do, biases too.

    Uniform within ``1/sqrt(fan-in)``, recurrent layers within ``1/sqrt(units)``; embeddings normal with deviation 1;
    attention's queries, keys and values as one Xavier matrix ``(3 n, n)``, its biases at 0.
    """

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _TorchStarted(session, problem)

    def draw(
        self, generator: np.random.Generator, kind: str, name: str, shapes: Mapping[str, tuple[int, ...]]
    ) -> Array:
        """The parameter ``name`` of a layer of one ``kind``, whose parameters have these ``shapes``."""
        shape = shapes[name]
        if kind == "embedding":
            return generator.standard_normal(shape)
        if kind == "attention" and name in ("W_q", "W_k", "W_v"):
            limit = math.sqrt(6 / (4 * shape[1]))
        elif kind == "attention" and name.startswith("b"):
            limit = 0.0
        else:
            weight = next(shapes[own] for own in ("U", "W", "W_o") if own in shapes)
            limit = 1 / math.sqrt(math.prod(weight[1:]))
        return generator.uniform(-limit, limit, shape)


def kinds_of_layers(problem: Problem) -> dict[str, str]:
    """By the path of each of a network's layers that has parameters of its own, what it is; {} for other models."""
    found: dict[str, str] = {}
    tokens = problem.dataset.vocabulary is not None
    for place in placed(problem.recipe.model.layers, (problem.features,), tokens=tokens):
        both = place.layer.name == "bidirectional"
        own = {f"{place.path}.{way}" if both else place.path for way in (("forward", "backward") if both else ("",))}
        found |= dict.fromkeys(own, place.layer.layers[0].name if both else place.layer.name)
    return found


def started(fits: Fits) -> Iterator[Candidate]:
    """The reference with each of these starts; of torch.nn.Linear's it is said whether the biases were looked at.

    Of a network of layers also with those of one kind of its layers alone.
    """
    recipe = fits.evidence.recipe
    expected = fits.evidence.expected["initialization"]
    if not expected:
        return
    if recipe.is_network:
        yield Candidate(TORCH_MODULES, recipe, changes=(TorchModules(),))
        for kind in sorted(set(kinds_of_layers(fits.workshop.case.problem).values())):
            for words, start in STARTS.items():
                yield Candidate(f"{words}, in layers of {kind}", recipe, changes=(replace(start, of=kind),))
    if any(expectation.observation.key.tensor == BIASES for expectation in expected):
        yield Candidate(TORCH_LINEAR, recipe, changes=(Start("uniform", 1.0, biases=True),))
        yield from (Candidate(words, recipe, changes=(start,)) for words, start in STARTS.items())
    else:
        yield Candidate(NOT_SEEN, recipe, changes=(Start("uniform", 1.0, biases=True),))
        yield from (Candidate(words, recipe, changes=(start,)) for words, start in list(STARTS.items())[1:])


class _Started(Changed):
    def __init__(self, session: Any, start: Start, problem: Problem) -> None:
        super().__init__(session)
        self._start = start
        self._problem = problem

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        if self._start.of:
            drawn: Array = self.session.draw_weights(shape, seed)
            return drawn
        return self._start.draw(np.random.default_rng(seed), shape).astype(self._problem.dtype)

    def initial_parameters(self, seed: int) -> Tensors:
        found = dict(self.session.initial_parameters(seed))
        generator = np.random.default_rng(seed)
        kinds = kinds_of_layers(self._problem) if self._start.of else {}
        for name, w in found.items():
            kind, layer = self._problem.places[name]
            if kind == "weight" and self._start.of == kinds.get(name.rpartition(".")[0], ""):
                found[name] = self._start.draw(generator, w.shape).astype(w.dtype)
            elif kind == "bias" and self._start.biases:
                limit = 1 / math.sqrt(found[f"W{layer}"].shape[1])
                found[name] = generator.uniform(-limit, limit, w.shape).astype(w.dtype)
        return found

    def another_session(self, problem: Problem) -> "_Started":
        return _Started(self.session.another_session(problem), self._start, problem)


class _TorchStarted(Changed):
    def __init__(self, session: Any, problem: Problem) -> None:
        super().__init__(session)
        self._problem = problem

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        return Start("uniform", 1.0).draw(np.random.default_rng(seed), shape).astype(self._problem.dtype)

    def initial_parameters(self, seed: int) -> Tensors:
        found, generator = dict(self.session.initial_parameters(seed)), np.random.default_rng(seed)
        kinds = kinds_of_layers(self._problem)
        for name, w in found.items():
            path, _, own = name.rpartition(".")
            if self._problem.places[name].kind in ("weight", "bias"):
                shapes = {other.rpartition(".")[2]: v.shape for other, v in found.items()
                          if other.rpartition(".")[0] == path}  # fmt: skip
                found[name] = TorchModules().draw(generator, kinds[path], own, shapes).astype(w.dtype)
        return found

    def another_session(self, problem: Problem) -> "_TorchStarted":
        return _TorchStarted(self.session.another_session(problem), problem)
