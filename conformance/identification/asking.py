"""What a target is asked, kind by kind, in the process in which it lives."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from conformance.identification.exercises import Exercise, Tensors
from conformance.identification.frameworks import Optimizing, Refused
from conformance.identification.kinds import Subject, missing
from conformance.identification.layering import Opened


class Asked:
    """A subject, made where it has to be, and the answers to what it is asked."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.optimizing = _optimizing(subject) if subject.kind == "optimizer" else None
        self.opened = Opened(subject) if subject.kind == "layer" else None
        made_here = subject.kind not in ("optimizer", "normalization", "schedule", "regularizer") or not _needed(
            subject
        )
        made = isinstance(subject.thing, type) and subject.kind != "optimizer"
        self.function: Callable[..., Any] = (
            _function(subject, made) if made_here and not (self.optimizing or self.opened) else _unmade
        )

    def facts(self) -> dict[str, Any]:
        """What the subject says of itself: its numbers, whether its rate changes, what it had to be given."""
        if self.opened is not None:
            given = {name: value for name, value in self.opened.given.items() if value is not None}
            return {"numbers": _numbers({**self.subject.keywords, **given}), "scheduled": False, "given": given}
        if self.optimizing is None:
            return {"numbers": _numbers(self.subject.keywords), "scheduled": False, "given": {}}
        return {
            "numbers": _numbers(self.optimizing.numbers),
            "scheduled": self.optimizing.scheduled,
            "given": dict(self.optimizing.given),
        }

    def answer(self, ask: str, arrays: Tensors) -> Tensors:
        """The arrays that answer ``ask``: ``optimize``, ``evaluate``, ``schedule``, ``normalize``, ``initialize`` or
        ``regularize``.

        A layer has questions of its own.
        """
        if self.opened is not None:
            return self.opened.answer(ask, arrays)
        answers = {
            "optimize": self._optimize, "evaluate": self._evaluate, "schedule": self._schedule,
            "normalize": self._normalize, "initialize": self._initialize, "regularize": self._regularize,
        }  # fmt: skip
        return answers[ask](arrays)

    def _optimize(self, arrays: Tensors) -> Tensors:
        assert self.optimizing is not None
        return self.optimizing.run(Exercise.of(arrays))

    def _evaluate(self, arrays: Tensors) -> Tensors:
        given = [arrays[name] for name in sorted(arrays) if name != "upstream"]
        said = []
        for framework in self.subject.frameworks:
            try:
                value, gradient = framework.evaluated(self.function, given, arrays.get("upstream"))
            except Exception as error:  # whatever a framework says of what is not its own
                said.append(f"{type(error).__name__}: {error}")
                continue
            return {"value": value} | ({} if gradient is None else {"gradient": gradient})
        raise Refused(said[0])

    def _schedule(self, arrays: Tensors) -> Tensors:
        steps = [int(step) for step in arrays["steps"]]
        found = self._first("scheduled", self.subject.thing, self.subject.keywords, len(steps))
        if found is None:
            rates = [np.asarray(self.function(step)) for step in steps]
            single = all(rate.dtype == np.float32 for rate in rates)
            found = np.array([float(rate) for rate in rates], np.float32 if single else np.float64)
        return {"value": found}

    def _normalize(self, arrays: Tensors) -> Tensors:
        found: Tensors | None = self._first("normalized", self.subject.thing, self.subject.keywords, arrays)
        if found is not None:
            return found
        return {f"trained{place}": self._evaluate({"a0": arrays[f"a{place}"]})["value"] for place in (0, 1)}

    def _initialize(self, arrays: Tensors) -> Tensors:
        shape = tuple(int(n) for n in arrays["shape"])
        draws = [self._first("initialized", self.function, shape, int(seed)) for seed in arrays["seeds"]]
        return {"value": np.stack([np.asarray(draw) for draw in draws])}

    def _regularize(self, arrays: Tensors) -> Tensors:
        weights, gradients = (
            {name[2:]: value for name, value in arrays.items() if name.startswith(f"{part}/")} for part in "wg"
        )
        found: Tensors | None = self._first(
            "regularized", self.subject.thing, self.subject.keywords, weights, gradients
        )
        if found is None:
            raise Refused("it is a function of one array")
        return found

    def _first(self, offer: str, *arguments: Any) -> Any:
        """What the first framework that offers it makes of the target; None if none does."""
        for framework in self.subject.frameworks:
            offered = getattr(framework, offer, None)
            found = None if offered is None else offered(*arguments)
            if found is not None:
                return found
        return None


def _optimizing(subject: Subject) -> Optimizing:
    """The optimizer, by the first framework that it is of. Raises ValueError, with what was said, if by none."""
    said = []
    for framework in subject.frameworks:
        try:
            found: Optimizing | None = framework.optimizing(subject.thing, subject.keywords)
        except Exception as error:  # whatever somebody's code raises when it is made
            said.append(f"{type(error).__name__}: {error}")
            continue
        if found is not None:
            return found
    raise ValueError(f"the optimizer cannot be made: {said[0] if said else 'it is none of a known framework'}")


def _needed(subject: Subject) -> bool:
    """Whether a class needs more than its keywords: the number of units, an optimizer."""
    return isinstance(subject.thing, type) and bool(missing(subject.thing, subject.keywords))


def _unmade(*arguments: Any) -> Any:
    raise Refused("it needs more than it was given")


def _function(subject: Subject, made: bool) -> Callable[..., Any]:
    """What is called: an object that a class makes with the keywords, or a function with the keywords beside."""
    thing, keywords = subject.thing, _arguments(subject)
    if made:
        try:
            found: Callable[..., Any] = thing(**keywords)
        except Exception as error:  # whatever somebody's class raises
            raise ValueError(f"the {subject.kind} cannot be made: {type(error).__name__}: {error}") from error
        return found
    if not keywords:
        return thing  # type: ignore[no-any-return]
    return partial(thing, **keywords)


def _arguments(subject: Subject) -> dict[str, Any]:
    """The keywords, those made arrays that the framework has as arrays."""
    made = (getattr(framework, "arguments", None) for framework in subject.frameworks)
    offered = next(filter(None, made), None)
    return dict(subject.keywords if offered is None else offered(subject.thing, subject.keywords))


def _numbers(found: Mapping[str, Any]) -> dict[str, Any]:
    """Those of what an object says of itself that are numbers, truth values or a few of them."""
    kept: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, bool | int | float | str) or value is None:
            kept[name] = value
        elif isinstance(value, tuple | list) and all(isinstance(each, int | float) for each in value):
            kept[name] = list(value)
        elif np.ndim(value) == 0 and isinstance(value, np.generic | np.ndarray):
            kept[name] = value.item()
    return kept
