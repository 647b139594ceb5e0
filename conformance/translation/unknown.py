"""What is no formulation of this project, and what nobody knows: refused, with what comes nearest."""

import contextlib

from conformance.data.wording import nearest, shown
from conformance.identification.answer import Answer
from conformance.identification.identify import identify
from conformance.identification.page import MODULES, OTHERS
from conformance.identification.process import Declined
from conformance.recipes.dialects import Dialect
from conformance.recipes.spelling import builtin_names, forms, read, without_module
from conformance.recipes.subjects import subjects
from conformance.runs.outcome import BadInput, Incomplete
from conformance.translation.agreement import distance
from conformance.translation.code import of_a_builtin, of_this_project
from conformance.translation.optimizers import KIND, apart
from conformance.translation.translated import REFUSED, Translation
from conformance.translation.trial import Trial
from reference_numpy.optimizers import OPTIMIZERS

MOST_NAMED = 3  # built-ins of one name


def framework_of(name: str) -> str | None:
    """The framework of an optimizer that is known to be none of this project's.

    >>> framework_of("keras.optimizers.Ftrl"), framework_of("keras.Adam")
    ('keras', None)
    """
    framework, text = without_module(name.strip())
    if framework is None or any(form.call.builtin == text.partition("(")[0] for form in forms(framework)):
        return None
    return framework if text.partition("(")[0] in OTHERS[framework] else None


def told(name: str) -> str:
    """The refusal of a name that no built-in has, with those that are like it; nothing where one has it.

    >>> told("torch.GELU").rpartition("; ")[2]
    "did you mean 'torch.nn.functional.gelu' or 'torch.nn.GELU'?"
    >>> told("keras.Adam(beta=")
    ''
    """
    function = name.partition("(")[0].strip()
    framework, text = without_module(function)
    if framework is not None and text in {form.call.builtin for form in forms(framework)}:
        return ""
    return (
        f"name={shown(name)} is not allowed: must be a built-in with its framework, as keras.Adam or torch.nn.GELU, one"
        f" that `conformance list optimizers` shows, or a recipe{_like(function)}"
    )


def _like(function: str) -> str:
    """What a refusal ends with: the built-ins of the framework, or the formulations, that are called alike."""
    root, _, own = function.rpartition(".")
    if not root and (near := nearest(own, OPTIMIZERS)):
        return near
    known = dict.fromkeys([*builtin_names(), *(name.partition("(")[0] for name in subjects())])
    pool = [name for name in known if name.partition(".")[0] == function.partition(".")[0]] or list(known)
    same = [name for name in pool if name.rpartition(".")[2].casefold() == own.casefold()]
    if same:
        return f"; did you mean {' or '.join(map(repr, same[:MOST_NAMED]))}?"
    return nearest(function, pool) if nearest(own, [name.rpartition(".")[2] for name in pool]) else ""


def refused(name: str, framework: str, to: str, trial: Trial) -> Translation:
    """The refusal, with the formulation that comes nearest and how far a training parts the two."""
    _, text = without_module(name.strip())
    found = _nearest(f"{MODULES[framework]}:{text}")
    reason = f"the catalogue has no such formulation{f': {found.reason}' if found and found.reason else ''}"
    if found is None or found.nearest is None:
        return Translation(name, KIND, to, REFUSED, reason=reason)
    near, said = found.nearest, f"{found.distance:.1e} away on average"
    code = of_a_builtin(read(framework, text))
    own = of_this_project(Dialect(framework, text, near.name, dict(near.keywords), ""), to)
    if trial.has(to):
        with contextlib.suppress(BadInput, Declined):  # without a rate of its own, or on what it does not take
            said = apart(distance(trial, code, own, OPTIMIZERS[near.name]().elementwise))
    return Translation(name, KIND, to, REFUSED, reason=reason, nearest=near.written(KIND), apart=said)


def _nearest(target: str) -> Answer | None:
    """What comes nearest to a target; None where it cannot be asked."""
    try:
        return identify(target, kind=KIND)
    except (BadInput, Incomplete):
        return None
