"""A session under test as the checks see it: it is given copies, and what it returns becomes plain arrays at once.

So a session that changes what it was given, keeps it, or returns the same buffer every time gains nothing by it and
harms nothing. And a value that is no array of numbers is a value that can be told of, not an exception.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from conformance.adapters import expected
from conformance.adapters.expected import Wanted
from conformance.adapters.session import Adapter, Session, State, Training, TrainingState, Unsupported
from conformance.data.wording import cut
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors

T = TypeVar("T")

LARGEST_BYTES = 2**30  # of one returned array; no tensor of a recipe comes near
_NUMBERS = "biuf"  # kinds of dtypes: booleans, integers with and without sign, real numbers


class Malformed(Exception):
    """Raised where something that was returned is needed to go on and is not what it must be."""


class Unreadable(np.ndarray):
    """Stands where an array of numbers should: empty, with ``found``, what is there instead ("is None")."""

    found = ""

    @staticmethod
    def of(found: str) -> "Unreadable":
        """The one that stands for what was ``found``."""
        made = np.zeros(0).view(Unreadable)
        made.found = found
        return made

    def __array_finalize__(self, origin: Any) -> None:
        self.found = getattr(origin, "found", "")


class NotOffered(Unreadable):
    """Stands where an array of numbers is that a session does not offer: unsupported, and not wrong."""


# What a session may return in the place of a single tensor that it cannot show, for example of an activation inside a
# fused operation: that tensor alone counts as unsupported.
NOT_OFFERED: Array = Unreadable.of("is not offered").view(NotOffered)


def readable(value: Any) -> Array:
    """A copy of what NumPy makes of a value, or an :class:`Unreadable`; NOT_OFFERED is what it is.

    Lists of numbers and single ones are taken for the arrays that ``np.asarray`` makes of them.
    """
    if isinstance(value, NotOffered):
        return value
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        return Unreadable.of("is an array of which some numbers are masked")
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever its own conversion raises
        return Unreadable.of(f"is {described(value)}, of which NumPy makes no array ({type(error).__name__})")
    if array.dtype.kind not in _NUMBERS or array.dtype.itemsize > 8:
        holds = isinstance(value, (np.ndarray, np.generic, list, tuple)) or hasattr(value, "dtype")
        return Unreadable.of(f"has dtype {array.dtype}" if holds else f"is {described(value)}")
    if array.nbytes > LARGEST_BYTES:
        return Unreadable.of(f"has shape {array.shape}, which is too large to be looked at")
    return np.array(array, array.dtype.newbyteorder("="), copy=True, order="K", subok=False)


def demand(name: str, value: Array | None, shape: tuple[int, ...] | None = None) -> Array:
    """A value that is needed to go on, of that shape if one is given. Raises Malformed, Unsupported for NOT_OFFERED."""
    if value is None:
        raise Malformed(f"{name} was not returned")
    if isinstance(value, NotOffered):
        raise Unsupported(f"{name} {value.found}")
    if isinstance(value, Unreadable):
        raise Malformed(f"{name} {value.found}: must be an array of numbers")
    if shape is not None and value.shape != shape:
        raise Malformed(f"{name} has shape {value.shape}: must be {shape}")
    return value


def described(value: Any) -> str:
    """What kind of thing a value is, in words: ``a list``, ``None``."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    name = printable(type(value).__name__)
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"


def printable(name: Any) -> str:
    """A name as text that can be written and stored, cut where that is long; a kind of text, as NumPy's, is text."""
    text = str.__str__(name) if isinstance(name, str) else ascii(name)
    return cut(text if text.isprintable() else ascii(text))


def copied(value: T) -> T:
    """A copy down to the arrays; what is neither array nor container is what it is."""
    found: Any = value
    if isinstance(found, np.ndarray):
        return cast(T, found.copy(order="K"))
    if isinstance(found, dict):
        return cast(T, {name: copied(item) for name, item in found.items()})
    if isinstance(found, tuple) and hasattr(found, "_fields"):
        return cast(T, type(found)(*map(copied, found)))
    if isinstance(found, (list, tuple)):
        return cast(T, type(found)(map(copied, found)))
    if is_dataclass(found) and not isinstance(found, type):
        own = {field.name: copied(getattr(found, field.name)) for field in fields(found) if field.init}
        return cast(T, replace(found, **own))
    return value


class Guarded(Session):
    """What an adapter made, as a session that has every method; see the module docstring.

    ``complaints``: what was wrong with the shape of what was returned since they were last taken.
    """

    def __init__(self, found: Any, complaints: list[str] | None = None) -> None:
        self._found = found
        self._complaints = [] if complaints is None else complaints
        self._lacking: list[str] = []

    def complaints(self) -> list[str]:
        """What was returned that is not made as it must be, since the last call."""
        taken = list(self._complaints)
        self._complaints.clear()
        return taken

    def lacking(self) -> list[str]:
        """What was not returned that was to be, since the last call."""
        taken = list(dict.fromkeys(self._lacking))
        self._lacking.clear()
        return taken

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        return readable(self._call("draw_weights", shape, seed))

    def standardize(self, train_x: Array, x: Array) -> Array:
        return readable(self._call("standardize", train_x, x))

    def augment(self, x: Array, draws: list[Array]) -> Array:
        return readable(self._call("augment", x, draws))

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        found = self._call("intermediates", parameters, x, masks, statistics)
        return self._whole("intermediates", found, expected.intermediates(parameters))

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        return self._whole("losses", self._call("losses", parameters, x, y, masks, weights), expected.LOSSES)

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        found = self._call("gradients", parameters, x, y, masks, weights)
        return self._whole("gradients", found, expected.gradients(parameters, x))

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        found = self._call("running_statistics", parameters, x, masks, statistics)
        return self._whole("running_statistics", found, expected.parameters(statistics))

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return readable(self._call("predict_classes", parameters, x, statistics))

    def clip(self, gradients: Tensors) -> Tensors:
        return self._whole("clip", self._call("clip", gradients), expected.parameters(gradients))

    def constrain(self, parameters: Tensors) -> Tensors:
        return self._whole("constrain", self._call("constrain", parameters), expected.parameters(parameters))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        found = self._call("optimizer_step", parameters, gradients, state, learning_rate)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            self._complain(f"optimizer_step returned {described(found)}: must be a tuple of parameters and State")
            return {}, State(state.step + 1, {})
        updated, after = found
        slots = self._slots(
            "optimizer_step", after[1] if type(after) is tuple and len(after) == 2 else getattr(after, "slots", after)
        )
        self._lack("optimizer_step", slots, dict.fromkeys(state.slots, ""), "slots")
        for slot in slots.keys() & state.slots.keys():
            self._lack("optimizer_step", slots[slot], expected.parameters(parameters), slot)
        wanted = expected.parameters(parameters)
        return self._whole("optimizer_step", updated, wanted, "parameters"), State(state.step + 1, slots)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        return self._training("fit", problem, checkpoint_epochs, *(() if start is None else (start,)))

    def another_session(self, problem: Problem) -> "Guarded":
        """Its complaints are this session's."""
        return Guarded(self._call("another_session", problem), self._complaints)

    def initial_parameters(self, seed: int) -> Tensors:
        return self._tensors("initial_parameters", self._call("initial_parameters", seed))

    def fit_natively(self, problem: Problem, seed: int, checkpoint_epochs: tuple[int, ...]) -> Training:
        return self._training("fit_natively", problem, seed, checkpoint_epochs)

    def _training(self, method: str, *arguments: Any) -> Training:
        """What a method of the session returns, as a training."""
        found = self._call(method, *arguments)
        parts = {name: getattr(found, name, None) for name in Training._fields}
        demanded = [name for name in Training._fields if name not in Training._field_defaults]
        if not all(hasattr(found, name) for name in demanded):
            lacking = ", ".join(name for name in demanded if not hasattr(found, name))
            self._complain(f"{method} returned {described(found)} without {lacking}: must be a Training")
        return Training(
            costs=readable(parts["costs"]),
            learning_rates=readable(parts["learning_rates"]),
            gradient_norms=readable(parts["gradient_norms"]),
            parameters=self._whole(method, parts["parameters"], self._trained(arguments), "parameters"),
            slots=self._slots(method, parts["slots"]),
            checkpoints=self._checkpoints(method, parts["checkpoints"]),
            validation_costs=readable(parts["validation_costs"]),
            best_epoch=cast(int, readable(parts["best_epoch"])),
            statistics=self._tensors(method, parts["statistics"], "statistics"),
            checkpoint_slots=self._by_epoch(method, parts, "checkpoint_slots", partial(self._slots, method)),
            checkpoint_statistics=self._by_epoch(
                method, parts, "checkpoint_statistics", lambda kept: self._tensors(method, kept, "statistics")
            ),
            steps=self._count(method, parts["steps"]),
        )

    @staticmethod
    def _trained(arguments: tuple[Any, ...]) -> Wanted:
        """The parameters of a training, whose first argument is its problem."""
        return expected.parameters(arguments[0].tape.initial_parameters)

    def _call(self, method: str, *arguments: Any) -> Any:
        """What a method of the session returns, given copies."""
        own = getattr(self._found, method, None)
        if not callable(own):
            raise Unsupported(f"{type(self._found).__name__} does not offer {method}")
        return own(*copied(arguments))

    def _whole(self, method: str, found: Any, wanted: Wanted, part: str = "") -> Tensors:
        """Arrays by name; it is told if those ``wanted`` are not all among them."""
        tensors = self._tensors(method, found, part)
        if isinstance(found, Mapping):  # else that is told
            self._lack(method, tensors, wanted, part)
        return tensors

    def _lack(self, method: str, found: Mapping[str, Any], wanted: Wanted, part: str) -> None:
        text = expected.lacks(method, found, wanted, part)
        self._lacking += [text] if text else []

    def _tensors(self, method: str, found: Any, part: str = "") -> Tensors:
        """Arrays by name."""
        if not isinstance(found, Mapping):
            what = f"returned {described(found)}" + (f" as {part}" if part else "")
            self._complain(f"{method} {what}: must be a dict of arrays by name")
            return {}
        return {printable(name): readable(value) for name, value in found.items()}

    def _slots(self, method: str, found: Any) -> dict[str, Tensors]:
        """Arrays by slot and name."""
        if not isinstance(found, Mapping):
            self._complain(f"{method} returned {described(found)} as slots: must be a dict of dicts of arrays")
            return {}
        return {printable(slot): self._tensors(method, tensors, str(slot)) for slot, tensors in found.items()}

    def _checkpoints(self, method: str, found: Any) -> dict[int, Tensors]:
        """Arrays by epoch and name."""
        if not isinstance(found, Mapping):
            self._complain(
                f"{method} returned {described(found)} as checkpoints: must be a dict of parameters by epoch"
            )
            return {}
        checkpoints = {}
        for epoch, tensors in found.items():
            if isinstance(epoch, (int, np.integer)):
                checkpoints[int(epoch)] = self._tensors(method, tensors, f"checkpoint {epoch}")
            else:
                self._complain(f"{method} returned a checkpoint of {described(epoch)}: must be of an epoch's number")
        return checkpoints

    def _by_epoch(
        self, method: str, parts: Mapping[str, Any], part: str, read: Callable[[Any], T]
    ) -> dict[int, T] | None:
        """What may be offered beside the checkpoints, by epoch; None if it is not."""
        found = parts[part]
        if found is None:
            return None
        if not isinstance(found, Mapping):
            self._complain(f"{method} returned {described(found)} as {part}: must be a dict by epoch")
            return {}
        return {int(epoch): read(value) for epoch, value in found.items() if isinstance(epoch, (int, np.integer))}

    def _count(self, method: str, found: Any) -> int | None:
        """A number of steps that may be told; None if it is not."""
        if found is None or isinstance(found, (int, np.integer)):
            return None if found is None else int(found)
        self._complain(f"{method} returned {described(found)} as steps: must be an integer")
        return None

    def _complain(self, text: str) -> None:
        self._complaints.append(text)


def as_session(found: Any) -> Guarded:
    """What an adapter made, as the checks see it."""
    return found if isinstance(found, Guarded) else Guarded(found)


def open_session(adapter: Adapter, problem: Problem) -> Guarded:
    """An adapter's session for a copy of a problem. Raises Unsupported, and whatever else the adapter raises."""
    return as_session(adapter.session(copied(problem)))
