"""Random networks of layers for the soak test: images, sequences and tokens, with formulations that meet at random."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.data.tokens import LETTER_VOCABULARY
from conformance.recipes.coverage import allowed, recipe_values
from conformance.recipes.factors import FACTORS, values_in
from conformance.recipes.recipe import Recipe

SEED = 1  # of the choice of networks
ATTEMPTS = 200  # of drawing layers that go together; a tenth of them suffices

Layers = list[dict[str, Any]]

# What a network of layers leaves to its layers, and what a training of few steps has no use for.
_FIXED = {"model": "softmax", "normalization": "none", "activation": "tanh", "stopping": "none", "training": "once"}
_LEFT_OUT = ("lbfgs", "zeros", "dropout", "single examples")
_SMOOTH = ("tanh", "sigmoid", "softplus", "gelu", "swish")


def random_network(number: int, place: int) -> Recipe:
    """Network ``number`` with its seed ``place``, which also draws its data; all else is of the number.

    >>> random_network(0, 0).is_network
    True
    """
    generator = keyed_generator(SEED, "soak network", number)
    family = list(_FAMILIES)[number % len(_FAMILIES)]
    choice = dict(_FIXED) | {"dtype": list(FACTORS["dtype"])[number % len(FACTORS["dtype"])]}
    for factor in FACTORS:
        if factor not in choice:
            fitting = [
                value
                for value in values_in(factor)
                if value not in _LEFT_OUT and allowed({**choice, factor: value})
                and not (family == "tokens" and factor == "noise" and value != "none")
            ]  # fmt: skip
            choice[factor] = fitting[generator.integers(len(fitting))]
    values = recipe_values(f"network-{number:03}-{place}", {factor: choice[factor] for factor in FACTORS})
    seed = int(keyed_generator(SEED, "soak network seed", number, place).integers(2**32))
    dataset, outputs, draw = _FAMILIES[family]
    loss = values["loss"]
    if loss.get("class_weights") is not None:
        loss = loss | {"class_weights": loss["class_weights"][:outputs]}
    values |= {
        "dataset": dataset | {"seed": seed, "examples": 24, "test_examples": 10},
        "loss": loss, "seed": seed, "epochs": int(generator.integers(1, 4)),
    }  # fmt: skip
    for _ in range(ATTEMPTS):
        layers = [*draw(generator), {"name": "dense", "units": outputs}]
        try:
            return Recipe.model_validate(values | {"model": {"name": "network", "output": "softmax", "layers": layers}})
        except ValueError:  # layers that do not go together: a window larger than what is left, an odd group
            continue
    raise AssertionError(f"no network was found for number {number}")


def _images(generator: np.random.Generator) -> Layers:
    layers: Layers = [{"name": "reshape", "shape": [8, 8, 1]}]
    for _ in range(generator.integers(1, 3)):
        convolution = _convolution(generator, 2)
        layers += [convolution, *_normed(generator), _activation(generator)]
        if _chance(generator, 0.4):
            inner = _convolution(generator, 2) | {"channels": convolution["channels"], "stride": 1, "padding": "same"}
            layers.append({"name": "residual", "layers": [inner | {"groups": 1}, _activation(generator)]})
        if _chance(generator, 0.5):
            layers.append(_pool(generator, 2))
    return [*layers, _ended(generator, "flatten"), *_dropped(generator)]


def _sequences(generator: np.random.Generator) -> Layers:
    start: Layers = [{"name": "reshape", "shape": [8, 8]}]
    return start + ([{"name": "masking"}] if _chance(generator, 0.3) else []) + _steps(generator, 8)


def _tokens(generator: np.random.Generator) -> Layers:
    units = 2 * int(generator.integers(2, 4))
    embedding = {
        "name": "embedding",
        "entries": LETTER_VOCABULARY,
        "units": units,
        "mask_zero": _chance(generator, 0.6),
    }
    return [embedding, *_steps(generator, units)]


def _steps(generator: np.random.Generator, units: int) -> Layers:
    """Layers over the steps of a sequence, and one after which there are none."""
    layers: Layers = [{"name": "positional_encoding", "layout": _one_of(generator, "interleaved", "halves")}]
    layers = layers if _chance(generator, 0.3) else []
    kind = _one_of(generator, "recurrent", "recurrent", "attention", "convolution")
    if kind == "attention":
        heads = _one_of(generator, 1, 2)
        block = {
            "name": "attention",
            "heads": heads,
            "causal": _chance(generator, 0.4),
            "bias": _chance(generator, 0.7),
        }
        layers += [{"name": "residual", "layers": [block]}, {"name": "layer_norm"}]
        return [*layers, _ended(generator), *_dropped(generator)]
    if kind == "convolution":
        layers += [_convolution(generator, 1), *_normed(generator), _activation(generator)]
        return layers + ([_pool(generator, 1)] if _chance(generator, 0.5) else []) + [_ended(generator, "flatten")]
    recurrent = _recurrent(generator)
    if _chance(generator, 0.3):
        joined = {"name": "bidirectional", "layers": [recurrent], "join": _one_of(generator, "concatenate", "sum")}
        return [*layers, joined, *_dropped(generator)]
    if _chance(generator, 0.5):
        return [*layers, recurrent | {"reverse": _chance(generator, 0.3)}, *_dropped(generator)]
    return [*layers, recurrent | {"return_sequences": True}, _ended(generator), *_dropped(generator)]


def _recurrent(generator: np.random.Generator) -> dict[str, Any]:
    name = _one_of(generator, "simple_rnn", "lstm", "gru")
    found: dict[str, Any] = {"name": name, "units": int(generator.integers(3, 6)), "biases": _one_of(generator, 1, 2)}
    if name == "lstm":
        gates, forget_bias = _one_of(generator, "ifgo", "ifog", "figo"), _one_of(generator, 0.0, 1.0)
        found |= {"gates": gates, "forget_bias": forget_bias}
    if name == "gru":
        found |= {"gates": _one_of(generator, "zrn", "rzn"), "reset": _one_of(generator, "after", "before")}
    return found


def _convolution(generator: np.random.Generator, axes: int) -> dict[str, Any]:
    return {
        "name": "convolution", "channels": 2 * int(generator.integers(1, 3)),
        "kernel": [int(generator.integers(1, 4)) for _ in range(axes)], "stride": _one_of(generator, 1, 1, 2),
        "padding": _one_of(generator, "valid", "same", 1), "dilation": _one_of(generator, 1, 1, 2),
        "groups": _one_of(generator, 1, 1, 2), "bias": _chance(generator, 0.6),
    }  # fmt: skip


def _pool(generator: np.random.Generator, axes: int) -> dict[str, Any]:
    name = _one_of(generator, "max_pool", "average_pool")
    found = {"name": name, "window": [2] * axes, "padding": _one_of(generator, "valid", "same", 1)}
    return found | ({"count_padding": _chance(generator, 0.5)} if name == "average_pool" else {})


def _normed(generator: np.random.Generator) -> Layers:
    kind = _one_of(generator, "", "", "batch_norm", "layer_norm")
    return [{"name": kind}] if kind else []


def _activation(generator: np.random.Generator) -> dict[str, Any]:
    return {"name": "activation", "function": _one_of(generator, *_SMOOTH, "relu", "leaky_relu", "elu")}


def _ended(generator: np.random.Generator, *more: str) -> dict[str, Any]:
    return {"name": _one_of(generator, "global_average_pool", "global_max_pool", *more)}


def _dropped(generator: np.random.Generator) -> Layers:
    return [{"name": "dropout", "keep_probability": 0.8}] if _chance(generator, 0.3) else []


def _one_of(generator: np.random.Generator, *values: Any) -> Any:
    return values[generator.integers(len(values))]


def _chance(generator: np.random.Generator, probability: float) -> bool:
    return bool(generator.random() < probability)


_DIGITS = {"name": "digits", "scaling": "unit"}
# The data of each family, its classes, and what draws its layers but the last.
_FAMILIES: dict[str, tuple[dict[str, Any], int, Callable[[np.random.Generator], Layers]]] = {
    "images": (_DIGITS, 10, _images),
    "sequences": (_DIGITS, 10, _sequences),
    "tokens": ({"name": "words", "scaling": "none"}, 3, _tokens),
}
