"""A subject: somebody's own parts in some framework, as something that a run can be given as an implementation."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from conformance.problems.preparation import prepare
from conformance.problems.problem import Problem
from conformance.recipes.recipe import Recipe
from conformance.wrappers.given import Given
from conformance.wrappers.matching import Matching
from conformance.wrappers.session import WrappedSession


class Subject:
    """Somebody's own parts, put under test: an adapter, and when called with a device, the same on that device.

    ``session_class`` is the framework's, ``given`` what the user gave; ``recipe`` what it is to be held against where
    nothing else is said: a recipe, its name or its file, or several.
    """

    def __init__(
        self, session_class: type[WrappedSession], given: Given, recipe: Any = None, device: str = "cpu"
    ) -> None:
        self.session_class = session_class
        self.given = given
        self.recipe = recipe
        self.device = device

    def __call__(self, device: str) -> "Subject":
        """The same on a device. Raises DeviceNotFound."""
        self.session_class.check_device(device)
        found = copy(self)
        found.device = device
        return found

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that it stands on; the first is its framework's."""
        return self.session_class.versions()

    def settings(self) -> Mapping[str, Any]:
        """Precision switches, threads and whatever else changes the last bits."""
        return self.session_class.settings(self.device)

    def session(self, problem: Problem) -> WrappedSession:
        """The parts made for a problem. Raises CannotMatch for a model whose parameters are not the recipe's."""
        return self.session_class(self.given, problem, self.device)

    def matched(self, recipe: Recipe, dtype: str = "float64") -> Matching:
        """Which of the model's parameters is which of the recipe's; printed, a table of it.

        Raises CannotMatch where it cannot be told, ValueError for a subject without a model.
        """
        matching = self.session(prepare(recipe, dtype)).matching
        if matching is None:
            raise ValueError("model is not given: there is nothing to match")
        return matching
