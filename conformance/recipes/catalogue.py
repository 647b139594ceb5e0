"""The catalogue: what can be named in a recipe."""

import inspect
from collections.abc import Callable
from typing import Any

from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults
from reference_numpy import (
    activations,
    initializers,
    losses,
    models,
    normalization,
    optimizers,
    regularizers,
    schedules,
)

KINDS: dict[str, dict[str, Callable[..., Any]]] = {
    "activations": activations.ACTIVATIONS,
    "initializers": initializers.INITIALIZERS,
    "losses": losses.LOSSES,
    "models": models.MODELS,
    "normalizations": normalization.NORMALIZATIONS,
    "optimizers": optimizers.OPTIMIZERS,
    "regularizers": regularizers.REGULARIZERS,
    "schedules": schedules.SCHEDULES,
}


def written_keywords(*functions: Callable[..., Any]) -> list[str]:
    """The keywords of a component's functions as they are written in a call: ``beta1=0.9``, or only the name."""
    keywords: dict[str, Any] = {}
    for function in functions:
        keywords |= keyword_defaults(function, POSITIONAL_KEYWORDS)
    return [name if default is inspect.Parameter.empty else f"{name}={default!r}" for name, default in keywords.items()]


def first_line(described: Any) -> str:
    """The first line of a docstring."""
    return (described.__doc__ or "").strip().splitlines()[0]
