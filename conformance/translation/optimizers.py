"""An optimizer translated: a built-in if one is the same, else this project's own, else the reason why not."""

from collections.abc import Iterator
from typing import NamedTuple

from conformance.identification.answer import Named
from conformance.identification.optimizers import effective
from conformance.identification.process import Declined
from conformance.recipes.dialects import Dialect, dialects
from conformance.recipes.spelling import Call, NoFormulation, formulated
from conformance.runs.outcome import BadInput
from conformance.translation.agreement import Agreement, Distance, agreement, distance, steps_of
from conformance.translation.candidates import BUILTINS, EPSILONS, Candidate, candidates
from conformance.translation.code import Code, of_a_builtin, of_a_candidate, of_this_project, with_momentum_kept
from conformance.translation.translated import (
    CONSTANT_RATE,
    EXACT,
    FRAMEWORKS,
    IN_FLOAT32,
    OURS,
    PER_STEP,
    REFUSED,
    Translation,
)
from conformance.translation.trial import Trial
from reference_numpy.optimizers import OPTIMIZERS

ROUNDING = 1e-12  # what is no difference of two that round alike
MANY_DIGITS = 10.0  # more than numbers in float32 leave
ROUNDED = "one of the two rounds numbers to float32, in float64 too: they agree as far as these do"
ADDED_UP = "one of the two rounds a number alike at every step, which adds up in the last digits"
LOOKED_AT = 3  # built-ins that are not the same, of which the nearest is told
KIND = "optimizer"


class Source(NamedTuple):
    """What is translated: as it was named, the code that makes it, and the formulation that it is."""

    name: str
    code: Code
    formulation: Dialect

    @property
    def written(self) -> str:
        """The formulation as a call."""
        name = self.formulation.optimizer
        return Named(name, effective(name, self.formulation.keywords)).written(KIND)


def of_a_call(name: str, call: Call, to: str, trial: Trial) -> Translation:
    """A call of a built-in, translated. Raises ValueError for arguments that it does not take."""
    try:
        formulation = formulated(call)
    except NoFormulation as error:
        return _refused(name, call, error, to, trial)
    _require_rate(call, formulation)
    _check_numbers(call, formulation)
    return translate(Source(name, of_a_builtin(call), formulation), to, trial)


def translate(source: Source, to: str, trial: Trial) -> Translation:
    """A formulation in the framework ``to``. Raises BadInput where the source itself cannot be made."""
    if trial.has(source.code.framework):
        _require_sound(source, trial)
    known = candidates(source.formulation, BUILTINS[to]) if to in BUILTINS else []
    for candidate in known:
        if candidate.exact:
            found = _exact(source, candidate, to, trial)
            if found is not None:
                return found
    return _ours(source, known, to, trial)


def _require_sound(source: Source, trial: Trial) -> None:
    """Raise ValueError where the source is not what the project takes it to be."""
    if not (held := agreement(trial, source.formulation, None, source.code, constant=False)).same and not held.single:
        digits = held.digits["float64"]
        raise ValueError(
            f"{source.name} is not {source.written} here, but to {digits:.1f} digits: nothing is translated"
        )


def _exact(source: Source, candidate: Candidate, to: str, trial: Trial) -> Translation | None:
    """By a built-in; None where running it shows that it is not the same."""
    code = of_a_candidate(candidate, source.formulation)
    against = code.framework if trial.has(code.framework) else ""
    held = _held(source, code, trial, constant=candidate.constant) if against else None
    if against and held is None:
        return None
    scheduled = _scheduled(source, candidate, to, trial) if candidate.constant else None
    divides = scheduled is not None and bool(scheduled.helper)
    return Translation(
        source.name, KIND, to, EXACT, code.shown, "" if scheduled is None else scheduled.shown, source.written,
        {} if held is None else held.digits, _against(source, trial) if held else _missing(to),
        notes=(
            *_notes(source, candidate, held), *_without_steps(source, candidate, trial),
            *(["the code for a rate that changes divides by it: a rate of 0 is not allowed"] if divides else []),
        ),
        conditions=tuple(_conditions(candidate, held)),
    )  # fmt: skip


def _held(source: Source, code: Code, trial: Trial, *, constant: bool) -> Agreement | None:
    """The agreement with the source; None where they do not agree, or the code makes no optimizer."""
    own = source.code if trial.has(source.code.framework) else None
    try:
        held = agreement(trial, source.formulation, own, code, constant=constant)
    except (BadInput, Declined):
        return None
    return held if held.same or held.single else None


def _scheduled(source: Source, candidate: Candidate, to: str, trial: Trial) -> Code | None:
    """The code for a rate that changes, if it is seen to be the same then."""
    code = with_momentum_kept(candidate, source.formulation) or of_this_project(source.formulation, to)
    return code if not trial.has(to) or _held(source, code, trial, constant=False) else None


def _against(source: Source, trial: Trial) -> str:
    steps, framework = steps_of(source.formulation.optimizer), source.code.framework
    if trial.has(framework):
        return f"{source.name} in {steps} steps"
    return f"the formula alone in {steps} steps, {_missing(framework)}"


def _missing(framework: str) -> str:
    return f"not here: {FRAMEWORKS[framework]} is not installed"


def _conditions(candidate: Candidate, held: Agreement | None) -> Iterator[str]:
    """Under which conditions a built-in is the same."""
    if _in_few_digits(held):
        yield IN_FLOAT32
    if candidate.epsilon:
        yield PER_STEP
    if candidate.constant:
        yield CONSTANT_RATE


def _in_few_digits(held: Agreement | None) -> bool:
    return held is not None and held.single and held.digits["float64"] < MANY_DIGITS


def _notes(source: Source, candidate: Candidate, held: Agreement | None) -> Iterator[str]:
    """What is to be known of a built-in that is the same."""
    rounds = held is not None and held.single
    if candidate.constant:
        yield "the velocities hold the learning rate in one of the two: the same as long as the rate is constant"
    if candidate.epsilon:
        yield f"epsilon stands {EPSILONS[0].replace('_', ' ')} in one of the two: it is set anew at every step"
    if held is not None and not held.in_single:
        yield "in float32 one of the two rounds more than the formula has to"
    if rounds:
        yield ROUNDED if _in_few_digits(held) else ADDED_UP
    own, note = source.formulation.keywords, candidate.form.dialect.note
    of_numbers = note and "weight_decay" not in note and "dampening" not in note
    if of_numbers and (rounds or candidate.form.dialect not in dialects()):  # of a dialect: what it rounds
        yield " ".join(note.split())
    rounded = [keyword for keyword in source.formulation.in_float32 if own.get(keyword)]
    if rounded and candidate.call.framework != source.formulation.framework:
        yield f"{', '.join(rounded)}: as {source.formulation.framework} rounds it; in float32 the short number does"
    if candidate.call.framework == "keras":
        yield 'the learning rate is in Keras\'s floatx: for float64 keras.config.set_floatx("float64")'


def _without_steps(source: Source, candidate: Candidate, trial: Trial) -> Iterator[str]:
    """How far a built-in is whose epsilon is not set at every step."""
    if candidate.epsilon and trial.has(source.code.framework) and trial.has(of_a_builtin(candidate.call).framework):
        yield f"{candidate.call} alone: {apart(distance(trial, source.code, of_a_builtin(candidate.call)))}"


def _ours(source: Source, known: list[Candidate], to: str, trial: Trial) -> Translation:
    """By this project's implementation, with the built-in that comes nearest."""
    code = of_this_project(source.formulation, to)
    held = _held(source, code, trial, constant=False) if trial.has(to) else None
    near, distant = _nearest(source, known, to, trial)
    return Translation(
        source.name, KIND, to, OURS, code.shown, "", source.written,
        {} if held is None else held.digits, _against(source, trial) if held else _missing(to),
        near, distant, notes=tuple(_why_not(source, known, to)), component=source.formulation.optimizer,
        keywords=effective(source.formulation.optimizer, source.formulation.keywords),
    )  # fmt: skip


def _nearest(source: Source, known: list[Candidate], to: str, trial: Trial) -> tuple[str, str]:
    """The built-in that a training parts the least from the source, and how far."""
    if not trial.has(to) or not trial.has(source.code.framework):
        return "", ""
    elementwise = OPTIMIZERS[source.formulation.optimizer]().elementwise
    tried: list[tuple[Distance, Candidate]] = []
    for candidate in known[:LOOKED_AT]:
        try:
            tried.append((distance(trial, source.code, of_a_builtin(candidate.call), elementwise), candidate))
        except (BadInput, Declined):
            continue
    if not tried:
        return "", ""
    nearest, candidate = min(tried, key=lambda one: one[0])
    return str(candidate.call), apart(nearest)


def apart(found: Distance) -> str:
    """A distance in words."""
    seen = f"in a training of 200 steps {found.training:.1e} of the way apart"
    return f"{seen}; where gradients are of all sizes, up to {found.extremes:.1e} of a parameter"


def _why_not(source: Source, known: list[Candidate], to: str) -> Iterator[str]:
    """Why no built-in is the same."""
    if to not in BUILTINS:
        return
    if not known:
        yield f"{BUILTINS[to]} has no {source.formulation.optimizer}"
        return
    for keyword, (wanted, own) in known[0].differing.items():
        yield f"{known[0].call} has {keyword}={own!r}, not {wanted!r}, and no argument for it"


def _refused(name: str, call: Call, error: NoFormulation, to: str, trial: Trial) -> Translation:
    """What is no formulation of the project, and how far it is from what it is without that argument."""
    without = formulated(error.without)
    _require_rate(call, without)
    near, distant = "", ""
    code = of_a_builtin(call)
    if trial.has(code.framework) and trial.has(to):
        other = translate(Source(str(error.without), of_a_builtin(error.without), without), to, trial)
        near = f"{error.without}, {'by a built-in' if other.outcome == EXACT else 'by this project'}"
        elementwise = OPTIMIZERS[without.optimizer]().elementwise
        try:
            found = distance(trial, code, of_this_project(without, to), elementwise)
            alike = "the same step by step: it shows elsewhere, as at fit's end"
            distant = apart(found) if max(found) > ROUNDING else alike
        except (BadInput, Declined) as refusal:
            distant = f"how far was not seen: {refusal}"
    return Translation(name, KIND, to, REFUSED, reason=str(error), nearest=near, apart=distant)


def _require_rate(call: Call, formulation: Dialect) -> None:
    if "learning_rate" not in formulation.keywords:
        raise ValueError(f"learning_rate of {call.framework}.{call.builtin} is missing: it has no default")


def _check_numbers(call: Call, formulation: Dialect) -> None:
    """Raise ValueError for numbers out of range, in the words of the reference."""
    try:
        OPTIMIZERS[formulation.optimizer](**formulation.keywords)
    except ValueError as error:
        raise ValueError(f"{call}: {error}") from error
