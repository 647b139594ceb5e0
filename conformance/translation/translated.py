"""What a translation came to: the code, how it was verified, or why there is none; as text and for JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from conformance.adapters.installation import TITLES

EXACT, OURS, REFUSED = "exact", "ours", "refused"
# How a built-in is the same: up to numbers that one of the two rounds to float32 in float64 too, with a number that is
# set anew at every step, or as long as the learning rate does not change.
IN_FLOAT32, PER_STEP, CONSTANT_RATE = "in float32", "per step", "constant rate"
CONDITIONS = (IN_FLOAT32, PER_STEP, CONSTANT_RATE)
FRAMEWORKS = {name: TITLES[name] for name in ("torch", "tf", "jax", "numpy")}  # the one without built-ins last


@dataclass(frozen=True)
class Translation:
    """A built-in of one framework in another.

    ``outcome``: ``exact``, ``code`` is a built-in that is the same; ``ours``, it is this project's implementation of
    the formulation, of which ``component`` is the name and ``keywords`` are the keywords; ``refused``, for ``reason``.
    ``conditions``: those of ``CONDITIONS`` under which the code is the same. ``scheduled``: the code where the learning
    rate changes, if it is another. ``digits``: to how many decimal digits the two agreed when both were run, by
    precision; ``against``: what the code was held against, or why it was not run here. ``nearest``: the nearest
    built-in where none is exact, and ``apart`` how far it is, in words. ``arrays``: of a layer, for each parameter of
    the reference which array it is in the source, and which in the code.
    """

    name: str
    kind: str
    to: str
    outcome: str
    code: str = ""
    scheduled: str = ""
    formulation: str = ""
    digits: Mapping[str, float] = field(default_factory=dict)
    against: str = ""
    nearest: str = ""
    apart: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    component: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        """Whether there is code."""
        return self.outcome != REFUSED

    def __str__(self) -> str:
        return text(self)


def as_dict(translation: Translation) -> dict[str, Any]:
    """For JSON: the fields."""
    return asdict(translation)


_HEADS = {
    EXACT: "exact, by a built-in",
    OURS: "by this project's implementation, as no built-in is the same",
    REFUSED: "refused",
}


def text(translation: Translation) -> str:
    """What is printed: a line, the code, and what is to be known of it."""
    lines = [f"# {translation.name} -> {FRAMEWORKS[translation.to]}: {_HEADS[translation.outcome]}"]
    if translation.code:
        lines += ["", translation.code, ""]
    if translation.scheduled:
        lines += ["# Where the learning rate changes:", "", translation.scheduled, ""]
    lines += [f"# {title:<11} {words}" for title, words in _said(translation)]
    return "\n".join(lines)


def _said(translation: Translation) -> list[tuple[str, str]]:
    said = [("because", translation.reason), ("formulation", translation.formulation)]
    if translation.digits:
        digits = ", ".join(f"{value:.1f} digits in {dtype}" for dtype, value in translation.digits.items())
        said.append(("verified", f"{digits}, against {translation.against}"))
    elif translation.code:
        said.append(("verified", translation.against))
    if translation.nearest:
        said.append(("nearest", f"{translation.nearest}: {translation.apart}"))
    said += [("array", f"{source} -> {found}") for source, found in translation.arrays.values()]
    said += [("note", note) for note in translation.notes]
    return [(title, words) for title, words in said if words]
