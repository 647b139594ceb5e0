"""A user's Keras optimizer: made anew in a precision, and its state under the catalogue's names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import State, Unsupported
from conformance.data.wording import listed, nearest
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from conformance.wrappers.given import made

NEGATIVE = "-"  # before the name of an attribute that holds a slot with the other sign

# Where optimizers keep the catalogue's slots. The velocity of Keras's SGD is added to a parameter.
SLOTS: dict[str, dict[str, str]] = {
    "SGD": {"velocity": "-momentums"},
    "RMSprop": {
        "square_average": "_velocities", "velocity": "_momentums", "gradient_average": "_average_gradients",
    },
    "Adagrad": {"square_sum": "_accumulators"},
    "Adadelta": {"square_average": "_accumulated_grads", "squared_update_average": "_accumulated_delta_vars"},
    "Adam": {
        "first_moment": "_momentums", "second_moment": "_velocities", "maximum_second_moment": "_velocity_hats",
    },
    "Nadam": {"first_moment": "_momentums", "second_moment": "_velocities", "momentum_product": "_u_product"},
    "Adamax": {"first_moment": "_m", "infinity_norm": "_u"},
    "Lion": {"momentum": "_momentums"},
}  # fmt: skip

CLIPPINGS = ("clipnorm", "clipvalue", "global_clipnorm")


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Keras makes everything in ``dtype`` for a while: its floatx, and the policy, which it keeps apart from it."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


@dataclass(frozen=True)
class Optimizers:
    """A user's optimizer, made anew for each training.

    ``source``: one that is made already, the name of one of Keras's, or a function that makes one; ``said``: where it
    keeps its state, an attribute by slot; ``slot_names``: the slots of the recipe's optimizer.
    """

    source: Any
    problem: Problem
    said: Mapping[str, str]
    slot_names: tuple[str, ...]

    def new(self) -> Any:
        """An optimizer that has made no step, with its numbers in the problem's precision.

        Raises TypeError if the user's is none.
        """
        with precision(self.problem.dtype.name):
            source = self.source
            if isinstance(source, str):
                source = keras.optimizers.get(source)
            elif callable(source) and not isinstance(source, keras.optimizers.Optimizer):
                source = made(source, self.problem)
            if not isinstance(source, keras.optimizers.Optimizer):
                raise TypeError(
                    f"optimizer= is a {type(source).__name__}: must be one of keras.optimizers, its name, or a function"
                    " that makes one"
                )
            return again(source) if source is self.source or source.built else source

    def optimizer(self, held: Mapping[str, Any], state: State) -> Any:
        """One for variables by name that goes on from a state. Raises Unsupported for state that it does not show."""
        optimizer = self.new()
        optimizer.build(list(held.values()))
        if state.step:
            optimizer.iterations.assign(state.step)
            for slot, values in state.slots.items():
                self._restore(optimizer, slot, [values[name] for name in held])
        return optimizer

    def slots(self, optimizer: Any, held: Mapping[str, Any]) -> dict[str, Tensors]:
        """Its state by slot and name; a slot of the recipe that it does not show is not offered."""
        found: dict[str, Tensors] = {}
        for slot in self.slot_names:
            kept, sign = self._kept(optimizer, slot)
            if kept is None:
                found[slot] = dict.fromkeys(held, NOT_OFFERED)
            elif isinstance(kept, Sequence):
                found[slot] = {name: sign * array(value) for name, value in zip(held, kept, strict=True)}
            else:  # one number for all parameters
                found[slot] = {name: np.full(w.shape, sign * array(kept)) for name, w in held.items()}
        return found

    def _restore(self, optimizer: Any, slot: str, values: list[Array]) -> None:
        kept, sign = self._kept(optimizer, slot)
        if kept is None:
            known = [name for name in vars(optimizer) if isinstance(getattr(optimizer, name), list)]
            raise Unsupported(
                f"{type(optimizer).__name__} does not show {slot!r}: say where it keeps it, slots={{{slot!r}: ...}}; it"
                f" has {listed(known)}{nearest(slot, known)}"
            )
        if isinstance(kept, Sequence):
            for variable, value in zip(kept, values, strict=True):
                variable.assign(sign * value)
        else:
            kept.assign(sign * values[0].flat[0])

    def _kept(self, optimizer: Any, slot: str) -> tuple[Any, float]:
        """Where an optimizer keeps a slot, a variable for each parameter or one for all; None where that is unknown."""
        table = next((SLOTS[made.__name__] for made in type(optimizer).__mro__ if made.__name__ in SLOTS), {})
        attribute = {**table, **self.said}.get(slot, "")
        kept = getattr(optimizer, attribute.removeprefix(NEGATIVE), None)
        return None if kept == [] else kept, -1.0 if attribute.startswith(NEGATIVE) else 1.0


def array(value: Any) -> Array:
    """A tensor, variable or number as an array that is a copy."""
    return np.array(keras.ops.convert_to_tensor(value).numpy())


def again(optimizer: Any) -> Any:
    """The same optimizer without its state, in Keras's default precision.

    A learning rate that it keeps in float32 is read as the shortest number that float32 rounds to it: what was typed.
    """
    config = optimizer.get_config()
    if isinstance(config["learning_rate"], float) and str(optimizer.learning_rate.dtype).endswith("float32"):
        config["learning_rate"] = float(str(np.float32(config["learning_rate"])))
    return type(optimizer).from_config(config)


def set_rate(optimizer: Any, rate: float) -> None:
    """Have an optimizer take this learning rate in place of its own or of its schedule's."""
    try:
        optimizer.learning_rate = rate
    except TypeError:  # it has a schedule
        optimizer.learning_rate = constant(rate)


def constant(rate: float) -> Callable[[], Any]:
    """A learning rate as a function, in Keras's default precision."""
    value = keras.ops.convert_to_tensor(np.asarray(rate))
    return lambda: value


def has_schedule(optimizer: Any) -> bool:
    """Whether an optimizer has a schedule of its own."""
    return isinstance(optimizer.get_config()["learning_rate"], dict)
