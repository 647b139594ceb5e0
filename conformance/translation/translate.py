"""``conformance.translate``: what is a built-in of one framework in another?"""

import contextlib
from collections.abc import Mapping
from typing import Any

from conformance.data.wording import nearest, shown
from conformance.faults.injection import PACKAGES
from conformance.recipes import layer_dialects
from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults, not_allowed
from conformance.recipes.dialects import Dialect
from conformance.recipes.spelling import Call, builtin_names, parse, placed, without_module
from conformance.runs.answers import Limits
from conformance.translation import calls, functions, layers, optimizers, regularizers, unknown
from conformance.translation.code import of_this_project
from conformance.translation.translated import FRAMEWORKS, Translation
from conformance.translation.trial import Processes, Trial
from reference_numpy.optimizers import OPTIMIZERS

ALIASES = {"keras": "tf"}
_CALLED = {"tensorflow": "tf", "pytorch": "torch", "optax": "jax", "flax": "jax"}


def translate(
    name: str,
    *,
    to: str,
    settings: Mapping[str, Any] | None = None,
    seconds: float = 300.0,
    memory: int = 0,
    trial: Trial | None = None,
) -> Translation:
    """What a built-in is in another framework, run before it is told.

    Args:
        name: the built-in with its framework, ``"keras.Adam"`` or ``"torch.optim.Adam(lr=0.01)"``, or a formulation of
            this project, ``"adam"``.
        to: ``torch``, ``tf`` (or ``keras``), ``jax`` or ``numpy``.
        settings: further arguments, in the spelling of the built-in's own framework.
        seconds: how long one answer of a framework's process may take.
        memory: bytes that such a process may take; 0: any.
        trial: where the code is run; by itself a process for each framework.

    Raises ValueError for what is not known or not allowed, with the nearest; Incomplete (of
    ``conformance.runs.outcome``) where a process ends or takes too long or too much.
    """
    target = framework_of(to)
    if trial is not None:
        return _translated(name, target, settings or {}, trial)
    with Processes(Limits(seconds, memory)) as own:
        return _translated(name, target, settings or {}, own)


def framework_of(to: str) -> str:
    """The framework of a name. Raises ValueError for one that is not known.

    >>> framework_of("keras")
    'tf'
    """
    found = ALIASES.get(to, to)
    if found not in FRAMEWORKS:
        near = f"; did you mean {_CALLED[to.lower()]!r}?" if to.lower() in _CALLED else ""
        raise ValueError(
            not_allowed("to", to, (*FRAMEWORKS, *ALIASES)) if not near else f"to={shown(to)} is not allowed{near}"
        )
    return found


def _translated(name: str, to: str, settings: Mapping[str, Any], trial: Trial) -> Translation:
    own = _of_this_project(name)
    if own is not None:
        return optimizers.translate(_source(name, *own, settings), to, trial)
    known_as = unknown.framework_of(name)
    if known_as is not None:
        return unknown.refused(name, known_as, to, trial)
    if regularizers.is_regularizer(name):
        return regularizers.translate(name, settings, to)
    if layers.is_layer(name):
        return layers.translate(name, settings, to, trial)
    if not _is_an_optimizer(name):
        return functions.translate(name, settings, to, trial)
    if without_module(name.strip())[0] is None:
        raise ValueError(_of_no_framework(name))
    call = parse(name)
    given = Call(call.framework, call.builtin, call.arguments | placed(settings))
    return optimizers.of_a_call(str(given) if settings else name, given, to, trial)


def _is_an_optimizer(name: str) -> bool:
    """Whether a name is to be looked for among the optimizers: it is one, or none of the other built-ins known."""
    with contextlib.suppress(ValueError):
        parse(name)
        return True
    try:
        found = calls.read(name)
    except ValueError:
        return True
    of_optimizers = found.function.startswith(("torch.optim.", "keras.optimizers."))
    return of_optimizers and ".lr_scheduler." not in found.function and ".schedules." not in found.function


def _of_no_framework(name: str) -> str:
    """Why a name that is no formulation of this project and begins with no framework is refused, with the nearest."""
    layers_of = (f"{layer_dialects.MODULES[one.framework]}.{one.builtin}" for one in layer_dialects.layer_dialects())
    known = [*builtin_names(), *calls.functions(), *layers_of] if "." in name else OPTIMIZERS
    return (
        f"name={shown(name)} is not allowed: must be a built-in with its framework, as torch.optim.Adam, keras.LSTM or"
        f" optax.adam, or an optimizer of this project{nearest(name, known)}"
    )


def _of_this_project(name: str) -> tuple[str, str] | None:
    """The package and the optimizer of a name that is one of this project's."""
    package, _, optimizer = name.rpartition(".")
    owners = {f"{own}.optimizers": framework for framework, own in PACKAGES.items()} | {"": "numpy", "numpy": "numpy"}
    return (owners[package], optimizer) if package in owners and optimizer in OPTIMIZERS else None


def _source(name: str, framework: str, optimizer: str, settings: Mapping[str, Any]) -> optimizers.Source:
    """A formulation of this project. Raises ValueError for a keyword that it does not have or may not have so."""
    defaults = keyword_defaults(OPTIMIZERS[optimizer], POSITIONAL_KEYWORDS)
    wrong = [not_allowed(f"{optimizer} keyword", keyword, defaults) for keyword in settings if keyword not in defaults]
    if wrong:
        raise ValueError("\n".join(wrong))
    keywords = defaults | dict(settings)
    OPTIMIZERS[optimizer](**keywords)
    formulation = Dialect(framework, optimizer, optimizer, keywords, "")
    return optimizers.Source(name, of_this_project(formulation, framework), formulation)
