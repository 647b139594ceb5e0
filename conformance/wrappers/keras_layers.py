"""A user's Keras model and the layers of a recipe: its layers in the order of their calls, what they compute."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

from conformance.adapters.session import Unsupported
from conformance.wrappers.keras_hooks import layers_by_path, replaced
from conformance.wrappers.layer_calls import Call, counted_calls, layers_by_call
from conformance.wrappers.layouts import KERAS, OwnLayer
from conformance.wrappers.matching import CannotMatch, Matching, Shape
from conformance.wrappers.recipe_layers import DIRECTIONS, RecipeLayer

_KINDS: dict[str, tuple[Any, ...]] = {
    "dropout": (keras.layers.Dropout,),
    "flatten": (keras.layers.Flatten,),
    "reshape": (keras.layers.Reshape,),
    "pool": (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.AveragePooling1D,
             keras.layers.AveragePooling2D),
    "global pool": (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D,
                    keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D),
}  # fmt: skip
_OF_ACTIVATIONS = keras.layers.ReLU.__module__.rpartition(".")[0]
_INNER = ".activation"  # after the path of a layer with an activation inside: a call of that


def all_layers(model: Any) -> dict[str, Any]:
    """A model's layers by path; those too that are inside of a layer which is not Keras's own."""
    found: dict[str, Any] = {}
    for path, layer in layers_by_path(model):
        found[path] = layer
        if not isinstance(layer, keras.Model) and not _kind_in_table(layer) and not _is_keras_s(layer):
            found |= {f"{path}.{inner.name}": inner for inner in layer._flatten_layers(include_self=False)}
    return found


def called_layers(layers: Mapping[str, Any], run: Callable[[], Any]) -> list[str]:
    """The paths of layers in the order in which ``run`` calls them, each as often as it is called."""
    found: list[str] = []

    def told(path: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def telling(*arguments: Any, **keywords: Any) -> Any:
            found.append(path)
            return call(*arguments, **keywords)

        return telling

    with ExitStack() as hooks:
        for path, layer in layers.items():
            hooks.enter_context(replaced(layer, "call", told(path, layer.call)))
        run()
    return found


def own_layers(
    layers: Mapping[str, Any], called: Sequence[str], variables: Mapping[str, Any]
) -> tuple[list[OwnLayer], list[Call]]:
    """The layers that KERAS knows, in the order of their calls, and the calls by kind; an activation inside is one too.

    ``variables``: the model's by path. Raises CannotMatch for a layer that drops units inside.
    """
    paths = {id(variable): path for path, variable in variables.items()}
    order = dict.fromkeys((*called, *layers))
    known = [own for path in order for own in _own_layer(path, layers[path], paths)]
    inside = tuple(f"{own.path}." for own in known)
    calls: list[tuple[str, str]] = []
    for path in called:
        if not path.startswith(inside):
            calls.append((path, _kind(layers[path])))
            if _has_activation(layers[path]):
                calls.append((path + _INNER, "activation"))
    return [own for own in known if not own.path.startswith(inside)], list(counted_calls(calls))


def _own_layer(path: str, layer: Any, paths: Mapping[int, str]) -> Iterator[OwnLayer]:
    both = isinstance(layer, keras.layers.Bidirectional)
    inner = layer.forward_layer if both else layer
    kind = _kind_in_table(inner)
    if not kind:
        return
    shown = f"keras.layers.{kind} {path!r}"
    dropout = max(float(getattr(inner, name, 0.0) or 0.0) for name in ("dropout", "recurrent_dropout"))
    if dropout:
        raise CannotMatch(f"{shown} has dropout={dropout}, which no recipe has inside of such a layer: say 0")
    parts = dict(zip(DIRECTIONS, (layer.forward_layer, layer.backward_layer), strict=True)) if both else {"": layer}
    leaves = {
        ".".join(filter(None, (direction, _leaf(inner, variable)))): paths[id(variable)]
        for direction, part in parts.items()
        for variable in part.weights
        if id(variable) in paths
    }
    yield OwnLayer(path, kind, leaves, shown)


def _leaf(layer: Any, variable: Any) -> str:
    """What a layer calls a variable, with the part of it that has it where there are several."""
    parts = variable.path.split("/")
    return ".".join(parts[-2:]) if isinstance(layer, keras.layers.MultiHeadAttention) else str(parts[-1])


def _kind_in_table(layer: Any) -> str:
    """What KERAS calls a layer, or nothing; its own class counts, and one that is derived of it.

    ``RNN`` with one of Keras's cells is what that cell is of.
    """
    made, suffix = (layer.cell, "Cell") if type(layer) is keras.layers.RNN else (layer, "")
    of_keras = (known.__name__ for known in type(made).__mro__ if known.__module__.startswith("keras."))
    kind = next((name for name in (known.removesuffix(suffix) for known in of_keras) if name in KERAS), "")
    return "GRU(reset_after=False)" if kind == "GRU" and not made.reset_after else kind


def _is_keras_s(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.")


def _kind(layer: Any) -> str:
    """What a layer without parameters is, as the recipe's are told apart."""
    found = next((kind for kind, classes in _KINDS.items() if isinstance(layer, classes)), "")
    return "activation" if type(layer).__module__.startswith(_OF_ACTIVATIONS) else found


def _has_activation(layer: Any) -> bool:
    """Whether a layer has an activation after what it computes, and not within."""
    plain = isinstance(layer, keras.layers.Dense) or hasattr(layer, "kernel_size")
    return plain and layer.activation not in (None, keras.activations.linear)


class WatchedLayers:
    """A model that is matched to a recipe's layers: what they compute is seen, dropout gets the masks of the tape.

    ``seen``: by the recipe's names, of the last forward pass that was watched.
    """

    def __init__(self, layers: Mapping[str, Any], matching: Matching, calls: Sequence[Call]) -> None:
        self.seen: dict[str, Any] = {}
        self._masks: list[Any] | None = None
        self._used = 0
        self._calls: dict[str, int] = {}
        self._layers = layers
        self._by_call = layers_by_call(matching.recipe, matching.layers, calls)

    @contextmanager
    def during(self, masks: list[Any] | None, watch: bool) -> Iterator[None]:
        """A forward pass whose ``Dropout`` layers get ``masks`` in turn; None: drop nothing.

        Raises ValueError for another number of ``Dropout`` layers that are called, Unsupported for none.
        """
        self._masks, self._used, self._calls = masks, 0, {}
        self.seen = {} if watch else self.seen
        with ExitStack() as hooks:
            for path, layer in self._layers.items():
                call = self._drop(path, layer) if isinstance(layer, keras.layers.Dropout) else layer.call
                if watch and any(path == known for known, _ in self._by_call):
                    call = self._seeing(path, layer, call)
                if call is not layer.call:
                    hooks.enter_context(replaced(layer, "call", call))
                if watch and _has_activation(layer):
                    hooks.enter_context(replaced(layer, "activation", self._activating(path, layer.activation)))
            yield
        if masks and self._used == 0:
            raise Unsupported("the model has no keras.layers.Dropout that could be given the recipe's masks")
        if masks and self._used < len(masks):
            raise ValueError(f"the model called Dropout {self._used} times: the recipe has it {len(masks)} times")

    def _seeing(self, path: str, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def seeing(x: Any, *arguments: Any, **keywords: Any) -> Any:
            matched = self._by_call.get((path, self._calls.get(path, 0)), [])
            self._calls[path] = self._calls.get(path, 0) + 1
            for each in matched:
                if each.input not in self.seen:
                    self._keep(each.input, x, each.input_shape)
            found = call(x, *arguments, **keywords)
            for each in matched:
                self._note(each, layer, found)
            return found

        return seeing

    def _activating(self, path: str, activation: Callable[..., Any]) -> Callable[..., Any]:
        """A layer's activation, which shows what the layer computed, and what it makes of it."""

        def activating(x: Any) -> Any:
            call = self._calls.get(path, 0) - 1
            found = activation(x)
            for place, value in ((path, x), (path + _INNER, found)):
                for each in self._by_call.get((place, call), []):
                    self._keep(each.output, value, each.shape)
            return found

        return activating

    def _note(self, layer: RecipeLayer, own: Any, output: Any) -> None:
        """Note what an own layer gives for the recipe's that it is."""
        whole, *others = output if isinstance(output, (list, tuple)) else [output]
        if isinstance(own, keras.layers.Bidirectional):
            if own.return_sequences and own.merge_mode == "concat":
                halves = tf.split(whole, 2, axis=-1)
                self.seen |= {f"{layer.path}.{d}.h": half for d, half in zip(DIRECTIONS, halves, strict=True)}
        elif isinstance(own, keras.layers.RNN) and own.return_sequences:
            whole = tf.reverse(whole, [1]) if own.go_backwards else whole
            self.seen[f"{layer.path}.h"] = whole
        elif isinstance(own, keras.layers.MultiHeadAttention) and others:
            self.seen[f"{layer.path}.weights"] = others[0]
        if not _has_activation(own):
            self._keep(layer.output, whole, layer.shape)

    def _keep(self, name: str, value: Any, shape: Shape) -> None:
        """Note a value, if it has a name and is like the recipe's."""
        if name and tf.is_tensor(value) and value.dtype.is_floating and tuple(value.shape[1:]) == shape:
            self.seen[name] = value

    def _drop(self, path: str, layer: Any) -> Callable[..., Any]:
        def drop(x: Any, training: bool = False) -> Any:
            if not training or layer.rate == 0 or self._masks is None:
                return x
            if self._used == len(self._masks):
                raise ValueError(f"the model's {path} drops units once more than the recipe, {self._used} times")
            if type(layer) is not keras.layers.Dropout or layer.noise_shape is not None:
                kind = type(layer).__name__
                raise ValueError(f"the model's {path} is a {kind} of whole rows: the recipe drops each unit by itself")
            mask = self._masks[self._used]
            if mask.shape != x.shape:
                raise ValueError(f"the model's {path} drops units of {x.shape}: the recipe's are {mask.shape}")
            self._used += 1
            return x * tf.cast(mask, x.dtype) / (1 - layer.rate)

        return drop
