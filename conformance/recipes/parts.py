"""The parts of a recipe that have fields of their own: its data, its model, its transfer and its schedule."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
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
from conformance.recipes.bounds import MOST_EPOCHS, MOST_EXAMPLES, MOST_UNITS
from conformance.recipes.components import NETWORK, NORMALIZATIONS, Component, choose, plain, refuse, resolve
from conformance.recipes.layers import LayerChoice, resolve_layers
from reference_numpy import activations, models
from reference_numpy.layers import LAYERS

# Strict: a truth value, a text or 1.0 is no number of epochs.
Epochs = Annotated[int, Field(strict=True, ge=1, le=MOST_EPOCHS)]
Examples = Annotated[int, Field(strict=True, ge=1, le=MOST_EXAMPLES)]
Layers = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**64)]
Units = Annotated[int, Field(strict=True, ge=1, le=MOST_UNITS)]


class DatasetChoice(BaseModel):
    """Which data, how many examples of it, and how its inputs are scaled."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    path: str | None = None
    seed: Seed = 0
    scaling: Literal["standardize", "unit", "none"] = "standardize"
    examples: Examples | None = None
    test_examples: Examples | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return choose("name", name, DATASETS)

    @model_validator(mode="before")
    @classmethod
    def _unscaled(cls, values: Any) -> Any:
        """Tokens are not scaled."""
        name = values.get("name") if isinstance(values, Mapping) else None
        if isinstance(name, str) and name in EXTENTS and EXTENTS[name].vocabulary is not None:
            if values.get("scaling", "none") != "none":
                scaling = shown(values["scaling"])
                raise ValueError(f"dataset.scaling={scaling} is not allowed for the tokens of {name!r}: must be 'none'")
            return {**values, "scaling": "none"}
        return values


class ModelChoice(BaseModel):
    """Which model. The sizes of its input and output come from the data set, its output from the loss if not said."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    hidden_units: tuple[Units, ...] = ()
    activation: Component
    normalization: Component | None = None
    bias: StrictBool = True
    output: Literal["sigmoid", "softmax", "identity", "relu"]
    layers: tuple[LayerChoice, ...] = ()

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return choose("name", name, (*models.MODELS, NETWORK))

    @field_validator("activation", "normalization", mode="before")
    @classmethod
    def _resolved(cls, value: Any, info: ValidationInfo) -> Any:
        table = activations.ACTIVATIONS if info.field_name == "activation" else NORMALIZATIONS
        return resolve(f"model.{info.field_name}", plain(value), table)

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_resolved(cls, value: Any) -> Any:
        return resolve_layers("model.layers", value)

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without layers where there are none, as before there were any: a recipe's hash is of what is written."""
        values: dict[str, Any] = written(self)
        return values if self.layers else {name: value for name, value in values.items() if name != "layers"}

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        if self.name == NETWORK:
            refuse(self._surplus_of_a_network())
            return self
        if self.layers:
            raise ValueError(f"model.layers is not allowed for {self.name!r}: must be left out")
        single = ("single_neuron", "logistic_regression")
        allowed = dict.fromkeys(single, (0, 0)) | {"shallow_network": (1, 1), "multi_task_network": (1, 99)}
        fewest, most = allowed.get(self.name, (0, 99))
        if not fewest <= len(self.hidden_units) <= most:
            number = f"{fewest} to {most}" if most > fewest else str(fewest)
            raise ValueError(
                f"hidden_units={shown(list(self.hidden_units))} is not allowed: {self.name} has {number} hidden layers"
            )
        if self.name in single and self.activation.name != "identity":
            raise ValueError(f"activation={self.activation.name!r}: {self.name} has no hidden layer to use it")
        if self.normalization is not None and not self.hidden_units:
            raise ValueError(f"normalization={self.normalization.name!r}: there is no hidden layer to normalise")
        return self

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What a network's layers give for an example of ``shape``."""
        for layer in self.layers:
            shape = tuple(layer.build(LAYERS).output_shape(shape))
        return shape

    def _surplus_of_a_network(self) -> Iterator[str]:
        """What a network's layers say, and not fields of the model."""
        if not self.layers:
            yield f"model.layers is missing: {NETWORK!r} needs it"
        context = f"is not allowed for {NETWORK!r}: must be left out"
        if self.hidden_units:
            yield f"hidden_units={shown(list(self.hidden_units))} {context}; 'dense' layers have units"
        if self.activation.name != "identity":
            yield f"activation={self.activation.name!r} {context}; 'activation' is a layer"
        if self.normalization is not None:
            yield f"normalization={self.normalization.name!r} {context}; {self.normalization.name!r} is a layer"
        if not self.bias:
            yield f"bias=False {context}; it is a keyword of layers"


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

    unit: Literal["epoch", "step"] = "epoch"
