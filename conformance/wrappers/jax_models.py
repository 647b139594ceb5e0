"""A user's own JAX model, of whichever library, as one thing: parameters by path, and a function that runs it.

Flax (NNX and Linen) and Equinox are looked for among the modules that are imported already: whose model is of them has
imported them.
"""

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from conformance.data.wording import shown
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from conformance.wrappers.given import made, sample
from conformance.wrappers.jax_calls import Call, calls_of, masks_fed
from conformance.wrappers.jax_layers import cells, own_layers
from conformance.wrappers.jax_trees import Layout, dotted, uses_of
from conformance.wrappers.layouts import LINEN, NNX, LayerLayout, OwnLayer

# What models call the argument, or Flax's collections, that says whether they are trained; a key; and Flax's streams.
_IN_TRAINING = ("train", "training", "is_training")
_IN_INFERENCE = ("deterministic", "inference", "use_running_average")
_KEYS = ("key", "rng")
_DROPOUT_SEED = 0  # of masks that the recipe does not have


class Ran(NamedTuple):
    """What a run of a model gives: outputs, running averages after it, and the calls of its layers."""

    outputs: Any
    statistics: dict[str, Any]
    calls: list[Call]


class Net(ABC):
    """A model as it is for one problem. Parameters and running averages go by their paths, ``"layers.0.weight"``.

    ``parameters`` and ``statistics``: those that it was made with, in the order in which it uses them.
    ``inputs_first``: whether it multiplies with weights that are kept as (inputs, outputs). ``draws``: whether it draws
    random numbers in training. ``layouts``: how layers are that its library has; ``modules``: its modules by path.

    It is made for inputs like ``x``.
    """

    layouts: Mapping[str, LayerLayout] = {}
    dropouts: tuple[str, ...] = ()

    def __init__(self, parameters: Any, statistics: Any, problem: Problem, x: Any) -> None:
        self.layout, self._statistics_layout = Layout.of(parameters), Layout.of(statistics)
        own, averages = (
            {name: _in(problem.dtype, leaf) for name, leaf in layout.tensors(tree).items()}
            for layout, tree in ((self.layout, parameters), (self._statistics_layout, statistics))
        )
        leaves = [own[name] for name in self.layout.names], [averages[name] for name in self._statistics_layout.names]
        uses = uses_of(lambda *given: self._outputs(*given, training=False), *leaves, x)
        names = [*self.layout.names, *self._statistics_layout.names]
        order = [names[place] for place in uses.order if place < len(names)]
        order += [name for name in names if name not in order]
        self.parameters: dict[str, Any] = {name: own[name] for name in order if name in own}
        self.statistics: dict[str, Any] = {name: averages[name] for name in order if name in averages}
        self.inputs_first = all(dimension == 0 for place, dimension in uses.contracted.items() if place < len(own))
        self.draws = uses_of(lambda *given: self._outputs(*given, training=True), *leaves, x).draws

    def run(
        self, parameters: Mapping[str, Any], statistics: Mapping[str, Any], x: Any, *, training: bool,
        masks: Sequence[Any] | None,
    ) -> Ran:  # fmt: skip
        """Run the model on ``x`` ``(m, n_0)``. ``masks``: of its dropouts in turn; None: it draws them itself."""
        trees = self.layout.tree(parameters), self._statistics_layout.tree(statistics)
        outputs, after, calls = self.call(*trees, x, training=training, masks=masks)
        return Ran(outputs, self._statistics_layout.tensors(after), calls)

    @abstractmethod
    def call(
        self, parameters: Any, statistics: Any, x: Any, *, training: bool, masks: Sequence[Any] | None
    ) -> tuple[Any, Any, list[Call]]:
        """Outputs, running averages after it and calls, with parameters and averages as trees."""

    def own_layers(self) -> list[OwnLayer]:
        """The layers that ``layouts`` knows, in the order in which they are used."""
        return []

    @abstractmethod
    def whole(self, parameters: Any) -> Any:
        """What the user knows as the model with these parameters, for a penalty."""

    def _outputs(self, parameters: list[Any], statistics: list[Any], x: Any, *, training: bool) -> Any:
        own = jax.tree.unflatten(self.layout.structure, parameters)
        averages = jax.tree.unflatten(self._statistics_layout.structure, statistics)
        return self.call(own, averages, x, training=training, masks=None)[0]


class Plain(Net):
    """A function of parameters and inputs."""

    def __init__(self, parameters: Any, apply: Callable[..., Any], problem: Problem, x: Any) -> None:
        self._apply = apply
        super().__init__(parameters, {}, problem, x)

    def call(
        self, parameters: Any, statistics: Any, x: Any, *, training: bool, masks: Sequence[Any] | None
    ) -> tuple[Any, Any, list[Call]]:
        with masks_fed(masks):
            return self._apply(parameters, x, **_mode(self._apply, training)), statistics, []

    def whole(self, parameters: Any) -> Any:
        return parameters


class Nnx(Net):
    """A ``flax.nnx.Module``."""

    layouts = NNX

    def __init__(self, model: Any, problem: Problem, x: Any) -> None:
        self._nnx = sys.modules["flax.nnx"]
        nnx: Any = self._nnx
        self._definition, parameters, self._averages, self._others = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
        self._layers = (
            nnx.Linear, nnx.BatchNorm, nnx.LayerNorm, nnx.Conv, nnx.Embed, nnx.RNN, nnx.Bidirectional,
            nnx.MultiHeadAttention, nnx.Dropout,
        )  # fmt: skip
        self._modules = {".".join(map(str, path)): part for path, part in nnx.iter_modules(model)}
        self.dropouts = tuple(path for path, part in self._modules.items() if isinstance(part, nnx.Dropout))
        super().__init__(parameters, self._averages, problem, x)

    def own_layers(self) -> list[OwnLayer]:
        paths = {id(part): path for path, part in self._modules.items()}
        parts = {
            path: {direction: paths[id(part)] for direction, part in (cells(module) or {"": module}).items()}
            for path, module in self._modules.items()
        }
        return own_layers(self._modules, NNX, [*self.parameters, *self.statistics], parts)

    def call(
        self, parameters: Any, statistics: Any, x: Any, *, training: bool, masks: Sequence[Any] | None
    ) -> tuple[Any, Any, list[Call]]:
        model = self._nnx.merge(self._definition, parameters, statistics, self._others, copy=True)
        (model.train if training else model.eval)()
        layers = {path: part for path, part in self._nnx.iter_modules(model) if isinstance(part, self._layers)}
        paths = {id(layer): ".".join(map(str, path)) for path, layer in layers.items()}
        with calls_of(paths, map(type, layers.values())) as calls, masks_fed(masks):
            outputs = model(x, **_mode(model, training))
        return outputs, self._nnx.state(model, self._nnx.BatchStat), calls

    def whole(self, parameters: Any) -> Any:
        return self._nnx.merge(self._definition, parameters, self._averages, self._others, copy=True)


class Linen(Net):
    """A ``flax.linen.Module``, with the parameters that its own ``init`` draws."""

    layouts = LINEN

    def __init__(self, module: Any, problem: Problem, x: Any, seed: int) -> None:
        self._linen: Any = sys.modules["flax.linen"]
        self._module = module
        nn = self._linen
        self._layers = (
            nn.Dense, nn.BatchNorm, nn.LayerNorm, nn.Conv, nn.Embed, nn.RNN, nn.Bidirectional,
            nn.MultiHeadDotProductAttention, nn.Dropout,
        )  # fmt: skip
        self._modules: dict[str, Any] = {}
        self._parts: dict[str, dict[str, str]] = {}
        called: list[Any] = []

        def noted(following: Any, arguments: Any, keywords: Any, context: Any) -> Any:
            if context.method_name != "__call__":
                return following(*arguments, **keywords)
            called.append(context.module)
            before = len(called)
            returned = following(*arguments, **keywords)
            path, led = ".".join(context.module.path), cells(context.module)
            of_cells = [
                ".".join(m.path) for m in called[before:] if any(type(m) is type(cell) for cell in led.values())
            ]
            self._modules[path] = context.module
            self._parts[path] = dict(zip(led, dict.fromkeys(of_cells), strict=False)) or {"": path}
            return returned

        with nn.intercept_methods(noted):
            self._others = dict(module.init(self._streams(seed, "params"), x, **_mode(type(module).__call__, False)))
        self.dropouts = tuple(path for path, part in self._modules.items() if isinstance(part, nn.Dropout))
        super().__init__(self._others.pop("params", {}), self._others.pop("batch_stats", {}), problem, x)

    def own_layers(self) -> list[OwnLayer]:
        names = [*self.parameters, *self.statistics]
        return own_layers(self._modules, LINEN, names, self._parts)

    def call(
        self, parameters: Any, statistics: Any, x: Any, *, training: bool, masks: Sequence[Any] | None
    ) -> tuple[Any, Any, list[Call]]:
        calls: list[Call] = []

        def seen(following: Any, arguments: Any, keywords: Any, context: Any) -> Any:
            returned = following(*arguments, **keywords)
            if isinstance(context.module, self._layers) and context.method_name == "__call__":
                calls.append(Call(".".join(context.module.path), arguments[0], returned))
            return returned

        variables = {**self._others, "params": parameters} | ({"batch_stats": statistics} if statistics else {})
        with self._linen.intercept_methods(seen), masks_fed(masks):
            outputs, changed = self._module.apply(
                variables, x, **_mode(type(self._module).__call__, training), rngs=self._streams(_DROPOUT_SEED),
                mutable=["batch_stats"],
            )  # fmt: skip
        return outputs, changed.get("batch_stats", statistics), calls

    def whole(self, parameters: Any) -> Any:
        return parameters

    @staticmethod
    def _streams(seed: int, *names: str) -> dict[str, Any]:
        """Keys of Flax's streams of random numbers."""
        return {name: jax.random.key(seed) for name in (*names, "dropout")}


class Equinox(Net):
    """An ``equinox.Module`` of one example, run for all of a batch with ``jax.vmap``; ``state`` as its own or None."""

    def __init__(self, model: Any, state: Any, problem: Problem, x: Any) -> None:
        self._equinox: Any = sys.modules["equinox"]
        parameters, self._rest = self._equinox.partition(model, self._equinox.is_inexact_array)
        nn = self._equinox.nn
        self._layers, self._batch_norm = (nn.Linear, nn.BatchNorm, nn.LayerNorm), nn.BatchNorm
        self._state = jax.tree.map(lambda leaf: _in(problem.dtype, leaf), state)
        super().__init__(parameters, self._averages(model, self._state), problem, x)

    def call(
        self, parameters: Any, statistics: Any, x: Any, *, training: bool, masks: Sequence[Any] | None
    ) -> tuple[Any, Any, list[Call]]:
        model = self._equinox.nn.inference_mode(self._equinox.combine(parameters, self._rest), not training)
        layers = {path: part for path, part in _parts(model, self._equinox.Module) if isinstance(part, self._layers)}
        modules = {id(layer): path for path, layer in layers.items()}
        paths: list[str] = []
        state = self._state if self._state is None else self._filled(model, statistics)

        def of_one(row: Any, own_masks: Any, key: Any) -> Any:
            with calls_of(modules, map(type, layers.values())) as calls, masks_fed(own_masks):
                outputs = model(row, *(() if state is None else (state,)), **_mode(model, training, key))
            paths[:] = [call.path for call in calls]
            outputs, after = (outputs, None) if state is None else outputs
            return (outputs, [(call.given, _first(call.returned)) for call in calls]), after

        keys = jax.random.split(jax.random.key(_DROPOUT_SEED), len(x))
        axis = next((part.axis_name for part in layers.values() if isinstance(part, self._batch_norm)), None)
        (outputs, values), after = jax.vmap(of_one, out_axes=(0, None), axis_name=axis)(x, masks, keys)
        averages = statistics if state is None else self._averages(model, after)
        return outputs, averages, [Call(path, *both) for path, both in zip(paths, values, strict=True)]

    def whole(self, parameters: Any) -> Any:
        return self._equinox.combine(parameters, self._rest)

    def _normalizations(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Batch norms that keep averages of the batch's statistics, by path; those of ``mode="ema"`` use none."""
        for path, part in _parts(model, self._equinox.Module):
            if isinstance(part, self._batch_norm) and part.mode == "batch":
                yield path, part

    def _averages(self, model: Any, state: Any) -> dict[str, Any]:
        """The running averages that are in a state."""
        if state is None:
            return {}
        found = {path: state.get(part.batch_state_index) for path, part in self._normalizations(model)}
        return {path: {"mean": mean, "var": variance} for path, (mean, variance) in found.items()}

    def _filled(self, model: Any, averages: Any) -> Any:
        """The state with these averages, before the first step, when they are taken as they are."""
        state = jax.tree.map(lambda leaf: leaf, self._state)  # of a copy, as Equinox lets no state be used twice
        for path, part in self._normalizations(model):
            state = state.set(part.batch_state_index, (averages[path]["mean"], averages[path]["var"]))
        return state


def read_model(given: Any, problem: Problem, seed: int, inputs: Callable[[Any], Any] | None = None) -> Net:
    """What a user gave as the model, for a problem, or for what ``inputs`` makes of its inputs.

    Raises TypeError for what is none. A function that makes it is called with ``nnx.Rngs(seed)`` if its argument is
    called ``rngs``, with a key if it is called ``key``, else as :func:`made` does.
    """
    nnx, linen, equinox = (sys.modules.get(name) for name in ("flax.nnx", "flax.linen", "equinox"))
    pair = given if type(given) is tuple and len(given) == 2 else None
    x = jnp.asarray(sample(problem))
    x = x if inputs is None else inputs(x)
    if nnx is not None and isinstance(given, nnx.Module):
        return Nnx(given, problem, x)
    if linen is not None and isinstance(given, linen.Module):
        return Linen(given, problem, x, seed)
    if equinox is not None and isinstance(given, equinox.Module):
        return Equinox(given, None, problem, x)
    if equinox is not None and pair and isinstance(pair[0], equinox.Module):
        return Equinox(*pair, problem, x)
    first, apply = pair or (getattr(given, "init", None), getattr(given, "apply", None))
    if first is not None and callable(apply):
        return Plain(_initialized(first, x, seed) if callable(first) else first, apply, problem, x)
    if callable(given):
        return read_model(_made(given, problem, seed), problem, seed, inputs)
    raise TypeError(
        f"model={shown(given)} is not allowed: must be a flax.nnx.Module, a flax.linen.Module, an equinox.Module (or a"
        " pair of it and its State), a pair (init, apply) or (parameters, apply), or a function that makes one of them"
    )


def is_seeded(given: Any) -> bool:
    """Whether a user's model can be made with parameters that a seed decides."""
    linen = sys.modules.get("flax.linen")
    if linen is not None and isinstance(given, linen.Module):
        return True
    if type(given) is tuple or hasattr(given, "apply"):
        return callable(given[0] if type(given) is tuple else getattr(given, "init", None))
    return callable(given) and bool({"rngs", *_KEYS} & _names(given))


def _made(maker: Callable[..., Any], problem: Problem, seed: int) -> Any:
    """What a user's function makes under a seed."""
    names = _names(maker)
    if "rngs" in names:
        return maker(rngs=sys.modules["flax.nnx"].Rngs(seed))
    key = next((name for name in _KEYS if name in names), None)
    return made(maker, problem) if key is None else maker(**{key: jax.random.key(seed)})


def _initialized(init: Callable[..., Any], x: Any, seed: int) -> Any:
    """What a user's ``init`` draws: of a key, or of a key and inputs."""
    key = jax.random.key(seed)
    return init(key) if len(_names(init)) == 1 else init(key, x)


def _mode(call: Callable[..., Any], training: bool, key: Array | None = None) -> dict[str, Any]:
    """The arguments that tell a model whether it is trained, and its key, by the names that it has for them."""
    names = _names(call)
    told = {name: training for name in _IN_TRAINING if name in names}
    told |= {name: not training for name in _IN_INFERENCE if name in names}
    made_key = jax.random.key(_DROPOUT_SEED) if key is None else key
    return {**told, **{name: made_key for name in _KEYS if name in names}}


def _names(function: Callable[..., Any]) -> set[str]:
    """The names of a function's arguments, or of those that make an instance of a class."""
    called = vars(function).get("__init__", function) if isinstance(function, type) else function  # as Flax hides it
    try:
        return set(inspect.signature(called).parameters)
    except (TypeError, ValueError):  # of a function written in C
        return set()


def _parts(model: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """The modules inside a tree that is one, by path, and itself."""
    inside, _ = jax.tree_util.tree_flatten_with_path(
        model, is_leaf=lambda node: isinstance(node, kind) and node is not model
    )
    yield "", model
    for path, part in inside:
        if isinstance(part, kind):
            for further, found in _parts(part, kind):
                yield ".".join(filter(None, (dotted(path), further))), found


def _in(dtype: Any, leaf: Any) -> Any:
    """A leaf of a tree, its real numbers in a precision."""
    return jnp.asarray(leaf, dtype) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf


def _first(returned: Any) -> Any:
    """The first of what a layer returned, where it returns its state too."""
    return returned[0] if isinstance(returned, tuple) else returned
