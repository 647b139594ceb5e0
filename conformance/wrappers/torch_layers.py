"""A user's PyTorch model and the layers of a recipe: its modules in the order of their calls, what they compute.

Data here has the channels second, there last. Where a shape does not tell, it is as the last module before had it of
which it is known.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from conformance.adapters.session import Unsupported
from conformance.wrappers.layer_calls import Call, counted_calls, layers_by_call
from conformance.wrappers.layouts import TORCH, OwnLayer
from conformance.wrappers.matching import CannotMatch, Matching, Shape
from conformance.wrappers.recipe_layers import DIRECTIONS, RecipeLayer

_CONVOLVING = (nn.Conv1d, nn.Conv2d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
_GLOBAL_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
_CHANNELS_SECOND = (*_CONVOLVING, nn.modules.batchnorm._BatchNorm, *_POOLS, *_GLOBAL_POOLS)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
_DROPOUTS = nn.modules.dropout._DropoutNd


_LEAVES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of a recurrent layer
_DIRECTIONS = tuple(zip(DIRECTIONS, ("", "_reverse"), strict=True))  # and what leaves end in


def called_modules(model: nn.Module, run: Callable[[], Any]) -> list[tuple[str, nn.Module]]:
    """A model's modules in the order in which ``run`` calls them, each as often as it is called, by path.

    Nothing is changed: the model runs in inference, without gradients.
    """
    found: list[tuple[str, nn.Module]] = []
    paths = {module: path for path, module in model.named_modules()}
    was_training = model.training
    with ExitStack() as hooks, torch.no_grad():
        for each in paths:
            hooks.enter_context(each.register_forward_pre_hook(lambda module, _: found.append((paths[module], module))))
        model.eval()
        run()
    model.train(was_training)
    return found


def own_layers(model: nn.Module, called: Sequence[tuple[str, nn.Module]]) -> tuple[list[OwnLayer], list[Call]]:
    """The layers of a model that TORCH knows, in the order of their calls, and its calls by kind.

    Raises CannotMatch for one that drops units inside.
    """
    first = dict(called)
    modules = first | {path: module for path, module in model.named_modules() if path not in first}
    layers = [layer for path, module in modules.items() for layer in _layers_of(path, module)]
    inside = tuple(f"{layer.path}." for layer in layers)
    calls = counted_calls([(path, _kind(module)) for path, module in called if not path.startswith(inside)])
    return [layer for layer in layers if not layer.path.startswith(inside)], list(calls)


def _layers_of(path: str, module: nn.Module) -> Iterator[OwnLayer]:
    """A module as a layer, or a recurrent one as its stack of them."""
    made = type(module).__mro__
    kind = next((one.__name__ for one in made if one.__name__ in TORCH and getattr(nn, one.__name__, None) is one), "")
    if not kind:
        return
    shown, before = f"torch.nn.{kind} {path!r}", f"{path}." if path else ""
    own = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    stacked = module.num_layers if isinstance(module, nn.RNNBase) else 1
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.dropout and (stacked > 1 or kind[0] == "M"):
        raise CannotMatch(f"{shown} has dropout={module.dropout}, which no recipe has inside of such a layer: say 0")
    if not isinstance(module, nn.RNNBase):
        yield OwnLayer(path, kind, {name: before + name for name in own}, shown)
        return
    for place in range(stacked):
        leaves = {
            (f"{direction}.{leaf}" if module.bidirectional else leaf): f"{before}{leaf}_l{place}{ending}"
            for direction, ending in _DIRECTIONS[: 1 + module.bidirectional]
            for leaf in _LEAVES
            if f"{leaf}_l{place}{ending}" in own
        }
        yield OwnLayer(path, kind, leaves, shown, first=place == 0, last=place == stacked - 1)


def _kind(module: nn.Module) -> str:
    """What a layer without parameters is, as the recipe's are told apart."""
    known: dict[str, tuple[Any, ...]] = {
        "dropout": (_DROPOUTS,), "flatten": (nn.Flatten,), "reshape": (nn.Unflatten,), "pool": _POOLS,
        "global pool": _GLOBAL_POOLS,
    }  # fmt: skip
    found = next((kind for kind, classes in known.items() if isinstance(module, classes)), "")
    of_activations = type(module).__module__ == nn.ReLU.__module__ and not isinstance(module, nn.MultiheadAttention)
    return "activation" if of_activations else found


class WatchedLayers:
    """Hooks on a model that is matched to a recipe's layers: what they compute is seen, dropout gets the tape's masks.

    ``seen``: by the recipe's names and in its layouts, of the last forward pass that was watched.
    """

    def __init__(self, model: nn.Module, matching: Matching, calls: Sequence[Call]) -> None:
        self.seen: dict[str, Tensor] = {}
        self._watching = False
        self._masks: list[Tensor] | None = None
        self._used = 0
        self._second = False  # whether the last module of which it is known had the channels second
        self._calls: dict[str, int] = {}
        self._owners = matching.layers
        self._layers = layers_by_call(matching.recipe, matching.layers, calls)
        paths = {path for path, _ in self._layers}
        for path, module in model.named_modules():
            if path in paths or isinstance(module, (*_CHANNELS_SECOND, *_CHANNELS_LAST, _DROPOUTS)):
                module.register_forward_hook(self._sees(path))

    @contextmanager
    def during(self, masks: list[Tensor] | None, watch: bool) -> Iterator[None]:
        """A forward pass whose dropout modules get ``masks`` in turn, ``(m, ...)`` as the recipe's layers; None: none.

        Raises ValueError for another number of dropout modules that are called, Unsupported for none.
        """
        self._watching, self._masks, self._used, self._second, self._calls = watch, masks, 0, False, {}
        if watch:
            self.seen = {}
        yield
        if masks and self._used == 0:
            raise Unsupported("the model has no nn.Dropout module that could be given the recipe's masks")
        if masks and self._used < len(masks):
            raise ValueError(f"the model called Dropout {self._used} times: the recipe has it {len(masks)} times")

    def _sees(self, path: str) -> Callable[..., Any]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
            replaced = self._dropped(path, module, arguments[0]) if isinstance(module, _DROPOUTS) else None
            second = isinstance(module, _CHANNELS_SECOND)
            known = second or isinstance(module, _CHANNELS_LAST)
            self._second = second if known else self._second
            call = self._calls.get(path, 0)
            self._calls[path] = call + 1
            layers = self._layers.get((path, call), []) if self._watching else []
            for layer in layers:
                found = output if replaced is None else replaced
                self._note(layer, module, arguments, found, second if known else None)
            return replaced

        return hook

    def _note(self, layer: RecipeLayer, module: Any, arguments: tuple[Any, ...], output: Any, second: Any) -> None:
        """Note what a module was given and gives for one of the recipe's layers that it is."""
        own = self._owners.get(layer.path)
        if own is not None and own.first and arguments:
            _check_order(own, module, arguments[0], layer)
        if (own is None or own.first) and layer.input and layer.input not in self.seen and arguments:
            self._keep(layer.input, arguments[0], layer.input_shape, module, second)
        if own is not None and not own.last:
            return
        if isinstance(module, nn.RNNBase):
            self._note_states(layer, module, output)
        else:
            whole = output[0] if isinstance(output, tuple) else output
            self._keep(layer.output, whole, layer.shape, module, second)
            weights = output[1] if isinstance(module, nn.MultiheadAttention) else None
            if weights is not None and weights.ndim == 4:
                self.seen[f"{layer.path}.weights"] = weights.detach().clone()

    def _note_states(self, layer: RecipeLayer, module: nn.RNNBase, output: Any) -> None:
        """The states of a recurrent module, ``(m, t, n)``, and its output: they, or the last of them."""
        states, last = output[0], output[1][0] if isinstance(output[1], tuple) else output[1]
        joined = layer.keywords.get("join", "concatenate") == "concatenate"
        if isinstance(states, Tensor):  # and not packed
            states = states if module.batch_first else states.transpose(0, 1)
            halves = states.chunk(len(layer.directions) or 1, dim=-1)
            names = [f"{layer.path}.{direction}.h" for direction in layer.directions] or [f"{layer.path}.h"]
            self.seen |= {name: half.detach().clone() for name, half in zip(names, halves, strict=True)}
            if layer.keywords["return_sequences"] and joined and layer.output:
                self.seen[layer.output] = states.detach().clone()
        if not layer.keywords["return_sequences"] and joined and layer.output:
            self.seen[layer.output] = torch.cat(list(last[-(len(layer.directions) or 1) :]), dim=-1).detach().clone()

    def _keep(self, name: str, value: Any, shape: Shape, module: Any, second: bool | None) -> None:
        """Note a value in the recipe's layout, if it has a name and that can be told."""
        if not name or not isinstance(value, Tensor) or not value.is_floating_point():
            return
        if isinstance(module, nn.MultiheadAttention) and not module.batch_first:
            value = value.transpose(0, 1)
        if isinstance(module, nn.RNNBase) and not module.batch_first:
            value = value.transpose(0, 1)
        found = _with_channels_last(value, shape, second, self._second)
        if found is not None:
            self.seen[name] = found.detach().clone()  # what comes after may work in place

    def _dropped(self, path: str, module: Any, x: Tensor) -> Tensor | None:
        """What a dropout module gives with the next of the masks; None for what it gives itself."""
        if not module.training or module.p == 0:
            return None
        if self._masks is None:
            return x
        if self._used == len(self._masks):
            raise ValueError(f"the model's {path} drops units once more than the recipe, {self._used} times")
        if not isinstance(module, nn.Dropout):
            raise ValueError(f"the model's {path} is a {type(module).__name__}: the recipe drops each unit by itself")
        mask = self._masks[self._used]
        self._used += 1
        moved = mask.movedim(-1, 1)
        fitting = [each for each in (mask, moved) if each.shape == x.shape]
        if not fitting:
            raise ValueError(
                f"the model's {path} drops units of {tuple(x.shape)}: the recipe's are {tuple(mask.shape)}"
            )
        kept: Tensor = x * fitting[-1 if self._second else 0] / (1 - module.p)
        return kept


def _check_order(own: OwnLayer, module: Any, given: Tensor, layer: RecipeLayer) -> None:
    """Raise ValueError for a module that takes the steps first, ``(t, m, n)``, and is given the examples first."""
    if getattr(module, "batch_first", True) or given.ndim != 3 or len(layer.input_shape) != 2:
        return
    if given.shape[1:] == layer.input_shape and len(given) != layer.input_shape[0]:
        raise ValueError(f"{own.shown} takes (t, m, n) and is given (m, t, n), {tuple(given.shape)}: batch_first=True?")


def _with_channels_last(value: Tensor, shape: Shape, second: bool | None, before: bool) -> Tensor | None:
    """A value ``(m, ...)`` in the recipe's layout, in which an example has ``shape``; None where it is not like it.

    ``second``: whether its channels are second, None where that is to be seen; ``before``: if shapes do not tell.
    """
    if value.ndim < 3:
        return value if value.shape[1:] == shape else None
    moved = value.movedim(1, -1)
    fitting = {turned: each for turned, each in ((False, value), (True, moved)) if each.shape[1:] == shape}
    wanted = (len(fitting) < 2 or before) if second is None else second
    if wanted in fitting or (second is None and fitting):
        return fitting.get(wanted, next(iter(fitting.values())))
    one_each = [size for size in value.shape[1:] if size != 1] == [size for size in shape if size != 1]
    return value.reshape(len(value), *shape) if one_each and shape else None
