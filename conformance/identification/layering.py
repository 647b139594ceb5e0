"""A layer as it is asked in its process: made with sizes that tell its axes apart, and with inputs that it takes."""

import contextlib
import inspect
import itertools
import time
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.identification.exercises import Array, Tensors
from conformance.identification.frameworks import Inner, Layered, Ran, Refused, parameters_of
from conformance.identification.kinds import Subject
from conformance.identification.target import load, parse

EXAMPLES, STEPS, SPACE, ENTRIES = 3, 7, (7, 6), 5
CHANNELS = (5, 4)  # the second is a multiple of two heads and of two groups
SECONDS = 90.0  # at most, in which a layer is made anew as often as is asked
LARGEST = 64  # of a number that is taken for one of features

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Input(NamedTuple):
    """What an input is like: its shape, and whether it is of integers."""

    shape: tuple[int, ...]
    integers: bool

    def drawn(self, seed: int, dtype: str) -> Array:
        """Numbers of that kind; integers are in ``0 .. ENTRIES - 1``."""
        generator = keyed_generator(seed, "input of a layer")
        if self.integers:
            return generator.integers(ENTRIES, size=self.shape).astype(np.int32)
        return generator.standard_normal(self.shape).astype(dtype)


class Opened:
    """A subject with the arguments with which it could be made, and the inputs that may be tried on it.

    Raises ValueError, with what was said, where it cannot be made or takes no input.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._said: list[str] = []
        self._ready: dict[tuple[Any, ...], Layered] = {}
        for given in _plans(subject.thing, subject.keywords):
            self.given = given
            self.keywords = {**_loaded(subject.keywords), **_loaded(given)}
            for last in (True, False):  # few layers take channels that are not last
                for channels in self._channels():
                    self.inputs = list(_inputs(channels))
                    usual = [each for each in self.inputs if each.integers or each.shape[-1] == channels]
                    rest = [each for each in self.inputs if each not in usual]
                    if any(map(self._takes, usual if last else rest)):
                        return
        raise ValueError(f"the layer takes none of the inputs that were tried: {self._said[0] if self._said else ''}")

    def answer(self, ask: str, arrays: Tensors) -> Tensors:
        """The arrays that answer ``ask``: ``open``, ``start`` or ``run``."""
        return {"open": self._open, "start": self._start, "run": self._run}[ask](arrays)

    def _open(self, arrays: Tensors) -> Tensors:
        return {f"{place}": np.array([int(each.integers), *each.shape]) for place, each in enumerate(self.inputs)}

    def _start(self, arrays: Tensors) -> Tensors:
        x = arrays["x"]
        made = self._made(x, "float64", int(arrays["seeds"][0]))
        names = list(made.arrays())
        found = self._drawn(x, arrays["seeds"]) if len(arrays["seeds"]) > 1 else [made.arrays()]
        return {f"array/{name}": np.stack([each[name] for each in found]) for name in names} | {
            "names": np.array(names, dtype=np.str_), "trained": np.array(made.trained, dtype=np.str_),
        }  # fmt: skip

    def _drawn(self, x: Array, seeds: Array) -> list[Tensors]:
        """The arrays of the layer made anew with each seed, as long as there is time."""
        for framework in self.subject.frameworks:
            offered = getattr(framework, "drawn", None)
            with contextlib.suppress(Exception):  # whatever a library says of what is not its own
                found = None if offered is None else offered(self.subject.thing, self.keywords, x, "float64", seeds)
                if found is not None:
                    return [{name: value[place] for name, value in found.items()} for place in range(len(seeds))]
        until = time.monotonic() + SECONDS
        drawn: list[Tensors] = []
        for seed in seeds:
            if not drawn or time.monotonic() < until:
                drawn.append(self._made(x, "float64", int(seed)).arrays())
        return drawn

    def _run(self, arrays: Tensors) -> Tensors:
        x, dtype = arrays["x"], str(arrays["dtype"])
        held = {name.partition("/")[2]: value for name, value in arrays.items() if name.startswith("array/")}
        key = (x.shape, x.dtype.name, dtype)
        if key not in self._ready:
            self._ready[key] = self._made(x, dtype, 0)
        ran: Ran = self._ready[key].run(held, x, arrays.get("upstream"), bool(arrays["training"]))
        found = {f"output/{place}": np.asarray(value) for place, value in enumerate(ran.outputs)}
        found |= {f"gradient/{name}": value for name, value in ran.gradients.items()}
        found |= {f"after/{name}": value for name, value in ran.after.items()}
        return found | ({} if ran.dx is None else {"dx": ran.dx})

    def _made(self, x: Array, dtype: str, seed: int) -> Layered:
        said = ""
        for framework in self.subject.frameworks:
            offered = getattr(framework, "layered", None)
            if offered is None:
                continue
            try:
                found: Layered | None = offered(self.subject.thing, self.keywords, x, dtype, seed)
            except Exception as error:  # whatever somebody's code raises
                said = said or f"{type(error).__name__}: {error}"
                continue
            if found is not None:
                return found
        raise Refused(said or "it is no layer of a known framework")

    def _takes(self, one: Input) -> bool:
        x = one.drawn(0, "float64")
        try:
            made = self._made(x, "float64", 0)
            outputs = made.run(made.arrays(), x, None, False).outputs
        except Exception as error:  # whatever somebody's layer says of an input
            self._said.append(str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}")
            return False
        return bool(outputs) and outputs[0].dtype.kind == "f" and outputs[0].size > 0

    def _channels(self) -> list[int]:
        """How many features an input may have: so many as an argument says, or else any."""
        known = {**self.subject.keywords, **self.given}
        said = [n for name in _arguments()["inputs"] if name in known for n in _whole({name: known[name]})]
        return list(dict.fromkeys(said[:1] or [*CHANNELS, *(n for n in _whole(known) if 1 < n < LARGEST)]))


def _inputs(channels: int) -> Iterator[Input]:
    """Sequences, images and features, channels last and second; integers last."""
    yield Input((EXAMPLES, STEPS, channels), False)
    yield Input((EXAMPLES, *SPACE, channels), False)
    yield Input((EXAMPLES, channels, STEPS), False)
    yield Input((EXAMPLES, channels, *SPACE), False)
    yield Input((EXAMPLES, channels), False)
    yield Input((EXAMPLES, STEPS), True)


def _whole(keywords: Mapping[str, Any]) -> Iterator[int]:
    """The whole numbers among arguments."""
    for value in keywords.values():
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, int) and not isinstance(one, bool):
                yield one


@cache
def _arguments() -> dict[str, Any]:
    with (Path(__file__).parent / "layer_arguments.toml").open("rb") as file:
        return tomllib.load(file)


def _plans(thing: Any, keywords: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is given beside the keywords, the most usual first. Raises ValueError for an argument that is not known."""
    known = _arguments()
    if not (isinstance(thing, type) or inspect.isfunction(thing)):  # it is made
        yield {}
        return
    bases = [f"{base.__module__}.{base.__qualname__}" for base in getattr(thing, "__mro__", ())]
    parameters = parameters_of(thing)
    names = [name for base in bases for name in known["unnamed"].get(base, ())] or [
        p.name for p in parameters.values() if p.default is p.empty and p.kind in NAMED
    ]
    names = [name for name in names if name not in keywords and name != "rngs"]
    choices = {**known["required"], **{n: v for base in reversed(bases) for n, v in known["of"].get(base, {}).items()}}
    unknown = [name for name in names if name not in choices]
    if unknown:
        raise ValueError(f"the layer needs {', '.join(unknown)}: say it, as in Layer({unknown[0]}=4)")
    instead = {n: value for n, value in known["instead"].items() if n in parameters and n not in keywords}
    options = [_of_library(choices[name], thing.__module__) for name in names]
    for picked in itertools.product(*options):
        yield dict(zip(names, picked, strict=True)) | instead


def _of_library(values: list[Any], module: str) -> list[Any]:
    """Of those that name a layer the ones of the same library: Flax's two libraries are ``flax.nnx`` and ``.linen``."""
    own = module.split(".")[: 2 if module.startswith("flax.") else 1]
    return [v for v in values if not isinstance(v, str) or v.partition(":")[0].split(".")[: len(own)] == own]


def _loaded(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments, of which a text that names a target is that layer, given sizes too."""
    return {
        name: _inner(value) if isinstance(value, str) and ":" in value else value for name, value in keywords.items()
    }


def _inner(text: str) -> Inner:
    target = parse(text)
    thing = load(target)
    given = next(_plans(thing, target.keywords))
    return Inner(thing, {**_loaded(target.keywords), **_loaded(given)})
