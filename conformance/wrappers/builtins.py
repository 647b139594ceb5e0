"""The frameworks' built-ins as implementations: each recipe of a subject is done with that built-in as its part.

All that is not the subject is made of the framework's plainest parts: dense layers, a cross-entropy, gradient descent.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from conformance.adapters.session import Unsupported
from conformance.problems.problem import Problem
from conformance.recipes.subjects import Subject, by_recipe
from conformance.wrappers.session import WrappedSession
from conformance.wrappers.subject import Subject as Wrapped
from reference_numpy import losses


class Builtins(ABC):
    """The adapter of one framework's built-ins; called with a device. Raises DeviceNotFound.

    A framework's class says how a subject becomes the parts of a training.
    """

    name: ClassVar[str]  # as of ``conformance.recipes.subjects.IMPLEMENTATIONS``
    session_class: ClassVar[type[WrappedSession]]
    roots: ClassVar[Mapping[str, Any]]  # the packages by the first part of a subject's name

    def __init__(self, device: str) -> None:
        self.session_class.check_device(device)
        self.device = device

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that it stands on; the first is its framework's."""
        return self.session_class.versions()

    def settings(self) -> Mapping[str, Any]:
        """Precision switches, threads and whatever else changes the last bits."""
        return self.session_class.settings(self.device)

    def session(self, problem: Problem) -> WrappedSession:
        """The training of a subject's recipe. Raises Unsupported for another recipe, and for a built-in that is not."""
        subject = by_recipe().get(problem.recipe.name)
        if subject is None or subject.implementation != self.name:
            raise Unsupported(f"recipe {problem.recipe.name!r} is of none of its built-ins")
        return self.wrapped(subject)(self.device).session(problem)

    @abstractmethod
    def wrapped(self, subject: Subject) -> Wrapped:
        """The parts of a subject's training, as a user would wrap them. Raises Unsupported."""

    def found(self, dotted: str) -> Any:
        """The object of a dotted name. Raises Unsupported where the installed version has none."""
        root, *path = dotted.split(".")
        thing = self.roots[root]
        for name in path:
            if not hasattr(thing, name):
                version = next(iter(self.versions().values()))
                raise Unsupported(f"{root} {version} has no {dotted}")
            thing = getattr(thing, name)
        return thing


class Size(NamedTuple):
    """Of a dense layer: how many numbers it takes and gives, and whether it has biases."""

    inputs: int
    outputs: int
    bias: bool


def sizes_of(problem: Problem) -> list[Size]:
    """The dense layers of a problem's model, the first of them first."""
    parameters = problem.tape.initial_parameters
    shapes = [parameters[f"W{layer}"].shape for layer in range(1, problem.depth + 1)]
    return [Size(inputs, outputs, f"b{layer}" in parameters) for layer, (outputs, inputs) in enumerate(shapes, 1)]


def final_of(problem: Problem) -> str:
    """The activation of the last layer that the loss does not bring along; ``"identity"`` for a loss of logits."""
    recipe = problem.recipe
    return "identity" if recipe.loss.name in losses.FROM_LOGITS else recipe.model.output
