"""How each framework's files name the tensors of a model's layers, read and written.

A tensor is called by the path of its layer and its leaf, which ``wrappers.layouts`` has: ``0.weight`` of PyTorch's
``state_dict``, ``dense/kernel`` of Keras, ``params/Dense_0/kernel`` of Flax's linen, ``layers/0/kernel`` of its NNX.
Written are the names of a plain series of the framework's own layers; read is any path, as long as leaf, shape and
order tell which layer it is. Of a layer in both directions, each has a path of its own.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar

from conformance.converting.keras_files import name_of, snake
from conformance.converting.model_layers import RECURRENT, ModelLayer
from conformance.wrappers.layouts import KERAS, LINEN, NNX, TORCH, LayerLayout
from conformance.wrappers.recipe_layers import DIRECTIONS

MOST_DIGITS = 9  # of a number in a path; longer ones are text
Counts = Counter[str]


class Format(ABC):
    """How a framework's files name tensors.

    ``title``: of the framework; ``layouts``: of its layers; ``module``: of this project, whose layers have a forward
    pass; ``may_lack_biases``: whether its recurrent layers can be made without; ``rounding``: the kinds of layers that
    compute something in float32 whatever they are given; ``strides_or_dilates``: whether no convolution does both.
    """

    title: ClassVar[str]
    layouts: ClassVar[Mapping[str, LayerLayout]]
    module: ClassVar[str]
    may_lack_biases: ClassVar[bool] = True
    rounding: ClassVar[frozenset[str]] = frozenset()
    strides_or_dilates: ClassVar[bool] = False

    @abstractmethod
    def normal(self, name: str) -> str:
        """A path and a leaf joined by dots, of a name in a file; "" for what is of no layer."""

    @abstractmethod
    def path(self, kind: str, model: ModelLayer, counts: Counts) -> str:
        """That of a layer to be written, of a ``kind``; ``counts`` has how many of each name came before."""

    @abstractmethod
    def written(self, path: str, leaf: str) -> str:
        """The name in a file of a path and a leaf."""

    def grouped(self, tensors: Iterable[str]) -> dict[str, dict[str, str]]:
        """The names of a file's tensors by the path of their layer and their leaf, in the order of numbers in paths."""
        left = {self.normal(name): name for name in tensors}
        groups: dict[str, dict[str, str]] = {}
        for required, leaves in self._composed().items():
            for path in [name.removesuffix(required[0]) for name in left if f".{name}".endswith(f".{required[0]}")]:
                if all(path + leaf in left for leaf in required):
                    found = {leaf: left.pop(path + leaf) for leaf in leaves if path + leaf in left}
                    groups[path.removesuffix(".")] = found
        known = {leaf for layout in self.layouts.values() for leaf in _leaves(layout)}
        for name, own in left.items():
            path, _, leaf = name.rpartition(".")
            if leaf in known:
                groups.setdefault(path, {})[leaf] = own
        return {path: groups[path] for path in sorted(groups, key=_by_number)}

    def _composed(self) -> dict[tuple[str, ...], list[str]]:
        """The leaves of layers that are made of others, ``query.kernel``, by those without which there is none."""
        found: dict[tuple[str, ...], list[str]] = {}
        for layout in self.layouts.values():
            if any("." in leaf for leaf in _leaves(layout)):
                of_weights = [leaf for name, (leaf, _) in layout.parameters.items() if name[0] in "WU"]
                required = tuple(one for leaf in of_weights for one in _each_gate(leaf, layout))
                found[required] = list(dict.fromkeys([*found.get(required, []), *_leaves(layout)]))
        return found


def _leaves(layout: LayerLayout) -> list[str]:
    """The leaves of a layer, those of gates one by one."""
    return [one for leaf, _ in layout.parameters.values() for one in _each_gate(leaf, layout)]


def _each_gate(leaf: str, layout: LayerLayout) -> list[str]:
    return [leaf.format(gate) for gate in layout.gates] if "{}" in leaf else [leaf]


def _by_number(path: str) -> list[tuple[int, str]]:
    """Numbers by their size, ``dense`` before ``dense_2`` before ``dense_10``; forward before backward."""
    parts = re.split(r"[._/]|(?<=\D)(?=\d)", path.replace("backward", "forward~"))
    return [(int(part), "") if part.isdecimal() and len(part) <= MOST_DIGITS else (-1, part) for part in parts]


def without_numbers(path: str) -> str:
    """What is the same of the paths of layers that numbers and directions tell apart.

    >>> without_numbers("net.dense_12"), without_numbers("net.dense"), without_numbers("both_1.backward_lstm")
    ('net.dense', 'net.dense', 'both')
    """
    parts = [re.sub(r"_?\d+", "", part) for part in path.split(".") if not part.startswith(DIRECTIONS)]
    return ".".join(filter(None, parts))


def plain(path: str) -> str:
    """The same path for whatever a layer in one direction, and its cell, are called inside another.

    >>> plain("bidirectional_1.forward_lstm.lstm_cell"), plain("bidirectional_1.forward"), plain("gru.gru_cell")
    ('bidirectional_1.forward', 'bidirectional_1.forward', 'gru')
    """
    kept = [part for part in path.split(".") if not part.endswith("_cell")]
    return ".".join(part.partition("_")[0] if part.startswith(DIRECTIONS) else part for part in kept)


class _Torch(Format):
    title, layouts, module = "PyTorch", TORCH, "torch"
    _recurrent = re.compile(r"(?:^|\.)(?P<leaf>(?:weight|bias)_(?:ih|hh))_l(?P<number>\d{1,3})(?P<backward>_reverse)?$")

    def normal(self, name: str) -> str:
        found = self._recurrent.search(name)
        if found is None:
            return name
        stacked = found["number"].lstrip("0")
        backward = DIRECTIONS[1] if found["backward"] else ""
        return ".".join(filter(None, (name[: found.start()], stacked, backward, found["leaf"])))

    def path(self, kind: str, model: ModelLayer, counts: Counts) -> str:
        return f"{model.place}.{DIRECTIONS[1]}" if model.direction == DIRECTIONS[1] else model.place

    def written(self, path: str, leaf: str) -> str:
        if not leaf.endswith(("_ih", "_hh")):
            return f"{path}.{leaf}"
        module = path.removesuffix(f".{DIRECTIONS[1]}")
        return f"{module}.{leaf}_l0{'_reverse' if module != path else ''}"


class _Keras(Format):
    title, layouts, module, strides_or_dilates = "Keras", KERAS, "tf", True
    rounding = frozenset({"MultiHeadAttention"})  # 1 / sqrt(key_units)

    def normal(self, name: str) -> str:
        return name_of(name).replace("/", ".")

    def path(self, kind: str, model: ModelLayer, counts: Counts) -> str:
        stem = "bidirectional" if model.direction else snake(kind)
        number = counts[stem]
        counts[stem] += model.direction != DIRECTIONS[0]
        outer = f"{stem}_{number}" if number else stem
        return f"{outer}.{model.direction}_{snake(kind)}" if model.direction else outer

    def written(self, path: str, leaf: str) -> str:
        return f"{path}.{leaf}".replace(".", "/")


class _Linen(Format):
    title, layouts, module, may_lack_biases = "Flax", LINEN, "jax", False

    def normal(self, name: str) -> str:
        return name.removeprefix("params/").removeprefix("batch_stats/").replace("/", ".")

    def path(self, kind: str, model: ModelLayer, counts: Counts) -> str:
        counts[kind] += 1
        return f"{kind}_{counts[kind] - 1}"

    def written(self, path: str, leaf: str) -> str:
        collection = "batch_stats" if leaf in ("mean", "var") else "params"
        return f"{collection}/{path}/{leaf.replace('.', '/')}"


class _NNX(Format):
    title, layouts, module, may_lack_biases = "NNX", NNX, "nnx.jax", False
    rounding = frozenset({"MultiHeadAttention"})  # the softmax, which is jax.nn.dot_product_attention's

    def normal(self, name: str) -> str:
        return name.replace("/", ".").replace(".if_.", ".if.")

    def path(self, kind: str, model: ModelLayer, counts: Counts) -> str:
        outer = "".join(f"layers.{place}." for place in model.place.split("."))
        runs = f"{model.direction}_rnn." if model.direction else ""
        return f"{outer}{runs}{'cell.' if model.layer.name in RECURRENT else ''}".removesuffix(".")

    def written(self, path: str, leaf: str) -> str:
        return f"{path}.{leaf}".replace(".if.", ".if_.").replace(".", "/")


FORMATS: Mapping[str, Format] = {"torch": _Torch(), "keras": _Keras(), "flax": _Linen(), "nnx": _NNX()}
