"""optax's transformations as the optimizer of a session: their state is set from the recipe's slots, and read as such.

optax keeps a state as nested tuples, in which some parts are trees like the parameters' (Adam's ``mu`` and ``nu``) and
others count the steps. Which slot of the recipe a tree is, the name of its field tells.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from conformance.adapters.session import State
from conformance.data.wording import nearest, shown
from conformance.problems.tensors import Tensors
from conformance.wrappers.jax_trees import Layout, is_masked, name_of

# By the name of a field: the slots that it may be. No recipe has two of one row.
SLOTS: dict[str, tuple[str, ...]] = {
    "mu": ("first_moment", "momentum", "gradient_average"),
    "nu": ("second_moment", "infinity_norm", "belief", "square_average"),
    "nu_max": ("maximum_second_moment",),
    "trace": ("velocity",),
    "ema": ("velocity",),
    "sum_of_squares": ("square_sum",),
    "e_g": ("square_average",),
    "e_x": ("squared_update_average",),
}
COUNTS = ("count", "step", "steps", "t")  # whole numbers of these names are the steps that were taken
SIGNED = "velocity"  # optax has it with the other sign where the learning rate, which it takes as negative, comes first


class Optimizer:
    """A transformation, or a function of the learning rate that makes one, with the slots of the recipe.

    A transformation has its learning rate inside, or its schedule, which goes by its own count of the steps.
    ``fields``: names of the state's fields by slot, where :data:`SLOTS` has not the right ones. Raises TypeError for
    what is neither, and ValueError for a slot that the recipe has not.
    """

    def __init__(self, optimizer: Any, slots: Iterable[str], fields: Mapping[str, str] | None = None) -> None:
        self._has_rate = is_transformation(optimizer)
        if not (self._has_rate or callable(optimizer)):
            raise TypeError(
                f"optimizer={shown(optimizer)} is not allowed: must be an optax GradientTransformation, or a function"
                " of the learning rate that returns one"
            )
        self._given = optimizer
        self._slots = tuple(slots)
        self._fields = dict(fields or {})
        for slot in self._fields:
            if slot not in self._slots:
                raise ValueError(
                    f"slots[{slot!r}] is not allowed: must be one of {', '.join(map(repr, self._slots)) or 'none'}"
                    f"{nearest(slot, self._slots)}"
                )
        self._signs: dict[Layout, dict[str, float]] = {}
        self.update = jax.jit(self._update)

    def init(self, parameters: Any, rate: float) -> Any:
        """optax's own state before the first step, for a tree of parameters."""
        return self._transformation(rate).init(parameters)

    def resumed(self, layout: Layout, parameters: Any, state: State, rate: float, rate_step: int) -> Any:
        """optax's state after ``state.step`` steps, with the slots of ``state``.

        ``rate`` is the learning rate of the step that comes; a schedule inside goes on with its step ``rate_step``,
        counted from 0. Raises ValueError for a state whose fields are none of the recipe's slots.
        """
        signs = self._signs_of(layout, parameters, rate)

        def set_from(path: Any, node: Any) -> Any:
            if layout.is_like(node):
                slot = self._slot(path)
                held = state.slots.get(slot or "", {})
                return self._filled(layout, node, held, signs.get(_place(path), 1.0))
            if isinstance(node, optax.ScaleByScheduleState):
                return node._replace(count=jnp.asarray(rate_step, node.count.dtype))
            names = [name_of(key) for key in path]
            if names[-2:] == ["hyperparams", "learning_rate"]:
                return jnp.asarray(rate, node.dtype)
            if names and names[-1] in COUNTS and np.ndim(node) == 0 and jnp.issubdtype(node.dtype, jnp.integer):
                return jnp.asarray(rate_step if "hyperparams_states" in names else state.step, node.dtype)
            return node

        fresh = self.init(parameters, rate)
        self._check_fields(layout, fresh)
        return jax.tree_util.tree_map_with_path(set_from, fresh, is_leaf=lambda node: _is_part(layout, node))

    def slots(self, layout: Layout, parameters: Any, state: Any, rate: float) -> dict[str, Tensors]:
        """The recipe's slots that optax's state holds, by name."""
        signs, found = self._signs_of(layout, parameters, rate), dict[str, Tensors]()
        for path, node in _trees(layout, state):
            slot = self._slot(path)
            if slot is not None:
                sign = signs.get(_place(path), 1.0)
                held = {name: np.asarray(sign * value) for name, value in layout.tensors(node).items()}
                found[slot] = found.get(slot, {}) | held
        return found

    def step(
        self, layout: Layout, parameters: Mapping[str, Any], gradients: Mapping[str, Any], state: State, rate: float,
        rate_step: int,
    ) -> tuple[Tensors, State]:  # fmt: skip
        """One step from ``state``, as a session's ``optimizer_step``; see :meth:`resumed`."""
        tree = layout.tree(parameters)
        resumed = self.resumed(layout, tree, state, rate, rate_step)
        updated, after = self.update(layout.tree(gradients), resumed, tree, rate)
        arrays = {name: np.asarray(value) for name, value in layout.tensors(updated).items()}
        return arrays, State(state.step + 1, self.slots(layout, tree, after, rate))

    def _update(self, gradients: Any, state: Any, parameters: Any, rate: Any) -> tuple[Any, Any]:
        updates, state = self._transformation(rate).update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    def _transformation(self, rate: Any) -> Any:
        return self._given if self._has_rate else self._given(rate)

    def _slot(self, path: Any) -> str | None:
        """The recipe's slot that lies at a place of the state, or None."""
        field = _field(path)
        chosen = [slot for slot, name in self._fields.items() if name == field]
        return next((slot for slot in (*chosen, *SLOTS.get(field, ()), field) if slot in self._slots), None)

    def _check_fields(self, layout: Layout, state: Any) -> None:
        """Refuse a state with fields of unknown names where a slot is lacking."""
        paths = [path for path, _ in _trees(layout, state)]
        missing = sorted({*self._slots} - {self._slot(path) for path in paths})
        unknown = sorted({_field(path) for path in paths if self._slot(path) is None and _field(path) not in SLOTS})
        if missing and unknown:
            raise ValueError(
                f"the optimizer's state has {', '.join(map(repr, unknown))}, and the recipe's slots"
                f" {', '.join(map(repr, missing))}: say which is which, slots={{{missing[0]!r}: {unknown[0]!r}}}"
            )

    def _signs_of(self, layout: Layout, parameters: Any, rate: float) -> dict[str, float]:
        """By place: -1 for a velocity that optax has with the other sign, as one step with gradients of 1 shows."""
        if layout not in self._signs:
            ones = jax.tree.map(jnp.ones_like, parameters)
            zeros = jax.tree.map(jnp.zeros_like, parameters)
            _, after = self._transformation(rate).update(ones, self.init(zeros, rate), zeros)
            self._signs[layout] = {
                _place(path): -1.0
                for path, node in _trees(layout, after)
                if self._slot(path) == SIGNED and all(float(np.max(v)) < 0 for v in layout.tensors(node).values())
            }
        return self._signs[layout]

    def _filled(self, layout: Layout, node: Any, held: Mapping[str, Any], sign: float) -> Any:
        """A tree of the state with the values that are held for it; what is masked stays so."""
        leaves, structure = jax.tree.flatten(node, is_leaf=is_masked)
        filled = [
            leaf if is_masked(leaf) or name not in held
            else jnp.asarray(sign * held[name], leaf.dtype)
            for name, leaf in zip(layout.names, leaves, strict=True)
        ]  # fmt: skip
        return jax.tree.unflatten(structure, filled)


def is_transformation(optimizer: Any) -> bool:
    """Whether it is an optax transformation, with its learning rate inside."""
    return all(hasattr(optimizer, method) for method in ("init", "update"))


def _trees(layout: Layout, state: Any) -> list[tuple[Any, Any]]:
    """The parts of a state that are trees like the parameters', each with its path."""
    found, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda node: _is_part(layout, node))
    return [(path, node) for path, node in found if layout.is_like(node)]


def _is_part(layout: Layout, node: Any) -> bool:
    return layout.is_like(node) or isinstance(node, optax.ScaleByScheduleState)


def _field(path: Any) -> str:
    """The name of the field in which a place of a state lies."""
    named = [name_of(key) for key in path if not hasattr(key, "idx")]
    return named[-1] if named else ""


def _place(path: Any) -> str:
    return str(jax.tree_util.keystr(path))
