"""The factors of a recipe: every choice that a recipe makes, its values by name, and what a value writes into a recipe.

Data alone; ``coverage`` says which values go together and which recipes hold them.
"""

from typing import Any

Values = dict[str, dict[str, Any]]

_TINY = {"examples": 24, "test_examples": 12}
# Inputs of mean 0 would leave a full batch's mean before batch norm to rounding alone, so these are not standardised.
_moons = {"name": "moons", "scaling": "none", **_TINY}
_attributes = {"name": "attributes", "scaling": "none", **_TINY}
_digits = {"name": "digits", "scaling": "unit", "examples": 30, "test_examples": 12}


def _model(dataset: dict[str, Any], name: str, *hidden_units: int, **more: Any) -> dict[str, Any]:
    return {"dataset": dataset, "model": {"name": name, "hidden_units": hidden_units, **more}}


def _optimizer(name: str, learning_rate: float, **keywords: Any) -> dict[str, Any]:
    return {"optimizer": {"name": name, "learning_rate": learning_rate, **keywords}}


def _momentum_sum(**keywords: Any) -> dict[str, Any]:
    return _optimizer("momentum", 0.02, accumulation="sum", **keywords)


def _decoupled(name: str, learning_rate: float, **keywords: Any) -> dict[str, Any]:
    return _optimizer(name, learning_rate, weight_decay=0.3, decoupled_weight_decay=True, **keywords)


def _regularizer(name: str, **keywords: Any) -> dict[str, Any]:
    return {"regularizers": [{"name": name, **keywords}]}


def _loss(name: str, example_weights: str = "none", **keywords: Any) -> dict[str, Any]:
    return {"loss": {"name": name, **keywords}, "example_weights": example_weights}


def _schedule(name: str, unit: str = "epoch", **keywords: Any) -> dict[str, Any]:
    return {"schedule": {"name": name, "unit": unit, **keywords}}


def _binary(name: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
    return _loss(f"binary_cross_entropy{name}", *arguments, **keywords)


def _categorical(name: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
    return _loss(f"categorical_cross_entropy{name}", *arguments, **keywords)


FACTORS: dict[str, Values] = {
    "model": {
        "linear neuron": _model({"name": "housing", **_TINY}, "single_neuron", output="identity"),
        "relu neuron": _model({"name": "housing", **_TINY}, "single_neuron", output="relu"),
        "logistic regression": _model(_moons, "logistic_regression"),
        "shallow": _model(_moons, "shallow_network", 5),
        "deep": _model(_moons, "deep_network", 6, 4),
        "multi-task": _model(_attributes, "multi_task_network", 6, 4),
        "softmax regression": _model(_digits, "softmax_classifier"),
        "softmax": _model(_digits, "softmax_classifier", 8),
    },
    "optimizer": {
        "gradient descent": _optimizer("gradient_descent", 0.1),
        "momentum": _optimizer("momentum", 0.2),
        "momentum, bias-corrected": _optimizer("momentum", 0.1, bias_correction=True),
        "momentum, Nesterov": _optimizer("momentum", 0.1, nesterov=True),
        "momentum, sum": _optimizer("momentum", 0.02, accumulation="sum"),
        "momentum, sum, rate inside": _optimizer("momentum", 0.02, accumulation="sum", learning_rate_position="inside"),
        "rmsprop": _optimizer("rmsprop", 0.01),
        "rmsprop, epsilon inside": _optimizer("rmsprop", 0.01, epsilon_position="inside_root", epsilon=1e-6),
        "rmsprop, centred": _optimizer("rmsprop", 0.001, centered=True, beta=0.995, epsilon=1e-4),
        "rmsprop, momentum": _optimizer("rmsprop", 0.003, momentum=0.8),
        "rmsprop, momentum, rate inside": _optimizer("rmsprop", 0.003, momentum=0.9, learning_rate_position="inside"),
        "rmsprop, square from 1": _optimizer("rmsprop", 0.05, initial_square=1.0),
        "adagrad": _optimizer("adagrad", 0.05),
        "adagrad, epsilon inside": _optimizer(
            "adagrad", 0.05, epsilon_position="inside_root", initial_accumulator=0.1, epsilon=1e-7
        ),
        "adadelta": _optimizer("adadelta", 1.0),
        "adam": _optimizer("adam", 0.01),
        "adam, epsilon inside": _optimizer("adam", 0.01, epsilon_position="inside_root", epsilon=1e-6),
        "adam, epsilon-hat": _optimizer("adam", 0.01, epsilon_position="before_correction"),
        "amsgrad, raw maximum": _optimizer("adam", 0.01, amsgrad="raw_max"),
        "amsgrad, corrected maximum": _optimizer("adam", 0.01, amsgrad="corrected_max"),
        "adamw": _optimizer("adamw", 0.01, weight_decay=0.1),
        "adamw, decay by schedule": _optimizer("adamw", 0.01, weight_decay=0.01, decay_scale="schedule_only"),
        "nadam": _optimizer("nadam", 0.01),
        "nadam, constant": _optimizer("nadam", 0.01, schedule="constant"),
        "adamax": _optimizer("adamax", 0.01),
        "adamax, epsilon outside": _optimizer("adamax", 0.01, epsilon_position="outside"),
        "radam": _optimizer("radam", 0.01),
        "radam, epsilon-hat": _optimizer("radam", 0.01, epsilon_position="before_correction", threshold=4),
        "lion": _optimizer("lion", 0.002, weight_decay=0.1),
        "lbfgs": _optimizer("lbfgs", 0.5),
    },
    "penalty": {
        "none": {},
        "l2": _regularizer("l2", strength=0.3),
        "l1": _regularizer("l1", strength=0.3),
        "elastic net": _regularizer("elastic_net", strength=0.02, convention="full", l1_ratio=0.3),
        "label smoothing": {"smoothing": 0.1},
    },
    "limit": {
        "none": {},
        "max-norm": _regularizer("max_norm", limit=0.9),
        "clip by value": _regularizer("clip_by_value", limit=0.05),
        "clip by norm": _regularizer("clip_by_norm", limit=0.1),
        "clip by global norm": _regularizer("clip_by_global_norm", limit=0.2),
    },
    "noise": {
        "none": {},
        "dropout": _regularizer("inverted_dropout", keep_probability=0.8),
        "noisy inputs": _regularizer("gaussian_noise", scale=0.2),
        "flip and shift": {
            "regularizers": [{"name": "random_flip", "probability": 0.3}, {"name": "random_shift", "largest": 2}]
        },
    },
    "stopping": {"none": {}, "early stopping": _regularizer("early_stopping", patience=1, min_delta=1e-3)},
    "normalization": {
        "none": {"normalization": None},
        "batch": {"normalization": {"name": "batch_norm"}},
        "batch, unbiased": {
            "normalization": {"name": "batch_norm", "running_variance": "unbiased", "momentum": 0.8, "epsilon": 1e-3}
        },
        "layer": {"normalization": {"name": "layer_norm"}},
    },
    "initializer": {
        "zeros": {"initializer": "zeros"},
        "normal": {"initializer": {"name": "scaled_normal", "scale": 0.3}},
        "xavier normal": {"initializer": "xavier_normal"},
        "xavier normal, average": {"initializer": {"name": "xavier_normal", "fan": "fan_average"}},
        "xavier uniform": {"initializer": "xavier_uniform"},
        "he normal": {"initializer": "he_normal"},
        "he normal, truncated": {"initializer": {"name": "he_normal", "truncated": True}},
        "he uniform": {"initializer": "he_uniform"},
        "lecun normal": {"initializer": "lecun_normal"},
        "lecun uniform": {"initializer": "lecun_uniform"},
        "orthogonal": {"initializer": "orthogonal"},
    },
    "activation": {
        "identity": {"activation": "identity"},
        "sigmoid": {"activation": "sigmoid"},
        "tanh": {"activation": "tanh"},
        "relu": {"activation": "relu"},
        "leaky relu": {"activation": {"name": "leaky_relu", "slope": 0.1}},
        "elu": {"activation": {"name": "elu", "alpha": 0.7}},
        "softplus": {"activation": "softplus"},
        "swish": {"activation": "swish"},
        "gelu": {"activation": "gelu"},
        "softmax": {"activation": "softmax"},
    },
    "schedule": {
        "constant": _schedule("constant"),
        "inverse time": _schedule("inverse_time", decay_rate=0.5),
        "exponential": _schedule("exponential", "step", base=0.9),
        "inverse root": _schedule("inverse_sqrt", "step", k=0.5),
        "staircase": _schedule("staircase", "step", every=2),
        "piecewise": _schedule("piecewise", "step", boundaries=[2, 4], factors=[0.5, 0.1]),
        "cosine": _schedule("cosine", "step", steps=5, final=0.1),
        "warm-up": _schedule("warmup", "step", steps=3, start=0.1, after="exponential", after_options={"base": 0.8}),
    },
    "loss": {
        "binary": _binary(""),
        "binary, mean of outputs": _binary("", output_reduction="mean"),
        "binary, class weights": _binary("", class_weights=[0.5, 2.0], weight_denominator="weights"),
        "binary, example weights": _binary("", "drawn"),
        "binary, probabilities": _binary("_from_probabilities", clip=1e-4),
        "categorical": _categorical(""),
        "categorical, class weights": _categorical("", class_weights=[0.5 + 0.1 * k for k in range(10)]),
        "categorical, example weights": _categorical("", "drawn", weight_denominator="weights"),
        "categorical, probabilities": _categorical("_from_probabilities"),
        "squared error": _loss("mean_squared_error"),
        "squared error, half": _loss("mean_squared_error", convention="half"),
        "squared error, sum, example weights": _loss("mean_squared_error", "drawn", convention="sum"),
    },
    "batches": {
        "full": {"batch_size": None, "epochs": 6},
        "even": {"batch_size": 6, "epochs": 2},
        "last one small": {"batch_size": 9, "epochs": 2},
        "single examples": {"batch_size": 1, "epochs": 1, "examples": 8},
    },
    "training": {"once": {}},
    "dtype": {"float64": {"dtypes": ["float64"]}, "float32": {"dtypes": ["float32"]}},
}

WITHOUT_BIASES = ", without biases"  # the end of a model's name; all else of the model is that of the name before it


def _without_biases(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"model": values["model"] | {"bias": False}}


# Values that have a recipe of their own, and are left out of the pairs, each of which would cost a dozen recipes more.
FURTHER: dict[str, Values] = {
    "model": {
        f"{name}{WITHOUT_BIASES}": _without_biases(FACTORS["model"][name])
        for name in ("linear neuron", "logistic regression", "shallow", "deep", "multi-task", "softmax")
    },
    "optimizer": {
        "momentum, sum, Nesterov": _momentum_sum(nesterov=True),
        "rmsprop, bias-corrected": _optimizer("rmsprop", 0.01, bias_correction=True),
        "amsgrad, uncorrected": _optimizer("adam", 0.01, amsgrad="uncorrected"),
        "lbfgs, plain first step": _optimizer("lbfgs", 0.1, first_step="gradient", history=2),
        "adabelief": _optimizer("adabelief", 0.01),
        "adamw, epsilon inside": _optimizer("adamw", 0.01, epsilon_position="inside_root", epsilon=1e-6),
        "adamw, epsilon-hat": _optimizer("adamw", 0.01, epsilon_position="before_correction"),
        "adamw, raw maximum": _optimizer("adamw", 0.01, amsgrad="raw_max"),
        "adamw, corrected maximum": _optimizer("adamw", 0.01, amsgrad="corrected_max"),
        "adamw, uncorrected": _optimizer("adamw", 0.01, amsgrad="uncorrected"),
        "adam, betas in float32": _optimizer("adam", 0.01, correction_precision="float32"),
        "adam, betas in the working precision": _optimizer("adam", 0.01, correction_precision="working"),
        "adamw, betas in float32": _optimizer("adamw", 0.01, correction_precision="float32"),
        "adamw, betas in the working precision": _optimizer("adamw", 0.01, correction_precision="working"),
        "nadam, betas in float32": _optimizer("nadam", 0.01, momentum_decay=1.0, correction_precision="float32"),
        "nadam, betas in the working precision": _optimizer("nadam", 0.01, correction_precision="working"),
        "adamax, betas in float32": _optimizer("adamax", 0.01, correction_precision="float32"),
        "adamax, betas in the working precision": _optimizer("adamax", 0.01, correction_precision="working"),
        "gradient descent, weight decay": _optimizer("gradient_descent", 0.1, weight_decay=0.3),
        "momentum, weight decay": _optimizer("momentum", 0.2, weight_decay=0.3),
        "momentum, decoupled weight decay": _decoupled("momentum", 0.2),
        "momentum, rate inside, decoupled weight decay": _decoupled("momentum", 0.2, learning_rate_position="inside"),
        "momentum, sum, dampening": _momentum_sum(dampening=0.4),
        "momentum, sum, dampening, rate inside": _momentum_sum(dampening=0.4, learning_rate_position="inside"),
        "momentum, sum, dampening, weight decay": _momentum_sum(dampening=0.4, weight_decay=0.3),
        "rmsprop, weight decay": _optimizer("rmsprop", 0.01, weight_decay=0.3),
        "rmsprop, decoupled weight decay": _decoupled("rmsprop", 0.01),
        "rmsprop, momentum, decoupled weight decay": _decoupled("rmsprop", 0.003, momentum=0.8),
        "adagrad, weight decay": _optimizer("adagrad", 0.05, weight_decay=0.3),
        "adadelta, weight decay": _optimizer("adadelta", 1.0, weight_decay=0.3),
        "adadelta, decoupled weight decay": _decoupled("adadelta", 1.0),
        "adam, weight decay": _optimizer("adam", 0.01, weight_decay=0.3),
        "nadam, weight decay": _optimizer("nadam", 0.01, weight_decay=0.3),
        "adamax, weight decay": _optimizer("adamax", 0.01, weight_decay=0.3),
        "radam, weight decay": _optimizer("radam", 0.01, weight_decay=0.3),
    },
    "activation": {
        "selu": {"activation": "selu"},
        "softsign": {"activation": "softsign"},
        "gelu, by tanh": {"activation": {"name": "gelu", "approximate": True}},
    },
    "penalty": {
        "l2, half": _regularizer("l2", strength=0.01, convention="half"),
        "l2, full": _regularizer("l2", strength=0.01, convention="full"),
        "l1, half": _regularizer("l1", strength=0.01, convention="half"),
        "l1, full": _regularizer("l1", strength=0.01, convention="full"),
    },
    "initializer": {
        "lecun normal, truncated": {"initializer": {"name": "lecun_normal", "truncated": True}},
        "xavier uniform, fan-in": {"initializer": {"name": "xavier_uniform", "fan": "fan_in"}},
    },
    "loss": {
        "binary, sum over examples": _binary("") | {"reduction": "sum"},
        "categorical, sum over examples": _categorical("") | {"reduction": "sum"},
        "squared error, sum over examples": _loss("mean_squared_error") | {"reduction": "sum"},
        "squared error of a softmax": _loss("mean_squared_error"),
    },
    "training": {
        "in halves": {"fit": "in_halves"},
        "twice": {"fit": "twice"},
        "frozen biases": {"frozen_biases": True},
    },
}

# The choice from which the recipes of a single value depart.
BASE: dict[str, str] = {
    "model": "shallow",
    "optimizer": "gradient descent",
    "penalty": "none",
    "limit": "none",
    "noise": "none",
    "stopping": "none",
    "normalization": "none",
    "initializer": "xavier normal",
    "activation": "tanh",
    "schedule": "constant",
    "loss": "binary",
    "batches": "last one small",
    "training": "once",
    "dtype": "float64",
}


def values_in(factor: str) -> Values:
    """Every value of a factor, those that are left out of the pairs included."""
    return FACTORS[factor] | FURTHER.get(factor, {})
