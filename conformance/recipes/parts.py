"""The parts of a recipe that have fields of their own: its data, its model, its transfer and its schedule."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from conformance.data.datasets import DATASETS
from conformance.data.extents import EXTENTS
from conformance.data.wording import shown
from conformance.recipes.bounds import MOST_EPOCHS, MOST_EXAMPLES, MOST_REGULARIZERS, MOST_UNITS
from conformance.recipes.components import NETWORK, NORMALIZATIONS, Component, Unit, choose, plain, refuse
from conformance.recipes.layers import LayerChoice, resolve_layers
from conformance.recipes.resolving import resolve
from reference_numpy import activations, models
from reference_numpy.layers import LAYERS

# Strict: a truth value, a text or 1.0 is no number of epochs.
Epochs = Annotated[int, Field(strict=True, ge=1, le=MOST_EPOCHS)]
Examples = Annotated[int, Field(strict=True, ge=1, le=MOST_EXAMPLES)]
Layers = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**64)]
Units = Annotated[int, Field(strict=True, ge=1, le=MOST_UNITS)]


def is_text(value: str) -> bool:
    """Whether a file and a terminal can hold it: without half a character, which JSON can write."""
    return not any("\ud800" <= char <= "\udfff" for char in value)


def _require_text(value: str, info: ValidationInfo) -> str:
    refuse([f"{info.field_name}={shown(value)} is not allowed: must be Unicode text"] * (not is_text(value)))
    return value


Text = Annotated[str, AfterValidator(_require_text)]


def each_once(names: Any, info: ValidationInfo) -> Any:
    """A list of names, none of which stands there twice. Raises ValueError, naming it."""
    words = [name for name in names if isinstance(name, str)] if isinstance(names, (list, tuple)) else []
    twice = [name for name, count in Counter(words).items() if count > 1]
    refuse(f"{info.field_name}={shown(names)} is not allowed: must name {shown(name)} once" for name in twice[:1])
    return names


def not_too_many(found: Any, info: ValidationInfo) -> Any:
    """A list of regularizers that is not long; told before each is tried."""
    if isinstance(found, (list, tuple)) and len(found) > MOST_REGULARIZERS:
        raise ValueError(f"{info.field_name}={shown(found)} is not allowed: must be at most {MOST_REGULARIZERS}")
    return found


# Data in files that have no place of their own, as the course's have.
NEEDING_A_PATH = ("npz", "image_folder")


def _is_tokens(name: str) -> bool:
    return name in EXTENTS and EXTENTS[name].vocabulary is not None


class DatasetChoice(BaseModel):
    """Which data, how many examples of it, and how its inputs are scaled."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    path: Annotated[str | None, Field(validate_default=True)] = None
    seed: Seed = 0
    scaling: Literal["standardize", "unit", "none"] = "standardize"
    examples: Examples | None = None
    test_examples: Examples | None = None

    @model_validator(mode="before")
    @classmethod
    def _unscaled(cls, values: Any) -> Any:
        """Tokens are not scaled."""
        name = values.get("name") if isinstance(values, Mapping) else None
        return {"scaling": "none", **values} if isinstance(name, str) and _is_tokens(name) else values

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return choose("name", name, DATASETS)

    @field_validator("path")
    @classmethod
    def _path_fits(cls, path: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if path is None:
            refuse(f"dataset.path is missing: {each!r} needs it" for each in NEEDING_A_PATH if each == name)
            return None
        what = f"dataset.path={shown(path)} is not allowed"
        if name is not None and DATASETS[name].kind != "files":
            raise ValueError(f"{what} for {name!r}: it is {DATASETS[name].kind}")
        if not path or "\0" in path or not is_text(path):
            raise ValueError(f"{what}: must be the path of a file or folder, in Unicode and without NUL")
        return path

    @field_validator("scaling")
    @classmethod
    def _scaling_fits(cls, scaling: str, info: ValidationInfo) -> str:
        name = info.data.get("name", "")
        if _is_tokens(name) and scaling != "none":
            what = f"dataset.scaling={shown(scaling)} is not allowed"
            raise ValueError(f"{what} for the tokens of {name!r}: must be 'none'")
        return scaling

    @field_validator("examples", "test_examples")
    @classmethod
    def _there_are_as_many(cls, wanted: int | None, info: ValidationInfo) -> int | None:
        name = info.data.get("name", "")
        extent = EXTENTS.get(name)
        if wanted is None or extent is None or extent.drawn_as_asked:
            return wanted
        most = extent.examples if info.field_name == "examples" else extent.test_examples
        if wanted > most:
            raise ValueError(f"dataset.{info.field_name}={wanted} is not allowed: {name!r} has {most}")
        return wanted


class ModelChoice(BaseModel):
    """Which model. The sizes of its input and output come from the data set, its output from the loss if not said."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    hidden_units: Annotated[tuple[Units, ...], Field(validate_default=True)] = ()
    activation: Component
    normalization: Component | None = None
    bias: StrictBool = True
    output: Literal["sigmoid", "softmax", "identity", "relu"]
    layers: Annotated[tuple[LayerChoice, ...], Field(validate_default=True)] = ()

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return choose("name", name, (*models.MODELS, NETWORK))

    @field_validator("hidden_units", "activation", "normalization", "bias", mode="before")
    @classmethod
    def _resolved(cls, value: Any, info: ValidationInfo) -> Any:
        tables = {"activation": activations.ACTIVATIONS, "normalization": NORMALIZATIONS}
        field = str(info.field_name)
        value = plain(value) if field in tables else value
        if info.data.get("name") == NETWORK:
            refuse(_surplus_of_a_network(field, value))
        return resolve(f"model.{field}", value, tables[field]) if field in tables else value

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_resolved(cls, value: Any, info: ValidationInfo) -> Any:
        name, none = info.data.get("name"), value == ()
        if none and name == NETWORK:
            raise ValueError(f"model.layers is missing: {NETWORK!r} needs it")
        if value and name is not None and name != NETWORK:
            raise ValueError(f"model.layers is not allowed for {name!r}: must be left out")
        return value if none or name not in (None, NETWORK) else resolve_layers("model.layers", value)

    @field_validator("hidden_units")
    @classmethod
    def _as_many_as_the_model_has(cls, hidden_units: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        name = info.data.get("name", NETWORK)
        allowed = dict.fromkeys(_SINGLE, (0, 0)) | {"shallow_network": (1, 1), "multi_task_network": (1, 99)}
        fewest, most = allowed.get(name, (0, 99))
        if not fewest <= len(hidden_units) <= most:
            number = f"{fewest} to {most}" if most > fewest else str(fewest)
            what = f"hidden_units={shown(list(hidden_units))} is not allowed"
            raise ValueError(f"{what}: {name} has {number} hidden layers")
        return hidden_units

    @field_validator("activation", "normalization")
    @classmethod
    def _of_hidden_layers(cls, component: Component | None, info: ValidationInfo) -> Component | None:
        name, hidden_units = info.data.get("name", NETWORK), info.data.get("hidden_units")
        what = f"{info.field_name}={component.name!r}" if component is not None else ""
        if name == NETWORK or component is None:
            return component
        if info.field_name == "activation" and name in _SINGLE and component.name != "identity":
            raise ValueError(f"{what}: {name} has no hidden layer to use it")
        if info.field_name == "normalization" and hidden_units == ():
            raise ValueError(f"{what}: there is no hidden layer to normalise")
        return component

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without layers where there are none, as before there were any: a recipe's hash is of what is written."""
        values: dict[str, Any] = written(self)
        return values if self.layers else {name: value for name, value in values.items() if name != "layers"}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What a network's layers give for an example of ``shape``."""
        for layer in self.layers:
            shape = tuple(layer.build(LAYERS).output_shape(shape))
        return shape


_SINGLE = ("single_neuron", "logistic_regression")  # models without hidden layers


def _surplus_of_a_network(field: str, value: Any) -> Iterator[str]:
    """What a network's layers say, and not fields of the model; a written recipe has them as they are if left out."""
    name = value.get("name") if isinstance(value, Mapping) else None
    left_out: dict[str, tuple[Any, str]] = {
        "hidden_units": ([], "'dense' layers have units"),
        "activation": ({"name": "identity"}, "'activation' is a layer"),
        "normalization": (None, f"{name!r} is a layer" if name else "it is a layer"),
        "bias": (True, "it is a keyword of layers"),
    }
    nothing, instead = left_out[field]
    if (list(value) if isinstance(value, tuple) else value) != nothing:
        found = shown(value if name is None else name)
        yield f"{field}={found} is not allowed for {NETWORK!r}: must be left out; {instead}"


class Transfer(BaseModel):
    """Layers that come trained from another task and stay as they are; the last layer starts anew.

    Before the recipe's own training its model is trained by gradient descent, in the reference, on a yes-or-no question
    about the same data, with a head of its own that is then thrown away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    frozen_layers: Layers = 1
    pretraining_epochs: Epochs = 20
    pretraining_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1

    @field_validator("pretraining_rate", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"pretraining_rate={value!r} is not allowed: must be no truth value")
        return value


class Schedule(Component):
    """A learning-rate schedule and whether it counts epochs or steps."""

    unit: Unit = "epoch"
