"""Components of a recipe: a name and keywords, checked against the reference, which is the judge of both.

Names, keywords and defaults are those of ``reference_numpy`` and stand only there.
"""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from conformance.data.wording import listed, nearest, shown
from reference_numpy import initializers, losses, models, normalization, optimizers, regularizers, schedules

# Arguments that are keywords of a recipe although the reference takes them by position.
POSITIONAL_KEYWORDS = ("learning_rate", "strength", "limit")


Unit = Literal["epoch", "step"]  # that a schedule counts

NETWORK = "network"  # the model that is made of layers

LONGEST_REFUSAL = 400  # characters of what the reference says of a keyword

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


def nearest_word(value: Any, refused: str) -> str:
    """What ends a refusal of the reference that lists words, where one of them is like the value.

    >>> nearest_word("sam", "padding='sam' is not allowed: must be 'valid', 'same' or integers >= 0")
    "; did you mean 'same'?"
    """
    words = re.findall(r"'([^']*)'", refused.partition("must be ")[2])
    return nearest(value, words) if isinstance(value, str) else ""


def refuse(problems: Iterable[str]) -> None:
    """Raise ValueError with a line for each problem, if there is any."""
    found = list(problems)
    if found:
        raise ValueError("\n".join(found))


def hashable(setting: Any) -> Any:
    """Lists, as TOML and JSON have them, as tuples."""
    return tuple(map(hashable, setting)) if isinstance(setting, list) else setting


def fill_in_model(model: Mapping[str, Any], loss: Any) -> dict[str, Any]:
    """``model`` with what it leaves out: the reference's activation for a model of its name, and the loss's output."""
    make = models.MODELS.get(str(model.get("name")))
    activation = str(keyword_defaults(make).get("activation", "identity")) if make else "identity"
    loss_name = loss.get("name") if isinstance(loss, Mapping) else None
    output = outputs_of(str(model.get("name")), str(loss_name))[0]
    return {"activation": activation, "output": output, **model}


def outputs_of(model: str, loss: str) -> tuple[str, ...]:
    """Which outputs a model may have with a loss, the first of them where a recipe names none.

    >>> outputs_of("softmax_classifier", "mean_squared_error"), outputs_of("deep_network", "binary_cross_entropy")
    (('softmax',), ('sigmoid',))
    """
    if model == "softmax_classifier" and loss == "mean_squared_error":
        return ("softmax",)
    if model == NETWORK and loss == "mean_squared_error":
        return (*OUTPUTS[loss], "softmax")
    return OUTPUTS.get(loss, ("sigmoid",))


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


NORMALIZATIONS: dict[str, Callable[..., Any]] = {"batch_norm": _batch_norm, "layer_norm": normalization.layer_norm}


def _try_normalization(make: Callable[..., Any], keywords: dict[str, Any]) -> None:
    name = next(name for name, normalization in NORMALIZATIONS.items() if normalization is make)
    models.deep_network((1, 1, 1), normalization=name, normalization_options=keywords)


TABLES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "initializer": initializers.INITIALIZERS,
    "loss": losses.LOSSES,
    "optimizer": optimizers.OPTIMIZERS,
    "schedule": schedules.SCHEDULES,
}


def _try_regularizer(make: Callable[..., Any], keywords: dict[str, Any]) -> None:
    if "keep_probability" in keywords:  # how many there must be is the model's to try, which has the layers
        found = keywords["keep_probability"]
        for each in found if isinstance(found, tuple) else (found,):
            regularizers.dropout_mask(np.random.default_rng(0), (1, 1), keep_probability=each)
        return
    images = ((1, 1),) if needs_images(make) else ()
    make(*images, **keywords)


def needs_images(augmentation: Callable[..., Any]) -> bool:
    """Whether an augmentation is of inputs that are images."""
    return "image_shape" in inspect.signature(augmentation).parameters


Trial = Callable[[Callable[..., Any], dict[str, Any]], Any]

# The reference is the judge of keywords: each is tried on the smallest arguments it takes.
TRIALS: dict[str, Trial] = {
    "initializer": lambda make, keywords: make(np.random.default_rng(0), (1, 1), **keywords),
    "loss": _try_loss,
    "optimizer": lambda make, keywords: make(**keywords),
    "schedule": lambda make, keywords: make(1.0, **keywords),
    "regularizers": _try_regularizer,
    "model.activation": lambda activation, keywords: activation(np.zeros((1, 1)), **keywords),
    "model.normalization": _try_normalization,
}


def choose_all(option: str, values: Iterable[str], allowed: Collection[str]) -> list[str]:
    """The values, each once. Raises ValueError, naming the option, for one that is not allowed."""
    chosen = list(dict.fromkeys(values))
    for value in chosen:
        if value not in allowed:
            near = nearest(value, allowed)
            raise ValueError(f"{option}={shown(value)} is not allowed: must be among {', '.join(allowed)}{near}")
    return chosen


def choose(field: str, value: str, allowed: Collection[str], context: str = "") -> str:
    """``value``. Raises ValueError, naming the field, what is allowed and what is nearest, if it is not allowed."""
    if value not in allowed:
        raise ValueError(not_allowed(field, value, allowed, context))
    return value


def not_allowed(field: str, value: Any, allowed: Collection[str], context: str = "") -> str:
    """The words in which a name is refused."""
    named = f"must be one of {listed(allowed)}" if allowed else "there is none"
    near = nearest(value, allowed) if isinstance(value, str) else ""
    return f"{field}={shown(value)} is not allowed{context}: {named}{near}"
