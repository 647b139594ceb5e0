"""What an optimizer is put through: gradients that tell formulations apart, fed from state zero on.

Parameters are small tensors named as weights and biases. Those that start at 0 show a step with all of its digits;
those that do not show a decay. The gradients span eighteen orders of magnitude, are zero for a while, from the start or
for good, turn their sign at every step, and come in turns of large and small. The rate is halved and doubled on the
way: by powers of two, which no precision rounds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.data.randomness import keyed_generator

Array = NDArray[Any]
Tensors = dict[str, Array]

STEPS = 48
SIZES = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-4, 1e-3, 1e-2, 1.0, 1e2, 1e6)
IN_TURNS = (1.0, 0.1, 0.0, 1e-10, 3.0, 1e6, 0.0, 1e-3)
UNITS, BOWL_STEPS = 12, 10  # of the bowl, which is not walked down to its lowest point


@dataclass(frozen=True)
class Exercise:
    """Where the parameters start, ``gradients`` with one more axis for the steps, and what each step's rate is times.

    A ``bowl`` has no gradients of its own: they are ``curvature (w - lowest)`` of all parameters as one vector.
    """

    start: Tensors
    gradients: Tensors
    factors: Array
    curvature: Array | None = None
    lowest: Array | None = None

    def as_arrays(self) -> Tensors:
        """Everything by name, as it is sent."""
        bowl = (
            {}
            if self.curvature is None or self.lowest is None
            else {"curvature": self.curvature, "lowest": self.lowest}
        )
        return (
            {f"start.{name}": value for name, value in self.start.items()}
            | {f"gradient.{name}": value for name, value in self.gradients.items()}
            | {"factors": self.factors}
            | bowl
        )

    @classmethod
    def of(cls, arrays: Tensors) -> "Exercise":
        """The inverse of :meth:`as_arrays`."""
        parts: dict[str, Tensors] = {"start": {}, "gradient": {}}
        for name, value in arrays.items():
            part, dot, own = name.partition(".")
            if dot:
                parts[part][own] = value
        return cls(parts["start"], parts["gradient"], arrays["factors"], arrays.get("curvature"), arrays.get("lowest"))

    def as_one(self) -> "Exercise":
        """The same with all parameters in one array: what takes each element for itself goes the same way, sooner."""
        start = {"W1": np.concatenate([value.ravel() for value in self.start.values()])[np.newaxis]}
        steps = len(self.factors)
        parts = [self.gradients[name].reshape(steps, 1, -1) for name in self.start] if self.gradients else []
        gradients = {"W1": np.concatenate(parts, axis=2)} if parts else {}
        return Exercise(start, gradients, self.factors, self.curvature, self.lowest)

    def in_single(self) -> "Exercise":
        """The same in float32."""

        def rounded(tensors: Tensors) -> Tensors:
            return {name: value.astype(np.float32) for name, value in tensors.items()}

        curvature, lowest = self.curvature, self.lowest
        if curvature is None or lowest is None:
            return Exercise(rounded(self.start), rounded(self.gradients), self.factors)
        return Exercise(rounded(self.start), {}, self.factors, curvature.astype(np.float32), lowest.astype(np.float32))

    def gradients_at(self, step: int, parameters: Tensors) -> Tensors:
        """The gradients of a step, counted from 0, in the precision of the ``parameters`` that they are taken at."""
        if self.curvature is None or self.lowest is None:
            return {name: value[step].astype(parameters[name].dtype) for name, value in self.gradients.items()}
        flat = np.concatenate([w.ravel() for w in parameters.values()])
        slopes = self.curvature.astype(flat.dtype) @ (flat - self.lowest.astype(flat.dtype))
        ends = np.cumsum([w.size for w in parameters.values()])
        return {
            n: slopes[end - w.size : end].reshape(w.shape) for (n, w), end in zip(parameters.items(), ends, strict=True)
        }


def exercise(seed: int, *, matrices: bool = False, steps: int = STEPS) -> Exercise:
    """An exercise; another ``seed`` has other numbers. ``matrices``: without vectors, for those that take none."""
    generator = keyed_generator(seed, "exercise of an optimizer")
    t = np.arange(steps)
    start: Tensors = {"W1": generator.standard_normal((3, 4)), "b1": np.zeros(3)}
    gradients: Tensors = {
        "W1": generator.standard_normal((steps, 3, 4)),
        "b1": generator.standard_normal((steps, 3)),
    }
    gradients["W1"][:, 0, 0] = 0.0
    drawn = np.repeat(SIZES, 4) * generator.standard_normal((steps, 4 * len(SIZES)))
    drawn[:, 1::4] = np.abs(drawn[:, 1::4]) * np.where(t % 2, -1.0, 1.0)[:, np.newaxis]
    drawn[:5, 2::4], drawn[5:, 3::4] = 0.0, 0.0
    in_turns = np.asarray(IN_TURNS)[t % 8][:, np.newaxis] * generator.standard_normal((steps, 4))
    start |= {"b2": np.zeros(4 * len(SIZES)), "W3": generator.standard_normal((2, 2)), "b3": np.zeros(4)}
    gradients |= {"b2": drawn, "W3": np.zeros((steps, 2, 2)), "b3": in_turns}
    if matrices:
        start = {name: np.atleast_2d(value) for name, value in start.items()}
        gradients = {name: value.reshape(steps, *start[name].shape) for name, value in gradients.items()}
    return Exercise(start, gradients, np.select([t < 20, t < 30, t < 40], [1.0, 0.5, 2.0], 1.0))


def bowl(seed: int, steps: int = BOWL_STEPS) -> Exercise:
    """A convex cost for those that need one: a quadratic in a weight and a bias."""
    generator = keyed_generator(seed, "bowl for an optimizer")
    drawn = generator.standard_normal((UNITS, UNITS))
    curvature = drawn @ drawn.T / UNITS + np.eye(UNITS)
    start = {"W1": generator.standard_normal((2, UNITS // 2 - 1)), "b1": generator.standard_normal(2)}
    return Exercise(start, {}, np.ones(steps), curvature, generator.standard_normal(UNITS))
