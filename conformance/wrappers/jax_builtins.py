"""The built-ins of JAX, optax and Flax as parts of small trainings."""

import ast
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from conformance.adapters.session import Unsupported
from conformance.problems.problem import Problem
from conformance.recipes.subjects import Subject, call_of
from conformance.wrappers.builtins import Builtins, final_of, sizes_of
from conformance.wrappers.jax import JaxSession, wrap_jax
from conformance.wrappers.subject import Subject as Wrapped

FINAL: Mapping[str, Any] = {"identity": lambda z: z, "sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}
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

    def _layers(self, subject: Subject) -> dict[str, Any]:
        try:
            from conformance.wrappers import jax_builtin_layers
        except ImportError as error:
            raise Unsupported(f"Flax cannot be imported: {error}") from error
        return jax_builtin_layers.parts(subject)

    def _losses(self, subject: Subject) -> dict[str, Any]:
        found = self.found(subject.name)

        def loss(outputs: Any, targets: Any) -> Any:
            each = found(outputs, targets)
            return each.sum(axis=1) if each.ndim == 2 else each

        return {"loss": loss}

    def _activations(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        return {"model": partial(dense, activation=partial(self.found(call.function), **call.named))}

    def _schedules(self, subject: Subject) -> dict[str, Any]:
        return {"optimizer": optax.sgd(self._made(subject))}

    def _initializers(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        return {"initializer": self._made(subject) if subject.name.endswith(")") else self.found(call.function)}

    def _regularizers(self, subject: Subject) -> dict[str, Any]:
        return {"clip": self._made(subject), "optimizer": optax.sgd(0.5)}

    def _made(self, subject: Subject) -> Any:
        """What the subject's call returns."""
        call = call_of(subject.name)
        return self.found(call.function)(*call.positional, **call.named)


def dense(problem: Problem, activation: Any = jnp.tanh) -> tuple[Any, Any]:
    """Layers of tanh units, and one of the outputs: ``init`` and ``apply``."""
    sizes, final = sizes_of(problem), FINAL[final_of(problem)]
    drawn = jax.nn.initializers.glorot_normal()

    def init(key: Any) -> list[dict[str, Any]]:
        real = jnp.result_type(float)
        return [
            {"kernel": drawn(key, (size.inputs, size.outputs), real)}
            | ({"bias": jnp.zeros(size.outputs, real)} if size.bias else {})
            for size in sizes
        ]

    def apply(parameters: list[Mapping[str, Any]], x: Any) -> Any:
        *hidden, last = parameters
        for layer in hidden:
            x = activation(_affine(layer, x))
        return final(_affine(last, x))

    return init, apply


def _affine(layer: Mapping[str, Any], x: Any) -> Any:
    z = x @ layer["kernel"]
    return z + layer["bias"] if "bias" in layer else z


def cross_entropy(outputs: Any, targets: Any) -> Any:
    """Of each example."""
    return optax.losses.sigmoid_binary_cross_entropy(outputs, targets).sum(axis=1)
