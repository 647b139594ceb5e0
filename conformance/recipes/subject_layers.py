"""The networks in which the frameworks' own layers are subjects: the layer, with small sizes, and a head."""

import re
from typing import Any

from conformance.recipes.layer_dialects import LayerDialect

TOKENS, WORDS_CLASSES, DIGITS_CLASSES = 27, 3, 10
RECURRENT = ("simple_rnn", "lstm", "gru", "bidirectional")
SHAPES = {"image": (8, 4, 2), "sequence": (8, 8), "features": (64,), "tokens": (12,)}  # of what a layer is given
UNITS, ROWS = 3, 5  # of what has units, and of dense layers
_INSIDE = {"keras": "keras.GRU", "flax": "flax.GRUCell"}  # of what holds a layer that it is given
_HEADS = {"torch": "torch.Linear", "keras": "keras.Dense", "flax": "flax.Linear"}
# Of matrices that a wrapper draws apart from the model.
_INITIALIZERS: dict[str, Any] = {
    "torch": "he_normal", "keras": "xavier_uniform", "flax": {"name": "lecun_normal", "truncated": True},
}  # fmt: skip


def changes(dialect: LayerDialect) -> dict[str, Any]:
    """The fields of the recipe of a layer that differ from the plain training's."""
    return {
        "dataset": {"name": "words" if kind(dialect) == "tokens" else "digits", "examples": 20, "test_examples": 6},
        "loss": "categorical_cross_entropy",
        "initializer": _INITIALIZERS[dialect.framework],
        "epochs": 1,
        "model": {"name": "network", "layers": _layers(dialect)},
    }


def axes(dialect: LayerDialect) -> int:
    """Of a window, by the built-in's name; Flax's ``Conv`` has as many as its kernel."""
    return 1 if re.search("1[dD]|kernel_size=3", dialect.builtin) else 2


def window(dialect: LayerDialect) -> tuple[int, ...]:
    """The window of what has one."""
    return (3,) if axes(dialect) == 1 else (3, 2)


def kind(dialect: LayerDialect) -> str:
    """What the layer is given, one of ``SHAPES``."""
    if dialect.layer == "embedding":
        return "tokens"
    if dialect.layer in (*RECURRENT, "attention", "flatten"):
        return "sequence"
    if dialect.layer in ("convolution", "max_pool", "average_pool") or dialect.layer.startswith("global"):
        return "sequence" if axes(dialect) == 1 else "image"
    return "image" if dialect.builtin == "BatchNorm2d" else "features"


def classes(dialect: LayerDialect) -> int:
    """How many the head tells apart."""
    return WORDS_CLASSES if kind(dialect) == "tokens" else DIGITS_CLASSES


def channels_second(dialect: LayerDialect) -> bool:
    """Whether PyTorch has the layer's channels on the second axis."""
    return dialect.layer in ("convolution", "max_pool", "average_pool") or dialect.builtin == "BatchNorm2d"


def has_own_start(dialect: LayerDialect) -> bool:
    """Whether the catalogue says how it starts, so that the model's own start can be looked at."""
    return not dialect.start and dialect.name != "flax.Bidirectional"


def inside(dialect: LayerDialect) -> dict[str, Any]:
    """The keyword that says what a layer in both directions holds; nothing of any other."""
    if dialect.layer != "bidirectional":
        return {}
    if dialect.inside is None:
        return {"layers": [{"dialect": _INSIDE[dialect.framework]}]}
    return {"layers": [{"name": dialect.inside["name"], **dialect.differences_inside}]}


def _layers(dialect: LayerDialect) -> list[dict[str, Any]]:
    given = kind(dialect)
    by_name = {"initializer": "xavier_uniform"} if dialect.framework == "flax" and dialect.layer in RECURRENT else {}
    said: dict[str, Any] = {"dialect": dialect.name, **_sizes(dialect), **by_name}
    if dialect.layer == "bidirectional" and not dialect.inside:
        said = {
            "dialect": dialect.name,
            "layers": [{"dialect": _INSIDE[dialect.framework], "units": UNITS, **by_name}],
        }
    order = "channels_first" if dialect.framework == "torch" and channels_second(dialect) else "channels_last"
    before = [] if given in ("features", "tokens") else [{"name": "reshape", "shape": list(SHAPES[given])}]
    is_flat = given == "features" or dialect.layer in ("flatten", "global_average_pool", "global_max_pool")
    after = [] if is_flat or _gives_last(dialect) else [{"name": "flatten", "order": order}]
    return [*before, said, *after, {"dialect": _HEADS[dialect.framework], "units": classes(dialect)}]


def _sizes(dialect: LayerDialect) -> dict[str, Any]:
    """What a recipe says beside the dialect."""
    depthwise = {"groups": 2} if "groups" in dialect.required else {}
    sizes: dict[str, dict[str, Any]] = {
        "dense": {"units": ROWS}, "convolution": {"channels": 4, "kernel": list(window(dialect)), **depthwise},
        "embedding": {"entries": TOKENS, "units": UNITS}, "attention": {"heads": 2, "key_units": 4},
        "average_pool": {"window": list(window(dialect))},
        "max_pool": {} if "window" in dialect.keywords else {"window": list(window(dialect))},
        "dropout": {} if "keep_probability" in dialect.keywords else {"keep_probability": 0.7},
        **{name: {"units": UNITS} for name in RECURRENT},
    }  # fmt: skip
    return sizes.get(dialect.layer, {})


def _gives_last(dialect: LayerDialect) -> bool:
    """Whether a recurrent layer gives its last state alone."""
    if dialect.layer not in RECURRENT:
        return False
    if dialect.layer == "bidirectional" and not dialect.inside:
        return dialect.framework == "keras"
    return not (dialect.inside or dialect.keywords).get("return_sequences", False)
