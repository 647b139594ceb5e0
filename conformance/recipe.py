"""The recipe: the whole, framework-free description of one training.

A recipe names components of the catalogue and their keywords. Names, keywords and defaults are those of
``reference_numpy`` and stand only there: a recipe is checked by building its parts. Keywords left out are filled in,
so that two recipes that mean the same training have the same content hash, which is a recipe's identity.
"""

import hashlib
import inspect
import json
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from conformance.data import DATASETS
from reference_numpy import activations, initializers, losses, models, optimizers, regularizers, schedules

Dtype = Literal["float64", "float32"]
PositiveInt = Annotated[int, Field(ge=1)]


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
    """Which model. The sizes of its input and output come from the data set and the loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    hidden_units: tuple[PositiveInt, ...] = ()
    activation: Component

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return _choose("name", name, models.MODELS)

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        allowed = {"logistic_regression": (0, 0), "shallow_network": (1, 1)}.get(self.name, (0, 99))
        if not allowed[0] <= len(self.hidden_units) <= allowed[1]:
            raise ValueError(
                f"hidden_units={list(self.hidden_units)!r} is not allowed: {self.name} has {allowed[0]} hidden layers"
            )
        if self.name == "logistic_regression" and self.activation.name != "identity":
            raise ValueError(f"activation={self.activation.name!r}: logistic_regression has no hidden layer to use it")
        return self


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
    initializer: Component = Component(name="he_normal")
    loss: Component
    regularizers: tuple[Component, ...] = ()
    optimizer: Component
    schedule: Schedule = Schedule(name="constant")
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
        values = dict(values)
        for field, table in _TABLES.items():
            if field in values:
                values[field] = _resolve(field, _plain(values[field]), table)
        if isinstance(values.get("regularizers"), (list, tuple)):
            values["regularizers"] = [
                _resolve(f"regularizers.{i}", _plain(item), regularizers.REGULARIZERS)
                for i, item in enumerate(values["regularizers"])
            ]
        if isinstance(_plain(values.get("model")), Mapping):
            model = {"activation": _default_activation(_plain(values["model"])), **_plain(values["model"])}
            activation = _resolve("model.activation", _plain(model["activation"]), activations.ACTIVATIONS)
            values["model"] = model | {"activation": activation}
        return values

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Refuse what cannot be put together, by the rules here and by building the parts in the reference."""
        data = DATASETS[self.dataset.name]
        if data.kind != "files":  # files say only when they are read how many classes they hold
            context = f" for the {data.task} data set {data.name!r}"
            _choose("loss.name", self.loss.name, _LOSSES_BY_TASK[data.task], context)
        if (self.model.name == "softmax_classifier") != (self.loss.name == "categorical_cross_entropy"):
            raise ValueError(f"loss.name={self.loss.name!r} is not allowed for model {self.model.name!r}")
        if self.model.name == "logistic_regression" and self.loss.name != "binary_cross_entropy":
            raise ValueError(f"loss.name={self.loss.name!r} is not allowed for model 'logistic_regression'")
        dropouts = [c for c in self.regularizers if c.name == "inverted_dropout"]
        if len(dropouts) > 1 or (dropouts and not self.model.hidden_units):
            raise ValueError(
                f"regularizers names 'inverted_dropout' {len(dropouts)} times: at most once, with hidden layers"
            )
        self.build_model(models, features=1, classes=2)
        self.build_schedule(schedules)
        self.build_penalties(regularizers)
        return self

    @property
    def hash(self) -> str:
        """Content hash, 12 hexadecimal digits: the recipe's identity. Name and description do not count."""
        content = self.model_dump(mode="json", exclude={"name", "description", "dtypes"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def keep_probability(self) -> float | list[float]:
        """Dropout's keep probability, 1 where the recipe has no dropout."""
        found = [c.keywords["keep_probability"] for c in self.regularizers if c.name == "inverted_dropout"]
        return found[0] if found else 1.0

    @property
    def penalties(self) -> list[Component]:
        """The regularizers that are terms of the cost."""
        return [c for c in self.regularizers if c.name != "inverted_dropout"]

    def build_model(self, package: Any, *, features: int, classes: int) -> Any:
        """This recipe's model from a ``models`` module: one of the four packages', or one that mirrors them."""
        make: Callable[..., Any] = package.MODELS[self.model.name]
        if self.model.name == "logistic_regression":
            return make(features)
        outputs = classes if self.loss.name == "categorical_cross_entropy" else 1
        keywords: dict[str, Any] = {
            "activation": self.model.activation.name,
            "activation_options": self.model.activation.keywords,
            "keep_probability": self.keep_probability,
        }
        if self.model.name != "softmax_classifier":
            keywords["output"] = "identity" if self.loss.name == "mean_squared_error" else "sigmoid"
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
        return tuple(package.REGULARIZERS[c.name](**c.keywords) for c in self.penalties)


_LOSSES_BY_TASK = {
    "binary": ("binary_cross_entropy", "mean_squared_error"),
    "multiclass": ("categorical_cross_entropy",),
}


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
    defaults = keyword_defaults(table[name], _POSITIONAL.get(kind, ()))
    for keyword in given:
        _choose(f"{field} keyword", keyword, defaults, f" for {name!r}")
    keywords = defaults | given
    for keyword, setting in keywords.items():
        if setting is inspect.Parameter.empty:
            raise ValueError(f"{field}.{keyword} is missing: {name!r} needs it")
    try:
        if kind in _TRIALS:
            _TRIALS[kind](table[name], keywords)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{field}: {error}") from error
    return {"name": name, **extra, **keywords}


def _default_activation(model: Mapping[str, Any]) -> str:
    """The reference's, for a model of this name; logistic regression has no hidden layer to use one."""
    make = models.MODELS.get(str(model.get("name")))
    return str(keyword_defaults(make).get("activation", "identity")) if make else "identity"


def keyword_defaults(function: Callable[..., Any], positional: tuple[str, ...] = ()) -> dict[str, Any]:
    """A component's keywords and their defaults, from the reference's own signature."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if (parameter.kind is parameter.KEYWORD_ONLY or name in positional) and name not in ("out", "dtype")
    }


def _try_loss(loss: Callable[..., Any], keywords: dict[str, Any]) -> None:
    labels = "labels" in inspect.signature(loss).parameters
    loss(np.zeros((1, 1)), np.zeros(1, np.int64) if labels else np.zeros((1, 1)), **keywords)


_TABLES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "initializer": initializers.INITIALIZERS,
    "loss": losses.LOSSES,
    "optimizer": optimizers.OPTIMIZERS,
    "schedule": schedules.SCHEDULES,
}

# Arguments that are keywords of a recipe although the reference takes them by position.
_POSITIONAL = {"optimizer": ("learning_rate",), "regularizers": ("strength",)}

# The reference is the judge of keywords: each is tried on the smallest arguments it takes. (Regularizers are tried
# when the recipe's model and penalties are built.)
_TRIALS: dict[str, Callable[[Callable[..., Any], dict[str, Any]], Any]] = {
    "initializer": lambda make, keywords: make(np.random.default_rng(0), (1, 1), **keywords),
    "loss": _try_loss,
    "optimizer": lambda make, keywords: make(**keywords),
    "schedule": lambda make, keywords: make(1.0, **keywords),
    "model": lambda activation, keywords: activation(np.zeros((1, 1)), **keywords),
}


def _choose(field: str, value: str, allowed: Collection[str], context: str = "") -> str:
    if value not in allowed:
        raise ValueError(f"{field}={value!r} is not allowed{context}: must be one of {', '.join(map(repr, allowed))}")
    return value
