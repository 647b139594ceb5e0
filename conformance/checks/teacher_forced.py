"""Teacher-forced training: at every step the state is the oracle's, one step is taken, and everything is looked at.

Errors are local: none is carried to the next step, so none is amplified.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from conformance.adapters.session import Session, TrainingState
from conformance.checks.case import Case, constrain, update
from conformance.checks.observation import Check, Key, Observation, Part, key_of, returned
from conformance.checks.stand_in import StandIn
from conformance.problems.problem import Problem
from conformance.problems.tensors import Tensors
from reference_numpy import regularizers


@Check
def observe(session: Session, case: Case) -> Iterator[Part]:
    """Cost, gradients, optimizer state, parameters and running averages of each step of the case's trajectory.

    Where an implementation gives no gradients, its optimizer is looked at with the reference's.
    """
    problem, stand_in = case.problem, StandIn(case.problem)
    clips = problem.recipe.build_clipping(regularizers) is not None
    for state in case.trajectory:
        step = _Step(session, problem, state, stand_in, clips)
        yield Part(step.take_gradients(), ("loss", "gradient"), state.step)
        if clips:
            yield Part(step.take_clipped(), ("clipped gradient",), state.step)
        yield Part(step.take_update(), ("optimizer state", "parameter"), state.step)
        if state.statistics:
            yield Part(step.take_statistics(), ("running statistic",), state.step)


@dataclass
class _Step:
    """One step from ``state``. Its parts are taken in turn, and each goes on from what those before it gave."""

    session: Session
    problem: Problem
    state: TrainingState
    stand_in: StandIn
    clips: bool
    gradients: Tensors = field(default_factory=dict)
    clipped: Tensors = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batch = self.problem.batch(self.state.step - 1)
        self.trained = self.problem.trained(self.state.parameters)

    def take_gradients(self) -> Iterator[Observation]:
        """The cost and its gradients."""
        step, found = self.state.step, self.session.gradients(self.state.parameters, *self.batch)
        self.gradients = {name: found[name] for name in self.trained if name in found}
        if "cost" in found:
            yield Observation(Key("loss", step, "cost"), found["cost"])
        for name, value in returned(found, self.trained, beside=("cost", "A0", *self.state.parameters)):
            yield Observation(key_of(self.problem, "gradient", step, name, f"d{name}"), value)

    def take_clipped(self) -> Iterator[Observation]:
        """The gradients after clipping."""
        self.clipped = self.session.clip(self._given_gradients())
        for name, value in self.clipped.items():
            key = key_of(self.problem, "clipped gradient", self.state.step, name, f"d{name}")
            yield Observation(key, value)

    def take_update(self) -> Iterator[Observation]:
        """The optimizer's state and the parameters after its step."""
        step = self.state.step
        updated, slots = update(self.session, self.problem, self.state, self._given_clipped())
        for slot, tensors in slots.items():
            for name, value in tensors.items():
                key = key_of(self.problem, "optimizer state", step, name, f"{slot} of {name}", slot=slot)
                yield Observation(key, value)
        for name, value in returned(constrain(self.session, self.problem, updated), self.trained):
            yield Observation(key_of(self.problem, "parameter", step, name, name), value)

    def take_statistics(self) -> Iterator[Observation]:
        """The running averages after the step's forward pass."""
        state = self.state
        after = self.session.running_statistics(state.parameters, self.batch.x, self.batch.masks, state.statistics)
        for name, value in after.items():
            yield Observation(key_of(self.problem, "running statistic", state.step, name, name), value)

    def _given_gradients(self) -> Tensors:
        """Its own gradients, and in the place of what is none, the reference's."""
        self.gradients = self.stand_in.gradients(self.gradients, self.trained, self.state.parameters, self.batch)
        return self.gradients

    def _given_clipped(self) -> Tensors:
        """Its own gradients as it clips them, and in the place of what is none, as the reference does."""
        given = self._given_gradients()
        return self.stand_in.clipped(self.clipped, given) if self.clips else given
