"""The layers of a catalogue's model that have parameters, the same for a network of layers and for a dense one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from conformance.problems.problem import Problem
from conformance.problems.tensors import Tensors, named
from conformance.wrappers.recipe_layers import RecipeLayer, Shape, recipe_layers, wanted_shapes

RECURRENT = ("simple_rnn", "lstm", "gru")


@dataclass(frozen=True)
class ModelLayer:
    """A layer with parameters: what the recipe says of it, and how the model calls each of its tensors.

    ``names``: by the tensor's name within the layer, running averages among them. ``place``: its number in a series
    that counts every layer from 0, joined by dots where it stands in a layer of layers. ``direction``: which one of a
    layer in both this is, or nothing.
    """

    layer: RecipeLayer
    names: Mapping[str, str]
    place: str
    direction: str = ""

    @property
    def in_each_direction(self) -> "list[ModelLayer]":
        """A layer in both directions as one in each; any other alone."""
        return [self._in(direction) for direction in self.layer.directions] or [self]

    def _in(self, direction: str) -> "ModelLayer":
        before = f"{direction}."
        names = {own.removeprefix(before): name for own, name in self.names.items() if own.startswith(before)}
        shapes = {own: self.layer.parameters[before + own] for own in names}
        return ModelLayer(replace(self.layer, directions=(), parameters=shapes), names, self.place, direction)

    def of(self, tensors: Tensors) -> Tensors:
        """Its own tensors among a model's."""
        return {own: tensors[name] for own, name in self.names.items()}


def model_layers(problem: Problem) -> list[ModelLayer]:
    """The layers of a problem's model that have parameters, in order."""
    parameters, statistics = wanted_shapes(problem)
    wanted = parameters | statistics
    if not problem.recipe.is_network:
        return list(_of_dense(problem, wanted))
    found = [layer for layer in recipe_layers(problem, wanted) if layer.parameters]
    return [
        ModelLayer(layer, {own: f"{layer.path}.{own}" for own in layer.parameters}, _from_zero(layer.path))
        for layer in found
    ]


def _from_zero(path: str) -> str:
    return ".".join(str(int(part) - 1) for part in path.split("."))


def _of_dense(problem: Problem, wanted: Mapping[str, Shape]) -> Any:
    """Dense layers, each with its normalization after it and an activation after that."""
    normalization, place = problem.recipe.model.normalization, 0
    for number in range(1, problem.depth + 1):
        weight = wanted[named("weight", number)]
        keywords: dict[str, Any] = {"units": weight[0], "bias": named("bias", number) in wanted}
        names = {"W": named("weight", number), "b": named("bias", number)}
        yield _dense_layer("dense", keywords, names, wanted, weight[1:], place, number)
        place += 1
        if normalization is not None and number < problem.depth:
            names = {"gamma": named("scale", number), "beta": named("shift", number),
                     "running_mean": named("running mean", number),
                     "running_variance": named("running variance", number)}  # fmt: skip
            yield _dense_layer(
                normalization.name, dict(normalization.keywords), names, wanted, weight[:1], place, number
            )
            place += 1
        place += 1


def _dense_layer(
    name: str, keywords: dict[str, Any], names: Mapping[str, str], wanted: Mapping[str, Shape], takes: Shape,
    place: int, number: int,
) -> ModelLayer:  # fmt: skip
    there = {own: tensor for own, tensor in names.items() if tensor in wanted}
    shapes = {own: wanted[tensor] for own, tensor in there.items()}
    return ModelLayer(RecipeLayer(str(number), name, keywords, (), "", "", (), takes, shapes), there, str(place))
