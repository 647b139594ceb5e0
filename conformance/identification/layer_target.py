"""A layer that is asked: what its arrays are, and what it makes of inputs with numbers that are chosen for them."""

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.identification.exercises import Array, Tensors
from conformance.identification.layer_arrays import Held
from conformance.identification.layer_model import Seen
from conformance.identification.layering import Input
from conformance.identification.process import Questioned

SIZE = 0.7  # of the numbers in the arrays


class Target:
    """A layer that is asked: its arrays, and what it makes of inputs."""

    def __init__(self, asked: Questioned, given: Input) -> None:
        self.asked, self.given = asked, given
        started = asked.ask("start", {"x": given.drawn(0, "float64"), "seeds": np.arange(1)})
        shapes = {str(name): started[f"array/{name}"].shape[1:] for name in started["names"]}
        self.held = Held(shapes, map(str, started["trained"]))

    def seen(self, seed: int, dtype: str) -> Seen:
        """What it makes of inputs and arrays that ``seed`` draws. Raises Declined where it takes none."""
        arrays = self._arrays(seed, dtype)
        x = self.given.drawn(seed, dtype)
        plain = self._run(x, arrays, dtype, None, training=False)["output/0"]
        upstream = keyed_generator(seed, "upstream of a layer").standard_normal(plain.shape).astype(dtype)
        made = self._run(x, arrays, dtype, upstream, training=False)
        gradients = {name.partition("/")[2]: g for name, g in made.items() if name.startswith("gradient/")}
        return Seen(
            x, self.held.flat(arrays), upstream, made["output/0"], made.get("dx"),
            self.held.flat(gradients)[:-2], self._trained(x, arrays, dtype),
        )  # fmt: skip

    def _trained(self, x: Array, arrays: Tensors, dtype: str) -> tuple[Array, Array] | None:
        if not self.held.others:
            return None
        found = self._run(x, arrays, dtype, None, training=True)
        after = {name.partition("/")[2]: value for name, value in found.items() if name.startswith("after/")}
        return found["output/0"], self.held.flat(after)[:-2]

    def training(self, times: int) -> list[Array]:
        """Its outputs in training, in as many runs."""
        x, arrays = self.given.drawn(0, "float64"), self._arrays(0, "float64")
        return [self._run(x, arrays, "float64", None, training=True)["output/0"] for _ in range(times)]

    def outputs(self, x: Array, *, training: bool = False) -> Array:
        """Its outputs for other inputs than it draws. Raises Declined where it takes none such."""
        return self._run(x, self._arrays(0, "float64"), "float64", None, training=training)["output/0"]

    def slopes(self, x: Array) -> Array | None:
        """The gradient of the sum of its outputs by its inputs; None where it has none. Raises Declined as above."""
        upstream = np.ones_like(self.outputs(x))
        return self._run(x, self._arrays(0, "float64"), "float64", upstream, training=False).get("dx")

    def _arrays(self, seed: int, dtype: str) -> Tensors:
        """Numbers for its arrays; those that are not trained are positive, as variances are."""
        generator = keyed_generator(seed, "arrays of a layer")
        drawn = {name: SIZE * generator.standard_normal(shape) for name, shape in self.held.shapes.items()}
        positive = {name: 0.5 + np.abs(drawn[name]) for name in self.held.others}
        return {name: value.astype(dtype) for name, value in (drawn | positive).items()}

    def _run(self, x: Array, arrays: Tensors, dtype: str, upstream: Array | None, *, training: bool) -> Tensors:
        given = {f"array/{name}": value for name, value in arrays.items()}
        given |= {"x": x, "dtype": np.array(dtype), "training": np.array(training)}
        return self.asked.ask("run", given | ({} if upstream is None else {"upstream": upstream}))
