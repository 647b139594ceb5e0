"""What is asked: one training, on a device and in a precision, and the implementations that are to be set side by side.

>>> asked = ask(model="deep_network", optimizer="keras.Adam")
>>> asked.recipe.optimizer.keywords["epsilon_position"], asked.dtype, asked.implementations
('before_correction', 'float32', ('numpy', 'torch', 'tf', 'jax'))
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from conformance.adapters.registry import OWN
from conformance.recipes.choosing import find
from conformance.recipes.components import NETWORK, choose, choose_all
from conformance.recipes.dialects import dialect, optimizer_names
from conformance.recipes.recipe import DTYPES, Recipe
from conformance.runs.plan import DEVICES
from reference_numpy.models import MODELS
from reference_numpy.optimizers import OPTIMIZERS

MODEL, OPTIMIZER = "deep_network", "adam"  # where nobody names any
DTYPE = "float32"  # that PyTorch, TensorFlow and JAX compute in unless they are told otherwise
BATCH_SIZE, EPOCHS = 32, 8
FULL_BATCH = ("lbfgs",)  # optimizers that take no batches
RATE = 0.01  # for a built-in that has no default

_BINARY, _CATEGORICAL = "binary_cross_entropy", "categorical_cross_entropy"
_MOONS = {"name": "moons", "examples": 256, "test_examples": 64}
_DIGITS = {"name": "digits", "examples": 256, "test_examples": 64}
_HIDDEN = [32, 16]
_IMAGE_NETWORK = [
    {"name": "reshape", "shape": [8, 8, 1]},
    {"name": "convolution", "channels": 8, "kernel": [3, 3], "padding": "same"},
    {"name": "activation", "function": "relu"},
    {"name": "max_pool", "window": [2, 2]},
    "flatten",
    {"name": "dense", "units": 10},
]
# What each model is trained on where nothing but the model is named.
TRAININGS: dict[str, dict[str, Any]] = {
    "single_neuron": {"dataset": {"name": "housing"}, "loss": "mean_squared_error"},
    "logistic_regression": {"dataset": {"name": "breast_cancer", "examples": 256}, "loss": _BINARY},
    "shallow_network": {"dataset": _MOONS, "loss": _BINARY, "model": {"hidden_units": [32]}},
    "deep_network": {"dataset": _MOONS, "loss": _BINARY, "model": {"hidden_units": _HIDDEN}},
    "multi_task_network": {"dataset": {"name": "attributes"}, "loss": _BINARY, "model": {"hidden_units": _HIDDEN}},
    "softmax_classifier": {"dataset": _DIGITS, "loss": _CATEGORICAL, "model": {"hidden_units": _HIDDEN}},
    NETWORK: {"dataset": _DIGITS, "loss": _CATEGORICAL, "model": {"layers": _IMAGE_NETWORK}},
}
assert TRAININGS.keys() == {*MODELS, NETWORK}


class Asked(NamedTuple):
    """One training, where it is made, and by whom."""

    recipe: Recipe
    dtype: str
    device: str
    implementations: tuple[str, ...]


def ask(
    *,
    model: str | None = None,
    optimizer: str | None = None,
    recipe: Recipe | str | Path | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    implementations: Iterable[str] | None = None,
) -> Asked:
    """What is asked, with everything that is left out filled in.

    ``optimizer`` is one of the catalogue or a dialect, ``"keras.Adam"``. ``recipe``, by itself or by its name or file,
    stands in place of both. Raises ValueError, naming the option, the value, what is allowed and what is nearest.
    """
    if recipe is not None and (model is not None or optimizer is not None):
        raise ValueError("recipe and model or optimizer exclude each other: a recipe says both")
    choose_all("device", [device], DEVICES)
    names = tuple(choose_all("implementation", OWN if implementations is None else implementations, OWN))
    if not names:
        raise ValueError(f"implementation is empty: must be among {', '.join(OWN)}")
    found = recipe_of(model or MODEL, optimizer or OPTIMIZER) if recipe is None else _given(recipe)
    precision = usual_dtype(found.dtypes) if dtype is None else choose("dtype", dtype, DTYPES)
    return Asked(found.model_copy(update={"dtypes": (precision,)}), precision, device, names)


def recipe_of(model: str, optimizer: str) -> Recipe:
    """A small training of a model by an optimizer. Raises ValueError for a name that is not known."""
    choose("model", model, tuple(TRAININGS))
    choose("optimizer", optimizer, (*OPTIMIZERS, *optimizer_names()))
    by = {"name": optimizer} if optimizer in OPTIMIZERS else _spoken(optimizer)
    values = TRAININGS[model]
    made = {"name": "pick", "batch_size": None if by["name"] in FULL_BATCH else BATCH_SIZE, "epochs": EPOCHS, **values}
    return Recipe.model_validate(made | {"optimizer": by, "model": {"name": model, **values.get("model", {})}})


def usual_dtype(dtypes: Iterable[str]) -> str:
    """The precision that is looked at where none is named: ``float32`` if it is there."""
    found = list(dtypes)
    return DTYPE if DTYPE in found else found[0]


def _spoken(name: str) -> dict[str, Any]:
    """The optimizer of a dialect, with a learning rate where the built-in has none of its own."""
    framework, _, builtin = name.partition(".")
    found = dialect(framework, builtin)
    return {
        "dialect": name,
        "name": found.optimizer,
        **({} if "learning_rate" in found.keywords else {"learning_rate": RATE}),
    }


def _given(recipe: Recipe | str | Path) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else find(recipe)
