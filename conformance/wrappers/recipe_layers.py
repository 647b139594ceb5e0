"""The layers of a recipe's network one by one, each with its path, its shape, and what stands before it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.problems.problem import Problem
from conformance.problems.tensors import Tensors
from conformance.recipes.layers import LayerChoice
from reference_numpy import models

Shape = tuple[int, ...]

DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class RecipeLayer:
    """A layer that is not made of others; a recurrent one in both directions is one layer.

    Attributes:
        path: in the network, ``"3.1"``.
        name: ``"gru"``, also of one in both directions.
        keywords: its own, with defaults; of one in both directions also ``join``.
        directions: of a recurrent layer in both directions, else none.
        output: how its output is called among the values of a forward pass, ``"3.1.A"``; "" where it has no name.
        input: the same of what it takes; "" for the inputs of the network.
        shape, input_shape: of an output and of what it takes, for one example; () where that has no name.
        parameters: shapes of its parameters and running averages by their names within it.
    """

    path: str
    name: str
    keywords: Mapping[str, Any]
    directions: tuple[str, ...]
    output: str
    input: str
    shape: Shape
    input_shape: Shape
    parameters: Mapping[str, Shape]

    def __str__(self) -> str:
        name = f"bidirectional {self.name}" if self.directions else self.name
        return f"layer {self.path} ({name})"

    @property
    def names(self) -> list[str]:
        """The names of its parameters and running averages in the network."""
        return [f"{self.path}.{name}" for name in self.parameters]


def wanted_shapes(problem: Problem) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """The shapes of the parameters that a problem's model has, and of its running averages, by name."""
    parameters: dict[str, Shape] = {name: w.shape for name, w in problem.tape.initial_parameters.items()}
    statistics = models.initial_statistics(problem.build_model(models))
    return parameters, {name: value.shape for name, value in statistics.items()}


def names_inside(problem: Problem) -> tuple[str, ...]:
    """What the reference shows of a forward pass."""
    return tuple(_values_inside(problem))


def _values_inside(problem: Problem) -> Tensors:
    """What it shows of one of the first example."""
    model, parameters = problem.build_model(models), problem.tape.initial_parameters
    return models.intermediates(model, parameters, problem.train_x[:1], training=True)


def recipe_layers(problem: Problem, wanted: Mapping[str, Shape]) -> list[RecipeLayer]:
    """The layers of a problem's network, those of branches one after the other.

    ``wanted``: the shapes of its parameters and running averages by name.
    """
    shapes = {name: value.shape[1:] for name, value in _values_inside(problem).items()}
    found = []
    for path, choice, output, before in _in_series(problem.recipe.model.layers, "", ""):
        inner = choice.layers[0] if choice.name == "bidirectional" else choice
        own = {name.removeprefix(f"{path}."): shape for name, shape in wanted.items() if name.startswith(f"{path}.")}
        found.append(
            RecipeLayer(
                path, inner.name, {**choice.keywords, **inner.keywords}, DIRECTIONS if inner is not choice else (),
                output, before, shapes.get(output, ()), shapes.get(before, ()), own,
            )
        )  # fmt: skip
    return found


def _in_series(layers: tuple[LayerChoice, ...], outer: str, before: str) -> Iterator[tuple[str, LayerChoice, str, str]]:
    """Each layer that is not made of others: its path, itself, and the names of its output and input."""
    for place, layer in enumerate(layers, start=1):
        path = f"{outer}.{place}" if outer else str(place)
        yield from _of_one(layer, path, f"{path}.A", before)
        before = f"{path}.A"


def _of_one(layer: LayerChoice, path: str, output: str, before: str) -> Iterator[tuple[str, LayerChoice, str, str]]:
    if layer.name == "sequence":
        yield from _in_series(layer.layers, path, before)
    elif layer.name == "residual":  # its sum is the output, and has the name
        yield from _of_branch(layer.layers, path, "", before)
    elif layer.name == "parallel":
        for place, branch in enumerate(layer.branches, start=1):
            yield from _of_branch(branch, f"{path}.{place}", f"{path}.{place}.A", before)
    else:
        yield path, layer, output, before


def _of_branch(
    layers: tuple[LayerChoice, ...], path: str, output: str, before: str
) -> Iterator[tuple[str, LayerChoice, str, str]]:
    """Several layers are a series inside; one stands there itself."""
    if len(layers) == 1:
        yield from _of_one(layers[0], path, output, before)
    else:
        yield from _in_series(layers, path, before)
