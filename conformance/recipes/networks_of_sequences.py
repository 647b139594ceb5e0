"""Recipes of networks of layers on sequences: of numbers, which are the rows of a digit, and of tokens."""

from typing import Any

from conformance.data.tokens import BRACKET_VOCABULARY, LETTER_VOCABULARY
from conformance.recipes.networks import (
    IN_FLOAT64,
    activation,
    classifier,
    convolution,
    dense,
    layer,
    optimizer,
    parallel,
    residual,
    yes_or_no,
)

_brackets = {"name": "brackets", "examples": 40, "test_examples": 20}
_words = {"name": "words", "examples": 42, "test_examples": 21}
_rows = {"name": "reshape", "shape": [8, 8]}  # eight steps of eight numbers
_halves = {"name": "reshape", "shape": [16, 4]}  # halves of rows, of which many are empty


def embedding(units: int, entries: int = LETTER_VOCABULARY, **keywords: Any) -> dict[str, Any]:
    """A vector for each token."""
    return layer("embedding", entries=entries, units=units, **keywords)


def _languages(*layers: Any) -> dict[str, Any]:
    """A network that tells the language of a word."""
    network = {"name": "network", "layers": [*layers, dense(3)]}
    return {
        "dataset": _words, "model": network, "loss": "categorical_cross_entropy", "batch_size": 14, "epochs": 2,
    }  # fmt: skip


def _balance(*layers: Any) -> dict[str, Any]:
    """A network that tells whether brackets are balanced."""
    return {"dataset": _brackets, **yes_or_no(*layers), "batch_size": 20, "epochs": 2}


RECURRENT: tuple[dict[str, Any], ...] = (
    {
        "name": "layers-simple-rnn",
        "description": "Simple recurrent layers on each other, of tanh and of relu units, with both biases and none.",
        **classifier(
            _rows, layer("simple_rnn", units=4, activation="relu", biases=2, return_sequences=True),
            layer("simple_rnn", units=5, biases=0, reverse=True),
        ),
        "regularizers": [{"name": "clip_by_value", "limit": 0.2}], **optimizer("gradient_descent", 0.1),
    },
    {
        "name": "layers-lstm-gates", **IN_FLOAT64,
        "description": "Gates in another order, a forget bias, both biases and none, from the last step to the first.",
        **classifier(
            _rows, layer("lstm", units=3, gates="ogfi", forget_bias=1.0, return_sequences=True),
            layer("lstm", units=3, biases=2, reverse=True, return_sequences=True),
            layer("lstm", units=4, biases=0, recurrent_initializer="xavier_normal"),
        ),
        "initializer": "xavier_normal", **optimizer("adam", 0.02),
    },
    {
        "name": "layers-gru-gates", **IN_FLOAT64,
        "description": "The reset gate before and after the product, gates in other orders, both biases or none.",
        **classifier(
            _rows, layer("gru", units=5, gates="zrn", reset="before", biases=2, return_sequences=True),
            layer("gru", units=5, biases=2, reverse=True, return_sequences=True),
            layer("gru", units=5, biases=0, initializer="he_uniform", recurrent_initializer="lecun_normal"),
        ),
        **optimizer("rmsprop", 0.01, momentum=0.5),
    },
    {
        "name": "layers-characters-lstm",
        "description": "The language of a word, by an LSTM over its letters; empty places are not there.",
        **_languages(embedding(4, mask_zero=True), layer("lstm", units=5, forget_bias=1.0)),
        "regularizers": [{"name": "clip_by_global_norm", "limit": 1.0}], **optimizer("adam", 0.02),
    },
    {
        "name": "layers-characters-gru",
        "description": "The language of a word, by two GRUs over its letters, the second over the states of the first.",
        **_languages(
            embedding(4, mask_zero=True), layer("gru", units=4, return_sequences=True),
            layer("gru", units=4, reset="before"),
        ),
        "example_weights": "drawn", **optimizer("nadam", 0.02),
    },
    {
        "name": "layers-brackets-rnn", **IN_FLOAT64,
        "description": "Whether brackets are balanced, by a simple recurrent layer; a second training leaves no trace.",
        **_balance(
            embedding(3, BRACKET_VOCABULARY, mask_zero=True, initializer="xavier_uniform"),
            layer("simple_rnn", units=4, initializer="orthogonal", recurrent_initializer="xavier_uniform"),
        ),
        "fit": "twice", **optimizer("momentum", 0.1, accumulation="sum", nesterov=True),
    },
    {
        "name": "layers-bidirectional",
        "description": "An LSTM in both directions over words of different lengths, then simple layers, summed.",
        **_languages(
            embedding(3, mask_zero=True),
            layer("bidirectional", layers=[layer("lstm", units=3, return_sequences=True)]),
            layer("bidirectional", layers=[layer("simple_rnn", units=4)], join="sum"),
        ),
        **optimizer("adamw", 0.02, weight_decay=0.05),
    },
    {
        "name": "layers-bidirectional-rows", **IN_FLOAT64,
        "description": "GRUs in both directions, the first of them backwards, over rows that are all there.",
        **classifier(
            _rows, layer("bidirectional", layers=[layer("gru", units=5, reverse=True, return_sequences=True)]),
            layer("dropout", keep_probability=0.8), layer("bidirectional", layers=[layer("gru", units=5)], join="sum"),
        ),
        **optimizer("adadelta", 1.0),
    },
    {
        "name": "layers-masking", **IN_FLOAT64,
        "description": "Steps of one value alone are not there: empty halves of rows, or, as there is none, all are.",
        **classifier(
            _halves,
            parallel(
                ["masking", layer("lstm", units=4)],
                [layer("masking", value=0.5), layer("gru", units=5, reverse=True)],
                [layer("masking"), layer("attention", heads=2, causal=True, bias=False), "global_average_pool"],
                join="concatenate",
            ),
        ),
        **optimizer("adam", 0.02),
    },
)  # fmt: skip

OF_STEPS: tuple[dict[str, Any], ...] = (
    {
        "name": "layers-bag-of-letters",
        "description": "The mean and the largest of the letters' vectors, of as many as a word has.",
        **_languages(
            embedding(5, mask_zero=True),
            parallel(["global_average_pool"], ["global_max_pool"], join="concatenate"),
        ),
        **optimizer("adagrad", 0.1),
    },
    {
        "name": "layers-letters-in-windows", **IN_FLOAT64,
        "description": "Convolutions and pools over letters, and the largest number of each channel.",
        **_languages(
            embedding(4, mask_zero=True), convolution(4, 3, padding="same"), activation("tanh"),
            parallel(
                [layer("max_pool", window=[2], stride=1), convolution(4, 2, padding=1, dilation=2, stride=2)],
                [layer("average_pool", window=[2])],
            ),
            "global_max_pool",
        ),
        **optimizer("momentum", 0.1),
    },
    {
        "name": "layers-normalized-steps", **IN_FLOAT64,
        "description": "Dense layers, batch norm, layer norm and dropout at every step; steps flattened one by one.",
        **classifier(
            _rows, dense(4, bias=False, initializer="orthogonal"), "batch_norm", activation("tanh"),
            layer("dropout", keep_probability=0.8), layer("layer_norm", epsilon=1e-4), dense(3, bias=False), "flatten",
        ),
        **optimizer("adam", 0.01, amsgrad="corrected_max"),
    },
    {
        "name": "layers-transformer-block",
        "description": "Places, attention and a dense part, each with a way around it and a norm; a mean over steps.",
        **_languages(
            embedding(6, mask_zero=True), "positional_encoding", residual(layer("attention", heads=2)), "layer_norm",
            residual(dense(8), activation("gelu"), dense(6)), "layer_norm", "global_average_pool",
        ),
        "schedule": {"name": "warmup", "unit": "step", "steps": 3, "after": "inverse_sqrt"}, **optimizer("adam", 0.02),
    },
    {
        "name": "layers-causal-attention", **IN_FLOAT64,
        "description": "Attention to the past alone, by one narrow head; places by sines, then cosines.",
        **_balance(
            embedding(5, BRACKET_VOCABULARY, initializer="he_normal"),
            layer("positional_encoding", base=100.0, layout="halves"),
            layer(
                "attention", heads=1, key_units=2, causal=True, bias=False, initializer="scaled_normal",
                initializer_options={"scale": 0.4},
            ),
            activation("tanh"), layer("attention", heads=5, bias=False), "global_average_pool",
        ),
        **optimizer("adam", 0.02, weight_decay=0.05),
    },
)  # fmt: skip

OF_SEQUENCES = RECURRENT + OF_STEPS
