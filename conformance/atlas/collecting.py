"""The evidence of every built-in, collected framework by framework, each in a process of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.atlas import edges
from conformance.atlas.arguments import without_effect
from conformance.atlas.edges import loss_near, said
from conformance.atlas.entries import Entry, entries, gone, tabled, target_of
from conformance.atlas.evidence import GONE, NOT_ASKED, TABLED, UNMAPPED, Evidence
from conformance.atlas.layer_edges import of_layer, traits
from conformance.atlas.regularizer_edges import of_regularizer
from conformance.atlas.survey import KINDS
from conformance.atlas.surveying import Survey, survey
from conformance.identification.answer import Answer, Named
from conformance.identification.identify import answered
from conformance.identification.optimizers import differences
from conformance.identification.page import MODULES
from conformance.identification.process import Questioned
from conformance.recipes.dialects import dialect
from conformance.runs.answers import Limits
from conformance.runs.interpreter import Interpreter
from conformance.runs.outcome import BadInput, Incomplete
from conformance.translation.functions import same

Progress = Callable[[str], None]
FIRST = ("numpy:abs", "activation")  # what a process is asked for before there is anything
WITHOUT_EFFECT = ("layer", "regularizer")  # of which no argument is tried for whether it has an effect
OTHER_LOSS = "it is none of the catalogue's losses at one example"
LONGEST = 300  # characters of why nothing is known
SECONDS = 120.0  # that one answer may take


OF_KIND: dict[str, Callable[[Questioned, str], Mapping[str, str]]] = {
    "optimizer": edges.of_optimizer,
    "activation": edges.of_activation,
    "loss": edges.of_loss,
    "normalization": edges.of_normalization,
    "initializer": edges.of_initializer,
    "schedule": edges.of_schedule,
    "regularizer": of_regularizer,
    "layer": of_layer,
}


class Collector:
    """A process in which the built-ins of a framework are asked; it is started anew where one ends it."""

    def __init__(self, found: Survey, interpreter: Interpreter) -> None:
        self.found, self.interpreter = found, interpreter
        self._asked: Questioned | None = None

    def evidence(self, entry: Entry) -> Evidence:
        """Everything that is measured of a built-in."""
        signature = self.found.signatures[entry.name]
        target = target_of(entry, signature)
        version = next(iter(self.found.versions.values()), "")
        plain = Evidence(
            entry.kind, entry.component, entry.framework, version, entry.call, target,
            TABLED if entry.component else UNMAPPED, defaults=signature.defaults,
            differs=entry.differs, until=entry.until, note=entry.note,
        )  # fmt: skip
        try:
            return self._measured(entry, plain)
        except BadInput as error:
            return replace(plain, reason=said(error, LONGEST))
        except Incomplete as error:
            self.close()
            return replace(plain, reason=said(error, LONGEST))
        except Exception as error:  # a built-in that nobody knew may answer what no kind expects
            return replace(plain, reason=said(f"its answers cannot be read: {type(error).__name__}: {error}", LONGEST))

    def listed(self, entry: Entry) -> Evidence:
        """A built-in by its name, without being asked."""
        version = next(iter(self.found.versions.values()), "")
        return Evidence(entry.kind, "", entry.framework, version, entry.call, "", UNMAPPED, reason=NOT_ASKED)

    def _measured(self, entry: Entry, plain: Evidence) -> Evidence:
        asked = self._process()
        asked.turn_to(plain.target, entry.asked_as)
        if entry.kind == "loss" and not entry.component and not loss_near(asked):
            return replace(plain, reason=OTHER_LOSS)  # to look for it among all formulations takes half a minute
        answer = answered(asked)
        component = entry.component or (answer.found.name if answer.found else "")
        told = replace(plain, component=component, **_of_answer(entry, answer))
        if entry.asked_as != entry.kind or not (answer.known or entry.component):
            return told
        told = replace(told, edges={**told.edges, **OF_KIND[entry.kind](asked, component)})
        if not entry.plain or entry.kind in WITHOUT_EFFECT:
            return told
        signature = self.found.signatures[entry.name]
        return replace(told, no_effect=without_effect(asked, entry.kind, component, signature))

    def _process(self) -> Questioned:
        if self._asked is None:
            self._asked = Questioned(*FIRST, Limits(SECONDS), self.interpreter)
        return self._asked

    def close(self) -> None:
        """End the process."""
        if self._asked is not None:
            self._asked.close()
            self._asked = None


def _of_answer(entry: Entry, answer: Answer) -> dict[str, Any]:
    """What ``conformance identify`` found, in the fields of the evidence."""
    kind, found = answer.kind, answer.found
    return {
        "formulation": found.written(kind) if found else "",
        "keywords": {**found.keywords} if found else {},
        "same": tuple(one.written(kind) for one in answer.same),
        "digits": answer.digits,
        "rounded": answer.rounded,
        "agrees": _agrees(entry, answer),
        "nearest": answer.nearest.written(kind) if answer.nearest else "",
        "distance": answer.distance,
        "reason": said(answer.reason, LONGEST),
        "notes": answer.notes,
        "edges": traits(answer) if entry.kind == "layer" else {},
    }


def _agrees(entry: Entry, answer: Answer) -> bool | None:
    """Whether what was found is what the tables say; None where they say nothing, or nothing was found."""
    if entry.expected is None or entry.function or answer.found is None or entry.asked_as != entry.kind:
        return None
    return any(says(entry, one) for one in (answer.found, *answer.same))


def says(entry: Entry, found: Named) -> bool:
    """Whether the tables say that a built-in is what was found, as far as can be seen of it."""
    assert entry.expected is not None
    if entry.kind == "optimizer":
        known = dialect(entry.framework, entry.call.removeprefix(f"{MODULES[entry.framework]}."))
        return found.name == known.optimizer and not differences(found, known)
    expected = entry.expected
    if entry.kind == "layer":
        return found.written("layer") == expected.written("layer")
    if entry.kind == "loss" and "class_weights" not in found.keywords:  # by which a weight's denominator is seen
        expected = Named(expected.name, {n: v for n, v in expected.keywords.items() if n != "weight_denominator"})
    return same(entry.kind, expected, found)


def of_framework(
    framework: str, kinds: Sequence[str], interpreter: Interpreter, progress: Progress, only: str = ""
) -> tuple[dict[str, str], list[Evidence]]:
    """The versions and the evidence of a framework; of the call ``only`` alone, if one is named.

    Raises BadInput where the interpreter cannot be asked.
    """
    progress(f"{framework}: what is there")
    names = list(dict.fromkeys(entry.name for entry in tabled(framework)))
    found = survey(framework, names, interpreter)
    if not found.versions:
        progress(f"{framework}: not installed")
        return {}, []
    collector = Collector(found, interpreter)
    try:
        return dict(found.versions), list(_evidence(collector, framework, kinds, progress, only))
    finally:
        collector.close()


def _evidence(
    collector: Collector, framework: str, kinds: Sequence[str], progress: Progress, only: str
) -> Iterator[Evidence]:
    found = collector.found
    for kind in (kind for kind in KINDS if kind in kinds):
        asked = [entry for entry in entries(framework, kind, found) if only in ("", entry.call)]
        for place, entry in enumerate(asked, start=1):
            progress(f"{framework} {kind} {place}/{len(asked)}: {entry.call}")
            yield collector.listed(entry) if entry.is_only_listed and not only else collector.evidence(entry)
        version = next(iter(found.versions.values()))
        for entry in gone(framework, kind, found):
            if only in ("", entry.call):
                yield Evidence(kind, entry.component, framework, version, entry.call, "", GONE)
