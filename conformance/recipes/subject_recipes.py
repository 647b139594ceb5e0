"""What the recipe of a built-in changes of a plain training, so that its component stands in it and is seen."""

from collections.abc import Mapping
from typing import Any

from conformance.recipes.catalogue_page import Builtin
from reference_numpy import regularizers

HIDDEN = 4

_TINY = {"examples": 24, "test_examples": 12}
_ATTRIBUTES = {"name": "attributes", "scaling": "none", **_TINY}
_DIGITS = {"name": "digits", "scaling": "unit", "examples": 30, "test_examples": 12}

# Kinds and components that no training of a recipe shows, as far as a wrapper can be given them.
_NOT_SHOWN = ("models", "early_stopping", "random_flip", "gaussian_noise")
# Calls that are alike in the catalogue, but cannot be given to a wrapper as such a part.
_NOT_GIVEN = (
    "torch.optim.SGD(weight_decay=0.3)", "optax.add_decayed_weights(0.3)", "tf.clip_by_value", "tf.clip_by_norm",
    "tf.clip_by_global_norm", "tf.nn.dropout", "torch.nn.functional.dropout",
    "torch.nn.functional.cross_entropy(weight", "torch.nn.functional.nll_loss(weight", "jax.nn.standardize",
    "torch.nn.functional.binary_cross_entropy_with_logits(pos_weight=[",
    "torch.nn.functional.binary_cross_entropy_with_logits(weight",
)  # fmt: skip


def is_trained(row: Builtin) -> bool:
    """Whether a built-in can be a part of a training: a second function of a component, for one, is not."""
    shown = row.kind not in _NOT_SHOWN and row.component not in _NOT_SHOWN and not row.function
    return shown and not row.call.startswith(_NOT_GIVEN)


def changes(row: Builtin, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the recipe of a row's built-in that differ from the plain training's."""
    component = {"name": row.component, **keywords}
    if row.kind == "losses":
        return _data_of(row) | {"loss": component}
    if row.kind == "activations":
        return _hidden({"activation": component})
    if row.kind == "normalizations":
        return _hidden({"activation": "tanh", "normalization": component})
    if row.kind == "schedules":  # long enough for all that they do
        return {"schedule": {**component, "unit": "step"}, "epochs": 10}
    if row.kind == "regularizers":
        limited = row.component in (*regularizers.CLIPPINGS, *regularizers.CONSTRAINTS)
        return {"regularizers": [component], **({"optimizer": _FAST} if limited else {})}
    return {"initializer": component}


_FAST = {"name": "gradient_descent", "learning_rate": 0.5}


def _hidden(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": {"name": "deep_network", "hidden_units": [HIDDEN], **fields}}


def _data_of(row: Builtin) -> dict[str, Any]:
    """Data and a model for a loss: several outputs where there may be, so that what is made of them is seen."""
    network = {"hidden_units": [HIDDEN], "activation": "tanh"}
    if row.component.startswith("binary"):
        one = "class_weights" in row.keywords
        return {} if one else {"dataset": _ATTRIBUTES, "model": {"name": "multi_task_network", **network}}
    return {"dataset": _DIGITS, "model": {"name": "softmax_classifier", **network}}
