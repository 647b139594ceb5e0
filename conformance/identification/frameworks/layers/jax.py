"""Layers of Flax, NNX and Linen: as pure functions of their arrays."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx, traverse_util

from conformance.identification.exercises import Array, Tensors
from conformance.identification.frameworks import Ran, parameters_of, with_inner

# What a layer is told of training, by the name of its argument.
MODES: dict[str, Callable[[bool], bool]] = {
    "train": lambda training: training,
    "training": lambda training: training,
    "deterministic": lambda training: not training,
    "use_running_average": lambda training: not training,
}
_flattened: Any = traverse_util.flatten_dict
_unflattened: Any = traverse_util.unflatten_dict
Pure = Callable[[dict[str, Any], Any, bool], tuple[Any, dict[str, Any]]]


def layered(thing: Any, keywords: Mapping[str, Any], x: Array, dtype: str, seed: Any) -> "Layered | None":
    """A module of Flax, made anew where a class or a function makes it; None of anything else."""
    made = thing
    if not isinstance(thing, nnx.Module | linen.Module):
        made = _made(thing, keywords, dtype, seed)
    if isinstance(made, nnx.Module):
        return _of_nnx(made)
    return _of_linen(made, jnp.asarray(x), seed) if isinstance(made, linen.Module) else None


def drawn(thing: Any, keywords: Mapping[str, Any], x: Array, dtype: str, seeds: Array) -> Tensors | None:
    """The arrays of as many modules as there are seeds, stacked; None of what is made already."""
    if isinstance(thing, nnx.Module | linen.Module):
        return None

    @jax.jit
    def of(seed: Any) -> dict[str, Any] | None:
        found = layered(thing, keywords, x, dtype, seed)
        return None if found is None else found.arrays()

    made = [of(seed) for seed in seeds]
    return None if made[0] is None else {name: np.stack([one[name] for one in made]) for name in made[0]}


def _made(thing: Any, keywords: Mapping[str, Any], dtype: str, seed: Any) -> Any:
    inner = with_inner(keywords, lambda thing, keywords: _made(thing, keywords, dtype, seed))
    return thing(**inner, **_beside(thing, keywords, dtype, seed))


def _beside(thing: Any, keywords: Mapping[str, Any], dtype: str, seed: Any) -> dict[str, Any]:
    """What chance and the precision are given by."""
    known = parameters_of(thing)
    offered: dict[str, Callable[[], Any]] = {
        "rngs": lambda: nnx.Rngs(jax.random.key(seed)),
        "param_dtype": lambda: jnp.dtype(dtype),
    }
    if "dtype" in known and known["dtype"].default not in (None, inspect.Parameter.empty):
        offered["dtype"] = offered["param_dtype"]
    return {name: make() for name, make in offered.items() if name in known and name not in keywords}


def _modes(function: Callable[..., Any], training: bool) -> dict[str, bool]:
    known = inspect.signature(function).parameters
    return {name: mode(training) for name, mode in MODES.items() if name in known}


def _of_nnx(module: nnx.Module) -> "Layered":
    if isinstance(module, nnx.RNNCellBase):
        module = nnx.RNN(module, rngs=nnx.Rngs(0))
    elif isinstance(module, nnx.RNN) and not isinstance(module.rngs, nnx.Rngs):
        module = nnx.RNN(
            module.cell, reverse=module.reverse, keep_order=module.keep_order, time_major=module.time_major,
            rngs=nnx.Rngs(0),
        )  # fmt: skip
    definition, state = nnx.split(module)
    flat = dict(nnx.to_flat_state(state))
    names = {
        "/".join(map(str, path)): path
        for path, variable in flat.items()
        if jnp.issubdtype(jnp.asarray(_value(variable)).dtype, jnp.floating)
    }
    arrays = {name: _value(flat[path]) for name, path in names.items()}
    trained = [name for name, path in names.items() if isinstance(flat[path], nnx.Param)]

    def apply(given: dict[str, Any], x: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        fresh = {path: variable.replace(_value(variable)) for path, variable in flat.items()}  # of this trace
        changed = fresh | {path: flat[path].replace(given[name]) for name, path in names.items()}
        again: Any = nnx.merge(definition, nnx.from_flat_state(changed))
        again.train() if training else again.eval()
        needed = _needed(type(again).__call__) - 1
        y = again(*[x] * max(needed, 1), **_modes(type(again).__call__, training))
        after = dict(nnx.to_flat_state(nnx.state(again)))
        return y, {name: _value(after[path]) for name, path in names.items() if name not in trained}

    return Layered(arrays, trained, apply)


def _value(variable: Any) -> Any:
    return variable.get_value() if isinstance(variable, nnx.Variable) else variable


def _of_linen(module: Any, x: Any, seed: Any) -> "Layered":
    if isinstance(module, linen.RNNCellBase):
        module = linen.RNN(module)
    modes = _modes(type(module).__call__, False)
    inputs = max(_needed(type(module).__call__) - 1, 1)
    flat = _flattened(module.init(jax.random.key(seed), *[x] * inputs, **modes))
    names = {"/".join(path[1:]): path for path in flat}
    arrays = {name: flat[path] for name, path in names.items()}
    trained = [name for name, path in names.items() if path[0] == "params"]

    def apply(given: dict[str, Any], x: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        variables = _unflattened({path: given[name] for name, path in names.items()})
        others = [collection for collection in variables if collection != "params"]
        modes = _modes(type(module).__call__, training)
        y, changed = module.apply(
            variables, *[x] * inputs, mutable=others, rngs={"dropout": jax.random.key(0)}, **modes
        )
        after = _flattened(changed)
        return y, {"/".join(path[1:]): value for path, value in after.items()}

    return Layered(arrays, trained, apply)


def _needed(function: Callable[..., Any]) -> int:
    """How many arguments it needs, ``self`` among them, but what tells it whether it is in training."""
    return sum(
        p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in MODES
        for p in inspect.signature(function).parameters.values()
    )


class Layered:
    """A pure function of its arrays."""

    def __init__(self, arrays: dict[str, Any], trained: list[str], apply: Pure) -> None:
        self._arrays, self.trained, self.apply = arrays, trained, apply

    def arrays(self) -> Tensors:
        """Its parameters and what else it keeps, as they start."""
        return dict(self._arrays)

    def run(self, arrays: Tensors, x: Array, upstream: Array | None, training: bool) -> Ran:
        """What it makes of ``x`` with these arrays, and the gradients of ``sum(upstream y)``."""
        held = {name: jnp.asarray(value) for name, value in arrays.items()}
        ours = {name: held[name] for name in self.trained}
        others = {name: value for name, value in held.items() if name not in ours}
        if upstream is None:
            outputs, after = _compiled(self._outputs, ours, others, jnp.asarray(x), training)
            return Ran([np.asarray(y) for y in outputs], None, {}, _numpy(after))
        found = _compiled(self._gradients, ours, others, jnp.asarray(x), jnp.asarray(upstream), training)
        (_, (outputs, after)), gradients = found
        dx = np.asarray(gradients[1]) if x.dtype.kind == "f" else None
        return Ran([np.asarray(y) for y in outputs], dx, _numpy(gradients[0]), _numpy(after))

    def _outputs(self, ours: Any, others: Any, x: Any, training: bool) -> tuple[list[Any], dict[str, Any]]:
        y, after = self.apply(others | ours, x, training)
        return [jnp.asarray(each) for each in jax.tree_util.tree_leaves(y)], after

    def _gradients(self, ours: Any, others: Any, x: Any, upstream: Any, training: bool) -> Any:
        def cost(ours: Any, x: Any) -> Any:
            outputs, after = self._outputs(ours, others, x, training)
            return (outputs[0] * upstream).sum(), (outputs, after)

        places = (0, 1) if jnp.issubdtype(x.dtype, jnp.floating) else (0,)
        return jax.value_and_grad(cost, argnums=places, has_aux=True)(ours, x)


def _compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function, compiled; as it is, if it looks at its numbers. The last argument is no array."""
    try:
        return jax.jit(function, static_argnums=len(arguments) - 1)(*arguments)
    except jax.errors.ConcretizationTypeError:
        return function(*arguments)


def _numpy(found: Mapping[str, Any]) -> Tensors:
    return {name: np.asarray(value) for name, value in found.items()}
