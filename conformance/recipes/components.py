"""Components of a recipe: a name and keywords, checked against the reference, which is the judge of both.

Names, keywords and defaults are those of ``reference_numpy`` and stand only there.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from conformance.recipes.dialects import dialect
from reference_numpy import activations, initializers, losses, models, normalization, optimizers, schedules

# Arguments that are keywords of a recipe although the reference takes them by position.
POSITIONAL_KEYWORDS = ("learning_rate", "strength", "limit")


# The losses of labels, and which outputs of a model each loss goes with: the first of them where a recipe names none.
BINARY = ("binary_cross_entropy", "binary_cross_entropy_from_probabilities")
CATEGORICAL = ("categorical_cross_entropy", "categorical_cross_entropy_from_probabilities")
OUTPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(BINARY, ("sigmoid",)),
    **dict.fromkeys(CATEGORICAL, ("softmax",)),
    "mean_squared_error": ("identity", "relu", "sigmoid"),
}


class Component(BaseModel):
    """A named component and its keywords, written flat: ``{name = "adam", beta1 = 0.9}``."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords, every one of them, defaults filled in."""
        return dict(self.model_extra or {})


def plain(value: Any) -> Any:
    """A component as the mapping that it was, so that a recipe can be built from Python as from a file."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return {"name": value} if isinstance(value, str) else value


def resolve(field: str, value: Any, table: Mapping[str, Callable[..., Any]]) -> Any:
    """``value`` with the keywords it leaves out; raises ValueError for an unknown name or keyword or a bad value."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return value  # pydantic says what is wrong
    kind = field.split(".")[0]
    extra = {"unit": value["unit"]} if kind == "schedule" and "unit" in value else {}
    given = {k: v for k, v in value.items() if k != "name" and k not in extra}
    name = choose(f"{field}.name", value["name"], table)
    defaults = keyword_defaults(table[name], () if kind == "schedule" else POSITIONAL_KEYWORDS)
    for keyword in given:
        choose(f"{field} keyword", keyword, defaults, f" for {name!r}")
    keywords = defaults | {keyword: _hashable(setting) for keyword, setting in given.items()}
    for keyword, setting in keywords.items():
        if setting is inspect.Parameter.empty:
            raise ValueError(f"{field}.{keyword} is missing: {name!r} needs it")
    try:
        if kind in _TRIALS or field in _TRIALS:
            _TRIALS[field if field in _TRIALS else kind](table[name], keywords)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{field}: {error}") from error
    return {"name": name, **extra, **keywords}


def speak(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer of a dialect, ``{dialect = "keras.Adam"}``, with the keywords that stand beside it changed."""
    framework, _, builtin = str(optimizer["dialect"]).partition(".")
    try:
        found = dialect(framework, builtin)
    except ValueError as error:
        raise ValueError(f"optimizer.dialect={optimizer['dialect']!r}: {error}") from error
    changed = {name: value for name, value in optimizer.items() if name != "dialect"}
    choose("optimizer.name", changed.get("name", found.optimizer), (found.optimizer,), f" for {optimizer['dialect']!r}")
    return {"name": found.optimizer, **found.keywords, **changed}


def _hashable(setting: Any) -> Any:
    """Lists, as TOML and JSON have them, as tuples."""
    return tuple(map(_hashable, setting)) if isinstance(setting, list) else setting


def resolve_model(model: Mapping[str, Any], loss: Any) -> dict[str, Any]:
    """``model`` with what it leaves out: the reference's activation for a model of its name, and the loss's output."""
    make = models.MODELS.get(str(model.get("name")))
    activation = str(keyword_defaults(make).get("activation", "identity")) if make else "identity"
    loss_name = loss.get("name") if isinstance(loss, Mapping) else None
    output = OUTPUTS.get(str(loss_name), ("sigmoid",))[0]
    resolved = {"activation": activation, "output": output, **model}
    resolved["activation"] = resolve("model.activation", plain(resolved["activation"]), activations.ACTIVATIONS)
    if resolved.get("normalization") is not None:
        resolved["normalization"] = resolve("model.normalization", plain(resolved["normalization"]), _NORMALIZATIONS)
    return resolved


def keyword_defaults(function: Callable[..., Any], positional: tuple[str, ...] = ()) -> dict[str, Any]:
    """A component's keywords and their defaults, from the reference's own signature."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if (parameter.kind is parameter.KEYWORD_ONLY or name in positional) and name not in ("out", "dtype")
    }


def _try_loss(loss: Callable[..., Any], keywords: dict[str, Any]) -> None:
    if "labels" in inspect.signature(loss).parameters:
        classes = len(keywords["class_weights"] or (1,))  # what the data must have is seen when it is read
        loss(np.full((1, classes), 0.5), np.zeros(1, np.int64), **keywords)
    else:
        loss(np.full((1, 1), 0.5), np.zeros((1, 1)), **keywords)


def _batch_norm(
    *,
    epsilon: float = keyword_defaults(normalization.batch_norm)["epsilon"],
    momentum: float = keyword_defaults(normalization.running_average)["momentum"],
    running_variance: str = keyword_defaults(normalization.running_average)["running_variance"],
) -> None:
    """Batch norm's keywords: those of the normalisation and those of its running averages."""


_NORMALIZATIONS: dict[str, Callable[..., Any]] = {"batch_norm": _batch_norm, "layer_norm": normalization.layer_norm}


TABLES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "initializer": initializers.INITIALIZERS,
    "loss": losses.LOSSES,
    "optimizer": optimizers.OPTIMIZERS,
    "schedule": schedules.SCHEDULES,
}

# The reference is the judge of keywords: each is tried on the smallest arguments it takes. (Regularizers are tried
# when the recipe is put together.)
_TRIALS: dict[str, Callable[[Callable[..., Any], dict[str, Any]], Any]] = {
    "initializer": lambda make, keywords: make(np.random.default_rng(0), (1, 1), **keywords),
    "loss": _try_loss,
    "optimizer": lambda make, keywords: make(**keywords),
    "schedule": lambda make, keywords: make(1.0, **keywords),
    "model.activation": lambda activation, keywords: activation(np.zeros((1, 1)), **keywords),
}


def choose_all(option: str, values: Iterable[str], allowed: Collection[str]) -> list[str]:
    """The values, each once. Raises ValueError, naming the option, for one that is not allowed."""
    chosen = list(dict.fromkeys(values))
    for value in chosen:
        if value not in allowed:
            raise ValueError(f"{option}={value!r} is not allowed: must be among {', '.join(allowed)}")
    return chosen


def choose(field: str, value: str, allowed: Collection[str], context: str = "") -> str:
    if value not in allowed:
        raise ValueError(f"{field}={value!r} is not allowed{context}: must be one of {', '.join(map(repr, allowed))}")
    return value
