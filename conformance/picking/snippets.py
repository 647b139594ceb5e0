"""The code with which somebody takes an implementation: its model and optimizer, on arrays that theirs stand in for.

The recipe builds its model, penalties and schedule from a package that writes calls down instead of making them, so
that what is written is what is measured.

>>> from conformance.picking.asking import recipe_of
>>> print(snippet("numpy", recipe_of("shallow_network", "adam"), "float32"))
import numpy as np
from reference_numpy.models import initialize, shallow_network
from reference_numpy.optimizers import adam
from reference_numpy.training import fit
<BLANKLINE>
generator = np.random.default_rng(0)
x = generator.standard_normal((256, 2)).astype("float32")  # in place of your inputs
y = generator.integers(0, 2, (256, 1)).astype("float32")  # in place of your targets
model = shallow_network(2, hidden_units=32)
parameters = initialize(model, generator, dtype="float32")
history = fit(model, parameters, x, y, loss="binary_cross_entropy", optimizer=adam(), epochs=8, batch_size=32)
print(len(history.costs), "steps")  # 64 steps
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from conformance.data.datasets import DataError, load_dataset
from conformance.data.extents import EXTENTS, Extent
from conformance.faults.injection import PACKAGES
from conformance.picking.writing import Call, Package, written
from conformance.recipes.recipe import Recipe
from reference_numpy import regularizers


class Words(NamedTuple):
    """How one framework says what all of them say.

    ``imports``, and what comes before ``model``, after it, and in the call of ``fit``. ``{dtype}`` is the precision.
    """

    imports: tuple[str, ...]
    arrays: tuple[str, ...]  # NumPy's arrays as the framework's
    initialize: str
    first: str  # arguments of fit
    optimizer: tuple[str, ...] = ()  # arguments before the keywords


WORDS = {
    "numpy": Words(
        (), (), 'parameters = initialize(model, generator{more}, dtype="{dtype}")', "model, parameters, x, y",
    ),
    "torch": Words(
        ("import torch",), ("x, y = torch.tensor(x{device}), torch.tensor(y{device})",),
        "model = initialize(model, torch.Generator().manual_seed(0){more}, dtype=torch.{dtype}){to}", "model, x, y",
        ("model.parameters()",),
    ),
    "tf": Words(
        ("import tensorflow as tf",), ("x, y = tf.constant(x), tf.constant(y)",),
        'model = initialize(model, tf.random.Generator.from_seed(0){more}, dtype="{dtype}")', "model, x, y",
    ),
    "jax": Words(
        ("import jax", "import jax.numpy as jnp"), ("x, y = jnp.asarray(x), jnp.asarray(y)",),
        'parameters = initialize(model, jax.random.key(0){more}, dtype="{dtype}")', "model, parameters, x, y",
    ),
}  # fmt: skip


def snippet(implementation: str, recipe: Recipe, dtype: str, device: str = "cpu") -> str:
    """A program that trains the recipe's model by its optimizer in an implementation, or why there is none."""
    extent = extent_of(recipe)
    if extent is None:
        return f"# the data of {recipe.dataset.name} cannot be read here, which say how large the model is"
    words, package = WORDS[implementation], Package()
    model = recipe.build_model(package, features=extent.features, classes=extent.classes, targets=extent.targets)
    training = written(_fit(recipe, package, words))
    initialize = _initialize(recipe, words, dtype, device)
    left_out = (
        [f"# the recipe also has {', '.join(also)}, which this leaves out"] if (also := _left_out(recipe)) else []
    )
    return "\n".join(
        [
            *_imports(implementation, words, package),
            "",
            *(['jax.config.update("jax_enable_x64", True)'] if (implementation, dtype) == ("jax", "float64") else []),
            *_data(recipe, extent, dtype),
            *(line.format(device=', device="cuda"' if device == "gpu" else "") for line in words.arrays),
            *left_out,
            f"model = {written(model)}",
            initialize,
            f"history = {training}",
            f'print(len(history.costs), "steps")  # {steps_of(recipe, extent)} steps',
        ]
    )


def extent_of(recipe: Recipe) -> Extent | None:
    """How large the recipe's data are; None where they lie in files that cannot be read."""
    choice = recipe.dataset
    if choice.name in EXTENTS:
        return EXTENTS[choice.name]
    try:
        data = load_dataset(**dict(choice))
    except DataError:
        return None
    return Extent(
        len(data.train_x), len(data.test_x), data.train_x.shape[1], data.n_classes,
        vocabulary=data.vocabulary, targets=data.targets,
    )  # fmt: skip


def steps_of(recipe: Recipe, extent: Extent) -> int:
    """The steps of the training in the code."""
    examples = recipe.dataset.examples or extent.examples
    return -(-examples // (recipe.batch_size or examples)) * recipe.epochs


def _data(recipe: Recipe, extent: Extent, dtype: str) -> Iterator[str]:
    examples, real = recipe.dataset.examples or extent.examples, f'.astype("{dtype}")'
    inputs = f"standard_normal(({examples}, {extent.features})){real}"
    if extent.vocabulary is not None:  # tokens
        inputs = f"integers(0, {extent.vocabulary}, ({examples}, {extent.features}))"
    yield "generator = np.random.default_rng(0)"
    yield f"x = generator.{inputs}  # in place of your inputs"
    labels = f"generator.integers(0, {extent.classes}, {examples})"
    if recipe.loss.name == "mean_squared_error":
        several = f"generator.standard_normal(({examples}, {extent.targets})){real}"
        targets = f"np.eye({extent.classes}){real}[{labels}]" if recipe.model.output == "softmax" else several
    elif recipe.model.output == "softmax":
        targets = labels
    else:
        targets = f"generator.integers(0, 2, ({examples}, {extent.targets})){real}"
    yield f"y = {targets}  # in place of your targets"


def _initialize(recipe: Recipe, words: Words, dtype: str, device: str) -> str:
    """The call that draws the initial parameters: by the recipe's initializer; of a network each layer has its own."""
    usual = recipe.is_network or recipe.initializer.name == "he_normal"
    more = "" if usual else f', initializer="{recipe.initializer.name}"'
    changed = Package.changed("initializer", recipe.initializer)
    more += f", initializer_options={written(changed)}" if changed and not recipe.is_network else ""
    return words.initialize.format(more=more, dtype=dtype, to='.to("cuda")' if device == "gpu" else "")


def _fit(recipe: Recipe, package: Package, words: Words) -> Call:
    keywords = {"loss": _loss(recipe, package), "optimizer": _update(recipe, package, words), "epochs": recipe.epochs}
    batch = {} if recipe.batch_size is None else {"batch_size": recipe.batch_size}
    return package.call("training", "fit", [Call.bare(words.first)], keywords | batch)


def _loss(recipe: Recipe, package: Package) -> Any:
    """The loss by its name, or an objective where there is more to say."""
    options, penalties = Package.changed("loss", recipe.loss), recipe.build_penalties(package)
    said = {
        **({"loss_options": options} if options else {}),
        **({"reduction": recipe.reduction} if recipe.reduction != "mean" else {}),
        **({"penalties": penalties} if penalties else {}),
    }
    return package.call("training", "Objective", [recipe.loss.name], said) if said else recipe.loss.name


def _update(recipe: Recipe, package: Package, words: Words) -> Any:
    """The optimizer, or an update by it where there is more to say."""
    rate = recipe.optimizer.keywords["learning_rate"]
    others = {name: value for name, value in recipe.optimizer.keywords.items() if name != "learning_rate"}
    optimizer = package.component(
        "optimizers", recipe.optimizer.name, [*map(Call.bare, words.optimizer)], {"learning_rate": rate, **others}
    )
    schedule = recipe.schedule.name != "constant"
    said = {
        **({"schedule": recipe.build_schedule(package)} if schedule else {}),
        **({"schedule_unit": recipe.schedule.unit} if schedule and recipe.schedule.unit != "epoch" else {}),
        **{
            name: made
            for name, made in (
                ("clipping", recipe.build_clipping(package)),
                ("constraint", recipe.build_constraint(package)),
            )
            if made is not None
        },
    }
    return package.call("training", "Update", [optimizer], said) if said else optimizer


def _left_out(recipe: Recipe) -> list[str]:
    """What of a recipe the code does not say."""
    found = [each.name for each in recipe.named("early_stopping", *regularizers.AUGMENTATIONS)]
    others = {
        "example weights": recipe.example_weights != "none",
        "frozen layers": recipe.transfer is not None,
        "frozen biases": recipe.frozen_biases,
        "a training in several calls": recipe.fit != "once",
    }
    return found + [name for name, there in others.items() if there]


def _imports(implementation: str, words: Words, package: Package) -> Iterator[str]:
    yield from sorted(["import numpy as np", *words.imports], key=lambda line: (line.split()[1].split(".")[0], line))
    package.named.setdefault("models", set()).add("initialize")
    for module, names in sorted(package.named.items()):
        yield f"from {PACKAGES[implementation]}.{module} import {', '.join(sorted(names))}"
