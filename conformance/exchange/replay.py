"""A recorded trace as an implementation: a session that answers from a file, and only what the file was asked.

What is not in the trace is unsupported. A value is given only for the very inputs that it was recorded for: every
question is known by a digest of all its arrays.

The target of a trace is ``conformance.exchange.replay:PATH``: the attributes of this module that no name of Python can
have are paths, each an adapter.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.numpy import NumpySession
from conformance.adapters.registry import TRACE
from conformance.adapters.session import (
    DeviceNotFound,
    Session,
    State,
    Training,
    TrainingState,
    Unsupported,
)
from conformance.checks import case as cases
from conformance.checks.case import Case
from conformance.exchange import situations
from conformance.exchange.names import SETS
from conformance.exchange.trace import STEM, Trace, file_of, load_trace
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.results.grammar import Tree
from reference_numpy import models, regularizers

PREFIX = f"{__name__}:"
OUTPUTS = ("per_example", "data_loss", "penalty", "cost")


def trace_target(path: Path | str) -> str:
    """The implementation target of a trace. Raises DataError, naming the file, if it cannot be read or is none.

    Args:
        path: the trace's file, or the folder that holds it.
    """
    file = file_of(Path(path)).resolve()
    load_trace(file)
    return f"{PREFIX}{file}"


def in_situations_of(targets: Iterable[str], case: Case) -> Case:
    """A case in the situations that the first trace among some targets can be looked at in."""
    for target in targets:
        if target.startswith(PREFIX):
            return situations.looked_at(load_trace(Path(target.removeprefix(PREFIX))), case)
    return case


def by_short_names(targets: Mapping[str, str]) -> dict[str, str]:
    """Targets by name, those of traces by ``trace:`` and the name of their file or, of ``trace.*``, of its folder.

    Raises DataError for a trace that cannot be read, ValueError for two of the same name.
    """
    found: dict[str, str] = {}
    for name, target in targets.items():
        if target.startswith(PREFIX):
            target = trace_target(target.removeprefix(PREFIX))
            file = Path(target.removeprefix(PREFIX))
            name = f"{TRACE}{file.parent.name if file.stem == STEM else file.stem}"
        if name in found:
            raise ValueError(f"implementation={name!r} is there twice: {found[name]} and {target}")
        found[name] = target
    return found


class TraceAdapter:
    """The trace of ``path`` as an implementation; on any device, since nothing is computed."""

    path: Path

    def __init__(self, device: str) -> None:
        if device != "cpu":
            raise DeviceNotFound(
                f"device={device!r} is not there: a trace is looked at on the cpu, wherever it was made"
            )
        self.device = device
        self.trace = load_trace(self.path)

    def versions(self) -> Mapping[str, str]:
        found = self.trace.facts.get("versions", {})
        return {str(name): str(version) for name, version in found.items()} or {"trace": "of an unnamed program"}

    def settings(self) -> Mapping[str, Any]:
        return {"trace": str(self.path), **self.trace.facts.get("settings", {})}

    def session(self, problem: Problem) -> "TraceSession":
        return TraceSession(self.trace, problem)


def __getattr__(name: str) -> type[TraceAdapter]:
    if not Path(name).is_absolute():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: must be the absolute path of a trace")
    return type("TraceAdapter", (TraceAdapter,), {"path": Path(name)})


class TraceSession(Session):
    """A trace's answers to the questions of one problem. Raises Unsupported for a problem of another precision."""

    def __init__(self, trace: Trace, problem: Problem) -> None:
        if trace.dtype != problem.working_dtype:
            raise Unsupported(f"the trace {trace.path.name} is in {trace.dtype}")
        situations.require_same_tape(trace, problem)
        self.trace, self.problem = trace, problem
        self.reference = NumpySession(problem)
        self._known: dict[bytes, Tree] = {}
        self._constrained: set[bytes] = set()
        if trace.answers and trace.tape.get("ask"):
            self._remember_answers(trace.tape["ask"], trace.answers)
        self._remember_own()

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        name = "x".join(map(str, shape))
        return self._single(self.trace.answers.get("draw", {}).get(name), f"answer/draw/{name}")

    def standardize(self, train_x: Array, x: Array) -> Array:
        self._require_same((train_x, x), (self.problem.raw_train_x, self.problem.raw_test_x), "inputs")
        return self._single(self.trace.answers.get("standardize"), "answer/standardize")

    def augment(self, x: Array, draws: list[Array]) -> Array:
        self._require_same((x, draws), (self.problem.plain_inputs(0), self.problem.draws(0)), "inputs")
        return self._single(self.trace.answers.get("augment"), "answer/augment")

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        found = self._answer("activations", "intermediates", parameters, x, masks, statistics)
        return found | {name: NOT_OFFERED for name in self._intermediate_names(parameters, x) if name not in found}

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        found = self._answer("losses", "losses", parameters, Batch(x, y, masks or {}, weights))
        return _completed(found, OUTPUTS)

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        found = self._answer("gradients", "gradients", parameters, Batch(x, y, masks or {}, weights))
        return _completed(found, ("cost", *parameters, "A0"))

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        found = self._answer("running averages", "averages", parameters, x, masks, statistics)
        return _completed(found, statistics)

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        found: Array = self._answer("predicted classes", "classes", parameters, x)["class"]
        return found

    def clip(self, gradients: Tensors) -> Tensors:
        return _completed(self._answer("clipped gradients", "clipped", gradients), gradients)

    def constrain(self, parameters: Tensors) -> Tensors:
        """What the trace has of parameters after a step is after the constraint."""
        if _digest(parameters) not in self._constrained:
            raise Unsupported("the trace holds no parameters after the constraint for these before it")
        return parameters

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        found = self._answer("updated parameters or optimizer state", "update", parameters, state.slots, state.step)
        used = found["gradients"]
        if any(name not in gradients or not np.array_equal(gradients[name], g) for name, g in used.items()):
            raise Unsupported("the trace holds no update for these gradients")
        updated = _completed(found["parameter"], parameters)
        slots = {slot: _completed(found["slot"].get(slot, {}), w) for slot, w in state.slots.items()}
        self._constrained.add(_digest(updated))
        return updated, State(state.step + 1, found["slot"] | slots)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        """The trace's own training, or a part of it."""
        begun = 0 if start is None else start.step - 1
        if not self.trace.steps and self.trace.curve("costs") is None:
            raise Unsupported("the trace holds no training of its own")
        place = slice(begun, begun + problem.steps)
        costs, rates, norms = (self._curve(name, place) for name in ("costs", "learning_rates", "gradient_norms"))
        epochs, first = problem.batches_per_epoch, begun // problem.batches_per_epoch
        reached = np.size(costs) // epochs if self.trace.curve("costs") is not None else problem.recipe.epochs
        chosen = {epoch: self.trace.steps.get(begun + epoch * epochs, {}) for epoch in checkpoint_epochs}
        chosen = {epoch: found for epoch, found in chosen.items() if epoch <= reached}
        like = cases.initial_state(problem)
        last = self.trace.steps.get(begun + problem.steps, {})
        whole = begun + problem.steps == self.problem.steps
        end = last | (self.trace.tree.get("end", {}) if whole else {})
        validated = slice(first, first + problem.recipe.epochs)
        best = self.trace.curve("best_epoch")
        return Training(
            costs, rates, norms,
            parameters=self._parameters(end, like),
            slots=_slots(end.get("slot", {}), like.slots),
            checkpoints={epoch: self._parameters(found, like) for epoch, found in chosen.items()},
            validation_costs=np.zeros(0) if problem.validation is None else self._curve("validation_costs", validated),
            best_epoch=cast(int, NOT_OFFERED if best is None else best) if problem.stops_early else 0,
            statistics=_completed(end.get("statistic", {}), like.statistics),
            checkpoint_slots={e: _slots(found.get("slot", {}), like.slots) for e, found in chosen.items()},
            checkpoint_statistics={e: _completed(f.get("statistic", {}), like.statistics) for e, f in chosen.items()},
        )  # fmt: skip

    def another_session(self, problem: Problem) -> Session:
        raise Unsupported("a trace is of one problem")

    def _remember_answers(self, asked: Tree, answers: Tree) -> None:
        """Enter what the trace answers to the questions of its tape."""
        problem, first = self.problem, self.problem.batch(0)
        places = cases.places(problem).values()
        for step, point in situations.points(asked).items():
            found = answers.get("point", {}).get(str(step), {})
            self._enter(found.get("inference"), "intermediates", point.parameters, first.x, None, point.statistics)
            self._enter(found.get("training"), "intermediates", point.parameters, first.x, first.masks, None)
            self._enter(found.get("statistic"), "averages", point.parameters, first.x, first.masks, point.statistics)
            for place in places:
                values, batch = found.get("batch", {}).get(str(place), {}), problem.batch(place)
                self._enter(values.get("loss"), "losses", point.parameters, batch)
                cost = {name: value for name, value in values.get("loss", {}).items() if name == "cost"}
                self._enter(values.get("gradient") and cost | values["gradient"], "gradients", point.parameters, batch)
        for state in situations.steps(asked):
            self._enter_step(state, answers.get("step", {}).get(str(state.step), {}))
        for exercise in situations.exercises(asked):
            found = answers.get("exercise", {}).get(str(exercise.step), {})
            made = {"parameter": {}, "slot": {}, **found, "gradients": exercise.gradients}
            self._enter(made if found else None, "update", exercise.parameters, exercise.slots, exercise.step - 1)

    def _remember_own(self) -> None:
        """Enter what the trace has of its own training."""
        problem, costs = self.problem, self.trace.curve("costs")
        for state in situations.own_states(self.trace, problem):
            found = self.trace.steps[state.step]
            cost = {}
            if costs is not None and costs.ndim == 1 and state.step <= len(costs):
                cost = {"cost": costs[state.step - 1].astype(problem.dtype)}
                self._enter(cost, "losses", state.parameters, problem.batch(state.step - 1))
            self._enter_step(state, found | cost)
            if state.step == 1:
                first = problem.batch(0)
                varies = bool(first.masks or state.statistics)
                question = (first.masks, None) if varies else (None, state.statistics)
                self._enter(found.get("activation"), "intermediates", state.parameters, first.x, *question)
        for step, found in self.trace.steps.items():
            if step:
                self._enter_classes(found, found.get("parameter"))
        last = self.trace.steps.get(problem.steps, {})
        end = self.trace.tree.get("end", {})
        self._enter_classes(end, end.get("parameter", last.get("parameter")))

    def _enter_step(self, state: TrainingState, found: Tree) -> None:
        """Enter one step of a training from a state."""
        batch, trained = self.problem.batch(state.step - 1), self.problem.trained(state.parameters)
        gradients = found.get("gradient", {})
        cost: Tensors = {"cost": found["cost"]} if "cost" in found else {}
        self._enter(cost | gradients, "gradients", state.parameters, batch)
        own = situations.whole(gradients, trained)
        if own is not None:
            self._enter(found.get("clipped"), "clipped", own)
        made: Tree = {"parameter": found.get("parameter", {}), "slot": found.get("slot", {})}
        if any(made.values()):
            made["parameter"] = {name: w for name, w in made["parameter"].items() if name in trained}
            clips = self.problem.recipe.build_clipping(regularizers) is not None
            used: Tensors = found.get("clipped", {}) if clips else gradients  # what is not shown cannot be held against
            made["gradients"] = {name: g for name, g in used.items() if name in trained}
            self._enter(made, "update", trained, state.slots, state.step - 1)
        self._enter(found.get("statistic"), "averages", state.parameters, batch.x, batch.masks, state.statistics)

    def _enter_classes(self, found: Tree, parameters: Tensors | None) -> None:
        for name, x in zip(SETS, (self.problem.train_x, self.problem.test_x), strict=True):
            if parameters is not None and name in found.get("class", {}):
                self._enter({"class": found["class"][name]}, "classes", parameters, x)

    def _enter(self, found: Tree | None, *question: Any) -> None:
        """Enter an answer; what was known before of the very same question is kept beside it."""
        if found:
            held = self._known.setdefault(_digest(question), {})
            self._known[_digest(question)] = {**found, **held}

    def _answer(self, what: str, *question: Any) -> Tree:
        found = self._known.get(_digest(question))
        if found is None:
            raise Unsupported(f"the trace holds no {what} for these inputs")
        return dict(found)

    def _require_same(self, given: Any, recorded: Any, what: str) -> None:
        if _digest(given) != _digest(recorded):
            raise Unsupported(f"the trace holds no answer for these {what}")

    def _single(self, found: Array | None, name: str) -> Array:
        if found is None:
            raise Unsupported(f"the trace holds no {name}")
        return found

    def _curve(self, name: str, place: slice) -> Array:
        found = self.trace.curve(name)
        return NOT_OFFERED if found is None else found[place] if found.ndim == 1 else found

    def _parameters(self, found: Tree, like: TrainingState) -> Tensors:
        """Parameters after a step; those that training leaves as they are need not be in the trace."""
        frozen = {name: w for name, w in like.parameters.items() if not self.problem.is_trained(name)}
        return _completed(frozen | found.get("parameter", {}), like.parameters)

    def _intermediate_names(self, parameters: Tensors, x: Array) -> list[str]:
        """The names of all that the model's forward pass makes."""
        return list(models.intermediates(self.reference.model, parameters, x[:1], None, training=True))


def _completed(found: Mapping[str, Array], names: Iterable[str]) -> Tensors:
    """What was found, with NOT_OFFERED for what else there is."""
    return {**dict.fromkeys(names, NOT_OFFERED), **found}


def _slots(found: Mapping[str, Tensors], like: dict[str, Tensors]) -> dict[str, Tensors]:
    return {slot: _completed(found.get(slot, {}), tensors) for slot, tensors in like.items()} | {
        slot: tensors for slot, tensors in found.items() if slot not in like
    }


def _digest(question: Any) -> bytes:
    """What tells one question from another: its arrays with their names, shapes, types and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, question)
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for name in sorted(value, key=str):
            digest.update(f"{name}:".encode())
            _feed(digest, value[name])
    elif isinstance(value, (tuple, list)):
        for part in value:
            digest.update(b",")
            _feed(digest, part)
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(repr(value).encode())
