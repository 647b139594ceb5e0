"""Names in the files that Keras writes, ``layers/dense_1/vars/0``, and by their variables, ``dense_1/kernel``."""

import re

from conformance.problems.tensors import Tensors

# In a file of Keras's own, the variables of a layer have numbers.
_RECURRENT = ("kernel", "recurrent_kernel", "bias")
_VARIABLES = {
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
    "embedding": ("embeddings",),
    **dict.fromkeys(("simple_rnn", "lstm", "gru", "bidirectional"), _RECURRENT),
}
_PLAIN = ("kernel", "bias")
_PARTS = {"query": "query_dense", "key": "key_dense", "value": "value_dense", "attention_output": "output_dense"}
_IN_FILE = re.compile(
    r"layers/(?P<layer>[^/]+)/(?:(?P<direction>forward|backward)_layer/|(?P<part>[a-z]+_dense)/)?(?:cell/)?"
    r"vars/(?P<number>\d{1,3})"
)
_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake(kind: str) -> str:
    """The name that Keras gives to the first layer of a kind.

    >>> snake("BatchNormalization"), snake("Conv2D"), snake("GRU(reset_after=False)"), snake("SimpleRNN")
    ('batch_normalization', 'conv2d', 'gru', 'simple_rnn')
    """
    plain = kind.partition("(")[0]
    return plain.lower() if plain.isupper() or plain.startswith("Conv") else _SNAKE.sub("_", plain).lower()


def name_of(name: str) -> str:
    """A variable's name by its layer and leaf, of one in a file of Keras's own; other names as they are.

    >>> name_of("layers/lstm_1/cell/vars/2"), name_of("layers/multi_head_attention/query_dense/vars/0")
    ('lstm_1/bias', 'multi_head_attention/query/kernel')

    "" for what is of no layer, such as the optimizer's variables.
    """
    found = _IN_FILE.fullmatch(name)
    if found is None:
        return "" if name.startswith(("optimizer/", "layers/")) else name
    leaves, number = _VARIABLES.get(_kind(found["layer"]), _PLAIN), int(found["number"])
    if number >= len(leaves):
        return ""
    inner = next((part for part, own in _PARTS.items() if own == found["part"]), "") or found["direction"]
    return "/".join(filter(None, (found["layer"], inner, leaves[number])))


def variable_of(name: str) -> str:
    """The name of a tensor in a file of Keras's own.

    >>> variable_of("gru_1/kernel"), variable_of("bidirectional/backward_gru/bias")
    ('layers/gru_1/cell/vars/0', 'layers/bidirectional/backward_layer/cell/vars/2')
    """
    layer, *inner, leaf = name.split("/")
    kind = _kind(layer)
    leaves = _VARIABLES.get(kind, _PLAIN)
    within = "".join(f"{_PARTS.get(part) or part.partition('_')[0] + '_layer'}/" for part in inner)
    return f"layers/{layer}/{within}{'cell/' if leaves == _RECURRENT else ''}vars/{leaves.index(leaf)}"


def in_file_of_keras(tensors: Tensors) -> Tensors:
    """Tensors by ``dense/kernel`` as those of a file that ``model.load_weights`` reads."""
    return {variable_of(name): value for name, value in tensors.items()}


def _kind(layer: str) -> str:
    return re.sub(r"_\d+$", "", layer)
