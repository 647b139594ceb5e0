"""How the parameters of a layer start: what chance leaves of the reference's initializers, and others' usual ranges."""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from conformance.checks import chance
from conformance.data.randomness import keyed_generator
from conformance.identification.answer import Named
from conformance.identification.exercises import Array
from conformance.identification.initializers import OTHERWISE, POWERS
from conformance.identification.layer_arrays import ZERO, Slot
from conformance.identification.layer_model import Candidate
from conformance.identification.layer_target import Target
from conformance.recipes.factors import values_in
from reference_numpy.initializers import INITIALIZERS

NUMBERS = 4000  # that are drawn of the smallest parameter that is no vector
MOST_SEEDS = 250
LIKELY = 0.6  # of the distance that chance allows: four standard deviations
SAMPLE = 200_000  # of the reference's numbers, beside which these are seen


Fans = Mapping[str, tuple[int, ...]]


class Starts(NamedTuple):
    """How each parameter starts in words, and which keywords of the layer that is."""

    words: dict[str, str]
    keywords: dict[str, Any]


def starts(target: Target, candidate: Candidate) -> Starts:
    """How a layer's parameters start, as far as draws with other seeds tell it."""
    sizes = _sizes(target, candidate)
    least = min((slot.ids.size for slot in candidate.parameters.values() if slot.ids.ndim > 1), default=NUMBERS)
    seeds = np.arange(min(MOST_SEEDS, -(-NUMBERS // least)))
    found = target.asked.ask("start", {"x": target.given.drawn(0, "float64"), "seeds": seeds})
    count = len(found[f"array/{found['names'][0]}"])
    flat = np.stack([
        target.held.flat({str(name): found[f"array/{name}"][seed] for name in found["names"]}) for seed in range(count)
    ])  # fmt: skip
    gates = _gates(candidate)
    words = {}
    for path, slot in candidate.parameters.items():
        if slot.used:
            words[path] = _start(flat[:, slot.ids], slot.ids == ZERO, gates, sizes, _fans(target, slot))
    return Starts(words, _keywords(candidate, flat, gates))


def _gates(candidate: Candidate) -> str:
    keywords = candidate.form.choices
    inner = keywords.get("layer")
    return str((inner.keywords if isinstance(inner, Named) else keywords).get("gates", ""))


def _fans(target: Target, slot: Slot) -> Fans:
    """The numbers of outputs and inputs that libraries count in an array of which a parameter is a part."""
    shape = target.held.shapes.get(slot.used[0].partition("[")[0].partition(" as ")[0], ())
    if len(shape) < 2:
        return {}
    one, two = math.prod(shape[:-2]), math.prod(shape[2:])
    return {
        f"{shape[0] * two} outputs and {shape[1] * two} inputs": (shape[0] * two, shape[1] * two),
        f"{shape[-1] * one} outputs and {shape[-2] * one} inputs": (shape[-1] * one, shape[-2] * one),
    }


def _sizes(target: Target, candidate: Candidate) -> dict[str, int]:
    """The sizes that a range may go with, by name."""
    keywords = candidate.form.choices
    inner = keywords.get("layer")
    own = inner.keywords if isinstance(inner, Named) else keywords
    n_in = int(candidate.view.here(target.given.drawn(0, "float64")).shape[-1])
    named = {"n": own.get("units"), "n_in": None if target.given.integers else n_in}
    if "kernel" in own:
        named["n_in/groups * window"] = n_in * math.prod(own["kernel"]) // int(own["groups"])
    return {name: int(size) for name, size in named.items() if size}


def _start(drawn: Array, absent: Array, gates: str, sizes: Mapping[str, int], fans: Fans) -> str:
    """In words; ``drawn``: ``(seeds, *shape)``; ``absent``: which numbers no array holds."""
    there = drawn[:, ~absent] if absent.any() else drawn
    values = np.unique(there)
    if len(values) == 1:
        return f"all {values[0]:g}"
    if drawn.ndim == 2 and gates and drawn.shape[1] % len(gates) == 0:
        blocks = dict(zip(gates, np.split(drawn, len(gates), axis=1), strict=True))
        alike = {gate: np.unique(block) for gate, block in blocks.items()}
        if all(len(found) == 1 for found in alike.values()):
            return ", ".join(f"{found[0]:g} at {gate}" for gate, found in alike.items())
    if len(drawn) > 1 and (drawn[0] == drawn[1]).all():
        return "the same numbers with every seed"
    if drawn.ndim > 2:
        named = next(_orthogonal(drawn, gates), None) or _initializers(drawn, drawn.shape[1:])
        if named:
            return named
    found = _by_a_size(there, sizes)
    for words, shape in fans.items() if not found and drawn.ndim > 2 else ():
        named = _initializers(drawn, shape)
        if named:
            return f"{named} of the array, {words}"
    return found or _distribution(there)


def _orthogonal(drawn: Array, gates: str) -> Iterator[str]:
    for matrices, words in ((drawn, "orthogonal()"), *_by_gate(drawn, gates)):
        one = matrices.reshape(*matrices.shape[:1], matrices.shape[1], -1)
        for turned in (one, one.swapaxes(1, 2)):
            square = turned @ turned.swapaxes(1, 2)
            if np.abs(square - np.eye(square.shape[1])).max() < 1e-5:  # drawn in float32 as a rule
                yield words
                return


def _by_gate(drawn: Array, gates: str) -> Iterator[tuple[Array, str]]:
    if gates and drawn.shape[1] % len(gates) == 0:
        yield np.concatenate(np.split(drawn, len(gates), axis=1)), "orthogonal(), gate by gate"


def _initializers(drawn: Array, shape: tuple[int, ...]) -> str:
    """The reference's initializers that chance likely leaves, for a shape; nothing if there is none."""
    values, found = drawn.astype(np.float64).ravel(), []
    for given in (one["initializer"] for one in values_in("initializer").values()):
        name, keywords = (given, {}) if isinstance(given, str) else (given["name"], dict(given))
        keywords.pop("name", None)
        if name not in OTHERWISE:
            excess = _excess(values, _sample(name, shape, **keywords))
            found.append((excess, Named(name, keywords).written("initializer")))
    return " or ".join(dict.fromkeys(name for excess, name in sorted(found) if excess <= LIKELY))


@cache
def _sample(name: str, shape: tuple[int, ...], **keywords: str | bool | float) -> Array:
    """Many numbers that the reference draws for a shape: for one of more inputs and outputs, multiplied accordingly."""
    times = math.ceil(math.sqrt(SAMPLE / math.prod(shape)))
    larger = (shape[0] * times, *shape[1:-1], shape[-1] * times)
    drawn: Array = INITIALIZERS[name](keyed_generator(0, "sample of a start"), larger, **keywords)
    return drawn.ravel() * math.sqrt(times)


def _excess(values: Array, sample: Array) -> float:
    """How far means of powers are from those of the sample, at most, by the distance that chance allows."""
    size = float(np.sqrt((sample**2).mean()))
    found = 0.0
    for power in POWERS:
        low, high = chance.mean((sample / size) ** power, len(values))
        found = max(found, abs(2 * float(((values / size) ** power).mean()) - low - high) / (high - low))
    return found


def _alike(values: Array, sample: Array) -> bool:
    return _excess(values, sample) <= 1


def _by_a_size(values: Array, sizes: Mapping[str, int]) -> str:
    """Uniform up to one by the root of a size, as PyTorch draws; nothing if it goes with none."""
    uniform = keyed_generator(0, "sample of a distribution").uniform(-1, 1, SAMPLE)
    for name, count in sizes.items():
        if _alike(values.astype(np.float64).ravel(), uniform / math.sqrt(count)):
            return f"uniform(-1/sqrt({name}), 1/sqrt({name}))"
    return ""


def _distribution(values: Array) -> str:
    """Uniform or normal, of whatever size."""
    flat = values.astype(np.float64).ravel()
    size = float(np.sqrt((flat**2).mean()))
    generator = keyed_generator(0, "sample of a distribution")
    if _alike(flat / size, generator.uniform(-1, 1, SAMPLE) * math.sqrt(3)):
        largest = float(f"{np.abs(flat).max():.2g}")
        return f"uniform(-{largest:g}, {largest:g})"
    if _alike(flat / size, generator.standard_normal(SAMPLE)):
        return f"normal, deviation {float(f'{size:.2g}'):g}"
    return f"root mean square {size:.3g}"


def _keywords(candidate: Candidate, flat: Array, gates: str) -> dict[str, Any]:
    """What of it is a keyword of the reference's layer: where the forget gates' bias starts."""
    inner = candidate.form.choices.get("layer")
    name = inner.name if isinstance(inner, Named) else candidate.form.name
    slots = [slot for path, slot in candidate.parameters.items() if path.rpartition(".")[2] == "b"]
    if name != "lstm" or not slots:
        return {}
    forget = np.concatenate([np.split(flat[:, slot.ids], 4, axis=1)[gates.index("f")] for slot in slots])
    if len(np.unique(forget)) > 1:
        return {}
    found = {"forget_bias": float(forget.flat[0])}
    return {"layer": Named(name, {**inner.keywords, **found})} if isinstance(inner, Named) else found
