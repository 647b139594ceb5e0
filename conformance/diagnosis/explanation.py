"""What is said of a recipe that did not pass: where it leaves the oracle, and why, for people and for programs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from conformance.results.store import Explained
from conformance.verdicts.record import for_json

EXPLAINED = 2.0  # allowances between a candidate and the observation
SHOWN = 3  # causes that reproduce the observation equally well; built-ins that are made so


class Divergence(NamedTuple):
    """The first value beyond its allowance. ``step`` counts from 1 in trainings; ``element`` is the worst one's."""

    check: str
    stage: str
    step: int
    tensor: str
    element: list[int]
    observed: float
    expected: float
    error: float
    allowance: float
    remark: str


class Cause(NamedTuple):
    """A candidate beside the observation.

    ``error`` is the largest that is left between them, ``share`` the largest in allowances, of the first check that
    fails; ``explains`` and ``leaves`` are the checks that it does and does not explain. ``parts``: if it is several
    differences at once, the checks that failed and that each explains by itself; {} where one does not, without the
    others. ``mended``: of the nearest, how many of the tensors that failed it explains. ``also``: other descriptions of
    what was seen, which nothing that was looked at tells from this one.
    """

    description: str
    formulation: bool
    error: float
    share: float
    explains: list[str]
    leaves: list[str]
    builtins: list[str]
    parts: Mapping[str, list[str]] = MappingProxyType({})
    mended: int = 0
    also: tuple[str, ...] = ()


class Found(NamedTuple):
    """What a search came to.

    ``causes`` explain everything, each by itself. Without any, ``partly`` each explain some of the checks, and together
    all but the ``unexplained`` ones; or ``nearest`` mends something.
    """

    causes: list[Cause]
    partly: list[Cause]
    unexplained: list[str]
    nearest: Cause | None


NOTHING = Found([], [], [], None)


class Explanation(NamedTuple):
    """What is to be said of one recipe in one implementation and precision.

    Each of ``causes`` explains everything. Without any, ``partly`` are causes that each explain some of the checks, and
    together all but the ``unexplained``; or ``nearest`` is what mends some of what failed and changes nothing else.
    """

    recipe: str
    implementation: str
    dtype: str
    divergence: Divergence
    layout: str
    patching: str
    causes: list[Cause]
    partly: list[Cause]
    unexplained: list[str]
    nearest: Cause | None

    @property
    def explained(self) -> bool:
        """Whether there is a cause, or a rearrangement that has a name; a mere factor says what, and not why."""
        return bool(self.causes or (self.layout and not self.layout.startswith("multiplied")))


def as_dict(explanation: Explanation) -> dict[str, Any]:
    """An explanation for programs: what JSON can hold."""
    values = explanation._asdict() | {"divergence": for_json(explanation.divergence._asdict())}
    for name in ("causes", "partly"):
        values[name] = [_cause_as_dict(cause) for cause in getattr(explanation, name)]
    values["nearest"] = _cause_as_dict(explanation.nearest) if explanation.nearest else None
    return values


def _cause_as_dict(cause: Cause) -> dict[str, Any]:
    return for_json(cause._asdict() | {"parts": dict(cause.parts)})


def text(explanation: Explanation) -> str:
    """An explanation for people."""
    found = explanation.divergence
    place = f", {_place(found)}" if found.tensor else ""
    lines = [
        f"{explanation.recipe}, {explanation.implementation}, {explanation.dtype}",
        f"  first divergence: check {found.check}{place}",
    ]
    if found.remark:
        lines.append(f"    {found.remark}")
    else:
        element = f"element {found.element}: " if found.element else ""
        lines.append(
            f"    {element}{found.observed:.9g}, the oracle has {found.expected:.9g}"
            f" (error {found.error:.2g}, allowed {found.allowance:.2g})"
        )
    if explanation.layout:
        lines.append(f"  layout: {found.tensor} is the oracle's, {explanation.layout}")
    if explanation.patching:
        lines.append(f"  patching: {explanation.patching}")
    for cause in explanation.causes:
        lines.append(f"  cause: matches {cause.description} to {cause.error:.1g} in all {len(cause.explains)} checks")
        lines += [f"    {part}: {', '.join(checks)}" for part, checks in cause.parts.items()]
        lines += _beside(cause)
    for cause in explanation.partly:
        lines.append(f"  cause of a part: {cause.description}, to {cause.error:.1g} in {', '.join(cause.explains)}")
        lines += _beside(cause)
    if explanation.partly:
        lines.append(f"  cause: no known formulation or fault explains {', '.join(explanation.unexplained)}")
    elif not explanation.causes and found.tensor:
        lines.append("  cause: no known formulation or fault explains this; " + _nearest(explanation.nearest))
    return "\n".join(lines)


def _beside(cause: Cause) -> list[str]:
    """What goes with a cause: the same in other words, and who has it so."""
    lines = [f"    or, which comes to the same here, {other}" for other in cause.also]
    return lines + ([f"    as in {', '.join(cause.builtins[:SHOWN])}"] if cause.builtins else [])


def as_row(explanation: Explanation) -> Explained:
    """An explanation as it is kept."""
    found = explanation.divergence
    return Explained(
        explanation.recipe, explanation.implementation, explanation.dtype, found.check, _place(found),
        _in_a_line(explanation), explanation.explained, text(explanation),
    )  # fmt: skip


def _in_a_line(explanation: Explanation) -> str:
    """The cause, or what is known instead of one."""
    found = explanation.divergence
    if explanation.causes:
        return explanation.causes[0].description
    if explanation.layout:
        return f"{found.tensor} is the oracle's, {explanation.layout}"
    if explanation.partly:
        return "; ".join(f"{cause.description} (in {', '.join(cause.explains)})" for cause in explanation.partly)
    return found.remark or f"no known formulation or fault explains this; {_nearest(explanation.nearest)}"


def _place(found: Divergence) -> str:
    return f"stage {found.stage}, tensor {found.tensor}, step {found.step}" if found.tensor else ""


def _nearest(cause: Cause | None) -> str:
    if cause is None:
        return "none that is known comes near"
    tensors = "1 tensor" if cause.mended == 1 else f"{cause.mended} tensors"
    return f"the nearest is {cause.description}, which mends {tensors} and changes nothing that passed"
