"""Training without a tape: whatever an implementation draws, it draws by its own generators from the seed it is given.

All other checks hand out what was drawn beforehand. So a seed that is ignored, one key for all layers, masks that are
the same in every epoch or state that is kept from one training to the next are seen here alone. No two generators draw
the same; what is looked at are shares, means and distances, each with the range that chance leaves once in 10^12 trials
(``chance.py``), and what chance has no part in, as a share of exactly 1.

* Initial parameters of a network of layers of one shape (``initial_parameters.py``): each layer's distribution, mean
  and mean square beside those of twenty times as many weights of the reference; correlations of layers and of seeds.
* Orders of the examples and dropout masks, read bit by bit from small trainings (``probe.py``).
* The recipe's own training, of its first epochs: the very same numbers when it is trained again with the same seed, by
  the same objects and after others; and the cost that it ends with, over ``SEEDS`` seeds, each with initial weights of
  its own. The mean of its logarithm is held against the reference's by a test of equivalence: who is right passes but
  once in 10^12 times, and who passes is, with a confidence of 99 %, within 3.5 standard deviations of a single
  training's from the reference (``chance.equivalence_margin``).

It looks at recipes with dropout that ask for their training once, and at no others: what it looks at is the same code
for them, and every probe is a program that some frameworks take a second to compile.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from conformance.adapters.guarded import Malformed, copied, demand
from conformance.adapters.session import Session, Training
from conformance.checks import chance, initial_parameters, probe
from conformance.checks.case import Case
from conformance.checks.initial_parameters import same_share
from conformance.checks.observation import Check, Key, Observation, Part
from conformance.data.randomness import keyed_generator
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array

SEEDS = 32  # of which the costs are compared
STEPS = 12  # of the recipe's own training, in whole epochs; its first epoch in any case
MOST_WORK = 3e7  # examples times parameters of such a training; a larger one is not made so many times


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """Initial parameters; orders and masks; trainings again and with other seeds."""
    problem = case.problem
    if not problem.recipe.named("inverted_dropout") or problem.recipe.fit != "once":
        return
    seeds = [int(seed) for seed in keyed_generator(problem.recipe.seed, "native seeds").integers(2**31, size=2 + SEEDS)]
    seeds[1] = (seeds[0] + 1) % 2**31  # where an epoch or a layer is added to the seed, this one draws the next one's
    yield Part(_initialized(session, problem, seeds), ("initialization",))
    width = probe.units(problem.recipe)
    if width is not None:
        probes = probe.Probe(problem.recipe, problem.dtype.name, width)
        yield Part(_drawn(session, probes, seeds), ("input", "activation"))
    own = _first_epochs(problem)
    if _work(own) <= MOST_WORK:
        yield Part(_trained(session, own, seeds), ("curve",))


def _seen(stage: str, tensor: str, value: float, allowed: chance.Range, layer: int = 0) -> Observation:
    """A number of no unit, so that its distance from what chance allows has none either."""
    key = Key(stage, 1, tensor, "sample", layer=layer)
    return Observation(key, np.asarray([value], np.float64), np.asarray(allowed, np.float64))


def _initialized(session: Session, problem: Problem, seeds: list[int]) -> Iterator[Observation]:
    for tensor, layer, value, allowed in initial_parameters.statistics(session, problem, (seeds[0], seeds[1])):
        yield _seen("initialization", tensor, value, allowed, layer)
    if problem.recipe.transfer is None:
        own, model = session.initial_parameters(seeds[0]), problem.tape.initial_parameters
        common = [name for name, w in model.items() if name in own and demand(name, own[name]).shape == w.shape]
        share = len(common) / len({*own, *model})
        yield _seen("initialization", "initial parameters that the model has, of all", share, chance.ALL)


def _drawn(session: Session, probes: probe.Probe, seeds: list[int]) -> Iterator[Observation]:
    """Orders, then masks, of two seeds and of the first again, after all others."""
    made, deep = session.another_session(probes.orders), session.another_session(probes.layers)
    first, other = (probe.train(made, probes.orders, seed) for seed in seeds[:2])
    layers = [probe.train(deep, probes.layers, seed) for seed in seeds[:2]]
    again = probe.train(made, probes.orders, seeds[0])
    batches = probes.batches(first)
    yield from _orders(batches, probes.batches(other), probes.batches(again))
    yield from _masks(probes.dropping, [probes.kept(training) for training in layers])
    by_example = probes.kept_by_example(first)
    if 1 in probes.dropping:
        yield from _masks_by_example(probes.dropping[1], by_example, batches)
    same = float((by_example == probes.kept_by_example(again)).mean())
    yield _seen("activation", "masks of layer 1 that one seed draws twice", same, chance.ALL, 1)


def _orders(first: Array, other: Array, again: Array) -> Iterator[Observation]:
    """Of the batches of each epoch, as bits: whether they hold every example once, and how often an order comes again.

    Two epochs are in the same order if they have the same batches, whatever the order within one.
    """
    once = 1 / probe.ORDERS
    yield _seen("input", "epochs that visit every example once", float(probe.whole(first).mean()), chance.ALL)
    rows = [row.tobytes() for row in first]
    repeated = float(np.mean([row in rows[:place] for place, row in enumerate(rows)]))
    most = chance.share(probe.EPOCHS, probe.EPOCHS * once)  # each may repeat any before it
    yield _seen("input", "epochs in an order that was there before", repeated, most)
    for tensor, rows_of in (
        ("the order of the data", probe.IN_TURN[None]),
        ("the order that another seed draws", other),
    ):
        allowed = chance.share(probe.EPOCHS, once)
        yield _seen("input", f"epochs in {tensor}", _equal_rows(first, rows_of), allowed)
    allowed = chance.share(probe.EPOCHS - 1, once)
    before = _equal_rows(first[1:], other[:-1])
    yield _seen("input", "epochs in the order that the next seed draws an epoch before", before, allowed)
    yield _seen("input", "epochs whose order one seed draws twice", _equal_rows(first, again), chance.ALL)


def _equal_rows(one: Array, other: Array) -> float:
    """The share of epochs with the same batches."""
    return float((one == other).all(axis=1).mean()) if one.shape[1] == other.shape[1] else 0.0


def _masks(dropping: dict[int, float], kept: list[dict[int, Array]]) -> Iterator[Observation]:
    """Of each layer's masks ``(epochs, units)``, under two seeds, for one example."""
    first, other = kept
    for layer, keep in dropping.items():
        both = np.stack([first[layer], other[layer]])
        share = chance.share(both.size, keep)
        yield _seen("activation", f"kept units of layer {layer}", float(both.mean()), share, layer)
        yield _alike(
            f"masks of layer {layer} from one epoch to the next", both[:, ::2], both[:, 1::2], keep, keep, layer
        )
        yield _alike(f"masks of layer {layer} under two seeds", first[layer], other[layer], keep, keep, layer)
        tensor = f"masks of layer {layer} and, an epoch before, under the next seed"
        yield _alike(tensor, first[layer][1:], other[layer][:-1], keep, keep, layer)
    for one, two in pairwise(dropping):
        lower, upper = (np.stack([masks[layer] for masks in kept]) for layer in (one, two))
        for tensor, these, those in (
            (f"masks of layers {one} and {two}", lower, upper),
            (f"masks of layer {one} and, an epoch before, of layer {two}", lower[:, 1:], upper[:, :-1]),
            (f"masks of layer {one} and, an epoch later, of layer {two}", lower[:, :-1], upper[:, 1:]),
        ):
            yield _alike(tensor, these, those, dropping[one], dropping[two], two)


def _masks_by_example(keep: float, kept: Array, batches: Array) -> Iterator[Observation]:
    """Of the first layer's masks ``(epochs, examples, units)``: of two examples of a batch, of batches and of epochs.

    Which of its examples a batch takes first is not known; of two batches are compared the units that are kept in both
    examples, each with a probability of ``keep^2``.
    """
    pairs = np.stack([_pairs(masks, row) for masks, row in zip(kept, batches[:, : probe.FULL], strict=True)])
    both = np.asarray(pairs.all(axis=2))  # (epochs, full batches, units)
    yield _alike("masks of layer 1 of a batch's examples", pairs[:, :, 0], pairs[:, :, 1], keep, keep, 1)
    for tensor, one, other in (
        ("one batch to the next", both[:, ::2], both[:, 1::2]),
        ("the batches of one epoch to the next's", both[::2], both[1::2]),
    ):
        yield _alike(f"masks of layer 1 from {tensor}", one, other, keep**2, keep**2, 1)


def _pairs(masks: Array, batches: Array) -> Array:
    """The masks of the two examples of each full batch of an epoch; of one that cannot be read twice the first's."""
    members = [probe.members(batch) for batch in batches.tolist()]
    return np.stack([masks[pair if len(pair) == probe.BATCH else [0, 0]] for pair in members])


def _alike(tensor: str, one: Array, other: Array, keep: float, other_keep: float, layer: int) -> Observation:
    """How many units have one fate in two masks; independent ones are both kept or both dropped."""
    expected = keep * other_keep + (1 - keep) * (1 - other_keep)
    share = float((one == other).mean())
    return _seen("activation", f"units alike in {tensor}", share, chance.share(one.size, expected), layer)


def _first_epochs(problem: Problem) -> Problem:
    """The first epochs of the recipe's own training, asked for in one call."""
    epochs = min(problem.recipe.epochs, max(1, STEPS // problem.batches_per_epoch))
    recipe = problem.recipe.model_copy(update={"epochs": epochs, "fit": "once"})
    return replace(problem, recipe=recipe)


def _work(problem: Problem) -> float:
    parameters = sum(w.size for w in problem.tape.initial_parameters.values())
    return float(problem.recipe.epochs * len(problem.train_x) * parameters)


def _trained(session: Session, problem: Problem, seeds: list[int]) -> Iterator[Observation]:
    """The recipe's own training with many seeds, and with the first of them again."""
    first = copied(session.fit_natively(problem, seeds[0], ()))
    costs = [_final_cost(problem, session.fit_natively(_initialized_anew(session, problem, seed), seed, ()))
             for seed in seeds[2:]]  # fmt: skip
    again = session.fit_natively(problem, seeds[0], ())
    yield _seen("curve", "what one seed trains twice", same_share(_numbers(first), _numbers(again)), chance.ALL)
    with np.errstate(all="ignore"):  # a training may diverge
        logs = np.log(costs)
        allowed = chance.second_mean(logs)
    yield _seen("curve", f"logarithm of the cost at the end, mean of {SEEDS} seeds", float(logs.mean()), allowed)


def _initialized_anew(session: Session, problem: Problem, seed: int) -> Problem:
    """The problem with initial parameters of this seed; those that come trained from elsewhere stay as they are."""
    if problem.recipe.transfer is not None:
        return problem
    found = session.initial_parameters(seed)
    parameters = {
        name: demand(name, found.get(name), w.shape).copy() for name, w in problem.tape.initial_parameters.items()
    }
    return replace(problem, tape=replace(problem.tape, initial_parameters=parameters))


def _final_cost(problem: Problem, training: Training) -> float:
    """The mean cost of the last epoch's steps."""
    costs = demand("the costs of a training", training.costs)
    if costs.ndim != 1 or costs.size == 0:
        raise Malformed(f"the costs of a training have shape {costs.shape}: must be (steps,)")
    return float(costs[-problem.batches_per_epoch :].mean())


def _numbers(training: Training) -> dict[str, Array]:
    """All that a training returned, by name."""
    slots = {f"{slot} of {name}": w for slot, tensors in training.slots.items() for name, w in tensors.items()}
    curves = {"costs": training.costs, "norms": training.gradient_norms, "validation": training.validation_costs}
    return {**training.parameters, **slots, **training.statistics, **curves}
