"""Which normalisation: two batches in training, the running averages that they leave, and inference."""

from collections.abc import Mapping

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.identification.answer import Answer
from conformance.identification.elementary import answer_of, functions
from conformance.identification.exercises import Array, Tensors
from conformance.identification.fitting import Form, Manner, nearness
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, best, closest, solved
from reference_numpy.normalization import batch_norm, batch_statistics, layer_norm, running_average

EXAMPLES, UNITS = 6, 5
SPREADS = (1.0, 0.1, 0.03, 0.01, 0.003)  # of the units, so that an epsilon is seen


def batches(seed: int) -> Tensors:
    """Two batches to train on and one for inference; examples and units are of different spreads."""
    generator = keyed_generator(seed, "batches for a normalisation")
    spreads = np.outer(np.array([1.0, 0.3, 0.1, 0.03, 0.01, 0.003]), np.array(SPREADS))
    found = {name: spreads * generator.standard_normal((EXAMPLES, UNITS)) for name in ("a0", "a1", "a2")}
    return {name: value + 0.1 for name, value in found.items()}


class Normalized:
    """The model: outputs in training, running averages where there are any, outputs in inference."""

    def __init__(self, given: Tensors, seen: Mapping[str, Array]) -> None:
        self.given, self.parts = given, tuple(name for name in PARTS if name in seen)

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """All parts in a row. Raises ValueError for a number that is not allowed."""
        keywords = form.keywords(manner.numbers(numbers))
        z = [manner.moved(self.given[name].astype(manner.dtype)) for name in ("a0", "a1", "a2")]
        with functions(manner):
            made = _layer_norm(z, **keywords) if form.name == "layer_norm" else _batch_norm(z, **keywords)
        if not all(part in made for part in self.parts):
            raise ValueError(f"{form.name} has no running averages")
        return np.concatenate([made[part].ravel() for part in self.parts]).astype(np.float64)

    def arranged(self, seen: Mapping[str, Array]) -> Array:
        """The parts of a target's answer."""
        return np.concatenate([seen[part].ravel() for part in self.parts]).astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """Each number's own size, an output's at least 1, which is what it is brought to."""
        sizes = [UNITS if "running" in part else EXAMPLES * UNITS for part in self.parts]
        least = np.concatenate([np.full(size, 0.0 if "variance" in p else 0.1 if "running" in p else 1.0)
                                for p, size in zip(self.parts, sizes, strict=True)])  # fmt: skip
        sized: Array = np.maximum(np.abs(predicted), least)
        return sized


PARTS = ("trained0", "trained1", "running_mean", "running_variance", "inferred")


def _batch_norm(z: list[Array], *, epsilon: float, momentum: float = 0.9, running_variance: str = "biased") -> Tensors:
    one, zero = np.ones(UNITS, z[0].dtype), np.zeros(UNITS, z[0].dtype)
    running, made = (zero, one), {}
    for place in (0, 1):
        batch = batch_statistics(z[place])
        made[f"trained{place}"] = batch_norm(z[place], one, zero, *batch, epsilon=epsilon)
        running = running_average(running, batch, EXAMPLES, momentum=momentum, running_variance=running_variance)
    inferred = batch_norm(z[2], one, zero, *running, epsilon=epsilon)
    return made | {"running_mean": running[0], "running_variance": running[1], "inferred": inferred}


def _layer_norm(z: list[Array], *, epsilon: float) -> Tensors:
    one, zero = np.ones(UNITS, z[0].dtype), np.zeros(UNITS, z[0].dtype)
    return {
        name: layer_norm(z[p], one, zero, epsilon=epsilon)
        for p, name in enumerate(("trained0", "trained1", "inferred"))
    }


def forms(parts: tuple[str, ...]) -> list[Form]:
    """Layer norm, and batch norm with its two variances; without running averages there is no momentum either."""
    if "running_mean" in parts:
        numbers = {"epsilon": 1e-5, "momentum": 0.9}
        return [Form("batch_norm", {"running_variance": one}, numbers) for one in ("biased", "unbiased")]
    plain = [Form("layer_norm", {}, {"epsilon": 1e-5})]
    return plain if "inferred" in parts else [*plain, Form("batch_norm", {}, {"epsilon": 1e-5})]


def identify(asked: Questioned) -> Answer:
    """The answer for a normalisation. Raises Incomplete where its process ends."""
    given = batches(0)
    try:
        seen = asked.ask("normalize", given)
    except Declined as error:
        return Answer(asked.target, asked.kind, None, reason=f"it takes no batch: {error}")
    dtype = seen["trained0"].dtype.name
    model = Normalized(given, seen)
    if any(seen[part].size != (UNITS if "running" in part else EXAMPLES * UNITS) for part in model.parts):
        return Answer(
            asked.target, asked.kind, None, reason=f"of a batch {given['a0'].shape} it makes one of another shape"
        )
    observed = model.arranged(seen)
    weights = 1 / model.scale(observed)
    matches = [closest(model, form, form.numbers, observed, dtype) for form in forms(model.parts)]
    if not best(matches):
        matches += list(solved(model, model, forms(model.parts), observed, weights, dtype))

    def look(match: Match) -> dict[str, float] | None:
        digits = {}
        for precision in ("float64", "float32") if dtype == "float64" else (dtype,):
            again = {name: value.astype(precision) for name, value in batches(1).items()}
            try:
                own = asked.ask("normalize", again)
            except Declined:
                return None
            another = Normalized(again, seen)
            manner = match.manner._replace(dtype=precision)
            fit = nearness(another, match.form, match.numbers, another.arranged(own), manner, coarse=match.coarse)
            if precision == dtype and not fit.same:
                return None
            digits[precision] = fit.digits
        return digits

    notes = () if "running_mean" in model.parts else ("no running averages were seen",)
    return answer_of(asked, best(matches), matches, look, notes)
