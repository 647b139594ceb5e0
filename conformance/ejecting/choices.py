"""What a recipe chooses, as the constants of a skeleton."""

from typing import Any, NamedTuple

from conformance.data.datasets import load_dataset
from conformance.data.extents import EXTENTS, Extent
from conformance.ejecting.networks.places import starts
from conformance.ejecting.packages import full_name
from conformance.recipes.components import Component
from conformance.recipes.layers import all_layers
from conformance.recipes.recipe import Recipe
from conformance.recipes.size import estimate
from reference_numpy import losses, models, regularizers
from reference_numpy.network import Network

XLA_WORK, STEP_WORK = 500_000, 1000  # those of impl_tf.training, which is not imported
_DTYPES = {"numpy": "np.{}", "torch": "torch.{}", "tf": "tf.{}", "jax": "jnp.{}"}


class Choices(NamedTuple):
    """``values``: constants that are numbers, words and flags; ``expressions``: those that are code, as written."""

    values: dict[str, Any]
    expressions: dict[str, str]


def choices(recipe: Recipe, framework: str, dtype: str, image_shape: tuple[int, ...] | None) -> Choices:
    """Those of a recipe trained in a precision on inputs of ``image_shape``."""
    values: dict[str, Any] = {**_of_model(recipe), **_of_training(recipe)}
    if recipe.is_network:
        values |= _of_network(recipe)
    augmentations = [_made(component, image_shape) for component in recipe.named(*regularizers.AUGMENTATIONS)]
    penalties = [_made(component) for component in recipe.named(*regularizers.PENALTIES)]
    expressions = {
        "DTYPE": _DTYPES[framework].format(dtype),
        "MASK_KEY": "str" if recipe.is_network else "int",
        "ACTIVATION": full_name("activations", recipe.model.activation.name),
        "OUTPUT": full_name("activations", recipe.model.output),
        "INITIALIZER": full_name("initializers", recipe.initializer.name),
        "LOSS": full_name("losses", recipe.loss.name),
        "OPTIMIZER": full_name("optimizers", recipe.optimizer.name),
        "SCHEDULE": full_name("schedules", recipe.schedule.name),
        "PENALTY": penalties[0] if len(penalties) == 1 else _tuple(penalties),
        "AUGMENTATIONS": _tuple(augmentations),
        "ACTIVATION_OPTIONS": repr(recipe.model.activation.keywords),
        "INITIALIZER_OPTIONS": repr(recipe.initializer.keywords),
        "LOSS_OPTIONS": repr(recipe.loss.keywords),
        "OPTIMIZER_OPTIONS": repr(_without(recipe.optimizer, "learning_rate")),
        "SCHEDULE_OPTIONS": repr(_without(recipe.schedule, "unit")),
    }
    for name, table in (("CLIPPING", regularizers.CLIPPINGS), ("CONSTRAINT", regularizers.CONSTRAINTS)):
        found = recipe.named(*table)
        expressions |= {name: _made(found[0])} if found else {}
    normalization = recipe.model.normalization
    returns_statistics = values["NORMALIZATION"] == "batch_norm"
    of_jax = full_name("jax", "Tensors")
    expressions["FORWARD_TYPE"] = f"tuple[jax.Array, {of_jax}]" if returns_statistics else "jax.Array"
    of_tf = full_name("tf", "Tensors")
    expressions["CALL_TYPE"] = f"tuple[tf.Tensor, {of_tf}]" if returns_statistics else "tf.Tensor"
    options = {} if normalization is None else normalization.keywords
    of_norm = {name: value for name, value in options.items() if name == "epsilon"}
    expressions["NORMALIZATION_OPTIONS"] = repr(of_norm)
    expressions["AVERAGING_OPTIONS"] = repr({name: value for name, value in options.items() if name not in of_norm})
    values |= {"PENALTIES": len(penalties), "AUGMENTS": bool(augmentations), "DOUBLE": dtype == "float64"}
    return Choices(values, expressions)


def _of_model(recipe: Recipe) -> dict[str, Any]:
    hidden = recipe.model.hidden_units
    keep = recipe.keep_probability
    each = keep if isinstance(keep, tuple) else (keep,) * len(hidden)
    return {
        "NETWORK": False,
        "TOKENS": False,
        "FEATURES": 0,
        "ENTRIES": 0,
        "OUTPUTS": 0,
        "STEPS_APART": False,
        "HIDDEN_UNITS": hidden,
        "BIAS": recipe.model.bias,
        "NORMALIZATION": None if recipe.model.normalization is None else recipe.model.normalization.name,
        "DROPS": any(p < 1 for p in each),
        "KEEP_PROBABILITIES": each,
        "ACTIVATION_NAME": recipe.model.activation.name,
        "OUTPUT_NAME": recipe.model.output,
        "LOSS_NAME": recipe.loss.name,
        "FROM_LOGITS": recipe.loss.name in losses.FROM_LOGITS,
    }


def _of_network(recipe: Recipe) -> dict[str, Any]:
    """What a network of layers has otherwise."""
    kinds = {layer.name for layer in all_layers(recipe.model.layers)}
    entries = [layer.keywords["entries"] for layer in all_layers(recipe.model.layers) if layer.name == "embedding"]
    tokens = extent(recipe).vocabulary is not None
    model = network(recipe)
    shapes = [start.shape for start in starts(model)]
    windows = any(len(shape) > 2 for shape in shapes)  # kernels of convolutions
    return {
        "NETWORK": True,
        "TOKENS": tokens,
        "FEATURES": model.input_shape[0],
        "ENTRIES": min(entries, default=0),
        "OUTPUTS": model.outputs,
        "NORMALIZATION": "batch_norm" if "batch_norm" in kinds else None,
        "DROPS": "dropout" in kinds,
        "STEPS_APART": windows,
        "COMPILED_BY_XLA": _is_long(recipe) and not windows,
    } | ({"SCALING": "none"} if tokens else {})


def network(recipe: Recipe) -> Network:
    """A recipe's network of layers in the reference."""
    of_data = extent(recipe)
    model: Network = recipe.build_model(
        models, features=of_data.features, classes=of_data.classes, targets=of_data.targets
    )
    return model


def extent(recipe: Recipe) -> Extent:
    """What there is to know of a recipe's data; those in files are read for it."""
    choice = recipe.dataset
    if choice.name in EXTENTS:
        return EXTENTS[choice.name]
    data = load_dataset(choice.name, path=choice.path, seed=choice.seed, scaling=choice.scaling)
    sizes = len(data.train_x), len(data.test_x), data.train_x.shape[1], data.n_classes
    return Extent(*sizes, vocabulary=data.vocabulary, targets=data.targets)


def _of_training(recipe: Recipe) -> dict[str, Any]:
    stopping = recipe.named("early_stopping")
    keywords = stopping[0].keywords if stopping else {"patience": 0, "min_delta": 0.0, "restore_best": False}
    return {
        "REDUCTION": recipe.reduction,
        "ELEMENTWISE": recipe.optimizer.name != "lbfgs",
        "LEARNING_RATE": recipe.optimizer.keywords["learning_rate"],
        "SCHEDULED": recipe.schedule.name != "constant",
        "SCHEDULE_UNIT": recipe.schedule.unit,
        "CLIPS": bool(recipe.named(*regularizers.CLIPPINGS)),
        "CONSTRAINS": bool(recipe.named(*regularizers.CONSTRAINTS)),
        "STOPS_EARLY": bool(stopping),
        "PATIENCE": keywords["patience"],
        "MIN_DELTA": keywords["min_delta"],
        "RESTORE_BEST": keywords["restore_best"],
        "WEIGHTED": recipe.example_weights == "drawn",
        "FROZEN_LAYERS": recipe.frozen_layers,
        "FROZEN_BIASES": recipe.frozen_biases,
        "IN_BATCHES": recipe.batch_size is not None,
        "COMPILED_BY_XLA": _is_long(recipe),
        "BATCH_SIZE": recipe.batch_size or 0,
        "EPOCHS": recipe.epochs,
        "SEED": recipe.seed,
        "SCALING": recipe.dataset.scaling,
    }


def _is_long(recipe: Recipe) -> bool:
    """Whether ``impl_tf.training.fit`` has XLA compile such a training on a CPU; that of a user's file does it, too."""
    size = estimate(recipe)
    return size is not None and size.steps * (size.parameters + STEP_WORK) >= XLA_WORK


def _made(component: Component, image_shape: tuple[int, ...] | None = None) -> str:
    """The call that makes a regularizer."""
    from conformance.recipes.components import needs_images

    make = regularizers.REGULARIZERS[component.name]
    images = [repr(image_shape)] if needs_images(make) else []
    arguments = [*images, *(f"{name}={value!r}" for name, value in component.keywords.items())]
    return f"{full_name('regularizers', component.name)}({', '.join(arguments)})"


def _without(component: Component, name: str) -> dict[str, Any]:
    return {keyword: value for keyword, value in component.keywords.items() if keyword != name}


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
