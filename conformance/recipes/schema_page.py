"""The fields of a recipe as a page, ``docs/reference/recipe_schema.md``: ``python -m conformance.recipes.schema_page``.

Types, bounds and defaults are those that pydantic holds a recipe to.
"""

import inspect
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from conformance.recipes.catalogue import first_line
from conformance.recipes.components import Component
from conformance.recipes.layers import LayerChoice, defaults_of
from conformance.recipes.parts import DatasetChoice, ModelChoice, Schedule, Transfer
from conformance.recipes.recipe import Recipe
from reference_numpy import layers

MODELS: dict[str, type[BaseModel]] = {
    "Recipe": Recipe,
    "DatasetChoice": DatasetChoice,
    "ModelChoice": ModelChoice,
    "Component": Component,
    "Schedule": Schedule,
    "Transfer": Transfer,
    "LayerChoice": LayerChoice,
}

TITLES = {
    "Recipe": "The recipe",
    "DatasetChoice": "`dataset`",
    "ModelChoice": "`model`",
    "Component": "Components",
    "Schedule": "`schedule`",
    "Transfer": "`transfer`",
    "LayerChoice": "Layers",
}

# What a recipe may leave out although it always has it, and what is then put in.
FILLED_IN = {
    "Recipe.initializer": '`"he_normal"`',
    "Recipe.schedule": '`"constant"`',
    "ModelChoice.activation": "that of the model",
    "ModelChoice.output": "that of the loss",
}

MEANINGS = {
    "Recipe.name": "what records and reports call it",
    "Recipe.description": "a sentence for readers",
    "Recipe.dataset": "which data",
    "Recipe.model": "which network",
    "Recipe.initializer": "how weights are drawn before the first step; of a `network`, where layers name none",
    "Recipe.loss": "what is minimised, without penalties",
    "Recipe.reduction": "whether the losses of a batch's examples are averaged or added up",
    "Recipe.regularizers": "penalties, dropout, clipping, constraints, early stopping, augmentations",
    "Recipe.example_weights": "whether each example has a weight in the cost, drawn between 0.5 and 1.5",
    "Recipe.transfer": "layers that come trained and stay as they are",
    "Recipe.frozen_biases": "whether biases keep their initial values",
    "Recipe.optimizer": 'the optimizer in one formulation, or `{ dialect = "keras.Adam" }`, a framework\'s own',
    "Recipe.schedule": "the learning rate over time",
    "Recipe.batch_size": "examples of a step; left out: all of them",
    "Recipe.epochs": "passes over the data",
    "Recipe.fit": "how the training is asked for: in one call, in two, or a second time with the same objects",
    "Recipe.every_epoch": "whether accuracies and the validation cost are looked at after every epoch",
    "Recipe.seed": "of all that is drawn but the data",
    "Recipe.dtypes": "the precisions in which it is run, unless a run is asked for others",
    "DatasetChoice.name": "`conformance list datasets`",
    "DatasetChoice.path": "of data in files",
    "DatasetChoice.seed": "of data that are drawn",
    "DatasetChoice.scaling": "of the inputs: to mean 0 and variance 1, to [0, 1], or as they are",
    "DatasetChoice.examples": "how many to train on; left out: all, or the data set's own number",
    "DatasetChoice.test_examples": "how many to test on",
    "ModelChoice.name": '`conformance list models`, or `"network"`',
    "ModelChoice.hidden_units": "of each hidden layer",
    "ModelChoice.activation": "of the hidden layers: `conformance list activations`",
    "ModelChoice.normalization": "of the hidden layers: `conformance list normalizations`",
    "ModelChoice.bias": "whether layers have biases",
    "ModelChoice.output": "of the last layer",
    "ModelChoice.layers": "of a `network`, one after the other; the fields above but `output` are not for it",
    "Component.name": "`conformance list initializers`, `losses`, `optimizers`, `regularizers`, ...",
    "Schedule.name": "`conformance list schedules`",
    "Schedule.unit": "whether it counts epochs or steps, from 0",
    "Transfer.frozen_layers": "how many, from the first",
    "Transfer.pretraining_epochs": "of the training before",
    "Transfer.pretraining_rate": "its learning rate",
    "LayerChoice.name": "the layer's",
    "LayerChoice.layers": "of a `sequence`, `residual` or `bidirectional`",
    "LayerChoice.branches": "of a `parallel`",
}

INTRODUCTION = """\
# Fields of a recipe

[Write a recipe](../recipes.md) shows how they are used; this page says what each may hold. Made from the schema to
which a recipe is held, by

```
python -m conformance.recipes.schema_page > docs/reference/recipe_schema.md
```
"""

COMPONENTS = """\
A component is its name alone, `"adam"`, or a table of its name and keywords, `{ name = "adam", beta1 = 0.8 }`. The
keywords with their defaults, and what they mean, are in [the catalogue](../catalogue.md).
"""

LAYERS = """\
A layer is its name alone, `"flatten"`, or a table of its name and keywords, `{ name = "dense", units = 10 }`. The
keywords are those of the makers in `reference_numpy`: what must be given stands first, the others with their defaults.
With `dialect` in place of the name it is a framework's own, `{ dialect = "keras.GRU", units = 5 }`
([which there are](../catalogue.md#layers)).

"""


def page() -> str:
    """The whole page."""
    sections = [INTRODUCTION]
    for name, model in MODELS.items():
        sections += [
            f"## {TITLES[name]}\n",
            *([COMPONENTS] if model is Component else []),
            *([LAYERS + "\n".join(_layers()) + "\n"] if model is LayerChoice else []),
            "\n".join(_table(model)) + "\n",
        ]
    return "\n".join(sections)


def _table(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema(ref_template="{model}")
    schema = schema["$defs"][schema["$ref"]] if "$ref" in schema else schema  # one that refers to itself
    yield "| field | value | default | |"
    yield "| --- | --- | --- | --- |"
    for field, value in schema["properties"].items():
        place = f"{model.__name__}.{field}"
        yield f"| `{field}` | {_value(value)} | {_default(place, value)} | {MEANINGS[place]} |"


def _layers() -> Iterator[str]:
    """A row for each layer: its keywords."""
    yield "| layer | keywords | |"
    yield "| --- | --- | --- |"
    for name, make in layers.LAYERS.items():
        keywords = [
            f"`{keyword}`" if default is inspect.Parameter.empty else f"`{keyword} = {_written(default)}`"
            for keyword, default in defaults_of(name).items()
        ]
        yield f"| `{name}` | {', '.join(keywords)} | {first_line(make).rstrip('.:').replace('``', '`')} |"


def _written(default: Any) -> str:
    return "none" if default is None else json.dumps(default)


def _default(place: str, value: dict[str, Any]) -> str:
    if place in FILLED_IN:
        return FILLED_IN[place]
    if "default" not in value:
        return "must be given"
    return "left out" if value["default"] is None else f"`{json.dumps(value['default'])}`"


def _value(value: dict[str, Any]) -> str:
    """What a field may hold, in words."""
    if "$ref" in value:
        title = TITLES[value["$ref"]].strip("`").lower()
        return f"[{title.removesuffix('s')}](#{title})"
    if "anyOf" in value:
        return " or ".join(_value(kind) for kind in value["anyOf"] if kind.get("type") != "null")
    if "enum" in value:
        return " or ".join(f'`"{choice}"`' for choice in value["enum"])
    if value["type"] == "array":
        return f"list of {_value(value['items'])}"
    return _KINDS[value["type"]] + _bounds(value)


_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "truth value"}


_LIMITS = {
    "minimum": "at least {:,}",
    "exclusiveMinimum": "above {:,}",
    "maximum": "at most {:,}",
    "exclusiveMaximum": "below {:,}",
    "pattern": "matching `{}`",
}


def _bounds(value: dict[str, Any]) -> str:
    return "".join(f", {words.format(value[limit])}" for limit, words in _LIMITS.items() if limit in value)


if __name__ == "__main__":
    print(page(), end="")
