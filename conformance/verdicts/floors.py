"""The measured noise floor: how far honest rounding moves each tensor of a case, and where it may throw a switch.

The reference is run several times in the working precision, each time in a way that is equal in mathematics and differs
in rounding (``conformance/verdicts/rerounding.py``): with examples, input features and hidden units in another order,
so that every sum is taken in another order; with its inputs moved by about half a unit in the last place; and with the
optimizer's scalars rounded to the working precision, as a framework that keeps them in tensors does. The largest error
of these runs against the float64 oracle is the noise floor; over the steps of a training it is steadied by its
neighbours, and of what is made by subtraction it is at least one rounding of what was subtracted from.

Next to a kink (a rectifier's zero) rounding can also turn a unit on or off for an example, and next to zero it can turn
the sign that Lion steps along, or that of a weight whose absolute value is penalised: discrete events whose effect no
sample of runs bounds. The *events* of a case are the steps at which some number lies that near to where it switches.
"""

import json
from collections.abc import Iterator

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session
from conformance.checks import CHECKS
from conformance.checks.case import Case, TrainingState, replay, take_step
from conformance.checks.observation import Key, Observation
from conformance.problems.problem import Array, Problem, Tensors, layer_of
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import FLOOR_FACTOR, ROUNDOFFS, Errors, Expectation, measure_noise
from conformance.verdicts.rerounding import VARIANTS, Rerounded

KINKED = ("relu", "leaky_relu", "elu", "selu")
LONG = ("initialization", "teacher_forced", "free_running")  # checks that see the same tensor at several steps
NEIGHBOURS = 10  # steps on either side

# What switches, by the first letter of its name.
_PRE_ACTIVATION = "unit {unit} of layer {layer} is {distance:.1e} from its kink for example {example} of the batch"
_SWITCHES = {
    "d": "the direction of {name}{index} is {distance:.1e} from changing its sign",
    "W": "{name}{index} is {distance:.1e} from 0, where the gradient of its penalty changes its sign",
    "Z": _PRE_ACTIVATION,
    "N": _PRE_ACTIVATION,
}

# What the differences that L-BFGS keeps are made of.
_CHANGES = {"parameter_change": "previous_parameter", "gradient_change": "previous_gradient"}

Events = dict[int, str]
Expectations = dict[str, list[Expectation]]


def measure(case: Case) -> Expectations:
    """For each check, what the oracle saw and how far the re-rounded references were from it."""
    double = case.in_float64()
    oracle = NumpySession(double.problem)
    variants = [Rerounded(case.problem, variant) for variant in range(len(VARIANTS))]
    local, cumulative = local_events(case, oracle, variants), free_running_events(case, oracle, variants)
    found = {}
    for check, observe in CHECKS.items():
        oracles = list(observe(oracle, double))
        runs = [{o.key: o for o in observe(variant, case)} for variant in variants]
        events = {"initialization": {}, "free_running": cumulative}.get(check, local)
        floors = [_floor(o, runs) for o in oracles]
        if check in LONG:
            floors = _steadied(oracles, floors)
            floors = _carried(case, oracles, floors, accumulated=check == "free_running")
        found[check] = [
            Expectation(o, floor, events, case.problem.unit_roundoff, case.problem.dtype)
            for o, floor in zip(oracles, floors, strict=True)
        ]
    return found


def _steadied(oracles: list[Observation], floors: list[Errors]) -> list[Errors]:
    """Floors of a training's many tensors and steps, none of them below the median of its neighbours'.

    Neighbours are the same tensor at the steps around, then the tensors of the same stage at the same step. In a tensor
    of one number six runs can all come out near the oracle by luck, and among thousands of tensors and steps some do.
    """
    by_tensor: dict[tuple[str, str], list[int]] = {}
    for place, (key, _, _) in enumerate(oracles):
        by_tensor.setdefault((key.stage, key.tensor), []).append(place)
    steadied = list(floors)
    for places in by_tensor.values():
        own = np.concatenate([floors[place] for place in places])
        medians = [np.median(own[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1]) for i in range(len(own))]
        steps = np.maximum(own, medians)
        sizes = np.cumsum([floors[place].size for place in places])[:-1]
        for place, floor in zip(places, np.split(steps, sizes), strict=True):
            steadied[place] = floor
    by_stage: dict[tuple[str, int], list[int]] = {}
    for place, (key, _, _) in enumerate(oracles):
        if key.kind == "tensor":
            by_stage.setdefault((key.stage, key.step), []).append(place)
    for places in by_stage.values():
        # The lower one of an even number: two ill-conditioned biases are not to speak for two weights.
        median = np.quantile([steadied[place][0] for place in places], 0.5, method="lower")
        for place in places:
            steadied[place] = np.maximum(steadied[place], median)
    return steadied


def _carried(case: Case, oracles: list[Observation], floors: list[Errors], accumulated: bool) -> list[Errors]:
    """Floors of a training's tensors, none of them below one rounding of what the tensor is made of by subtraction.

    A parameter is made of what it was before, and where steps cancel one another, nothing else may be left of it; the
    differences that L-BFGS keeps are made of two parameters or two gradients. ``accumulated``: over all the steps
    before, since the rounding of a parameter stays in it; else the step alone.
    """
    before: dict[int, dict[str, float]] = {}
    sizes: dict[str, float] = {}
    for state in case.trajectory:
        operands = state.parameters | {
            f"{slot} of {name}": w for slot in _CHANGES.values() for name, w in state.slots.get(slot, {}).items()
        }
        sizes = {name: max(_size(w), sizes.get(name, 0.0) * accumulated) for name, w in operands.items()}
        before[state.step] = sizes
    carried = []
    for (key, value, _), floor in zip(oracles, floors, strict=True):
        operand = _operand(key)
        if operand is not None:
            own, was = _size(value), before[max(step for step in before if step <= key.step)][operand]
            if was > own and (own or key.stage == "parameter"):  # a difference of 0 is one that has not been made yet
                floor = np.maximum(floor, case.problem.unit_roundoff * was / own if own else np.inf)
        carried.append(floor)
    return carried


def _operand(key: Key) -> str | None:
    """The tensor, among those before the step, that this one is made of by subtraction."""
    if key.stage == "parameter":
        return key.tensor.removesuffix(" at the end")
    for change, operand in _CHANGES.items():
        if key.tensor.startswith(change):
            return f"{operand} of {key.tensor.partition(' of ')[2]}"
    return None


def _size(tensor: Array) -> float:
    return float(np.abs(tensor).max(initial=0.0))


def informative_steps(expectations: Expectations) -> int:
    """How many steps of the free-running training say something: those before an event or a floor above the limit."""
    (cost,) = (e for e in expectations["free_running"] if e.observation.key.tensor == "cost")
    steps = np.size(cost.observation.value)
    silent = [step for step in range(1, steps + 1) if step in cost.events or cost.floor[step - 1] > cost.limit]
    return min(silent, default=steps + 1) - 1


def local_events(case: Case, oracle: Session, variants: list[Rerounded]) -> Events:
    """Events of the checks that take single steps, by the step (and, for points, the number of steps taken)."""
    events: Events = {}
    problem, sessions = case.problem, (oracle, *variants)
    if not _can_switch(problem.recipe):
        return events
    for state in case.trajectory:
        _add_event(events, state.step, [_switches(session, problem, state, state.step) for session in sessions])
    for taken, (parameters, statistics) in case.points.items():
        still = TrainingState(0, parameters, {}, statistics)
        for step in {1, problem.batches_per_epoch}:
            _add_event(events, taken, [_switches(session, problem, still, step) for session in sessions])
    return events


def free_running_events(case: Case, oracle: Session, variants: list[Rerounded]) -> Events:
    """Events of the free-running training: from the first on, every step is under its influence.

    Trainings are long, so the oracle is accompanied by two of the variants alone: by one in another order, and by
    the one in which everything is moved.
    """
    problem, sessions = case.problem, (oracle, variants[1], variants[-1])
    events: Events = {}
    if not (_can_switch(problem.recipe) or _penalises_absolutes(problem.recipe)):
        return events
    runs = [replay(session, problem.in_float64() if session is oracle else problem) for session in sessions]
    for states in zip(*runs, strict=True):
        step = states[0].step
        if step > problem.steps:
            break
        sights = [
            _switches(s, problem, state, step) | _signed(problem.recipe, state)
            for s, state in zip(sessions, states, strict=True)
        ]
        _add_event(events, step, sights)
        if events:
            return dict.fromkeys(range(step, problem.steps + 2), f"since step {step}: {events[step]}")
    return events


def _can_switch(recipe: Recipe) -> bool:
    return recipe.model.activation.name in KINKED or recipe.model.output == "relu" or recipe.optimizer.name == "lion"


def _switches(session: Session, problem: Problem, state: TrainingState, step: int) -> Tensors:
    """What switches at 0: the pre-activations that meet a kink and, if there is a state to step from, Lion's direction.

    By name; a pre-activation is ``(m, n_l)``.
    """
    recipe, batch = problem.recipe, problem.batch(step - 1)
    found: Tensors = {}
    if recipe.model.activation.name in KINKED or recipe.model.output == "relu":
        values = session.intermediates(state.parameters, batch.x, batch.masks, None)
        depth = max(map(layer_of, values))
        if recipe.model.activation.name in KINKED:
            prefix = "Z" if recipe.model.normalization is None else "N"
            found |= {f"{prefix}{layer}": values[f"{prefix}{layer}"] for layer in range(1, depth)}
        if recipe.model.output == "relu":
            found[f"Z{depth}"] = values[f"Z{depth}"]
    if recipe.optimizer.name == "lion" and state.slots:
        beta1 = recipe.optimizer.keywords["beta1"]
        for name, g in take_step(session, problem, state).clipped.items():
            found[f"d{name}"] = beta1 * state.slots["momentum"][name] + (1 - beta1) * g
    return found


def _penalises_absolutes(recipe: Recipe) -> bool:
    return any(
        regularizer.name == "l1" or (regularizer.name == "elastic_net" and regularizer.keywords["l1_ratio"] > 0)
        for regularizer in recipe.regularizers
    )


def _signed(recipe: Recipe, state: TrainingState) -> Tensors:
    """The weights whose sign is the gradient of their penalty. Single steps are given them, and all see the same."""
    if not _penalises_absolutes(recipe):
        return {}
    return {name: w for name, w in state.parameters.items() if name.startswith("W")}


def _add_event(events: Events, step: int, sights: list[Tensors]) -> None:
    """Note in ``events`` whether something lies within rounding of where it switches; the oracle sees first."""
    precise, *rounded = sights
    for name, value in precise.items():
        distance = np.abs(value.astype(np.float64))
        noise = np.max([np.abs(run[name] - value) for run in rounded], axis=0)
        unit_roundoff = float(np.finfo(rounded[0][name].dtype).eps) / 2
        reach = FLOOR_FACTOR * noise.max() + ROUNDOFFS * unit_roundoff * distance.max()
        distance[(distance == 0) & (noise == 0)] = np.inf  # exactly there in every run: no rounding moves it
        index = np.unravel_index(int(np.argmin(distance)), distance.shape)
        if distance[index] <= reach:
            switch = _SWITCHES[name[0]].format(
                name=name.lstrip("d"), index=[int(i) for i in index], distance=distance[index],
                unit=index[-1] + 1, layer=layer_of(name), example=index[0],
            )  # fmt: skip
            events.setdefault(step, f"{switch}, within the {reach:.1e} that rounding can move it")


def _floor(oracle: Observation, runs: list[dict[Key, Observation]]) -> Errors:
    noise: Errors = np.max([measure_noise(run[oracle.key], oracle) for run in runs], axis=0)
    return noise


def pack(expectations: Expectations) -> tuple[Tensors, dict[str, str]]:
    """Expectations as named arrays and, for the events, text."""
    arrays: Tensors = {}
    events = {}
    for check, items in expectations.items():
        for place, item in enumerate(items):  # the order of observation, which the file would not keep
            key = item.observation.key
            name = f"{check}|{place:06}|{key.stage}|{key.step}|{key.tensor}|{key.kind}"
            arrays[f"value|{name}"] = np.asarray(item.observation.value)
            arrays[f"floor|{name}"] = item.floor
            if item.observation.margins is not None:
                arrays[f"margins|{name}"] = item.observation.margins
        events[check] = json.dumps(dict(items[0].events)) if items else "{}"
    return arrays, events


def unpack(problem: Problem, arrays: Tensors, events: dict[str, str]) -> Expectations:
    """The inverse of :func:`pack`."""
    found: Expectations = {check: [] for check in events}
    by_check = {check: {int(step): text for step, text in json.loads(e).items()} for check, e in events.items()}
    for check, name, key in _keys(arrays):
        observation = Observation(key, arrays[f"value|{name}"], arrays.get(f"margins|{name}"))
        found[check].append(
            Expectation(observation, arrays[f"floor|{name}"], by_check[check], problem.unit_roundoff, problem.dtype)
        )
    return found


def _keys(arrays: Tensors) -> Iterator[tuple[str, str, Key]]:
    for full in sorted(arrays):
        kind_of_array, _, name = full.partition("|")
        if kind_of_array == "value":
            check, _, stage, step, tensor, kind = name.split("|")
            yield check, name, Key(stage, int(step), tensor, kind)
