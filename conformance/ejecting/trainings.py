"""A recipe's training as one file."""

from textwrap import fill
from typing import Any

from conformance.adapters.installation import TITLES
from conformance.data.datasets import load_dataset
from conformance.ejecting.choices import Choices, choices, network
from conformance.ejecting.naming import version_of
from conformance.ejecting.networks import WRITERS
from conformance.ejecting.packages import Package, full_name
from conformance.ejecting.program import Program
from conformance.ejecting.writing import LINE_LENGTH, written
from conformance.recipes.layers import all_layers
from conformance.recipes.recipe import Recipe
from reference_numpy import regularizers

_LIBRARIES = {"numpy": ("numpy",), "torch": ("torch",), "tf": ("tensorflow", "keras"), "jax": ("jax", "optax")}
_COMMENTS = {
    "FEATURES": "numbers in an example",
    "ENTRIES": "of the vocabulary: tokens are below it",
    "OUTPUTS": "",
    "HIDDEN_UNITS": "of each hidden layer",
    "KEEP_PROBABILITIES": "of the units of each hidden layer",
    "LEARNING_RATE": "alpha",
    "BATCH_SIZE": "examples of a step",
    "EPOCHS": "passes over the data",
    "SEED": "of the initial weights and of all else that is drawn",
    "PATIENCE": "epochs without an improvement after which training ends",
    "MIN_DELTA": "what counts as an improvement",
    "FROZEN_LAYERS": "the first layers, which are not trained",
    "DTYPE": "",
}


def training(recipe: Recipe, framework: str, dtype: str, command: str) -> str:
    """The text of a file that trains as a recipe says, in one framework and precision.

    Raises DataError where the images or the file of a recipe are not there.
    """
    found = choices(recipe, framework, dtype, _image_shape(recipe))
    model = WRITERS[framework](network(recipe)).text() if recipe.is_network else ""
    package = Package(framework, {k: v for k, v in found.expressions.items() if k != "DTYPE"}, model)
    given: dict[str, Any] = {full_name(m, k): v for m in (framework, "reading") for k, v in found.values.items()}
    roots = [full_name(framework, name) for name in ("main", "predict")]
    program = Program(package, roots, given | {full_name(framework, "DTYPE"): object()})
    constants = {
        full_name(framework, name): (found.expressions.get(name) or repr(found.values[name]), comment)
        for name, comment in _COMMENTS.items()
    }
    if found.values["TOKENS"]:
        constants[full_name(framework, "FEATURES")] = repr(found.values["FEATURES"]), "steps of an example"
    text = written(
        program,
        _head(recipe, framework, command),
        constants,
        'if __name__ == "__main__":\n    torch__main()'.replace("torch__", f"{framework}__"),
    )
    for name, said in _said(recipe, framework, found).items():
        text = text.replace(name, said)
    return text


def _said(recipe: Recipe, framework: str, found: Choices) -> dict[str, str]:
    """What a skeleton leaves open in words."""
    names = recipe.named(*regularizers.PENALTIES)
    penalties = "" if not names else " and the penalty" if len(names) == 1 else " and the penalties"
    beside = ""
    if framework == "numpy":
        beside = " Its gradients and all layers' values, too."
    elif framework in ("jax", "tf") and found.values["NORMALIZATION"] == "batch_norm":
        beside = " With it the batch's means and variances, by name."
    stops = ", and the validation cost of every epoch" if recipe.named("early_stopping") else ""
    return {
        "MODEL_DESCRIPTION": _model(recipe),
        "ARRAYS_HELP": _arrays(recipe),
        "LOSS_DESCRIPTION": f"The {recipe.reduction} of the examples' losses.",
        "HISTORY_DESCRIPTION": f"The cost, the learning rate and the gradient's norm of every step{stops}.",
        "DATA_DESCRIPTION": "inputs and targets of the examples" + ", and their weights" * found.values["WEIGHTED"],
        "DRAWN_DESCRIPTION": _drawn(found),
        "COST_DESCRIPTION": f"What training minimises: the data loss{penalties}.{beside}",
    }


def _drawn(found: Choices) -> str:
    """What an epoch draws, in the order in which JAX and TensorFlow have it."""
    order = "the order of the visits" + ", or None for that of the data" * (not found.values["IN_BATCHES"])
    if not (found.values["DROPS"] or found.values["AUGMENTS"]):
        return order
    masks = "dropout masks by layer" if found.values["DROPS"] else "no masks"
    draws = "draws of augmentations" if found.values["AUGMENTS"] else "no draws of augmentations"
    return f"{order}, {masks}, {draws}"


def _head(recipe: Recipe, framework: str, command: str) -> str:
    libraries = ", ".join(f"{name} {version_of(name)}" for name in _LIBRARIES[framework])
    made = (
        f"Recipe {recipe.name} ({recipe.hash}), written by framework-conformance {version_of('framework-conformance')} "
        f"for {libraries}. It needs nothing of that project, whose MIT licence it has. Made by:"
    )
    return f"{sentence(recipe, framework)}\n\n{fill(made, LINE_LENGTH)}\n\n    {command}\n"


def sentence(recipe: Recipe, framework: str) -> str:
    """What a training is, in a sentence: its model, loss, optimizer, regularizers, schedule and weights."""
    parts = [recipe.loss.name, recipe.optimizer.name, *(c.name for c in recipe.regularizers)]
    parts += [] if recipe.schedule.name == "constant" else [f"{recipe.schedule.name} schedule"]
    parts += ["example weights"] if recipe.example_weights == "drawn" else []
    kinds = dict.fromkeys(layer.name for layer in all_layers(recipe.model.layers))
    model = f"network of {', '.join(kinds)} layers" if kinds else recipe.model.name
    sentence = f"{_words(model).capitalize()} in {TITLES[framework]}: {', '.join(map(_words, parts))}."
    return fill(sentence, LINE_LENGTH - 3)


def _model(recipe: Recipe) -> str:
    if recipe.is_network:
        return f"Layers, with the shape of what each gives; outputs: {_words(recipe.model.output)} of the logits."
    hidden = recipe.model.hidden_units
    activation = _words(recipe.model.activation.name)
    norm = "" if recipe.model.normalization is None else f", normalised by {_words(recipe.model.normalization.name)}"
    layers = f"Hidden layers of {', '.join(map(str, hidden))} {activation} units{norm}; " if hidden else ""
    return f"{layers}{'o' if layers else 'O'}utputs: {_words(recipe.model.output)} of the logits."


def _arrays(recipe: Recipe) -> str:
    names = ["x", "y"]
    if recipe.example_weights == "drawn":
        names.append("weights")
    if recipe.named("early_stopping"):
        names += ["validation_x", "validation_y"]
    return f"a .npz file with the arrays {', '.join(names)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _image_shape(recipe: Recipe) -> tuple[int, ...] | None:
    """Of the recipe's own data, where it has augmentations that move pixels."""
    if not recipe.image_augmentations:
        return None
    choice = recipe.dataset
    return load_dataset(choice.name, path=choice.path, seed=choice.seed, scaling=choice.scaling).image_shape
