"""Inside of a user's Keras model: its variables by path, what its layers compute, and the masks of its dropout."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

from conformance.adapters.session import Unsupported
from conformance.problems.tensors import layer_of
from conformance.wrappers.matching import Matching

_NORMALIZATIONS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
_RUNNING = ("moving_mean", "moving_variance")


def layers_by_path(model: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """A model's layers with their paths: the names that the user gave them, else their places; within models too."""
    for place, layer in enumerate(model.layers):
        path = before + (str(place) if _is_automatic(layer) else layer.name)
        yield path, layer
        if isinstance(layer, keras.Model):
            yield from layers_by_path(layer, f"{path}.")


def variables_by_path(model: Any) -> dict[str, Any]:
    """A model's variables of real numbers, parameters and running averages, by path, in the order of its layers."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for path, layer in [*layers_by_path(model), ("", model)]:
        for variable in () if isinstance(layer, keras.Model) and path else layer.weights:
            if id(variable) not in seen and keras.backend.is_float_dtype(variable.dtype):
                seen.add(id(variable))
                inside = variable.path.rpartition(f"{layer.name}/")[2].replace("/", ".")
                found[f"{path}.{inside}" if path else inside] = variable
    return found


def is_running(path: str) -> bool:
    """Whether a path is that of a running average."""
    return path.rpartition(".")[2] in _RUNNING


class Watched:
    """A model whose layers are seen at work, and whose ``Dropout`` layers get the masks of the tape.

    ``seen``: by the recipe's names, of the last forward pass that was watched. What a ``Dense`` layer gives to its
    activation is its ``Z``, a normalisation's output its ``N``; a layer's ``A`` is what the next layer takes, however
    it was made of them.
    """

    def __init__(self, model: Any, matching: Matching) -> None:
        self.seen: dict[str, Any] = {}
        self._watching = False
        self._masks: list[Any] | None = None
        self._used = 0
        self._layers = dict(layers_by_path(model))
        self._homes = [
            (m.name, self._layers[home])
            for m in matching.matches
            if m.name.startswith(("W", "gamma")) and (home := m.path.rpartition(".")[0]) in self._layers
        ]

    @contextmanager
    def during(self, masks: list[Any] | None, watch: bool) -> Iterator[None]:
        """A forward pass whose ``Dropout`` layers get ``masks``, of its hidden layers in turn; None: drop nothing.

        Raises ValueError for another number of ``Dropout`` layers that are called, Unsupported for none.
        """
        self._watching, self._masks, self._used = watch, masks, 0
        self.seen = {} if watch else self.seen
        with ExitStack() as hooks:
            for layer in self._layers.values():
                if isinstance(layer, keras.layers.Dropout):
                    hooks.enter_context(replaced(layer, "call", self._drop(layer)))
            for name, layer in self._homes if watch else ():
                if name.startswith("gamma") and isinstance(layer, _NORMALIZATIONS):
                    hooks.enter_context(replaced(layer, "call", self._sees(layer.call, output=f"N{layer_of(name)}")))
                if isinstance(layer, keras.layers.Dense):
                    before, own = f"A{layer_of(name) - 1}", f"Z{layer_of(name)}"
                    hooks.enter_context(replaced(layer, "call", self._sees(layer.call, taken=before)))
                    activation = layer.activation or keras.activations.linear
                    hooks.enter_context(replaced(layer, "activation", self._sees(activation, taken=own)))
            yield
        if masks and self._used == 0:
            raise Unsupported("the model has no keras.layers.Dropout that could be given the recipe's masks")
        if masks and self._used < len(masks):
            raise ValueError(f"the model called Dropout {self._used} times: the recipe has it {len(masks)} times")

    def _sees(self, function: Callable[..., Any], *, taken: str = "", output: str = "") -> Callable[..., Any]:
        def seeing(x: Any, *arguments: Any, **keywords: Any) -> Any:
            found = function(x, *arguments, **keywords)
            self.seen |= {name: value for name, value in ((taken, x), (output, found)) if name and name != "A0"}
            return found

        return seeing

    def _drop(self, layer: Any) -> Callable[..., Any]:
        def drop(x: Any, training: bool = False) -> Any:
            if not training or layer.rate == 0 or self._masks is None:
                return x
            if self._used == len(self._masks):
                raise ValueError(f"the model's {layer.name} drops units once more than the recipe, {self._used} times")
            self._used += 1
            return x * tf.cast(self._masks[self._used - 1], x.dtype) / (1 - layer.rate)

        return drop


@contextmanager
def replaced(layer: Any, attribute: str, value: Any) -> Iterator[None]:
    """While this lasts a layer has another attribute, which Keras does not track."""
    own = vars(layer).get(attribute)
    object.__setattr__(layer, attribute, value)
    try:
        yield
    finally:
        if own is None:
            object.__delattr__(layer, attribute)
        else:
            object.__setattr__(layer, attribute, own)


def _is_automatic(layer: Any) -> bool:
    """Whether Keras named a layer itself, by its class and a running number."""
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
    return re.fullmatch(rf"{re.escape(snake)}(_\d+)?", layer.name) is not None
