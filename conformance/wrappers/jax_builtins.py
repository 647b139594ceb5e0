"""The built-ins of JAX, optax and Flax as parts of small trainings."""

import ast
import inspect
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax

from conformance.problems.problem import Problem
from conformance.recipes.subjects import Subject
from conformance.wrappers.builtins import Builtins
from conformance.wrappers.jax import JaxSession, wrap_jax
from conformance.wrappers.subject import Subject as Wrapped

HIDDEN = 4
OPTAX = "optax."


class JaxBuiltins(Builtins):
    """What ``jax`` and ``optax`` have ready made."""

    name = "builtins.jax"
    session_class = JaxSession
    roots = {"jax": jax, "optax": optax}  # noqa: RUF012

    def wrapped(self, subject: Subject) -> Wrapped:
        """A network of two dense layers, optax's cross-entropy of logits and ``sgd``, one of them the subject's."""
        parts: dict[str, Any] = {"model": dense, "loss": cross_entropy, "optimizer": optax.sgd(0.1)}
        return wrap_jax(**(parts | getattr(self, f"_{subject.kind}")(subject)))

    def _optimizers(self, subject: Subject) -> dict[str, Any]:
        node = ast.parse(subject.name.removeprefix(OPTAX), mode="eval").body
        return {"optimizer": lambda rate: self._transformation(node, rate)}

    def _transformation(self, node: ast.expr, rate: Any) -> Any:
        """The transformation that a call makes; each function of a chain that asks for a rate is given it."""
        called = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        function = self.found(f"{OPTAX}{ast.unparse(called.func)}")
        if function is optax.chain:
            return optax.chain(*(self._transformation(part, rate) for part in called.args))
        rates = [rate] if "learning_rate" in inspect.signature(function).parameters else []
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in called.keywords}
        return function(*rates, *map(ast.literal_eval, called.args), **named)


def dense(problem: Problem) -> tuple[Any, Any]:
    """A layer of tanh units, and one of one unit: ``init`` and ``apply``."""
    sizes = (problem.features, HIDDEN, 1)
    drawn = jax.nn.initializers.glorot_normal()

    def init(key: Any) -> list[dict[str, Any]]:
        return [
            {"kernel": drawn(key, shape, jnp.result_type(float)), "bias": jnp.zeros(shape[1])}
            for shape in pairwise(sizes)
        ]

    def apply(parameters: list[Mapping[str, Any]], x: Any) -> Any:
        first, last = parameters
        return jnp.tanh(x @ first["kernel"] + first["bias"]) @ last["kernel"] + last["bias"]

    return init, apply


def cross_entropy(outputs: Any, targets: Any) -> Any:
    """Of each example."""
    return optax.losses.sigmoid_binary_cross_entropy(outputs, targets).sum(axis=1)
