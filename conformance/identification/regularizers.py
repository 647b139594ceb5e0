"""Which regularizer: what a target adds to gradients, or makes of gradients and weights, against the catalogue's.

A target is asked for what becomes of all gradients at once, as of an optimizer's argument or of a clipping by the norm
of all; one that is a function of a single array is asked for that: a penalty gives one number, all others an array.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.identification.answer import Answer, Named
from conformance.identification.elementary import answer_of, dropped
from conformance.identification.exercises import Array, Tensors
from conformance.identification.fitting import Form, Manner, nearness
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, best, solved
from conformance.identification.target import parse
from reference_numpy import regularizers

SHAPES = {"W1": (4, 3), "W2": (2, 4), "b1": (4,)}
SIZES = (1.0, 0.3, 0.01)  # beyond the limits that are usual, and within them
WEIGHTS = ("W1", "W2")
UNITS = "units"  # whose weights lie in a row of the array, or in a column
DRAWS = 6
LARGE = 400  # rows of what is asked for a dropout
L1, L2 = "l1", "l2"
SAME = (1e-9, 1e-12)  # how near a gradient is to one that was not changed, which an optimizer may have rounded
NOTHING = "it changes nothing of what it was given"
_PENALTIES: tuple[tuple[str, ...], ...] = ((L2,), (L1,), (L1, L2))


def penalty(l1: float = 0.0, l2: float = 0.0) -> Named:
    """The formulation of ``l1 sum |W| + l2 sum W^2``.

    >>> penalty(l2=0.1).written("regularizer"), penalty(l1=0.25, l2=0.75).keywords["l1_ratio"]
    ('l2(strength=0.1, convention="full")', 0.25)
    """
    if not (l1 and l2):
        return Named("l1" if l1 else "l2", {"strength": l1 or l2, "convention": "full"})
    ratio = float(f"{l1 / (l1 + l2):.15g}")
    return Named("elastic_net", {"strength": float(f"{l1 + l2:.15g}"), "l1_ratio": ratio, "convention": "full"})


def as_said(found: Named, said: Sequence[Any]) -> Named:
    """A penalty with the convention by which its strength is a number that was ``said``; with no half if none is.

    >>> as_said(penalty(l2=0.15), [0.3]).written("regularizer")
    'l2(strength=0.3, convention="half")'
    """
    strength = found.keywords["strength"]
    doubled = float(f"{2 * strength:.12g}")
    if strength in said or doubled not in (said or [1.0]):
        return found
    return Named(found.name, {**found.keywords, "strength": doubled, "convention": "half"})


def drawn(seed: int, size: float, dtype: str) -> tuple[Tensors, Tensors]:
    """Weights and gradients, of very different sizes row by row."""
    generator = keyed_generator(seed, "weights and gradients of a regularizer")
    rows = [{n: generator.standard_normal(shape) for n, shape in SHAPES.items()} for _ in range(2)]
    spread = {
        name: np.geomspace(0.1, 3.0, shape[0]).reshape(-1, *(1,) * (len(shape) - 1)) for name, shape in SHAPES.items()
    }
    weights, gradients = ({n: (size * spread[n] * value).astype(dtype) for n, value in one.items()} for one in rows)
    return weights, gradients


class Changed:
    """The model of what becomes of gradients: a limit on all of them, or a penalty's gradient added to the weights'."""

    def __init__(self, seed: int, names: Sequence[str], dtype: str) -> None:
        self.names, self.given = names, [drawn(seed, size, dtype) for size in SIZES]

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """All gradients, one after the other. Raises ValueError for a number that is not allowed."""
        own = manner.numbers(numbers)
        found = []
        for weights, gradients in self.given:
            w, g = (
                {n: manner.moved(value.astype(manner.dtype)) for n, value in one.items()}
                for one in (weights, gradients)
            )
            if form.name in regularizers.CLIPPINGS:
                found.append(regularizers.CLIPPINGS[form.name](own["limit"])(g))
            else:
                found.append({n: g[n] + slope(w[n], own) for n in self.names})
        return self.arranged(found)

    def arranged(self, made: Sequence[Tensors]) -> Array:
        """What is compared."""
        return np.concatenate([one[name].ravel() for one in made for name in self.names]).astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """The largest that went into it, of gradients of each size apart."""
        sizes = [max(np.abs(one[n]).max() for one in pair for n in self.names) for pair in self.given]
        return np.repeat(sizes, predicted.size // len(sizes)).astype(np.float64)


class OfArray:
    """The model of a function of one array that gives an array: a clipping, or a limit on the weights of each unit."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.given = [drawn(seed, size, dtype)[0]["W1"] for size in SIZES]

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """What becomes of the arrays. Raises ValueError for a number that is not allowed."""
        limit = manner.numbers(numbers)["limit"]
        change = {**regularizers.CLIPPINGS, **regularizers.CONSTRAINTS}[form.name](limit)
        turned = form.choices.get(UNITS) == "columns"
        arrays = [manner.moved(w.astype(manner.dtype)) for w in self.given]
        made = [change({"W1": w.T if turned else w})["W1"] for w in arrays]
        return self.arranged([w.T if turned else w for w in made])

    def arranged(self, made: Sequence[Array]) -> Array:
        """What is compared."""
        return np.concatenate([one.ravel() for one in made]).astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """The largest of each array."""
        return np.repeat([np.abs(w).max() for w in self.given], self.given[0].size).astype(np.float64)


class Cost:
    """The model of a penalty: its value, and its gradient where the target has one."""

    def __init__(self, seed: int, gradient: bool, dtype: str) -> None:
        self.given, self.gradient = [drawn(seed, size, dtype)[0]["W1"] for size in SIZES], gradient

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """Values, then gradients. Raises ValueError for a number that is not allowed."""
        own = manner.numbers(numbers)
        arrays = [manner.moved(w.astype(manner.dtype)) for w in self.given]
        values = [sum(one.value([w], 1) for one in _terms(own)) for w in arrays]
        return self.arranged(values, [slope(w, own) for w in arrays])

    def arranged(self, values: Sequence[Any], slopes: Sequence[Array]) -> Array:
        """What is compared."""
        parts = [np.ravel(each) for each in (*values, *(slopes if self.gradient else ()))]
        return np.concatenate(parts).astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """Values as they are, gradients the largest of their array."""
        count = len(self.given)
        parts = np.split(np.abs(predicted[count:]), count) if self.gradient else []
        return np.concatenate([np.abs(predicted[:count]), *(np.full(part.shape, part.max()) for part in parts)])


def slope(w: Array, numbers: Mapping[str, float]) -> Array:
    """The gradient of ``l1 sum |w| + l2 sum w^2``."""
    return np.sum([one.gradient(w, 1) for one in _terms(numbers)], axis=0, dtype=w.dtype)


def _terms(numbers: Mapping[str, float]) -> Iterator[regularizers.Penalty]:
    for name, number in numbers.items():
        yield regularizers.PENALTIES[name](number, convention="full")


def identify(asked: Questioned) -> Answer:
    """The answer for a regularizer. Raises Incomplete where its process ends."""
    try:
        return _of_gradients(asked, _changed(asked, 0, "float64"))
    except Declined:
        pass
    try:
        seen = _evaluated(asked, 0, "float64")
        if seen[0]["value"].ndim == 0:
            return _penalty(asked, seen)
        if seen[0]["value"].shape == SHAPES["W1"]:
            return _dropout(asked) or _of_array(asked, seen)
    except Declined as error:
        return Answer(asked.target, asked.kind, None, reason=f"it takes no weights or gradients: {error}")
    return Answer(
        asked.target, asked.kind, None, reason=f"of an array {SHAPES['W1']} it makes {seen[0]['value'].shape}"
    )


def _changed(asked: Questioned, seed: int, dtype: str) -> list[Tensors]:
    """What a target makes of all gradients. Raises Declined for one that is a function of a single array."""
    return [asked.ask("regularize", question(*drawn(seed, size, dtype))) for size in SIZES]


def question(weights: Tensors, gradients: Tensors) -> Tensors:
    """The arrays of the question ``regularize``."""
    return {f"w/{name}": w for name, w in weights.items()} | {f"g/{name}": g for name, g in gradients.items()}


def _evaluated(asked: Questioned, seed: int, dtype: str) -> list[Tensors]:
    return [asked.ask("evaluate", {"a0": drawn(seed, size, dtype)[0]["W1"]}) for size in SIZES]


def _of_gradients(asked: Questioned, seen: Sequence[Tensors]) -> Answer:
    gradients = [drawn(0, size, "float64")[1] for size in SIZES]
    if all(np.allclose(seen[0][name], g, *SAME) for name, g in gradients[0].items()):
        return Answer(asked.target, asked.kind, None, reason=NOTHING)
    biases = any(not np.allclose(one["b1"], g["b1"], *SAME) for one, g in zip(seen, gradients, strict=True))

    def model(form: Form, seed: int, dtype: str) -> Changed:
        return Changed(seed, tuple(SHAPES) if form.name in regularizers.CLIPPINGS else WEIGHTS, dtype)

    def again(form: Form, dtype: str) -> Array:
        return model(form, 1, dtype).arranged(_changed(asked, 1, dtype))

    norms = {
        "clip_by_value": max(float(np.abs(g).max()) for g in seen[0].values()),
        "clip_by_norm": max(float(np.linalg.norm(g)) for g in seen[0].values()),
        "clip_by_global_norm": float(np.sqrt(sum((g**2).sum() for g in seen[0].values()))),
    }
    forms = [*(Form(name, {}, {"limit": limit}) for name, limit in norms.items()), Form("l2", {}, {L2: 0.01})]
    return _answer(
        asked, forms, model, lambda form: model(form, 0, "float64").arranged(seen), again,
        lambda form: ("of biases too" if biases else "of weights alone",) if form.name == "l2" else (),
    )  # fmt: skip


def _of_array(asked: Questioned, seen: Sequence[Tensors]) -> Answer:
    value = seen[0]["value"]
    if np.allclose(value, drawn(0, SIZES[0], "float64")[0]["W1"], *SAME):
        return Answer(asked.target, asked.kind, None, reason=NOTHING)
    forms = [Form("clip_by_value", {}, {"limit": float(np.abs(value).max())}),
             Form("clip_by_norm", {}, {"limit": float(np.linalg.norm(value))})]  # fmt: skip
    for place, units in ((1, "rows"), (0, "columns")):
        forms.append(Form("max_norm", {UNITS: units}, {"limit": float(np.linalg.norm(value, axis=place).max())}))

    def again(form: Form, dtype: str) -> Array:
        return OfArray(1, dtype).arranged([one["value"] for one in _evaluated(asked, 1, dtype)])

    observed = OfArray(0, "float64").arranged([one["value"] for one in seen])
    return _answer(
        asked, forms, lambda form, seed, dtype: OfArray(seed, dtype), lambda form: observed, again,
        lambda form: (f"a unit's weights are a {form.choices[UNITS][:-1]}",) if UNITS in form.choices else (),
    )  # fmt: skip


def _penalty(asked: Questioned, seen: Sequence[Tensors]) -> Answer:
    gradient = all("gradient" in one for one in seen)

    def arranged(found: Sequence[Tensors], model: Cost) -> Array:
        return model.arranged([one["value"] for one in found], [one["gradient"] for one in found if gradient])

    def model(form: Form, seed: int, dtype: str) -> Cost:
        return Cost(seed, gradient, dtype)

    forms = [
        Form("elastic_net" if len(names) > 1 else names[0], {}, dict.fromkeys(names, 0.01)) for names in _PENALTIES
    ]
    return _answer(
        asked, forms, model, lambda form: arranged(seen, model(form, 0, "float64")),
        lambda form, dtype: arranged(_evaluated(asked, 1, dtype), model(form, 1, dtype)), lambda form: (),
    )  # fmt: skip


def _answer(
    asked: Questioned,
    forms: Sequence[Form],
    model: Callable[[Form, int, str], Any],
    observed: Callable[[Form], Array],
    again: Callable[[Form, str], Array],
    notes: Callable[[Form], tuple[str, ...]],
) -> Answer:
    """The answer of the first form that is the target, else of what is nearest.

    ``model`` makes the model of a seed and a precision; ``observed`` and ``again``: what the target made of seeds 0, 1.
    """
    matches: list[Match] = []
    for form in forms:
        own, seen = model(form, 0, "float64"), observed(form)
        found = list(solved(own, own, [form], seen, 1 / np.maximum(own.scale(seen), 1e-300), "float64"))
        matches += found
        if _exact(found):
            break

    def digits(match: Match) -> dict[str, float] | None:
        kept = {}
        for dtype in ("float64", "float32"):
            own, manner = model(match.form, 1, dtype), match.manner._replace(dtype=dtype)
            fit = nearness(own, match.form, match.numbers, again(match.form, dtype), manner, coarse=match.coarse)
            if dtype == "float64" and not fit.same:
                return None
            kept[dtype] = fit.digits
        return kept

    found = _exact(matches)
    told = notes(found[0].form) if found else ()
    return answer_of(asked, found, matches, digits, told, called=lambda match: _named(asked, match))


def _exact(matches: Sequence[Match]) -> list[Match]:
    """Those that are the same: a small number beside a norm is as small as what float32 rounds away."""
    return [match for match in best(matches) if not match.coarse]


def _named(asked: Questioned, match: Match) -> Named:
    if match.form.name in regularizers.PENALTIES:
        return as_said(penalty(**match.numbers), list(parse(asked.target).keywords.values()))
    return Named(match.form.name, dict(match.numbers))


def _dropout(asked: Questioned) -> Answer | None:
    """The answer for what drops some numbers and scales the others; None of anything else."""
    x = 1 + keyed_generator(0, "what is dropped").uniform(size=(LARGE, DRAWS))
    keep = dropped(x, asked.ask("evaluate", {"a0": x})["value"])
    return (
        None
        if keep is None
        else Answer(asked.target, asked.kind, Named("inverted_dropout", {"keep_probability": keep}))
    )
