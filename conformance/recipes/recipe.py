"""The recipe: the whole, framework-free description of one training.

A recipe names components of the catalogue and their keywords. Names, keywords and defaults are those of
``reference_numpy`` and stand only there: a recipe is checked by building its parts. Keywords left out are filled in,
so that two recipes that mean the same training have the same content hash, which is a recipe's identity.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from conformance.data.datasets import DATASETS
from conformance.data.extents import EXTENTS, Extent
from conformance.data.wording import cut
from conformance.recipes.components import (
    BINARY,
    CATEGORICAL,
    LONGEST_REFUSAL,
    NETWORK,
    TABLES,
    Component,
    fill_in_model,
    needs_images,
    not_allowed,
    outputs_of,
    plain,
    refuse,
)
from conformance.recipes.layer_sizes import Placed, ShapeError, placed
from conformance.recipes.layers import all_layers, fill_in_initializer
from conformance.recipes.parts import (
    DatasetChoice,
    Epochs,
    Examples,
    ModelChoice,
    Schedule,
    Seed,
    Text,
    Transfer,
    each_once,
    not_too_many,
)
from conformance.recipes.resolving import resolve, speak
from reference_numpy import models, regularizers, schedules

Dtype = Literal["float64", "float32"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
Regularizer = Annotated[
    Component, BeforeValidator(lambda value: resolve("regularizers", plain(value), regularizers.REGULARIZERS))
]

_ANY_HEAD = (*BINARY, "mean_squared_error")
_LOSSES_BY_TASK = {
    "binary": _ANY_HEAD,
    "multiclass": (*CATEGORICAL, "mean_squared_error"),
    "regression": ("mean_squared_error",),
    "multilabel": BINARY,
}
_LOSSES_BY_MODEL = {
    "single_neuron": ("mean_squared_error",),
    "logistic_regression": BINARY,
    "multi_task_network": BINARY,
    "softmax_classifier": (*CATEGORICAL, "mean_squared_error"),
    NETWORK: (*BINARY, *CATEGORICAL, "mean_squared_error"),
}
_ONE_OUTPUT = ("single_neuron", "logistic_regression")  # models that have no other number of them
_ONE_OF = (("inverted_dropout",), tuple(regularizers.CLIPPINGS), tuple(regularizers.CONSTRAINTS), ("early_stopping",))

# How a training is asked of an implementation: in one call of its ``fit``; in two, the second of which goes on where
# the first ended; or in a second call with the same objects, after a first that is to leave no trace. In mathematics
# these are one and the same training.
Fit = Literal["once", "in_halves", "twice"]


class Recipe(BaseModel):
    """One training. See the module docstring; README.md shows the TOML form."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")]
    description: Text = ""
    dataset: DatasetChoice
    model: ModelChoice
    initializer: Component
    loss: Component
    reduction: Literal["mean", "sum"] = "mean"
    regularizers: Annotated[tuple[Regularizer, ...], BeforeValidator(not_too_many)] = ()
    example_weights: Literal["none", "drawn"] = "none"
    transfer: Transfer | None = None
    frozen_biases: StrictBool = False
    optimizer: Component
    schedule: Schedule
    batch_size: Examples | None = None
    epochs: Epochs = 1
    fit: Fit = "once"
    every_epoch: StrictBool = False  # whether accuracies and the validation cost are looked at after every epoch
    seed: Seed = 0
    dtypes: Annotated[tuple[Dtype, ...], Field(min_length=1), BeforeValidator(each_once)] = DTYPES

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """Write out what is left out, other than the keywords of components."""
        if not isinstance(values, Mapping):
            return values
        model = plain(values.get("model"))
        if isinstance(model, Mapping):
            if "layers" in model and "initializer" in values:
                model = {**model, "layers": fill_in_initializer(model["layers"], values["initializer"])}
            values = {**values, "model": fill_in_model(model, plain(values.get("loss")))}
        return {"initializer": "he_normal", "schedule": "constant", **values}

    @field_validator(*TABLES, mode="before")
    @classmethod
    def _resolved(cls, value: Any, info: ValidationInfo) -> Any:
        """A component checked against the reference, with all its keywords."""
        field = str(info.field_name)
        if isinstance(value, Mapping) and "dialect" in value:
            value = speak(value) if field == "optimizer" else value
        return resolve(field, plain(value), TABLES[field])

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Refuse what cannot be put together, by the rules and by building the parts in the reference."""
        refuse(_misfits(self))
        try:
            self._try_model()
            self.build_schedule(schedules)
        except (TypeError, OverflowError) as error:
            raise ValueError(
                f"a keyword's value is of the wrong type or size: {cut(str(error), LONGEST_REFUSAL)}"
            ) from error
        return self

    def _try_model(self) -> None:
        try:
            with np.errstate(all="ignore"):  # a trial's numbers are not looked at
                if not self.is_network:  # its layers have been tried, each alone
                    self.build_model(models, features=1, classes=2)
        except ValueError as error:
            field = "regularizers" if str(error).startswith("keep_probability") else "model.normalization"
            raise ValueError(f"{field}: {cut(str(error), LONGEST_REFUSAL)}") from error

    @property
    def hash(self) -> str:
        """Content hash, 12 hexadecimal digits: the recipe's identity. Name and description do not count."""
        exclude = {"name", "description", "dtypes"} | (set() if self.every_epoch else {"every_epoch"})
        exclude |= {"initializer"} if self.is_network else set()  # each layer has its own
        content = self.model_dump(mode="json", exclude=exclude)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def is_network(self) -> bool:
        """Whether the model is a network of layers."""
        return self.model.name == NETWORK

    @property
    def keep_probability(self) -> float | tuple[float, ...]:
        """Dropout's keep probability, 1 where the recipe has no dropout."""
        found = self.named("inverted_dropout")
        return found[0].keywords["keep_probability"] if found else 1.0

    @property
    def frozen_layers(self) -> int:
        """How many of the first layers are not trained."""
        return self.transfer.frozen_layers if self.transfer else 0

    @property
    def decides_classes(self) -> bool:
        """Whether the model predicts classes, and not numbers."""
        return self.loss.name != "mean_squared_error" or self.model.output == "softmax"

    @property
    def image_augmentations(self) -> bool:
        """Whether some augmentation needs inputs that are images."""
        return any(needs_images(regularizers.AUGMENTATIONS[c.name]) for c in self.named(*regularizers.AUGMENTATIONS))

    @property
    def components(self) -> frozenset[str]:
        """The names of all components that the recipe is made of."""
        parts = [self.loss, self.optimizer, self.schedule, *self.regularizers]
        if not self.is_network:
            parts += [self.initializer, self.model.activation]
        if self.model.normalization is not None:
            parts.append(self.model.normalization)
        of_layers = (layer.components for layer in all_layers(self.model.layers))
        return frozenset({self.model.name, self.model.output, *(part.name for part in parts)}.union(*of_layers))

    def build_model(self, package: Any, *, features: int, classes: int, targets: int = 1) -> Any:
        """This recipe's model from a ``models`` module: one of the four packages', or one that mirrors them.

        ``targets``: the numbers in the target of an example, where it is not of ``classes``.
        """
        if self.is_network:
            layers = [layer.build(package.LAYERS) for layer in self.model.layers]
            return package.network(layers, (features,), output=self.model.output)
        make: Callable[..., Any] = package.MODELS[self.model.name]
        if self.model.name == "single_neuron":
            return make(features, output=self.model.output, bias=self.model.bias)
        if self.model.name == "logistic_regression":
            return make(features, bias=self.model.bias)
        outputs = classes if self.model.name in ("softmax_classifier", "multi_task_network") else targets
        keywords: dict[str, Any] = {
            "activation": self.model.activation.name,
            "activation_options": self.model.activation.keywords,
            "keep_probability": self.keep_probability,
            "bias": self.model.bias,
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
        return tuple(package.PENALTIES[c.name](**c.keywords) for c in self.named(*regularizers.PENALTIES))

    def build_clipping(self, package: Any) -> Callable[[Any], Any] | None:
        """This recipe's clipping of gradients from a ``regularizers`` module, or None."""
        return self._build_one(package.CLIPPINGS)

    def build_constraint(self, package: Any) -> Callable[[Any], Any] | None:
        """This recipe's constraint on parameters from a ``regularizers`` module, or None."""
        return self._build_one(package.CONSTRAINTS)

    def build_augmentations(self, package: Any, image_shape: tuple[int, ...] | None) -> tuple[Any, ...]:
        """This recipe's augmentations from a ``regularizers`` module, for inputs that are images of ``image_shape``."""
        made = []
        for component in self.named(*regularizers.AUGMENTATIONS):
            make = package.AUGMENTATIONS[component.name]
            shape = (image_shape,) if needs_images(regularizers.AUGMENTATIONS[component.name]) else ()
            made.append(make(*shape, **component.keywords))
        return tuple(made)

    def build_early_stopping(self, package: Any) -> Any:
        """A fresh monitor of this recipe's early stopping from a ``regularizers`` module, or None."""
        found = self.named("early_stopping")
        return package.early_stopping(**found[0].keywords) if found else None

    def named(self, *names: str) -> list[Component]:
        """The regularizers of these names."""
        return [c for c in self.regularizers if c.name in names]

    def _build_one(self, table: Mapping[str, Callable[..., Callable[[Any], Any]]]) -> Callable[[Any], Any] | None:
        found = self.named(*table)
        return table[found[0].name](**found[0].keywords) if found else None


def _misfits(recipe: Recipe) -> Iterator[str]:
    """Which parts do not go together, each naming the field."""
    yield from _misfits_of_data(recipe)
    yield from _misfits_of_loss(recipe)
    for names in _ONE_OF:
        found = [c.name for c in recipe.regularizers if c.name in names]
        if len(found) > 1:
            yield f"regularizers names {', '.join(map(repr, found))}: at most one of them"
    if recipe.is_network:
        yield from _misfits_of_network(recipe)
    elif recipe.named("inverted_dropout") and not recipe.model.hidden_units:
        yield "regularizers names 'inverted_dropout': there is no hidden layer to drop units of"
    if recipe.optimizer.name == "lbfgs" and recipe.batch_size is not None:
        yield f"batch_size={recipe.batch_size!r} is not allowed for 'lbfgs': must be left out (full batch)"
    if recipe.fit == "in_halves" and recipe.named("early_stopping"):
        yield "fit='in_halves' is not allowed with 'early_stopping': must be one of 'once', 'twice'"
    if recipe.fit == "in_halves" and recipe.epochs < 2:
        yield f"fit='in_halves' is not allowed with epochs={recipe.epochs}: must be one of 'once', 'twice'"
    if recipe.every_epoch and "batch_norm" in recipe.components:
        yield "every_epoch=True is not allowed with 'batch_norm': no epoch's running averages are kept but the last's"
    if recipe.frozen_biases and not recipe.model.bias:
        yield "frozen_biases=True is not allowed with model.bias=False: must be False or left out"
    if recipe.frozen_layers > len(recipe.model.hidden_units) and not recipe.is_network:
        yield (
            f"transfer.frozen_layers={recipe.frozen_layers!r} is not allowed: must leave one of"
            f" {len(recipe.model.hidden_units) + 1} layers to train"
        )


def _misfits_of_data(recipe: Recipe) -> Iterator[str]:
    """What the data set rules out; files say only when they are read what they hold."""
    data, extent = DATASETS[recipe.dataset.name], EXTENTS.get(recipe.dataset.name)
    if extent is None:
        return
    context = f" for the {data.task} data set {data.name!r}"
    by_task = _LOSSES_BY_TASK[data.task]
    if data.task == "multiclass" and recipe.model.output != "softmax":
        by_task = CATEGORICAL  # a class is no number to be near to
    if recipe.loss.name not in by_task:
        yield not_allowed("loss.name", recipe.loss.name, by_task, context)
    if (recipe.model.name == "multi_task_network") != (data.task == "multilabel") and not recipe.is_network:
        yield f"model.name={recipe.model.name!r} is not allowed{context}"
    yield from misfits_of_extent(recipe, extent)


def _misfits_of_network(recipe: Recipe) -> Iterator[str]:
    """What other models have and a network says otherwise, or has not."""
    if recipe.named("inverted_dropout"):
        yield f"regularizers names 'inverted_dropout': must be a layer, 'dropout', in a {NETWORK!r}"
    if recipe.transfer is not None:
        yield f"transfer is not allowed for {NETWORK!r}: must be left out"
    if recipe.frozen_biases and not any(layer.has_bias for layer in all_layers(recipe.model.layers)):
        yield "frozen_biases=True is not allowed: no layer has biases"


def misfits_of_extent(recipe: Recipe, extent: Extent) -> Iterator[str]:
    """What does not fit data of an ``extent``: tokens, numbers of targets, and the shapes of a network's layers."""
    name, tokens = repr(recipe.dataset.name), extent.vocabulary is not None
    if tokens:
        if not recipe.is_network:
            yield f"model.name={recipe.model.name!r} is not allowed for the tokens of {name}: must be {NETWORK!r}"
        found = [component.name for component in recipe.named(*regularizers.AUGMENTATIONS)]
        if found:
            yield f"regularizers names {', '.join(map(repr, found))}: the inputs of {name} are tokens"
    if extent.targets > 1 and recipe.model.name in _ONE_OUTPUT:
        yield f"model.name={recipe.model.name!r} is not allowed for the {extent.targets} targets of {name}"
    if recipe.is_network:
        try:
            layers = list(placed(recipe.model.layers, (extent.features,), tokens=tokens))
        except ShapeError as error:
            yield f"model.layers: {error}"
        else:
            yield from _misfits_of_ends(recipe, extent, layers)
            yield from _misfits_of_batches(recipe, extent, layers)


def _misfits_of_ends(recipe: Recipe, extent: Extent, layers: list[Placed]) -> Iterator[str]:
    """What the first layers cannot take, or the loss of what the last gives."""
    name = repr(recipe.dataset.name)
    for layer in layers:
        if layer.layer.name == "embedding" and layer.layer.keywords["entries"] < (extent.vocabulary or 0):
            entries, least = layer.layer.keywords["entries"], extent.vocabulary
            place = f"model.layers: layer {layer.path} (embedding)"
            yield f"{place} has entries={entries}; must be {least} or more for {name}"
    categorical, several = recipe.model.output == "softmax", extent.targets > 1
    outputs = extent.classes if categorical else extent.targets
    gives = recipe.model.output_shape((extent.features,))
    if gives != (outputs,):
        each = "labels" if recipe.loss.name in BINARY else "targets"
        what = (
            "one for each of the classes" if categorical else f"one for each of the {each}" if several else "one number"
        )
        yield f"model.layers: the last layer gives {gives}; must give {(outputs,)}, {what} of {name}"
    if several and recipe.loss.name in BINARY and recipe.loss.keywords.get("class_weights") is not None:
        yield "loss.class_weights is not allowed for several outputs: must be left out"


def _misfits_of_batches(recipe: Recipe, extent: Extent, layers: list[Placed]) -> Iterator[str]:
    """Of one number, as one example has it of each feature, there is no unbiased variance."""
    examples = recipe.dataset.examples or extent.examples
    size = min(recipe.batch_size or examples, examples)
    for place in layers:
        unbiased = place.layer.keywords.get("running_variance") == "unbiased"
        if unbiased and len(place.takes) == 1 and 1 in (size, examples % size):
            yield (
                f"batch_size={recipe.batch_size!r} is not allowed for {examples} examples with layer {place.path}"
                " (batch_norm): a batch of one has no unbiased variance"
            )


def _misfits_of_loss(recipe: Recipe) -> Iterator[str]:
    loss, model = recipe.loss, recipe.model
    by_model = _LOSSES_BY_MODEL.get(model.name, _ANY_HEAD)
    if loss.name not in by_model:
        yield not_allowed("loss.name", loss.name, by_model, f" for {model.name!r}")
    outputs = outputs_of(model.name, loss.name)
    if model.output not in outputs:
        yield not_allowed("model.output", model.output, outputs, f" for {loss.name!r}")
    if model.name == "multi_task_network" and loss.keywords.get("class_weights") is not None:
        yield "loss.class_weights is not allowed for several outputs: must be left out"
