"""Layers in every formulation, with small inputs: what the four packages are held together on.

Each situation makes its layer from a package's ``layers`` module, so that one list serves all of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

INTEGERS = 7  # below which integer inputs stay


class Situation(NamedTuple):
    """A layer and the shape of one example; whether inputs are integers, some steps not there, and numbers alike."""

    make: Callable[[Any], Any]
    shape: tuple[int, ...]
    integers: bool = False
    masked: bool = False
    tied: bool = False

    def inputs(self, examples: int = 3, seed: int = 0) -> tuple[Any, Any]:
        """``x: (examples, *shape)`` and the mask ``(examples, t)``, or None; the first example has all its steps."""
        generator = np.random.default_rng(seed)
        shape = (examples, *self.shape)
        x = generator.integers(INTEGERS, size=shape) if self.integers else generator.standard_normal(shape)
        x = np.rint(x) if self.tied else x
        if not self.masked:
            return x, None
        lengths = [self.shape[0], *generator.integers(1, self.shape[0], size=examples - 1)]
        return x, np.arange(self.shape[0]) < np.asarray(lengths)[:, None]


_IMAGE, _SEQUENCE = (6, 5, 4), (5, 3)


def _small_network(layers: Any) -> Any:
    """Convolutions with a way around them, then dense layers."""
    return layers.sequence(
        layers.convolution(4, (3, 3), padding="same", bias=False),
        layers.batch_norm(),
        layers.activation("relu"),
        layers.residual(layers.sequence(layers.convolution(4, (3, 3), padding=1), layers.activation("tanh"))),
        layers.max_pool((2, 2)),
        layers.flatten(),
        layers.dropout(0.7),
        layers.dense(3),
    )


def _transformer_block(layers: Any) -> Any:
    """Embedding, positions, attention and a dense part, each with a way around it and a norm; a mean over the steps."""
    return layers.sequence(
        layers.embedding(INTEGERS, 6),
        layers.positional_encoding(),
        layers.residual(layers.attention(2)),
        layers.layer_norm(),
        layers.residual(layers.sequence(layers.dense(8), layers.activation("gelu"), layers.dense(6))),
        layers.layer_norm(),
        layers.global_average_pool(),
        layers.dense(2),
    )


SITUATIONS: dict[str, Situation] = {
    "dense": Situation(lambda layers: layers.dense(3), (4,)),
    "dense, no bias": Situation(lambda layers: layers.dense(3, bias=False), (4,)),
    "dense of a sequence": Situation(lambda layers: layers.dense(2), _SEQUENCE),
    "activation": Situation(lambda layers: layers.activation("tanh"), (4,)),
    "activation, options": Situation(lambda layers: layers.activation("leaky_relu", options={"slope": 0.2}), (4,)),
    "softmax of a sequence": Situation(lambda layers: layers.activation("softmax"), _SEQUENCE),
    "dropout": Situation(lambda layers: layers.dropout(0.6), (4,)),
    "dropout of images": Situation(lambda layers: layers.dropout(0.6), _IMAGE),
    "flatten": Situation(lambda layers: layers.flatten(), _IMAGE),
    "flatten, channels first": Situation(lambda layers: layers.flatten(order="channels_first"), _IMAGE),
    "reshape": Situation(lambda layers: layers.reshape((10, 12)), _IMAGE),
    "convolution": Situation(lambda layers: layers.convolution(3, (3, 2)), _IMAGE),
    "convolution, same": Situation(lambda layers: layers.convolution(3, (3, 3), padding="same"), _IMAGE),
    "convolution, same, stride 2": Situation(
        lambda layers: layers.convolution(3, (3, 3), padding="same", stride=2), _IMAGE
    ),
    "convolution, explicit, stride 2": Situation(
        lambda layers: layers.convolution(3, (3, 3), padding=1, stride=2), _IMAGE
    ),
    "convolution, uneven": Situation(
        lambda layers: layers.convolution(3, (2, 3), padding=(0, 2), stride=(1, 2)), _IMAGE
    ),
    "convolution, dilated": Situation(lambda layers: layers.convolution(3, (2, 2), dilation=2), _IMAGE),
    "convolution, groups": Situation(lambda layers: layers.convolution(6, (3, 3), groups=2), _IMAGE),
    "convolution, depthwise": Situation(lambda layers: layers.convolution(4, (3, 3), groups=4, bias=False), _IMAGE),
    "convolution of a sequence": Situation(lambda layers: layers.convolution(2, (3,), padding="same"), _SEQUENCE),
    "convolution of a sequence, dilated": Situation(
        lambda layers: layers.convolution(2, (2,), dilation=2, padding=1), _SEQUENCE
    ),
    "convolution, dilated, same": Situation(
        lambda layers: layers.convolution(2, (2, 2), dilation=2, padding="same"), _IMAGE
    ),
    "convolution, same, stride 3": Situation(
        lambda layers: layers.convolution(2, (3, 3), padding="same", stride=3), _IMAGE
    ),
    "max pool": Situation(lambda layers: layers.max_pool((2, 2)), _IMAGE),
    "max pool, overlapping, same": Situation(lambda layers: layers.max_pool((3, 3), stride=2, padding="same"), _IMAGE),
    "max pool, explicit": Situation(lambda layers: layers.max_pool((2, 3), stride=1, padding=1), _IMAGE),
    "max pool of a sequence": Situation(lambda layers: layers.max_pool((2,)), _SEQUENCE),
    "average pool": Situation(lambda layers: layers.average_pool((2, 2)), _IMAGE),
    "average pool, same": Situation(lambda layers: layers.average_pool((3, 3), stride=2, padding="same"), _IMAGE),
    "average pool, padding counted": Situation(
        lambda layers: layers.average_pool((2, 2), padding=1, count_padding=True), _IMAGE
    ),
    "average pool, padding not counted": Situation(lambda layers: layers.average_pool((2, 2), padding=1), _IMAGE),
    "global max pool": Situation(lambda layers: layers.global_max_pool(), _IMAGE),
    "global average pool": Situation(lambda layers: layers.global_average_pool(), _IMAGE),
    "global max pool of a sequence": Situation(lambda layers: layers.global_max_pool(), _SEQUENCE, masked=True),
    "global average pool of a sequence": Situation(lambda layers: layers.global_average_pool(), _SEQUENCE, masked=True),
    "embedding": Situation(lambda layers: layers.embedding(INTEGERS, 3), (5,), integers=True),
    "batch norm": Situation(lambda layers: layers.batch_norm(), (4,)),
    "batch norm of images": Situation(lambda layers: layers.batch_norm(epsilon=1e-3, momentum=0.99), _IMAGE),
    "batch norm, unbiased": Situation(lambda layers: layers.batch_norm(running_variance="unbiased"), _SEQUENCE),
    "layer norm": Situation(lambda layers: layers.layer_norm(), (4,)),
    "layer norm of a sequence": Situation(lambda layers: layers.layer_norm(epsilon=1e-3), _SEQUENCE),
    "simple rnn": Situation(lambda layers: layers.simple_rnn(4), _SEQUENCE),
    "simple rnn, relu, two biases": Situation(
        lambda layers: layers.simple_rnn(4, activation="relu", biases=2, return_sequences=True), _SEQUENCE
    ),
    "simple rnn, no bias, masked": Situation(lambda layers: layers.simple_rnn(4, biases=0), _SEQUENCE, masked=True),
    "lstm": Situation(lambda layers: layers.lstm(4), _SEQUENCE),
    "lstm, forget bias": Situation(lambda layers: layers.lstm(4, gates="ifgo", forget_bias=1.0), _SEQUENCE),
    "lstm, forget gate first": Situation(lambda layers: layers.lstm(4, gates="figo", forget_bias=1.0), _SEQUENCE),
    "lstm, other gates": Situation(lambda layers: layers.lstm(4, gates="ogfi", return_sequences=True), _SEQUENCE),
    "lstm, two biases, reverse": Situation(
        lambda layers: layers.lstm(4, biases=2, reverse=True, return_sequences=True), _SEQUENCE
    ),
    "lstm, masked": Situation(lambda layers: layers.lstm(4, return_sequences=True), _SEQUENCE, masked=True),
    "lstm, reverse, masked": Situation(lambda layers: layers.lstm(4, reverse=True), _SEQUENCE, masked=True),
    "gru": Situation(lambda layers: layers.gru(4), _SEQUENCE),
    "gru, reset after, two biases": Situation(lambda layers: layers.gru(4, biases=2), _SEQUENCE),
    "gru, reset before": Situation(
        lambda layers: layers.gru(4, gates="zrn", reset="before", return_sequences=True), _SEQUENCE
    ),
    "gru, reset before, two biases, masked": Situation(
        lambda layers: layers.gru(4, reset="before", biases=2), _SEQUENCE, masked=True
    ),
    "bidirectional": Situation(lambda layers: layers.bidirectional(layers.lstm(3)), _SEQUENCE, masked=True),
    "bidirectional, sum": Situation(
        lambda layers: layers.bidirectional(layers.gru(3, return_sequences=True), join="sum"), _SEQUENCE
    ),
    "attention": Situation(lambda layers: layers.attention(2), (5, 4)),
    "attention, masked": Situation(lambda layers: layers.attention(2), (5, 4), masked=True),
    "attention, causal": Situation(lambda layers: layers.attention(1, causal=True), (5, 4), masked=True),
    "attention, narrow, no bias": Situation(lambda layers: layers.attention(3, key_units=2, bias=False), (5, 4)),
    "positional encoding": Situation(lambda layers: layers.positional_encoding(), (5, 4)),
    "positional encoding, halves": Situation(
        lambda layers: layers.positional_encoding(base=100.0, layout="halves"), (5, 5)
    ),
    "residual": Situation(lambda layers: layers.residual(layers.dense(4)), (4,)),
    "parallel, sum": Situation(lambda layers: layers.parallel(layers.dense(3), layers.dense(3)), (4,)),
    "parallel, concatenate": Situation(
        lambda layers: layers.parallel(
            layers.sequence(layers.dense(3), layers.activation("tanh")), layers.dense(2), join="concatenate"
        ),
        (4,),
    ),
    "recurrent layers on each other": Situation(
        lambda layers: layers.sequence(layers.lstm(3, return_sequences=True), layers.gru(2), layers.dense(2)),
        _SEQUENCE,
        masked=True,
    ),
    "embedding, zeros masked": Situation(
        lambda layers: layers.sequence(layers.embedding(INTEGERS, 3, mask_zero=True), layers.lstm(3)),
        (5,),
        integers=True,
    ),
    "masking": Situation(
        lambda layers: layers.sequence(layers.activation("relu"), layers.masking(), layers.gru(3)), (5, 1)
    ),
    "masking of two features": Situation(
        lambda layers: layers.sequence(
            layers.activation("relu"), layers.masking(), layers.simple_rnn(3, return_sequences=True)
        ),
        (5, 2),
    ),
    "bag of embeddings": Situation(
        lambda layers: layers.sequence(layers.embedding(INTEGERS, 3), layers.global_average_pool(), layers.dense(2)),
        (5,),
        integers=True,
        masked=True,
    ),
    "small network": Situation(_small_network, (6, 6, 2)),
    "transformer block": Situation(_transformer_block, (5,), integers=True, masked=True),
}

# With equal numbers, next to which there is no slope that a difference would show.
TIED: dict[str, Situation] = {
    "max pool, tied": Situation(lambda layers: layers.max_pool((2, 2)), _IMAGE, tied=True),
    "max pool, overlapping, tied": Situation(lambda layers: layers.max_pool((3, 2), stride=1), _IMAGE, tied=True),
    "global max pool, tied": Situation(lambda layers: layers.global_max_pool(), _SEQUENCE, tied=True),
}
