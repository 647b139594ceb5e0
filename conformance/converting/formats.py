"""How each framework's files name the tensors of a model's layers, read and written.

A tensor is called by the path of its layer and its leaf, which ``wrappers.layouts`` has: ``0.weight`` of PyTorch's
``state_dict``, ``dense/kernel`` of Keras, ``params/Dense_0/kernel`` of Flax's linen. Written are the names of a plain
series of the framework's own layers; read is any path, as long as leaf, shape and order tell which layer it is.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from conformance.problems.tensors import Tensors
from conformance.wrappers.layouts import KERAS, LINEN, TORCH, LayerLayout

# In a file of Keras's own, the variables of a layer have numbers.
_VARIABLES = {
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
    "embedding": ("embeddings",),
    **dict.fromkeys(("simple_rnn", "lstm", "gru"), ("kernel", "recurrent_kernel", "bias")),
}
_PLAIN = ("kernel", "bias")
MOST_DIGITS = 9  # of a number in a path; longer ones are text
_IN_FILE = re.compile(r"layers/(?P<layer>[^/]+)/(?:cell/)?vars/(?P<number>\d{1,3})")
_RECURRENT = re.compile(r"(?P<leaf>(?:weight|bias)_(?:ih|hh))_l0")
_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Format:
    """How a framework's files name tensors.

    ``title``: of the framework; ``layouts``: of its layers; ``module``: of this project, whose layers have a forward
    pass. ``normal`` makes of a name in a file a path and a leaf joined by dots, or nothing for what is of no layer;
    ``path`` is that of a layer to be written: of its kind, its place, and how many of its kind came before;
    ``written`` a name in a file of a path and a leaf.
    """

    title: str
    layouts: Mapping[str, LayerLayout]
    module: str
    normal: Callable[[str], str]
    path: Callable[[str, str, int], str]
    written: Callable[[str, str], str]

    def leaves(self) -> set[str]:
        """The leaves of all layers, those of gates one by one."""
        found = set()
        for layout in self.layouts.values():
            for leaf, _ in layout.parameters.values():
                found |= {leaf.format(gate) for gate in layout.gates} if "{}" in leaf else {leaf}
        return found

    def grouped(self, tensors: Iterable[str]) -> dict[str, dict[str, str]]:
        """The names of a file's tensors by the path of their layer and their leaf, in the order of numbers in paths."""
        known, groups = self.leaves(), dict[str, dict[str, str]]()
        for name in tensors:
            parts = self.normal(name).split(".")
            for cut in range(len(parts)):  # the longest leaf that is known
                leaf = ".".join(parts[cut:])
                if leaf in known:
                    groups.setdefault(".".join(parts[:cut]), {})[leaf] = name
                    break
        return {path: groups[path] for path in sorted(groups, key=_by_number)}


def _by_number(path: str) -> list[tuple[int, str]]:
    """Numbers by their size: ``dense`` before ``dense_2`` before ``dense_10``."""
    parts = re.split(r"[._/]|(?<=\D)(?=\d)", path)
    return [(int(part), "") if part.isdecimal() and len(part) <= MOST_DIGITS else (-1, part) for part in parts]


def snake(kind: str) -> str:
    """The name that Keras gives to the first layer of a kind.

    >>> snake("BatchNormalization"), snake("Conv2D"), snake("GRU(reset_after=False)"), snake("SimpleRNN")
    ('batch_normalization', 'conv2d', 'gru', 'simple_rnn')
    """
    plain = kind.partition("(")[0]
    return plain.lower() if plain.isupper() or plain.startswith("Conv") else _SNAKE.sub("_", plain).lower()


def _of_torch(name: str) -> str:
    found = _RECURRENT.search(name)
    return name[: found.start()] + found["leaf"] + name[found.end() :] if found else name


def _to_torch(path: str, leaf: str) -> str:
    return f"{path}.{leaf}_l0" if leaf.endswith(("_ih", "_hh")) else f"{path}.{leaf}"


def _of_keras(name: str) -> str:
    """``dense_1/kernel``, or ``layers/dense_1/vars/0`` of Keras's own files, of which the optimizer's are left out."""
    found = _IN_FILE.fullmatch(name)
    if found is None:
        return "" if name.startswith(("optimizer/", "layers/")) else name.replace("/", ".")
    kind = re.sub(r"_\d+$", "", found["layer"])
    leaves, number = _VARIABLES.get(kind, _PLAIN), int(found["number"])
    return f"{found['layer']}.{leaves[number]}" if number < len(leaves) else ""


def variable_of(path: str, leaf: str) -> str:
    """The name of a tensor in a file of Keras's own, ``layers/gru_1/cell/vars/0``."""
    kind = re.sub(r"_\d+$", "", path)
    cell = "cell/" if kind in ("simple_rnn", "lstm", "gru") else ""
    return f"layers/{path}/{cell}vars/{_VARIABLES.get(kind, _PLAIN).index(leaf)}"


def _of_flax(name: str) -> str:
    return name.removeprefix("params/").removeprefix("batch_stats/").replace("/", ".")


def _to_flax(path: str, leaf: str) -> str:
    collection = "batch_stats" if leaf in ("mean", "var") else "params"
    return f"{collection}/{path}/{leaf.replace('.', '/')}"


FORMATS = {
    "torch": Format(
        "PyTorch", TORCH, "torch", _of_torch, lambda kind, place, count: place, _to_torch,
    ),
    "keras": Format(
        "Keras", KERAS, "tf", _of_keras, lambda kind, place, count: snake(kind) + (f"_{count}" if count else ""),
        lambda path, leaf: f"{path}/{leaf}",
    ),
    "flax": Format(
        "Flax", LINEN, "jax", _of_flax, lambda kind, place, count: f"{kind}_{count}", _to_flax,
    ),
}  # fmt: skip


def in_file_of_keras(tensors: Tensors) -> Tensors:
    """Tensors by ``dense/kernel`` as those of a file that ``model.load_weights`` reads."""
    return {variable_of(*name.split("/", 1)): value for name, value in tensors.items()}
