"""Recipes of networks of layers: on images, and on inputs without an order. Together they hold every formulation.

Those on sequences are in ``networks_of_sequences``. Small: each is a training of seconds in all implementations.
"""

from typing import Any

Layers = list[Any]

IN_FLOAT64 = {"dtypes": ["float64"]}
digits = {"name": "digits", "scaling": "unit", "examples": 40, "test_examples": 20}
_moons = {"name": "moons", "examples": 60, "test_examples": 30}
_image = {"name": "reshape", "shape": [8, 8, 1]}
# Windows on empty corners see the same numbers, and rounding alone says which is the largest; but not with this.
_noise = {"name": "gaussian_noise", "scale": 0.1}


def layer(name: str, **keywords: Any) -> dict[str, Any]:
    """A layer by its name."""
    return {"name": name, **keywords}


def dense(units: int, **keywords: Any) -> dict[str, Any]:
    """A dense layer."""
    return layer("dense", units=units, **keywords)


def convolution(channels: int, *kernel: int, **keywords: Any) -> dict[str, Any]:
    """A convolution over as many axes as its kernel has sizes."""
    return layer("convolution", channels=channels, kernel=kernel, **keywords)


def activation(function: str, **options: Any) -> dict[str, Any]:
    """An activation with its options."""
    return layer("activation", function=function, options=options)


def residual(*layers: Any) -> dict[str, Any]:
    """Layers with a way around them."""
    return layer("residual", layers=layers)


def parallel(*branches: Layers, join: str = "sum") -> dict[str, Any]:
    """Branches."""
    return layer("parallel", branches=branches, join=join)


def classifier(*layers: Any) -> dict[str, Any]:
    """A network that tells the digits apart."""
    network = {"name": "network", "layers": [*layers, dense(10)]}
    return {"dataset": digits, "model": network, "loss": "categorical_cross_entropy", "batch_size": 20, "epochs": 2}


def yes_or_no(*layers: Any) -> dict[str, Any]:
    """A network that answers yes or no."""
    return {"model": {"name": "network", "layers": [*layers, dense(1)]}, "loss": "binary_cross_entropy"}


def optimizer(name: str, learning_rate: float, **keywords: Any) -> dict[str, Any]:
    """An optimizer at a rate."""
    return {"optimizer": {"name": name, "learning_rate": learning_rate, **keywords}}


OF_IMAGES: tuple[dict[str, Any], ...] = (
    {
        "name": "layers-lenet",
        "description": "Convolutions, pools and dense layers in the order of LeNet, small.",
        **classifier(
            _image, convolution(4, 3, 3, padding="same"), activation("tanh"), layer("average_pool", window=[2, 2]),
            convolution(6, 3, 3), activation("tanh"), "flatten", dense(12), activation("tanh"),
        ),
        **optimizer("adam", 0.01),
    },
    {
        "name": "layers-residual-net",
        "description": "Two convolutions with a way around them, batch norm by channel, L2; asked for in two calls.",
        **classifier(
            _image, convolution(4, 3, 3, padding="same", bias=False), "batch_norm", activation("relu"),
            residual(
                convolution(4, 3, 3, padding=1, bias=False), layer("batch_norm", running_variance="unbiased"),
                activation("relu"), convolution(4, 3, 3, padding="same", bias=False), "batch_norm",
            ),
            activation("relu"), "global_average_pool",
        ),
        "fit": "in_halves", "regularizers": [{"name": "l2", "strength": 0.1}], **optimizer("momentum", 0.1),
    },
    {
        "name": "layers-inception", **IN_FLOAT64,
        "description": "Branches of different windows on the same image, joined by channel; max-norm of kernels.",
        **classifier(
            _image, convolution(3, 1, 1), activation("softplus"),
            parallel(
                [convolution(2, 1, 1)],
                [convolution(2, 1, 1), activation("elu", alpha=0.5), convolution(2, 3, 3, padding="same")],
                [layer("max_pool", window=[3, 3], stride=1, padding="same"), convolution(2, 1, 1)],
                join="concatenate",
            ),
            activation("tanh"), "global_max_pool",
        ),
        "initializer": "xavier_uniform", "regularizers": [{"name": "max_norm", "limit": 0.9}, _noise],
        **optimizer("rmsprop", 0.01),
    },
    {
        "name": "layers-windows", **IN_FLOAT64,
        "description": "Strides, dilations, paddings and kernels that differ from axis to axis, or do not.",
        **classifier(
            _image, convolution(3, 2, 3, padding=[0, 2], stride=[1, 2]), activation("swish"),
            convolution(3, 3, 3, padding="same", stride=2), activation("swish"),
            parallel(
                [convolution(3, 2, 2, padding=1, dilation=2)],
                [convolution(3, 1, 2, padding="same", dilation=[1, 2])],
            ),
            "flatten",
        ),
        "initializer": {"name": "scaled_normal", "scale": 0.4}, **optimizer("nadam", 0.01),
    },
    {
        "name": "layers-separable", **IN_FLOAT64,
        "description": "Convolutions of each channel alone, of groups of them, and of single points; decoupled decay.",
        **classifier(
            _image, convolution(4, 3, 3, stride=2), activation("gelu"),
            convolution(4, 2, 2, groups=4, bias=False), convolution(6, 1, 1, bias=False), activation("gelu"),
            convolution(6, 2, 2, groups=2), layer("flatten", order="channels_first"),
        ),
        **optimizer("adamw", 0.01, weight_decay=0.1),
    },
    {
        "name": "layers-max-pools", **IN_FLOAT64,
        "description": "Maxima of windows that overlap, are padded, are uneven, or leave gaps; gradients clipped.",
        **classifier(
            _image, convolution(3, 2, 2), activation("tanh"),
            parallel(
                [layer("max_pool", window=[2, 2], stride=1, padding=1), layer("max_pool", window=[4, 4]), "flatten"],
                [layer("max_pool", window=[3, 2], padding=[1, 0]), "flatten"],
                [layer("max_pool", window=[2, 2], stride=[3, 2], padding="same"), "flatten"],
                join="concatenate",
            ),
        ),
        "regularizers": [{"name": "clip_by_norm", "limit": 0.5}, _noise], **optimizer("adamax", 0.02),
    },
    {
        "name": "layers-average-pools", **IN_FLOAT64,
        "description": "Means of windows, with the zeros of the padding among their numbers and without.",
        **classifier(
            _image, convolution(3, 2, 2), activation("tanh"),
            parallel(
                [layer("average_pool", window=[2, 2], padding=1, count_padding=True), "flatten"],
                [layer("average_pool", window=[2, 2], padding=1), "flatten"],
                [layer("average_pool", window=[3, 2], stride=[3, 2], padding=[1, 0]), "flatten"],
                [layer("average_pool", window=[3, 3], stride=[2, 3], padding="same"), "flatten"],
                [layer("average_pool", window=[3, 3], stride=2, padding="same", count_padding=True), "flatten"],
                join="concatenate",
            ),
        ),
        **optimizer("adagrad", 0.05),
    },
    {
        "name": "layers-normalized-images",
        "description": "Dropout, batch norm and layer norm of images, and what the last gives in another shape.",
        **classifier(
            _image, convolution(3, 3, 3), layer("dropout", keep_probability=0.8), activation("tanh"),
            layer("batch_norm", epsilon=1e-3, momentum=0.7), convolution(4, 2, 2, stride=2),
            layer("layer_norm", epsilon=1e-3), layer("reshape", shape=[36]), layer("dropout", keep_probability=0.7),
        ),
        **optimizer("radam", 0.02),
    },
)  # fmt: skip

WITHOUT_ORDER: tuple[dict[str, Any], ...] = (
    {
        "name": "layers-activations", **IN_FLOAT64,
        "description": "Every activation, each in a branch of its own, with options of its own where it has any.",
        "dataset": _moons,
        **yes_or_no(
            parallel(
                [dense(2), activation("identity")], [dense(2), activation("sigmoid")], [dense(2), activation("tanh")],
                [dense(2), activation("relu")], [dense(2), activation("leaky_relu", slope=0.2)],
                [dense(2), activation("elu", alpha=0.7)], [dense(2), activation("selu")],
                [dense(2), activation("softplus")], [dense(2), activation("softsign")],
                [dense(2), activation("swish")], [dense(2), activation("gelu", approximate=True)],
                [dense(2), activation("softmax")], join="concatenate",
            ),
        ),
        "batch_size": 30, "epochs": 4, **optimizer("gradient_descent", 0.3),
    },
    {
        "name": "layers-normalized-features", **IN_FLOAT64,
        "description": "Batch norm, layer norm and dropout of features; a rate that falls with every step.",
        "dataset": _moons | {"scaling": "none"},
        **yes_or_no(
            dense(6, bias=False), layer("batch_norm", momentum=0.8, running_variance="unbiased"), activation("tanh"),
            layer("dropout", keep_probability=0.7), dense(5, initializer="orthogonal"), "layer_norm",
            activation("tanh"),
        ),
        "batch_size": 20, "epochs": 3, "schedule": {"name": "exponential", "unit": "step", "base": 0.95},
        "regularizers": [{"name": "elastic_net", "strength": 0.1}], **optimizer("adabelief", 0.02),
    },
    {
        "name": "layers-regression",
        "description": "A number from branches that are added up and ways around one layer or several; noisy inputs.",
        "dataset": {"name": "diabetes", "examples": 60, "test_examples": 30},
        "model": {
            "name": "network",
            "layers": [
                parallel([dense(5)], [dense(4), activation("tanh"), dense(5)]), activation("tanh"),
                residual(dense(5)), residual(activation("softsign"), dense(5)),
                layer("sequence", layers=[layer("sequence", layers=[activation("tanh")]), dense(1)]),
            ],
        },
        "loss": "mean_squared_error", "initializer": {"name": "he_normal", "truncated": True}, "batch_size": 20,
        "epochs": 3, "frozen_biases": True,
        "regularizers": [{"name": "gaussian_noise", "scale": 0.1}, {"name": "clip_by_global_norm", "limit": 1.0}],
        **optimizer("gradient_descent", 0.05),
    },
    {
        "name": "layers-labels", **IN_FLOAT64,
        "description": "Three labels at once, a cost that is a sum, and no more epochs than help.",
        "dataset": {"name": "attributes", "examples": 60, "test_examples": 30, "scaling": "none"},
        "model": {"name": "network", "layers": [dense(8), activation("tanh"), dense(3)]},
        "loss": "binary_cross_entropy", "reduction": "sum", "initializer": "lecun_uniform", "batch_size": 20,
        "epochs": 4, "regularizers": [{"name": "early_stopping", "patience": 1}], **optimizer("lion", 0.01),
    },
    {
        "name": "layers-one-neuron", **IN_FLOAT64,
        "description": "Logistic regression as a network of one layer, by a quasi-Newton method.",
        "dataset": {"name": "breast_cancer", "examples": 100, "test_examples": 50}, **yes_or_no(), "epochs": 5,
        "initializer": "zeros", "regularizers": [{"name": "l2", "strength": 2.0}], **optimizer("lbfgs", 0.5),
    },
)  # fmt: skip
