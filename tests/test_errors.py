"""What the four packages refuse: every wrong argument is a ValueError, with the same words in all of them.

``REFUSED`` is the table: a function, its arguments, and the whole message. Values of keywords that many functions share
stand once, in ``WRONG``, and are tried on every function that has the keyword.
"""

import importlib
import inspect
import math
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from .training_settings import fit_with, gradients_with

NAN, INF = math.nan, math.inf
NOT_NEGATIVE, POSITIVE = "must be a finite number >= 0", "must be a finite number > 0"
DECAY, FRACTION, WHOLE = "must be in [0, 1)", "must be in [0, 1]", "must be an integer >= 1"
EITHER, KEEP = "must be True or False", "must be in (0, 1]"
SIZES = "must be two or more positive integers"
IMAGE = "must be (h, w) or (h, w, channels), positive integers"
NAMED = ("learning_rate", "strength", "limit")  # arguments that may also be given by position
REFERENCE_LOSSES = (
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "binary_cross_entropy_from_probabilities",
    "categorical_cross_entropy_from_probabilities",
    "mean_squared_error",
)

# Settings of a training that stand in a class of their own, with a value that is not allowed.
BINARY_OPTIONS = "must be one of 'label_smoothing', 'output_reduction', 'class_weights', 'weight_denominator'"
SEED = "must be an integer in 0 .. 2**63 - 1"
A_SCHEDULE = "must be None or a function, as schedules makes them: exponential(0.1), for example"
A_CLIPPING = "must be None or a function, as regularizers makes them: clip_by_norm(1.0), for example"
A_CONSTRAINT = "must be None or a function, as regularizers makes them: max_norm(1.0), for example"
AN_OPTIMIZER = "must be an Update or an optimizer, as optimizers makes them: adam(...), for example"
PENALTIES = "must be a list or tuple of penalties, as regularizers makes them: [l2(0.1)], for example"
AUGMENTATIONS = "must be a list or tuple of augmentations, as regularizers makes them: [gaussian_noise()], for example"
SETTINGS = (
    ("loss", {"name": "mean_squared_error"}, f"must be one of {', '.join(map(repr, REFERENCE_LOSSES))}"),
    ("loss_options", ["label_smoothing"], "must be a mapping of keywords"),
    ("optimizer", "adam", AN_OPTIMIZER),
    ("optimizer", None, AN_OPTIMIZER),
    ("schedule", 0.1, A_SCHEDULE),
    ("clipping", 1.0, A_CLIPPING),
    ("constraint", "max_norm", A_CONSTRAINT),
    *(("seed", seed, SEED) for seed in (-1, 1.5, None, True, 2**63)),
    ("augmentations", None, AUGMENTATIONS),
    ("dropout_masks", [1], "must be None or a mapping of arrays by layer or path"),
    ("validation", 3, "must be None or (x, y)"),
    ("checkpoint_epochs", 1, "must be integers >= 1"),
    ("checkpoint_epochs", (0,), "must be integers >= 1"),
    ("statistics", [1], "must be None or a mapping of arrays by name"),
    ("optimizer_state", {"step": 1}, "must be None or that of a history"),
)

rates = dict.fromkeys((-1.0, NAN, INF, 10**400, "much", None), NOT_NEGATIVE)
decays = dict.fromkeys((1.0, -0.1, NAN, 2.0, "0.9"), DECAY)
fractions = dict.fromkeys((2.0, -0.1, NAN, "half"), FRACTION)
counts = dict.fromkeys((0, -1, 1.5), WHOLE)
flags = {"yes": "must be one of False, True"}


def one_of(*names):
    """An unknown name, and the answer to it."""
    return {"other": f"must be one of {', '.join(map(repr, names))}"}


# Keyword: {wrong value: what the message says of it}, for each table of functions.
WRONG = {
    "optimizers": {
        "learning_rate": rates,
        "epsilon": rates,
        "initial_square": rates,
        "initial_accumulator": rates,
        "weight_decay": rates,
        "momentum_decay": rates,
        "beta": decays,
        "beta1": decays,
        "beta2": decays,
        "rho": decays,
        "momentum": decays,
        "accumulation": one_of("average", "sum"),
        "learning_rate_position": one_of("outside", "inside"),
        "amsgrad": one_of(None, "raw_max", "corrected_max", "uncorrected"),
        "correction_precision": one_of("exact", "working", "float32"),
        "decay_scale": one_of("learning_rate", "schedule_only"),
        "schedule": one_of("dozat", "constant"),
        "threshold": {3: "must be one of 5, 4", NAN: "must be one of 5, 4"},
        "history": counts,
        "first_step": one_of("capped", "gradient"),
        "nesterov": flags,
        "bias_correction": flags,
        "centered": flags,
        "decoupled_weight_decay": flags,
        "dampening": fractions,
    },
    "schedules": {
        "learning_rate": rates,
        "decay_rate": rates,
        "base": rates,
        "k": rates,
        "factor": rates,
        "every": counts,
        "steps": counts,
        "final": fractions,
        "start": fractions,
        "after": one_of(
            *("constant", "inverse_time", "exponential", "inverse_sqrt", "staircase", "piecewise", "cosine", "warmup")
        ),
    },
    "regularizers": {
        "strength": rates,
        "scale": rates,
        "min_delta": rates,
        "l1_ratio": fractions,
        "probability": fractions,
        "keep_probability": dict.fromkeys((0.0, 1.5, NAN, -0.5), KEEP),
        "limit": dict.fromkeys((0.0, -1.0, NAN, INF), POSITIVE),
        "patience": counts,
        "largest": counts,
        "restore_best": {"yes": EITHER, None: EITHER},
        "convention": {"other": "must be 'course', 'half' or 'full'"},
    },
    "initializers": {
        "scale": rates,
        "gain": rates,
        "fan": {"other": "must be 'fan_in' or 'fan_average'"},
        "truncated": {"yes": EITHER, None: EITHER},
    },
    "activations": {
        "derivative_at_zero": dict.fromkeys((0.5, 2, NAN), "must be 0 or 1"),
        "slope": dict.fromkeys((NAN, INF), "must be a finite number"),
        "alpha": dict.fromkeys((0.0, -1.0, NAN, INF), POSITIVE),
        "approximate": {"yes": EITHER, None: EITHER},
    },
    "losses": {
        "label_smoothing": decays,
        "output_reduction": {"other": "must be 'sum' or 'mean'"},
        "weight_denominator": {"other": "must be 'examples' or 'weights'"},
        "convention": {"other": "must be 'mean', 'half' or 'sum'"},
        "clip": dict.fromkeys((0.0, 0.5, -0.1, NAN), "must be in (0, 1/2)"),
    },
    "normalization": {
        "epsilon": rates,
        "momentum": decays,
        "running_variance": one_of("biased", "unbiased"),
    },
    "models": {
        "activation": one_of(
            *("identity", "sigmoid", "tanh", "softsign", "relu", "leaky_relu", "elu", "selu", "softplus", "swish"),
            *("gelu", "softmax"),
        ),
        "bias": flags,
        "normalization": one_of(None, "batch_norm", "layer_norm"),
    },
}
TABLES = {
    "optimizers": ("OPTIMIZERS",),
    "schedules": ("SCHEDULES",),
    "regularizers": ("REGULARIZERS", "PENALTIES", "CLIPPINGS", "CONSTRAINTS", "AUGMENTATIONS"),
    "initializers": ("INITIALIZERS",),
    "activations": ("ACTIVATIONS",),
    "losses": ("LOSSES",),
    "normalization": ("NORMALIZATIONS",),
    "models": ("MODELS",),
}
EPSILON_POSITIONS = {
    "rmsprop": ("outside_root", "inside_root"),
    "adagrad": ("outside_root", "inside_root"),
    "adam": ("outside_root", "inside_root", "before_correction"),
    "adamw": ("outside_root", "inside_root", "before_correction"),
    "adamax": ("inside_maximum", "outside"),
    "radam": ("outside_root", "before_correction"),
}


class Network(NamedTuple):
    """Stands for a network of these layer sizes: a model, and its parameters beside it where they are kept apart."""

    sizes: tuple = (2, 3, 1)
    keywords: dict = {}  # noqa: RUF012


class LayerNetwork(NamedTuple):
    """Stands for a network of layers: dense of ``units``, dropout, dense of one."""

    units: int


class Named(NamedTuple):
    """Stands for what a package calls so: ``"regularizers.l2"``; in a sequence if something takes one."""

    name: str
    in_sequence: bool = False


class Row(NamedTuple):
    """A call that must be refused, and the words of the refusal. ``packages``: None for all four."""

    module: str
    function: str
    positional: tuple
    keywords: dict
    message: str
    packages: tuple | None = None


GENERATOR, OPTIMIZER, STOPPING, NOISES = (object() for _ in range(4))  # stand for what each package makes of its own

# What makes a setting, given in place of what it makes; and classes of the packages.
MAKERS = (
    ("penalties", Named("regularizers.l2", in_sequence=True), PENALTIES),
    ("schedule", Named("schedules.exponential"), A_SCHEDULE),
    ("schedule", Named("training.Update"), A_SCHEDULE),
    ("clipping", Named("regularizers.clip_by_norm"), A_CLIPPING),
    ("constraint", Named("regularizers.max_norm"), A_CONSTRAINT),
    ("optimizer", Named("optimizers.adam"), AN_OPTIMIZER),
    ("augmentations", Named("regularizers.random_flip", in_sequence=True), AUGMENTATIONS),
    ("early_stopping", Named("regularizers.early_stopping"), "must be None or made by early_stopping"),
)

X, Y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
LABELS, ONE_TOO_MANY = np.array([0, 1, 2, 0]), np.array([0, 1, 3, 0])
OUTPUTS = np.full((4, 3), 0.5, np.float32)
PAIR = (np.ones(2, np.float32), np.ones(2, np.float32))
# The positional arguments, beside the wrong keyword, of each function or of all functions of a module.
GIVEN = {
    "l2": (0.1,), "l1": (0.1,), "elastic_net": (0.1,), "inverted_dropout": (X, X > 0), "random_flip": ((1, 2),),
    "random_shift": ((1, 2),), "initializers": (GENERATOR, (2, 3)), "activations": (X,), "binary_cross_entropy": (X, X),
    "binary_cross_entropy_from_probabilities": (X, X), "categorical_cross_entropy": (OUTPUTS, LABELS),
    "categorical_cross_entropy_from_probabilities": (OUTPUTS, LABELS), "mean_squared_error": (X, X),
    "batch_norm": (X, *PAIR, *PAIR), "layer_norm": (X, *PAIR), "schedules": (0.1,), "shallow_network": (2,),
    "single_neuron": (2,), "logistic_regression": (2,),
    "deep_network": ((2, 3, 1),), "multi_task_network": ((2, 3, 2),), "softmax_classifier": ((2, 3, 4),),
}  # fmt: skip


def keywords_of(function):
    """The names that a caller may write, arrays and the reference's ``out`` and ``dtype`` excepted."""
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if (parameter.kind is parameter.KEYWORD_ONLY or name in NAMED) and name not in ("out", "dtype")
    ]


def components():
    """Module, name and function of everything in the reference's tables."""
    for module, names in TABLES.items():
        found = importlib.import_module(f"reference_numpy.{module}")
        for name in names:
            for component, function in getattr(found, name).items():
                yield module, component, function


def shared_rows():
    """Each value of ``WRONG`` on each function of the tables that has the keyword."""
    for module, name, function in dict.fromkeys(components()):
        for keyword in keywords_of(function):
            for value, must in WRONG[module].get(keyword, {}).items():
                positional = () if keyword in NAMED else GIVEN.get(name, GIVEN.get(module, ()))
                keywords = {keyword: value}
                yield Row(module, name, positional, keywords, f"{keyword}={value!r} is not allowed: {must}")
        if module == "optimizers" and name in EPSILON_POSITIONS:
            ((value, must),) = one_of(*EPSILON_POSITIONS[name]).items()
            keywords = {"epsilon_position": value}
            yield Row(module, name, (), keywords, f"epsilon_position={value!r} is not allowed: {must}")


def own_rows():
    """What one function alone refuses."""
    yield from optimizer_rows()
    yield from schedule_rows()
    yield from initializer_rows()
    yield from loss_rows()
    yield from normalization_rows()
    yield from model_rows()
    yield from regularizer_rows()
    yield from training_rows()


def optimizer_rows():
    row = row_of("optimizers")
    yield row("rmsprop", {"initial_square": 1.0, "bias_correction": True},
              "initial_square=1.0 is not allowed with bias_correction: must be 0")  # fmt: skip
    yield row("adamw", {"learning_rate": 0.0, "decay_scale": "schedule_only"},
              "learning_rate=0.0 is not allowed with decay_scale='schedule_only': must be > 0")  # fmt: skip
    yield row("radam", {"beta2": 0.5},
              "beta2=0.5 is not allowed with threshold=5.0: 2/(1 - beta2) - 1 must be more")  # fmt: skip
    for beta, must in decays.items():
        yield row("exponentially_weighted_average", {"beta": beta}, f"beta={beta!r} is not allowed: {must}", Y)
    yield row("exponentially_weighted_average", {"bias_correction": "yes"},
              f"bias_correction='yes' is not allowed: {flags['yes']}", Y)  # fmt: skip


def schedule_rows():
    row = row_of("schedules")
    increasing = "must be increasing integers >= 1, one for each of factors"
    for boundaries in ((2, 1), (1, 1), (0, 2), (1.5, 2), (1,), (1, 2, 3), (NAN, 2)):
        yield row("piecewise", {"boundaries": boundaries, "factors": (0.5, 0.1)},
                  f"boundaries={boundaries!r} is not allowed: {increasing}", 0.1)  # fmt: skip
    for factor, must in rates.items():
        yield row("piecewise", {"boundaries": (1, 2), "factors": (0.5, factor)},
                  f"factors={factor!r} is not allowed: {must}", 0.1)  # fmt: skip
    yield row("warmup", {"after": "exponential", "after_options": {"base": -1.0}},
              f"base=-1.0 is not allowed: {NOT_NEGATIVE}", 0.1)  # fmt: skip


def initializer_rows():
    row = row_of("initializers")
    for _, name, _ in filter(lambda found: found[0] == "initializers", components()):
        for shape in ((2,), (2, 0), (2, 3, 0), (2.5, 3), (-1, 3)):
            must_be = "(n_out, ..., n_in), two or more positive integers"
            yield row(name, {}, f"shape={shape!r} is not allowed: must be {must_be}", GENERATOR, shape)


def loss_rows():
    row = row_of("losses")
    for name in ("binary_cross_entropy", "binary_cross_entropy_from_probabilities", "mean_squared_error"):
        yield row(
            name, {}, "targets has shape (4, 1), outputs (4, 2): both must be (examples, outputs) and equal", X, Y
        )
        yield row(name, {}, "targets has shape (4,), outputs (4,): both must be (examples, outputs) and equal",
                  X[:, 0], X[:, 0])  # fmt: skip
    for name in REFERENCE_LOSSES:
        categorical = name.startswith("categorical")
        outputs, targets, classes = (OUTPUTS, LABELS, 3) if categorical else (Y / 2, Y, 2)
        yield row(name, {}, "example_weights has shape (3,): must be (4,)", outputs, targets, np.ones(3, np.float32))
        if name != "mean_squared_error":
            for weights in ((1.0,), (1.0, -1.0, 1.0)[:classes], (NAN, 1.0, 1.0)[:classes]):
                yield row(name, {"class_weights": weights},
                          f"class_weights={weights!r} is not allowed: must be {classes} finite numbers >= 0",
                          outputs, targets)  # fmt: skip
    for name in ("binary_cross_entropy", "binary_cross_entropy_from_probabilities"):
        yield row(name, {"class_weights": (1.0, 2.0)},
                  "class_weights=(1.0, 2.0) is not allowed with 2 outputs: must be None", X / 2, X)  # fmt: skip
    for name in ("categorical_cross_entropy", "categorical_cross_entropy_from_probabilities"):
        yield row(name, {}, "labels span 0 .. 3: must be in 0 .. 2", OUTPUTS, ONE_TOO_MANY)
        yield row(name, {}, "labels span -1 .. 1: must be in 0 .. 2", OUTPUTS, LABELS - 1)
        yield row(name, {}, "labels has dtype float32: must be integers 0 .. 2", OUTPUTS, LABELS.astype(np.float32))
        yield row(name, {}, "labels has shape (3,), logits (4, 3): must be (m,) beside (m, classes)",
                  OUTPUTS, LABELS[:3])  # fmt: skip
        yield row(name, {}, "labels has shape (4,), logits (4,): must be (m,) beside (m, classes)",
                  OUTPUTS[:, 0], LABELS)  # fmt: skip


def normalization_rows():
    row = row_of("normalization")
    for x in (X[:0], X[0]):
        yield row("standardization_statistics", {},
                  f"x has shape {x.shape}: must be (examples, features) with at least one example", x)  # fmt: skip
    for keyword in ("momentum", "running_variance"):
        for value, must in WRONG["normalization"][keyword].items():
            yield row("running_average", {keyword: value}, f"{keyword}={value!r} is not allowed: {must}", PAIR, PAIR, 2)
    yield row("running_average", {"running_variance": "unbiased"},
              "examples=1 is not allowed with running_variance='unbiased': must be 2 or more",
              PAIR, PAIR, 1)  # fmt: skip


def model_rows():
    row = row_of("models")
    makers = ("deep_network", "multi_task_network", "softmax_classifier")
    for sizes in ((), (2,), (2, 0, 1), (2, 1.5, 1), (2, -3, 1), (2, NAN)):
        for name in makers:
            yield row(name, {}, f"layer_sizes={sizes!r} is not allowed: {SIZES}", sizes)
    for features in (0, 2.5):
        for name in ("single_neuron", "logistic_regression"):
            yield row(name, {}, f"layer_sizes={(features, 1)!r} is not allowed: {SIZES}", features)
        yield row("shallow_network", {}, f"layer_sizes={(features, 4, 1)!r} is not allowed: {SIZES}", features)
    yield row("shallow_network", {"hidden_units": 0}, f"layer_sizes=(2, 0, 1) is not allowed: {SIZES}", 2)
    yield row("shallow_network", {"outputs": 0.5}, f"layer_sizes=(2, 4, 0.5) is not allowed: {SIZES}", 2)
    yield row("single_neuron", {"output": "sigmoid"},
              "output='sigmoid' is not allowed: must be one of 'identity', 'relu'", 2)  # fmt: skip
    known = one_of("sigmoid", "softmax", "identity", "relu")["other"]
    for name, size in (("shallow_network", 2), ("deep_network", (2, 3, 1))):
        yield row(name, {"output": "other"}, f"output='other' is not allowed: {known}", size)
    for name in ("shallow_network", *makers):
        sizes = GIVEN[name]
        for keep in (0.0, 1.5, NAN, (0.5, 0.5), (0.0,)):
            yield row(name, {"keep_probability": keep},
                      f"keep_probability={keep!r} is not allowed: must be in (0, 1], one or 1 of them",
                      *sizes)  # fmt: skip
        yield row(name, {"activation": "elu", "activation_options": {"alpha": -1.0}},
                  f"alpha=-1.0 is not allowed: {POSITIVE}", *sizes)  # fmt: skip
        for keyword, value, must in (
            ("momentum", 1.0, DECAY), ("epsilon", -1.0, NOT_NEGATIVE), ("epsilon", NAN, NOT_NEGATIVE),
            ("running_variance", "other", "must be one of 'biased', 'unbiased'"),
        ):  # fmt: skip
            yield row(name, {"normalization": "batch_norm", "normalization_options": {keyword: value}},
                      f"{keyword}={value!r} is not allowed: {must}", *sizes)  # fmt: skip
        yield row(name, {"normalization": "layer_norm", "normalization_options": {"momentum": 0.9}},
                  "normalization_options='momentum' is not allowed: must be one of 'epsilon'", *sizes)  # fmt: skip
    known = one_of(*importlib.import_module("reference_numpy.initializers").INITIALIZERS)["other"]
    yield row("initialize", {"initializer": "other"}, f"initializer='other' is not allowed: {known}",
              Network(), GENERATOR)  # fmt: skip
    yield row("initialize", {"initializer": "scaled_normal", "initializer_options": {"scale": -1.0}},
              f"scale=-1.0 is not allowed: {NOT_NEGATIVE}", Network(), GENERATOR)  # fmt: skip
    yield row("predict", {}, "x has shape (4, 1): must be (examples, 2)", Network(), Y)
    yield row("predict", {}, "x has shape (2,): must be (examples, 2)", Network(), X[0])
    yield row("intermediates", {"training": True}, "x has shape (4, 1): must be (examples, 2)", Network(), Y)
    for name in ("predict", "predict_classes", "intermediates"):  # elsewhere the model itself holds them
        yield row(name, {},
                  "statistics=None is not allowed for inference with batch norm: must be its running averages",
                  Network((2, 3, 1), {"normalization": "batch_norm"}), X,
                  packages=("reference_numpy", "impl_jax"))  # fmt: skip
    yield row("predict_classes", {}, "output='identity' does not predict classes: must be 'sigmoid' or 'softmax'",
              Network((2, 3, 1), {"output": "identity"}), X)  # fmt: skip
    known = one_of("sigmoid", "softmax", "identity", "relu")["other"]
    yield row("replace_head", {"outputs": 2, "output": "other"}, f"output='other' is not allowed: {known}",
              Network(), GENERATOR)  # fmt: skip
    yield row("replace_head", {"outputs": 0}, f"layer_sizes=(2, 3, 0) is not allowed: {SIZES}", Network(), GENERATOR)


def regularizer_rows():
    row = row_of("regularizers")
    for keep, must in WRONG["regularizers"]["keep_probability"].items():
        yield row("dropout_mask", {"keep_probability": keep}, f"keep_probability={keep!r} is not allowed: {must}",
                  GENERATOR, (2, 3))  # fmt: skip
    for name in ("random_flip", "random_shift"):
        for shape in ((4,), (2, 2, 3, 1), (0, 2), (2, 1.5), (2, -1, 3)):
            yield row(name, {}, f"image_shape={shape!r} is not allowed: {IMAGE}", shape)


def training_rows():
    row = row_of("training")
    known = one_of(*REFERENCE_LOSSES)["other"]
    cost, fitted = {"loss": "binary_cross_entropy"}, {"loss": "binary_cross_entropy", "optimizer": OPTIMIZER}
    for name, keywords in (("loss_and_gradients", {}), ("fit", {"optimizer": OPTIMIZER})):
        yield row(name, {"loss": "other", **keywords}, f"loss='other' is not allowed: {known}", Network(), X, Y)
        yield row(name, {"loss": "binary_cross_entropy", "loss_options": {"label_smoothing": 1.0}, **keywords},
                  f"label_smoothing=1.0 is not allowed: {DECAY}", Network(), X, Y)  # fmt: skip
        yield row(name, {"loss": "categorical_cross_entropy", **keywords}, "labels span 0 .. 3: must be in 0 .. 2",
                  Network((2, 3, 3), {"output": "softmax"}), X, ONE_TOO_MANY)  # fmt: skip
        yield row(name, {"loss": "binary_cross_entropy", "loss_options": {"smoothing": 0.1}, **keywords},
                  f"loss_options='smoothing' is not allowed: {BINARY_OPTIONS}", Network(), X, Y)  # fmt: skip
        for wrong, told in ((None, None), (("l2",), "l2"), ("l2", "l2")):
            yield row(name, {"loss": "binary_cross_entropy", "penalties": wrong, **keywords},
                      f"penalties={told!r} is not allowed: {PENALTIES}", Network(), X, Y)  # fmt: skip
        yield row(name, {"loss": "binary_cross_entropy", "example_weights": np.ones(3, np.float32), **keywords},
                  "example_weights has shape (3,): must be (4,)", Network(), X, Y)  # fmt: skip
    yield row("loss_and_gradients", cost, "x has shape (0, 2): must hold at least one example",
              Network(), X[:0], Y[:0])  # fmt: skip
    yield row("loss_and_gradients", cost, "x has shape (4, 1): must be (examples, 2)", Network(), Y, Y)
    same = "must be the same number, at least one"
    yield row("fit", fitted, f"x has 0 examples, y 0: {same}", Network(), X[:0], Y[:0])
    yield row("fit", fitted, f"x has 4 examples, y 3: {same}", Network(), X, Y[:3])
    for keyword, value, must in (
        ("epochs", 0, WHOLE), ("epochs", 1.5, WHOLE), ("epochs", NAN, WHOLE),
        ("batch_size", 0, "must be None or an integer >= 1"), ("batch_size", 1.5, "must be None or an integer >= 1"),
        ("batch_size", -4, "must be None or an integer >= 1"),
        ("frozen_layers", 2, "must be in 0 .. 1"), ("frozen_layers", -1, "must be in 0 .. 1"),
        ("frozen_layers", 0.5, "must be in 0 .. 1"), ("schedule_unit", "week", one_of("epoch", "step")["other"]),
        ("frozen_layers", True, "must be in 0 .. 1"), *SETTINGS,
    ):  # fmt: skip
        yield row("fit", {**fitted, keyword: value}, f"{keyword}={value!r} is not allowed: {must}", Network(), X, Y)
    for keyword, wrong, message in (
        ("early_stopping", 3, "early_stopping=3 is not allowed: must be None or made by early_stopping"),
        ("validation", (X, Y[:3]),
         "validation x has 4 examples, validation y 3: must be the same number, at least one"),
        ("batch_order", np.zeros((1, 4), int), "batch_order has shape (1, 4): must be (10, 4)"),
        ("batch_order", np.zeros((10, 4), np.float32), "batch_order has dtype float32: must be integers"),
        ("batch_order", np.full((10, 4), -1), "batch_order spans -1 .. -1: must be in 0 .. 3"),
        *(("dropout_masks", {1: np.ones(shape, bool)}, f"dropout_masks[1] has shape {shape}: must be (10, 4, 3)")
          for shape in ((1, 4, 3), (10, 4, 2), (10, 4, 1), (10, 4), (10, 3, 3), (10, 4, 3, 1), ())),
        ("dropout_masks", {2: np.ones((10, 4, 1), bool)}, "dropout_masks=2 is not allowed: must be one of 1"),
        ("dropout_masks", {"1": np.ones((10, 4, 3), bool)}, "dropout_masks='1' is not allowed: must be one of 1"),
        ("augmentation_draws", [X], "augmentation_draws[0] has shape (4, 2): must be (10, 4), ..."),
        ("augmentation_draws", [X], "augmentation_draws has 1 arrays: must be 0, one for each augmentation"),
        ("example_weights", "drawn", "example_weights has shape (): must be (4,)"),
        ("schedule", lambda epoch: NAN, "learning_rate=nan is not allowed: must be a finite number >= 0"),
    ):  # fmt: skip
        given = {"validation": (X, Y)} if keyword == "early_stopping" else {}
        given |= {"augmentations": NOISES} if "draws[0]" in message else {}
        yield row("fit", {**fitted, **given, keyword: wrong}, message, Network(), X, Y)
    for keyword, maker, must in MAKERS:
        name, given = maker.name.rpartition(".")[2], {"validation": (X, Y)} if keyword == "early_stopping" else {}
        yield row("fit", {**fitted, **given, keyword: maker}, f"{keyword}={name} is not allowed: {must}",
                  Network(), X, Y)  # fmt: skip
    network = LayerNetwork(3)
    for masks, message in (
        ({"2.mask": (10, 4, 2)}, "dropout_masks['2.mask'] has shape (10, 4, 2): must be (10, 4, 3)"),
        ({"1.mask": (10, 4, 3)}, "dropout_masks='1.mask' is not allowed: must be one of '2.mask'"),
        ({2: (10, 4, 3)}, "dropout_masks=2 is not allowed: must be one of '2.mask'"),
    ):
        drawn = {path: np.ones(shape, bool) for path, shape in masks.items()}
        yield row("fit", {**fitted, "dropout_masks": drawn}, message, network, X, Y)
    for model, masks, message in (
        (Network(), {1: (4, 1)}, "masks[1] has shape (4, 1): must be (4, 3)"),
        (Network(), {1: (3, 3)}, "masks[1] has shape (3, 3): must be (4, 3)"),
        (Network(), {1: ()}, "masks[1] has shape (): must be (4, 3)"),
        (Network(), {2: (4, 1)}, "masks=2 is not allowed: must be one of 1"),
        (Network(), {"1": (4, 3)}, "masks='1' is not allowed: must be one of 1"),
        (network, {"2.mask": (4, 2)}, "masks['2.mask'] has shape (4, 2): must be (4, 3)"),
        (network, {"1.mask": (4, 3)}, "masks='1.mask' is not allowed: must be one of '2.mask'"),
    ):
        drawn = {path: np.ones(shape, bool) for path, shape in masks.items()}
        yield row("loss_and_gradients", {**cost, "masks": drawn}, message, model, X, Y)
    must = "must be None or a mapping of arrays by layer or path"
    yield row("loss_and_gradients", {**cost, "masks": [1]}, f"masks=[1] is not allowed: {must}", Network(), X, Y)
    yield row("fit", {**fitted, "early_stopping": STOPPING},
              "validation=None is not allowed with early_stopping: must be (x, y)", Network(), X, Y)  # fmt: skip


def row_of(module):
    """A maker of this module's rows."""

    def row(function, keywords, message, *positional, packages=None):
        return Row(module, function, positional, keywords, message, packages)

    return row


REFUSED = [*shared_rows(), *own_rows()]


class Package:
    """One of the four packages: how its arrays, generators, models and optimizers are had."""

    def __init__(self, name):
        self.name = name
        self.model = None

    def module(self, name):
        return importlib.import_module(f"{self.name}.{name}")

    def call(self, row):
        """Make the arguments of a row in this package's own terms, and call."""
        module = self.module(row.module)
        function = {"fit": fit_with, "loss_and_gradients": gradients_with}.get(row.function)
        function = getattr(module, row.function) if function is None else partial(function, module)
        positional = [given for value in row.positional for given in self.given(value, row.function)]
        if self.name == "impl_torch" and row.function in self.module("optimizers").OPTIMIZERS:
            positional.insert(0, self.network(Network())[0].parameters())
        return function(*positional, **{name: self.given(value)[0] for name, value in row.keywords.items()})

    def given(self, value, function=None):
        """The arguments that ``value`` stands for: one, or a model and its parameters."""
        if isinstance(value, np.ndarray):
            return [self.array(value)]
        if isinstance(value, LayerNetwork):
            return self.layer_network(value)
        if isinstance(value, Named):
            module, _, name = value.name.rpartition(".")
            made = getattr(self.module(module), name)
            return [(made,) if value.in_sequence else made]
        if value is NOISES:
            return [(self.module("regularizers").gaussian_noise(),)]
        if isinstance(value, Network):
            made = self.network(value)
            return made[:1] if function == "initialize" else made
        if value is GENERATOR:
            return [self.generator()]
        if value is OPTIMIZER:
            held = (self.model.parameters(),) if self.name == "impl_torch" else ()
            return [self.module("optimizers").gradient_descent(*held)]
        if value is STOPPING:
            return [self.module("regularizers").early_stopping()]
        if isinstance(value, tuple) and value and all(isinstance(part, np.ndarray) for part in value):
            return [tuple(map(self.array, value))]
        return [value]

    def network(self, wanted):
        """The model, and its parameters if they are kept apart from it."""
        models = self.module("models")
        self.model = models.deep_network(wanted.sizes, **wanted.keywords)
        return self.initialized()

    def layer_network(self, wanted):
        """The same of a network of layers."""
        layers = self.module("layers")
        parts = [layers.dense(wanted.units), layers.dropout(keep_probability=0.5), layers.dense(1)]
        self.model = self.module("models").network(parts, (2,), output="sigmoid")
        return self.initialized()

    def initialized(self):
        """The model with parameters drawn, and these if they are kept apart from it."""
        made = self.module("models").initialize(self.model, self.generator(), dtype=self.float32())
        return [self.model] if self.name in ("impl_torch", "impl_tf") else [self.model, made]

    def float32(self):
        return importlib.import_module("torch").float32 if self.name == "impl_torch" else "float32"

    def array(self, value):
        if self.name == "impl_torch":
            return importlib.import_module("torch").tensor(value)
        if self.name == "impl_tf":
            return importlib.import_module("tensorflow").constant(value)
        return importlib.import_module("jax.numpy").asarray(value) if self.name == "impl_jax" else value

    def generator(self):
        if self.name == "impl_torch":
            return importlib.import_module("torch").Generator()
        if self.name == "impl_tf":
            return importlib.import_module("tensorflow").random.Generator.from_seed(0)
        return importlib.import_module("jax").random.key(0) if self.name == "impl_jax" else np.random.default_rng(0)


PACKAGES = ("reference_numpy", "impl_torch", "impl_tf", "impl_jax")


def refusal(package, row):
    """The error that a call ends in, as its exact type and its words; None if nothing is refused."""
    try:
        Package(package).call(row)
    except Exception as error:
        return type(error), str(error)
    return None


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("module", [*TABLES, "training"])
def test_a_wrong_argument_is_refused_with_the_words_of_the_table(package, module):
    rows = [row for row in REFUSED if row.module == module and package in (row.packages or PACKAGES)]
    assert rows
    wrong = [(row.function, row.keywords, refusal(package, row), row.message) for row in rows]
    wrong = [found for found in wrong if found[2] != (ValueError, found[3])]
    told = [f"{name} {keywords}: {found}, not {message!r}" for name, keywords, found, message in wrong]
    assert wrong == [], "\n".join(told)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    ("keyword", "told"),
    [
        ("penalties", "it is a field of Objective, for loss=Objective(...)"),
        ("clipping", "it is a field of Update, for optimizer=Update(...)"),
        ("seed", "it is a field of Sampling, for sampling=Sampling(...)"),
        ("batch_order", "it is a field of Tape, for sampling=Sampling(tape=Tape(...))"),
        ("validation", "it is a field of Monitor, for monitor=Monitor(...)"),
        ("optimizer_state", "it is a field of Progress, for resume=Progress(...)"),
        ("lr", "it is the optimizer's: adam(learning_rate=...), for example"),
        ("clip", "did you mean 'clipping', a field of Update, for optimizer=Update(...)?"),
        ("epoch", "did you mean 'epochs'?"),
    ],
)
def test_a_keyword_that_fit_has_not_is_told_where_it_is(package, keyword, told):
    fit = Package(package).module("training").fit
    with pytest.raises(TypeError) as refused:
        fit(**{keyword: None})
    assert str(refused.value) == f"fit() has no keyword {keyword!r}: {told}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_keyword_like_none_is_told_with_those_that_there_are(package):
    fit = Package(package).module("training").fit
    with pytest.raises(TypeError, match=r"fit\(\) has no keyword 'zzz': must be one of 'model', .*'resume'$"):
        fit(zzz=1)
    with pytest.raises(TypeError, match=r"missing .* required"):
        fit()


@pytest.mark.parametrize("package", ["reference_numpy", "impl_jax"])  # elsewhere the model holds them
def test_parameters_of_another_model_are_refused(package):
    made = Package(package)
    (_, parameters), (model, _) = made.network(Network()), made.network(Network((2, 5, 1)))
    x, y, optimizer = made.array(X), made.array(Y), made.given(OPTIMIZER)[0]
    for given, words in (
        (parameters, r"parameters 'W1' has shape \(3, 2\): must be \(5, 2\)"),
        ({}, "parameters has no 'W1': must hold W1, b1, W2, b2"),
    ):
        with pytest.raises(ValueError, match=words):
            made.module("training").start(model, given, optimizer)
        with pytest.raises(ValueError, match=words):
            made.module("training").fit(model, given, x, y, loss="binary_cross_entropy", optimizer=optimizer)


@pytest.mark.parametrize("package", ["reference_numpy", "impl_jax"])  # elsewhere the optimizer holds its state
def test_a_step_by_another_optimizer_than_the_state_s_is_refused(package):
    made = Package(package)
    model, parameters = made.network(Network())
    optimizers, training = made.module("optimizers"), made.module("training")
    state, x, y = training.start(model, parameters, optimizers.momentum()), made.array(X), made.array(Y)
    words = r"optimizer has the slots \['first_moment', 'second_moment'\], state \['velocity'\]: must be the one"
    with pytest.raises(ValueError, match=words):
        training.train_step(model, state, x, y, loss="binary_cross_entropy", optimizer=optimizers.adam())
    with pytest.raises(ValueError, match=r"state={.* is not allowed: must be what start returns"):
        training.train_step(model, {}, x, y, loss="binary_cross_entropy", optimizer=optimizers.adam())


def without_a_row(rows, found):
    """The components that could be given something wrong and have no row, as ``module.name``."""
    held = {(row.module, row.function) for row in rows}
    return sorted(
        f"{module}.{name}"
        for module, name, function in found
        if (module, name) not in held and (keywords_of(function) or module != "activations")
    )


def keywords_without_a_row(rows, found):
    """The keywords of components that no row gives a wrong value, as ``module.name(keyword)``."""
    held = {(row.module, row.function, keyword) for row in rows for keyword in row.keywords}
    return sorted(
        f"{module}.{name}({keyword})"
        for module, name, function in found
        for keyword in keywords_of(function)
        if (module, name, keyword) not in held
    )


def test_everything_in_the_tables_of_the_reference_has_a_row():
    assert without_a_row(REFUSED, components()) == []


def test_every_keyword_in_the_tables_of_the_reference_has_a_row():
    assert keywords_without_a_row(REFUSED, components()) == []


def test_a_keyword_without_a_row_is_found():
    def novel(learning_rate=0.1, *, gamma=0.5):
        """A component that nobody wrote a row for."""

    injected = [("optimizers", "novel", novel)]
    assert without_a_row(REFUSED, injected) == ["optimizers.novel"]
    expected = ["optimizers.novel(gamma)", "optimizers.novel(learning_rate)"]
    assert keywords_without_a_row(REFUSED, injected) == expected
    fewer = [row for row in REFUSED if "beta2" not in row.keywords]
    assert "optimizers.adam(beta2)" in keywords_without_a_row(fewer, components())


def test_no_two_rows_are_the_same():
    asked = [repr(row[:4]) for row in REFUSED]
    assert len(set(asked)) == len(asked)
