"""The recipe: the whole, framework-free description of one training.

A recipe names components of the catalogue and their keywords. Names, keywords and defaults are those of
``reference_numpy`` and stand only there: a recipe is checked by building its parts. Keywords left out are filled in,
so that two recipes that mean the same training have the same content hash, which is a recipe's identity.
"""

import hashlib
import inspect
import json
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from conformance.data.datasets import DATASETS
from conformance.recipes.dialects import dialect
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

Dtype = Literal["float64", "float32"]
PositiveInt = Annotated[int, Field(ge=1)]

# Arguments that are keywords of a recipe although the reference takes them by position.
POSITIONAL_KEYWORDS = ("learning_rate", "strength", "limit")


class RecipeError(ValueError):
    """A recipe file that cannot be read or does not describe a training; the message names the field."""


class Component(BaseModel):
    """A named component and its keywords, written flat: ``{name = "adam", beta1 = 0.9}``."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords, every one of them, defaults filled in."""
        return dict(self.model_extra or {})


class DatasetChoice(BaseModel):
    """Which data, how many examples of it, and how its inputs are scaled."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    path: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    scaling: Literal["standardize", "unit", "none"] = "standardize"
    examples: PositiveInt | None = None
    test_examples: PositiveInt | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return _choose("name", name, DATASETS)


class ModelChoice(BaseModel):
    """Which model. The sizes of its input and output come from the data set, its output from the loss if not said."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    hidden_units: tuple[PositiveInt, ...] = ()
    activation: Component
    normalization: Component | None = None
    output: Literal["sigmoid", "softmax", "identity", "relu"]

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return _choose("name", name, models.MODELS)

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        single = ("single_neuron", "logistic_regression")
        allowed = dict.fromkeys(single, (0, 0)) | {"shallow_network": (1, 1), "multi_task_network": (1, 99)}
        fewest, most = allowed.get(self.name, (0, 99))
        if not fewest <= len(self.hidden_units) <= most:
            number = f"{fewest} or more" if most > fewest else str(fewest)
            raise ValueError(
                f"hidden_units={list(self.hidden_units)!r} is not allowed: {self.name} has {number} hidden layers"
            )
        if self.name in single and self.activation.name != "identity":
            raise ValueError(f"activation={self.activation.name!r}: {self.name} has no hidden layer to use it")
        if self.normalization is not None and not self.hidden_units:
            raise ValueError(f"normalization={self.normalization.name!r}: there is no hidden layer to normalise")
        return self


class Transfer(BaseModel):
    """Layers that come trained from another task and stay as they are; the last layer starts anew.

    Before the recipe's own training its model is trained by gradient descent, in the reference, on a yes-or-no question
    about the same data, with a head of its own that is then thrown away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    frozen_layers: PositiveInt = 1
    pretraining_epochs: PositiveInt = 20
    pretraining_rate: Annotated[float, Field(gt=0)] = 0.1


class Schedule(Component):
    """A learning-rate schedule and whether it counts epochs or steps."""

    unit: Literal["epoch", "step"] = "epoch"


class Recipe(BaseModel):
    """One training. See the module docstring; README.md shows the TOML form."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")]
    description: str = ""
    dataset: DatasetChoice
    model: ModelChoice
    initializer: Component
    loss: Component
    regularizers: tuple[Component, ...] = ()
    example_weights: Literal["none", "drawn"] = "none"
    transfer: Transfer | None = None
    optimizer: Component
    schedule: Schedule
    batch_size: PositiveInt | None = None
    epochs: PositiveInt = 1
    seed: Annotated[int, Field(ge=0)] = 0
    dtypes: tuple[Dtype, ...] = ("float64", "float32")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """Check every component against the reference and write out its defaults."""
        if not isinstance(values, Mapping):
            return values
        values = {"initializer": "he_normal", "schedule": "constant", **values}
        if isinstance(values.get("optimizer"), Mapping) and "dialect" in values["optimizer"]:
            values["optimizer"] = _speak(values["optimizer"])
        for field, table in _TABLES.items():
            if field in values:
                values[field] = _resolve(field, _plain(values[field]), table)
        if isinstance(values.get("regularizers"), (list, tuple)):
            values["regularizers"] = [
                _resolve(f"regularizers.{i}", _plain(item), regularizers.REGULARIZERS)
                for i, item in enumerate(values["regularizers"])
            ]
        if isinstance(_plain(values.get("model")), Mapping):
            values["model"] = _resolve_model(_plain(values["model"]), _plain(values.get("loss")))
        return values

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Refuse what cannot be put together, by the rules here and by building the parts in the reference."""
        data = DATASETS[self.dataset.name]
        if data.kind != "files":  # files say only when they are read how many classes they hold
            context = f" for the {data.task} data set {data.name!r}"
            _choose("loss.name", self.loss.name, _LOSSES_BY_TASK[data.task], context)
            if (self.model.name == "multi_task_network") != (data.task == "multilabel"):
                raise ValueError(f"model.name={self.model.name!r} is not allowed{context}")
        _choose(
            "loss.name", self.loss.name, _LOSSES_BY_MODEL.get(self.model.name, _ANY_HEAD), f" for {self.model.name!r}"
        )
        _choose("model.output", self.model.output, _OUTPUTS[self.loss.name], f" for {self.loss.name!r}")
        if self.model.name == "multi_task_network" and self.loss.keywords["class_weights"] is not None:
            raise ValueError("loss.class_weights is not allowed for several outputs: must be left out")
        for names in _ONE_OF:
            found = [c.name for c in self.regularizers if c.name in names]
            if len(found) > 1:
                raise ValueError(f"regularizers names {', '.join(map(repr, found))}: at most one of them")
        if self._named("inverted_dropout") and not self.model.hidden_units:
            raise ValueError("regularizers names 'inverted_dropout': there is no hidden layer to drop units of")
        if self.optimizer.name == "lbfgs" and self.batch_size is not None:
            raise ValueError(
                f"batch_size={self.batch_size!r} is not allowed for 'lbfgs': must be left out (full batch)"
            )
        if self.frozen_layers > len(self.model.hidden_units):
            raise ValueError(
                f"transfer.frozen_layers={self.frozen_layers!r} is not allowed: must leave one of"
                f" {len(self.model.hidden_units) + 1} layers to train"
            )
        try:
            self.build_model(models, features=1, classes=2)
            self.build_schedule(schedules)
            self.build_penalties(regularizers)
            self.build_clipping(regularizers)
            self.build_constraint(regularizers)
            self.build_augmentations(regularizers, (1, 1))
            self.build_early_stopping(regularizers)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"a keyword's value is of the wrong type or size: {error}") from error
        return self

    @property
    def hash(self) -> str:
        """Content hash, 12 hexadecimal digits: the recipe's identity. Name and description do not count."""
        content = self.model_dump(mode="json", exclude={"name", "description", "dtypes"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def keep_probability(self) -> float | tuple[float, ...]:
        """Dropout's keep probability, 1 where the recipe has no dropout."""
        found = self._named("inverted_dropout")
        return found[0].keywords["keep_probability"] if found else 1.0

    @property
    def frozen_layers(self) -> int:
        """How many of the first layers are not trained."""
        return self.transfer.frozen_layers if self.transfer else 0

    @property
    def decides_classes(self) -> bool:
        """Whether the model predicts classes, and not numbers."""
        return self.loss.name != "mean_squared_error"

    @property
    def image_augmentations(self) -> bool:
        """Whether some augmentation needs inputs that are images."""
        return any(_needs_images(regularizers.AUGMENTATIONS[c.name]) for c in self._named(*regularizers.AUGMENTATIONS))

    @property
    def components(self) -> frozenset[str]:
        """The names of all components that the recipe is made of."""
        parts = (self.initializer, self.loss, self.optimizer, self.schedule, self.model.activation, *self.regularizers)
        names = {self.model.name, self.model.output, *(part.name for part in parts)}
        return frozenset(names | ({self.model.normalization.name} if self.model.normalization else set()))

    def build_model(self, package: Any, *, features: int, classes: int) -> Any:
        """This recipe's model from a ``models`` module: one of the four packages', or one that mirrors them."""
        make: Callable[..., Any] = package.MODELS[self.model.name]
        if self.model.name == "single_neuron":
            return make(features, output=self.model.output)
        if self.model.name == "logistic_regression":
            return make(features)
        outputs = classes if self.model.name in ("softmax_classifier", "multi_task_network") else 1
        keywords: dict[str, Any] = {
            "activation": self.model.activation.name,
            "activation_options": self.model.activation.keywords,
            "keep_probability": self.keep_probability,
        }
        if self.model.normalization is not None:
            keywords["normalization"] = self.model.normalization.name
            keywords["normalization_options"] = self.model.normalization.keywords
        if self.model.name in ("shallow_network", "deep_network"):
            keywords["output"] = self.model.output
        if self.model.name == "shallow_network":
            return make(features, hidden_units=self.model.hidden_units[0], outputs=outputs, **keywords)
        return make((features, *self.model.hidden_units, outputs), **keywords)

    def build_schedule(self, package: Any) -> Callable[[int], float]:
        """This recipe's schedule from a ``schedules`` module."""
        make = package.SCHEDULES[self.schedule.name]
        schedule: Callable[[int], float] = make(self.optimizer.keywords["learning_rate"], **self.schedule.keywords)
        return schedule

    def build_penalties(self, package: Any) -> tuple[Any, ...]:
        """This recipe's penalties from a ``regularizers`` module."""
        return tuple(package.PENALTIES[c.name](**c.keywords) for c in self._named(*regularizers.PENALTIES))

    def build_clipping(self, package: Any) -> Callable[[Any], Any] | None:
        """This recipe's clipping of gradients from a ``regularizers`` module, or None."""
        return self._build_one(package.CLIPPINGS)

    def build_constraint(self, package: Any) -> Callable[[Any], Any] | None:
        """This recipe's constraint on parameters from a ``regularizers`` module, or None."""
        return self._build_one(package.CONSTRAINTS)

    def build_augmentations(self, package: Any, image_shape: tuple[int, ...] | None) -> tuple[Any, ...]:
        """This recipe's augmentations from a ``regularizers`` module, for inputs that are images of ``image_shape``."""
        made = []
        for component in self._named(*regularizers.AUGMENTATIONS):
            make = package.AUGMENTATIONS[component.name]
            shape = (image_shape,) if _needs_images(regularizers.AUGMENTATIONS[component.name]) else ()
            made.append(make(*shape, **component.keywords))
        return tuple(made)

    def build_early_stopping(self, package: Any) -> Any:
        """A fresh monitor of this recipe's early stopping from a ``regularizers`` module, or None."""
        found = self._named("early_stopping")
        return package.early_stopping(**found[0].keywords) if found else None

    def _named(self, *names: str) -> list[Component]:
        return [c for c in self.regularizers if c.name in names]

    def _build_one(self, table: Mapping[str, Callable[..., Callable[[Any], Any]]]) -> Callable[[Any], Any] | None:
        found = self._named(*table)
        return table[found[0].name](**found[0].keywords) if found else None


_BINARY = ("binary_cross_entropy", "binary_cross_entropy_from_probabilities")
_CATEGORICAL = ("categorical_cross_entropy", "categorical_cross_entropy_from_probabilities")
_ANY_HEAD = (*_BINARY, "mean_squared_error")
_LOSSES_BY_TASK = {
    "binary": _ANY_HEAD,
    "multiclass": _CATEGORICAL,
    "regression": ("mean_squared_error",),
    "multilabel": _BINARY,
}
_LOSSES_BY_MODEL = {
    "single_neuron": ("mean_squared_error",),
    "logistic_regression": _BINARY,
    "multi_task_network": _BINARY,
    "softmax_classifier": _CATEGORICAL,
}
_OUTPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_BINARY, ("sigmoid",)),
    **dict.fromkeys(_CATEGORICAL, ("softmax",)),
    "mean_squared_error": ("identity", "relu", "sigmoid"),
}
_ONE_OF = (("inverted_dropout",), tuple(regularizers.CLIPPINGS), tuple(regularizers.CONSTRAINTS), ("early_stopping",))


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a ``.toml`` or ``.json`` file. Raises RecipeError, naming the file and the field."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: not valid {path.suffix[1:].upper() or 'TOML'}: {error}") from error
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(item) for item in error.errors(include_url=False))
        raise RecipeError(f"{path}: {problems}") from error


def _problem(item: Any) -> str:
    place = ".".join(map(str, item["loc"]))
    given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
    return f"{place + ': ' if place else ''}{item['msg'].removeprefix('Value error, ')}{given}"


def _plain(value: Any) -> Any:
    """A component as the mapping that it was, so that a recipe can be built from Python as from a file."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return {"name": value} if isinstance(value, str) else value


def _resolve(field: str, value: Any, table: Mapping[str, Callable[..., Any]]) -> Any:
    """``value`` with the keywords it leaves out; raises ValueError for an unknown name or keyword or a bad value."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return value  # pydantic says what is wrong
    kind = field.split(".")[0]
    extra = {"unit": value["unit"]} if kind == "schedule" and "unit" in value else {}
    given = {k: v for k, v in value.items() if k != "name" and k not in extra}
    name = _choose(f"{field}.name", value["name"], table)
    defaults = keyword_defaults(table[name], () if kind == "schedule" else POSITIONAL_KEYWORDS)
    for keyword in given:
        _choose(f"{field} keyword", keyword, defaults, f" for {name!r}")
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


def _speak(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer of a dialect, ``{dialect = "keras.Adam"}``, with the keywords that stand beside it changed."""
    framework, _, builtin = str(optimizer["dialect"]).partition(".")
    try:
        found = dialect(framework, builtin)
    except ValueError as error:
        raise ValueError(f"optimizer.dialect={optimizer['dialect']!r}: {error}") from error
    changed = {name: value for name, value in optimizer.items() if name != "dialect"}
    _choose(
        "optimizer.name", changed.get("name", found.optimizer), (found.optimizer,), f" for {optimizer['dialect']!r}"
    )
    return {"name": found.optimizer, **found.keywords, **changed}


def _hashable(setting: Any) -> Any:
    """Lists, as TOML and JSON have them, as tuples."""
    return tuple(map(_hashable, setting)) if isinstance(setting, list) else setting


def _resolve_model(model: Mapping[str, Any], loss: Any) -> dict[str, Any]:
    """``model`` with what it leaves out: the reference's activation for a model of its name, and the loss's output."""
    make = models.MODELS.get(str(model.get("name")))
    activation = str(keyword_defaults(make).get("activation", "identity")) if make else "identity"
    loss_name = loss.get("name") if isinstance(loss, Mapping) else None
    output = _OUTPUTS.get(str(loss_name), ("sigmoid",))[0]
    resolved = {"activation": activation, "output": output, **model}
    resolved["activation"] = _resolve("model.activation", _plain(resolved["activation"]), activations.ACTIVATIONS)
    if resolved.get("normalization") is not None:
        resolved["normalization"] = _resolve("model.normalization", _plain(resolved["normalization"]), _NORMALIZATIONS)
    return resolved


def keyword_defaults(function: Callable[..., Any], positional: tuple[str, ...] = ()) -> dict[str, Any]:
    """A component's keywords and their defaults, from the reference's own signature."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if (parameter.kind is parameter.KEYWORD_ONLY or name in positional) and name not in ("out", "dtype")
    }


def _needs_images(augmentation: Callable[..., Any]) -> bool:
    return "image_shape" in inspect.signature(augmentation).parameters


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


_TABLES: dict[str, Mapping[str, Callable[..., Any]]] = {
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


def _choose(field: str, value: str, allowed: Collection[str], context: str = "") -> str:
    if value not in allowed:
        raise ValueError(f"{field}={value!r} is not allowed{context}: must be one of {', '.join(map(repr, allowed))}")
    return value
