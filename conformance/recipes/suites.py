"""The suites: which recipes a run is made of when none is named."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from conformance.recipes import coverage
from conformance.recipes.components import choose
from conformance.recipes.moved import DATA_PARALLEL, HAND_OVER
from conformance.recipes.networks import OF_IMAGES, WITHOUT_ORDER
from conformance.recipes.networks_of_sequences import OF_SEQUENCES
from conformance.recipes.recipe import Recipe
from conformance.recipes.showcases import NETWORK_SHOWCASES
from conformance.recipes.subjects import SUITE, SUITE_OF_LAYERS, subjects

_flower = {"name": "flower", "scaling": "none"}
_cancer = {"name": "breast_cancer"}
_moons = {"name": "moons", "examples": 120, "test_examples": 60}
_xor = {"name": "xor", "examples": 80, "test_examples": 40}
_digits = {"name": "digits", "examples": 150, "test_examples": 100}
_signs = {"name": "hand_signs", "scaling": "unit", "examples": 80, "test_examples": 30}

# Of recipes that differ from others by a term of a formula, which float64 shows; the others are run in float32 too.
_IN_FLOAT64 = {"dtypes": ["float64"]}
# Of one whose sums over 12288 features are dear, and which the course trained so.
_IN_FLOAT32 = {"dtypes": ["float32"]}

_binary = "binary_cross_entropy"
_logistic = {"model": {"name": "logistic_regression"}, "loss": _binary}


def _shallow(activation: Any, units: int = 4, loss: Any = _binary, **more: Any) -> dict[str, Any]:
    model = {"name": "shallow_network", "hidden_units": [units], "activation": activation, **more}
    return {"model": model, "loss": loss}


def _deep(activation: Any, *units: int, loss: Any = _binary, **more: Any) -> dict[str, Any]:
    model = {"name": "deep_network", "hidden_units": units, "activation": activation, **more}
    return {"model": model, "loss": loss}


def _softmax(activation: Any, *units: int, **more: Any) -> dict[str, Any]:
    model = {"name": "softmax_classifier", "hidden_units": units, "activation": activation, **more}
    return {"model": model, "loss": "categorical_cross_entropy"}


def _optimizer(name: str, learning_rate: float, **keywords: Any) -> dict[str, Any]:
    return {"name": name, "learning_rate": learning_rate, **keywords}


def _digits_recipe(name: str, optimizer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The small digits network on which the formulations of the adaptive optimizers are compared."""
    network = _softmax("tanh", 16) | {"dataset": _digits, "initializer": "xavier_normal", "batch_size": 50, "epochs": 8}
    return network | {"name": name, "optimizer": optimizer} | more


_QUICK: tuple[dict[str, Any], ...] = (
    {
        "name": "breast-cancer-logistic",
        "description": "Logistic regression from zeros by batch gradient descent.",
        "dataset": _cancer, **_logistic, "initializer": "zeros",
        "optimizer": _optimizer("gradient_descent", 0.1), "epochs": 30,
    },
    {
        "name": "flower-shallow-tanh",
        "description": "The course's planar flower, one hidden layer of tanh units, in batches that are not balanced.",
        "dataset": _flower, **_shallow("tanh"), "initializer": {"name": "scaled_normal", "scale": 0.3},
        "optimizer": _optimizer("gradient_descent", 1.2), "batch_size": 150, "epochs": 12,
    },
    {
        "name": "moons-deep-relu-momentum",
        "description": "The course's momentum (a moving average), a last batch of one, and 1/t decay by epoch.",
        "dataset": _moons | {"examples": 97}, **_deep("relu", 8, 5), "optimizer": _optimizer("momentum", 0.1),
        "batch_size": 32,
        "epochs": 10, "schedule": {"name": "inverse_time", "decay_rate": 0.5},
    },
    {
        "name": "xor-shallow-mse-rmsprop",
        "description": "Regression on XOR: mean squared error, sigmoid units, RMSprop.",
        "dataset": _xor, **_shallow("sigmoid", 4, "mean_squared_error"),
        "optimizer": _optimizer("rmsprop", 0.01), "batch_size": 40, "epochs": 10,
    },
    {
        "name": "digits-softmax-adam-dropout-l2", **_IN_FLOAT64,
        "description": "Softmax classifier with inverted dropout and the course's L2, trained by Adam.",
        "dataset": _digits, **_softmax("relu", 24, 12), "batch_size": 64, "epochs": 8,
        "regularizers": [{"name": "l2", "strength": 0.5}, {"name": "inverted_dropout", "keep_probability": 0.8}],
        "optimizer": _optimizer("adam", 0.003),
    },
    {
        "name": "hand-signs-softmax-adam", **_IN_FLOAT32,
        "description": "The course's hand-sign classifier, 12288-25-12-6, on drawn hands.",
        "dataset": _signs, **_softmax("relu", 25, 12), "initializer": "xavier_normal", "batch_size": 40, "epochs": 2,
        "optimizer": _optimizer("adam", 0.0001),
    },
)  # fmt: skip

_MORE: tuple[dict[str, Any], ...] = (
    {
        "name": "moons-momentum-sum-nesterov", **_IN_FLOAT64,
        "description": "Momentum as PyTorch, Keras and optax have it, with Nesterov's look-ahead; softmax, hidden.",
        "dataset": _moons, **_shallow("softmax", 6), "batch_size": 40, "epochs": 8,
        "optimizer": _optimizer("momentum", 0.05, accumulation="sum", nesterov=True),
    },
    {
        "name": "moons-momentum-bias-corrected", **_IN_FLOAT64,
        "description": "An average that is corrected, and PyTorch's convention of L2: lambda/2, not over m.",
        "regularizers": [{"name": "l2", "strength": 0.01, "convention": "half"}],
        "dataset": _moons, **_shallow("tanh", 6), "batch_size": 40, "epochs": 8,
        "optimizer": _optimizer("momentum", 0.3, bias_correction=True),
    },
    {
        "name": "moons-momentum-rate-inside", **_IN_FLOAT64,
        "description": "The learning rate inside the velocity, under a rate that changes every step.",
        "dataset": _moons, **_deep({"name": "leaky_relu", "slope": 0.2}, 6, 4), "batch_size": 40, "epochs": 8,
        "optimizer": _optimizer("momentum", 0.05, accumulation="sum", learning_rate_position="inside"),
        "schedule": {"name": "exponential", "unit": "step", "base": 0.97},
    },
    {
        "name": "moons-relu-at-zero", **_IN_FLOAT64,
        "description": "Both units of the first layer are off for many an example, and the next layer is at its kink.",
        "dataset": _moons, **_deep({"name": "relu", "derivative_at_zero": 1}, 2, 4), "batch_size": 40, "epochs": 8,
        "optimizer": _optimizer("gradient_descent", 0.1),
    },
    {
        "name": "moons-relu-off", **_IN_FLOAT64,
        "description": "As above, off at 0 too; probabilities and norms that are clipped, and an elastic net.",
        "dataset": _moons,
        **_deep("relu", 2, 4, bias=False, loss={"name": f"{_binary}_from_probabilities", "clip": 0.01}),
        "initializer": {"name": "scaled_normal", "scale": 2.5}, "batch_size": 40, "epochs": 8,
        "regularizers": [{"name": "elastic_net", "strength": 0.5}, {"name": "clip_by_norm", "limit": 0.5}],
        "optimizer": _optimizer("gradient_descent", 0.2),
    },
    {
        "name": "breast-cancer-saturated",
        "description": "Sigmoids so far out, hidden and at the output, that they are 0 or 1; every number clipped.",
        "dataset": _cancer | {"examples": 150}, **_shallow("sigmoid", 8),
        "initializer": {"name": "scaled_normal", "scale": 30.0}, "batch_size": 50, "epochs": 4, "seed": 5,
        "regularizers": [{"name": "clip_by_value", "limit": 0.1}], "optimizer": _optimizer("gradient_descent", 0.5),
    },
    {
        "name": "xor-mse-half", **_IN_FLOAT64,
        "description": "Half the squared error, and Xavier's initial weights as Glorot and Bengio have them.",
        "initializer": {"name": "xavier_normal", "fan": "fan_average"},
        "dataset": _xor, **_deep("tanh", 6, 4, loss={"name": "mean_squared_error", "convention": "half"}),
        "optimizer": _optimizer("rmsprop", 0.01, epsilon_position="inside_root", epsilon=1e-6), "epochs": 30,
    },
    _digits_recipe(
        "digits-rmsprop-centred", _optimizer("rmsprop", 0.0005, centered=True, beta=0.995, epsilon=1e-4, momentum=0.9),
        **_IN_FLOAT64,
        schedule={"name": "exponential", "base": 0.8},
        # At beta = 0.9 a constant gradient leaves a variance of 0.9^t g^2 below the rounding of g^2: ill-conditioned.
        description="Centred, its average long enough that the variance is more than its parts' rounding; momentum.",
    ),
    {
        "name": "housing-relu-neuron", **_IN_FLOAT64,
        "description": "The course's first example: a price from a size, by one rectified unit.",
        "dataset": {"name": "housing", "examples": 100}, "model": {"name": "single_neuron", "output": "relu"},
        "loss": "mean_squared_error", "initializer": "scaled_normal", "batch_size": 25, "epochs": 8,
        "optimizer": _optimizer("gradient_descent", 0.1),
    },
    {
        "name": "diabetes-linear-neuron",
        "description": "Linear regression by Adagrad on real data.",
        "dataset": {"name": "diabetes"}, "model": {"name": "single_neuron"}, "loss": "mean_squared_error",
        "initializer": "zeros", "epochs": 20, "optimizer": _optimizer("adagrad", 0.3),
    },
    {
        "name": "attributes-multi-task",
        "description": "Three yes-or-no outputs, AdamW and gradients clipped by their global norm.",
        "dataset": {"name": "attributes", "examples": 120},
        "model": {"name": "multi_task_network", "hidden_units": [10, 6], "activation": "swish"}, "loss": _binary,
        "regularizers": [{"name": "clip_by_global_norm", "limit": 0.5}], "batch_size": 40, "epochs": 8,
        "optimizer": _optimizer("adamw", 0.01),
    },
    {
        "name": "digits-batch-norm",
        "description": "Batch norm with unbiased running variances beside L2, early stopping, max-norm, smooth labels.",
        "dataset": _digits | {"scaling": "unit"},
        **(_softmax("relu", 16, normalization={"name": "batch_norm", "running_variance": "unbiased"})
           | {"loss": {"name": "categorical_cross_entropy", "label_smoothing": 0.1}}),
        "regularizers": [
            {"name": "l2", "strength": 0.1}, {"name": "early_stopping", "patience": 2, "min_delta": 0.1},
            {"name": "max_norm", "limit": 1.5},
        ],
        "batch_size": 50, "epochs": 9, "seed": 4, "optimizer": _optimizer("nadam", 0.05),
    },
    {
        "name": "digits-layer-norm-augmented",
        "description": "Layer norm on images that are flipped, shifted and made noisy anew in every epoch.",
        "dataset": _digits | {"scaling": "unit"},
        **_softmax("gelu", 16, normalization={"name": "layer_norm", "epsilon": 1e-3}),
        "regularizers": ["random_flip", "random_shift", {"name": "gaussian_noise", "scale": 0.1}],
        "batch_size": 50, "epochs": 6, "optimizer": _optimizer("radam", 0.01),
        "schedule": {"name": "warmup", "unit": "step", "steps": 5, "after": "cosine", "after_options": {"steps": 10}},
    },
    {
        "name": "digits-transfer", **_IN_FLOAT64,
        "description": "The first layer comes from another task and stays as it is; a new head is trained.",
        "dataset": _digits, **_softmax("tanh", 16), "transfer": {"frozen_layers": 1}, "batch_size": 50, "epochs": 8,
        "optimizer": _optimizer("adamax", 0.01),
    },
    {
        "name": "breast-cancer-lbfgs",
        "description": "A quasi-Newton method on the convex cost of logistic regression.",
        "dataset": _cancer, **_logistic, "initializer": "zeros", "epochs": 8,
        "regularizers": [{"name": "l2", "strength": 5.0}], "optimizer": _optimizer("lbfgs", 0.5),
    },
    {
        "name": "moons-lion-weighted", **_IN_FLOAT64,
        "description": "Lion, and a cost that is a mean weighted by class and by example.",
        "dataset": _moons, **_shallow(
            "elu", 6, {"name": _binary, "class_weights": [0.5, 2.0], "weight_denominator": "weights"}
        ),
        "example_weights": "drawn", "batch_size": 40, "epochs": 8, "optimizer": _optimizer("lion", 0.01),
    },
    {
        "name": "digits-in-halves", **_IN_FLOAT64,
        "description": "Two calls of fit: the second goes on with the state, the step, the rates and the statistics.",
        "dataset": _digits | {"scaling": "unit", "examples": 80}, **_softmax("relu", 12, normalization="batch_norm"),
        "regularizers": [{"name": "inverted_dropout", "keep_probability": 0.8}], "batch_size": 40, "epochs": 4,
        "optimizer": _optimizer("adam", 0.01), "fit": "in_halves",
        "schedule": {"name": "exponential", "unit": "step", "base": 0.9},
    },
    {
        "name": "moons-twice",
        "description": "A second call of fit with the same objects: nothing of the first may be left in them.",
        "dataset": _moons | {"scaling": "none"}, **_deep("tanh", 8, 6, normalization="batch_norm"),
        "regularizers": [{"name": "inverted_dropout", "keep_probability": [0.9, 0.5]}],
        "batch_size": 40, "epochs": 4, "fit": "twice", "optimizer": _optimizer("momentum", 0.1),
        "schedule": {"name": "inverse_time", "decay_rate": 0.5},
    },
    {
        "name": "digits-adam-weight-decay", **_IN_FLOAT64,
        "description": "Coupled weight decay as PyTorch has it: biases too, in the gradient and not in the cost.",
        "dataset": _digits | {"examples": 100}, **_softmax("tanh", 12), "initializer": "xavier_normal",
        "batch_size": 50, "epochs": 4, "optimizer": _optimizer("adam", 0.005, weight_decay=0.05),
    },
    {
        "name": "moons-selu-sum", **_IN_FLOAT64,
        "description": "Scaled ELUs without biases, and a cost that is the sum over the examples of a batch.",
        "dataset": _moons, **_deep("selu", 6, 4, bias=False), "initializer": "lecun_normal", "reduction": "sum",
        "regularizers": [{"name": "l2", "strength": 0.7}], "batch_size": 50, "epochs": 4,
        "optimizer": _optimizer("gradient_descent", 0.002),
    },
)  # fmt: skip

_SHOWCASES: tuple[dict[str, Any], ...] = (
    {
        "name": "showcase-hand-signs",
        "description": "A softmax classifier learns 120 drawn hands: over 90 % of the training images.",
        "dataset": {"name": "hand_signs", "examples": 120, "test_examples": 60}, **_softmax("tanh", 25),
        "initializer": "xavier_normal", "batch_size": 40, "epochs": 20, "every_epoch": True,
        "optimizer": _optimizer("adam", 0.0001),
    },
    {
        "name": "showcase-digits",
        "description": "Handwritten digits, all of them: over 95 % of the test images.",
        "dataset": {"name": "digits"}, **_softmax("tanh", 32), "initializer": "xavier_normal", "batch_size": 128,
        "epochs": 14, "every_epoch": True, "optimizer": _optimizer("adam", 0.003),
    },
    {
        "name": "showcase-flower",
        "description": "The course's planar flower: over 85 % of its points, which no straight line tells apart.",
        "dataset": _flower, **_shallow("tanh", 8), "initializer": {"name": "scaled_normal", "scale": 0.3},
        "batch_size": 100, "epochs": 25, "every_epoch": True, "optimizer": _optimizer("adam", 0.03),
    },
    {
        "name": "showcase-breast-cancer",
        "description": "A deep yes-or-no classifier, as the course's for cats, on data that need no files: over 95 %.",
        "dataset": _cancer, **_deep("relu", 20, 7, 5), "batch_size": 64, "epochs": 15, "every_epoch": True,
        "optimizer": _optimizer("momentum", 0.1),
    },
)  # fmt: skip

# All that the default suite sees without them (`conformance list faults`), and a test holds that it does.
_SEEN_ELSEWHERE: tuple[dict[str, Any], ...] = (
    {
        "name": "breast-cancer-l2-half",
        "description": "PyTorch's convention of L2: lambda/2, not over m.",
        "dataset": _cancer, **_shallow("tanh", 5), "epochs": 20,
        "regularizers": [{"name": "l2", "strength": 0.01, "convention": "half"}],
        "optimizer": _optimizer("gradient_descent", 0.5),
    },
    {
        "name": "moons-deep-sigmoid",
        "dataset": _moons, **_deep("sigmoid", 6, 4), "initializer": {"name": "xavier_normal", "fan": "fan_average"},
        "optimizer": _optimizer("adam", 0.02), "epochs": 30,
    },
    {
        "name": "moons-deep-softmax-units",
        "description": "Softmax as a hidden activation.",
        "dataset": _moons, **_deep("softmax", 6), "optimizer": _optimizer("adam", 0.02), "epochs": 20,
    },
    _digits_recipe(
        "digits-rmsprop-momentum", _optimizer("rmsprop", 0.001, momentum=0.9),
        schedule={"name": "exponential", "base": 0.8},
    ),
    {
        "name": "breast-cancer-l2-minibatch",
        "description": "L2 over the examples of the batch, with a last small batch.",
        "dataset": _cancer | {"examples": 150}, **_logistic, "initializer": "scaled_normal", "batch_size": 64,
        "epochs": 8, "regularizers": [{"name": "l2", "strength": 0.7}], "optimizer": _optimizer("momentum", 0.1),
    },
    {
        "name": "breast-cancer-l2-full",
        "description": "Keras's convention of L2: lambda, without the half.",
        "dataset": _cancer, **_shallow("tanh", 5), "epochs": 20,
        "regularizers": [{"name": "l2", "strength": 0.01, "convention": "full"}],
        "optimizer": _optimizer("gradient_descent", 0.5),
    },
    {
        "name": "moons-momentum-sum",
        "dataset": _moons, **_deep("leaky_relu", 6, 4), "batch_size": 40, "epochs": 8,
        "optimizer": _optimizer("momentum", 0.03, accumulation="sum"),
        "schedule": {"name": "exponential", "base": 0.9},
    },
    {
        "name": "moons-deep-linear",
        "description": "Hidden layers without a non-linearity, as wide as each other.",
        "dataset": _moons, **_deep("identity", 4, 4), "optimizer": _optimizer("gradient_descent", 0.05), "epochs": 30,
        "schedule": {"name": "inverse_time", "unit": "step", "decay_rate": 0.05},
    },
    {
        "name": "digits-softmax-regression",
        "description": "No hidden layer.",
        "dataset": _digits, **_softmax("identity"), "initializer": "zeros", "batch_size": 50, "epochs": 8,
        "optimizer": _optimizer("adam", 0.01),
    },
    {
        "name": "digits-deep-relu-adam",
        "dataset": _digits, **_softmax("relu", 24, 16), "batch_size": 50, "epochs": 8,
        "optimizer": _optimizer("adam", 0.002),
        "schedule": {"name": "inverse_time", "decay_rate": 0.2},
    },
    {
        "name": "breast-cancer-stochastic",
        "description": "One example at a time.",
        "dataset": _cancer | {"examples": 25}, **_logistic, "initializer": "zeros", "batch_size": 1, "epochs": 2,
        "optimizer": _optimizer("gradient_descent", 0.05),
    },
    {
        "name": "xor-dropout",
        "description": "Dropout with another keep probability in each layer.",
        "dataset": _xor, **_deep("tanh", 12, 8), "batch_size": 40, "epochs": 10,
        "regularizers": [{"name": "inverted_dropout", "keep_probability": [0.9, 0.5]}],
        "optimizer": _optimizer("gradient_descent", 0.3),
    },
)  # fmt: skip

_ALONE = tuple(
    coverage.recipe_values(f"alone-{number:03}", choice) for number, choice in enumerate(coverage.single_changes())
)
_PAIRS = tuple(
    coverage.recipe_values(f"pair-{number:03}", choice) for number, choice in enumerate(coverage.covering_array())
)

_LAYERS = OF_IMAGES + WITHOUT_ORDER + OF_SEQUENCES

SUITES = {
    "quick": _QUICK,
    "default": _QUICK + _MORE,
    "full": _QUICK + _MORE + _SEEN_ELSEWHERE + _ALONE + _PAIRS + _LAYERS,
    "layers": _LAYERS,
    "showcases": _SHOWCASES + NETWORK_SHOWCASES,
    "hand_over": HAND_OVER,
    "data_parallel": DATA_PARALLEL,
    SUITE: tuple(found.recipe for found in subjects().values() if found.kind != "layers"),
    SUITE_OF_LAYERS: tuple(found.recipe for found in subjects().values() if found.kind == "layers"),
}

OF_SUBJECTS = (SUITE, SUITE_OF_LAYERS)  # whose recipes are told by `list subjects`
MADE_TO_COVER = ("quick", "default", "full", "layers", "showcases")  # of which `list coverage` tells

SUITE_DESCRIPTIONS = {
    "quick": "one recipe for each kind of model, optimizer and regularizer",
    "default": "the course's models and the formulations that matter most, small and on real data where there is some",
    "full": "default, every formulation on its own, every allowed pair (`conformance list coverage`), and layers",
    "layers": "networks of layers: every layer with every formulation of its keywords",
    "showcases": "trainings that learn something, to be looked at: their accuracies and costs after every epoch",
    "hand_over": "trainings that one implementation begins and another goes on with: every ordered pair of those named",
    "data_parallel": "trainings whose batches two replicas share, evenly and not, by each framework's own machinery",
    SUITE: "a small training for each built-in of the frameworks (`conformance list subjects`), in its formulation",
    SUITE_OF_LAYERS: "a small network for each layer of the frameworks, in its formulation",
}


@cache
def suite(name: str) -> tuple[Recipe, ...]:
    """The recipes of a suite. Raises ValueError for an unknown name."""
    return tuple(Recipe.model_validate(values) for values in SUITES[choose("suite", name, SUITES)])


def names(recipes: Iterable[Recipe]) -> list[str]:
    """The recipes' names; raises ValueError where two share one, since records are told apart by it."""
    found = [recipe.name for recipe in recipes]
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise ValueError(f"recipe name {', '.join(map(repr, repeated))} is used twice: names must differ within a run")
    return found
