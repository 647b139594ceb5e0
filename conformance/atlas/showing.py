"""One built-in, one known fault or one pair, measured anew: the evidence of a number of the atlas."""

import ast
from typing import Any, NamedTuple

from conformance.atlas.collecting import Progress, of_framework
from conformance.atlas.entries import OF, tabled
from conformance.atlas.evidence import Evidence
from conformance.atlas.faults import known, seen
from conformance.atlas.page import facts
from conformance.atlas.surprises import compared
from conformance.atlas.survey import KINDS
from conformance.atlas.tables import formulation_of, shown
from conformance.data.wording import cut, listed, nearest
from conformance.data.wording import shown as quoted
from conformance.runs.interpreter import Interpreter
from conformance.runs.outcome import BadInput


class Shown(NamedTuple):
    """What is shown, for people and for programs."""

    text: str
    as_dict: dict[str, Any]


def of_name(name: str, interpreter: Interpreter, progress: Progress) -> Shown:
    """A fault by its name, or a built-in by its call. Raises ValueError or BadInput for what is neither."""
    row = next((row for row in known() if row.name == name), None)
    if row is None:
        each = _measured("show", name, interpreter, progress)
        lines = [f"{each.call} ({each.kind} of {each.framework} {each.version}): {formulation_of(each)}"]
        lines += [f"  {row}: {text}" for row, text in facts(each)[1:]]
        return Shown("\n".join(lines), dict(facts(each)) | {"call": each.call, "target": each.target})
    (fault,) = seen([row], interpreter)
    told = f"{fault.name}: {fault.told}\n\n{fault.code}\n\n{shown(fault.shown)}: {fault.seen}"
    return Shown(told, {"name": fault.name, "shown": fault.shown, "seen": fault.seen, "code": fault.code})


def of_pair(one: str, other: str, interpreter: Interpreter, progress: Progress) -> Shown:
    """Two built-ins of one component, trained by the formulations that they are. Raises ValueError or BadInput."""
    _framework("beside", other)
    first = _measured("show", one, interpreter, progress)
    second = _measured("beside", other, interpreter, progress)
    if first.component != second.component or not (first.formulation and second.formulation):
        raise ValueError(
            f"beside={quoted(other)} is not allowed: must be a known formulation of the same component as {cut(one)}"
        )
    found = [
        {"component": s.component, "change": s.change, "last costs": s.costs, "formulations": s.formulations}
        for s in compared(first, second)
    ]
    lines = [f"{first.call}: {first.formulation}", f"{second.call}: {second.formulation}"]
    lines += [
        f"{row['component']}: change {row['change']:.3g}{_of_what(str(row['component']))}, last costs"
        f" {row['last costs'][0]:.6g} and {row['last costs'][1]:.6g}"  # type: ignore[index]
        for row in found
    ]
    return Shown("\n".join(lines if found else [*lines, "they train the same"]), {"pairs": found})


def _of_what(component: str) -> str:
    """What a change is a share of, in brackets: of an initializer's costs, or of the way that parameters went."""
    return " (of the costs)" if component.endswith("starts") else " (of how far the parameters moved)"


def _framework(field: str, name: str) -> str:
    """The framework of a built-in. Raises ValueError for what is none, and for what is no fault."""
    framework = OF.get(name.partition(".")[0])
    if framework is not None:
        return framework
    names = [row.name for row in known()] if field == "show" else []
    faults = f", or a known fault, one of {listed(names)}" if names else ""
    raise ValueError(
        f"{field}={quoted(name)} is not allowed: must be a call that the atlas has, as torch.optim.Adam{faults}"
        f"{nearest(name, names)}"
    )


def _spaced(call: str) -> str:
    """A call with its spaces as the atlas writes them; what is no call as it is."""
    try:
        return ast.unparse(ast.parse(call.strip(), mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return call


def _measured(field: str, name: str, interpreter: Interpreter, progress: Progress) -> Evidence:
    framework = _framework(field, name)
    calls = {_spaced(entry.call): entry.call for entry in tabled(framework)}
    only = calls.get(_spaced(name), name)
    versions, found = of_framework(framework, KINDS, interpreter, progress, only=only)
    if not versions:
        raise BadInput(f"{name} cannot be shown: {framework} is not installed there")
    if not found:
        raise ValueError(
            f"{field}={quoted(name)} is not allowed: no built-in of {framework} is called so in the atlas"
            f"{nearest(name, list(calls.values()))}"
        )
    return found[0]
