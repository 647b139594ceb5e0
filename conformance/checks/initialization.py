"""Initial weights, drawn by the implementation's own initializer and generator: their distribution, by its statistics.

Beside them the biases with which a whole model starts, whose size is 0 in the reference but where a gate's is said to
be another, of layers with gates those of each gate for itself; and of a network of layers, each of which has an
initializer of its own, all weights, over some seeds.

Everything else is fed with initial parameters that the reference drew. Two generators never draw the same weights, so
not these are compared but what is nearly the same in every draw of a large matrix. What chance leaves is measured as
rounding is: the re-rounded references draw with other seeds.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from conformance.adapters.guarded import Malformed, demand
from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Check, Key, Observation, Part
from conformance.data.randomness import keyed_generator
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from conformance.recipes.layer_sizes import placed

# Far from square, so that fan-in, fan-out and their mean are told apart; the transpose, since orthogonal columns are
# made otherwise than orthogonal rows.
SHAPES = ((160, 640), (640, 160))
BIASES = "root mean square of each layer's initial biases"
SIGNS = 64  # of a fair coin: all alike once in 2^63
SEEDS = 64  # with which a network of layers is drawn
FEWEST = 64  # numbers of a weight that is looked at: with fewer chance would move a mean too far


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """Of a wide matrix (step 1) and a tall one (step 2), then of the model's biases (step 3), if it has any.

    Biases of layers with gates are looked at gate by gate too. Of a network of layers then its larger weights (step 4).
    """
    for step, shape in enumerate(SHAPES, start=1):
        seed = int(keyed_generator(case.problem.recipe.seed, "seed of weights", step).integers(2**31))
        yield Part(_drawn(session, step, shape, seed), ("initialization",), step)
    model = case.problem.tape.initial_parameters
    biases = {name: w.shape for name, w in model.items() if case.problem.places[name].kind == "bias"}
    if biases:
        step = len(SHAPES) + 1
        seed = int(keyed_generator(case.problem.recipe.seed, "seed of weights", step).integers(2**31))
        yield Part(_drawn_biases(session, step, biases, seed, _gates(case.problem)), ("initialization",), step)
    if case.problem.recipe.is_network:
        step = len(SHAPES) + 2
        generator = keyed_generator(case.problem.recipe.seed, "seed of weights", step)
        seeds = [int(seed) for seed in generator.integers(2**31, size=SEEDS)]
        kinds = {name: case.problem.places[name].kind for name in model}
        weights = {name: w.shape for name, w in model.items() if kinds[name] == "weight" and w.size >= FEWEST}
        yield Part(_drawn_weights(session, step, weights, seeds), ("initialization",), step)


def _drawn(session: Session, step: int, shape: tuple[int, int], seed: int) -> Iterator[Observation]:
    weights = demand("the matrix of weights", session.draw_weights(shape, seed))
    if weights.ndim != 2 or 0 in weights.shape:
        raise Malformed(f"the matrix of weights has shape {weights.shape}: must be {shape}")
    if not np.isfinite(weights).all():
        raise Malformed("the matrix of weights holds values that are not finite")
    for name, value in statistics(weights).items():
        yield Observation(Key("initialization", step, name, "statistic"), np.asarray(value, weights.dtype))


def _drawn_biases(
    session: Session, step: int, shapes: dict[str, tuple[int, ...]], seed: int, gates: dict[str, str]
) -> Iterator[Observation]:
    """The size of each bias, then of each that has ``gates`` what the part of each gate starts at."""
    found = session.initial_parameters(seed)
    biases = {name: demand(name, found.get(name), shape) for name, shape in shapes.items()}
    dtype = next(iter(biases.values())).dtype
    sizes = [_root_mean_square(bias) for bias in biases.values()]
    yield Observation(Key("initialization", step, BIASES, "statistic"), np.asarray(sizes, dtype))
    for name, letters in gates.items():
        for letter, part in zip(letters, np.split(biases[name], len(letters)), strict=True):
            key = Key("initialization", step, f"mean of initial {name} of gate {letter}", "statistic", name)
            yield Observation(key, np.asarray([part.mean(dtype=np.float64), _root_mean_square(part)], dtype))


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt((values.astype(np.float64) ** 2).mean()))


def _gates(problem: Problem) -> dict[str, str]:
    """The gates of each bias of a layer that has them, in the order of their parts: ``{"2.b": "ifgo"}``."""
    found: dict[str, str] = {}
    biases = [name for name in problem.tape.initial_parameters if problem.places[name].kind == "bias"]
    tokens = problem.train_x.dtype.kind in "iu"
    for place in placed(problem.recipe.model.layers, problem.train_x.shape[1:], tokens=tokens):
        layer = place.layer.layers[0] if place.layer.name == "bidirectional" else place.layer
        if "gates" in layer.keywords:
            own = [name for name in biases if name.startswith(f"{place.path}.")]
            found |= dict.fromkeys(own, layer.keywords["gates"])
    return found


def _drawn_weights(
    session: Session, step: int, shapes: dict[str, tuple[int, ...]], seeds: list[int]
) -> Iterator[Observation]:
    """Of each layer's weights, over all seeds; those of a matrix as of the wide and the tall one."""
    drawn = [session.initial_parameters(seed) for seed in seeds]
    for name, shape in shapes.items():
        values = np.stack([demand(name, found.get(name), shape) for found in drawn])
        for tensor, numbers in _over_seeds(values.astype(np.float64)):
            key = Key("initialization", step, f"{tensor} of initial {name}", "statistic", name)
            yield Observation(key, np.asarray(numbers, values.dtype))


def _over_seeds(values: Array) -> Iterator[tuple[str, list[float]]]:
    """Statistics of weights ``(seeds, ...)``; see :func:`statistics`."""
    root = _root_mean_square(values)
    yield "mean", [float(values.mean()), root]
    yield "root mean square", [root]
    yield "kurtosis", [float((values**4).mean()) / (root**4 or 1.0)]
    if values.ndim == 3 and np.isfinite(values).all():
        singular = np.linalg.svd(values, compute_uv=False)
        yield "singular values", [float(singular[:, 0].mean()), float(singular[:, -1].mean())]
        yield "both signs in R", [float(np.ptp([_signs(w) for w in values]) > 0)]


def _signs(w: Array) -> Array:
    """Those on the diagonal of ``R`` in the QR decomposition of a matrix's columns; of a wide one, of its rows."""
    tall = w if w.shape[0] >= w.shape[1] else w.T
    signs: Array = np.sign(np.diagonal(np.linalg.qr(tall[:, :SIGNS], mode="r")))
    return signs


def statistics(weights: Array) -> dict[str, list[float]]:
    """Statistics of a matrix ``(n_out, n_in)``, computed in float64; of a matrix of zeros all are 0 but the ``shape``.

    * ``mean``, with the root mean square, since in units of that is to be seen how far the mean is from 0.
    * ``root mean square``: the scale.
    * ``kurtosis``, the mean fourth power over the squared mean square: 3 for a normal distribution, 2.37 for one
      truncated at two deviations, 1.8 for a uniform one.
    * ``singular values``, the largest and the smallest: alike for an orthogonal matrix, and further apart than for
      independent weights where rows or columns depend on each other.
    * ``both signs in R``: of the first columns' QR decomposition (of a wide matrix: the rows'), 1 if ``R`` has both
      signs on its diagonal. An orthogonal factor whose signs are a library's own, not chance's, has one.
    """
    return _statistics(weights.shape, weights.dtype.name, weights.tobytes())


@lru_cache(maxsize=64)  # the same initializer with the same seed draws the same weights in every recipe
def _statistics(shape: tuple[int, int], dtype: str, data: bytes) -> dict[str, list[float]]:
    w = np.frombuffer(data, dtype).reshape(shape).astype(np.float64)
    tall = w if w.shape[0] >= w.shape[1] else w.T
    squares = w**2
    mean_square = float(squares.mean())
    root = float(np.sqrt(mean_square))
    squared_singular_values = np.linalg.eigvalsh(tall.T @ tall)
    return {
        "shape": list(shape),
        "mean": [float(w.mean()), root],
        "root mean square": [root],
        "kurtosis": [float((squares**2).mean()) / (mean_square**2 or 1.0)],
        "singular values": [float(np.sqrt(max(squared_singular_values[end], 0.0))) for end in (-1, 0)],
        "both signs in R": [float(np.ptp(_signs(w)) > 0)],
    }
