"""Trees of arrays by the paths of their leaves, and what a traced function does with each of its arguments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

# Operations that give a parameter another form before it is used.
_FORMS = ("broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze", "transpose")
_DRAWS = ("random_bits", "threefry2x32", "rng_bit_generator")


@dataclass(frozen=True)
class Layout:
    """The structure of a tree and the ``names`` of its leaves, in its own order."""

    structure: Any
    names: tuple[str, ...]

    @staticmethod
    def of(tree: Any) -> "Layout":
        """That of a tree, its leaves by their paths: ``"layers.0.weight"``."""
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        return Layout(structure, tuple(dotted(path) for path, _ in leaves))

    @staticmethod
    def flat(names: Iterable[str]) -> "Layout":
        """That of a dict of arrays."""
        return Layout(jax.tree.structure(dict.fromkeys(names, 0)), tuple(sorted(names)))

    def tree(self, tensors: Mapping[str, Any]) -> Any:
        """The tree that holds the tensors."""
        return jax.tree.unflatten(self.structure, [jnp.asarray(tensors[name]) for name in self.names])

    def tensors(self, tree: Any) -> dict[str, Any]:
        """The leaves of a tree by name, without those that optax masks."""
        leaves = jax.tree.leaves(tree, is_leaf=is_masked)
        return {name: leaf for name, leaf in zip(self.names, leaves, strict=True) if not is_masked(leaf)}

    def is_like(self, node: Any) -> bool:
        """Whether ``node`` is a tree of this structure, optax's masks aside."""
        return bool(jax.tree.structure(node, is_leaf=is_masked) == self.structure)


def is_masked(node: Any) -> bool:
    """Whether a node stands where optax leaves a parameter out."""
    return isinstance(node, optax.MaskedNode)


def name_of(key: Any) -> str:
    """A key of a path as text.

    >>> name_of(jax.tree_util.DictKey("kernel")), name_of(jax.tree_util.SequenceKey(2))
    ('kernel', '2')
    """
    return str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))


def dotted(path: Any) -> str:
    """A path as text, its parts joined by dots. The ``value`` of a Flax variable is no part of it."""
    keys = path[:-1] if len(path) > 1 and getattr(path[-1], "name", None) == "value" else path
    return ".".join(map(name_of, keys))


@dataclass
class Uses:
    """What a traced function does with its arguments, which are counted from 0.

    ``order``: those that it uses, the first used first. ``contracted``: of the matrices that it multiplies with, along
    which dimension. ``draws``: whether it draws random numbers.
    """

    order: list[int] = field(default_factory=list)
    contracted: dict[int, int] = field(default_factory=dict)
    draws: bool = False


def uses_of(function: Any, *arguments: Any) -> Uses:
    """What ``function`` does with the leaves of its arguments, without computing it."""
    closed = jax.make_jaxpr(function)(*arguments)
    uses = Uses()
    _follow(closed.jaxpr, {variable: (place, False) for place, variable in enumerate(closed.jaxpr.invars)}, uses)
    return uses


def _follow(jaxpr: Any, known: dict[Any, tuple[int, bool]], uses: Uses) -> None:
    """Note the uses in ``jaxpr``; ``known`` are arguments by variable, with whether they are transposed there."""
    for equation in jaxpr.eqns:
        uses.draws |= equation.primitive.name in _DRAWS
        given = [None if hasattr(variable, "val") else known.get(variable) for variable in equation.invars]
        inner = _inside(equation)
        if inner is not None:
            within = {own: found for own, found in zip(inner.invars, given, strict=True) if found is not None}
            _follow(inner, within, uses)
            for own, outer in zip(inner.outvars, equation.outvars, strict=False):
                if not hasattr(own, "val") and own in within:
                    known[outer] = within[own]
        elif equation.primitive.name in _FORMS and given[0] is not None:
            place, turned = given[0]
            turns = equation.primitive.name == "transpose" and equation.params["permutation"] == (1, 0)
            known[equation.outvars[0]] = place, turned != turns
        else:
            _note(equation, given, uses)


def _note(equation: Any, given: list[tuple[int, bool] | None], uses: Uses) -> None:
    """Note the arguments that an operation uses."""
    for side, found in enumerate(given):
        if found is None:
            continue
        place, turned = found
        if place not in uses.order:
            uses.order.append(place)
        if equation.primitive.name == "dot_general" and len(equation.invars[side].aval.shape) == 2:
            (dimension,) = equation.params["dimension_numbers"][0][side] or (None,)
            if dimension is not None:
                uses.contracted.setdefault(place, 1 - dimension if turned else dimension)


def _inside(equation: Any) -> Any:
    """The function that an operation calls with its own arguments, or None."""
    for value in equation.params.values():
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns") and len(inner.invars) == len(equation.invars):
            return inner
    return None
