"""What a layer of the reference makes of a target's inputs and arrays, beside what the target made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from conformance.identification.answer import Named
from conformance.identification.elementary import functions
from conformance.identification.exercises import Array
from conformance.identification.fitting import Form, Manner
from conformance.identification.layer_arrays import Assigned, Held
from reference_numpy.layers import LAYERS, Layer


class View(NamedTuple):
    """How a target's data lies: the order of its axes, whether outputs are turned in time or keep axes of 1."""

    words: str
    axes: tuple[int, ...]
    turned: bool = False
    kept: bool = False

    def here(self, value: Array) -> Array:
        """A target's array as the reference has it; one with other axes as it is."""
        found = value.transpose(self.axes) if value.ndim == len(self.axes) else value
        return found

    def output(self, value: Array) -> Array:
        """An output of the target, likewise."""
        found = self.here(value)
        if self.kept:
            return found.reshape(len(found), -1)
        return np.flip(found, 1) if self.turned else found


def views(x: Array, y: Array) -> list[View]:
    """How inputs and outputs may lie."""
    axes = x.ndim
    found = [View("", tuple(range(axes)))]
    if axes > 2:
        found.append(View("channels second: (m, n, ...)", (0, *range(2, axes), 1)))
    if axes == 3:
        found.append(View("steps first: (t, m, n)", (1, 0, 2)))
    if y.ndim == axes > 2:
        found += [view._replace(kept=True) for view in found[:2] if set(view.here(y).shape[1:-1]) == {1}]
    return found


class Seen(NamedTuple):
    """What a target was given and made; ``trained``: output and kept arrays in training, where that is otherwise."""

    x: Array
    flat: Array
    upstream: Array
    y: Array
    dx: Array | None
    gradients: Array
    trained: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Candidate:
    """A formulation, with what its parameters and running averages are made of, and how the data lies."""

    form: Form
    view: View
    parameters: Assigned
    statistics: Assigned


def made(name: str, keywords: Mapping[str, Any]) -> Layer:
    """The reference's layer, with those inside of it. Raises ValueError for what it does not allow."""
    inner = [made(each.name, each.keywords) for each in keywords.get("layers", ())]
    own = {n: made(v.name, v.keywords) if isinstance(v, Named) else v for n, v in keywords.items() if n != "layers"}
    return LAYERS[name](*inner, **own)


class Model:
    """One candidate on what was seen: outputs, gradients of inputs and of arrays, and what training leaves."""

    def __init__(self, candidate: Candidate, held: Held, seen: Seen, *, outputs_alone: bool = False) -> None:
        self.candidate, self.held, self.seen, self.outputs_alone = candidate, held, seen, outputs_alone

    def forward(self, form: Form, numbers: Mapping[str, float]) -> Array:
        """The output alone, in float64. Raises ValueError for what is not allowed."""
        layer = made(form.name, form.keywords(numbers))
        x, parameters, statistics = self._given(Manner())
        y: Array = layer.forward(parameters, x, statistics=statistics)[0]
        return y

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """All parts in a row. Raises ValueError for a number that is not allowed."""
        layer = made(form.name, form.keywords(manner.numbers(numbers)))
        x, parameters, statistics = self._given(manner)
        dy = self.candidate.view.output(self.seen.upstream).astype(manner.dtype)
        with functions(manner):
            y, values = layer.forward(parameters, x, statistics=statistics)
            dx, gradients = layer.backward(parameters, values, dy)
            parts = [y]
            if not self.outputs_alone:
                parts += [] if self.seen.dx is None else [dx]
                parts.append(self.held.gathered(gradients, self.candidate.parameters)[self._trained()])
            if self.seen.trained is not None and not self.outputs_alone:
                y, values = layer.forward(parameters, x)
                after = layer.updated_statistics(statistics, values)
                kept = np.zeros(self.held.size)
                for path, slot in self.candidate.statistics.items():
                    kept[slot.ids] = after[path]
                parts += [y, kept[self._kept()]]
        return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)

    def arranged(self) -> Array:
        """The same parts of what the target made."""
        view, seen = self.candidate.view, self.seen
        parts = [view.output(seen.y)]
        if not self.outputs_alone:
            parts += [] if seen.dx is None else [view.here(seen.dx)]
            parts.append(seen.gradients[self._trained()])
        if seen.trained is not None and not self.outputs_alone:
            y, after = seen.trained
            parts += [view.output(y), after[self._kept()]]
        self._sizes = [np.size(part) for part in parts]
        return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """The largest number of a part, for all of its numbers."""
        found = np.zeros(len(predicted))
        start = 0
        for size in self._sizes:
            part = slice(start, start + size)
            found[part] = np.abs(predicted[part]).max(initial=0.0)
            start += size
        return found

    def _given(self, manner: Manner) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        x = self.candidate.view.here(self.seen.x)
        if x.dtype.kind == "f":
            x = manner.moved(x.astype(manner.dtype))
        flat = manner.moved(self.seen.flat.astype(manner.dtype))
        flat[-2:] = 1.0, 0.0
        parameters, statistics = (
            {path: flat[slot.ids] for path, slot in each.items()}
            for each in (self.candidate.parameters, self.candidate.statistics)
        )
        return x, parameters, statistics

    def _trained(self) -> Array:
        return self.held.places(self.held.trained)

    def _kept(self) -> Array:
        return self.held.places(self.held.others)
